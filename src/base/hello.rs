//! What a tether says to the sidecar when it connects, and the sidecar's one byte back.
//!
//! One `SOCK_SEQPACKET` message each way, so none is ever read in halves. The hello carries the pidfd of the tether, and a
//! secret that only it can know: the sidecar lays it out before the start and takes it away before it says go, so the
//! service, which is then started, never sees it. Without that the service could send the pidfd of a process of its own,
//! let that end, and so feign the proof of stop; from its own PID namespace the sidecar can't tell which PID it has.

use std::time::Duration;

use crate::epoch::Run;

/// Bytes of an encoded hello.
pub const HELLO_BYTES: usize = 48;

/// Random, and new for every run.
pub type Secret = [u8; 16];

/// The answer that lets the service start.
pub const GO: u8 = b'g';

/// The answer that does not.
pub const NO: u8 = b'n';

/// Where a tether stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing was started; it waits for [`GO`].
    Gate,
    /// The service runs; the sidecar was restarted or the socket was lost.
    Running,
    /// Nothing was started: the storage carries a claim of this later epoch. It leaves.
    Claimed { epoch: u64 },
}

/// The message, less its pidfd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    pub run: Run,
    pub phase: Phase,
    pub secret: Secret,
}

const MAGIC: &[u8; 8] = b"lhello02";

/// Bytes of an encoded [`Woke`].
pub const WOKE_BYTES: usize = 16;

const WOKE_MAGIC: &[u8; 8] = b"lhwoke01";

/// What a running tether tells behind its hello, now and then: by how much it woke up too late at the worst, since it told that last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Woke(pub Duration);

impl Woke {
    /// Magic and version, microseconds; little endian.
    #[must_use]
    pub fn encode(self) -> [u8; WOKE_BYTES] {
        let micros = u64::try_from(self.0.as_micros()).unwrap_or(u64::MAX);
        let mut bytes = [0; WOKE_BYTES];
        bytes[..8].copy_from_slice(WOKE_MAGIC);
        bytes[8..].copy_from_slice(&micros.to_le_bytes());
        bytes
    }

    /// `None` when it is something else.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; WOKE_BYTES] = bytes.try_into().ok()?;
        let micros = bytes.strip_prefix(WOKE_MAGIC)?.try_into().ok()?;
        Some(Self(Duration::from_micros(u64::from_le_bytes(micros))))
    }
}

impl Hello {
    /// Magic and version, epoch, run, phase, the claim's epoch, secret; little endian.
    #[must_use]
    pub fn encode(&self) -> [u8; HELLO_BYTES] {
        let (phase, claim): (u32, u64) = match self.phase {
            Phase::Gate => (0, 0),
            Phase::Running => (1, 0),
            Phase::Claimed { epoch } => (2, epoch),
        };
        let mut bytes = [0; HELLO_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..16].copy_from_slice(&self.run.epoch.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.run.n.to_le_bytes());
        bytes[20..24].copy_from_slice(&phase.to_le_bytes());
        bytes[24..32].copy_from_slice(&claim.to_le_bytes());
        bytes[32..].copy_from_slice(&self.secret);
        bytes
    }

    /// `None` when it is another version, or no hello at all.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; HELLO_BYTES] = bytes.try_into().ok()?;
        let phase = match u32::from_le_bytes(bytes[20..24].try_into().ok()?) {
            0 => Phase::Gate,
            1 => Phase::Running,
            2 => Phase::Claimed {
                epoch: u64::from_le_bytes(bytes[24..32].try_into().ok()?),
            },
            _ => return None,
        };
        let run = Run {
            epoch: u64::from_le_bytes(bytes[8..16].try_into().ok()?),
            n: u32::from_le_bytes(bytes[16..20].try_into().ok()?),
        };
        let secret = bytes[32..].try_into().ok()?;
        bytes.starts_with(MAGIC).then_some(Self { run, phase, secret })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_late_it_woke_is_understood() {
        for late in [
            Duration::ZERO,
            Duration::from_millis(83),
            Duration::from_micros(u64::MAX),
        ] {
            assert_eq!(Woke::decode(&Woke(late).encode()), Some(Woke(late)));
        }
        assert_eq!(Woke::decode(&[0; WOKE_BYTES]), None);
        assert_eq!(Woke::decode(b"lhwoke01"), None);
    }

    #[test]
    fn what_is_said_is_understood() {
        for phase in [Phase::Gate, Phase::Running, Phase::Claimed { epoch: 1 << 41 }] {
            let hello = Hello {
                run: Run { epoch: 1 << 40, n: 7 },
                phase,
                secret: [3; 16],
            };
            assert_eq!(Hello::decode(&hello.encode()), Some(hello));
            let mut other = hello.encode();
            other[0] ^= 1;
            assert_eq!(Hello::decode(&other), None);
        }
        assert_eq!(Hello::decode(&[0; HELLO_BYTES]), None);
        assert_eq!(Hello::decode(b"lhello02"), None);
    }
}
