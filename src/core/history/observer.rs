//! Watches a node's own snapshots, turn by turn, and tells what the epochs that this node holds began and ended with.
//! Pure: it decides nothing, and nothing waits for it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Before, Begun, Entry, Left, Phase, PhaseKind};
use crate::group::Stage;
use crate::protocol::ReleaseCause;
use crate::snapshot::status::{GroupLine, GroupState, HeldLine, Status};
use crate::text;
use crate::time::Time;

/// What was seen of each group up to the last turn.
#[derive(Clone, Debug, Default)]
pub struct EpochRecorder {
    groups: BTreeMap<String, Seen>,
}

/// The group's record, and this node's own epoch of it.
#[derive(Clone, Debug, Default)]
struct Seen {
    /// Anything was seen at all.
    known: bool,
    epoch: u64,
    holder: Option<String>,
    /// The node that the record names, active or not.
    last: Option<String>,
    reason: String,
    cause: Option<ReleaseCause>,
    /// When the holder was last heard of.
    heard: Option<Time>,
    /// Since when it is free, if this node saw it held before, and nobody's order keeps it from starting.
    free: Option<Time>,
    own: Option<Own>,
}

#[derive(Clone, Debug)]
struct Own {
    begun: Begun,
    /// The end of the last phase.
    at: Time,
    /// An earlier sidecar won it: only its end can be told.
    adopted: bool,
    runs: u32,
    /// Since the order to stop, the first time that each stage of it was seen, and what ended with it.
    stopping: Vec<(Option<PhaseKind>, Time)>,
}

impl EpochRecorder {
    /// Takes one turn's snapshot; `wall` is the time for people.
    pub fn observe(&mut self, now: Time, wall: &str, status: &Status) -> Vec<Entry> {
        let mut told = Vec::new();
        for (name, line) in &status.groups {
            let seen = self.groups.entry(name.clone()).or_default();
            seen.end(now, wall, name, line, &mut told);
            seen.begin(now, wall, name, &status.node, line, &mut told);
            seen.go_on(now, name, line, &mut told);
            seen.remember(now, line, status);
        }
        told
    }
}

impl Seen {
    /// This node's epoch is over: another one began, or nothing is held any more.
    fn end(&mut self, now: Time, wall: &str, group: &str, line: &GroupLine, told: &mut Vec<Entry>) {
        let still = |own: &Own| line.held.as_ref().is_some_and(|held| held.run.epoch == own.begun.epoch);
        let Some(own) = self.own.take_if(|own| !still(own)) else {
            return;
        };
        let epoch = own.begun.epoch;
        if !own.adopted && !own.begun.served {
            told.push(Entry::Begun {
                group: group.to_owned(),
                begun: own.begun.clone(),
            });
        }
        let cause = match &line.holder {
            Some(holder) if line.epoch > epoch => text::history::taken_by(holder, &line.record),
            Some(_) | None => line.record.clone(),
        };
        let left = Left {
            epoch,
            node: own.begun.to.clone(),
            cause,
            at: wall.to_owned(),
            phases: own.stop_phases(now),
            runs: own.runs,
        };
        told.push(Entry::Left {
            group: group.to_owned(),
            left,
        });
    }

    fn begin(&mut self, now: Time, wall: &str, group: &str, node: &str, line: &GroupLine, told: &mut Vec<Entry>) {
        let Some(HeldLine { run, stage, .. }) = line.held.as_ref().filter(|_| self.own.is_none()) else {
            return;
        };
        // A run that this sidecar began is first seen as it starts.
        let adopted = *stage != Stage::Starting || run.n != 1;
        let (before, since) = match (&self.holder, self.known) {
            // Its own lease ran out, and nobody else took it: the stop was told with the epoch before.
            (Some(holder), true) if holder == node => (Before::Release, Some(now)),
            (Some(_), true) => (Before::Silence, self.heard),
            (None, true) if self.free.is_some() => (Before::Release, self.free),
            (None, _) | (Some(_), false) => (Before::Nothing, None),
        };
        let what = match before {
            Before::Silence => PhaseKind::Silence,
            Before::Release | Before::Nothing => PhaseKind::TakeOver,
        };
        let begun = Begun {
            epoch: run.epoch,
            from: self.last.clone(),
            to: node.to_owned(),
            cause: self.cause(line),
            at: wall.to_owned(),
            before,
            phases: since.map(|since| phase(what, now.since(since))).into_iter().collect(),
            served: false,
        };
        if !adopted {
            told.push(Entry::Begun {
                group: group.to_owned(),
                begun: begun.clone(),
            });
        }
        self.own = Some(Own {
            begun,
            at: now,
            adopted,
            runs: 0,
            stopping: Vec::new(),
        });
    }

