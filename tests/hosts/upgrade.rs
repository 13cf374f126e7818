//! Two versions beside each other: an upgrade host by host from the commit [`BEFORE`], with `hold` and without, and every
//! pair of an old and a new part that it makes: standby and holder, tether and sidecar, both ways round.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cluster::{Cluster, NAMES};
use crate::host::{Host, SIDECAR, tag};
use crate::parts::Part;
use crate::row::Figure;
use crate::scenarios::{
    Body, HAND_OVER_LIMIT, RETURN_LIMIT, TTL, figure, host_killed, no_outage, sidecar_frozen, succeed,
};
use crate::shell::{now, sh, try_sh, until, within, words};

pub(crate) const UPGRADES: [(&str, Body); 3] = [
    ("upgraded from 84eb5cc with hold", with_hold),
    ("upgraded from 84eb5cc without hold", without_hold),
    ("one host back to 84eb5cc, with hold", back_with_hold),
];

pub(crate) const LONG_UPGRADES: [(&str, Body); 5] = [
    ("84eb5cc serves, host killed", before_killed),
    ("84eb5cc stands by, host killed", current_killed),
    ("84eb5cc tether, sidecar of now frozen", tether_of_before),
    ("84eb5cc sidecar frozen, tether of now", tether_of_now),
    ("switchover and orders across 84eb5cc", orders),
];

/// The program that is upgraded; what it is and how it was made stands in `before/README.md`.
pub(crate) const BEFORE: &str = "84eb5cc";
const PACKED: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/hosts/before/leasehold-84eb5cc-x86_64.xz"
);
const SUM: &str = "35da3162a44fa398bc3dd41990e49d470c32b3820a94dc42c130b37f16045e3b";
const HOLD: &str = "60s";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    Before,
    Current,
}

/// How a sidecar is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Under `leasehold hold`.
    Hold,
    Plain,
}

/// The images of both; each host's `.env` is as it was once this is dropped.
pub(crate) struct Versions {
    program: PathBuf,
    before: String,
    current: String,
    kept: Vec<(PathBuf, String)>,
}

impl Versions {
    /// Puts the image of before on every host that lacks it.
    pub(crate) fn new(cluster: &Cluster) -> Self {
        let settings = |host: &Host| host.disk().join("project/.env");
        let keep = |host: &Host| (settings(host), fs::read_to_string(settings(host)).expect(".env"));
        let versions = Self {
            program: cluster.lab.disk().join("leasehold-before"),
            before: format!("leasehold/leasehold:{BEFORE}"),
            current: cluster.hosts[0].image("leasehold"),
            kept: cluster.hosts.iter().map(keep).collect(),
        };
        let archive = cluster.lab.disk().join("leasehold-before.tar");
        if !archive.exists() {
            versions.pack(&archive);
        }
        for host in &cluster.hosts {
            if !host.docker(&["image", "inspect", &versions.before]).status.success() {
                succeed(host, &["load", "-q", "-i", &archive.display().to_string()]);
            }
        }
        versions
    }

    /// The image of now with the program of before in it.
    fn pack(&self, archive: &Path) {
        assert_eq!(std::env::consts::ARCH, "x86_64", "see tests/hosts/before/README.md");
        let (program, before) = (self.program.display(), &self.before);
        sh(&format!(
            "xz -dc {PACKED} > {program} && chmod 755 {program} && echo '{SUM}  {program}' | sha256sum -c --quiet"
        ));
        sh(&format!(
            "made=$(docker create leasehold/leasehold:{}) && trap \"docker rm $made\" EXIT && \
             docker cp -q {program} $made:/usr/bin/leasehold && \
             docker commit --change 'LABEL test={BEFORE}' $made {before} && \
             docker save -o {} {before} && docker rmi {before}",
            tag(),
            archive.display()
        ));
    }

    fn image(&self, version: Version) -> &str {
        match version {
            Version::Before => &self.before,
            Version::Current => &self.current,
        }
    }

    /// What the host's sidecar is, by the engine's word.
    fn of(&self, host: &Host) -> Version {
        let image = host.inspect(SIDECAR, "{{.Config.Image}}");
        [Version::Before, Version::Current]
            .into_iter()
            .find(|version| self.image(*version) == image)
            .unwrap_or_else(|| panic!("{} runs {image}", host.name))
    }

