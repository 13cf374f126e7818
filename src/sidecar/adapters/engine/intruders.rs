//! Containers that could touch a group's storage without holding its lease. What is done about them is the caller's.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use bollard::models::{ContainerSummary, ContainerSummaryStateEnum, MountPoint, Volume};
use bollard::query_parameters::ListVolumesOptions;

use super::names::{id, label, name};
use super::{Engine, Result, Status, labels};
use leasehold_compose::model::{Group, MountKind, Project};

/// What nobody but the holder's own containers may run or mount.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guarded {
    pub project: String,
    pub services: BTreeSet<String>,
    /// The engine's names of the volumes.
    pub volumes: BTreeSet<String>,
    /// Paths of the Docker host.
    pub binds: BTreeSet<PathBuf>,
}

impl Guarded {
    /// What one group guards: its services, and every mount that is writable and not held in memory.
    #[must_use]
    pub fn of(project: &Project, group: &Group) -> Self {
        let mut guarded = Self {
            project: project.name.clone(),
            ..Self::default()
        };
        for service in &group.services {
            guarded.services.insert(service.name.clone());
            for mount in service.mounts.iter().filter(|mount| mount.is_protected()) {
                match &mount.kind {
                    MountKind::Bind { source, .. } => drop(guarded.binds.insert(source.clone())),
                    MountKind::Volume { key, .. } => {
                        guarded
                            .volumes
                            .extend(project.volumes.get(key).map(|volume| volume.name.clone()));
                    }
                    MountKind::Tmpfs { .. } | MountKind::File { .. } => {}
                }
            }
        }
        guarded
    }
}

/// A container that should not be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub container_id: String,
    pub name: String,
    /// Never one that is over: those do nothing.
    pub status: Status,
    /// The first that applies.
    pub reason: Reason,
    /// Whether it may write to what it mounts; a container of the service itself always counts as writing.
    pub writes: bool,
    pub labels: BTreeMap<String, String>,
}

impl Seen {
    /// False of one that was made and never started. Where the engine's word is not known it is taken to run.
    #[must_use]
    pub fn runs(&self) -> bool {
        match self.status {
            Status::Running | Status::Paused | Status::Restarting | Status::Unknown => true,
            // Of these the first alone is looked for.
            Status::Created | Status::Removing | Status::Exited | Status::Dead => false,
        }
    }

    /// What an operator types to be rid of it.
    #[must_use]
    pub fn how_to_stop(&self, project: &str) -> String {
        let label = |key: &str| self.labels.get(key).map(String::as_str);
        match (label(labels::PROJECT), label(labels::SERVICE)) {
            (Some(theirs), Some(service)) if theirs == project => format!("docker compose rm --stop {service}"),
            (Some(theirs), Some(service)) => format!("docker compose -p {theirs} rm --stop {service}"),
            _ => format!("docker stop {0} && docker rm {0}", self.name),
        }
    }

    /// The group and the service that it was made for, where Leasehold made it.
    #[must_use]
    pub fn part(&self) -> Option<(&str, &str)> {
        let label = |key: &str| self.labels.get(key).map(String::as_str);
        Some((label(labels::GROUP)?, label(labels::SERVICE)?))
    }

    /// Whether Leasehold itself made it, to be run by this node.
    #[must_use]
    pub fn is_made_for(&self, node: &str) -> bool {
        self.labels.get(labels::NODE).is_some_and(|theirs| theirs == node) && self.labels.contains_key(labels::GROUP)
    }
}

/// Why a container was reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It belongs to a protected service of the project, one-off containers included.
    Service(String),
    /// It mounts a protected volume, or another volume that leads to the same storage.
    Volume(String),
    /// It mounts this path of the host, which is, holds or lies inside protected storage.
    Path(PathBuf),
}

