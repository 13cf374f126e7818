//! Which endpoint takes the next command. Pure: times come in.

use std::time::Duration;

use tokio::time::Instant;

/// How long an endpoint that failed is left alone; then it is tried again, off the commands' path.
const QUARANTINE: Duration = Duration::from_secs(3);

/// The endpoints by number, in the order of the settings.
#[derive(Debug)]
pub(super) struct Pool {
    endpoints: Vec<Endpoint>,
    preferred: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Endpoint {
    /// `None` until its first result.
    healthy: Option<bool>,
    /// In quarantine; the next trial is due then.
    trial_at: Option<Instant>,
}

impl Pool {
    pub(super) fn new(count: usize) -> Self {
        Self {
            endpoints: vec![Endpoint::default(); count],
            preferred: 0,
        }
    }

    /// The endpoint for the next command.
    pub(super) fn preferred(&self) -> usize {
        self.preferred
    }

    /// The endpoint answered. True if that is news.
    pub(super) fn answered(&mut self, number: usize) -> bool {
        let Some(endpoint) = self.endpoints.get_mut(number) else {
            return false;
        };
        endpoint.trial_at = None;
        endpoint.healthy.replace(true) != Some(true)
    }

    /// The endpoint did not answer: the next one that is not in quarantine takes over; if all are, they take turns.
    /// True if it is news that this one does not answer.
    pub(super) fn failed(&mut self, number: usize, now: Instant) -> bool {
        let Some(endpoint) = self.endpoints.get_mut(number) else {
            return false;
        };
        endpoint.trial_at = Some(now + QUARANTINE);
        let news = endpoint.healthy.replace(false) != Some(false);
        if self.preferred == number {
            self.preferred = self.after(number);
        }
        news
    }

    /// When the next trial is due, if any endpoint is in quarantine.
    pub(super) fn next_trial(&self) -> Option<Instant> {
        self.endpoints.iter().filter_map(|endpoint| endpoint.trial_at).min()
    }

    /// The endpoints whose trial is due; the one after it is set.
    pub(super) fn due(&mut self, now: Instant) -> Vec<usize> {
        let mut due = Vec::new();
        for (number, endpoint) in self.endpoints.iter_mut().enumerate() {
            if endpoint.trial_at.is_some_and(|at| at <= now) {
                endpoint.trial_at = Some(now + QUARANTINE);
                due.push(number);
            }
        }
        due
    }

    fn after(&self, number: usize) -> usize {
        let count = self.endpoints.len();
        let free = |candidate: &usize| {
            self.endpoints
                .get(*candidate)
                .is_some_and(|endpoint| endpoint.trial_at.is_none())
        };
        (1..count)
            .map(|step| (number + step) % count)
            .find(free)
            .unwrap_or((number + 1) % count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_endpoint_is_left_and_passed_over_until_it_answers() {
        let mut pool = Pool::new(3);
        let now = Instant::now();
        assert_eq!(pool.preferred(), 0);
        assert!(pool.failed(0, now));
        assert_eq!(pool.preferred(), 1);
        assert!(
            !pool.failed(0, now),
            "a late failure of the same endpoint moves nothing"
        );
        assert_eq!(pool.preferred(), 1);
        pool.failed(1, now);
        assert_eq!(pool.preferred(), 2);
        pool.answered(1);
        pool.failed(2, now);
        assert_eq!(pool.preferred(), 1, "the first is still in quarantine");
    }

    #[test]
    fn trials_come_at_intervals_until_an_answer() {
        let mut pool = Pool::new(3);
        let start = Instant::now();
        assert_eq!(pool.next_trial(), None);
        pool.failed(0, start);
        let first = start + QUARANTINE;
        assert_eq!(pool.next_trial(), Some(first));
        assert!(pool.due(start).is_empty());
        assert_eq!(pool.due(first), [0]);
        assert!(pool.due(first).is_empty(), "one trial at a time");
        assert_eq!(pool.next_trial(), Some(first + QUARANTINE));
        assert!(pool.answered(0));
        assert_eq!(pool.next_trial(), None);
    }

    #[test]
    fn with_all_in_quarantine_they_take_turns() {
        let mut pool = Pool::new(3);
        let now = Instant::now();
        let order: Vec<_> = (0..6)
            .map(|_| {
                pool.failed(pool.preferred(), now);
                pool.preferred()
            })
            .collect();
        assert_eq!(order, [1, 2, 0, 1, 2, 0]);
    }

    #[test]
    fn a_single_endpoint_is_always_tried() {
        let mut pool = Pool::new(1);
        pool.failed(0, Instant::now());
        assert_eq!(pool.preferred(), 0);
    }

    #[test]
    fn only_changes_are_news() {
        let mut pool = Pool::new(2);
        let now = Instant::now();
        assert!(pool.answered(0));
        assert!(!pool.answered(0));
        assert!(pool.failed(0, now));
        assert!(!pool.failed(0, now));
        assert!(pool.answered(0));
        assert_eq!(pool.preferred(), 1, "an answer that comes late does not move it back");
    }
}
