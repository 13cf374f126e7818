//! `x-leasehold`: what holds for the cluster, and what a service says about its group.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::context::Context;
use super::cursor::At;
use super::events;
use super::fault::Faults;
use super::fence;
use super::model::{
    Cluster, EtcdTls, EtcdUser, Failback, Failover, OnConflict, OnFailure, OnStopFailure, Probe, RestartBudget,
    SecondOpinion, Vip, rounded,
};
use super::probes;
use super::scalar::{self, NAME_PATTERN};
use super::service;
use leasehold_core::protocol::policy::{BUDGET_MAX, QUIET_DEFAULT, QUIET_MAX, QUIET_MIN, WINDOW_MAX, WINDOW_MIN};

const TTL_DEFAULT: Duration = Duration::from_secs(10);
const TTL_MIN: Duration = Duration::from_secs(1);
const TTL_MAX: Duration = Duration::from_secs(300);
/// Longer election timeouts than this are refused by etcd itself.
const ELECTION_TIMEOUT_MAX: Duration = Duration::from_secs(50);
const START_MIN: Duration = Duration::from_secs(1);
const START_MAX: Duration = Duration::from_secs(3600);
/// Each look costs a container.
const LOOK_MIN: Duration = Duration::from_secs(10);
const TRIAL_MIN: Duration = Duration::from_secs(3600);
const TRIAL_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
const PROMISES_MIN: Duration = Duration::from_secs(10);
const PROMISES_MAX: Duration = Duration::from_secs(86_400);
const CLOCK_MARGIN_DEFAULT: f64 = 0.01;
const CLOCK_MARGIN_MAX: f64 = 0.2;

const EXAMPLE: &str = "add at the top of the file: \
    x-leasehold: {cluster: mail, etcd: [\"http://10.0.0.1:2379\", \"http://10.0.0.2:2379\", \"http://10.0.0.3:2379\"]}";

/// The top-level `x-leasehold`; where it is missing or wrong, the faults say so and the rest can still be checked.
pub(super) fn cluster(context: &Context<'_>, faults: &mut Faults) -> Cluster {
    let mut cluster = Cluster {
        name: String::new(),
        etcd: Vec::new(),
        ttl: TTL_DEFAULT,
        election_timeout: None,
        clock_margin: CLOCK_MARGIN_DEFAULT,
        etcd_tls: None,
        etcd_user: None,
        fence: None,
        events: None,
        promises: None,
    };
    match context.root.get("x-leasehold") {
        Some(at) => read_cluster(&at, &mut cluster, context, faults),
        None => {
            let message = "is missing: Leasehold does not know its cluster";
            faults.fault(context.root.mark, "x-leasehold", message, EXAMPLE);
        }
    }
    cluster
}

fn read_cluster(at: &At<'_>, cluster: &mut Cluster, context: &Context<'_>, faults: &mut Faults) {
    let known = [
        "cluster",
        "etcd",
        "ttl",
        "etcd_election_timeout",
        "clock_margin",
        "etcd_tls",
        "etcd_user",
        "fence",
        "events",
        "promises",
    ];
    for field in at.map_of(faults, &known) {
        match field.name {
            "promises" => cluster.promises = within(&field, PROMISES_MIN, PROMISES_MAX, faults),
            "cluster" => cluster.name = name(&field, faults).unwrap_or_default(),
            "etcd" => cluster.etcd = urls(&field, faults),
            "ttl" => cluster.ttl = within(&field, TTL_MIN, TTL_MAX, faults).unwrap_or(TTL_DEFAULT),
            "etcd_election_timeout" => {
                cluster.election_timeout = within(&field, Duration::from_millis(1), ELECTION_TIMEOUT_MAX, faults);
            }
            "clock_margin" => cluster.clock_margin = margin(&field, faults).unwrap_or(CLOCK_MARGIN_DEFAULT),
            "etcd_tls" => cluster.etcd_tls = tls(&field, context, faults),
            "fence" => cluster.fence = fence::read(&field, context, faults),
            "events" => cluster.events = events::read(&field, context, faults),
            _ => cluster.etcd_user = user(&field, context, faults),
        }
    }
    for required in ["cluster", "etcd"] {
        if at.get(required).is_none() {
            at.fault(faults, format!("does not name {required}"), EXAMPLE);
        }
    }
    if let Some(promises) = cluster.promises.filter(|promises| *promises <= cluster.ttl) {
        let ttl = cluster.ttl;
        at.fault(
            faults,
            format!("has promises of {promises:?}, and a beat promises {ttl:?} by itself"),
            "write a longer time, such as `promises: 1h`, or remove it",
        );
    }
    if cluster.etcd_tls.is_some() && !cluster.etcd.iter().any(|url| url.starts_with("https:")) {
        at.fault(faults, "has etcd_tls and no https:// URL", "write https:// in etcd");
    }
}

