//! Endpoints that can't be opened, and endpoints that somebody wants to deny to everybody else: neither ends the sidecar, nor
//! makes it beat later.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::etcd::{Cluster, FAST};
use crate::process::Sidecar;

/// A load balancer gives up after so long.
const PATIENCE: Duration = Duration::from_secs(2);
/// Looks while an attack goes on; as many seconds.
const LOOKS: u32 = 6;
/// A beat goes out every third of a second; a look may fall between two of them.
const AGE_MAX: u64 = 1000;

fn fault(status: &serde_json::Value) -> &str {
    status["nodes"]["a"]["endpoints"].as_str().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_that_cannot_be_opened_end_nothing_and_open_later() {
    let etcd = Cluster::start(1, &FAST).await;
    let mut node = Sidecar::new(&[etcd.url(0)], "3s", &[]);
    let tokens = node.dir.join("tokens");
    std::fs::write(&tokens, "admin ann short\n").unwrap();
    node = node.with("LEASEHOLD_TOKENS", tokens.display().to_string());
    let other = TcpListener::bind(("127.0.0.1", node.port)).unwrap();
    // As at a rolling restart.
    for _ in 0..2 {
        node.start();
        let status = node.wait("told that the port is taken", |status| {
            status["member"] == "joined"
                && fault(status).contains("in use")
                && fault(status).contains("tokens:1: the token of ann")
        });
        assert_eq!(status["nodes"]["a"]["address"], "", "{status}");
        let sentences = status["overall"]["sentences"].to_string();
        assert!(sentences.contains("endpoints of a: closed: "), "{sentences}");
        assert!(node.log().contains("endpoints_faulty"), "{}", node.log());
        node.stop();
    }
    node.start();
    node.wait("joined", |status| status["member"] == "joined");
    drop(other);
    let address = format!("127.0.0.1:{}", node.port);
    node.wait("open", |status| {
        status["nodes"]["a"]["address"] == address.as_str() && !fault(status).contains("closed")
    });
    std::fs::write(&tokens, "admin ann 0123456789abcdef\n").unwrap();
    std::fs::set_permissions(&tokens, PermissionsExt::from_mode(0o600)).unwrap();
    node.wait("well again", |status| fault(status).is_empty());
    assert!(node.log().contains("endpoints_restored"), "{}", node.log());
    node.stop();

    let mut half = Sidecar::new(&[etcd.url(0)], "3s", &[]).with("LEASEHOLD_TLS_CERT", "/nowhere");
    half.start();
    half.wait("told of TLS", |status| {
        status["member"] == "joined" && fault(status).contains("LEASEHOLD_TLS_KEY")
    });
    assert!(
        TcpStream::connect(("127.0.0.1", half.port)).is_err(),
        "never in plain where TLS was asked for"
    );
}

/// A connection from this address.
fn connect(from: &str, port: u16) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_recv_buffer_size(2048)?;
    socket.bind(&format!("{from}:0").parse::<SocketAddr>().unwrap().into())?;
    socket.connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)).into(), PATIENCE)?;
    let stream: TcpStream = socket.into();
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(Duration::from_millis(100)))?;
    Ok(stream)
}

/// Whether `/livez` answers somebody else, and after how long.
#[expect(clippy::disallowed_methods, reason = "times a test, no deadline")]
fn livez(port: u16) -> (bool, Duration) {
    let began = Instant::now();
    let asked = connect("127.0.0.3", port).and_then(|mut stream| {
        stream.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer)?;
        Ok(answer == *b"HTTP/1.1 200")
    });
    (asked.unwrap_or(false), began.elapsed())
}

fn many(count: usize, port: u16, mut first: impl FnMut(&mut TcpStream)) -> Vec<TcpStream> {
    let opened = (0..count).filter_map(|_| connect("127.0.0.2", port).ok());
    opened
        .map(|mut stream| {
            first(&mut stream);
            stream
        })
        .collect()
}

#[expect(clippy::print_stdout, reason = "the table is for whoever runs it with --no-capture")]
fn say(table: &str) {
    println!("{table}");
}

/// Opens connections and leaves them as they are.
type Attack = fn(u16) -> Vec<TcpStream>;

/// What somebody at one address does to the port, and the lines of a table that shows what came of it.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_denies_the_port_to_others_or_holds_up_a_beat() {
    let etcd = Cluster::start(1, &FAST).await;
    let mut node = Sidecar::new(&[etcd.url(0)], "3s", &[]);
    node.start();
    node.wait("open", |status| {
        status["nodes"]["a"]["address"]
            .as_str()
            .is_some_and(|at| !at.is_empty())
    });
    let port = node.port;
    let attacks: [(&str, Attack); 3] = [
        ("80 slow heads", |port| {
            many(80, port, |stream| {
                drop(stream.write_all(b"GET /livez HTTP/1.1\r\nX-A: "))
            })
        }),
        ("64 that never read", |port| {
            let pipelined = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(50);
            many(64, port, |stream| while stream.write_all(&pipelined).is_ok() {})
        }),
        ("200 that say nothing", |port| many(200, port, |_| {})),
    ];
    let mut table = "attack, answers of /livez, slowest, oldest word of etcd\n".to_owned();
    let mut failed = false;
    for (name, attack) in attacks {
        let mut streams = attack(port);
        let (mut answered, mut slowest, mut oldest) = (0, Duration::ZERO, 0);
        for _ in 0..LOOKS {
            // One byte more, as a slow writer has it.
            for stream in &mut streams {
                let _ = stream.write_all(b"a");
            }
            let (is_alive, took) = livez(port);
            answered += u32::from(is_alive);
            slowest = slowest.max(took);
            let age = node.status().and_then(|status| status["etcd_age_ms"].as_u64());
            oldest = oldest.max(age.unwrap_or(u64::MAX));
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        writeln!(table, "{name}, {answered} of {LOOKS}, {slowest:?}, {oldest} ms").unwrap();
        failed |= answered < LOOKS || oldest > AGE_MAX;
    }
    assert!(!failed, "{table}");
    say(&table);
    assert!(node.log().contains("connection_refused"), "{}", node.log());
}
