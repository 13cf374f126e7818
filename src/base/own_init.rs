//! How a tether is told that the image's init must be PID 1, and which capabilities its container got for that alone.

/// Before what the container got, among the arguments of a tether.
pub const FLAG: &str = "--own-init";

/// The tether's first word where it leads a command into the namespace of such an init: `tether within LENT -- command...`.
pub const WITHIN: &str = "within";

/// Nothing was lent: the file asks for the capabilities itself.
const NOTHING: &str = "none";

/// A capability that only the tether needs, and gives away before the service starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lent {
    /// To make a PID namespace.
    SysAdmin,
    /// To take capabilities away for good.
    Setpcap,
    /// To lead a health check to the mounts of the service.
    SysChroot,
}

impl Lent {
    pub const ALL: [Self; 3] = [Self::SysAdmin, Self::Setpcap, Self::SysChroot];

    /// As compose files and engines write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SysAdmin => "SYS_ADMIN",
            Self::Setpcap => "SETPCAP",
            Self::SysChroot => "SYS_CHROOT",
        }
    }
}

/// The word behind [`FLAG`].
#[must_use]
pub fn word(lent: &[Lent]) -> String {
    match lent {
        [] => NOTHING.to_owned(),
        lent => lent.iter().map(|one| one.name()).collect::<Vec<_>>().join(","),
    }
}

/// What such a word says; `None` for any other.
#[must_use]
pub fn read(word: &str) -> Option<Vec<Lent>> {
    if word == NOTHING {
        return Some(Vec::new());
    }
    let named = |name: &str| Lent::ALL.into_iter().find(|one| one.name() == name);
    word.split(',').map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lent_is_read_as_it_is_written() {
        for lent in [&[][..], &[Lent::SysAdmin], &Lent::ALL] {
            assert_eq!(read(&word(lent)).as_deref(), Some(lent));
        }
        for other in ["", "NET_ADMIN", "SYS_ADMIN,", "sys_admin", "none,SETPCAP"] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
