//! Trial starts of a standby, with the real tether at a closed gate.

use std::fs;

use leasehold::base::clock;
use leasehold::base::epoch::Run;
use leasehold::base::page::{Order, Page};
use leasehold::base::time::Time;
use leasehold::base::trial::{BEGIN, END, shown};
use leasehold::compose::model::{Logging, Mount, MountKind, NetworkMode, Port, Service};
use leasehold::sidecar::adapters::engine::Tried;

use crate::bind;
use crate::storage_probe::shipped;
use crate::support::{Bed, NODE, SLEEPS};

const HASH: &str = "hash-1";

/// A bed whose sidecar has come up, and whose service may not run here.
async fn bed() -> Bed {
    let bed = Bed::new().await;
    let tether = bed.directory.join("bin/tether");
    fs::remove_file(&tether).unwrap();
    fs::copy(shipped(), &tether).unwrap();
    let page = Page {
        boot_id: clock::boot_id().unwrap(),
        run: Run::default(),
        order: Order::Closed,
        soft: Time::default(),
        hard: Time::default(),
        store: 0,
    };
    fs::write(bed.directory.join("state/page"), page.encode()).unwrap();
    bed
}

fn command(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

async fn tried(bed: &Bed, service: &Service, words: &[&str]) -> Tried {
    let words = command(words);
    let wanted = bed.wanted(service, HASH, NODE, &words);
    let prepared = bed.engine.prepare(&wanted).await.unwrap();
    let tried = bed.engine.try_start(&wanted, &prepared.fingerprint).await.unwrap();
    assert_eq!(bed.containers().await, 1, "the trial left something behind");
    let state = bed.engine.inspect(&prepared.container_id).await.unwrap();
    assert!(state.exists && !state.running, "the service itself was started");
    bed.engine.remove(&prepared.container_id).await.unwrap();
    tried
}

fn passed(tried: &Tried) -> bool {
    matches!(tried, Tried::Ended(outcome) if outcome.exit_code == 0)
}

/// What is said of one that failed.
fn why(tried: &Tried) -> String {
    match tried {
        Tried::Ended(outcome) => format!("{} {}", outcome.exit_code, outcome.stderr),
        Tried::Refused(why) => why.clone(),
        Tried::Other => "other".to_owned(),
    }
}

#[tokio::test]
async fn a_trial_touches_neither_storage_nor_ports_nor_names() {
    let mut bed = bed().await;
    let store = bed.directory.join("store");
    fs::create_dir(&store).unwrap();
    let disk = bed.volume("disk", &[("type", "ext4"), ("device", "/dev/absent")], "/disk");
    let mut service = bed.service();
    service.mounts = vec![bind(&store, "/store"), disk, bed.volume("plain", &[], "/plain")];
    service.network_mode = Some(NetworkMode::Bridge);
    service.labels = [("traefik.enable".to_owned(), "true".to_owned())].into();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let number = port.local_addr().unwrap().port();
    service.ports = vec![Port {
        host_ip: Some("127.0.0.1".to_owned()),
        published: Some(number.to_string()),
        target: 25,
        protocol: "tcp".to_owned(),
    }];
    let words = command(&SLEEPS);
    let wanted = bed.wanted(&service, HASH, NODE, &words);
    let prepared = bed.engine.prepare(&wanted).await.unwrap();
    let outcome = bed.engine.try_start(&wanted, &prepared.fingerprint).await.unwrap();
    assert!(passed(&outcome), "{}", why(&outcome));
    // Another request than the one that made the container says nothing of it.
    let other = bed.engine.try_start(&wanted, "another").await.unwrap();
    assert_eq!(other, Tried::Other);
    let plain = bed
        .docker
        .inspect_volume(&format!("{}_plain", bed.project.name))
        .await
        .unwrap();
    assert_eq!(fs::read_dir(&plain.mountpoint).unwrap().count(), 0);
    assert_eq!(fs::read_dir(&store).unwrap().count(), 0);
}

#[tokio::test]
async fn what_would_keep_it_from_its_gate_is_found() {
    let bed = bed().await;
    let plain = bed.service();
    assert!(passed(&tried(&bed, &plain, &SLEEPS).await));

    let found = tried(&bed, &plain, &["/bin/no-such-program"]).await;
    assert!(why(&found).starts_with("127 "), "{}", why(&found));
    let found = tried(&bed, &plain, &["/store/from-the-image"]).await;
    assert!(why(&found).starts_with("126 "), "{}", why(&found));

    let device = Service {
        devices: vec!["/dev/no-such-device".to_owned()],
        ..bed.service()
    };
    let found = tried(&bed, &device, &SLEEPS).await;
    assert!(why(&found).contains("no-such-device"), "{}", why(&found));

    let user = Service {
        user: Some("nobody-of-the-image".to_owned()),
        ..bed.service()
    };
    let found = tried(&bed, &user, &SLEEPS).await;
    assert!(why(&found).contains("nobody-of-the-image"), "{}", why(&found));
}

/// With what the container gets for it; and where the engine's profile does not let the tether make the namespace.
#[tokio::test]
async fn an_init_of_its_own_is_tried_as_well() {
    let bed = bed().await;
    let mut service = Service {
        own_init: true,
        cap_drop: vec!["ALL".to_owned()],
        ..bed.service()
    };
    let found = tried(&bed, &service, &SLEEPS).await;
    assert!(passed(&found), "{}", why(&found));
    let rule = r#"{"names":["unshare"],"action":"SCMP_ACT_ERRNO","errnoRet":1}"#;
    let profile = format!(r#"seccomp={{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{rule}]}}"#);
    service.security_opt = vec![profile];
    let found = tried(&bed, &service, &SLEEPS).await;
    let why = why(&found);
    assert!(why.starts_with("208 ") && why.contains("own_init"), "{why}");
}

#[tokio::test]
async fn a_file_that_is_gone_is_found() {
    let bed = bed().await;
    let file = bed.directory.join("secret");
    fs::write(&file, "s").unwrap();
    let mut service = bed.service();
    service.mounts = vec![Mount {
        kind: MountKind::File { source: file.clone() },
        target: "/run/secrets/s".to_owned(),
        read_only: true,
        no_storage: false,
    }];
    let words = command(&SLEEPS);
    let wanted = bed.wanted(&service, HASH, NODE, &words);
    let prepared = bed.engine.prepare(&wanted).await.unwrap();
    let outcome = bed.engine.try_start(&wanted, &prepared.fingerprint).await.unwrap();
    assert!(passed(&outcome), "{}", why(&outcome));
    fs::remove_file(&file).unwrap();
    let outcome = bed.engine.try_start(&wanted, &prepared.fingerprint).await.unwrap();
    assert!(why(&outcome).contains("secret"), "{}", why(&outcome));
}

#[tokio::test]
async fn a_certificate_is_shown_as_the_service_finds_it_and_nothing_else_of_its_file() {
    let bed = bed().await;
    let block = format!("{BEGIN}\nMIIB\n{END}");
    let file = bed.directory.join("mail.pem");
    let key = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----";
    fs::write(&file, format!("{key}\n{block}\n")).unwrap();
    let service = Service {
        mounts: vec![Mount {
            kind: MountKind::File { source: file },
            target: "/run/tls/mail.pem".to_owned(),
            read_only: true,
            no_storage: false,
        }],
        certificates: command(&["/run/tls/mail.pem", "/run/tls/absent.pem"]),
        ..bed.service()
    };
    let Tried::Ended(outcome) = tried(&bed, &service, &SLEEPS).await else {
        panic!("no trial");
    };
    assert_eq!(outcome.exit_code, 0, "{}", outcome.stderr);
    let found = shown(&outcome.stdout, 2);
    assert_eq!(found[0], Some(Ok(block)));
    let missing = found[1].clone().unwrap().unwrap_err();
    assert!(missing.contains("No such file"), "{missing}");
    assert!(!outcome.stdout.contains("c2VjcmV0"), "a key was shown");
}

#[tokio::test]
async fn a_log_that_can_not_be_read_hides_no_fault() {
    let bed = bed().await;
    let service = Service {
        logging: Some(Logging {
            driver: Some("none".to_owned()),
            ..Logging::default()
        }),
        ..bed.service()
    };
    assert!(passed(&tried(&bed, &service, &SLEEPS).await));
    let found = tried(&bed, &service, &["/bin/no-such-program"]).await;
    assert!(why(&found).starts_with("127 "), "{}", why(&found));
}

#[tokio::test]
async fn a_host_on_which_no_sidecar_has_come_up_is_found() {
    let bed = bed().await;
    fs::remove_file(bed.directory.join("state/page")).unwrap();
    let found = tried(&bed, &bed.service(), &SLEEPS).await;
    assert!(why(&found).starts_with("202 "), "{}", why(&found));
}
