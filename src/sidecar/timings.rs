//! How long things took, as histograms, and what etcd's members say of themselves, for the metrics. Clones count together.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::beats::{Beats, Day};
use crate::measure::{self, DiskCounts, Measure};
use leasehold_base::clock;
use leasehold_base::epoch::Run;
use leasehold_base::time::Time;
use leasehold_core::history::Phase;
use leasehold_core::protocol::TxnKind;
use leasehold_core::store::RequestId;

/// Of what a beat waits for, in seconds.
const CALLS: [f64; 13] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// Of what a client notices, in seconds.
const OUTAGES: [f64; 12] = [0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0];
/// Requests that wait for an answer; the store has fewer under way.
const WAITING_MAX: usize = 64;

/// Checks of a group whose last answers are kept, and letters of a fault.
const ANSWERS_MAX: usize = 256;
const FAULT_MAX: usize = 200;

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfTxn {
    kind: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfProbe {
    group: String,
    probe: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfCause {
    group: String,
    cause: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfPhase {
    group: String,
    phase: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfGroup {
    group: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfEndpoint {
    endpoint: String,
}

/// What a member of etcd says of itself, for the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemberFigures {
    /// Of its file, in bytes.
    pub size: Option<u64>,
    /// What the file may grow to, in bytes.
    pub quota: Option<u64>,
    pub leader: Option<bool>,
    /// Until it had answered.
    pub took: Duration,
}

/// A member of etcd as it was seen last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberSeen {
    pub at: Time,
    /// None: it did not answer.
    pub said: Option<MemberFigures>,
}

/// The last answer to a check of the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeSeen {
    pub at: Time,
    pub took: Duration,
    /// None: it passed.
    pub fault: Option<String>,
}

/// The histograms, and the requests that wait for their answer.
#[derive(Clone, Debug)]
pub struct Timings {
    /// The last day, for advice.
    pub measure: Measure,
    beats: Histogram,
    txns: Histograms<OfTxn>,
    probes: Histograms<OfProbe>,
    outages: Histograms<OfCause>,
    phases: Histograms<OfPhase>,
    restarts: Histograms<OfGroup>,
    member_up: Family<OfEndpoint, Gauge>,
    member_size: Family<OfEndpoint, Gauge>,
    member_quota: Family<OfEndpoint, Gauge>,
    member_leads: Family<OfEndpoint, Gauge>,
    waiting: Arc<Mutex<BTreeMap<RequestId, (TxnKind, Time)>>>,
    /// Starts in place that have not ended, by their groups.
    restarting: Arc<Mutex<BTreeMap<String, Time>>>,
    day: Arc<Mutex<Day>>,
    members: Arc<Mutex<BTreeMap<String, MemberSeen>>>,
    answers: Arc<Mutex<BTreeMap<String, Answers>>>,
}

/// The last answer to each check of a run, which began with the checks that the file had then.
#[derive(Debug)]
struct Answers {
    run: Run,
    of: BTreeMap<String, ProbeSeen>,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            measure: Measure::default(),
            beats: of_calls(),
            txns: Family::new_with_constructor(of_calls),
            probes: Family::new_with_constructor(of_calls),
            outages: Family::new_with_constructor(of_outages),
            phases: Family::new_with_constructor(of_outages),
            member_up: Family::default(),
            member_size: Family::default(),
            member_quota: Family::default(),
            member_leads: Family::default(),
            restarts: Family::new_with_constructor(of_outages),
            waiting: Arc::default(),
            restarting: Arc::default(),
            day: Arc::default(),
            members: Arc::default(),
            answers: Arc::default(),
        }
    }
}

fn of_calls() -> Histogram {
    Histogram::new(CALLS)
}

fn of_outages() -> Histogram {
    Histogram::new(OUTAGES)
}

