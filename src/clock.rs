//! The only file that reads clocks.

use std::io;
use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::core::time::Time;

/// A reading of the time in suspend may be off by this much.
const BRACKET_MAX: Duration = Duration::from_micros(20);
/// Tries at such a reading; a busy machine may be interrupted in each.
const BRACKET_TRIES: usize = 8;

/// Both clocks that count towards a deadline, read one after the other.
#[must_use]
pub fn now() -> Time {
    let (boot, slept) = boot_and_slept();
    Time {
        boot,
        raw: duration(clock_gettime(ClockId::MonotonicRaw)) + slept,
        slept,
    }
}

/// The boot clock, and by how much it is ahead of the monotonic clock: the time in suspend. The monotonic clock is read
/// before and after, so that an interruption between the two readings is seen, and the shortest bracket counts.
fn boot_and_slept() -> (Duration, Duration) {
    let mut best: Option<(Duration, Duration, Duration)> = None;
    for _ in 0..BRACKET_TRIES {
        let before = duration(clock_gettime(ClockId::Monotonic));
        let boot = duration(clock_gettime(ClockId::Boottime));
        let after = duration(clock_gettime(ClockId::Monotonic));
        let width = after.saturating_sub(before);
        if best.is_none_or(|(least, ..)| width < least) {
            best = Some((width, boot, boot.saturating_sub(after)));
        }
        if width <= BRACKET_MAX {
            break;
        }
    }
    best.map_or_else(Default::default, |(_, boot, slept)| (boot, slept))
}

/// Wall time in RFC 3339, for people: no decision may read it.
#[must_use]
pub fn wall() -> String {
    jiff::Timestamp::now().to_string()
}

/// Wall time as it stands in the head of a message (RFC 5322); empty beyond the calendar.
#[must_use]
pub fn wall_in_mail() -> String {
    let printer = jiff::fmt::rfc2822::DateTimePrinter::new();
    printer.timestamp_to_string(&jiff::Timestamp::now()).unwrap_or_default()
}

/// Wall time in RFC 3339 after `length`, for people; none beyond the calendar.
#[must_use]
pub fn wall_after(length: Duration) -> Option<String> {
    let at = jiff::Timestamp::now().checked_add(length).ok()?;
    at.round(jiff::Unit::Second).ok().map(|at| at.to_string())
}

/// Milliseconds since 1970, for the order of what people read.
#[must_use]
pub fn wall_millis() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or(0)
}

/// Seconds since 1970, for the dates of certificates: no decision about the lease may read it.
#[must_use]
pub fn wall_seconds() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// The random id of this boot of the kernel, as the kernel writes it.
pub fn boot_id_text() -> io::Result<String> {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|text| text.trim().to_owned())
}

/// The same as bytes.
pub fn boot_id() -> io::Result<[u8; 16]> {
    let text = boot_id_text()?;
    parse_uuid(text.trim()).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "boot_id is not a UUID"))
}

fn duration(time: Timespec) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(seconds, nanoseconds)
}

fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let mut id = [0; 16];
    let mut digits = text.bytes().filter(|byte| *byte != b'-');
    for byte in &mut id {
        *byte = hex(digits.next()?)? << 4 | hex(digits.next()?)?;
    }
    digits.next().is_none().then_some(id)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_clocks_run() {
        let before = now();
        let after = now();
        assert!(before.boot > Duration::ZERO && before.raw > Duration::ZERO);
        assert!(after.boot >= before.boot && after.awake() >= before.awake());
    }

    #[test]
    fn the_time_in_suspend_reads_the_same_again_and_again() {
        let first = now().slept;
        for _ in 0..1000 {
            assert!(now().slept.abs_diff(first) < Duration::from_millis(1));
        }
    }

    #[test]
    fn a_boot_id_is_sixteen_bytes_of_hexadecimal() {
        assert_eq!(parse_uuid("00010203-0405-0607-0809-0a0b0c0d0eff").unwrap()[15], 0xff);
        assert_eq!(parse_uuid("00010203-0405-0607-0809-0a0b0c0d0e"), None);
        assert_eq!(parse_uuid("00010203-0405-0607-0809-0a0b0c0d0eff00"), None);
        assert_eq!(boot_id().unwrap(), boot_id().unwrap());
    }
}
