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

#[tokio::test(flavor = "multi_thread")]
async fn what_is_set_counts_at_once_and_is_shown_beside_the_file() {
    let etcd = Cluster::start(1, &FAST).await;
    let mut node = Sidecar::new(&[etcd.url(0)], "3s", &[]);
    node.start();
    node.wait("joined", |status| status["member"] == "joined");

    let set = [
        "config",
        "set",
        "mail",
        "failback=auto:10m",
        "restarts.budget=7",
        "--why",
        "night",
    ];
    let (code, text) = node.said(&set);
    let done = "failback is auto:10m from here on (the file says manual); restarts.budget is 7";
    assert!(
        code == Some(0) && text.contains(done) && text.contains("nothing restarts"),
        "{text}"
    );
    let (code, text) = node.said(&["config", "diff"]);
    let row = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        let words = line.unwrap_or_default().split_whitespace().map(str::to_owned);
        words.collect::<Vec<_>>().join(" ")
    };
    assert!(row("failback").starts_with("failback auto:10m manual - by "), "{text}");
    assert!(row("failback").ends_with("(night)"), "{text}");
    assert_eq!(row("restarts.window"), "restarts.window 10m 10m - no", "{text}");
    assert_eq!(row("priority.a"), "priority.a 100 100 (its host) - no", "{text}");
    assert_eq!(code, Some(0), "no difference of file and cluster: {text}");
    let (_, text) = node.said(&["why", "mail"]);
    assert!(text.contains("restarts.budget=7 (the file says 3), by "), "{text}");

    for (wrong, said) in [
        (
            "ttl=5s",
            "ttl can't be set at run time: every node's deadlines rest on it",
        ),
        ("stop_grace_period=5s", "the deadlines of what runs rest on it"),
        ("failover=auto", "whether a person decides"),
        ("tea=hot", "no setting \"tea\""),
        ("restarts.budget=101", "it is a count from 0 to 100"),
        ("priority.z=7", "no node z"),
        ("failback", "names no value"),
    ] {
        let (code, text) = node.said(&["config", "set", "mail", wrong]);
        assert!(code == Some(1) && text.contains(said), "{wrong}: {text}");
    }

    // As it is found by the next sidecar, and by whoever exports.
    node.stop();
    node.start();
    let back = node.wait("back", |status| status["member"] == "joined");
    assert_eq!(back["groups"]["mail"]["set"]["restarts.budget"]["value"], "7", "{back}");
    let (_, exported) = node.said(&["config", "export"]);
    assert!(exported.contains("\"to\": \"auto:10m\""), "{exported}");

    let (code, text) = node.said(&["config", "set", "mail", "failback=", "--unset", "restarts.budget"]);
    assert!(
        code == Some(0) && text.contains("failback is manual again, as the file says"),
        "{text}"
    );
    node.wait("unset", |status| status["groups"]["mail"]["set"].is_null());
    let (_, history) = node.said(&["history", "mail"]);
    let asked = "config set failback=auto:10m restarts.budget=7";
    assert!(history.contains(asked) && history.contains("night"), "{history}");
    assert!(!node.log().contains("panicked"), "{}", node.log());
}

/// A node with promises at a port that was free a moment ago, once it has joined; its address, and the cluster's prefix in etcd.
async fn joined(etcd: &Cluster) -> (Sidecar, String, Keys) {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    drop(socket);
    let mut node = Sidecar::new(&[etcd.url(0)], "3s", &[]).with("LEASEHOLD_PROMISES_LISTEN", &*address);
    node.start();
    let status = node.wait("joined", |status| status["member"] == "joined");
    assert!(status["promises"].is_null(), "{status}");
    assert!(
        std::net::UdpSocket::bind(&address).is_ok(),
        "nothing is open without promises"
    );
    node.edit("  ttl: 3s\n", "  ttl: 3s\n  promises: 10m\n");
    let prefix = format!("/leasehold/{}/", status["cluster"].as_str().unwrap());
    let client = Client::connect([etcd.url(0)], None).await.unwrap();
    (node, address, Keys { client, prefix })
}

/// What lies in etcd.
struct Keys {
    client: Client,
    prefix: String,
}

impl Keys {
    async fn get(&mut self, key: &str) -> String {
        let answer = self.client.get(format!("{}{key}", self.prefix), None).await.unwrap();
        let value = answer.kvs().first().map(|kv| kv.value_str().unwrap().to_owned());
        value.unwrap_or_default()
    }

