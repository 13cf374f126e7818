//! Promises (docs/promises.md).

pub(crate) const NO_VOTE: &str = "its holder runs by promises, which this node does not take part in";

// Why a value in etcd can't be read: nobody is told more than that it can't.
pub(crate) const NO_VOTER_ID: &str = "not a voter id";
pub(crate) const NO_LIST: &str = "a kept record without its list";
