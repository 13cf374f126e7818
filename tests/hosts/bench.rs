//! Figures: outages without other load, medians of several trials, and what an idle sidecar takes.

use std::fs;
use std::time::Duration;

use leasehold::base::clock;
use nix::sys::signal::Signal;

use crate::cluster::Cluster;
use crate::host::{Host, SIDECAR};
use crate::pace::Pace;
use crate::parts::signal;
use crate::scenarios::TTL;
use crate::shell::{now, say, sh, until, words};
use crate::sickness;
use crate::traffic::Traffic;
use crate::{is_wanted, wants_logs};

const TRIALS: usize = 5;
const IDLE: Duration = Duration::from_secs(30);
const LIMIT: Duration = Duration::from_secs(60);
/// A container that lived for less is restarted later by the engine each time: 0.1 s, 0.2 s, 0.4 s and so on. The sixth
/// wait in a row is longer than the lease lasts.
const RESTARTED_AT_ONCE: Duration = Duration::from_secs(10);

type Act = fn(&mut Cluster, usize);

const SMTP: &[u16] = &[25];
const IMAP: &[u16] = &[143];
const ALL: &[u16] = &[25, 143, 110];

/// What is done, and the ports that are watched. The last need probes that judge soon; with the usual ones the verdict on
/// a service that hangs takes 48 s instead of 6.
const MEASURED: [(&str, &[u16], Pace, Act); 9] = [
    ("host killed to first 220", SMTP, Pace::Usual, |cluster, leader| {
        cluster.hosts[leader].power_off()
    }),
    ("SIGTERM hand-over", SMTP, Pace::Usual, |cluster, leader| {
        docker(&cluster.hosts[leader], &["stop", SIDECAR])
    }),
    ("switchover", ALL, Pace::Usual, switch_over),
    ("mail container killed", SMTP, Pace::Usual, kill_container),
    ("sidecar killed", SMTP, Pace::Usual, |cluster, leader| {
        rest(&cluster.hosts[leader]);
        cluster.hosts[leader].kill_sidecar();
    }),
    ("sidecar upgraded under hold", SMTP, Pace::Usual, |cluster, leader| {
        let host = &cluster.hosts[leader];
        assert!(host.leasehold(&["hold", "60s"]).status.success(), "hold");
        docker(host, &["compose", "up", "-d", "--force-recreate", "leasehold"]);
    }),
    ("sendmail killed", ALL, Pace::Quick, |cluster, leader| {
        let daemons = cluster.hosts[leader].daemons("sendmail");
        daemons.into_iter().for_each(|pid| signal(pid, Signal::SIGKILL));
    }),
    ("dovecot hung, restarted", IMAP, Pace::Quick, |cluster, leader| {
        sickness::hang(cluster, leader);
    }),
    ("dovecot hung again, moved", IMAP, Pace::Quick, |cluster, leader| {
        sickness::hang(cluster, leader);
    }),
];
/// A row of this name goes on where the one before it left the service: its restarts are spent.
const AGAIN: &str = "dovecot hung again, moved";

/// Prints one line for each figure.
pub(crate) fn run(cluster: &mut Cluster) {
    cluster.hosts.iter().for_each(Host::start_sidecar);
    cluster.init();
    cluster.await_greeting();
    cluster.settle();
    idle(cluster).iter().for_each(|line| say(line));
    for (name, ports, pace, act) in MEASURED.into_iter().filter(|(name, ..)| is_wanted(name)) {
        cluster.set_pace(pace);
        let trials: Vec<Vec<Duration>> = (0..TRIALS)
            .map(|_| {
                prepare(cluster, name, pace);
                trial(cluster, ports, act)
            })
            .collect();
        for (place, port) in ports.iter().enumerate() {
            let outages = trials.iter().map(|of_ports| of_ports[place]).collect();
            say(&median(&format!("{name}, port {port}"), outages));
        }
    }
    if is_wanted("status") {
        status(cluster).iter().for_each(|line| say(line));
    }
    say("the watch looks every 20 ms; \"no outage\" shows as the time of one look");
}

fn median(name: &str, mut times: Vec<Duration>) -> String {
    let all = times.iter().map(|time| format!("{:.3}", time.as_secs_f64()));
    let all = all.collect::<Vec<_>>().join(" ");
    times.sort();
    let median = times[TRIALS / 2].as_secs_f64();
    format!("{name:<36} median {median:>7.3} s  ({all})")
}

/// Forgets what failed in the trial before; where the second failure is to be measured, lets the first one happen.
fn prepare(cluster: &mut Cluster, name: &str, pace: Pace) {
    if pace == Pace::Usual {
        return;
    }
    cluster.renew_sidecars();
    if name == AGAIN {
        let (leader, run) = (cluster.await_leader(), cluster.last_run());
        sickness::hang(cluster, leader);
        until("a restart in place", LIMIT, || {
            (!cluster.last_run().is(&run) && cluster.leader() == Some(leader)).then_some(())
        });
    }
}

