//! Each check against a server that follows a script.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::{Inside, Prober, Target};
use crate::adapters::engine::Engine;
use leasehold_base::clock;
use leasehold_compose::model::{Cadence, Check, HttpCheck, MailCheck, MailProtocol, Probe, ProbeTls};
use leasehold_core::event::{FailureKind, ProbeFailure};

const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// What the server says first, and its answer to each line: to one that begins with the first word, the second.
struct Script {
    greeting: &'static str,
    answers: &'static [(&'static str, &'static str)],
    /// Valid from and to, in days from today; none: no TLS.
    certificate: Option<(i64, i64)>,
}

impl Script {
    const fn plain(greeting: &'static str, answers: &'static [(&'static str, &'static str)]) -> Self {
        Self {
            greeting,
            answers,
            certificate: None,
        }
    }
}

/// The lines that the server heard, and the probe's result.
async fn against(script: Script, check: impl FnOnce(u16) -> Check) -> (Vec<String>, Result<(), ProbeFailure>) {
    let listener = TcpListener::bind((HOME, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let (mut lines, stream) = converse(stream, script.greeting, script.answers).await;
        if let (Some(days), Some(stream)) = (script.certificate, stream)
            && let Ok(stream) = acceptor(days).accept(stream).await
        {
            lines.extend(converse(stream, "", script.answers).await.0);
        }
        lines
    });
    let result = probe(check(port)).await;
    (server.await.unwrap(), result)
}

/// Until the other side ends, or asks for TLS.
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    greeting: &str,
    answers: &[(&str, &str)],
) -> (Vec<String>, Option<S>) {
    let mut stream = BufReader::new(stream);
    let mut lines = Vec::new();
    stream.write_all(greeting.as_bytes()).await.unwrap();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return (lines, None);
        }
        let line = line.trim_end().to_owned();
        let answer = answers.iter().find(|(word, _)| line.contains(word));
        let secure = line.contains("STARTTLS") || line == "STLS";
        lines.push(line);
        if let Some((_, answer)) = answer {
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        if secure {
            return (lines, Some(stream.into_inner()));
        }
    }
}

fn acceptor((first, last): (i64, i64)) -> TlsAcceptor {
    let day = |days: i64| {
        let seconds = clock::wall_seconds() + days * 86_400;
        rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds.try_into().unwrap())
    };
    let mut params = rcgen::CertificateParams::new(vec!["mail.example.test".to_owned()]).unwrap();
    params.not_before = day(first);
    params.not_after = day(last);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

async fn probe(check: Check) -> Result<(), ProbeFailure> {
    let cadence = Cadence {
        interval: Duration::from_secs(5),
        timeout: Duration::from_secs(2),
        rise: 1,
        fall: 3,
        fall_timeout: 6,
    };
    let target = Target {
        address: HOME,
        container: Some("x".to_owned()),
        mounts: vec!["/store".to_owned()],
        place: 0,
    };
    let prober = Prober::new(Inside::new(Engine::connect(Path::new("/nonexistent/docker.sock"))));
    prober.check(&Probe { check, cadence }, &target).await
}

fn mail(protocol: MailProtocol, tls: ProbeTls, login_file: Option<PathBuf>) -> impl FnOnce(u16) -> Check {
    move |port| {
        Check::Mail(MailCheck {
            protocol,
            port,
            tls,
            login_file,
        })
    }
}

fn login_file(name: &str, text: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("leasehold-probe-{}-{name}", std::process::id()));
    std::fs::write(&path, text).unwrap();
    path
}

const SMTP: &[(&str, &str)] = &[
    ("EHLO", "250-mail\r\n250-STARTTLS\r\n250 AUTH PLAIN LOGIN\r\n"),
    ("STARTTLS", "220 go\r\n"),
    ("AUTH", "235 ok\r\n"),
    ("MAIL", "250 ok\r\n"),
    ("RSET", "250 ok\r\n"),
];
const IMAP: &[(&str, &str)] = &[
    ("CAPABILITY", "* CAPABILITY IMAP4rev1 STARTTLS\r\na OK\r\n"),
    ("STARTTLS", "b OK\r\n"),
    ("LOGIN", "c OK\r\n"),
];
const POP3: &[(&str, &str)] = &[
    ("CAPA", "+OK\r\nSTLS\r\nUSER\r\n.\r\n"),
    ("STLS", "+OK\r\n"),
    ("USER", "+OK\r\n"),
    ("PASS", "+OK\r\n"),
];

