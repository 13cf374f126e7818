//! The keeper of a claim: takes it, and beats on it while the service runs. Started by the tether, one a file system.
//!
//! A process and not a thread of PID 1: the kernel ends a PID namespace when the last thread of its PID 1 is gone, so a
//! thread that hangs in storage would keep alive whatever PID 1 itself may not signal; and it would share its allocator
//! and its map of memory with the kill path. A keeper that hangs holds up its claim and nothing else.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::net::SendFlags;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};

use super::claim::{Beat, Claim, Found, Owner, State, Step, beat, judge, taken, word};
use super::claim_file::ClaimFile;
use super::exit::Refusal;
use super::gate::soft;
use super::home::{self, PageFile};
use super::own_namespace::Beside;
use super::signals::FORWARDED;
use super::standing::{Pulse, Standing};
use super::store::SQUASHED;
use leasehold_base::clock;
use leasehold_base::page::{PAGE_BYTES, Page};
use leasehold_base::small_file;
use leasehold_base::time::Time;
use leasehold_base::watched::{WATCH, Watched};

/// The tether's first word when it is started as a keeper.
pub(super) const FORM: &str = "claim";

/// What a keeper says on its standard output, one message each; a refusal is followed by its reason, one for a claim of a
/// later epoch by that epoch in little endian before the reason.
pub(super) const TAKEN: u8 = b't';
pub(super) const REFUSED: u8 = b'r';
pub(super) const LATER: u8 = b'a';
/// It found somebody else's claim in place of its own, and has ended.
pub(super) const LOST: u8 = b'l';
/// It lives; followed by its PID in little endian.
pub(super) const ALIVE: u8 = b'b';

/// Between two beats.
const BEAT: Duration = Duration::from_millis(200);

/// PID 1 does something twenty times a second; so many beats in which it did nothing are three seconds.
const STILL_MAX: u32 = 15;

/// Between two looks at a watched claim.
pub(super) const LOOK: Duration = Duration::from_millis(50);

/// After a watched claim was taken: two that watched the same one write within one look and one write of each other.
const CONFIRM: Duration = Duration::from_millis(100);

/// A claim is looked for so often, where it is made in between.
const MISSING_MAX: u32 = 3;

/// Beats that fail for this long are worth a line.
const FAILING: Duration = Duration::from_secs(5);

/// What a keeper has to know; its words on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Task {
    pub(super) me: Owner,
    pub(super) service: String,
    page: Page,
    /// The mount that carries the claim.
    pub(super) store: PathBuf,
    /// Other mounts of the file system: a claim of theirs, from before the mounts were changed, counts too.
    beside: Vec<PathBuf>,
}

impl Task {
    /// `None` for names that can't stand in a claim.
    pub(super) fn new(names: [&OsStr; 4], page: &Page, store: &Path, beside: Vec<PathBuf>) -> Option<Self> {
        let [cluster, group, node, service] = names;
        Some(Self {
            me: Owner::new(cluster, group, node, page)?,
            service: word(service)?,
            page: *page,
            store: store.to_owned(),
            beside,
        })
    }

    /// Behind the name of the program.
    pub(super) fn words(&self) -> Vec<OsString> {
        let mut page = String::with_capacity(2 * PAGE_BYTES);
        for byte in self.page.encode() {
            let _ = write!(page, "{byte:02x}");
        }
        let names = [&self.me.cluster, &self.me.group, &self.me.node, &self.service];
        let words = [FORM]
            .into_iter()
            .chain(names.map(String::as_str))
            .chain([page.as_str()]);
        let paths = [&self.store].into_iter().chain(&self.beside);
        words.map(OsString::from).chain(paths.map(OsString::from)).collect()
    }

    /// From the words behind [`FORM`].
    fn parse(words: &[OsString]) -> Option<Self> {
        let [cluster, group, node, service, page, store, beside @ ..] = words else {
            return None;
        };
        let digits = page.to_str().filter(|text| text.is_ascii())?.as_bytes();
        let bytes: Option<Vec<u8>> = digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
            .collect();
        let beside = beside.iter().map(PathBuf::from).collect();
        Self::new(
            [cluster, group, node, service],
            &Page::decode(&bytes?)?,
            store.as_ref(),
            beside,
        )
    }
}

/// The keeper, from the words behind [`FORM`]. Its standard input is the directory, its standard output the tether.
pub(super) fn main(words: &[OsString]) -> ExitCode {
    let refused = |why: &str| Refusal::NotOurs(why.to_owned()).report();
    let Some(task) = Task::parse(words) else {
        return refused("not the words of a keeper");
    };
    if rustix::net::sockopt::socket_type(io::stdout()).is_err() {
        return refused("a keeper that no tether started");
    }
    // As of PID 1: who may look into it could reach the secret of the run, before that is taken away.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    // A service that signals every process at its end does not mean this one.
    for signal in FORWARDED {
        let _ = signal_hook::flag::register(signal.as_raw(), Arc::default());
    }
    match io::stdin().as_fd().try_clone_to_owned() {
        Ok(directory) => Keeper::new(task, directory.into()).run(),
        Err(error) => refused(&error.to_string()),
    }
}

