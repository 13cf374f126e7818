//! The service is sick although its host is well: it is healed in place, moved, or kept trying, and never given up.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::cluster::Cluster;
use crate::host::Host;
use crate::lab::VIP4;
use crate::mail::{self, at};
use crate::parts::{family, signal};
use crate::row::Figure;
use crate::scenarios::{Body, HAND_OVER_LIMIT, RETURN_LIMIT, figure, succeed};
use crate::shell::{now, say, sh, try_sh, until, within};

pub(crate) const SICKNESSES: [(&str, Body); 5] = [
    ("sendmail killed in the container", sendmail_killed),
    ("image missing on one standby", image_missing),
    ("dovecot hung", dovecot_hung),
    ("all standbys unready, service fails", nobody_else),
    ("service fails everywhere", flapping),
];

pub(crate) const LONG_SICKNESSES: [(&str, Body); 2] = [
    ("port closed by nftables", port_closed),
    ("storage full, and what clients are told", disk_full),
];

/// Three answers that don't come, each a second late, then the stop of what hangs and the start.
const HUNG_LIMIT: Duration = Duration::from_secs(20);
/// The second pause between two tries, and the start.
const RETRY_LIMIT: Duration = Duration::from_secs(8);
/// The longest pause between two tries is 30 s.
const MENDED_LIMIT: Duration = Duration::from_secs(35);
/// A start whose probes don't pass is given up after 10 s.
const PORT_LIMIT: Duration = Duration::from_secs(25);
/// How long a group that fails everywhere is watched staying where it is.
const STILL: Duration = Duration::from_secs(6);
const GREETING: Duration = Duration::from_secs(2);

/// One daemon dies, the container with it, and both are there again in place.
fn sendmail_killed(cluster: &mut Cluster) -> Figure {
    let leader = cluster.await_leader();
    let before = cluster.last_run();
    let seen = cluster.under_mail(|cluster| {
        let daemons = cluster.hosts[leader].daemons("sendmail");
        assert_eq!(daemons.len(), 1, "which one is the daemon?");
        signal(daemons[0], Signal::SIGKILL);
        await_another_run(cluster, &before.run);
    });
    let after = cluster.last_run();
    assert_eq!((before.epoch, &before.node), (after.epoch, &after.node), "not in place");
    cluster.hosts[leader].await_words(
        &["why", "mail"],
        &["service sams ended by itself", "starting again here", "is up: serving"],
    );
    figure(&seen, HAND_OVER_LIMIT, &format!("run {} to {}", before.run, after.run))
}

/// Somebody tidied up on a standby. It says so to everybody, and it is not the successor, although it would be the first.
fn image_missing(cluster: &mut Cluster) -> Figure {
    cluster.await_successors();
    let old = cluster.await_leader();
    let bare = cluster.standby();
    let other = 3 - old - bare;
    let name = cluster.hosts[bare].name;
    let seen = cluster.under_mail(|cluster| {
        let spare = Tidied::up(&cluster.hosts[bare]);
        let why = format!("image {} is not on this host", cluster.hosts[bare].image("sams"));
        let row = format!("! {name} could not take mail: ");
        let shown = cluster.hosts[old].await_words(&["status"], &[&why, "run `docker pull"]);
        let line = shown.lines().find(|line| line.contains(&why));
        assert!(line.is_some_and(|line| line.starts_with(&row)), "of whom? {shown}");
        cluster.hosts[old].is_refused(
            &["switchover", "mail", "--to", name],
            &format!("{name} is not ready for mail"),
        );
        cluster.hosts[old].does(&["switchover", "mail"]);
        spare.back(&cluster.hosts[bare]);
    });
    assert_eq!(cluster.leader(), Some(other), "not on the one that was ready");
    cluster.hosts[other].await_status(0, &[]);
    figure(
        &seen,
        HAND_OVER_LIMIT,
        &format!("past {name} to {}", cluster.hosts[other].name),
    )
}

/// It answers no more. A new start helps for a while; when it hangs again, another host takes it.
fn dovecot_hung(cluster: &mut Cluster) -> Figure {
    // Its one restart is not spent.
    if !cluster.last_run().run.ends_with(".1") {
        cluster.renew_sidecars();
    }
    let old = cluster.await_leader();
    let before = cluster.last_run();
    let (mut healed, mut moved) = (Duration::ZERO, Duration::ZERO);
    let seen = cluster.under_mail(|cluster| {
        let hung = hang(cluster, old);
        await_another_run(cluster, &before.run);
        await_imap(cluster);
        healed = now() - hung;
        // Soon after, whether or not all of its probes have passed yet.
        let hung = hang(cluster, old);
        until("another host to serve", RETURN_LIMIT, || {
            cluster.leader().filter(|leader| *leader != old)
        });
        await_imap(cluster);
        moved = now() - hung;
    });
    let host = &cluster.hosts[old];
    host.await_words(
        &["why", "mail"],
        &[
            "no answer within 1s: stopping, to start again here",
            "failed 2 times within 600s: handing over",
        ],
    );
    let new = cluster.await_leader();
    // Whoever looks later reads why nobody should give it back.
    cluster.hosts[new].await_words(&["status"], &["the service failed here several times"]);
    assert!(
        healed.max(moved) < HUNG_LIMIT,
        "IMAP: healed {healed:?}, moved {moved:?}"
    );
    let note = format!(
        "IMAP back {:.1} s after it hung, {:.1} s on {}",
        healed.as_secs_f64(),
        moved.as_secs_f64(),
        cluster.hosts[new].name
    );
    figure(&seen, HAND_OVER_LIMIT, &note)
}

