//! The engine adapter against a real engine: needs a Docker engine, its `compose` plugin and a static busybox.

#![allow(clippy::unwrap_used, reason = "a test fails by it, in its helpers too")]

#[path = "engine/adopt.rs"]
mod adopt;
#[path = "engine/canary.rs"]
mod canary;
#[path = "engine/keys.rs"]
mod keys;
#[path = "engine/looks.rs"]
mod looks;
#[path = "engine/own.rs"]
mod own;
#[path = "engine/proxied.rs"]
mod proxied;
#[path = "engine/storage_probe.rs"]
mod storage_probe;
#[path = "engine/support.rs"]
mod support;
#[path = "engine/trial.rs"]
mod trial;
#[path = "engine/witness.rs"]
mod witness;

use std::collections::BTreeMap;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bollard::models::{
    ContainerConfig, ContainerUpdateBody, HostConfig, Mount as EngineMount, MountType, RestartPolicy,
    RestartPolicyNameEnum,
};
use bollard::query_parameters::{
    CommitContainerOptionsBuilder, ListNetworksOptionsBuilder, RemoveContainerOptions, RemoveContainerOptionsBuilder,
};
use leasehold::compose::model::{Attachment, Healthcheck, Mount, MountKind, Network, NetworkMode, Service};
use leasehold::sidecar::adapters::engine::{
    ContainerState, Engine, EngineError, Guarded, Helper, Hint, HintKind, MountSource, Reason, Seen, Status,
};
use support::{Bed, GROUP, NODE, PROJECT_LABEL, SOCKET};
use tokio::time::timeout;

const SERVICE_LABEL: &str = "com.docker.compose.service";

fn bind(source: &Path, target: &str) -> Mount {
    let kind = MountKind::Bind {
        source: source.to_owned(),
        propagation: None,
    };
    Mount {
        kind,
        target: target.to_owned(),
        read_only: false,
        no_storage: false,
    }
}

#[tokio::test]
async fn a_standby_mounts_and_writes_nothing() {
    let mut bed = Bed::new().await;
    let absent = bed.directory.join("absent");
    let device = absent.to_string_lossy().into_owned();
    let options = [("type", "none"), ("o", "bind"), ("device", device.as_str())];
    let mut service = bed.service();
    service.mounts = vec![
        bed.volume("elsewhere", &options, "/mail"),
        bed.volume("plain", &[], "/store"),
    ];

    let prepared = bed.prepare(&service).await.unwrap();

    assert!(
        prepared.created && !prepared.running && prepared.is_current,
        "{prepared:?}"
    );
    assert!(!absent.exists(), "creating made the directory behind the volume");
    let plain = bed
        .docker
        .inspect_volume(&format!("{}_plain", bed.project.name))
        .await
        .unwrap();
    let inside = std::fs::read_dir(&plain.mountpoint).unwrap().count();
    assert_eq!(inside, 0, "creating filled the volume from the image");
    let state = bed.engine.inspect(&prepared.container_id).await.unwrap();
    assert_eq!(state.status, Status::Created);

    // The mount is only tried by the start, and its failure is an answer.
    let refused = bed.engine.start(&prepared.container_id).await.unwrap_err();
    assert!(matches!(refused, EngineError::Refused { status: 500, .. }), "{refused}");
    assert!(!absent.exists());
    std::fs::create_dir(&absent).unwrap();
    bed.engine.start(&prepared.container_id).await.unwrap();
    assert_eq!(
        std::fs::read_dir(&plain.mountpoint).unwrap().count(),
        0,
        "starting filled the volume"
    );
}

