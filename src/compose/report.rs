//! What `leasehold check` says about a project that is in order.

use std::fmt::Write as _;

use super::model::{
    Failback, Failover, Fence, Group, Mount, MountKind, OnFailure, OnStopFailure, Probe, Project, SecondOpinion,
    Service,
};

/// Groups, services in start order, mounts with protected or not, virtual IPs, probes, warnings.
#[must_use]
pub fn report(project: &Project) -> String {
    let mut lines = Lines::default();
    let files: Vec<_> = project.files.iter().map(|file| file.display().to_string()).collect();
    lines.add(0, &format!("project {} ({})", project.name, files.join(", ")));
    let cluster = &project.cluster;
    let etcd = cluster.etcd.join(", ");
    lines.add(
        0,
        &format!("cluster {}: ttl {:?}, etcd {etcd}", cluster.name, cluster.ttl),
    );
    lines.add(0, &describe_fence(cluster.fence.as_ref()));
    for group in project.groups.values() {
        describe_group(group, project, &mut lines);
    }
    for warning in &project.warnings {
        lines.add(0, &format!("warning: {warning}"));
    }
    lines.text
}

#[derive(Default)]
struct Lines {
    text: String,
}

impl Lines {
    fn add(&mut self, depth: usize, line: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{:indent$}{line}", "", indent = depth * 2);
    }
}

/// What a standby looks at by itself.
fn of_standbys(group: &Group, lines: &mut Lines) {
    match group.storage_look {
        Some(every) => lines.add(
            1,
            &format!("standbys look at the storage every {every:?}, where that can do no harm"),
        ),
        None => lines.add(1, "standbys do not look at the storage (storage_look: off)"),
    }
    match group.start_trial {
        Some(every) => lines.add(
            1,
            &format!("standbys try a start, without storage and service, when something changes and every {every:?}"),
        ),
        None => lines.add(1, "standbys try no start (start_trial: off)"),
    }
}

fn describe_group(group: &Group, project: &Project, lines: &mut Lines) {
    lines.add(0, &format!("group {}", group.name));
    let vips: Vec<_> = group
        .vips
        .iter()
        .map(|vip| format!("{}/{}", vip.address, vip.prefix))
        .collect();
    let when = if group.vip_first { ", before the containers" } else { "" };
    lines.add(1, &format!("virtual IPs: {}{when}", or_none(&vips)));
    let probes: Vec<_> = group.probes.iter().map(describe_probe).collect();
    lines.add(1, &format!("probes: {}", or_none(&probes)));
    if !group.probes.is_empty() {
        let limit = group.start_timeout;
        lines.add(
            1,
            &format!("a start has failed if the probes have not passed within {limit:?}"),
        );
    }
    let failback = match group.failback {
        Failback::Manual => "manual".to_owned(),
        Failback::Auto { quiet } => format!("by itself, to a node that is preferred and ready for {quiet:?}"),
    };
    lines.add(1, &format!("failback: {failback}"));
    let failover = match group.failover {
        Failover::Auto => "when its node falls silent: the best ready standby takes it",
        Failover::Confirm => {
            "when its node falls silent: it stays down until somebody says `leasehold fenced` (failover: confirm)"
        }
    };
    lines.add(1, failover);
    let budget = group.restarts;
    let on_failure = match group.on_failure {
        OnFailure::Recover => format!(
            "restart in place up to {} times in {:?}, then hand over",
            budget.count, budget.window
        ),
        OnFailure::Notify => "alarm only (on_failure: notify)".to_owned(),
    };
    lines.add(1, &format!("when the service fails: {on_failure}"));
    if !group.vips.is_empty() && group.probes.iter().any(Probe::is_asked_from_outside) {
        lines.add(
            1,
            match group.second_opinion {
                SecondOpinion::Off => "second opinion: none; standbys do not look at it (second_opinion: off)",
                SecondOpinion::Tell => "second opinion: where standbys can't reach it at its address, you are told",
                SecondOpinion::Act => {
                    "second opinion: where no standby reaches it at its address for long, it is handed over"
                }
            },
        );
    }
    of_standbys(group, lines);
    if let Some(grace) = group.lease_loss_grace {
        lines.add(1, &format!("grace when the lease is lost: {grace:?}"));
    }
    lines.add(
        1,
        match group.on_stop_failure {
            OnStopFailure::Hold => "when it can't be stopped: it is held, marked stuck and stays down until a fence",
            OnStopFailure::Reboot => "when it can't be stopped: this host is reset",
        },
    );
    for (index, service) in group.services.iter().enumerate() {
        describe_service(index + 1, service, project, lines);
    }
}

