//! Stories of what a verb sees after its order: one look after the other.

use super::*;
use crate::history::{Begun, Left};
use crate::status::{HeldLine, StandingIntent, Trouble};
use crate::words::{Before, GroupState, IntentKind, IntentState, NodeState, Stage, TroubleState};

const WISH: i64 = 7;

fn line(epoch: u64, holder: Option<&str>) -> GroupLine {
    GroupLine {
        state: if holder.is_some() {
            GroupState::Standby
        } else {
            GroupState::Free
        },
        epoch,
        holder: holder.map(str::to_owned),
        ..GroupLine::default()
    }
}

fn asked(of: GroupLine, id: i64, state: IntentState) -> GroupLine {
    let wish = StandingIntent {
        id,
        what: IntentKind::Switchover,
        to: Some("c".to_owned()),
        state,
    };
    GroupLine {
        wish: Some(format!("switchover to c, wish {id}")),
        asked: Some(wish),
        ..of
    }
}

fn here(of: GroupLine, run: &str, stage: Stage) -> GroupLine {
    let held = HeldLine {
        run: run.to_owned(),
        stage,
        ..HeldLine::default()
    };
    GroupLine { held: Some(held), ..of }
}

fn troubled(of: GroupLine, state: TroubleState, why: &str) -> GroupLine {
    let why = why.to_owned();
    GroupLine {
        trouble: Some(Trouble { state, why }),
        ..of
    }
}

fn stopped(of: GroupLine) -> GroupLine {
    GroupLine {
        stopped: Some("by carol on b".to_owned()),
        ..of
    }
}

fn epoch(number: u64, to: &str, served: bool, left: Option<&str>) -> Epoch {
    let begun = Begun {
        epoch: number,
        from: None,
        to: to.to_owned(),
        cause: String::new(),
        at: String::new(),
        before: Before::Release,
        phases: Vec::new(),
        served,
    };
    let left = left.map(|cause| Left {
        epoch: number,
        node: to.to_owned(),
        cause: cause.to_owned(),
        at: String::new(),
        phases: Vec::new(),
        runs: 1,
    });
    Epoch {
        epoch: number,
        begun: Some(begun),
        left,
        ..Epoch::default()
    }
}

/// a, b and c, all ready; b is drained where it says so.
fn nodes(drained: bool, ready: bool) -> BTreeMap<String, NodeLine> {
    let node = |name: &str| {
        let why = if ready { "" } else { "no image" };
        let node = NodeLine {
            state: NodeState::Alive,
            groups: [("mail".to_owned(), why.to_owned())].into(),
            drained: (drained && name == "b").then(|| "by root".to_owned()),
            ..NodeLine::default()
        };
        (name.to_owned(), node)
    };
    ["a", "b", "c"].map(node).into()
}

/// An order about `mail`, which b held in epoch 3, and the time.
struct Bench {
    of: Follower,
    ms: u64,
    nodes: BTreeMap<String, NodeLine>,
    lines: Vec<String>,
}

impl Bench {
    fn new(goal: Goal, before: &GroupLine) -> Self {
        Self {
            of: Follower::new("mail", goal, before),
            ms: 0,
            nodes: nodes(true, true),
            lines: Vec::new(),
        }
    }

    fn to(to: Option<&str>) -> Self {
        let to = to.map(str::to_owned);
        Self::new(Goal::Moves { wish: WISH, to }, &line(3, Some("b")))
    }

    /// A look, so long after the one before.
    fn see(&mut self, ms: u64, line: &GroupLine, epochs: &[Epoch]) -> Option<End> {
        self.ms += ms;
        let look = Look {
            at: Duration::from_millis(self.ms),
            line,
            nodes: &self.nodes,
            epochs,
        };
        let end = self.of.see(&look);
        self.lines
            .extend(self.of.progress().into_iter().map(|progress| match progress {
                Progress::Begins(what) => format!("{what} ..."),
                Progress::Ends { what, took } => format!("{what}: {} ms", took.as_millis()),
                Progress::Note(what) => what,
            }));
        end
    }

    fn goes_on(&mut self, ms: u64, line: &GroupLine, epochs: &[Epoch]) {
        assert_eq!(self.see(ms, line, epochs), None, "{line:?}");
    }