pub(super) fn name(at: &At<'_>, faults: &mut Faults) -> Option<String> {
    let valid = |text: &str| scalar::is_name(text).then(|| text.to_owned());
    at.parsed(faults, &format!("a name ({NAME_PATTERN})"), valid)
}

fn urls(at: &At<'_>, faults: &mut Faults) -> Vec<String> {
    let items = at.list(faults);
    if items.is_empty() {
        at.fault(
            faults,
            "names no member of etcd",
            "write a list of http:// or https:// URLs",
        );
    }
    let url = |item: &At<'_>| item.parsed(faults, "a URL such as https://10.0.0.1:2379", url);
    items.iter().filter_map(url).collect()
}

fn url(text: &str) -> Option<String> {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"))?;
    let authority = rest.trim_end_matches('/');
    let well_formed =
        !authority.is_empty() && !authority.contains(['/', '@', '?', '#', ' ']) && !authority.starts_with(':');
    well_formed.then(|| text.trim_end_matches('/').to_owned())
}

pub(super) fn within(at: &At<'_>, min: Duration, max: Duration, faults: &mut Faults) -> Option<Duration> {
    let value = at.duration(faults)?;
    if value < min || value > max {
        at.fault(
            faults,
            format!("must be between {min:?} and {max:?}, not {value:?}"),
            "",
        );
        return None;
    }
    Some(value)
}

fn margin(at: &At<'_>, faults: &mut Faults) -> Option<f64> {
    let valid = |text: &str| {
        text.parse::<f64>()
            .ok()
            .filter(|margin| (0.0..=CLOCK_MARGIN_MAX).contains(margin))
            .map(rounded)
    };
    at.parsed(faults, "a fraction between 0 and 0.2, such as 0.01", valid)
}

fn tls(at: &At<'_>, context: &Context<'_>, faults: &mut Faults) -> Option<EtcdTls> {
    let (mut ca, mut certificate, mut key) = (None, None, None);
    for field in at.map_of(faults, &["ca", "certificate", "key"]) {
        let path = field.text(faults).map(|path| seen_here(&path, context));
        match field.name {
            "ca" => ca = path,
            "certificate" => certificate = path,
            _ => key = path,
        }
    }
    if certificate.is_some() != key.is_some() {
        at.fault(faults, "needs certificate and key, or neither", "");
    }
    let Some(ca) = ca else {
        at.fault(faults, "does not name the ca", "");
        return None;
    };
    Some(EtcdTls { ca, certificate, key })
}

fn user(at: &At<'_>, context: &Context<'_>, faults: &mut Faults) -> Option<EtcdUser> {
    let (mut name, mut password_file) = (None, None);
    for field in at.map_of(faults, &["name", "password_file"]) {
        match field.name {
            "name" => name = field.text(faults),
            _ => password_file = field.text(faults).map(|path| seen_here(&path, context)),
        }
    }
    let user = name.zip(password_file);
    if user.is_none() {
        at.fault(faults, "needs name and password_file", "");
    }
    user.map(|(name, password_file)| EtcdUser { name, password_file })
}

/// Files of the project directory are read where it is mounted; other paths are the sidecar's own.
pub(super) fn seen_here(path: &str, context: &Context<'_>) -> PathBuf {
    let path = Path::new(path);
    context.paths.local(path).unwrap_or_else(|| path.to_path_buf())
}

/// A value of the group and the place where a service states it.
pub(super) type Stated<'a, T> = Option<(T, At<'a>)>;