    /// What a released record says is why the next epoch began; an active one that is taken says nothing yet.
    fn cause(&self, line: &GroupLine) -> String {
        let taken = line.record.clone();
        match (&self.holder, self.known) {
            (None, true) if self.epoch == 0 => text::history::FIRST_START.to_owned(),
            (None, true) if self.cause == Some(ReleaseCause::Silent) => {
                text::membership::fell_silent(self.last.as_deref().unwrap_or(text::history::ITS_HOLDER))
            }
            (None, true) if !self.reason.is_empty() => self.reason.clone(),
            (None | Some(_), _) => taken,
        }
    }

    fn go_on(&mut self, now: Time, group: &str, line: &GroupLine, told: &mut Vec<Entry>) {
        let (Some(own), Some(held)) = (&mut self.own, &line.held) else {
            return;
        };
        own.runs = own.runs.max(held.run.n);
        own.stops(now, held.stage);
        if own.adopted || own.begun.served {
            return;
        }
        let milestones = [
            (PhaseKind::Addresses, held.address_held),
            (PhaseKind::Containers, held.up),
            (PhaseKind::Serving, held.stage == Stage::Active),
        ];
        for (what, reached) in milestones {
            if reached && own.begun.phases.iter().all(|known| known.what != what) {
                own.begun.phases.push(phase(what, now.since(own.at)));
                own.at = now;
            }
        }
        if held.stage == Stage::Active {
            own.begun.served = true;
            told.push(Entry::Begun {
                group: group.to_owned(),
                begun: own.begun.clone(),
            });
        }
    }

    fn remember(&mut self, now: Time, line: &GroupLine, status: &Status) {
        if line.state == GroupState::Unknown {
            return;
        }
        let ordered = line.stopped.is_some() || line.paused.is_some() || line.deleted.is_some();
        self.free = match &line.holder {
            Some(_) => None,
            None if self.holder.is_some() => Some(now),
            // What an operator wanted so is not counted.
            None => self.free.map(|since| if ordered { now } else { since }),
        };
        let heard = line
            .holder
            .as_ref()
            .and_then(|holder| status.nodes.get(holder)?.beat_ms);
        self.heard = match heard {
            Some(ms) => Some(now.minus(Duration::from_millis(ms))),
            None if line.holder == self.holder => self.heard,
            None => None,
        };
        self.known = true;
        self.epoch = line.epoch;
        self.holder.clone_from(&line.holder);
        self.last = line.holder.clone().or_else(|| line.last_holder.clone());
        self.reason.clone_from(&line.record);
        self.cause = line.cause;
    }
}

impl Own {
    fn stops(&mut self, now: Time, stage: Stage) {
        // What each stage ends, when it is seen.
        let ended = match stage {
            Stage::Stopping => None,
            Stage::Withdrawing => Some(PhaseKind::Stop),
            Stage::Stopped => Some(PhaseKind::Withdrawal),
            Stage::Adopting | Stage::Starting | Stage::Checking | Stage::Active => return self.stopping.clear(),
        };
        if self.stopping.last().is_none_or(|(last, _)| *last != ended) {
            self.stopping.push((ended, now));
        }
    }

    fn stop_phases(&self, now: Time) -> Vec<Phase> {
        // Of the first one it is not known since when.
        let ended = |(what, at): &(Option<PhaseKind>, Time)| Some((what.clone()?, *at));
        let ends = self.stopping.iter().skip(1).filter_map(ended);
        let ends = ends.chain(self.stopping.first().map(|_| (PhaseKind::Release, now)));
        let starts = self.stopping.iter().map(|(_, at)| *at);
        let both = starts.zip(ends);
        both.map(|(from, (what, to))| phase(what, to.since(from))).collect()
    }
}

