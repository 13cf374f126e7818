//! Operators at work while hosts fail, and while other operators work: one winner each, and a clear answer to the other.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::cluster::Cluster;
use crate::host::Host;
use crate::lab::VIP4;
use crate::parts::signal;
use crate::row::Figure;
use crate::scenarios::{Body, FAILOVER_LIMIT, HAND_OVER_LIMIT, RETURN_LIMIT, TTL, figure};
use crate::shell::{now, say, sh, until, words};
use crate::socket;

pub(crate) const OPERATORS: [(&str, Body); 7] = [
    ("switchover storm", storm),
    ("two operators at once", two_at_once),
    ("drill, interrupted", drill_interrupted),
    ("drain during failover", drain_during_failover),
    ("pause across sidecar restart and host crash", pause),
    ("a group without one node, host killed", unextended),
    ("a group deleted and created again", deleted),
];

const STORM_CALLERS: usize = 4;
const STORM_ROUNDS: usize = 3;
const WINNER: u16 = 200;
const REFUSED: u16 = 409;
const TOO_MANY: u16 = 429;
/// A host that is drained too late takes the group first and hands it on.
const DRAINED_FAILOVER: Duration = Duration::from_secs(FAILOVER_LIMIT.as_secs() + HAND_OVER_LIMIT.as_secs());
/// Nothing happens under a pause; looked at for longer than a failover takes.
const STILL: Duration = Duration::from_secs(FAILOVER_LIMIT.as_secs());

/// What a caller was told.
type Told = (u16, String);

/// Sends each act at the same moment, over the sockets given.
fn at_once(acts: Vec<(PathBuf, String, String)>) -> Vec<Told> {
    let start = Arc::new(Barrier::new(acts.len()));
    let act = |(socket, path, body): (PathBuf, String, String)| {
        let start = Arc::clone(&start);
        thread::spawn(move || {
            start.wait();
            socket::ask(&socket, "POST", &path, &body).expect("an answer of the sidecar")
        })
    };
    let callers: Vec<_> = acts.into_iter().map(act).collect();
    callers.into_iter().map(|it| it.join().expect("a caller")).collect()
}

fn count(told: &[Told], code: u16) -> usize {
    told.iter().filter(|(got, _)| *got == code).count()
}

