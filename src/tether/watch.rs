//! The loop of a running tether: time first, then everything else.

use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::syncfs;
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime};

use super::claims::Fate;
use super::exit::Code;
use super::gate::Admitted;
use super::home::Reading;
use super::own_namespace::OwnNamespace;
use super::service::{Reaped, Service};
use super::signals::Signals;
use super::standing::Standing;
use leasehold_base::clock;
use leasehold_base::epoch::Run;
use leasehold_base::hello::Woke;
use leasehold_base::page::{Order, Page};
use leasehold_base::time::Time;

/// The page is read at least this often.
const TICK: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 50_000_000,
};

/// Between two words to the sidecar of how late this process woke up.
const TOLD: Duration = Duration::from_secs(2);

/// How long an end waits for what may not be killed: as long as the lease leaves, in these bounds.
const SPARE_MIN: Duration = Duration::from_millis(100);
const SPARE_MAX: Duration = Duration::from_secs(2);
/// The same once the grace is over: the sidecar expects the proof within half a second.
const FORCED: Duration = Duration::from_millis(250);

/// What page and time ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Run,
    Stop,
    /// It did not stop in its grace, but the lease lives: nobody else may write yet, so there is time to sync.
    Force,
    /// At once, and nothing but that.
    Kill,
}

/// A timer on `CLOCK_BOOTTIME`, made before the service starts so that no failure can come later.
pub(super) fn timer() -> rustix::io::Result<OwnedFd> {
    timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)
}

/// Watches over the service to its end; the exit code of PID 1.
///
/// Nothing here writes to stdout or stderr: a frozen engine does not empty the pipe. Nor does it touch the storage before
/// the end: that may hang. Nor does it allocate or free before then.
pub(super) fn watch(
    own: &OwnNamespace,
    mut admitted: Admitted,
    mut service: Service,
    signals: &Signals,
    timer: &OwnedFd,
    standing: &mut Standing,
) -> ExitCode {
    let run = admitted.page.run;
    let boot_id = admitted.page.boot_id;
    let mut lateness = Lateness::default();
    loop {
        let now = clock::now();
        match judge(admitted.file.read(), &mut admitted.page, boot_id, run, now) {
            Verdict::Run => {}
            Verdict::Stop => service.stop_once(),
            Verdict::Force => {
                let code = ExitCode::from(Code::Killed.number());
                return end(own, admitted, code, now.plus(FORCED));
            }
            Verdict::Kill => kill(own, &admitted, Code::Killed),
        }
        if standing.is_lowered() {
            kill(own, &admitted, Code::Tampered);
        }
        let more = match service.reap(|pid| admitted.claims.ended(pid)) {
            Reaped::Service(code) => {
                let spare = now.until(admitted.page.hard).clamp(SPARE_MIN, SPARE_MAX);
                return end(own, admitted, code, now.plus(spare));
            }
            Reaped::More => true,
            Reaped::Others => false,
        };
        match admitted.claims.fate(now, service.is_stopping()) {
            Fate::Kept => {}
            Fate::Lost => kill(own, &admitted, Code::Killed),
            Fate::Unwatched => kill(own, &admitted, Code::Tampered),
        }
        signals.drain(|signal| service.signal(signal));
        admitted.link.keep(now);
        if let Some(woke) = lateness.due(now) {
            admitted.link.tell(woke);
        }
        if !more {
            let until = wake_up(&admitted.page, now);
            sleep(&admitted, signals, timer, until);
            lateness.woke(now, until, clock::now());
        }
    }
}

/// By how much this process wakes up too late: what the sidecar needs to know where a short lease leaves little time for a kill.
#[derive(Debug, Default)]
struct Lateness {
    worst: Duration,
    told: Option<Time>,
}

impl Lateness {
    /// A sleep that began at `from`, and should have ended after a tick or at `until`. What ended it earlier does not count.
    fn woke(&mut self, from: Time, until: Duration, now: Time) {
        let tick = from
            .boot
            .saturating_add(Duration::from_nanos(TICK.tv_nsec.unsigned_abs()));
        // A deadline that is past ends no sleep.
        let due = if until > from.boot { tick.min(until) } else { tick };
        self.worst = self.worst.max(now.boot.saturating_sub(due));
    }

    /// What to tell, when it is time for that.
    fn due(&mut self, now: Time) -> Option<Woke> {
        let told = *self.told.get_or_insert(now);
        if now.since(told) < TOLD {
            return None;
        }
        self.told = Some(now);
        Some(Woke(std::mem::take(&mut self.worst)))
    }
}

