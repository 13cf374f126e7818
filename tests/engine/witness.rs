//! The kernel's word on a container whose engine is frozen or has forgotten it, and whose child hangs in the kernel.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use leasehold::sidecar::adapters::cgroup::{Cgroups, Look, Started, Verdict};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::own::{Own, PAUSE, text, until};

/// A file system that takes every request and answers none: whoever touches it hangs in the kernel and can't be killed.
/// True once somebody does.
fn mount_one_that_hangs(at: &Path) -> Arc<AtomicBool> {
    let touched = Arc::new(AtomicBool::new(false));
    let touch = Arc::clone(&touched);
    let mut device = File::options().read(true).write(true).open("/dev/fuse").unwrap();
    let options = format!(
        "fd={},rootmode=40000,user_id=0,group_id=0,allow_other",
        device.as_raw_fd()
    );
    let options = std::ffi::CString::new(options).unwrap();
    mount("leasehold-test", at, "fuse", MountFlags::empty(), options.as_c_str()).unwrap();
    thread::spawn(move || {
        let mut request = vec![0; 1 << 17];
        let mut greeted = false;
        // Ends when the file system is taken away.
        while device.read(&mut request).is_ok() {
            if greeted {
                touch.store(true, Ordering::Relaxed);
            } else {
                greeted = true;
                let unique = &request[8..16];
                let mut answer = Vec::new();
                answer.extend_from_slice(&80_u32.to_ne_bytes());
                answer.extend_from_slice(&0_i32.to_ne_bytes());
                answer.extend_from_slice(unique);
                for word in [7_u32, 31, 4096, 0, 0, 4096, 1] {
                    answer.extend_from_slice(&word.to_ne_bytes());
                }
                answer.resize(80, 0);
                device.write_all(&answer).unwrap();
            }
        }
    });
    touched
}

fn started(id: &str, looks: &[&Look]) -> Started {
    Started {
        id: id.to_owned(),
        seen: looks
            .iter()
            .flat_map(|look| look.seen.iter().map(|(_, place)| *place))
            .collect(),
        devices: None,
    }
}

