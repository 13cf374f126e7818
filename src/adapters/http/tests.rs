//! `/v1` as callers meet it: who is let in, what fits, what the description says.

use std::path::PathBuf;

use axum::body::{Body, to_bytes};
use axum::http::Request;
use tower::ServiceExt;

use super::*;
use crate::core::event::Wish;
use crate::core::status::{GroupLine, NodeLine};

pub(super) const VIEWER: &str = "0123456789abcdef-viewer";
const OPERATOR: &str = "0123456789abcdef-operator";
const ADMIN: &str = "0123456789abcdef-admin";

/// Both routers over one status, the commands that reach the loop, and the file of tokens.
pub(super) struct Bench {
    pub(super) network: Router,
    host: Router,
    asked: mpsc::Receiver<Asked>,
    _turn: watch::Sender<Turn>,
    pub(super) tokens: PathBuf,
}

impl Bench {
    pub(super) fn new() -> Self {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let tokens = std::env::temp_dir().join(format!("leasehold-http-{}-{count}", std::process::id()));
        let lines = format!("viewer v {VIEWER}\noperator o {OPERATOR}\nadmin a {ADMIN}\n");
        std::fs::write(&tokens, lines).unwrap();
        let status = Status {
            node: "a".to_owned(),
            member: "joined".to_owned(),
            groups: [("mail".to_owned(), GroupLine::default())].into(),
            nodes: [("b".to_owned(), NodeLine::default())].into(),
            ..Status::default()
        };
        let at = clock::now();
        let recent = Arc::default();
        let (publisher, turn) = watch::channel(Turn { at, status, recent });
        let (asked, commands) = mpsc::channel(ASKED_MAX);
        let shared = Shared::new(turn, asked, "a");
        Self {
            network: network(shared.clone(), Access::new(Some(tokens.clone()))),
            host: on_this_host(shared),
            asked: commands,
            _turn: publisher,
            tokens,
        }
    }

    /// Answers every command with `ok`, and gives them back at the end.
    pub(super) fn loops(&mut self) -> tokio::task::JoinHandle<Vec<Command>> {
        let (_, nothing) = mpsc::channel(1);
        let mut asked = std::mem::replace(&mut self.asked, nothing);
        tokio::spawn(async move {
            let mut seen = Vec::new();
            while let Some(one) = asked.recv().await {
                seen.push(one.command);
                let _ = one.reply.send(Ok("done".to_owned()));
            }
            seen
        })
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.tokens);
    }
}

async fn call(router: &Router, method: &str, path: &str, token: Option<&str>, body: &str) -> (u16, String) {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let request = request.body(Body::from(body.to_owned())).unwrap();
    let answer = router.clone().oneshot(request).await.unwrap();
    let status = answer.status().as_u16();
    let bytes = to_bytes(answer.into_body(), 1 << 20).await.unwrap();
    (status, String::from_utf8(bytes.to_vec()).unwrap())
}

#[tokio::test]
async fn health_is_open_and_the_rest_takes_a_token() {
    let bench = Bench::new();
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(call(&bench.network, "GET", path, None, "").await.0, 200, "{path}");
    }
    for path in [
        "/v1/status",
        "/v1/groups/mail",
        "/v1/groups/mail/why",
        "/v1/openapi.json",
    ] {
        assert_eq!(call(&bench.network, "GET", path, None, "").await.0, 401, "{path}");
        assert_eq!(
            call(&bench.network, "GET", path, Some("wrong"), "").await.0,
            401,
            "{path}"
        );
        assert_eq!(
            call(&bench.network, "GET", path, Some(VIEWER), "").await.0,
            200,
            "{path}"
        );
        assert_eq!(call(&bench.host, "GET", path, None, "").await.0, 200, "{path}");
    }
    std::fs::write(&bench.tokens, "admin broken\n").unwrap();
    let (code, text) = call(&bench.network, "GET", "/v1/status", Some(ADMIN), "").await;
    assert!(code == 403 && text.contains("see the sidecar's log"), "{code} {text}");
}

