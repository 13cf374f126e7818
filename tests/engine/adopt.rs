//! `leasehold adopt` on a host where the service still runs as it always did.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use bollard::models::ContainerConfig;
use bollard::models::HostConfig;
use bollard::query_parameters::CommitContainerOptionsBuilder;
use leasehold::compose::{Sources, read};

use tokio::time::{sleep, timeout};

use crate::support::Bed;

fn run(directory: &Path, program: &str, words: &[&str]) -> Output {
    let mut command = Command::new(program);
    command
        .args(words)
        .current_dir(directory)
        .env_remove("COMPOSE_PROJECT_NAME");
    command
        .output()
        .unwrap_or_else(|error| panic!("this test needs {program}: {error}"))
}

fn compose(bed: &Bed, words: &[&str]) {
    let out = run(&bed.directory, "docker", &[&["compose"], words].concat());
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}

/// Exit code, stdout, stderr.
fn adopt(bed: &Bed, words: &[&str]) -> (Option<i32>, String, String) {
    let fixed = ["adopt", "compose.yaml"];
    let out = run(
        &bed.directory,
        env!("CARGO_BIN_EXE_leasehold"),
        &[&fixed, words].concat(),
    );
    let [stdout, stderr] = [out.stdout, out.stderr].map(|text| String::from_utf8(text).unwrap());
    (out.status.code(), stdout, stderr)
}

/// An image that says on which port it listens.
async fn image_with_a_port(bed: &Bed) -> String {
    let made = bed.stranger("shape", &[], HostConfig::default(), &[]).await;
    let options = CommitContainerOptionsBuilder::new()
        .container(&made)
        .repo(&bed.project.name)
        .tag("2")
        .build();
    let config = ContainerConfig {
        exposed_ports: Some(vec!["2525/tcp".to_owned()]),
        ..ContainerConfig::default()
    };
    bed.docker.commit_container(options, config).await.unwrap();
    format!("{}:2", bed.project.name)
}

#[tokio::test]
async fn adopt_refuses_until_nothing_plain_uses_the_storage() {
    let bed = Bed::new().await;
    let image = image_with_a_port(&bed).await;
    let file = bed.directory.join("compose.yaml");
    let text = format!(
        "services:\n  app:\n    image: {image}\n    network_mode: host\n    entrypoint: [/bin/busybox, sleep, \"600\"]\n    \
         volumes: [\"data:/data\"]\nvolumes:\n  data:\n"
    );
    std::fs::write(&file, &text).unwrap();
    compose(&bed, &["up", "-d"]);
    let name = &bed.project.name;

    for status in ["running", "exited"] {
        let (code, patch, said) = adopt(&bed, &[]);
        assert_eq!((code, patch.as_str()), (Some(1), ""), "{said}");
        let line = format!("  {name}-app-1 ({status}): docker compose rm --stop app");
        assert!(said.lines().any(|said| said == line), "{said}");
        compose(&bed, &["stop", "-t", "0"]);
    }
    compose(&bed, &["rm", "-f"]);
    let volume = HostConfig {
        binds: Some(vec![format!("{name}_data:/backup")]),
        ..HostConfig::default()
    };
    let backup = bed.stranger("backup", &[], volume, &[]).await;
    let (code, patch, said) = adopt(&bed, &[]);
    assert_eq!((code, patch.as_str()), (Some(1), ""), "{said}");
    assert!(
        said.contains(&format!("docker stop {name}-backup && docker rm {name}-backup")),
        "{said}"
    );
    bed.engine.kill(&backup, "KILL").await.unwrap();
    wait_until_down(&bed, &backup).await;

    let (code, patch, said) = adopt(&bed, &["--vip", "192.0.2.10/24", "--etcd", "http://192.0.2.1:2379"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text, "nothing was changed");
    assert!(
        said.contains(&format!("apply it in {} with `patch -p0`", bed.directory.display())),
        "{said}"
    );
    std::fs::write(bed.directory.join("adopt.patch"), &patch).unwrap();
    let patched = run(&bed.directory, "patch", &["-p0", "-i", "adopt.patch"]);
    assert!(patched.status.success(), "{}", String::from_utf8_lossy(&patched.stdout));
    let project = read(&Sources {
        host_directory: bed.directory.clone(),
        local_directory: bed.directory.clone(),
        ..Sources::default()
    });
    let project = project.unwrap_or_else(|faults| panic!("{faults:#?}"));
    let group = &project.groups["app"];
    assert_eq!(
        (group.vips.len(), group.probes.len()),
        (1, 1),
        "the image tells its port"
    );
    compose(&bed, &["config", "--quiet"]);

    let (code, patch, _) = adopt(&bed, &["--service", "app"]);
    assert_eq!((code, patch.as_str()), (Some(0), ""), "there is nothing left to do");
    let (code, patch, said) = adopt(&bed, &["--service", "app", "--undo"]);
    assert_eq!(code, Some(0), "{said}");
    std::fs::write(bed.directory.join("undo.patch"), &patch).unwrap();
    let patched = run(&bed.directory, "patch", &["-p0", "-i", "undo.patch"]);
    assert!(patched.status.success(), "{}", String::from_utf8_lossy(&patched.stdout));
    compose(&bed, &["up", "-d", "app"]);
    compose(&bed, &["rm", "--stop", "-f", "app"]);
}

/// An address of this machine, such as that of the engine's own bridge.
fn own_address() -> String {
    let addresses = nix::ifaddrs::getifaddrs().unwrap();
    let mut v4 = addresses.filter_map(|one| Some(one.address?.as_sockaddr_in()?.ip()));
    v4.find(|address| !address.is_loopback())
        .expect("a machine with an address")
        .to_string()
}

async fn wait_until_down(bed: &Bed, id: &str) {
    let down = async {
        while bed.engine.inspect(id).await.unwrap().running {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(30), down).await.expect("it was killed");
}

#[tokio::test]
async fn adopt_without_an_engine_says_where_to_run_it() {
    let bed = Bed::new().await;
    std::fs::write(
        bed.directory.join("compose.yaml"),
        "services:\n  app:\n    image: i:1\n    ports: ['80:80']\n",
    )
    .unwrap();
    let (code, patch, said) = adopt(&bed, &["--engine", "/nowhere.sock"]);
    assert_eq!((code, patch.as_str()), (Some(1), ""));
    assert!(said.contains("run this on the host where it runs"), "{said}");
}

#[tokio::test]
async fn adopt_refuses_an_address_of_this_host_by_name() {
    let bed = Bed::new().await;
    let text = "services:\n  app:\n    image: i:1\n    ports: ['80:80']\n";
    std::fs::write(bed.directory.join("compose.yaml"), text).unwrap();
    let own = own_address();
    let vip = format!("{own}/24");
    let (code, patch, said) = adopt(&bed, &["--vip", &vip, "--etcd", "http://192.0.2.1:2379"]);
    assert_eq!((code, patch.as_str()), (Some(1), ""), "{said}");
    let wanted = format!("group app: {own} is this host's own: {own}/");
    assert!(said.contains(&wanted), "{said}");
}
