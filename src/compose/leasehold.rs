//! `x-leasehold`: what holds for the cluster, and what a service says about its group.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::context::Context;
use super::cursor::At;
use super::fault::Faults;
use super::model::{Cluster, EtcdTls, EtcdUser, Failback, Probe, ProbeKind, Vip};
use super::scalar::{self, NAME_PATTERN};
use super::service;

const TTL_DEFAULT: Duration = Duration::from_secs(10);
const TTL_MIN: Duration = Duration::from_secs(1);
const TTL_MAX: Duration = Duration::from_secs(300);
/// Longer election timeouts than this are refused by etcd itself.
const ELECTION_TIMEOUT_MAX: Duration = Duration::from_secs(50);
const CLOCK_MARGIN_DEFAULT: f64 = 0.01;
const CLOCK_MARGIN_MAX: f64 = 0.2;

const EXAMPLE: &str = "add at the top of the file: \
    x-leasehold: {cluster: mail, etcd: [\"http://10.0.0.1:2379\", \"http://10.0.0.2:2379\", \"http://10.0.0.3:2379\"]}";

/// The top-level `x-leasehold`.
pub(super) fn cluster(context: &Context<'_>, faults: &mut Faults) -> Option<Cluster> {
    let Some(at) = context.root.get("x-leasehold") else {
        faults.fault(
            context.root.mark,
            "x-leasehold",
            "is missing: Leasehold does not know its cluster",
            EXAMPLE,
        );
        return None;
    };
    let known = [
        "cluster",
        "etcd",
        "ttl",
        "etcd_election_timeout",
        "clock_margin",
        "etcd_tls",
        "etcd_user",
    ];
    let mut cluster = Cluster {
        name: String::new(),
        etcd: Vec::new(),
        ttl: TTL_DEFAULT,
        election_timeout: None,
        kappa: 1.0 - CLOCK_MARGIN_DEFAULT,
        etcd_tls: None,
        etcd_user: None,
    };
    for field in at.map_of(faults, &known) {
        match field.name {
            "cluster" => cluster.name = name(&field, faults).unwrap_or_default(),
            "etcd" => cluster.etcd = urls(&field, faults),
            "ttl" => cluster.ttl = within(&field, TTL_MIN, TTL_MAX, faults).unwrap_or(TTL_DEFAULT),
            "etcd_election_timeout" => {
                cluster.election_timeout = within(&field, Duration::from_millis(1), ELECTION_TIMEOUT_MAX, faults);
            }
            "clock_margin" => cluster.kappa = 1.0 - margin(&field, faults).unwrap_or(CLOCK_MARGIN_DEFAULT),
            "etcd_tls" => cluster.etcd_tls = tls(&field, context, faults),
            _ => cluster.etcd_user = user(&field, context, faults),
        }
    }
    for required in ["cluster", "etcd"] {
        if at.get(required).is_none() {
            at.fault(faults, format!("does not name {required}"), EXAMPLE);
        }
    }
    if cluster.etcd_tls.is_some() && !cluster.etcd.iter().any(|url| url.starts_with("https:")) {
        at.fault(faults, "has etcd_tls and no https:// URL", "write https:// in etcd");
    }
    Some(cluster)
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

fn within(at: &At<'_>, min: Duration, max: Duration, faults: &mut Faults) -> Option<Duration> {
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
fn seen_here(path: &str, context: &Context<'_>) -> PathBuf {
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
    pub(super) vips: Stated<'a, Vec<Vip>>,
    pub(super) probes: Stated<'a, Vec<Probe>>,
    pub(super) failback: Stated<'a, Failback>,
    pub(super) lease_loss_grace: Stated<'a, Duration>,
    pub(super) vip_first: Stated<'a, bool>,
}

/// Reads `x-leasehold` of a service; the group's name is the service's unless it says otherwise.
pub(super) fn settings<'a>(service_at: &At<'a>, at: &At<'a>, faults: &mut Faults) -> Settings<'a> {
    let mut settings = Settings {
        group: service_at.name.to_owned(),
        ..Settings::default()
    };
    let known = [
        "group",
        "vips",
        "probes",
        "failback",
        "entrypoint",
        "lease_loss_grace",
        "vip_first",
    ];
    for field in at.map_of(faults, &known) {
        match field.name {
            "group" => settings.group = name(&field, faults).unwrap_or(settings.group),
            "entrypoint" => settings.entrypoint = service::command(&field, faults),
            "vips" => settings.vips = Some((vips(&field, faults), field)),
            "probes" => settings.probes = Some((probes(&field, faults), field)),
            "failback" => settings.failback = failback(&field, faults).zip(Some(field)),
            "lease_loss_grace" => settings.lease_loss_grace = field.duration(faults).zip(Some(field)),
            _ => settings.vip_first = field.bool(faults).zip(Some(field)),
        }
    }
    settings
}

fn failback(at: &At<'_>, faults: &mut Faults) -> Option<Failback> {
    at.parsed(faults, "manual or auto", |text| match text {
        "manual" => Some(Failback::Manual),
        "auto" => Some(Failback::Auto),
        _ => None,
    })
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

fn vip(text: &str) -> Option<Vip> {
    let (address, prefix) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let prefix: u8 = prefix.parse().ok()?;
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let usable = !address.is_unspecified() && !address.is_loopback() && !address.is_multicast();
    (usable && (1..=bits).contains(&prefix)).then_some(Vip { address, prefix })
}

fn probes(at: &At<'_>, faults: &mut Faults) -> Vec<Probe> {
    let mut probes = Vec::new();
    for item in at.list(faults) {
        for field in item.map_of(faults, &["tcp", "smtp", "imap", "pop3", "http"]) {
            let kind = match field.name {
                "smtp" => ProbeKind::Smtp,
                "imap" => ProbeKind::Imap,
                "pop3" => ProbeKind::Pop3,
                "http" => ProbeKind::Http,
                _ => ProbeKind::Tcp,
            };
            let port = field.parsed(faults, "a port", |text| text.parse().ok().filter(|port| *port > 0));
            probes.extend(port.map(|port| Probe { kind, port }));
        }
    }
    probes
}
