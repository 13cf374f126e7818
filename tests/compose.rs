//! Compose files of the shapes that well-known projects use, read whole: what comes out, or which faults are told.

#[path = "adopt/adopt.rs"]
mod adopt;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use leasehold::compose::keys::{Fate, KEYS};
use leasehold::compose::model::{Dependency, Failback, MountKind, NetworkMode, Project, Service};
use leasehold::compose::{Fault, Sources, command_line, config_hash, read, report};

fn sources(files: &[&str], environment: &[(&str, &str)]) -> Sources {
    Sources {
        host_directory: "/srv/example".into(),
        local_directory: Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compose"),
        files: files.iter().map(PathBuf::from).collect(),
        project_name: None,
        environment: environment
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
    }
}

fn good(files: &[&str], environment: &[(&str, &str)]) -> Project {
    read(&sources(files, environment)).unwrap_or_else(|faults| panic!("{}", lines(&faults)))
}

fn lines(faults: &[Fault]) -> String {
    faults.iter().map(|fault| format!("{fault}\n")).collect()
}

fn service<'a>(project: &'a Project, group: &str, name: &str) -> &'a Service {
    let mut services = project.groups[group].services.iter();
    services
        .find(|service| service.name == name)
        .expect("the service is in the group")
}

/// The table of `docs/compose.md` as the reader of the files has it.
#[test]
fn the_page_of_keys_says_what_becomes_of_each() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/compose.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (head, _) = page
        .split_once("<!-- the table -->\n")
        .expect("the page has a mark where its table begins");
    let mut counts = [0; 3];
    let mut rows = String::new();
    for (key, fate) in KEYS {
        let (index, what, why) = match fate {
            Fate::CarriedOut => (0, "carried out", ""),
            Fate::Warned(why) => (1, "warned of", *why),
            Fate::Refused(remedy) => (2, "refused", *remedy),
        };
        counts[index] += 1;
        rows.push_str(&format!("| `{key}` | {what} | {why} |\n"));
    }
    let [carried, warned, refused] = counts;
    let wanted = format!(
        "{head}<!-- the table -->\n{} keys: {carried} are carried out, {warned} warned of, {refused} refused.\n\n\
         | key | what becomes of it | why, or what to do |\n| --- | --- | --- |\n{rows}",
        KEYS.len()
    );
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, &wanted).unwrap();
    }
    assert_eq!(
        std::fs::read_to_string(&path).unwrap(),
        wanted,
        "UPDATE_EXPECT=1 writes it again"
    );
}

#[test]
fn a_mail_server_behind_a_bridge_is_told_why_not() {
    let faults = read(&sources(&["like-mailserver.yaml"], &[])).unwrap_err();
    assert_eq!(
        lines(&faults),
        "like-mailserver.yaml:25: services.post.restart: the engine must not start a protected container by itself (write \
         restart: \"no\" or remove the line: Leasehold starts it again, while it holds the lease)\n"
    );
}

#[test]
fn a_mail_server_put_right_is_read_whole() {
    let directory = std::env::temp_dir().join(format!("leasehold-like-mailserver-{}", std::process::id()));
    let from = sources(
        &["like-mailserver.yaml", "like-mailserver.host.yaml"],
        &[("DOMAIN", "a.test")],
    );
    std::fs::create_dir_all(&directory).unwrap();
    for name in [
        "like-mailserver.yaml",
        "like-mailserver.host.yaml",
        "like-mailserver.env",
    ] {
        let text = std::fs::read_to_string(from.local_directory.join(name)).unwrap();
        let text = text.replace("    restart: always\n", "    network_mode: host\n");
        let ports = "    ports:\n      - \"25:25\"\n      - \"143:143\"\n      - \"465:465\"\n";
        std::fs::write(directory.join(name), text.replace(ports, "")).unwrap();
    }
    let project = read(&Sources {
        local_directory: directory.clone(),
        ..from
    });
    std::fs::remove_dir_all(directory).unwrap();
    let project = project.unwrap_or_else(|faults| panic!("{}", lines(&faults)));
    let post = service(&project, "post", "post");
    assert_eq!(post.image, "registry.example.test/mail/server:15");
    assert_eq!(post.network_mode, Some(NetworkMode::Host));
    assert_eq!(post.environment["POSTMASTER"], "admin@a.test");
    assert_eq!(post.environment["LOG_LEVEL"], "debug");
    assert_eq!(post.stop_grace_period, Duration::from_secs(60));
    let protected: Vec<_> = post
        .mounts
        .iter()
        .map(|mount| (mount.target.as_str(), mount.is_protected()))
        .collect();
    let expected = [
        ("/var/mail", true),
        ("/var/mail-state", true),
        ("/tmp/config", false),
        ("/etc/localtime", false),
    ];
    assert_eq!(protected, expected);
    let test = post.healthcheck.as_ref().and_then(|check| check.test.clone()).unwrap();
    assert_eq!(test[0], "CMD-SHELL");
    assert_eq!(project.warnings, [""; 0]);
}

