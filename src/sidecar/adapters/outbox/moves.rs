//! The outages of moves and their parts, for the metrics. What the holder before took to stop is known to that node alone, and
//! stands in etcd; so the whole outage is read from there, beside the loop.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::adapters::store::{self, Settings};
use crate::timings::Timings;
use leasehold_core::history::{Before, Begun, Entry, History};
use leasehold_core::snapshot::status::Status;

/// Before each look: both nodes write what they know within a second or two, and a leader of etcd may be elected meanwhile.
const PAUSES: [Duration; 3] = [Duration::from_secs(3), Duration::from_secs(10), Duration::from_secs(30)];
/// Where the record says nothing of the cause.
const SILENT: &str = "silent";
const OTHER: &str = "other";

/// What was seen of each group's last release, and where to read the rest.
#[derive(Debug)]
pub(super) struct Moves {
    settings: Settings,
    timings: Timings,
    causes: BTreeMap<String, String>,
}

impl Moves {
    pub(super) fn new(settings: Settings, timings: Timings) -> Self {
        let causes = BTreeMap::new();
        Self {
            settings,
            timings,
            causes,
        }
    }

    /// Keeps why each group is free: its record says so only until somebody takes it.
    pub(super) fn seen(&mut self, status: &Status) {
        for (name, line) in &status.groups {
            if let Some(cause) = line.cause {
                let word = serde_json::to_value(cause)
                    .ok()
                    .and_then(|word| word.as_str().map(str::to_owned));
                self.causes
                    .insert(name.clone(), word.unwrap_or_else(|| OTHER.to_owned()));
            }
        }
    }

    /// This node tells of an epoch.
    pub(super) fn told(&mut self, entry: &Entry) {
        match entry {
            Entry::Begun { group, begun } if begun.served => {
                self.timings.phases(group, &begun.phases);
                self.moved(group, begun);
            }
            Entry::Begun { .. } => {}
            Entry::Left { group, left } => self.timings.phases(group, &left.phases),
        }
    }

    fn moved(&mut self, group: &str, begun: &Begun) {
        let cause = match begun.before {
            // Nobody served, as far as is known: there is no outage to tell.
            Before::Nothing => return,
            Before::Silence => SILENT.to_owned(),
            Before::Release => self.causes.remove(group).unwrap_or_else(|| OTHER.to_owned()),
        };
        let (settings, timings) = (self.settings.clone(), self.timings.clone());
        let (group, epoch) = (group.to_owned(), begun.epoch);
        tokio::spawn(async move {
            for pause in PAUSES {
                tokio::time::sleep(pause).await;
                let read = store::history(&settings, &group).await;
                if let Some(outage) = read.ok().and_then(|history| outage(&history, epoch)) {
                    return timings.moved(&group, &cause, outage);
                }
            }
        });
    }
}

/// Of the move that began this epoch, once all of it is written.
fn outage(history: &History, epoch: u64) -> Option<Duration> {
    let of = history.epochs.iter().find(|one| one.epoch == epoch)?;
    of.total_ms.map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;
    use leasehold_core::history::Epoch;
    use leasehold_core::protocol::ReleaseCause;
    use leasehold_core::protocol::keys::Keys;
    use leasehold_core::snapshot::status::GroupLine;

    #[tokio::test]
    async fn the_cause_is_kept_until_the_group_serves() {
        let settings = Settings {
            endpoints: Vec::new(),
            tls: None,
            user: None,
            keys: Keys::new("mail"),
            attempt: Duration::from_secs(1),
        };
        let mut moves = Moves::new(settings, Timings::default());
        let see = |moves: &mut Moves, cause| {
            let line = GroupLine {
                cause,
                ..GroupLine::default()
            };
            let groups = [("mail".to_owned(), line)].into();
            moves.seen(&Status {
                groups,
                ..Status::default()
            });
        };
        see(&mut moves, Some(ReleaseCause::NodeEnding));
        see(&mut moves, None);
        assert_eq!(moves.causes["mail"], "node_ending");
        let begun = Begun {
            epoch: 2,
            from: None,
            to: "b".to_owned(),
            cause: String::new(),
            at: String::new(),
            before: Before::Release,
            phases: Vec::new(),
            served: false,
        };
        let tell = |moves: &mut Moves, served| {
            let begun = Begun {
                served,
                ..begun.clone()
            };
            moves.told(&Entry::Begun {
                group: "mail".to_owned(),
                begun,
            });
        };
        tell(&mut moves, false);
        assert_eq!(moves.causes.len(), 1, "it does not serve yet");
        tell(&mut moves, true);
        assert!(moves.causes.is_empty());
    }

    #[test]
    fn an_outage_is_told_once_all_of_it_is_known() {
        let epoch = |epoch, total_ms| Epoch {
            epoch,
            total_ms,
            ..Epoch::default()
        };
        let history = History {
            epochs: vec![epoch(1, Some(300)), epoch(2, None)],
            ..History::default()
        };
        assert_eq!(outage(&history, 1), Some(Duration::from_millis(300)));
        assert_eq!((outage(&history, 2), outage(&history, 3)), (None, None));
    }
}