    fn fails(&mut self, ms: u64, line: &GroupLine, epochs: &[Epoch]) -> Failure {
        match self.see(ms, line, epochs) {
            Some(End::Failed(failure)) => failure,
            other => panic!("{other:?}: {line:?}"),
        }
    }
}

fn serves(node: &str) -> Option<End> {
    Some(End::Serves(node.to_owned()))
}

#[test]
fn a_move_is_told_phase_by_phase_and_done_when_the_new_holder_serves() {
    let mut bench = Bench::to(Some("c"));
    bench.goes_on(100, &asked(line(3, Some("b")), WISH, IntentState::Asked), &[]);
    assert!(bench.of.is_withdrawable());
    bench.goes_on(100, &asked(line(3, Some("b")), WISH, IntentState::Begun), &[]);
    assert!(!bench.of.is_withdrawable());
    bench.goes_on(400, &line(3, None), &[]);
    let taken = line(4, Some("c"));
    assert!(bench.of.wants_history(&taken));
    bench.goes_on(100, &taken, &[epoch(3, "b", true, None)]);
    bench.goes_on(100, &taken, &[epoch(4, "c", false, None)]);
    assert_eq!(bench.of.place(), &Place::Holds("c".to_owned()));
    assert_eq!(bench.see(200, &taken, &[epoch(4, "c", true, None)]), serves("c"));
    let told = [
        "b is asked to hand mail over ...",
        "b is asked to hand mail over: 100 ms",
        "b stops mail ...",
        "b stops mail: 400 ms",
        "c starts mail ...",
        "c starts mail: 300 ms",
        "serving",
    ];
    assert_eq!(bench.lines, told);
}

#[test]
fn here_or_by_a_holder_that_may_be_asked_it_is_seen_without_the_history() {
    let mut bench = Bench::to(Some("c"));
    let taken = line(4, Some("c"));
    bench.goes_on(1, &here(taken.clone(), "4.1", Stage::Starting), &[]);
    assert!(!bench.of.wants_history(&here(taken.clone(), "4.1", Stage::Checking)));
    bench.goes_on(1, &here(taken.clone(), "4.1", Stage::Checking), &[]);
    assert_eq!(
        bench.see(1, &here(taken.clone(), "4.1", Stage::Active), &[]),
        serves("c")
    );
    let serving = GroupLine {
        serving: Some("4.1".to_owned()),
        ..taken
    };
    assert!(!bench.of.wants_history(&serving));
    assert_eq!(bench.see(1, &serving, &[]), serves("c"));
}

#[test]
fn before_it_begins_it_is_refused_withdrawn_or_another_one_is_faster() {
    let held = line(3, Some("b"));
    let refused = |id: i64| GroupLine {
        refused: Some("full".to_owned()),
        ..asked(held.clone(), id, IntentState::Refused)
    };
    assert_eq!(
        Bench::to(None).fails(1, &refused(WISH), &[]),
        Failure::Refused("full".to_owned())
    );
    // What was refused to somebody else says nothing of this request.
    assert_eq!(Bench::to(None).fails(1, &refused(WISH + 1), &[]), Failure::Withdrawn);
    assert_eq!(Bench::to(None).fails(1, &held, &[]), Failure::Withdrawn);
    let other = asked(held.clone(), WISH + 1, IntentState::Begun);
    let failure = Bench::to(None).fails(1, &other, &[]);
    assert_eq!(failure, Failure::Overtaken("switchover to c, wish 8".to_owned()));
    // A sidecar of before tells of a request without its id.
    let of_before = GroupLine {
        wish: Some("switchover".to_owned()),
        ..held
    };
    Bench::to(None).goes_on(1, &of_before, &[]);
}

