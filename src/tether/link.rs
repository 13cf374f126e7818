//! The tether's end of the socket. Nothing here blocks: a frozen sidecar must not hold up a deadline.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::io::{Errno, Result};
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags,
    SocketType, connect, recv, send, sendmsg, socket_with,
};
use rustix::process::{PidfdFlags, getpid, pidfd_open};

use super::home::{self, SOCKET};
use leasehold_base::epoch::Run;
use leasehold_base::hello::{GO, Hello, Phase, Secret, Woke};
use leasehold_base::time::Time;

/// Time between two attempts to reach a sidecar that went away.
const RECONNECT: Duration = Duration::from_millis(200);

/// What the sidecar said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Nothing yet.
    None,
    Go,
    No,
    /// The connection ended.
    Lost,
}

/// The connection to the sidecar, or the time of the next attempt to make one.
#[derive(Debug)]
pub(super) struct Link {
    run: Run,
    secret: Secret,
    pidfd: OwnedFd,
    socket: Option<OwnedFd>,
    attempted: Time,
}

impl Link {
    /// Connects and says hello.
    pub(super) fn open(run: Run, phase: Phase, now: Time) -> Result<Self> {
        let mut link = Self {
            run,
            secret: home::secret(),
            pidfd: pidfd_open(getpid(), PidfdFlags::empty())?,
            socket: None,
            attempted: now,
        };
        link.connect(phase)?;
        Ok(link)
    }

    /// The connection, for a poll.
    pub(super) fn socket(&self) -> Option<&OwnedFd> {
        self.socket.as_ref()
    }

    /// Reads one answer.
    pub(super) fn answer(&mut self) -> Answer {
        let Some(socket) = &self.socket else {
            return Answer::Lost;
        };
        let mut byte = [0; 1];
        match recv(socket, &mut byte, RecvFlags::DONTWAIT) {
            Ok((1, _)) if byte == [GO] => Answer::Go,
            Ok((1, _)) => Answer::No,
            Err(Errno::AGAIN | Errno::INTR) => Answer::None,
            Ok(_) | Err(_) => {
                self.socket = None;
                Answer::Lost
            }
        }
    }

    /// While the service runs: notices a lost connection, and makes a new one from time to time.
    ///
    /// Answers are read and forgotten: a running service takes its orders from the page.
    pub(super) fn keep(&mut self, now: Time) {
        match self.answer() {
            Answer::None | Answer::Go | Answer::No => {}
            Answer::Lost if now.since(self.attempted) >= RECONNECT => {
                self.attempted = now;
                let _ = self.connect(Phase::Running);
            }
            Answer::Lost => {}
        }
    }

    /// A sidecar that does not listen, or is of a version that never does, hears nothing.
    pub(super) fn tell(&self, woke: Woke) {
        if let Some(socket) = &self.socket {
            let _ = send(socket, &woke.encode(), SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
        }
    }

    fn connect(&mut self, phase: Phase) -> Result<()> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        connect(&socket, &SocketAddrUnix::new(SOCKET)?)?;
        let (run, secret) = (self.run, self.secret);
        let hello = Hello { run, phase, secret }.encode();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let pidfd = [self.pidfd.as_fd()];
        if !control.push(SendAncillaryMessage::ScmRights(&pidfd)) {
            return Err(Errno::NOBUFS);
        }
        sendmsg(
            &socket,
            &[IoSlice::new(&hello)],
            &mut control,
            SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
        )?;
        self.socket = Some(socket);
        Ok(())
    }
}
