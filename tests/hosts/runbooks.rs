//! Carries out `docs/runbooks.md`: the commands are taken from the page as they stand there, only names of files are those
//! of the lab. So what an administrator reads is what was tried.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use leasehold::api::words::MemberState;

use crate::by_hand;
use crate::cluster::Cluster;
use crate::etcd::etcd_program;
use crate::host::{Host, SIDECAR, STORAGE, tag};
use crate::lab::VIP4;
use crate::row::Figure;
use crate::scenarios::{Body, FAILOVER_LIMIT, HAND_OVER_LIMIT, RETURN_LIMIT, TTL, figure, no_outage, succeed};
use crate::shell::{now, say, sh, until, within, words};

const PAGE: &str = include_str!("../../docs/runbooks.md");
const SECONDS: &str = "60";

pub(crate) const RUNBOOKS: [(&str, Body); 10] = [
    ("runbook: upgrade the sidecar", upgrade_sidecar),
    ("runbook: update the mail server's image", update_image),
    ("runbook: replace a lost etcd member", replace_member),
    ("runbook: replace a host", replace_host),
    ("runbook: restore etcd from a snapshot", restore_etcd),
    ("runbook: two hosts without a third box", without_third_box),
    ("runbook: change the ttl", change_ttl),
    ("runbook: add a host", add_host),
    ("runbook: back up the storage", back_up),
    ("runbook: uninstall", uninstall),
];

/// Tried where no hosts are needed: `tests/store/full.rs`.
const WITHOUT_HOSTS: [&str; 1] = ["runbook: etcd is full"];

/// A block of commands and the hosts that it is typed on.
struct Block<'a> {
    place: &'a str,
    lines: Vec<&'a str>,
}

/// The blocks under a heading.
fn blocks(heading: &str) -> Vec<Block<'static>> {
    let mut found: Vec<Block> = Vec::new();
    let (mut inside, mut open) = (false, false);
    for line in PAGE.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            inside = title == heading;
        } else if let Some(place) = line.strip_prefix("```sh ").filter(|_| inside) {
            let lines = Vec::new();
            found.push(Block { place, lines });
            open = true;
        } else if line == "```" {
            open = false;
        } else if let Some(block) = found.last_mut().filter(|_| inside && open) {
            block.lines.push(line);
        }
    }
    assert!(!found.is_empty(), "the page has no commands under {heading:?}");
    found
}

/// What stands for the names of the page: files, and that nobody types into these commands.
fn in_the_lab(line: &str, archives: &Path) -> String {
    let table = [
        (
            "leasehold-next.tar",
            archives.join("leasehold-next.tar").display().to_string(),
        ),
        ("sams-next.tar", archives.join("sams-next.tar").display().to_string()),
        ("images.tar", archives.join("of-another.tar").display().to_string()),
        (
            "docker compose exec leasehold leasehold accept",
            "echo mail | docker compose exec leasehold leasehold accept".to_owned(),
        ),
        ("docker compose exec ", "docker compose exec -T ".to_owned()),
    ];
    table
        .iter()
        .fold(line.to_owned(), |line, (name, here)| line.replace(name, here))
}

impl Host {
    /// Types a line of the page on this host.
    fn type_line(&self, line: &str) {
        let said = self.try_line(line);
        assert!(said.is_ok(), "{}: {line}: {said:?}", self.name);
    }

    fn try_line(&self, line: &str) -> Result<(), String> {
        let typed = in_the_lab(line, &self.lab.disk());
        let output = self
            .command(Path::new("timeout"))
            .args([SECONDS, "sh", "-euc", &typed])
            .current_dir(self.disk().join("project"))
            .env("DOCKER_HOST", self.socket())
            .env_remove("LEASEHOLD_NODE")
            .stdin(Stdio::null())
            .output()
            .expect("a shell");
        let said = words(&output);
        if !output.status.success() {
            return Err(said);
        }
        let last = said.lines().last().unwrap_or_default();
        say(&format!("    {}: {line}: {last}", self.name));
        Ok(())
    }

    fn type_block(&self, block: &Block) {
        block.lines.iter().for_each(|line| self.type_line(line));
    }
}