impl Engine {
    /// Looks for containers, running or about to, that are of a protected service or mount protected storage, other
    /// than those in `allowed` (ids). Containers of another node on the same engine are that node's business.
    pub async fn intruders(&self, guarded: &Guarded, node: &str, allowed: &[String]) -> Result<Vec<Seen>> {
        let docker = self.client().await?;
        let volumes = self
            .ask("list volumes", docker.list_volumes(None::<ListVolumesOptions>))
            .await?;
        let storage = Storage::of(guarded, &volumes.volumes.unwrap_or_default());
        let mut seen = Vec::new();
        for one in self.list(&[]).await? {
            let is_others = label(&one, labels::NODE).is_some_and(|theirs| theirs != node);
            let is_helper = label(&one, labels::ROLE) == Some(labels::ROLE_INIT);
            let status = one.state.map_or(Status::Unknown, status);
            if is_others || is_helper || is_over(status) || allowed.iter().any(|known| known == id(&one)) {
                continue;
            }
            if let Some((reason, writes)) = reason(&one, guarded, &storage) {
                seen.push(Seen {
                    container_id: id(&one).to_owned(),
                    name: name(&one),
                    status,
                    reason,
                    writes,
                    labels: one.labels.unwrap_or_default().into_iter().collect(),
                });
            }
        }
        Ok(seen)
    }
}

impl Engine {
    /// The containers that Leasehold did not make and that must be gone before it takes a service over: whatever may write
    /// to its storage, and every container of the service, a stopped one too: a restart policy would start it at boot.
    pub async fn plain_users(&self, guarded: &Guarded) -> Result<Vec<Seen>> {
        // No node has this name, so containers of any node are left out.
        let mut users = self.intruders(guarded, "", &[]).await?;
        users.retain(|one| one.writes && !one.labels.contains_key(labels::NODE));
        for service in &guarded.services {
            for one in self.list_service(&guarded.project, service).await? {
                let is_known = users.iter().any(|known| known.container_id == id(&one));
                let is_oneoff = label(&one, labels::ONEOFF) == Some("True");
                if !is_known && !is_oneoff && label(&one, labels::NODE).is_none() {
                    users.push(Seen {
                        container_id: id(&one).to_owned(),
                        name: name(&one),
                        status: one.state.map_or(Status::Unknown, status),
                        reason: Reason::Service(service.clone()),
                        writes: true,
                        labels: one.labels.unwrap_or_default().into_iter().collect(),
                    });
                }
            }
        }
        Ok(users)
    }
}

/// The protected storage under every name by which this engine can reach it.
struct Storage {
    volumes: BTreeSet<String>,
    paths: BTreeSet<PathBuf>,
}

impl Storage {
    fn of(guarded: &Guarded, volumes: &[Volume]) -> Self {
        let mut storage = Self {
            volumes: guarded.volumes.clone(),
            paths: guarded.binds.clone(),
        };
        let ours = volumes.iter().filter(|volume| guarded.volumes.contains(&volume.name));
        let devices: BTreeSet<String> = ours.clone().filter_map(device).collect();
        storage.paths.extend(
            ours.map(|volume| PathBuf::from(&volume.mountpoint))
                .filter(|path| path.is_absolute()),
        );
        storage
            .paths
            .extend(devices.iter().map(PathBuf::from).filter(|path| path.is_absolute()));
        for volume in volumes {
            if device(volume).is_some_and(|device| devices.contains(&device) || storage.touches(Path::new(&device))) {
                storage.volumes.insert(volume.name.clone());
            }
        }
        storage
    }

    /// Whether a path is, holds or lies inside protected storage.
    fn touches(&self, path: &Path) -> bool {
        path.is_absolute()
            && self
                .paths
                .iter()
                .any(|own| own.starts_with(path) || path.starts_with(own))
    }
}

/// What a volume of the local driver mounts: a directory, a block device, or an export with its server.
fn device(volume: &Volume) -> Option<String> {
    let device = volume.options.get("device").filter(|device| !device.is_empty())?;
    let server = volume.options.get("o").and_then(|options| {
        options
            .split(',')
            .find_map(|option| option.strip_prefix("addr="))
            .map(|server| format!("{server}!"))
    });
    Some(format!("{}{device}", server.unwrap_or_default()))
}

