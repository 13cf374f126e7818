//! A message as one datagram: a version, the cluster's name, the kind, its fields, and an HMAC-SHA256 under the cluster's secret over
//! all that comes before it. Numbers are big-endian, times are nanoseconds, and a text has its length in one byte before it.

use std::time::Duration;

use hmac::{Hmac, Mac};
use sha2::Sha256;

pub(super) use leasehold_core::promises::MESSAGE_MAX;
use leasehold_core::promises::{Ask, Message, RUNS_MAX};
use leasehold_core::protocol::kept::VoterId;
use leasehold_core::protocol::secret::Secret;

const VERSION: u8 = 1;
const MAC_LENGTH: usize = 32;

/// Why a datagram is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dropped {
    TooLong,
    Malformed,
    OtherVersion,
    OtherCluster,
    /// By nobody who knows the secret.
    Unsigned,
}

impl Dropped {
    /// In a word, for the metrics.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::Malformed => "malformed",
            Self::OtherVersion => "other_version",
            Self::OtherCluster => "other_cluster",
            Self::Unsigned => "unsigned",
        }
    }
}

/// Under what the nodes of a cluster speak to each other.
#[derive(Clone, Debug)]
pub(super) struct Seal {
    cluster: String,
    secret: Secret,
}

impl Seal {
    pub(super) fn new(cluster: &str, secret: Secret) -> Self {
        Self {
            cluster: cluster.to_owned(),
            secret,
        }
    }

    /// None: a text or the whole is longer than may be sent.
    pub(super) fn encode(&self, message: &Message) -> Option<Vec<u8>> {
        let mut out = vec![VERSION];
        put_text(&mut out, &self.cluster)?;
        put_message(&mut out, message)?;
        let mac = self.mac(&out)?.finalize().into_bytes();
        out.extend_from_slice(&mac);
        (out.len() <= MESSAGE_MAX).then_some(out)
    }

    /// Nothing of it is believed before its HMAC was compared, which takes the same time wherever it differs.
    pub(super) fn decode(&self, datagram: &[u8]) -> Result<Message, Dropped> {
        if datagram.len() > MESSAGE_MAX {
            return Err(Dropped::TooLong);
        }
        let signed = datagram.len().checked_sub(MAC_LENGTH).ok_or(Dropped::Malformed)?;
        let (signed, mac) = datagram.split_at(signed);
        let mut left = Left(signed);
        if left.byte().ok_or(Dropped::Malformed)? != VERSION {
            return Err(Dropped::OtherVersion);
        }
        if left.text().ok_or(Dropped::Malformed)? != self.cluster {
            return Err(Dropped::OtherCluster);
        }
        let wanted = self.mac(signed).ok_or(Dropped::Unsigned)?;
        wanted.verify_slice(mac).map_err(|_| Dropped::Unsigned)?;
        let message = left.message().filter(|_| left.0.is_empty());
        message.ok_or(Dropped::Malformed)
    }

    fn mac(&self, signed: &[u8]) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.secret.bytes()).ok()?;
        mac.update(signed);
        Some(mac)
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) -> Option<()> {
    out.push(u8::try_from(text.len()).ok()?);
    out.extend_from_slice(text.as_bytes());
    Some(())
}

fn put_numbers(out: &mut Vec<u8>, numbers: &[u64]) {
    numbers
        .iter()
        .for_each(|number| out.extend_from_slice(&number.to_be_bytes()));
}

fn nanos(length: Duration) -> Option<u64> {
    u64::try_from(length.as_nanos()).ok()
}

fn put_message(out: &mut Vec<u8>, message: &Message) -> Option<()> {
    match message {
        Message::Ask(ask) => {
            out.push(1);
            put_ask(out, ask)?;
        }
        Message::Yes { round, voter, length } => {
            out.push(2);
            put_numbers(out, &[*round, nanos(*length)?]);
            out.extend_from_slice(&voter.0.to_be_bytes());
        }
        Message::No { round, voter } => {
            out.push(3);
            put_numbers(out, &[*round]);
            out.extend_from_slice(&voter.0.to_be_bytes());
        }
        Message::Again {
            round,
            voter,
            challenge,
        } => {
            out.push(4);
            put_numbers(out, &[*round, *challenge]);
            out.extend_from_slice(&voter.0.to_be_bytes());
        }
        Message::Runs { incarnation, round } => {
            out.push(5);
            out.extend_from_slice(&incarnation.to_be_bytes());
            put_numbers(out, &[*round]);
        }
        Message::Running { round, left } => {
            out.push(6);
            put_numbers(out, &[*round, nanos(*left)?]);
        }
    }
    Some(())
}