fn describe_fence(fence: Option<&Fence>) -> String {
    let Some(fence) = fence else {
        return "fence: none; a silent node is taken to have stopped, a stuck one waits for `leasehold fenced`"
            .to_owned();
    };
    let nodes: Vec<&str> = fence.nodes.keys().map(String::as_str).collect();
    let nodes = if nodes.is_empty() {
        "any node".to_owned()
    } else {
        nodes.join(", ")
    };
    format!(
        "fence: {} {} of {nodes}, at most {:?} a try, {} tries in a row; an unclean take-over waits for its success",
        fence.agent.display(),
        fence.action,
        fence.timeout,
        fence.tries
    )
}

fn or_none(words: &[String]) -> String {
    if words.is_empty() {
        "none".to_owned()
    } else {
        words.join(", ")
    }
}

fn describe_probe(probe: &Probe) -> String {
    let what = probe.check.name();
    let cadence = &probe.cadence;
    format!("{what} every {:?}", cadence.interval)
}

fn describe_service(position: usize, service: &Service, project: &Project, lines: &mut Lines) {
    lines.add(
        1,
        &format!(
            "{position}. {} ({}), stop within {:?}",
            service.name, service.image, service.stop_grace_period
        ),
    );
    for mount in &service.mounts {
        let protected = if mount.is_protected() {
            "protected"
        } else {
            "not protected"
        };
        lines.add(
            3,
            &format!("{} <- {}: {protected}", mount.target, describe_source(mount, project)),
        );
    }
}

fn describe_source(mount: &Mount, project: &Project) -> String {
    let source = match &mount.kind {
        MountKind::Bind { source, .. } => source.display().to_string(),
        MountKind::Volume { key, .. } => {
            let name = project
                .volumes
                .get(key)
                .map_or(key.as_str(), |volume| volume.name.as_str());
            format!("volume {name}")
        }
        MountKind::Tmpfs { .. } => "tmpfs".to_owned(),
        MountKind::File { source } => format!("file {}", source.display()),
    };
    if mount.read_only {
        format!("{source}, read-only")
    } else {
        source
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{REST, file, read_files};
    use super::*;

    #[test]
    fn the_report_names_everything_that_matters() {
        let own = "group: mail, vips: ['192.0.2.10/24', 'fd00::10/64'], vip_first: true, probes: [{smtp: 25}, {http: 80}], \
                   lease_loss_grace: 2s";
        let keys = "image: i\nnetwork_mode: host\nvolumes: ['data:/d', './c:/c:ro', 'own:/o', {type: tmpfs, target: /t}]\n\
                    secrets: [key]\nstop_grace_period: 20s";
        let project = read_files(&[("compose.yaml", &file(own, keys, REST))]).unwrap();
        let expected = "\
project mail (/srv/mail/compose.yaml)
cluster mail: ttl 10s, etcd http://10.0.0.1:2379
fence: none; a silent node is taken to have stopped, a stuck one waits for `leasehold fenced`
group mail
  virtual IPs: 192.0.2.10/24, fd00::10/64, before the containers
  probes: smtp 25 every 5s, http 80/ every 5s
  a start has failed if the probes have not passed within 60s
  failback: manual
  when its node falls silent: the best ready standby takes it
  when the service fails: restart in place up to 3 times in 600s, then hand over
  second opinion: where standbys can't reach it at its address, you are told
  standbys look at the storage every 60s, where that can do no harm
  standbys try a start, without storage and service, when something changes and every 86400s
  grace when the lease is lost: 2s
  when it can't be stopped: it is held, marked stuck and stays down until a fence
  1. s (i), stop within 20s
      /d <- volume data: protected
      /c <- /srv/mail/c, read-only: not protected
      /o <- volume mail_own: protected
      /t <- tmpfs: not protected
      /run/secrets/key <- file /srv/mail/key.txt, read-only: not protected
warning: compose.yaml:8: services.s.image: i may be another image on every node (name a version, or better a digest)
warning: compose.yaml:14: volumes.own: holds protected data and is not external: `docker compose down -v` would delete it \
(create it once and write `external: true`)
";
        assert_eq!(report(&project), expected);
    }
}
