//! What an operator writes into the compose file while the service runs: taken at his word, or by new sidecars.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::cluster::Cluster;
use crate::host::Host;
use crate::row::Figure;
use crate::scenarios::{Body, HAND_OVER_LIMIT, RETURN_LIMIT, figure, no_outage};
use crate::shell::{now, until, words};
use crate::sickness::deliver;

pub(crate) const EDITED: [(&str, Body); 3] = [
    ("changed file, applied from another host", applied),
    ("runtime broken on one standby", runtime_broken),
    ("probe: storage full", storage_probe),
];

/// One message each 30 s is as often as it may be.
pub(crate) const LONG_EDITED: [(&str, Body); 1] = [("probe: canary not heard", canary)];

const SETTING: (&str, &str) = ("MAIL_QUEUE_INTERVAL: \"5\"", "MAIL_QUEUE_INTERVAL: \"6\"");
/// A canary at its quickest: one each 30 s.
const CANARY_LIMIT: Duration = Duration::from_secs(60);
const PROBES: &str = "      probes:\n";
const STORAGE: &str = "        - { storage: sams, interval: 1s, timeout: 3s, fall: 2 }\n";
const CANARY: &str =
    "        - { canary: alice@example.test, login_file: ./login, tls: start, interval: 30s, timeout: 10s, fall: 1 }\n";

/// The compose file of every host, or of one; as it was when dropped.
pub(crate) struct Edited {
    files: Vec<PathBuf>,
    before: String,
}

impl Edited {
    pub(crate) fn new(cluster: &Cluster, old: &str, new: &str) -> Self {
        Self::of(&cluster.hosts.iter().collect::<Vec<_>>(), old, new)
    }

    fn of(hosts: &[&Host], old: &str, new: &str) -> Self {
        let file = |host: &&Host| host.disk().join("project/compose.yaml");
        let files: Vec<PathBuf> = hosts.iter().map(file).collect();
        let before = fs::read_to_string(&files[0]).expect("a compose file");
        assert!(before.contains(old), "{before}");
        let edited = Self { files, before };
        edited.write(&edited.before.replace(old, new));
        edited
    }

    fn write(&self, text: &str) {
        for file in &self.files {
            fs::write(file, text).expect("the compose file");
        }
    }
}

impl Drop for Edited {
    fn drop(&mut self) {
        self.write(&self.before);
    }
}

/// An update broke what starts containers on a standby, where what runs lives on. The next containers that are made there are
/// tried, and so it is told before anybody hands over to this host.
fn runtime_broken(cluster: &mut Cluster) -> Figure {
    cluster.await_successors();
    let (old, place) = (cluster.await_leader(), cluster.standby());
    let name = cluster.hosts[place].name;
    let mut told = Duration::ZERO;
    let seen = cluster.under_mail(|cluster| {
        let host = &cluster.hosts[place];
        host.break_runtime(true);
        let began = now();
        let edited = Edited::of(&[host], SETTING.0, SETTING.1);
        let why = "a trial start of service sams failed: ";
        cluster.hosts[old].await_words(&["status"], &[why, "OCI runtime create failed"]);
        told = now() - began;
        let refused = format!("{name} is not ready for mail");
        cluster.hosts[old].is_refused(&["switchover", "mail", "--to", name], &refused);
        host.break_runtime(false);
        drop(edited);
        cluster.await_successors();
    });
    assert_eq!(cluster.leader(), Some(old), "the service moved");
    cluster.hosts[old].await_status(0, &[]);
    no_outage(
        &seen,
        &format!(
            "{name} broken and its file edited, told {:.1} s later",
            told.as_secs_f64()
        ),
    )
}

/// The file differs, everybody sees it, and nothing happens; applied from a standby it starts anew in place, in one outage.
fn applied(cluster: &mut Cluster) -> Figure {
    cluster.settle();
    let (leader, other) = (cluster.await_leader(), cluster.standby());
    let before = cluster.last_run();
    let environment = |cluster: &Cluster| {
        let host = &cluster.hosts[leader];
        host.inspect(&format!("mail-sams-{}", host.name), "{{.Config.Env}}")
    };
    let seen = cluster.under_mail(|cluster| {
        let edited = Edited::new(cluster, SETTING.0, SETTING.1);
        cluster.hosts[other].await_words(
            &["status"],
            &["changed since sams was started: environment", "`leasehold apply mail`"],
        );
        assert!(cluster.last_run().is(&before), "taken before anybody asked");
        cluster.hosts[other].does(&["apply", "mail", "--why", "a calmer queue"]);
        await_applied(cluster, other, &before.run);
        assert!(
            environment(cluster).contains("MAIL_QUEUE_INTERVAL=6"),
            "not as the file says"
        );
        cluster.await_greeting();
        drop(edited);
        cluster.hosts[other].await_words(&["status"], &["`leasehold apply mail`"]);
    });
    let after = cluster.last_run();
    assert_eq!((before.epoch, &before.node), (after.epoch, &after.node), "not in place");
    cluster.hosts[other].await_words(&["history", "mail"], &["a calmer queue"]);
    // As it was for those that come next.
    cluster.hosts[other].does(&["apply", "mail"]);
    await_applied(cluster, other, &after.run);
    assert!(environment(cluster).contains("MAIL_QUEUE_INTERVAL=5"), "not as it was");
    figure(&seen, HAND_OVER_LIMIT, &format!("run {} to {}", before.run, after.run))
}

