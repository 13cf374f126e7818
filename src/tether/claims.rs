//! PID 1's end of the claims: starts a keeper for each file system, hears of a loss, and releases at the end.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, recv, socketpair};
use rustix::process::Pid;
use rustix::thread::nanosleep;

use super::args::Args;
use super::beat::{ALIVE, LATER, LOST, REFUSED, TAKEN, Task};
use super::claim::{Place, by_file_system, released};
use super::claim_file::ClaimFile;
use super::exit::Refusal;
use super::gate::soft;
use super::home::PageFile;
use super::signals::Signals;
use leasehold_base::clock;
use leasehold_base::page::Page;
use leasehold_base::time::Time;

/// The release has this long. Without it the next start watches the claim first, and that is all.
const RELEASE: Duration = Duration::from_secs(1);

/// A keeper that was killed has this long to be gone.
const KEEPER_END: Duration = Duration::from_millis(200);

/// Between two looks at what the keepers do before the start.
const GATE_PAUSE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 5_000_000,
};

/// A keeper that says nothing for so long was stopped: its thread for this needs no storage.
const SILENT: Duration = Duration::from_secs(3);

/// A pause of this process counts for no more: two ticks.
const STEP_MAX: Duration = Duration::from_millis(100);

/// What a keeper can say at most.
const WORDS_MAX: usize = 1024;

/// The claims of a tether; dropped without a release they stay held.
#[derive(Debug)]
pub(super) struct Claims {
    keepers: Vec<Keeper>,
    socket: OwnedFd,
    /// One was found to be somebody else's.
    lost: bool,
    /// A keeper ended.
    ended: bool,
    /// When the keepers were listened to last.
    heard_at: Option<Time>,
}

/// How it stands with the claims of a running service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Kept,
    /// Somebody else's claim was found, or a keeper ended.
    Lost,
    /// A keeper is there, and says nothing.
    Unwatched,
}

#[derive(Debug)]
struct Keeper {
    process: Child,
    task: Task,
    directory: File,
    /// How long it has said nothing, as far as this process ran meanwhile.
    silent: Duration,
}

