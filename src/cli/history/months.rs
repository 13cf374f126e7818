//! What the records of a group come to, month by month. Nothing is claimed for time that they do not cover, nor for an outage
//! whose length nobody wrote: then the availability is an upper bound, and says so.

use serde::Serialize;

use super::super::when;
use leasehold_api::history::Epoch;
use leasehold_api::words::Before;

/// No record reaches back further: more is a clock that was wrong.
const MONTHS_MAX: usize = 120;
const MS: u64 = 1000;

/// What the records of a group come to.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Sum {
    /// Since when the records reach, in RFC 3339; none without any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) since: Option<String>,
    /// Where nobody has taken it since the last epoch ended: when that was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) until: Option<String>,
    /// The epoch that goes on: how often it was started again in place is written when it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) open: Option<u64>,
    pub(super) months: Vec<Month>,
}

/// One month of UTC, as far as the records cover it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Month {
    /// Such as `2026-11`.
    pub(super) month: String,
    /// In percent, rounded down; none where no second of it is covered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) availability: Option<f64>,
    /// The availability is an upper bound: something was not timed.
    pub(super) at_most: bool,
    /// How much of the month the records cover, in seconds.
    pub(super) covered_s: u64,
    /// Times that another node took it.
    pub(super) moves: u64,
    /// All outages whose length is known, in milliseconds. What an operator ordered is none.
    pub(super) outage_ms: u64,
    /// Outages whose length nobody wrote.
    pub(super) unknown: u64,
    /// Starts again in place: nobody times them.
    pub(super) restarts: u64,
}

impl Sum {
    /// Of epochs, oldest first; `now`: seconds since 1970.
    pub(super) fn of(epochs: &[Epoch], now: i64) -> Self {
        let Some(since) = epochs.first().and_then(first_word) else {
            return Self::default();
        };
        let last = epochs.last();
        let ended = last.and_then(|last| last.left.as_ref()).map(|left| left.at.clone());
        let until = ended.as_deref().and_then(when::seconds);
        let mut sum = Self {
            months: months(when::seconds(&since).unwrap_or(now), until.unwrap_or(now)),
            open: last.filter(|last| last.left.is_none()).map(|last| last.epoch),
            since: Some(since),
            until: ended,
        };
        for pair in epochs.windows(2) {
            if let [before, epoch] = pair {
                sum.count(before, epoch);
            }
        }
        for left in epochs.iter().filter_map(|epoch| epoch.left.as_ref()) {
            if let Some(month) = sum.month(&left.at) {
                month.restarts += u64::from(left.runs.saturating_sub(1));
            }
        }
        for month in &mut sum.months {
            month.conclude();
        }
        sum
    }

    /// One epoch that follows another.
    fn count(&mut self, before: &Epoch, epoch: &Epoch) {
        let missing = epoch.epoch.saturating_sub(before.epoch).saturating_sub(1);
        let begun = epoch.begun.as_ref();
        let at = begun
            .map(|begun| &begun.at)
            .or(epoch.left.as_ref().map(|left| &left.at));
        let Some(month) = at.and_then(|at| self.month(at)) else {
            return;
        };
        month.unknown = month.unknown.saturating_add(missing);
        month.moves += u64::from(begun.is_some_and(|begun| begun.from.as_ref() != Some(&begun.to)));
        let is_seen = begun.is_some_and(|begun| begun.before != Before::Nothing);
        match epoch.total_ms.filter(|_| is_seen && missing == 0) {
            Some(ms) => month.outage_ms = month.outage_ms.saturating_add(ms),
            None => month.unknown += 1,
        }
    }

    fn month(&mut self, at: &str) -> Option<&mut Month> {
        let name = at.get(..7).filter(|_| when::seconds(at).is_some())?;
        self.months.iter_mut().find(|month| month.month == name)
    }
}

impl Month {
    fn conclude(&mut self) {
        self.at_most = self.unknown > 0 || self.restarts > 0;
        let covered = u128::from(self.covered_s) * u128::from(MS);
        let up = covered.saturating_sub(u128::from(self.outage_ms));
        // Thousandths of a percent, so that nothing is rounded up.
        let share = (up * 100_000)
            .checked_div(covered)
            .and_then(|share| u32::try_from(share).ok());
        self.availability = share.map(|share| f64::from(share) / 1000.0);
    }

    /// In a line: `2026-11  availability 99.99 %, 3 moves, 4.1 s`.
    pub(super) fn sentence(&self) -> String {
        let Self { month, .. } = self;
        let share = self
            .availability
            .map_or("availability not known".to_owned(), |percent| {
                let bound = if self.at_most { "at most " } else { "" };
                format!("availability {bound}{:.2} %", (percent * 100.0).floor() / 100.0)
            });
        let count = |number: u64, one: &str| format!("{number} {one}{}", if number == 1 { "" } else { "s" });
        let mut text = format!(
            "{month}  {share}, {}, {}",
            count(self.moves, "move"),
            when::took(self.outage_ms)
        );
        if self.unknown > 0 {
            text.push_str(&format!(", and {} of unknown length", count(self.unknown, "outage")));
        }
        if self.restarts > 0 {
            text.push_str(&format!(
                ", and {} in place that nobody timed",
                count(self.restarts, "restart")
            ));
        }
        text
    }
}

/// The first thing that is written of an epoch.
fn first_word(epoch: &Epoch) -> Option<String> {
    let begun = epoch.begun.as_ref().map(|begun| &begun.at);
    let at = begun.or(epoch.left.as_ref().map(|left| &left.at))?;
    when::seconds(at).map(|_| at.clone())
}

