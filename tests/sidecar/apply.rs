//! A compose file and an image that change under a running service: seen, told, and taken when an operator says so. The only
//! test here, but for `group`, that starts containers: of a busybox that borrows this machine's libraries for the tether.

use serde_json::Value;

use crate::busybox::{Swept, docker, images, said};
use crate::etcd::{Cluster, FAST};
use crate::process::Sidecar;

/// Waits for the drift, or for its end, and gives the group's line.
fn drift(node: &Sidecar, part: &str) -> Value {
    let status = node.wait(&format!("said to differ in {part:?}"), |status| {
        let line = &status["groups"]["mail"];
        match (line["drift"].as_str(), part) {
            (None, "") => true,
            (Some(drift), part) => !part.is_empty() && drift.contains(part),
            (None, _) => false,
        }
    });
    status["groups"]["mail"].clone()
}

struct Service {
    node: Sidecar,
    container: String,
}

impl Service {
    fn write(&self, keys: &str) {
        let file = self.node.dir.join("compose.yaml");
        let text = std::fs::read_to_string(&file).unwrap();
        let (head, _) = text.split_once("    image:").unwrap();
        // A look mounts the storage alone, and the tether of a debug build needs its libraries.
        let fixed = "    profiles: [leasehold]\n    scale: 0\n    entrypoint: [\"/leasehold/tether\"]\n    \
                     command: [/bin/busybox, sleep, \"6000\"]\n    network_mode: none\n    x-leasehold: {group: mail, storage_look: off}\n    \
                     volumes: [\"/usr:/usr:ro\", \"/lib:/lib:ro\", \"/lib64:/lib64:ro\"]\n";
        std::fs::write(file, format!("{head}{keys}{fixed}")).unwrap();
    }

    /// The container's id, and one variable of its environment.
    fn seen(&self) -> (String, String) {
        let format = "{{.Id}} {{range .Config.Env}}{{.}} {{end}}";
        let text = said(&docker(&["inspect", "--format", format, &self.container]));
        let (id, environment) = text.split_once(' ').unwrap_or((&text, ""));
        (id.to_owned(), environment.trim().to_owned())
    }

    fn active(&self, run: &str) {
        self.node.wait(&format!("active as {run}"), |status| {
            let held = &status["groups"]["mail"]["held"];
            held["run"] == run && held["stage"] == "active"
        });
    }

    /// Exit code and what was said to an `apply`.
    fn apply(&self) -> (bool, String) {
        let out = self.node.cli(&["apply", "mail", "--why", "new settings"]);
        let both = [out.stdout, out.stderr].concat();
        (out.status.success(), String::from_utf8_lossy(&both).into_owned())
    }
}

/// A service that runs for the first time, after what sweeps it away (its sidecar ends first); its project and the line of its image.
fn running(etcd: &Cluster, ttl: &str) -> (Swept, Service, String, String) {
    let node = Sidecar::new(&[etcd.url(0)], ttl, &[]);
    let name = node.dir.file_name().unwrap().to_string_lossy().into_owned();
    let swept = Swept(name.clone());
    images(&name, &node.dir);
    let image = format!("    image: {name}:1\n");
    let mut service = Service {
        container: format!("{name}-sams-a"),
        node,
    };
    service.write(&image);
    service.node.start();
    service.node.wait("joined", |status| status["member"] == "joined");
    said(&service.node.cli(&["init", "mail"]));
    service.active("1.1");
    (swept, service, name, image)
}

