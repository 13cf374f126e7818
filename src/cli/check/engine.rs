//! What the engine of this host is set to do that protected services can't live with, or that has surprised others.

use leasehold_compose::model::{MountKind, Project, Service};
use leasehold_sidecar::adapters::engine::{Confinement, Settings};
use leasehold_sidecar::node_context::NodeContext;

/// From these versions on an engine leaves volumes with options mounted when it starts under live-restore.
const KEEPS_MOUNTS: [(u64, u64, u64); 2] = [(23, 0, 7), (24, 0, 6)];

/// A log driver that every engine takes; Podman knows it by another name.
const LOGS_ANYWHERE: &str = "json-file";

/// What was found of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) faults: Vec<String>,
    pub(super) warnings: Vec<String>,
}

/// An engine that does not answer is told by whoever asks it for the images.
pub(super) async fn look(site: &NodeContext) -> Found {
    match site.engine.settings().await {
        Ok(settings) => judge(&settings, &site.project),
        Err(_) => Found::default(),
    }
}

fn judge(settings: &Settings, project: &Project) -> Found {
    let mut found = Found::default();
    if settings.rootless {
        rootless(project, &mut found);
    }
    found
        .warnings
        .extend(services(project).filter_map(|service| logs(service, settings)));
    let confined = settings.confined_by.into_iter();
    let no_proc = confined.flat_map(|by| services(project).filter_map(move |service| own_proc(service, by)));
    found.warnings.extend(no_proc);
    if settings.remaps_users {
        let mapped = services(project).filter(|service| service.userns_mode.is_none());
        found.faults.extend(mapped.map(|service| {
            format!(
                "service {}: the engine remaps users (userns-remap), so it can't join the host's network, and its files on shared \
                 storage would belong to ids of this host alone: write `userns_mode: host` into it, and into the sidecar",
                service.name
            )
        }));
    }
    if settings.live_restore && !keeps_mounts(&settings.version) {
        let volumes = optioned(project);
        if let Some(first) = volumes.first() {
            found.warnings.push(format!(
                "the engine {} runs with live-restore: when it is restarted it unmounts volumes with options ({first}{}), and the next \
                 start of the service finds an empty directory in their place: it is refused for want of its store id, and moved; \
                 upgrade the engine to 24.0.6, or turn live-restore off",
                settings.version,
                if volumes.len() > 1 { ", and others" } else { "" }
            ));
        }
    }
    found
}

fn services(project: &Project) -> impl Iterator<Item = &Service> {
    project.groups.values().flat_map(|group| &group.services)
}

/// What an engine without root's rights can't give.
fn rootless(project: &Project, found: &mut Found) {
    let with_address: Vec<&str> = project
        .groups
        .iter()
        .filter_map(|(name, group)| (!group.vips.is_empty()).then_some(name.as_str()))
        .collect();
    if with_address.is_empty() {
        found.warnings.push(
            "the engine is rootless: the sidecar must run as its user, a port below 1024 can't be used, and where a tether can't tell \
             that its service has ended, nothing else may be able to: such a group is held; see `docs/podman.md`"
                .to_owned(),
        );
    } else {
        found.faults.push(format!(
            "the engine is rootless, and {} has virtual addresses: only root can set them, and a sidecar of root can't share its \
             files with the containers of such an engine: name the engine of root in LEASEHOLD_ENGINE, or take `vips` out",
            with_address.join(", ")
        ));
    }
}

/// A log driver that the engine does not have: it creates no such container.
fn logs(service: &Service, settings: &Settings) -> Option<String> {
    let driver = service.logging.as_ref()?.driver.as_deref()?;
    let known = settings.log_drivers.iter().any(|known| known == driver);
    (!known && !settings.log_drivers.is_empty() && driver != LOGS_ANYWHERE).then(|| {
        format!(
            "service {}: this engine names no log driver `{driver}`, so it may refuse the container; it has {}: write one of them \
             under `logging`",
            service.name,
            settings.log_drivers.join(", ")
        )
    })
}

/// An init of its own that will see the container's `/proc` in place of its own.
fn own_proc(service: &Service, by: Confinement) -> Option<String> {
    let off = by.off();
    let is_off = service
        .security_opt
        .iter()
        .any(|option| option.replacen(':', "=", 1) == off);
    (service.own_init && !is_off).then(|| {
        format!(
            "service {}: {} keeps the tether from mounting a /proc for its init (own_init): programs in it that look for others, such \
             as ps and pkill, find wrong numbers; if it needs them, write `security_opt: [\"{off}\"]` into it, on every host",
            service.name,
            match by {
                Confinement::AppArmor => "AppArmor",
                Confinement::SeLinux => "SELinux",
            }
        )
    })
}