/// The months from one time to another, each with how much of it lies between them.
fn months(since: i64, until: i64) -> Vec<Month> {
    let mut found = Vec::new();
    let mut end = until;
    while end > since && found.len() < MONTHS_MAX {
        // The second before an end belongs to the month that ends.
        let Some((month, begin)) = month_of(end - 1) else {
            break;
        };
        let from = begin.max(since);
        found.push(Month {
            month,
            covered_s: end.abs_diff(from),
            ..Month::default()
        });
        end = begin;
    }
    found.reverse();
    found
}

/// The month that a second lies in, and its first second.
fn month_of(at: i64) -> Option<(String, i64)> {
    let month = jiff::Timestamp::from_second(at).ok()?.to_string().get(..7)?.to_owned();
    let begin = when::seconds(&format!("{month}-01T00:00:00Z"))?;
    Some((month, begin))
}

#[cfg(test)]
mod tests {
    use super::*;
    use leasehold_api::history::{Begun, Left};

    const NOW: &str = "2026-12-02T00:00:00Z";

    fn begun(epoch: u64, at: &str, from: Option<&str>, before: Before, total_ms: Option<u64>) -> Epoch {
        let begun = Begun {
            epoch,
            from: from.map(str::to_owned),
            to: "a".to_owned(),
            cause: String::new(),
            at: at.to_owned(),
            before,
            phases: Vec::new(),
            served: true,
        };
        Epoch {
            epoch,
            begun: Some(begun),
            total_ms,
            ..Epoch::default()
        }
    }

    fn left(mut of: Epoch, at: &str, runs: u32) -> Epoch {
        of.left = Some(Left {
            epoch: of.epoch,
            node: "a".to_owned(),
            cause: String::new(),
            at: at.to_owned(),
            phases: Vec::new(),
            runs,
        });
        of
    }

    fn sum(epochs: &[Epoch]) -> Sum {
        Sum::of(epochs, when::seconds(NOW).unwrap())
    }

    fn said(epochs: &[Epoch]) -> Vec<String> {
        sum(epochs).months.iter().map(Month::sentence).collect()
    }

    /// Since the eleventh of November.
    fn three() -> Vec<Epoch> {
        vec![
            begun(1, "2026-11-11T00:00:00Z", None, Before::Nothing, Some(300)),
            begun(2, "2026-11-12T00:00:00Z", Some("b"), Before::Release, Some(1100)),
            begun(3, "2026-11-13T00:00:00Z", Some("b"), Before::Silence, Some(3000)),
        ]
    }

    #[test]
    fn a_month_has_its_moves_and_its_outages() {
        let found = sum(&three());
        assert_eq!(found.since.as_deref(), Some("2026-11-11T00:00:00Z"));
        assert_eq!((found.open, found.until.as_deref()), (Some(3), None));
        assert_eq!(found.months[0].covered_s, 20 * 86_400, "not the whole month");
        assert_eq!(
            said(&three()),
            [
                "2026-11  availability 99.99 %, 2 moves, 4.1 s",
                "2026-12  availability 100.00 %, 0 moves, 0.0 s"
            ]
        );
    }

    #[test]
    fn what_nobody_timed_makes_it_an_upper_bound() {
        let mut gap = three();
        gap.remove(1);
        let wanted = "2026-11  availability at most 100.00 %, 1 move, 0.0 s, and 2 outages of unknown length";
        assert_eq!(said(&gap)[0], wanted, "an epoch that nobody wrote of");
        let mut unseen = three();
        unseen[1] = begun(2, "2026-11-12T00:00:00Z", Some("b"), Before::Nothing, Some(10));
        let wanted = "2026-11  availability at most 99.99 %, 2 moves, 3.0 s, and 1 outage of unknown length";
        assert_eq!(said(&unseen)[0], wanted, "nobody saw how long it was down");
        let mut restarted = three();
        restarted[0] = left(restarted[0].clone(), "2026-11-12T00:00:00Z", 3);
        let wanted = "2026-11  availability at most 99.99 %, 2 moves, 4.1 s, and 2 restarts in place that nobody timed";
        assert_eq!(said(&restarted)[0], wanted);
    }

    #[test]
    fn nothing_is_claimed_for_time_without_records() {
        assert_eq!(sum(&[]), Sum::default());
        let mut ended = three();
        ended[2] = left(ended[2].clone(), "2026-11-21T00:00:00Z", 1);
        let found = sum(&ended);
        assert_eq!(found.months.len(), 1, "nobody has it since: {found:?}");
        assert_eq!(found.months[0].covered_s, 10 * 86_400);
        assert_eq!(
            (found.open, found.until.as_deref()),
            (None, Some("2026-11-21T00:00:00Z"))
        );
        // A clock that was wrong is no reason to count for ages, or to fail.
        let wrong = [begun(1, "0001-01-01T00:00:00Z", None, Before::Nothing, None)];
        assert_eq!(sum(&wrong).months.len(), MONTHS_MAX);
        let ahead = [begun(1, "2027-01-01T00:00:00Z", None, Before::Nothing, None)];
        assert!(sum(&ahead).months.is_empty());
        assert_eq!(sum(&[begun(1, "noon", None, Before::Nothing, None)]), Sum::default());
    }

    #[test]
    fn a_month_that_was_down_is_not_rounded_up() {
        let mut long = three();
        long[2] = begun(
            3,
            "2026-11-13T00:00:00Z",
            Some("b"),
            Before::Silence,
            Some(20 * 86_400_000),
        );
        let found = sum(&long);
        assert_eq!(found.months[0].availability, Some(0.0));
        assert!(
            found.months[0]
                .sentence()
                .contains("availability 0.00 %, 2 moves, 480 h 0 min")
        );
    }
}