/// Callers on all hosts ask for moves to everywhere at the same time: one move for each request that was taken, nothing is
/// left behind, and the next switchover works as ever.
fn storm(cluster: &mut Cluster) -> Figure {
    cluster.settle();
    cluster.await_successors();
    let before = cluster.last_run().epoch;
    let mut told = Vec::new();
    let seen = cluster.under_mail(|cluster| {
        let sockets: Vec<PathBuf> = cluster.hosts.iter().map(|host| host.operator_socket()).collect();
        for round in 0..STORM_ROUNDS {
            let run = cluster.last_run();
            let acts = (0..sockets.len() * STORM_CALLERS).map(|caller| {
                let wanted = ["{}", r#"{"to":"h1"}"#, r#"{"to":"h2"}"#, r#"{"to":"h3"}"#];
                let socket = sockets[caller % sockets.len()].clone();
                let path = "/v1/groups/mail/switchover".to_owned();
                (socket, path, wanted[(caller + round) % wanted.len()].to_owned())
            });
            told.extend(at_once(acts.collect()));
            until("the service to move", RETURN_LIMIT, || {
                (cluster.last_run().epoch > run.epoch).then_some(())
            });
            cluster.settle();
        }
    });
    let (taken, moves) = (count(&told, WINNER), cluster.last_run().epoch - before);
    let polite = taken + count(&told, REFUSED) + count(&told, TOO_MANY);
    assert_eq!(polite, told.len(), "answers of another kind: {told:?}");
    assert_eq!(moves, taken as u64, "moves for {taken} requests: {told:?}");
    let leader = cluster.await_leader();
    let left = cluster.hosts[leader].etcdctl(&["get", "/leasehold/mail/groups/mail/intent"]);
    assert_eq!(left, "", "a request is left behind");
    cluster.await_successors();
    cluster.hosts[cluster.standby()].does(&["switchover", "mail"]);
    let note = format!("{} calls, {taken} taken, {moves} moves", told.len());
    figure(&seen, FAILOVER_LIMIT, &note)
}

/// Ctrl-C between the two moves of a drill: it says where the service is, and nothing of it goes on.
fn drill_interrupted(cluster: &mut Cluster) -> Figure {
    cluster.settle();
    cluster.await_successors();
    let before = cluster.last_run();
    let asks = cluster.standby();
    let seen = cluster.under_mail(|cluster| {
        let host = &cluster.hosts[asks];
        let drill = host
            .command(Path::new("docker"))
            .args([
                "compose",
                "exec",
                "-T",
                "leasehold",
                "leasehold",
                "drill",
                "mail",
                "--yes",
            ])
            .current_dir(host.disk().join("project"))
            .env("DOCKER_HOST", host.socket())
            .env_remove("LEASEHOLD_NODE")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a drill");
        until("the first move", RETURN_LIMIT, || {
            (cluster.last_run().epoch > before.epoch).then_some(())
        });
        signal(until("the drill's process", RETURN_LIMIT, drilling), Signal::SIGINT);
        let output = drill.wait_with_output().expect("the end of the drill");
        let said = words(&output);
        assert!(!output.status.success() && said.contains("interrupted"), "{said}");
        assert!(said.contains("moves it back"), "where is it? {said}");
    });
    let leader = cluster.await_leader();
    let left = cluster.hosts[leader].etcdctl(&["get", "/leasehold/mail/groups/mail/intent"]);
    assert_eq!(left, "", "a request is left behind");
    let after = cluster.last_run();
    assert_eq!(after.epoch, before.epoch + 1, "it went on by itself: {after:?}");
    figure(&seen, HAND_OVER_LIMIT, &format!("stays on {}", after.node))
}

/// The process of the command in the sidecar's container, as this machine sees it.
fn drilling() -> Option<i32> {
    let is_it = |pid: &i32| {
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut line = line.split('\0');
        line.next()
            .is_some_and(|program| Path::new(program).ends_with("leasehold"))
            && line.next() == Some("drill")
    };
    let entries = fs::read_dir("/proc").ok()?.flatten();
    let mut pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.find(is_it)
}

/// Two standbys want the service at the same moment; then both want the third host drained, each for its own reason.
fn two_at_once(cluster: &mut Cluster) -> Figure {
    cluster.settle();
    cluster.await_successors();
    let leader = cluster.await_leader();
    let others: Vec<usize> = (0..cluster.hosts.len()).filter(|place| *place != leader).collect();
    let mut winner = 0;
    let seen = cluster.under_mail(|cluster| {
        let to_itself = |place: &usize| {
            let host = &cluster.hosts[*place];
            let body = format!(r#"{{"to":"{}"}}"#, host.name);
            (host.operator_socket(), "/v1/groups/mail/switchover".to_owned(), body)
        };
        let told = at_once(others.iter().map(to_itself).collect());
        winner = one_winner(
            &told,
            "stops mail, then its successor",
            &["is being moved already", "another operator changed this first"],
        );
        let wanted = others[winner];
        until("the service to move to the winner", RETURN_LIMIT, || {
            (cluster.leader() == Some(wanted)).then_some(())
        });
        cluster.settle();
    });
    assert_eq!(cluster.leader(), Some(others[winner]), "it went on to the loser");
    let name = cluster.hosts[leader].name;
    let drain = |place: &usize| {
        let host = &cluster.hosts[*place];
        let body = format!(r#"{{"why":"as {} says"}}"#, host.name);
        (host.operator_socket(), format!("/v1/nodes/{name}/drain"), body)
    };
    let told = at_once(others.iter().map(drain).collect());
    let drained = one_winner(
        &told,
        "takes none until",
        &["is drained already", "another operator changed this first"],
    );
    let order = format!("{name} is drained by root on {}", cluster.hosts[others[drained]].name);
    for host in &cluster.hosts {
        host.await_status(
            1,
            &[&order, &format!("(as {} says)", cluster.hosts[others[drained]].name)],
        );
    }
    cluster.hosts[leader].does(&["undrain"]);
    cluster.hosts[leader].await_status(0, &[]);
    figure(&seen, HAND_OVER_LIMIT, "one winner each")
}

/// Which of the callers won; the others must have been told why not, in one of these ways.
fn one_winner(told: &[Told], won: &str, lost: &[&str]) -> usize {
    for (code, said) in told {
        say(&format!("    answered {code}: {said}"));
    }
    let winners: Vec<usize> = (0..told.len()).filter(|place| told[*place].1.contains(won)).collect();
    let clear = |(_, said): &&Told| lost.iter().any(|way| said.contains(way));
    assert_eq!(winners.len(), 1, "not one winner: {told:?}");
    assert_eq!(
        told.iter().filter(clear).count(),
        told.len() - 1,
        "no clear answer: {told:?}"
    );
    winners[0]
}

/// The host that would take over is drained while the failover is under way: the service ends up on the third.
fn drain_during_failover(cluster: &mut Cluster) -> Figure {
    cluster.settle();
    let old = cluster.await_leader();
    let heir = cluster.standby();
    let last = 3 - old - heir;
    let (name, dead) = (cluster.hosts[heir].name, cluster.hosts[old].name);
    let seen = cluster.under_mail(|cluster| {
        cluster.hosts[old].power_off();
        let host = &cluster.hosts[last];
        until("the order to be taken", RETURN_LIMIT, || {
            let output = host.leasehold(&["drain", name, "--why", "new disk", "--no-wait"]);
            output.status.success().then_some(())
        });
        until("the service on the host that is left", RETURN_LIMIT, || {
            host.leads().then_some(())
        });
    });
    // Nobody is left to take over from it, and why, in one look.
    let away = format!("{dead} has been away for");
    let order = format!("{name} is drained by");
    let alone = "mail has no ready standby";
    cluster.hosts[last].await_status(1, &[&order, "(new disk)", alone, &away]);
    cluster.hosts[heir].await_words(&["why", "mail"], &["drained by", &format!("leasehold undrain {name}")]);
    cluster.hosts[last].does(&["undrain", name]);
    cluster.heal();
    let note = format!("{dead} died, {name} was drained, {} serves", cluster.hosts[last].name);
    figure(&seen, DRAINED_FAILOVER, &note)
}

/// A pause outlives the sidecar that it was told and the host that it was given on; when it ends, the service comes back.
fn pause(cluster: &mut Cluster) -> Figure {
    cluster.settle();
    let old = cluster.await_leader();
    let run = cluster.last_run();
    let mut back = Duration::ZERO;
    let seen = cluster.under_mail(|cluster| {
        let host = &cluster.hosts[old];
        host.does(&["pause", "mail", "--for", "30m", "--why", "storage works"]);
        let before = host.sidecar_pid();
        host.kill_sidecar();
        until("a new sidecar to lead", RETURN_LIMIT, || {
            (host.sidecar_pid().is_some() && host.sidecar_pid() != before && host.leads()).then_some(())
        });
        host.await_status(1, &["mail is on pause by", "(storage works)"]);
        cluster.hosts[old].power_off();
        let other = cluster.standby_of(old);
        cluster.hosts[other].await_words(&["why", "mail"], &["on pause by", "leasehold resume mail"]);
        let down = format!(
            "mail is down, because {} is silent: on pause by",
            cluster.hosts[old].name
        );
        cluster.hosts[other].await_status(2, &[&down]);
        let began = now();
        until("nothing to happen", STILL * 2, || {
            assert_eq!(cluster.leader(), None, "started although the group is on pause");
            (now() - began > STILL).then_some(())
        });
        assert!(
            cluster.last_run().is(&run),
            "another run wrote: {:?}",
            cluster.last_run()
        );
        cluster.hosts[other].does(&["resume", "mail", "--no-wait"]);
        let resumed = now();
        back = cluster.await_greeting().saturating_sub(resumed);
    });
    cluster.heal();
    let new = cluster.await_leader();
    cluster.hosts[new].await_status(0, &[]);
    let note = format!(
        "{} to {} after resume",
        cluster.hosts[old].name, cluster.hosts[new].name
    );
    Figure::new(&seen, Some(back), TTL * 2, &note)
}

/// The host that would take over is not one of the group's any more: the third takes it, and the order is taken back.
fn unextended(cluster: &mut Cluster) -> Figure {
    cluster.settle();
    cluster.await_successors();
    let old = cluster.await_leader();
    let heir = cluster.standby();
    let last = 3 - old - heir;
    let (name, holder) = (cluster.hosts[heir].name, cluster.hosts[old].name);
    let before = cluster.last_run();
    let seen = cluster.under_mail(|cluster| {
        let host = &cluster.hosts[last];
        host.is_refused(&["group", "unextend", "mail", holder], "holds mail");
        host.does(&["group", "unextend", "mail", name, "--why", "new disk"]);
        host.is_refused(&["switchover", "mail", "--to", name], "not extended to");
        cluster.hosts[heir].await_words(
            &["group", "list"],
            &[&format!("not extended to {name} by"), "(new disk)"],
        );
        cluster.hosts[old].power_off();
        let host = &cluster.hosts[last];
        until("the service on the host that is left", RETURN_LIMIT, || {
            host.leads().then_some(())
        });
    });
    let run = cluster.last_run();
    let place = (run.epoch, run.node.as_str());
    assert_eq!(
        place,
        (before.epoch + 1, cluster.hosts[last].name),
        "another node had it"
    );
    cluster.hosts[heir].does(&["group", "extend", "mail", name]);
    cluster.heal();
    let note = format!("{holder} died, {name} was left out, {} serves", run.node);
    figure(&seen, FAILOVER_LIMIT, &note)
}

/// Deleted from one host, by way of a stop; its patch fits on every host, and so does the way back; created from another.
fn deleted(cluster: &mut Cluster) -> Figure {
    cluster.settle();
    cluster.await_successors();
    let before = cluster.last_run();
    let mut back = Duration::ZERO;
    let seen = cluster.under_mail(|cluster| {
        let standby = &cluster.hosts[cluster.standby()];
        standby.is_refused(&["group", "delete", "mail", "--yes"], "holds mail");
        let output = standby.leasehold(&["group", "delete", "mail", "--stop", "--yes", "--why", "plain"]);
        assert!(output.status.success(), "{}", words(&output));
        for host in &cluster.hosts {
            host.await_status(0, &["deleted by", "(plain)"]);
            assert!(host.serving().is_empty() && !host.carries(VIP4), "{} serves", host.name);
            patched(host, &output.stdout);
        }
        let record = cluster.hosts[0].etcdctl(&["get", "/leasehold/mail/groups/mail/record"]);
        assert!(record.contains(&format!("\"epoch\":{},", before.epoch)), "{record}");
        let began = now();
        let other = &cluster.hosts[2];
        // What a colleague of an earlier row made on any of them uses the storage, too: as the refusal says.
        for host in &cluster.hosts {
            host.compose(&["rm", "--stop", "--force", "sams"]);
        }
        let mut refused = String::new();
        until("the group to be created", RETURN_LIMIT, || {
            let output = other.leasehold(&["group", "create", "mail"]);
            let why = words(&output);
            if !output.status.success() && why != refused {
                say(&format!("    {} says of create: {why}", other.name));
                refused = why;
            }
            output.status.success().then_some(())
        });
        cluster.await_greeting();
        back = now() - began;
    });
    assert_eq!(cluster.last_run().epoch, before.epoch + 1, "the epoch goes on");
    cluster.settle();
    Figure::new(&seen, Some(back), RETURN_LIMIT, "all mail is there")
}

/// The patch makes a file that Compose would start the service from, and is taken back.
fn patched(host: &Host, patch: &[u8]) {
    let file = host.disk().join("plain.patch");
    fs::write(&file, patch).expect("the patch");
    let project = host.disk().join("project");
    let patch = |more: &str| {
        sh(&format!(
            "cd {} && patch -p0 --fuzz=0 {more} < {}",
            project.display(),
            file.display()
        ))
    };
    patch("");
    let services = words(&host.compose(&["config", "--services"]));
    assert!(services.lines().any(|name| name == "sams"), "{}: {services}", host.name);
    patch("-R");
    let services = words(&host.compose(&["config", "--services"]));
    assert!(services.lines().all(|name| name != "sams"), "{}: {services}", host.name);
}

impl Cluster {
    /// A host that is on, other than this one.
    fn standby_of(&self, dead: usize) -> usize {
        let mut others = (0..self.hosts.len()).filter(|place| *place != dead && self.hosts[*place].is_up());
        others.next().expect("another host")
    }
}
