//! Volumes that one host alone may mount: what keeps a second host from it once nobody can wait for the first.

use std::fmt;
use std::path::Path;

use leasehold_base::device::Kind;
use leasehold_compose::Sources;
use leasehold_compose::model::{Group, Mount, MountKind, Project, Service};
use leasehold_sidecar::adapters::engine::{DeviceLook, EngineError, Sharing};
use leasehold_sidecar::adapters::tether;
use leasehold_sidecar::node_context::NodeContext;

/// Lines of the report, and warnings.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) report: Vec<String>,
    pub(crate) warnings: Vec<String>,
}

/// Files of the host that would be taken for storage: told where this host's own paths are seen, as without a sidecar.
pub(crate) fn files(project: &Project, sources: &Sources) -> Vec<String> {
    if sources.host_directory != sources.local_directory {
        return Vec::new();
    }
    let services = project.groups.values().flat_map(|group| &group.services);
    let mounts = services.flat_map(|service| service.mounts.iter().map(move |mount| (service, mount)));
    let is_file = |path: &Path| std::fs::metadata(path).is_ok_and(|seen| !seen.is_dir());
    let fault = |(service, mount): (&Service, &Mount)| match &mount.kind {
        MountKind::Bind { source, .. } if mount.is_protected() && is_file(source) => Some(format!(
            "service {}: {} is a file, mounted writable at {}: only a directory can be storage; write `:ro`, mount its directory, \
             or put it into the project directory",
            service.name,
            source.display(),
            mount.target
        )),
        MountKind::Bind { .. } | MountKind::Volume { .. } | MountKind::Tmpfs { .. } | MountKind::File { .. } => None,
    };
    mounts.filter_map(fault).collect()
}

/// What each volume of the group is to several hosts, as far as this one can see it.
pub(crate) async fn look(site: &NodeContext, group: &Group) -> Told {
    let mut told = Told::default();
    for service in &group.services {
        match site.engine.sharing(&site.project, service).await {
            Ok(volumes) => of_service(site, group, service, &volumes, &mut told).await,
            Err(error) => told.warnings.push(format!(
                "group {}: whether its volumes lie on block devices can't be told: {error}",
                group.name
            )),
        }
    }
    told
}

/// The devices of the group that one host alone may mount.
pub(crate) async fn devices(site: &NodeContext, group: &Group) -> Result<Vec<String>, EngineError> {
    let mut all = Vec::new();
    for service in &group.services {
        all.extend(site.engine.exclusive_devices(&site.project, service).await?);
    }
    Ok(all)
}

async fn of_service(
    site: &NodeContext,
    group: &Group,
    service: &Service,
    volumes: &[(String, Sharing)],
    told: &mut Told,
) {
    let guard = Guard::of(site, group);
    for (volume, sharing) in volumes {
        match sharing {
            Sharing::Several => {}
            Sharing::Unknown { driver } => told.warnings.push(unknown(group, volume, driver)),
            Sharing::Alone { device } => {
                let kind = kind(site, service, device).await;
                let (sentence, warns) = sentence(&group.name, volume, device, &kind, guard);
                match warns {
                    true => told.warnings.push(sentence),
                    false => told.report.push(sentence),
                }
            }
        }
    }
}

async fn kind(site: &NodeContext, service: &Service, device: &String) -> Kind {
    // Before the first sidecar nobody has laid out the helper's program; that of a sidecar that runs stays.
    let program = &site.facts.tether_dir;
    if !program.join("tether").exists()
        && let Err(error) = tether::install(program)
    {
        return Kind::Hidden(format!("{}: {error}", program.display()));
    }
    let look = DeviceLook {
        project: &site.project,
        service,
        node: &site.name,
        binary: &site.binary,
        devices: std::slice::from_ref(device),
    };
    match site
        .engine
        .device_kinds(&look)
        .await
        .map(|kinds| kinds.into_iter().next())
    {
        Ok(Some(kind)) => kind,
        Ok(None) => Kind::Hidden("no answer".to_owned()),
        Err(error) => Kind::Hidden(error.to_string()),
    }
}

