//! What becomes of a move once it is ordered. Who wins the next epoch has only begun: the move is done when a node serves.

use leasehold_api::history::Epoch;
use leasehold_api::status::GroupLine;
use leasehold_api::words::Stage;

/// What came of a wish to move a group.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// This node has taken it over, and serves.
    Moved(String),
    /// Whoever took it over lost it again; another one serves by now.
    Lost {
        lost: Lost,
        serves: String,
    },
    Refused(String),
    /// By somebody, while it had not begun.
    Withdrawn,
}

/// A node that took it over and does not hold it any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lost {
    node: String,
    /// As it wrote into the history itself; empty if it did not.
    cause: String,
}

impl Lost {
    pub(super) fn sentence(&self, group: &str) -> String {
        let cause = match self.cause.as_str() {
            "" => String::new(),
            cause => format!(" ({cause})"),
        };
        format!("{} took {group} over and lost it again{cause}", self.node)
    }
}

/// A move that is watched.
#[derive(Debug)]
pub(super) struct Watched {
    /// The epoch when it was ordered.
    before: u64,
    /// The first node that was seen to win a later one, with its epoch.
    taken: Option<(u64, String)>,
    lost: Option<Lost>,
    /// What its holder says of it, and whether that is news.
    trouble: Option<String>,
}

impl Watched {
    pub(super) fn new(before: u64) -> Self {
        Self {
            before,
            taken: None,
            lost: None,
            trouble: None,
        }
    }

    /// Whether the history has to be read: of another node's run this one knows only that it was won.
    pub(super) fn wants_history(&self, line: &GroupLine) -> bool {
        line.epoch > self.before && line.held.is_none()
    }

    /// Takes a look; the end, once it is there.
    pub(super) fn see(&mut self, line: &GroupLine, epochs: &[Epoch]) -> Option<Fate> {
        let Some(holder) = &line.holder else {
            self.note_lost(None, epochs);
            // While it stops the wish stands; when it has stopped, nobody holds it.
            return line.refused.clone().map(Fate::Refused);
        };
        if line.epoch <= self.before {
            return match (&line.refused, &line.wish) {
                (Some(why), _) => Some(Fate::Refused(why.clone())),
                (None, None) => Some(Fate::Withdrawn),
                (None, Some(_)) => None,
            };
        }
        self.taken.get_or_insert_with(|| (line.epoch, holder.clone()));
        self.note_lost(Some(line.epoch), epochs);
        let serves = match &line.held {
            Some(held) => held.stage == Stage::Active,
            None => written(epochs, line.epoch).is_some_and(|of| of.begun.as_ref().is_some_and(|begun| begun.served)),
        };
        if !serves {
            return None;
        }
        Some(match self.lost.clone() {
            None => Fate::Moved(holder.clone()),
            Some(lost) => Fate::Lost {
                lost,
                serves: holder.clone(),
            },
        })
    }

    /// What its holder has to say, once.
    pub(super) fn news(&mut self, line: &GroupLine) -> Option<String> {
        let holder = line.holder.as_ref().filter(|_| line.epoch > self.before)?;
        let trouble = line.trouble.as_ref()?;
        let told = format!("{holder} does not serve yet: {}", trouble.why);
        (self.trouble.replace(told.clone()).as_ref() != Some(&told)).then_some(told)
    }

    /// How far it came, where the watch ends first; none while it has not begun.
    pub(super) fn so_far(&self, group: &str) -> Option<String> {
        let (_, node) = self.taken.as_ref()?;
        Some(match &self.lost {
            Some(lost) => format!("{}, and no node has said that it serves", lost.sentence(group)),
            None => format!("{node} has taken {group} over, but has not said that it serves"),
        })
    }

    /// The epoch that was taken is over as soon as another one is held, or none. Why may be written a moment later.
    fn note_lost(&mut self, held: Option<u64>, epochs: &[Epoch]) {
        let Some((epoch, node)) = self.taken.as_ref().filter(|(epoch, _)| Some(*epoch) != held) else {
            return;
        };
        let left = written(epochs, *epoch).and_then(|of| of.left.as_ref());
        self.lost = Some(Lost {
            node: node.clone(),
            cause: left.map(|left| left.cause.clone()).unwrap_or_default(),
        });
    }
}