/// What people copy: each example with the settings that it comes with.
#[test]
fn the_examples_are_read_without_a_fault_or_a_warning() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("compose/examples");
    let mut read_so_far = 0;
    for entry in std::fs::read_dir(&top).unwrap() {
        let directory = entry.unwrap().path();
        let settings = std::fs::read_to_string(directory.join(".env.example")).unwrap();
        let environment: Vec<_> = settings.lines().filter_map(|line| line.split_once('=')).collect();
        let from = Sources {
            local_directory: directory.clone(),
            ..sources(&["compose.yaml"], &environment)
        };
        let project = read(&from).unwrap_or_else(|faults| panic!("{}: {}", directory.display(), lines(&faults)));
        assert_eq!(project.warnings, [""; 0], "{}", directory.display());
        for service in project.groups.values().flat_map(|group| &group.services) {
            let bare = service.mounts.iter().find(|mount| !mount.is_protected());
            assert!(
                !service.mounts.is_empty() && bare.is_none(),
                "{}: {bare:?} is lost with the host",
                service.name
            );
        }
        read_so_far += 1;
    }
    assert!(read_so_far > 0, "no example in {}", top.display());
}

#[test]
fn a_suite_shares_one_group() {
    let project = good(&["like-mailcow.yaml"], &[("DBROOT", "secret"), ("SQL_PORT", "3306")]);
    let group = &project.groups["boxes"];
    let names: Vec<_> = group.services.iter().map(|service| service.name.as_str()).collect();
    assert_eq!(names, ["sql", "boxes"]);
    assert_eq!(
        (group.vips.len(), group.lease_loss_grace),
        (2, Some(Duration::from_secs(3)))
    );
    let boxes = service(&project, "boxes", "boxes");
    assert_eq!(boxes.networks["inner"].ipv4_address.as_deref(), Some("172.30.1.250"));
    assert_eq!(boxes.dns, ["172.30.1.254"]);
    assert!(boxes.labels["jobs.run.command"].contains("[ ${MASTER} = y ]"));
    assert_eq!(boxes.ulimits["nofile"], (20000, 40000));
    let ports: Vec<_> = boxes
        .ports
        .iter()
        .map(|port| (port.host_ip.as_deref(), port.published.as_deref()))
        .collect();
    assert_eq!(
        ports,
        [
            (None, Some("143")),
            (Some("127.0.0.1"), Some("19991")),
            (None, Some("993"))
        ]
    );
    assert_eq!(project.networks["inner"].subnets.len(), 2);
    assert_eq!(project.volumes["mail"].name, "suite_mail");
    assert_eq!(project.volumes["sql-data"].name, "example_sql-data");
    let warned = |part: &str| project.warnings.iter().filter(|warning| warning.contains(part)).count();
    assert_eq!(
        (warned("down -v"), warned("variable TZ"), warned("relabels")),
        (2, 1, 1),
        "{:#?}",
        project.warnings
    );
    let missing = read(&sources(&["like-mailcow.yaml"], &[])).unwrap_err();
    assert!(
        lines(&missing).contains("services.sql.environment.1: the variable DBROOT is required"),
        "{missing:#?}"
    );
}

#[test]
fn images_put_together_from_variables_are_filled_in() {
    let project = good(&["like-mailu.yaml"], &[("POST_VERSION", "3.1")]);
    let front = service(&project, "post", "front");
    assert_eq!(front.image, "registry.example.test/post/nginx:3.1");
    assert_eq!(front.depends_on["resolver"], Dependency::Started);
    assert_eq!(project.groups["post"].services[0].name, "resolver");
    assert_eq!(front.ports[1].host_ip.as_deref(), Some("fd20::70"));
    assert_eq!(front.logging.as_ref().unwrap().options["tag"], "post-front");
    assert_eq!(front.networks.keys().collect::<Vec<_>>(), ["default", "webmail"]);
    assert!(project.networks["webmail"].internal);
    assert!((project.cluster.clock_margin - 0.02).abs() < 1e-9);
    assert_eq!(project.cluster.ttl, Duration::from_secs(15));
}

