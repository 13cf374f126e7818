//! `/v1` as schemathesis drives it by its description: requests that fit and requests that do not, for each role.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use crate::etcd::{Cluster, FAST};
use crate::process::Sidecar;

/// Requests of each kind for an operation; with the rate of acts, some ten seconds a role.
const EXAMPLES: &str = "10";
/// Fewer than this would mean that something was left out.
const LEAST: u32 = 300;
/// One run takes some seconds.
const LIMIT: Duration = Duration::from_secs(60);
/// So long that every hold is refused as too short: under a real one, acts wait for minutes, as they should.
const TTL: &str = "80s";

/// Where `docker/requirements api DIR` has put it; without it this test fails.
fn schemathesis() -> PathBuf {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/schemathesis");
    let place = std::env::var_os("LEASEHOLD_API_DIR").map_or(beside, PathBuf::from);
    let program = place.join("bin/schemathesis");
    let missing = "run `docker/requirements api DIR`, and name DIR in LEASEHOLD_API_DIR";
    assert!(program.is_file(), "{} is missing: {missing}", program.display());
    program
}

#[tokio::test]
async fn the_api_keeps_to_its_description_whatever_is_asked() {
    let program = schemathesis();
    let etcd = Cluster::start(1, &FAST).await;
    let mut node = Sidecar::new(&[etcd.url(0)], TTL, &[]);
    let tokens = node.dir.join("tokens");
    let roles = ["viewer", "operator", "admin"];
    let lines = roles.map(|role| format!("{role} test-{role} 0123456789abcdef-{role}\n"));
    std::fs::write(&tokens, lines.concat()).unwrap();
    node = node.with("LEASEHOLD_TOKENS", tokens.display().to_string());
    node.start();
    node.wait("joined", |status| status["member"] == "joined");

    let base = format!("http://127.0.0.1:{}", node.port);
    // With names that there are, and with any.
    let names = "\n[parameters]\ngroup = \"mail\"\nnode = \"a\"\n";
    for (role, names) in roles.into_iter().flat_map(|role| [(role, names), (role, "")]) {
        let config = node.dir.join("schemathesis.toml");
        let text = format!("[headers]\nAuthorization = \"Bearer 0123456789abcdef-{role}\"\n");
        std::fs::write(&config, text + names).unwrap();
        let run = tokio::process::Command::new(&program)
            .current_dir(&node.dir)
            .arg("--config-file")
            .arg(&config)
            .args(["run", &format!("{base}/v1/openapi.json")])
            .args(["--checks", "all", "--max-examples", EXAMPLES, "--seed", "1"])
            .args(["--request-timeout", "30", "--no-color"])
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(LIMIT, run).await;
        let output = output
            .unwrap_or_else(|_| panic!("as {role}: not done within {LIMIT:?}"))
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success(),
            "as {role}: {said}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let tested = said
            .lines()
            .find(|line| line.contains(" generated"))
            .unwrap_or_default();
        let passed = tested
            .split(", ")
            .find_map(|part| part.strip_suffix(" passed")?.parse::<u32>().ok());
        assert!(passed.is_some_and(|passed| passed >= LEAST), "as {role}: {said}");
    }
    // It lives, and none of it has started anything.
    let status = node.status().unwrap();
    assert_eq!(
        status["groups"]["mail"]["here"].as_str().unwrap_or("stopped"),
        "stopped",
        "{status}"
    );
    let log = node.log();
    assert!(!log.contains("panicked"), "{log}");
    for role in roles {
        assert!(
            !log.contains(&format!("0123456789abcdef-{role}")),
            "a token is in the log"
        );
    }
}