/// `x-leasehold` of one service.
#[derive(Debug, Default)]
pub(super) struct Settings<'a> {
    pub(super) group: String,
    pub(super) entrypoint: Option<Vec<String>>,
    pub(super) own_init: bool,
    pub(super) vips: Stated<'a, Vec<Vip>>,
    pub(super) probes: Stated<'a, Vec<Probe>>,
    pub(super) start_timeout: Stated<'a, Duration>,
    pub(super) failback: Stated<'a, Failback>,
    pub(super) on_failure: Stated<'a, OnFailure>,
    pub(super) restarts: Stated<'a, RestartBudget>,
    pub(super) lease_loss_grace: Stated<'a, Duration>,
    pub(super) vip_first: Stated<'a, bool>,
    pub(super) on_stop_failure: Stated<'a, OnStopFailure>,
    pub(super) on_conflict: Stated<'a, OnConflict>,
    pub(super) failover: Stated<'a, Failover>,
    pub(super) second_opinion: Stated<'a, SecondOpinion>,
    pub(super) storage_look: Stated<'a, Option<Duration>>,
    pub(super) start_trial: Stated<'a, Option<Duration>>,
}

/// Reads `x-leasehold` of a service; the group's name is the service's unless it says otherwise.
pub(super) fn settings<'a>(
    service_at: &At<'a>,
    at: &At<'a>,
    context: &Context<'_>,
    faults: &mut Faults,
) -> Settings<'a> {
    let mut settings = Settings {
        group: service_at.name.to_owned(),
        ..Settings::default()
    };
    let known = [
        "group",
        "vips",
        "probes",
        "start_timeout",
        "failback",
        "on_failure",
        "restarts",
        "entrypoint",
        "own_init",
        "lease_loss_grace",
        "vip_first",
        "on_stop_failure",
        "on_conflict",
        "failover",
        "second_opinion",
        "storage_look",
        "start_trial",
        "certificates",
    ];
    for field in at.map_of(faults, &known) {
        match field.name {
            "group" => settings.group = name(&field, faults).unwrap_or(settings.group),
            "entrypoint" => settings.entrypoint = service::command(&field, faults),
            "own_init" => settings.own_init = field.bool(faults).unwrap_or_default(),
            "vips" => settings.vips = Some((vips(&field, faults), field)),
            "probes" => settings.probes = Some((probes::read(&field, service_at.name, context, faults), field)),
            "start_timeout" => settings.start_timeout = start_timeout(&field, faults).zip(Some(field)),
            "failback" => settings.failback = failback(&field, faults).zip(Some(field)),
            "on_failure" => settings.on_failure = on_failure(&field, faults).zip(Some(field)),
            "restarts" => settings.restarts = Some((restarts(&field, faults), field)),
            "lease_loss_grace" => settings.lease_loss_grace = field.duration(faults).zip(Some(field)),
            "on_stop_failure" => settings.on_stop_failure = on_stop_failure(&field, faults).zip(Some(field)),
            "on_conflict" => settings.on_conflict = on_conflict(&field, faults).zip(Some(field)),
            "failover" => settings.failover = failover(&field, faults).zip(Some(field)),
            "second_opinion" => settings.second_opinion = second_opinion(&field, faults).zip(Some(field)),
            "storage_look" => settings.storage_look = storage_look(&field, faults).zip(Some(field)),
            "start_trial" => settings.start_trial = start_trial(&field, faults).zip(Some(field)),
            // With the service's mounts: `certificates::read`.
            "certificates" => {}
            _ => settings.vip_first = field.bool(faults).zip(Some(field)),
        }
    }
    settings
}

fn start_timeout(at: &At<'_>, faults: &mut Faults) -> Option<Duration> {
    within(at, START_MIN, START_MAX, faults)
}

fn failback(at: &At<'_>, faults: &mut Faults) -> Option<Failback> {
    if at.get("auto").is_some() {
        let mut quiet = None;
        for field in at.map_of(faults, &["auto"]) {
            quiet = within(&field, QUIET_MIN, QUIET_MAX, faults);
        }
        return quiet.map(|quiet| Failback::Auto { quiet });
    }
    at.parsed(faults, "manual or auto, or {auto: 5m}", |text| match text {
        "manual" => Some(Failback::Manual),
        "auto" => Some(Failback::Auto { quiet: QUIET_DEFAULT }),
        _ => None,
    })
}

