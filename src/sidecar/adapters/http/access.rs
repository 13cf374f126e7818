//! Who may do what over the network: roles, and the file that gives them.
//!
//! A line gives one token: `ROLE NAME TOKEN`, such as `operator alice 8Vq...`; or it names a client certificate:
//! `ROLE NAME cert`, where NAME is the common name of its subject or one of its alternative names. The file is read with
//! every request that needs it, so what is taken out is refused at once. One that others than its owner may write to lets
//! nobody in: whoever can write there could let himself in. On the local socket everybody is an admin: who may open it is
//! root already.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::tls::Shown;
use leasehold_base::small_file;

/// More than this is no file of tokens.
const FILE_MAX: u64 = 64 * 1024;
/// Shorter tokens can be guessed.
const TOKEN_MIN: usize = 16;
/// Modes of a file that somebody besides its owner may write to, or read.
const WRITABLE: u32 = 0o022;
const READABLE: u32 = 0o044;
/// Stands in the place of a token where a certificate is named; too short to be one.
const BY_CERTIFICATE: &str = "cert";

/// What a caller may do; each role may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Read everything.
    Viewer,
    /// Move, stop and start groups; pause them; say where they may run; drain nodes.
    Operator,
    /// What can cost safety if it is done wrongly, or is done for good: hold, accept, fenced, the removal of a node, the
    /// deletion of a group and its return.
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

/// Stands for a token where that must not be kept. Digests are compared, so the time that it takes tells nothing of a token.
pub(super) type TokenDigest = [u8; 32];

/// The digest of a token.
pub(super) fn digest(token: &str) -> TokenDigest {
    Sha256::digest(token.as_bytes()).into()
}

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Caller {
    pub name: String,
    pub role: Role,
}

/// Why somebody is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// Nobody is let in over the network: there is no file.
    Closed,
    /// Neither a known token nor a certificate that the file names.
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

    /// Whether there is a file at all.
    pub(super) fn is_closed(&self) -> bool {
        self.file.is_none()
    }

    /// What somebody should mend, although the file can be used: others on this host can read the tokens.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let path = self.file.as_ref()?;
        let mode = std::fs::metadata(path).ok()?.mode();
        let place = path.display();
        (mode & READABLE != 0).then(|| {
            let mode = mode & 0o777;
            format!("{place}: others than its owner can read it (mode {mode:04o}): `chmod 600 {place}`, and new tokens")
        })
    }

    /// What is wrong with the file, whether it can be used or not.
    pub(super) fn fault(&self) -> Option<String> {
        self.check()
            .err()
            .map(|error| error.to_string())
            .or_else(|| self.warning())
    }

    /// Who it is that brings the token of this digest or, without one, has shown this certificate at `now`, in seconds since 1970.
    /// Where several lines name the certificate, the first one counts.
    ///
    /// # Errors
    /// [`Denied`].
    pub(super) fn caller(
        &self,
        token: Option<&TokenDigest>,
        shown: Option<&Shown>,
        now: i64,
    ) -> Result<Caller, Denied> {
        let path = self.file.as_ref().ok_or(Denied::Closed)?;
        let known = read(path).map_err(Denied::Broken)?;
        let shown = shown.filter(|shown| now <= shown.until);
        let is_meant = |(caller, proof): &(Caller, Proof)| match (proof, token) {
            (Proof::Token(own), Some(brought)) => digest(own) == *brought,
            (Proof::Certificate, None) => shown.is_some_and(|shown| shown.names.contains(&caller.name)),
            (Proof::Token(_), None) | (Proof::Certificate, Some(_)) => false,
        };
        let found = known.into_iter().find(is_meant);
        found.map(|(caller, _)| caller).ok_or(Denied::Unknown)
    }
}

/// How a caller shows who it is.
enum Proof {
    Token(String),
    Certificate,
}

fn read(path: &Path) -> Result<Vec<(Caller, Proof)>, String> {
    let place = path.display();
    let failed = |error: io::Error| format!("{place}: {error}");
    let file = small_file::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.mode() & 0o777;
    if mode & WRITABLE != 0 {
        return Err(format!(
            "{place}: others than its owner can write to it (mode {mode:04o}), and let themselves in: `chmod 600 {place}`"
        ));
    }
    let text = small_file::text(file, FILE_MAX).map_err(failed)?;
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(number, line)| parse(line).map_err(|why| format!("{place}:{number}: {why}")))
        .collect()
}

