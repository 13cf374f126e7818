//! In what a container differs from what the file says now; and what of a changed file takes more than a new container.

use std::collections::BTreeMap;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::fault::Fault;
use super::model::{Cluster, Group, Mount, Project, Service};

/// Letters of a fingerprint of one key: enough to see that it has changed.
const LETTERS: usize = 8;
/// Keys of the model that the file calls otherwise.
const NAMES: [(&str, &str); 2] = [("mounts", "volumes"), ("nano_cpus", "cpus")];

/// Every key of a service with a fingerprint of its value, as a label keeps it: `image=12ab34cd,user=...`.
#[must_use]
pub fn fingerprints(service: &Service) -> String {
    let keys = keys(service).into_iter().map(|(key, print)| format!("{key}={print}"));
    keys.collect::<Vec<_>>().join(",")
}

/// The keys that differ from what such a label says, in the file's own words; the order of starting is none of the container's.
#[must_use]
pub fn changed(label: &str, service: &Service) -> Vec<String> {
    let before: BTreeMap<&str, &str> = label.split(',').filter_map(|pair| pair.split_once('=')).collect();
    let now = keys(service);
    let all = before.keys().copied().chain(now.keys().map(String::as_str));
    let mut changed: Vec<String> = all
        .filter(|key| before.get(key).copied() != now.get(*key).map(String::as_str))
        .map(|key| {
            NAMES
                .iter()
                .find(|(own, _)| *own == key)
                .map_or(key, |(_, name)| name)
                .to_owned()
        })
        .collect();
    changed.sort();
    changed.dedup();
    changed
}

fn keys(service: &Service) -> BTreeMap<String, String> {
    let service = Service {
        depends_on: BTreeMap::new(),
        ..service.clone()
    };
    // Plain data: serialising it cannot fail.
    let Ok(Value::Object(fields)) = serde_json::to_value(&service) else {
        return BTreeMap::new();
    };
    let print = |value: &Value| -> String {
        let digest = Sha256::digest(value.to_string());
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        hex.chars().take(LETTERS).collect()
    };
    fields.iter().map(|(key, value)| (key.clone(), print(value))).collect()
}

/// What of the file as it is now a sidecar that was started with the earlier one can't take by making containers anew.
fn beyond_containers(before: &Project, now: &Project) -> Option<String> {
    if (&before.name, &before.directory) != (&now.name, &now.directory) {
        return Some("the project's name or directory".to_owned());
    }
    if before.cluster != now.cluster {
        return Some("the top-level x-leasehold".to_owned());
    }
    let names = |project: &Project| -> Vec<(String, Vec<String>)> {
        let services = |group: &Group| group.services.iter().map(|service| service.name.clone()).collect();
        project
            .groups
            .iter()
            .map(|(name, group)| (name.clone(), services(group)))
            .collect()
    };
    if names(before) != names(now) {
        return Some("which services are protected, or in which order they start".to_owned());
    }
    before.groups.values().zip(now.groups.values()).find_map(|(old, new)| {
        let policy = |group: &Group| Group {
            services: Vec::new(),
            ..group.clone()
        };
        if policy(old) != policy(new) {
            return Some(format!("addresses, probes or policy of group {}", new.name));
        }
        let mut services = old.services.iter().zip(&new.services);
        services.find_map(|(old, new)| {
            let keys = fixed(old, new);
            let storage = storage(before, old) != storage(now, new);
            let keys = keys.or(storage.then_some("the protected volumes"))?;
            Some(format!("{keys} of service {}", new.name))
        })
    })
}

/// Why the file as it is now is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    pub what: String,
    /// What must be done first.
    pub obstacle: String,
}

/// What a sidecar that was started with the earlier file takes of it now.
///
/// # Errors
/// [`Misfit`]: it has faults, or takes a new sidecar.
pub fn takeable(before: &Project, read: Result<Project, Vec<Fault>>) -> Result<Project, Misfit> {
    let now = read.map_err(|faults| Misfit {
        what: "the compose file is not as `leasehold check` wants it".to_owned(),
        obstacle: faults.first().map(ToString::to_string).unwrap_or_default(),
    })?;
    match beyond_containers(before, &now) {
        None => Ok(now),
        Some(what) => Err(Misfit {
            what: format!("the file has changed since the sidecar was started: {what}"),
            obstacle: "it takes a new sidecar: `leasehold hold 120s`, then `docker compose up -d` it, which stops in order what has \
                       left the file"
                .to_owned(),
        }),
    }
}

/// What a sidecar goes on with that comes after a crash of one which took `taken`: an edit that is not finished, or that takes a
/// new sidecar, is not taken by the crash. Ttl and promises are the cluster's to say, whatever stands in the file. With
/// it, whether that is what was taken before.
///
/// # Errors
/// The faults of the file, where nothing was taken before.
pub fn after_crash(taken: Option<Project>, read: Result<Project, Vec<Fault>>) -> Result<(Project, bool), Vec<Fault>> {
    let Some(taken) = taken else {
        return read.map(|now| (now, false));
    };
    let is_taken_by_living = |now: &Project| {
        let cluster = Cluster {
            ttl: now.cluster.ttl,
            promises: now.cluster.promises,
            ..taken.cluster.clone()
        };
        let taken = Project {
            cluster,
            ..taken.clone()
        };
        beyond_containers(&taken, now).is_none()
    };
    Ok(match read {
        Ok(now) if is_taken_by_living(&now) => (now, false),
        Ok(_) | Err(_) => (taken, true),
    })
}

