//! What systemd is told of the sidecar, where it runs as a service of type `notify`: that it is ready, how it stands, and that
//! its loop still turns. Datagrams to the socket that `NOTIFY_SOCKET` names; without one nothing is told.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use leasehold_base::clock;
use leasehold_base::time::Time;
use leasehold_core::snapshot::status::Status;

/// Of the watchdog's time: how often it is fed.
const FEEDS: u32 = 3;
/// systemd shows one line.
const STATUS_MAX: usize = 200;

/// The service manager of this process.
#[derive(Debug, Default)]
pub struct Manager {
    socket: Option<UnixDatagram>,
    /// Between two feeds of the watchdog, if there is one.
    every: Option<Duration>,
    fed: Option<Time>,
    told: String,
}

impl Manager {
    /// As the environment names it. One that can't be reached is none: then systemd ends the start by itself, and says so.
    #[must_use]
    pub fn of_environment() -> Self {
        let socket = std::env::var_os("NOTIFY_SOCKET").and_then(|name| connect(name.as_bytes()).ok());
        let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
        let is_ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let time = number("WATCHDOG_USEC").filter(|_| is_ours && socket.is_some());
        Self {
            socket,
            every: time.map(|time| Duration::from_micros(time) / FEEDS),
            ..Self::default()
        }
    }

    /// Its files are in order, and it goes on from here whatever else is away.
    pub fn ready(&self) {
        self.tell("READY=1");
    }

    /// It was told to end.
    pub fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    /// The loop turns: feeds the watchdog when that is due.
    pub fn alive(&mut self) {
        let now = clock::now();
        let is_due = |every| self.fed.is_none_or(|fed| now.since(fed) >= every);
        if self.every.is_some_and(is_due) {
            self.fed = Some(now);
            self.tell("WATCHDOG=1");
        }
    }

    /// Returns when the watchdog is due, whether or not anything happens meanwhile.
    pub async fn due(&self) {
        match self.every {
            Some(every) => tokio::time::sleep(every).await,
            None => std::future::pending().await,
        }
    }

    /// Tells a sentence, if it is another one.
    pub fn stands(&mut self, text: &str) {
        if self.socket.is_none() || self.told == text {
            return;
        }
        self.told = text.to_owned();
        self.tell(&format!("STATUS={text}"));
    }

    /// Who never reads must not hold the loop up: then it is not told.
    fn tell(&self, text: &str) {
        if let Some(socket) = &self.socket {
            let _ = socket.send(text.as_bytes());
        }
    }
}

/// How the node stands, in one line.
#[must_use]
pub fn sentence(status: &Status) -> String {
    let groups = status.groups.iter().map(|(name, line)| match &line.holder {
        Some(holder) => format!("; {name}: {} on {holder}", line.state.word()),
        None => format!("; {name}: {}", line.state.word()),
    });
    let text: String = [status.member.word().to_owned()].into_iter().chain(groups).collect();
    text.chars()
        .filter(|letter| !letter.is_control())
        .take(STATUS_MAX)
        .collect()
}

/// A path, or an abstract name behind an `@`.
fn connect(name: &[u8]) -> std::io::Result<UnixDatagram> {
    let address = match name.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(name))?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use leasehold_core::group::Stage;
    use leasehold_core::snapshot::status::{GroupLine, GroupState, MemberState};

    use super::*;

    #[test]
    fn a_status_is_one_line() {
        let line = |state: GroupState, holder: Option<&str>| GroupLine {
            state,
            holder: holder.map(str::to_owned),
            ..GroupLine::default()
        };
        let status = Status {
            member: MemberState::Joined,
            groups: [
                ("mail".to_owned(), line(GroupState::Held(Stage::Active), Some("a"))),
                ("web\n".to_owned(), line(GroupState::Free, None)),
            ]
            .into(),
            ..Status::default()
        };
        assert_eq!(sentence(&status), "joined; mail: active on a; web: free");
    }

    #[test]
    fn both_kinds_of_names_are_reached() {
        let path = std::env::temp_dir().join(format!("lhnotify{}", std::process::id()));
        let by_path = UnixDatagram::bind(&path).unwrap();
        let name = format!("lhnotify{}", std::process::id());
        let by_name = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        for (name, heard) in [
            (path.to_string_lossy().into_owned(), by_path),
            (format!("@{name}"), by_name),
        ] {
            let socket = Some(connect(name.as_bytes()).unwrap());
            Manager {
                socket,
                ..Manager::default()
            }
            .ready();
            let mut text = [0; 32];
            let length = heard.recv(&mut text).unwrap();
            assert_eq!(&text[..length], b"READY=1");
        }
        std::fs::remove_file(path).unwrap();
        assert!(connect(b"/nowhere/at/all").is_err());
    }
}
