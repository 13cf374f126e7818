//! The tethers of one protected service, seen from the host.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::net::{SocketFlags, accept_with};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};

use super::connection::{Name, follow};
use super::files::Files;
use crate::adapters::descriptor::readable;
use leasehold_base::clock;
use leasehold_base::epoch::Run;
use leasehold_base::hello::Secret;
use leasehold_base::page::{Order, Page};

/// Connected tethers and processes watched at once; more wait in the backlog.
const CONNECTIONS_MAX: usize = 8;

/// Pause after a failed accept, which would otherwise spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Answers that wait to be sent.
const ANSWERS_MAX: usize = 32;

/// What the tethers of a service report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TetherEvent {
    /// A tether connected and sent its pidfd.
    Hello {
        /// The number given to [`TetherHost::open`].
        service: usize,
        run: Run,
        /// False: it waits at the gate for [`TetherHost::admit`]. True: the service runs.
        running: bool,
        /// Counts the connections of this host; the name for an answer.
        connection: u64,
        /// The PID of the tether on this host, to compare with the engine's; `None` when the sidecar can't see it.
        pid: Option<u32>,
    },
    /// A tether leaves without having started anything: the storage carries a claim of the later `epoch`.
    ClaimAbove {
        service: usize,
        run: Run,
        epoch: u64,
        connection: u64,
    },
    /// A running tether tells how late it woke up.
    Woke { late: Duration },
    /// Proof of stop: the tether, and with it every process of its PID namespace, is gone.
    Gone { service: usize, run: Run, connection: u64 },
}

/// Page, notice and socket of one protected service. The socket closes with it; the page stays.
#[derive(Debug)]
pub struct TetherHost {
    files: Files,
    secret: Arc<Known>,
    answers: mpsc::Sender<Answer>,
    server: JoinHandle<()>,
}

/// The run whose tether may report, and its secret.
pub(super) type Known = Mutex<Option<(Run, Secret)>>;

#[derive(Debug)]
struct Answer {
    connection: u64,
    go: bool,
}

impl TetherHost {
    /// Creates the files and listens; needs a tokio runtime around it.
    ///
    /// `adopt` keeps the page of an earlier sidecar with its run and deadlines; else the page is closed, which kills
    /// what still runs. `service` comes back in every event.
    pub fn open(
        directory: &Path,
        service: usize,
        notice: &str,
        adopt: bool,
        events: mpsc::Sender<TetherEvent>,
    ) -> io::Result<Self> {
        let files = Files::open(directory, clock::boot_id()?, adopt)?;
        files.write_notice(notice)?;
        let listener = readable(files.listen()?)?;
        let (answers, queue) = mpsc::channel(ANSWERS_MAX);
        let run = files.read_page()?.map(|page| page.run);
        let known = run.and_then(|run| Some((run, files.secret_of(run)?)));
        let secret = Arc::new(Mutex::new(known));
        let server = tokio::spawn(serve(listener, service, Arc::clone(&secret), queue, events));
        Ok(Self {
            files,
            secret,
            answers,
            server,
        })
    }

    /// What the page says; `None` when it is damaged.
    pub fn read_page(&self) -> io::Result<Option<Page>> {
        self.files.read_page()
    }

    /// Writes the page, in one call that does not wait for the tether. A new run gets a new secret first.
    pub fn write_page(&self, page: &Page) -> io::Result<()> {
        let mut known = self.secret.lock().unwrap_or_else(PoisonError::into_inner);
        if page.order == Order::Open && known.is_none_or(|(run, _)| run != page.run) {
            *known = Some((page.run, self.files.lay_out(page.run)?));
        }
        drop(known);
        self.files.write_page(page)
    }

    /// Writes the line that a refused container prints: who leads, and the command to use.
    pub fn write_notice(&self, line: &str) -> io::Result<()> {
        self.files.write_notice(line)
    }

    /// Lets the tether of a hello start its service, if the page still says so when it looks again.
    pub fn admit(&self, connection: u64) -> io::Result<()> {
        // Before the service is there to read it.
        self.files.take_away()?;
        self.answer(connection, true)
    }

    /// Sends the tether of a hello away; its end is still reported.
    pub fn refuse(&self, connection: u64) -> io::Result<()> {
        self.answer(connection, false)
    }

    fn answer(&self, connection: u64, go: bool) -> io::Result<()> {
        self.answers
            .try_send(Answer { connection, go })
            .map_err(io::Error::other)
    }
}

impl Drop for TetherHost {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Owns the connections: accepts, passes answers on, forgets the ended ones.
async fn serve(
    listener: AsyncFd<OwnedFd>,
    service: usize,
    secret: Arc<Known>,
    mut answers: mpsc::Receiver<Answer>,
    events: mpsc::Sender<TetherEvent>,
) {
    let mut tasks: JoinSet<u64> = JoinSet::new();
    let mut waiting: HashMap<u64, oneshot::Sender<bool>> = HashMap::new();
    let mut connection = 0;
    loop {
        tokio::select! {
            socket = accept(&listener), if tasks.len() < CONNECTIONS_MAX => {
                connection += 1;
                let (answer, decision) = oneshot::channel();
                waiting.insert(connection, answer);
                let name = Name { service, connection };
                let following = follow(socket, name, Arc::clone(&secret), decision, events.clone());
                tasks.spawn(async move {
                    following.await;
                    name.connection
                });
            }
            Some(answer) = answers.recv() => {
                if let Some(waiter) = waiting.remove(&answer.connection) {
                    // A connection that ended meanwhile needs no answer.
                    let _ = waiter.send(answer.go);
                }
            }
            Some(ended) = tasks.join_next() => {
                if let Ok(ended) = ended {
                    waiting.remove(&ended);
                }
            }
        }
    }
}

/// The next connection. A failed accept (no descriptors left) is tried again at the next one.
async fn accept(listener: &AsyncFd<OwnedFd>) -> OwnedFd {
    loop {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let accepted = listener
            .async_io(Interest::READABLE, |socket| Ok(accept_with(socket, flags)?))
            .await;
        match accepted {
            Ok(socket) => return socket,
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}
