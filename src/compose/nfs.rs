//! Options of a mount of NFS that do harm to a service which moves between hosts.

/// An option, what it does, and what helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Harm {
    pub option: &'static str,
    pub message: &'static str,
    pub remedy: &'static str,
}

const HARMS: [Harm; 3] = [
    Harm {
        option: "soft",
        message: SOFT,
        remedy: HARD,
    },
    Harm {
        option: "softerr",
        message: SOFT,
        remedy: HARD,
    },
    Harm {
        option: "nocto",
        message: "shows what this host remembers of a file, though another host has written to it since",
        remedy: "take `nocto` out",
    },
];
const SOFT: &str = "makes writes fail when the server is silent for a while, which programs take for a broken disk";
const HARD: &str = "write `hard`, with which they wait";

const NAMES: Harm = Harm {
    option: "lookupcache=all",
    message: "hides what another host has made for up to a minute, because this one remembers that there was no such name",
    remedy: "mount it with `lookupcache=pos` or `actimeo=0`",
};

/// Whether a file system of this type is NFS.
#[must_use]
pub fn is_nfs(kind: &str) -> bool {
    ["nfs", "nfs4"].contains(&kind)
}

/// What is wrong with the options of a mount, as they are written in `o:` or in fstab.
pub fn harms(options: &str) -> impl Iterator<Item = Harm> {
    // The last word counts, as for the kernel.
    let soft = options
        .split(',')
        .rfind(|word| ["soft", "softerr", "hard"].contains(&word.trim()));
    let cto = options.split(',').rfind(|word| ["cto", "nocto"].contains(&word.trim()));
    let said = [soft, cto].map(|word| word.unwrap_or_default().trim());
    HARMS.into_iter().filter(move |harm| said.contains(&harm.option))
}

/// The same of a mount that stays while the service is elsewhere, as `/proc/self/mountinfo` has its options. One that the engine
/// makes for each start remembers nothing.
pub fn harms_of_lasting(options: &str) -> impl Iterator<Item = Harm> {
    let fresh = ["acdirmax=0", "noac", "lookupcache=none", "lookupcache=pos"];
    let remembers = !options.split(',').any(|word| fresh.contains(&word));
    harms(options).chain(remembers.then_some(NAMES))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{file, read_files};
    use super::*;

    fn options(found: impl Iterator<Item = Harm>) -> Vec<&'static str> {
        found.map(|harm| harm.option).collect()
    }

    #[test]
    fn what_counts_is_the_last_word() {
        for (given, found) in [
            ("addr=10.0.0.9,rw", vec![]),
            ("addr=10.0.0.9,soft,nocto", vec!["soft", "nocto"]),
            ("soft,hard", vec![]),
            ("hard,softerr,cto", vec!["softerr"]),
            ("nocto,cto", vec![]),
            ("softreval", vec![]),
        ] {
            assert_eq!(options(harms(given)), found, "{given}");
        }
    }

    #[test]
    fn a_mount_that_stays_must_not_remember_names() {
        let seen = "rw,vers=4.2,hard,proto=tcp,local_lock=none,addr=10.0.0.9";
        assert_eq!(options(harms_of_lasting(seen)), ["lookupcache=all"]);
        for fresh in ["acregmin=0,acregmax=0,acdirmin=0,acdirmax=0", "noac", "lookupcache=pos"] {
            assert_eq!(
                options(harms_of_lasting(&format!("{seen},{fresh}"))),
                [""; 0],
                "{fresh}"
            );
        }
    }

    #[test]
    fn the_file_is_told_by_line_and_key() {
        let warned = |kind: &str, given: &str| {
            let volumes = format!("volumes:\n  v:\n    driver_opts:\n      type: {kind}\n      o: '{given}'\n");
            let text = file("", "volumes: ['v:/v']", &volumes);
            let mut warnings = read_files(&[("compose.yaml", &text)]).unwrap().warnings;
            warnings.retain(|warning| warning.contains("volumes.v."));
            warnings
        };
        let [one] = &warned("nfs", "addr=10.0.0.9,soft")[..] else {
            panic!("one warning");
        };
        for words in [
            "compose.yaml:",
            "volumes.v.driver_opts.o",
            "`soft` makes writes fail",
            "write `hard`",
        ] {
            assert!(one.contains(words), "{one}");
        }
        assert_eq!(warned("nfs4", "addr=10.0.0.9,nocto").len(), 1);
        assert_eq!(warned("nfs4", "addr=10.0.0.9,hard").len(), 0);
        assert_eq!(warned("cifs", "soft,nocto").len(), 0);
    }
}
