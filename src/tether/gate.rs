//! The gate: everything that must hold before the service is started.

use std::fs::File;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::thread::nanosleep;

use super::args::{Args, Store};
use super::claims::Claims;
use super::exit::Refusal;
use super::home::{self, PageFile, Reading};
use super::link::{Answer, Link};
use super::signals::Signals;
use super::store;
use leasehold_base::clock;
use leasehold_base::epoch::Run;
use leasehold_base::hello::Phase;
use leasehold_base::page::{Order, Page, mark};
use leasehold_base::time::Time;

/// What came through the gate, held until the end.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) file: PageFile,
    pub(super) page: Page,
    pub(super) link: Link,
    /// The protected mounts, to be synced at the end.
    pub(super) stores: Vec<File>,
    /// Those of them that other hosts reach by the network.
    pub(super) remote: Vec<File>,
    /// On their file systems.
    pub(super) claims: Claims,
    /// Held to the end of PID 1, never used again.
    _lock: File,
}

/// The sidecar has this long to say go.
const GO_TIMEOUT: Duration = Duration::from_secs(2);

/// The sidecar has this long to read of a later claim.
const TOLD_TIMEOUT: Duration = Duration::from_secs(1);

/// A torn page is read again this often, this far apart.
const TORN_READS_MAX: u32 = 10;
const TORN_PAUSE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 2_000_000,
};

/// Passes the gate, or says why not. Nothing was started when it returns.
pub(super) fn pass(signals: &Signals, args: &Args) -> Result<Admitted, Refusal> {
    clock::unshifted().map_err(Refusal::Environment)?;
    let boot_id = clock::boot_id().map_err(|error| Refusal::Environment(format!("boot id: {error}")))?;
    let file = PageFile::open().map_err(|error| Refusal::NoPage(error.to_string()))?;
    let before = read(&file)?;
    check(&before, boot_id)?;
    check_store(&before, args)?;
    let lock = home::lock()
        .map_err(|error| Refusal::NoPage(format!("lock: {error}")))?
        .ok_or(Refusal::Locked)?;
    // Before the hello: a storage that hangs hangs here, and the sidecar's patience ends.
    let stores: Vec<File> = args
        .stores
        .iter()
        .map(store::open)
        .collect::<Result<_, _>>()
        .map_err(Refusal::Storage)?;
    let remote = store::remote(&stores).map_err(|error| Refusal::Environment(format!("storage: {error}")))?;
    let claims =
        Claims::take(args, &stores, &file, &before, signals).inspect_err(|refusal| tell(refusal, before.run))?;
    match admitted(&file, &before, args, signals) {
        Ok((link, page)) => Ok(Admitted {
            file,
            page,
            link,
            stores,
            remote,
            claims,
            _lock: lock,
        }),
        Err(refusal) => {
            claims.give_up();
            Err(refusal)
        }
    }
}

/// The sidecar can't read the storage: it hears of a claim of a later epoch from here, and then starts nothing again.
fn tell(refusal: &Refusal, run: Run) {
    let Refusal::LaterClaim { epoch, .. } = refusal else {
        return;
    };
    let until = clock::now().plus(TOLD_TIMEOUT);
    let Ok(mut link) = Link::open(run, Phase::Claimed { epoch: *epoch }, clock::now()) else {
        return;
    };
    // Its answer shows that it has read it; a process that is gone by then would not be believed.
    while link.answer() == Answer::None && !clock::now().reached(until) {
        let _ = nanosleep(&TORN_PAUSE);
    }
}

/// The sidecar's go, and the page as it stands after it.
fn admitted(file: &PageFile, before: &Page, args: &Args, signals: &Signals) -> Result<(Link, Page), Refusal> {
    let link = admission(file, before, signals)?;
    // The sidecar wrote the page before its go; what was read before that may be an older run.
    let page = read(file)?;
    check(&page, before.boot_id)?;
    check_run(before.run, page.run)?;
    check_store(&page, args)?;
    Ok((link, page))
}

fn check_run(wanted: Run, page: Run) -> Result<(), Refusal> {
    if wanted == page {
        Ok(())
    } else {
        Err(Refusal::OtherRun { wanted, page })
    }
}

/// Made before `leasehold init`, or for another storage: such a container would find nothing to look at, and claim nothing.
fn check_store(page: &Page, args: &Args) -> Result<(), Refusal> {
    let is_other = |store: &Store| mark(&store.id) != page.store;
    if page.store != 0 && (args.stores.is_empty() || args.stores.iter().any(is_other)) {
        return Err(Refusal::OtherStore);
    }
    Ok(())
}

pub(super) fn read(file: &PageFile) -> Result<Page, Refusal> {
    for _ in 0..TORN_READS_MAX {
        match file.read() {
            Reading::Page(page) => return Ok(page),
            Reading::Missing => return Err(Refusal::NoPage("the page was deleted".to_owned())),
            Reading::Torn => {
                let _ = nanosleep(&TORN_PAUSE);
            }
        }
    }
    Err(Refusal::NoPage("the page is damaged".to_owned()))
}

fn check(page: &Page, boot_id: [u8; 16]) -> Result<(), Refusal> {
    let now = clock::now();
    if page.boot_id != boot_id {
        return Err(Refusal::OtherBoot);
    }
    match page.order {
        Order::Open => {}
        Order::Closed | Order::Stop | Order::Kill => return Err(Refusal::Closed),
    }
    // The hard deadline too: a page with its deadlines in the wrong order opens nothing.
    if now.reached(page.soft.earlier(page.hard)) {
        return Err(Refusal::TooLate);
    }
    Ok(())
}

/// Until when a start may go on, as the page says now: a short lease is renewed several times while it waits. One that is not this
/// run's any more, or not open, renews nothing; the last look at the gate says so.
pub(super) fn soft(file: &PageFile, before: &Page) -> Time {
    match file.read() {
        Reading::Page(page) if (page.run, page.boot_id, page.order) == (before.run, before.boot_id, Order::Open) => {
            page.soft
        }
        Reading::Page(_) | Reading::Missing | Reading::Torn => before.soft,
    }
}

/// Says hello and waits for the go.
fn admission(file: &PageFile, page: &Page, signals: &Signals) -> Result<Link, Refusal> {
    let not_admitted = |why: &str| Refusal::NotAdmitted(why.to_owned());
    let go_by = clock::now().plus(GO_TIMEOUT);
    let mut link = Link::open(page.run, Phase::Gate, clock::now())
        .map_err(|error| Refusal::NotAdmitted(format!("socket: {error}")))?;
    loop {
        let (now, soft) = (clock::now(), soft(file, page));
        if now.reached(soft) {
            return Err(Refusal::TooLate);
        }
        if now.reached(go_by) {
            return Err(not_admitted("no answer in time"));
        }
        if signals.end_asked() {
            return Err(not_admitted("asked to stop before the start"));
        }
        match link.answer() {
            Answer::Go => return Ok(link),
            Answer::No => return Err(not_admitted("refused")),
            Answer::Lost => return Err(not_admitted("connection lost")),
            Answer::None => {}
        }
        if let Some(socket) = link.socket() {
            let timeout = Timespec::try_from(now.until(go_by.earlier(soft))).ok();
            let mut fds = [
                PollFd::new(socket, PollFlags::IN),
                PollFd::new(signals.wake(), PollFlags::IN),
            ];
            let _ = poll(&mut fds, timeout.as_ref());
        }
    }
}
