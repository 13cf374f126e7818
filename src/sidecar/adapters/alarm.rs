//! The loop's alarm clock: an absolute time on `CLOCK_BOOTTIME`, so that a suspended host wakes to its deadline at once.
//! Timers of the runtime stand still in suspend.

use std::io;
use std::os::fd::OwnedFd;

use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use tokio::io::unix::AsyncFd;

use super::descriptor::readable;
use leasehold_base::clock;
use leasehold_base::time::Time;

/// One timer.
#[derive(Debug)]
pub struct Alarm {
    timer: AsyncFd<OwnedFd>,
}

impl Alarm {
    /// # Errors
    /// The kernel's refusal to make a timer.
    pub fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = rustix::time::timerfd_create(TimerfdClockId::Boottime, flags)?;
        Ok(Self {
            timer: readable(timer)?,
        })
    }

    /// Waits until either clock reaches `deadline`; for ever without one.
    ///
    /// # Errors
    /// The kernel's refusal to set or read the timer.
    pub async fn until(&self, deadline: Option<Time>) -> io::Result<()> {
        let Some(deadline) = deadline else {
            return std::future::pending().await;
        };
        let now = clock::now();
        // A raw clock that runs ahead of the boot clock brings the deadline forward.
        let at = now.boot + now.until(deadline).max(std::time::Duration::from_nanos(1));
        let value = Timespec {
            tv_sec: i64::try_from(at.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(at.subsec_nanos()),
        };
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let spec = Itimerspec {
            it_interval: zero,
            it_value: value,
        };
        rustix::time::timerfd_settime(self.timer.get_ref(), TimerfdTimerFlags::ABSTIME, &spec)?;
        loop {
            let mut guard = self.timer.readable().await?;
            let mut count = [0; 8];
            match rustix::io::read(self.timer.get_ref(), &mut count) {
                Ok(_) => return Ok(()),
                Err(rustix::io::Errno::AGAIN) => guard.clear_ready(),
                Err(error) => return Err(error.into()),
            }
        }
    }
}
