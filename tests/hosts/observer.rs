//! Who answers for the virtual address: asks every 200 ms, and hears every ARP frame on the switch.

use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, eth};

use crate::lab::{Lab, SWITCH4, VIP4};
use crate::shell::{now, say};

const ASK: Duration = Duration::from_millis(200);
/// Asked every [`ASK`], an owner answers again within this time, whoever else answers in between. One that lost the address and has
/// it back is silent for longer: two moves lie between.
const TURN: Duration = Duration::from_millis(500);
const FRAME: usize = 60;
/// Ethernet header, then hardware and protocol types and lengths.
const OPERATION: usize = 20;
const SENDER_MAC: usize = 22;
const SENDER: usize = 28;
const TARGET: usize = 38;

type Mac = [u8; 6];

/// Listens until it is finished or dropped.
pub(crate) struct Observer {
    stop: Arc<AtomicBool>,
    ears: Option<JoinHandle<Vec<(Duration, Mac)>>>,
}

impl Observer {
    pub(crate) fn start(lab: &Lab) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let ears = lab.client(move || listen(&told));
        Self { stop, ears: Some(ears) }
    }

    /// How long two hosts answered for the address at the same time.
    pub(crate) fn finish(mut self) -> Duration {
        self.stop.store(true, Ordering::Relaxed);
        let heard = self.ears.take().expect("the ears").join().expect("the observer");
        assert!(!heard.is_empty(), "nobody ever answered for {VIP4}");
        let total = two_owners(&heard);
        if !total.is_zero() {
            tell(&heard);
        }
        total
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn listen(stop: &AtomicBool) -> Vec<(Duration, Mac)> {
    let vip: Ipv4Addr = VIP4.parse().expect("an address");
    let (socket, own) = open();
    let question = question(own, vip);
    let mut heard = Vec::new();
    let mut asked = Duration::ZERO;
    while !stop.load(Ordering::Relaxed) {
        if now().saturating_sub(asked) >= ASK {
            asked = now();
            // A full queue of the switch is asked again.
            let _ = rustix::net::send(&socket, &question, SendFlags::empty());
        }
        let mut ready = [PollFd::new(&socket, PollFlags::IN)];
        let tick = Timespec {
            tv_sec: 0,
            tv_nsec: 20_000_000,
        };
        let _ = poll(&mut ready, Some(&tick));
        let mut frame = [0; 128];
        while let Ok((_, length)) = rustix::net::recv(&socket, &mut frame, RecvFlags::DONTWAIT) {
            heard.extend(owner(&frame[..length.min(frame.len())], vip).map(|mac| (now(), mac)));
        }
    }
    heard
}

/// A packet socket on the switch, and the switch's own address.
fn open() -> (OwnedFd, Mac) {
    let mut interfaces = nix::ifaddrs::getifaddrs().expect("the interfaces");
    let link = interfaces
        .find_map(|entry| {
            let link = entry.address?.as_link_addr().copied()?;
            (entry.interface_name == "br0").then_some(link)
        })
        .expect("the switch");
    let socket = rustix::net::socket_with(
        AddressFamily::PACKET,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(eth::ARP),
    )
    .expect("a packet socket");
    nix::sys::socket::bind(socket.as_raw_fd(), &link).expect("the switch");
    (socket, link.addr().expect("the switch's address"))
}

/// Who has it? Asked with the switch's own address: without one it would be a probe, by somebody who wants the address.
fn question(own: Mac, vip: Ipv4Addr) -> Vec<u8> {
    let asker: Ipv4Addr = SWITCH4.parse().expect("an address");
    let mut frame = vec![0xff; 6];
    frame.extend(own);
    frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(own);
    frame.extend(asker.octets());
    frame.extend([0; 6]);
    frame.extend(vip.octets());
    frame.resize(FRAME, 0);
    frame
}

/// The host that says it has the address, if the frame says so.
fn owner(frame: &[u8], vip: Ipv4Addr) -> Option<Mac> {
    let sender = frame.get(SENDER..SENDER + 4)?;
    let _ = frame.get(OPERATION..TARGET + 4)?;
    (sender == vip.octets()).then(|| frame[SENDER_MAC..SENDER_MAC + 6].try_into().ok())?
}

/// From when to when each host was heard, for whoever must find out why two were.
fn tell(heard: &[(Duration, Mac)]) {
    for stretch in heard.chunk_by(|(_, before), (_, after)| before == after) {
        if let (Some((from, mac)), Some((to, _))) = (stretch.first(), stretch.last()) {
            let count = stretch.len();
            say(&format!(
                "    {VIP4} was told by {mac:02x?}: {count} frames, {from:.3?} to {to:.3?}"
            ));
        }
    }
}

/// Adds up the time from an answer of one host to the next answer of the host before it.
fn two_owners(heard: &[(Duration, Mac)]) -> Duration {
    let mut total = Duration::ZERO;
    let mut changed: Option<(Duration, Duration, Mac)> = None;
    for pair in heard.windows(2) {
        let ((last, before), (at, mac)) = (pair[0], pair[1]);
        if before == mac {
            continue;
        }
        if let Some((own_last, since, old)) = changed
            && old == mac
            && at.saturating_sub(own_last) < TURN
        {
            total += at.saturating_sub(since);
        }
        changed = Some((last, at, before));
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(answers: &[(u64, u8)]) -> Vec<(Duration, Mac)> {
        answers
            .iter()
            .map(|(ms, host)| (Duration::from_millis(*ms), [*host; 6]))
            .collect()
    }

    #[test]
    fn a_move_there_and_back_is_no_fault() {
        let moved = heard(&[(0, 1), (200, 1), (900, 2), (1100, 2), (1700, 1), (1900, 1)]);
        assert_eq!(two_owners(&moved), Duration::ZERO);
    }

    #[test]
    fn two_that_answer_the_same_question_are_found() {
        let both = heard(&[(0, 1), (1, 2), (200, 1), (201, 2), (400, 1), (401, 2), (600, 2)]);
        assert_eq!(two_owners(&both), Duration::from_millis(400));
    }

    #[test]
    fn an_answer_is_understood() {
        let vip = Ipv4Addr::new(10, 0, 0, 1);
        assert_eq!(owner(&question([7; 6], vip), vip), None);
        let mut answer = question([7; 6], vip);
        answer[SENDER..SENDER + 4].copy_from_slice(&vip.octets());
        assert_eq!(owner(&answer, vip), Some([7; 6]));
        assert_eq!(owner(&answer[..30], vip), None);
    }
}