fn parse(line: &str) -> Result<(Caller, Proof), String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let &[role, name, token] = words.as_slice() else {
        return Err("write ROLE NAME TOKEN, or ROLE NAME cert".to_owned());
    };
    let role = Role::read(role).ok_or_else(|| format!("{role} is no role: write viewer, operator or admin"))?;
    let name = name.to_owned();
    if token == BY_CERTIFICATE {
        return Ok((Caller { name, role }, Proof::Certificate));
    }
    if token.len() < TOKEN_MIN {
        return Err(format!(
            "the token of {name} is shorter than {TOKEN_MIN} characters: `openssl rand -hex 16` makes one"
        ));
    }
    Ok((Caller { name, role }, Proof::Token(token.to_owned())))
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
            assert_eq!(access.caller(Some(&digest("fedcba9876543210")), None, 0), Ok(alice));
            assert_eq!(
                access.caller(Some(&digest("0123456789abcdef")), None, 0).unwrap().role,
                Role::Viewer
            );
            assert!(access.check().is_ok());
        });
    }

    #[test]
    fn anything_else_is_refused() {
        with(FILE, |access| {
            for wrong in [None, Some(""), Some("fedcba987654321"), Some("alice"), Some("# tokens")] {
                assert_eq!(
                    access.caller(wrong.map(digest).as_ref(), None, 0),
                    Err(Denied::Unknown),
                    "{wrong:?}"
                );
            }
        });
        assert_eq!(
            Access::new(None).caller(Some(&digest("x")), None, 0),
            Err(Denied::Closed)
        );
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
                    access.caller(Some(&digest("0123456789abcdef")), None, 0),
                    Err(Denied::Broken(_))
                ));
            });
        }
    }

    #[test]
    fn a_file_that_others_may_write_to_lets_nobody_in_and_one_that_they_may_read_is_told() {
        use std::os::unix::fs::PermissionsExt;
        with(FILE, |access| {
            let path = access.file.clone().unwrap();
            let mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let ask = || access.caller(Some(&digest("fedcba9876543210")), None, 0);
            mode(0o600);
            assert!(ask().is_ok() && access.fault().is_none());
            for readable in [0o640, 0o604, 0o444] {
                mode(readable);
                let told = access.fault().unwrap();
                assert!(
                    ask().is_ok() && told.contains("can read it") && told.contains("chmod 600"),
                    "{told}"
                );
            }
            for writable in [0o666, 0o620, 0o602] {
                mode(writable);
                let told = access.fault().unwrap();
                assert!(matches!(ask(), Err(Denied::Broken(_))), "{writable:o}");
                assert!(told.contains("can write to it") && told.contains("chmod 600"), "{told}");
            }
        });
    }

    #[test]
    fn a_pipe_in_the_place_of_the_file_holds_nobody_up() {
        let path = std::env::temp_dir().join(format!("leasehold-access-pipe-{}", std::process::id()));
        let made = std::process::Command::new("mkfifo")
            .args(["-m", "600"])
            .arg(&path)
            .status();
        assert!(made.unwrap().success());
        let told = Access::new(Some(path.clone())).fault().unwrap();
        std::fs::remove_file(path).unwrap();
        assert!(told.contains("FIFO") || told.contains("pipe"), "{told}");
    }

    #[test]
    fn a_certificate_counts_for_the_first_line_that_names_it_until_it_runs_out() {
        let shown = |names: &[&str]| Shown {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            until: 100,
        };
        let text = "viewer backup.example cert\nadmin alice cert\noperator bob 0123456789abcdef\n";
        with(text, |access| {
            let role = |names: &[&str], now| access.caller(None, Some(&shown(names)), now).map(|caller| caller.role);
            assert_eq!(role(&["alice"], 100), Ok(Role::Admin));
            assert_eq!(role(&["alice", "backup.example"], 100), Ok(Role::Viewer));
            assert_eq!(role(&["alice"], 101), Err(Denied::Unknown));
            // A line with a token says nothing about a certificate of that name, nor the other way round.
            for names in [&["bob"][..], &["Alice"], &["cert"], &[]] {
                assert_eq!(role(names, 100), Err(Denied::Unknown), "{names:?}");
            }
            assert_eq!(
                access.caller(Some(&digest("cert")), Some(&shown(&["alice"])), 100),
                Err(Denied::Unknown)
            );
            assert_eq!(
                access.caller(Some(&digest("wrong")), Some(&shown(&["alice"])), 100),
                Err(Denied::Unknown)
            );
        });
    }

    #[test]
    fn roles_are_ordered() {
        assert!(Role::Viewer < Role::Operator && Role::Operator < Role::Admin);
    }
}
