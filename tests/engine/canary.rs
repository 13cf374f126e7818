//! A canary through the real mail server of the project, with and without a delivery.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use leasehold::compose::model::{Cadence, CanaryCheck, Check, Probe, ProbeTls};
use leasehold::core::event::{FailureKind, ProbeFailure};
use leasehold::sidecar::adapters::engine::Engine;
use leasehold::sidecar::adapters::probe::{Inside, Prober, Target};

use crate::support::SOCKET;

const IMAGE: &str = "leasehold/sams:dev";
const VOLUMES: [(&str, &str); 5] = [
    ("mta", "/etc/mail"),
    ("md", "/etc/md"),
    ("store", "/var/md/store"),
    ("mqueue", "/var/spool/mqueue"),
    ("client", "/var/spool/clientmqueue"),
];
const PATIENCE: Duration = Duration::from_secs(30);

fn docker(args: &[&str]) -> String {
    let output = Command::new("docker").args(args).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "docker {args:?}: {said}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A mail server of its own, with the mailbox of alice.
struct Sams {
    name: String,
    login: PathBuf,
    address: IpAddr,
}

impl Sams {
    fn up() -> Self {
        let there = Command::new("docker")
            .args(["image", "inspect", IMAGE])
            .output()
            .unwrap();
        assert!(there.status.success(), "no image {IMAGE}: run `docker/build sams`");
        let name = format!("lhcanary{}", std::process::id());
        let login = std::env::temp_dir().join(&name);
        fs::write(&login, "alice\nsecret\n").unwrap();
        let mounts = VOLUMES.map(|(volume, target)| format!("--volume={name}-{volume}:{target}"));
        let environment = [
            "--env=MAIL_HOSTNAME=mail.example.test",
            "--env=MAIL_DOMAIN=example.test",
            "--env=MAIL_DEMO_USER=alice",
            "--env=MAIL_DEMO_PASSWORD=secret",
        ];
        let named = format!("--name={name}");
        let mut words = vec!["run", "--detach", &named];
        words.extend(mounts.iter().map(String::as_str).chain(environment));
        words.push(IMAGE);
        let mut sams = Self {
            name,
            login,
            address: IpAddr::from([0, 0, 0, 0]),
        };
        docker(&words);
        let form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        sams.address = docker(&["inspect", "--format", form, &sams.name]).parse().unwrap();
        sams
    }

    async fn canary(&self, mailbox: &str, limit: Duration) -> Result<(), ProbeFailure> {
        let check = Check::Canary(CanaryCheck {
            mailbox: mailbox.to_owned(),
            smtp_port: 25,
            imap_port: 143,
            tls: ProbeTls::Start,
            login_file: self.login.clone(),
        });
        let cadence = Cadence {
            interval: PATIENCE,
            timeout: limit,
            rise: 1,
            fall: 2,
            fall_timeout: 2,
        };
        let target = Target {
            address: self.address,
            container: None,
            mounts: Vec::new(),
            place: 0,
        };
        let prober = Prober::new(Inside::new(Engine::connect(Path::new(SOCKET))));
        prober.check(&Probe { check, cadence }, &target).await
    }

    /// Messages in all mailboxes, wherever the store keeps them; its index remembers heads of deleted ones.
    fn messages(&self) -> usize {
        let find = "grep -rl 'which deletes it again' /var/md/store | wc -l";
        docker(&["exec", &self.name, "sh", "-c", find]).parse().unwrap()
    }
}

impl Drop for Sams {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["rm", "--force", &self.name]).output();
        for (volume, _) in VOLUMES {
            let volume = format!("{}-{volume}", self.name);
            let _ = Command::new("docker")
                .args(["volume", "rm", "--force", &volume])
                .output();
        }
        fs::remove_file(&self.login).ok();
    }
}

#[tokio::test]
async fn a_canary_comes_through_the_real_server_and_leaves_nothing_there() {
    let sams = Sams::up();
    let mut waited = Duration::ZERO;
    // Its ports open one after the other.
    while let Err(failure) = sams.canary("alice@example.test", PATIENCE).await {
        assert!(waited < PATIENCE, "{failure:?}");
        let pause = Duration::from_millis(200);
        waited += pause;
        tokio::time::sleep(pause).await;
    }
    assert_eq!(sams.messages(), 0, "it is still there");

    let failure = sams.canary("nobody@example.test", PATIENCE).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Wrong);
    let words = "canary nobody@example.test: SMTP: RCPT: expected `25`, heard `550";
    assert!(failure.text.starts_with(words), "{}", failure.text);

    // Delivered to somebody else: taken, and not where it is looked for.
    docker(&["exec", &sams.name, "sh", "-c", "echo secret | sams-user add carol"]);
    let failure = sams
        .canary("carol@example.test", Duration::from_secs(4))
        .await
        .unwrap_err();
    assert_eq!(failure.kind, FailureKind::Silent);
    assert!(
        failure.text.ends_with("sent, and not in the mailbox in time"),
        "{}",
        failure.text
    );

    fs::write(&sams.login, "alice\nhunter2\n").unwrap();
    let failure = sams.canary("alice@example.test", PATIENCE).await.unwrap_err();
    assert!(failure.text.contains("IMAP: LOGIN"), "{}", failure.text);
    assert!(!failure.text.contains("hunter2"), "{}", failure.text);

    // The one that nobody could fetch is taken away by the next that comes through.
    fs::write(&sams.login, "alice\nsecret\n").unwrap();
    assert_eq!(sams.canary("alice@example.test", PATIENCE).await, Ok(()));
    assert_eq!(sams.messages(), 1, "carol's alone");
}
