//! A group that is deleted, made plain by the patch, run by Compose, and created again: with what was stored all the way.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::busybox::{Swept, docker, images, said};
use crate::etcd::{Cluster, FAST};
use crate::process::Sidecar;

const MAIL: &str = "stored before it was deleted";

struct Place {
    node: Sidecar,
    name: String,
}

impl Place {
    fn write(&self) {
        let file = self.node.dir.join("compose.yaml");
        let text = std::fs::read_to_string(&file).unwrap();
        let (head, _) = text.split_once("    image:").unwrap();
        // A look mounts the storage alone, and the tether of a debug build needs its libraries.
        let service = format!(
            "    image: {}:1\n    profiles: [leasehold]\n    scale: 0\n    entrypoint: [\"/leasehold/tether\"]\n    \
             command: [/bin/busybox, sleep, \"6000\"]\n    network_mode: none\n    x-leasehold: {{group: mail, storage_look: off}}\n    \
             volumes: [\"store:/store\", \"/usr:/usr:ro\", \"/lib:/lib:ro\", \"/lib64:/lib64:ro\"]\nvolumes:\n  store: {{}}\n",
            self.name
        );
        std::fs::write(file, format!("{head}{service}")).unwrap();
    }

    fn patch(&self, patch: &[u8], more: &[&str]) {
        let mut child = Command::new("patch")
            .args(["-p0", "--fuzz=0"])
            .args(more)
            .current_dir(&self.node.dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("apt-get install patch");
        child.stdin.take().unwrap().write_all(patch).unwrap();
        assert!(child.wait().unwrap().success());
    }

    fn compose(&self, arguments: &[&str]) {
        let out = Command::new("docker")
            .arg("compose")
            .args(arguments)
            .current_dir(&self.node.dir)
            .output();
        said(&out.unwrap());
    }

    fn group(&self, arguments: &[&str]) -> (bool, String) {
        told(&self.node.cli(&[&["group"], arguments].concat()))
    }

    fn line(&self, what: &str, is_wanted: impl Fn(&Value) -> bool) {
        self.node.wait(what, |status| is_wanted(&status["groups"]["mail"]));
    }

    fn active(&self, run: &str) {
        self.line(&format!("active as {run}"), |line| {
            line["held"]["run"] == run && line["held"]["stage"] == "active"
        });
    }

    fn stored(&self, container: &str) -> String {
        said(&docker(&["exec", container, "/bin/busybox", "cat", "/store/mail"]))
    }
}

/// Whether it went well, and all that was said.
fn told(out: &Output) -> (bool, String) {
    let both = [out.stdout.as_slice(), &out.stderr].concat();
    (out.status.success(), String::from_utf8_lossy(&both).into_owned())
}

fn refused(told: &(bool, String), why: &str) {
    assert!(!told.0 && told.1.contains(why), "{why}: {told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_group_runs_plain_and_comes_back_with_its_mail() {
    let etcd = Cluster::start(1, &FAST).await;
    let node = Sidecar::new(&[etcd.url(0)], "3s", &[]);
    let name = node.dir.file_name().unwrap().to_string_lossy().into_owned();
    let _swept = Swept(name.clone());
    images(&name, &node.dir);
    let mut place = Place { node, name };
    place.write();
    place.node.start();
    place.node.wait("joined", |status| status["member"] == "joined");
    let protected = format!("{}-sams-a", place.name);
    let before = prepared(&protected);
    // Of one that was never there it is what `init` does.
    let (done, text) = place.group(&["create", "mail"]);
    assert!(done && text.contains("store id"), "{text}");
    place.active("1.1");
    only_what_knows_its_storage_was_started(&protected, &before);
    let write = format!("echo {MAIL} > /store/mail");
    said(&docker(&["exec", &protected, "/bin/busybox", "sh", "-c", &write]));

    refused(&place.group(&["delete", "mail", "--yes"]), "a holds mail");
    refused(&place.group(&["unextend", "mail", "a"]), "a holds mail");
    place.active("1.1");

    let out = place
        .node
        .cli(&["group", "delete", "mail", "--stop", "--yes", "--why", "retired"]);
    assert!(out.status.success(), "{:?}", told(&out));
    runs_plain(&place, &out);
    comes_back(&place);
    assert_eq!(place.stored(&protected), MAIL);
    let acts = String::from_utf8(place.node.cli(&["history", "mail"]).stdout).unwrap();
    for act in ["group delete", "retired", "group create"] {
        assert!(acts.contains(act), "{act}: {acts}");
    }
    place.node.stop();
}

/// The id of the container that stands ready before the storage is initialised.
fn prepared(name: &str) -> String {
    for _ in 0..200 {
        let out = docker(&["inspect", "--format", "{{.Id}}", name]);
        if out.status.success() {
            return said(&out);
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("{name} was not prepared");
}

/// What was made before is not among what ever ran.
fn only_what_knows_its_storage_was_started(name: &str, before: &str) {
    let format = "{{.Id}} {{.State.Running}} {{.Args}}";
    let now = said(&docker(&["inspect", "--format", format, name]));
    assert!(
        !now.starts_with(before) && now.contains(" true ") && now.contains("--store "),
        "{before}: {now}"
    );
    let label = format!("container={before}");
    let filters = ["--filter", &label, "--filter", "event=start"];
    let filters = [&["events", "--since", "5m", "--until", "0s"], &filters[..]].concat();
    assert_eq!(said(&docker(&filters)), "", "it was never started");
}

/// By the patch and Compose alone; the sidecar sees it and lets it alone.
fn runs_plain(place: &Place, deleted: &Output) {
    let status = place.node.cli(&["status"]);
    assert_eq!(status.status.code(), Some(0), "nobody misses it: {:?}", told(&status));
    place.patch(&deleted.stdout, &[]);
    place.compose(&["up", "-d", "sams"]);
    let plain = said(&docker(&[
        "ps",
        "-q",
        "--filter",
        &format!("label=com.docker.compose.project={}", place.name),
    ]));
    assert_eq!(place.stored(&plain), MAIL);
    place.line("its container seen", |line| line["used"]["a"].is_string());
    let format = "{{.State.Running}} {{.Path}} {{.RestartCount}}";
    assert_eq!(
        said(&docker(&["inspect", "--format", format, &plain])),
        "true /bin/busybox 0"
    );

    refused(&place.group(&["create", "mail"]), "no service is protected");
    place.patch(&deleted.stdout, &["-R"]);
    refused(&place.group(&["create", "mail"]), "nothing was changed");
    refused(&place.group(&["create", "mail"]), "docker compose rm --stop sams");
    place.line("deleted all the same", |line| line["state"] == "deleted");
    assert_eq!(place.stored(&plain), MAIL);
    said(&docker(&["rm", "-f", &plain]));
}

/// With the epoch after the record's, over the claims that lie on the storage.
fn comes_back(place: &Place) {
    place.line("nobody on its storage", |line| line["used"].is_null());
    let (done, text) = place.group(&["create", "mail"]);
    assert!(done && text.contains("a starts mail"), "{text}");
    place.active("2.1");
    let (done, text) = place.group(&["create", "mail"]);
    assert!(done && text.contains("is there already"), "{text}");
    let (done, text) = place.group(&["list"]);
    assert!(done && text.contains("mail   a       2      a"), "{text}");
}
