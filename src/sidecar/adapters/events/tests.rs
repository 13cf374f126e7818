use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::*;
use leasehold_compose::model::{Webhook, WebhookUrl};
use leasehold_core::snapshot::code::Code;

const LONG: Duration = Duration::from_secs(20);
static COUNT: AtomicU32 = AtomicU32::new(0);

/// A directory of the test's own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let unique = format!(
            "leasehold-events-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let folder = Self(std::env::temp_dir().join(unique));
        std::fs::create_dir_all(&folder.0).unwrap();
        folder
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        std::fs::write(self.0.join(name), text).unwrap();
        self.0.join(name)
    }

    fn script(&self, body: &str) -> Vec<String> {
        use std::os::unix::fs::PermissionsExt;
        let path = self.write("tell", &format!("#!/bin/sh\n{body}\n"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        vec![path.to_string_lossy().into_owned(), "now".to_owned()]
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What a receiver has heard, and how it answers: the next of `answers`, then 204; `None` never answers.
#[derive(Default)]
struct Heard {
    answers: Mutex<Vec<Option<u16>>>,
    requests: Mutex<Vec<(HeaderMap, String)>>,
}

async fn hear(State(heard): State<Arc<Heard>>, headers: HeaderMap, body: String) -> StatusCode {
    heard.requests.lock().unwrap().push((headers, body));
    let answer = {
        let mut answers = heard.answers.lock().unwrap();
        if answers.is_empty() {
            Some(204)
        } else {
            answers.remove(0)
        }
    };
    match answer {
        Some(code) => StatusCode::from_u16(code).unwrap(),
        None => std::future::pending().await,
    }
}

async fn receiver(answers: &[Option<u16>]) -> (Arc<Heard>, String) {
    let heard = Arc::new(Heard::default());
    *heard.answers.lock().unwrap() = answers.to_vec();
    let app = Router::new()
        .route("/take/t0ken", post(hear))
        .with_state(Arc::clone(&heard));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/take/t0ken", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (heard, url)
}

fn quick() -> Pace {
    Pace {
        deadline: Duration::from_millis(300),
        pauses: vec![Duration::from_millis(10); 3],
        command: Duration::from_millis(700),
        email: Duration::from_millis(500),
    }
}

fn notifier(webhook: Option<Webhook>, command: Vec<String>) -> (Notifier, Counters) {
    // Where nothing can be kept nothing is missed.
    notifier_in(Path::new("/nowhere"), 7, webhook, command)
}

/// One life of a sidecar whose state lies in this directory.
fn notifier_in(state_dir: &Path, life: u64, webhook: Option<Webhook>, command: Vec<String>) -> (Notifier, Counters) {
    let wanted = Events {
        webhook,
        command,
        email: None,
        only: Vec::new(),
    };
    let counters = Counters::default();
    let kept = Kept::open(state_dir);
    (
        Notifier::open(&wanted, "mail", "a", life, &quick(), &counters, kept),
        counters,
    )
}

fn to(url: &str, secret_file: Option<PathBuf>) -> Option<Webhook> {
    Some(Webhook {
        url: WebhookUrl::Plain(url.to_owned()),
        secret_file,
        ca: None,
    })
}

fn decision(code: Code) -> Decision {
    Decision {
        code,
        group: Some("sams".to_owned()),
        epoch: Some(4),
        text: "run 4.1 is \"up\": serving".to_owned(),
    }
}

/// One counter as Prometheus would read it.
fn counted(counters: &Counters, line: &str) -> bool {
    let mut registry = prometheus_client::registry::Registry::default();
    counters.register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    text.lines().any(|one| one == line)
}

async fn until(what: &str, mut is: impl FnMut() -> bool) {
    let wait = async {
        while !is() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(LONG, wait).await.is_ok(), "never: {what}");
}

#[tokio::test]
async fn a_receiver_that_fails_twice_is_told_in_the_end_with_a_signature_each_time() {
    let folder = Folder::new();
    let (heard, url) = receiver(&[Some(500), Some(503)]).await;
    let (mut notifier, counters) = notifier(to(&url, Some(folder.write("secret", "s3cr3t\n"))), Vec::new());
    notifier.tell("2026-11-22T00:00:00Z".to_owned(), &decision(Code::FailoverDone));
    until("delivered", || {
        counted(&counters, "events_delivered_total{receiver=\"webhook\"} 1")
    })
    .await;
    let requests = heard.requests.lock().unwrap();
    assert_eq!(requests.len(), 3);
    for (headers, body) in requests.iter() {
        assert_eq!(
            body,
            "{\"id\":\"0000000000000007-1\",\"time\":\"2026-11-22T00:00:00Z\",\"cluster\":\"mail\",\"node\":\"a\",\"group\":\"sams\",\
             \"code\":\"failover_done\",\"level\":\"info\",\"epoch\":4,\"text\":\"run 4.1 is \\\"up\\\": serving\"}"
        );
        assert_eq!(headers["content-type"], "application/json");
        assert_eq!(headers["leasehold-event"], "failover_done");
        let signature = headers["leasehold-signature"].to_str().unwrap();
        let (at, given) = signature.strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
        let given: Vec<u8> = (0..given.len() / 2)
            .map(|place| u8::from_str_radix(&given[place * 2..place * 2 + 2], 16).unwrap())
            .collect();
        let mut mac = Hmac::<Sha256>::new_from_slice(b"s3cr3t").unwrap();
        mac.update(format!("{at}.{body}").as_bytes());
        mac.verify_slice(&given).unwrap();
        let age = leasehold_base::clock::wall_seconds() - at.parse::<i64>().unwrap();
        assert!((0..60).contains(&age), "{age}");
    }
}

#[tokio::test]
async fn a_receiver_that_hangs_costs_its_tries_and_no_more() {
    let (heard, url) = receiver(&[None, None, None, None]).await;
    let (mut notifier, counters) = notifier(to(&url, None), Vec::new());
    notifier.tell("now".to_owned(), &decision(Code::Jeopardy));
    notifier.tell("now".to_owned(), &decision(Code::JeopardyOver));
    until("the second", || {
        counted(&counters, "events_delivered_total{receiver=\"webhook\"} 1")
    })
    .await;
    assert!(counted(&counters, "events_failed_total{receiver=\"webhook\"} 1"));
    let requests = heard.requests.lock().unwrap();
    assert_eq!(requests.len(), 5, "four tries for the first, one for the second");
    assert!(requests[4].1.contains("jeopardy_over") && !requests[4].0.contains_key("leasehold-signature"));
}

#[tokio::test]
async fn one_that_refuses_is_not_asked_again() {
    let (heard, url) = receiver(&[Some(410)]).await;
    let (mut notifier, counters) = notifier(to(&url, None), Vec::new());
    notifier.tell("now".to_owned(), &decision(Code::Stuck));
    until("given up", || {
        counted(&counters, "events_failed_total{receiver=\"webhook\"} 1")
    })
    .await;
    assert_eq!(heard.requests.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_full_queue_drops_and_counts_and_never_waits() {
    let (_heard, url) = receiver(&vec![None; 4000]).await;
    let (mut notifier, counters) = notifier(to(&url, None), Vec::new());
    // Nothing is awaited between these: the task can take none of them.
    for _ in 0..QUEUE_MAX + 10 {
        notifier.tell("now".to_owned(), &decision(Code::Released));
    }
    assert!(counted(&counters, "events_dropped_total{receiver=\"webhook\"} 10"));
}

#[tokio::test]
async fn only_what_is_wanted_is_told() {
    let (heard, url) = receiver(&[]).await;
    let (mut notifier, counters) = notifier(to(&url, None), Vec::new());
    notifier.wanted.only = vec!["alarm".to_owned()];
    notifier.tell("now".to_owned(), &decision(Code::Released));
    notifier.tell("now".to_owned(), &decision(Code::Stuck));
    until("delivered", || {
        counted(&counters, "events_delivered_total{receiver=\"webhook\"} 1")
    })
    .await;
    let requests = heard.requests.lock().unwrap();
    assert!(
        requests.len() == 1 && requests[0].1.contains("\"stuck\""),
        "{requests:?}"
    );
}

#[tokio::test]
async fn a_command_has_it_in_its_environment_and_on_its_input() {
    let folder = Folder::new();
    let command = folder.script("d=$(dirname $0)\n{ echo \"$1 $LEASEHOLD_EVENT $LEASEHOLD_LEVEL $LEASEHOLD_CLUSTER $LEASEHOLD_NODE $LEASEHOLD_GROUP $LEASEHOLD_EPOCH $LEASEHOLD_TIME $LEASEHOLD_ID\"\necho \"$LEASEHOLD_TEXT\"; cat; env | grep -c CARGO; } > $d/out; mv $d/out $d/told");
    let (mut notifier, counters) = notifier(None, command);
    notifier.tell("noon".to_owned(), &decision(Code::ServiceFailed));
    until("run", || {
        counted(&counters, "events_delivered_total{receiver=\"command\"} 1")
    })
    .await;
    let told = std::fs::read_to_string(folder.0.join("told")).unwrap();
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(
        lines[0],
        "now service_failed alarm mail a sams 4 noon 0000000000000007-1"
    );
    assert_eq!(lines[1], "run 4.1 is \"up\": serving");
    assert!(
        lines[2].starts_with("{\"id\"") && lines[2].contains("\"code\":\"service_failed\""),
        "{told}"
    );
    assert_eq!(lines[3], "0", "nothing of the sidecar's environment");
}

#[tokio::test]
async fn a_command_that_hangs_is_killed_with_what_it_started() {
    let folder = Folder::new();
    let command = folder.script("sleep 1000 & echo $! > $(dirname $0)/child; sleep 1000");
    let (mut notifier, counters) = notifier(None, command);
    notifier.tell("noon".to_owned(), &decision(Code::Stuck));
    until("killed", || {
        counted(&counters, "events_failed_total{receiver=\"command\"} 1")
    })
    .await;
    let child = std::fs::read_to_string(folder.0.join("child")).unwrap();
    let stat = PathBuf::from(format!("/proc/{}/stat", child.trim()));
    // Gone, or dead and not yet reaped by whoever inherited it.
    until("the child's end", || {
        std::fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z"))
    })
    .await;
}

#[tokio::test]
async fn no_secret_is_said_of_what_does_not_work() {
    let folder = Folder::new();
    // Nobody listens on the discard port of loopback.
    let url = folder.write("url", "http://127.0.0.1:9/t0ken\n");
    let hook = Webhook {
        url: WebhookUrl::File(url),
        secret_file: Some(folder.0.join("none")),
        ca: Some(folder.write("ca", "no certificate")),
    };
    let wanted = |hook: Webhook| Events {
        webhook: Some(hook),
        command: vec!["/nowhere/tell".to_owned()],
        email: None,
        only: Vec::new(),
    };
    let said = faults(&wanted(hook.clone())).join("\n");
    for words in ["secret_file: ", "holds no certificate in PEM", "/nowhere/tell"] {
        assert!(said.contains(words), "{said}");
    }
    let bad = Webhook {
        url: WebhookUrl::File(folder.write("bad", "https://u:t0ken@h/\n")),
        ..hook
    };
    let said = faults(&wanted(bad)).join("\n");
    assert!(
        said.contains("holds no http:// or https:// URL") && !said.contains("t0ken"),
        "{said}"
    );
}

/// A sidecar that ends before its receiver has taken what it says.
fn ends_in_the_middle(state: &Path, url: &str, command: &[String]) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (mut notifier, _) = notifier_in(state, 1, to(url, None), command.to_vec());
        for code in [Code::Stuck, Code::FailoverDone, Code::Released] {
            notifier.tell("2026-11-22T00:00:00Z".to_owned(), &decision(code));
        }
        notifier.kept().flush(LONG).await;
    });
    // As a crash: nothing goes on.
    runtime.shutdown_background();
}

#[tokio::test]
async fn what_was_not_delivered_is_told_after_a_restart_once_more_and_in_order() {
    let folder = Folder::new();
    let state = folder.0.clone();
    // Of the first try it hears, and never answers.
    let (heard, url) = receiver(&[None]).await;
    let (own, at, none) = (state.clone(), url.clone(), Vec::new());
    std::thread::spawn(move || ends_in_the_middle(&own, &at, &none))
        .join()
        .unwrap();
    heard.requests.lock().unwrap().clear();
    heard.answers.lock().unwrap().clear();

    let (mut notifier, counters) = notifier_in(&state, 2, to(&url, None), Vec::new());
    notifier.tell("2026-11-22T00:00:09Z".to_owned(), &decision(Code::Jeopardy));
    until("all four", || {
        counted(&counters, "events_delivered_total{receiver=\"webhook\"} 4")
    })
    .await;
    let ids = |heard: &Heard| -> Vec<(String, String)> {
        let requests = heard.requests.lock().unwrap();
        let told = requests
            .iter()
            .map(|(_, body)| serde_json::from_str::<EventMessage>(body).unwrap());
        told.map(|told| (told.id, told.code.into_owned())).collect()
    };
    let pair = |id: &str, code: &str| (id.to_owned(), code.to_owned());
    let wanted = [
        pair("0000000000000001-1", "stuck"),
        pair("0000000000000001-2", "failover_done"),
        pair("0000000000000001-3", "released"),
        pair("0000000000000002-1", "jeopardy"),
    ];
    assert_eq!(ids(&heard), wanted, "in order, each with the id that it had");
    notifier.kept().flush(LONG).await;
    // Nothing is left for a third life.
    drop(notifier);
    let third = Kept::open(&state);
    assert!(third.waiting(Receiver::Webhook).is_empty(), "{third:?}");
}

#[tokio::test]
async fn a_command_that_did_not_end_is_run_again_and_who_is_told_no_more_is_forgotten() {
    let folder = Folder::new();
    let state = folder.0.clone();
    let told = folder.0.join("told");
    let command = folder.script(&format!("sleep 0.2; echo \"$LEASEHOLD_EVENT\" >> {}", told.display()));
    let (own, words) = (state.clone(), command.clone());
    std::thread::spawn(move || ends_in_the_middle(&own, "http://127.0.0.1:9/", &words))
        .join()
        .unwrap();
    assert_eq!(Kept::open(&state).waiting(Receiver::Webhook).len(), 3);
    let (notifier, counters) = notifier_in(&state, 2, None, command);
    until("all three", || {
        counted(&counters, "events_delivered_total{receiver=\"command\"} 3")
    })
    .await;
    notifier.kept().flush(LONG).await;
    assert!(
        Kept::open(&state).waiting(Receiver::Webhook).is_empty(),
        "its receiver is not in the file any more"
    );
}

#[tokio::test]
async fn a_damaged_file_is_set_aside_and_a_long_one_is_bounded() {
    let folder = Folder::new();
    let told = |id: u32, code: &str| {
        format!(
            r#"{{"id":"{id}","time":"noon","cluster":"c","node":"a","group":null,"code":"{code}","level":"info","epoch":null,"text":""}}"#
        )
    };
    let many: Vec<String> = (0..1000).map(|id| told(id, "stuck")).collect();
    let document = |events: &str| format!(r#"{{"waiting":{{"webhook":[{events}]}}}}"#);
    folder.write("events.json", &document(&many.join(",")));
    let waiting = Kept::open(&folder.0).waiting(Receiver::Webhook);
    assert_eq!(
        (waiting.len(), waiting[0].id.as_str()),
        (QUEUE_MAX, "744"),
        "the latest"
    );
    for damaged in ["{", "\0\0", &document(&told(1, "a header\\r\\ninjected"))] {
        folder.write("events.json", damaged);
        assert!(Kept::open(&folder.0).waiting(Receiver::Webhook).is_empty(), "{damaged}");
        let aside = std::fs::read_to_string(folder.0.join("events.json.damaged")).unwrap();
        assert_eq!(aside, damaged);
        assert!(!folder.0.join("events.json").exists(), "{damaged}");
    }
}
