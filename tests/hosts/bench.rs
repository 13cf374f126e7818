//! Figures: outages without other load, medians of several trials, and what an idle sidecar takes.

use std::fs;
use std::time::Duration;

use leasehold::clock;

use crate::cluster::Cluster;
use crate::host::{Host, SIDECAR};
use crate::scenarios::TTL;
use crate::shell::{now, say, sh, until, words};
use crate::traffic::Traffic;
use crate::{is_wanted, wants_logs};

const TRIALS: usize = 5;
const IDLE: Duration = Duration::from_secs(30);
const LIMIT: Duration = Duration::from_secs(60);
/// A container that lived for less is restarted later by the engine each time: 0.1 s, 0.2 s, 0.4 s and so on. The sixth
/// wait in a row is longer than the lease lasts.
const RESTARTED_AT_ONCE: Duration = Duration::from_secs(10);

type Act = fn(&mut Cluster, usize);

const MEASURED: [(&str, Act); 6] = [
    ("host killed to first 220", |cluster, leader| {
        cluster.hosts[leader].power_off()
    }),
    ("SIGTERM hand-over", |cluster, leader| {
        docker(&cluster.hosts[leader], &["stop", SIDECAR])
    }),
    ("switchover", switch_over),
    ("mail container killed", kill_container),
    ("sidecar killed", |cluster, leader| {
        rest(&cluster.hosts[leader]);
        cluster.hosts[leader].kill_sidecar();
    }),
    ("sidecar upgraded under hold", |cluster, leader| {
        let host = &cluster.hosts[leader];
        assert!(host.leasehold(&["hold", "60s"]).status.success(), "hold");
        docker(host, &["compose", "up", "-d", "--force-recreate", "leasehold"]);
    }),
];

/// Prints one line for each figure.
pub(crate) fn run(cluster: &mut Cluster) {
    cluster.hosts.iter().for_each(Host::start_sidecar);
    cluster.init();
    cluster.await_greeting();
    cluster.settle();
    idle(cluster).iter().for_each(|line| say(line));
    for (name, act) in MEASURED.into_iter().filter(|(name, _)| is_wanted(name)) {
        let mut outages: Vec<Duration> = (0..TRIALS).map(|_| trial(cluster, act)).collect();
        let all = outages
            .iter()
            .map(|outage| format!("{:.2}", outage.as_secs_f64()))
            .collect::<Vec<_>>();
        outages.sort();
        let median = outages[TRIALS / 2].as_secs_f64();
        say(&format!("{name:<28} median {median:>6.2} s  ({})", all.join(" ")));
    }
    say("the watch looks every 20 ms; \"no outage\" shows as the time of one look");
}

fn trial(cluster: &mut Cluster, act: Act) -> Duration {
    cluster.settle();
    let leader = cluster.await_leader();
    let run = cluster.last_run();
    let traffic = Traffic::watch_only(&cluster.lab);
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
    let (_, outage) = traffic.finish();
    if wants_logs() {
        say(&format!(
            "outage {outage:?}, ended before {}\n{}",
            clock::wall(),
            cluster.describe()
        ));
    }
    cluster.heal();
    outage
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
