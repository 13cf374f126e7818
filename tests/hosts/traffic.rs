//! What clients do while things go wrong: some send numbered messages and note each that was accepted, one looks again
//! and again whether the service answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::lab::{Lab, VIP4};
use crate::mail::{self, at};
use crate::shell::{now, until};

const SMTP: u16 = 25;
/// Together 20 messages a second, each over a connection of its own.
const SENDERS: u64 = 4;
const SENDER_PAUSE: Duration = Duration::from_millis(200);
const SEND_CONNECT: Duration = Duration::from_millis(500);
const SEND_ANSWER: Duration = Duration::from_secs(4);
/// Between two looks; the outage is measured as finely as this and the answer's own time.
const WATCH_PAUSE: Duration = Duration::from_millis(40);
const WATCH_CONNECT: Duration = Duration::from_millis(100);
const WATCH_ANSWER: Duration = Duration::from_secs(1);
/// So many messages are accepted before a fault, and again after it.
const ESTABLISHED: usize = 20;
const ESTABLISHED_LIMIT: Duration = Duration::from_secs(30);

/// Numbers never repeat within a run of the tests.
static NUMBER: AtomicU64 = AtomicU64::new(1);

/// Clients at work.
pub(crate) struct Traffic {
    stop: Stop,
    senders: Vec<JoinHandle<()>>,
    accepted: Receiver<String>,
    kept: Vec<String>,
    /// One for each port.
    watches: Vec<JoinHandle<Vec<Duration>>>,
    greeted: Arc<AtomicU64>,
}

impl Traffic {
    /// Senders and the watch.
    pub(crate) fn start(lab: &Lab) -> Self {
        Self::with(lab, SENDERS, WATCH_PAUSE, &[SMTP])
    }

    /// Only the watch of these ports, with a closer look.
    pub(crate) fn watch_only(lab: &Lab, ports: &[u16]) -> Self {
        Self::with(lab, 0, WATCH_PAUSE / 2, ports)
    }

    fn with(lab: &Lab, senders: u64, pause: Duration, ports: &[u16]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let greeted = Arc::new(AtomicU64::new(0));
        let (accept, accepted) = channel();
        let senders = (0..senders).map(|_| {
            let (stop, accept) = (Arc::clone(&stop), accept.clone());
            lab.client(move || {
                paced(&stop, SENDER_PAUSE, || {
                    let subject = format!("message {}", NUMBER.fetch_add(1, Ordering::Relaxed));
                    if mail::send(at(VIP4, 25), &subject, SEND_CONNECT, SEND_ANSWER).is_ok() {
                        // Nobody counts any more when the scenario has failed.
                        let _ = accept.send(subject);
                    }
                });
            })
        });
        let senders = senders.collect();
        let watches = ports.iter().map(|port| watch(lab, &stop, &greeted, pause, *port));
        let watches = watches.collect();
        Self {
            stop: Stop(stop),
            senders,
            accepted,
            kept: Vec::new(),
            watches,
            greeted,
        }
    }

    /// Waits until some more messages are accepted: mail flows.
    pub(crate) fn flows(&mut self) {
        self.kept.extend(self.accepted.try_iter());
        let wanted = self.kept.len() + ESTABLISHED;
        until("messages to be accepted", ESTABLISHED_LIMIT, || {
            self.kept.extend(self.accepted.try_iter());
            (self.kept.len() >= wanted).then_some(())
        });
    }

    /// How often the watch was greeted so far.
    pub(crate) fn greetings(&self) -> u64 {
        self.greeted.load(Ordering::Relaxed)
    }

    /// Subjects of the messages that the server took responsibility for, and for each port the longest time from one
    /// greeting to the next.
    pub(crate) fn finish(mut self) -> (Vec<String>, Vec<Duration>) {
        self.stop.0.store(true, Ordering::Relaxed);
        for sender in self.senders.drain(..) {
            sender.join().expect("a sender");
        }
        self.kept.extend(self.accepted.try_iter());
        let watched = self.watches.drain(..).map(|watch| watch.join().expect("the watch"));
        let gaps = watched.map(|greetings| longest_gap(&greetings)).collect();
        (std::mem::take(&mut self.kept), gaps)
    }
}

/// A scenario that panics leaves no clients behind.
struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Looks whether the server greets, until told to stop; the time of each greeting.
fn watch(
    lab: &Lab,
    stop: &Arc<AtomicBool>,
    greeted: &Arc<AtomicU64>,
    pause: Duration,
    port: u16,
) -> JoinHandle<Vec<Duration>> {
    let (stop, greeted) = (Arc::clone(stop), Arc::clone(greeted));
    lab.client(move || {
        let mut greetings = Vec::new();
        paced(&stop, pause, || {
            if mail::greeting(at(VIP4, port), WATCH_CONNECT, WATCH_ANSWER).is_ok() {
                greetings.push(now());
                greeted.fetch_add(1, Ordering::Relaxed);
            }
        });
        // An outage that has not ended.
        greetings.push(now());
        greetings
    })
}

/// Acts at a steady pace, as far as acting is fast enough.
fn paced(stop: &AtomicBool, pause: Duration, mut act: impl FnMut()) {
    let mut next = now();
    while !stop.load(Ordering::Relaxed) {
        act();
        next = (next + pause).max(now());
        std::thread::sleep(next.saturating_sub(now()));
    }
}

fn longest_gap(times: &[Duration]) -> Duration {
    let gaps = times.windows(2).map(|pair| pair[1].saturating_sub(pair[0]));
    gaps.max().unwrap_or_default()
}