/// Another run serves, and a host that does not run it sees no difference any more.
fn await_applied(cluster: &Cluster, other: usize, run: &str) {
    until("a run with what the file says", RETURN_LIMIT, || {
        let line = cluster.hosts[other].status()?.groups.remove("mail")?;
        (cluster.last_run().run != run && line.drift.is_none() && line.wish.is_none()).then_some(())
    });
    cluster.settle();
}

/// A full disk, by the probe's word: every host reads it, and the service stays where it is.
fn storage_probe(cluster: &mut Cluster) -> Figure {
    let edited = Edited::new(cluster, PROBES, &format!("{PROBES}{STORAGE}"));
    cluster.renew_sidecars();
    let (leader, other) = (cluster.await_leader(), cluster.standby());
    let before = cluster.last_run();
    let mut back = Duration::ZERO;
    let seen = cluster.under_mail(|cluster| {
        await_passed(cluster, leader, "storage of sams");
        cluster.lab.storage.fill();
        cluster.hosts[other].await_words(&["status"], &["the storage at", "is full"]);
        let stays = "is full: the same on every host, so nothing is restarted or moved";
        cluster.hosts[leader].await_words(&["why", "mail"], &[stays]);
        cluster.lab.storage.mend();
        let mended = now();
        deliver(cluster, Result::is_ok).expect("a message that is accepted");
        back = now() - mended;
        cluster.hosts[leader].await_words(&["why", "mail"], &["storage of sams passes again"]);
    });
    assert!(cluster.last_run().is(&before), "another run: {:?}", cluster.last_run());
    drop(edited);
    cluster.renew_sidecars();
    cluster.hosts[other].await_status(0, &[]);
    Figure::new(
        &seen,
        Some(back),
        HAND_OVER_LIMIT,
        &format!("run {} stayed", before.run),
    )
}

/// A canary that can't look into its mailbox any more: every host reads it, and nothing is done about it.
fn canary(cluster: &mut Cluster) -> Figure {
    let login = |cluster: &Cluster, password: &str| {
        for host in &cluster.hosts {
            fs::write(host.disk().join("project/login"), format!("alice\n{password}\n")).expect("a login");
        }
    };
    login(cluster, "secret");
    let edited = Edited::new(cluster, PROBES, &format!("{PROBES}{CANARY}"));
    cluster.renew_sidecars();
    let (leader, other) = (cluster.await_leader(), cluster.standby());
    let before = cluster.last_run();
    let seen = cluster.under_mail(|cluster| {
        await_passed(cluster, leader, "canary alice@example.test");
        login(cluster, "forgotten");
        let until_said = |host: &Host, verb: &[&str], wanted: &str| {
            until(&format!("{wanted:?} on {}", host.name), CANARY_LIMIT, || {
                words(&host.leasehold(verb)).contains(wanted).then_some(())
            });
        };
        let said = "not as it should: canary alice@example.test: IMAP";
        until_said(&cluster.hosts[other], &["status"], said);
        login(cluster, "secret");
        let well = "canary alice@example.test passes again";
        until_said(&cluster.hosts[leader], &["why", "mail"], well);
    });
    assert!(cluster.last_run().is(&before), "another run: {:?}", cluster.last_run());
    drop(edited);
    cluster.renew_sidecars();
    cluster.hosts[other].await_status(0, &[]);
    no_outage(&seen, &format!("run {} stayed", before.run))
}

/// A probe counts from its first pass in a run.
fn await_passed(cluster: &Cluster, leader: usize, probe: &str) {
    until(&format!("{probe} to pass"), CANARY_LIMIT, || {
        let held = cluster.hosts[leader].status()?.groups.remove("mail")?.held?;
        (held.probes.get(probe) == Some(&true)).then_some(())
    });
}
