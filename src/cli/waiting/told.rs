//! What is said when the waiting ends: the outcome, the reason, where the service is now, and the command that shows more.

use std::time::Duration;

use super::super::answer::Answer;
use super::follow::{End, Failure, Follower, Goal, Lost, Place};

/// As a shell names the end by SIGINT.
const INTERRUPTED: u8 = 130;

/// Why the waiting ended before what is waited for.
#[derive(Debug)]
pub(super) enum Cut {
    /// By Ctrl-C.
    Interrupted,
    TimedOut(Duration),
    /// No sidecar has told anything for so long; what the last call said.
    Blind(Duration, String),
}

impl Lost {
    fn sentence(&self, group: &str, goal: &Goal) -> String {
        let Self { node, cause } = self;
        let cause = match cause.as_str() {
            "" => String::new(),
            cause => format!(" ({cause})"),
        };
        match goal {
            Goal::Anew { .. } => format!("{node} lost {group} before it ran anew{cause}"),
            Goal::Moves { .. } | Goal::Leaves { .. } | Goal::Serves { .. } | Goal::Stops => {
                format!("{node} took {group} over and lost it again{cause}")
            }
        }
    }
}

impl Place {
    pub(super) fn sentence(&self, group: &str) -> String {
        match self {
            Self::Unknown => format!("where {group} is was not told"),
            Self::Nobody => format!("nobody holds {group}"),
            Self::Serves(node) => format!("{node} serves {group}"),
            Self::Holds(node) => format!("{node} holds {group} and has not said that it serves"),
            Self::Silent(node) => format!("{node} had {group} last, and is silent"),
        }
    }

    /// The node that has it, for machines.
    fn node(&self) -> Option<&str> {
        match self {
            Self::Unknown | Self::Nobody => None,
            Self::Serves(node) | Self::Holds(node) | Self::Silent(node) => Some(node),
        }
    }
}

impl Failure {
    /// A word for machines that never changes its meaning.
    fn word(&self) -> &'static str {
        match self {
            Self::Refused(_) => "refused",
            Self::Withdrawn => "withdrawn",
            Self::Lost(_) => "lost",
            Self::Fails { .. } => "fails",
            Self::Overtaken(_) => "overtaken",
            Self::Stuck(_) => "stuck",
            Self::Stays { .. } => "stays",
            Self::Forbidden(_) => "forbidden",
            Self::Unready(_) => "unready",
            Self::Differs(_) => "differs",
        }
    }

    fn sentence(&self, of: &Follower) -> String {
        let (group, place) = (&of.group, of.place().sentence(&of.group));
        match self {
            Self::Refused(why) => format!("refused: {why}; {place}"),
            Self::Withdrawn => format!("{group} was not moved: the request was withdrawn; {place}"),
            Self::Lost(lost) => {
                let lost = lost.sentence(group, &of.goal);
                match of.place() {
                    Place::Serves(node) => format!("{lost}: {node} serves it now; see `leasehold history {group}`"),
                    Place::Unknown | Place::Nobody | Place::Holds(_) | Place::Silent(_) => {
                        format!("{lost}; {place}: see `leasehold why {group}`")
                    }
                }
            }
            Self::Fails { node, why } => {
                format!(
                    "{node} can't start {group}, and tries on: {why}; nobody serves it: see `leasehold why {group}`"
                )
            }
            Self::Overtaken(order) => {
                format!("another order came between: {order}; {place}: see `leasehold history {group}`")
            }
            Self::Stuck(stuck) => format!("{group}: {stuck}"),
            Self::Stays { node, why } => format!("{group} stays on {node}: {why}; the drain stands"),
            Self::Forbidden(order) => {
                format!("{group} is {order}: nobody starts it until `leasehold resume {group}`; {place}")
            }
            Self::Unready(reason) => {
                let reason = match reason.as_str() {
                    "" => String::new(),
                    reason => format!(" ({reason})"),
                };
                format!(
                    "{place}, and no node is ready for it{reason}: see `leasehold status`; the first that is takes it"
                )
            }
            Self::Differs(drift) => format!("{group}: {drift}"),
        }
    }
}

