//! The claim on the shared storage: who gets it, who keeps it, who loses it.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use leasehold::base::clock;
use leasehold::base::exit::Code;
use leasehold::base::page::{Order, checksum};
use leasehold::base::watched::{self, Watched};
use leasehold::sidecar::adapters::tether::TetherEvent;

use crate::harness::{Container, FORM, Host, Place, Setup, await_that, members, namespace, page};

const KILLED: i32 = Code::Killed.number() as i32;
const REFUSED: i32 = Code::Environment.number() as i32;

/// `a` and `b` are of one file system, `c` is one of its own.
const MOUNTS: &str = "mkdir /run/a /run/b /run/c && mount --bind $OUT/a /run/a && mount --bind $OUT/b /run/b && \
    mount -t tmpfs none /run/c && echo s > /run/c/.leasehold-store &&";

const SERVICE: &str = "echo up > $OUT/up; exec sleep 1000";

/// A claim as people see it; written here a second time, so that a change of the form is noticed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Line {
    pub(crate) cluster: String,
    pub(crate) group: String,
    pub(crate) epoch: u64,
    pub(crate) run: u32,
    pub(crate) node: String,
    pub(crate) boot: String,
    pub(crate) beat: u64,
    pub(crate) state: String,
}

impl Line {
    /// Of another node, with the epoch of the tests' page.
    pub(crate) fn foreign() -> Self {
        Self {
            cluster: "c".to_owned(),
            group: "g".to_owned(),
            epoch: 7,
            run: 1,
            node: "n2".to_owned(),
            boot: "ab".repeat(16),
            beat: 5,
            state: "held:mail".to_owned(),
        }
    }