#[tokio::test]
async fn a_mail_server_that_answers_as_it_should_passes() {
    for (protocol, greeting, answers) in [
        (MailProtocol::Smtp, "220 mail ESMTP\r\n", SMTP),
        (MailProtocol::Imap, "* OK ready\r\n", IMAP),
        (MailProtocol::Pop3, "+OK ready\r\n", POP3),
    ] {
        let (_, result) = against(Script::plain(greeting, answers), mail(protocol, ProbeTls::Off, None)).await;
        assert_eq!(result, Ok(()), "{protocol:?}");
    }
}

#[tokio::test]
async fn tls_and_login_go_through_and_the_password_only_encrypted() {
    let path = login_file("login", "probe\nse\"cret\n");
    for (protocol, greeting, answers, sent) in [
        (
            MailProtocol::Smtp,
            "220 mail\r\n",
            SMTP,
            "AUTH PLAIN AHByb2JlAHNlImNyZXQ=",
        ),
        (MailProtocol::Imap, "* OK\r\n", IMAP, "c LOGIN \"probe\" \"se\\\"cret\""),
        (MailProtocol::Pop3, "+OK\r\n", POP3, "PASS se\"cret"),
    ] {
        let script = Script {
            certificate: Some((-1000, 1000)),
            ..Script::plain(greeting, answers)
        };
        let (lines, result) = against(script, mail(protocol, ProbeTls::Start, Some(path.clone()))).await;
        assert_eq!(result, Ok(()), "{lines:?}");
        let secure = lines
            .iter()
            .position(|line| line.contains("STARTTLS") || line == "STLS");
        let login = lines.iter().position(|line| line == sent);
        assert!(secure < login && login.is_some(), "{protocol:?}: {lines:?}");
    }
    std::fs::remove_file(path).unwrap();
}

#[tokio::test]
async fn a_certificate_out_of_date_is_told_as_one() {
    for (days, word) in [((-90, -1), "has run out"), ((1, 90), "only from")] {
        let script = Script {
            certificate: Some(days),
            ..Script::plain("220 mail\r\n", SMTP)
        };
        let (_, result) = against(script, mail(MailProtocol::Smtp, ProbeTls::Start, None)).await;
        let failure = result.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Certificate);
        assert!(failure.text.contains(word), "{}", failure.text);
    }
}

#[tokio::test]
async fn a_certificate_that_ends_soon_passes_with_a_word() {
    // The last one lives for a week, and is renewed when a quarter of it is left.
    for (days, warns) in [((-80, 13), true), ((-80, 15), false), ((-4, 3), false), ((-6, 1), true)] {
        let script = Script {
            certificate: Some(days),
            ..Script::plain("220 mail\r\n", SMTP)
        };
        let (lines, result) = against(script, mail(MailProtocol::Smtp, ProbeTls::Start, None)).await;
        let warning = result
            .err()
            .map(|failure| (failure.kind, failure.text.contains("its certificate ends on")));
        assert_eq!(warning, warns.then_some((FailureKind::Warning, true)), "{days:?}");
        assert!(
            lines.iter().any(|line| line.starts_with("MAIL")),
            "not asked to the end: {lines:?}"
        );
    }
}

#[tokio::test]
async fn a_refused_login_is_told_without_the_password() {
    let path = login_file("refused", "probe\nverysecret\n");
    const REFUSING: &[(&str, &str)] = &[("EHLO", "250-mail\r\n250 AUTH PLAIN\r\n"), ("AUTH", "535 5.7.8 no\r\n")];
    let script = Script::plain("220 mail\r\n", REFUSING);
    let (_, result) = against(script, mail(MailProtocol::Smtp, ProbeTls::Off, Some(path.clone()))).await;
    let failure = result.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Wrong);
    assert!(
        failure.text.contains("AUTH: expected `235`, heard `535 5.7.8 no`"),
        "{}",
        failure.text
    );
    assert!(!failure.text.contains("secret"), "{}", failure.text);
    std::fs::remove_file(path).unwrap();
}

#[tokio::test]
async fn a_full_disk_is_the_same_everywhere() {
    const FULL: &[(&str, &str)] = &[
        ("EHLO", "250 mail\r\n"),
        ("MAIL", "452 4.4.5 Insufficient disk space; try again later\r\n"),
    ];
    let (_, result) = against(
        Script::plain("220 mail\r\n", FULL),
        mail(MailProtocol::Smtp, ProbeTls::Off, None),
    )
    .await;
    let failure = result.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Shared);
    assert!(failure.text.contains("disk is full"), "{}", failure.text);
}

