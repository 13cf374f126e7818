//! Operators who ask for a move, on a real etcd: another node holds the group, played by this test.

use std::io::{BufRead, BufReader};
use std::process::Child;

use etcd_client::{Client, PutOptions, Txn, TxnOp};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::etcd::{Cluster, FAST};
use crate::process::Sidecar;

/// So long that nobody takes b for silent.
const TTL: &str = "80s";
const LEASE: i64 = 7777;

struct World {
    node: Sidecar,
    client: Client,
    prefix: String,
    _etcd: Cluster,
}

/// b holds `mail`, c is ready for it, and a is the sidecar.
async fn world() -> World {
    let etcd = Cluster::start(1, &FAST).await;
    let mut node = Sidecar::new(&[etcd.url(0)], TTL, &[]);
    let mut client = Client::connect([etcd.url(0)], None).await.unwrap();
    client
        .lease_grant(600, Some(etcd_client::LeaseGrantOptions::new().with_id(LEASE)))
        .await
        .unwrap();
    node.start();
    let status = node.wait("joined", |status| status["member"] == "joined");
    let prefix = format!("/leasehold/{}/", status["cluster"].as_str().unwrap());
    let mut world = World {
        node,
        client,
        prefix,
        _etcd: etcd,
    };
    for name in ["b", "c"] {
        let beat = json!({"machine": name, "boot": name, "seq": 1, "nonce": 1, "ttl_ms": 80_000});
        world.put(&format!("nodes/{name}"), &beat).await;
        let ready = json!({"version": "1", "address": "", "priority": 100, "groups": {"mail": {"ready": true}}});
        world.put(&format!("status/{name}"), &ready).await;
    }
    let record = json!({"epoch": 3, "node": "b", "incarnation": LEASE, "state": "active", "reason": "told"});
    world.put("groups/mail/record", &record).await;
    world.node.wait("told of b and c", |status| {
        status["groups"]["mail"]["holder"] == "b" && status["nodes"]["c"]["groups"]["mail"] == ""
    });
    world
}

impl World {
    async fn put(&mut self, key: &str, value: &Value) {
        let key = format!("{}{key}", self.prefix);
        let options = Some(PutOptions::new().with_lease(LEASE));
        self.client.put(key, value.to_string(), options).await.unwrap();
    }

    /// The request as written, with its mod revision.
    async fn intent(&mut self) -> Option<(Value, i64)> {
        let key = format!("{}groups/mail/intent", self.prefix);
        let answer = self.client.get(key, None).await.unwrap();
        let kv = answer.kvs().first()?;
        Some((serde_json::from_slice(kv.value()).unwrap(), kv.mod_revision()))
    }

    async fn asked(&mut self) -> i64 {
        for _ in 0..200 {
            if let Some((wish, revision)) = self.intent().await
                && wish["want"] == "switchover"
            {
                return revision;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("no request came: {}", self.node.log());
    }

    async fn refuse(&mut self) {
        let of = self.asked().await;
        let refused = json!({"want": "refused", "of": of, "why": "c is not ready: its disk is full"});
        self.put("groups/mail/intent", &refused).await;
    }
}

/// The end of a command: its exit code, and what it said.
fn end(child: Child) -> (Option<i32>, String) {
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), said)
}

