//! The endpoints over TLS as clients meet them: who is let in, what a new pair of files does.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

use super::*;
use crate::adapters::http::serve::Intake;
use crate::adapters::http::tests::{Bench, VIEWER};

const LOOK: Duration = Duration::from_millis(20);
/// A condition that does not come about in this time will not.
const PATIENCE: Duration = Duration::from_secs(20);
const BOTH: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12, &rustls::version::TLS13];

struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

struct Signed {
    certificate: CertificateDer<'static>,
    key: KeyPair,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap().der().clone();
        let issuer = Issuer::new(params, key);
        Self { certificate, issuer }
    }

    /// A certificate of this name for this host, valid to the start of a year.
    fn sign(&self, name: &str, until: i32) -> Signed {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![format!("{name}.example")]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let here = SanType::IpAddress(IpAddr::from([127, 0, 0, 1]));
        params.subject_alt_names.push(here);
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let certificate = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        Signed { certificate, key }
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        STANDARD.encode(der)
    )
}

/// A directory with the files of a server.
struct Place(PathBuf);

impl Place {
    fn new(authority: &Authority, server: &Signed) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let place = Self(std::env::temp_dir().join(format!("leasehold-tls-{}-{count}", std::process::id())));
        std::fs::create_dir_all(&place.0).unwrap();
        std::fs::write(place.0.join("ca"), pem("CERTIFICATE", &authority.certificate)).unwrap();
        place.write(server);
        place
    }

    fn write(&self, server: &Signed) {
        std::fs::write(self.0.join("certificate"), pem("CERTIFICATE", &server.certificate)).unwrap();
        std::fs::write(self.0.join("key"), pem("PRIVATE KEY", &server.key.serialize_der())).unwrap();
    }

    fn files(&self) -> TlsFiles {
        let [certificate, key, ca] = ["certificate", "key", "ca"].map(|name| self.0.join(name));
        TlsFiles::new(Some(&certificate), Some(&key), Some(&ca))
            .unwrap()
            .unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The endpoints of a bench, served over TLS.
async fn serve(bench: &Bench, place: &Place) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (inbox, _) = tokio::sync::mpsc::channel(8);
    let mut used = keep_new(place.files(), LOOK, Arc::new(Board::new(inbox)));
    used.wait_for(Option::is_some).await.unwrap();
    let intake = Intake::new(bench.network.clone(), Some(used));
    tokio::spawn(async move { intake.serve(&listener).await });
    address
}

type Client = tokio_rustls::client::TlsStream<TcpStream>;