fn put_ask(out: &mut Vec<u8>, ask: &Ask) -> Option<()> {
    put_text(out, &ask.node)?;
    out.extend_from_slice(&ask.incarnation.to_be_bytes());
    put_numbers(
        out,
        &[ask.generation, ask.round, ask.seq, ask.challenge, nanos(ask.length)?],
    );
    let runs = u16::try_from(ask.runs.len())
        .ok()
        .filter(|runs| usize::from(*runs) <= RUNS_MAX)?;
    out.extend_from_slice(&runs.to_be_bytes());
    for (group, epoch) in &ask.runs {
        put_text(out, group)?;
        put_numbers(out, &[*epoch]);
    }
    Some(())
}

/// What is not read yet.
struct Left<'a>(&'a [u8]);

impl<'a> Left<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn byte(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    fn number(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    fn signed(&mut self) -> Option<i64> {
        self.array().map(i64::from_be_bytes)
    }

    fn length(&mut self) -> Option<Duration> {
        self.number().map(Duration::from_nanos)
    }

    fn voter(&mut self) -> Option<VoterId> {
        self.array().map(u128::from_be_bytes).map(VoterId)
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = self.byte()?;
        std::str::from_utf8(self.take(usize::from(length))?).ok()
    }

    fn message(&mut self) -> Option<Message> {
        Some(match self.byte()? {
            1 => Message::Ask(self.ask()?),
            2 => {
                let (round, length) = (self.number()?, self.length()?);
                let voter = self.voter()?;
                Message::Yes { round, voter, length }
            }
            3 => Message::No {
                round: self.number()?,
                voter: self.voter()?,
            },
            4 => {
                let (round, challenge) = (self.number()?, self.number()?);
                let voter = self.voter()?;
                Message::Again {
                    round,
                    voter,
                    challenge,
                }
            }
            5 => Message::Runs {
                incarnation: self.signed()?,
                round: self.number()?,
            },
            6 => Message::Running {
                round: self.number()?,
                left: self.length()?,
            },
            _ => return None,
        })
    }

    fn ask(&mut self) -> Option<Ask> {
        let node = self.text()?.to_owned();
        let incarnation = self.signed()?;
        let (generation, round, seq) = (self.number()?, self.number()?, self.number()?);
        let (challenge, length) = (self.number()?, self.length()?);
        let count = self.array().map(u16::from_be_bytes).map(usize::from)?;
        let counted = Some(count).filter(|count| *count <= RUNS_MAX)?;
        let mut runs = Vec::new();
        for _ in 0..counted {
            let group = self.text()?.to_owned();
            runs.push((group, self.number()?));
        }
        Some(Ask {
            generation,
            node,
            incarnation,
            round,
            seq,
            challenge,
            length,
            runs,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use leasehold_core::promises::fits;

    const SECRET: [u8; 32] = [7; 32];

    fn seal() -> Seal {
        Seal::new("mail", Secret::new(SECRET))
    }

    fn ask(groups: usize) -> Message {
        Message::Ask(Ask {
            generation: 3,
            node: "host-a".to_owned(),
            incarnation: -5,
            round: u64::MAX,
            seq: 9,
            challenge: 11,
            length: Duration::from_millis(9_999),
            runs: (0..groups)
                .map(|at| (format!("group-{at:03}"), 7 + at as u64))
                .collect(),
        })
    }

    fn all() -> Vec<Message> {
        let (round, voter) = (1 << 63, VoterId(u128::MAX - 3));
        let length = Duration::new(86_400, 1);
        vec![
            ask(0),
            ask(2),
            Message::Yes { round, voter, length },
            Message::No { round, voter },
            Message::Again {
                round,
                voter,
                challenge: 5,
            },
            Message::Runs {
                incarnation: i64::MIN,
                round,
            },
            Message::Running { round, left: length },
        ]
    }

    #[test]
    fn each_message_is_read_as_it_was_written() {
        for message in all() {
            let datagram = seal().encode(&message).unwrap();
            assert_eq!(seal().decode(&datagram), Ok(message));
        }
    }

    #[test]
    fn forty_groups_fit_and_no_more_is_sent_than_fits() {
        let sent = |groups| seal().encode(&ask(groups));
        assert!(sent(40).is_some_and(|datagram| datagram.len() <= MESSAGE_MAX));
        assert!(sent(80).is_none() && sent(RUNS_MAX + 1).is_none());
        let Message::Ask(mut long) = ask(0) else { unreachable!() };
        long.node = "n".repeat(256);
        assert!(seal().encode(&Message::Ask(long)).is_none());
        assert_eq!(seal().decode(&[1; MESSAGE_MAX + 1]), Err(Dropped::TooLong));
    }

    /// The core asks nobody where a question would not fit, and counts its bytes for that.
    #[test]
    fn what_the_core_takes_for_a_question_that_fits_is_one() {
        let name = |length| "n".repeat(length);
        let cases = [
            (1, 1, 1),
            (60, 4, 6),
            (10, 255, 200),
            (3, 200, 255),
            (3, 255, 255),
            (3, 255, 256),
        ];
        let mut seen = Vec::new();
        for (groups, group, node) in cases
            .into_iter()
            .chain((1..130).map(|groups| (groups, 1 + groups % 9, 7)))
        {
            let (node, group) = (name(node), name(group));
            let runs = vec![(group.clone(), 1); groups];
            let Message::Ask(ask) = ask(0) else { unreachable!() };
            let message = Message::Ask(Ask {
                node: node.clone(),
                runs,
                ..ask
            });
            let fits = fits("mail", &node, std::iter::repeat_n(group.as_str(), groups));
            assert_eq!(
                seal().encode(&message).is_some(),
                fits,
                "{groups} groups, {group:?}, {node:?}"
            );
            seen.push(fits);
        }
        assert!(seen.contains(&true) && seen.contains(&false));
    }

    #[test]
    fn another_secret_another_cluster_and_any_changed_bit_are_dropped() {
        let datagram = seal().encode(&ask(2)).unwrap();
        let other = Seal::new("mail", Secret::new([8; 32]));
        assert_eq!(other.decode(&datagram), Err(Dropped::Unsigned));
        let elsewhere = Seal::new("mail2", Secret::new(SECRET));
        assert_eq!(elsewhere.decode(&datagram), Err(Dropped::OtherCluster));
        for bit in 0..datagram.len() * 8 {
            let mut changed = datagram.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(seal().decode(&changed).is_err(), "bit {bit}");
        }
    }

    /// Nobody without the secret gets so far; a node of a later version may.
    #[test]
    fn what_is_signed_but_malformed_is_dropped() {
        let signed = |body: &[u8]| {
            let mut out = vec![VERSION, 4];
            out.extend_from_slice(b"mail");
            out.extend_from_slice(body);
            let mac = seal().mac(&out).unwrap().finalize().into_bytes();
            out.extend_from_slice(&mac);
            seal().decode(&out)
        };
        for body in [&b""[..], &[3], &[9, 0, 0], &[6; 18], &[1, 255, 0], &[1, 1, 0xff]] {
            assert_eq!(signed(body), Err(Dropped::Malformed), "{body:?}");
        }
        let mut many = vec![1, 0];
        many.extend_from_slice(&[0; 48]);
        many.extend_from_slice(&[0x01, 0x01]);
        many.extend_from_slice(&[0; 9 * 120]);
        assert_eq!(signed(&many), Err(Dropped::Malformed), "more runs than there may be");
        let later = [&[2][..], &[0; 60]].concat();
        assert_eq!(seal().decode(&later), Err(Dropped::OtherVersion));
    }

    #[test]
    fn any_bytes_are_dropped_and_nothing_ends() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut draw = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        for _ in 0..20_000 {
            let length = usize::try_from(draw() % 1300).unwrap();
            let mut bytes: Vec<u8> = (0..length).map(|_| draw().to_be_bytes()[0]).collect();
            if let [first, ..] = bytes.as_mut_slice() {
                *first = VERSION;
            }
            assert!(seal().decode(&bytes).is_err());
        }
        // And whatever is signed is read without an end of the process.
        for _ in 0..20_000 {
            let length = usize::try_from(draw() % 200).unwrap();
            let bytes: Vec<u8> = (0..length).map(|_| draw().to_be_bytes()[0] & 7).collect();
            let _ = Left(&bytes).message();
        }
    }
}
