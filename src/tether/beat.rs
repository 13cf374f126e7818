//! Takes the claim of each file system, beats on it while the service runs, and releases it.
//!
//! Each file system has a thread of its own: storage that hangs holds up its thread and nothing else. The loop of PID 1
//! looks at a flag. Every read opens the file again, because NFS shows an open file its cached attributes. Every write
//! goes in place, within one sector: a rename would need the right to write to the directory, five new inodes a
//! second, and leave `.nfs` files behind; a torn read is found by the checksum.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::thread;
use std::time::Duration;

use rustix::event::{EventfdFlags, Timespec, eventfd};
use rustix::fs::{Mode, OFlags, openat};
use rustix::thread::nanosleep;

use super::args::Args;
use super::claim::{CLAIM_BYTES, Claim, Found, Owner, Step, judge};
use super::exit::Refusal;
use super::page::Page;
use super::signals::Signals;
use super::store::CLAIM_FILE;
use crate::clock;
use crate::core::time::Time;

/// Between two beats.
const BEAT: Duration = Duration::from_millis(200);

/// A foreign claim that stands still for this long is dead: two beats, and a little for storage that is slow. It lies in
/// the way of every take-over from a holder that could not release.
const WATCH: Duration = Duration::from_millis(450);

/// Between two looks at a watched claim.
const LOOK: Duration = Duration::from_millis(50);

/// After a watched claim was taken: two that watched the same one write within one look and one write of each other.
const CONFIRM: Duration = Duration::from_millis(100);

/// Beats that fail for this long are worth a line.
const FAILING: Duration = Duration::from_secs(5);

/// The release has this long. Without it the next start watches the claim first, and that is all.
const RELEASE: Duration = Duration::from_secs(1);

/// Between two looks at what the threads report before the start.
const GATE_PAUSE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 5_000_000,
};

/// Enough for the calls made here; the loop locks it into memory with the rest.
const STACK_BYTES: usize = 128 * 1024;

/// The claims of a tether; dropped without [`Claims::release`] they stay held, and the beats end.
#[derive(Debug)]
pub(super) struct Claims {
    threads: Vec<Handle>,
    alarm: Arc<Alarm>,
}

/// The main thread's ends of the channels of one thread.
#[derive(Debug)]
struct Handle {
    report: Receiver<Report>,
    release: SyncSender<()>,
}

/// What a thread says, in this order.
#[derive(Debug)]
enum Report {
    /// Or why not, with the epoch where the claim is of a later one.
    Taken(Result<(), (String, Option<u64>)>),
    Released,
}

#[derive(Debug)]
struct Alarm {
    lost: AtomicBool,
    wake: OwnedFd,
}

impl Alarm {
    /// The flag first: the loop must find it when it wakes up.
    fn ring(&self) {
        self.lost.store(true, Ordering::Release);
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }
}

impl Claims {
    /// Takes the claim of every file system among the stores, or says why not; then no claim of this call stays held.
    pub(super) fn take(args: &Args, stores: &[File], page: &Page, signals: &Signals) -> Result<Self, Refusal> {
        let environment = |what: &str, error: io::Error| Refusal::Environment(format!("{what}: {error}"));
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|error| environment("eventfd", error.into()))?;
        let mut claims = Self {
            threads: Vec::new(),
            alarm: Arc::new(Alarm {
                lost: AtomicBool::new(false),
                wake,
            }),
        };
        let mut devices = Vec::new();
        for (store, directory) in args.stores.iter().zip(stores) {
            let fault = |error: io::Error| Refusal::Storage(format!("storage at {}: {error}", store.path.display()));
            let device = directory.metadata().map_err(fault)?.dev();
            if devices.contains(&device) {
                continue;
            }
            devices.push(device);
            let me =
                Owner::new(args, page).ok_or_else(|| Refusal::NotOurs("names that can't be claimed".to_owned()))?;
            let directory = directory.try_clone().map_err(fault)?;
            let handle = Keeper::start(me, directory, &store.path, page.soft, &claims.alarm)
                .map_err(|error| environment("thread", error))?;
            claims.threads.push(handle);
        }
        match claims.await_all(page, signals) {
            Ok(()) => Ok(claims),
            Err(refusal) => {
                claims.release();
                Err(refusal)
            }
        }
    }

    /// Waits until every thread has taken its claim; storage may hang.
    fn await_all(&self, page: &Page, signals: &Signals) -> Result<(), Refusal> {
        for thread in &self.threads {
            loop {
                match thread.report.try_recv() {
                    Ok(Report::Taken(outcome)) => {
                        outcome.map_err(|(why, later)| match later {
                            Some(epoch) => Refusal::LaterClaim { epoch, why },
                            None => Refusal::Storage(why),
                        })?;
                        break;
                    }
                    Ok(Report::Released) => break,
                    Err(TryRecvError::Empty) => {}
                    Err(TryRecvError::Disconnected) => {
                        return Err(Refusal::Environment("the thread of a claim ended".to_owned()));
                    }
                }
                let now = clock::now();
                if now.reached(page.soft) {
                    return Err(Refusal::TooLate);
                }
                if signals.end_asked() {
                    return Err(Refusal::NotAdmitted("asked to stop before the start".to_owned()));
                }
                let _ = nanosleep(&GATE_PAUSE);
            }
        }
        Ok(())
    }

    /// Somebody else's claim was found: this storage is no longer ours. Never blocks.
    pub(super) fn lost(&self) -> bool {
        self.alarm.lost.load(Ordering::Acquire)
    }

    /// Readable when a claim was lost.
    pub(super) fn wake(&self) -> &OwnedFd {
        &self.alarm.wake
    }

    /// Marks every claim as released, and waits for it a while. Only when nothing can write any more.
    pub(super) fn release(self) {
        for thread in &self.threads {
            let _ = thread.release.try_send(());
        }
        let end = clock::now().plus(RELEASE);
        for thread in &self.threads {
            // A thread that failed has ended, and says nothing more.
            while let Ok(Report::Taken(_)) = thread.report.recv_timeout(clock::now().until(end)) {}
        }
    }
}