#[test]
fn a_start_that_fails_there_is_told_with_its_cause_once_another_node_serves() {
    let mut bench = Bench::to(Some("c"));
    bench.goes_on(1, &line(4, Some("c")), &[]);
    let restarting = troubled(line(4, Some("c")), TroubleState::Restarting, "smtp 25: refused");
    bench.goes_on(1, &restarting, &[]);
    bench.goes_on(1, &restarting, &[]);
    bench.goes_on(1, &line(4, None), &[]);
    let failed = epoch(4, "c", false, Some("failed 4 times here"));
    let back = line(5, Some("b"));
    bench.goes_on(1, &back, std::slice::from_ref(&failed));
    let failure = bench.fails(1, &back, &[failed, epoch(5, "b", true, None)]);
    let lost = Lost {
        node: "c".to_owned(),
        cause: "failed 4 times here".to_owned(),
    };
    assert_eq!(failure, Failure::Lost(lost));
    assert_eq!(bench.of.place(), &Place::Serves("b".to_owned()));
    let told = bench.lines.iter().filter(|line| line.contains("does not serve yet"));
    assert_eq!(told.collect::<Vec<_>>(), ["c does not serve yet: smtp 25: refused"]);
}

#[test]
fn what_was_lost_and_came_back_to_where_it_was_sent_is_there() {
    let mut bench = Bench::to(Some("c"));
    bench.goes_on(1, &line(4, Some("c")), &[]);
    bench.goes_on(1, &line(4, None), &[]);
    assert_eq!(
        bench.see(1, &line(5, Some("c")), &[epoch(5, "c", true, None)]),
        serves("c")
    );
}

#[test]
fn what_was_lost_between_two_looks_is_read_in_the_history() {
    let mut bench = Bench::to(Some("c"));
    bench.goes_on(1, &asked(line(3, Some("b")), WISH, IntentState::Begun), &[]);
    let back = here(line(5, Some("b")), "5.1", Stage::Active);
    assert!(bench.of.wants_history(&back));
    let failure = bench.fails(
        1,
        &back,
        &[epoch(4, "c", false, Some("failed")), epoch(5, "b", true, None)],
    );
    assert!(matches!(failure, Failure::Lost(lost) if lost.node == "c" && lost.cause == "failed"));
}

#[test]
fn what_nobody_takes_up_again_is_not_waited_for_for_ever() {
    let mut bench = Bench::to(Some("c"));
    bench.goes_on(1, &line(4, Some("c")), &[]);
    bench.goes_on(1, &line(4, None), &[]);
    bench.goes_on(29_000, &line(4, None), &[]);
    assert!(matches!(bench.fails(2_000, &line(4, None), &[]), Failure::Lost(_)));

    let mut bench = Bench::to(Some("c"));
    let down = troubled(line(4, Some("c")), TroubleState::Down, "keeps failing");
    let again = troubled(line(4, Some("c")), TroubleState::Restarting, "refused");
    bench.goes_on(1, &line(4, Some("c")), &[]);
    bench.goes_on(1, &down, &[]);
    bench.goes_on(20_000, &again, &[]);
    let failure = bench.fails(11_000, &down, &[epoch(4, "c", false, None)]);
    let (node, why) = ("c".to_owned(), "keeps failing".to_owned());
    assert_eq!(failure, Failure::Fails { node, why });
}

#[test]
fn an_epoch_that_began_while_the_wish_stands_is_not_the_move() {
    let mut bench = Bench::to(None);
    // b fell silent, and a took it: by no order.
    let taken = asked(here(line(4, Some("a")), "4.1", Stage::Active), WISH, IntentState::Asked);
    bench.goes_on(1, &taken, &[]);
    bench.goes_on(1, &asked(taken, WISH, IntentState::Begun), &[]);
    bench.goes_on(1, &line(4, None), &[]);
    assert_eq!(
        bench.see(1, &line(5, Some("c")), &[epoch(5, "c", true, None)]),
        serves("c")
    );
    // a took it by silence when b had begun, and carries the request out: a lost nothing.
    let mut bench = Bench::to(None);
    bench.goes_on(1, &asked(line(3, Some("b")), WISH, IntentState::Begun), &[]);
    bench.goes_on(1, &asked(line(4, Some("a")), WISH, IntentState::Begun), &[]);
    let both = [epoch(4, "a", true, Some("asked")), epoch(5, "c", true, None)];
    assert_eq!(bench.see(1, &line(5, Some("c")), &both), serves("c"));
    // The request may be gone a moment after the next epoch has begun.
    let mut bench = Bench::to(Some("c"));
    bench.goes_on(1, &asked(line(3, Some("b")), WISH, IntentState::Begun), &[]);
    bench.goes_on(1, &asked(line(4, Some("c")), WISH, IntentState::Begun), &[]);
    bench.goes_on(1, &line(4, Some("c")), &[epoch(4, "c", false, None)]);
    assert_eq!(
        bench.see(1, &line(4, Some("c")), &[epoch(4, "c", true, None)]),
        serves("c")
    );
    // It took it to where it was wanted: then it says so, and that is as good.
    let mut bench = Bench::to(Some("a"));
    let there = asked(here(line(4, Some("a")), "4.1", Stage::Active), WISH, IntentState::Asked);
    bench.goes_on(1, &there, &[]);
    assert_eq!(
        bench.see(1, &asked(there, WISH, IntentState::Refused), &[]),
        serves("a")
    );
}