fn on_stop_failure(at: &At<'_>, faults: &mut Faults) -> Option<OnStopFailure> {
    at.parsed(faults, "reboot or hold", |text| match text {
        "reboot" => Some(OnStopFailure::Reboot),
        "hold" => Some(OnStopFailure::Hold),
        _ => None,
    })
}

fn on_conflict(at: &At<'_>, faults: &mut Faults) -> Option<OnConflict> {
    at.parsed(faults, "wait or take", |text| match text {
        "wait" => Some(OnConflict::Wait),
        "take" => Some(OnConflict::Take),
        _ => None,
    })
}

fn failover(at: &At<'_>, faults: &mut Faults) -> Option<Failover> {
    at.parsed(faults, "auto or confirm", |text| match text {
        "auto" => Some(Failover::Auto),
        "confirm" => Some(Failover::Confirm),
        _ => None,
    })
}

fn second_opinion(at: &At<'_>, faults: &mut Faults) -> Option<SecondOpinion> {
    at.parsed(faults, "tell, act or off", |text| match text {
        "tell" => Some(SecondOpinion::Tell),
        "act" => Some(SecondOpinion::Act),
        "off" => Some(SecondOpinion::Off),
        _ => None,
    })
}

/// `off`, or how often.
fn pace(at: &At<'_>, faults: &mut Faults, what: &str, bounds: RangeInclusive<Duration>) -> Option<Option<Duration>> {
    at.parsed(faults, what, |text| match text {
        "off" => Some(None),
        text => Some(Some(scalar::duration(text).filter(|every| bounds.contains(every))?)),
    })
}

fn storage_look(at: &At<'_>, faults: &mut Faults) -> Option<Option<Duration>> {
    pace(
        at,
        faults,
        "off, or a duration between 10s and 1h",
        LOOK_MIN..=START_MAX,
    )
}

fn start_trial(at: &At<'_>, faults: &mut Faults) -> Option<Option<Duration>> {
    pace(
        at,
        faults,
        "off, or a duration between 1h and 168h",
        TRIAL_MIN..=TRIAL_MAX,
    )
}

fn vips(at: &At<'_>, faults: &mut Faults) -> Vec<Vip> {
    let mut vips: Vec<Vip> = Vec::new();
    for item in at.list(faults) {
        let Some(vip) = item.parsed(faults, "an address with its prefix, such as 192.0.2.10/24", vip) else {
            continue;
        };
        if vips.iter().any(|known| known.address == vip.address) {
            item.fault(faults, format!("{} stands twice", vip.address), "");
        }
        vips.push(vip);
    }
    vips
}

pub(super) fn vip(text: &str) -> Option<Vip> {
    let (address, prefix) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let prefix: u8 = prefix.parse().ok()?;
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let usable = !address.is_unspecified() && !address.is_loopback() && !address.is_multicast();
    (usable && (1..=bits).contains(&prefix)).then_some(Vip { address, prefix })
}

fn on_failure(at: &At<'_>, faults: &mut Faults) -> Option<OnFailure> {
    at.parsed(faults, "recover or notify", |text| match text {
        "recover" => Some(OnFailure::Recover),
        "notify" => Some(OnFailure::Notify),
        _ => None,
    })
}

fn restarts(at: &At<'_>, faults: &mut Faults) -> RestartBudget {
    let mut budget = RestartBudget::default();
    for field in at.map_of(faults, &["budget", "window"]) {
        match field.name {
            "budget" => {
                let count = field.parsed(faults, &format!("a count between 0 and {BUDGET_MAX}"), |text| {
                    text.parse().ok().filter(|count| *count <= BUDGET_MAX)
                });
                budget.count = count.unwrap_or(budget.count);
            }
            _ => budget.window = within(&field, WINDOW_MIN, WINDOW_MAX, faults).unwrap_or(budget.window),
        }
    }
    budget
}

#[cfg(test)]
mod tests {
    use super::super::model::{Group, Project};
    use super::super::testing::{REST, assert_one, faults, file, read_files, said};
    use super::*;

    const SERVICE: &str = "services:\n  s:\n    image: i:1\n    profiles: [leasehold]\n    scale: 0\n    \
                           entrypoint: /leasehold/tether\n    x-leasehold:\n";

    fn with_cluster(keys: &str) -> String {
        format!("x-leasehold: {{{keys}}}\n{SERVICE}")
    }

