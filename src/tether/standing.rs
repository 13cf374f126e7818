//! How PID 1 stands with the scheduler. Whoever may signal it may also lower it (root in the container needs no privilege
//! for that), and one that gets no processor keeps no deadline.

use std::fs::File;
use std::io;
use std::str;

use rustix::io::pread;

/// The line of a process has some fifty numbers.
const STAT_BYTES: usize = 2048;
/// The text of a process has some sixty lines.
const STATUS_BYTES: usize = 4096;

/// Ordered: what comes later runs before what comes earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    class: u8,
    realtime: u32,
    /// Nineteen less the nice value.
    share: i32,
}

/// The scheduler's view of PID 1, kept open: a later look needs neither a path nor a free descriptor, and allocates nothing.
#[derive(Debug)]
pub(super) struct Standing {
    stat: File,
    /// The best that it had.
    best: Option<Rank>,
}

impl Standing {
    pub(super) fn of_init() -> io::Result<Self> {
        let mut standing = Self {
            stat: File::open("/proc/1/stat")?,
            best: None,
        };
        standing.is_lowered();
        Ok(standing)
    }

    /// Whether PID 1 has a lower place than it once had.
    pub(super) fn is_lowered(&mut self) -> bool {
        let mut bytes = [0; STAT_BYTES];
        let length = pread(&self.stat, &mut bytes, 0).unwrap_or_default();
        // One that is gone is nobody's to judge.
        let Some(now) = bytes.get(..length).and_then(rank) else {
            return false;
        };
        let is_lowered = self.best.is_some_and(|best| now < best);
        self.best = self.best.max(Some(now));
        is_lowered
    }
}

/// Fields 19, 40 and 41 of `stat`: nice value, real-time priority, policy.
fn rank(stat: &[u8]) -> Option<Rank> {
    // The name may hold anything, but what follows it no parenthesis.
    let name_end = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = str::from_utf8(stat.get(name_end + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let nice: i32 = fields.nth(19 - 3)?.parse().ok()?;
    let realtime = fields.nth(40 - 19 - 1)?.parse().ok()?;
    let policy: u32 = fields.next()?.parse().ok()?;
    let class = match policy {
        // First in, first out; round robin; deadline.
        1 | 2 | 6 => 3,
        0 => 2,
        // Batch.
        3 => 1,
        // Idle, and what later kernels may bring.
        _ => 0,
    };
    Some(Rank {
        class,
        realtime,
        share: 19 - nice,
    })
}

/// Whether PID 1 lives: its loop never waits for longer than a tick, so it gives its processor away again and again.
#[derive(Debug)]
pub(super) struct Pulse {
    status: File,
    last: Option<u64>,
    /// Looks in a row that found nothing new.
    still: u32,
}

impl Pulse {
    pub(super) fn of_init() -> io::Result<Self> {
        Ok(Self {
            status: File::open("/proc/1/status")?,
            last: None,
            still: 0,
        })
    }

    /// Looks; how often in a row it has not moved by now.
    pub(super) fn look(&mut self) -> u32 {
        let mut bytes = [0; STATUS_BYTES];
        let length = pread(&self.status, &mut bytes, 0).unwrap_or_default();
        let now = bytes.get(..length).and_then(switches);
        self.still = if now == self.last {
            self.still.saturating_add(1)
        } else {
            0
        };
        self.last = now;
        self.still
    }
}

fn switches(status: &[u8]) -> Option<u64> {
    let mut lines = str::from_utf8(status).ok()?.lines();
    let told = lines.find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
    told.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(nice: &str, realtime: &str, policy: &str) -> Option<Rank> {
        let zeros = |count: usize| "0 ".repeat(count);
        let line = format!(
            "1 (a) b) S {}{nice} {}{realtime} {policy} {}\n",
            zeros(15),
            zeros(20),
            zeros(11)
        );
        rank(line.as_bytes())
    }

    #[test]
    fn lower_is_what_gets_less_of_a_processor() {
        let ordered = [
            stat("0", "0", "5"),
            stat("0", "0", "3"),
            stat("19", "0", "0"),
            stat("1", "0", "0"),
            stat("0", "0", "0"),
            stat("-20", "0", "0"),
            stat("0", "1", "1"),
            stat("0", "50", "2"),
        ];
        assert!(ordered.iter().all(Option::is_some));
        assert!(ordered.is_sorted_by(|a, b| a < b), "{ordered:?}");
        assert_eq!(rank(b"1 (a) S 0"), None);
        assert_eq!(rank(b""), None);
    }

    #[test]
    fn the_kernel_tells_it_of_pid_1() {
        let mut standing = Standing::of_init().unwrap();
        assert!(standing.best.is_some());
        assert!(!standing.is_lowered());
        let mut pulse = Pulse::of_init().unwrap();
        pulse.look();
        assert!(pulse.last.is_some());
    }
}
