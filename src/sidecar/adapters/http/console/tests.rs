//! The console as browsers meet it: who is let in, and what a page of another site can make a browser send.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, header};
use tower::ServiceExt;

use crate::adapters::http::serve::Peer;
use crate::adapters::http::tests::{ADMIN, Bench, OPERATOR, VIEWER};
use crate::adapters::http::tls::Shown;

const OWN: &str = "10.0.0.1:8008";

/// What came of a request.
pub(super) struct Answer {
    pub(super) code: u16,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

impl Answer {
    pub(super) fn header(&self, name: header::HeaderName) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// What the forms of the page carry.
    pub(super) fn seal(&self) -> String {
        let (_, rest) = self.text.split_once("name=\"seal\" value=\"").unwrap_or_default();
        rest.split('"').next().unwrap_or_default().to_owned()
    }
}

/// A browser with its cookies.
#[derive(Clone)]
pub(super) struct Browser {
    router: Router,
    pub(super) cookie: String,
    pub(super) peer: Peer,
}

impl Browser {
    pub(super) fn new(router: &Router) -> Self {
        Self {
            router: router.clone(),
            cookie: String::new(),
            peer: Peer::default(),
        }
    }

    pub(super) async fn logged_in(router: &Router, token: &str) -> Self {
        let mut browser = Self::new(router);
        let answer = browser.post("/login", &[("token", token), ("next", "/")]).await;
        assert_eq!(answer.code, 303, "{}", answer.text);
        browser
    }

    pub(super) async fn send(&mut self, method: &str, path: &str, more: &[(&str, &str)], body: String) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        let is_named = more.iter().any(|(name, _)| *name == "host");
        let own = [("host", OWN), ("cookie", self.cookie.as_str())];
        for (name, value) in own.iter().filter(|(name, _)| !is_named || *name != "host").chain(more) {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Body::from(body)).unwrap();
        request.extensions_mut().insert(self.peer.clone());
        let answer = self.router.clone().oneshot(request).await.unwrap();
        let (code, headers) = (answer.status().as_u16(), answer.headers().clone());
        if let Some(set) = headers.get(header::SET_COOKIE) {
            self.cookie = set.to_str().unwrap().split(';').next().unwrap().to_owned();
        }
        let bytes = to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Answer { code, headers, text }
    }

    pub(super) async fn get(&mut self, path: &str) -> Answer {
        self.send("GET", path, &[], String::new()).await
    }

    /// As a page of this node sends it.
    pub(super) async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let own = format!("http://{OWN}");
        self.post_with(path, fields, &[("origin", &own), ("sec-fetch-site", "same-origin")])
            .await
    }

    pub(super) async fn post_with(&mut self, path: &str, fields: &[(&str, &str)], more: &[(&str, &str)]) -> Answer {
        let form = ("content-type", "application/x-www-form-urlencoded");
        let pairs: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("{name}={}", super::entry::escaped(value)))
            .collect();
        self.send("POST", path, &[&[form], more].concat(), pairs.join("&"))
            .await
    }
}

