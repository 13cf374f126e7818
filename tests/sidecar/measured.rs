//! `check` advises by what the sidecar has measured, on a real etcd that is frozen for a while.

use std::time::Duration;

use serde_json::Value;

use crate::etcd::{Cluster, FAST};
use crate::process::Sidecar;

fn advice(node: &Sidecar) -> String {
    let output = node.cli(&["check", "--json"]);
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    let report = said["report"].as_array().unwrap();
    let found = report.iter().find_map(|line| {
        let text = line.as_str()?.trim_start();
        text.starts_with("Measured").then(|| text.to_owned())
    });
    found.unwrap_or_else(|| panic!("{said}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_says_which_ttl_an_etcd_would_carry_that_was_frozen_for_a_second() {
    let etcd = Cluster::start(1, &FAST).await;
    let mut node = Sidecar::new(&[etcd.url(0)], "3s", &[]);
    let file = node.dir.join("compose.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let stated = "etcd_election_timeout: 500ms";
    assert!(text.contains(stated), "{text}");
    std::fs::write(&file, text.replace(stated, "etcd_election_timeout: 200ms")).unwrap();
    assert!(advice(&node).contains("nothing was measured here yet"));

    node.start();
    node.wait("joined", |status| status["member"] == "joined");
    etcd.freeze(0);
    tokio::time::sleep(Duration::from_millis(1200)).await;
    etcd.thaw(0);
    let answered = |status: &Value| status["etcd_age_ms"].as_u64().is_some_and(|age| age < 500);
    node.wait("an answer", answered);
    node.stop();
    let said = advice(&node);
    for words in [
        "etcd answered this host within ",
        &format!("etcd {} was looked at once so far", etcd.url(0)),
        "this cluster would carry ttl ",
        "; at 1 s it would have stopped ",
        " times so far: measured for less than a minute, and a day is better",
    ] {
        assert!(said.contains(words), "{words:?} is not in\n{said}");
    }

    // The next one goes on where it ended.
    node.start();
    node.wait("joined again", |status| status["member"] == "joined");
    node.stop();
    let later = advice(&node);
    assert!(later.contains("; at 1 s it would have stopped "), "{later}");
    assert!(!node.log().contains("not_measured"), "{}", node.log());
}
