//! What must be the same on every host: each key of a group with a fingerprint of its value, so that nodes can compare their files
//! without showing them to each other.
//!
//! What belongs to a host may differ, and is not among them: names of containers and hosts, where a directory lies, devices, limits of
//! memory and processors, logging, labels, name servers. Images are compared by what is in them.

use std::collections::BTreeMap;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::model::{Group, Mount, MountKind, NetworkMode, Project, Service};

/// Hexadecimal digits of a fingerprint: one pair of different values in 16 million looks the same.
const DIGITS: usize = 6;
/// Of a value that may hold a secret. One pair in 256 looks the same: who has the fingerprint can rule a guess out, and confirm none.
const DIGITS_OF_SECRETS: usize = 2;

/// The fingerprints of a group, by the names in the file: `vips`, or `SERVICE.command`. What is not stated is left out, so that a
/// key which a later version adds makes no difference.
#[must_use]
pub fn fingerprints(project: &Project, group: &Group) -> BTreeMap<String, String> {
    let mut all = Prints(BTreeMap::new());
    all.policy(group);
    for service in &group.services {
        all.service(project, service);
    }
    all.0
}

struct Prints(BTreeMap<String, String>);

impl Prints {
    fn add(&mut self, key: impl Into<String>, value: &impl Serialize) {
        self.add_digits(key, value, DIGITS);
    }

    fn add_secret(&mut self, key: impl Into<String>, value: &impl Serialize) {
        self.add_digits(key, value, DIGITS_OF_SECRETS);
    }

    fn add_digits(&mut self, key: impl Into<String>, value: &impl Serialize, digits: usize) {
        // Plain data: serialising it cannot fail.
        let text = serde_json::to_string(value).unwrap_or_default();
        if ["null", "[]", "{}", "\"\"", "false"].contains(&text.as_str()) {
            return;
        }
        let hex: String = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
        self.0.insert(key.into(), hex.chars().take(digits).collect());
    }

    fn policy(&mut self, group: &Group) {
        // By name: a key that is added to the group must be thought of here.
        let Group {
            name: _,
            services: _,
            vips,
            vip_first,
            on_conflict,
            probes,
            start_timeout,
            failback,
            on_failure,
            restarts,
            lease_loss_grace,
            on_stop_failure,
            failover,
            second_opinion,
            storage_look,
            start_trial,
        } = group;
        self.add("vips", vips);
        self.add("vip_first", vip_first);
        // A version without it does what its default says.
        if !on_conflict.is_wait() {
            self.add("on_conflict", on_conflict);
        }
        self.add("probes", probes);
        self.add("start_timeout", start_timeout);
        self.add("failback", failback);
        self.add("on_failure", on_failure);
        self.add("restarts", restarts);
        self.add("lease_loss_grace", lease_loss_grace);
        self.add("on_stop_failure", on_stop_failure);
        self.add("failover", failover);
        self.add("second_opinion", second_opinion);
        self.add("storage_look", storage_look);
        self.add("start_trial", start_trial);
    }

    fn service(&mut self, project: &Project, service: &Service) {
        let key = |name: &str| format!("{}.{name}", service.name);
        self.add_secret(key("environment"), &service.environment);
        self.add_secret(key("command"), &service.command);
        self.add_secret(key("entrypoint"), &service.entrypoint);
        // So that nothing changes for whoever does without.
        if service.own_init {
            self.add(key("own_init"), &service.own_init);
        }
        self.add_secret(key("healthcheck"), &service.healthcheck);
        self.add(key("user"), &service.user);
        self.add(key("userns_mode"), &service.userns_mode);
        self.add(key("working_dir"), &service.working_dir);
        self.add(key("network_mode"), &service.network_mode.as_ref().map(network));
        self.add(key("ports"), &service.ports);
        self.add(key("tmpfs"), &service.tmpfs);
        self.add(key("cap_add"), &service.cap_add);
        self.add(key("cap_drop"), &service.cap_drop);
        self.add(key("sysctls"), &service.sysctls);
        self.add(key("read_only"), &service.read_only);
        self.add(key("stop_signal"), &service.stop_signal);
        self.add(key("stop_grace_period"), &service.stop_grace_period);
        self.add(key("depends_on"), &service.depends_on);
        let mut mounts: Vec<_> = service.mounts.iter().map(|mount| place(project, mount)).collect();
        mounts.sort();
        self.add_secret(key("volumes"), &mounts);
    }
}

