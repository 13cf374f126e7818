//! Starts etcd members of its own in a temporary directory and ends them, by their process ids, when dropped.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use leasehold::compose::model::EtcdTls;
use leasehold::core::protocol::keys::Keys;
use leasehold::core::store::Txn;
use leasehold::sidecar::adapters::store::{Settings, once};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// For members in tests that look neither at timing nor at durability.
pub(crate) const FAST: [&str; 5] = [
    "--heartbeat-interval",
    "50",
    "--election-timeout",
    "500",
    "--unsafe-no-fsync",
];

pub(crate) struct Cluster {
    pub(crate) dir: PathBuf,
    members: Vec<Member>,
    scheme: &'static str,
}

struct Member {
    arguments: Vec<String>,
    client_port: u16,
    child: Option<Child>,
}

impl Cluster {
    /// Members over plain HTTP with these extra arguments, answering.
    pub(crate) async fn start(count: usize, arguments: &[&str]) -> Self {
        let cluster = Self::launch("http", count, |_| strings(arguments));
        cluster.wait(&cluster.settings()).await;
        cluster
    }

    /// Members that may not answer yet; `arguments` is given the temporary directory.
    pub(crate) fn launch(scheme: &'static str, count: usize, arguments: impl Fn(&Path) -> Vec<String>) -> Self {
        let serial = free_port();
        let dir = std::env::temp_dir().join(format!("leasehold-etcd-{}-{serial}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a temporary directory");
        let extra = arguments(&dir);
        let ports: Vec<_> = (0..count).map(|_| (free_port(), free_port())).collect();
        let peers: Vec<_> = ports
            .iter()
            .enumerate()
            .map(|(number, (_, peer))| format!("m{number}=http://127.0.0.1:{peer}"))
            .collect();
        let members = ports
            .iter()
            .enumerate()
            .map(|(number, (client, peer))| {
                let mut arguments = vec![
                    format!("--name=m{number}"),
                    format!("--data-dir={}", dir.join(format!("m{number}")).display()),
                    format!("--listen-client-urls={scheme}://127.0.0.1:{client}"),
                    format!("--advertise-client-urls={scheme}://127.0.0.1:{client}"),
                    format!("--listen-peer-urls=http://127.0.0.1:{peer}"),
                    format!("--initial-advertise-peer-urls=http://127.0.0.1:{peer}"),
                    format!("--initial-cluster={}", peers.join(",")),
                    "--log-level=error".to_owned(),
                ];
                arguments.extend(extra.iter().cloned());
                Member {
                    arguments,
                    client_port: *client,
                    child: None,
                }
            })
            .collect();
        let mut cluster = Self { dir, members, scheme };
        (0..count).for_each(|number| cluster.run(number));
        cluster
    }

    /// Starts a member, again after [`Cluster::kill`].
    pub(crate) fn run(&mut self, number: usize) {
        let log = std::fs::File::create(self.dir.join(format!("m{number}.log"))).expect("a log file");
        let member = &mut self.members[number];
        let child = Command::new(binary("etcd"))
            .args(&member.arguments)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("etcd starts");
        member.child = Some(child);
    }

    /// Ends a member as a power cut would.
    pub(crate) fn kill(&mut self, number: usize) {
        if let Some(mut child) = self.members[number].child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub(crate) fn freeze(&self, number: usize) {
        self.signal(number, Signal::SIGSTOP);
    }

    pub(crate) fn thaw(&self, number: usize) {
        self.signal(number, Signal::SIGCONT);
    }

    fn signal(&self, number: usize, signal: Signal) {
        let child = self.members[number].child.as_ref().expect("a running member");
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("a process id"));
        kill(pid, signal).expect("a signal");
    }

    pub(crate) fn url(&self, number: usize) -> String {
        format!("{}://127.0.0.1:{}", self.scheme, self.members[number].client_port)
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings {
            endpoints: (0..self.members.len()).map(|number| self.url(number)).collect(),
            tls: None,
            user: None,
            keys: Keys::new("mail"),
            attempt: Duration::from_secs(1),
        }
    }

    /// Waits until every member answers a linearizable read.
    pub(crate) async fn wait(&self, settings: &Settings) {
        for endpoint in &settings.endpoints {
            let mut single = settings.clone();
            single.endpoints = vec![endpoint.clone()];
            self.wait_for(&single).await;
        }
    }

    async fn wait_for(&self, settings: &Settings) {
        let mut last = None;
        for _ in 0..200 {
            match once(settings, &Txn::read()).await {
                Ok(_) => return,
                Err(error) => last = Some(error),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let logs: Vec<_> = (0..self.members.len())
            .map(|number| std::fs::read_to_string(self.dir.join(format!("m{number}.log"))).unwrap_or_default())
            .collect();
        panic!("etcd does not answer: {last:?}\n{}", logs.join("\n"));
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        (0..self.members.len()).for_each(|number| self.kill(number));
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

pub(crate) fn strings(arguments: &[&str]) -> Vec<String> {
    arguments.iter().map(|&argument| argument.to_owned()).collect()
}

/// A CA, a server certificate for 127.0.0.1 and a client certificate with this common name, as `<name>.crt` and
/// `<name>.key` in the directory. Returns the client's files.
pub(crate) fn certificates(dir: &Path, client: &str) -> EtcdTls {
    let new_key = ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    let ca = [
        "-x509",
        "-days",
        "2",
        "-subj",
        "/CN=test CA",
        "-keyout",
        "ca.key",
        "-out",
        "ca.crt",
    ];
    openssl(dir, &[&new_key[..], &ca].concat());
    std::fs::write(dir.join("extensions"), "subjectAltName=IP:127.0.0.1\n").expect("a file");
    for (name, common_name) in [("server", "etcd"), ("client", client)] {
        let (key, request, subject) = (
            format!("{name}.key"),
            format!("{name}.csr"),
            format!("/CN={common_name}"),
        );
        let certificate = format!("{name}.crt");
        openssl(
            dir,
            &[&new_key[..], &["-subj", &subject, "-keyout", &key, "-out", &request]].concat(),
        );
        let sign = [
            "x509",
            "-req",
            "-days",
            "2",
            "-CA",
            "ca.crt",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
        ];
        let files = ["-extfile", "extensions", "-in", &request, "-out", &certificate];
        openssl(dir, &[&sign[..], &files].concat());
    }
    EtcdTls {
        ca: dir.join("ca.crt"),
        certificate: Some(dir.join("client.crt")),
        key: Some(dir.join("client.key")),
    }
}

fn openssl(dir: &Path, arguments: &[&str]) {
    let output = Command::new("openssl")
        .current_dir(dir)
        .args(arguments)
        .output()
        .expect("the openssl program");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

pub(crate) fn binary(name: &str) -> PathBuf {
    let dir = std::env::var_os("LEASEHOLD_ETCD_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/etcd"),
        PathBuf::from,
    );
    let path = dir.join(name);
    assert!(
        path.is_file(),
        "no {}: run docker/requirements etcd target/etcd",
        path.display()
    );
    path
}

/// A port below the range that the kernel hands out to clients, so that no connection of a test takes it first.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let base = 10_000 + u16::try_from(std::process::id() % 300).expect("a small number") * 64;
    (0..2000)
        .map(|_| base + NEXT.fetch_add(1, Ordering::Relaxed) % 2000)
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free port")
}