#[test]
fn another_order_ends_the_waiting() {
    let mut bench = Bench::to(Some("c"));
    let taken = line(4, Some("c"));
    bench.goes_on(1, &taken, &[]);
    // It may serve before that one begins.
    bench.goes_on(1, &asked(taken.clone(), WISH + 1, IntentState::Asked), &[]);
    let failure = bench.fails(1, &asked(taken.clone(), WISH + 1, IntentState::Begun), &[]);
    assert_eq!(failure, Failure::Overtaken("switchover to c, wish 8".to_owned()));
    let paused = GroupLine {
        paused: Some("by carol".to_owned()),
        ..line(3, None)
    };
    let mut bench = Bench::to(Some("c"));
    bench.goes_on(1, &paused, &[]);
    assert_eq!(
        bench.fails(4_000, &paused, &[]),
        Failure::Forbidden("on pause by carol".to_owned())
    );
    let failure = Bench::to(Some("c")).fails(1, &stopped(taken), &[]);
    assert_eq!(failure, Failure::Overtaken("stopped by carol on b".to_owned()));
}

#[test]
fn what_is_stuck_is_told_whatever_was_ordered() {
    let stuck = GroupLine {
        stuck: Some("stuck on b".to_owned()),
        ..line(3, Some("b"))
    };
    for goal in [
        Goal::Stops,
        Goal::Serves { unless_stopped: true },
        Goal::Leaves { node: "b".to_owned() },
    ] {
        let failure = Bench::new(goal, &line(3, Some("b"))).fails(1, &stuck, &[]);
        assert_eq!(failure, Failure::Stuck("stuck on b".to_owned()));
    }
}

#[test]
fn a_stop_is_done_when_nobody_holds_it() {
    let mut bench = Bench::new(Goal::Stops, &line(3, Some("b")));
    // The status may be a turn behind the answer.
    bench.goes_on(1, &line(3, Some("b")), &[]);
    bench.goes_on(400, &stopped(line(3, Some("b"))), &[]);
    assert_eq!(bench.see(100, &stopped(line(3, None)), &[]), Some(End::Stopped));
    assert_eq!(bench.lines, ["b stops mail ...", "b stops mail: 500 ms"]);
    bench = Bench::new(Goal::Stops, &line(3, Some("b")));
    bench.goes_on(1, &stopped(line(3, Some("b"))), &[]);
    assert!(matches!(
        bench.fails(1, &line(3, Some("b")), &[]),
        Failure::Overtaken(_)
    ));
    // Whether anybody holds it is not known.
    let unreadable = GroupLine {
        unreadable: true,
        ..stopped(line(0, None))
    };
    Bench::new(Goal::Stops, &line(3, Some("b"))).goes_on(9_000, &unreadable, &[]);
}

