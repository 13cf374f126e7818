//! The engine behind the project's proxy: everything that the adapter does passes, and nothing else.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use leasehold::sidecar::adapters::engine::Engine;

use crate::support::{ADAPTERS_SOCKET, SOCKET};

const IMAGE: &str = "leasehold/socket-proxy:dev";
/// Fewer tests than this through the proxy would mean that they were not run.
const LEAST: u32 = 20;

/// The proxy in a container as the compose file makes it; removed when dropped.
struct Proxy {
    name: String,
    dir: PathBuf,
}

fn docker(arguments: &[&str]) -> Output {
    Command::new("docker")
        .args(arguments)
        .output()
        .expect("these tests call the `docker` client")
}

impl Proxy {
    async fn start() -> Self {
        let name = format!("lhproxy{}", std::process::id());
        let dir = std::env::temp_dir().join(&name);
        std::fs::create_dir_all(&dir).unwrap();
        let proxy = Self { name, dir };
        let [engine, own] = [
            format!("{SOCKET}:/var/run/docker.sock"),
            format!("{}:/run/engine", proxy.dir.display()),
        ];
        let shape = [
            "--network=none",
            "--read-only",
            "--cap-drop=ALL",
            "--security-opt=no-new-privileges",
        ];
        let head = [
            "run",
            "--detach",
            "--name",
            &proxy.name,
            "--volume",
            &engine,
            "--volume",
            &own,
        ];
        let made = docker(&[&head[..], &shape, &[IMAGE]].concat());
        let why = String::from_utf8_lossy(&made.stderr);
        assert!(
            made.status.success(),
            "no proxy (docker/build socket-proxy makes its image): {why}"
        );
        for _ in 0..200 {
            if UnixStream::connect(proxy.socket()).await.is_ok() {
                return proxy;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the proxy does not listen: {:?}", docker(&["logs", &proxy.name]));
    }

    fn socket(&self) -> PathBuf {
        self.dir.join("docker.sock")
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        docker(&["rm", "--force", "--volumes", &self.name]);
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// The status code of a call without a body.
async fn code(socket: &Path, call: &str) -> u16 {
    let mut stream = UnixStream::connect(socket).await.unwrap();
    let head = format!("{call} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let text = String::from_utf8_lossy(&answer);
    text.split(' ').nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn what_the_sidecar_does_not_do_is_refused() {
    let proxy = Proxy::start().await;
    let socket = proxy.socket();
    // What this engine speaks: later ones refuse what older ones speak.
    let (major, minor) = Engine::connect(Path::new(SOCKET)).version().await.unwrap().api;
    let versioned = |call: &str| call.replace("/v1.41/", &format!("/v{major}.{minor}/"));
    for (call, wanted) in [
        ("GET /v1.41/version", 200),
        ("GET /_ping", 200),
        ("GET /v1.41/containers/nobody/json", 404),
        ("GET /v1.41/images/nobody/nothing:1/json", 404),
        ("POST /v1.41/containers/nobody/kill", 404),
    ] {
        assert_eq!(code(&socket, &versioned(call)).await, wanted, "{call}");
    }
    for call in [
        "GET /v1.41/info",
        "GET /v1.41/images/json",
        "GET /v1.41/secrets",
        "POST /v1.41/images/create?fromImage=x",
        "POST /v1.41/build",
        "POST /v1.41/commit?container=x",
        "POST /v1.41/swarm/init",
        "POST /v1.41/plugins/pull?remote=x",
        "POST /v1.41/containers/prune",
        "POST /v1.41/containers/nobody/attach",
        "GET /v1.41/containers/nobody/archive?path=/",
        "PUT /v1.41/containers/nobody/archive?path=/",
        "DELETE /v1.41/volumes/nobody",
        "DELETE /v1.41/images/nobody",
        // Around the list.
        "GET /v1.41/images/../info/json",
        "GET /v1.41/images/x/../../info",
        "GET //v1.41/info",
        "GET /v1.41/containers/%2e%2e/json",
        "GET /v1.41/info#/containers/json",
        "get /v1.41/containers/json",
    ] {
        let code = code(&socket, &versioned(call)).await;
        assert!(code == 403 || code == 400, "{call}: {code}");
    }
}

#[tokio::test]
async fn everything_else_in_this_file_passes_through_it() {
    let proxy = Proxy::start().await;
    let tests = std::env::current_exe().unwrap();
    let socket = proxy.socket();
    let ran = tokio::task::spawn_blocking(move || {
        let mut command = Command::new(tests);
        command.args(["--skip", "proxied::"]).env(ADAPTERS_SOCKET, socket);
        command.output().unwrap()
    });
    let ran = ran.await.unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{said}\n{:?}", docker(&["logs", &proxy.name]));
    let counted = said.lines().find_map(|line| line.strip_prefix("test result: ok. "));
    let passed = counted.and_then(|line| line.split(' ').next()?.parse::<u32>().ok());
    assert!(passed.is_some_and(|passed| passed >= LEAST), "{said}");
}