fn written(epochs: &[Epoch], epoch: u64) -> Option<&Epoch> {
    epochs.iter().find(|of| of.epoch == epoch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use leasehold_api::history::{Begun, Left};
    use leasehold_api::status::{HeldLine, Trouble};
    use leasehold_api::words::{Before, TroubleState};

    fn line(epoch: u64, holder: Option<&str>) -> GroupLine {
        GroupLine {
            epoch,
            holder: holder.map(str::to_owned),
            ..GroupLine::default()
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

    #[test]
    fn before_the_next_epoch_it_is_refused_withdrawn_or_waited_for() {
        let mut watched = Watched::new(3);
        let wanted = GroupLine {
            wish: Some("switchover".to_owned()),
            ..line(3, Some("b"))
        };
        assert_eq!(watched.see(&wanted, &[]), None);
        assert_eq!(watched.see(&line(3, None), &[]), None);
        assert_eq!(watched.so_far("mail"), None);
        assert_eq!(watched.see(&line(3, Some("b")), &[]), Some(Fate::Withdrawn));
        let refused = GroupLine {
            refused: Some("full".to_owned()),
            ..wanted
        };
        assert_eq!(watched.see(&refused, &[]), Some(Fate::Refused("full".to_owned())));
        assert!(!watched.wants_history(&line(3, Some("b"))) && watched.wants_history(&line(4, Some("c"))));
    }

    #[test]
    fn it_has_moved_when_the_new_holder_serves() {
        let mut watched = Watched::new(3);
        let taken = line(4, Some("c"));
        assert_eq!(watched.see(&taken, &[epoch(3, "b", true, None)]), None);
        assert_eq!(watched.see(&taken, &[epoch(4, "c", false, None)]), None);
        assert_eq!(
            watched.so_far("mail").unwrap(),
            "c has taken mail over, but has not said that it serves"
        );
        let moved = Some(Fate::Moved("c".to_owned()));
        assert_eq!(watched.see(&taken, &[epoch(4, "c", true, None)]), moved);
        // Here it is seen at once, and nothing is read.
        let here = |stage: Stage| GroupLine {
            held: Some(HeldLine {
                stage,
                ..HeldLine::default()
            }),
            ..line(4, Some("c"))
        };
        assert!(!watched.wants_history(&here(Stage::Starting)));
        assert_eq!(watched.see(&here(Stage::Checking), &[]), None);
        assert_eq!(watched.see(&here(Stage::Active), &[]), moved);
    }

    #[test]
    fn what_is_lost_again_is_told_with_its_cause_and_who_serves() {
        let mut watched = Watched::new(3);
        assert_eq!(watched.see(&line(4, Some("c")), &[]), None);
        assert_eq!(watched.see(&line(4, None), &[]), None);
        assert_eq!(
            watched.so_far("mail").unwrap(),
            "c took mail over and lost it again, and no node has said that it serves"
        );
        let failed = epoch(4, "c", false, Some("failed 4 times here"));
        let back = line(5, Some("b"));
        assert_eq!(watched.see(&back, std::slice::from_ref(&failed)), None);
        let Some(Fate::Lost { lost, serves }) = watched.see(&back, &[failed, epoch(5, "b", true, None)]) else {
            panic!("{watched:?}");
        };
        assert_eq!(
            (lost.sentence("mail").as_str(), serves.as_str()),
            ("c took mail over and lost it again (failed 4 times here)", "b")
        );
    }

    #[test]
    fn a_trouble_is_told_once() {
        let mut watched = Watched::new(3);
        let troubled = |epoch: u64, why: &str| GroupLine {
            trouble: Some(Trouble {
                state: TroubleState::Restarting,
                why: why.to_owned(),
            }),
            ..line(epoch, Some("c"))
        };
        assert_eq!(watched.news(&troubled(3, "old")), None);
        assert_eq!(watched.news(&troubled(4, "x")).unwrap(), "c does not serve yet: x");
        assert_eq!(watched.news(&troubled(4, "x")), None);
        assert_eq!(watched.news(&troubled(4, "y")).unwrap(), "c does not serve yet: y");
    }
}
