//! What lay on the hosts' disks and on the storage, and what a tether said.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use leasehold::base::epoch::Run;
use leasehold::base::hello::{Hello, Phase};
use leasehold::base::page::{Order, Page};
use leasehold::compose::model::Vip;
use leasehold::core::adoption::left::Parts;
use leasehold::sidecar::adapters::cgroup::Memory;
use leasehold::sidecar::adapters::files::{Files, Taken};
use leasehold::sidecar::adapters::tether::open_pages;
use leasehold::sidecar::left::{Left, complete};

use crate::before;
use crate::recorded::{bytes, place, text};

const FIRST: Run = Run { epoch: 1, n: 1 };

/// The boot of the machine on which it was recorded.
fn boot() -> String {
    let state: before::Saved = serde_json::from_str(&text("holder/run/state.json")).unwrap();
    serde_json::to_value(state).unwrap()["boot"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn boot_id() -> [u8; 16] {
    u128::from_str_radix(&boot().replace('-', ""), 16)
        .unwrap()
        .to_be_bytes()
}

/// What may be written to: a copy of a host's directories.
struct Host(PathBuf);

impl Host {
    fn of(name: &str) -> Self {
        let test = std::thread::current().name().unwrap().replace("::", "-");
        let copy = std::env::temp_dir().join(format!("leasehold-upgrade-{}-{test}", std::process::id()));
        let _ = fs::remove_dir_all(&copy);
        let copied = Command::new("cp")
            .arg("-r")
            .arg(place(name))
            .arg(&copy)
            .status()
            .unwrap();
        assert!(copied.success());
        Self(copy)
    }

    fn run(&self) -> PathBuf {
        self.0.join("run")
    }

    fn files(&self) -> Files {
        Files::open(&self.run(), &self.0.join("state")).unwrap()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_run_of_a_holder_is_adopted() {
    let host = Host::of("holder");
    let saved = host.files().saved().unwrap().unwrap();
    assert!(saved.may_run(&boot()) && !saved.may_run("another boot"));
    let run = &saved.groups["mail"];
    assert_eq!((run.epoch, run.n, run.latched), (1, 1, false));
    assert_eq!(run.parts, Parts::default());
    let record = crate::recorded::view_at("serving")
        .group("mail")
        .clone()
        .record
        .unwrap();
    assert_eq!(saved.lease, record.incarnation);
    for name in ["standby", "left"] {
        let saved = Host::of(name).files().saved().unwrap().unwrap();
        assert!(!saved.may_run(&boot()) && saved.groups.is_empty(), "{name}");
    }
}

#[test]
fn the_trusted_etcd_is_the_same() {
    let (pin, fault) = Host::of("holder").files().pin().unwrap().unwrap();
    assert_eq!(fault, None);
    assert_eq!((pin.generation, pin.longest_ms), (1, 5000));
    assert!(pin.cluster_id > 0 && pin.revision > 0);
    let then: before::Pin = serde_json::from_str(&text("holder/state/trusted-etcd.json")).unwrap();
    assert_eq!(serde_json::to_value(then).unwrap(), serde_json::to_value(pin).unwrap());
}

/// A sidecar that crashed goes on with the compose file as the version of before had taken it.
#[test]
fn the_compose_file_as_it_was_taken() {
    let host = Host::of("holder");
    let taken = Taken::read(&host.run(), &boot()).unwrap();
    assert_eq!(Taken::read(&host.run(), "another boot"), None);
    assert_eq!(taken.own_id.as_ref().unwrap().len(), 64);
    let project = &taken.project;
    assert_eq!((project.name.as_str(), project.cluster.name.as_str()), ("mail", "mail"));
    assert_eq!(project.cluster.ttl, Duration::from_secs(5));
    let group = &project.groups["mail"];
    let vips: Vec<String> = group.vips.iter().map(Vip::to_string).collect();
    assert_eq!(vips, ["10.213.177.100/24", "fd5a:213:177::100/64"]);
    assert_eq!((group.services.len(), group.probes.len()), (1, 3));
    let sams = &group.services[0];
    assert_eq!(sams.protected_targets().len(), 6);
    assert_eq!(sams.environment["MAIL_DOMAIN"].as_str(), "example.test");
    let again = serde_json::to_value(&taken).unwrap();
    let wanted: serde_json::Value = serde_json::from_str(&text("holder/run/project.json")).unwrap();
    assert_eq!(again, wanted);
}

#[test]
fn nothing_is_taken_for_left_behind() {
    let host = Host::of("holder");
    let project = Taken::read(&host.run(), &boot()).unwrap().project;
    let saved = host.files().saved().unwrap();
    let saved = complete(saved, &project, &host.run(), boot_id()).unwrap();
    let left = Left::of(saved.as_ref(), &project);
    assert_eq!(left.services("mail").count(), 0);
    assert_eq!(left.vips("mail"), []);
    let parts = &saved.unwrap().groups["mail"].parts.services;
    assert_eq!(
        parts.iter().map(|part| part.name.as_str()).collect::<Vec<_>>(),
        ["sams"]
    );
}

#[test]
fn containers_that_were_started_are_known() {
    let host = Host::of("holder");
    let file = host.files().containers;
    let memory = Memory::open(&file, &boot(), true).unwrap();
    let started = memory.of("mail/sams").unwrap();
    assert_eq!((started.len(), started[0].id.len()), (1, 64));
    assert_eq!((started[0].seen.len(), &started[0].devices), (1, &None));
    assert_eq!(memory.of("mail/other"), Some(Vec::new()));
}

#[test]
fn pages_are_what_they_were() {
    let page = |name: &str| {
        let bytes = bytes(&format!("{name}/run/mail/sams/page"));
        let page = Page::decode(&bytes).unwrap();
        assert_eq!(page.encode()[..], bytes[..], "{name}");
        assert_eq!((page.boot_id, page.store), (boot_id(), 0), "{name}");
        page
    };
    let holder = page("holder");
    assert_eq!((holder.run, holder.order), (FIRST, Order::Open));
    let between = holder.hard.boot - holder.soft.boot;
    assert!(holder.soft.boot > Duration::ZERO && between > Duration::ZERO && between < Duration::from_secs(5));
    assert_eq!(page("standby").order, Order::Closed);
    assert_eq!(page("left").order, Order::Closed);
    let sams = BTreeMap::from([("mail".to_owned(), BTreeSet::from(["sams".to_owned()]))]);
    assert_eq!(open_pages(&Host::of("holder").run(), boot_id()).unwrap(), sams);
    assert_eq!(open_pages(&Host::of("left").run(), boot_id()).unwrap(), BTreeMap::new());
}

/// The secret was laid out by the sidecar of then; its file is how a later sidecar knows the tether again.
#[test]
fn tethers_say_what_they_said() {
    let hello = |name: &str| {
        let bytes = bytes(name);
        let hello = Hello::decode(&bytes).unwrap();
        assert_eq!(hello.encode()[..], bytes[..], "{name}");
        hello
    };
    let running = hello("hello-running");
    assert_eq!((running.run, running.phase), (FIRST, Phase::Running));
    let kept = bytes("holder/run/mail/.sams.secret");
    let run = [&running.run.epoch.to_le_bytes()[..], &running.run.n.to_le_bytes()].concat();
    assert_eq!(kept, [&run[..], &running.secret[..]].concat());
    let gate = hello("hello-gate");
    assert_eq!((gate.run, gate.phase), (Run { epoch: 2, n: 1 }, Phase::Gate));
    assert_ne!(gate.secret, running.secret);
}

/// By the tether of now, as a helper of the engine runs it: it looks, and ends.
#[test]
fn claims_and_store_ids_on_the_storage() {
    let show = |name: &str| {
        // A program that is meant for PID 1 of a container never runs beside the machine's own processes.
        let output = Command::new("unshare")
            .args(["--pid", "--fork", "--mount-proc", "--kill-child", "--"])
            .args([env!("CARGO_BIN_EXE_leasehold-tether"), "store", "show"])
            .arg(place(name))
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let shown: serde_json::Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
        shown
    };
    let id = crate::recorded::view_at("serving")
        .group("mail")
        .clone()
        .store
        .unwrap()
        .id;
    let held = show("storage/mail-config");
    assert_eq!(held["store_id"], id.as_str());
    assert_eq!(held["claim"], "group mail of cluster mail, epoch 1 on node h1");
    assert_eq!(held["held"], true);
    let released = show("released/mail-config");
    assert_eq!(released["store_id"], id.as_str());
    assert_eq!(released["claim"], "group mail of cluster mail, epoch 2 on node h2");
    assert_eq!(released["held"], false);
    // The others of the same file system carry an id alone.
    let other = show("storage/mail-store");
    assert_eq!(
        (&other["store_id"], &other["claim"]),
        (&id.as_str().into(), &serde_json::Value::Null)
    );
}
