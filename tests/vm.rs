//! What depends on the kernel alone, in a virtual machine with Debian's. The watchdog: a machine whose only user is this very
//! program, as the feeder. Storage on a real server of NFS and on disks that two hosts see, and containers under AppArmor: scenes
//! in one machine. Needs qemu and a kernel: `docker/requirements vm target/vm`.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    reason = "helpers of tests, some of which run within the machine and speak to the one outside"
)]

#[path = "vm/apparmor.rs"]
mod apparmor;
#[path = "vm/away.rs"]
mod away;
#[path = "vm/blocks.rs"]
mod blocks;
#[path = "vm/drbd.rs"]
mod drbd;
#[path = "tether/harness.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod harness;
#[path = "vm/late.rs"]
mod late;
#[path = "vm/locks.rs"]
mod locks;
#[path = "vm/machine.rs"]
mod machine;
#[path = "vm/nfs.rs"]
mod nfs;
#[path = "vm/node.rs"]
mod node;
#[path = "vm/rpc.rs"]
mod rpc;
#[path = "vm/server.rs"]
mod server;

use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use leasehold::base::clock;
use leasehold::sidecar::adapters::watchdog::{Device, WatchdogDevice};
use machine::{Ended, run};

/// The timeout with which the driver is loaded.
const TIMEOUT_S: u64 = 3;

#[test]
fn a_host_whose_sidecar_is_killed_is_reset() {
    let said = run(&format!(
        "start; sleep {long}; say fed; kill -9 $feeder; say killed; sleep {long}; say survived",
        long = TIMEOUT_S * 3
    ));
    assert_eq!(said, ["fed", "killed"].ending(Ended::Reset));
}

#[test]
fn a_host_whose_sidecar_is_frozen_is_reset() {
    let said = run(&format!(
        "start; kill -STOP $feeder; say frozen; sleep {}; say survived",
        TIMEOUT_S * 3
    ));
    assert_eq!(said, ["frozen"].ending(Ended::Reset));
}

#[test]
fn a_host_whose_stop_is_not_proved_in_time_is_reset_though_the_sidecar_lives() {
    let said = run(&format!(
        "touch /starve; start; say fed; sleep {}; say survived",
        TIMEOUT_S * 4
    ));
    assert_eq!(said, ["fed"].ending(Ended::Reset));
}

#[test]
fn an_orderly_end_puts_it_to_sleep() {
    let said = run(&format!(
        "start; touch /stop; wait $feeder; say ended; sleep {}; say survived",
        TIMEOUT_S * 3
    ));
    assert_eq!(said, ["ended", "survived"].ending(Ended::PoweredOff));
}

#[test]
fn a_sidecar_that_comes_back_in_time_goes_on_feeding() {
    let said = run(&format!(
        "start; kill -9 $feeder; start; sleep {}; say fed; touch /stop; wait $feeder; say ended",
        TIMEOUT_S * 3
    ));
    assert_eq!(said, ["fed", "ended"].ending(Ended::PoweredOff));
}

/// What a machine has said and how it ended.
trait Ending {
    fn ending(self, ended: Ended) -> (Vec<String>, Ended);
}

impl<T: IntoIterator<Item: ToString>> Ending for T {
    fn ending(self, ended: Ended) -> (Vec<String>, Ended) {
        (self.into_iter().map(|line| line.to_string()).collect(), ended)
    }
}

/// Runs within the machine: feeds until `/stop` is there, with `/starve` once only.
#[test]
#[ignore = "runs within the virtual machine of the other tests"]
fn feeder() {
    let device = Device::find(Path::new("/dev/watchdog")).unwrap();
    assert_eq!(device.timeout, Duration::from_secs(TIMEOUT_S));
    let mut feeder = WatchdogDevice::new(device);
    let limit = clock::now().plus(Duration::from_millis(500));
    loop {
        let soon = clock::now().plus(Duration::from_secs(1));
        let starves = Path::new("/starve").exists();
        feeder.feed(if starves { limit } else { soon }).unwrap();
        std::fs::write("/fed", "").unwrap();
        if Path::new("/stop").exists() {
            return feeder.disarm();
        }
        sleep(Duration::from_millis(200));
    }
}
