//! The groups of the stories, as their compose files say.

use std::time::Duration;

use leasehold::core::adoption::left::{Part, Parts};
use leasehold::core::event::ServiceKey;
use leasehold::core::group::made::Made;
use leasehold::core::group::{
    GroupSettings, OnConflict, OnFailure, OnStandby, ProbeSettings, SecondOpinion, ServiceSettings,
};
use leasehold::core::host::stuck::OnStopFailure;
use leasehold::core::takeover::confirm::Failover;

use super::driver::World;

impl World {
    /// What the file says of the group, with what the story has changed in it.
    pub(super) fn settings(&self, group: &str) -> GroupSettings {
        let mut services = settings(group, self.on_stop_failure).services;
        services.retain(|service| !self.without.contains(&service.name));
        GroupSettings {
            services,
            on_failure: self.on_failure,
            failback: self.failback,
            failover: self.confirmed(group),
            on_conflict: self.on_conflict,
            second_opinion: self.second_opinion,
            storage_look: self.storage_look,
            start_trial: self.start_trial,
            exclusive_mounts: self.exclusive_mounts,
            ..settings(group, self.on_stop_failure)
        }
    }

    /// `web` is nobody's concern.
    fn confirmed(&self, group: &str) -> Failover {
        if group == "web" { Failover::Auto } else { self.failover }
    }
}

/// What a sidecar remembers of a run of the group.
pub(crate) fn parts(group: &str) -> Parts {
    let settings = settings(group, OnStopFailure::Hold);
    let services = settings.services.into_iter().map(|service| Part {
        name: service.name,
        grace_ms: 1000,
    });
    Parts {
        services: services.collect(),
        vips: settings.addresses,
        exclusive_mounts: settings.exclusive_mounts,
    }
}

/// A container as it was made for this store.
pub(crate) fn made(store: Option<String>) -> Made {
    Made {
        store,
        fingerprint: "f1".to_owned(),
        image: "sha256:1".to_owned(),
        content: String::new(),
    }
}

pub(super) fn services(group: &str) -> Vec<ServiceKey> {
    let group = settings(group, OnStopFailure::Hold);
    (0..group.services.len())
        .map(|service| ServiceKey {
            group: group.name.clone(),
            service,
        })
        .collect()
}

/// `sams` has one service, an address and a probe, `pair` two probes, `post` a canary besides, `routed` a gateway; `web` has two services and neither; in
/// `shop` the second waits for a healthy first.
fn settings(group: &str, on_stop_failure: OnStopFailure) -> GroupSettings {
    let is_plain = matches!(group, "web" | "shop");
    let names: &[&str] = if is_plain { &["db", "http"] } else { &["sams"] };
    let services = names.iter().map(|name| ServiceSettings {
        name: (*name).to_owned(),
        stop_grace: Duration::from_secs(1),
        after_healthy: if (group, *name) == ("shop", "http") {
            vec![0]
        } else {
            Vec::new()
        },
        left: false,
    });
    GroupSettings {
        name: group.to_owned(),
        gone: false,
        services: services.collect(),
        vips: usize::from(!is_plain),
        vip_first: false,
        probes: probes(group),
        start_timeout: Duration::from_secs(60),
        on_failure: OnFailure::Recover,
        restarts: 3,
        restart_window: Duration::from_secs(600),
        grace: None,
        on_stop_failure,
        failover: Failover::Auto,
        on_conflict: OnConflict::Wait,
        failback: None,
        second_opinion: SecondOpinion::Off,
        address: "192.0.2.10".to_owned(),
        addresses: if is_plain {
            Vec::new()
        } else {
            vec!["192.0.2.10/24".to_owned()]
        },
        storage_look: None,
        start_trial: None,
        exclusive_mounts: false,
    }
}

fn probes(group: &str) -> Vec<ProbeSettings> {
    let asked = |name: &str| ProbeSettings {
        on_standby: OnStandby::Asks,
        ..ProbeSettings::named(name)
    };
    match group {
        "web" | "shop" => Vec::new(),
        "post" => vec![
            ProbeSettings::named("smtp 25"),
            ProbeSettings::canary("canary p@m.test", Duration::from_secs(60)),
        ],
        "pair" => ["smtp 25", "imap 143"].map(asked).into(),
        "routed" => vec![
            asked("smtp 25"),
            ProbeSettings {
                on_standby: OnStandby::ChecksWay,
                ..ProbeSettings::named("gateway 192.0.2.1")
            },
        ],
        _ => vec![asked("smtp 25")],
    }
}