/// The protected volumes that the local driver mounts.
fn optioned(project: &Project) -> Vec<&str> {
    let mounts = services(project).flat_map(|service| &service.mounts);
    let mut names: Vec<&str> = mounts
        .filter(|mount| mount.is_protected())
        .filter_map(|mount| match &mount.kind {
            MountKind::Volume { key, .. } => project.volumes.get(key),
            MountKind::Bind { .. } | MountKind::Tmpfs { .. } | MountKind::File { .. } => None,
        })
        // What an external one is made of stands elsewhere.
        .filter(|volume| volume.external || !volume.driver_opts.is_empty())
        .map(|volume| volume.name.as_str())
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn keeps_mounts(version: &str) -> bool {
    let mut parts = version.split(['.', '+', '-', '~']).map(|part| part.parse::<u64>().ok());
    let mut next = || parts.next().flatten().unwrap_or_default();
    let found = (next(), next(), next());
    let [old, new] = KEEPS_MOUNTS;
    found >= new || (found >= old && found.0 == old.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_engine_is_set_to_is_judged_by_what_it_runs() {
        let volumes = "volumes: [\"store:/store\"]\nvolumes:\n  store: {name: mail-store, driver_opts: {type: nfs}}";
        let with = super::super::testing::project("", "", volumes);
        let without = super::super::testing::project("", "", "");
        let engine = |version: &str, live_restore, remaps_users| Settings {
            version: version.to_owned(),
            live_restore,
            remaps_users,
            ..Settings::default()
        };
        assert_eq!(judge(&engine("20.10.24", false, false), &with), Found::default());
        assert_eq!(judge(&engine("20.10.24", true, false), &without), Found::default());
        assert_eq!(judge(&engine("24.0.6", true, false), &with), Found::default());
        let found = judge(&engine("20.10.24", true, true), &with);
        assert!(
            found.warnings.len() == 1 && found.warnings[0].contains("(mail-store)"),
            "{found:?}"
        );
        assert!(
            found.faults.len() == 1 && found.faults[0].contains("userns-remap"),
            "{found:?}"
        );
        let unmapped = super::super::testing::project("", "", "userns_mode: host");
        assert_eq!(judge(&engine("20.10.24", false, true), &unmapped), Found::default());
    }

    #[test]
    fn an_engine_without_roots_rights_has_no_virtual_addresses() {
        let engine = Settings {
            rootless: true,
            ..Settings::default()
        };
        let with = judge(
            &engine,
            &super::super::testing::project("", ", vips: [10.0.0.9/24]", ""),
        );
        assert!(
            with.faults.len() == 1 && with.faults[0].contains("has virtual addresses") && with.warnings.is_empty(),
            "{with:?}"
        );
        let without = judge(&engine, &super::super::testing::project("", "", ""));
        assert!(
            without.faults.is_empty() && without.warnings.len() == 1 && without.warnings[0].contains("rootless"),
            "{without:?}"
        );
    }

    #[test]
    fn a_log_driver_that_the_engine_does_not_name_is_told() {
        let engine = |drivers: &[&str]| Settings {
            log_drivers: drivers.iter().map(|&driver| driver.to_owned()).collect(),
            ..Settings::default()
        };
        let podman = engine(&["k8s-file", "none", "passthrough", "journald"]);
        let with = |driver: &str| super::super::testing::project("", "", &format!("logging: {{driver: {driver}}}"));
        let found = judge(&podman, &with("local"));
        assert!(
            found.faults.is_empty() && found.warnings.len() == 1 && found.warnings[0].contains("`local`"),
            "{found:?}"
        );
        for (engine, driver) in [
            (&podman, "journald"),
            (&podman, "json-file"),
            (&engine(&["json-file", "local"]), "local"),
            (&engine(&[]), "local"),
        ] {
            assert_eq!(judge(engine, &with(driver)), Found::default(), "{driver}");
        }
    }

    #[test]
    fn what_lets_no_init_have_its_own_proc_is_told() {
        let by = |confined_by| Settings {
            confined_by,
            ..Settings::default()
        };
        let with = |keys: &str| super::super::testing::project("", ", own_init: true", keys);
        for (by, words, off) in [
            (by(Some(Confinement::AppArmor)), "AppArmor", "apparmor:unconfined"),
            (by(Some(Confinement::SeLinux)), "SELinux", "label=disable"),
        ] {
            let found = judge(&by, &with(""));
            assert!(found.faults.is_empty() && found.warnings.len() == 1, "{found:?}");
            assert!(found.warnings[0].contains(words), "{found:?}");
            assert_eq!(judge(&by, &with(&format!("security_opt: [{off}]"))), Found::default());
            assert_eq!(
                judge(&by, &super::super::testing::project("", "", "")),
                Found::default()
            );
        }
        assert_eq!(judge(&by(None), &with("")), Found::default());
    }

    #[test]
    fn the_mended_engines_are_known_by_their_version() {
        for version in ["23.0.7", "23.0.15", "24.0.6", "24.0.6+dfsg1", "25.0.0", "28.1.1-rc.1"] {
            assert!(keeps_mounts(version), "{version}");
        }
        for version in ["20.10.24+dfsg1", "23.0.6", "24.0.5", "19.03.15", "what"] {
            assert!(!keeps_mounts(version), "{version}");
        }
    }
}
