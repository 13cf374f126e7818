//! Bounds on what callers may take: connections, in all and from one address; acts and lines of the log in a time.

use std::collections::BTreeMap;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv6Addr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use leasehold_base::clock;
use leasehold_base::time::Time;

/// Who takes in what was asked for no more for so long is cut off.
const WRITE_MAX: Duration = Duration::from_secs(10);

/// Acts that may come at once, and how fast the right to more grows.
const ACTS: (u32, Duration) = (20, Duration::from_millis(200));
/// The same for lines of the log about callers that were refused.
const LINES: (u32, Duration) = (10, Duration::from_secs(6));

/// The same for tries to log in, from one address.
const TRIES: (u32, Duration) = (10, Duration::from_secs(6));
/// Addresses whose tries are counted apart; all others share one count.
const CALLERS_MAX: usize = 256;

/// How many connections there may be at a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) all: usize,
    /// Of these, kept for callers on this host itself.
    pub(super) kept: usize,
    /// From one address.
    pub(super) each: usize,
}

/// Over the network. A proxy needs a few connections for all who come through it; no single address gets so many that
/// nothing is left for the others.
pub(super) const NETWORK: Bounds = Bounds {
    all: 64,
    kept: 8,
    each: 16,
};
/// On the local socket, which root alone may open.
pub(super) const LOCAL: Bounds = Bounds {
    all: 64,
    kept: 0,
    each: 64,
};

/// Places for connections.
#[derive(Clone, Debug)]
pub(super) struct Room {
    bounds: Bounds,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by: BTreeMap<IpAddr, usize>,
}

/// A connection's place, given back when it ends.
#[derive(Debug)]
pub(super) struct Place {
    room: Room,
    whose: IpAddr,
}

impl Room {
    pub(super) fn new(bounds: Bounds) -> Self {
        let taken = Arc::default();
        Self { bounds, taken }
    }

    /// A place for a caller of this address, which came to `own`; none where there is none for it.
    pub(super) fn take(&self, from: IpAddr, own: IpAddr) -> Option<Place> {
        let whose = one_caller(from);
        let here = from.to_canonical().is_loopback() || from == own;
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = if here { 0 } else { self.bounds.kept };
        let full = taken.all + kept >= self.bounds.all;
        if full || taken.by.get(&whose).is_some_and(|count| *count >= self.bounds.each) {
            return None;
        }
        taken.all += 1;
        *taken.by.entry(whose).or_default() += 1;
        let room = self.clone();
        Some(Place { room, whose })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.room.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all = taken.all.saturating_sub(1);
        if let Some(count) = taken.by.get_mut(&self.whose) {
            *count -= 1;
            if *count == 0 {
                taken.by.remove(&self.whose);
            }
        }
    }
}

/// A host of IPv6 has a whole network of addresses to choose from.
fn one_caller(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

/// A connection that ends when the other side takes in nothing any more of what it asked for.
#[derive(Debug)]
pub(super) struct Timed<I> {
    io: I,
    limit: Duration,
    stuck: Option<Pin<Box<Sleep>>>,
}

impl<I> Timed<I> {
    pub(super) fn new(io: I) -> Self {
        let limit = WRITE_MAX;
        Self { io, limit, stuck: None }
    }

    fn in_time<T>(&mut self, context: &mut Context<'_>, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if done.is_ready() {
            self.stuck = None;
            return done;
        }
        let limit = self.limit;
        let stuck = self.stuck.get_or_insert_with(|| Box::pin(sleep(limit)));
        stuck.as_mut().poll(context).map(|()| Err(ErrorKind::TimedOut.into()))
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Timed<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // How long may be waited for a request is the server's affair.
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Timed<I> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.io).poll_write(context, bytes);
        self.in_time(context, done)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.io).poll_flush(context);
        self.in_time(context, done)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.io).poll_shutdown(context);
        self.in_time(context, done)
    }
}

/// How many may still come now; shared by all callers.
#[derive(Clone, Debug)]
pub(super) struct Rate {
    burst: u32,
    one_more: Duration,
    left: Arc<Mutex<Left>>,
}

#[derive(Debug)]
struct Left {
    count: u32,
    since: Time,
    /// Not admitted since the last one that was.
    missed: u64,
}

impl Rate {
    pub(super) fn of_acts() -> Self {
        Self::new(ACTS)
    }

    pub(super) fn of_lines() -> Self {
        Self::new(LINES)
    }

    fn new((burst, one_more): (u32, Duration)) -> Self {
        let (count, since, missed) = (burst, clock::now(), 0);
        let left = Arc::new(Mutex::new(Left { count, since, missed }));
        Self { burst, one_more, left }
    }

    /// Whether one more may pass; if so, how many were held back since the last one.
    pub(super) fn admits(&self) -> Option<u64> {
        self.admits_at(clock::now())
    }