/// An image that differs from the one in use, as an archive that every host can load.
fn next_image(cluster: &Cluster, name: &str) {
    let (image, next) = (format!("leasehold/{name}:{}", tag()), format!("leasehold/{name}:next"));
    let archive = cluster.lab.disk().join(format!("{name}-next.tar"));
    sh(&format!(
        "made=$(docker create {image}) && docker commit --change 'LABEL test=next' $made {next} && \
         docker rm $made && docker save -o {} {next} && docker rmi {next}",
        archive.display()
    ));
}

/// The image that a container runs, by the engine's word.
fn image_of(host: &Host, container: &str) -> String {
    host.inspect(container, "{{.Config.Image}} {{.Image}}")
}

/// Every standby in turn, then the active host: the container runs on.
fn upgrade_sidecar(cluster: &mut Cluster) -> Figure {
    next_image(cluster, "leasehold");
    cluster.await_successors();
    let active = cluster.await_leader();
    let before = (cluster.hosts[active].serving(), cluster.last_run());
    let old: Vec<String> = cluster.hosts.iter().map(|host| image_of(host, SIDECAR)).collect();
    let seen = cluster.under_mail(|cluster| {
        for block in blocks("Upgrade the sidecar") {
            typed_on(cluster, &block, active);
            cluster.await_successors();
        }
        let typed = now();
        until(
            "the promise of the hold's last beat to be an ordinary one",
            TTL * 4,
            || (now() - typed > TTL * 2).then_some(()),
        );
    });
    let after = (cluster.hosts[active].serving(), cluster.last_run());
    assert_eq!(before.0, after.0, "another container");
    assert!(before.1.is(&after.1), "another run: {:?}", after.1);
    for (host, old) in cluster.hosts.iter().zip(old) {
        let new = image_of(host, SIDECAR);
        assert!(
            new.starts_with("leasehold/leasehold:next") && new != old,
            "{}: {new}",
            host.name
        );
    }
    no_outage(&seen, &format!("same container, run {}", after.1.run))
}

/// The service moves once, to a host that has the new image.
fn update_image(cluster: &mut Cluster) -> Figure {
    next_image(cluster, "sams");
    cluster.await_successors();
    let active = cluster.await_leader();
    let seen = cluster.under_mail(|cluster| {
        for block in blocks("Update the mail server's image") {
            typed_on(cluster, &block, active);
            cluster.settle();
            cluster.await_successors();
        }
    });
    let new = cluster.await_leader();
    assert_ne!(new, active, "the service did not move");
    for host in &cluster.hosts {
        let image = image_of(host, &format!("mail-sams-{}", host.name));
        assert!(image.starts_with("leasehold/sams:next"), "{}: {image}", host.name);
    }
    figure(
        &seen,
        HAND_OVER_LIMIT,
        &format!("the new image on {}", cluster.hosts[new].name),
    )
}

/// One member loses its data and is replaced, unfelt. etcd does not run in the engine here, so the lines about its
/// container have their counterpart, and `etcdctl` is the one beside the build.
fn replace_member(cluster: &mut Cluster) -> Figure {
    cluster.await_successors();
    let lost = cluster.standby();
    let healthy = cluster.await_leader();
    let (name, address) = (cluster.hosts[lost].name, cluster.hosts[lost].address());
    let run = cluster.last_run();
    let seen = cluster.under_mail(|cluster| {
        cluster.hosts[lost].kill_etcd();
        let data = cluster.hosts[lost].etcd_data().display().to_string();
        sh(&format!("rm -rf {data}/member/wal/*"));
        for block in blocks("Replace a lost etcd member") {
            for line in &block.lines {
                match (block.place, *line) {
                    ("lost", "docker compose rm -sf etcd") => cluster.hosts[lost].kill_etcd(),
                    ("lost", "docker volume rm mail_etcd") => drop(sh(&format!("rm -rf {data}"))),
                    ("lost", "ETCD_STATE=existing docker compose up -d etcd") => {
                        cluster.hosts[lost].start_etcd_as("existing");
                    }
                    ("healthy", line) => {
                        let etcdctl = etcd_program("etcdctl").display().to_string();
                        let host = &cluster.hosts[healthy];
                        let client = format!("{etcdctl} --endpoints http://{}:2379", host.address());
                        let typed = line
                            .replace("docker compose exec etcd etcdctl", &client)
                            .replace("https://LOST_ADDRESS", &format!("http://{address}"))
                            .replace("LOST", name);
                        // The page says that it may have to be typed again.
                        let mut said = Ok(());
                        let done = within(RETURN_LIMIT, || {
                            said = host.try_line(&typed);
                            said.is_ok().then_some(())
                        });
                        assert!(done.is_some(), "{line}: {said:?}");
                    }
                    (place, line) => panic!("{line} on {place} has no counterpart here"),
                }
            }
        }
        until("all members to follow one leader", RETURN_LIMIT, || {
            cluster.etcd_odd_one_out().is_none().then_some(())
        });
    });
    cluster.hosts[lost].await_status(0, &[]);
    assert!(cluster.last_run().is(&run), "another run: {:?}", cluster.last_run());
    no_outage(&seen, &format!("the member of {name} is new"))
}