#[tokio::test]
async fn each_act_takes_its_role() {
    let mut bench = Bench::new();
    let looped = bench.loops();
    let acts = [
        ("/v1/groups/mail/switchover", "{\"to\":\"b\"}", OPERATOR),
        ("/v1/groups/mail/stop", "{\"why\":\"new disk\"}", OPERATOR),
        ("/v1/groups/mail/start", "null", OPERATOR),
        ("/v1/groups/mail/pause", "{\"seconds\":60.0}", OPERATOR),
        ("/v1/groups/mail/resume", "{}", OPERATOR),
        ("/v1/nodes/b/drain", "{}", OPERATOR),
        ("/v1/nodes/b/undrain", "{}", OPERATOR),
        ("/v1/groups/mail/fenced", "{\"by\":\"ann\"}", ADMIN),
        ("/v1/nodes/b/fenced", "{\"by\":\"ann\"}", ADMIN),
        ("/v1/hold", "{\"seconds\":60}", ADMIN),
        ("/v1/accept", "", ADMIN),
    ];
    for (path, body, least) in acts {
        for (token, rank) in [(VIEWER, 0), (OPERATOR, 1), (ADMIN, 2)] {
            let needed = if least == ADMIN { 2 } else { 1 };
            let wanted = if rank >= needed { 200 } else { 403 };
            let (code, text) = call(&bench.network, "POST", path, Some(token), body).await;
            assert_eq!(code, wanted, "{path} {token}: {text}");
        }
    }
    let (path, body, _) = acts[1];
    assert_eq!(call(&bench.host, "POST", path, None, body).await.0, 200);
    drop(bench);
    let seen = looped.await.unwrap();
    let Some(Command::Wish { wish, note }) = seen.last() else {
        panic!("{seen:?}");
    };
    assert_eq!(
        *wish,
        Wish::Stop {
            group: "mail".to_owned()
        }
    );
    assert_eq!((note.by.as_str(), note.why.as_str()), ("root on a", "new disk"));
}

#[tokio::test]
async fn what_does_not_fit_is_refused_with_a_reason_and_reaches_nobody() {
    let mut bench = Bench::new();
    let long = format!("{{\"why\":\"{}\"}}", "x".repeat(201));
    let huge = format!("{{\"why\":\"{}\"}}", "x".repeat(BODY_MAX));
    for (method, path, body, code, words) in [
        ("POST", "/v1/groups/web/stop", "{}", 404, "no group web"),
        ("POST", "/v1/nodes/z/drain", "{}", 404, "no node z"),
        (
            "POST",
            "/v1/groups/mail/stop",
            "{\"whyy\":1}",
            400,
            "unknown field `whyy`",
        ),
        ("POST", "/v1/groups/mail/stop", "not json", 400, "does not fit"),
        ("POST", "/v1/groups/mail/stop", "[\"new disk\"]", 400, "write an object"),
        (
            "POST",
            "/v1/groups/mail/pause",
            "{\"seconds\":60.5}",
            400,
            "not a whole number",
        ),
        (
            "POST",
            "/v1/groups/mail/pause",
            "{\"seconds\":-1}",
            400,
            "not a whole number",
        ),
        ("POST", "/v1/groups/mail/stop", &long, 400, "200 characters"),
        ("POST", "/v1/groups/mail/stop", "{\"why\":\"a\\nb\"}", 400, "one line"),
        ("POST", "/v1/groups/mail/stop", &huge, 413, "length limit"),
        ("POST", "/v1/groups/mail/pause", "{}", 400, "missing field `seconds`"),
        ("DELETE", "/v1/groups/mail/stop", "", 405, "not with this method"),
        ("GET", "/v2/status", "", 404, "no such endpoint"),
    ] {
        let (got, text) = call(&bench.host, method, path, None, body).await;
        assert!(got == code && text.contains(words), "{method} {path}: {got} {text}");
        assert!(serde_json::from_str::<Outcome>(&text).is_ok(), "{text}");
    }
    assert!(bench.asked.try_recv().is_err());
}

#[tokio::test]
async fn acts_beyond_the_rate_are_refused() {
    let mut bench = Bench::new();
    let looped = bench.loops();
    let mut codes = Vec::new();
    for _ in 0..40 {
        codes.push(call(&bench.host, "POST", "/v1/groups/mail/start", None, "").await.0);
    }
    assert!(codes[..20].iter().all(|code| *code == 200), "{codes:?}");
    assert!(codes.contains(&429), "{codes:?}");
    drop(bench);
    assert!(looped.await.unwrap().len() < 40);
}

#[test]
fn the_description_is_the_one_that_is_checked_in() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
    let now = openapi().unwrap() + "\n";
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, &now).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == now,
        "docs/openapi.json is not what /v1/openapi.json serves: UPDATE_EXPECT=1 writes it anew"
    );
}
