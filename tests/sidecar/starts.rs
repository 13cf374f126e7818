//! What keeps a container from starting, on a real engine: told at once in the tether's words, waited for, or mended.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use leasehold::base::clock;
use serde_json::Value;
use tokio::net::{UnixListener, UnixStream};

use crate::busybox::{Swept, docker, images, said};
use crate::etcd::{Cluster, FAST};
use crate::process::Sidecar;

const ENGINE: &str = "/var/run/docker.sock";
/// Where the engine keeps the bundle of a container that it runs.
const TASKS: &str = "/run/docker/containerd/daemon/io.containerd.runtime.v2.task/moby";

struct Place {
    node: Sidecar,
    name: String,
}

impl Place {
    fn write(&self, keys: &str, volume: &str, end: &str) {
        let file = self.node.dir.join("compose.yaml");
        let text = std::fs::read_to_string(&file).unwrap();
        let (head, _) = text.split_once("    image:").unwrap();
        // A look mounts the storage alone, and the tether of a debug build needs its libraries.
        let service = format!(
            "    image: {}:1\n    profiles: [leasehold]\n    scale: 0\n    entrypoint: [\"/leasehold/tether\"]\n    \
             command: [/bin/busybox, sleep, \"6000\"]\n    x-leasehold: {{group: mail, storage_look: off}}\n    \
             volumes: [{volume}\"/usr:/usr:ro\", \"/lib:/lib:ro\", \"/lib64:/lib64:ro\"]\n{keys}{end}",
            self.name
        );
        std::fs::write(file, format!("{head}{service}")).unwrap();
    }

    fn container(&self) -> String {
        format!("{}-sams-a", self.name)
    }

    fn id(&self) -> String {
        said(&docker(&["inspect", "--format", "{{.Id}}", &self.container()]))
    }

    fn line(&self, what: &str, is_wanted: impl Fn(&Value) -> bool) -> Value {
        let status = self.node.wait(what, |status| is_wanted(&status["groups"]["mail"]));
        status["groups"]["mail"].clone()
    }

    fn active(&self, run: &str) {
        self.line(&format!("active as {run}"), |line| {
            line["held"]["run"] == run && line["held"]["stage"] == "active"
        });
    }

    fn order(&self, verb: &str) {
        done(&self.node.cli(&[verb, "mail", "--no-wait"]));
    }

    fn awaits(&self, words: &str) {
        let end = clock::now().plus(Duration::from_secs(30));
        while !self.log().contains(words) {
            assert!(!clock::now().reached(end), "not told: {words}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// All that was said of it, over all epochs.
    fn log(&self) -> String {
        self.node.log()
    }
}

fn done(out: &Output) {
    let both = [out.stdout.as_slice(), &out.stderr].concat();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&both));
}

/// A service that runs for the first time; what sweeps it away goes last.
async fn running(keys: &str, volume: &str, end: &str, engine: Option<&Path>) -> (Swept, Cluster, Place) {
    let etcd = Cluster::start(1, &FAST).await;
    let mut node = Sidecar::new(&[etcd.url(0)], "3s", &[]);
    if let Some(engine) = engine {
        node = node.with("LEASEHOLD_ENGINE", engine.to_string_lossy());
    }
    let name = node.dir.file_name().unwrap().to_string_lossy().into_owned();
    let swept = Swept(name.clone());
    images(&name, &node.dir);
    let mut place = Place { node, name };
    place.write(keys, volume, end);
    place.node.start();
    place.node.wait("joined", |status| status["member"] == "joined");
    done(&place.node.cli(&["init", "mail"]));
    place.active("1.1");
    (swept, etcd, place)
}

/// An engine that crashed leaves a directory behind, and no container of that id can be started any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_container_whose_bundle_is_spoilt_is_made_anew() {
    let (_swept, _etcd, mut place) = running("    network_mode: none\n", "", "", None).await;
    place.order("stop");
    place.line("stopped", |line| line["held"].is_null());
    let before = place.id();
    let bundle = Path::new(TASKS).join(&before);
    std::fs::create_dir(&bundle).unwrap();
    place.order("start");
    place.active("2.1");
    assert_ne!(place.id(), before);
    assert!(!place.log().contains("did not start:"), "{}", place.log());
    place.node.stop();
    let _ = std::fs::remove_dir(&bundle);
}

/// A colleague's `network prune`: the stopped container holds the id of a network that is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_container_whose_network_was_made_anew_is_made_anew() {
    let (_swept, _etcd, mut place) = running("    networks: [front]\n", "", "networks:\n  front: {}\n", None).await;
    place.order("stop");
    place.line("stopped", |line| line["held"].is_null());
    let network = format!("{}_front", place.name);
    remove_network(&network);
    said(&docker(&["network", "create", &network]));
    place.order("start");
    place.active("2.1");
    assert!(!place.log().contains("did not start:"), "{}", place.log());
    place.node.stop();
    said(&docker(&["rm", "-f", &place.container()]));
    remove_network(&network);
}