fn interrupt(of: &Child) {
    let pid = Pid::from_raw(i32::try_from(of.id()).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_the_holder_is_the_answer() {
    let mut world = world().await;
    let asking = world.node.cli_running(&["switchover", "mail", "--to", "c"]);
    world.refuse().await;
    assert_eq!(
        end(asking),
        (
            Some(1),
            "leasehold: b refuses: c is not ready: its disk is full\n".to_owned()
        )
    );
    let status = world.node.status().unwrap();
    assert_eq!(status["groups"]["mail"]["refused"], "c is not ready: its disk is full");

    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let socket = world.node.dir.join("run/leasehold.sock");
    let client = reqwest::Client::builder().unix_socket(socket).build().unwrap();
    let call = client
        .post("http://local/v1/groups/mail/switchover")
        .json(&json!({"to": "c"}));
    let call = tokio::spawn(call.send());
    world.refuse().await;
    let answer = call.await.unwrap().unwrap();
    assert_eq!(answer.status(), 409);
    let body: Value = answer.json().await.unwrap();
    assert_eq!(
        body,
        json!({"ok": false, "code": "holder_refused", "message": "b refuses: c is not ready: its disk is full"})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wish_that_has_not_begun_is_withdrawn_and_one_that_has_is_not() {
    let mut world = world().await;
    let nothing = world.node.cli(&["switchover", "mail", "--withdraw"]);
    assert!(nothing.status.success(), "{nothing:?}");

    let asking = world.node.cli_running(&["switchover", "mail", "--to", "c"]);
    world.asked().await;
    let withdrawn = world.node.cli(&["switchover", "mail", "--withdraw"]);
    let said = String::from_utf8_lossy(&withdrawn.stdout).into_owned();
    assert!(
        withdrawn.status.success() && said.contains("is withdrawn"),
        "{withdrawn:?}"
    );
    let (code, said) = end(asking);
    assert!(
        code == Some(1) && said.contains("the request was withdrawn"),
        "{code:?} {said}"
    );
    assert_eq!(world.intent().await, None);

    let asking = world.node.cli_running(&["switchover", "mail", "--no-wait"]);
    let revision = world.asked().await;
    let begun = json!({"want": "switchover", "to": null, "by": "root on a", "begun": revision});
    world.put("groups/mail/intent", &begun).await;
    world.node.wait("told that it has begun", |status| {
        status["groups"]["mail"]["wish"] == "switchover to the best standby, asked by root on a"
    });
    assert!(asking.wait_with_output().unwrap().status.success());
    let late = world.node.cli(&["switchover", "mail", "--withdraw"]);
    let said = String::from_utf8_lossy(&late.stderr).into_owned();
    assert!(
        late.status.code() == Some(1) && said.contains("can't be withdrawn"),
        "{late:?}"
    );
    assert!(world.intent().await.is_some());
}

/// The group's record as c and b hand it to each other, and what they write in its history.
impl World {
    async fn record(&mut self, epoch: u64, node: &str, state: &str) {
        let record = json!({"epoch": epoch, "node": node, "incarnation": LEASE, "state": state, "reason": "failed 4 times here"});
        self.put("groups/mail/record", &record).await;
    }

    async fn begun(&mut self, epoch: u64, to: &str, served: bool) {
        let begun = json!({"epoch": epoch, "to": to, "cause": "told", "at": "now", "before": "release", "phases": [], "served": served});
        self.put(&format!("history/mail/{epoch}"), &begun).await;
    }

    /// b has obeyed, and c has won the next epoch.
    async fn obeyed(&mut self) {
        let of = self.asked().await;
        let begun = json!({"want": "switchover", "to": "c", "by": "root on a", "begun": of});
        self.put("groups/mail/intent", &begun).await;
        // Its release ends the request, too.
        let intent = format!("{}groups/mail/intent", self.prefix);
        let record = format!("{}groups/mail/record", self.prefix);
        let released = json!({"epoch": 3, "node": "b", "incarnation": LEASE, "state": "released", "reason": "asked"});
        let options = Some(PutOptions::new().with_lease(LEASE));
        let release = TxnOp::put(record, released.to_string(), options);
        let both = Txn::new().and_then([release, TxnOp::delete(intent, None)]);
        self.client.txn(both).await.unwrap();
        self.record(4, "c", "active").await;
        self.begun(4, "c", false).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_is_done_when_the_new_holder_serves() {
    let mut world = world().await;
    let mut asking = world.node.cli_running(&["switchover", "mail", "--to", "c"]);
    world.obeyed().await;
    world
        .node
        .wait("told of c", |status| status["groups"]["mail"]["holder"] == "c");
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert_eq!(asking.try_wait().unwrap(), None, "c does not serve yet");
    world.begun(4, "c", true).await;
    let output = asking.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!((output.status.code(), said.as_str()), (Some(0), "mail moved to c\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_holder_that_fails_is_told_with_where_it_serves_now() {
    let mut world = world().await;
    let asking = world.node.cli_running(&["switchover", "mail", "--to", "c", "--json"]);
    world.obeyed().await;
    world
        .node
        .wait("told of c", |status| status["groups"]["mail"]["holder"] == "c");
    world.record(4, "c", "released").await;
    let left = json!({"epoch": 4, "node": "c", "cause": "failed 4 times here", "at": "now", "phases": [], "runs": 4});
    world.put("history/mail/4/left", &left).await;
    world.record(5, "b", "active").await;
    world.begun(5, "b", true).await;
    let output = asking.wait_with_output().unwrap();
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    let message =
        "c took mail over and lost it again (failed 4 times here): b serves it now; see `leasehold history mail`";
    assert_eq!(
        (output.status.code(), said),
        (
            Some(1),
            json!({"ok": false, "message": message, "end": "lost", "node": "b"})
        )
    );
}

/// Longer than the sidecar waits for the holder's answer.
const NOT_BEGUN: std::time::Duration = std::time::Duration::from_secs(6);

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_the_waiting_alone() {
    let mut world = world().await;
    let asking = world.node.cli_running(&["switchover", "mail"]);
    world.asked().await;
    interrupt(&asking);
    let (code, said) = end(asking);
    assert!(
        code == Some(130) && said.contains("before the order was answered: it may have been taken"),
        "{code:?} {said}"
    );
    assert!(world.intent().await.is_some(), "it stands");
    assert!(world.node.cli(&["switchover", "mail", "--withdraw"]).status.success());

    let asking = world.node.cli_running(&["switchover", "mail"]);
    world.asked().await;
    tokio::time::sleep(NOT_BEGUN).await;
    interrupt(&asking);
    let told = "leasehold: the waiting is over, the order stands: b holds mail and has not said that it serves; `leasehold why \
                mail` shows how it goes on, `leasehold switchover --withdraw mail` takes it back while it has not begun\n";
    assert_eq!(end(asking), (Some(130), told.to_owned()));
    assert!(world.intent().await.is_some(), "it stands");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_waited_for_stands() {
    let mut world = world().await;
    let asking = world.node.cli_running(&["switchover", "mail", "--timeout", "1s"]);
    let (code, said) = end(asking);
    assert!(
        code == Some(1) && said.contains("not done within 1s, and the order stands: b holds mail"),
        "{code:?} {said}"
    );
    assert!(world.intent().await.is_some());
    assert!(world.node.cli(&["switchover", "mail", "--withdraw"]).status.success());

    let asked = world.node.cli(&["switchover", "mail", "--no-wait"]);
    let said = String::from_utf8_lossy(&asked.stdout).into_owned();
    assert!(asked.status.success() && said.contains("b has not begun"), "{asked:?}");
    assert!(world.intent().await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_operators_order_is_told_and_not_taken_for_this_one() {
    let mut world = world().await;
    let asking = world.node.cli_running(&["switchover", "mail", "--to", "c", "--json"]);
    world.obeyed().await;
    world
        .node
        .wait("told of c", |status| status["groups"]["mail"]["holder"] == "c");
    let other = json!({"want": "switchover", "to": "b", "by": "carol on b", "begun": 1});
    world.put("groups/mail/intent", &other).await;
    let output = asking.wait_with_output().unwrap();
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    let message = "another order came between: switchover to b, asked by carol on b; c holds mail and has not said that it \
                   serves: see `leasehold history mail`";
    assert_eq!(
        (output.status.code(), said),
        (
            Some(1),
            json!({"ok": false, "message": message, "end": "overtaken", "node": "c"})
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_that_is_replaced_meanwhile_is_waited_for() {
    let mut world = world().await;
    let mut asking = world.node.cli_running(&["switchover", "mail", "--to", "c"]);
    world.obeyed().await;
    world
        .node
        .wait("told of c", |status| status["groups"]["mail"]["holder"] == "c");
    world.node.crash();
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert_eq!(asking.try_wait().unwrap(), None, "it ends with the sidecar");
    world.begun(4, "c", true).await;
    world.node.start();
    let output = asking.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!((output.status.code(), said.as_str()), (Some(0), "mail moved to c\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn drain_stop_and_start_end_when_it_is_done() {
    let mut world = world().await;
    let mut asking = world.node.cli_running(&["drain", "b", "--why", "new disk"]);
    world
        .node
        .wait("drained", |status| status["nodes"]["b"]["drained"].is_string());
    world.record(3, "b", "released").await;
    world.record(4, "c", "active").await;
    world.begun(4, "c", false).await;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert_eq!(asking.try_wait().unwrap(), None, "c does not serve yet");
    world.begun(4, "c", true).await;
    let output = asking.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!((output.status.code(), said.as_str()), (Some(0), "mail moved to c\n"));

    let mut asking = world.node.cli_running(&["stop", "mail"]);
    world
        .node
        .wait("stopped", |status| status["groups"]["mail"]["stopped"].is_string());
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert_eq!(asking.try_wait().unwrap(), None, "c holds it");
    world.record(4, "c", "released").await;
    let output = asking.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let told = "mail is stopped; nobody starts it until `leasehold start mail`\n";
    assert_eq!((output.status.code(), said.as_str()), (Some(0), told));

    let mut asking = world.node.cli_running(&["start", "mail"]);
    world
        .node
        .wait("free", |status| status["groups"]["mail"]["stopped"].is_null());
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert_eq!(asking.try_wait().unwrap(), None, "nobody has it");
    world.record(5, "c", "active").await;
    world.begun(5, "c", true).await;
    let output = asking.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!((output.status.code(), said.as_str()), (Some(0), "c serves mail\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_watch_ends_well_and_help_tells_no_secret() {
    let mut world = world().await;
    let before = world
        .client
        .get(world.prefix.clone(), Some(etcd_client::GetOptions::new().with_prefix()));
    let count = before.await.unwrap().kvs().len();
    let mut watching = world.node.cli_running(&["status", "--watch", "--json"]);
    let mut shown = BufReader::new(watching.stdout.take().unwrap());
    let mut line = String::new();
    shown.read_line(&mut line).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&line).unwrap()["node"], "a");
    interrupt(&watching);
    assert_eq!(end(watching), (Some(0), String::new()));
    let after = world
        .client
        .get(world.prefix.clone(), Some(etcd_client::GetOptions::new().with_prefix()));
    assert_eq!(after.await.unwrap().kvs().len(), count, "a watch writes nothing");

    world.node = world.node.with("LEASEHOLD_TOKENS", "/run/secrets/0123456789abcdef");
    for arguments in [vec!["--help"], vec!["-h"], vec!["status", "--help"]] {
        let help = world.node.cli(&arguments);
        let text = String::from_utf8_lossy(&help.stdout).into_owned();
        assert!(
            text.contains("LEASEHOLD_TOKENS") && !text.contains("0123456789abcdef"),
            "{text}"
        );
    }
    let manual = world.node.dir.join("manual");
    assert!(world.node.cli(&["man", manual.to_str().unwrap()]).status.success());
    for page in std::fs::read_dir(&manual).unwrap() {
        let page = std::fs::read_to_string(page.unwrap().path()).unwrap();
        assert!(!page.contains("0123456789abcdef"), "{page}");
    }
}
