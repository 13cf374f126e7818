//! What a browser is made to send, beside what tools and the operator's own pages send.

use axum::body::{Body, to_bytes};
use axum::http::Request;
use tower::ServiceExt;

use super::tests::{Bench, OPERATOR};
use leasehold_api::ACT_HEADER;

type Headers = &'static [(&'static str, &'static str)];

const JSON: (&str, &str) = ("content-type", "application/json");
const OWN: (&str, &str) = ("host", "10.0.0.1:8008");
const MEANT: (&str, &str) = (ACT_HEADER, "1");

/// Headers and body of a call, its status code, and words of the answer.
const CASES: [(Headers, &str, u16, &str); 18] = [
    // Forms: of text, of nothing, of fields.
    (
        &[OWN, ("content-type", "text/plain")],
        "{\"why\":\"x\"}",
        403,
        "X-Leasehold: 1",
    ),
    (&[OWN], "", 403, "X-Leasehold: 1"),
    (&[OWN, JSON], "{}", 403, "X-Leasehold: 1"),
    (&[OWN, JSON, (ACT_HEADER, "2")], "{}", 403, "X-Leasehold: 1"),
    (
        &[OWN, MEANT, ("content-type", "text/plain")],
        "{}",
        415,
        "application/json",
    ),
    (
        &[OWN, MEANT, ("content-type", "application/x-www-form-urlencoded")],
        "",
        415,
        "application/json",
    ),
    (&[OWN, MEANT, ("content-length", "2")], "{}", 415, "application/json"),
    // Scripts of another site, or of another port.
    (
        &[OWN, MEANT, JSON, ("origin", "https://evil.example")],
        "{}",
        403,
        "evil.example",
    ),
    (&[OWN, MEANT, JSON, ("origin", "null")], "{}", 403, "LEASEHOLD_HOSTS"),
    (
        &[OWN, MEANT, JSON, ("origin", "http://10.0.0.1")],
        "{}",
        403,
        "LEASEHOLD_HOSTS",
    ),
    (
        &[OWN, MEANT, JSON, ("sec-fetch-site", "cross-site")],
        "{}",
        403,
        "another site",
    ),
    (
        &[OWN, MEANT, JSON, ("sec-fetch-site", "same-site")],
        "{}",
        403,
        "another site",
    ),
    // A name that was turned to this address.
    (
        &[
            MEANT,
            JSON,
            ("host", "evil.example"),
            ("origin", "http://evil.example"),
            ("sec-fetch-site", "same-origin"),
        ],
        "{}",
        403,
        "LEASEHOLD_HOSTS=evil.example",
    ),
    (&[MEANT, JSON], "{}", 403, "`Host`"),
    (&[OWN, MEANT, JSON], "{}", 200, "done"),
    (&[MEANT, ("host", "ha.example.org")], "", 200, "done"),
    (
        &[
            OWN,
            MEANT,
            JSON,
            ("origin", "http://10.0.0.1:8008"),
            ("sec-fetch-site", "same-origin"),
        ],
        "{}",
        200,
        "done",
    ),
    // Behind a proxy that names the node by its own.
    (
        &[
            OWN,
            MEANT,
            ("content-type", "application/json; charset=utf-8"),
            ("origin", "https://ha.example.org"),
        ],
        "{}",
        200,
        "done",
    ),
];

/// What a page of another site can make a browser send, and what a tool, or the operator's own page, sends.
#[tokio::test]
async fn what_a_browser_is_made_to_send_does_not_act() {
    let mut bench = Bench::new();
    let looped = bench.loops();
    let path = "/v1/groups/mail/stop";
    for (headers, body, wanted, words) in CASES {
        let mut request = Request::builder().method("POST").uri(path);
        request = request.header("authorization", format!("Bearer {OPERATOR}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body)).unwrap();
        let answer = bench.network.clone().oneshot(request).await.unwrap();
        let code = answer.status().as_u16();
        let text = to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        let text = String::from_utf8(text.to_vec()).unwrap();
        assert!(
            code == wanted && text.contains(words),
            "{headers:?} {body:?}: {code} {text}"
        );
    }
    // A preflight is answered with nothing that would let a script go on.
    let ask = Request::builder()
        .method("OPTIONS")
        .uri(path)
        .header("origin", "https://evil.example");
    let answer = bench
        .network
        .clone()
        .oneshot(ask.body(Body::empty()).unwrap())
        .await
        .unwrap();
    assert!(answer.status().is_client_error() && !answer.headers().contains_key("access-control-allow-origin"));
    drop(bench);
    assert_eq!(looped.await.unwrap().len(), 4);
}

/// A command line of before sends no header: its socket is opened by root alone, and by no browser.
#[tokio::test]
async fn the_command_line_of_an_older_version_still_acts_on_its_host() {
    let mut bench = Bench::new();
    let looped = bench.loops();
    let ask = async |headers: &[(&str, &str)]| {
        let mut request = Request::builder().method("POST").uri("/v1/groups/mail/stop");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from("{}")).unwrap();
        bench.host.clone().oneshot(request).await.unwrap().status().as_u16()
    };
    let old = [("host", "local"), ("content-type", "application/json")];
    assert_eq!(ask(&old).await, 200);
    // Through a proxy that somebody has put before the socket.
    for sign in [("origin", "https://evil.example"), ("sec-fetch-site", "same-origin")] {
        assert_eq!(ask(&[old[0], old[1], sign]).await, 403, "{sign:?}");
    }
    drop(bench);
    assert_eq!(looped.await.unwrap().len(), 1);
}

#[tokio::test]
async fn no_answer_is_kept_by_a_cache_or_taken_for_something_else() {
    let bench = Bench::new();
    for path in ["/v1/status", "/v1/nothing", "/", "/livez", "/leader"] {
        for router in [&bench.network, &bench.host] {
            let request = Request::builder().uri(path).body(Body::empty()).unwrap();
            let answer = router.clone().oneshot(request).await.unwrap();
            for (name, value) in [("cache-control", "no-store"), ("x-content-type-options", "nosniff")] {
                assert_eq!(answer.headers()[name], value, "{path}");
            }
        }
    }
}
