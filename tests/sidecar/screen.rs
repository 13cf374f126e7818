//! What a person sees of a real sidecar: on a terminal, through a pipe, and in the archive for a bug report.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use nix::pty::{Winsize, openpty};

use crate::etcd::{Cluster, FAST};
use crate::process::Sidecar;

/// All that a command writes to a terminal of this width.
fn on_a_terminal(node: &Sidecar, width: u16, arguments: &[&str], no_color: bool) -> String {
    let size = Winsize {
        ws_row: 50,
        ws_col: width,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let pair = openpty(Some(&size), None).unwrap();
    let mut command = node.command();
    command
        .args(arguments)
        .env_remove("COLUMNS")
        .env("TERM", "xterm")
        .env_remove("NO_COLOR");
    if no_color {
        command.env("NO_COLOR", "1");
    }
    command.stdin(Stdio::null()).stdout(pair.slave).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    // It holds the terminal's other end.
    drop(command);
    let mut shown = Vec::new();
    let mut master = File::from(pair.master);
    let mut piece = [0; 4096];
    // The end of the last writer is an error of this device.
    while let Ok(length @ 1..) = master.read(&mut piece) {
        shown.extend_from_slice(&piece[..length]);
    }
    child.wait().unwrap();
    String::from_utf8(shown).unwrap().replace("\r\n", "\n")
}

fn without_colours(text: &str) -> String {
    let mut parts = text.split('\x1b');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once('m').unwrap().1)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_gets_colours_and_its_width_and_a_pipe_neither() {
    let etcd = Cluster::start(1, &FAST).await;
    let mut node = Sidecar::new(&[etcd.url(0)], "3s", &[]);
    node.start();
    node.wait("joined", |status| status["member"] == "joined");
    assert!(
        node.cli(&["pause", "mail", "--for", "1h", "--why", "a disk is replaced"])
            .status
            .success()
    );
    node.wait("on pause", |status| !status["groups"]["mail"]["paused"].is_null());
    for verb in [
        &["status"][..],
        &["why", "mail"],
        &["node", "list"],
        &["group", "list"],
        &["history", "mail"],
        &["config", "diff"],
    ] {
        let shown = on_a_terminal(&node, 80, verb, false);
        for line in without_colours(&shown).lines() {
            assert!(line.chars().count() <= 80, "{verb:?}: {line:?}\n{shown}");
        }
        // A history without an outage has nothing that is loud.
        assert!(
            shown.contains("\x1b[") || verb[0] == "history",
            "{verb:?} has no colours: {shown:?}"
        );
        let plain = on_a_terminal(&node, 80, verb, true);
        assert!(!plain.is_empty() && !plain.contains('\x1b'), "{verb:?}: {plain:?}");
        let piped = node.cli(verb);
        let piped = String::from_utf8(piped.stdout).unwrap();
        assert!(!piped.is_empty() && !piped.contains('\x1b'), "{verb:?}: {piped:?}");
    }
    let piped = String::from_utf8(node.cli(&["status"]).stdout).unwrap();
    let first = piped.lines().next().unwrap();
    assert!(first.starts_with("health: failed; next: leasehold "), "{piped}");
    // What is looked for in a pipe stands in one line.
    let paused = piped
        .lines()
        .find(|line| line.starts_with("! mail is on pause by "))
        .unwrap();
    assert!(
        paused.contains("s ago") && paused.contains("(a disk is replaced), ending in "),
        "{paused}"
    );
    let order = node.status().unwrap()["groups"]["mail"]["paused"]
        .as_str()
        .unwrap()
        .to_owned();
    let at = order.split(" at ").nth(1).unwrap().split(' ').next().unwrap();
    assert!(
        at.len() == 20 && at.ends_with('Z'),
        "machines get RFC 3339 in seconds: {order}"
    );
    node.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_for_a_bug_report_has_everything_but_secrets() {
    let etcd = Cluster::start(1, &FAST).await;
    let hook = "\"http://127.0.0.1:9/planted-hook\"".to_owned();
    let mut node = Sidecar::new(&[etcd.url(0)], "3s", &[("events", format!("{{webhook: {hook}}}"))]);
    let file = node.dir.join("compose.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let with = "    environment: {DB_PASSWORD: planted-password, MODE: planted-mode}\n    network_mode: none\n";
    std::fs::write(&file, text.replace("    network_mode: none\n", with)).unwrap();
    let tokens = node.dir.join("tokens");
    std::fs::write(&tokens, "admin ann planted-t0ken-0001\n").unwrap();
    std::fs::set_permissions(&tokens, PermissionsExt::from_mode(0o600)).unwrap();
    node = node.with("LEASEHOLD_TOKENS", tokens.display().to_string());
    node = node.with("PLANTED_PASSWORD", "planted-in-the-environment");
    node.start();
    node.wait("joined", |status| status["member"] == "joined");
    // Somebody says a secret where everybody reads it.
    let why = "moved for planted-t0ken-0001 and planted-password";
    assert!(node.cli(&["stop", "mail", "--no-wait", "--why", why]).status.success());
    let version: serde_json::Value = serde_json::from_slice(&node.cli(&["version", "--json"]).stdout).unwrap();
    assert_eq!(
        (&version["sidecar"], &version["ok"]),
        (&version["version"], &true.into())
    );
    let to = node.dir.join("own.tar").display().to_string();
    let output = node.cli(&["support", "--to", &to, "--json"]);
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(output.status.success(), "{answer}");
    assert_eq!(
        answer["missing"],
        serde_json::json!(["sidecar.log"]),
        "it runs in no container: {answer}"
    );
    let bytes = std::fs::read(&to).unwrap();
    assert_eq!(std::fs::metadata(&to).unwrap().permissions().mode() & 0o777, 0o600);
    let text = String::from_utf8_lossy(&bytes);
    let at = text.find("planted-").map(|at| &text[at.saturating_sub(200)..at + 20]);
    assert_eq!(at, None, "a secret is in the archive");
    for kept in [
        "leasehold-support/status.json",
        "leasehold-support/groups/mail/history.json",
        "leasehold-support/groups/mail/why.json",
        "\"order_given\"",
        "\"verb\": \"stop\"",
        "leasehold-support/config-export.json",
        "leasehold-support/etcd.txt",
        "quota",
        "leasehold-support/compose/compose.yaml.json",
        "\"DB_PASSWORD\": \"***\"",
        "\"ServerVersion\"",
        "journalctl -u leasehold",
    ] {
        assert!(text.contains(kept), "{kept} is not in the archive");
    }
    // The same to whoever sits outside of the container.
    let piped = node.cli(&["support", "--to", "-", "--lines", "5"]);
    assert!(piped.status.success() && piped.stdout.starts_with(b"leasehold-support/README.txt"));
    node.stop();
}
