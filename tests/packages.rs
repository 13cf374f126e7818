//! What `docker/build release` makes: the same bytes each time, and a `.deb` that Debian 12 and Debian 13 install, upgrade,
//! remove and purge.
//!
//! Needs root, the packages in `LEASEHOLD_PACKAGES` with the programs that they were made of in `LEASEHOLD_BINARY`, lintian, and the
//! trees of `docker/requirements bookworm DIR` and `platform DIR` in `LEASEHOLD_BOOKWORM_DIR` and `LEASEHOLD_PLATFORM_DIR`. The
//! trees are only read.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "packages/chroot.rs"]
mod chroot;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use chroot::{Chroot, Host};

const TOP: &str = env!("CARGO_MANIFEST_DIR");
const CONFFILE: &str = "/etc/default/leasehold";
const PACKAGED_UNIT: &str = "/usr/lib/systemd/system/leasehold.service";
/// What the administrator of the tried host has, and what is in it.
const OWN: [(&str, &str); 4] = [
    ("/srv/mail/compose.yaml", "services: {}\n"),
    ("/var/lib/leasehold/cluster", "trusted\n"),
    ("/var/lib/leasehold/bin/tether", "in use\n"),
    (
        "/etc/systemd/system/leasehold.service.d/own.conf",
        "[Service]\nNice=-1\n",
    ),
];
/// Where dpkg, man and the linker keep what they know themselves.
const OF_THE_SYSTEM: [&str; 4] = ["/var/lib/dpkg/", "/var/log/", "/var/cache/", "/root/"];

/// A directory or file that the environment names.
fn named(variable: &str, remedy: &str) -> PathBuf {
    let place = std::env::var_os(variable).unwrap_or_else(|| panic!("{variable} is not set: {remedy}"));
    let place = PathBuf::from(place);
    assert!(place.exists(), "no {}: {remedy}", place.display());
    place
}

fn packages() -> PathBuf {
    named("LEASEHOLD_PACKAGES", "`docker/build release DIR`, and name DIR")
}

/// The program that was packed; the tether lies beside it.
fn program() -> PathBuf {
    named("LEASEHOLD_BINARY", "build the program, and name it")
}

fn words(output: &Output) -> String {
    let both = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    both.concat()
}

/// Runs it; what it said.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", words(&output));
    words(&output)
}

/// The one file in a directory whose name ends so.
fn one(directory: &Path, ending: &str) -> PathBuf {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> = entries
        .filter(|path| path.to_string_lossy().ends_with(ending))
        .collect();
    assert_eq!(found.len(), 1, "{ending} in {}: {found:?}", directory.display());
    found.remove(0)
}

fn version() -> String {
    let text = fs::read_to_string(Path::new(TOP).join("Cargo.toml")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("version = \"")).unwrap();
    line.trim_end_matches('"').to_owned()
}

/// An empty directory beside the build.
fn scratch(name: &str) -> PathBuf {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("packages-{name}"));
    // Left by a run that was killed.
    if place.exists() {
        fs::remove_dir_all(&place).unwrap();
    }
    fs::create_dir_all(&place).unwrap();
    place
}

/// The files in a directory, and what is in them.
fn contents(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(directory).unwrap().map(Result::unwrap);
    let pairs = entries.map(|entry| {
        (
            entry.file_name().into_string().unwrap(),
            fs::read(entry.path()).unwrap(),
        )
    });
    pairs.collect()
}

/// Made by somebody else, at another place, in another zone.
#[test]
fn the_same_programs_give_the_same_bytes() {
    let (made, again) = (packages(), scratch("again"));
    let mut release = Command::new("bash");
    release
        .args(["-c", "umask 077 && exec docker/build release \"$1\"", "release"])
        .arg(&again);
    release
        .env("TZ", "Pacific/Auckland")
        .env("LC_ALL", "C.UTF-8")
        .current_dir(TOP);
    run(&mut release);
    let (first, second) = (contents(&made), contents(&again));
    assert_eq!(first.keys().collect::<Vec<_>>(), second.keys().collect::<Vec<_>>());
    assert!(first.len() == 4, "{:?}", first.keys());
    for (name, bytes) in &first {
        assert!(*bytes == second[name], "{name} differs");
    }
    let sums = Command::new("sha256sum")
        .args(["-c", "--strict", "SHA256SUMS"])
        .current_dir(&made)
        .output();
    let sums = words(&sums.unwrap());
    assert_eq!(sums.matches(": OK").count(), 3, "{sums}");
    fs::remove_dir_all(again).unwrap();
}

