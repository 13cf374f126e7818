//! Which endpoint takes the next command. Pure: times come in.

use std::time::Duration;

use tokio::time::Instant;

/// How long an endpoint that failed is passed over while another is left.
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
    quarantined_until: Option<Instant>,
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
        endpoint.quarantined_until = None;
        endpoint.healthy.replace(true) != Some(true)
    }

    /// The endpoint did not answer: the next one that is not in quarantine takes over; if all are, they take turns.
    /// True if it is news that this one does not answer.
    pub(super) fn failed(&mut self, number: usize, now: Instant) -> bool {
        let Some(endpoint) = self.endpoints.get_mut(number) else {
            return false;
        };
        endpoint.quarantined_until = Some(now + QUARANTINE);
        let news = endpoint.healthy.replace(false) != Some(false);
        if self.preferred == number {
            self.preferred = self.after(number, now);
        }
        news
    }

    fn after(&self, number: usize, now: Instant) -> usize {
        let count = self.endpoints.len();
        let free = |candidate: &usize| {
            self.endpoints
                .get(*candidate)
                .is_some_and(|endpoint| endpoint.quarantined_until.is_none_or(|until| until <= now))
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
    fn a_failed_endpoint_is_left_and_passed_over_for_a_while() {
        let mut pool = Pool::new(3);
        let start = Instant::now();
        assert_eq!(pool.preferred(), 0);
        assert!(pool.failed(0, start));
        assert_eq!(pool.preferred(), 1);
        assert!(
            !pool.failed(0, start),
            "a late failure of the same endpoint moves nothing"
        );
        assert_eq!(pool.preferred(), 1);
        pool.failed(1, start);
        pool.answered(2);
        pool.failed(2, start + QUARANTINE);
        assert_eq!(pool.preferred(), 0, "its quarantine is over");
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
