//! `--json` where a sidecar answers: one object for each verb, whether it did it or refused; said twice, it is done once.

use std::time::Duration;

use serde_json::Value;

use crate::etcd::{Cluster, FAST};
use crate::process::Sidecar;

const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(200);

impl Sidecar {
    /// The exit code and the one object. Whoever asks too fast is told to wait, and does.
    fn object(&self, words: &str) -> (Option<i32>, Value) {
        let arguments: Vec<&str> = words.split(' ').chain(["--json"]).collect();
        for _ in 0..TRIES {
            let output = self.cli(&arguments);
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let read: Value = serde_json::from_str(&text).unwrap_or_else(|why| panic!("{words}: {why}: {text:?}"));
            if !read["message"]
                .as_str()
                .is_some_and(|said| said.contains("too many acts"))
            {
                return (output.status.code(), read);
            }
            std::thread::sleep(PAUSE);
        }
        panic!("{words}: refused again and again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_act_is_answered_with_one_object_and_may_be_repeated() {
    let etcd = Cluster::start(1, &FAST).await;
    let mut node = Sidecar::new(&[etcd.url(0)], "3s", &[]);
    node.start();
    node.wait("joined", |status| status["member"] == "joined");
    for words in [
        "pause mail --for 1m --why disks",
        "resume mail --no-wait",
        "stop mail --why disks",
        "start mail --no-wait",
        "drain a",
        "undrain",
        "config apply",
        "node remove gone",
        "switchover mail --withdraw",
    ] {
        for _ in 0..2 {
            let (code, answer) = node.object(words);
            let message = answer["message"].as_str().unwrap_or_default();
            assert!(
                code == Some(0) && answer["ok"] == true && !message.is_empty(),
                "{words}: {answer}"
            );
        }
    }
    for (words, why) in [
        ("switchover mail", "is not active anywhere"),
        ("apply mail", "is not active anywhere"),
        ("failback mail", "no node is ready for mail"),
        ("drill mail --yes", "no virtual IP"),
        ("fenced --group mail --yes", "nothing to free"),
        ("accept", "strange"),
        ("node remove a", "a is this node"),
        ("stop nowhere", "no group nowhere"),
        ("why nowhere", "no group nowhere"),
    ] {
        let (code, answer) = node.object(words);
        let message = answer["message"].as_str().unwrap_or_default();
        assert!(
            code == Some(1) && answer["ok"] == false && message.contains(why),
            "{words}: {answer}"
        );
    }
    for (words, field) in [
        ("status", "/node"),
        ("why mail", "/group"),
        ("history mail", "/acts/0/verb"),
        ("node list", "/0/name"),
        ("config diff", "/cluster_ttl_ms"),
        ("config export", "/groups"),
        ("check", "/faults/0"),
    ] {
        let (_, read) = node.object(words);
        assert!(
            read.pointer(field).is_some_and(|value| !value.is_null()),
            "{words}: {read}"
        );
    }
    for _ in 0..2 {
        let (code, answer) = node.object("hold 15s");
        assert!(code == Some(0) && answer["ok"] == true, "{answer}");
    }
}
