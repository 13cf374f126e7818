//! Who is logged in at the console of this node. A session stands for a token as long as the file of tokens has that; it is kept
//! in memory alone, so it ends with the sidecar, too.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::adapters::http::access::{TokenDigest, digest};
use leasehold_base::clock;
use leasehold_base::time::Time;

/// A working day.
pub(super) const LIFE: Duration = Duration::from_secs(8 * 3600);
/// Of one token; another one ends the oldest.
const EACH_MAX: usize = 16;
/// Of all.
const ALL_MAX: usize = 256;

/// The digest of a session's id: what is kept in its place, so that looking it up tells nothing of an id.
type SessionDigest = [u8; 32];

#[derive(Clone, Debug)]
struct Session {
    token: TokenDigest,
    until: Time,
}

/// All sessions of this node.
#[derive(Clone, Debug)]
pub(super) struct Sessions {
    /// Seals what a form carries; none where the kernel had no randomness.
    key: Option<[u8; 32]>,
    kept: Arc<Mutex<BTreeMap<SessionDigest, Session>>>,
}

/// Why no session begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoSession {
    /// There are as many as may be.
    Full,
    /// The kernel has no randomness.
    NoRandomness,
}

impl Sessions {
    pub(super) fn new() -> Self {
        let (key, kept) = (random(), Arc::default());
        Self { key, kept }
    }

    /// Begins a session of this token, and gives its id.
    ///
    /// # Errors
    /// [`NoSession`].
    pub(super) fn begin(&self, token: TokenDigest) -> Result<String, NoSession> {
        self.begin_at(token, clock::now())
    }

    fn begin_at(&self, token: TokenDigest, now: Time) -> Result<String, NoSession> {
        let id = random().filter(|_| self.key.is_some());
        let id = hex(&id.ok_or(NoSession::NoRandomness)?);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, session| !now.reached(session.until));
        let of_token = kept.iter().filter(|(_, session)| session.token == token);
        let of_token: Vec<(Duration, SessionDigest)> =
            of_token.map(|(id, session)| (now.until(session.until), *id)).collect();
        if of_token.len() >= EACH_MAX
            && let Some((_, oldest)) = of_token.iter().min()
        {
            kept.remove(oldest);
        }
        if kept.len() >= ALL_MAX {
            return Err(NoSession::Full);
        }
        let until = now.plus(LIFE);
        kept.insert(digest(&id), Session { token, until });
        Ok(id)
    }

    /// The token that a session stands for; none where it has ended.
    pub(super) fn token(&self, id: &str) -> Option<TokenDigest> {
        self.token_at(id, clock::now())
    }

    fn token_at(&self, id: &str, now: Time) -> Option<TokenDigest> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let session = kept.get(&digest(id))?;
        (!now.reached(session.until)).then_some(session.token)
    }

    pub(super) fn end(&self, id: &str) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.remove(&digest(id));
    }

    /// What every form of this visitor carries, and no page of another site can read. `of`: the session's id, or the name in a
    /// certificate.
    pub(super) fn seal(&self, kind: &str, of: &str) -> Option<String> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key?).ok()?;
        mac.update(kind.as_bytes());
        mac.update(b"\0");
        mac.update(of.as_bytes());
        Some(hex(&mac.finalize().into_bytes()))
    }
}

/// Whether two secrets are the same; how long it takes tells nothing of them.
pub(super) fn is_same(one: &str, other: &str) -> bool {
    digest(one) == digest(other)
}

fn random() -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).ok()?;
    Some(bytes)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            for half in [byte >> 4, byte & 15] {
                text.push(char::from_digit(u32::from(half), 16).unwrap_or('0'));
            }
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_ends_by_itself_and_when_it_is_ended() {
        let (sessions, start) = (Sessions::new(), clock::now());
        let id = sessions.begin_at([1; 32], start).unwrap();
        assert_eq!(id.len(), 64);
        assert_eq!(sessions.token_at(&id, start.plus(LIFE.mul_f64(0.99))), Some([1; 32]));
        assert_eq!(sessions.token_at(&id, start.plus(LIFE)), None);
        assert_eq!(sessions.token_at("", start), None);
        sessions.end(&id);
        assert_eq!(sessions.token_at(&id, start), None);
    }

    #[test]
    fn one_token_has_so_many_sessions_and_takes_nobody_elses() {
        let (sessions, start) = (Sessions::new(), clock::now());
        let other = sessions.begin_at([2; 32], start).unwrap();
        let seconds = |count: usize| start.plus(Duration::from_secs(count as u64));
        let ids: Vec<String> = (0..=EACH_MAX)
            .map(|count| sessions.begin_at([1; 32], seconds(count)).unwrap())
            .collect();
        let now = seconds(EACH_MAX);
        let alive = ids.iter().filter(|id| sessions.token_at(id, now).is_some()).count();
        assert_eq!((alive, sessions.token_at(&ids[0], now)), (EACH_MAX, None));
        assert!(sessions.token_at(&other, now).is_some());
        // Of all tokens together no more than this, until one ends.
        let begun = (3..=255)
            .filter(|token| sessions.begin_at([*token; 32], now).is_ok())
            .count();
        assert_eq!(begun, ALL_MAX - EACH_MAX - 1);
        assert_eq!(sessions.begin_at([255; 32], now), Err(NoSession::Full));
        assert!(sessions.begin_at([255; 32], now.plus(LIFE)).is_ok());
    }

    #[test]
    fn a_seal_is_of_one_visitor_and_one_sidecar() {
        let sessions = Sessions::new();
        let seal = sessions.seal("session", "a").unwrap();
        assert_eq!(sessions.seal("session", "a"), Some(seal.clone()));
        for other in [
            sessions.seal("session", "b"),
            sessions.seal("certificate", "a"),
            Sessions::new().seal("session", "a"),
        ] {
            assert_ne!(other.as_ref(), Some(&seal));
        }
        assert!(is_same(&seal, &seal) && !is_same(&seal, ""));
    }
}
