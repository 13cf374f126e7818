//! The only file that reads clocks.

use std::io;
use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::core::time::Time;

/// Both clocks that count towards a deadline, read one after the other.
#[must_use]
pub fn now() -> Time {
    Time {
        boot: duration(clock_gettime(ClockId::Boottime)),
        raw: duration(clock_gettime(ClockId::MonotonicRaw)),
    }
}

/// Wall time in RFC 3339, for people: no decision may read it.
#[must_use]
pub fn wall() -> String {
    jiff::Timestamp::now().to_string()
}

/// Wall time in RFC 3339 after `length`, for people; none beyond the calendar.
#[must_use]
pub fn wall_after(length: Duration) -> Option<String> {
    let at = jiff::Timestamp::now().checked_add(length).ok()?;
    at.round(jiff::Unit::Second).ok().map(|at| at.to_string())
}

/// Seconds since 1970, for the dates of certificates: no decision about the lease may read it.
#[must_use]
pub fn wall_seconds() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// The random id of this boot of the kernel.
pub fn boot_id() -> io::Result<[u8; 16]> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
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
        assert!(after.boot >= before.boot && after.raw >= before.raw);
    }

    #[test]
    fn a_boot_id_is_sixteen_bytes_of_hexadecimal() {
        assert_eq!(parse_uuid("00010203-0405-0607-0809-0a0b0c0d0eff").unwrap()[15], 0xff);
        assert_eq!(parse_uuid("00010203-0405-0607-0809-0a0b0c0d0e"), None);
        assert_eq!(parse_uuid("00010203-0405-0607-0809-0a0b0c0d0eff00"), None);
        assert_eq!(boot_id().unwrap(), boot_id().unwrap());
    }
}
