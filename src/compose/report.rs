//! What `leasehold check` says about a project that is in order.

use std::fmt::Write as _;

use super::model::{Failback, Group, Mount, MountKind, Probe, ProbeKind, Project, Service};

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
    let failback = match group.failback {
        Failback::Manual => "manual",
        Failback::Auto => "auto",
    };
    lines.add(1, &format!("failback: {failback}"));
    if let Some(grace) = group.lease_loss_grace {
        lines.add(1, &format!("grace when the lease is lost: {grace:?}"));
    }
    for (index, service) in group.services.iter().enumerate() {
        describe_service(index + 1, service, project, lines);
    }
}

fn or_none(words: &[String]) -> String {
    if words.is_empty() {
        "none".to_owned()
    } else {
        words.join(", ")
    }
}

fn describe_probe(probe: &Probe) -> String {
    let kind = match probe.kind {
        ProbeKind::Tcp => "tcp",
        ProbeKind::Smtp => "smtp",
        ProbeKind::Imap => "imap",
        ProbeKind::Pop3 => "pop3",
        ProbeKind::Http => "http",
    };
    format!("{kind} {}", probe.port)
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
