//! Why a node takes a group, or does not.

pub(crate) const ETCD_REFUSED: &str = "etcd refused it: see the log";
pub(crate) const NO_CONTACT: &str = "no contact to etcd";
/// Ready, but not to be handed over to.
pub(crate) const CONTACT_IS_YOUNG: &str = "in contact with etcd for less than a ttl";
pub(crate) const NOT_SILENT_YET: &str = "its holder is not silent for long enough";
pub(crate) const TAKEN_WHILE_FREE: &str = "taken while free";

// Nobody else was ready.
pub(crate) const AGAIN_AFTER_LEASE: &str = "started again after its lease ran out";
pub(crate) const AGAIN_AFTER_STOP: &str = "started again after an interrupted stop";

pub(crate) fn held_by(node: &str) -> String {
    format!("{node} holds it")
}

pub(crate) fn lost_to(holder: &str) -> String {
    format!("not taken: {holder} holds it")
}

/// With `failover: confirm`.
pub(crate) fn word_awaited(node: &str, group: &str) -> String {
    format!(
        "{node} fell silent, and {group} is taken from nobody without your word (failover: confirm): make sure that {node} \
         can't write any more, then `leasehold fenced {node}`"
    )
}
