//! What the last day was like for a ttl: etcd's answers, the disks of its members, and the pauses of this host. For advice alone.
//!
//! It outlives the sidecar in a small file. Nobody waits for that, and no rule reads it.

mod day;
mod disks;
mod keep;

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use day::read;
pub use disks::DiskCounts;

use day::Day;
use disks::Disks;
use leasehold_base::clock;
use leasehold_base::time::Time;
use leasehold_core::advice::{self, Measured, Verdict};
use leasehold_core::protocol::sizing::Timing;
use leasehold_core::snapshot::status::MeasuredLine;

/// A shorter time without an answer is an answer that took its time.
const STALL_MIN: Duration = Duration::from_millis(100);
/// A shorter one stops nobody, and a busy host has many.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// The longest that lies between two beats.
const BEAT_MAX: Duration = Duration::from_secs(1);
/// A judgement is good for so long.
const FRESH: Duration = Duration::from_secs(60);

/// Clones measure together.
#[derive(Clone, Debug, Default)]
pub struct Measure {
    state: Arc<Mutex<State>>,
    /// Held while the file is written.
    writing: Arc<Mutex<()>>,
}

#[derive(Debug, Default)]
struct State {
    day: Day,
    disks: Disks,
    /// The stamp of the first request since the last good answer.
    asked: Option<Time>,
    answered: Option<Time>,
    stall: Option<Stall>,
    pause: Option<Span>,
    judged: Option<Judged>,
}

/// By the clock since boot.
#[derive(Clone, Copy, Debug)]
struct Span {
    from: Duration,
    to: Duration,
}

impl Span {
    fn meets(self, other: Self) -> bool {
        self.from <= other.to && other.from <= self.to
    }

    fn length(self) -> Duration {
        self.to.saturating_sub(self.from)
    }
}

/// The last time without an answer, as it was counted.
#[derive(Clone, Copy, Debug)]
struct Stall {
    span: Span,
    counted: Duration,
    part: u64,
}

#[derive(Clone, Debug)]
struct Judged {
    at: Time,
    ttl: Duration,
    promises: bool,
    line: Option<MeasuredLine>,
}

impl Measure {
    /// Takes up what an earlier sidecar has measured, and measures this host's pauses from here on.
    pub fn keep(&self, state_dir: &Path) {
        keep::start(self.clone(), state_dir);
    }

    /// The last minute, too, is there for the next sidecar.
    pub fn save(&self, state_dir: &Path) {
        if let Err(error) = self.write(state_dir) {
            keep::tell(&error);
        }
    }

    /// A request goes out.
    pub(crate) fn sent(&self, now: Time) {
        self.lock().asked.get_or_insert(now);
    }

    /// A request of this stamp was answered, or was not in its time. `wall`: seconds since 1970.
    pub(crate) fn answered(&self, now: Time, stamp: Time, is_good: bool, wall: u64) {
        self.lock().note_answer(now, stamp, is_good, wall);
    }

    /// Whoever measures pauses slept from `before` on, and wanted to for `tick`.
    fn woke(&self, before: Time, now: Time, tick: Duration, wall: u64) {
        self.lock().note_wakeup(before, now, tick, wall);
    }

    /// What a member of etcd shows of its disk; none: nothing.
    pub(crate) fn disk(&self, endpoint: &str, counts: Option<&DiskCounts>, wall: u64) {
        let mut state = self.lock();
        let State { day, disks, .. } = &mut *state;
        disks.note(day.part(wall), endpoint, counts);
    }

    /// What is said of the ttl of now; none before anything was measured for long enough.
    #[must_use]
    pub fn line(&self, now: Time, timing: &Timing, promises: bool) -> Option<MeasuredLine> {
        let mut state = self.lock();
        let is_good =
            |judged: &&Judged| judged.ttl == timing.ttl && judged.promises == promises && now.since(judged.at) < FRESH;
        if let Some(judged) = state.judged.as_ref().filter(is_good) {
            return judged.line.clone();
        }
        let line = line(&state.day.sum(), timing, promises);
        state.judged = Some(Judged {
            at: now,
            ttl: timing.ttl,
            promises,
            line: line.clone(),
        });
        line
    }

    fn write(&self, state_dir: &Path) -> io::Result<()> {
        let _alone = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let day = self.lock().day.clone();
        day::save(state_dir, &day)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Seconds since 1970.
#[must_use]
pub fn wall() -> u64 {
    u64::try_from(clock::wall_seconds()).unwrap_or(0)
}

fn line(measured: &Measured, timing: &Timing, promises: bool) -> Option<MeasuredLine> {
    if measured.time < advice::LEAST || measured.answers.count() == 0 {
        return None;
    }
    let judged = advice::judge(measured, timing, promises);
    let stops_a_day = match judged.of_now() {
        Some(Verdict::Stops(a_day)) => *a_day,
        Some(Verdict::Refused(_) | Verdict::Slow { .. } | Verdict::Carried) | None => 0.0,
    };
    Some(MeasuredLine {
        for_s: measured.time.as_secs(),
        stops_a_day,
        would_carry_ms: judged
            .smallest()
            .map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)),
    })
}

impl State {
    fn note_answer(&mut self, now: Time, stamp: Time, is_good: bool, wall: u64) {
        let part = self.day.part(wall);
        if !is_good {
            part.failed = part.failed.saturating_add(1);
            return;
        }
        part.answers.add(now.since(stamp));
        let (part, from) = (part.number, self.asked.take().unwrap_or(stamp));
        let before = self.answered.replace(now);
        let span = Span {
            from: from.boot,
            to: now.boot,
        };
        // What a pause of this host explains is no silence of etcd.
        let explained = |pause: Span| pause.meets(span) && pause.length() * 2 >= span.length();
        if now.since(from) < STALL_MIN || self.pause.is_some_and(explained) {
            return;
        }
        // It began at some time after the answer before, and was noticed with this request.
        let unseen = before.map_or(Duration::ZERO, |before| from.since(before)).min(BEAT_MAX) / 2;
        let counted = now.since(from) + unseen;
        self.day.part(wall).stalls.add(counted);
        self.stall = Some(Stall { span, counted, part });
    }

    fn note_wakeup(&mut self, before: Time, now: Time, tick: Duration, wall: u64) {
        let part = self.day.part(wall);
        let elapsed = now.since(before);
        part.add_time(elapsed);
        let late = elapsed.saturating_sub(tick);
        if late < PAUSE_MIN {
            return;
        }
        part.pauses.add(late);
        let pause = Span {
            from: now.boot.saturating_sub(late),
            to: now.boot,
        };
        self.pause = Some(pause);
        // The loop may have been the first to wake.
        let explained = |stall: &mut Stall| pause.meets(stall.span) && pause.length() * 2 >= stall.span.length();
        if let Some(stall) = self.stall.take_if(explained) {
            self.day.take_back(stall.part, stall.counted);
        }
    }
}

#[cfg(test)]
mod tests;
