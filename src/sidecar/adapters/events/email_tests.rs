use std::borrow::Cow;
use std::sync::Mutex;

use base64::Engine as _;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::*;
use leasehold_compose::model::{EmailLogin, Relay};

const LONG: Duration = Duration::from_secs(20);

/// A relay: what it has heard, and how it answers MAIL; 250 once nothing is left.
#[derive(Default)]
struct Heard {
    lines: Mutex<Vec<String>>,
    answers: Mutex<Vec<&'static str>>,
}

impl Heard {
    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// Each message, as it was sent.
    fn messages(&self) -> Vec<String> {
        let text = self.lines().join("\n");
        let all = text.split("\nDATA\n").skip(1);
        all.map(|rest| rest.split("\n.\n").next().unwrap().to_owned()).collect()
    }

    async fn await_that(&self, what: &str, so: impl Fn(&Self) -> bool) {
        let end = Instant::now() + LONG;
        while !so(self) {
            assert!(Instant::now() < end, "{what}: {:#?}", self.lines());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Serves one client; true: it wants TLS now.
async fn talk(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    heard: &Heard,
    offers: &str,
) -> std::io::Result<bool> {
    let mut stream = BufReader::new(stream);
    let mut in_data = false;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(false);
        }
        let line = line.trim_end().to_owned();
        heard.lines.lock().unwrap().push(line.clone());
        let answer = match line.split(' ').next().unwrap_or_default() {
            "." if in_data => {
                in_data = false;
                "250 taken"
            }
            _ if in_data => continue,
            "EHLO" => offers,
            "STARTTLS" => "220 go",
            "AUTH" => "235 known",
            "MAIL" => {
                let mut answers = heard.answers.lock().unwrap();
                if answers.is_empty() {
                    "250 ok"
                } else {
                    answers.remove(0)
                }
            }
            "DATA" => {
                in_data = true;
                "354 go on"
            }
            "QUIT" => "221 bye",
            _ => "250 ok",
        };
        stream.write_all(format!("{answer}\r\n").as_bytes()).await?;
        if line == "STARTTLS" {
            return Ok(true);
        }
    }
}

async fn serve(mut stream: TcpStream, heard: Arc<Heard>, tls: Option<TlsAcceptor>) -> std::io::Result<()> {
    stream.write_all(b"220 relay\r\n").await?;
    let offers = if tls.is_some() {
        "250-relay\r\n250 STARTTLS"
    } else {
        "250-relay\r\n250 AUTH PLAIN"
    };
    if talk(&mut stream, &heard, offers).await?
        && let Some(tls) = tls
    {
        let mut stream = tls.accept(stream).await?;
        talk(&mut stream, &heard, "250-relay\r\n250 AUTH PLAIN").await?;
    }
    Ok(())
}

async fn relay_with(answers: &[&'static str], tls: Option<TlsAcceptor>) -> (Arc<Heard>, Email) {
    let heard = Arc::new(Heard::default());
    *heard.answers.lock().unwrap() = answers.to_vec();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let own = Arc::clone(&heard);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, Arc::clone(&own), tls.clone()));
        }
    });
    let email = Email {
        relay: Relay {
            host: "127.0.0.1".to_owned(),
            port,
        },
        from: "leasehold@example.org".to_owned(),
        to: vec!["ops@example.org".to_owned(), "boss@example.org".to_owned()],
        tls: EmailTls::Never,
        login: None,
        ca: None,
    };
    (heard, email)
}

fn event(number: u32, level: &'static str) -> Arc<EventMessage> {
    Arc::new(EventMessage {
        id: format!("life-{number}"),
        time: "2026-12-01T03:00:00Z".to_owned(),
        cluster: "office".to_owned(),
        node: "b".to_owned(),
        group: Some("mail".to_owned()),
        code: Cow::Borrowed("failover_started"),
        level: Cow::Borrowed(level),
        epoch: Some(4),
        text: format!("sentence {number}"),
    })
}

/// Tells all of these, with a gap of so long between two e-mails.
fn tell(email: Email, gap: Duration, told: &[Arc<EventMessage>]) -> mpsc::Sender<Arc<EventMessage>> {
    let (queue, events) = mpsc::channel(super::super::QUEUE_MAX);
    let pace = Pace {
        deadline: Duration::from_secs(5),
        pauses: vec![Duration::from_millis(10); 2],
        email: gap,
        ..Pace::default()
    };
    let kept = Kept::open(Path::new("/nowhere"));
    tokio::spawn(deliver(email, pace, events, Counters::default(), kept));
    for one in told {
        queue.try_send(Arc::clone(one)).unwrap();
    }
    queue
}