#[tokio::test]
async fn a_token_begins_a_session_that_opens_the_console_and_nothing_else() {
    let bench = Bench::new();
    let mut browser = Browser::new(&bench.network);
    let stranger = browser.get("/").await;
    assert_eq!(
        (stranger.code, stranger.header(header::LOCATION)),
        (303, "/login?next=/")
    );
    let form = browser.get("/login?next=/").await;
    assert!(
        form.code == 200 && form.text.contains("<label for=\"token\">Token</label>"),
        "{}",
        form.text
    );
    let wrong = browser.post("/login", &[("token", "0123456789abcdef-nobody")]).await;
    assert!(
        wrong.code == 401 && wrong.text.contains("nobody has this token"),
        "{}",
        wrong.text
    );
    assert!(
        !wrong.text.contains("0123456789abcdef-nobody"),
        "what was typed is not shown again"
    );
    assert!(browser.cookie.is_empty());

    let right = browser.post("/login", &[("token", VIEWER), ("next", "/?x")]).await;
    assert_eq!((right.code, right.header(header::LOCATION)), (303, "/?x"));
    let set = right.header(header::SET_COOKIE);
    for part in ["; Path=/", "; HttpOnly", "; SameSite=Strict", "; Max-Age=28800"] {
        assert!(set.contains(part), "{set}");
    }
    assert!(
        !set.contains("Secure"),
        "over plain HTTP it would never come back: {set}"
    );
    let page = browser.get("/").await;
    assert!(page.code == 200 && page.text.contains("v (viewer)"), "{}", page.text);
    let policy = page.header(header::CONTENT_SECURITY_POLICY);
    assert!(
        policy.contains("default-src 'none'; script-src 'self'; style-src 'self';"),
        "{policy}"
    );
    assert!(
        !page.text.contains(" style=") && !page.text.contains("<script>"),
        "{}",
        page.text
    );
    // With `no-referrer`, a browser would say `Origin: null` of our own forms.
    assert_eq!(page.header(header::REFERRER_POLICY), "same-origin");

    let mut admin = Browser::logged_in(&bench.network, ADMIN).await;
    assert_eq!(admin.get("/v1/status").await.code, 401, "a session is for pages");
    let own = [("x-leasehold", "1"), ("content-type", "application/json")];
    let acted = admin.send("POST", "/v1/groups/mail/stop", &own, "{}".to_owned()).await;
    assert_eq!(acted.code, 401);
}

#[tokio::test]
async fn what_the_pages_load_is_there_for_everybody() {
    let bench = Bench::new();
    for router in [&bench.network, &bench.host] {
        let mut browser = Browser::new(router);
        for (path, kind) in [
            ("/console.css", "text/css; charset=utf-8"),
            ("/console.js", "text/javascript; charset=utf-8"),
            ("/console.svg", "image/svg+xml"),
        ] {
            let file = browser.get(path).await;
            assert_eq!((file.code, file.header(header::CONTENT_TYPE)), (200, kind), "{path}");
        }
    }
    let mut root = Browser::new(&bench.host);
    let page = root.get("/").await;
    assert!(
        page.code == 200 && page.seal().is_empty(),
        "the socket's console can be read alone"
    );
}

#[tokio::test]
async fn a_session_ends_with_its_token_and_at_the_logout() {
    let bench = Bench::new();
    let mut browser = Browser::logged_in(&bench.network, OPERATOR).await;
    let mut other = Browser::logged_in(&bench.network, OPERATOR).await;
    let page = browser.get("/").await;
    assert!(page.code == 200 && page.text.contains("o (operator)"));
    // Its role is what the file says now.
    std::fs::write(&bench.tokens, format!("viewer o {OPERATOR}\n")).unwrap();
    assert!(browser.get("/").await.text.contains("o (viewer)"));

    assert_eq!(browser.post("/logout", &[("seal", "")]).await.code, 403);
    assert_eq!(
        browser
            .post("/logout", &[("seal", &other.get("/").await.seal())])
            .await
            .code,
        403
    );
    let before = browser.clone();
    let out = browser.post("/logout", &[("seal", &page.seal())]).await;
    assert_eq!((out.code, out.header(header::LOCATION)), (303, "/login"));
    assert!(out.header(header::SET_COOKIE).contains("Max-Age=0"));
    assert_eq!(
        before.clone().get("/").await.code,
        303,
        "who kept the cookie is not let in"
    );
    assert_eq!(other.get("/").await.code, 200);

    std::fs::write(&bench.tokens, format!("viewer v {VIEWER}\n")).unwrap();
    assert_eq!(other.get("/").await.code, 303);
    std::fs::write(&bench.tokens, format!("operator o {OPERATOR}\n")).unwrap();
    assert_eq!(other.get("/").await.code, 303, "it does not come back with the token");
    std::fs::write(&bench.tokens, "operator broken\n").unwrap();
    let broken = Browser::new(&bench.network).get("/login").await;
    assert!(
        broken.code == 403 && broken.text.contains("see the sidecar"),
        "{}",
        broken.text
    );
}

