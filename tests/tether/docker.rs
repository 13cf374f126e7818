//! The same in a real container: the engine's seccomp profile, capabilities, mounts and `docker exec`.
//!
//! Run with `LEASEHOLD_TEST_IMAGE=<image with a shell> cargo test --test tether -- --ignored docker`.

use std::process::{Command, Output};

use leasehold::tether::exit::Code;
use leasehold::tether::page::Order;

use crate::harness::{FORM, Host, Place, await_that, binary, members, namespace, page};

struct Named(String);

impl Drop for Named {
    fn drop(&mut self) {
        docker(&["rm", "--force", &self.0]);
    }
}

fn docker(args: &[&str]) -> Output {
    Command::new("docker").args(args).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Starts a container with the tether as its entrypoint.
fn run(place: &Place, user: &str, args: &[&str]) -> Named {
    let image = std::env::var("LEASEHOLD_TEST_IMAGE").expect("LEASEHOLD_TEST_IMAGE names an image");
    let name = Named(place.path("").file_name().unwrap().to_string_lossy().into_owned());
    let home = format!("{}:/run/leasehold:ro", place.home().display());
    let program = format!("{}:/leasehold/tether:ro", binary().display());
    let out = format!("{}:/out", place.path("out").display());
    let fixed = [
        "run",
        "--detach",
        "--name",
        &name.0,
        "--user",
        user,
        "--env",
        "OUT=/out",
        "--network",
        "none",
    ];
    let mounts = ["--volume", &home, "--volume", &program, "--volume", &out];
    let image = ["--entrypoint", "/leasehold/tether", &image];
    let output = docker(&[&fixed[..], &mounts, &image, args].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    name
}

fn exit_code(name: &Named) -> i32 {
    text(&docker(&["wait", &name.0])).parse().unwrap()
}

#[test]
#[ignore = "needs a Docker engine and LEASEHOLD_TEST_IMAGE"]
fn docker_sees_the_service_killed_with_what_exec_brought_in() {
    for user in ["0", "65534"] {
        let place = Place::new();
        let mut host = Host::open(&place.home(), false);
        host.host.write_page(&page(Order::Open, 60_000, 60_000)).unwrap();
        let script = "trap '' TERM; echo up > $OUT/up; while :; do sleep 0.2; done";
        let name = run(&place, user, &[&FORM[..], &["sh", "-c", script]].concat());
        let pid = host.admit();
        assert_eq!(
            text(&docker(&["inspect", "--format", "{{.State.Pid}}", &name.0])),
            pid.to_string()
        );
        place.await_out("up");
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let memory = status
            .lines()
            .filter(|line| line.starts_with("VmLck") || line.starts_with("VmSize"));
        println!("user {user}: {}", memory.collect::<Vec<_>>().join(", "));
        let namespace = namespace(pid);
        let before = members(namespace).len();
        assert!(docker(&["exec", "--detach", &name.0, "sleep", "1000"]).status.success());
        await_that("docker exec", || members(namespace).len() > before);
        host.host.write_page(&page(Order::Open, 0, 100)).unwrap();
        host.await_gone();
        assert!(members(namespace).is_empty());
        assert_eq!(exit_code(&name), i32::from(Code::Killed.number()), "user {user}");
    }
}

#[test]
#[ignore = "needs a Docker engine and LEASEHOLD_TEST_IMAGE"]
fn docker_stop_reaches_the_service() {
    let place = Place::new();
    let mut host = Host::open(&place.home(), false);
    host.host.write_page(&page(Order::Open, 60_000, 60_000)).unwrap();
    let script = "trap 'exit 12' TERM; echo up > $OUT/up; while :; do sleep 0.01; done";
    let name = run(&place, "65534", &[&FORM[..], &["sh", "-c", script]].concat());
    host.admit();
    place.await_out("up");
    docker(&["stop", "--time", "10", &name.0]);
    host.await_gone();
    assert_eq!(exit_code(&name), 12);
}

#[test]
#[ignore = "needs a Docker engine and LEASEHOLD_TEST_IMAGE"]
fn docker_run_by_hand_meets_the_gate() {
    let place = Place::new();
    let host = Host::open(&place.home(), false);
    let name = run(&place, "0", &["sh", "-c", "echo up > $OUT/up"]);
    assert_eq!(exit_code(&name), i32::from(Code::NotOurs.number()));
    drop(name);
    let name = run(&place, "0", &[&FORM[..], &["sh", "-c", "echo up > $OUT/up"]].concat());
    assert_eq!(exit_code(&name), i32::from(Code::Closed.number()));
    let logs = docker(&["logs", &name.0]);
    assert!(String::from_utf8_lossy(&logs.stderr).contains("leasehold start mail"));
    assert_eq!(place.out("up"), None);
    drop(host);
}