    pub(crate) fn text(&self) -> String {
        let line = format!(
            "leasehold-claim-1 {} {} {} {} {} {} {} {}",
            self.cluster, self.group, self.epoch, self.run, self.node, self.boot, self.beat, self.state
        );
        let sum = line.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| {
            (sum ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        format!("{:511}\n", format!("{line} {sum:016x}"))
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let [_, cluster, group, epoch, run, node, boot, beat, state, _] = words[..] else {
            return None;
        };
        let line = Self {
            cluster: cluster.to_owned(),
            group: group.to_owned(),
            epoch: epoch.parse().ok()?,
            run: run.parse().ok()?,
            node: node.to_owned(),
            boot: boot.to_owned(),
            beat: beat.parse().ok()?,
            state: state.to_owned(),
        };
        (line.text() == text).then_some(line)
    }
}

/// A place with storage, and a sidecar that lets it start.
pub(crate) struct Scene {
    pub(crate) place: Place,
    pub(crate) host: Host,
}

impl Scene {
    pub(crate) fn new(soft_ms: u64, hard_ms: u64) -> Self {
        let place = Place::new();
        for store in ["out/a", "out/b"] {
            fs::create_dir(place.path(store)).unwrap();
            fs::write(place.path(store).join(".leasehold-store"), "s\n").unwrap();
        }
        let host = Host::open(&place.home(), false);
        host.host.write_page(&page(Order::Open, soft_ms, hard_ms)).unwrap();
        Self { place, host }
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.place.path("out/a/.leasehold-claim")
    }

    /// In place, as a tether writes it.
    pub(crate) fn write(&self, line: &Line) {
        use std::os::unix::fs::FileExt;
        let mut options = fs::OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).open(self.file());
        file.unwrap().write_all_at(line.text().as_bytes(), 0).unwrap();
    }

    pub(crate) fn read(&self) -> Option<Line> {
        Line::parse(&fs::read_to_string(self.file()).ok()?)
    }

    pub(crate) fn start(&self, stores: &[&str], before: &str, init: Option<&str>, script: &str) -> Container {
        let before = format!("{MOUNTS} {before}");
        let setup = Setup {
            before: &before,
            init,
            ..Setup::default()
        };
        let stores: Vec<String> = stores.iter().map(|store| format!("s=/run/{store}")).collect();
        let stores = stores.iter().flat_map(|store| ["--store", store]);
        let args: Vec<&str> = stores.chain(FORM).chain(["sh", "-c", script]).collect();
        self.place.start(&setup, &args)
    }

    /// Admitted and up.
    pub(crate) fn up(&mut self, script: &str) -> (Container, u32) {
        let container = self.start(&["a"], "", None, script);
        let pid = self.host.admit();
        self.place.await_out("up");
        (container, pid)
    }

    /// Refused at the gate, and the sidecar hears nothing of it.
    pub(crate) fn refused(&mut self, before: &str, init: Option<&str>) -> String {
        let line = self.turned_away(before, init);
        self.host.silent(Duration::from_millis(20));
        line
    }

    /// Refused without a hello; the line that says why.
    fn turned_away(&mut self, before: &str, init: Option<&str>) -> String {
        let mut container = self.start(&["a"], before, init, SERVICE);
        let code = container.wait();
        let line = self.place.stderr();
        assert_eq!(code, REFUSED, "{line}");
        assert!(line.contains("/run/a/.leasehold-claim"), "{line}");
        assert_eq!(self.place.out("up"), None);
        line
    }

    /// From the start to the hello.
    fn taken(&mut self) -> Duration {
        self.host.open_again();
        let before = clock::now();
        let mut container = self.start(&["a"], "", None, "exit 3");
        self.host.admit();
        let span = clock::now().since(before);
        self.host.await_gone();
        assert_eq!(container.wait(), 3, "{}", self.place.stderr());
        let line = self.read().unwrap();
        assert_eq!((line.node.as_str(), line.state.as_str()), ("n1", "released"));
        span
    }

    /// As a helper on this host would have seen it, so long ago.
    fn watched(&self, line: &Line, ago: Duration) {
        let seen = Watched {
            path: "/run/a/.leasehold-claim".into(),
            sum: checksum(line.text().as_bytes()),
            since: clock::now().awake() - ago,
        };
        fs::write(self.place.home().join(watched::FILE), seen.line()).unwrap();
    }

    /// What a service that may write there could put in its place.
    pub(crate) fn hang(&self) {
        let fifo = self.place.path("fifo");
        let made = std::process::Command::new("mkfifo").arg(&fifo).status().unwrap();
        assert!(made.success());
        fs::rename(fifo, self.file()).unwrap();
    }
}

#[test]
fn it_is_taken_beaten_and_released() {
    let mut scene = Scene::new(60_000, 60_000);
    let script = "trap 'exit 7' TERM; echo up > $OUT/up; while :; do sleep 0.01; done";
    let (mut container, _) = scene.up(script);
    let first = scene.read().unwrap();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let expected = Line {
        run: 2,
        node: "n1".to_owned(),
        boot: boot.trim().replace('-', ""),
        beat: first.beat,
        ..Line::foreign()
    };
    assert_eq!(first, expected);
    let since = clock::now();
    await_that("five beats", || {
        scene.read().is_some_and(|line| line.beat >= first.beat + 5)
    });
    let span = clock::now().since(since);
    println!("five beats: {span:?}");
    assert!(
        span > Duration::from_millis(790) && span < Duration::from_secs(3),
        "{span:?}"
    );
    scene.host.host.write_page(&page(Order::Stop, 60_000, 60_000)).unwrap();
    scene.host.await_gone();
    assert_eq!(container.wait(), 7);
    assert_eq!(scene.read().unwrap().state, "released");
    let again = scene.taken();
    println!("start to hello, released claim: {again:?}");
}

#[test]
fn a_later_epoch_refuses() {
    for state in ["held:mail", "released"] {
        let mut scene = Scene::new(60_000, 60_000);
        let line = Line {
            epoch: 8,
            state: state.to_owned(),
            ..Line::foreign()
        };
        scene.write(&line);
        let said = scene.turned_away("", None);
        assert!(said.contains("epoch 8 on node n2"), "{said}");
        assert_eq!(scene.read(), Some(line));
        let told = scene.host.event();
        assert!(matches!(told, TetherEvent::ClaimAbove { epoch: 8, .. }), "{told:?}");
    }
}

#[test]
fn a_foreign_beat_that_moves_refuses() {
    for cluster in ["c", "other"] {
        let mut scene = Scene::new(60_000, 60_000);
        let mut line = Line {
            cluster: cluster.to_owned(),
            ..Line::foreign()
        };
        scene.write(&line);
        let mut container = scene.start(&["a"], "", None, SERVICE);
        while container.running() {
            line.beat += 1;
            scene.write(&line);
            std::thread::sleep(Duration::from_millis(200));
        }
        assert_eq!(container.wait(), REFUSED);
        let said = scene.place.stderr();
        assert!(said.contains("writes to it now") && said.contains("node n2"), "{said}");
        assert_eq!(scene.read(), Some(line));
        scene.host.silent(Duration::from_millis(20));
    }
}

#[test]
fn a_foreign_beat_that_stands_still_is_taken_after_two_beats() {
    let mut scene = Scene::new(60_000, 60_000);
    scene.write(&Line::foreign());
    let span = scene.taken();
    println!("start to hello, still foreign claim: {span:?}");
    assert!(
        span > Duration::from_millis(400) && span < Duration::from_secs(3),
        "{span:?}"
    );
    // A boot of this node that is over counts as foreign.
    scene.write(&Line {
        node: "n1".to_owned(),
        ..Line::foreign()
    });
    assert!(scene.taken() > Duration::from_millis(400));
    // The first write was lost in a power cut.
    fs::write(scene.file(), "").unwrap();
    assert!(scene.taken() > Duration::from_millis(400));
}

#[test]
fn a_foreign_beat_that_was_watched_during_the_wait_is_not_watched_again() {
    let mut scene = Scene::new(60_000, 60_000);
    let second = Duration::from_secs(1);
    let mut span = |seen: &Line, ago: Duration| {
        scene.write(&Line::foreign());
        scene.watched(seen, ago);
        scene.taken()
    };
    let still = span(&Line::foreign(), second);
    let moved = span(
        &Line {
            beat: Line::foreign().beat + 1,
            ..Line::foreign()
        },
        second,
    );
    let long_ago = span(&Line::foreign(), second * 31);
    let just_now = span(&Line::foreign(), Duration::ZERO);
    println!("start to hello, watched before: {still:?}; not: {moved:?}, {long_ago:?}, {just_now:?}");
    for other in [moved, long_ago, just_now] {
        assert!(still + Duration::from_millis(200) < other, "{still:?} {other:?}");
    }
}

#[test]
fn a_foreign_beat_that_moves_after_it_was_watched_refuses() {
    let scene = Scene::new(60_000, 60_000);
    let mut line = Line::foreign();
    scene.watched(&line, Duration::from_secs(1));
    line.beat += 1;
    scene.write(&line);
    let mut container = scene.start(&["a"], "", None, SERVICE);
    while container.running() {
        line.beat += 1;
        scene.write(&line);
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(container.wait(), REFUSED);
    assert_eq!(scene.read(), Some(line));
}

#[test]
fn what_an_own_tether_left_is_taken_at_once() {
    let mut scene = Scene::new(60_000, 60_000);
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    scene.write(&Line {
        node: "n1".to_owned(),
        boot: boot.trim().replace('-', ""),
        epoch: 6,
        ..Line::foreign()
    });
    let span = scene.taken();
    assert!(span < Duration::from_millis(400), "{span:?}");
}

#[test]
fn another_cluster_or_group_must_have_released() {
    for (cluster, group) in [("other", "g"), ("c", "other")] {
        let mut scene = Scene::new(60_000, 60_000);
        let line = Line {
            cluster: cluster.to_owned(),
            group: group.to_owned(),
            epoch: 100,
            ..Line::foreign()
        };
        scene.write(&line);
        let said = scene.refused("", None);
        assert!(said.contains(&format!("group {group} of cluster {cluster}")), "{said}");
        scene.write(&Line {
            state: "released".to_owned(),
            ..line
        });
        scene.taken();
    }
    let mut scene = Scene::new(60_000, 60_000);
    fs::write(scene.file(), "something else\n").unwrap();
    assert!(scene.refused("", None).contains("damaged"));
}

#[test]
fn a_foreign_claim_written_while_it_runs_kills() {
    let mut times = Vec::new();
    let change: [fn(&mut Line); 5] = [
        |line| line.epoch = 8,
        |line| line.epoch = 6,
        |line| line.run = 3,
        |line| line.cluster = "other".to_owned(),
        |line| line.state = "released".to_owned(),
    ];
    for (phase, change) in (0..).zip(change) {
        let mut scene = Scene::new(60_000, 60_000);
        let script = "trap '' TERM; (setsid sleep 1000 &); echo up > $OUT/up; while :; do sleep 0.2; done";
        let (mut container, pid) = scene.up(script);
        let namespace = namespace(pid);
        let mut line = Line::foreign();
        change(&mut line);
        // Spread over the time between two beats.
        std::thread::sleep(Duration::from_millis(40 * phase));
        scene.write(&line);
        let since = clock::now();
        scene.host.await_gone();
        times.push(clock::now().since(since));
        assert_eq!(members(namespace), Vec::<u32>::new());
        assert_eq!(container.wait(), KILLED);
        assert_eq!(scene.read(), Some(line), "a lost claim is not written over");
    }
    times.sort();
    println!(
        "foreign claim to proof of stop, 5 runs: median {:?}, worst {:?}",
        times[2], times[4]
    );
    assert!(times[2] < Duration::from_millis(400), "{times:?}");
}

/// The main process ends at once and leaves many that have to be killed.
#[test]
fn it_is_released_only_when_all_are_dead() {
    let mut scene = Scene::new(60_000, 60_000);
    let script = "for i in $(seq 60); do (setsid sh -c 'trap \"\" TERM; while :; do sleep 0.3; done' &) & done; wait; \
        echo up > $OUT/up; while ! [ -e $OUT/end ]; do sleep 0.05; done";
    let (mut container, pid) = scene.up(script);
    let namespace = namespace(pid);
    assert!(members(namespace).len() > 60);
    fs::write(scene.place.path("out/end"), "").unwrap();
    await_that("the release", || {
        scene.read().is_some_and(|line| line.state == "released")
    });
    let left: Vec<u32> = members(namespace).into_iter().filter(|other| *other != pid).collect();
    assert_eq!(left, Vec::<u32>::new());
    scene.host.await_gone();
    assert_eq!(container.wait(), 0);
}

#[test]
fn a_kill_at_the_end_of_the_lease_leaves_it_held() {
    let mut scene = Scene::new(60_000, 60_000);
    let (mut container, _) = scene.up(SERVICE);
    scene.host.host.write_page(&page(Order::Kill, 0, 60_000)).unwrap();
    scene.host.await_gone();
    assert_eq!(container.wait(), KILLED);
    assert_eq!(scene.read().unwrap().state, "held:mail");
}

#[test]
fn a_start_that_fails_after_the_taking_releases_it() {
    let scene = Scene::new(60_000, 60_000);
    let thaw = scene.host.freeze();
    let mut container = scene.start(&["a"], "", None, SERVICE);
    assert_eq!(container.wait(), i32::from(Code::NotAdmitted.number()));
    assert_eq!(scene.read().unwrap().state, "released");
    drop(thaw);
}

/// A FIFO that nobody writes to: who opened it as a file would hang.
#[test]
fn what_is_no_claim_any_more_holds_up_neither_deadline_nor_end() {
    let mut scene = Scene::new(1500, 1800);
    let (mut container, _) = scene.up("trap '' TERM; echo up > $OUT/up; while :; do sleep 0.05; done");
    scene.hang();
    std::thread::sleep(Duration::from_millis(300));
    // Written now, so that the instant is known.
    let open = page(Order::Open, 300, 500);
    scene.host.host.write_page(&open).unwrap();
    scene.host.await_gone();
    let late = clock::now().boot.saturating_sub(open.hard.boot);
    println!("deadline to proof of stop, a FIFO as claim: {late:?}");
    assert!(late < Duration::from_millis(300), "{late:?}");
    assert_eq!(container.wait(), KILLED);

    let mut scene = Scene::new(60_000, 60_000);
    let (mut container, _) = scene.up("trap 'exit 7' TERM; echo up > $OUT/up; while :; do sleep 0.01; done");
    scene.hang();
    std::thread::sleep(Duration::from_millis(300));
    scene.host.host.write_page(&page(Order::Stop, 60_000, 60_000)).unwrap();
    let since = clock::now();
    scene.host.await_gone();
    assert!(clock::now().since(since) < Duration::from_secs(3));
    assert_eq!(container.wait(), 7);
}

#[test]
fn storage_that_cannot_be_written_is_refused_with_its_path() {
    let mut scene = Scene::new(60_000, 60_000);
    let said = scene.refused("mount -o remount,bind,ro /run/a &&", None);
    assert!(said.contains("Read-only file system"), "{said}");
    let user =
        Some("setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all --bounding-set=-all \"$TETHER\"");
    let said = scene.refused("", user);
    assert!(said.contains("`chown 65534`"), "{said}");
    // The remedy that it names.
    fs::write(scene.file(), "").unwrap();
    std::os::unix::fs::chown(scene.file(), Some(65534), None).unwrap();
    let mut container = scene.start(&["a"], "", user, "exit 3");
    scene.host.admit();
    assert_eq!(container.wait(), 3, "{}", scene.place.stderr());
    assert_eq!(scene.read().unwrap().state, "released");
}

/// Which of two mounts carries it does not depend on their order, which may differ between hosts.
#[test]
fn each_file_system_has_one() {
    let mut scene = Scene::new(60_000, 60_000);
    let script = "cd /run; echo $(ls -d [abc]/.leasehold-claim) > $OUT/found";
    let mut found = Vec::new();
    for stores in [["a", "b", "c"], ["c", "b", "a"]] {
        scene.host.open_again();
        let mut container = scene.start(&stores, "", None, script);
        scene.host.admit();
        assert_eq!(container.wait(), 0, "{}", scene.place.stderr());
        scene.host.await_gone();
        found.push(scene.place.out("found").unwrap());
    }
    assert_eq!(found[0].split_whitespace().count(), 2, "{found:?}");
    assert!(
        found[0].ends_with(" c/.leasehold-claim\n") && found[0] == found[1],
        "{found:?}"
    );
}