#[test]
fn an_application_protected_by_halves_is_told_everything_at_once() {
    let faults = read(&sources(&["like-nextcloud.yaml"], &[])).unwrap_err();
    let found: Vec<_> = faults.iter().map(|fault| (fault.line, fault.key.as_str())).collect();
    assert_eq!(
        found,
        [
            (21, "services.app.restart"),
            (24, "services.app.volumes"),
            (26, "services.app.depends_on"),
            (37, "services.web.depends_on"),
            (39, "services.cron.scale"),
            (39, "services.cron"),
            (41, "services.cron.entrypoint"),
        ],
        "{}",
        lines(&faults)
    );
}

#[test]
fn a_small_hardened_service_is_carried_out_to_the_last_key() {
    let project = good(&["like-vaultwarden.yaml"], &[]);
    assert_eq!(
        (project.name.as_str(), project.groups["vault"].failback),
        (
            "vault",
            Failback::Auto {
                quiet: Duration::from_secs(300)
            }
        )
    );
    let vault = service(&project, "vault", "vault");
    assert!(vault.read_only && vault.cap_drop == ["ALL"] && vault.tmpfs == ["/run"]);
    assert_eq!(
        (vault.nano_cpus, vault.mem_limit, vault.pids_limit),
        (Some(500_000_000), Some(256 << 20), Some(100))
    );
    assert_eq!(vault.mem_reservation, Some(64 << 20));
    let expected = [
        ("ADMIN_TOKEN_FILE", "/run/secrets/admin-token"),
        ("SIGNUPS_ALLOWED", "false"),
        ("WORKERS", "4"),
    ];
    let expected: BTreeMap<_, _> = expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    assert_eq!(vault.environment, expected);
    let kinds: Vec<_> = vault
        .mounts
        .iter()
        .map(|mount| (&mount.kind, mount.target.as_str()))
        .collect();
    assert!(kinds.iter().any(|(kind, _)| **kind
        == MountKind::Tmpfs {
            size: Some(16 << 20),
            mode: Some(0o1777)
        }));
    let secret = MountKind::File {
        source: "/srv/example/secrets/admin-token".into(),
    };
    assert!(kinds.contains(&(&secret, "/run/secrets/admin-token")));
    assert_eq!(project.warnings, [""; 0]);
}

#[test]
fn an_application_waits_for_its_healthy_database() {
    let project = good(&["like-gitea.yaml"], &[]);
    let order: Vec<_> = project.groups["git"]
        .services
        .iter()
        .map(|service| service.name.as_str())
        .collect();
    assert_eq!(order, ["db", "server"]);
    let (db, server) = (service(&project, "git", "db"), service(&project, "git", "server"));
    assert_eq!(server.depends_on["db"], Dependency::Healthy);
    assert_eq!(
        db.healthcheck.as_ref().unwrap().test.as_ref().unwrap()[1],
        "pg_isready -U ${POSTGRES_USER}"
    );
    assert_eq!(
        (db.stop_signal.as_deref(), db.stop_grace_period),
        (Some("SIGINT"), Duration::from_secs(90))
    );
    assert_eq!(project.volumes["database"].driver_opts["type"], "nfs4");
    assert_eq!(project.networks["proxy"].name, "proxy");
    let image = ["docker-entrypoint.sh".to_owned()];
    let line = command_line(Some(&image), Some(&["postgres".to_owned()]), db);
    assert_eq!(line, ["docker-entrypoint.sh", "postgres", "-c", "max_connections=200"]);
    assert_eq!(
        command_line(Some(&image), Some(&["web".to_owned()]), server),
        ["docker-entrypoint.sh", "web"]
    );
    assert_ne!(config_hash(db, &project), config_hash(server, &project));
    let said = report(&project);
    assert!(said.contains("  1. db (postgres:15), stop within 90s\n"), "{said}");
    assert!(
        said.contains("      /data <- volume repositories: protected\n"),
        "{said}"
    );
}

#[test]
fn a_file_with_any_line_missing_is_read_or_refused_and_never_a_panic() {
    let whole = sources(&[], &[("DBROOT", "x")]);
    let directory = std::env::temp_dir().join(format!("leasehold-like-lines-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    for entry in std::fs::read_dir(&whole.local_directory).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        for gone in 0..lines.len() {
            let rest = [&lines[..gone], &lines[gone + 1..]].concat().join("\n");
            std::fs::write(directory.join("compose.yaml"), rest).unwrap();
            let read = read(&Sources {
                local_directory: directory.clone(),
                ..whole.clone()
            });
            assert!(read.err().is_none_or(|faults| !faults.is_empty()));
        }
    }
    std::fs::remove_dir_all(directory).unwrap();
}
