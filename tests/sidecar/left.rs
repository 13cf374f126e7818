//! A group and a service that leave the file while they run: a new sidecar stops them and lets them go.

use crate::busybox::{Swept, docker, images, said};
use crate::etcd::{Cluster, FAST};
use crate::process::Sidecar;

/// Services of two groups, with what the tether of a debug build needs.
fn write(node: &Sidecar, name: &str, services: &[(&str, &str)]) {
    let file = node.dir.join("compose.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let (head, _) = text.split_once("services:\n").unwrap();
    let one = |(service, group): &(&str, &str)| {
        format!(
            "  {service}:\n    image: {name}:1\n    profiles: [leasehold]\n    scale: 0\n    entrypoint: [\"/leasehold/tether\"]\n    \
             command: [/bin/busybox, sleep, \"6000\"]\n    stop_grace_period: 1s\n    network_mode: none\n    \
             x-leasehold: {{group: {group}}}\n    volumes: [\"/usr:/usr:ro\", \"/lib:/lib:ro\", \"/lib64:/lib64:ro\"]\n"
        )
    };
    let services: String = services.iter().map(one).collect();
    std::fs::write(file, format!("{head}services:\n{services}")).unwrap();
}

fn runs(name: &str, service: &str) -> bool {
    let container = format!("{name}-{service}-a");
    said(&docker(&["inspect", "--format", "{{.State.Running}}", &container])) == "true"
}

fn active(node: &Sidecar, group: &str, run: &str) {
    node.wait(&format!("{group} active as {run}"), |status| {
        let held = &status["groups"][group]["held"];
        held["run"] == run && held["stage"] == "active"
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn what_left_the_file_under_a_hold_is_stopped_and_let_go() {
    let etcd = Cluster::start(1, &FAST).await;
    let mut node = Sidecar::new(&[etcd.url(0)], "3s", &[]);
    let name = node.dir.file_name().unwrap().to_string_lossy().into_owned();
    let _swept = Swept(name.clone());
    images(&name, &node.dir);
    write(&node, &name, &[("sams", "mail"), ("db", "web"), ("http", "web")]);
    node.start();
    node.wait("joined", |status| status["member"] == "joined");
    for group in ["mail", "web"] {
        said(&node.cli(&["init", group]));
        active(&node, group, "1.1");
    }

    said(&node.cli(&["hold", "60s"]));
    node.stop();
    assert!(["sams", "db", "http"].iter().all(|service| runs(&name, service)));
    // As a version before this one left it.
    let state = node.dir.join("run/state.json");
    let text = std::fs::read_to_string(&state).unwrap();
    let mut saved: serde_json::Value = serde_json::from_str(&text).unwrap();
    saved["groups"]["mail"]
        .as_object_mut()
        .unwrap()
        .remove("parts")
        .unwrap();
    std::fs::write(&state, saved.to_string()).unwrap();

    write(&node, &name, &[("http", "web")]);
    node.start();
    active(&node, "web", "1.2");
    node.wait("rid of mail", |status| status["groups"]["mail"].is_null());
    assert!(
        !runs(&name, "sams") && !runs(&name, "db") && runs(&name, "http"),
        "{}",
        node.log()
    );
    let log = node.log();
    assert!(
        log.contains("released: stopped here") && !log.contains("run_disowned"),
        "{log}"
    );
    node.stop();
}