struct Keeper {
    me: Owner,
    service: String,
    /// Nothing is taken after its soft deadline.
    page: Page,
    file: ClaimFile,
    beside: Vec<PathBuf>,
    failing_since: Option<Time>,
    told: bool,
    /// The claim found was of this later epoch.
    later: Option<u64>,
    /// What this host watched while the holder was silent.
    watched: Vec<Watched>,
}

impl Keeper {
    fn new(task: Task, directory: File) -> Self {
        Self {
            page: task.page,
            file: ClaimFile::new(directory, &task.store),
            me: task.me,
            service: task.service,
            beside: task.beside,
            failing_since: None,
            told: false,
            later: None,
            watched: home::watched(),
        }
    }

    fn run(mut self) -> ExitCode {
        if let Err(why) = self.take() {
            match self.later {
                Some(epoch) => say(&[&[LATER], &epoch.to_le_bytes()[..], why.as_bytes()].concat()),
                None => say(&[&[REFUSED], why.as_bytes()].concat()),
            }
            return ExitCode::FAILURE;
        }
        say(&[TAKEN]);
        // In a thread of its own: storage may hang, and is no reason to end anything.
        if thread::Builder::new().spawn(pulse).is_err() {
            return ExitCode::FAILURE;
        }
        loop {
            thread::sleep(BEAT);
            if self.beat().is_err() {
                say(&[LOST]);
                return ExitCode::FAILURE;
            }
        }
    }

    fn take(&mut self) -> Result<(), String> {
        let mut watched = false;
        let mut old = Vec::new();
        for path in self.beside.clone() {
            let fault = |error: io::Error| format!("storage: {}: {error}", path.display());
            let file = ClaimFile::new(small_file::directory(&path).map_err(fault)?, &path);
            let (found, was_watched) = passed(&file, &self.me, &self.watched, &mut self.later)?;
            watched |= was_watched;
            if matches!(found, Found::Claim(_)) {
                old.push(file);
            }
        }
        let claim = self.first_beat(&mut watched)?;
        self.read_back()?;
        if watched {
            // Two may have watched the same dead claim; of two writers the first sees the second.
            thread::sleep(CONFIRM);
            self.read_back()?;
        }
        self.put_away(&old, &claim);
        Ok(())
    }

    /// Writes the first beat over a claim that passes. One that is found missing and can't be made was there all the time: it is
    /// judged as well.
    fn first_beat(&mut self, watched: &mut bool) -> Result<Claim, String> {
        for _ in 0..MISSING_MAX {
            let (found, was_watched) = passed(&self.file, &self.me, &self.watched, &mut self.later)?;
            *watched |= was_watched;
            // A tether that was frozen in the watch must not write over its successor.
            if clock::now().reached(self.soft()) {
                return Err(refusal(&self.file, "the lease ran out before the claim was taken"));
            }
            let claim = taken(&found, &self.me, &self.service);
            let written = match found {
                Found::Missing => self.file.create(&claim),
                Found::Blank | Found::Damaged(_) | Found::Claim(_) => self.file.write(&claim).map(|()| true),
            };
            if written.map_err(|error| fault(&self.file, &error))? {
                return Ok(claim);
            }
        }
        Err(refusal(&self.file, "it comes and goes:"))
    }

    /// As the page says by now: a short lease is renewed several times during a watch.
    fn soft(&self) -> Time {
        PageFile::open().map_or(self.page.soft, |file| soft(&file, &self.page))
    }

    /// Claims of other mounts of this file system are ours by now: the next start need not watch them, and an old holder
    /// that beats on one finds it taken.
    fn put_away(&self, old: &[ClaimFile], claim: &Claim) {
        for file in old {
            let state = State::Released;
            let _ = file.write(&Claim { state, ..claim.clone() });
        }
    }

    fn read_back(&self) -> Result<(), String> {
        match self.file.read().map_err(|error| fault(&self.file, &error))? {
            Found::Claim(claim) if claim.owner == self.me => Ok(()),
            found @ Found::Claim(_) => Err(moved(&self.file, &found)),
            Found::Missing | Found::Blank | Found::Damaged(_) => {
                let why = "what was written is not there when it is read again:";
                Err(refusal(&self.file, why))
            }
        }
    }

    /// Reads, then writes the next beat. An error is another's claim; trouble with the storage is none, because the
    /// lease still counts.
    fn beat(&mut self) -> Result<(), ()> {
        let outcome = match self.file.read().map(|found| beat(&found, &self.me, &self.service)) {
            Ok(Beat::Write(claim)) => self.file.write(&claim),
            Ok(Beat::Lost) => return Err(()),
            Ok(Beat::Again) => Err(io::Error::other("the claim is damaged")),
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
            self.file.path().display()
        );
        // In a thread of its own: a frozen engine does not empty the pipe.
        let _ = thread::Builder::new().spawn(move || {
            let _ = io::stderr().write_all(line.as_bytes());
        });
    }
}