#[tokio::test]
async fn an_absent_bind_source_is_refused_and_not_made() {
    let bed = Bed::new().await;
    let absent = bed.directory.join("absent");
    let mut service = bed.service();
    service.mounts = vec![bind(&absent, "/store")];
    let error = bed.prepare(&service).await.unwrap_err();
    assert!(
        matches!(&error, EngineError::Missing { what } if what.contains("absent")),
        "{error}"
    );
    assert!(!absent.exists());
    assert_eq!(bed.containers().await, 0);

    // One that goes away later keeps the container from starting: a host's tmpfs is empty after a boot.
    std::fs::create_dir(&absent).unwrap();
    let prepared = bed.prepare(&service).await.unwrap();
    std::fs::remove_dir(&absent).unwrap();
    let error = bed.engine.start(&prepared.container_id).await.unwrap_err();
    assert!(error.is_missing(), "{error}");
    assert!(!absent.exists());
}

#[tokio::test]
async fn compose_sees_the_container() {
    let bed = Bed::new().await;
    let prepared = bed.prepare(&bed.service()).await.unwrap();
    let run = |arguments: &[&str]| {
        let done = Command::new("docker")
            .args(arguments)
            .output()
            .expect("these tests call the `docker` client");
        assert!(
            done.status.success(),
            "docker {arguments:?}: {}",
            String::from_utf8_lossy(&done.stderr)
        );
        String::from_utf8(done.stdout).unwrap()
    };
    let project = bed.project.name.as_str();
    let listed = run(&["compose", "-p", project, "ps", "--all", "--no-trunc", "--quiet"]);
    assert_eq!(listed.trim(), prepared.container_id, "is the compose plugin installed?");

    let state = bed.engine.inspect(&prepared.container_id).await.unwrap();
    let label = |key: &str| state.labels.get(key).map_or("(none)", String::as_str);
    assert_eq!(label("com.docker.compose.config-hash"), "hash-1");
    assert_eq!(label("com.docker.compose.oneoff"), "False");
    assert_eq!(label("com.docker.compose.container-number"), "1");
    assert_eq!(label("com.docker.compose.project.working_dir"), "/srv/mail");
    assert_eq!(
        label("com.docker.compose.project.config_files"),
        "/srv/mail/compose.yaml"
    );
    assert_eq!(label("com.docker.compose.image"), prepared.image_id);
    assert_eq!((label("leasehold.group"), label("leasehold.node")), (GROUP, NODE));
}

#[tokio::test]
async fn a_container_is_made_anew_only_when_it_differs_and_is_down() {
    let bed = Bed::new().await;
    let service = bed.service();
    let first = bed.prepare(&service).await.unwrap();
    let again = bed.prepare(&service).await.unwrap();
    assert_eq!((again.created, &again.container_id), (false, &first.container_id));
    let second = bed.prepare_as(&service, "hash-2").await.unwrap();
    assert!(second.created && second.container_id != first.container_id);
    assert!(!bed.engine.inspect(&first.container_id).await.unwrap().exists);

    bed.engine.start(&second.container_id).await.unwrap();
    let running = bed.prepare_as(&service, "hash-2").await.unwrap();
    assert!(running.running && running.is_current && !running.created);
    let running = bed.prepare_as(&service, "hash-3").await.unwrap();
    assert_eq!(
        (running.running, running.is_current, running.created),
        (true, false, false)
    );
    assert_eq!(running.container_id, second.container_id);
    let renamed = Service {
        container_name: Some("other".to_owned()),
        ..service.clone()
    };
    let running = bed.prepare_as(&renamed, "hash-4").await.unwrap();
    assert_eq!(
        running.container_id, second.container_id,
        "a running container was lost by a new name"
    );

    let refused = bed.engine.remove(&second.container_id).await.unwrap_err();
    assert!(matches!(refused, EngineError::Refused { status: 409, .. }), "{refused}");
    bed.engine.kill(&second.container_id, "KILL").await.unwrap();
    let down = wait_down(&bed, &second.container_id).await;
    assert_eq!((down.status, down.exit_code), (Status::Exited, Some(137)));
    bed.engine.kill(&second.container_id, "KILL").await.unwrap();
    let third = bed.prepare_as(&service, "hash-3").await.unwrap();
    assert!(third.created && third.container_id != second.container_id);
    assert_eq!(bed.containers().await, 1);

    bed.engine.remove(&third.container_id).await.unwrap();
    bed.engine.remove(&third.container_id).await.unwrap();
    bed.engine.kill(&third.container_id, "KILL").await.unwrap();
    assert!(bed.engine.start(&third.container_id).await.unwrap_err().is_missing());
}

