//! A standby's look at the group's storage, through a helper that mounts it read-only and looks for the store ids.
//!
//! What may be looked at is what several hosts may have mounted at once: a directory of the host (whose owner mounted whatever
//! lies below it), a plain local volume, a network file system. A file system on a block device belongs to one host at a time:
//! to mount it, even read-only, may replay its journal under the writer. It is never mounted on a standby, and neither is
//! what is not known by name.

use std::collections::HashMap;
use std::time::Duration;

use super::{Engine, EngineError, Helper, HelperOutcome, MountSource, Result};
use leasehold_compose::model::{Mount, MountKind, Project, Service};

/// File systems that serve several hosts at once; `fuse` and `fuse.NAME` besides, but not `fuseblk`.
const NETWORK: [&str; 11] = [
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "ceph",
    "glusterfs",
    "9p",
    "virtiofs",
    "lustre",
    "beegfs",
    "afs",
];

/// Of a helper's program, which gives up by itself when the storage does not answer, and of the mounts before it.
const HELPER_MAX: Duration = Duration::from_secs(60);

/// What to look at.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    pub project: &'a Project,
    pub service: &'a Service,
    pub node: &'a str,
    /// Where the tether's binary comes from.
    pub binary: &'a MountSource,
    /// What its storage must carry.
    pub store: &'a str,
}

impl Engine {
    /// What is wrong with the storage of a service, as far as it may be looked at from here.
    ///
    /// # Errors
    /// It could not be looked at, which says nothing of it.
    pub async fn look(&self, look: &Look<'_>) -> Result<Option<String>> {
        let targets = self.shared_targets(look).await?;
        if targets.is_empty() {
            return Ok(None);
        }
        match self.run_look(look, "look", &targets).await {
            Ok(outcome) if outcome.exit_code == 0 => Ok(None),
            Ok(outcome) if outcome.exit_code == 1 => Ok(Some(fault(&outcome.stderr))),
            Ok(outcome) => Err(EngineError::invalid(format!(
                "the look ended with {}",
                outcome.exit_code
            ))),
            // A helper that the engine made late has the name: the next look clears it away.
            Err(error) if error.is_conflict() => Err(error),
            // The engine could not mount it: no more could it for a start.
            Err(EngineError::Refused { message, .. }) => Ok(Some(format!("storage can't be mounted: {message}"))),
            Err(EngineError::Missing { what }) => Ok(Some(format!("storage is missing: {what}"))),
            Err(other @ (EngineError::Unreachable(_) | EngineError::Invalid { .. })) => Err(other),
        }
    }

    /// The claims of a service that stand still, in the lines of [`leasehold_base::watched`]; those that may be looked at from here.
    ///
    /// # Errors
    /// They could not be looked at, which says nothing of them.
    pub async fn watch_claims(&self, look: &Look<'_>) -> Result<String> {
        let targets = self.shared_targets(look).await?;
        if targets.is_empty() {
            return Ok(String::new());
        }
        let outcome = self.run_look(look, "watch", &targets).await?;
        match outcome.exit_code {
            0 => Ok(outcome.stdout),
            code => Err(EngineError::invalid(format!(
                "the watch ended with {code}: {}",
                fault(&outcome.stderr)
            ))),
        }
    }

    /// The protected mounts that may be looked at from here.
    async fn shared_targets(&self, look: &Look<'_>) -> Result<Vec<String>> {
        self.image(&look.service.image).await?;
        let mut targets = Vec::new();
        for mount in look.service.mounts.iter().filter(|mount| mount.is_protected()) {
            if self.may_mount(look.project, mount).await? {
                targets.push(mount.target.clone());
            }
        }
        Ok(targets)
    }

    /// Runs `tether store FORM` over these mounts; its helper has the name of the form.
    async fn run_look(&self, look: &Look<'_>, form: &str, targets: &[String]) -> Result<HelperOutcome> {
        let words = ["/leasehold/tether", "store", form, "--id", look.store].map(str::to_owned);
        let command: Vec<String> = words.into_iter().chain(targets.iter().cloned()).collect();
        let helper = Helper {
            project: look.project,
            service: look.service,
            node: look.node,
            binary: look.binary,
            name: form,
            only: Some(targets),
            devices: &[],
            command: &command,
            user: None,
            deadline: HELPER_MAX,
        };
        self.run_helper(&helper).await
    }

    /// Whether several hosts may have it mounted at once.
    pub(super) async fn may_mount(&self, project: &Project, mount: &Mount) -> Result<bool> {
        let key = match &mount.kind {
            MountKind::Bind { .. } => return Ok(true),
            MountKind::Volume { key, .. } => key,
            MountKind::Tmpfs { .. } | MountKind::File { .. } => return Ok(false),
        };
        let Some(volume) = project.volumes.get(key) else {
            return Ok(false);
        };
        // The file may not say, where the volume is external; the engine does.
        let docker = self.client().await?;
        match self.ask("inspect volume", docker.inspect_volume(&volume.name)).await {
            Ok(found) => Ok(serves_several(&found.driver, &found.options)),
            Err(EngineError::Missing { .. }) => Ok(false),
            Err(other) => Err(other),
        }
    }
}

/// Whether a volume may be mounted here while another host writes to it.
pub(super) fn serves_several(driver: &str, options: &HashMap<String, String>) -> bool {
    let option = |name: &str| options.get(name).map(String::as_str);
    if driver != "local" {
        return false;
    }
    match option("type") {
        None | Some("") => option("device").is_none_or(str::is_empty),
        Some("none") => option("o").is_some_and(|words| words.split(',').any(|word| ["bind", "rbind"].contains(&word))),
        Some(kind) => NETWORK.contains(&kind) || kind == "fuse" || kind.starts_with("fuse."),
    }
}

fn fault(stderr: &str) -> String {
    let line = stderr.lines().last().unwrap_or("the look failed without a word");
    line.strip_prefix("leasehold: ").unwrap_or(line).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may(driver: &str, options: &[(&str, &str)]) -> bool {
        let options = options
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        serves_several(driver, &options.collect())
    }

    #[test]
    fn what_one_host_alone_may_mount_is_never_looked_at() {
        for kind in [
            "ext4",
            "xfs",
            "btrfs",
            "zfs",
            "ocfs2",
            "gfs2",
            "iso9660",
            "fuseblk",
            "a new one",
        ] {
            assert!(!may("local", &[("type", kind), ("device", "/dev/sdb")]), "{kind}");
        }
        assert!(!may("local", &[("device", "/dev/sdb")]));
        assert!(!may("local", &[("type", "none"), ("o", "ro"), ("device", "/dev/sdb")]));
        assert!(!may("netapp", &[]));
        assert!(!may("rexray", &[("type", "nfs")]));
    }

    #[test]
    fn what_several_hosts_may_mount_is_looked_at() {
        assert!(may("local", &[]));
        assert!(may(
            "local",
            &[("type", "none"), ("o", "rw,bind"), ("device", "/srv/mail")]
        ));
        for kind in NETWORK.into_iter().chain(["fuse", "fuse.sshfs"]) {
            assert!(may("local", &[("type", kind), ("device", "nas:/mail")]), "{kind}");
        }
    }
}