/// Whose network it shares belongs to the host, that it shares one does not.
fn network(mode: &NetworkMode) -> &'static str {
    match mode {
        NetworkMode::Host => "host",
        NetworkMode::None => "none",
        NetworkMode::Bridge => "bridge",
        NetworkMode::Service(_) | NetworkMode::Container(_) => "shared",
    }
}

/// Where a mount leads: a volume by its name and what its driver is told, which may hold a password; a directory of the host by
/// its target alone.
fn place(project: &Project, mount: &Mount) -> (String, bool, String) {
    let from = match &mount.kind {
        MountKind::Volume { key, subpath } => {
            let volume = project
                .volumes
                .get(key)
                .map(|volume| (&volume.name, &volume.driver, &volume.driver_opts));
            serde_json::to_string(&(volume, subpath)).unwrap_or_default()
        }
        MountKind::Bind { .. } => "bind".to_owned(),
        MountKind::Tmpfs { .. } => "tmpfs".to_owned(),
        MountKind::File { .. } => "file".to_owned(),
    };
    (mount.target.clone(), mount.read_only, from)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{REST, file, read_files};
    use super::*;

    fn prints(own: &str, keys: &str, rest: &str) -> BTreeMap<String, String> {
        let project =
            read_files(&[("compose.yaml", &file(own, keys, rest))]).unwrap_or_else(|faults| panic!("{faults:#?}"));
        fingerprints(&project, &project.groups["s"])
    }

    fn differ(one: &BTreeMap<String, String>, other: &BTreeMap<String, String>) -> String {
        let keys = one
            .keys()
            .chain(other.keys())
            .filter(|key| one.get(*key) != other.get(*key));
        let mut keys: Vec<&str> = keys.map(String::as_str).collect();
        keys.sort_unstable();
        keys.dedup();
        keys.join(" ")
    }

    #[test]
    fn what_must_be_the_same_is_told_apart_by_its_name() {
        let one = prints(
            "vips: ['10.0.0.1/8']",
            "environment: {A: 1}\nvolumes: ['data:/x']",
            REST,
        );
        for (own, keys, wanted) in [
            (
                "vips: ['10.0.0.1/8']",
                "environment: [A=1]\nvolumes: [{type: volume, source: data, target: /x}]",
                "",
            ),
            (
                "vips: ['10.0.0.2/8']",
                "environment: {A: 1}\nvolumes: ['data:/x']",
                "vips",
            ),
            (
                "failover: confirm",
                "environment: {A: 1}\nvolumes: ['data:/x']",
                "failover vips",
            ),
            (
                "vips: ['10.0.0.1/8']",
                "environment: {A: 2}\nvolumes: ['data:/x']",
                "s.environment",
            ),
            (
                "vips: ['10.0.0.1/8']",
                "environment: {A: 1}\nvolumes: ['data:/y']\nuser: u",
                "s.user s.volumes",
            ),
            // What belongs to a host.
            (
                "vips: ['10.0.0.1/8']",
                "environment: {A: 1}\nvolumes: ['data:/x']\nhostname: h\nmem_limit: 100m\nlabels: {a: b}\ndns: [10.0.0.3]",
                "",
            ),
        ] {
            assert_eq!(differ(&one, &prints(own, keys, REST)), wanted, "{own} {keys}");
        }
    }

    #[test]
    fn a_directory_may_lie_elsewhere_and_a_volume_may_not() {
        let at = |keys: &str, rest: &str| prints("", keys, rest);
        assert_eq!(
            differ(&at("volumes: ['/srv/a:/x']", REST), &at("volumes: ['/srv/b:/x']", REST)),
            ""
        );
        let renamed = REST.replace("data: {external: true}", "data: {external: true, name: other}");
        assert_ne!(renamed, REST);
        let keys = "volumes: ['data:/x']";
        assert_eq!(differ(&at(keys, REST), &at(keys, &renamed)), "s.volumes");
    }

    #[test]
    fn whose_network_is_shared_may_differ() {
        let in_network = |mode: &str| prints("", &format!("network_mode: {mode}"), REST);
        assert_eq!(differ(&in_network("container:a"), &in_network("container:b")), "");
        assert_eq!(
            differ(&in_network("container:a"), &in_network("host")),
            "s.network_mode"
        );
    }

    #[test]
    fn it_is_short_and_tells_no_secret() {
        let all = prints("", "environment: {PASSWORD: secret}", REST);
        assert_eq!(all["s.environment"].len(), DIGITS_OF_SECRETS);
        let length: usize = all.iter().map(|(key, print)| key.len() + print.len() + 6).sum();
        assert!(length < 600, "{length}");
    }
}
