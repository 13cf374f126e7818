//! What is counted from the start of the process on, for the metrics. Clones count together.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use crate::timings::Timings;

use leasehold_core::event::Decision;
use leasehold_core::snapshot::code::Code;

/// Who is told of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receiver {
    Webhook,
    Command,
    Email,
}

impl Receiver {
    /// In a word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Command => "command",
            Self::Email => "email",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfDecision {
    code: &'static str,
    level: &'static str,
    group: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfMove {
    group: String,
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfGroup {
    group: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfProbe {
    group: String,
    probe: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfMessage {
    why: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfReceiver {
    receiver: &'static str,
}

/// The counters.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// How long things took.
    pub timings: Timings,
    decisions: Family<OfDecision, Counter>,
    moves: Family<OfMove, Counter>,
    restarts: Family<OfGroup, Counter>,
    probe_failures: Family<OfProbe, Counter>,
    beats_failed: Counter,
    delivered: Family<OfReceiver, Counter>,
    failed: Family<OfReceiver, Counter>,
    dropped: Family<OfReceiver, Counter>,
    messages_dropped: Family<OfMessage, Counter>,
}

impl Counters {
    /// Counters that begin at zero are there before they count: an increase from nothing is seen by nobody.
    pub fn begin(&self, group: &str, probes: impl IntoIterator<Item = String>) {
        let group = group.to_owned();
        for kind in [Code::FailoverDone.kind(), Code::SwitchoverDone.kind()] {
            let group = group.clone();
            drop(self.moves.get_or_create(&OfMove { group, kind }));
        }
        for probe in probes {
            self.timings.begin(&group, [probe.clone()]);
            let group = group.clone();
            drop(self.probe_failures.get_or_create(&OfProbe { group, probe }));
        }
        drop(self.restarts.get_or_create(&OfGroup { group }));
    }

    /// The same for a receiver of events.
    pub fn begin_receiver(&self, receiver: Receiver) {
        let receiver = receiver.word();
        for family in [&self.delivered, &self.failed, &self.dropped] {
            drop(family.get_or_create(&OfReceiver { receiver }));
        }
    }

    /// A decision was made.
    pub fn decided(&self, decision: &Decision) {
        let code = decision.code;
        let group = decision.group.clone().unwrap_or_default();
        let labels = OfDecision {
            code: code.word(),
            level: code.level().word(),
            group: group.clone(),
        };
        self.decisions.get_or_create(&labels).inc();
        if code == Code::RecoveryStarted {
            self.timings.restart_began(&group);
        } else if matches!(
            code,
            Code::RecoveryDone | Code::RecoveryFailed | Code::RecoveryGivenUp | Code::Released
        ) {
            self.timings.restart_ended(&group, code == Code::RecoveryDone);
        }
        if matches!(code, Code::FailoverDone | Code::SwitchoverDone) {
            let kind = code.kind();
            self.moves.get_or_create(&OfMove { group, kind }).inc();
        } else if code == Code::RecoveryStarted {
            self.restarts.get_or_create(&OfGroup { group }).inc();
        }
    }

    /// A check of the service failed.
    pub fn probe_failed(&self, group: &str, probe: String) {
        let group = group.to_owned();
        self.probe_failures.get_or_create(&OfProbe { group, probe }).inc();
    }

    /// A transaction or a read, each of which is a beat too, brought no answer or a refusal.
    pub fn beat_failed(&self) {
        self.beats_failed.inc();
    }

    /// A receiver has an event.
    pub fn delivered(&self, receiver: Receiver) {
        count(&self.delivered, receiver);
    }

    /// All tries for an event failed.
    pub fn failed(&self, receiver: Receiver) {
        count(&self.failed, receiver);
    }

    /// An event found the queue full.
    pub fn dropped(&self, receiver: Receiver) {
        count(&self.dropped, receiver);
    }

    /// A message between nodes was not sent, or not taken in.
    pub fn message_dropped(&self, why: &'static str) {
        self.messages_dropped.get_or_create(&OfMessage { why }).inc();
    }

    /// Adds all of it to the metrics.
    pub fn register(&self, registry: &mut Registry) {
        self.timings.register(registry);
        registry.register("decisions", "Decisions made, by their code", self.decisions.clone());
        registry.register(
            "moves",
            "Times that this node served what it had taken over",
            self.moves.clone(),
        );
        registry.register(
            "restarts",
            "Starts of the service again in place",
            self.restarts.clone(),
        );
        registry.register(
            "probe_failures",
            "Checks of the service that failed",
            self.probe_failures.clone(),
        );
        let help = "Requests to etcd, each of which is a beat, without a good answer";
        registry.register("beats_failed", help, self.beats_failed.clone());
        registry.register(
            "events_delivered",
            "Events that a receiver took",
            self.delivered.clone(),
        );
        registry.register(
            "events_failed",
            "Events that a receiver did not take in all tries",
            self.failed.clone(),
        );
        registry.register(
            "events_dropped",
            "Events that found the receiver's queue full",
            self.dropped.clone(),
        );
        registry.register(
            "promise_messages_dropped",
            "Messages of promises that were not sent or not taken in, by why",
            self.messages_dropped.clone(),
        );
    }
}

fn count(family: &Family<OfReceiver, Counter>, receiver: Receiver) {
    let receiver = receiver.word();
    family.get_or_create(&OfReceiver { receiver }).inc();
}
