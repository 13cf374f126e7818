//! The only file that reads clocks.

use std::fs::{File, metadata};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::time::Time;

/// A reading of the time in suspend may be off by this much.
const BRACKET_MAX: Duration = Duration::from_micros(20);
/// Tries at such a reading; a busy machine may be interrupted in each.
const BRACKET_TRIES: usize = 8;

/// The kernel writes two short lines there; what is longer is not they.
const OFFSETS_BYTES_MAX: u64 = 512;

/// Inode of the first time namespace of every Linux kernel (`PROC_TIME_INIT_INO`).
const HOST_TIME_NAMESPACE: u64 = 4_026_531_834;

/// What tells of the time namespace of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
struct TimeNamespace {
    /// The one that it is in, and the one that its children will be in; `None` on a kernel without any.
    own: Option<u64>,
    childrens: Option<u64>,
    /// What the kernel shows as the offsets of the latter.
    offsets: Result<String, ErrorKind>,
}

/// Deadlines are times of the host's clocks, and a time namespace may shift them: then they can't be kept here. Engines
/// give every container a namespace of its own, so its offsets are what counts.
///
/// # Errors
/// What is wrong, in a sentence.
pub fn unshifted() -> Result<(), String> {
    let inode = |name: &str| metadata(format!("/proc/self/ns/{name}")).ok().map(|of| of.ino());
    let offsets = File::open("/proc/self/timens_offsets").and_then(|file| {
        let mut text = String::new();
        file.take(OFFSETS_BYTES_MAX).read_to_string(&mut text)?;
        Ok(text)
    });
    judge(&TimeNamespace {
        own: inode("time"),
        childrens: inode("time_for_children"),
        offsets: offsets.map_err(|error| error.kind()),
    })
}

fn judge(namespace: &TimeNamespace) -> Result<(), String> {
    let TimeNamespace {
        own,
        childrens,
        offsets,
    } = namespace;
    let text = match offsets {
        Ok(text) => text,
        // A kernel without time namespaces has neither file.
        Err(ErrorKind::NotFound) if own.is_none() && childrens.is_none() => return Ok(()),
        Err(kind) => {
            return Err(format!(
                "/proc/self/timens_offsets can't be read ({kind}), so a time namespace may shift the clocks here"
            ));
        }
    };
    // Below Linux 6.0 a process stays in its namespace when its children are to be in another one.
    if own != childrens && *own != Some(HOST_TIME_NAMESPACE) {
        return Err("this process and its children are in different time namespaces".to_owned());
    }
    let mut offsets = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let name = words.next().unwrap_or_default();
        let numbers: Vec<Option<i64>> = words.map(|word| word.parse().ok()).collect();
        match numbers[..] {
            [Some(0), Some(0)] => {}
            [Some(_), Some(_)] => return Err(format!("a time namespace shifts the clocks of this container ({line})")),
            _ => return Err(format!("/proc/self/timens_offsets is not understood: {line:?}")),
        }
        offsets.push(name);
    }
    let missing = ["monotonic", "boottime"]
        .into_iter()
        .find(|name| !offsets.contains(name));
    match missing {
        Some(name) => Err(format!("/proc/self/timens_offsets does not tell the offset of {name}")),
        None => Ok(()),
    }
}

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

/// Wall time in RFC 3339, in whole seconds, for people: no decision may read it.
#[must_use]
pub fn wall() -> String {
    let now = jiff::Timestamp::now();
    // It fails only at the ends of the calendar.
    jiff::Timestamp::from_second(now.as_second()).unwrap_or(now).to_string()
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
    parse_uuid(text.trim()).ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "boot_id is not a UUID"))
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
    fn a_time_namespace_is_judged_by_its_offsets() {
        let of = |own, childrens, offsets: Result<&str, ErrorKind>| {
            let offsets = offsets.map(str::to_owned);
            judge(&TimeNamespace {
                own,
                childrens,
                offsets,
            })
        };
        let none = Ok("monotonic           0         0\nboottime            0         0\n");
        let (host, other, third) = (Some(HOST_TIME_NAMESPACE), Some(4_026_532_500), Some(4_026_532_501));
        for (own, childrens) in [(host, host), (other, other), (host, other)] {
            assert_eq!(of(own, childrens, none), Ok(()), "{own:?} {childrens:?}");
        }
        assert_eq!(
            of(None, None, Err(ErrorKind::NotFound)),
            Ok(()),
            "a kernel without them"
        );
        for (own, childrens, offsets, word) in [
            (other, third, none, "different"),
            (other, host, none, "different"),
            (other, other, Err(ErrorKind::NotFound), "can't be read"),
            (other, other, Err(ErrorKind::PermissionDenied), "can't be read"),
            (other, other, Ok("monotonic 0 0\nboottime 100 0\n"), "boottime 100"),
            (other, other, Ok("monotonic 0 -1\nboottime 0 0\n"), "monotonic 0 -1"),
            (host, other, Ok("monotonic 0 0\nboottime 0 1\n"), "boottime 0 1"),
            (other, other, Ok(""), "monotonic"),
            (other, other, Ok("monotonic 0 0\n"), "boottime"),
            (other, other, Ok("monotonic 0\nboottime 0 0\n"), "not understood"),
            (other, other, Ok("monotonic a b\nboottime 0 0\n"), "not understood"),
        ] {
            let said = of(own, childrens, offsets).unwrap_err();
            assert!(said.contains(word), "{said}");
        }
        assert_eq!(unshifted(), Ok(()));
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
