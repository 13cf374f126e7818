//! What people do by hand.

use leasehold::api::words::MemberState;

use crate::cluster::Cluster;
use crate::host::Host;
use crate::lab::{NET4, VIP4};
use crate::scenarios::{TTL, succeed};
use crate::shell::{until, words};

const LIMIT: std::time::Duration = std::time::Duration::from_secs(10);

/// No value of ours, and one that would clear a terminal.
const NONSENSE: &str = "nonsense \u{1b}[2J {\"epoch\": 18446744073709551615";

pub(crate) fn switch_over(cluster: &mut Cluster, from: usize) {
    let output = cluster.hosts[from].leasehold(&["switchover", "mail"]);
    assert!(output.status.success(), "{}", words(&output));
}

pub(crate) fn switch_over_to(cluster: &mut Cluster, from: usize, to: &str) {
    let output = cluster.hosts[from].leasehold(&["switchover", "mail", "--to", to]);
    assert!(output.status.success(), "{}", words(&output));
}

/// Nothing may run until somebody has looked: then it is said once, on any node.
pub(crate) fn accept(cluster: &mut Cluster, host: usize) {
    for host in &cluster.hosts {
        assert!(
            host.serving().is_empty(),
            "{} serves under a restored etcd that nobody has accepted",
            host.name
        );
        let member = host.status().map(|status| status.member);
        assert_eq!(
            member,
            Some(MemberState::Frozen),
            "{} does not know that etcd was restored",
            host.name
        );
    }
    let output = cluster.hosts[host].leasehold(&["accept", "--yes"]);
    assert!(output.status.success(), "{}", words(&output));
}

pub(crate) fn delete(cluster: &mut Cluster, key: &str) {
    let leader = cluster.await_etcd_leader();
    let said = cluster.hosts[leader].etcdctl(&["del", &format!("/leasehold/mail/{key}")]);
    assert_eq!(said.trim(), "1", "there was no key {key}");
}

/// Somebody's script writes nonsense: each key is told by its name, what runs goes on for longer than a lease, and all is well
/// once the values are back. What a node says of itself it writes anew.
pub(crate) fn spoil_keys(cluster: &mut Cluster, host: usize) {
    let told = ["config", "groups/mail/record", "groups/mail/store"].map(|key| format!("/leasehold/mail/{key}"));
    let own = format!("/leasehold/mail/status/{}", cluster.hosts[host].name);
    let etcd = &cluster.hosts[cluster.await_etcd_leader()];
    let before = told
        .clone()
        .map(|key| etcd.etcdctl(&["get", &key, "--print-value-only"]));
    for key in told.iter().chain([&own]) {
        assert_eq!(etcd.etcdctl(&["put", key, NONSENSE]).trim(), "OK");
    }
    for host in &cluster.hosts {
        let wanted = told.each_ref().map(String::as_str);
        let shown = host.await_words(&["status"], &wanted);
        assert!(
            !shown.contains('\u{1b}'),
            "what lies in etcd reaches the terminal: {shown:?}"
        );
    }
    std::thread::sleep(TTL * 2);
    for (key, value) in told.iter().zip(&before) {
        assert_eq!(etcd.etcdctl(&["put", key, value.trim()]).trim(), "OK");
    }
    until("every key to be sound", LIMIT, || {
        let mut shown = cluster.hosts.iter().map(|host| words(&host.leasehold(&["status"])));
        shown.all(|shown| !shown.contains("can't be read")).then_some(())
    });
    let mended = etcd.etcdctl(&["get", &own, "--print-value-only"]);
    assert_ne!(
        mended.trim(),
        NONSENSE,
        "a node leaves its own status as somebody wrote it"
    );
}

/// The service's container of a host.
pub(crate) fn change_restart_policy(cluster: &mut Cluster, host: usize) -> String {
    let host = &cluster.hosts[host];
    let container = format!("mail-sams-{}", host.name);
    succeed(host, &["update", "--restart=always", &container]);
    container
}

pub(crate) fn restore_restart_policy(cluster: &mut Cluster, host: usize) {
    let host = &cluster.hosts[host];
    let container = format!("mail-sams-{}", host.name);
    if !host.inspect(&container, "{{.Id}}").is_empty() {
        succeed(host, &["update", "--restart=no", &container]);
    }
}

pub(crate) fn remove_vip(cluster: &mut Cluster, host: usize) {
    cluster.hosts[host].inside(&format!("ip addr del {VIP4}/32 dev eth0"));
}

/// Somebody believes that it belongs here: the sidecar of that host says so and leaves it, until that person takes it away.
pub(crate) fn add_vip(cluster: &mut Cluster, host: usize) {
    let host = &cluster.hosts[host];
    host.inside(&format!("ip addr add {VIP4}/24 dev eth0"));
    let said = format!("{VIP4} is this host's own: {VIP4}/24 is on eth0");
    until("the address to be told", LIMIT, || {
        words(&host.leasehold(&["status"])).contains(&said).then_some(())
    });
    assert!(host.carries(VIP4), "what somebody added was taken away");
    assert!(
        !host.is_ready(),
        "{} would take the group with an address of its own",
        host.name
    );
    take_vip_away(host);
    until("the node to be ready again", LIMIT, || host.is_ready().then_some(()));
    // The hosts' own addresses are of the same subnet, and an operator would miss them.
    assert!(
        host.carries(&format!("{NET4}.{}", host.number)),
        "the host's own address has gone too"
    );
}

/// What [`add_vip`] added, where nobody did it before; Leasehold's own has another prefix.
pub(crate) fn take_vip_away(host: &Host) {
    host.inside(&format!("ip addr del {VIP4}/24 dev eth0 2> /dev/null || true"));
}