/// Nobody could take it: it is tried again here with growing pauses, with an alarm, and comes back.
fn nobody_else(cluster: &mut Cluster) -> Figure {
    cluster.renew_sidecars();
    let leader = cluster.await_leader();
    let others: Vec<usize> = (0..cluster.hosts.len()).filter(|place| *place != leader).collect();
    let (drained, bare) = (others[0], others[1]);
    let (name, epoch) = (cluster.hosts[leader].name, cluster.last_run().epoch);
    let seen = cluster.under_mail(|cluster| {
        let host = &cluster.hosts[leader];
        host.does(&["drain", cluster.hosts[drained].name, "--why", "new disk"]);
        let spare = Tidied::up(&cluster.hosts[bare]);
        let alone = format!("mail has no ready standby: were {name} to fail, it would stay down");
        host.await_status(1, &[&alone, "is drained by", "is not on this host"]);
        host.is_refused(&["switchover", "mail"], "no standby is ready for mail");
        // The budget is one restart; then it would move, if it could.
        for _ in 0..2 {
            let before = cluster.last_run();
            until("the service", RETURN_LIMIT, || host.serving().first().cloned());
            succeed(host, &["kill", &host.serving()[0]]);
            await_another_run(cluster, &before.run);
        }
        host.await_words(
            &["why", "mail"],
            &[
                "keeps failing and no standby is ready: trying again in 2s",
                "is up: serving",
            ],
        );
        host.does(&["undrain", cluster.hosts[drained].name]);
        spare.back(&cluster.hosts[bare]);
    });
    let after = cluster.last_run();
    assert_eq!((after.epoch, after.node.as_str()), (epoch, name), "given up, or moved");
    figure(&seen, RETRY_LIMIT, &format!("run {} on {name}", after.run))
}

/// What is wrong moves along: the service is not bounced between the hosts, says so, and comes back when it is mended.
fn flapping(cluster: &mut Cluster) -> Figure {
    cluster.renew_sidecars();
    let before = cluster.last_run();
    let (mut back, mut bounces) = (Duration::ZERO, 0);
    let seen = cluster.under_mail(|cluster| {
        let spoiled = Spoiled::new(cluster);
        let leader = cluster.await_leader();
        let serving = cluster.hosts[leader].serving();
        succeed(&cluster.hosts[leader], &["kill", &serving[0]]);
        let alarm = "keeps failing and came here because of the same fault";
        let last = until("the alarm of the host that is left with it", RETURN_LIMIT, || {
            cluster.hosts.iter().find(|host| said_of_mail(host).contains(alarm))
        });
        let epoch = || last.status().map(|status| status.groups["mail"].epoch);
        let stays = epoch();
        let shown = format!("mail is down on {}: {alarm}", last.name);
        // From whichever node one looks.
        for host in &cluster.hosts {
            host.await_status(2, &[&shown]);
        }
        let began = now();
        until("nothing to move", STILL * 2, || (now() - began > STILL).then_some(()));
        assert_eq!(epoch(), stays, "it is bounced between the hosts");
        bounces = stays.unwrap_or_default().saturating_sub(before.epoch);
        drop(spoiled);
        let mended = now();
        back = cluster.await_greeting().saturating_sub(mended);
    });
    let hosts = cluster.hosts.len() as u64;
    assert!(bounces < hosts, "{bounces} moves between {hosts} hosts");
    Figure::new(
        &seen,
        Some(back),
        MENDED_LIMIT,
        &format!("{bounces} moves, then it stayed"),
    )
}

/// Clients of one host's service are turned away: a new start does not help, another host does.
fn port_closed(cluster: &mut Cluster) -> Figure {
    cluster.renew_sidecars();
    let old = cluster.await_leader();
    let before = cluster.last_run();
    let seen = cluster.under_mail(|cluster| {
        let gate = Closed::new(cluster, old);
        await_another_run(cluster, &before.run);
        until("another host to serve", PORT_LIMIT, || {
            cluster.leader().filter(|leader| *leader != old)
        });
        cluster.await_greeting();
        drop(gate);
    });
    cluster.hosts[old].await_words(
        &["why", "mail"],
        &[
            "smtp 25: Connection refused",
            "the probes did not pass within 10s (start_timeout)",
            "handing over",
        ],
    );
    figure(&seen, PORT_LIMIT, &format!("restarted on {}, then moved", before.node))
}

