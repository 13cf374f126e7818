//! What a client saw of one port, and how long it was without an answer. Pure.

use std::time::Duration;

/// One question to a port; times as the boot clock has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) asked: Duration,
    pub(super) ended: Duration,
    pub(super) good: bool,
}

impl Sample {
    /// When the service was certainly as the sample says: a good answer was there when it came; a question that was
    /// not answered found nobody when it was asked.
    fn at(&self) -> Duration {
        if self.good { self.ended } else { self.asked }
    }
}

/// The longest time without an answer: from the last good one before the gap to the first good one after it. Gaps count
/// that were closed after `from` and no later than `until`; none where it was still open then.
pub(super) fn outage(samples: &[Sample], from: Duration, until: Duration) -> Option<Duration> {
    let mut samples: Vec<&Sample> = samples.iter().filter(|sample| sample.at() <= until).collect();
    samples.sort_by_key(|sample| sample.at());
    let mut last_good = samples.first()?.at();
    let (mut open, mut longest) = (false, Duration::ZERO);
    for sample in samples {
        if !sample.good {
            open = true;
            continue;
        }
        if open && sample.at() > from {
            longest = longest.max(sample.at().saturating_sub(last_good));
        }
        (last_good, open) = (sample.at(), false);
    }
    (!open).then_some(longest)
}

/// Whether a question that was asked after `since` was answered.
pub(super) fn is_back(samples: &[Sample], since: Duration) -> bool {
    samples.iter().any(|sample| sample.good && sample.asked >= since)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    /// A letter each 50 ms: `+` is answered after 5 ms, `-` is refused after 1 ms, `.` is not answered within 500 ms.
    fn samples(letters: &str) -> Vec<Sample> {
        let sample = |(place, letter): (usize, char)| {
            let asked = ms(50 * place as u64);
            let took = match letter {
                '+' => 5,
                '-' => 1,
                _ => 500,
            };
            Sample {
                asked,
                ended: asked + ms(took),
                good: letter == '+',
            }
        };
        letters.chars().enumerate().map(sample).collect()
    }

    fn whole(letters: &str) -> Option<Duration> {
        outage(&samples(letters), Duration::ZERO, ms(10_000))
    }

    #[test]
    fn an_outage_lasts_from_the_last_good_answer_to_the_next() {
        assert_eq!(whole("++++"), Some(Duration::ZERO));
        assert_eq!(whole("++--++"), Some(ms(150)));
        assert_eq!(
            whole("++..++"),
            Some(ms(150)),
            "an answer that never comes does not make it longer"
        );
        assert_eq!(whole("+-.-.-+"), Some(ms(300)));
    }

    #[test]
    fn of_several_gaps_the_longest_counts() {
        assert_eq!(whole("+-+---+-+"), Some(ms(200)));
    }

    #[test]
    fn a_gap_that_is_not_closed_is_no_outage_with_an_end() {
        assert_eq!(whole("++--"), None);
        assert_eq!(whole(""), None);
        assert_eq!(
            outage(&samples("++--++"), Duration::ZERO, ms(170)),
            None,
            "it was open then"
        );
    }

    #[test]
    fn the_order_in_which_the_answers_came_does_not_matter() {
        let mut shuffled = samples("++..--++");
        shuffled.swap(2, 6);
        shuffled.reverse();
        assert_eq!(outage(&shuffled, Duration::ZERO, ms(10_000)), Some(ms(250)));
    }

    #[test]
    fn there_and_back_are_told_apart() {
        let both = samples("++--+++-----++");
        assert_eq!(outage(&both, Duration::ZERO, ms(310)), Some(ms(150)));
        assert_eq!(outage(&both, ms(310), ms(10_000)), Some(ms(300)));
    }

    #[test]
    fn a_question_from_before_says_nothing_about_after() {
        let seen = samples("+-+");
        assert!(is_back(&seen, ms(100)) && !is_back(&seen, ms(101)));
    }
}