/// What came of one group: whether it is as it was ordered, the word for machines, and the sentence.
fn told(of: &Follower, end: &End) -> (bool, &'static str, String) {
    let group = &of.group;
    match (end, &of.goal) {
        (End::Failed(failure), _) => (false, failure.word(), failure.sentence(of)),
        (End::Stopped, _) => {
            let text = format!("{group} is stopped; nobody starts it until `leasehold start {group}`");
            (true, "stopped", text)
        }
        (End::AsItWas, Goal::Anew { .. }) => {
            let text = format!("{group} runs as the file and the image say: there was nothing to do");
            (true, "as_it_was", text)
        }
        (End::AsItWas, _) => (
            true,
            "as_it_was",
            format!("{group} stays as it is: it is stopped by an order"),
        ),
        (End::Unseen(node), _) => {
            let text = format!("{node} has taken it up: `leasehold status` there shows when {group} serves");
            (true, "unseen", text)
        }
        (End::Serves(node), Goal::Moves { to: Some(to), .. }) if to != node => {
            let text = format!("{group} moved to {node} instead of {to}: see `leasehold why {group}`");
            (false, "elsewhere", text)
        }
        (End::Serves(node), Goal::Moves { .. } | Goal::Leaves { .. }) => {
            (true, "serves", format!("{group} moved to {node}"))
        }
        (End::Serves(_), Goal::Anew { .. }) => (true, "serves", format!("{group} runs as the file and the image say")),
        (End::Serves(node), Goal::Serves { .. } | Goal::Stops) => (true, "serves", format!("{node} serves {group}")),
    }
}

/// The answer once all that was waited for is there.
pub(super) fn answer(all: &[(Follower, Option<End>)]) -> Answer {
    let each = all.iter().filter_map(|(of, end)| Some((of, told(of, end.as_ref()?))));
    let each: Vec<_> = each.collect();
    let is_good = each.iter().all(|(_, (is_good, ..))| *is_good);
    // What is not as it should be is read first.
    let (bad, good): (Vec<_>, Vec<_>) = each.iter().partition(|(_, (is_good, ..))| !*is_good);
    let sentences = bad.iter().chain(&good).map(|(_, (_, _, text))| text.as_str());
    let text = sentences.collect::<Vec<_>>().join("; ");
    let answer = if is_good { Answer::good(text) } else { Answer::bad(text) };
    match bad.first().or(good.first()) {
        Some((of, (_, word, _))) => for_machines(answer, word, of.place()),
        None => answer,
    }
}

/// The answer where the waiting ended first. What was ordered goes on.
pub(super) fn cut_short(all: &[(Follower, Option<End>)], cut: &Cut) -> Answer {
    let open: Vec<&Follower> = all.iter().filter(|(_, end)| end.is_none()).map(|(of, _)| of).collect();
    let so_far = open.iter().map(|of| so_far(of)).collect::<Vec<_>>().join("; ");
    let command = match &open[..] {
        [one] => format!("`leasehold why {}`", one.group),
        _ => "`leasehold status`".to_owned(),
    };
    let mut goes_on = format!("{command} shows how it goes on");
    if let Some(of) = open.iter().find(|of| of.is_withdrawable()) {
        let group = &of.group;
        goes_on += &format!(", `leasehold switchover --withdraw {group}` takes it back while it has not begun");
    }
    let (word, text) = match cut {
        Cut::Interrupted => (
            "interrupted",
            format!("the waiting is over, the order stands: {so_far}; {goes_on}"),
        ),
        Cut::TimedOut(after) => (
            "timed_out",
            format!("not done within {after:?}, and the order stands: {so_far}; {goes_on}"),
        ),
        Cut::Blind(after, why) => (
            "no_answer",
            format!(
                "nothing was told for {after:?} ({why}), and the order stands: {so_far}; on another node {goes_on}"
            ),
        ),
    };
    let answer = Answer::bad(text);
    let answer = match cut {
        Cut::Interrupted => answer.code(INTERRUPTED),
        Cut::TimedOut(_) | Cut::Blind(..) => answer,
    };
    match open.first() {
        Some(of) => for_machines(answer, word, of.place()),
        None => answer,
    }
}

