//! The fence adapter against an agent of the fence-agents project, as Debian packages it: `fence_dummy` switches nothing,
//! but reads its options, works and answers as all of them do, by the library that they share.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use leasehold::compose::model::{Fence, FenceOptions};
use leasehold::sidecar::adapters::fence::{faults, fence};

/// Where `docker/requirements fence DIR` has put it; without it these tests fail.
fn agent() -> PathBuf {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/fence");
    let place = std::env::var_os("LEASEHOLD_FENCE_DIR").map_or(beside, PathBuf::from);
    let agent = place.join("fence_dummy");
    let missing = "run `docker/requirements fence DIR`, and name DIR in LEASEHOLD_FENCE_DIR";
    assert!(agent.is_file(), "{} is missing: {missing}", agent.display());
    agent
}

/// A directory of one test, removed at its end.
struct Lab(PathBuf);

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Lab {
    fn new(name: &str) -> Self {
        let place = std::env::temp_dir().join(format!("leasehold-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&place).unwrap();
        std::fs::write(place.join("secret"), "hunter2\n").unwrap();
        Self(place)
    }

    fn fence(&self, options: &[(&str, &str)]) -> Fence {
        let options = options
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let status = self.0.join("status").display().to_string();
        Fence {
            agent: agent(),
            action: "off".to_owned(),
            timeout: Duration::from_secs(30),
            tries: 1,
            common: FenceOptions {
                options: options.chain([("status_file".to_owned(), status)]).collect(),
                secret_files: BTreeMap::from([("password".to_owned(), self.0.join("secret"))]),
            },
            nodes: BTreeMap::new(),
        }
    }

    fn power(&self) -> String {
        std::fs::read_to_string(self.0.join("status")).unwrap()
    }
}

#[tokio::test]
async fn a_real_agent_switches_off_and_says_so() {
    let lab = Lab::new("fence-off");
    std::fs::write(lab.0.join("status"), "on").unwrap();
    let wanted = lab.fence(&[]);
    assert_eq!(faults(&wanted), Vec::<String>::new());
    let said = fence(&wanted, "a").await.unwrap();
    assert_eq!(lab.power(), "off");
    assert!(said.contains("Powered OFF") && !said.contains("hunter2"), "{said}");
    // What is off already is no failure: a second standby may do it again.
    let said = fence(&wanted, "a").await.unwrap();
    assert!(said.contains("OFF"), "{said}");
}

#[tokio::test]
async fn a_real_agent_that_fails_is_no_success_and_names_the_reason() {
    let lab = Lab::new("fence-fail");
    let why = fence(&lab.fence(&[("type", "fail")]), "a").await.unwrap_err();
    assert!(why.starts_with("exit status: 1: "), "{why}");
    assert!(why.contains("Failed: Timed out waiting to power OFF"), "{why}");
    // It repeats options that it does not know, with their values.
    assert!(why.contains("password=***") && !why.contains("hunter2"), "{why}");
}

#[tokio::test]
async fn a_real_agent_that_takes_too_long_is_killed() {
    let lab = Lab::new("fence-slow");
    std::fs::write(lab.0.join("status"), "on").unwrap();
    let mut wanted = lab.fence(&[("delay", "60")]);
    wanted.timeout = Duration::from_secs(2);
    let why = fence(&wanted, "a").await.unwrap_err();
    assert!(why.contains("did not end within 2s"), "{why}");
    assert_eq!(lab.power(), "on");
}
