//! What is set for a group at run time: what it is, what is done, and why something can't be set.

use std::fmt;

use crate::protocol::policy::{
    BUDGET_MAX, Change, FALL_MAX, Fixed, Given, INTERVAL_MAX, INTERVAL_MIN, PRIORITY_MAX, PRIORITY_MIN, Policy,
    QUIET_MAX, QUIET_MIN, Setting, Told, WINDOW_MAX, WINDOW_MIN,
};
use leasehold_base::length::write;

/// Of a value in etcd.
pub(crate) const NOT_OURS: &str = "no value that Leasehold writes";

/// What fits a setting.
pub(crate) fn fits(setting: &Setting) -> String {
    match setting {
        Setting::Failback => format!(
            "manual, auto, or auto:LENGTH with a length from {} to {}, such as auto:10m",
            write(QUIET_MIN),
            write(QUIET_MAX)
        ),
        Setting::RestartBudget => format!("a count from 0 to {BUDGET_MAX}"),
        Setting::RestartWindow => {
            format!(
                "a length from {} to {}, such as 10m",
                write(WINDOW_MIN),
                write(WINDOW_MAX)
            )
        }
        Setting::ProbeInterval => {
            format!(
                "a length from {} to {}, such as 5s",
                write(INTERVAL_MIN),
                write(INTERVAL_MAX)
            )
        }
        Setting::ProbeFall | Setting::ProbeFallTimeout => format!("a count from 1 to {FALL_MAX}"),
        Setting::Priority(_) => {
            format!("a number from {PRIORITY_MIN} to {PRIORITY_MAX}; the lower one takes over first")
        }
    }
}

/// Why a key of the file can't be set at run time, and what to do instead.
impl fmt::Display for Fixed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Cluster => {
                "every node's deadlines rest on it: change it in the file of every host, then `leasehold config apply`"
            }
            Self::Deadline => {
                "the deadlines of what runs rest on it, and `leasehold check` adds them up: change it in the file of every host, \
                 and restart the sidecars, the standbys' first"
            }
            Self::Address => {
                "what runs has its addresses, and the kernel keeps them: change it in the file of every host, and restart the \
                 sidecars, the standbys' first"
            }
            Self::Container => {
                "the containers are made from it: change it in the file of every host, then `leasehold apply GROUP`"
            }
            Self::Person => {
                "it says whether a person decides before a group is taken or left: that stands in the file of every host, where it is \
                 read over; change it there, and restart the sidecars"
            }
            Self::File => {
                "it is a matter of the file: change it on every host, and restart the sidecars, the standbys' first"
            }
        })
    }
}

/// As somebody types it.
impl fmt::Display for Change {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Set(wanted) => write!(out, "{}={}", wanted.setting().name(), wanted.value()),
            Self::Unset(setting) => write!(out, "--unset {}", setting.name()),
            Self::UnsetAll => out.write_str("--unset all"),
        }
    }
}

impl fmt::Display for Told {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Set => "as it is set",
            Self::ByItself => "by its own environment",
        })
    }
}

/// With what would count otherwise.
pub(crate) fn set(setting: &Setting, value: &str, file: Option<&str>) -> String {
    let name = setting.name();
    match (setting, file) {
        (Setting::Priority(node), Some(own)) => format!("{name} is {value} from here on ({node} itself says {own})"),
        (_, Some(file)) => format!("{name} is {value} from here on (the file says {file})"),
        (_, None) => format!("{name} is {value} from here on"),
    }
}

/// Nothing is set any more.
pub(crate) fn unset(setting: &Setting, file: Option<&str>) -> String {
    let name = setting.name();
    match (setting, file) {
        (Setting::Priority(node), Some(file)) => format!("{name} is {file} again, as {node} itself says"),
        (Setting::Priority(node), None) => format!("{name} is again what {node} itself says"),
        (_, Some(file)) => format!("{name} is {file} again, as the file says"),
        (_, None) => format!("{name} is again what the file says"),
    }
}

/// It was set, by whom, as the holder sees it.
pub(crate) fn is_set(setting: &Setting, given: &Given) -> String {
    let (value, order) = (given.wanted.value(), &given.order);
    format!("{} is {value} from here on, set {order}", setting.name())
}

/// A node goes by its file all the same.
pub(crate) fn heedless(group: &str, node: &str, version: &str) -> String {
    format!(
        "something is set for {group} at run time, and {node} runs version {version}, which goes by its file: bring it to this version, \
         see `leasehold node list`"
    )
}

/// What an order that landed does.
pub(crate) fn done(group: &str, lines: &[String]) -> String {
    match lines {
        [] => format!("{group}: nothing is set any more, the files count"),
        lines => format!("{group}: {}; on every node, and nothing restarts", lines.join("; ")),
    }
}

/// What stands already, so that nothing is done.
pub(crate) fn already(group: &str, policy: &Policy) -> String {
    let all: Vec<String> = policy
        .given()
        .map(|(setting, given)| format!("{}={}, set {}", setting.name(), given.wanted.value(), given.order))
        .collect();
    match all.is_empty() {
        true => format!("nothing is set for {group}: its values are the files'"),
        false => format!("nothing changes: {group} has {}", all.join("; ")),
    }
}