/// A connection that trusts this authority and shows this certificate, by these versions of TLS.
async fn connect(
    to: SocketAddr,
    trusts: &Authority,
    shows: Option<&Signed>,
    versions: &[&'static SupportedProtocolVersion],
) -> io::Result<Client> {
    let mut roots = RootCertStore::empty();
    roots.add(trusts.certificate.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .build()
        .unwrap();
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_webpki_verifier(verifier);
    let config = match shows {
        None => builder.with_no_client_auth(),
        Some(signed) => {
            let key = PrivatePkcs8KeyDer::from(signed.key.serialize_der()).into();
            let chain = vec![signed.certificate.clone()];
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    let stream = TcpStream::connect(to).await?;
    let name = ServerName::from(to.ip());
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// The status code of a request on this connection, which stays open.
async fn ask(client: &mut Client, method: &str, path: &str, token: Option<&str>) -> io::Result<u16> {
    let authorization = token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
    let meant = "Host: server.example\r\nX-Leasehold: 1\r\nContent-Length: 0";
    send(
        client,
        &format!("{method} {path} HTTP/1.1\r\n{meant}\r\n{authorization}\r\n"),
    )
    .await
}

/// The status code of a request of this head, which has no body.
async fn send(client: &mut Client, head: &str) -> io::Result<u16> {
    client.write_all(head.as_bytes()).await?;
    let mut answer = Vec::new();
    let length = loop {
        answer.push(client.read_u8().await?);
        if answer.ends_with(b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&answer).to_lowercase();
            let length = text.split("content-length: ").nth(1).unwrap();
            break length.lines().next().unwrap().parse().unwrap();
        }
    };
    client.read_exact(&mut vec![0; length]).await?;
    let text = String::from_utf8_lossy(&answer);
    Ok(text.split(' ').nth(1).unwrap().parse().unwrap())
}

#[tokio::test]
async fn a_certificate_stands_for_a_token_where_the_file_names_it() {
    let mut bench = Bench::new();
    let _looped = bench.loops();
    let mut text = std::fs::read_to_string(&bench.tokens).unwrap();
    text.push_str("viewer watcher cert\noperator mover.example cert\n");
    std::fs::write(&bench.tokens, text).unwrap();
    let authority = Authority::new();
    let place = Place::new(&authority, &authority.sign("server", 2999));
    let to = serve(&bench, &place).await;
    let (read, act) = (("GET", "/v1/status"), ("POST", "/v1/groups/mail/start"));
    for (name, token, wanted) in [
        (None, None, [200, 401, 401]),
        (None, Some(VIEWER), [200, 200, 403]),
        // By its common name, and by an alternative name.
        (Some("watcher"), None, [200, 200, 403]),
        (Some("mover"), None, [200, 200, 200]),
        (Some("stranger"), None, [200, 401, 401]),
        // What is said in the header counts.
        (Some("mover"), Some(VIEWER), [200, 200, 403]),
        (Some("mover"), Some("wrong"), [200, 401, 401]),
    ] {
        let signed = name.map(|name| authority.sign(name, 2999));
        for versions in [&BOTH[..1], BOTH] {
            let mut client = connect(to, &authority, signed.as_ref(), versions).await.unwrap();
            let mut codes = Vec::new();
            for (method, path) in [("GET", "/livez"), read, act] {
                codes.push(ask(&mut client, method, path, token).await.unwrap());
            }
            assert_eq!(codes, wanted, "{name:?} {token:?}");
        }
    }
    // Taken out of the file, it is refused on a connection that is open.
    let mover = authority.sign("mover", 2999);
    let mut client = connect(to, &authority, Some(&mover), BOTH).await.unwrap();
    assert_eq!(ask(&mut client, act.0, act.1, None).await.unwrap(), 200);
    std::fs::write(&bench.tokens, "viewer watcher cert\n").unwrap();
    assert_eq!(ask(&mut client, act.0, act.1, None).await.unwrap(), 401);
}

#[tokio::test]
async fn a_browsers_certificate_does_not_act_for_a_page_of_another_site() {
    let mut bench = Bench::new();
    let looped = bench.loops();
    std::fs::write(&bench.tokens, "operator mover cert\n").unwrap();
    let authority = Authority::new();
    let place = Place::new(&authority, &authority.sign("server", 2999));
    let to = serve(&bench, &place).await;
    let mut client = connect(to, &authority, Some(&authority.sign("mover", 2999)), BOTH)
        .await
        .unwrap();
    let form = "Origin: https://evil.example\r\nSec-Fetch-NodeContext: cross-site\r\nContent-Type: text/plain";
    for (host, more, wanted) in [
        ("server.example", form, 403),
        ("server.example", "Accept: */*", 403),
        ("server.example", "X-Leasehold: 1\r\nOrigin: https://evil.example", 403),
        ("evil.example", "X-Leasehold: 1\r\nOrigin: https://evil.example", 403),
        (
            "server.example",
            "X-Leasehold: 1\r\nOrigin: https://server.example",
            200,
        ),
    ] {
        let head = "POST /v1/groups/mail/stop HTTP/1.1";
        let head = format!("{head}\r\nHost: {host}\r\n{more}\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(send(&mut client, &head).await.unwrap(), wanted, "{host} {more}");
    }
    drop((client, bench));
    looped.abort();
}

#[tokio::test]
async fn a_certificate_of_somebody_else_or_of_the_past_ends_the_handshake() {
    let bench = Bench::new();
    let (authority, other) = (Authority::new(), Authority::new());
    let place = Place::new(&authority, &authority.sign("server", 2999));
    let to = serve(&bench, &place).await;
    for (signed, words) in [
        // Of an authority that has the same name and another key.
        (other.sign("watcher", 2999), "DecryptError"),
        (authority.sign("watcher", 2001), "CertificateExpired"),
    ] {
        let error = match connect(to, &authority, Some(&signed), BOTH).await {
            Err(error) => error,
            // In TLS 1.3 the client's end is done before the server has looked.
            Ok(mut client) => ask(&mut client, "GET", "/livez", None).await.unwrap_err(),
        };
        assert!(error.to_string().contains(words), "{error}");
    }
    // And the server is one that a client can tell from others.
    assert!(connect(to, &other, None, BOTH).await.is_err());
    let mut plain = TcpStream::connect(to).await.unwrap();
    plain.write_all(b"GET /livez HTTP/1.0\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
}

#[tokio::test]
async fn a_renewed_pair_is_taken_and_open_connections_live_on() {
    let bench = Bench::new();
    let (before, after) = (Authority::new(), Authority::new());
    let place = Place::new(&before, &before.sign("server", 2999));
    let to = serve(&bench, &place).await;
    let mut open = connect(to, &before, None, BOTH).await.unwrap();
    assert_eq!(ask(&mut open, "GET", "/livez", None).await.unwrap(), 200);

    // Half of it: the certificate without its key.
    let new = after.sign("server", 2999);
    std::fs::write(place.0.join("certificate"), pem("CERTIFICATE", &new.certificate)).unwrap();
    tokio::time::sleep(LOOK * 5).await;
    assert!(connect(to, &before, None, BOTH).await.is_ok());

    place.write(&new);
    let renewed = async {
        while connect(to, &after, None, BOTH).await.is_err() {
            tokio::time::sleep(LOOK).await;
        }
    };
    timeout(PATIENCE, renewed).await.unwrap();
    assert!(connect(to, &before, None, BOTH).await.is_err());
    assert_eq!(ask(&mut open, "GET", "/livez", None).await.unwrap(), 200);
}

#[test]
fn a_broken_pair_is_said_once_when_it_lasts_and_the_old_one_goes_on() {
    let authority = Authority::new();
    let place = Place::new(&authority, &authority.sign("server", 2999));
    let (mut keeper, current) = Keeper::new(place.files());
    let now = clock::wall_seconds();
    assert_eq!(keeper.look(now), None);
    let first = current.borrow().clone().unwrap();

    let other = authority.sign("server", 2999);
    for (file, text, words) in [
        ("key", "rubbish".to_owned(), "key: no private key in PEM"),
        ("key", pem("PRIVATE KEY", &other.key.serialize_der()), "key: "),
        (
            "certificate",
            "rubbish".to_owned(),
            "certificate: no certificate in PEM",
        ),
        (
            "certificate",
            pem("CERTIFICATE", &authority.sign("server", 2001).certificate),
            "certificate",
        ),
        ("ca", String::new(), "ca: no certificate in PEM"),
    ] {
        let path = place.0.join(file);
        let good = std::fs::read(&path).unwrap();
        std::fs::write(&path, text).unwrap();
        // A moment between two writes looks the same.
        assert_eq!(keeper.look(now), None, "{words}");
        let fault = keeper.look(now).unwrap();
        assert!(fault.contains(words) && !fault.contains("rubbish"), "{fault}");
        assert_eq!(keeper.look(now), None, "{words}");
        assert!(place.files().check().unwrap_err().contains(words));
        std::fs::write(&path, good).unwrap();
        assert_eq!(keeper.look(now), None);
        assert!(Arc::ptr_eq(&first, current.borrow().as_ref().unwrap()), "{words}");
    }
    // The one in use runs out.
    let late = now + 1000 * 366 * 86400;
    assert_eq!(keeper.look(late), None);
    assert!(keeper.look(late).unwrap().contains("has run out"));
    assert!(current.borrow().is_some());
}

#[test]
fn without_a_pair_nobody_is_let_in_until_there_is_one() {
    let authority = Authority::new();
    let place = Place::new(&authority, &authority.sign("server", 2001));
    let (mut keeper, current) = Keeper::new(place.files());
    let now = clock::wall_seconds();
    assert!(keeper.look(now).unwrap().contains("has run out"));
    assert!(keeper.look(now).is_none() && current.borrow().is_none());
    place.write(&authority.sign("server", 2999));
    assert!(keeper.look(now).is_none() && current.borrow().is_some());
}

#[test]
fn a_part_without_the_rest_is_refused() {
    let path = Path::new("x");
    for (certificate, key, ca) in [
        (Some(path), None, None),
        (None, Some(path), None),
        (None, None, Some(path)),
    ] {
        let why = TlsFiles::new(certificate, key, ca).unwrap_err();
        assert!(why.contains("LEASEHOLD_TLS_CERT and LEASEHOLD_TLS_KEY"), "{why}");
    }
    assert!(TlsFiles::new(None, None, None).unwrap().is_none());
}

/// Half a hello: the length of a record, and nothing of it.
const HALF_HELLO: &[u8] = &[22, 3, 1, 2, 0, 1, 0];

#[tokio::test]
async fn who_does_not_shake_hands_keeps_nobody_out() {
    let bench = Bench::new();
    let authority = Authority::new();
    let place = Place::new(&authority, &authority.sign("server", 2999));
    let to = serve(&bench, &place).await;
    let mut silent = Vec::new();
    for _ in 0..200 {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.66:0".parse().unwrap()).unwrap();
        let mut stream = socket.connect(to).await.unwrap();
        // Those beyond its share are closed at once.
        let _ = stream.write_all(HALF_HELLO).await;
        silent.push(stream);
    }
    let asked = async { connect(to, &authority, None, BOTH).await.unwrap() };
    let mut client = timeout(Duration::from_secs(2), asked).await.unwrap();
    assert_eq!(ask(&mut client, "GET", "/metrics", None).await.unwrap(), 200);
    let ended = timeout(HANDSHAKE_TIMEOUT + PATIENCE, silent[0].read(&mut [0]))
        .await
        .unwrap();
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
}