#[tokio::test]
async fn what_happens_in_quick_succession_goes_into_one() {
    let (heard, email) = relay_with(&[], None).await;
    let queue = tell(email, Duration::from_millis(300), &[event(1, "info")]);
    heard.await_that("the first", |heard| heard.messages().len() == 1).await;
    for one in [event(2, "info"), event(3, "alarm")] {
        queue.try_send(one).unwrap();
    }
    heard
        .await_that("the others", |heard| heard.messages().len() == 2)
        .await;
    let messages = heard.messages();
    for words in [
        "Subject: info: mail: sentence 1",
        "Message-ID: <life-1@example.org>",
        "Auto-Submitted: auto-generated",
        "From: \"Leasehold office\" <leasehold@example.org>",
        "To: ops@example.org, boss@example.org",
        "failover_started, told by b about mail, epoch 4 at 2026-12-01T03:00:00Z",
        "More: `leasehold why mail` on b.",
    ] {
        assert!(messages[0].contains(words), "{words}: {}", messages[0]);
    }
    assert!(
        messages[1].contains("Subject: alarm: mail: sentence 3 (and 1 more)"),
        "{}",
        messages[1]
    );
    assert!(
        messages[1].contains("sentence 2") && !messages[1].contains("sentence 1"),
        "{}",
        messages[1]
    );
}

#[tokio::test]
async fn a_relay_that_is_busy_is_asked_again_and_one_that_refuses_is_not() {
    let (heard, email) = relay_with(&["451 later", "451 later"], None).await;
    let _queue = tell(email, Duration::ZERO, &[event(1, "info")]);
    heard
        .await_that("the third try", |heard| heard.messages().len() == 1)
        .await;

    let (heard, email) = relay_with(&["550 never"], None).await;
    let queue = tell(email, Duration::ZERO, &[event(1, "info")]);
    let mails = |heard: &Heard| heard.lines().iter().filter(|line| line.starts_with("MAIL")).count();
    heard.await_that("a refusal", |heard| mails(heard) == 1).await;
    queue.try_send(event(2, "info")).unwrap();
    heard
        .await_that("the next one", |heard| heard.messages().len() == 1)
        .await;
    assert!(
        mails(&heard) == 2 && heard.messages()[0].contains("sentence 2"),
        "{:?}",
        heard.lines()
    );
}

#[tokio::test]
async fn a_password_goes_through_tls_alone() {
    let dir = std::env::temp_dir().join(format!("leasehold-email-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let (password_file, ca) = (dir.join("password"), dir.join("ca.pem"));
    std::fs::write(&password_file, "s3cret\n").unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let body = base64::engine::general_purpose::STANDARD.encode(issuer.der());
    let pem = format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n");
    std::fs::write(&ca, pem).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = certificate.signed_by(&key, &issuer).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )
        .unwrap();
    let secret = |email: Email| Email {
        tls: EmailTls::Starttls,
        login: Some(EmailLogin {
            user: "leasehold".to_owned(),
            password_file: password_file.clone(),
        }),
        ca: Some(ca.clone()),
        ..email
    };

    let (heard, email) = relay_with(&[], None).await;
    let _queue = tell(secret(email), Duration::ZERO, &[event(1, "info")]);
    heard.await_that("a try", |heard| !heard.lines().is_empty()).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let lines = heard.lines();
    assert!(
        !lines
            .iter()
            .any(|line| line.starts_with("AUTH") || line.starts_with("MAIL")),
        "{lines:?}"
    );

    let (heard, email) = relay_with(&[], Some(TlsAcceptor::from(Arc::new(server)))).await;
    let _queue = tell(secret(email.clone()), Duration::ZERO, &[event(1, "info")]);
    heard.await_that("a message", |heard| heard.messages().len() == 1).await;
    let lines = heard.lines();
    let at = |word: &str| lines.iter().position(|line| line.starts_with(word)).unwrap();
    assert!(
        at("STARTTLS") < at("AUTH PLAIN") && at("AUTH PLAIN") < at("MAIL"),
        "{lines:?}"
    );

    // Nobody else's certificate will do.
    let stranger = Email {
        ca: None,
        ..secret(email)
    };
    let failed = one_try(&stranger, LONG, &[event(1, "info")]).await.unwrap_err();
    assert!(
        matches!(&failed, Failure::Passing(why) if why.contains("certificate")),
        "{failed:?}"
    );
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn what_can_not_work_is_said_at_the_start() {
    let email = Email {
        relay: Relay {
            host: "mx.example.org".to_owned(),
            port: 587,
        },
        from: "a@b..c".to_owned(),
        to: vec!["x@example.org".to_owned()],
        tls: EmailTls::Starttls,
        login: Some(EmailLogin {
            user: "me".to_owned(),
            password_file: "/nowhere/password".into(),
        }),
        ca: None,
    };
    let said = faults(&email).join("\n");
    for words in ["events.email: a@b..c", "events.email: password_file: /nowhere/password"] {
        assert!(said.contains(words), "{said}");
    }
}