    async fn wait(&mut self, key: &str) -> String {
        for _ in 0..100 {
            let value = self.get(key).await;
            if !value.is_empty() {
                return value;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        panic!("no {key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn promises_are_refused_while_a_node_does_not_know_them() {
    let etcd = Cluster::start(1, &FAST).await;
    let (node, address, mut keys) = joined(&etcd).await;
    // A node of an earlier version was here.
    let old = format!("{}status/b", keys.prefix);
    let status = r#"{"version":"0.1.0","address":"","priority":1,"groups":{}}"#;
    keys.client.put(&*old, status, None).await.unwrap();
    node.wait("it to be seen", |status| !status["nodes"]["b"].is_null());
    let (code, text) = node.said(&["config", "apply"]);
    assert!(
        code == Some(1) && text.contains("b does not say that it knows promises"),
        "{text}"
    );
    assert!(!keys.get("config").await.contains("promises"));
    assert!(
        std::net::UdpSocket::bind(&address).is_ok(),
        "nothing is open without promises"
    );
    keys.client.delete(&*old, None).await.unwrap();
    node.wait("it to be gone", |status| status["nodes"]["b"].is_null());
    let (code, text) = node.said(&["config", "diff"]);
    assert!(
        code == Some(1) && text.contains("the file says promises 600s, the cluster off"),
        "{text}"
    );
    let (code, text) = node.said(&["config", "apply"]);
    assert!(code == Some(0) && text.contains("promises are on"), "{text}");
    node.wait("promises", |status| status["promises"]["bound_ms"] == 600_000);
    let (code, text) = node.said(&["config", "diff"]);
    assert!(code == Some(0) && text.contains("the cluster 600s"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn promises_are_turned_on_and_off_and_their_secret_is_told_nobody() {
    let etcd = Cluster::start(1, &FAST).await;
    let (mut node, address, mut keys) = joined(&etcd).await;
    assert!(node.cli(&["config", "apply"]).status.success());
    let voter = keys.wait("status/a/voter").await;
    assert!(voter.contains(&address), "{voter}");
    assert!(std::net::UdpSocket::bind(&address).is_err(), "it is asked there");
    let config: serde_json::Value = serde_json::from_str(&keys.get("config").await).unwrap();
    let secret = config["promises_secret"].as_str().unwrap().to_owned();
    let pin = std::fs::read_to_string(node.dir.join("state/trusted-etcd.json")).unwrap();
    assert!(secret.len() == 64 && pin.contains(&secret), "the secret is on the disk");
    let mut told = vec![node.log(), node.status().unwrap().to_string()];
    let verbs = [
        &["config", "export"][..],
        &["config", "diff", "--json"],
        &["history", "mail"],
        &["why", "mail"],
    ];
    told.extend(verbs.iter().map(|verb| node.said(verb).1));
    assert!(told.iter().all(|text| !text.contains(&secret)), "a secret is told");

    // The next sidecar knows it from its disk, and has the same vote.
    let vote = std::fs::read_to_string(node.dir.join("state/voter.json")).unwrap();
    node.crash();
    node.start();
    node.wait("joined again", |status| status["member"] == "joined");
    let kept = std::fs::read_to_string(node.dir.join("state/voter.json")).unwrap();
    assert_eq!(kept, vote);
    node.edit("  promises: 10m\n", "");
    let (code, text) = node.said(&["config", "apply"]);
    assert!(code == Some(0) && text.contains("promises are off"), "{text}");
    node.wait("none", |status| status["promises"].is_null());
    assert!(!keys.get("config").await.contains("promises"));
    assert!(!node.log().contains("panicked"), "{}", node.log());
}

/// A voter whose host was restarted while etcd is away: it knows from its disk what etcd takes to elect, and can be asked.
#[tokio::test(flavor = "multi_thread")]
async fn a_voter_that_starts_while_etcd_is_away_is_there_to_be_asked() {
    let mut etcd = Cluster::start(1, &FAST).await;
    let (mut node, address, mut keys) = joined(&etcd).await;
    assert!(node.cli(&["config", "apply"]).status.success());
    keys.wait("status/a/voter").await;
    // Stated in no file: etcd tells it, or nobody.
    node.edit("  etcd_election_timeout: 500ms\n", "");
    node.crash();
    etcd.kill(0);
    let (kept, aside) = (node.dir.join("state/election.json"), node.dir.join("aside"));
    std::fs::rename(&kept, &aside).unwrap();
    node.start();
    wait_for_log(&node, "etcd_awaited");
    assert!(node.status().is_none(), "it waits for etcd");
    assert!(std::net::UdpSocket::bind(&address).is_ok(), "and can't be asked");
    node.crash();

    std::fs::rename(&aside, &kept).unwrap();
    node.start();
    node.wait("up without etcd", |status| status["node"] == "a");
    assert!(std::net::UdpSocket::bind(&address).is_err(), "it is asked there");
    assert!(node.log().contains("etcd_awaited"), "{}", node.log());
    etcd.run(0);
    node.wait("joined", |status| status["member"] == "joined");
}

fn wait_for_log(node: &Sidecar, word: &str) {
    for _ in 0..200 {
        if node.log().contains(word) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("{word} is not in\n{}", node.log());
}
