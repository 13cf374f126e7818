//! One fault as a row of the table: what is done to which host, for how long, and what clients may see of it.

use std::time::Duration;

use crate::cluster::{Cluster, Seen};
use crate::host::Host;
use crate::ledger::Run;
use crate::repairs::Thaw;
use crate::scenarios::{NO_OUTAGE, RETURN_LIMIT};
use crate::shell::{now, until, within};

/// What a thawed holder may still write: how long it takes until its tether runs again and has killed it, on a machine
/// with three hosts.
const WAKE_UP_LIMIT: Duration = Duration::from_millis(500);

pub(crate) type Act = fn(&mut Cluster, usize);

/// Done to one host, seen by all.
#[derive(Clone, Copy)]
pub(crate) struct Fault {
    pub(crate) name: &'static str,
    pub(crate) place: Place,
    pub(crate) inflict: Act,
    /// What a person does to end it, beside [`Cluster::mend`].
    pub(crate) heal: Act,
    /// How long it lasts. Where the service moves: until it has moved.
    pub(crate) lasts: Duration,
    pub(crate) then: Then,
    /// A whole container or host goes on past its deadline: two writers are measured.
    pub(crate) thaw: bool,
    /// How long two hosts may answer for the address.
    pub(crate) two_owners: Duration,
    /// May be drawn for the random mixture.
    pub(crate) mixes: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    /// The host that serves.
    Leader,
    /// One that does not.
    Standby,
    /// The one whose etcd member leads, made the serving one too.
    LeaderOfBoth,
    /// The one whose etcd member leads, which does not serve.
    EtcdLeader,
}

/// What the service does about it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Then {
    /// Nothing: same container, same run, no client notices.
    Unfelt,
    /// Another host serves, with the fault still there.
    Moves(Duration),
    /// Somebody serves again, with the fault still there.
    Returns(Duration),
    /// It may be down until the fault is healed, and no longer than this after it.
    Waits(Duration),
}

impl Then {
    /// What is printed as the bound.
    pub(crate) fn limit(self) -> Duration {
        match self {
            Self::Unfelt => NO_OUTAGE,
            Self::Moves(limit) | Self::Returns(limit) | Self::Waits(limit) => limit,
        }
    }
}

/// What a row showed.
#[derive(Clone)]
pub(crate) struct Figure {
    pub(crate) outage: Duration,
    pub(crate) two_writers: Duration,
    pub(crate) limit: Duration,
    /// The time after healing, where the limit is one of that.
    pub(crate) back: Option<Duration>,
    pub(crate) note: String,
}

impl Figure {
    /// Compares what was seen with the limit, of the outage or of the time after healing.
    pub(crate) fn new(seen: &Seen, back: Option<Duration>, limit: Duration, note: &str) -> Self {
        let note = format!("{note}, {} accepted", seen.accepted);
        let counted = back.unwrap_or(seen.outage);
        assert!(
            counted <= limit,
            "the service was back after {counted:?}, the limit is {limit:?} ({note})"
        );
        Self {
            outage: seen.outage,
            two_writers: seen.two_writers(),
            limit,
            back,
            note,
        }
    }
}

/// What was true before.
struct Before {
    leader: usize,
    run: Run,
    container: Vec<String>,
}

impl Fault {
    /// Inflicts it under mail, heals it, and judges what was seen.
    pub(crate) fn run(&self, cluster: &mut Cluster) -> Figure {
        cluster.settle();
        let place = self.choose(cluster);
        let leader = cluster.await_leader();
        let before = Before {
            leader,
            run: cluster.last_run(),
            container: cluster.hosts[leader].serving(),
        };
        let mut back = None;
        let seen = cluster.observe(|cluster| {
            (self.inflict)(cluster, place);
            self.endure(cluster, &before);
            (self.heal)(cluster, place);
            cluster.mend();
            let healed = now();
            let greeted = cluster.await_greeting();
            if matches!(self.then, Then::Waits(_)) {
                back = Some(greeted.saturating_sub(healed));
            }
            cluster.heal();
            assert!(cluster.lacks_strays(), "an address is left where nobody serves");
        });
        self.judge(cluster, &before, &seen, back)
    }