impl Claims {
    /// Takes the claim of every file system among the stores, or says why not; then no claim of this call stays held.
    pub(super) fn take(
        args: &Args,
        stores: &[File],
        file: &PageFile,
        page: &Page,
        signals: &Signals,
    ) -> Result<Self, Refusal> {
        let (socket, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(|error| environment("socket", error.into()))?;
        let mut claims = Self {
            keepers: Vec::new(),
            socket,
            lost: false,
            ended: false,
            heard_at: None,
        };
        let started = claims.start(args, stores, page, &theirs);
        drop(theirs);
        match started.and_then(|()| claims.await_all(file, page, signals)) {
            Ok(()) => Ok(claims),
            Err(refusal) => {
                claims.give_up();
                Err(refusal)
            }
        }
    }

    fn start(&mut self, args: &Args, stores: &[File], page: &Page, theirs: &OwnedFd) -> Result<(), Refusal> {
        let places = stores.iter().zip(&args.stores).map(|(directory, store)| {
            let found = directory.metadata();
            let fault = |error| Refusal::Storage(format!("storage at {}: {error}", store.path.display()));
            found.map(|found| (found.dev(), found.ino())).map_err(fault)
        });
        let places: Vec<Place> = places.collect::<Result<_, _>>()?;
        for mounts in by_file_system(&places) {
            let mut paths = mounts
                .iter()
                .filter_map(|index| args.stores.get(*index))
                .map(|store| &store.path);
            let directory = mounts.first().and_then(|index| stores.get(*index));
            let (Some(directory), Some(store)) = (directory, paths.next()) else {
                continue;
            };
            let cluster = args.cluster.as_deref().unwrap_or_default();
            let names = [cluster, &args.group, &args.node, &args.service];
            let task = Task::new(names, page, store, paths.cloned().collect());
            let task = task.ok_or_else(|| Refusal::NotOurs("names that can't be claimed".to_owned()))?;
            let keeper = Keeper::start(task, directory, theirs).map_err(|error| environment("keeper", error))?;
            self.keepers.push(keeper);
        }
        Ok(())
    }

    /// Waits until every keeper has taken its claim; storage may hang.
    fn await_all(&mut self, file: &PageFile, page: &Page, signals: &Signals) -> Result<(), Refusal> {
        let mut waiting = self.keepers.len();
        let mut words = [0; WORDS_MAX];
        while waiting > 0 {
            // Before the keepers: one that has ended may have said why.
            let ended = self.keepers.iter_mut().any(Keeper::has_ended);
            match self.heard(&mut words) {
                Some([TAKEN, ..]) => {
                    waiting -= 1;
                    continue;
                }
                Some([ALIVE, ..]) => continue,
                Some([REFUSED, why @ ..]) => return Err(Refusal::Storage(text(why))),
                Some([LATER, rest @ ..]) => return Err(later(rest)),
                Some(_) => return Err(Refusal::Storage("storage: another host took the claim".to_owned())),
                None if ended => return Err(Refusal::Environment("the keeper of a claim ended".to_owned())),
                None => {}
            }
            if clock::now().reached(soft(file, page)) {
                return Err(Refusal::TooLate);
            }
            if signals.end_asked() {
                return Err(Refusal::NotAdmitted("asked to stop before the start".to_owned()));
            }
            let _ = poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], Some(&GATE_PAUSE));
        }
        Ok(())
    }

    /// One message of a keeper.
    fn heard<'a>(&self, words: &'a mut [u8; WORDS_MAX]) -> Option<&'a [u8]> {
        match recv(&self.socket, &mut words[..], RecvFlags::DONTWAIT) {
            Ok((length, _)) if length > 0 => words.get(..length),
            Ok(_) | Err(_) => None,
        }
    }

    /// Notes the end of a child that may be a keeper.
    pub(super) fn ended(&mut self, pid: Pid) {
        let is_it = |keeper: &Keeper| i64::from(keeper.process.id()) == i64::from(pid.as_raw_pid());
        self.ended |= self.keepers.iter().any(is_it);
    }

    /// Whether the service may go on writing: not if somebody else's claim was found, nor, unless the service is ending
    /// anyway, if nobody looks any more. Never blocks, allocates nothing.
    pub(super) fn fate(&mut self, now: Time, stopping: bool) -> Fate {
        // What was frozen together must not count as silence.
        let step = self.heard_at.map_or(Duration::ZERO, |at| now.since(at)).min(STEP_MAX);
        self.heard_at = Some(now);
        for keeper in &mut self.keepers {
            keeper.silent = keeper.silent.saturating_add(step);
        }
        let mut words = [0; WORDS_MAX];
        loop {
            let alive = match self.heard(&mut words) {
                Some([ALIVE, pid @ ..]) => pid.try_into().map(u32::from_le_bytes).ok(),
                Some([LOST, ..]) => {
                    self.lost = true;
                    None
                }
                Some(_) => None,
                None => break,
            };
            let mut keepers = self.keepers.iter_mut();
            if let Some(keeper) = keepers.find(|keeper| alive == Some(keeper.process.id())) {
                keeper.silent = Duration::ZERO;
            }
        }
        if self.lost || (self.ended && !stopping) {
            Fate::Lost
        } else if !stopping && self.keepers.iter().any(|keeper| keeper.silent >= SILENT) {
            Fate::Unwatched
        } else {
            Fate::Kept
        }
    }

    /// Readable when a keeper says something; `None` when it would be readable for ever.
    pub(super) fn wake(&self) -> Option<&OwnedFd> {
        Some(&self.socket).filter(|_| !self.ended && !self.keepers.is_empty())
    }

    /// Ends the keepers and releases: for a start that failed, when nothing was started yet.
    pub(super) fn give_up(mut self) {
        for keeper in &mut self.keepers {
            keeper.end();
        }
        self.release();
    }

    /// Marks every claim as released, and waits for it a while. Only when nothing can write any more, the keepers
    /// included.
    pub(super) fn release(self) {
        let (done, all) = channel();
        for keeper in self.keepers {
            let done = done.clone();
            // Storage may hang, and this process has to end.
            let _ = thread::Builder::new().spawn(move || {
                keeper.release();
                let _ = done.send(());
            });
        }
        drop(done);
        let end = clock::now().plus(RELEASE);
        while all.recv_timeout(clock::now().until(end)).is_ok() {}
    }
}

impl Keeper {
    fn start(task: Task, directory: &File, theirs: &OwnedFd) -> io::Result<Self> {
        let process = Command::new("/proc/self/exe")
            .arg0("tether")
            .args(task.words())
            .env_clear()
            .stdin(Stdio::from(directory.try_clone()?))
            .stdout(Stdio::from(theirs.try_clone()?))
            // Keys typed at a terminal are for the service.
            .process_group(0)
            .spawn()?;
        let directory = directory.try_clone()?;
        Ok(Self {
            process,
            task,
            directory,
            silent: Duration::ZERO,
        })
    }

    fn has_ended(&mut self) -> bool {
        !matches!(self.process.try_wait(), Ok(None))
    }

    /// Kills it. One that hangs in the kernel goes with this process.
    fn end(&mut self) {
        let _ = self.process.kill();
        let until = clock::now().plus(KEEPER_END);
        while !self.has_ended() && !clock::now().reached(until) {
            let _ = nanosleep(&GATE_PAUSE);
        }
    }

    /// A claim that is another's by now stays as it is.
    fn release(self) {
        let file = ClaimFile::new(self.directory, &self.task.store);
        let left = file
            .read()
            .map(|found| released(&found, &self.task.me, &self.task.service));
        if let Ok(Some(claim)) = left {
            let _ = file.write(&claim);
        }
    }
}

/// A claim of a later epoch: that epoch, and why it refuses.
fn later(words: &[u8]) -> Refusal {
    match words.split_first_chunk() {
        Some((epoch, why)) => Refusal::LaterClaim {
            epoch: u64::from_le_bytes(*epoch),
            why: text(why),
        },
        None => Refusal::Environment("a keeper said half a word".to_owned()),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn environment(what: &str, error: io::Error) -> Refusal {
    Refusal::Environment(format!("{what}: {error}"))
}