/// A host loses its disks and is set up anew. The volumes of the lab are no NFS, so `./volumes` has its counterpart.
fn replace_host(cluster: &mut Cluster) -> Figure {
    cluster.await_successors();
    let lost = cluster.await_leader();
    let seen = cluster.under_mail(|cluster| {
        cluster.hosts[lost].power_off();
        let healthy = until("another host to serve", RETURN_LIMIT, || cluster.leader());
        let host = &mut cluster.hosts[lost];
        let (disk, data) = (host.disk().join("data"), host.etcd_data());
        sh(&format!(
            "rm -rf --one-file-system {0} {1}; mkdir {0}",
            disk.display(),
            data.display()
        ));
        host.boot();
        host.await_engine();
        for block in blocks("Replace a host") {
            for line in &block.lines {
                match (block.place, *line) {
                    ("healthy", line) => cluster.hosts[healthy].type_line(line),
                    ("lost", "./volumes") => cluster.hosts[lost].make_volumes(),
                    ("lost", "docker compose up -d") => {
                        cluster.replace_etcd(lost);
                        cluster.hosts[lost].type_line(line);
                    }
                    ("lost", line) => cluster.hosts[lost].type_line(line),
                    (place, line) => panic!("{line} on {place} has no counterpart here"),
                }
            }
        }
        cluster.settle();
        cluster.await_successors();
    });
    let name = cluster.hosts[lost].name;
    cluster.hosts[lost].await_status(0, &[]);
    figure(&seen, FAILOVER_LIMIT, &format!("{name} is new, and ready"))
}

/// All members come back with what a snapshot holds. The lines about etcd's containers have their counterpart here, too.
fn restore_etcd(cluster: &mut Cluster) -> Figure {
    cluster.await_successors();
    let before = cluster.last_run();
    let (mut snapshot, mut back) = (None, Duration::ZERO);
    let seen = cluster.under_mail(|cluster| {
        for block in blocks("Restore etcd from a snapshot") {
            for line in &block.lines {
                match (block.place, *line) {
                    ("healthy", line) if line.contains("etcdctl snapshot save") => snapshot = Some(cluster.save_etcd()),
                    // The nights after it are told in one move of the service.
                    ("healthy", line) if line.starts_with("docker compose cp etcd:") => {
                        let leader = cluster.await_leader();
                        by_hand::switch_over(cluster, leader);
                        crate::row::await_another(cluster, &cluster.hosts[leader]);
                    }
                    ("all", "docker compose rm -sf etcd") => cluster.hosts.iter_mut().for_each(Host::kill_etcd),
                    ("all", "docker volume rm mail_etcd") => {
                        let data = cluster.hosts.iter().map(|host| host.etcd_data().display().to_string());
                        sh(&format!("rm -rf {}", data.collect::<Vec<_>>().join(" ")));
                    }
                    ("all", line) if line.contains("etcdutl snapshot restore") => {
                        let snapshot = snapshot.as_ref().expect("a snapshot");
                        cluster.hosts.iter().for_each(|host| host.restore_etcd(snapshot));
                    }
                    ("all", "docker compose up -d etcd") => {
                        cluster.hosts.iter_mut().for_each(Host::start_etcd);
                        cluster.await_etcd_leader();
                        await_frozen(&cluster.hosts);
                    }
                    ("any", line) => {
                        cluster.hosts[0].type_line(line);
                        let accepted = now();
                        back = cluster.await_greeting().saturating_sub(accepted);
                    }
                    (place, line) => panic!("{line} on {place} has no counterpart here"),
                }
            }
        }
        cluster.settle();
    });
    cluster.await_successors();
    cluster.hosts[0].await_status(0, &[]);
    let after = cluster.last_run();
    assert!(
        after.epoch > before.epoch,
        "epoch {} after {}",
        after.epoch,
        before.epoch
    );
    Figure::new(
        &seen,
        Some(back),
        TTL * 4,
        &format!("epoch {} to {}", before.epoch, after.epoch),
    )
}