#[test]
fn a_start_is_done_when_any_node_serves() {
    let start = Goal::Serves { unless_stopped: false };
    let before = stopped(line(3, None));
    let mut bench = Bench::new(start.clone(), &before);
    bench.goes_on(1, &before, &[]);
    let waits = GroupLine {
        reason: "a is preferred".to_owned(),
        ..line(3, None)
    };
    bench.goes_on(1, &waits, &[]);
    bench.goes_on(2_500, &waits, &[]);
    bench.goes_on(1, &line(4, Some("a")), &[]);
    bench.goes_on(1, &line(4, None), &[epoch(4, "a", false, Some("failed"))]);
    bench.goes_on(40_000, &line(5, Some("c")), &[epoch(5, "c", false, None)]);
    assert_eq!(
        bench.see(1, &line(5, Some("c")), &[epoch(5, "c", true, None)]),
        serves("c")
    );
    assert!(
        bench
            .lines
            .contains(&"nobody has taken mail yet: a is preferred".to_owned()),
        "{:?}",
        bench.lines
    );

    // Somebody stops it again.
    let mut bench = Bench::new(start.clone(), &before);
    bench.goes_on(1, &line(3, None), &[]);
    assert!(matches!(bench.fails(1, &before, &[]), Failure::Overtaken(_)));
    let mut bench = Bench::new(start.clone(), &before);
    let paused = GroupLine {
        paused: Some("by carol".to_owned()),
        ..line(3, None)
    };
    bench.goes_on(1, &paused, &[]);
    assert_eq!(
        bench.fails(4_000, &paused, &[]),
        Failure::Forbidden("on pause by carol".to_owned())
    );

    // What still stops after a `stop` served in that epoch, and does so no more.
    let mut bench = Bench::new(start.clone(), &stopped(line(3, Some("b"))));
    let served = [epoch(3, "b", true, None)];
    bench.goes_on(1, &line(3, Some("b")), &served);
    bench.goes_on(10_000, &line(3, Some("b")), &served);
    assert_eq!(
        bench.see(1, &line(4, Some("b")), &[epoch(4, "b", true, None)]),
        serves("b")
    );
    // Nobody had stopped it.
    assert_eq!(
        Bench::new(start, &line(3, Some("b"))).see(1, &line(3, Some("b")), &served),
        serves("b")
    );
}

#[test]
fn where_no_node_is_ready_nobody_waits_for_long() {
    let start = Goal::Serves { unless_stopped: false };
    let mut bench = Bench::new(start, &stopped(line(3, None)));
    bench.nodes = nodes(false, false);
    let waits = GroupLine {
        reason: "no image".to_owned(),
        ..line(3, None)
    };
    bench.goes_on(1, &waits, &[]);
    bench.goes_on(20_000, &waits, &[]);
    bench.nodes = nodes(false, true);
    bench.goes_on(1, &waits, &[]);
    bench.nodes = nodes(false, false);
    bench.goes_on(1, &waits, &[]);
    bench.goes_on(29_000, &waits, &[]);
    assert_eq!(bench.fails(2_000, &waits, &[]), Failure::Unready("no image".to_owned()));
}

#[test]
fn a_group_that_is_looked_after_again_may_stay_stopped() {
    let resume = Goal::Serves { unless_stopped: true };
    let end = Bench::new(resume, &stopped(line(3, None))).see(1, &stopped(line(3, None)), &[]);
    assert_eq!(end, Some(End::AsItWas));
}

#[test]
fn a_holder_that_is_silent_serves_nothing_whatever_it_wrote() {
    let later = NodeState::Other("long gone".to_owned());
    for state in [Some(NodeState::Silent), Some(later), None] {
        let resume = Goal::Serves { unless_stopped: true };
        let mut bench = Bench::new(resume, &line(3, Some("b")));
        match state {
            None => drop(bench.nodes.remove("b")),
            Some(state) => bench.nodes.get_mut("b").unwrap().state = state,
        }
        let served = [epoch(3, "b", true, None)];
        bench.goes_on(1, &line(3, Some("b")), &served);
        assert_eq!(bench.of.place(), &Place::Silent("b".to_owned()));
        assert_eq!(
            bench.see(1, &line(4, Some("c")), &[epoch(4, "c", true, None)]),
            serves("c")
        );
        assert_eq!(bench.lines[0], "b, which had mail, is silent");
    }
}