/// The engine lets go of a network a little after the kernel has proved the end of whoever used it.
fn remove_network(network: &str) {
    let end = clock::now().plus(Duration::from_secs(20));
    loop {
        let output = docker(&["network", "rm", network]);
        if output.status.success() || clock::now().reached(end) {
            said(&output);
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}
/// What a backup tool does that knows nothing of Leasehold: it is back at once, and the log says what would have kept it down.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_ends_it_through_the_engine_is_told_what_keeps_it_down() {
    let (_swept, _etcd, mut place) = running("    network_mode: none\n", "", "", None).await;
    said(&docker(&["kill", "--signal", "URG", &place.container()]));
    place.order("stop");
    place.line("stopped", |line| line["held"].is_null());
    place.order("start");
    place.active("2.1");
    assert!(!place.log().contains("ended_from_outside"), "{}", place.log());
    said(&docker(&["stop", &place.container()]));
    place.active("2.2");
    place.awaits("`leasehold stop mail`");
    place.node.stop();
}

/// It says that it can't have its lock now, and would not have it elsewhere: it is tried again in place, and told in its words.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_failed_start_wrote_last_is_told() {
    let (_swept, _etcd, mut place) = running("    network_mode: none\n", "", "", None).await;
    place.order("stop");
    place.line("stopped", |line| line["held"].is_null());
    let file = place.node.dir.join("compose.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let text = text.replace("sleep, \"6000\"]", "sh, -c, \"echo can not lock the store; exit 75\"]");
    std::fs::write(file, text).unwrap();
    place.awaits("the compose file has changed");
    place.order("start");
    place.awaits("ended with exit code 75; its last lines: can not lock the store");
    place.awaits("keeps failing and would fail in the same way on every host");
    place.node.stop();
}

/// Its code and its sentence are told as soon as it has ended, and not four times.
#[tokio::test(flavor = "multi_thread")]
async fn a_tether_that_refuses_is_quoted_at_once() {
    let (keys, end) = ("    network_mode: none\n", "volumes:\n  store: {}\n");
    let (_swept, _etcd, mut place) = running(keys, "\"store:/store\", ", end, None).await;
    let erase = [
        "exec",
        &place.container(),
        "/bin/busybox",
        "rm",
        "/store/.leasehold-store",
    ];
    said(&docker(&erase));
    place.order("stop");
    place.line("stopped", |line| line["held"].is_null());
    let begun = clock::now();
    place.order("start");
    let line = place.line("quoted", |line| line.to_string().contains("208 environment"));
    let took = clock::now().since(begun);
    assert!(took < Duration::from_secs(5), "{took:?}: {line}");
    assert!(line.to_string().contains("it has no store id"), "{line}");
    std::thread::sleep(Duration::from_secs(6));
    let log = place.log();
    assert!(log.matches("its tether refused (208").count() <= 2, "{log}");
    assert!(log.contains("trying again in 10s"), "{log}");
    place.node.stop();
}

/// Passes bytes on to the real engine, until it is dropped: an engine that can be away.
struct Relay {
    socket: PathBuf,
    task: tokio::task::JoinHandle<()>,
}

impl Relay {
    fn open(socket: &Path) -> Self {
        let _ = std::fs::remove_file(socket);
        let listener = UnixListener::bind(socket).unwrap();
        let task = tokio::spawn(async move {
            let mut calls = tokio::task::JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                calls.spawn(async move {
                    let mut far = UnixStream::connect(ENGINE).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                });
            }
        });
        Self {
            socket: socket.to_owned(),
            task,
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
        let _ = std::fs::remove_file(&self.socket);
    }
}

/// An update of the engine's package takes 7 s: it ends the service, and starts nothing meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_away_for_an_update_costs_no_restart() {
    let dir = std::env::temp_dir().join(format!("lhrelay{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let socket = dir.join("engine.sock");
    let relay = Relay::open(&socket);
    let (_swept, _etcd, mut place) = running("    network_mode: none\n", "", "", Some(&socket)).await;
    drop(relay);
    said(&docker(&["kill", &place.container()]));
    place.line("waiting", |line| line.to_string().contains("engine"));
    std::thread::sleep(Duration::from_secs(7));
    let relay = Relay::open(&socket);
    let back = clock::now();
    place.line("active again", |line| line["held"]["stage"] == "active");
    let took = clock::now().since(back);
    assert!(
        took < Duration::from_secs(6),
        "{took:?} after the engine was back\n{}",
        place.log()
    );
    let log = place.log();
    assert!(!log.contains("keeps failing") && !log.contains("handing over"), "{log}");
    // The budget is whole: the first restart of a failure comes without a pause.
    let killed = clock::now();
    said(&docker(&["kill", &place.container()]));
    place.line("active anew", |line| {
        line["held"]["stage"] == "active" && clock::now().since(killed) > Duration::from_millis(300)
    });
    let took = clock::now().since(killed);
    assert!(took < Duration::from_secs(3), "{took:?}\n{}", place.log());
    place.node.stop();
    drop(relay);
    let _ = std::fs::remove_dir_all(&dir);
}