fn lock<T>(kept: &Mutex<T>) -> MutexGuard<'_, T> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Timings {
    /// A request goes out, which is a beat, too.
    pub fn sent(&self, id: RequestId, kind: TxnKind) {
        let mut waiting = lock(&self.waiting);
        while waiting.len() >= WAITING_MAX {
            waiting.pop_first();
        }
        let now = clock::now();
        waiting.insert(id, (kind, now));
        self.measure.sent(now);
    }

    /// It was answered, or was not in its time.
    pub fn answered(&self, id: RequestId, is_good: bool) {
        let sent = lock(&self.waiting).remove(&id);
        let Some((kind, at)) = sent else { return };
        let now = clock::now();
        let way = now.since(at);
        lock(&self.day).add(now, is_good.then_some(way));
        self.measure.answered(now, at, is_good, measure::wall());
        let took = way.as_secs_f64();
        let result = if is_good { "ok" } else { "failed" };
        let kind = kind.word();
        self.txns.get_or_create(&OfTxn { kind, result }).observe(took);
        if is_good {
            self.beats.observe(took);
        }
    }

    /// Histograms that begin at zero are there before they count.
    pub fn begin(&self, group: &str, probes: impl IntoIterator<Item = String>) {
        let of = OfGroup {
            group: group.to_owned(),
        };
        drop(self.restarts.get_or_create(&of));
        for probe in probes {
            let group = group.to_owned();
            drop(self.probes.get_or_create(&OfProbe { group, probe }));
        }
    }

    /// A check of a run ended; `fault`: why not well.
    pub fn probed(&self, group: &str, run: Run, probe: String, took: Duration, fault: Option<&str>) {
        let group = group.to_owned();
        let fault = fault.map(|fault| fault.chars().take(FAULT_MAX).collect());
        let at = clock::now();
        let mut answers = lock(&self.answers);
        let of = BTreeMap::new();
        let last = answers.entry(group.clone()).or_insert(Answers { run, of });
        if last.run < run {
            last.run = run;
            last.of.clear();
        }
        // A check of the run before may end after the first of this one.
        let is_kept = last.run == run && (last.of.len() < ANSWERS_MAX || last.of.contains_key(&probe));
        if is_kept {
            last.of.insert(probe.clone(), ProbeSeen { at, took, fault });
        }
        drop(answers);
        self.probes
            .get_or_create(&OfProbe { group, probe })
            .observe(took.as_secs_f64());
    }

    /// The last answers to the checks of a group, by its last run on this node.
    #[must_use]
    pub fn probes_seen(&self, group: &str) -> BTreeMap<String, ProbeSeen> {
        let answers = lock(&self.answers);
        answers.get(group).map(|last| last.of.clone()).unwrap_or_default()
    }

    /// The service is about to be started again in place.
    pub fn restart_began(&self, group: &str) {
        let mut restarting = lock(&self.restarting);
        if restarting.len() < WAITING_MAX {
            restarting.insert(group.to_owned(), clock::now());
        }
    }

    /// It serves again, or does not.
    pub fn restart_ended(&self, group: &str, is_well: bool) {
        let Some(began) = lock(&self.restarting).remove(group) else {
            return;
        };
        if is_well {
            let of = OfGroup {
                group: group.to_owned(),
            };
            let took = clock::now().since(began).as_secs_f64();
            self.restarts.get_or_create(&of).observe(took);
        }
    }

    /// The last beats: `count` parts of `minutes` each, the oldest first; none: before this sidecar.
    #[must_use]
    pub fn beats(&self, count: usize, minutes: usize) -> Vec<Option<Beats>> {
        lock(&self.day).parts(clock::now(), count, minutes)
    }

    /// Each member of etcd that was looked at, by its endpoint.
    #[must_use]
    pub fn members_seen(&self) -> BTreeMap<String, MemberSeen> {
        lock(&self.members).clone()
    }

    /// This node serves what it took; the whole outage is known.
    pub fn moved(&self, group: &str, cause: &str, outage: Duration) {
        let (group, cause) = (group.to_owned(), cause.to_owned());
        self.outages
            .get_or_create(&OfCause { group, cause })
            .observe(outage.as_secs_f64());
    }

    /// Parts of a move, as this node timed them.
    pub fn phases(&self, group: &str, phases: &[Phase]) {
        for Phase { what, ms } in phases {
            let (group, phase) = (group.to_owned(), what.word().to_owned());
            let took = Duration::from_millis(*ms).as_secs_f64();
            self.phases.get_or_create(&OfPhase { group, phase }).observe(took);
        }
    }

    /// What the member behind an endpoint said; none: it did not answer, and what it said before stands.
    pub fn member(&self, endpoint: &str, said: Option<MemberFigures>) {
        let of = OfEndpoint {
            endpoint: endpoint.to_owned(),
        };
        self.member_up.get_or_create(&of).set(i64::from(said.is_some()));
        // Their number is that of the compose file.
        let at = clock::now();
        lock(&self.members).insert(endpoint.to_owned(), MemberSeen { at, said });
        let said = said.unwrap_or_default();
        let sizes = [(&self.member_size, said.size), (&self.member_quota, said.quota)];
        for (family, bytes) in sizes {
            if let Some(bytes) = bytes {
                family.get_or_create(&of).set(i64::try_from(bytes).unwrap_or(i64::MAX));
            }
        }
        if let Some(leads) = said.leader {
            self.member_leads.get_or_create(&of).set(i64::from(leads));
        }
    }

    /// What a member that answers shows of its disk; none: nothing.
    pub fn disk(&self, endpoint: &str, counts: Option<&DiskCounts>) {
        self.measure.disk(endpoint, counts, measure::wall());
    }

    /// Adds all of it to the metrics.
    pub fn register(&self, registry: &mut Registry) {
        let help = "From sending a request to etcd, each of which is a beat, to its good answer";
        registry.register_with_unit("beat_round_trip", help, Unit::Seconds, self.beats.clone());
        let help = "What requests to etcd took, by their kind in the protocol and their result";
        registry.register_with_unit("txn", help, Unit::Seconds, self.txns.clone());
        let help = "What checks of the service took, good or not";
        registry.register_with_unit("probe", help, Unit::Seconds, self.probes.clone());
        let help = "Outages of moves to this node, by why the group left its holder before";
        registry.register_with_unit("outage", help, Unit::Seconds, self.outages.clone());
        let help = "Parts of moves, as this node timed them";
        registry.register_with_unit("phase", help, Unit::Seconds, self.phases.clone());
        let help = "From the start of a new run in place until it served";
        registry.register_with_unit("restart", help, Unit::Seconds, self.restarts.clone());
        let help = "Whether the member of etcd behind the endpoint answers this node";
        registry.register("etcd_member_up", help, self.member_up.clone());
        let help = "Whether the member of etcd behind the endpoint leads";
        registry.register("etcd_member_leads", help, self.member_leads.clone());
        let help = "Size of the file of the member of etcd";
        registry.register_with_unit("etcd_db_size", help, Unit::Bytes, self.member_size.clone());
        let help = "What the file of the member of etcd may grow to";
        registry.register_with_unit("etcd_quota", help, Unit::Bytes, self.member_quota.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use leasehold_core::history::PhaseKind;

    fn text(timings: &Timings) -> String {
        let mut registry = Registry::with_prefix("leasehold");
        timings.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text
    }

    #[test]
    fn what_was_timed_is_counted_once() {
        let timings = Timings::default();
        timings.begin("mail", ["smtp 25".to_owned()]);
        timings.sent(RequestId(7), TxnKind::Beat);
        timings.answered(RequestId(7), true);
        // Nobody sent it, or it was answered before.
        timings.answered(RequestId(7), true);
        timings.sent(RequestId(8), TxnKind::Release);
        timings.answered(RequestId(8), false);
        timings.moved("mail", "silent", Duration::from_millis(5600));
        let (what, ms) = (PhaseKind::Silence, 5011);
        timings.phases("mail", &[Phase { what, ms }]);
        timings.member(
            "http://a",
            Some(MemberFigures {
                size: Some(7),
                quota: Some(9),
                leader: Some(true),
                took: Duration::from_millis(12),
            }),
        );
        let said = |timings: &Timings| timings.members_seen().get("http://a").unwrap().said;
        assert_eq!(said(&timings).unwrap().took, Duration::from_millis(12));
        timings.member("http://a", None);
        assert_eq!(said(&timings), None);
        timings.restart_began("mail");
        timings.restart_ended("mail", true);
        timings.restart_began("mail");
        timings.restart_ended("mail", false);
        // Nobody began it.
        timings.restart_ended("mail", true);
        let beats = timings.beats(1, 1);
        assert!(
            matches!(
                beats[..],
                [Some(Beats {
                    answered: 1,
                    failed: 1,
                    ..
                })]
            ),
            "{beats:?}"
        );
        let text = text(&timings);
        for line in [
            "leasehold_beat_round_trip_seconds_count 1",
            "leasehold_txn_seconds_count{kind=\"T2\",result=\"ok\"} 1",
            "leasehold_txn_seconds_count{kind=\"T7\",result=\"failed\"} 1",
            "leasehold_probe_seconds_count{group=\"mail\",probe=\"smtp 25\"} 0",
            "leasehold_outage_seconds_bucket{le=\"10.0\",group=\"mail\",cause=\"silent\"} 1",
            "leasehold_phase_seconds_sum{group=\"mail\",phase=\"silence\"} 5.011",
            "leasehold_restart_seconds_count{group=\"mail\"} 1",
            "leasehold_etcd_member_up{endpoint=\"http://a\"} 0",
            "leasehold_etcd_member_leads{endpoint=\"http://a\"} 1",
            "leasehold_etcd_quota_bytes{endpoint=\"http://a\"} 9",
        ] {
            assert!(text.lines().any(|one| one == line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn the_last_answer_of_each_check_is_kept_and_no_more_than_there_can_be() {
        let timings = Timings::default();
        let run = |n| Run { epoch: 3, n };
        let check = |n, probe: &str, fault: Option<&str>| {
            timings.probed("mail", run(n), probe.to_owned(), Duration::from_millis(3), fault);
        };
        let seen = |probe: &str| timings.probes_seen("mail").get(probe).map(|seen| seen.fault.clone());
        check(1, "smtp 25", Some("refused"));
        assert_eq!(seen("smtp 25"), Some(Some("refused".to_owned())));
        check(1, "smtp 25", None);
        assert_eq!(seen("smtp 25"), Some(None));
        for number in 0..1000 {
            check(1, &format!("tcp {number}"), Some(&"x".repeat(900)));
        }
        check(1, "smtp 25", Some("again"));
        assert_eq!(seen("smtp 25"), Some(Some("again".to_owned())));
        let all = timings.probes_seen("mail");
        assert_eq!(all.len(), ANSWERS_MAX);
        assert_eq!(all.get("tcp 0").unwrap().fault.as_ref().unwrap().len(), FAULT_MAX);

        // The next run was made of a file without these.
        check(2, "imap 143", None);
        check(1, "smtp 25", None);
        assert_eq!(
            timings.probes_seen("mail").into_keys().collect::<Vec<_>>(),
            ["imap 143"]
        );
    }

    #[test]
    fn requests_that_nobody_answers_are_bounded() {
        let timings = Timings::default();
        for id in 0..1000 {
            timings.sent(RequestId(id), TxnKind::Beat);
        }
        assert_eq!(timings.waiting.lock().unwrap().len(), WAITING_MAX);
    }
}
