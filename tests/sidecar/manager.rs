//! The service manager, played by a socket: what systemd is told of a sidecar that it runs.

use std::collections::BTreeSet;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use leasehold::base::clock;

use crate::etcd::{Cluster, FAST};
use crate::process::Sidecar;

/// Reads until this was told; all that was, up to then.
fn heard(socket: &UnixDatagram, wanted: &str) -> Vec<String> {
    let until = clock::now().plus(Duration::from_secs(30));
    let mut all = Vec::new();
    let mut text = [0; 512];
    while !clock::now().reached(until) {
        let Ok(length) = socket.recv(&mut text) else { continue };
        let line = String::from_utf8_lossy(&text[..length]).into_owned();
        let is_it = line.contains(wanted);
        all.push(line);
        if is_it {
            return all;
        }
    }
    panic!("{wanted} was not told: {all:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn systemd_hears_that_it_is_ready_how_it_stands_and_that_it_lives() {
    let etcd = Cluster::start(1, &FAST).await;
    let node = Sidecar::new(&[etcd.url(0)], "3s", &[]);
    let path = node.dir.join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut node = node
        .with("NOTIFY_SOCKET", path.to_string_lossy())
        .with("WATCHDOG_USEC", "900000");
    node.start();
    let told = heard(&socket, "READY=1");
    assert_eq!(told, ["READY=1"], "nothing before it");
    let told = heard(&socket, "STATUS=joined; mail: ");
    let kinds: BTreeSet<&str> = told.iter().filter_map(|line| line.split('=').next()).collect();
    assert!(
        kinds.iter().all(|kind| ["STATUS", "WATCHDOG"].contains(kind)),
        "{told:?}"
    );
    let begun = clock::now();
    for _ in 0..5 {
        heard(&socket, "WATCHDOG=1");
    }
    // Each within its time, and not at every turn of the loop.
    let took = clock::now().since(begun);
    assert!(
        took > Duration::from_millis(900) && took < Duration::from_millis(4500),
        "{took:?}"
    );
    node.stop();
    heard(&socket, "STOPPING=1");
}
