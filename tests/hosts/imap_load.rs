//! Ten minutes of mail clients, and a failover each minute: one reads the numbers (UID) of all messages, others wait for new
//! mail (IDLE). No number may ever name two messages, none of whom the server took may be missing, and who waits is back soon.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::by_hand;
use crate::cluster::{Cluster, Seen};
use crate::lab::{Lab, VIP4};
use crate::mail::{LOGIN, Talk, at};
use crate::row::Figure;
use crate::scenarios::{RETURN_LIMIT, figure};
use crate::shell::{now, say, until, words};

const ROUNDS: u32 = 10;
const ROUND: Duration = Duration::from_secs(60);
/// Mail flows for so long before the failover of a round, and again after it.
const FLOW: Duration = Duration::from_secs(12);
const WAITING: usize = 6;
/// Other rows judge outages; here they are those of a machine that a dozen clients keep busy as well.
const OUTAGE_LIMIT: Duration = Duration::from_secs(20);
/// One second is wanted on hosts of their own: so long half of the clients may take, and all of them, on one busy machine.
const HALF_BACK_LIMIT: Duration = Duration::from_secs(2);
const BACK_LIMIT: Duration = Duration::from_secs(10);
const CONNECT: Duration = Duration::from_millis(100);
/// Between two looks of a client whether the server is still there.
const LOOK: Duration = Duration::from_millis(400);
/// A client that has connected to a host which then lost its power would else wait for ever.
const ANSWER: Duration = Duration::from_secs(1);
/// A login, and a mailbox of a thousand messages that is opened for the first time on a host.
const OPEN: Duration = Duration::from_secs(10);

/// What the clients have seen.
#[derive(Default)]
struct Heard {
    validity: BTreeSet<String>,
    /// What each number names.
    subjects: BTreeMap<u64, String>,
    reused: Vec<String>,
    /// When some client was greeted, and when each that waits was waiting again after it had lost the server.
    greeted: Vec<Duration>,
    back: Vec<Back>,
}

/// A client that has lost the server, and waits again.
#[derive(Clone, Copy)]
struct Back {
    lost: Duration,
    waits: Duration,
}

impl Heard {
    /// From the first greeting that led anybody in after the loss until the client waited again; in order.
    fn delays(&self) -> Vec<Duration> {
        let of = |back: &Back| {
            let greeted = self.greeted.iter().filter(|at| **at >= back.lost && **at <= back.waits);
            back.waits.saturating_sub(greeted.min().copied().unwrap_or(back.waits))
        };
        let mut delays: Vec<_> = self.back.iter().map(of).collect();
        delays.sort();
        delays
    }

    /// Messages that stand in the mailbox under two numbers.
    fn doubled(&self) -> usize {
        let all: BTreeSet<&String> = self.subjects.values().collect();
        self.subjects.len() - all.len()
    }

    fn note(&mut self, uid: u64, subject: &str) {
        let known = self.subjects.entry(uid).or_insert_with(|| subject.to_owned());
        if known != subject {
            self.reused.push(format!("{uid} was {known}, is {subject}"));
        }
    }
}

struct Clients {
    stop: Arc<AtomicBool>,
    heard: Arc<Mutex<Heard>>,
    threads: Vec<JoinHandle<()>>,
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Clients {
    fn start(lab: &Lab) -> Self {
        let (stop, heard) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::default()));
        let threads = (0..=WAITING).map(|number| {
            let (stop, heard) = (Arc::clone(&stop), Arc::clone(&heard));
            lab.client(move || {
                let mut lost = None;
                while !stop.load(Ordering::Relaxed) {
                    let ended = if number == 0 {
                        read_numbers(&stop, &heard)
                    } else {
                        wait_for_mail(&stop, &heard, &mut lost)
                    };
                    if ended.is_err() {
                        lost = lost.or(Some(now()));
                        std::thread::sleep(CONNECT);
                    }
                }
            })
        });
        let threads = threads.collect();
        Self { stop, heard, threads }
    }

    fn finish(mut self) -> Heard {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().expect("a mail client");
        }
        std::mem::take(&mut *self.heard.lock().expect("what was heard"))
    }
}

