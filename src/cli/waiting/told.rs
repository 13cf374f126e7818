//! What is said when the waiting ends: the outcome, the reason, where the service is now, and the command that shows more.

use std::time::Duration;

use super::super::answer::Answer;
use leasehold_api::follow::{End, Follower, Told};

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

/// The answer once all that was waited for is there.
pub(super) fn answer(told: Told) -> Answer {
    let Told {
        is_good,
        word,
        text,
        node,
    } = told;
    let answer = if is_good { Answer::good(text) } else { Answer::bad(text) };
    for_machines(answer, word, node.as_deref())
}

/// The answer where the waiting ended first. What was ordered goes on.
pub(super) fn cut_short(all: &[(Follower, Option<End>)], cut: &Cut) -> Answer {
    let open: Vec<&Follower> = all.iter().filter(|(_, end)| end.is_none()).map(|(of, _)| of).collect();
    let so_far = open.iter().map(|of| so_far(of)).collect::<Vec<_>>().join("; ");
    let command = match &open[..] {
        [one] => format!("`leasehold why {}`", one.group()),
        _ => "`leasehold status`".to_owned(),
    };
    let mut goes_on = format!("{command} shows how it goes on");
    if let Some(of) = open.iter().find(|of| of.is_withdrawable()) {
        let group = of.group();
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
        Some(of) => for_machines(answer, word, of.place().node()),
        None => answer,
    }
}

fn so_far(of: &Follower) -> String {
    let place = of.place().sentence(of.group());
    match of.lost() {
        Some(lost) => format!("{}; {place}", lost.sentence(of.group(), of.goal())),
        None => place,
    }
}

fn for_machines(answer: Answer, word: &str, node: Option<&str>) -> Answer {
    let answer = answer.with("end", word);
    match node {
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
    use leasehold_api::follow::{Failure, Goal, told_of_all};
    use leasehold_api::status::GroupLine;

    use super::*;

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
        let told: serde_json::Value = serde_json::from_str(&answer(told_of_all(&all).unwrap()).machine()).unwrap();
        let message = "web stays on b: no standby is ready for it; the drain stands; mail moved to c";
        assert_eq!(
            told,
            serde_json::json!({"ok": false, "message": message, "end": "stays"})
        );
    }
}