    fn admits_at(&self, now: Time) -> Option<u64> {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let grown = now.since(left.since).as_millis() / self.one_more.as_millis();
        let grown = u32::try_from(grown).unwrap_or(u32::MAX);
        let count = left.count.saturating_add(grown).min(self.burst);
        if grown > 0 {
            left.since = now;
        }
        left.count = count.saturating_sub(1);
        if count == 0 {
            left.missed += 1;
            return None;
        }
        Some(std::mem::take(&mut left.missed))
    }

    /// Whether it has nothing to remember any more.
    fn is_rested(&self, now: Time) -> bool {
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = self.burst.saturating_sub(left.count);
        now.since(left.since) >= self.one_more * missing
    }
}

/// How often may be tried to log in, for each address: whoever guesses keeps nobody else out.
#[derive(Clone, Debug)]
pub(super) struct Tries {
    by: Arc<Mutex<BTreeMap<IpAddr, Rate>>>,
    others: Rate,
}

impl Tries {
    pub(super) fn new() -> Self {
        let (by, others) = (Arc::default(), Rate::new(TRIES));
        Self { by, others }
    }

    /// Whether one more may be made from this address.
    pub(super) fn admits(&self, from: Option<IpAddr>) -> bool {
        self.admits_at(from, clock::now())
    }

    fn admits_at(&self, from: Option<IpAddr>, now: Time) -> bool {
        let mut by = self.by.lock().unwrap_or_else(PoisonError::into_inner);
        if by.len() >= CALLERS_MAX {
            by.retain(|_, rate| !rate.is_rested(now));
        }
        let is_full = by.len() >= CALLERS_MAX;
        let whose = from.map(one_caller);
        let rate = match whose {
            Some(whose) if !is_full || by.contains_key(&whose) => by.entry(whose).or_insert_with(|| Rate::new(TRIES)),
            Some(_) | None => &self.others,
        };
        rate.admits_at(now).is_some()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    const OWN: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_address_takes_its_share_and_this_host_keeps_a_reserve() {
        let room = Room::new(NETWORK);
        let take = |from: &str| room.take(address(from), OWN);
        let mut places: Vec<Place> = (0..80).filter_map(|_| take("10.0.0.66")).collect();
        assert_eq!(places.len(), NETWORK.each);
        places.extend((67..77).filter_map(|last| take(&format!("10.0.0.{last}"))));
        assert_eq!(places.len(), NETWORK.each + 10, "others still get in");
        // Many addresses fill it, but for what is kept for this host itself.
        places.extend((0..80).filter_map(|last| take(&format!("10.0.1.{last}"))));
        assert_eq!(places.len(), NETWORK.all - NETWORK.kept);
        let own: Vec<Place> = ["127.0.0.1", "::1", "10.0.0.1"].into_iter().filter_map(take).collect();
        assert_eq!(own.len(), 3);
        drop((places, own));
        assert!(take("10.0.0.66").is_some() && room.taken.lock().unwrap().by.is_empty());
    }

    #[test]
    fn a_network_of_ipv6_is_one_caller() {
        assert_eq!(
            one_caller(address("2001:db8::1")),
            one_caller(address("2001:db8::ffff:2"))
        );
        assert_ne!(one_caller(address("2001:db8::1")), one_caller(address("2001:db8:1::1")));
        assert_eq!(one_caller(address("::ffff:10.0.0.1")), address("10.0.0.1"));
    }

    #[tokio::test]
    async fn who_reads_nothing_is_cut_off() {
        let (_silent, ours) = tokio::io::duplex(16);
        let mut timed = Timed::new(ours);
        timed.limit = Duration::from_millis(10);
        let error = timed.write_all(&[0; 64]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }

    #[test]
    fn who_guesses_keeps_nobody_else_out() {
        let tries = Tries::new();
        let start = clock::now();
        let guess = |from: &str, at| tries.admits_at(Some(address(from)), at);
        assert_eq!((0..40).filter(|_| guess("10.0.0.66", start)).count(), 10);
        assert!(guess("10.0.0.67", start));
        assert!(!guess("10.0.0.66", start.plus(Duration::from_secs(5))));
        assert!(guess("10.0.0.66", start.plus(Duration::from_secs(13))));
        // However many addresses there are, no more is kept of them.
        for last in 0..2000_u32 {
            guess(&format!("10.1.{}.{}", last / 250, last % 250), start);
        }
        assert_eq!(tries.by.lock().unwrap().len(), CALLERS_MAX);
        assert!(!guess("10.2.0.1", start), "the rest shares one count");
        let later = start.plus(Duration::from_secs(3600));
        assert!(guess("10.2.0.1", later) && tries.by.lock().unwrap().len() == 1);
    }

    #[test]
    fn a_burst_is_let_through_and_then_only_so_many_in_a_time() {
        let rate = Rate::of_acts();
        let start = rate.left.lock().unwrap().since;
        let count = |at| (0..40).filter(|_| rate.admits_at(at).is_some()).count();
        assert_eq!(count(start), 20);
        let later = start.plus(Duration::from_secs(1));
        assert_eq!(rate.admits_at(later), Some(20), "those that were held back");
        assert_eq!(count(later), 4);
        assert_eq!(count(start.plus(Duration::from_secs(3600))), 20);
    }
}