    fn cluster_of(keys: &str) -> Cluster {
        let keys = format!("cluster: c, etcd: ['https://a:1'], {keys}");
        let project: Project = read_files(&[("compose.yaml", &with_cluster(&keys))]).unwrap();
        project.cluster
    }

    fn group_of(own: &str) -> Group {
        let project = read_files(&[("compose.yaml", &file(own, "network_mode: host", REST))]).unwrap();
        project.groups.into_values().next().unwrap()
    }

    /// Beside the faults of the shortest file there is this one.
    fn assert_said(keys: &str, words: &[&str]) {
        let mut found = said(&with_cluster(keys));
        found.retain(|fault| !fault.contains("must be a list"));
        assert_one(&found, words, keys);
    }

    #[test]
    fn the_cluster_has_defaults() {
        let cluster = cluster_of("");
        assert_eq!((cluster.name.as_str(), cluster.ttl), ("c", Duration::from_secs(10)));
        assert_eq!(cluster.etcd, ["https://a:1"]);
        assert!((cluster.clock_margin - 0.01).abs() < 1e-9);
        assert_eq!(
            (cluster.election_timeout, cluster.etcd_tls, cluster.etcd_user),
            (None, None, None)
        );
    }

    /// After a crash the sidecar goes on with the file as it was kept, and compares it with the one that is there.
    #[test]
    fn a_clock_margin_that_was_kept_is_the_one_that_is_read() {
        for margin in ["0.01", "0", "0.2", "0.015", "0.1", "0.07", "0.0123456789012345"] {
            let cluster = cluster_of(&format!("clock_margin: {margin}"));
            let text = serde_json::to_string(&cluster).unwrap();
            let kept: Cluster = serde_json::from_str(&text).unwrap();
            assert_eq!(kept, cluster, "{text}");
        }
    }

    #[test]
    fn every_key_of_the_cluster_is_read() {
        let cluster = cluster_of(
            "ttl: 30s, promises: 1h, etcd_election_timeout: 1s, clock_margin: 0.2, \
            etcd_tls: {ca: ./tls/ca.pem, certificate: /run/secrets/c, key: /srv/mail/k}, \
            etcd_user: {name: u, password_file: /run/secrets/p}",
        );
        assert_eq!(
            (cluster.ttl, cluster.election_timeout),
            (Duration::from_secs(30), Some(Duration::from_secs(1)))
        );
        assert_eq!(cluster.promises, Some(Duration::from_secs(3600)));
        assert!((cluster.clock_margin - 0.2).abs() < 1e-9);
        let tls = cluster.etcd_tls.unwrap();
        assert!(
            tls.ca.ends_with("tls/ca.pem") && !tls.ca.starts_with("/srv/mail"),
            "{tls:?}"
        );
        assert_eq!(tls.certificate.as_deref(), Some(Path::new("/run/secrets/c")));
        assert!(
            tls.key
                .is_some_and(|key| key.ends_with("k") && !key.starts_with("/srv/mail"))
        );
        assert_eq!(cluster.etcd_user.unwrap().name, "u");
    }

    #[test]
    fn promises_are_bounded() {
        for (keys, words) in [
            (
                "cluster: c, etcd: ['http://a:1'], promises: 9s",
                ["x-leasehold.promises", "between 10s and 86400s, not 9s"],
            ),
            (
                "cluster: c, etcd: ['http://a:1'], promises: always",
                ["x-leasehold.promises", "always"],
            ),
            (
                "cluster: c, etcd: ['http://a:1'], ttl: 60s, promises: 1m",
                ["x-leasehold", "promises of 60s, and a beat promises 60s by itself"],
            ),
        ] {
            assert_said(keys, &words);
        }
    }