#[tokio::test]
async fn other_words_are_quoted_and_a_silent_server_is_told_apart() {
    let (_, result) = against(
        Script::plain("554 no\r\n", &[]),
        mail(MailProtocol::Smtp, ProbeTls::Off, None),
    )
    .await;
    let failure = result.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Wrong);
    assert!(
        failure.text.ends_with("greeting: expected `220`, heard `554 no`"),
        "{}",
        failure.text
    );

    let (_, result) = against(Script::plain("", &[]), mail(MailProtocol::Imap, ProbeTls::Off, None)).await;
    let failure = result.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Silent);
    assert!(failure.text.contains("no answer within 2s"), "{}", failure.text);
}

#[tokio::test]
async fn words_in_the_clear_after_starttls_are_refused() {
    const INJECTED: &[(&str, &str)] = &[
        ("EHLO", "250-mail\r\n250 STARTTLS\r\n"),
        ("STARTTLS", "220 go\r\n250 injected\r\n"),
    ];
    let script = Script::plain("220 mail\r\n", INJECTED);
    let (_, result) = against(script, mail(MailProtocol::Smtp, ProbeTls::Start, None)).await;
    assert!(result.unwrap_err().text.contains("in the clear"));
}

#[tokio::test]
async fn a_server_that_never_ends_its_answer_is_cut_off() {
    const ENDLESS: &str = "220-more\r\n";
    let greeting: &'static str = ENDLESS.repeat(200).leak();
    let (_, result) = against(
        Script::plain(greeting, &[]),
        mail(MailProtocol::Smtp, ProbeTls::Off, None),
    )
    .await;
    assert!(result.unwrap_err().text.contains("more than 100 lines"));
}

fn web(status: (u16, u16), body: Option<&str>) -> impl FnOnce(u16) -> Check {
    let body = body.map(str::to_owned);
    move |port| {
        Check::Http(HttpCheck {
            port,
            tls: ProbeTls::Off,
            path: "/health".to_owned(),
            host: Some("mail.example.test".to_owned()),
            status,
            body,
        })
    }
}

#[tokio::test]
async fn http_looks_at_status_and_body() {
    const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nall fine\n";
    const MOVED: &str = "HTTP/1.1 302 Found\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n";
    const DOWN: &str = "HTTP/1.1 503 no\r\ncontent-length: 0\r\n\r\n";
    let cases: [(&'static [(&str, &str)], _, _, &str); 5] = [
        (&[("GET", OK)], (200, 399), Some("fine"), ""),
        (&[("GET", OK)], (200, 399), Some("worse"), "does not contain \"worse\""),
        (&[("GET", MOVED)], (200, 399), None, ""),
        (&[("GET", MOVED)], (200, 299), None, "answered 302"),
        (&[("GET", DOWN)], (200, 399), None, "answered 503"),
    ];
    for (answers, status, body, wanted) in cases {
        let (lines, result) = against(Script::plain("", answers), web(status, body)).await;
        assert_eq!(lines[0], "GET /health HTTP/1.1");
        assert!(lines.contains(&"host: mail.example.test".to_owned()), "{lines:?}");
        match (wanted, result) {
            ("", Ok(())) => {}
            (words, Err(failure)) if !words.is_empty() => assert!(failure.text.contains(words), "{}", failure.text),
            (wanted, other) => panic!("wanted {wanted:?}, got {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_closed_port_is_a_refusal_that_names_it() {
    let failure = probe(Check::Tcp { port: 1 }).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Wrong);
    assert!(failure.text.starts_with("tcp 1: "), "{}", failure.text);
}

#[tokio::test]
async fn this_host_answers_an_echo_request() {
    let address = Ipv4Addr::LOCALHOST;
    assert_eq!(probe(Check::Gateway { address }).await, Ok(()));
}

#[tokio::test]
async fn an_engine_that_does_not_answer_says_nothing_of_the_service() {
    let service = || "sams".to_owned();
    let command = vec!["true".to_owned()];
    let checks = [
        Check::Exec {
            service: service(),
            command,
        },
        Check::Docker { service: service() },
        Check::Storage {
            service: service(),
            floor: 10,
        },
    ];
    for check in checks {
        let name = check.name();
        let failure = probe(check).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Unasked, "{failure:?}");
        let words = format!("{name}: the Docker engine does not answer");
        assert!(failure.text.starts_with(&words), "{}", failure.text);
    }
}