/// The end of the lease: the claims stay held, because nobody waits for a sync. At once, from here, and past every handler of
/// an exit: what they and the way back would free and close is the kernel's business.
///
/// What the dead had written through a mapping of a closed file holds up no end of theirs. On storage of the network this
/// kernel would send it seconds later, over what the next holder writes. So it holds up the proof of stop, and a watchdog
/// strikes if it takes too long.
fn kill(own: &OwnNamespace, admitted: &Admitted, code: Code) -> ! {
    if own.kill_now() {
        for store in &admitted.remote {
            let _ = syncfs(store);
        }
    }
    signal_hook::low_level::exit(i32::from(code.number()))
}

/// The end while the lease lives, in this order: all dead, all synced, claims released.
fn end(own: &OwnNamespace, admitted: Admitted, code: ExitCode, until: Time) -> ExitCode {
    // What may not be killed by then, or hangs, is ended by the exit of PID 1, and may write until then: nothing to sync
    // yet, and nothing to wait for.
    if !own.kill_until(until) {
        return code;
    }
    // If this hangs there is no proof of stop, and rightly so.
    if !admitted.stores.iter().all(|store| syncfs(store).is_ok()) {
        return ExitCode::from(Code::Environment.number());
    }
    admitted.claims.release();
    code
}

/// Decides from a new reading of the page and from what was known before.
fn judge(reading: Reading, known: &mut Page, boot_id: [u8; 16], run: Run, now: Time) -> Verdict {
    match reading {
        Reading::Page(page) => *known = page,
        Reading::Torn => {}
        Reading::Missing => return Verdict::Kill,
    }
    if known.boot_id != boot_id || known.run != run {
        return Verdict::Kill;
    }
    if now.reached(known.hard) {
        // The end of a stop's grace comes before the end of the lease, which is never before the soft deadline.
        let grace_over = matches!(known.order, Order::Stop | Order::Kill) && !now.reached(known.soft);
        return if grace_over { Verdict::Force } else { Verdict::Kill };
    }
    match known.order {
        Order::Closed => Verdict::Kill,
        Order::Kill if now.reached(known.soft) => Verdict::Kill,
        Order::Kill => Verdict::Force,
        Order::Stop => Verdict::Stop,
        Order::Open if now.reached(known.soft) => Verdict::Stop,
        Order::Open => Verdict::Run,
    }
}

/// The next deadline as a time of `CLOCK_BOOTTIME`, whichever clock reaches it first.
fn wake_up(page: &Page, now: Time) -> Duration {
    let next = if now.reached(page.soft) {
        page.hard
    } else {
        page.soft.earlier(page.hard)
    };
    now.boot.saturating_add(now.until(next))
}