#[test]
fn the_archive_has_the_programs_and_what_belongs_to_them() {
    let place = scratch("archive");
    run(Command::new("tar")
        .arg("-xzf")
        .arg(one(&packages(), ".tar.gz"))
        .arg("-C")
        .arg(&place));
    let top = one(&place, "");
    for name in ["leasehold", "leasehold-tether"] {
        let packed = fs::read(top.join(name)).unwrap();
        assert!(
            packed == fs::read(program().with_file_name(name)).unwrap(),
            "{name} is another one"
        );
    }
    let said = run(Command::new(top.join("leasehold")).arg("--version"));
    assert_eq!(said.trim(), format!("leasehold {}", version()));
    for name in [
        "LICENSE",
        "CHANGELOG.md",
        "man/leasehold.1",
        "man/leasehold-switchover.1",
        "completions/leasehold.bash",
        "completions/_leasehold",
        "completions/leasehold.fish",
        "node/leasehold.service",
        "node/.env.example",
        "witness/compose.yaml",
    ] {
        let mode = fs::metadata(top.join(name))
            .unwrap_or_else(|why| panic!("{name}: {why}"))
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o644, "{name}");
    }
    let unit = fs::read_to_string(top.join("node/leasehold.service")).unwrap();
    assert_eq!(
        unit,
        fs::read_to_string(Path::new(TOP).join("compose/node/leasehold.service")).unwrap()
    );
    fs::remove_dir_all(place).unwrap();
}

/// Lines of a unit that say something to systemd.
fn directives(unit: &str) -> Vec<&str> {
    unit.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect()
}

/// `tests/platform` runs the unit of `compose/node`: the package's differs where it must.
#[test]
fn the_unit_of_the_package_is_that_of_compose_node() {
    let place = scratch("unit");
    run(Command::new("dpkg-deb")
        .arg("-x")
        .arg(one(&packages(), ".deb"))
        .arg(&place));
    let packaged = fs::read_to_string(place.join(&PACKAGED_UNIT[1..])).unwrap();
    let node = fs::read_to_string(Path::new(TOP).join("compose/node/leasehold.service")).unwrap();
    let expected = node
        .replace(
            "EnvironmentFile=/srv/mail/.env",
            "EnvironmentFile=-/srv/mail/.env\nEnvironmentFile=/etc/default/leasehold",
        )
        .replace("/usr/local/bin/", "/usr/bin/")
        .replace("--file /srv/mail/compose.yaml --project-name mail", "$LEASEHOLD_FILES");
    assert!(expected.contains("run $LEASEHOLD_FILES \\\n"), "{expected}");
    assert_eq!(directives(&packaged), directives(&expected));
    fs::remove_dir_all(place).unwrap();
}

#[test]
fn lintian_finds_no_error() {
    let mut lintian = Command::new("lintian");
    lintian.args(["--allow-root", "--fail-on", "error", "--tag-display-limit", "0"]);
    let output = lintian.arg(one(&packages(), ".deb")).output();
    let output = output.expect("lintian is missing: docker/requirements bookworm DIR installs it");
    assert!(output.status.success(), "{}", words(&output));
}

#[test]
fn debian_12_installs_upgrades_and_purges_it() {
    let tree = named(
        "LEASEHOLD_BOOKWORM_DIR",
        "`docker/requirements bookworm DIR`, and name DIR",
    );
    life("bookworm", &tree.join("root"));
}

#[test]
fn debian_13_installs_upgrades_and_purges_it() {
    let tree = named(
        "LEASEHOLD_PLATFORM_DIR",
        "`docker/requirements platform DIR`, and name DIR",
    );
    life("trixie", &tree.join("root"));
}

/// From the first installation to the purge.
fn life(suite: &str, tree: &Path) {
    let disk = scratch(suite);
    let host = Chroot::new(tree, &disk);
    let deb = one(&packages(), ".deb");
    host.bring(&deb, "leasehold.deb");
    next(&deb, &disk);
    host.bring(&disk.join("next.deb"), "next.deb");
    assert!(
        host.run(Host::Still, "cat /etc/os-release").contains(suite),
        "{} is no {suite}",
        tree.display()
    );

    host.run(Host::Still, "dpkg -i /mnt/leasehold.deb");
    is_installed(&host);
    host.run(Host::Still, "systemctl enable leasehold");
    for (file, text) in OWN {
        host.run(
            Host::Still,
            &format!("mkdir -p $(dirname {file}) && printf '{text}' > {file}"),
        );
    }
    host.run(Host::Still, &format!("echo NODE=edited >> {CONFFILE}"));
    upgrades(&host);
    is_removed(&host);
    is_purged(&host, suite);
    drop(host);
    fs::remove_dir_all(disk).unwrap();
}

/// The same package with a later version and another conffile, as a later release would bring it.
fn next(deb: &Path, disk: &Path) {
    let (root, packed) = (disk.join("next"), disk.join("next.deb"));
    run(Command::new("dpkg-deb").arg("-R").arg(deb).arg(&root));
    let (control, conffile) = (root.join("DEBIAN/control"), root.join(&CONFFILE[1..]));
    let text = fs::read_to_string(&control).unwrap();
    fs::write(control, text.replacen("\nVersion: ", "\nVersion: 9:", 1)).unwrap();
    let text = fs::read_to_string(&conffile).unwrap();
    fs::write(conffile, text + "# of the next release\n").unwrap();
    run(Command::new("dpkg-deb")
        .args(["-Znone", "--root-owner-group", "-b"])
        .arg(root)
        .arg(packed));
}

