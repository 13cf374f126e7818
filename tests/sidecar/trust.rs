//! The recipe of `docs/trust.md`: one role of etcd for each host, named by its certificate. The commands are those of the page.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use leasehold::compose::model::EtcdTls;
use leasehold::core::protocol::TxnKind;
use leasehold::core::protocol::keys::Keys;
use leasehold::core::store::{Op, StoreError, Txn};
use leasehold::sidecar::adapters::store::{Settings, floor_probe, once};

use crate::etcd::{Cluster, FAST, strings};
use crate::process::Sidecar;

const PAGE: &str = include_str!("../../docs/trust.md");

/// The commands of the page, by the word behind their fence.
fn blocks(word: &str) -> Vec<String> {
    let fence = format!("```sh {word}\n");
    let open = PAGE.split(&fence).skip(1);
    open.map(|rest| rest.split("\n```").next().unwrap().to_owned())
        .collect()
}

/// Members with the certificates that the script of `compose/node` makes.
fn etcd() -> Cluster {
    Cluster::launch("https", 1, |dir| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("compose/node/certificates");
        std::fs::copy(script, dir.join("certificates")).unwrap();
        let hosts = ["a=127.0.0.1", "b=127.0.0.1", "root=127.0.0.1"];
        let made = Command::new(dir.join("certificates")).args(hosts).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let file = |name: &str| dir.join("certificates.d/a").join(name).display().to_string();
        let mut arguments = strings(&FAST);
        arguments.extend([
            format!("--cert-file={}", file("host.crt")),
            format!("--key-file={}", file("host.key")),
            format!("--trusted-ca-file={}", file("ca.crt")),
            "--client-cert-auth".to_owned(),
        ]);
        arguments
    })
}

fn files(etcd: &Cluster, who: &str) -> EtcdTls {
    let dir = etcd.dir.join("certificates.d").join(who);
    EtcdTls {
        ca: dir.join("ca.crt"),
        certificate: Some(dir.join("host.crt")),
        key: Some(dir.join("host.key")),
    }
}

/// Types a block with somebody's certificate.
fn typed(etcd: &Cluster, who: &str, block: &str, cluster: &str) -> Output {
    let programs =
        std::env::var("LEASEHOLD_ETCD_DIR").unwrap_or_else(|_| format!("{}/target/etcd", env!("CARGO_MANIFEST_DIR")));
    let path = format!("{programs}:{}", std::env::var("PATH").unwrap());
    let dir = etcd.dir.join("certificates.d").join(who);
    Command::new("bash")
        .args([
            "-euc",
            &block.replace("/leasehold/mail/", &format!("/leasehold/{cluster}/")),
        ])
        .env("PATH", path)
        .env("ETCDCTL_ENDPOINTS", etcd.url(0))
        .env("ETCDCTL_CACERT", dir.join("ca.crt"))
        .env("ETCDCTL_CERT", dir.join("host.crt"))
        .env("ETCDCTL_KEY", dir.join("host.key"))
        .output()
        .unwrap()
}

fn put(key: String) -> Op {
    Op::Put {
        key,
        value: "{}".to_owned(),
        lease: 0,
    }
}

fn delete(key: String) -> Op {
    Op::Delete { key }
}

/// What a node writes, by the transactions of the protocol and the verbs that its host may be asked for.
fn of_a(keys: &Keys) -> Vec<(&'static str, Vec<Op>)> {
    let beat = || vec![put(keys.node("a")), put(keys.status("a"))];
    let and = |more: Vec<Op>| beat().into_iter().chain(more).collect::<Vec<Op>>();
    let (record, leader) = (keys.record("g"), keys.leader("g"));
    let take = || vec![put(record.clone()), put(leader.clone())];
    let release = || vec![put(record.clone()), delete(leader.clone()), delete(keys.intent("g"))];
    let nodes = Op::DeletePrefix { prefix: keys.nodes() };
    vec![
        ("join and beat", beat()),
        ("take what is free", and(take())),
        (
            "take from a silent host",
            and(vec![delete(keys.node("b")), put(record.clone()), put(leader.clone())]),
        ),
        ("release", and(release())),
        (
            "a fence that succeeded",
            and(vec![
                put(record.clone()),
                delete(leader.clone()),
                delete(keys.node("b")),
            ]),
        ),
        (
            "accept",
            vec![put(keys.config()), nodes, put(record.clone()), delete(leader.clone())],
        ),
        ("a wish", vec![put(keys.intent("g"))]),
        (
            "orders",
            vec![put(keys.stopped("g")), put(keys.paused("g")), put(keys.deleted("g"))],
        ),
        ("where it may run", vec![put(keys.excluded("g", "b"))]),
        ("and again", vec![delete(keys.excluded("g", "b"))]),
        ("a drain of its own", vec![put(keys.drained("a"))]),
        ("its end", vec![delete(keys.drained("a"))]),
        ("init", vec![put(keys.store("g"))]),
        (
            "history",
            vec![
                put(keys.epoch_begun("g", 1)),
                put(keys.epoch_left("g", 1)),
                put(keys.act(1, "a", 1)),
            ],
        ),
        ("its leave", vec![delete(keys.node("a")), delete(keys.status("a"))]),
    ]
}