/// Sleeps until the deadline, a signal, word from the sidecar, or one tick.
fn sleep(admitted: &Admitted, signals: &Signals, timer: &OwnedFd, until: Duration) {
    let at = Itimerspec {
        it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
        it_value: Timespec::try_from(until).unwrap_or(TICK),
    };
    // A timer that can't be set leaves the tick.
    let _ = timerfd_settime(timer, TimerfdTimerFlags::ABSTIME, &at);
    let mut fds = [
        PollFd::new(timer, PollFlags::IN),
        PollFd::new(signals.wake(), PollFlags::IN),
        PollFd::new(admitted.claims.wake().unwrap_or(timer), PollFlags::IN),
        PollFd::new(admitted.link.socket().unwrap_or(timer), PollFlags::IN),
    ];
    let _ = poll(&mut fds, Some(&TICK));
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOT: [u8; 16] = [7; 16];
    const RUN: Run = Run { epoch: 3, n: 1 };

    fn at(ms: u64) -> Time {
        Time {
            boot: Duration::from_millis(ms),
            raw: Duration::from_millis(ms),
            slept: Duration::ZERO,
        }
    }

    fn page(order: Order) -> Page {
        Page {
            boot_id: BOOT,
            run: RUN,
            order,
            soft: at(1000),
            hard: at(2000),
            store: 0,
        }
    }

    fn verdict(reading: Reading, now: Time) -> Verdict {
        judge(reading, &mut page(Order::Open), BOOT, RUN, now)
    }

    #[test]
    fn deadlines_are_kept_to_the_nanosecond() {
        let nanosecond = Duration::from_nanos(1);
        for (now, expected) in [
            (at(1000).minus(nanosecond), Verdict::Run),
            (at(1000), Verdict::Stop),
            (at(2000).minus(nanosecond), Verdict::Stop),
            (at(2000), Verdict::Kill),
            (
                Time {
                    raw: Duration::ZERO,
                    ..at(2000)
                },
                Verdict::Kill,
            ),
            (
                Time {
                    boot: Duration::ZERO,
                    ..at(1000)
                },
                Verdict::Stop,
            ),
        ] {
            assert_eq!(verdict(Reading::Page(page(Order::Open)), now), expected, "{now:?}");
        }
    }

    #[test]
    fn only_what_comes_after_its_time_is_late() {
        let ms = Duration::from_millis;
        let mut lateness = Lateness::default();
        assert_eq!(lateness.due(at(0)), None);
        lateness.woke(at(100), ms(1000), at(120));
        lateness.woke(at(100), ms(1000), at(150));
        assert_eq!(
            lateness.due(at(2000)),
            Some(Woke(Duration::ZERO)),
            "in time, or waked by something else"
        );
        lateness.woke(at(100), ms(110), at(130));
        lateness.woke(at(100), ms(1000), at(153));
        lateness.woke(at(100), ms(90), at(151));
        assert_eq!(lateness.due(at(3999)), None);
        assert_eq!(
            lateness.due(at(4000)),
            Some(Woke(ms(20))),
            "a deadline counts as a tick does"
        );
        assert_eq!(lateness.due(at(6000)), Some(Woke(Duration::ZERO)));
    }

    #[test]
    fn orders_do_not_wait_for_deadlines() {
        for (order, expected) in [
            (Order::Open, Verdict::Run),
            (Order::Stop, Verdict::Stop),
            (Order::Kill, Verdict::Force),
            (Order::Closed, Verdict::Kill),
        ] {
            assert_eq!(verdict(Reading::Page(page(order)), at(1)), expected);
        }
        assert_eq!(verdict(Reading::Page(page(Order::Kill)), at(1000)), Verdict::Kill);
    }

    #[test]
    fn a_grace_that_is_over_leaves_time_to_sync_only_while_the_lease_lives() {
        let graced = |order, now| {
            let hard = at(500);
            verdict(Reading::Page(Page { hard, ..page(order) }), now)
        };
        assert_eq!(graced(Order::Stop, at(499)), Verdict::Stop);
        for order in [Order::Stop, Order::Kill] {
            assert_eq!(graced(order, at(500)), Verdict::Force, "{order:?}");
            assert_eq!(graced(order, at(1000)), Verdict::Kill, "{order:?}");
        }
        assert_eq!(graced(Order::Open, at(500)), Verdict::Kill);
    }

    #[test]
    fn a_page_that_is_not_ours_kills() {
        let other_run = Page {
            run: Run { epoch: 3, n: 2 },
            ..page(Order::Open)
        };
        let other_boot = Page {
            boot_id: [8; 16],
            ..page(Order::Open)
        };
        for reading in [Reading::Page(other_run), Reading::Page(other_boot), Reading::Missing] {
            assert_eq!(verdict(reading, at(1)), Verdict::Kill);
        }
    }

    #[test]
    fn a_torn_page_leaves_the_known_deadlines() {
        assert_eq!(verdict(Reading::Torn, at(999)), Verdict::Run);
        assert_eq!(verdict(Reading::Torn, at(1000)), Verdict::Stop);
        assert_eq!(verdict(Reading::Torn, at(2000)), Verdict::Kill);
    }

    #[test]
    fn deadlines_move_both_ways() {
        let mut known = page(Order::Open);
        let later = Page {
            soft: at(5000),
            hard: at(6000),
            ..page(Order::Open)
        };
        assert_eq!(
            judge(Reading::Page(later), &mut known, BOOT, RUN, at(3000)),
            Verdict::Run
        );
        assert_eq!(
            judge(Reading::Page(page(Order::Open)), &mut known, BOOT, RUN, at(3000)),
            Verdict::Kill
        );
    }

    #[test]
    fn the_wake_up_is_the_nearest_deadline_ahead() {
        assert_eq!(wake_up(&page(Order::Open), at(400)), Duration::from_millis(1000));
        assert_eq!(wake_up(&page(Order::Open), at(1000)), Duration::from_millis(2000));
        let slewed = Time {
            raw: Duration::from_millis(900),
            ..at(800)
        };
        assert_eq!(wake_up(&page(Order::Open), slewed), Duration::from_millis(900));
    }
}