/// Every host would find the same full disk: the service stays where it is, tells clients to come back later, and takes
/// mail again once there is room. Sendmail notices by itself only with a message, or every five minutes.
fn disk_full(cluster: &mut Cluster) -> Figure {
    let leader = cluster.await_leader();
    let before = cluster.last_run();
    let mut back = Duration::ZERO;
    let seen = cluster.under_mail(|cluster| {
        cluster.lab.storage.fill();
        let told = deliver(cluster, |told| told.as_ref().is_err_and(|why| why.contains(" 4.3.1 ")));
        say(&format!("    a client is told: {told:?}"));
        let began = now();
        until("nothing to be restarted", STILL * 2, || {
            assert_eq!(cluster.leader(), Some(leader), "moved, which does not help");
            (now() - began > STILL).then_some(())
        });
        cluster.lab.storage.mend();
        let mended = now();
        deliver(cluster, |told| told.is_ok()).expect("a message that is accepted");
        back = now() - mended;
    });
    assert!(cluster.last_run().is(&before), "another run: {:?}", cluster.last_run());
    Figure::new(
        &seen,
        Some(back),
        HAND_OVER_LIMIT,
        &format!("run {} stayed", before.run),
    )
}

/// Sends messages until the outcome is as wanted.
pub(crate) fn deliver(cluster: &Cluster, wanted: fn(&Result<(), String>) -> bool) -> Result<(), String> {
    let told = cluster.lab.client(move || {
        let mut told = Ok(());
        let found = within(RETURN_LIMIT, || {
            told = mail::send(at(VIP4, 25), "one more", GREETING, RETURN_LIMIT).map_err(|error| error.to_string());
            wanted(&told).then_some(())
        });
        assert!(found.is_some(), "the last outcome: {told:?}");
        told
    });
    told.join().expect("a client")
}

/// Stops every process of dovecot; when.
pub(crate) fn hang(cluster: &mut Cluster, place: usize) -> Duration {
    let masters = cluster.hosts[place].daemons("dovecot");
    let pids: Vec<i32> = masters.into_iter().flat_map(family).collect();
    assert!(!pids.is_empty(), "no dovecot to hang");
    for pid in pids {
        // A login process may have ended by itself.
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGSTOP);
        cluster.broken.stopped.push(pid);
    }
    now()
}

fn await_imap(cluster: &Cluster) {
    let greeted = cluster.lab.client(|| {
        until("IMAP", RETURN_LIMIT, || {
            mail::greeting(at(VIP4, 143), GREETING, GREETING).ok()
        });
    });
    greeted.join().expect("IMAP through the virtual address");
}

fn await_another_run(cluster: &Cluster, run: &str) {
    until("another run", RETURN_LIMIT, || {
        (cluster.last_run().run != run).then_some(())
    });
}

/// The last decision about the group, by the host's own word.
fn said_of_mail(host: &Host) -> String {
    let line = host.status().and_then(|mut status| status.groups.remove("mail"));
    line.map(|line| line.reason).unwrap_or_default()
}

/// A host without container and image of the service, as `docker system prune -a` leaves it; the image is kept aside.
struct Tidied {
    image: String,
    spare: String,
}

impl Tidied {
    fn up(host: &Host) -> Self {
        let image = host.image("sams");
        let spare = "spare:kept".to_owned();
        succeed(host, &["tag", &image, &spare]);
        succeed(host, &["rmi", &image]);
        succeed(host, &["rm", &format!("mail-sams-{}", host.name)]);
        Self { image, spare }
    }

    fn back(self, host: &Host) {
        succeed(host, &["tag", &self.spare, &self.image]);
        succeed(host, &["rmi", &self.spare]);
    }
}

/// A line in the shared configuration that dovecot can't read; taken out when dropped.
struct Spoiled {
    file: PathBuf,
    good: String,
}

impl Spoiled {
    fn new(cluster: &Cluster) -> Self {
        let file = cluster.lab.storage.place().join("md-config/dovecot.conf");
        let good = fs::read_to_string(&file).expect("the configuration of dovecot");
        fs::write(&file, format!("{good}\nno such setting {{\n")).expect("a bad configuration");
        Self { file, good }
    }
}

impl Drop for Spoiled {
    fn drop(&mut self) {
        // In a panic there is nothing more to be done about it.
        let _ = fs::write(&self.file, &self.good);
    }
}

/// Port 25 of a host answers nobody; opened when dropped.
struct Closed {
    space: String,
}

impl Closed {
    fn new(cluster: &Cluster, place: usize) -> Self {
        let host = &cluster.hosts[place];
        let space = cluster.lab.host_name(host.name);
        sh(&format!(
            "nsenter --net=/run/netns/{space} nft \"add table inet closed; \
             add chain inet closed input {{ type filter hook input priority 0; }}; \
             add rule inet closed input tcp dport 25 reject with tcp reset\""
        ));
        Self { space }
    }
}

impl Drop for Closed {
    fn drop(&mut self) {
        try_sh(&format!(
            "nsenter --net=/run/netns/{} nft delete table inet closed",
            self.space
        ));
    }
}
