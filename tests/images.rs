//! What is in the images of `docker/build`. Needs an engine that has them.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "supply/bill.rs"]
mod bill;

use std::collections::BTreeSet;
use std::process::Command;

use bill::{bill, check_bill};

#[test]
fn the_bills_of_the_images_name_what_is_in_them() {
    let packages = |image: &str| {
        let show = [
            "run",
            "--rm",
            "--network",
            "none",
            "--entrypoint",
            "dpkg-query",
            image,
            "-W",
            "-f",
            "${Package} ${Version}\n",
        ];
        let output = Command::new("docker").args(show).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(str::to_owned).collect::<BTreeSet<String>>()
    };
    for (image, besides) in [
        ("leasehold/etcd:dev", vec!["etcd-server", "etcd-client"]),
        ("leasehold/sams:dev", vec!["sendmail-bin", "sendmail-cf", "opendkim"]),
        ("leasehold/socket-proxy:dev", vec![]),
    ] {
        let named = check_bill(&bill(&[image]));
        let mut wanted = packages(image);
        wanted.retain(|one| !named.contains_key(one));
        assert!(wanted.is_empty(), "{image}: not in its bill: {wanted:?}");
        for name in besides {
            let is_there = named.keys().any(|one| one.split(' ').next() == Some(name));
            assert!(is_there, "{image}: {name} was unpacked, and is not in its bill");
        }
        assert!(named.values().all(|purl| purl.starts_with("pkg:deb/")), "{image}");
    }
    let named = check_bill(&bill(&["leasehold/leasehold:dev"]));
    for name in ["ca-certificates", "tokio", "aws-lc-rs", "rust-std"] {
        let is_there = named.keys().any(|one| one.split(' ').next() == Some(name));
        assert!(is_there, "{name} is not in the bill of the sidecar");
    }
}