#[tokio::test]
async fn a_form_of_another_site_logs_nobody_in_or_out() {
    let bench = Bench::new();
    let mut browser = Browser::logged_in(&bench.network, OPERATOR).await;
    let seal = browser.get("/").await.seal();
    let cases: [&[(&str, &str)]; 5] = [
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
        &[
            ("host", "evil.example"),
            ("origin", "http://evil.example"),
            ("sec-fetch-site", "same-origin"),
        ],
    ];
    for headers in cases {
        for (path, fields) in [("/login", ("token", OPERATOR)), ("/logout", ("seal", seal.as_str()))] {
            let answer = browser.clone().post_with(path, &[fields], headers).await;
            assert_eq!(answer.code, 403, "{path} {headers:?}");
        }
    }
    assert_eq!(browser.get("/").await.code, 200);
    // A proxy that speaks TLS, under the name that was given for it.
    let proxied = [
        ("host", "10.0.0.1"),
        ("origin", "https://ha.example.org"),
        ("sec-fetch-site", "same-origin"),
    ];
    let answer = browser.post_with("/login", &[("token", OPERATOR)], &proxied).await;
    assert!(answer.code == 303 && answer.header(header::SET_COOKIE).ends_with("; Secure"));
}

#[tokio::test]
async fn who_guesses_is_held_up_and_nobody_else() {
    let bench = Bench::new();
    let mut guesser = Browser::new(&bench.network);
    guesser.peer.from = Some("10.0.0.66".parse().unwrap());
    let mut codes = Vec::new();
    for _ in 0..12 {
        codes.push(
            guesser
                .post("/login", &[("token", "0123456789abcdef-nobody")])
                .await
                .code,
        );
    }
    assert_eq!(codes, [&[401; 10][..], &[429; 2]].concat());
    assert_eq!(guesser.post("/login", &[("token", OPERATOR)]).await.code, 429);
    let mut other = Browser::new(&bench.network);
    other.peer.from = Some("10.0.0.67".parse().unwrap());
    assert_eq!(other.post("/login", &[("token", OPERATOR)]).await.code, 303);
}

#[tokio::test]
async fn a_certificate_opens_it_without_a_login_and_a_tool_brings_its_token() {
    let bench = Bench::new();
    std::fs::write(&bench.tokens, format!("operator ann cert\nviewer v {VIEWER}\n")).unwrap();
    let mut browser = Browser::new(&bench.network);
    let names = vec!["ann".to_owned()];
    browser.peer.shown = Some(Shown { names, until: i64::MAX });
    browser.peer.is_private = true;
    let page = browser.get("/").await;
    assert!(
        page.code == 200 && page.text.contains("ann (operator)"),
        "{}",
        page.text
    );
    assert!(!page.text.contains("Log out"), "there is nothing to end");
    let set = browser.post("/login", &[("token", VIEWER)]).await;
    assert!(set.header(header::SET_COOKIE).ends_with("; Secure"));
    assert!(
        browser.get("/").await.text.contains("v (viewer)"),
        "who logs in is who he says"
    );

    let mut tool = Browser::new(&bench.network);
    for (token, code) in [(VIEWER, 200), ("0123456789abcdef-nobody", 401)] {
        let bearer = format!("Bearer {token}");
        let answer = tool
            .send("GET", "/", &[("authorization", &bearer)], String::new())
            .await;
        assert_eq!((answer.code, answer.seal().as_str()), (code, ""));
    }
    let basic = [("authorization", "Basic dnY6MDEyMzQ1Njc4OWFiY2RlZi12aWV3ZXI=")];
    assert_eq!(
        tool.send("GET", "/", &basic, String::new()).await.code,
        303,
        "a browser's own"
    );
}