/// A key that others than the container itself count on.
fn fixed(old: &Service, new: &Service) -> Option<&'static str> {
    let same = [
        (old.stop_grace_period == new.stop_grace_period, "stop_grace_period"),
        (old.depends_on == new.depends_on, "depends_on"),
        (old.container_name == new.container_name, "container_name"),
        (old.ports == new.ports, "ports"),
        (old.network_mode == new.network_mode, "network_mode"),
    ];
    same.into_iter().find(|(same, _)| !same).map(|(_, key)| key)
}

/// What is protected, down to where the volumes lead.
fn storage(project: &Project, service: &Service) -> Vec<(Mount, Option<String>)> {
    let protected = service.mounts.iter().filter(|mount| mount.is_protected());
    let of = |mount: &Mount| {
        let super::model::MountKind::Volume { key, .. } = &mount.kind else {
            return (mount.clone(), None);
        };
        let volume = project.volumes.get(key).map(|volume| format!("{volume:?}"));
        (mount.clone(), volume)
    };
    protected.map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{REST, file, read_files};
    use super::*;

    fn project(own: &str, keys: &str, rest: &str) -> Project {
        read_files(&[("compose.yaml", &file(own, keys, rest))]).unwrap_or_else(|faults| panic!("{faults:#?}"))
    }

    #[test]
    fn keys_that_changed_are_named_as_in_the_file() {
        let service = |keys: &str| project("", keys, REST).groups["s"].services[0].clone();
        let label = fingerprints(&service("environment: {A: 1}\nuser: a"));
        for (keys, named) in [
            ("user: a\nenvironment: [A=1]", ""),
            ("image: i:2\nuser: a\nenvironment: {A: 2}", "environment, image"),
            (
                "environment: {A: 1}\nvolumes: ['./x:/x:ro']\ncpus: 1",
                "cpus, user, volumes",
            ),
        ] {
            assert_eq!(changed(&label, &service(keys)).join(", "), named, "{keys}");
        }
        assert!(label.len() < 1500, "{}", label.len());
    }

    #[test]
    fn a_crash_takes_what_a_living_sidecar_would() {
        let taken = || project("vips: ['10.0.0.1/8']", "user: a", REST);
        let after = |read| after_crash(Some(taken()), read).unwrap();
        let settings = project("vips: ['10.0.0.1/8']", "user: b", REST);
        assert_eq!(after(Ok(settings.clone())), (settings, false));
        let mut longer = taken();
        longer.cluster.ttl *= 2;
        assert_eq!(after(Ok(longer.clone())), (longer, false));
        let policy = project("vips: ['10.0.0.2/8']", "user: a", REST);
        assert_eq!(after(Ok(policy.clone())), (taken(), true));
        assert_eq!(after(Err(Vec::new())), (taken(), true));
        assert_eq!(after_crash(None, Ok(policy.clone())).unwrap(), (policy, false));
        assert!(after_crash(None, Err(Vec::new())).is_err());
        // As it is kept in the meantime.
        let kept: Project = serde_json::from_str(&serde_json::to_string(&taken()).unwrap()).unwrap();
        assert_eq!(kept, taken());
    }

    #[test]
    fn a_file_that_is_not_taken_is_told_with_what_to_do() {
        let before = project("vips: ['10.0.0.1/8']", "user: a", REST);
        let settings = project("vips: ['10.0.0.1/8']", "user: b", REST);
        assert_eq!(takeable(&before, Ok(settings.clone())), Ok(settings));
        let policy = takeable(&before, Ok(project("vips: ['10.0.0.2/8']", "user: a", REST))).unwrap_err();
        assert!(policy.what.contains("sidecar was started: addresses"), "{policy:?}");
        assert!(policy.obstacle.contains("a new sidecar: `leasehold hold"), "{policy:?}");
        let faults = read_files(&[("compose.yaml", "services: [")]).unwrap_err();
        let first = faults[0].to_string();
        let broken = takeable(&before, Err(faults)).unwrap_err();
        assert!(
            broken.what.contains("leasehold check") && broken.obstacle == first,
            "{broken:?}"
        );
    }

    #[test]
    fn what_the_sidecar_itself_counts_on_takes_a_new_one() {
        let before = project("vips: ['10.0.0.1/8']", "volumes: ['data:/d']", REST);
        let beyond = |own: &str, keys: &str, rest: &str| {
            beyond_containers(&before, &project(own, keys, rest)).unwrap_or_default()
        };
        let own = "vips: ['10.0.0.1/8']";
        let volumes = "volumes: ['data:/d']";
        assert_eq!(
            beyond(own, "image: i:2\ncommand: x\nvolumes: ['data:/d', './c:/c:ro']", REST),
            ""
        );
        assert_eq!(
            beyond("vips: ['10.0.0.2/8']", volumes, REST),
            "addresses, probes or policy of group s"
        );
        assert_eq!(
            beyond("group: t, vips: ['10.0.0.1/8']", volumes, REST),
            "which services are protected, or in which order they start"
        );
        for (keys, named) in [
            ("volumes: ['data:/d', 'own:/o']", "the protected volumes of service s"),
            ("volumes: ['data:/d']\nports: ['1:1']", "ports of service s"),
            (
                "volumes: ['data:/d']\nstop_grace_period: 1s",
                "stop_grace_period of service s",
            ),
        ] {
            assert_eq!(beyond(own, keys, REST), named);
        }
        let elsewhere = REST.replace("data: {external: true}", "data: {external: true, name: d2}");
        assert_eq!(beyond(own, volumes, &elsewhere), "the protected volumes of service s");
    }
}