/// What the page lets its reader see before the word is given.
fn await_frozen(hosts: &[Host]) {
    for host in hosts {
        until("the node to know that etcd is another one", RETURN_LIMIT, || {
            let member = host.status().map(|status| status.member);
            (member == Some(MemberState::Frozen) && host.serving().is_empty()).then_some(())
        });
        host.await_status(3, &["frozen"]);
    }
}

/// The active host and another one are lost together, and one etcd member of three is left: nothing starts until somebody who
/// has looked says so.
fn without_third_box(cluster: &mut Cluster) -> Figure {
    cluster.await_successors();
    let before = cluster.last_run();
    let away = [cluster.await_leader(), cluster.standby()];
    let left = 3 - away[0] - away[1];
    let mut back = Duration::ZERO;
    let seen = cluster.under_mail(|cluster| {
        away.iter().for_each(|place| cluster.hosts[*place].power_off());
        let began = now();
        until("the host that is left to start nothing", TTL * 4, || {
            assert_eq!(
                cluster.hosts[left].serving(),
                Vec::<String>::new(),
                "without a majority"
            );
            (now() - began > TTL * 3).then_some(())
        });
        cluster.hosts[left].await_words(&["status"], &["etcd of"]);
        back = start_alone(cluster, left, away);
        assert_eq!(cluster.leader(), Some(left), "somebody else serves");
        // Then the page sends its reader on.
        let snapshot = cluster.save_etcd();
        cluster.restore_all_etcd(&snapshot);
        await_frozen(&cluster.hosts[left..=left]);
        let last = blocks("Restore etcd from a snapshot");
        let last = last.iter().rfind(|block| block.place == "any").expect("the last word");
        cluster.hosts[left].type_block(last);
        cluster.settle();
    });
    cluster.await_successors();
    cluster.hosts[left].await_status(0, &[]);
    let (old, new) = (before.epoch, cluster.last_run().epoch);
    assert!(new > old, "epoch {new} after {old}");
    Figure::new(&seen, Some(back), TTL * 4, &format!("epoch {old} to {new}"))
}

/// What the page says about the host that is left, and the others; how long it took from the word to a greeting.
fn start_alone(cluster: &mut Cluster, left: usize, away: [usize; 2]) -> Duration {
    let mut back = Duration::ZERO;
    let page = blocks("Two hosts without a third box");
    for (place, line) in page
        .iter()
        .flat_map(|block| block.lines.iter().map(|line| (block.place, *line)))
    {
        match (place, line) {
            ("left", "docker compose stop etcd") => cluster.hosts[left].kill_etcd(),
            ("left", line) if line.contains("etcdutl snapshot restore") => cluster.hosts[left].restore_etcd_alone(),
            ("left", "docker compose up -d etcd") => {
                cluster.hosts[left].start_etcd();
                cluster.await_etcd_leader();
                await_frozen(&cluster.hosts[left..=left]);
            }
            ("left", line) => {
                cluster.hosts[left].type_line(line);
                let accepted = now();
                back = cluster.await_greeting().saturating_sub(accepted);
            }
            ("returned", "docker compose rm -sf etcd") => {}
            ("returned", "docker volume rm mail_etcd") => away.iter().for_each(|place| {
                let host = &mut cluster.hosts[*place];
                sh(&format!("rm -rf {}", host.etcd_data().display()));
                host.boot();
                host.kill_etcd();
                host.await_engine();
            }),
            (place, line) => panic!("{line} on {place} has no counterpart here"),
        }
    }
    back
}