fn reason(one: &ContainerSummary, guarded: &Guarded, storage: &Storage) -> Option<(Reason, bool)> {
    if label(one, labels::PROJECT) == Some(&guarded.project)
        && let Some(service) = label(one, labels::SERVICE)
        && guarded.services.contains(service)
    {
        return Some((Reason::Service(service.to_owned()), true));
    }
    let found = one.mounts.iter().flatten().filter_map(|mount| touched(mount, storage));
    // The one that may write, if any: it is the worse news.
    found.max_by_key(|(_, writes)| *writes)
}

fn touched(mount: &MountPoint, storage: &Storage) -> Option<(Reason, bool)> {
    let writes = mount.rw.unwrap_or(true);
    if mount.typ.as_deref() == Some("volume") {
        let name = mount.name.as_ref().filter(|name| storage.volumes.contains(*name))?;
        return Some((Reason::Volume(name.clone()), writes));
    }
    let path = PathBuf::from(mount.source.as_ref()?);
    storage.touches(&path).then_some((Reason::Path(path), writes))
}

fn is_over(status: Status) -> bool {
    match status {
        Status::Exited | Status::Dead | Status::Removing => true,
        Status::Created | Status::Running | Status::Paused | Status::Restarting | Status::Unknown => false,
    }
}

fn status(word: ContainerSummaryStateEnum) -> Status {
    match word {
        ContainerSummaryStateEnum::EMPTY => Status::Unknown,
        ContainerSummaryStateEnum::CREATED => Status::Created,
        ContainerSummaryStateEnum::RUNNING | ContainerSummaryStateEnum::STOPPING => Status::Running,
        ContainerSummaryStateEnum::PAUSED => Status::Paused,
        ContainerSummaryStateEnum::RESTARTING => Status::Restarting,
        ContainerSummaryStateEnum::EXITED => Status::Exited,
        ContainerSummaryStateEnum::REMOVING => Status::Removing,
        ContainerSummaryStateEnum::DEAD => Status::Dead,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn volume(name: &str, options: &[(&str, &str)]) -> Volume {
        let options = options
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Volume {
            name: name.to_owned(),
            mountpoint: format!("/docker/volumes/{name}/_data"),
            options: options.collect::<HashMap<_, _>>(),
            ..Volume::default()
        }
    }

    fn storage() -> Storage {
        let guarded = Guarded {
            volumes: ["mail".to_owned()].into(),
            binds: [PathBuf::from("/srv/spool")].into(),
            ..Guarded::default()
        };
        let export = [("o", "addr=10.0.0.9,rw"), ("device", ":/mail")];
        let elsewhere = [("o", "addr=10.0.0.8,rw"), ("device", ":/mail")];
        let all = [
            volume("mail", &export),
            volume("alias", &export),
            volume("other", &elsewhere),
            volume("inside", &[("o", "bind"), ("device", "/srv/spool/q")]),
        ];
        Storage::of(&guarded, &all)
    }

    #[test]
    fn what_was_only_made_does_not_run_and_what_is_not_known_does() {
        let seen = |status| Seen {
            container_id: "1".to_owned(),
            name: "web-1".to_owned(),
            status,
            reason: Reason::Volume("mail".to_owned()),
            writes: true,
            labels: BTreeMap::new(),
        };
        assert!(!seen(Status::Created).runs());
        for status in [Status::Running, Status::Paused, Status::Restarting, Status::Unknown] {
            assert!(seen(status).runs(), "{status:?}");
        }
        // Either is looked for: it may be started at any time.
        assert!(!is_over(Status::Created));
    }

    #[test]
    fn paths_inside_and_above_count_but_neighbours_do_not() {
        let storage = storage();
        assert!(storage.touches(Path::new("/srv/spool/q")));
        assert!(storage.touches(Path::new("/srv")));
        assert!(storage.touches(Path::new("/docker/volumes/mail/_data")));
        assert!(!storage.touches(Path::new("/srv/spool2")));
        assert!(!storage.touches(Path::new("/docker/volumes/other/_data")));
    }

    #[test]
    fn another_volume_over_the_same_export_counts() {
        let storage = storage();
        assert!(storage.volumes.contains("alias"));
        assert!(storage.volumes.contains("inside"));
        assert!(!storage.volumes.contains("other"));
    }
}