/// A sidecar that crashes while somebody edits the file goes on with the file as it was, as it would have without the crash.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_takes_no_edit_that_nobody_asked_for() {
    let etcd = Cluster::start(1, &FAST).await;
    // A debug build takes long to start: it reads itself, to install the tether.
    let (_swept, mut service, _, _) = running(&etcd, "20s");
    let (first, _) = service.seen();
    let file = service.node.dir.join("compose.yaml");
    let whole = std::fs::read_to_string(&file).unwrap();

    // Half a file, and a policy that nobody has decided on yet.
    for (text, part) in [
        (whole[..whole.len() / 2].to_owned(), "not as `leasehold check` wants it"),
        (
            whole.replace("{group: mail,", "{group: mail, lease_loss_grace: 100ms,"),
            "it takes a new sidecar",
        ),
    ] {
        service.node.crash();
        std::fs::write(&file, text).unwrap();
        service.node.start();
        drift(&service.node, part);
        service.active("1.1");
        assert_eq!(service.seen().0, first, "{part}: it goes on untouched");
        assert!(service.node.log().contains("file_remembered"), "{}", service.node.log());
    }
    std::fs::write(
        &file,
        whole.replace("    image:", "    environment: {V: one}\n    image:"),
    )
    .unwrap();
    drift(&service.node, "environment; taken at the next start");
    let (done, text) = service.apply();
    assert!(done && service.seen().1.contains("V=one"), "{text}");
    service.active("1.2");

    // One that was told to end takes what it finds.
    service.node.stop();
    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    service.node.start();
    for _ in 0..100 {
        if service.node.has_ended() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert!(service.node.has_ended(), "{}", service.node.log());
    assert!(service.node.log().contains("compose.yaml"), "{}", service.node.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_is_told_and_taken_when_an_operator_says_so() {
    let etcd = Cluster::start(1, &FAST).await;
    let (_swept, mut service, name, image) = running(&etcd, "3s");
    let (first, _) = service.seen();

    service.write(&format!("{image}    environment: {{V: one}}\n"));
    let line = drift(
        &service.node,
        "since sams was started: environment; taken at the next start",
    );
    assert!(
        line["drift"]
            .as_str()
            .unwrap()
            .ends_with("or now with `leasehold apply mail`")
    );
    assert_eq!(service.seen().0, first, "it goes on untouched");
    let (done, text) = service.apply();
    assert!(
        done && text.contains("mail runs as the file and the image say"),
        "{text}"
    );
    service.active("1.2");
    let (second, environment) = service.seen();
    assert!(second != first && environment.contains("V=one"), "{environment}");
    let (done, text) = service.apply();
    assert!(done && text.contains("there was nothing to do"), "{text}");
    assert_eq!(service.seen().0, second, "what is the same is left alone");

    // The name means another image.
    said(&docker(&["tag", &format!("{name}:2"), &format!("{name}:1")]));
    let (done, text) = service.apply();
    assert!(done, "{text}");
    service.active("1.3");
    assert_ne!(service.seen().0, second);

    what_cannot_be_applied(&service, &image);

    // Taken at the next start by itself.
    service.write(&format!("{image}    environment: {{V: two}}\n"));
    drift(&service.node, "environment; taken");
    said(&docker(&["kill", &service.container]));
    service.active("1.4");
    assert!(service.seen().1.contains("V=two"));
    drift(&service.node, "");
    let acts = String::from_utf8(service.node.cli(&["history", "mail"]).stdout).unwrap();
    assert!(acts.contains("apply") && acts.contains("new settings"), "{acts}");
    service.node.stop();
}

/// It is said why, and the service goes on as it was.
fn what_cannot_be_applied(service: &Service, image: &str) {
    let before = service.seen().0;
    let same = format!("{image}    environment: {{V: one}}\n");
    for (keys, part) in [
        ("    image: nowhere.invalid/none:1\n".to_owned(), "is not on this host"),
        (format!("{image}    restart: always\n"), "services.sams.restart"),
        (
            format!("{same}    stop_grace_period: 3s\n"),
            "stop_grace_period of service sams",
        ),
    ] {
        service.write(&keys);
        drift(&service.node, part);
        let (done, text) = service.apply();
        assert!(
            !done && text.contains("can't be applied") && text.contains(part),
            "{text}"
        );
    }
    service.write(&same);
    drift(&service.node, "");
    assert_eq!(service.seen().0, before);
    let (done, _) = service.apply();
    assert!(done && service.seen().0 == before);
    said(&service.node.cli(&["pause", "mail", "--for", "1m"]));
    let (done, text) = service.apply();
    assert!(!done && text.contains("on pause"), "{text}");
    said(&service.node.cli(&["resume", "mail"]));
}