/// Longer, and by the same page shorter again: the same container serves all the while.
fn change_ttl(cluster: &mut Cluster) -> Figure {
    cluster.await_successors();
    let before = (cluster.last_run(), TTL.as_millis());
    let mut changes = Vec::new();
    let seen = cluster.under_mail(|cluster| {
        for (name, wanted) in [("TTL=8s", 8000), (&*format!("TTL={}s", TTL.as_secs()), before.1)] {
            let began = now();
            for block in blocks("Change the ttl") {
                for line in &block.lines {
                    let line = line.replace("TTL=8s", name);
                    let many = match block.place {
                        "all" => cluster.hosts.len(),
                        "any" => 1,
                        other => panic!("the page names a place that this test does not know: {other}"),
                    };
                    // Some seconds, says the page.
                    cluster.hosts.iter().take(many).for_each(|host| {
                        until(&format!("{line} on {}", host.name), TTL * 2, || {
                            host.try_line(&line).ok()
                        });
                    });
                }
            }
            changes.push((now() - began).as_millis());
            for host in &cluster.hosts {
                let status = host.status().expect("a status");
                assert_eq!(u128::from(status.ttl_ms), wanted, "{}", host.name);
            }
        }
        let typed = now();
        until("the shorter ttl to be confirmed by all", TTL * 6, || {
            let settled = |host: &Host| host.status().is_some_and(|status| status.longest_ms.is_none());
            (now() - typed > TTL * 2 && cluster.hosts.iter().all(settled)).then_some(())
        });
    });
    assert!(
        cluster.last_run().is(&before.0),
        "another run: {:?}",
        cluster.last_run()
    );
    no_outage(&seen, &format!("5 s, 8 s, 5 s: typed and confirmed in {changes:?} ms"))
}

/// A standby is taken out for good, with its disks, and comes as a host that nobody knows. Its member of etcd stays: the page
/// is about a host without one.
fn add_host(cluster: &mut Cluster) -> Figure {
    cluster.await_successors();
    let new = cluster.standby();
    let name = cluster.hosts[new].name;
    let healthy = cluster.await_leader();
    let run = cluster.last_run();
    let mut ready = Duration::ZERO;
    let seen = cluster.under_mail(|cluster| {
        cluster.hosts[new].power_off();
        let disk = cluster.hosts[new].disk().join("data");
        sh(&format!("rm -rf --one-file-system {0}; mkdir {0}", disk.display()));
        until("it to be forgotten", RETURN_LIMIT, || {
            let removed = cluster.hosts[healthy].leasehold(&["node", "remove", name]);
            removed.status.success().then_some(())
        });
        let known = words(&cluster.hosts[healthy].leasehold(&["node", "list"]));
        assert!(
            !known.lines().any(|line| line.starts_with(&format!("{name} "))),
            "{known}"
        );
        cluster.hosts[new].boot();
        cluster.hosts[new].await_engine();
        for block in blocks("Add a host") {
            for line in &block.lines {
                match (block.place, *line) {
                    ("healthy", line) => cluster.hosts[healthy].type_line(line),
                    ("new", "./volumes") => cluster.hosts[new].make_volumes(),
                    ("new", "docker compose up -d leasehold") => {
                        let began = now();
                        cluster.hosts[new].type_line(line);
                        cluster.settle();
                        cluster.await_successors();
                        ready = now() - began;
                    }
                    ("new", line) => cluster.hosts[new].type_line(line),
                    (place, line) => panic!("{line} on {place} has no counterpart here"),
                }
            }
        }
        let known = words(&cluster.hosts[healthy].leasehold(&["node", "list"]));
        assert!(
            known.lines().any(|line| line.starts_with(&format!("{name} "))),
            "{known}"
        );
    });
    cluster.hosts[new].await_status(0, &[]);
    assert!(cluster.last_run().is(&run), "another run: {:?}", cluster.last_run());
    no_outage(&seen, &format!("{name} is new, and ready after {ready:.1?}"))
}