    #[test]
    fn what_is_wrong_with_the_cluster_is_refused() {
        for (keys, words) in [
            ("etcd: ['http://a:1']", ["does not name cluster", "add at the top"]),
            ("cluster: c", ["does not name etcd", "10.0.0.1"]),
            ("cluster: c, etcd: []", ["x-leasehold.etcd", "names no member"]),
            ("cluster: c, etcd: 'http://a:1'", ["x-leasehold.etcd", ""]),
            ("cluster: c, etcd: ['a:1']", ["x-leasehold.etcd", "URL"]),
            ("cluster: c, etcd: ['http://u:p@a:1']", ["x-leasehold.etcd", "URL"]),
            (
                "cluster: '-c', etcd: ['http://a:1']",
                ["x-leasehold.cluster", "[a-zA-Z0-9]"],
            ),
            (
                "cluster: c, etcd: ['http://a:1'], ttl: 500ms",
                ["x-leasehold.ttl", "between"],
            ),
            (
                "cluster: c, etcd: ['http://a:1'], ttl: 6m",
                ["x-leasehold.ttl", "between"],
            ),
            (
                "cluster: c, etcd: ['http://a:1'], ttl: 10",
                ["x-leasehold.ttl", "duration"],
            ),
            (
                "cluster: c, etcd: ['http://a:1'], clock_margin: 0.3",
                ["clock_margin", "0.2"],
            ),
            (
                "cluster: c, etcd: ['http://a:1'], etcd_election_timeout: 2m",
                ["etcd_election_timeout", "between"],
            ),
            (
                "cluster: c, etcd: ['http://a:1'], tls: {}",
                ["x-leasehold.tls", "remove it"],
            ),
            (
                "cluster: c, etcd: ['http://a:1'], tll: 1s",
                ["x-leasehold.tll", "did you mean ttl?"],
            ),
            (
                "cluster: c, etcd: ['http://a:1'], etcd_tls: {ca: x}",
                ["no https", "https://"],
            ),
            (
                "cluster: c, etcd: ['https://a:1'], etcd_tls: {ca: x, key: y}",
                ["certificate and key", ""],
            ),
            (
                "cluster: c, etcd: ['https://a:1'], etcd_tls: {}",
                ["does not name the ca", ""],
            ),
            (
                "cluster: c, etcd: ['http://a:1'], etcd_user: {name: u}",
                ["password_file", ""],
            ),
        ] {
            assert_said(keys, &words);
        }
    }

    #[test]
    fn without_a_cluster_an_example_is_shown() {
        let found = said(SERVICE);
        assert_one(
            &found,
            &["x-leasehold: is missing", "cluster: mail", "etcd: [\"http"],
            "no cluster",
        );
    }

    #[test]
    fn every_key_of_a_group_is_read() {
        let group = group_of("");
        assert_eq!(
            (group.name.as_str(), group.failback, group.vip_first),
            ("s", Failback::Manual, false)
        );
        assert!(group.vips.is_empty() && group.probes.is_empty() && group.lease_loss_grace.is_none());
        assert_eq!(
            (group.on_stop_failure, group.second_opinion),
            (OnStopFailure::Hold, SecondOpinion::Tell)
        );
        assert_eq!(group.failover, Failover::Auto);
        assert_eq!(group_of("failover: confirm").failover, Failover::Confirm);
        assert_eq!(group.on_conflict, OnConflict::Wait);
        assert_eq!(group_of("on_conflict: take").on_conflict, OnConflict::Take);
        let started = |own: &str, more: &str| {
            let project = read_files(&[("compose.yaml", &file(own, &format!("network_mode: host\n{more}"), REST))]);
            project.unwrap().groups.remove("s").unwrap().start_timeout.as_secs()
        };
        let slow = "healthcheck: {test: x, start_period: 5m}";
        let brisk = "healthcheck: {test: x, start_period: 1s}";
        assert_eq!((started("", ""), started("", slow)), (60, 300));
        assert_eq!((started("", brisk), started("start_timeout: 20s", slow)), (60, 20));
        let group = group_of(
            "group: mail, vips: ['192.0.2.10/24', 'fd00::10/64'], failback: auto, lease_loss_grace: 2s, vip_first: true, \
             probes: [{smtp: 25}, {imap: 143}, {pop3: 110}, {tcp: 4190}, {http: 80}], entrypoint: /bin/run --x, \
             on_stop_failure: reboot, second_opinion: act",
        );
        assert_eq!(group.second_opinion, SecondOpinion::Act);
        assert_eq!(group.storage_look, Some(Duration::from_secs(60)));
        let blind = group_of("second_opinion: off, storage_look: off");
        assert_eq!((blind.second_opinion, blind.storage_look), (SecondOpinion::Off, None));
        let every = Some(Duration::from_secs(90));
        assert_eq!(group_of("storage_look: 1m30s").storage_look, every);
        assert_eq!(
            (group.name.as_str(), group.failback, group.vip_first),
            ("mail", Failback::Auto { quiet: QUIET_DEFAULT }, true)
        );
        let quiet = Duration::from_secs(90);
        assert_eq!(group_of("failback: {auto: 1m30s}").failback, Failback::Auto { quiet });
        assert_eq!(group.lease_loss_grace, Some(Duration::from_secs(2)));
        assert_eq!(group.on_stop_failure, OnStopFailure::Reboot);
        let vips: Vec<_> = group
            .vips
            .iter()
            .map(|vip| format!("{}/{}", vip.address, vip.prefix))
            .collect();
        assert_eq!(vips, ["192.0.2.10/24", "fd00::10/64"]);
        let probes: Vec<_> = group.probes.iter().map(|probe| probe.check.name()).collect();
        assert_eq!(probes, ["smtp 25", "imap 143", "pop3 110", "tcp 4190", "http 80/"]);
        assert_eq!(group.services[0].entrypoint.as_deref().unwrap(), ["/bin/run", "--x"]);
        assert_eq!(group_of("entrypoint: []").services[0].entrypoint, Some(Vec::new()));
        assert_eq!(group_of("entrypoint: null").services[0].entrypoint, None);
    }