    /// What the tether of the host's container is, by the kernel's word.
    fn of_tether(&self, host: &Host) -> Version {
        let pid = host.pid(Part::Tether);
        let compared = sh(&format!(
            "cmp -s /proc/{pid}/exe {} && echo same || true",
            self.program.display()
        ));
        match compared.trim() {
            "same" => Version::Before,
            _ => Version::Current,
        }
    }

    /// The image in the host's `.env`.
    fn write(&self, host: &Host, version: Version) {
        let file = host.disk().join("project/.env");
        let text = fs::read_to_string(&file).expect(".env");
        let lines = text.lines().map(|line| match line.starts_with("LEASEHOLD_IMAGE=") {
            true => format!("LEASEHOLD_IMAGE={}\n", self.image(version)),
            false => format!("{line}\n"),
        });
        fs::write(&file, lines.collect::<String>()).expect(".env");
    }

    /// Replaces a host's sidecar, as the runbook does, and waits until all is well.
    fn install(&self, cluster: &Cluster, place: usize, version: Version, way: Way) {
        let host = &cluster.hosts[place];
        if way == Way::Hold {
            host.does(&["hold", HOLD]);
        }
        self.write(host, version);
        host.start_sidecar();
        assert_eq!(self.of(host), version, "the sidecar was not replaced");
        cluster.settle();
        cluster.await_successors();
    }

    /// Sidecars of these versions, of which one serves with a tether of its own.
    fn mix(&self, cluster: &Cluster, wanted: [Version; 3], holder: usize) {
        cluster.settle();
        for (place, version) in wanted.into_iter().enumerate() {
            if self.of(&cluster.hosts[place]) != version {
                self.install(cluster, place, version, Way::Plain);
            }
        }
        cluster.await_successors();
        move_to(cluster, holder);
        assert_eq!(self.of_tether(&cluster.hosts[holder]), wanted[holder], "the tether");
    }

    /// All is of now again, for those that come next.
    fn end(self, cluster: &Cluster) {
        let leader = cluster.await_leader();
        let standbys = (0..NAMES.len()).filter(|place| *place != leader);
        for place in standbys.chain([leader]) {
            if self.of(&cluster.hosts[place]) == Version::Before {
                self.install(cluster, place, Version::Current, Way::Plain);
            }
        }
    }
}

impl Drop for Versions {
    fn drop(&mut self) {
        for (file, text) in &self.kept {
            // A row that has failed is healed with what stands there.
            let _ = fs::write(file, text);
        }
    }
}

/// A switchover, if another host serves, asked on a third one where that is possible.
fn move_to(cluster: &Cluster, wanted: usize) {
    let leader = cluster.await_leader();
    if leader == wanted {
        return;
    }
    cluster.hosts[3 - leader - wanted].does(&["switchover", "mail", "--to", NAMES[wanted]]);
    until("the wanted host to serve", RETURN_LIMIT, || {
        (cluster.leader() == Some(wanted)).then_some(())
    });
    cluster.settle();
    cluster.await_successors();
}

/// The cluster as somebody has it who began with this version: nothing else has written what is in etcd, on the hosts and
/// beside the mail.
pub(crate) fn begin(cluster: &mut Cluster, versions: &Versions, version: Version) {
    if cluster.leader().is_some() {
        cluster.hosts[0].does(&["stop", "mail", "--why", "another version begins"]);
        until("the service to be stopped", RETURN_LIMIT, || {
            cluster.hosts.iter().all(|host| host.serving().is_empty()).then_some(())
        });
    }
    for host in &cluster.hosts {
        let container = format!("mail-sams-{}", host.name);
        // What is not there need not be removed.
        host.docker(&["rm", "-f", SIDECAR]);
        host.docker(&["rm", "-f", &container]);
        host.docker(&["volume", "rm", "leasehold-bin", "mail_leasehold-state"]);
        try_sh(&format!("rm -rf {}/*", host.run().join("leasehold").display()));
    }
    cluster.hosts[0].etcdctl(&["del", "--prefix", "/leasehold/"]);
    let storage = cluster.lab.storage.place().display().to_string();
    sh(&format!("find {storage} -maxdepth 2 -name '.leasehold-*' -delete"));
    cluster.begin_ledger();
    for host in &cluster.hosts {
        versions.write(host, version);
        host.start_sidecar();
    }
    let mut said = String::new();
    let done = within(RETURN_LIMIT, || {
        let output = cluster.hosts[0].leasehold(&["init", "mail", "--adopt"]);
        said = words(&output);
        output.status.success().then_some(())
    });
    assert!(done.is_some(), "leasehold init: {said}");
    cluster.settle();
    cluster.await_successors();
    cluster.await_greeting();
}

