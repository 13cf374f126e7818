//! `/v1` as callers meet it: who is let in, what fits, what the description says.

use std::path::{Path, PathBuf};

use axum::body::{Body, to_bytes};
use axum::http::Request;
use tower::ServiceExt;

use super::*;
use leasehold_api::{ACT_HEADER, Configuration, Outcome};
use leasehold_base::clock;
use leasehold_core::event::{self, OrderKind};
use leasehold_core::requests::refusal::Refusal;
use leasehold_core::snapshot::status::{GroupLine, MemberState, NodeLine};

pub(super) const VIEWER: &str = "0123456789abcdef-viewer";
pub(super) const OPERATOR: &str = "0123456789abcdef-operator";
pub(super) const ADMIN: &str = "0123456789abcdef-admin";

/// Keeps acts, and knows one history.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) acts: std::sync::Mutex<Vec<AuditEntry>>,
    silent: std::sync::atomic::AtomicBool,
}

impl Archive for Kept {
    fn keep(&self, act: AuditEntry) {
        self.acts.lock().unwrap().push(act);
    }

    fn history<'a>(&'a self, group: &'a str) -> BoxFuture<'a, Result<History, String>> {
        let history = match self.silent.load(std::sync::atomic::Ordering::Relaxed) {
            false => Ok(History {
                group: group.to_owned(),
                ..History::default()
            }),
            true => Err("reading etcd failed: timed out".to_owned()),
        };
        Box::pin(async move { history })
    }

    fn export(&self) -> BoxFuture<'_, Result<Exported, String>> {
        let cluster = "mail".to_owned();
        let exported = Exported {
            format: 1,
            cluster,
            generation: 1,
            ttl_ms: 8000,
            ..Exported::default()
        };
        Box::pin(async { Ok(exported) })
    }

    fn file_config(&self) -> BoxFuture<'_, Result<FileConfig, String>> {
        let silent = self.silent.load(std::sync::atomic::Ordering::Relaxed);
        Box::pin(async move {
            if silent {
                Err("line 3: no ttl".to_owned())
            } else {
                Ok(FileConfig {
                    ttl: Duration::from_secs(8),
                    promises: None,
                })
            }
        })
    }
}