    #[test]
    fn what_is_wrong_with_a_group_is_refused() {
        for (own, words) in [
            ("group: 'a b'", ["x-leasehold.group", "a name"]),
            ("vips: ['192.0.2.10']", ["x-leasehold.vips", "prefix"]),
            ("vips: ['192.0.2.10/33']", ["x-leasehold.vips", "prefix"]),
            ("vips: ['fd00::1/129']", ["x-leasehold.vips", "prefix"]),
            ("vips: ['127.0.0.1/8']", ["x-leasehold.vips", "prefix"]),
            ("vips: ['192.0.2.1/24', '192.0.2.1/32']", ["x-leasehold.vips", "twice"]),
            ("probes: [{smpt: 25}]", ["probes.smpt", "did you mean smtp?"]),
            ("probes: [{tcp: 0}]", ["probes.tcp", "a port"]),
            ("probes: [{tcp: 65536}]", ["probes.tcp", "a port"]),
            ("probes: [smtp]", ["x-leasehold.probes", "mapping"]),
            ("start_timeout: 2h", ["x-leasehold.start_timeout", "between 1s"]),
            ("failback: never", ["x-leasehold.failback", "manual or auto"]),
            ("failback: {auto: 5s}", ["x-leasehold.failback.auto", "between 30s"]),
            ("failback: {auto: soon}", ["x-leasehold.failback.auto", "duration"]),
            (
                "failback: {auto: 5m, after: 5m}",
                ["x-leasehold.failback.after", "not a key"],
            ),
            ("failback: {after: 5m}", ["x-leasehold.failback", "manual or auto"]),
            ("lease_loss_grace: 5", ["lease_loss_grace", "duration"]),
            (
                "second_opinion: ask, vips: ['192.0.2.10/24']",
                ["second_opinion", "tell, act or off"],
            ),
            (
                "second_opinion: act, probes: [{tcp: 25}]",
                ["second_opinion", "an address in vips"],
            ),
            (
                "second_opinion: act, vips: ['192.0.2.10/24'], probes: [{gateway: 192.0.2.1}]",
                ["second_opinion", "tcp, smtp"],
            ),
            ("storage_look: 5s", ["storage_look", "between 10s and 1h"]),
            ("start_trial: 5m", ["start_trial", "between 1h and 168h"]),
            ("start_trial: on", ["start_trial", "off, or a duration"]),
            ("storage_look: soon", ["storage_look", "off, or a duration"]),
            ("on_stop_failure: panic", ["on_stop_failure", "reboot or hold"]),
            ("on_conflict: fight", ["on_conflict", "wait or take"]),
            ("failover: never", ["failover", "auto or confirm"]),
            ("vip_first: first", ["vip_first", "true or false"]),
            ("priority: 5", ["x-leasehold.priority", "not a key"]),
        ] {
            assert_one(&faults(own, "network_mode: host"), &words, own);
        }
    }
}
