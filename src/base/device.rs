//! What a helper container says of block devices: a line for each, written and read here.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The tether's first word in this form.
pub const FORM: &str = "device";

/// Whether anything on this host holds a device, as one line of the helper's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Nothing: not mounted here.
    Free,
    /// Mounted, or otherwise in exclusive use.
    Held,
    /// It can't be told, and why.
    Hidden(String),
}

/// The file system on a device, in the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Of the ext family; `mmp`: for how long a mount waits after one that did not end with an unmount, where the kernel
    /// refuses a second mount from another host (multi mount protection).
    Ext {
        mmp: Option<Duration>,
    },
    Xfs,
    Btrfs,
    /// None that is known here.
    Other,
    /// It can't be told, and why.
    Hidden(String),
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Free => f.write_str("free"),
            Self::Held => f.write_str("held"),
            Self::Hidden(why) => write!(f, "hidden {why}"),
        }
    }
}

impl FromStr for Hold {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        match line.split_once(' ').unwrap_or((line, "")) {
            ("free", "") => Ok(Self::Free),
            ("held", "") => Ok(Self::Held),
            ("hidden", why) => Ok(Self::Hidden(why.to_owned())),
            _ => Err(format!("the helper said {line:?}")),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ext { mmp: None } => f.write_str("ext"),
            Self::Ext { mmp: Some(wait) } => write!(f, "ext-mmp {}", wait.as_secs()),
            Self::Xfs => f.write_str("xfs"),
            Self::Btrfs => f.write_str("btrfs"),
            Self::Other => f.write_str("other"),
            Self::Hidden(why) => write!(f, "hidden {why}"),
        }
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let wrong = || format!("the helper said {line:?}");
        match line.split_once(' ').unwrap_or((line, "")) {
            ("ext", "") => Ok(Self::Ext { mmp: None }),
            ("ext-mmp", seconds) => {
                let seconds = seconds.parse().map_err(|_| wrong())?;
                let mmp = Some(Duration::from_secs(seconds));
                Ok(Self::Ext { mmp })
            }
            ("xfs", "") => Ok(Self::Xfs),
            ("btrfs", "") => Ok(Self::Btrfs),
            ("other", "") => Ok(Self::Other),
            ("hidden", why) => Ok(Self::Hidden(why.to_owned())),
            _ => Err(wrong()),
        }
    }
}