async fn wait_down(bed: &Bed, id: &str) -> ContainerState {
    for _ in 0..100 {
        let state = bed.engine.inspect(id).await.unwrap();
        if state.status.is_down() {
            return state;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("container {id} did not end");
}

#[tokio::test]
async fn a_new_image_makes_the_container_anew() {
    let bed = Bed::new().await;
    let service = bed.service();
    let first = bed.prepare(&service).await.unwrap();
    let commit = CommitContainerOptionsBuilder::new()
        .container(&first.container_id)
        .repo(&bed.project.name)
        .tag("1")
        .build();
    bed.docker
        .commit_container(commit, ContainerConfig::default())
        .await
        .unwrap();
    let second = bed.prepare(&service).await.unwrap();
    assert!(second.created && second.image_id != first.image_id);
}

#[tokio::test]
async fn a_restart_policy_is_taken_back() {
    let bed = Bed::new().await;
    let id = bed.prepare(&bed.service()).await.unwrap().container_id;
    let always = RestartPolicy {
        name: Some(RestartPolicyNameEnum::ALWAYS),
        maximum_retry_count: None,
    };
    let update = ContainerUpdateBody {
        restart_policy: Some(always),
        ..ContainerUpdateBody::default()
    };
    bed.docker.update_container(&id, update).await.unwrap();
    assert_eq!(bed.engine.inspect(&id).await.unwrap().restart_policy, "always");
    bed.engine.start(&id).await.unwrap();
    bed.engine.start(&id).await.unwrap();
    let state = bed.engine.inspect(&id).await.unwrap();
    assert!(state.running && state.pid.is_some(), "{state:?}");
    assert_eq!(state.restart_policy, "no");
}

#[tokio::test]
async fn intruders_are_found() {
    let mut bed = Bed::new().await;
    let spool = bed.directory.join("spool");
    std::fs::create_dir_all(spool.join("inner")).unwrap();
    let mut service = bed.service();
    service.mounts = vec![bed.volume("store", &[], "/store"), bind(&spool, "/spool")];
    let own = bed.prepare(&service).await.unwrap().container_id;
    bed.engine.start(&own).await.unwrap();
    let guarded = Guarded::of(&bed.project, &bed.group(vec![service]));
    let allowed = [own.clone()];
    assert_eq!(bed.engine.intruders(&guarded, NODE, &allowed).await.unwrap(), []);

    let project = bed.project.name.clone();
    let of_service = [(PROJECT_LABEL, project.as_str()), (SERVICE_LABEL, "sams")];
    let oneoff = [of_service[0], of_service[1], ("com.docker.compose.oneoff", "True")];
    let oneoff = bed.stranger("oneoff", &oneoff, HostConfig::default(), &[]).await;
    let volume = bed
        .stranger(
            "volume",
            &[],
            mounting(MountType::VOLUME, &format!("{project}_store"), true),
            &[],
        )
        .await;
    let inside = spool.join("inner").to_string_lossy().into_owned();
    let within = bed
        .stranger("within", &[], mounting(MountType::BIND, &inside, false), &[])
        .await;
    let above = bed.directory.to_string_lossy().into_owned();
    let around = bed
        .stranger("around", &[], mounting(MountType::BIND, &above, true), &[])
        .await;
    let beside = bed.directory.join("state").to_string_lossy().into_owned();
    bed.stranger("beside", &[], mounting(MountType::BIND, &beside, false), &[])
        .await;
    let theirs = [of_service[0], of_service[1], ("leasehold.node", "node-b")];
    bed.stranger("theirs", &theirs, HostConfig::default(), &[]).await;
    let init = mounting(MountType::VOLUME, &format!("{project}_store"), false);
    bed.stranger("init", &[("leasehold.role", "init")], init, &[]).await;

    let seen = bed.engine.intruders(&guarded, NODE, &allowed).await.unwrap();
    let of = |id: &String| -> &Seen { seen.iter().find(|one| one.container_id == *id).unwrap() };
    assert_eq!(seen.len(), 4, "{seen:#?}");
    assert_eq!(of(&oneoff).reason, Reason::Service("sams".to_owned()));
    assert_eq!(
        (&of(&volume).reason, of(&volume).writes),
        (&Reason::Volume(format!("{project}_store")), false)
    );
    assert_eq!(
        (&of(&within).reason, of(&within).writes),
        (&Reason::Path(PathBuf::from(inside)), true)
    );
    assert_eq!(
        (&of(&around).reason, of(&around).status),
        (&Reason::Path(PathBuf::from(above)), Status::Running)
    );
    assert_eq!(bed.engine.intruders(&guarded, NODE, &[]).await.unwrap().len(), 5);

    bed.engine.kill(&oneoff, "KILL").await.unwrap();
    wait_down(&bed, &oneoff).await;
    assert_eq!(bed.engine.intruders(&guarded, NODE, &allowed).await.unwrap().len(), 3);
}

fn mounting(kind: MountType, source: &str, read_only: bool) -> HostConfig {
    let mount = EngineMount {
        typ: Some(kind),
        source: Some(source.to_owned()),
        target: Some("/x".to_owned()),
        read_only: Some(read_only),
        ..EngineMount::default()
    };
    HostConfig {
        mounts: Some(vec![mount]),
        ..HostConfig::default()
    }
}

#[tokio::test]
async fn a_frozen_engine_costs_no_more_than_the_deadline() {
    let directory = std::env::temp_dir().join(format!("lhtest{}frozen", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let socket = directory.join("frozen.sock");
    std::fs::remove_file(&socket).ok();
    let silent = UnixListener::bind(&socket).unwrap();
    let engine = Engine::connect(&socket).within(Duration::from_millis(300));
    let within = Duration::from_millis(800);
    let ping = timeout(within, engine.ping()).await.expect("ping overran its deadline");
    assert!(matches!(ping, Err(EngineError::Unreachable(_))), "{ping:?}");
    let start = timeout(within, engine.start("x"))
        .await
        .expect("start overran its deadline");
    assert!(matches!(start, Err(EngineError::Unreachable(_))), "{start:?}");
    let inspect = timeout(within, engine.inspect("x"))
        .await
        .expect("inspect overran its deadline");
    assert!(matches!(inspect, Err(EngineError::Unreachable(_))), "{inspect:?}");
    drop(silent);
    let refused = engine.ping().await.unwrap_err();
    assert!(matches!(refused, EngineError::Unreachable(_)), "{refused}");
    std::fs::remove_dir_all(&directory).unwrap();
    let absent = engine.ping().await.unwrap_err();
    assert!(matches!(absent, EngineError::Unreachable(_)), "{absent}");
}

#[tokio::test]
async fn an_engine_that_freezes_later_is_noticed_too() {
    let bed = Bed::new().await;
    // Answers the first two connections from the real engine, then takes connections and stays silent.
    let socket = bed.directory.join("proxy.sock");
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    tokio::spawn(async move {
        let mut kept = Vec::new();
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            if kept.len() < 2 {
                let mut server = tokio::net::UnixStream::connect(SOCKET).await.unwrap();
                kept.push(tokio::spawn(async move {
                    tokio::io::copy_bidirectional(&mut client, &mut server).await.ok();
                }));
            } else {
                kept.push(tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_secs(60)).await;
                    drop(client);
                }));
            }
        }
    });
    let engine = Engine::connect(&socket).within(Duration::from_millis(300));
    engine.ping().await.unwrap();
    let late = timeout(Duration::from_millis(800), engine.ping())
        .await
        .expect("ping overran its deadline");
    assert!(matches!(late, Err(EngineError::Unreachable(_))), "{late:?}");
}

