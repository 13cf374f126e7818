//! Volumes whose file system lies on a block device, and what the kernel says of these devices.
//!
//! The sidecar sees neither the host's mounts nor its devices, and shall not: whoever may read a disk may read all of it, for
//! ever. A helper container gets the devices, to read, with no capability and for one look.

use std::collections::{BTreeSet, HashMap};
use std::str::FromStr;
use std::time::Duration;

use super::looks::serves_several;
use super::{Engine, EngineError, Helper, MountSource, Result};
use leasehold_base::device::{self, Hold, Kind};
use leasehold_compose::model::{MountKind, Project, Service};

/// File systems that live in memory, or that several hosts mount from one device by design.
const HARMLESS: [&str; 5] = ["tmpfs", "ramfs", "overlay", "ocfs2", "gfs2"];

/// From the helper's start to its end, beside what it waits itself.
const HELPER_MAX: Duration = Duration::from_secs(10);

/// What a volume means to several hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Any number of hosts may have it mounted.
    Several,
    /// One host alone may mount this device.
    Alone { device: String },
    /// The driver mounts what it likes.
    Unknown { driver: String },
}

/// A look at devices through a helper.
#[derive(Clone, Copy, Debug)]
pub struct DeviceLook<'a> {
    pub project: &'a Project,
    /// Whose image it gets.
    pub service: &'a Service,
    pub node: &'a str,
    pub binary: &'a MountSource,
    pub devices: &'a [String],
}

impl Engine {
    /// What each volume of a service, by its name, means to several hosts. Those that are not there are left out.
    pub async fn sharing(&self, project: &Project, service: &Service) -> Result<Vec<(String, Sharing)>> {
        let keys = service.mounts.iter().filter_map(|mount| match &mount.kind {
            // One that is read-only for the service is mounted all the same.
            MountKind::Volume { key, .. } => project.volumes.get(key),
            MountKind::Bind { .. } | MountKind::Tmpfs { .. } | MountKind::File { .. } => None,
        });
        let names: BTreeSet<&str> = keys.map(|volume| volume.name.as_str()).collect();
        let docker = self.client().await?;
        let mut all = Vec::new();
        for name in names {
            match self.ask("inspect volume", docker.inspect_volume(name)).await {
                Ok(found) => all.push((name.to_owned(), sharing(&found.driver, &found.options))),
                Err(EngineError::Missing { .. }) => {}
                Err(other) => return Err(other),
            }
        }
        Ok(all)
    }

    /// The devices that one host alone may mount.
    pub async fn exclusive_devices(&self, project: &Project, service: &Service) -> Result<Vec<String>> {
        let all = self.sharing(project, service).await?;
        let devices = all.into_iter().filter_map(|(_, sharing)| match sharing {
            Sharing::Alone { device } => Some(device),
            Sharing::Several | Sharing::Unknown { .. } => None,
        });
        Ok(devices.collect())
    }

    /// Whether anything on this host has them mounted; waits so long for an unmount.
    pub async fn devices_held(&self, look: &DeviceLook<'_>, wait: Duration) -> Result<Vec<Hold>> {
        let words = ["held".to_owned(), "--wait".to_owned(), wait.as_millis().to_string()];
        self.look_at_devices(look, "unmount", &words, wait).await
    }

    /// What file systems they carry.
    pub async fn device_kinds(&self, look: &DeviceLook<'_>) -> Result<Vec<Kind>> {
        self.look_at_devices(look, "devices", &["kind".to_owned()], Duration::ZERO)
            .await
    }

    /// One answer for each device.
    async fn look_at_devices<T: FromStr<Err = String>>(
        &self,
        look: &DeviceLook<'_>,
        name: &str,
        words: &[String],
        wait: Duration,
    ) -> Result<Vec<T>> {
        let form = ["/leasehold/tether", device::FORM].map(str::to_owned);
        let command: Vec<String> = form.iter().chain(words).chain(look.devices).cloned().collect();
        let helper = Helper {
            project: look.project,
            service: look.service,
            node: look.node,
            binary: look.binary,
            name,
            only: Some(&[]),
            devices: look.devices,
            command: &command,
            user: Some("0:0"),
            deadline: wait + HELPER_MAX,
        };
        let outcome = self.run_helper(&helper).await?;
        if outcome.exit_code != 0 {
            return Err(EngineError::invalid(format!("{name}: {}", outcome.stderr.trim())));
        }
        let lines = outcome
            .stdout
            .lines()
            .map(|line| line.parse().map_err(EngineError::invalid));
        let found: Vec<T> = lines.collect::<Result<_>>()?;
        if found.len() != look.devices.len() {
            return Err(EngineError::invalid(format!("{name}: not an answer for each device")));
        }
        Ok(found)
    }
}

fn sharing(driver: &str, options: &HashMap<String, String>) -> Sharing {
    let option = |name: &str| options.get(name).map_or("", String::as_str);
    if driver != "local" {
        let driver = driver.to_owned();
        return Sharing::Unknown { driver };
    }
    let (kind, device) = (option("type"), option("device"));
    if serves_several(driver, options) || HARMLESS.contains(&kind) || !device.starts_with('/') {
        return Sharing::Several;
    }
    let device = device.to_owned();
    Sharing::Alone { device }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(driver: &str, options: &[(&str, &str)]) -> Sharing {
        let options = options
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        sharing(driver, &options.collect())
    }

    #[test]
    fn a_file_system_on_a_device_is_of_one_host() {
        for kind in ["ext4", "xfs", "btrfs", "f2fs", "fuseblk", "a new one", ""] {
            let device = "/dev/mapper/mail".to_owned();
            assert_eq!(
                of("local", &[("type", kind), ("device", &device)]),
                Sharing::Alone { device }
            );
        }
    }

    #[test]
    fn what_several_hosts_may_mount_needs_no_wait() {
        assert_eq!(of("local", &[]), Sharing::Several);
        for kind in ["nfs", "cifs", "ceph", "fuse.sshfs", "tmpfs", "ocfs2", "gfs2"] {
            assert_eq!(
                of("local", &[("type", kind), ("device", "/dev/x")]),
                Sharing::Several,
                "{kind}"
            );
        }
        // A directory, whose mount is the host's; a dataset, whose pool is.
        assert_eq!(
            of("local", &[("type", "none"), ("o", "bind"), ("device", "/srv")]),
            Sharing::Several
        );
        assert_eq!(
            of("local", &[("type", "zfs"), ("device", "tank/mail")]),
            Sharing::Several
        );
        assert!(matches!(of("rexray", &[]), Sharing::Unknown { driver } if driver == "rexray"));
    }
}
