//! What is said of an order that has ended: the outcome, the reason, where the service is now, and the command that shows more.

use super::{End, Failure, Follower, Goal, Lost, Place};

impl Lost {
    /// As a clause.
    #[must_use]
    pub fn sentence(&self, group: &str, goal: &Goal) -> String {
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
    /// As a clause.
    #[must_use]
    pub fn sentence(&self, group: &str) -> String {
        match self {
            Self::Unknown => format!("where {group} is was not told"),
            Self::Nobody => format!("nobody holds {group}"),
            Self::Serves(node) => format!("{node} serves {group}"),
            Self::Holds(node) => format!("{node} holds {group} and has not said that it serves"),
            Self::Silent(node) => format!("{node} had {group} last, and is silent"),
        }
    }

    /// The node that has it.
    #[must_use]
    pub fn node(&self) -> Option<&str> {
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
        let (group, place) = (of.group(), of.place().sentence(of.group()));
        match self {
            Self::Refused(why) => format!("refused: {why}; {place}"),
            Self::Withdrawn => format!("{group} was not moved: the request was withdrawn; {place}"),
            Self::Lost(lost) => {
                let lost = lost.sentence(group, of.goal());
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

/// What came of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// It is as it was ordered.
    pub is_good: bool,
    /// For machines; it never changes its meaning.
    pub word: &'static str,
    /// For people.
    pub text: String,
    /// The node that has it now, as far as it was seen.
    pub node: Option<String>,
}

/// Says what came of an order.
#[must_use]
pub fn told(of: &Follower, end: &End) -> Told {
    let (is_good, word, text) = words(of, end);
    let node = of.place().node().map(str::to_owned);
    Told {
        is_good,
        word,
        text,
        node,
    }
}

/// The same of several that belong together: what is not as it should be comes first. None until all have ended.
#[must_use]
pub fn told_of_all(all: &[(Follower, Option<End>)]) -> Option<Told> {
    let each: Option<Vec<Told>> = all.iter().map(|(of, end)| Some(told(of, end.as_ref()?))).collect();
    let mut each = each?;
    each.sort_by_key(|told| told.is_good);
    let text = each
        .iter()
        .map(|told| told.text.as_str())
        .collect::<Vec<_>>()
        .join("; ");
    let first = each.into_iter().next()?;
    Some(Told { text, ..first })
}

fn words(of: &Follower, end: &End) -> (bool, &'static str, String) {
    let group = of.group();
    match (end, of.goal()) {
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::status::GroupLine;

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
        let mut said: BTreeSet<&str> = ends().iter().map(|(of, end)| told(of, end).word).collect();
        said.extend(["timed_out", "interrupted", "no_answer"]);
        assert_eq!(listed, said, "docs/command-line.md, and what the program says");
    }
}
