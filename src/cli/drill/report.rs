//! What a drill has shown, for people and as JSON. Pure.

use std::time::Duration;

use serde::Serialize;

use super::super::text::table;
use super::plan::Plan;
use super::samples::{Sample, outage};
use leasehold_api::status::{GroupLine, Status};

/// A move that was made and ended well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Move {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) epoch: u64,
    /// Known where the drill is made on the host that runs it.
    pub(super) run: Option<String>,
    /// From the order until all was up and every port answered.
    pub(super) ms: u64,
}

/// What was seen of one port; none where it did not come back, or where the move was not made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Port {
    pub(super) port: String,
    pub(super) there_ms: Option<u64>,
    pub(super) back_ms: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Report {
    pub(super) ok: bool,
    /// What was done; or what went wrong, and where the group is now.
    pub(super) message: String,
    pub(super) group: String,
    pub(super) address: String,
    pub(super) ports: Vec<Port>,
    pub(super) there: Option<Move>,
    pub(super) back: Option<Move>,
}

/// When the way back began, and when it was over; none: that far it did not come.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Marks {
    pub(super) back_ordered: Option<Duration>,
    pub(super) ended: Option<Duration>,
}

impl Port {
    /// For whoever watches, once it is there.
    pub(super) fn on_the_way(&self) -> String {
        let name = &self.port;
        match self.there_ms {
            Some(0) => format!("{name}: no outage on the way there"),
            Some(ms) => format!("{name}: {ms} ms without an answer on the way there"),
            None => format!("{name}: not back yet"),
        }
    }
}

/// What was seen of each port, cut where the way back began.
pub(super) fn ports(seen: &[(String, Vec<Sample>)], marks: Marks) -> Vec<Port> {
    let (cut, end) = (marks.back_ordered, marks.ended.unwrap_or(Duration::MAX));
    let of = |(name, samples): &(String, Vec<Sample>)| Port {
        port: name.clone(),
        there_ms: outage(samples, Duration::ZERO, cut.unwrap_or(Duration::MAX)).map(millis),
        back_ms: cut.and_then(|cut| outage(samples, cut, end)).map(millis),
    };
    seen.iter().map(of).collect()
}

