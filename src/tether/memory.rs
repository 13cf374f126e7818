//! Keeps in memory what the kill path touches, so that a kill never waits for a page from a disk.

use std::fs::{self, File};
use std::hint::black_box;
use std::os::unix::fs::FileExt;

use rustix::mm::{MlockAllFlags, mlockall};

/// Deeper than the kill path goes.
const STACK_BYTES: usize = 64 * 1024;

/// A mapping larger than this is no part of the program.
const MAPPING_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Locks all that is mapped now; false when the limit on locked memory is too small for that.
///
/// What is mapped later stays out: with it, the limit would fail allocations, and the kill path makes none. When nothing
/// can be locked every page is at least brought in: it then leaves again only when the host runs out of memory, and comes
/// back from the disk with the tether's binary, never from the protected storage.
pub(super) fn hold() -> bool {
    touch_stack();
    let locked = mlockall(MlockAllFlags::CURRENT).is_ok();
    if !locked {
        let _ = bring_in();
    }
    locked
}

/// The stack is mapped as deep as it was used.
#[inline(never)]
fn touch_stack() {
    black_box(&mut [0_u8; STACK_BYTES]);
}

/// A page that is read through `mem` is mapped afterwards.
fn bring_in() -> std::io::Result<()> {
    let memory = File::open("/proc/self/mem")?;
    let mut block = vec![0; 64 * 1024];
    for line in fs::read_to_string("/proc/self/maps")?.lines() {
        let Some((mut at, end)) = readable(line) else { continue };
        while at < end {
            let length = usize::try_from(end - at).unwrap_or(usize::MAX).min(block.len());
            // Pages of the kernel, such as the clocks', can't be read, and never leave.
            if memory.read_at(&mut block[..length], at).is_err() {
                break;
            }
            at += length as u64;
        }
    }
    Ok(())
}

/// `7f0000-7f1000 r-xp ...`: from, to.
fn readable(line: &str) -> Option<(u64, u64)> {
    let (range, rest) = line.split_once(' ')?;
    let (from, to) = range.split_once('-')?;
    let (from, to) = (u64::from_str_radix(from, 16).ok()?, u64::from_str_radix(to, 16).ok()?);
    (rest.starts_with('r') && to - from <= MAPPING_BYTES_MAX).then_some((from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings_of_the_program_are_read() {
        assert_eq!(
            readable("1000-3000 r-xp 00000000 08:01 42 /bin/x"),
            Some((0x1000, 0x3000))
        );
        assert_eq!(readable("1000-3000 ---p 00000000 00:00 0"), None);
        assert_eq!(readable("1000-ffff00001000 rw-p 00000000 00:00 0"), None);
        assert_eq!(readable(""), None);
        bring_in().unwrap();
    }
}