#[test]
fn a_drained_node_has_given_it_away_or_keeps_it() {
    let leaves = || Bench::new(Goal::Leaves { node: "b".to_owned() }, &line(3, Some("b")));
    let mut bench = leaves();
    bench.goes_on(1, &line(3, Some("b")), &[]);
    bench.goes_on(300, &line(3, None), &[]);
    assert_eq!(
        bench.see(1, &line(4, Some("a")), &[epoch(4, "a", true, None)]),
        serves("a")
    );

    let mut bench = leaves();
    bench.nodes = nodes(true, false);
    bench.goes_on(1, &line(3, Some("b")), &[]);
    bench.goes_on(2_000, &line(3, Some("b")), &[]);
    let (node, why) = ("b".to_owned(), "no standby is ready for it".to_owned());
    assert_eq!(
        bench.fails(1_000, &line(3, Some("b")), &[]),
        Failure::Stays { node, why }
    );

    // Taken back by somebody.
    let mut bench = leaves();
    bench.goes_on(1, &line(3, Some("b")), &[]);
    bench.nodes = nodes(false, true);
    assert!(matches!(
        bench.fails(1, &line(3, Some("b")), &[]),
        Failure::Overtaken(_)
    ));
    let paused = GroupLine {
        paused: Some("by carol".to_owned()),
        ..line(3, Some("b"))
    };
    assert!(matches!(leaves().fails(1, &paused, &[]), Failure::Stays { .. }));
}

fn serving(run: Option<&str>, drift: Option<&str>) -> GroupLine {
    GroupLine {
        serving: run.map(str::to_owned),
        drift: drift.map(str::to_owned),
        ..line(3, Some("b"))
    }
}

fn anew(run: Option<&str>) -> Bench {
    let (node, run) = ("b".to_owned(), run.map(str::to_owned));
    Bench::new(Goal::Anew { node, run }, &line(3, Some("b")))
}

#[test]
fn what_is_applied_is_done_when_another_run_serves() {
    let mut bench = anew(Some("3.1"));
    let wish = StandingIntent {
        id: WISH,
        what: IntentKind::Apply,
        to: None,
        state: IntentState::Asked,
    };
    let waits = GroupLine {
        asked: Some(wish),
        ..serving(Some("3.1"), Some("changed"))
    };
    bench.goes_on(9_000, &waits, &[]);
    bench.goes_on(1, &serving(None, None), &[]);
    bench.goes_on(9_000, &serving(None, None), &[]);
    assert_eq!(bench.see(1, &serving(Some("3.2"), None), &[]), serves("b"));
    assert_eq!(
        bench.lines,
        ["b starts mail again ...", "b starts mail again: 9002 ms", "serving"]
    );

    for (drift, end) in [
        (None, End::AsItWas),
        (Some("no image"), End::Failed(Failure::Differs("no image".to_owned()))),
    ] {
        let mut bench = anew(Some("3.1"));
        bench.goes_on(1, &serving(Some("3.1"), drift), &[]);
        assert_eq!(bench.see(3_000, &serving(Some("3.1"), drift), &[]), Some(end));
    }
    // A holder that nobody may ask says no more than that nothing differs.
    let mut bench = anew(None);
    bench.goes_on(1, &serving(None, None), &[]);
    assert_eq!(
        bench.see(3_000, &serving(None, None), &[]),
        Some(End::Unseen("b".to_owned()))
    );
    // Here the run itself is seen.
    let mut bench = anew(Some("3.1"));
    bench.goes_on(1, &here(line(3, Some("b")), "3.1", Stage::Stopping), &[]);
    bench.goes_on(5_000, &here(line(3, Some("b")), "3.2", Stage::Checking), &[]);
    assert_eq!(
        bench.see(1, &here(line(3, Some("b")), "3.2", Stage::Active), &[]),
        serves("b")
    );
}

#[test]
fn what_does_not_start_anew_and_moves_is_a_failure() {
    let mut bench = anew(Some("3.1"));
    bench.goes_on(1, &serving(None, None), &[]);
    bench.goes_on(1, &line(3, None), &[epoch(3, "b", true, Some("failed 4 times here"))]);
    let failure = bench.fails(1, &line(4, Some("c")), &[epoch(4, "c", true, None)]);
    assert!(matches!(failure, Failure::Lost(lost) if lost.node == "b" && lost.cause == "failed 4 times here"));
}
