//! What a group is on a node, in the words that users of LifeKeeper know.

use super::look::Tone;
use leasehold_core::group::Stage;
use leasehold_core::snapshot::status::{GroupLine, NodeLine, NodeState};

/// One cell of the matrix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) tone: Tone,
    /// `Active`, `Degraded`, `Standby`, `Failed` or `Unknown`; empty where it can't run there.
    pub(super) word: &'static str,
    /// What is behind it; empty where the word says all.
    pub(super) detail: String,
}

impl Cell {
    fn new(tone: Tone, word: &'static str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self { tone, word, detail }
    }
}

/// None: the node's file has no such group.
pub(super) fn of(group: &str, line: &GroupLine, name: &str, node: &NodeLine) -> Option<Cell> {
    if line.holder.as_deref() == Some(name) {
        return Some(of_holder(line, node));
    }
    if let Some(order) = line.excluded.get(name) {
        return Some(Cell::new(Tone::Calm, "", format!("not extended to it, {order}")));
    }
    let unready = node.groups.get(group);
    match (node.state, &node.drained, unready) {
        (NodeState::Alive, Some(order), Some(_)) => Some(Cell::new(
            Tone::Warn,
            "Standby",
            format!("takes nothing: drained {order}"),
        )),
        (NodeState::Alive, None, Some(why)) if why.is_empty() => Some(Cell::new(Tone::Calm, "Standby", "")),
        (NodeState::Alive, None, Some(why)) => {
            Some(Cell::new(Tone::Warn, "Failed", format!("could not take it: {why}")))
        }
        (NodeState::Alive, _, None) => None,
        (NodeState::Silent | NodeState::Away, _, _) => Some(silent(node)),
    }
}

fn silent(node: &NodeLine) -> Cell {
    Cell::new(Tone::Unknown, "Unknown", format!("the node is {}", node.state.word()))
}

fn of_holder(line: &GroupLine, node: &NodeLine) -> Cell {
    // What runs on another node is known by what that one says of it; of a silent one nothing is known.
    let stage = line.held.as_ref().map_or(Stage::Active, |held| held.stage);
    match (&line.stuck, &line.trouble, node.state) {
        (Some(stuck), _, _) => Cell::new(Tone::Bad, "Failed", stuck.as_str()),
        (None, _, NodeState::Silent | NodeState::Away) => silent(node),
        (None, Some(trouble), NodeState::Alive) => {
            let tone = Tone::of_trouble(&trouble.state);
            let word = if tone == Tone::Bad { "Failed" } else { "Degraded" };
            let detail = match trouble.why.is_empty() {
                true => trouble.state.word().to_owned(),
                false => format!("{}: {}", trouble.state.word(), trouble.why),
            };
            Cell::new(tone, word, detail)
        }
        (None, None, NodeState::Alive) if stage == Stage::Active => match &line.unreached {
            Some(unreached) => Cell::new(Tone::Warn, "Degraded", unreached.as_str()),
            None => Cell::new(Tone::Good, "Active", ""),
        },
        (None, None, NodeState::Alive) => Cell::new(Tone::Warn, "Degraded", stage.word()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use leasehold_core::protocol::TroubleState;
    use leasehold_core::protocol::records::Trouble;
    use leasehold_core::snapshot::status::{GroupState, HeldLine};

    fn node(state: NodeState, unready: Option<&str>) -> NodeLine {
        let groups = unready.map(|why| ("mail".to_owned(), why.to_owned()));
        NodeLine {
            state,
            groups: groups.into_iter().collect(),
            ..NodeLine::default()
        }
    }

    fn active() -> GroupLine {
        GroupLine {
            // As the others see it: each names what it is itself.
            state: GroupState::Standby,
            holder: Some("a".to_owned()),
            ..GroupLine::default()
        }
    }

    fn seen(line: &GroupLine, name: &str, node: &NodeLine) -> Option<(Tone, &'static str, String)> {
        of("mail", line, name, node).map(|cell| (cell.tone, cell.word, cell.detail))
    }

    fn troubled(state: TroubleState, why: &str) -> GroupLine {
        let why = why.to_owned();
        GroupLine {
            trouble: Some(Trouble { state, why }),
            ..active()
        }
    }

    type Row<'a> = (&'a GroupLine, &'a str, &'a NodeLine, (Tone, &'static str, &'a str));

    fn check(rows: &[Row<'_>]) {
        for (line, name, node, (tone, word, detail)) in rows {
            let wanted = Some((*tone, *word, (*detail).to_owned()));
            assert_eq!(seen(line, name, node), wanted, "{line:?} on {name}");
        }
    }

    #[test]
    fn the_cell_of_its_holder_says_how_it_runs() {
        let stuck = GroupLine {
            stuck: Some("stuck on a".to_owned()),
            ..active()
        };
        let held = HeldLine {
            stage: Stage::Stopping,
            ..HeldLine::default()
        };
        let stopping = GroupLine {
            held: Some(held),
            ..active()
        };
        let unreached = GroupLine {
            unreached: Some("b can't reach mail".to_owned()),
            ..active()
        };
        let sick = troubled(TroubleState::Sick, "smtp 25: refused");
        let restarting = troubled(TroubleState::Restarting, "");
        let well = node(NodeState::Alive, Some(""));
        let silent = node(NodeState::Silent, Some(""));
        check(&[
            (&active(), "a", &well, (Tone::Good, "Active", "")),
            (
                &active(),
                "a",
                &silent,
                (Tone::Unknown, "Unknown", "the node is silent"),
            ),
            (&stopping, "a", &well, (Tone::Warn, "Degraded", "stopping")),
            (&sick, "a", &well, (Tone::Bad, "Failed", "sick: smtp 25: refused")),
            (&restarting, "a", &well, (Tone::Warn, "Degraded", "restarting")),
            (&stuck, "a", &well, (Tone::Bad, "Failed", "stuck on a")),
            (&unreached, "a", &well, (Tone::Warn, "Degraded", "b can't reach mail")),
        ]);
    }

    #[test]
    fn the_cell_of_a_standby_says_whether_it_could_take_it() {
        let excluded = GroupLine {
            excluded: [("b".to_owned(), "by ann".to_owned())].into(),
            ..active()
        };
        let well = node(NodeState::Alive, Some(""));
        let drained = NodeLine {
            drained: Some("by ann".to_owned()),
            ..well.clone()
        };
        let silent = node(NodeState::Silent, Some(""));
        let unready = node(NodeState::Alive, Some("no disk"));
        check(&[
            (&active(), "b", &well, (Tone::Calm, "Standby", "")),
            (
                &active(),
                "b",
                &unready,
                (Tone::Warn, "Failed", "could not take it: no disk"),
            ),
            (
                &active(),
                "b",
                &drained,
                (Tone::Warn, "Standby", "takes nothing: drained by ann"),
            ),
            (
                &active(),
                "b",
                &silent,
                (Tone::Unknown, "Unknown", "the node is silent"),
            ),
            (&excluded, "b", &unready, (Tone::Calm, "", "not extended to it, by ann")),
        ]);
        assert_eq!(seen(&active(), "b", &node(NodeState::Alive, None)), None);
    }
}
