//! Words that the sidecar chooses from. A later version may know more of them, and what it says is kept as it was read.

use leasehold_base::open_words;
use leasehold_core::event;
use leasehold_core::group;
use leasehold_core::history;
use leasehold_core::protocol;
use leasehold_core::snapshot::health;
use leasehold_core::snapshot::status;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{Object, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

/// Writes such an enum, with the words in the description of the API.
macro_rules! words {
    ($(#[doc = $doc:literal])+ $name:ident { $($(#[$each:meta])* $variant:ident = $word:literal,)+ }) => {
        open_words! {
            $(#[doc = $doc])+
            $name { $($(#[$each])* $variant = $word,)+ }
        }

        /// Nothing was said.
        impl Default for $name {
            fn default() -> Self {
                Self::from(String::new())
            }
        }

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let words = Object::builder().schema_type(Type::String);
                let words = words.description(Some([$($doc.trim()),+].join("\n")));
                words.enum_values(Some(Self::WORDS.iter().copied())).into()
            }
        }

        impl ToSchema for $name {}
    };
}

/// The same from an enum of the core, which has the same words.
macro_rules! words_of {
    ($core:ty, $(#[doc = $doc:literal])+ $name:ident { $($(#[$each:meta])* $variant:ident = $word:literal,)+ }) => {
        words! {
            $(#[doc = $doc])+
            $name { $($(#[$each])* $variant = $word,)+ }
        }

        impl From<$core> for $name {
            fn from(word: $core) -> Self {
                type Core = $core;
                match word {
                    $(Core::$variant => Self::$variant,)+
                }
            }
        }

        #[cfg(test)]
        impl $name {
            /// Each word of the core, beside the one here.
            pub(crate) fn pairs() -> Vec<(&'static str, &'static str)> {
                type Core = $core;
                vec![$((Core::$variant.word(), $word)),+]
            }
        }
    };
}

words_of! { status::MemberState,
    /// How a node stands in the cluster.
    MemberState {
        /// Not yet a member.
        Arriving = "arriving",
        /// For what an earlier run of this node promised to be over.
        Waiting = "waiting",
        Joined = "joined",
        /// It lost its place, and stops what it runs.
        Lost = "lost",
        /// This etcd is not the one that it trusts.
        Frozen = "frozen",
        /// It ended in order.
        Left = "left",
    }
}

words_of! { status::WatchdogState,
    /// The hardware watchdog of a host: `not fed`, after which the host is reset; empty without one.
    WatchdogState {
        Missing = "",
        Asleep = "asleep",
        Fed = "fed",
        NotFed = "not fed",
    }
}

words_of! { status::NodeState,
    /// Whether a node beats.
    NodeState {
        Alive = "alive",
        Silent = "silent",
        /// It took part, its lease has ended, and nobody removed it.
        Away = "away",
    }
}

words_of! { group::Stage,
    /// Where a run stands.
    Stage {
        /// An earlier sidecar started it, and its containers have not answered yet.
        Adopting = "adopting",
        Starting = "starting",
        /// All containers run; probes or addresses are awaited.
        Checking = "checking",
        Active = "active",
        Stopping = "stopping",
        /// All containers have stopped; the addresses go.
        Withdrawing = "withdrawing",
        Stopped = "stopped",
    }
}

words! {
    /// What a group is: the stage of the run where this node holds it, else one of the other words.
    GroupState {
        /// Nothing certain was read of it.
        Unknown = "unknown",
        /// It could not be stopped, here or elsewhere.
        Stuck = "stuck",
        Adopting = "adopting",
        Starting = "starting",
        Checking = "checking",
        Active = "active",
        Stopping = "stopping",
        Withdrawing = "withdrawing",
        Stopped = "stopped",
        /// Another node holds it.
        Standby = "standby",
        Deleted = "deleted",
        /// Nobody holds it.
        Free = "free",
    }
}

impl From<status::GroupState> for GroupState {
    fn from(state: status::GroupState) -> Self {
        match state {
            status::GroupState::Unknown => Self::Unknown,
            status::GroupState::Stuck => Self::Stuck,
            status::GroupState::Held(group::Stage::Adopting) => Self::Adopting,
            status::GroupState::Held(group::Stage::Starting) => Self::Starting,
            status::GroupState::Held(group::Stage::Checking) => Self::Checking,
            status::GroupState::Held(group::Stage::Active) => Self::Active,
            status::GroupState::Held(group::Stage::Stopping) => Self::Stopping,
            status::GroupState::Held(group::Stage::Withdrawing) => Self::Withdrawing,
            status::GroupState::Held(group::Stage::Stopped) => Self::Stopped,
            status::GroupState::Standby => Self::Standby,
            status::GroupState::Deleted => Self::Deleted,
            status::GroupState::Free => Self::Free,
        }
    }
}

words! {
    /// What is wrong with a group that is held. `sick`: it runs, and a probe has failed as often as it takes. `restarting`: on
    /// the way down or up again after a failure. `down`: nothing runs, as between two tries. `impaired`: it serves, but a canary
    /// did not come through. `endangered`: it serves, and a probe saw what will make it fail. A later version may know more
    /// words.
    TroubleState {
        Sick = "sick",
        Restarting = "restarting",
        Impaired = "impaired",
        Endangered = "endangered",
        Down = "down",
    }
}

impl From<protocol::TroubleState> for TroubleState {
    fn from(state: protocol::TroubleState) -> Self {
        match state {
            protocol::TroubleState::Sick => Self::Sick,
            protocol::TroubleState::Restarting => Self::Restarting,
            protocol::TroubleState::Impaired => Self::Impaired,
            protocol::TroubleState::Endangered => Self::Endangered,
            protocol::TroubleState::Down => Self::Down,
            protocol::TroubleState::Other(word) => Self::Other(word),
        }
    }
}

words! {
    /// What an operator wants of a group. A later version may know more words.
    IntentKind {
        Switchover = "switchover",
        /// That it starts again in place, with what the file and the image say.
        Apply = "apply",
    }
}

words! {
    /// What has become of a request. A later version may know more words.
    IntentState {
        /// Its holder has not begun with it.
        Asked = "asked",
        /// From here on it can't be withdrawn.
        Begun = "begun",
        /// Kept for half a minute.
        Refused = "refused",
    }
}

words! {
    /// A part of a move. A later version may know more words.
    PhaseKind {
        /// Since the holder was last heard of.
        Silence = "silence",
        TakeOver = "take-over",
        Addresses = "addresses",
        Containers = "containers",
        /// Until all was up and the probes passed.
        Serving = "serving",
        Stop = "stop",
        /// Of the addresses.
        Withdrawal = "withdrawal",
        Release = "release",
    }
}

impl From<history::PhaseKind> for PhaseKind {
    fn from(kind: history::PhaseKind) -> Self {
        match kind {
            history::PhaseKind::Silence => Self::Silence,
            history::PhaseKind::TakeOver => Self::TakeOver,
            history::PhaseKind::Addresses => Self::Addresses,
            history::PhaseKind::Containers => Self::Containers,
            history::PhaseKind::Serving => Self::Serving,
            history::PhaseKind::Stop => Self::Stop,
            history::PhaseKind::Withdrawal => Self::Withdrawal,
            history::PhaseKind::Release => Self::Release,
            history::PhaseKind::Other(word) => Self::Other(word),
        }
    }
}

words! {
    /// What came before an epoch.
    Before {
        /// Nobody served, as far as is known.
        Nothing = "nothing",
        /// The holder released it.
        Release = "release",
        /// The holder fell silent.
        Silence = "silence",
    }
}

impl From<history::Before> for Before {
    fn from(before: history::Before) -> Self {
        match before {
            history::Before::Nothing => Self::Nothing,
            history::Before::Release => Self::Release,
            history::Before::Silence => Self::Silence,
        }
    }
}

words_of! { event::Level,
    /// How loud a decision is.
    Level {
        Info = "info",
        /// Somebody should look.
        Alarm = "alarm",
    }
}

words_of! { health::Health,
    /// One word, in the order of the exit codes of monitoring plugins: 0 to 3.
    Health {
        /// Every group is active and has a ready standby.
        Normal = "normal",
        /// Every group is active or stopped on purpose, but something would hurt next.
        Warning = "warning",
        /// A group is active nowhere, or sick.
        Failed = "failed",
        /// The node can't tell: it has no good word of etcd.
        Unknown = "unknown",
    }
}

impl Health {
    /// The exit code of `leasehold status`.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self {
            Self::Normal => 0,
            Self::Warning => 1,
            Self::Failed => 2,
            // What a word of a later version means is not known either.
            Self::Unknown | Self::Other(_) => 3,
        }
    }
}