fn port() -> SocketAddr {
    at(VIP4, 993)
}

/// Logs in and opens the mailbox; what was said of it.
fn open(heard: &Mutex<Heard>) -> io::Result<(Talk, Vec<String>)> {
    let mut talk = Talk::open(port(), CONNECT, LOOK)?;
    answer(&mut talk, "*", ANSWER)?;
    let greeted = now();
    talk.send(&format!("a {LOGIN}\r\n"))?;
    answer(&mut talk, "a", OPEN)?;
    // Not before: a server that is about to end may greet and do no more.
    heard.lock().expect("what was heard").greeted.push(greeted);
    talk.send("b SELECT INBOX\r\n")?;
    let said = answer(&mut talk, "b", OPEN)?;
    Ok((talk, said))
}

/// Reads to the answer of a command, however slowly it comes.
fn answer(talk: &mut Talk, tag: &str, limit: Duration) -> io::Result<Vec<String>> {
    let (began, mut lines) = (now(), Vec::new());
    loop {
        match talk.line() {
            Ok(line) if line.starts_with(&format!("{tag} OK")) || (tag == "+" && line.starts_with('+')) => {
                return Ok(lines);
            }
            Ok(line) if line.starts_with(&format!("{tag} ")) && tag != "*" => return Err(io::Error::other(line)),
            Ok(line) => lines.push(line),
            Err(error) if is_silence(&error) && now() - began < limit => {}
            Err(error) => return Err(error),
        }
    }
}