/// Both routers over one status, the commands that reach the loop, and the file of tokens.
pub(super) struct Bench {
    pub(super) network: Router,
    pub(super) host: Router,
    pub(super) asked: mpsc::Receiver<PendingRequest>,
    pub(super) turn: watch::Sender<Snapshot>,
    pub(super) tokens: PathBuf,
    pub(super) kept: Arc<Kept>,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::with_patience(REPLY_TIMEOUT)
    }

    /// `patience`: how long the loop is waited for.
    pub(super) fn with_patience(patience: Duration) -> Self {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let tokens = std::env::temp_dir().join(format!("leasehold-http-{}-{count}", std::process::id()));
        let lines = format!("viewer v {VIEWER}\noperator o {OPERATOR}\nadmin a {ADMIN}\n");
        std::fs::write(&tokens, lines).unwrap();
        let status = Status {
            node: "a".to_owned(),
            member: MemberState::Joined,
            groups: [("mail".to_owned(), GroupLine::default())].into(),
            nodes: [("b".to_owned(), NodeLine::default())].into(),
            ..Status::default()
        };
        let at = clock::now();
        let recent = Arc::default();
        let (publisher, turn) = watch::channel(Snapshot { at, status, recent });
        let (asked, commands) = mpsc::channel(ASKED_MAX);
        let kept = Arc::new(Kept::default());
        let mut shared = Shared {
            patience,
            ..Shared::new(turn, asked, "a", kept.clone())
        };
        // A command line to which everything is right.
        shared.console.program = Arc::new(console::Program {
            file: PathBuf::from("/bin/sh"),
            words: vec!["-c".into(), r#"echo '{"ok": true, "message": "done"}'"#.into()],
        });
        Self {
            network: network(
                shared.clone(),
                &Access::new(Some(tokens.clone())),
                Hosts::new(["a".to_owned()], &["ha.example.org".to_owned()]),
            ),
            host: on_this_host(shared),
            asked: commands,
            turn: publisher,
            tokens,
            kept,
        }
    }

    /// Answers every command with `ok`, and gives them back at the end.
    pub(super) fn loops(&mut self) -> tokio::task::JoinHandle<Vec<event::Request>> {
        let (_, nothing) = mpsc::channel(1);
        let mut asked = std::mem::replace(&mut self.asked, nothing);
        tokio::spawn(async move {
            let mut seen = Vec::new();
            while let Some(one) = asked.recv().await {
                seen.push(one.request);
                let _ = one.reply.send(Ok("done".to_owned().into()));
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

pub(super) async fn call(router: &Router, method: &str, path: &str, token: Option<&str>, body: &str) -> (u16, String) {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    request = request.header("host", "10.0.0.1:8008").header(ACT_HEADER, "1");
    if !body.is_empty() {
        request = request.header("content-type", "application/json");
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
        "/v1/groups/mail/history",
        "/v1/config",
        "/v1/config/export",
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
    for (token, wanted) in [(VIEWER, 403), (OPERATOR, 403), (ADMIN, 200)] {
        let (code, text) = call(&bench.network, "DELETE", "/v1/nodes/gone", Some(token), "").await;
        assert_eq!(code, wanted, "{text}");
    }
    let (path, body, _) = acts[1];
    assert_eq!(call(&bench.host, "POST", path, None, body).await.0, 200);
    drop(bench);
    let seen = looped.await.unwrap();
    let Some(event::Request::Order { order, origin }) = seen.last() else {
        panic!("{seen:?}");
    };
    assert_eq!(
        *order,
        OrderKind::Stop {
            group: "mail".to_owned()
        }
    );
    assert_eq!((origin.by.as_str(), origin.why.as_str()), ("root on a", "new disk"));
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
        ("POST", "/v1/groups/mail/stop", &huge, 400, "length limit"),
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
async fn the_history_of_an_unknown_group_and_a_silent_etcd_are_told_apart() {
    let bench = Bench::new();
    assert_eq!(
        call(&bench.host, "GET", "/v1/groups/web/history", None, "").await.0,
        404
    );
    bench.kept.silent.store(true, std::sync::atomic::Ordering::Relaxed);
    let (code, text) = call(&bench.host, "GET", "/v1/groups/mail/history", None, "").await;
    assert!(code == 503 && text.contains("reading etcd failed"), "{code} {text}");
}

#[tokio::test]
async fn what_was_exported_is_imported_by_an_admin_alone() {
    let mut bench = Bench::new();
    let looped = bench.loops();
    let (code, text) = call(&bench.network, "GET", "/v1/config/export", Some(VIEWER), "").await;
    let exported: leasehold_api::exported::Exported = serde_json::from_str(&text).unwrap();
    let exported = Exported::from(exported);
    assert!(code == 200 && exported.cluster == "mail", "{text}");
    for (token, wanted) in [(VIEWER, 403), (OPERATOR, 403), (ADMIN, 200)] {
        let (code, text) = call(&bench.network, "POST", "/v1/config/import", Some(token), &text).await;
        assert_eq!(code, wanted, "{text}");
    }
    let (code, text) = call(
        &bench.network,
        "POST",
        "/v1/config/import",
        Some(ADMIN),
        "{\"format\":1}",
    )
    .await;
    assert!(code == 400 && text.contains("missing field"), "{code} {text}");
    drop(bench);
    let seen = looped.await.unwrap();
    assert!(
        matches!(&seen[..], [event::Request::Import { exported: asked }] if **asked == exported),
        "{seen:?}"
    );
}

#[tokio::test]
async fn the_file_is_read_anew_and_applied_as_it_is() {
    let mut bench = Bench::new();
    let looped = bench.loops();
    let (code, text) = call(&bench.host, "GET", "/v1/config", None, "").await;
    let told: Configuration = serde_json::from_str(&text).unwrap();
    assert!(code == 200 && told.file_ttl_ms == Some(8000) && !told.equal, "{text}");
    for (token, wanted) in [(VIEWER, 403), (OPERATOR, 403), (ADMIN, 200)] {
        let (code, text) = call(&bench.network, "POST", "/v1/config/apply", Some(token), "").await;
        assert_eq!(code, wanted, "{text}");
    }
    bench.kept.silent.store(true, std::sync::atomic::Ordering::Relaxed);
    let (code, text) = call(&bench.host, "POST", "/v1/config/apply", None, "").await;
    assert!(code == 409 && text.contains("line 3"), "{code} {text}");
    let acts: Vec<String> = bench
        .kept
        .acts
        .lock()
        .unwrap()
        .iter()
        .map(|act| act.verb.clone())
        .collect();
    assert_eq!(acts, ["config apply: ttl 8s"]);
    drop(bench);
    let seen = looped.await.unwrap();
    let ttl = Duration::from_secs(8);
    assert!(
        matches!(&seen[..], [event::Request::Order { order: OrderKind::Configure { ttl: asked, .. }, .. }] if *asked == ttl),
        "{seen:?}"
    );
}

#[tokio::test]
async fn every_act_that_reaches_the_loop_is_kept_with_who_and_what_came_of_it() {
    let mut bench = Bench::new();
    let mut asked = std::mem::replace(&mut bench.asked, mpsc::channel(1).1);
    let kept = bench.kept.clone();
    let looped = tokio::spawn(async move {
        while let Some(one) = asked.recv().await {
            let refused = matches!(&one.request, event::Request::Accept { .. });
            let result = if refused {
                Err(Refusal::Needless)
            } else {
                Ok("done".to_owned().into())
            };
            let _ = one.reply.send(result);
        }
    });
    let acts = [
        ("/v1/groups/mail/switchover", "{\"to\":\"b\",\"why\":\"disk\"}"),
        ("/v1/groups/mail/stop", "{\"why\":\"disk\"}"),
        ("/v1/groups/mail/start", ""),
        ("/v1/groups/mail/pause", "{\"seconds\":60}"),
        ("/v1/groups/mail/resume", ""),
        ("/v1/nodes/b/drain", ""),
        ("/v1/nodes/b/undrain", ""),
        ("/v1/groups/mail/fenced", "{\"by\":\"ann\"}"),
        ("/v1/nodes/b/fenced", "{\"by\":\"ann\"}"),
        ("/v1/hold", "{\"seconds\":60}"),
        ("/v1/accept", "{\"force\":true}"),
    ];
    for (path, body) in acts {
        call(&bench.network, "POST", path, Some(ADMIN), body).await;
        // Refused before it could be one.
        call(&bench.network, "POST", path, Some(VIEWER), body).await;
    }
    call(&bench.network, "DELETE", "/v1/nodes/z", Some(ADMIN), "").await;
    drop(bench);
    looped.await.unwrap();
    let acts = kept.acts.lock().unwrap();
    let told: Vec<_> = acts.iter().map(|act| (act.verb.as_str(), act.accepted)).collect();
    let verbs = [
        ("switchover", true),
        ("stop", true),
        ("start", true),
        ("pause 60 s", true),
        ("resume", true),
        ("drain", true),
        ("undrain", true),
        ("fenced", true),
        ("fenced", true),
        ("hold 60 s", true),
        ("accept --force", false),
        ("remove", true),
    ];
    assert_eq!(told, verbs);
    let first = &acts[0];
    assert_eq!((first.by.as_str(), first.why.as_str()), ("a on a", "disk"));
    assert_eq!(
        (first.group.as_deref(), first.node.as_deref()),
        (Some("mail"), Some("b"))
    );
    assert!(acts[10].answer.starts_with("nothing is strange"), "{}", acts[10].answer);
}

#[tokio::test]
async fn the_user_at_the_keyboard_is_believed_on_this_host_alone() {
    let mut bench = Bench::new();
    let looped = bench.loops();
    for (router, token) in [(bench.host.clone(), None), (bench.network.clone(), Some(OPERATOR))] {
        let mut request = Request::builder().method("POST").uri("/v1/groups/mail/start");
        request = request.header(USER_HEADER, "kim");
        request = request.header("host", "a").header(ACT_HEADER, "1");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    }
    let by: Vec<String> = bench
        .kept
        .acts
        .lock()
        .unwrap()
        .iter()
        .map(|act| act.by.clone())
        .collect();
    assert_eq!(by, ["kim on a", "o on a"]);
    drop(bench);
    assert_eq!(looped.await.unwrap().len(), 2);
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
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
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