/// First as a tool does it that knows nothing of Leasehold: the service is back in the middle, and the log says what would have
/// kept it down. Then as the page says: nobody starts it while its storage is read.
fn back_up(cluster: &mut Cluster) -> Figure {
    cluster.await_successors();
    let leader = cluster.await_leader();
    let mut down = Duration::ZERO;
    let seen = cluster.under_mail(|cluster| {
        let host = &cluster.hosts[leader];
        succeed(host, &["stop", &format!("mail-sams-{}", host.name)]);
        cluster.await_greeting();
        host.await_log("`leasehold stop mail`", RETURN_LIMIT);
        cluster.await_successors();
        let began = now();
        for block in blocks("Back up the storage") {
            for line in &block.lines {
                assert_eq!(block.place, "any", "{line}");
                cluster.hosts[0].type_line(line);
                let idle = || cluster.hosts.iter().all(|host| host.serving().is_empty());
                if line.contains("leasehold stop") {
                    until("the engines to know of it", TTL, || idle().then_some(()));
                }
                assert!(
                    line.contains("leasehold start") || idle(),
                    "it runs in the middle: after {line}"
                );
            }
        }
        cluster.await_greeting();
        down = now() - began;
    });
    cluster.settle();
    let listed = sh(&format!(
        "tar -tf {}",
        cluster.hosts[0].disk().join("project/backup.tar").display()
    ));
    for wanted in ["./mail-store/", "./mail-config/sendmail.cf", "./mail-mqueue/"] {
        assert!(listed.contains(wanted), "{wanted} is not in the archive:\n{listed}");
    }
    Figure::new(&seen, Some(down), RETURN_LIMIT, "stopped, copied, started")
}

/// Nothing of it is left on any host but the volumes; and it comes back.
fn uninstall(cluster: &mut Cluster) -> Figure {
    cluster.await_successors();
    let active = cluster.await_leader();
    let mut back = Duration::ZERO;
    let seen = cluster.under_mail(|cluster| {
        for block in blocks("Uninstall") {
            for line in &block.lines {
                let hosts = cluster.hosts.iter().filter(|_| block.place == "all");
                let any = cluster
                    .hosts
                    .iter()
                    .skip(active)
                    .take(usize::from(block.place == "any"));
                hosts.chain(any).for_each(|host| host.type_line(line));
            }
            until("nobody to hold it", RETURN_LIMIT, || {
                cluster.hosts.iter().all(|host| host.serving().is_empty()).then_some(())
            });
        }
        for host in &cluster.hosts {
            let left = words(&host.docker(&["ps", "-a", "--format", "{{.Names}}"]));
            assert_eq!(left, "", "{}: containers are left", host.name);
            assert!(!host.carries(VIP4), "{} carries the address", host.name);
            let volumes = words(&host.docker(&["volume", "ls", "--format", "{{.Name}}"]));
            assert!(STORAGE.iter().all(|name| volumes.contains(name)), "{volumes}");
        }
        cluster.hosts.iter().for_each(Host::start_sidecar);
        let began = now();
        until("the order to be taken", RETURN_LIMIT, || {
            let output = cluster.hosts[0].leasehold(&["start", "mail", "--no-wait"]);
            output.status.success().then_some(())
        });
        back = cluster.await_greeting().saturating_sub(began);
    });
    cluster.settle();
    Figure::new(&seen, Some(back), RETURN_LIMIT, "gone, and back with all mail")
}

/// Where the page says: it speaks of the host that was active when its reader began.
fn typed_on(cluster: &Cluster, block: &Block, active: usize) {
    let standbys = || (0..cluster.hosts.len()).filter(|place| *place != active);
    let wanted: Vec<usize> = match block.place {
        "active" => vec![active],
        "standbys" => standbys().collect(),
        other => panic!("the page names a place that this test does not know: {other}"),
    };
    for place in wanted {
        let host = &cluster.hosts[place];
        host.type_block(block);
        until("the host to take part again", RETURN_LIMIT, || {
            host.is_ready().then_some(())
        });
    }
}

/// Nothing on the page is untried.
#[test]
fn every_runbook_is_carried_out() {
    let titles: Vec<&str> = PAGE.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let lower = |title: &str| format!("runbook: {}", title.to_lowercase());
    let tried = RUNBOOKS.iter().map(|(name, _)| *name).chain(WITHOUT_HOSTS);
    let tried: BTreeSet<String> = tried.map(str::to_owned).collect();
    let written: BTreeSet<String> = titles.iter().map(|title| lower(title)).collect();
    assert_eq!(written, tried);
    titles.iter().for_each(|title| drop(blocks(title)));
}
