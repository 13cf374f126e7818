//! This node's vote in promises: random bits in the state directory. It belongs to the disk, and is drawn anew where the disk is found
//! in another machine. Whoever has a new one is on no list, and waits longer: that is always safe.

use std::fs::File;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::files;
use leasehold_base::small_file;
use leasehold_core::protocol::kept::VoterId;

const FILE: &str = "voter.json";
/// Of the whole file, and of what tells a machine from others.
const KEPT_MAX: u64 = 4096;
const WORDS_MAX: usize = 256;

/// What tells this machine from a copy of it. Empty where it can't be read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The system's own id.
    machine: String,
    /// What the firmware or the hypervisor calls it.
    product: String,
}

impl Machine {
    /// `machine`: as every beat says it.
    #[must_use]
    pub fn of_host(machine: &str) -> Self {
        let product = small_file::read_text(Path::new("/sys/class/dmi/id/product_uuid"), KEPT_MAX);
        Self::new(machine, &product.unwrap_or_default())
    }

    fn new(machine: &str, product: &str) -> Self {
        let bounded = |text: &str| text.trim().chars().take(WORDS_MAX).collect();
        Self {
            machine: bounded(machine),
            product: bounded(product),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Kept {
    voter: VoterId,
    #[serde(flatten)]
    of: Machine,
}

/// The vote of this disk in this machine; a new one where there is none. Only whoever has the host-wide lock may ask.
///
/// # Errors
/// The disk's, with the path; that the kernel has no randomness.
pub fn of(state_dir: &Path, machine: &Machine) -> io::Result<VoterId> {
    let path = state_dir.join(FILE);
    match small_file::read_text(&path, KEPT_MAX) {
        Ok(text) => match serde_json::from_str::<Kept>(&text) {
            Ok(kept) if kept.of == *machine => return Ok(kept.voter),
            Ok(_) => {
                tracing::warn!(code = "voter_anew", path = %path.display(), "the vote was another machine's: this one gets its own")
            }
            Err(error) => {
                tracing::warn!(code = "voter_anew", path = %path.display(), %error, "the vote can't be read: this node gets a new one");
            }
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(files::named(&path, &error)),
    }
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    let kept = Kept {
        voter: VoterId(u128::from_be_bytes(bytes)),
        of: machine.clone(),
    };
    files::write(&path, &kept)?;
    // Its name, too: what was listed must be this node's after a power cut.
    let directory = File::open(state_dir).and_then(|directory| directory.sync_all());
    directory.map_err(|error| files::named(state_dir, &error))?;
    Ok(kept.voter)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_vote_stays_with_its_disk_and_machine() {
        let place = std::env::temp_dir().join(format!("leasehold-voter-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&place);
        std::fs::create_dir_all(&place).unwrap();
        let here = Machine::new("m1\n", "u1");
        let first = of(&place, &here).unwrap();
        assert_eq!(of(&place, &here).unwrap(), first);
        let mode = std::fs::metadata(place.join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        // A copy in another machine, and back: the first vote is nobody's any more.
        let copy = of(&place, &Machine::new("m1", "u2")).unwrap();
        let other = of(&place, &Machine::new("m2", "u2")).unwrap();
        let back = of(&place, &here).unwrap();
        let mut all = vec![first, copy, other, back];
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 4);
        // Damaged, or of no end: a new one, or none.
        std::fs::write(place.join(FILE), "{}").unwrap();
        assert_ne!(of(&place, &here).unwrap(), back);
        std::fs::write(place.join(FILE), "x".repeat(5000)).unwrap();
        let why = of(&place, &here).unwrap_err().to_string();
        assert!(why.contains("voter.json"), "{why}");
        std::fs::remove_dir_all(&place).unwrap();
    }
}
