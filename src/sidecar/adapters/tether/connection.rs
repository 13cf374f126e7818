//! One connected tether: its hello, the answer to it, and the end of its process.

use std::fs;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendFlags, recv, recvmsg, send};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::host::{Known, TetherEvent};
use crate::adapters::descriptor::readable;
use leasehold_base::hello::{GO, HELLO_BYTES, Hello, NO, Phase, WOKE_BYTES, Woke};

/// A hello that is not there by then never comes.
const HELLO_TIMEOUT: Duration = Duration::from_secs(2);

/// What a connection is called in events.
#[derive(Clone, Copy, Debug)]
pub(super) struct Name {
    pub(super) service: usize,
    pub(super) connection: u64,
}

/// Follows one connection until its process is gone. Ends early when it brings no pidfd of its own.
pub(super) async fn follow(
    socket: OwnedFd,
    name: Name,
    secret: Arc<Known>,
    answer: oneshot::Receiver<bool>,
    events: mpsc::Sender<TetherEvent>,
) {
    let Ok(socket) = readable(socket) else {
        return;
    };
    let Ok(Ok((hello, process))) = timeout(HELLO_TIMEOUT, read_hello(&socket)).await else {
        return;
    };
    let expected = *secret.lock().unwrap_or_else(PoisonError::into_inner);
    if expected != Some((hello.run, hello.secret)) {
        tracing::warn!(code = "tether_feigned", run = %hello.run, "a process in the container says it is the tether, and is not: it is not heard");
        return;
    }
    // Before it is heard: the end of a process that nobody watches would never be told.
    let Ok(pidfd) = readable(process.pidfd) else {
        return;
    };
    let Name { service, connection } = name;
    let said = match hello.phase {
        Phase::Claimed { epoch } => TetherEvent::ClaimAbove {
            service,
            run: hello.run,
            epoch,
            connection,
        },
        Phase::Gate | Phase::Running => TetherEvent::Hello {
            service,
            run: hello.run,
            running: hello.phase == Phase::Running,
            connection,
            pid: process.pid,
        },
    };
    if events.send(said).await.is_err() {
        return;
    }
    // The socket is kept open to the end: closing it would send a running tether into reconnecting.
    let socket = reply(socket, answer, &pidfd).await;
    if let Some(socket) = &socket {
        tokio::select! {
            () = hear(socket, &events) => {}
            _ = pidfd.readable() => {}
        }
    }
    if pidfd.readable().await.is_ok() {
        let run = hello.run;
        let _ = events
            .send(TetherEvent::Gone {
                service,
                run,
                connection,
            })
            .await;
    }
    drop(socket);
}

/// Hears what a running tether tells, until it says nothing any more.
async fn hear(socket: &AsyncFd<OwnedFd>, events: &mpsc::Sender<TetherEvent>) {
    loop {
        let mut bytes = [0; WOKE_BYTES];
        let read = |socket: &OwnedFd| Ok(recv(socket, &mut bytes[..], RecvFlags::DONTWAIT)?.0);
        match socket.async_io(Interest::READABLE, read).await {
            Ok(length) if length > 0 => {}
            Ok(_) | Err(_) => return,
        }
        let told = Woke::decode(&bytes).map(|Woke(late)| TetherEvent::Woke { late });
        // A full queue has worse to carry: it is told again soon.
        told.map(|told| events.try_send(told));
    }
}

/// Waits for the decision and sends it; a refused connection is closed.
async fn reply(
    socket: AsyncFd<OwnedFd>,
    answer: oneshot::Receiver<bool>,
    pidfd: &AsyncFd<OwnedFd>,
) -> Option<AsyncFd<OwnedFd>> {
    let go = tokio::select! {
        go = answer => go.unwrap_or(false),
        _ = pidfd.readable() => return None,
    };
    let byte = if go { GO } else { NO };
    // One byte fits; a tether that is gone needs none.
    let _ = send(socket.get_ref(), &[byte], SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
    go.then_some(socket)
}

/// A process that proved to be who it says.
struct Process {
    pidfd: OwnedFd,
    /// Its PID here; `None` when this sidecar's PID namespace does not contain it.
    pid: Option<u32>,
}

async fn read_hello(socket: &AsyncFd<OwnedFd>) -> io::Result<(Hello, Process)> {
    let (hello, pidfd) = socket.async_io(Interest::READABLE, receive).await?;
    let pid = identify(socket.get_ref(), &pidfd)?;
    Ok((hello, Process { pidfd, pid }))
}

fn receive(socket: &OwnedFd) -> io::Result<(Hello, OwnedFd)> {
    let mut bytes = [0; HELLO_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let message = recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags)?;
    let mut pidfd = None;
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = part {
            pidfd = descriptors.last();
        }
    }
    let truncated = message.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC);
    let hello = bytes
        .get(..message.bytes)
        .and_then(Hello::decode)
        .filter(|_| !truncated);
    match (hello, pidfd) {
        (Some(hello), Some(pidfd)) => Ok((hello, pidfd)),
        (Some(_) | None, Some(_) | None) => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Checks that the descriptor is a pidfd of the very process that connected, and that it is PID 1 where it lives.
///
/// Where this process can't see the PIDs of the container, the secret alone speaks for it.
fn identify(socket: &OwnedFd, pidfd: &OwnedFd) -> io::Result<Option<u32>> {
    let peer = getsockopt(socket, PeerCredentials)?.pid();
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd()))?;
    let not_it = || io::Error::from(io::ErrorKind::PermissionDenied);
    let (pid, innermost) = parse_fdinfo(&info).ok_or_else(not_it)?;
    match u32::try_from(pid) {
        Ok(0) if peer == 0 => Ok(None),
        Ok(visible) if pid == peer && innermost == Some(1) => Ok(Some(visible)),
        Ok(_) | Err(_) => Err(not_it()),
    }
}

/// The PID here and the PID in the innermost namespace, from the fdinfo of a pidfd.
fn parse_fdinfo(info: &str) -> Option<(i32, Option<i32>)> {
    let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name));
    let pid = field("Pid:")?.trim().parse().ok()?;
    let innermost = field("NSpid:").and_then(|pids| pids.split_whitespace().last()?.parse().ok());
    Some((pid, innermost))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fdinfo_of_a_pidfd_names_the_process() {
        assert_eq!(parse_fdinfo("pos:\t0\nPid:\t42\nNSpid:\t42\t1\n"), Some((42, Some(1))));
        assert_eq!(parse_fdinfo("pos:\t0\nPid:\t0\nNSpid:\t0\n"), Some((0, Some(0))));
        assert_eq!(parse_fdinfo("pos:\t0\nPid:\t-1\nNSpid:\t-1\n"), Some((-1, Some(-1))));
        assert_eq!(parse_fdinfo("pos:\t0\nflags:\t02\n"), None);
    }
}
