//! What a tether says to the sidecar when it connects, and the sidecar's one byte back.
//!
//! One `SOCK_SEQPACKET` message each way, so none is ever read in halves. The hello carries the pidfd of the tether.

use crate::core::epoch::Run;

/// Bytes of an encoded hello.
pub const HELLO_BYTES: usize = 32;

/// Bytes of one without the claim's epoch, as tethers of an earlier version send it.
const SHORT_BYTES: usize = 24;

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
}

const MAGIC: &[u8; 8] = b"lhello01";

impl Hello {
    /// Magic and version, epoch, run, phase, the claim's epoch; little endian.
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
        bytes[24..].copy_from_slice(&claim.to_le_bytes());
        bytes
    }

    /// `None` when it is another version, or no hello at all.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut whole = [0; HELLO_BYTES];
        match bytes.len() {
            HELLO_BYTES | SHORT_BYTES => whole[..bytes.len()].copy_from_slice(bytes),
            _ => return None,
        }
        let bytes = whole;
        let phase = match u32::from_le_bytes(bytes[20..24].try_into().ok()?) {
            0 => Phase::Gate,
            1 => Phase::Running,
            2 => Phase::Claimed {
                epoch: u64::from_le_bytes(bytes[24..].try_into().ok()?),
            },
            _ => return None,
        };
        let run = Run {
            epoch: u64::from_le_bytes(bytes[8..16].try_into().ok()?),
            n: u32::from_le_bytes(bytes[16..20].try_into().ok()?),
        };
        bytes.starts_with(MAGIC).then_some(Self { run, phase })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_understood() {
        for phase in [Phase::Gate, Phase::Running, Phase::Claimed { epoch: 1 << 41 }] {
            let hello = Hello {
                run: Run { epoch: 1 << 40, n: 7 },
                phase,
            };
            assert_eq!(Hello::decode(&hello.encode()), Some(hello));
        }
        let earlier = Hello {
            run: Run { epoch: 3, n: 1 },
            phase: Phase::Running,
        };
        assert_eq!(Hello::decode(&earlier.encode()[..SHORT_BYTES]), Some(earlier));
        assert_eq!(Hello::decode(&[0; HELLO_BYTES]), None);
        assert_eq!(Hello::decode(b"lhello01"), None);
    }
}