fn so_far(of: &Follower) -> String {
    let place = of.place().sentence(&of.group);
    match of.lost() {
        Some(lost) => format!("{}; {place}", lost.sentence(&of.group, &of.goal)),
        None => place,
    }
}

fn for_machines(answer: Answer, word: &str, place: &Place) -> Answer {
    let answer = answer.with("end", word);
    match place.node() {
        Some(node) => answer.with("node", node),
        None => answer,
    }
}

/// Ctrl-C while the sidecar had not answered.
pub(super) fn unanswered(of: &str) -> Answer {
    let text = format!(
        "the waiting is over before the order was answered: it may have been taken, `leasehold history` and `leasehold status` \
         show what becomes of {of}; `leasehold switchover --withdraw` takes a move back while it has not begun"
    );
    Answer::bad(text).code(INTERRUPTED).with("end", "interrupted")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use leasehold_api::status::GroupLine;

    use super::*;

    fn of(goal: Goal) -> Follower {
        Follower::new("mail", goal, &GroupLine::default())
    }

    /// Every end, each with an order that may come to it.
    fn ends() -> Vec<(Follower, End)> {
        let text = || "why".to_owned();
        let node = || "b".to_owned();
        let lost = Lost {
            node: node(),
            cause: text(),
        };
        let to = Some("c".to_owned());
        let moves = || of(Goal::Moves { wish: 7, to: None });
        let failures = [
            Failure::Refused(text()),
            Failure::Withdrawn,
            Failure::Lost(lost),
            Failure::Fails {
                node: node(),
                why: text(),
            },
            Failure::Overtaken(text()),
            Failure::Stuck(text()),
            Failure::Stays {
                node: node(),
                why: text(),
            },
            Failure::Forbidden(text()),
            Failure::Unready(text()),
            Failure::Differs(text()),
        ];
        let mut all: Vec<_> = failures.into_iter().map(|one| (moves(), End::Failed(one))).collect();
        all.extend([
            (moves(), End::Serves(node())),
            (of(Goal::Moves { wish: 7, to }), End::Serves(node())),
            (of(Goal::Stops), End::Stopped),
            (of(Goal::Serves { unless_stopped: true }), End::AsItWas),
            (
                of(Goal::Anew {
                    node: node(),
                    run: None,
                }),
                End::Unseen(node()),
            ),
        ]);
        all
    }

    #[test]
    fn every_end_stands_in_the_page() {
        let page = include_str!("../../../docs/command-line.md");
        let (_, table) = page.split_once("| `end` |").unwrap();
        let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
        let cells = rows.filter_map(|line| line.split('|').nth(1));
        let words = cells.flat_map(|cell| cell.split(','));
        let listed: BTreeSet<&str> = words.map(|word| word.trim().trim_matches('`')).collect();
        let mut said: BTreeSet<&str> = ends().iter().map(|(of, end)| told(of, end).1).collect();
        said.extend(["timed_out", "interrupted", "no_answer"]);
        assert_eq!(listed, said, "docs/command-line.md, and what the program says");
    }

    #[test]
    fn what_is_not_as_it_should_be_is_said_first() {
        let node = || "b".to_owned();
        let leaves = |group: &str| Follower::new(group, Goal::Leaves { node: node() }, &GroupLine::default());
        let stays = Failure::Stays {
            node: node(),
            why: "no standby is ready for it".to_owned(),
        };
        let all = [
            (leaves("mail"), Some(End::Serves("c".to_owned()))),
            (leaves("web"), Some(End::Failed(stays))),
        ];
        let told: serde_json::Value = serde_json::from_str(&answer(&all).machine()).unwrap();
        let message = "web stays on b: no standby is ready for it; the drain stands; mail moved to c";
        assert_eq!(
            told,
            serde_json::json!({"ok": false, "message": message, "end": "stays"})
        );
    }
}
