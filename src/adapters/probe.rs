//! Checks of the service, as a client would make them: connect, and hear the protocol's first words.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::compose::model::{Probe, ProbeKind};

/// One check, from the connection to the first words.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Makes all checks at once; the first failure is the result.
///
/// # Errors
/// A sentence that names the port and what came instead.
pub async fn check(address: IpAddr, probes: &[Probe]) -> Result<(), String> {
    let all = probes.iter().map(|probe| one(address, probe));
    for result in futures_util::future::join_all(all).await {
        result?;
    }
    Ok(())
}

async fn one(address: IpAddr, probe: &Probe) -> Result<(), String> {
    let at = SocketAddr::new(address, probe.port);
    match tokio::time::timeout(TIMEOUT, talk(at, probe.kind)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(why)) => Err(format!("port {}: {why}", probe.port)),
        Err(_) => Err(format!("port {}: no answer within {TIMEOUT:?}", probe.port)),
    }
}

async fn talk(at: SocketAddr, kind: ProbeKind) -> Result<(), String> {
    let mut stream = TcpStream::connect(at).await.map_err(|error| error.to_string())?;
    let (say, hear, bye): (&[u8], &str, &[u8]) = match kind {
        ProbeKind::Tcp => return Ok(()),
        ProbeKind::Smtp => (b"", "220", b"QUIT\r\n"),
        ProbeKind::Imap => (b"", "* OK", b"a LOGOUT\r\n"),
        ProbeKind::Pop3 => (b"", "+OK", b"QUIT\r\n"),
        ProbeKind::Http => (b"GET / HTTP/1.0\r\n\r\n", "HTTP/", b""),
    };
    stream.write_all(say).await.map_err(|error| error.to_string())?;
    let mut heard = Vec::new();
    let mut buffer = [0; 256];
    while !heard.contains(&b'\n') && heard.len() < 1024 {
        match stream.read(&mut buffer).await.map_err(|error| error.to_string())? {
            0 => break,
            count => heard.extend_from_slice(&buffer[..count]),
        }
    }
    let line = String::from_utf8_lossy(&heard);
    let line = line.lines().next().unwrap_or_default().trim();
    // The polite end keeps the server's log clean; whether it is heard does not matter.
    let _ = stream.write_all(bye).await;
    if !line.starts_with(hear) {
        return Err(format!("expected `{hear}`, heard `{line}`"));
    }
    let failed = kind == ProbeKind::Http && line.split(' ').nth(1).is_none_or(|status| status >= "400");
    if failed {
        Err(format!("answered `{line}`"))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    async fn against(kind: ProbeKind, answer: &'static [u8]) -> Result<(), String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(answer).await.unwrap();
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
        });
        let result = check(at.ip(), &[Probe { kind, port: at.port() }]).await;
        server.abort();
        result
    }

    #[tokio::test]
    async fn each_protocol_is_known_by_its_first_words() {
        assert_eq!(against(ProbeKind::Smtp, b"220 mail ESMTP\r\n").await, Ok(()));
        assert_eq!(against(ProbeKind::Imap, b"* OK ready\r\n").await, Ok(()));
        assert_eq!(against(ProbeKind::Pop3, b"+OK ready\r\n").await, Ok(()));
        assert_eq!(against(ProbeKind::Http, b"HTTP/1.1 200 OK\r\n").await, Ok(()));
        assert_eq!(against(ProbeKind::Tcp, b"").await, Ok(()));
    }

    #[tokio::test]
    async fn other_words_and_a_closed_port_are_failures_that_say_so() {
        let why = against(ProbeKind::Smtp, b"554 no\r\n").await.unwrap_err();
        assert!(why.contains("heard `554 no`"), "{why}");
        assert!(against(ProbeKind::Http, b"HTTP/1.1 503 Unavailable\r\n").await.is_err());
        let why = check(
            IpAddr::from([127, 0, 0, 1]),
            &[Probe {
                kind: ProbeKind::Tcp,
                port: 1,
            }],
        )
        .await
        .unwrap_err();
        assert!(why.starts_with("port 1:"), "{why}");
    }
}