    pub(crate) fn choose(&self, cluster: &Cluster) -> usize {
        let leader = cluster.await_leader();
        let standby = cluster.standby();
        match self.place {
            Place::Leader => leader,
            Place::Standby => standby,
            Place::LeaderOfBoth => {
                cluster.lead_etcd(leader);
                leader
            }
            Place::EtcdLeader => {
                cluster.lead_etcd(standby);
                standby
            }
        }
    }

    fn endure(&self, cluster: &Cluster, before: &Before) {
        let began = now();
        let lasts = self.lasts;
        let past = || (now() - began >= lasts).then_some(());
        match self.then {
            Then::Unfelt | Then::Waits(_) => until("the fault to have lasted", lasts * 2, past),
            Then::Moves(_) => {
                let moved = || cluster.leader().filter(|leader| *leader != before.leader);
                until("another host to serve", RETURN_LIMIT, moved);
                until("the fault to have lasted", lasts + RETURN_LIMIT, past);
            }
            Then::Returns(_) => {
                until("the fault to have lasted", lasts * 2, past);
                cluster.await_greeting();
            }
        }
    }

    fn judge(&self, cluster: &mut Cluster, before: &Before, seen: &Seen, back: Option<Duration>) -> Figure {
        assert!(
            seen.two_owners <= self.two_owners,
            "two hosts answered for the address for {:?}",
            seen.two_owners
        );
        let after = cluster.last_run();
        let mut note = if after.is(&before.run) {
            format!("run {} stays on {}", after.run, after.node)
        } else {
            format!(
                "run {} on {} to {} on {}",
                before.run.run, before.run.node, after.run, after.node
            )
        };
        if matches!(self.then, Then::Unfelt) {
            assert!(after.is(&before.run), "another run: {note}");
            let container = cluster.hosts[before.leader].serving();
            assert_eq!(container, before.container, "another container");
        }
        if self.thaw {
            note += &thawed(cluster, seen);
        } else {
            assert!(seen.late.is_empty(), "two runs wrote at the same time: {:?}", seen.late);
        }
        Figure::new(seen, back, self.then.limit(), &note)
    }
}

/// What was written after the thaw, and how long the tether took to end it.
fn thawed(cluster: &mut Cluster, seen: &Seen) -> String {
    let (at, lived) = cluster.broken.thaw.take().expect("something that was thawed");
    let last = seen.late.iter().map(|late| late.to).max().unwrap_or(at);
    let lines: usize = seen.late.iter().map(|late| late.lines).sum();
    let wrote = last.saturating_sub(at);
    assert!(
        wrote.max(lived) < WAKE_UP_LIMIT,
        "thawed past its deadline, the holder wrote for {wrote:?} and its tether lived for {lived:?}"
    );
    let (two_writers, lived_ms) = (seen.two_writers(), lived.as_secs_f64() * 1000.0);
    cluster.broken.thaws.push(Thaw { two_writers, lived });
    format!(", thawed: {lines} lines, dead after {lived_ms:.1} ms")
}

impl Cluster {
    /// Whether nobody but the host that serves carries an address of the service.
    fn lacks_strays(&self) -> bool {
        let strays = || {
            let others = self.hosts.iter().filter(|host| host.is_up() && !host.leads());
            others.filter(|host| host.carries(crate::lab::VIP4)).count()
        };
        within(RETURN_LIMIT, || (strays() == 0).then_some(())).is_some()
    }
}

pub(crate) fn nothing(_: &mut Cluster, _: usize) {}

/// Waits until a host other than this one serves.
pub(crate) fn await_another(cluster: &Cluster, host: &Host) {
    let others = || cluster.hosts.iter().filter(|other| other.name != host.name);
    until("another host to serve", RETURN_LIMIT, || {
        others().any(Host::leads).then_some(())
    });
}