/// How long an administrator waits for `leasehold status`: in the sidecar's container, and for the program by itself.
fn status(cluster: &Cluster) -> Vec<String> {
    let host = &cluster.hosts[cluster.standby()];
    let timed = |ask: &dyn Fn() -> bool| {
        let began = now();
        assert!(ask(), "no status");
        now() - began
    };
    let inside = || host.leasehold(&["status"]).status.code().is_some_and(|code| code < 3);
    let binary = std::env::var_os("LEASEHOLD_BINARY").expect("LEASEHOLD_BINARY: the program to measure");
    let alone = || {
        let mut command = std::process::Command::new(&binary);
        let output = command
            .arg("status")
            .arg("--run-dir")
            .arg(host.run().join("leasehold"))
            .output();
        output.is_ok_and(|output| output.status.code().is_some_and(|code| code < 3))
    };
    vec![
        median(
            "status, docker compose exec",
            (0..TRIALS).map(|_| timed(&inside)).collect(),
        ),
        median(
            "status, the program alone",
            (0..TRIALS).map(|_| timed(&alone)).collect(),
        ),
    ]
}

fn trial(cluster: &mut Cluster, ports: &[u16], act: Act) -> Vec<Duration> {
    cluster.settle();
    let leader = cluster.await_leader();
    let run = cluster.last_run();
    let traffic = Traffic::watch_only(&cluster.lab, ports);
    until("some greetings", LIMIT, || (traffic.greetings() > 20).then_some(()));
    act(cluster, leader);
    let acted = now();
    // What must not be felt is watched until the old promise has run out.
    until("the service after the fault", LIMIT, || {
        let moved = !cluster.last_run().is(&run) && cluster.leader().is_some();
        (moved || now() - acted > TTL * 2).then_some(())
    });
    cluster.await_greeting();
    let before = traffic.greetings();
    until("greetings again", LIMIT, || {
        (traffic.greetings() > before + 20).then_some(())
    });
    let (_, outages) = traffic.finish();
    if wants_logs() {
        say(&format!(
            "outages {outages:?}, ended before {}\n{}",
            clock::wall(),
            cluster.describe()
        ));
    }
    cluster.heal();
    outages
}

fn switch_over(cluster: &mut Cluster, leader: usize) {
    let output = cluster.hosts[leader].leasehold(&["switchover", "mail"]);
    assert!(output.status.success(), "{}", words(&output));
}

/// Again and again it would be restarted later each time, and then moved; a new sidecar counts from zero.
fn kill_container(cluster: &mut Cluster, leader: usize) {
    let host = &cluster.hosts[leader];
    rest(host);
    let before = host.sidecar_pid();
    host.kill_sidecar();
    until("a new sidecar to lead", LIMIT, || {
        (host.sidecar_pid().is_some() && host.sidecar_pid() != before && host.leads()).then_some(())
    });
    let serving = host.serving();
    docker(host, &["kill", &serving[0]]);
}

/// Waits until the engine would restart the sidecar at once.
fn rest(host: &Host) {
    until("a sidecar that has run for a while", LIMIT, || {
        (age(pid(host)) > RESTARTED_AT_ONCE).then_some(())
    });
}

/// How long a process has run.
fn age(pid: i32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    let rest = stat.rsplit(')').next().unwrap_or_default();
    // Its start since boot: field 22 of the whole line.
    let started: f64 = rest
        .split_whitespace()
        .nth(19)
        .and_then(|field| field.parse().ok())
        .expect("ticks");
    let ticks: f64 = sh("getconf CLK_TCK").trim().parse().expect("ticks per second");
    clock::now()
        .boot
        .saturating_sub(Duration::from_secs_f64(started / ticks))
}

fn docker(host: &Host, arguments: &[&str]) {
    let output = host.docker(arguments);
    assert!(
        output.status.success(),
        "{}: {arguments:?}: {}",
        host.name,
        words(&output)
    );
}

/// Memory and processor time of the sidecars while nothing happens.
fn idle(cluster: &Cluster) -> Vec<String> {
    let ticks: f64 = sh("getconf CLK_TCK").trim().parse().expect("ticks per second");
    let began = now();
    let before: Vec<f64> = cluster.hosts.iter().map(|host| used_ticks(pid(host))).collect();
    until("the idle time to pass", IDLE * 2, || {
        (now() - began >= IDLE).then_some(())
    });
    let took = (now() - began).as_secs_f64();
    let line = |(host, before): (&Host, f64)| {
        let share = (used_ticks(pid(host)) - before) / ticks / took * 100.0;
        let role = if host.leads() { "leader" } else { "standby" };
        let memory = resident_kib(pid(host)) / 1024.0;
        format!(
            "sidecar on {} ({role}): {memory:.1} MiB resident, {share:.2} % of a core",
            host.name
        )
    };
    cluster.hosts.iter().zip(before).map(line).collect()
}

fn pid(host: &Host) -> i32 {
    host.sidecar_pid().expect("a sidecar that runs")
}

fn used_ticks(pid: i32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    let rest = stat.rsplit(')').next().unwrap_or_default();
    // In user mode and in the kernel: fields 14 and 15 of the whole line.
    let fields = rest.split_whitespace().skip(11).take(2);
    fields.map(|field| field.parse::<f64>().expect("ticks")).sum()
}

fn resident_kib(pid: i32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number
        .and_then(|number| number.parse().ok())
        .expect("the resident size")
}