#[tokio::test]
async fn hints_come_and_a_lost_engine_is_told() {
    let bed = Bed::new().await;
    let socket = bed.directory.join("engine.sock");
    std::os::unix::fs::symlink(SOCKET, &socket).unwrap();
    let mut hints = Engine::connect(&socket).events();
    let soon = Duration::from_secs(8);
    assert_eq!(timeout(soon, hints.recv()).await.unwrap(), Some(Hint::EngineBack));

    let mut service = bed.service();
    service.healthcheck = Some(Healthcheck {
        test: Some(["CMD", "/bin/busybox", "true"].map(str::to_owned).to_vec()),
        interval: Some(Duration::from_millis(200)),
        timeout: None,
        retries: None,
        start_period: None,
        start_interval: None,
    });
    let id = bed.prepare(&service).await.unwrap().container_id;
    bed.engine.start(&id).await.unwrap();
    let mut kinds = Vec::new();
    let mut next = async |count: usize| {
        while kinds.len() < count {
            let hint = timeout(soon, hints.recv()).await.expect("no hint in time").unwrap();
            if let Hint::Container {
                id: theirs,
                kind,
                labels,
            } = hint
                && theirs == id
            {
                assert_eq!(labels.get("leasehold.node").map(String::as_str), Some(NODE));
                kinds.push(kind);
            }
        }
    };
    next(2).await;
    bed.engine.kill(&id, "KILL").await.unwrap();
    next(4).await;
    wait_down(&bed, &id).await;
    bed.engine.remove(&id).await.unwrap();
    next(5).await;
    let died = HintKind::Died { exit_code: Some(137) };
    // An engine may tell of the end before it tells of the signal.
    assert_eq!(
        (kinds[0], kinds[1], kinds[4]),
        (HintKind::Started, HintKind::Health, HintKind::Destroyed)
    );
    assert!(
        kinds[2..4].contains(&HintKind::Signalled) && kinds[2..4].contains(&died),
        "{kinds:?}"
    );

    std::fs::remove_file(&socket).unwrap();
    wait_for(&mut hints, |hint| matches!(hint, Hint::EngineLost(_))).await;
    std::os::unix::fs::symlink(SOCKET, &socket).unwrap();
    wait_for(&mut hints, |hint| *hint == Hint::EngineBack).await;
}

