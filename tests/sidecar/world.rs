//! What the world hears of a sidecar: events by webhook and command, and metrics.

use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::Value;

use crate::etcd::{Cluster, FAST};
use crate::process::Sidecar;

const SECRET: &str = "0123456789abcdef-secret";

type Heard = Arc<Mutex<Vec<(HeaderMap, Value)>>>;

async fn hear(State(heard): State<Heard>, headers: HeaderMap, body: String) -> StatusCode {
    heard
        .lock()
        .unwrap()
        .push((headers, serde_json::from_str(&body).unwrap()));
    StatusCode::ACCEPTED
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_and_the_loss_of_etcd_are_told_to_whoever_wants_them() {
    let heard = Heard::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/take/0123456789abcdef-path", listener.local_addr().unwrap());
    let app = Router::new().fallback(post(hear)).with_state(Arc::clone(&heard));
    tokio::spawn(async move { axum::serve(listener, app).await });

    let etcd = Cluster::start(1, &FAST).await;
    let place = std::env::temp_dir().join(format!("leasehold-world-{}", std::process::id()));
    std::fs::create_dir_all(&place).unwrap();
    let (secret, address, command) = (place.join("secret"), place.join("url"), place.join("tell"));
    std::fs::write(&secret, SECRET).unwrap();
    std::fs::write(&address, url).unwrap();
    let script = "#!/bin/sh\necho \"$LEASEHOLD_EVENT $LEASEHOLD_NODE\" >> \"${0%/*}/told\"\n";
    std::fs::write(&command, script).unwrap();
    std::fs::set_permissions(&command, std::fs::Permissions::from_mode(0o755)).unwrap();
    let events = format!(
        "{{webhook_file: {}, secret_file: {}, command: [{}], only: [order, communication_lost]}}",
        address.display(),
        secret.display(),
        command.display()
    );
    let mut node = Sidecar::new(&[etcd.url(0)], "3s", &[("events", events)]);
    node.start();
    node.wait("joined", |status| status["member"] == "joined");
    assert!(node.cli(&["stop", "mail"]).status.success());
    drop(etcd);

    let told = place.join("told");
    let both = |status: &Value| {
        let codes: Vec<String> = heard
            .lock()
            .unwrap()
            .iter()
            .map(|(_, event)| event["code"].to_string())
            .collect();
        let told = std::fs::read_to_string(&told).unwrap_or_default();
        status["node"] == "a"
            && codes == ["\"order_given\"", "\"communication_lost\""]
            && told == "order_given a\ncommunication_lost a\n"
    };
    node.wait("told of both, in order and of nothing else", both);
    let heard = heard.lock().unwrap().clone();
    for (headers, event) in &heard {
        assert!(
            headers["leasehold-signature"].to_str().unwrap().starts_with("t="),
            "{headers:?}"
        );
        assert_eq!(headers["leasehold-event"], event["code"].as_str().unwrap());
        assert_eq!(
            (&event["node"], &event["cluster"]),
            (&Value::from("a"), &node.status().unwrap()["cluster"])
        );
    }
    assert_eq!(
        (&heard[0].1["level"], &heard[1].1["level"]),
        (&Value::from("info"), &Value::from("alarm"))
    );

    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let metrics = client
        .get(format!("http://127.0.0.1:{}/metrics", node.port))
        .send()
        .await
        .unwrap();
    let metrics = metrics.text().await.unwrap();
    for line in [
        "leasehold_events_delivered_total{receiver=\"webhook\"} 2",
        "leasehold_events_delivered_total{receiver=\"command\"} 2",
        "leasehold_decisions_total{code=\"communication_lost\",level=\"alarm\",group=\"\"} 1",
        "leasehold_build_info",
    ] {
        assert!(
            metrics.lines().any(|one| one.starts_with(line)),
            "{line} is missing in\n{metrics}"
        );
    }
    let log = node.log();
    assert!(log.contains("communication_lost") && !log.contains("panicked"), "{log}");
    let _ = std::fs::remove_dir_all(&place);
    for secret in [SECRET, "0123456789abcdef-path"] {
        let status = node.status().unwrap().to_string();
        assert!(
            !log.contains(secret) && !status.contains(secret) && !metrics.contains(secret),
            "a secret is told"
        );
    }
}

/// The sidecar crashes while its receiver is away: the next one tells what was said before, first and with the same id.
#[tokio::test(flavor = "multi_thread")]
async fn what_no_receiver_took_before_a_crash_is_told_by_the_next_sidecar() {
    let etcd = Cluster::start(1, &FAST).await;
    // Nobody listens there yet.
    let place = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let events = format!("{{webhook: \"http://{place}/take\", only: [order]}}");
    let mut node = Sidecar::new(&[etcd.url(0)], "3s", &[("events", events)]);
    node.start();
    node.wait("joined", |status| status["member"] == "joined");
    assert!(node.cli(&["stop", "mail", "--no-wait"]).status.success());
    node.wait("stopped", |status| !status["groups"]["mail"]["stopped"].is_null());
    let kept = node.dir.join("state/events.json");
    let is_kept = |_: &Value| std::fs::read_to_string(&kept).is_ok_and(|text| text.contains("order_given"));
    node.wait("kept", is_kept);
    node.crash();

    let heard = Heard::default();
    let listener = tokio::net::TcpListener::bind(place).await.unwrap();
    let app = Router::new().fallback(post(hear)).with_state(Arc::clone(&heard));
    tokio::spawn(async move { axum::serve(listener, app).await });
    node.start();
    node.wait("joined again", |status| status["member"] == "joined");
    assert!(node.cli(&["start", "mail", "--no-wait"]).status.success());
    node.wait("told of both", |_| heard.lock().unwrap().len() >= 2);
    let told: Vec<Value> = heard.lock().unwrap().iter().map(|(_, event)| event.clone()).collect();
    let lives: Vec<&str> = told
        .iter()
        .map(|event| event["id"].as_str().unwrap().split('-').next().unwrap())
        .collect();
    assert!(told.iter().all(|event| event["code"] == "order_given"), "{told:?}");
    assert!(
        lives.len() == 2 && lives[0] != lives[1],
        "of both lives, once each, in order: {told:?}"
    );
    node.stop();
    let left = std::fs::read_to_string(&kept).unwrap();
    assert!(!left.contains("order_given"), "nothing is told a third time: {left}");
}
