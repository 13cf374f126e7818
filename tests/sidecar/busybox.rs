//! A service of this machine's busybox on its engine, and what sweeps it away.

use std::process::{Command, Output};

pub(crate) fn docker(arguments: &[&str]) -> Output {
    let out = Command::new("docker").args(arguments).output();
    out.expect("this test calls the `docker` client")
}

pub(crate) fn said(out: &Output) -> String {
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

/// What this test left on the engine goes with it.
pub(crate) struct Swept(pub(crate) String);

impl Drop for Swept {
    fn drop(&mut self) {
        let label = format!("label=com.docker.compose.project={}", self.0);
        let out = docker(&["ps", "-aq", "--filter", &label]);
        for id in String::from_utf8_lossy(&out.stdout).split_whitespace() {
            docker(&["rm", "-fv", id]);
        }
        let out = docker(&["volume", "ls", "-q", "--filter", &label]);
        for volume in String::from_utf8_lossy(&out.stdout).split_whitespace() {
            docker(&["volume", "rm", volume]);
        }
        for tag in ["1", "2"] {
            docker(&["rmi", "-f", &format!("{}:{tag}", self.0)]);
        }
    }
}

/// Two images of this machine's static busybox that differ in a label.
pub(crate) fn images(name: &str, dir: &std::path::Path) {
    let root = dir.join("root");
    std::fs::create_dir_all(root.join("bin")).unwrap();
    std::fs::copy("/bin/busybox", root.join("bin/busybox")).expect("apt-get install busybox-static");
    let tar = dir.join("image.tar");
    let packed = Command::new("tar")
        .arg("-C")
        .arg(&root)
        .arg("-cf")
        .arg(&tar)
        .arg(".")
        .status();
    assert!(packed.unwrap().success());
    for tag in ["1", "2"] {
        let (label, image) = (format!("LABEL v={tag}"), format!("{name}:{tag}"));
        said(&docker(&["import", "--change", &label, &tar.to_string_lossy(), &image]));
    }
}