/// Lets a claim pass that is free, at once or after a watch; what it says, and whether it was watched. One of `before` that
/// still stands as it did has been watched already.
fn passed(file: &ClaimFile, me: &Owner, before: &[Watched], later: &mut Option<u64>) -> Result<(Found, bool), String> {
    let found = file.read().map_err(|error| fault(file, &error))?;
    match judge(&found, me) {
        Step::Take => Ok((found, false)),
        Step::Refuse(why) => {
            if let Found::Claim(claim) = &found {
                *later = Some(claim.owner.run.epoch);
            }
            Err(refusal(file, &why))
        }
        Step::WatchThenTake if stood(file, &found, before) => Ok((found, true)),
        Step::WatchThenTake => {
            let watched = watch(file, me, &found)?;
            Ok((found, watched))
        }
        Step::WatchThenRefuse(why) => {
            watch(file, me, &found)?;
            Err(refusal(file, &why))
        }
    }
}

/// Whether it is known to have stood still for two beats.
fn stood(file: &ClaimFile, found: &Found, before: &[Watched]) -> bool {
    let now = clock::now();
    let shows = |sum| before.iter().any(|one| one.shows(file.path(), sum, now));
    found.sum().is_some_and(shows)
}

/// Looks at a claim for two beats: true if it stood still, false if it was released; an error if it moved.
fn watch(file: &ClaimFile, me: &Owner, first: &Found) -> Result<bool, String> {
    let since = clock::now();
    loop {
        thread::sleep(LOOK.min(WATCH.saturating_sub(clock::now().waited(since))));
        let found = file.read().map_err(|error| fault(file, &error))?;
        if found != *first {
            if judge(&found, me) == Step::Take {
                return Ok(false);
            }
            return Err(moved(file, &found));
        }
        if clock::now().waited(since) >= WATCH {
            return Ok(true);
        }
    }
}

/// Tells PID 1 that this process lives, and sees to it that PID 1 does. One that was lowered, or that stands still, keeps no
/// deadline: then everything else in the container is killed from here. Ends when PID 1 can't be looked at.
fn pulse() {
    let own = rustix::process::getpid().as_raw_pid().unsigned_abs().to_le_bytes();
    let mut message = [ALIVE; 5];
    message[1..].copy_from_slice(&own);
    let watched = Standing::of_init().and_then(|standing| Ok((standing, Pulse::of_init()?)));
    let (Ok((mut standing, mut pulse)), Ok(beside)) = (watched, Beside::prove()) else {
        return;
    };
    loop {
        // One that does not listen must not hold this up.
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        let _ = rustix::net::send(io::stdout(), &message, flags);
        if standing.is_lowered() || pulse.look() >= STILL_MAX {
            beside.kill_others();
            signal_hook::low_level::exit(1);
        }
        thread::sleep(BEAT);
    }
}

/// A tether that is gone hears nothing, and has ended this process, too.
fn say(message: &[u8]) {
    let _ = rustix::io::write(io::stdout(), message);
}

fn moved(file: &ClaimFile, found: &Found) -> String {
    let by = match found {
        Found::Claim(claim) => claim.owner.describe(),
        Found::Missing | Found::Blank | Found::Damaged(_) => "a writer unknown".to_owned(),
    };
    refusal(file, &format!("another host writes to it now ({by})"))
}

fn refusal(file: &ClaimFile, why: &str) -> String {
    format!("storage: {why} {}", file.path().display())
}

/// What the storage refused, and what helps.
fn fault(file: &ClaimFile, error: &io::Error) -> String {
    let path = file.path().display();
    let kind = error.kind();
    if kind == io::ErrorKind::PermissionDenied {
        let user = rustix::process::geteuid().as_raw();
        if user == 0 {
            return format!("storage: {path}: {error}; {SQUASHED}");
        }
        return format!("storage: {path}: {error} for user {user}; make it there by hand and `chown {user}` it");
    }
    if [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded].contains(&kind) {
        return format!("storage: {path}: {error}; free some space on it, 512 bytes are enough");
    }
    format!("storage: {path}: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use leasehold_base::epoch::Run;
    use leasehold_base::order::Order;

    #[test]
    fn a_keeper_understands_its_words() {
        let at = |ms| Time::default().plus(Duration::from_millis(ms));
        let page = Page {
            boot_id: [7; 16],
            run: Run { epoch: 3, n: 1 },
            order: Order::Open,
            soft: at(1000),
            hard: at(2000),
            store: 0,
        };
        let names = ["c", "g", "n", "s"].map(OsStr::new);
        for beside in [vec![], vec![PathBuf::from("/b"), PathBuf::from("/c d")]] {
            let task = Task::new(names, &page, Path::new("/a"), beside).unwrap();
            let words = task.words();
            assert_eq!(words[0], FORM);
            assert_eq!(Task::parse(&words[1..]), Some(task));
            assert_eq!(Task::parse(&words[1..6]), None);
            assert_eq!(Task::parse(&words), None);
        }
        assert_eq!(
            Task::new(["c", "g", "a b", "s"].map(OsStr::new), &page, Path::new("/a"), vec![]),
            None
        );
    }
}