/// Standbys first, then the host that serves: its container stays, and its tether obeys the sidecar of now.
fn with_hold(cluster: &mut Cluster) -> Figure {
    let versions = Versions::new(cluster);
    begin(cluster, &versions, Version::Before);
    let active = cluster.await_leader();
    let before = (cluster.hosts[active].serving(), cluster.last_run());
    let seen = cluster.under_mail(|cluster| {
        for place in (0..NAMES.len()).filter(|place| *place != active) {
            versions.install(cluster, place, Version::Current, Way::Plain);
        }
        assert_only_versions_differ(cluster);
        versions.install(cluster, active, Version::Current, Way::Hold);
        await_ordinary_beats();
    });
    assert_same(cluster, active, before);
    assert_eq!(versions.of_tether(&cluster.hosts[active]), Version::Before);
    assert_normal(cluster);
    let kept = no_outage(&seen, &format!("same container on {}", NAMES[active]));
    let seen = cluster.under_mail(|cluster| move_to(cluster, (active + 1) % NAMES.len()));
    let moved = figure(&seen, HAND_OVER_LIMIT, "moved");
    let host = &cluster.hosts[cluster.await_leader()];
    assert_eq!(versions.of_tether(host), Version::Current);
    assert_history(host, NAMES[active]);
    versions.end(cluster);
    let note = format!("{}, then moved in {:.1} s", kept.note, moved.outage.as_secs_f64());
    Figure { note, ..kept }
}

/// Host by host, the one that serves in the middle: it hands over in order.
fn without_hold(cluster: &mut Cluster) -> Figure {
    let versions = Versions::new(cluster);
    begin(cluster, &versions, Version::Before);
    let active = cluster.await_leader();
    let before = cluster.last_run();
    let seen = cluster.under_mail(|cluster| {
        for place in [(active + 1) % 3, active, (active + 2) % 3] {
            versions.install(cluster, place, Version::Current, Way::Plain);
        }
    });
    let after = cluster.last_run();
    assert!(after.epoch > before.epoch, "{after:?} after {before:?}");
    versions.end(cluster);
    figure(&seen, HAND_OVER_LIMIT, &format!("run {} to {}", before.run, after.run))
}

/// The way back, as the runbook has it for a sidecar that does not do: a sidecar of before over a tether of now.
fn back_with_hold(cluster: &mut Cluster) -> Figure {
    let versions = Versions::new(cluster);
    let active = cluster.await_leader();
    versions.mix(cluster, [Version::Current; 3], active);
    let before = (cluster.hosts[active].serving(), cluster.last_run());
    let seen = cluster.under_mail(|cluster| {
        versions.install(cluster, active, Version::Before, Way::Hold);
        await_ordinary_beats();
        versions.install(cluster, active, Version::Current, Way::Hold);
        await_ordinary_beats();
    });
    assert_same(cluster, active, before);
    assert_eq!(versions.of_tether(&cluster.hosts[active]), Version::Current);
    versions.end(cluster);
    no_outage(&seen, &format!("same container on {}, there and back", NAMES[active]))
}

/// A new standby takes over from an old holder that nobody hears any more.
fn before_killed(cluster: &mut Cluster) -> Figure {
    let versions = Versions::new(cluster);
    let (before, now) = (Version::Before, Version::Current);
    versions.mix(cluster, [before, now, now], 0);
    let figure = host_killed(cluster);
    versions.end(cluster);
    figure
}

/// An old standby takes over from a new holder that nobody hears any more.
fn current_killed(cluster: &mut Cluster) -> Figure {
    let versions = Versions::new(cluster);
    let (before, now) = (Version::Before, Version::Current);
    versions.mix(cluster, [now, before, before], 0);
    let figure = host_killed(cluster);
    versions.end(cluster);
    figure
}

/// The sidecar that was upgraded under a hold stands still: its old tether ends the service in time, for old standbys.
fn tether_of_before(cluster: &mut Cluster) -> Figure {
    adopted_and_frozen(cluster, Version::Before, Version::Current)
}

fn tether_of_now(cluster: &mut Cluster) -> Figure {
    adopted_and_frozen(cluster, Version::Current, Version::Before)
}