/// The thread of one claim.
struct Keeper {
    me: Owner,
    directory: File,
    path: PathBuf,
    /// Nothing is taken after this.
    soft: Time,
    alarm: Arc<Alarm>,
    report: SyncSender<Report>,
    release: Receiver<()>,
    failing_since: Option<Time>,
    told: bool,
    /// The claim found was of this later epoch.
    later: Option<u64>,
}

impl Keeper {
    fn start(me: Owner, directory: File, store: &Path, soft: Time, alarm: &Arc<Alarm>) -> io::Result<Handle> {
        // Both messages fit, so the thread never waits for the loop.
        let (report, reported) = sync_channel(2);
        let (release, released) = sync_channel(1);
        let keeper = Self {
            me,
            directory,
            path: store.join(CLAIM_FILE),
            soft,
            alarm: Arc::clone(alarm),
            report,
            release: released,
            failing_since: None,
            told: false,
            later: None,
        };
        thread::Builder::new()
            .name("claim".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || keeper.run())?;
        Ok(Handle {
            report: reported,
            release,
        })
    }

    fn run(mut self) {
        let taken = self.take();
        let failed = taken.is_err();
        let later = self.later;
        let _ = self.report.send(Report::Taken(taken.map_err(|why| (why, later))));
        if failed {
            return;
        }
        loop {
            match self.release.recv_timeout(BEAT) {
                Err(RecvTimeoutError::Timeout) => {
                    if self.beat(false).is_err() {
                        self.alarm.ring();
                        return;
                    }
                }
                Ok(()) => {
                    // A claim that is another's by now stays as it is.
                    let _ = self.beat(true);
                    let _ = self.report.send(Report::Released);
                    return;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn take(&mut self) -> Result<(), String> {
        let found = self.read().map_err(|error| self.fault(&error))?;
        let watched = match judge(&found, &self.me) {
            Step::Take => false,
            Step::Refuse(why) => {
                self.later = match &found {
                    Found::Claim(claim) => Some(claim.owner.run.epoch),
                    Found::Missing | Found::Blank | Found::Damaged(_) => None,
                };
                return Err(self.refusal(&why));
            }
            Step::WatchThenTake => self.watch(&found)?,
            Step::WatchThenRefuse(why) => {
                self.watch(&found)?;
                return Err(self.refusal(&why));
            }
        };
        // A tether that was frozen in the watch must not write over its successor.
        if clock::now().reached(self.soft) {
            return Err(self.refusal("the lease ran out before the claim was taken"));
        }
        let before = match found {
            Found::Claim(claim) => claim.beat,
            Found::Missing | Found::Blank | Found::Damaged(_) => 0,
        };
        self.write(before.wrapping_add(1), false)
            .map_err(|error| self.fault(&error))?;
        self.read_back()?;
        if watched {
            // Two may have watched the same dead claim; of two writers the first sees the second.
            self.pause(CONFIRM)?;
            self.read_back()?;
        }
        Ok(())
    }

    /// Looks at a claim for two beats: true if it stood still, false if it was released; an error if it moved.
    fn watch(&self, first: &Found) -> Result<bool, String> {
        let since = clock::now();
        loop {
            self.pause(LOOK)?;
            let found = self.read().map_err(|error| self.fault(&error))?;
            if found != *first {
                if judge(&found, &self.me) == Step::Take {
                    return Ok(false);
                }
                let by = match &found {
                    Found::Claim(claim) => claim.owner.describe(),
                    Found::Missing | Found::Blank | Found::Damaged(_) => "a writer unknown".to_owned(),
                };
                return Err(self.refusal(&format!("another host writes to it now ({by})")));
            }
            if clock::now().waited(since) >= WATCH {
                return Ok(true);
            }
        }
    }

    /// Ends early when the tether gives up.
    fn pause(&self, span: Duration) -> Result<(), String> {
        match self.release.recv_timeout(span) {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Ok(()) | Err(RecvTimeoutError::Disconnected) => Err(self.refusal("given up")),
        }
    }

    fn read_back(&self) -> Result<(), String> {
        match self.read().map_err(|error| self.fault(&error))? {
            Found::Claim(claim) if claim.owner == self.me => Ok(()),
            Found::Claim(claim) => {
                let by = claim.owner.describe();
                Err(self.refusal(&format!("another host writes to it now ({by})")))
            }
            Found::Missing | Found::Blank | Found::Damaged(_) => {
                Err(self.refusal("what was written is not there when it is read again:"))
            }
        }
    }

    /// Reads, then writes the next beat. An error is another's claim; trouble with the storage is none, because the
    /// lease still counts.
    fn beat(&mut self, released: bool) -> Result<(), ()> {
        let outcome = match self.read() {
            Ok(Found::Claim(claim)) if claim.owner == self.me => self.write(claim.beat.wrapping_add(1), released),
            Ok(Found::Claim(_)) => return Err(()),
            Ok(Found::Missing | Found::Blank) => self.write(1, released),
            // Torn by a write that is under way, perhaps another's: looked at again, not written over.
            Ok(Found::Damaged(_)) => Err(io::Error::other("the claim is damaged")),
            Err(error) => Err(error),
        };
        match outcome {
            Ok(()) => self.failing_since = None,
            Err(error) => self.failed(&error),
        }
        Ok(())
    }

    /// Says once that the claim is not renewed.
    fn failed(&mut self, error: &io::Error) {
        let now = clock::now();
        let since = *self.failing_since.get_or_insert(now);
        if self.told || now.since(since) < FAILING {
            return;
        }
        self.told = true;
        let line = format!(
            "leasehold: {}: not renewed for {FAILING:?}: {error}; the lease still holds\n",
            self.path.display()
        );
        // In a thread of its own: a frozen engine does not empty the pipe.
        let _ = thread::Builder::new().stack_size(STACK_BYTES).spawn(move || {
            let _ = io::stderr().write_all(line.as_bytes());
        });
    }

    fn read(&self) -> io::Result<Found> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = match openat(&self.directory, CLAIM_FILE, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(rustix::io::Errno::NOENT) => return Ok(Found::Missing),
            Err(error) => return Err(error.into()),
        };
        let mut bytes = Vec::with_capacity(CLAIM_BYTES + 1);
        file.take(CLAIM_BYTES as u64 + 1).read_to_end(&mut bytes)?;
        Ok(Found::of(&bytes))
    }

    fn write(&self, beat: u64, released: bool) -> io::Result<()> {
        let claim = Claim {
            owner: self.me.clone(),
            beat,
            released,
        };
        let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        // Not with CREATE at once: the kernel refuses that for another's file in a sticky directory.
        let (file, new) = match openat(&self.directory, CLAIM_FILE, flags, Mode::empty()) {
            Err(rustix::io::Errno::NOENT) => {
                let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::ROTH;
                let file = openat(&self.directory, CLAIM_FILE, flags | OFlags::CREATE, mode)?;
                (File::from(file), true)
            }
            other => (File::from(other?), false),
        };
        file.write_all_at(&claim.encode(), 0)?;
        file.sync_data()?;
        if new {
            self.directory.sync_all()?;
        }
        Ok(())
    }

    fn refusal(&self, why: &str) -> String {
        format!("storage: {why} {}", self.path.display())
    }

    /// What the storage refused, and what helps.
    fn fault(&self, error: &io::Error) -> String {
        let path = self.path.display();
        if error.kind() == io::ErrorKind::PermissionDenied {
            let user = rustix::process::geteuid().as_raw();
            return format!("storage: {path}: {error} for user {user}; make it there by hand and `chown {user}` it");
        }
        format!("storage: {path}: {error}")
    }
}