fn phase(what: PhaseKind, took: Duration) -> Phase {
    Phase {
        what,
        ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::epoch::Run;
    use crate::snapshot::status::NodeLine;

    /// What node b sees, one snapshot after another.
    #[derive(Default)]
    struct Bench {
        recorder: EpochRecorder,
        line: GroupLine,
        beat_ms: Option<u64>,
    }

    impl Bench {
        fn record(&mut self, epoch: u64, node: &str, active: bool, reason: &str) -> &mut Self {
            self.line.epoch = epoch;
            self.line.holder = active.then(|| node.to_owned());
            self.line.last_holder = (!active).then(|| node.to_owned());
            self.line.record = reason.to_owned();
            self.line.state = if active { GroupState::Standby } else { GroupState::Free };
            self.line.cause = (!active).then(|| ReleaseCause::of_old(reason));
            self
        }

        fn held(&mut self, run: &str, stage: Stage, address: bool, up: bool) -> &mut Self {
            let (epoch, n) = run.split_once('.').unwrap();
            self.line.held = Some(HeldLine {
                run: Run {
                    epoch: epoch.parse().unwrap(),
                    n: n.parse().unwrap(),
                },
                stage,
                up,
                address_held: address,
                ..HeldLine::default()
            });
            self
        }

        fn see(&mut self, ms: u64) -> Vec<Entry> {
            let now = Time::default().plus(Duration::from_millis(100_000 + ms));
            let holder = NodeLine {
                beat_ms: self.beat_ms,
                ..NodeLine::default()
            };
            let status = Status {
                node: "b".to_owned(),
                groups: [("mail".to_owned(), self.line.clone())].into(),
                nodes: [("a".to_owned(), holder)].into(),
                ..Status::default()
            };
            self.recorder.observe(now, &format!("{ms}"), &status)
        }
    }

    fn begun(entries: &[Entry]) -> &Begun {
        match entries {
            [Entry::Begun { begun, .. }] => begun,
            other => panic!("{other:?}"),
        }
    }

    fn left(entries: &[Entry]) -> &Left {
        match entries {
            [Entry::Left { left, .. }] => left,
            other => panic!("{other:?}"),
        }
    }

    fn told(phases: &[Phase]) -> Vec<(&str, u64)> {
        phases.iter().map(|phase| (phase.what.word(), phase.ms)).collect()
    }

    #[test]
    fn a_silent_holder_is_timed_from_its_last_beat() {
        let mut bench = Bench {
            beat_ms: Some(40),
            ..Bench::default()
        };
        assert_eq!(bench.record(6, "a", true, "first").see(0), []);
        bench.beat_ms = Some(5000);
        assert_eq!(bench.see(4960), []);
        // Its key is gone with the take-over.
        bench.beat_ms = None;
        let entries = bench
            .record(7, "b", true, "a fell silent")
            .held("7.1", Stage::Starting, false, false)
            .see(5040);
        let won = begun(&entries);
        assert_eq!((won.epoch, won.from.as_deref(), won.to.as_str()), (7, Some("a"), "b"));
        assert_eq!((won.cause.as_str(), won.before), ("a fell silent", Before::Silence));
        assert_eq!(told(&won.phases), [("silence", 5080)]);
        assert!(!won.served);
        assert_eq!(bench.held("7.1", Stage::Starting, true, false).see(5140), []);
        assert_eq!(bench.held("7.1", Stage::Checking, true, true).see(5340), []);
        let entries = bench.held("7.1", Stage::Active, true, true).see(5390);
        let serves = begun(&entries);
        let wanted = [
            ("silence", 5080),
            ("addresses", 100),
            ("containers", 200),
            ("serving", 50),
        ];
        assert_eq!(told(&serves.phases), wanted);
        assert!(serves.served && serves.at == "5040", "{serves:?}");
        assert_eq!(bench.see(6000), []);
    }

    #[test]
    fn a_handover_is_told_by_both_with_who_asked() {
        let mut bench = Bench::default();
        bench.record(3, "b", true, "x").held("3.2", Stage::Active, true, true);
        // Adopted: how it began is not made up.
        assert_eq!(bench.see(0), []);
        assert_eq!(bench.held("3.2", Stage::Stopping, true, true).see(1000), []);
        assert_eq!(bench.held("3.2", Stage::Withdrawing, true, false).see(1400), []);
        assert_eq!(bench.held("3.2", Stage::Stopped, false, false).see(1450), []);
        bench
            .record(3, "b", false, "switchover to a, asked by ann on b")
            .line
            .held = None;
        let entries = bench.see(1470);
        let gone = left(&entries);
        assert_eq!(told(&gone.phases), [("stop", 400), ("withdrawal", 50), ("release", 20)]);
        assert_eq!((gone.epoch, gone.runs, gone.node.as_str()), (3, 2, "b"));
        assert_eq!(gone.cause, "switchover to a, asked by ann on b");
        // Had a not taken it, b might have again.
        let entries = bench
            .record(4, "b", true, "taken while free")
            .held("4.1", Stage::Starting, false, false)
            .see(1500);
        let won = begun(&entries);
        assert_eq!(
            (won.before, told(&won.phases)),
            (Before::Release, vec![("take-over", 30)])
        );
        assert_eq!(won.cause, "switchover to a, asked by ann on b");
    }

    #[test]
    fn the_first_start_and_a_stop_by_order_count_no_waiting() {
        let mut bench = Bench::default();
        assert_eq!(bench.see(0), []);
        bench.record(0, "", false, "").line.last_holder = None;
        assert_eq!(bench.see(10), []);
        let entries = bench
            .record(1, "b", true, "taken while free")
            .held("1.1", Stage::Starting, false, false)
            .see(5000);
        let won = begun(&entries);
        assert_eq!(
            (won.cause.as_str(), won.before, won.from.as_deref()),
            ("first start", Before::Nothing, None)
        );
        assert!(won.phases.is_empty());
        assert!(begun(&bench.held("1.1", Stage::Active, false, true).see(5300)).served);
        // Ordered to stop, for an hour.
        bench.record(1, "b", false, "stopped by ann").line.held = None;
        bench.line.stopped = Some("by ann".to_owned());
        assert_eq!(left(&bench.see(6000)).cause, "stopped by ann");
        assert_eq!(bench.see(3_600_000), []);
        bench.line.stopped = None;
        assert_eq!(bench.see(3_600_100), []);
        let entries = bench
            .record(2, "b", true, "taken while free")
            .held("2.1", Stage::Starting, false, false)
            .see(3_600_150);
        assert_eq!(told(&begun(&entries).phases), [("take-over", 150)]);
    }

    #[test]
    fn a_restart_in_place_is_no_stop_and_an_epoch_taken_over_ends_without_phases() {
        let mut bench = Bench::default();
        bench.record(3, "b", true, "x").held("3.1", Stage::Stopping, true, true);
        assert_eq!(bench.see(0), []);
        assert_eq!(bench.held("3.2", Stage::Starting, true, false).see(500), []);
        assert_eq!(bench.held("3.2", Stage::Active, true, true).see(900), []);
        bench.record(4, "a", true, "b fell silent").line.held = None;
        let entries = bench.see(9000);
        let gone = left(&entries);
        assert_eq!((gone.cause.as_str(), gone.runs), ("a took it: b fell silent", 2));
        assert!(gone.phases.is_empty());
    }

    #[test]
    fn the_same_holder_again_ends_one_epoch_and_begins_another() {
        let mut bench = Bench::default();
        bench.record(1, "b", true, "x").held("1.1", Stage::Active, true, true);
        assert_eq!(bench.see(0), []);
        let entries = bench
            .record(2, "b", true, "started again after its lease ran out")
            .held("2.1", Stage::Starting, false, false)
            .see(100);
        let [Entry::Left { left, .. }, Entry::Begun { begun, .. }] = entries.as_slice() else {
            panic!("{entries:?}");
        };
        assert_eq!((left.epoch, begun.epoch), (1, 2));
        assert_eq!(
            (begun.before, told(&begun.phases)),
            (Before::Release, vec![("take-over", 0)])
        );
        assert_eq!(begun.cause, "started again after its lease ran out");
    }

    #[test]
    fn an_epoch_that_never_served_says_how_far_it_came() {
        let mut bench = Bench::default();
        bench.record(1, "a", false, "x");
        assert_eq!(bench.see(0), []);
        bench
            .record(2, "b", true, "taken while free")
            .held("2.1", Stage::Starting, false, false);
        assert!(!begun(&bench.see(10)).served);
        assert_eq!(bench.held("2.1", Stage::Starting, true, false).see(110), []);
        bench.record(2, "b", false, "failed 4 times here").line.held = None;
        let entries = bench.see(5000);
        let [Entry::Begun { begun, .. }, Entry::Left { left, .. }] = entries.as_slice() else {
            panic!("{entries:?}");
        };
        assert_eq!((begun.served, told(&begun.phases)), (false, vec![("addresses", 100)]));
        assert_eq!(left.cause, "failed 4 times here");
    }

    /// Of a record whose sentence is another one, and of one without a cause.
    #[test]
    fn a_silent_holder_is_told_by_the_cause_and_not_by_the_sentence() {
        for (reason, cause) in [
            ("no word of it", ReleaseCause::Silent),
            ("silent", ReleaseCause::of_old("silent")),
        ] {
            let mut bench = Bench::default();
            bench.record(1, "a", false, reason).line.cause = Some(cause);
            assert_eq!(bench.see(0), []);
            let entries = bench
                .record(2, "b", true, "taken while free")
                .held("2.1", Stage::Starting, false, false)
                .see(10);
            assert_eq!(begun(&entries).cause, "a fell silent");
        }
    }
}
