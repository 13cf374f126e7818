//! What becomes of an order once it is taken, for whoever asked for it: the command line, and the console.
//!
//! Pure: it decides on the words of the API alone.

use std::collections::BTreeMap;
use std::time::Duration;

pub use self::follower::Follower;
pub use self::told::{Told, told, told_of_all};
use crate::history::Epoch;
use crate::status::{GroupLine, NodeLine};
use crate::words::GroupState;

mod follower;
mod told;

/// What was ordered of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Goal {
    /// That another node serves it: this one, where it is known.
    Moves { wish: i64, to: Option<String> },
    /// That another node than this one serves it.
    Leaves { node: String },
    /// That some node serves it; or that it may stay stopped.
    Serves { unless_stopped: bool },
    /// That nobody runs it.
    Stops,
    /// That its holder runs it anew, after this run of it.
    Anew { node: String, run: Option<String> },
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// This node serves it.
    Serves(String),
    /// Nobody runs it.
    Stopped,
    /// There was nothing to do.
    AsItWas,
    /// This node has begun, and what comes of it can't be seen from here.
    Unseen(String),
    Failed(Failure),
}

/// Why it is not as it was ordered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// By its holder, in its words.
    Refused(String),
    /// The request was taken back while it had not begun.
    Withdrawn,
    /// Whoever took it up lost it again.
    Lost(Lost),
    /// It keeps failing on this node, which tries on.
    Fails { node: String, why: String },
    /// Somebody ordered something else meanwhile.
    Overtaken(String),
    /// It could not be stopped.
    Stuck(String),
    /// Its node keeps it.
    Stays { node: String, why: String },
    /// An order that stands keeps it from starting.
    Forbidden(String),
    /// Nobody holds it, and no node could take it.
    Unready(String),
    /// What runs is still not what the file says.
    Differs(String),
}

/// A node that had it and does not hold it any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    pub node: String,
    /// As it wrote into the history itself; empty if it did not.
    pub cause: String,
}

/// Where a group is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Place {
    #[default]
    Unknown,
    Nobody,
    Serves(String),
    /// It has not said that it serves.
    Holds(String),
    /// The record names it, and it does not beat.
    Silent(String),
}

/// A line for whoever watches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    Begins(String),
    Ends { what: String, took: Duration },
    Note(String),
}

/// What was seen of a group at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    /// Since the order was taken.
    pub at: Duration,
    pub line: &'a GroupLine,
    pub nodes: &'a BTreeMap<String, NodeLine>,
    /// As far as it was read.
    pub epochs: &'a [Epoch],
}

/// Whether the sidecar knows the group's record at all. A line of one that does not tells nothing.
#[must_use]
pub fn is_known(line: &GroupLine) -> bool {
    !matches!(line.state, GroupState::Unknown | GroupState::Other(_))
}

#[cfg(test)]
mod tests;