async fn result_of(settings: &Settings, then: Vec<Op>) -> Result<bool, StoreError> {
    let compare = Vec::new();
    let kind = TxnKind::Beat;
    once(settings, &Txn { kind, compare, then })
        .await
        .map(|answer| answer.succeeded)
}

/// A cluster's name on that etcd, with a host's certificate.
fn settings(etcd: &Cluster, who: &str, cluster: &str) -> Settings {
    Settings {
        endpoints: vec![etcd.url(0)],
        tls: Some(files(etcd, who)),
        user: None,
        keys: Keys::new(cluster),
        attempt: Duration::from_secs(2),
    }
}

fn sidecar(etcd: &Cluster) -> (Sidecar, String) {
    let dir = etcd.dir.join("certificates.d/a").display().to_string();
    let tls = format!("{{ca: {dir}/ca.crt, certificate: {dir}/host.crt, key: {dir}/host.key}}");
    let node = Sidecar::new(&[etcd.url(0)], "3s", &[("etcd_tls", tls)]);
    let cluster = node.dir.file_name().unwrap().to_string_lossy().into_owned();
    (node, cluster)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_lives_under_the_role_of_its_host_and_speaks_for_no_other() {
    let etcd = etcd();
    let (mut node, cluster) = sidecar(&etcd);
    let a = settings(&etcd, "a", &cluster);
    etcd.wait(&a).await;
    node.start();
    node.wait("joined", |status| status["member"] == "joined");
    // With the sidecar running: the page's commands, in their order. The last one undoes it.
    let mut commands = blocks("etcd");
    let undo = commands.pop().unwrap();
    assert_eq!(commands.len(), 2);
    for block in &commands {
        let said = typed(&etcd, "root", block, &cluster);
        assert!(
            said.status.success(),
            "{block}\n{}",
            String::from_utf8_lossy(&said.stderr)
        );
    }
    goes_on(&mut node).await;
    for (what, then) in of_a(&a.keys) {
        assert_eq!(result_of(&a, then).await, Ok(true), "{what}");
    }
    assert!(floor_probe(&a).await.is_ok());
    speaks_for_no_other(&etcd, &a, &cluster).await;
    assert!(typed(&etcd, "root", &undo, &cluster).status.success());
    assert_eq!(result_of(&a, vec![put(a.keys.status("b"))]).await, Ok(true));
}

/// Two ttls without a break, orders, and a new start.
async fn goes_on(node: &mut Sidecar) {
    let log = node.log().lines().count();
    tokio::time::sleep(Duration::from_secs(7)).await;
    node.wait("still joined", |status| status["member"] == "joined");
    let since: Vec<String> = node.log().lines().skip(log).map(str::to_owned).collect();
    let is_bad = |line: &String| line.contains("denied") || line.contains("communication_lost");
    assert!(!since.iter().any(is_bad), "{since:?}");
    let pause = ["pause", "mail", "--for", "60s"];
    for verb in [
        &["stop", "mail"][..],
        &["start", "mail", "--no-wait"],
        &pause,
        &["drain", "a", "--no-wait"],
        &["undrain", "a"],
    ] {
        let said = node.cli(verb);
        let errors = String::from_utf8_lossy(&said.stderr);
        assert!(said.status.success(), "{verb:?}: {errors}");
    }
    node.stop();
    node.start();
    node.wait("joined again", |status| status["member"] == "joined");
    node.stop();
}

async fn speaks_for_no_other(etcd: &Cluster, a: &Settings, cluster: &str) {
    for op in [
        put(a.keys.status("b")),
        put(a.keys.status("ab")),
        put(a.keys.drained("b")),
        delete(a.keys.status("b")),
        put(Keys::new("another").node("a")),
        put("/elsewhere".to_owned()),
    ] {
        let shown = format!("{op:?}");
        let result = result_of(a, vec![op]).await;
        let denied = matches!(&result, Err(StoreError::Refused(why)) if why.contains("permission denied"));
        assert!(denied, "{shown}: {result:?}");
    }
    let b = settings(etcd, "b", cluster);
    assert_eq!(result_of(&b, vec![put(a.keys.status("b"))]).await, Ok(true));
    for block in blocks("refused") {
        let said = typed(etcd, "a", &block, cluster);
        let errors = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(
            !said.status.success() && errors.contains("permission denied"),
            "{errors}"
        );
    }
    for forbidden in [
        "etcdctl user add mallory --no-password",
        "etcdctl auth disable",
        "etcdctl role grant-permission leasehold-a readwrite /x",
        "etcdctl member add mallory --peer-urls=http://127.0.0.1:1",
        "etcdctl snapshot save /dev/null",
    ] {
        let said = typed(etcd, "a", forbidden, cluster);
        let errors = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(
            !said.status.success() && errors.contains("permission denied"),
            "{forbidden}: {errors}"
        );
    }
}

/// Roles as the page tells them are those that the file of tokens knows.
#[test]
fn the_page_names_every_role_of_a_token() {
    let rows: BTreeSet<&str> = PAGE
        .split("## Tokens")
        .nth(1)
        .unwrap()
        .split("\n## ")
        .next()
        .unwrap()
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" |").next())
        .collect();
    for role in ["viewer", "operator", "admin"] {
        assert!(rows.contains(role), "{role} is not in {rows:?}");
    }
}