fn is_installed(host: &Chroot) {
    let said = host.run(Host::Still, "leasehold --version");
    assert_eq!(said.trim(), format!("leasehold {}", version()));
    assert!(host.run(Host::Still, "leasehold check --help").contains("compose file"));
    for (name, place) in [
        ("leasehold", "/usr/bin/leasehold"),
        ("leasehold-tether", "/usr/lib/leasehold/leasehold-tether"),
    ] {
        let is = host.run(Host::Still, &format!("sha256sum < {place}"));
        let wanted = run(Command::new("sha256sum").stdin(fs::File::open(program().with_file_name(name)).unwrap()));
        assert_eq!(
            is, wanted,
            "{place}: `docker/build release` was not run with this program"
        );
    }
    // Nothing to be typed.
    host.run(Host::Still, "! command -v leasehold-tether");
    assert_eq!(
        host.run(Host::Still, "dpkg --verify leasehold"),
        "",
        "files that differ from the package's"
    );
    assert_eq!(
        host.run(Host::Still, "find /etc/systemd -name 'leasehold*'"),
        "",
        "it is enabled"
    );
    let verdict = host.run(
        Host::Still,
        &format!("systemd-analyze --recursive-errors=one verify {PACKAGED_UNIT}"),
    );
    assert_eq!(verdict, "");
    host.run(Host::Still, "gzip -t /usr/share/man/man1/leasehold*.1.gz");
    // Not every host has man, but one of the two trees must.
    if host.has("/usr/bin/man") {
        for page in ["leasehold", "leasehold-node-remove"] {
            assert!(host.run(Host::Still, &format!("man -w {page}")).contains(page));
        }
    } else {
        assert!(!host.is_of("bookworm"), "the tree of bookworm has no man");
    }
    let completed = "source /usr/share/bash-completion/completions/leasehold && complete -p leasehold";
    assert!(host.run(Host::Still, completed).contains("_leasehold"));
}

/// Over itself, and to a later version with another conffile: what was edited stays, and the sidecar that runs goes on.
fn upgrades(host: &Chroot) {
    let edited = host.run(Host::Still, &format!("cat {CONFFILE}"));
    for deb in ["leasehold.deb", "next.deb"] {
        let install = format!("dpkg --force-confdef --force-confold -i /mnt/{deb} < /dev/null");
        let said = host.run(Host::Booted { unit: PACKAGED_UNIT }, &install);
        assert!(
            said.contains("leasehold hold 120s && systemctl restart leasehold"),
            "{said}"
        );
        assert_eq!(
            host.asked_of_systemd(),
            ["daemon-reload", "is-active --quiet leasehold.service"],
            "{deb}"
        );
        assert_eq!(host.run(Host::Still, &format!("cat {CONFFILE}")), edited, "{deb}");
    }
    assert!(host.run(Host::Still, "dpkg-query -W leasehold").contains("\t9:"));
    assert!(
        host.run(Host::Still, &format!("cat {CONFFILE}.dpkg-dist"))
            .contains("next release")
    );
}

/// The sidecar is stopped before its program goes, but never a unit that is not the package's.
fn is_removed(host: &Chroot) {
    let show = "show --property FragmentPath --value leasehold.service";
    let own = "/etc/systemd/system/leasehold.service";
    host.run(Host::Booted { unit: own }, "dpkg -r leasehold");
    assert_eq!(host.asked_of_systemd(), [show, "daemon-reload"]);
    host.run(Host::Still, "dpkg --force-confold -i /mnt/next.deb");
    let ours = PACKAGED_UNIT;
    // The same place by its other name, as the systemd of Debian 12 says it.
    for unit in [ours, ours.strip_prefix("/usr").unwrap()] {
        host.run(Host::Booted { unit }, "dpkg -r leasehold");
        assert_eq!(
            host.asked_of_systemd(),
            [show, "stop leasehold.service, with its program", "daemon-reload"]
        );
        host.run(
            Host::Still,
            &format!("! command -v leasehold && grep -qx NODE=edited {CONFFILE}"),
        );
        host.run(Host::Still, "dpkg --force-confold -i /mnt/next.deb");
    }
}

/// Everything that it brought is gone, and everything else is as it was.
fn is_purged(host: &Chroot, suite: &str) {
    let said = host.run(Host::Booted { unit: PACKAGED_UNIT }, "dpkg --purge leasehold");
    assert!(said.contains("/var/lib/leasehold is kept"), "{said}");
    for (file, text) in OWN {
        assert_eq!(host.run(Host::Still, &format!("cat {file}")), text, "{file}");
    }
    host.run(
        Host::Still,
        "! dpkg-query -W leasehold && ! ls /var/lib/dpkg/info/leasehold.* && dpkg --audit",
    );
    let mut left = host.changed();
    left.retain(|path| !OF_THE_SYSTEM.iter().any(|place| path.starts_with(place)));
    left.retain(|path| !OWN.iter().any(|(file, _)| Path::new(file).starts_with(path)));
    assert!(left.is_empty(), "{suite}: left after the purge: {left:?}");
}
