//! Three hosts, their shared storage and everything that must be true of them between faults.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use crate::host::{self, Host, LEDGER, STORAGE, VIPS};
use crate::lab::{Lab, VIP4, VIP6};
use crate::ledger::{Late, Ledger, Run};
use crate::mail::{self, at};
use crate::observer::Observer;
use crate::pace::Pace;
use crate::repairs::Broken;
use crate::shell::{now, until, within, words};
use crate::traffic::Traffic;

pub(crate) const NAMES: [&str; 3] = ["h1", "h2", "h3"];
/// Joining, adopting, and whatever a freshly started engine still does.
const SETTLED_LIMIT: Duration = Duration::from_secs(60);
/// Delivery from the queue. After a full disk sendmail waits up to half a minute for a draft that the image has dropped
/// at its queue run, every half minute; late is not lost.
const DELIVERED_LIMIT: Duration = Duration::from_secs(90);
const FETCH_LIMIT: Duration = Duration::from_secs(20);
/// A busy machine may take this long to greet a client.
const GREETING_LIMIT: Duration = Duration::from_secs(5);
const LOG_LINES: usize = 40;
/// A mailbox of so many messages is emptied, once all are found in it.
const MAILBOX_MAX: usize = 1500;

type Fetch = fn(SocketAddr, Duration) -> io::Result<BTreeSet<String>>;

/// The hosts and what clients were promised so far.
pub(crate) struct Cluster {
    pub(crate) hosts: Vec<Host>,
    pub(crate) lab: Rc<Lab>,
    /// What the tests broke and have not mended yet.
    pub(crate) broken: Broken,
    pub(crate) pace: Pace,
    accepted: BTreeSet<String>,
    ledger: RefCell<Ledger>,
}

/// What the clients, the switch and the storage saw while something was done to the hosts.
#[derive(Default)]
pub(crate) struct Seen {
    /// How many messages the server took responsibility for.
    pub(crate) accepted: usize,
    /// The longest time from one greeting to the next.
    pub(crate) outage: Duration,
    /// Stretches in which two runs wrote.
    pub(crate) late: Vec<Late>,
    /// How long two hosts answered for the address.
    pub(crate) two_owners: Duration,
}

impl Seen {
    pub(crate) fn two_writers(&self) -> Duration {
        self.late.iter().map(Late::length).sum()
    }
}

impl Cluster {
    /// Three hosts with engine, etcd, images and volumes; no sidecar yet.
    pub(crate) fn new() -> Self {
        Host::needs();
        for image in host::images() {
            let found = Command::new("docker").args(["image", "inspect", &image]).output();
            let found = found.expect("the docker client").status.success();
            assert!(
                found,
                "the engine has no image {image}: run docker/build (after cargo build --release)"
            );
        }
        let lab = Rc::new(Lab::new());
        for volume in STORAGE {
            fs::create_dir_all(lab.storage.place().join(volume)).expect("the shared storage");
        }
        let archive = lab.disk().join("images.tar");
        host::save_images(&archive);
        let mut hosts: Vec<Host> = NAMES
            .iter()
            .zip(1..)
            .map(|(name, number)| Host::new(&lab, name, number))
            .collect();
        hosts.iter_mut().for_each(Host::boot);
        for host in &hosts {
            host.await_engine();
            host.install(&archive);
        }
        let ledger = Ledger::new(&ledger_file(&lab));
        let cluster = Self {
            hosts,
            lab,
            broken: Broken::default(),
            pace: Pace::Usual,
            accepted: BTreeSet::new(),
            ledger: RefCell::new(ledger),
        };
        cluster.await_etcd_leader();
        cluster
    }

    /// Epochs begin anew; nothing runs that could write.
    pub(crate) fn begin_ledger(&mut self) {
        let file = ledger_file(&self.lab);
        // There is none before the first start.
        let _ = fs::remove_file(&file);
        *self.ledger.borrow_mut() = Ledger::new(&file);
    }

    /// `leasehold init mail`, as the operator does it once.
    pub(crate) fn init(&self) {
        let mut said = String::new();
        let done = within(SETTLED_LIMIT, || {
            let output = self.hosts[0].leasehold(&["init", "mail"]);
            said = words(&output);
            output.status.success().then_some(())
        });
        assert!(done.is_some(), "leasehold init: {said}");
    }

    /// The host that serves, by its own word.
    pub(crate) fn leader(&self) -> Option<usize> {
        self.hosts.iter().position(Host::leads)
    }

    pub(crate) fn await_leader(&self) -> usize {
        until("a host to serve", SETTLED_LIMIT, || self.leader())
    }

    /// A host that is on and does not serve.
    pub(crate) fn standby(&self) -> usize {
        let leader = self.await_leader();
        let found = self
            .hosts
            .iter()
            .enumerate()
            .find(|(place, host)| *place != leader && host.is_up());
        found.expect("a standby").0
    }

    /// Waits until one host serves and all others could.
    pub(crate) fn settle(&self) {
        until("one leader, and every other host ready", SETTLED_LIMIT, || {
            let up = || self.hosts.iter().filter(|host| host.is_up());
            let one = up().filter(|host| host.leads()).count() == 1;
            (one && up().all(Host::is_ready)).then_some(())
        });
    }

    /// The run that writes now, or wrote last.
    pub(crate) fn last_run(&self) -> Run {
        let mut ledger = self.ledger.borrow_mut();
        ledger.update();
        ledger.runs.last().cloned().expect("a service that has run")
    }