fn is_silence(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// Notes the number and the subject of each message, again and again, until the server is lost.
fn read_numbers(stop: &AtomicBool, heard: &Mutex<Heard>) -> io::Result<()> {
    let (mut talk, said) = open(heard)?;
    let validity = said
        .iter()
        .find_map(|line| line.split("[UIDVALIDITY ").nth(1)?.split(']').next());
    let validity = validity.ok_or_else(|| io::Error::other("no UIDVALIDITY"))?;
    heard
        .lock()
        .expect("what was heard")
        .validity
        .insert(validity.to_owned());
    let mut next = 1;
    while !stop.load(Ordering::Relaxed) {
        talk.send(&format!(
            "c UID FETCH {next}:* (BODY.PEEK[HEADER.FIELDS (SUBJECT)])\r\n"
        ))?;
        let mut uid = None;
        for line in answer(&mut talk, "c", OPEN)? {
            if let Some(number) = line.split("UID ").nth(1).and_then(|rest| rest.split(' ').next()) {
                uid = number.parse::<u64>().ok();
            } else if let (Some(subject), Some(number)) = (line.strip_prefix("Subject: "), uid) {
                heard.lock().expect("what was heard").note(number, subject);
                next = next.max(number + 1);
            }
        }
        std::thread::sleep(LOOK);
    }
    Ok(())
}

/// Waits for new mail, and looks now and then whether the server is there, until it is not.
fn wait_for_mail(stop: &AtomicBool, heard: &Mutex<Heard>, lost: &mut Option<Duration>) -> io::Result<()> {
    let (mut talk, _) = open(heard)?;
    talk.send("c IDLE\r\n")?;
    answer(&mut talk, "+", ANSWER)?;
    if let Some(lost) = lost.take() {
        heard
            .lock()
            .expect("what was heard")
            .back
            .push(Back { lost, waits: now() });
    }
    while !stop.load(Ordering::Relaxed) {
        let began = now();
        while now() - began < LOOK {
            match talk.line() {
                Ok(_) => {}
                Err(error) if is_silence(&error) => break,
                Err(error) => return Err(error),
            }
        }
        talk.send("DONE\r\n")?;
        answer(&mut talk, "c", ANSWER)?;
        talk.send("c IDLE\r\n")?;
        answer(&mut talk, "+", ANSWER)?;
    }
    Ok(())
}

/// In turn: the host loses its power, and it hands over in order.
fn move_on(cluster: &mut Cluster, round: u32) {
    let old = cluster.await_leader();
    if round.is_multiple_of(2) {
        cluster.hosts[old].power_off();
    } else {
        by_hand::switch_over(cluster, old);
    }
    until("the service to move", RETURN_LIMIT, || {
        cluster.leader().filter(|leader| *leader != old)
    });
    cluster.await_greeting();
    std::thread::sleep(FLOW);
}

/// What dovecot says of its files, on the host that serves.
fn is_sound(cluster: &Cluster) {
    let host = &cluster.hosts[cluster.await_leader()];
    for container in host.serving() {
        let log = words(&host.docker(&["logs", &container]));
        let bad: Vec<_> = log.lines().filter(|line| line.contains("orrupt")).take(5).collect();
        assert!(bad.is_empty(), "dovecot on {}: {bad:?}", host.name);
    }
}

pub(crate) fn ten_minutes(cluster: &mut Cluster) -> Figure {
    let clients = Clients::start(&cluster.lab);
    let (began, mut total) = (now(), Seen::default());
    for round in 0..ROUNDS {
        std::thread::sleep((began + ROUND * round).saturating_sub(now()));
        let seen = cluster.under_mail(|cluster| {
            std::thread::sleep(FLOW);
            // A stop in order leaves no log behind, once the container is made anew.
            is_sound(cluster);
            move_on(cluster, round);
        });
        is_sound(cluster);
        cluster.heal();
        // A power loss between the store's yes and the queue's note of it brings a message twice, as anywhere.
        let doubled = clients.heard.lock().expect("what was heard").doubled();
        say(&format!(
            "    round {round}: {} accepted, outage {:.2} s, {doubled} came twice so far",
            seen.accepted,
            seen.outage.as_secs_f64()
        ));
        total.accepted += seen.accepted;
        total.outage = total.outage.max(seen.outage);
    }
    let heard = clients.finish();
    assert!(
        heard.reused.is_empty(),
        "numbers that named two messages: {:?}",
        heard.reused
    );
    assert_eq!(heard.validity.len(), 1, "UIDVALIDITY: {:?}", heard.validity);
    assert!(
        heard.back.len() >= WAITING * ROUNDS as usize,
        "clients came back {} times, so some did not notice",
        heard.back.len()
    );
    let delays = heard.delays();
    let (half, slowest) = (delays[delays.len() / 2], delays[delays.len() - 1]);
    let note = format!(
        "{ROUNDS} failovers, {} numbers, none of them named two, {} came twice; who waits was back {} times, half of them within \
         {:.2} s after the service, all within {:.2} s",
        heard.subjects.len(),
        heard.doubled(),
        delays.len(),
        half.as_secs_f64(),
        slowest.as_secs_f64()
    );
    assert!(half <= HALF_BACK_LIMIT && slowest <= BACK_LIMIT, "too late: {note}");
    figure(&total, OUTAGE_LIMIT, &note)
}

#[test]
fn a_number_that_names_another_message_is_seen() {
    let mut heard = Heard::default();
    for (uid, subject) in [(1, "one"), (2, "two"), (1, "one"), (3, "two")] {
        heard.note(uid, subject);
    }
    assert_eq!((heard.reused.len(), heard.doubled()), (0, 1));
    heard.note(2, "three");
    assert_eq!(heard.reused, ["2 was two, is three"]);
}

#[test]
fn who_comes_back_is_measured_from_the_service_on() {
    let at = Duration::from_millis;
    let back = |lost, waits| Back {
        lost: at(lost),
        waits: at(waits),
    };
    let heard = Heard {
        // The first is of the server before.
        greeted: vec![at(900), at(5000), at(5300)],
        back: vec![back(1000, 5400), back(1100, 6200)],
        ..Heard::default()
    };
    assert_eq!(heard.delays(), [at(400), at(1200)]);
}
