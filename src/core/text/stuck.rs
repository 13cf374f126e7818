//! What can't be stopped, and claims on the storage: what a person has to do before anything goes on.

use crate::epoch::Run;

/// The record says it with the cause when it was freed after all.
pub(crate) fn proved_later(why: &str) -> String {
    format!("{why}, and was proved stopped later")
}

pub(crate) fn held_and_down(why: &str, me: &str) -> String {
    format!(
        "{why}: the group is held and stays down. Power {me} off, or cut it from the storage, then run `leasehold \
         fenced {me}` on another node"
    )
}

/// Of another group on the same host.
pub(crate) fn handing_over(stuck: &str, next: &str) -> String {
    format!("{stuck} can't be stopped on this node: handing over to {next}")
}

pub(crate) fn could_not_be_stopped_on(stuck: &str, me: &str) -> String {
    format!("{stuck} could not be stopped on {me}")
}

/// Why a node is not ready.
pub(crate) fn here(stuck: &str) -> String {
    format!("{stuck} can't be stopped here")
}

/// What of a run did not come to its end.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Missing {
    Stop,
    Unmount,
}

impl Missing {
    fn word(self) -> &'static str {
        match self {
            Self::Stop => "stopped",
            Self::Unmount => "unmounted",
        }
    }
}

pub(crate) fn resetting(run: Run, group: &str, missing: Missing) -> String {
    format!("run {run} of {group} can't be {}: resetting this host", missing.word())
}

pub(crate) fn could_not_be(run: Run, missing: Missing) -> String {
    format!("run {run} could not be {}", missing.word())
}

pub(crate) fn reset_failed(why: &str) -> String {
    format!("this host could not be reset ({why}): holding on to what can't be stopped")
}

pub(crate) fn marked(me: &str) -> String {
    format!(
        "marked stuck in etcd: nobody takes it over until {me} is powered off, or cut from the storage, and `leasehold \
         fenced {me}` is run on another node, or until it is proved stopped after all"
    )
}

/// Why a group is active nowhere, or can't be taken.
pub(crate) fn on(node: &str, why: &str) -> String {
    format!("stuck on {node} ({why}): run `leasehold fenced {node}` once {node} is powered off or cut from the storage")
}

/// The storage knows a later epoch than etcd.
pub(crate) fn claimed(group: &str, claim: u64, epoch: u64) -> String {
    format!(
        "the claim on the storage of {group} is of epoch {claim}, above epoch {epoch} in etcd (restored, or another cluster?): \
         it starts nowhere; once no host runs it, `leasehold accept` lifts the epoch above the claim"
    )
}

pub(crate) fn claim_damaged(epoch: u64) -> String {
    format!(
        "the claim on the storage is damaged (epoch {epoch} was never counted): once no host runs the service, remove .leasehold-claim \
         from its protected mounts"
    )
}
