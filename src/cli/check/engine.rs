//! What the engine of this host is set to do that protected services can't live with, or that has surprised others.

use leasehold_compose::model::{MountKind, Project};
use leasehold_sidecar::adapters::engine::Settings;
use leasehold_sidecar::node_context::NodeContext;

/// From these versions on an engine leaves volumes with options mounted when it starts under live-restore.
const KEEPS_MOUNTS: [(u64, u64, u64); 2] = [(23, 0, 7), (24, 0, 6)];

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
    if settings.remaps_users {
        let services = project.groups.values().flat_map(|group| &group.services);
        let mapped = services.filter(|service| service.userns_mode.is_none());
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

/// The protected volumes that the local driver mounts.
fn optioned(project: &Project) -> Vec<&str> {
    let services = project.groups.values().flat_map(|group| &group.services);
    let mounts = services.flat_map(|service| &service.mounts);
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
    fn the_mended_engines_are_known_by_their_version() {
        for version in ["23.0.7", "23.0.15", "24.0.6", "24.0.6+dfsg1", "25.0.0", "28.1.1-rc.1"] {
            assert!(keeps_mounts(version), "{version}");
        }
        for version in ["20.10.24+dfsg1", "23.0.6", "24.0.5", "19.03.15", "what"] {
            assert!(!keeps_mounts(version), "{version}");
        }
    }
}
