//! What only another host can see of a service, and what a standby can see of its own storage.

use std::time::Duration;

use crate::cluster::Cluster;
use crate::host::Host;
use crate::lab::{NET4, VIP4};
use crate::pace::Pace;
use crate::row::Figure;
use crate::scenarios::{Body, RETURN_LIMIT};
use crate::shell::{now, sh, try_sh, until, within, words};

pub(crate) const OPINIONS: [(&str, Body); 4] = [
    ("mail ports closed to other hosts", closed_to_others),
    ("mail ports closed to other hosts, acted upon", handed_over),
    ("same, closed to nodes alone, as fail2ban does", banned),
    ("storage gone from a standby, or hanging", storage_of_a_standby),
];

/// Three answers that don't come, five seconds apart and a second late each, the first of them up to five seconds after
/// the fault; and the beats that tell it.
const TOLD_LIMIT: Duration = Duration::from_secs(25);
/// Two rounds more, the stop and the start.
const MOVED_LIMIT: Duration = Duration::from_secs(40);
/// The holder looks at its clients every five seconds.
const FEW_LOOKS: Duration = Duration::from_secs(15);
/// A look every ten seconds.
const LOOK_LIMIT: Duration = Duration::from_secs(20);
/// What hangs in the engine is told after thirty seconds.
const HANG_LIMIT: Duration = Duration::from_secs(50);

/// Its holder reaches it, nobody else does: everybody says so, and nothing is moved.
fn closed_to_others(cluster: &mut Cluster) -> Figure {
    let leader = cluster.await_leader();
    let before = cluster.last_run();
    await_opinions(cluster);
    let (mut told, mut over) = (Duration::ZERO, Duration::ZERO);
    let seen = cluster.under_mail(|cluster| {
        let gate = Closed::new(cluster, leader);
        let began = now();
        await_told(cluster, leader);
        told = now() - began;
        drop(gate);
        let began = now();
        until("the warning to end", TOLD_LIMIT, || {
            let all = cluster.hosts.iter().all(|host| unreached(host).is_none());
            all.then_some(())
        });
        over = now() - began;
    });
    assert!(cluster.last_run().is(&before), "another run: {:?}", cluster.last_run());
    let note = format!(
        "told on every host after {:.1} s, taken back {:.1} s after it was open",
        told.as_secs_f64(),
        over.as_secs_f64()
    );
    Figure::new(&seen, Some(told), TOLD_LIMIT, &note)
}

/// The same where the file asks for a move: another host serves, and the first one gets nothing back soon.
fn handed_over(cluster: &mut Cluster) -> Figure {
    cluster.set_pace(Pace::Acting);
    let old = cluster.await_leader();
    await_opinions(cluster);
    let mut moved = Duration::ZERO;
    let mut closed = None;
    let seen = cluster.under_mail(|cluster| {
        let gate = Closed::new(cluster, old);
        let began = now();
        let new = until("another host to serve", RETURN_LIMIT, || {
            cluster.leader().filter(|leader| *leader != old)
        });
        cluster.await_greeting();
        moved = now() - began;
        cluster.hosts[old].await_words(&["why", "mail"], &["stopping here, to hand over (second_opinion: act)"]);
        let why = "the standbys could not reach the service here";
        cluster.hosts[new].await_words(&["status"], &[why]);
        closed = Some(gate);
    });
    drop(closed);
    let note = format!("served elsewhere after {:.1} s", moved.as_secs_f64());
    Figure::new(&seen, Some(moved), MOVED_LIMIT, &note)
}

/// A filter of the mail server takes the nodes' probes for an attack. Clients are served, so nothing is moved.
fn banned(cluster: &mut Cluster) -> Figure {
    cluster.set_pace(Pace::Acting);
    let leader = cluster.await_leader();
    let before = cluster.last_run();
    await_opinions(cluster);
    let mut stays = Duration::ZERO;
    let seen = cluster.under_mail(|cluster| {
        let gate = Closed::to_nodes(cluster, leader);
        let began = now();
        until("the holder to say why it stays", MOVED_LIMIT, || {
            let said = words(&cluster.hosts[leader].leasehold(&["why", "mail"]));
            let stays = said.contains("it serves other clients, so it is not handed over");
            stays.then_some(())
        });
        stays = now() - began;
        // Once the time to move has come, each look at the clients could be the one that moves it.
        let later = within(FEW_LOOKS, || (!cluster.hosts[leader].leads()).then_some(()));
        assert!(later.is_none(), "handed over, though clients were served");
        drop(gate);
        await_opinions(cluster);
    });
    assert!(cluster.last_run().is(&before), "another run: {:?}", cluster.last_run());
    let note = format!("told after {:.1} s that it stays", stays.as_secs_f64());
    Figure::new(&seen, Some(stays), MOVED_LIMIT, &note)
}