/// All hosts are of `first`, the sidecar that serves becomes one of `then` and is frozen.
fn adopted_and_frozen(cluster: &mut Cluster, first: Version, then: Version) -> Figure {
    let versions = Versions::new(cluster);
    versions.mix(cluster, [first; 3], 0);
    let before = (cluster.hosts[0].serving(), cluster.last_run());
    versions.install(cluster, 0, then, Way::Hold);
    await_ordinary_beats();
    assert_same(cluster, 0, before);
    assert_eq!(versions.of_tether(&cluster.hosts[0]), first);
    let figure = sidecar_frozen(cluster);
    versions.end(cluster);
    figure
}

/// What an operator asks of one version is done and told by the other.
fn orders(cluster: &mut Cluster) -> Figure {
    let versions = Versions::new(cluster);
    let (before, now) = (Version::Before, Version::Current);
    versions.mix(cluster, [now, before, now], 0);
    let first = cluster.last_run().epoch;
    let seen = cluster.under_mail(|cluster| {
        let old = &cluster.hosts[1];
        let new = &cluster.hosts[2];
        old.does(&["pause", "mail", "--for", "1m", "--why", "asked of before"]);
        new.await_words(&["status"], &["asked of before"]);
        new.does(&["resume", "mail"]);
        new.does(&["drain", "h3", "--why", "asked of now"]);
        old.await_words(&["status"], &["asked of now"]);
        // h3 is drained: no choice but the old one, and no choice but the new one back.
        new.does(&["switchover", "mail", "--why", "one left"]);
        until("h2 to serve", RETURN_LIMIT, || {
            (cluster.leader() == Some(1)).then_some(())
        });
        cluster.await_greeting();
        old.does(&["undrain", "h3"]);
        cluster.await_successors();
        new.does(&["group", "unextend", "mail", "h1"]);
        old.await_words(&["group", "list"], &["h1"]);
        old.does(&["drain", "h2", "--why", "moves away"]);
        until("h3 to serve", RETURN_LIMIT, || {
            (cluster.leader() == Some(2)).then_some(())
        });
        cluster.await_greeting();
        new.does(&["undrain", "h2"]);
        new.does(&["group", "extend", "mail", "h1"]);
        cluster.await_successors();
    });
    assert_eq!(cluster.last_run().epoch, first + 2);
    for host in &cluster.hosts {
        host.await_words(
            &["history", "mail"],
            &["asked of before", "asked of now", "one left", "moves away"],
        );
    }
    versions.end(cluster);
    figure(&seen, HAND_OVER_LIMIT, "to 84eb5cc and on")
}

/// The promise of a hold's last beat has run out, and nothing ended with it.
fn await_ordinary_beats() {
    let began = now();
    until(
        "the promise of the hold's last beat to be an ordinary one",
        TTL * 4,
        || (now() - began > TTL * 2).then_some(()),
    );
}

/// What the version of before wrote of its epoch is told with what the one of now added.
fn assert_history(host: &Host, first: &str) {
    let told = host.leasehold(&["history", "mail", "--json"]);
    let told: serde_json::Value = serde_json::from_slice(&told.stdout).expect("the history");
    let epochs = &told["epochs"];
    assert_eq!(epochs[0]["epoch"], 1, "{told}");
    assert_eq!(epochs[0]["begun"]["to"], first, "{told}");
    assert_eq!(epochs[0]["left"]["node"], first, "{told}");
    assert!(
        epochs[0]["total_ms"].is_u64() && epochs[1]["total_ms"].is_u64(),
        "{told}"
    );
}

/// No host finds anything amiss with what a host of the other version wrote, but that it is another version.
fn assert_only_versions_differ(cluster: &Cluster) {
    for host in &cluster.hosts {
        until("nothing to be amiss but two versions", RETURN_LIMIT, || {
            let told = host.leasehold(&["status", "--json"]);
            let told: serde_json::Value = serde_json::from_slice(&told.stdout).ok()?;
            let sentences = told["overall"]["sentences"].as_array()?;
            let versions = "the sidecars are of different versions";
            let alone = sentences.len() == 1 && sentences[0].as_str()?.starts_with(versions);
            (alone && told["overall"]["health"] == "warning").then_some(())
        });
    }
}

fn assert_normal(cluster: &Cluster) {
    for host in &cluster.hosts {
        host.await_status(0, &[]);
    }
}

fn assert_same(cluster: &Cluster, active: usize, before: (Vec<String>, crate::ledger::Run)) {
    let after = (cluster.hosts[active].serving(), cluster.last_run());
    assert_eq!(before.0, after.0, "another container");
    assert!(before.1.is(&after.1), "another run: {:?}, then {:?}", before.1, after.1);
}