    /// Waits until a client is greeted through the virtual address.
    pub(crate) fn await_greeting(&self) -> Duration {
        let limit = SETTLED_LIMIT;
        let greeted = self.lab.client(move || {
            let quick = Duration::from_millis(100);
            until("a greeting through the virtual address", limit, || {
                mail::greeting(at(VIP4, 25), quick, GREETING_LIMIT).ok()
            });
            now()
        });
        greeted.join().expect("a greeting")
    }

    /// Lets mail flow while something is done to the hosts, then checks everything; nobody may have written beside
    /// another.
    pub(crate) fn under_mail(&mut self, act: impl FnOnce(&mut Self)) -> Seen {
        let seen = self.observe(act);
        assert_eq!(
            seen.two_writers(),
            Duration::ZERO,
            "two runs wrote at the same time: {:?}",
            seen.late
        );
        assert_eq!(seen.two_owners, Duration::ZERO, "two hosts answered for the address");
        seen
    }

    /// The same, where two writers are measured and not judged.
    pub(crate) fn observe(&mut self, act: impl FnOnce(&mut Self)) -> Seen {
        self.settle();
        let before = self.late().len();
        let observer = Observer::start(&self.lab);
        let mut traffic = Traffic::start(&self.lab);
        traffic.flows();
        act(self);
        self.await_greeting();
        traffic.flows();
        let (accepted, outages) = traffic.finish();
        let mut seen = Seen {
            accepted: accepted.len(),
            outage: outages[0],
            ..Seen::default()
        };
        self.accepted.extend(accepted);
        self.verify();
        seen.two_owners = observer.finish();
        seen.late = self.late().split_off(before);
        seen
    }

    /// All stretches with two writers so far.
    pub(crate) fn late(&self) -> Vec<Late> {
        let mut ledger = self.ledger.borrow_mut();
        ledger.update();
        ledger.late.clone()
    }

    /// No accepted message is lost, exactly one host answers for the addresses, no epoch fell, one container runs.
    fn verify(&mut self) {
        let leader = self.await_leader();
        self.verify_mail();
        self.empty_mailbox();
        self.verify_addresses(leader);
        let fallen = self.ledger.borrow().fallen.clone();
        assert!(fallen.is_empty(), "epochs fell in the ledger: {fallen:?}");
        let serving: Vec<_> = self
            .hosts
            .iter()
            .filter(|host| host.is_up())
            .map(|host| host.serving())
            .collect();
        assert_eq!(serving.concat().len(), 1, "containers that run: {serving:?}");
    }

    /// Keeps reading it back quick.
    fn empty_mailbox(&mut self) {
        if self.accepted.len() < MAILBOX_MAX {
            return;
        }
        let emptied = self.lab.client(|| mail::empty(at(VIP4, 993), FETCH_LIMIT));
        emptied
            .join()
            .expect("a mail client")
            .expect("the mailbox to be emptied");
        self.accepted.clear();
    }

    fn verify_mail(&self) {
        let ways = [
            ("IMAP", VIP4, 993, mail::imap as Fetch),
            ("POP3", VIP4, 995, mail::pop3 as Fetch),
            ("IMAP and IPv6", VIP6, 993, mail::imap as Fetch),
        ];
        for (name, address, port, fetch) in ways.into_iter().filter(|way| VIPS.contains(&way.1)) {
            let wanted = self.accepted.clone();
            let missing = self.lab.client(move || {
                let mut missing = Err("not read yet".to_owned());
                within(DELIVERED_LIMIT, || {
                    missing = match fetch(at(address, port), FETCH_LIMIT) {
                        Ok(found) => Ok(wanted.difference(&found).cloned().collect::<Vec<_>>()),
                        Err(error) => Err(error.to_string()),
                    };
                    missing.as_ref().is_ok_and(Vec::is_empty).then_some(())
                });
                missing
            });
            let missing = missing.join().expect("a mail client");
            assert_eq!(missing, Ok(Vec::new()), "accepted, but not in the mailbox over {name}");
        }
    }

    fn verify_addresses(&self, leader: usize) {
        for address in VIPS {
            let carriers = self.hosts.iter().filter(|host| host.is_up() && host.carries(address));
            let carriers: Vec<_> = carriers.map(|host| host.name).collect();
            assert_eq!(carriers, [self.hosts[leader].name], "who carries {address}");
        }
        // Broadcasts all, so that a second owner would answer too. It says so by its exit code when nobody does.
        let said = self
            .lab
            .in_switch(&format!("busybox arping -b -c 3 -w 3 -I br0 {VIP4} || true"));
        let answers = said.lines().filter_map(|line| line.split(['[', ']']).nth(1));
        let answers: BTreeSet<_> = answers.map(str::to_lowercase).collect();
        assert_eq!(
            answers,
            BTreeSet::from([self.hosts[leader].mac()]),
            "who answers for {VIP4}: {said}"
        );
        if !VIPS.contains(&VIP6) {
            return;
        }
        self.lab
            .in_switch(&format!("ip -6 neigh flush dev br0; ping -q -c 1 -W 2 {VIP6}"));
        let known = self.lab.in_switch(&format!("ip -6 neigh show {VIP6} dev br0"));
        assert!(
            known.contains(&self.hosts[leader].mac()),
            "who answers for {VIP6}: {known}"
        );
    }

    /// For a failure: what each host knows.
    pub(crate) fn describe(&self) -> String {
        let hosts: Vec<_> = self.hosts.iter().map(|host| host.describe(LOG_LINES)).collect();
        hosts.join("\n")
    }
}

fn ledger_file(lab: &Lab) -> PathBuf {
    lab.storage.place().join(LEDGER)
}
