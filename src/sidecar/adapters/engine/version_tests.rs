//! An engine that comes back as another version, played by a socket.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::*;

/// Speaks one version of the API and refuses every other, as engines do with what is too old for them.
struct Played {
    task: tokio::task::JoinHandle<()>,
    socket: PathBuf,
}

impl Played {
    fn open(socket: &Path, api: &'static str) -> Self {
        let listener = UnixListener::bind(socket).unwrap();
        let task = tokio::spawn(async move {
            let mut all = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                all.spawn(answer(stream, api));
            }
        });
        let socket = socket.to_owned();
        Self { task, socket }
    }
}

impl Drop for Played {
    fn drop(&mut self) {
        self.task.abort();
        let _ = std::fs::remove_file(&self.socket);
    }
}

async fn answer(mut stream: UnixStream, api: &'static str) {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let Ok(byte) = stream.read_u8().await else { return };
            head.push(byte);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let is_spoken = !path.starts_with("/v") || path == "/version" || path.starts_with(&format!("/v{api}/"));
        let (status, body) = match (is_spoken, path.rsplit('/').next()) {
            (false, _) => (
                "400 Bad Request",
                r#"{"message":"client version is too old"}"#.to_owned(),
            ),
            (true, Some("_ping")) => ("200 OK", "OK".to_owned()),
            (true, Some("version")) => ("200 OK", format!(r#"{{"Version":"9","ApiVersion":"{api}"}}"#)),
            // The stream stays open without a word.
            (true, Some(word)) if word.starts_with("events") => {
                let _ = stream
                    .write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                    .await;
                let _ = stream.read_u8().await;
                return;
            }
            (true, _) => ("404 Not Found", r#"{"message":"no such container"}"#.to_owned()),
        };
        let text = format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        if stream.write_all(text.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn hint(hints: &mut tokio::sync::mpsc::Receiver<Hint>) -> Hint {
    let next = timeout(Duration::from_secs(20), hints.recv()).await;
    next.expect("a hint in time").expect("somebody tells")
}

#[tokio::test]
async fn an_engine_that_was_replaced_is_spoken_to_in_its_own_version() {
    let directory = std::env::temp_dir().join(format!("lhversion{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let socket = directory.join("engine.sock");
    let before = Played::open(&socket, "1.41");
    let engine = Engine::connect(&socket);
    let mut hints = engine.events();
    while hint(&mut hints).await != Hint::EngineBack {}
    assert_eq!(agreed(&engine).await, (1, 41));

    drop(before);
    assert!(matches!(hint(&mut hints).await, Hint::EngineLost(_)));
    // Until another one answers.
    assert_eq!(agreed(&engine).await, (1, 41));
    let after = Played::open(&socket, "1.44");
    while hint(&mut hints).await != Hint::EngineBack {}
    assert_eq!(agreed(&engine).await, (1, 44));
    assert!(!engine.inspect("c1").await.unwrap().exists);
    drop(after);
    std::fs::remove_dir_all(directory).unwrap();
}

async fn agreed(engine: &Engine) -> (usize, usize) {
    let version = engine.client().await.unwrap().client_version();
    (version.major_version, version.minor_version)
}
