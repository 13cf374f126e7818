//! Decisions told to the world: one JSON line each, to a webhook and to a command; and to people by e-mail.
//!
//! The loop only puts an event into a bounded queue for each receiver; what finds it full is dropped and counted. Each is told
//! at least once, as long as its tries last: an answer that is lost, or a sidecar that ends in the middle, makes a second
//! delivery, with the same `id`. What nobody has taken yet is kept in a file for the next sidecar.

mod command;
mod email;
mod kept;
mod tries;
mod webhook;

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

pub use self::kept::Kept;
use crate::counters::{Counters, Receiver};
use leasehold_compose::model::Events;
use leasehold_core::event::Decision;

/// Events that wait for one receiver.
const QUEUE_MAX: usize = 256;

/// What a receiver is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventMessage {
    /// The same for every delivery of one event.
    pub id: String,
    /// Wall time in RFC 3339.
    pub time: String,
    pub cluster: String,
    pub node: String,
    /// None: about the node itself.
    pub group: Option<String>,
    /// As in docs/messages.md.
    pub code: Cow<'static, str>,
    /// `info` or `alarm`.
    pub level: Cow<'static, str>,
    pub epoch: Option<u64>,
    pub text: String,
}

impl EventMessage {
    /// The one line, without its end.
    #[must_use]
    pub fn line(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Whether code and level are words, which go into headers: what was kept on a disk may be anything.
    fn is_sound(&self) -> bool {
        let is_word =
            |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        is_word(&self.code) && is_word(&self.level)
    }
}

/// How patient the deliveries are.
#[derive(Clone, Debug)]
pub struct Pace {
    /// Of one try.
    pub deadline: Duration,
    /// Before each try after the first; their number is the budget.
    pub pauses: Vec<Duration>,
    /// Until a command that still runs is killed, with everything that it started.
    pub command: Duration,
    /// From one e-mail to the next; what happens meanwhile goes into one.
    pub email: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(5),
            pauses: [1, 2, 4, 8].map(Duration::from_secs).to_vec(),
            command: Duration::from_secs(30),
            email: Duration::from_secs(60),
        }
    }
}

/// The queues' sending ends.
#[derive(Debug)]
pub struct Notifier {
    wanted: Events,
    cluster: String,
    node: String,
    life: String,
    count: u64,
    queues: Vec<(Receiver, mpsc::Sender<Arc<EventMessage>>, bool)>,
    kept: Kept,
    counters: Counters,
}

impl Notifier {
    /// Starts a task for each receiver, which first hears what an earlier sidecar kept for it. `life`: random, tells this process
    /// from its other lives.
    #[must_use]
    pub fn open(
        wanted: &Events,
        cluster: &str,
        node: &str,
        life: u64,
        pace: &Pace,
        counters: &Counters,
        kept: Kept,
    ) -> Self {
        let mut queues = Vec::new();
        let begin = |receiver: Receiver| {
            let (queue, told) = mpsc::channel(QUEUE_MAX);
            for waiting in kept.waiting(receiver) {
                // It has room for all that was read back.
                let _ = queue.try_send(waiting);
            }
            counters.begin_receiver(receiver);
            ((receiver, queue, false), told)
        };
        if let Some(hook) = wanted.webhook.clone() {
            let (own, told) = begin(Receiver::Webhook);
            tokio::spawn(webhook::deliver(
                hook,
                pace.clone(),
                told,
                counters.clone(),
                kept.clone(),
            ));
            queues.push(own);
        }
        if !wanted.command.is_empty() {
            let (own, told) = begin(Receiver::Command);
            let words = wanted.command.clone();
            tokio::spawn(command::deliver(
                words,
                pace.command,
                told,
                counters.clone(),
                kept.clone(),
            ));
            queues.push(own);
        }
        if let Some(email) = wanted.email.clone() {
            let (own, told) = begin(Receiver::Email);
            tokio::spawn(email::deliver(
                email,
                pace.clone(),
                told,
                counters.clone(),
                kept.clone(),
            ));
            queues.push(own);
        }
        kept.only(&queues.iter().map(|(receiver, ..)| *receiver).collect::<Vec<_>>());
        let mut text = String::new();
        let _ = write!(text, "{life:016x}");
        Self {
            wanted: wanted.clone(),
            cluster: cluster.to_owned(),
            node: node.to_owned(),
            life: text,
            count: 0,
            queues,
            kept,
            counters: counters.clone(),
        }
    }

    /// What no receiver has taken yet.
    #[must_use]
    pub fn kept(&self) -> Kept {
        self.kept.clone()
    }

    /// Never waits.
    pub fn tell(&mut self, time: String, decision: &Decision) {
        if !self.wanted.wants(decision.code) {
            return;
        }
        self.count += 1;
        let told = Arc::new(EventMessage {
            id: format!("{}-{}", self.life, self.count),
            time,
            cluster: self.cluster.clone(),
            node: self.node.clone(),
            group: decision.group.clone(),
            code: Cow::Borrowed(decision.code.word()),
            level: Cow::Borrowed(decision.code.level().word()),
            epoch: decision.epoch,
            text: decision.text.clone(),
        });
        for (receiver, queue, full) in &mut self.queues {
            // Before it can be delivered, so that nothing that was is kept.
            self.kept.add(*receiver, &told);
            let dropped = queue.try_send(Arc::clone(&told)).is_err();
            if dropped {
                self.kept.done(*receiver, &told.id);
                self.counters.dropped(*receiver);
                if !*full {
                    let max = QUEUE_MAX;
                    tracing::warn!(
                        code = "events_dropped",
                        receiver = receiver.word(),
                        max,
                        "too many events wait: dropped until some are delivered"
                    );
                }
            }
            *full = dropped;
        }
    }
}

/// What keeps the receivers from being told, as far as it can be known without telling them.
#[must_use]
pub fn faults(wanted: &Events) -> Vec<String> {
    let mut faults = wanted.webhook.as_ref().map_or_else(Vec::new, webhook::faults);
    faults.extend(command::fault(&wanted.command));
    faults.extend(wanted.email.iter().flat_map(email::faults));
    faults
}

#[cfg(test)]
mod tests;