/// The state of a process, as `ps` writes it.
fn state(pid: i32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

#[test]
fn the_kernel_tells_when_a_container_has_really_ended() {
    let own = Own::start();
    let cgroups = Cgroups::new(Path::new("/sys/fs/cgroup"), None);
    let id =
        own.run("while [ ! -e /shared/go ]; do /bin/busybox sleep 0.05; done; /bin/busybox ls /shared/hang & wait");
    let pid: i32 = own
        .docker(&["inspect", "-f", "{{.State.Pid}}", &id])
        .unwrap()
        .parse()
        .unwrap();
    let alive = cgroups.look(&[started(&id, &[])]);
    assert_eq!(alive.verdict, Verdict::Left { id: id.clone() });
    assert!(!alive.seen.is_empty());

    let touched = mount_one_that_hangs(&own.directory.join("shared/hang"));
    fs::write(own.directory.join("shared/go"), "").unwrap();
    until("request to it", || touched.load(Ordering::Relaxed).then_some(()));
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let child: i32 = children.trim().parse().expect("one child");

    // PID 1 is killed, its child can't be, and the engine knows nothing: it is frozen.
    own.signal(Signal::SIGSTOP);
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    kill(Pid::from_raw(child), Signal::SIGKILL).unwrap();
    until("child that can't be killed", || {
        (state(child) == Some('D')).then_some(())
    });
    let known = started(&id, &[&alive]);
    for _ in 0..20 {
        assert_eq!(
            cgroups.look(std::slice::from_ref(&known)).verdict,
            Verdict::Left { id: id.clone() }
        );
        thread::sleep(PAUSE);
    }
    assert_eq!(state(child), Some('D'));

    // It comes back from the kernel: over, and the engine, still frozen, is not needed to know it.
    // Busy or not, this answers all requests with an error.
    unmount(own.directory.join("shared/hang"), UnmountFlags::FORCE).ok();
    until("end of the container", || {
        (cgroups.look(std::slice::from_ref(&known)).verdict == Verdict::Nothing).then_some(())
    });
    assert_eq!(state(child), None);

    // Removed behind our back: gone from where it was seen. Whoever never saw it knows nothing.
    own.signal(Signal::SIGCONT);
    until("removal", || own.docker(&["rm", "-f", &id]));
    let look = until("end of the cgroup", || {
        let left = Command::new("find")
            .args(["/sys/fs/cgroup", "-name", &id])
            .output()
            .unwrap();
        left.stdout
            .is_empty()
            .then(|| cgroups.look(std::slice::from_ref(&known)))
    });
    assert_eq!(look.verdict, Verdict::Nothing);
    let unseen = cgroups.look(&[started(&id, &[])]);
    assert!(matches!(unseen.verdict, Verdict::Hidden { .. }), "{unseen:?}");

    // Nor does the part of the tree that a container is shown prove anything.
    let part = fs::read_dir("/sys/fs/cgroup")
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut parts: Vec<PathBuf> = part
        .map(|path| path.join(&own.name))
        .filter(|path| path.is_dir())
        .collect();
    parts.push(Path::new("/sys/fs/cgroup").join(&own.name));
    for part in parts.iter().filter(|part| part.is_dir()) {
        let look = Cgroups::new(part, Some(&own.name)).look(std::slice::from_ref(&known));
        assert!(
            matches!(look.verdict, Verdict::Hidden { .. }),
            "{}: {look:?}",
            part.display()
        );
    }
}

#[test]
fn a_frozen_container_has_not_ended() {
    let own = Own::start();
    let cgroups = Cgroups::new(Path::new("/sys/fs/cgroup"), None);
    let id = own.run("/bin/busybox sleep 600");
    own.docker(&["pause", &id]).unwrap();
    let alive = cgroups.look(&[started(&id, &[])]);
    assert_eq!(alive.verdict, Verdict::Left { id: id.clone() });
    let pid: i32 = own
        .docker(&["inspect", "-f", "{{.State.Pid}}", &id])
        .unwrap()
        .parse()
        .unwrap();
    own.docker(&["unpause", &id]).unwrap();
    kill(Pid::from_raw(pid), Signal::SIGSTOP).unwrap();
    until("stopped process", || (state(pid) == Some('T')).then_some(()));
    assert_eq!(
        cgroups.look(&[started(&id, &[])]).verdict,
        Verdict::Left { id: id.clone() }
    );
    own.docker(&["rm", "-f", &id]).unwrap();
    until("end of the container", || {
        (cgroups.look(&[started(&id, &[&alive])]).verdict == Verdict::Nothing).then_some(())
    });
}

/// What this program says when it looks from within a container, as the sidecar does.
fn from_within(own: &Own, id: &str, mounts: &[&str]) -> String {
    let program = std::env::current_exe().unwrap();
    let linked = Command::new("ldd").arg(&program).output().unwrap();
    let linked = String::from_utf8(linked.stdout).unwrap();
    let mut volumes: Vec<String> = linked
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
        .map(|path| format!("{path}:{path}:ro"))
        .collect();
    volumes.push(format!("{}:/probe:ro", text(&program)));
    volumes.extend(mounts.iter().map(|mount| (*mount).to_owned()));
    let asked = format!("WITNESS_OF={id}");
    let mut arguments = vec![
        "run",
        "--rm",
        "--network",
        "none",
        "--read-only",
        "--cap-drop",
        "ALL",
        "-e",
        &asked,
    ];
    for volume in &volumes {
        arguments.extend(["-v", volume]);
    }
    arguments.extend(["box", "/probe", "--exact", "witness::probe", "--ignored", "--nocapture"]);
    let said = own.docker(&arguments).expect("the probe");
    let line = said.lines().find_map(|line| line.split_once("verdict: "));
    line.expect("a verdict").1.to_owned()
}

/// Runs within a container.
#[test]
#[ignore = "runs within a container of another test"]
#[expect(clippy::print_stdout, reason = "the test outside reads it")]
fn probe() {
    let id = std::env::var("WITNESS_OF").unwrap();
    // The beginning of its own id.
    let own = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let look = Cgroups::new(Path::new("/sys/fs/cgroup"), Some(own.trim())).look(&[started(&id, &[])]);
    println!("\nverdict: {:?}", look.verdict);
}

#[test]
fn a_sidecar_in_a_container_sees_what_is_left_of_another() {
    let own = Own::start();
    let id = own.run("/bin/busybox sleep 600");
    let host = ["/sys/fs/cgroup:/sys/fs/cgroup:ro"];
    assert!(from_within(&own, &id, &host).starts_with("Left"));
    // Its own part alone, as without the mount: no word in either direction.
    assert!(from_within(&own, &id, &[]).starts_with("Hidden"));
    own.docker(&["rm", "-f", &id]).unwrap();
    until("end of the cgroup", || {
        (from_within(&own, &id, &host) == "Nothing").then_some(())
    });
    assert!(from_within(&own, &id, &[]).starts_with("Hidden"));
}
