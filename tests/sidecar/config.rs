//! What all nodes must agree on, on a real etcd: changed while the sidecar runs, exported, and put back into an etcd that has
//! lost everything.

use etcd_client::{Client, DeleteOptions};

use crate::etcd::{Cluster, FAST};
use crate::process::Sidecar;

impl Sidecar {
    /// As an editor does it.
    fn edit(&self, old: &str, new: &str) {
        let file = self.dir.join("compose.yaml");
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains(old), "{text}");
        std::fs::write(&file, text.replace(old, new)).unwrap();
    }

    /// Exit code, and what was said to either side.
    fn said(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = self.cli(arguments);
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&text).into_owned())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ttl_of_the_edited_file_becomes_the_clusters_while_everything_runs() {
    let etcd = Cluster::start(1, &FAST).await;
    let mut node = Sidecar::new(&[etcd.url(0)], "3s", &[]);
    node.start();
    node.wait("joined", |status| status["member"] == "joined");
    let (code, text) = node.said(&["config", "diff"]);
    assert!(code == Some(0) && text.contains("equal"), "{text}");

    node.edit("ttl: 3s", "ttl: 4s");
    let (code, text) = node.said(&["config", "diff"]);
    assert!(code == Some(1) && text.contains("config apply"), "{text}");
    let (code, text) = node.said(&["config", "apply", "--why", "slow disks"]);
    assert!(code == Some(0) && text.contains("4s now, it was 3s"), "{text}");
    node.wait("confirmed", |status| {
        status["ttl_ms"] == 4000 && status["nodes"]["a"]["ttl_ms"] == 4000
    });
    let (code, text) = node.said(&["config", "diff", "--json"]);
    assert!(code == Some(0) && text.contains("\"equal\": true"), "{text}");
    let (code, text) = node.said(&["config", "apply"]);
    assert!(code == Some(0) && text.contains("already"), "{text}");

    node.edit("ttl: 4s", "ttl: 1s");
    let (code, text) = node.said(&["config", "apply"]);
    assert!(
        code == Some(1) && text.contains("smallest ttl that would do here is 2500 ms"),
        "{text}"
    );
    node.edit("ttl: 1s", "ttl: soon");
    let (code, text) = node.said(&["config", "apply"]);
    assert!(code == Some(1) && text.contains("compose.yaml"), "{text}");
    let (_, history) = node.said(&["history", "mail"]);
    assert!(
        history.contains("config apply: ttl 4s") && history.contains("slow disks"),
        "{history}"
    );
    assert!(!node.log().contains("panicked"), "{}", node.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_exported_comes_back_when_etcd_has_lost_everything() {
    let etcd = Cluster::start(1, &FAST).await;
    let mut node = Sidecar::new(&[etcd.url(0)], "3s", &[]);
    node.start();
    node.wait("joined", |status| status["member"] == "joined");
    assert!(node.cli(&["stop", "mail", "--why", "new disk"]).status.success());
    let exported = node.cli(&["config", "export"]);
    assert!(exported.status.success());
    let file = node.dir.join("exported.json");
    std::fs::write(&file, &exported.stdout).unwrap();
    let import = ["config", "import", &file.display().to_string()];
    let (code, text) = node.said(&import);
    assert!(code == Some(1) && text.contains("knows the group mail"), "{text}");

    let mut client = Client::connect([etcd.url(0)], None).await.unwrap();
    let all = Some(DeleteOptions::new().with_prefix());
    client.delete("/leasehold/", all).await.unwrap();
    node.wait("frozen", |status| status["member"] == "frozen");
    let (code, text) = node.said(&import);
    assert!(
        code == Some(0) && text.contains("generation 2; mail at epoch 1"),
        "{text}"
    );
    let back = node.wait("back", |status| {
        status["member"] == "joined" && status["groups"]["mail"]["epoch"] == 1
    });
    let stopped = back["groups"]["mail"]["stopped"].as_str().unwrap_or_default();
    assert!(stopped.contains("new disk"), "{back}");
}
