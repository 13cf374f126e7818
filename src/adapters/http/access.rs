//! Who may do what over the network: roles, and the file that gives them.
//!
//! A line gives one token: `ROLE NAME TOKEN`, such as `operator alice 8Vq...`. The file is read with every request that
//! needs it, so a token that is taken out is refused at once. On the local socket everybody is an admin: who may open it
//! is root already.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// More than this is no file of tokens.
const FILE_MAX: u64 = 64 * 1024;
/// Shorter tokens can be guessed.
const TOKEN_MIN: usize = 16;

/// What a caller may do; each role may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Read everything.
    Viewer,
    /// Move, stop and start groups; pause them; drain nodes.
    Operator,
    /// What can cost safety if it is done wrongly, or is done for good: hold, accept, fenced, the removal of a node.
    Admin,
}

impl Role {
    fn read(word: &str) -> Option<Self> {
        match word {
            "viewer" => Some(Self::Viewer),
            "operator" => Some(Self::Operator),
            "admin" => Some(Self::Admin),
            _ => None,
        }
    }

    /// As it is written in the file.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub name: String,
    pub role: Role,
}

/// Why somebody is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denied {
    /// Nobody is let in over the network: there is no file.
    Closed,
    /// The token is missing or unknown.
    Unknown,
    /// The file cannot be used; the reason goes to the log, not to the caller.
    Broken(String),
}

/// The file of tokens, if there is one.
#[derive(Clone, Debug, Default)]
pub struct Access {
    file: Option<PathBuf>,
}

impl Access {
    #[must_use]
    pub fn new(file: Option<PathBuf>) -> Self {
        Self { file }
    }

    /// Reads the file once, so that a fault shows at the start.
    ///
    /// # Errors
    /// The file and line that can't be used, with the remedy.
    pub fn check(&self) -> io::Result<()> {
        match &self.file {
            None => Ok(()),
            Some(path) => read(path)
                .map(drop)
                .map_err(|why| io::Error::new(io::ErrorKind::InvalidInput, why)),
        }
    }

    /// Who it is that brings this token.
    ///
    /// # Errors
    /// [`Denied`].
    pub fn caller(&self, token: Option<&str>) -> Result<Caller, Denied> {
        let path = self.file.as_ref().ok_or(Denied::Closed)?;
        let known = read(path).map_err(Denied::Broken)?;
        let token = token.ok_or(Denied::Unknown)?;
        // Digests are compared, so the time that it takes tells nothing of a token.
        let digest = Sha256::digest(token.as_bytes());
        let found = known
            .into_iter()
            .find(|(_, own)| Sha256::digest(own.as_bytes()) == digest);
        found.map(|(caller, _)| caller).ok_or(Denied::Unknown)
    }
}

fn read(path: &Path) -> Result<Vec<(Caller, String)>, String> {
    let place = path.display();
    let failed = |error: io::Error| format!("{place}: {error}");
    let size = std::fs::metadata(path).map_err(failed)?.len();
    if size > FILE_MAX {
        return Err(format!("{place}: {size} bytes are no file of tokens"));
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(number, line)| parse(line).map_err(|why| format!("{place}:{number}: {why}")))
        .collect()
}

fn parse(line: &str) -> Result<(Caller, String), String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let &[role, name, token] = words.as_slice() else {
        return Err("write ROLE NAME TOKEN".to_owned());
    };
    let role = Role::read(role).ok_or_else(|| format!("{role} is no role: write viewer, operator or admin"))?;
    if token.len() < TOKEN_MIN {
        return Err(format!(
            "the token of {name} is shorter than {TOKEN_MIN} characters: `openssl rand -hex 16` makes one"
        ));
    }
    let name = name.to_owned();
    Ok((Caller { name, role }, token.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(text: &str, act: impl FnOnce(&Access)) {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("leasehold-access-{}-{count}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        act(&Access::new(Some(path.clone())));
        std::fs::remove_file(path).unwrap();
    }

    const FILE: &str = "# tokens\nviewer prometheus 0123456789abcdef\n\nadmin alice fedcba9876543210\n";

    #[test]
    fn a_token_gives_its_name_and_role() {
        with(FILE, |access| {
            let alice = Caller {
                name: "alice".to_owned(),
                role: Role::Admin,
            };
            assert_eq!(access.caller(Some("fedcba9876543210")), Ok(alice));
            assert_eq!(access.caller(Some("0123456789abcdef")).unwrap().role, Role::Viewer);
            assert!(access.check().is_ok());
        });
    }

    #[test]
    fn anything_else_is_refused() {
        with(FILE, |access| {
            for wrong in [None, Some(""), Some("fedcba987654321"), Some("alice"), Some("# tokens")] {
                assert_eq!(access.caller(wrong), Err(Denied::Unknown), "{wrong:?}");
            }
        });
        assert_eq!(Access::new(None).caller(Some("x")), Err(Denied::Closed));
    }

    #[test]
    fn a_faulty_file_lets_nobody_in_and_names_the_line() {
        for (text, words) in [
            ("viewer a\n", ":1: write ROLE NAME TOKEN"),
            ("# x\nroot a 0123456789abcdef\n", ":2: root is no role"),
            ("admin a short\n", ":1: the token of a is shorter than 16"),
        ] {
            with(text, |access| {
                let why = access.check().unwrap_err().to_string();
                assert!(why.contains(words), "{why}");
                assert!(!why.contains("short\n") && !why.contains("0123456789abcdef"), "{why}");
                assert!(matches!(
                    access.caller(Some("0123456789abcdef")),
                    Err(Denied::Broken(_))
                ));
            });
        }
    }

    #[test]
    fn roles_are_ordered() {
        assert!(Role::Viewer < Role::Operator && Role::Operator < Role::Admin);
    }
}