pub(super) fn millis(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

/// Where the group is after a drill that did not end as planned, and what to do.
pub(super) fn whereabouts(plan: &Plan, status: &Status) -> String {
    let (group, from) = (&plan.group, &plan.from);
    let none = GroupLine::default();
    let line = status.groups.get(group).unwrap_or(&none);
    let epoch = line.epoch;
    match &line.holder {
        None => format!("nobody holds {group} now: see `leasehold why {group}`"),
        Some(holder) if holder == from && epoch == plan.epoch => format!(
            "{group} is on {from}, as before (epoch {epoch}); a move that has begun may still come: see `leasehold why {group}`"
        ),
        Some(holder) if holder == from => format!("{group} is on {from} again (epoch {epoch})"),
        Some(holder) => {
            format!("{group} is on {holder} (epoch {epoch}): `leasehold switchover {group} --to {from}` moves it back")
        }
    }
}

impl Report {
    pub(super) fn render(&self) -> String {
        let cell = |made: bool, ms: Option<u64>| match (made, ms) {
            (_, Some(0)) => "none".to_owned(),
            (_, Some(ms)) => format!("{ms} ms"),
            (true, None) => "not back".to_owned(),
            (false, None) => "-".to_owned(),
        };
        let mut rows = vec![["PORT", "OUTAGE THERE", "OUTAGE BACK"].map(str::to_owned).to_vec()];
        let tried_back = self.there.is_some();
        rows.extend(self.ports.iter().map(|port| {
            vec![
                port.port.clone(),
                cell(true, port.there_ms),
                cell(tried_back, port.back_ms),
            ]
        }));
        let mut text = format!("{} at {}\n\n{}\n", self.group, self.address, table(&rows));
        for (way, made) in [("there", &self.there), ("back", &self.back)] {
            if let Some(made) = made {
                let Move { from, to, ms, .. } = made;
                let run = made
                    .run
                    .as_ref()
                    .map_or(format!("epoch {}", made.epoch), |run| format!("run {run}"));
                text.push_str(&format!(
                    "\n{way:<5}  {from} to {to}, {run}: {ms} ms until all was up again"
                ));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan {
            group: "mail".to_owned(),
            from: "a".to_owned(),
            to: "b".to_owned(),
            epoch: 4,
            address: "192.0.2.10".parse().unwrap(),
            probes: Vec::new(),
            bound: Duration::ZERO,
        }
    }

    fn moved(from: &str, to: &str, run: Option<&str>) -> Move {
        Move {
            from: from.to_owned(),
            to: to.to_owned(),
            epoch: 5,
            run: run.map(str::to_owned),
            ms: 1200,
        }
    }

    fn report(back: Option<Move>) -> Report {
        let port = |name: &str, there_ms, back_ms| Port {
            port: name.to_owned(),
            there_ms,
            back_ms,
        };
        Report {
            ok: back.is_some(),
            group: "mail".to_owned(),
            address: "192.0.2.10".to_owned(),
            ports: vec![port("smtp 25", Some(612), Some(0)), port("imap 143", Some(580), None)],
            there: Some(moved("a", "b", None)),
            back,
            message: "mail went from a to b and back".to_owned(),
        }
    }

    #[test]
    fn the_table_shows_each_port_both_ways() {
        assert_eq!(
            report(Some(moved("b", "a", Some("6.1")))).render(),
            "mail at 192.0.2.10\n\n\
             PORT      OUTAGE THERE  OUTAGE BACK\n\
             smtp 25   612 ms        none\n\
             imap 143  580 ms        not back\n\n\
             there  a to b, epoch 5: 1200 ms until all was up again\n\
             back   b to a, run 6.1: 1200 ms until all was up again"
        );
    }

    #[test]
    fn whoever_watches_learns_of_the_way_there_before_the_way_back() {
        let lines = report(None).ports.iter().map(Port::on_the_way).collect::<Vec<_>>();
        assert_eq!(
            lines,
            [
                "smtp 25: 612 ms without an answer on the way there",
                "imap 143: 580 ms without an answer on the way there"
            ]
        );
    }

    #[test]
    fn a_way_that_was_not_gone_has_no_outage() {
        let mut stopped = report(None);
        stopped.there = None;
        stopped.ports[0].back_ms = None;
        let shown = stopped.render();
        assert!(shown.contains("smtp 25   612 ms        -\n"), "{shown}");
        assert!(!shown.contains("until all was up"), "{shown}");
    }

    #[test]
    fn samples_are_cut_where_the_way_back_began() {
        let ms = Duration::from_millis;
        let sample = |at, good| Sample {
            asked: ms(at),
            ended: ms(at),
            good,
        };
        let seen = [
            (0, true),
            (50, false),
            (100, true),
            (300, true),
            (350, false),
            (600, true),
            (700, false),
        ];
        let seen = [("smtp 25".to_owned(), seen.map(|(at, good)| sample(at, good)).to_vec())];
        let both = ports(
            &seen,
            Marks {
                back_ordered: Some(ms(310)),
                ended: Some(ms(650)),
            },
        );
        assert_eq!((both[0].there_ms, both[0].back_ms), (Some(100), Some(300)));
        let one = ports(&seen[..], Marks::default());
        assert_eq!(
            (one[0].there_ms, one[0].back_ms),
            (None, None),
            "it was open at the end"
        );
    }

    #[test]
    fn whoever_reads_of_a_failure_learns_where_the_group_is() {
        let with = |holder: Option<&str>, epoch| {
            let line = GroupLine {
                holder: holder.map(str::to_owned),
                epoch,
                ..GroupLine::default()
            };
            let status = Status {
                groups: [("mail".to_owned(), line)].into(),
                ..Status::default()
            };
            whereabouts(&plan(), &status)
        };
        assert!(with(None, 5).contains("nobody holds mail now"));
        assert!(with(Some("a"), 4).contains("on a, as before"));
        assert!(with(Some("a"), 6).contains("on a again (epoch 6)"));
        assert!(with(Some("b"), 5).contains("`leasehold switchover mail --to a` moves it back"));
    }
}