/// What else makes sure that a silent holder does not write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guard {
    Fence,
    /// It strikes only where the end of a service is not proved.
    Watchdog,
    Person,
}

impl Guard {
    pub(super) fn of(site: &NodeContext, group: &Group) -> Option<Self> {
        use leasehold_compose::model::Failover;
        if site.project.cluster.fence.is_some() {
            Some(Self::Fence)
        } else if site.watchdog.is_some() {
            Some(Self::Watchdog)
        } else {
            (group.failover == Failover::Confirm).then_some(Self::Person)
        }
    }
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fence => "the fence agent",
            Self::Watchdog => "the watchdog",
            Self::Person => "a person's word",
        })
    }
}

fn unknown(group: &Group, volume: &str, driver: &str) -> String {
    format!(
        "group {}: what the volume {volume} mounts is known to its driver {driver} alone: a hand-over does not wait until it is \
         unmounted; if it is a block device, only the driver keeps two hosts apart",
        group.name
    )
}

/// And whether it is a warning.
fn sentence(group: &str, volume: &str, device: &str, kind: &Kind, guard: Option<Guard>) -> (String, bool) {
    let place = format!("group {group}: the volume {volume} lies on {device}");
    let late = "a hand-over waits until it is unmounted";
    let open = "but not a take-over from a host that fell silent, whose engine may hang with it mounted";
    let name = match kind {
        Kind::Ext { mmp: Some(wait) } => {
            let wait = wait.as_secs();
            let text = format!(
                "{place}, an ext4 with multi mount protection: {late}, and the kernel refuses a second mount; the first one after a \
                 crash takes {wait} s"
            );
            return (text, false);
        }
        Kind::Hidden(why) => {
            let text = format!(
                "{place}, which can't be looked at from here ({why}): whether it has multi mount protection is not known"
            );
            return (text, true);
        }
        Kind::Ext { mmp: None } => "an ext file system without multi mount protection",
        Kind::Xfs => "an XFS, which has no protection against a second mount",
        Kind::Btrfs => "a Btrfs, which has no protection against a second mount",
        Kind::Other => "a file system that is not known here",
    };
    if let Some(guard) = guard {
        return (
            format!("{place}, {name}: {late}, and {guard} comes before a take-over"),
            false,
        );
    }
    let remedy = match kind {
        Kind::Ext { .. } => {
            format!("run `tune2fs -O mmp {device}` while it is mounted nowhere, or configure a fence or a watchdog")
        }
        Kind::Xfs | Kind::Btrfs | Kind::Other | Kind::Hidden(_) => {
            "configure a fence or a watchdog, or use an ext4 with mmp".to_owned()
        }
    };
    (
        format!("{place}, {name}: {late}, {open}; two mounts destroy it: {remedy}"),
        true,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn of(kind: &Kind, guard: Option<Guard>) -> (String, bool) {
        sentence("mail", "store", "/dev/sdb", kind, guard)
    }

    #[test]
    fn what_is_not_guaranteed_is_said_with_its_remedy() {
        let (text, warns) = of(&Kind::Ext { mmp: None }, None);
        assert!(
            warns && text.contains("tune2fs -O mmp /dev/sdb") && text.contains("fell silent"),
            "{text}"
        );
        let (text, warns) = of(&Kind::Xfs, None);
        assert!(warns && text.contains("fence or a watchdog"), "{text}");
        let (text, warns) = of(&Kind::Hidden("no such device".to_owned()), Some(Guard::Watchdog));
        assert!(
            warns && text.contains("can't be looked at from here (no such device)"),
            "{text}"
        );
    }

    #[test]
    fn what_protects_is_said_without_a_warning() {
        let mmp = Some(Duration::from_secs(42));
        let (text, warns) = of(&Kind::Ext { mmp }, None);
        assert!(!warns && text.contains("takes 42 s"), "{text}");
        let (text, warns) = of(&Kind::Btrfs, Some(Guard::Fence));
        assert!(!warns && text.contains("the fence agent comes before"), "{text}");
    }
}
