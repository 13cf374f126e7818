//! Events that no receiver has taken yet, in a file of the state directory, so that they outlive the sidecar. A thread of its own
//! writes it: neither the loop nor a delivery waits for a disk.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{EventMessage, QUEUE_MAX};
use crate::counters::Receiver;
use leasehold_base::small_file;

/// Of the whole file: every queue full of long sentences.
const FILE_MAX: u64 = 8 << 20;
/// Letters of one sentence in it, which take six bytes each at most: both queues full of them fit into the file.
const TEXT_MAX: usize = 2048;
/// Those that are being delivered stand beside the queue.
const KEPT_MAX: usize = QUEUE_MAX + 8;
/// Between two looks at whether all is written.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

type Queues = BTreeMap<String, VecDeque<Arc<EventMessage>>>;

/// As it lies on the disk.
#[derive(Debug, Serialize, Deserialize)]
struct Document {
    /// By receiver, oldest first.
    waiting: BTreeMap<String, Vec<EventMessage>>,
}

#[derive(Debug, Default)]
struct State {
    queues: Queues,
    /// Something changed since the last write.
    is_changed: bool,
    is_writing: bool,
    /// The thread is there.
    is_kept: bool,
    /// The last write failed, which was told.
    has_failed: bool,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    state: Mutex<State>,
    changed: Condvar,
}

/// What waits for each receiver; clones are the same.
#[derive(Clone, Debug)]
pub struct Kept(Arc<Inner>);

impl Kept {
    /// Reads what an earlier sidecar left; a damaged file is set aside and told. Ends in memory alone where no thread can be had.
    #[must_use]
    pub fn open(state_dir: &Path) -> Self {
        let path = state_dir.join("events.json");
        let queues = read(&path).unwrap_or_else(|error| {
            let aside = path.with_extension("json.damaged");
            // Where it can't be moved it is written over.
            let moved = std::fs::rename(&path, &aside).is_ok();
            tracing::warn!(
                code = "events_unreadable",
                alarm = true,
                moved,
                "events that an earlier sidecar kept can't be read: {}: {error}; they are set aside in {}",
                path.display(),
                aside.display()
            );
            Queues::new()
        });
        let state = State {
            queues,
            is_kept: true,
            ..State::default()
        };
        let inner = Arc::new(Inner {
            path,
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        let own = Arc::clone(&inner);
        let spawned = std::thread::Builder::new()
            .name("events".to_owned())
            .spawn(move || own.keep());
        if let Err(error) = spawned {
            inner.lock().is_kept = false;
            inner.tell(&error);
        }
        Self(inner)
    }

    /// What waits for a receiver, oldest first.
    #[must_use]
    pub fn waiting(&self, receiver: Receiver) -> Vec<Arc<EventMessage>> {
        let state = self.0.lock();
        let queue = state.queues.get(receiver.word());
        queue.into_iter().flatten().map(Arc::clone).collect()
    }

    /// Nobody is told of these receivers any more.
    pub(super) fn only(&self, receivers: &[Receiver]) {
        let known: Vec<&str> = receivers.iter().map(|receiver| receiver.word()).collect();
        self.0
            .change(|queues| queues.retain(|name, _| known.contains(&name.as_str())));
    }

    /// One more waits; the oldest beyond the bound goes.
    pub(super) fn add(&self, receiver: Receiver, told: &Arc<EventMessage>) {
        self.0.change(|queues| {
            let queue = queues.entry(receiver.word().to_owned()).or_default();
            while queue.len() >= KEPT_MAX {
                queue.pop_front();
            }
            queue.push_back(Arc::clone(told));
        });
    }

    /// The receiver has it, or never will.
    pub(super) fn done(&self, receiver: Receiver, id: &str) {
        self.0.change(|queues| {
            if let Some(queue) = queues.get_mut(receiver.word()) {
                queue.retain(|told| told.id != id);
            }
        });
    }

    /// Waits until all is on the disk, at most so long.
    pub async fn flush(&self, within: Duration) {
        let written = async {
            loop {
                if self.0.is_written() {
                    return;
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        // What is not written by then is lost, as after a power cut.
        let _ = tokio::time::timeout(within, written).await;
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing is left to be written, or nobody writes it.
    fn is_written(&self) -> bool {
        let state = self.lock();
        !state.is_kept || !(state.is_changed || state.is_writing)
    }

    fn change(&self, change: impl FnOnce(&mut Queues)) {
        let mut state = self.lock();
        change(&mut state.queues);
        state.is_changed = true;
        self.changed.notify_one();
    }

    /// Writes whenever something changed, as long as the process lives.
    fn keep(&self) {
        loop {
            let mut state = self.lock();
            while !state.is_changed {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            (state.is_changed, state.is_writing) = (false, true);
            let document = document(&state.queues);
            drop(state);
            let written = write(&self.path, &document);
            let mut state = self.lock();
            state.is_writing = false;
            let failed_before = std::mem::replace(&mut state.has_failed, written.is_err());
            drop(state);
            if let Some(error) = written.err().filter(|_| !failed_before) {
                self.tell(&error);
            }
        }
    }

    fn tell(&self, error: &io::Error) {
        tracing::warn!(
            code = "events_not_kept",
            "events that wait for a receiver would not outlive this sidecar: {}: {error}",
            self.path.display()
        );
    }
}

fn document(queues: &Queues) -> Document {
    let bounded = |told: &Arc<EventMessage>| {
        let mut told = EventMessage::clone(told);
        if let Some((at, _)) = told.text.char_indices().nth(TEXT_MAX) {
            told.text.truncate(at);
        }
        told
    };
    let waiting = queues.iter().filter(|(_, queue)| !queue.is_empty());
    Document {
        waiting: waiting
            .map(|(name, queue)| (name.clone(), queue.iter().map(bounded).collect()))
            .collect(),
    }
}

/// Nothing, where there is no file.
fn read(path: &Path) -> io::Result<Queues> {
    let text = match small_file::read_text(path, FILE_MAX) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Queues::new()),
        text => text?,
    };
    let document: Document = serde_json::from_str(&text)?;
    let mut queues = Queues::new();
    for (name, waiting) in document.waiting {
        if let Some(strange) = waiting.iter().find(|told| !told.is_sound()) {
            return Err(io::Error::new(
                ErrorKind::InvalidData,
                format!("no event is {:?}", strange.id),
            ));
        }
        let skipped = waiting.len().saturating_sub(QUEUE_MAX);
        queues.insert(name, waiting.into_iter().skip(skipped).map(Arc::new).collect());
    }
    Ok(queues)
}

fn write(path: &Path, document: &Document) -> io::Result<()> {
    let next = path.with_extension("json.next");
    let mut file = File::options()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&next)?;
    file.write_all(serde_json::to_string(document)?.as_bytes())?;
    file.sync_data()?;
    std::fs::rename(&next, path)
}