/// A standby whose storage is not there, or does not answer, says so to everybody until it is back; the service goes on.
fn storage_of_a_standby(cluster: &mut Cluster) -> Figure {
    cluster.set_pace(Pace::Acting);
    cluster.await_successors();
    let before = cluster.last_run();
    let place = cluster.standby();
    let leader = cluster.await_leader();
    let (mut gone, mut hung, mut back) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    let seen = cluster.under_mail(|cluster| {
        let host = &mut cluster.hosts[place];
        host.lab.storage.hide(host.name);
        gone = await_unready(cluster, leader, place, "storage ", LOOK_LIMIT);
        let host = &mut cluster.hosts[place];
        let bindfs = host.command(std::path::Path::new("bindfs"));
        let fuse = host.lab.storage.show_through(host.name, bindfs);
        host.fuse = Some(fuse);
        await_ready(cluster, leader, place);
        let fuse = cluster.hosts[place].fuse.as_ref();
        fuse.iter()
            .for_each(|fuse| crate::storage::signal(fuse, nix::sys::signal::Signal::SIGSTOP));
        hung = await_unready(cluster, leader, place, "answer", HANG_LIMIT);
        let fuse = cluster.hosts[place].fuse.as_ref();
        fuse.iter()
            .for_each(|fuse| crate::storage::signal(fuse, nix::sys::signal::Signal::SIGCONT));
        back = await_ready(cluster, leader, place);
        let listed = cluster.hosts[place].docker(&["ps", "-aq", "--filter", "name=-look"]);
        let looks = String::from_utf8_lossy(&listed.stdout).lines().count();
        assert!(looks <= 1, "{looks} looks are left");
    });
    assert!(cluster.last_run().is(&before), "another run: {:?}", cluster.last_run());
    // It sees the storage plainly again, before it may serve.
    cluster.heal();
    let note = format!(
        "told {:.1} s after it was gone, {:.1} s after it hung",
        gone.as_secs_f64(),
        hung.as_secs_f64()
    );
    Figure::new(&seen, Some(back), HANG_LIMIT, &note)
}

/// What a host reads of another one's readiness.
fn readiness(host: &Host, of: &str) -> Option<String> {
    host.status()?.nodes.get(of)?.groups.get("mail").cloned()
}

fn await_unready(cluster: &Cluster, leader: usize, place: usize, words: &str, limit: Duration) -> Duration {
    let began = now();
    let name = cluster.hosts[place].name;
    let why = until("the standby to say what is wrong", limit, || {
        readiness(&cluster.hosts[leader], name).filter(|why| why.contains(words))
    });
    crate::shell::say(&format!("    {name} is not ready: {why}"));
    now() - began
}

fn await_ready(cluster: &Cluster, leader: usize, place: usize) -> Duration {
    let began = now();
    let name = cluster.hosts[place].name;
    until("the standby to be ready again", HANG_LIMIT, || {
        readiness(&cluster.hosts[leader], name).filter(String::is_empty)
    });
    now() - began
}

/// Until every standby has asked the service that serves now.
fn await_opinions(cluster: &Cluster) {
    until("the opinions of the standbys", TOLD_LIMIT, || {
        let leader = cluster.leader()?;
        let said = cluster.hosts[leader].status()?.groups.remove("mail")?.opinions;
        (said.len() == 2 && said.values().all(String::is_empty)).then_some(())
    });
}

fn unreached(host: &Host) -> Option<String> {
    host.status()?.groups.remove("mail")?.unreached
}

fn await_told(cluster: &Cluster, leader: usize) {
    let holder = cluster.hosts[leader].name;
    let others = cluster.hosts.iter().filter(|host| host.name != holder);
    let others: Vec<&str> = others.map(|host| host.name).collect();
    let wanted = format!("{} can't reach mail at {VIP4}: ", others.join(" and "));
    until("everybody to be told", TOLD_LIMIT, || {
        let told = cluster
            .hosts
            .iter()
            .all(|host| unreached(host).is_some_and(|text| text.starts_with(&wanted)));
        told.then_some(())
    });
    let heals = format!("({holder}, which runs it, reaches it)");
    for host in &cluster.hosts {
        host.await_status(1, &[&wanted, &heals]);
    }
}

/// The ports of the mail server answer nobody but their own host; opened when dropped.
struct Closed {
    space: String,
}

impl Closed {
    fn new(cluster: &Cluster, place: usize) -> Self {
        Self::to(cluster, place, "")
    }

    /// Closed to the other hosts only.
    fn to_nodes(cluster: &Cluster, place: usize) -> Self {
        let others = cluster.hosts.iter().enumerate().filter(|(other, _)| *other != place);
        let others: Vec<String> = others.map(|(_, host)| format!("{NET4}.{}", host.number)).collect();
        Self::to(cluster, place, &format!("ip saddr {{ {} }}", others.join(", ")))
    }

    fn to(cluster: &Cluster, place: usize, whom: &str) -> Self {
        let space = cluster.lab.host_name(cluster.hosts[place].name);
        sh(&format!(
            "nsenter --net=/run/netns/{space} nft \"add table inet outside; \
             add chain inet outside input {{ type filter hook input priority 0; }}; \
             add rule inet outside input iifname != lo {whom} tcp dport {{ 25, 110, 143 }} drop\""
        ));
        Self { space }
    }
}

impl Drop for Closed {
    fn drop(&mut self) {
        try_sh(&format!(
            "nsenter --net=/run/netns/{} nft delete table inet outside",
            self.space
        ));
    }
}