/// Other tests' containers make hints as well.
async fn wait_for(hints: &mut tokio::sync::mpsc::Receiver<Hint>, is_it: impl Fn(&Hint) -> bool) {
    let found = timeout(Duration::from_secs(8), async {
        while !is_it(&hints.recv().await.unwrap()) {}
    });
    found.await.expect("the hint did not come");
}

#[tokio::test]
async fn networks_are_made_as_compose_makes_them() {
    let mut bed = Bed::new().await;
    let mut service = bed.service();
    service.network_mode = None;
    service.hostname = Some("mail.example.test".to_owned());
    let project = bed.project.name.clone();
    for key in ["front", "back"] {
        let network = Network {
            name: format!("{project}_{key}"),
            internal: true,
            ..Network::default()
        };
        bed.project.networks.insert(key.to_owned(), network);
        let attachment = Attachment {
            aliases: vec![format!("mx-{key}")],
            ..Attachment::default()
        };
        service.networks.insert(key.to_owned(), attachment);
    }
    let prepared = bed.prepare(&service).await.unwrap();
    assert!(!bed.prepare(&service).await.unwrap().created);
    let found = bed
        .docker
        .inspect_container(&prepared.container_id, None)
        .await
        .unwrap();
    let networks = found.network_settings.unwrap().networks.unwrap();
    assert_eq!(networks.len(), 2, "{networks:?}");
    for key in ["front", "back"] {
        let aliases = networks[&format!("{project}_{key}")].aliases.clone().unwrap();
        assert!(
            aliases.contains(&"sams".to_owned()) && aliases.contains(&format!("mx-{key}")),
            "{aliases:?}"
        );
        let made = bed
            .docker
            .inspect_network(&format!("{project}_{key}"), None)
            .await
            .unwrap();
        assert_eq!(made.labels.unwrap()["com.docker.compose.network"], key);
    }
    bed.engine.start(&prepared.container_id).await.unwrap();

    let missing = Network {
        name: format!("{project}-nowhere"),
        external: true,
        ..Network::default()
    };
    bed.project.networks.insert("front".to_owned(), missing);
    let still = bed.prepare(&service).await.unwrap();
    assert!(
        still.running && !still.is_current,
        "a running container was lost from sight: {still:?}"
    );
    bed.engine.kill(&prepared.container_id, "KILL").await.unwrap();
    wait_down(&bed, &prepared.container_id).await;
    let error = bed.prepare(&service).await.unwrap_err();
    assert!(
        matches!(&error, EngineError::Missing { what } if what.contains("nowhere")),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_share_an_engine_do_not_meet() {
    let mut bed = Bed::new().await;
    let mut service = bed.service();
    service.network_mode = None;
    service.mounts = vec![bed.volume("store", &[], "/store")];
    let both = tokio::join!(
        bed.prepare_on(&service, "hash", "node-a"),
        bed.prepare_on(&service, "hash", "node-b"),
    );
    let (ours, theirs) = (both.0.unwrap().container_id, both.1.unwrap().container_id);
    assert_ne!(ours, theirs);
    let filters = std::collections::HashMap::from([("name", vec![format!("{}_default", bed.project.name)])]);
    let options = ListNetworksOptionsBuilder::new().filters(&filters).build();
    let networks = bed.docker.list_networks(Some(options)).await.unwrap();
    assert_eq!(networks.len(), 1, "both made a network of this name: {networks:?}");

    bed.engine.start(&ours).await.unwrap();
    bed.engine.start(&theirs).await.unwrap();
    assert_eq!(
        bed.prepare_on(&service, "hash", "node-b").await.unwrap().container_id,
        theirs
    );
    let found = bed
        .engine
        .containers(&bed.project.name, "sams", "node-a")
        .await
        .unwrap();
    assert_eq!(
        found.iter().map(|(id, state)| (id, state.running)).collect::<Vec<_>>(),
        [(&ours, true)]
    );
    let guarded = Guarded::of(&bed.project, &bed.group(vec![service]));
    assert_eq!(bed.engine.intruders(&guarded, "node-a", &[ours]).await.unwrap(), []);
}

#[tokio::test]
async fn the_network_of_another_service_is_shared() {
    let bed = Bed::new().await;
    let mut service = bed.service();
    service.hostname = Some("mail.example.test".to_owned());
    service.network_mode = Some(NetworkMode::Service("host-a".to_owned()));
    let error = bed.prepare(&service).await.unwrap_err();
    assert!(
        matches!(&error, EngineError::Missing { what } if what.contains("host-a")),
        "{error}"
    );

    let labels = [(PROJECT_LABEL, bed.project.name.as_str()), (SERVICE_LABEL, "host-a")];
    let owner = bed.stranger("host-a", &labels, HostConfig::default(), &[]).await;
    let first = bed.prepare(&service).await.unwrap();
    assert_eq!(
        first.notes.len(),
        1,
        "the host name was dropped without a word: {:?}",
        first.notes
    );
    bed.engine.start(&first.container_id).await.unwrap();
    bed.engine.kill(&first.container_id, "KILL").await.unwrap();
    wait_down(&bed, &first.container_id).await;
    assert!(!bed.prepare(&service).await.unwrap().created);

    // A new container with the same name has another id: ours would look for the old one.
    bed.docker.remove_container(&owner, Some(force())).await.unwrap();
    bed.stranger("host-a", &labels, HostConfig::default(), &[]).await;
    let second = bed.prepare(&service).await.unwrap();
    assert!(second.created);
    bed.engine.start(&second.container_id).await.unwrap();

    let host = Service {
        name: "on-the-host".to_owned(),
        network_mode: Some(NetworkMode::Host),
        hostname: Some("mail.example.test".to_owned()),
        ..bed.service()
    };
    let prepared = bed.prepare(&host).await.unwrap();
    assert_eq!(prepared.notes, Vec::<String>::new());
}

fn force() -> RemoveContainerOptions {
    RemoveContainerOptionsBuilder::new().force(true).build()
}

#[tokio::test]
async fn volumes_of_others_and_of_other_settings_are_refused() {
    let mut bed = Bed::new().await;
    let mut service = bed.service();
    service.mounts = vec![bed.volume("store", &[], "/store")];
    bed.prepare(&service).await.unwrap();
    let store = bed
        .docker
        .inspect_volume(&format!("{}_store", bed.project.name))
        .await
        .unwrap();
    assert_eq!(store.labels["com.docker.compose.volume"], "store");

    let volume = bed.project.volumes.get_mut("store").unwrap();
    volume.driver_opts = BTreeMap::from([("type".to_owned(), "nfs".to_owned())]);
    let error = bed.prepare(&service).await.unwrap_err();
    assert!(matches!(error, EngineError::Invalid { .. }), "{error}");

    let volume = bed.project.volumes.get_mut("store").unwrap();
    (volume.external, volume.name) = (true, format!("{}-nowhere", bed.project.name));
    let error = bed.prepare(&service).await.unwrap_err();
    assert!(
        matches!(&error, EngineError::Missing { what } if what.contains("nowhere")),
        "{error}"
    );
    assert!(
        bed.docker
            .inspect_volume(&format!("{}-nowhere", bed.project.name))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn an_absent_image_names_the_remedy() {
    let bed = Bed::new().await;
    let error = bed.engine.image("lhtest/absent:1").await.unwrap_err();
    assert!(
        matches!(&error, EngineError::Missing { what } if what.contains("docker pull lhtest/absent:1")),
        "{error}"
    );
    let image = bed.engine.image(&bed.image).await.unwrap();
    assert!(image.id.starts_with("sha256:") && image.digest == image.id, "{image:?}");
    assert_eq!((image.entrypoint, image.cmd, image.healthcheck), (None, None, None));
}

#[tokio::test]
async fn a_taken_name_is_not_taken_away() {
    let bed = Bed::new().await;
    let mut service = bed.service();
    service.container_name = Some(format!("{}-sams", bed.project.name));
    let stranger = bed.stranger("sams", &[], HostConfig::default(), &[]).await;
    let error = bed.prepare(&service).await.unwrap_err();
    assert!(matches!(error, EngineError::Invalid { .. }), "{error}");
    assert!(bed.engine.inspect(&stranger).await.unwrap().running);
    bed.docker.remove_container(&stranger, Some(force())).await.unwrap();

    // What Compose made before the service was protected gives way, but only while it is down.
    let labels = [(PROJECT_LABEL, bed.project.name.as_str()), (SERVICE_LABEL, "sams")];
    let before = bed.stranger("sams", &labels, HostConfig::default(), &[]).await;
    assert!(matches!(bed.prepare(&service).await, Err(EngineError::Invalid { .. })));
    bed.engine.kill(&before, "KILL").await.unwrap();
    wait_down(&bed, &before).await;
    assert!(bed.prepare(&service).await.unwrap().created);
    assert!(!bed.engine.inspect(&before).await.unwrap().exists);
}

#[tokio::test]
async fn the_sidecar_finds_itself() {
    let bed = Bed::new().await;
    let project = bed.project.name.clone();
    let node = format!("{project}-node");
    let error = bed.engine.own_container(&node).await.unwrap_err();
    assert!(error.is_missing(), "{error}");
    let labels = [
        (PROJECT_LABEL, project.as_str()),
        (SERVICE_LABEL, "leasehold"),
        ("com.docker.compose.project.working_dir", "/srv/mail"),
        (
            "com.docker.compose.project.config_files",
            "/srv/mail/a.yaml,/srv/mail/b.yaml",
        ),
    ];
    let state = bed.directory.join("state").to_string_lossy().into_owned();
    let environment = format!("LEASEHOLD_NODE={node}");
    let id = bed
        .stranger(
            "sidecar",
            &labels,
            mounting(MountType::BIND, &state, true),
            &[&environment],
        )
        .await;
    let protected = [labels[0], labels[1], ("leasehold.group", GROUP)];
    bed.stranger("protected", &protected, HostConfig::default(), &[&environment])
        .await;

    let own = bed.engine.own_container(&node).await.unwrap();
    assert_eq!(
        (own.container_id, own.project, own.service),
        (id, project, "leasehold".to_owned())
    );
    assert_eq!(
        own.config_files,
        [PathBuf::from("/srv/mail/a.yaml"), PathBuf::from("/srv/mail/b.yaml")]
    );
    assert_eq!((own.working_dir, own.stop_timeout), (PathBuf::from("/srv/mail"), None));
    assert_eq!(own.mounts[Path::new("/x")], MountSource::Path(PathBuf::from(state)));
}

#[tokio::test]
async fn a_helper_sees_the_storage_and_leaves_nothing_behind() {
    let mut bed = Bed::new().await;
    let mut service = bed.service();
    service.mounts = vec![bed.volume("store", &[], "/store")];
    let run = async |script: &str, deadline: Duration| {
        let command = ["/bin/busybox", "sh", "-c", script].map(str::to_owned);
        let helper = Helper {
            project: &bed.project,
            service: &service,
            node: NODE,
            binary: &bed.tether.binary,
            name: "init",
            only: None,
            devices: &[],
            command: &command,
            user: Some("65534"),
            deadline,
        };
        bed.engine.run_helper(&helper).await
    };
    let busybox = "/bin/busybox";
    let script = format!("{busybox} ls -A /store /leasehold; {busybox} id -u; echo oops >&2; exit 3");
    let done = run(&script, Duration::from_secs(20)).await.unwrap();
    assert_eq!(
        (done.exit_code, done.stderr.as_str(), done.truncated),
        (3, "oops\n", false)
    );
    assert_eq!(done.stdout, "/leasehold:\ntether\n\n/store:\n65534\n");
    let done = run(
        "i=0; while [ $i -lt 40000 ]; do echo 0123456789012345678901234567890123456789; i=$((i+1)); done",
        Duration::from_secs(60),
    );
    let done = done.await.unwrap();
    assert!(
        done.truncated && done.stdout.len() == 1 << 20,
        "{} bytes",
        done.stdout.len()
    );
    let late = run(&format!("{busybox} sleep 600"), Duration::from_secs(1))
        .await
        .unwrap_err();
    assert!(matches!(late, EngineError::Unreachable(_)), "{late}");
    assert_eq!(bed.containers().await, 0);
}

#[tokio::test]
async fn keys_that_this_engine_would_drop_are_refused() {
    let mut bed = Bed::new().await;
    let api = bed.engine.version().await.unwrap().api;
    let mut service = bed.service();
    let mut part = bed.volume("store", &[], "/store");
    part.kind = MountKind::Volume {
        key: "store".to_owned(),
        subpath: Some("part".to_owned()),
    };
    service.mounts = vec![part];
    let prepared = bed.prepare(&service).await;
    if api < (1, 45) {
        assert!(
            matches!(&prepared, Err(EngineError::Invalid { message }) if message.contains("subpath")),
            "{prepared:?}"
        );
    } else {
        prepared.unwrap();
    }
}
