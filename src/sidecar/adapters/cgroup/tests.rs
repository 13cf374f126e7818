//! The verdicts over trees of files as the kernel shows them.

use std::fs;

use super::*;

const MAIL: &str = "1111111111111111111111111111111111111111111111111111111111111111";
const OWN: &str = "2222222222222222222222222222222222222222222222222222222222222222";

/// A directory that is gone when the test ends.
struct Tree(PathBuf);

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Tree {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("leasehold-cgroup-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, path: &str, text: &str) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn remove(&self, path: &str) {
        fs::remove_dir_all(self.0.join(path)).unwrap();
    }

    /// A cgroup of version 2 below the root.
    fn v2(&self, path: &str, populated: u8) {
        self.file(&format!("{path}/cgroup.type"), "domain\n");
        self.file(&format!("{path}/cgroup.procs"), "");
        self.file(
            &format!("{path}/cgroup.events"),
            &format!("populated {populated}\nfrozen 0\n"),
        );
    }

    /// A hierarchy of version 2 with the sidecar's own container in it.
    fn v2_whole(&self, own: &str) {
        self.file("cgroup.procs", "1\n");
        self.v2(own, 1);
    }

    /// A cgroup of version 1; `pids.current` where the hierarchy is that of `pids`.
    fn v1(&self, path: &str, procs: &str, count: Option<u32>) {
        self.file(&format!("{path}/tasks"), procs);
        self.file(&format!("{path}/cgroup.procs"), procs);
        if let Some(count) = count {
            self.file(&format!("{path}/pids.current"), &format!("{count}\n"));
        }
    }

    fn cgroups(&self, own: Option<&str>, sees_all_processes: bool) -> Cgroups {
        Cgroups {
            top: self.0.clone(),
            own: own.map(str::to_owned),
            sees_all_processes,
            kind: |path| match (path.join("tasks").exists(), path.join("cgroup.procs").exists()) {
                (true, _) => Some(Kind::V1),
                (false, true) => Some(Kind::V2),
                (false, false) => None,
            },
        }
    }

    fn look(&self, own: Option<&str>) -> Look {
        self.cgroups(own, false).look(&[never_seen()])
    }
}

fn never_seen() -> Started {
    Started {
        id: MAIL.to_owned(),
        seen: Vec::new(),
        devices: None,
    }
}

fn is_hidden(look: &Look) -> bool {
    matches!(look.verdict, Verdict::Hidden { .. })
}

#[test]
fn systemd_scopes_of_version_2() {
    let tree = Tree::new("scope");
    tree.v2_whole(&format!("system.slice/docker-{OWN}.scope"));
    let scope = format!("system.slice/docker-{MAIL}.scope");
    tree.v2(&scope, 1);
    let look = tree.look(Some(OWN));
    assert_eq!(look.verdict, Verdict::Left { id: MAIL.to_owned() });
    assert_eq!(look.seen.len(), 1);
    tree.v2(&scope, 0);
    assert_eq!(tree.look(Some(OWN)).verdict, Verdict::Nothing);
    tree.remove(&scope);
    assert_eq!(tree.look(Some(OWN)).verdict, Verdict::Nothing);
}

#[test]
fn a_custom_parent_is_found_wherever_it_is() {
    let tree = Tree::new("parent");
    tree.v2_whole(&format!("docker/{OWN}"));
    tree.v2(&format!("mail.slice/mail-inner.slice/docker-{MAIL}.scope"), 1);
    assert_eq!(tree.look(Some(OWN)).verdict, Verdict::Left { id: MAIL.to_owned() });
}

#[test]
fn what_podman_keeps_beside_a_container_is_none_of_it() {
    let tree = Tree::new("podman");
    tree.v2_whole(&format!("machine.slice/libpod-{OWN}.scope"));
    tree.v2(&format!("machine.slice/libpod-{OWN}.scope/container"), 1);
    let (service, monitor) = (
        format!("machine.slice/libpod-{MAIL}.scope"),
        format!("machine.slice/libpod-conmon-{MAIL}.scope"),
    );
    for path in [&service, &format!("{service}/container"), &monitor] {
        tree.v2(path, 1);
        tree.file(&format!("{path}/cgroup.kill"), "");
    }
    assert_eq!(tree.look(Some(OWN)).verdict, Verdict::Left { id: MAIL.to_owned() });
    assert_eq!(tree.cgroups(Some(OWN), false).end(&[MAIL]), End::Killed);
    let told = |path: &str| fs::read_to_string(tree.0.join(path).join("cgroup.kill")).unwrap();
    assert_eq!((told(&service), told(&monitor)), ("1".to_owned(), String::new()));
    tree.remove(&service);
    assert_eq!(tree.look(Some(OWN)).verdict, Verdict::Nothing, "the monitor is left");
}

#[test]
fn a_private_namespace_proves_nothing() {
    let tree = Tree::new("private");
    // What a container sees of itself: the root has the files of a cgroup that is none.
    tree.v2(".", 1);
    let look = tree.look(Some(OWN));
    assert!(is_hidden(&look), "{look:?}");
    assert!(matches!(look.verdict, Verdict::Hidden { why } if why.contains("/sys/fs/cgroup:")));
}

#[test]
fn a_part_of_the_hierarchy_proves_nothing_even_with_the_own_container_in_it() {
    let tree = Tree::new("part");
    tree.v2(".", 1);
    tree.v2(&format!("docker/{OWN}"), 1);
    assert!(is_hidden(&tree.look(Some(OWN))));
    // Nor does an empty cgroup there: the engine may have made another one since, elsewhere.
    tree.v2(&format!("docker/{MAIL}"), 0);
    assert!(is_hidden(&tree.look(Some(OWN))));
}

#[test]
fn where_it_was_seen_its_absence_counts_in_a_part_too() {
    let tree = Tree::new("seen");
    tree.v2(".", 1);
    tree.v2(&format!("docker/{MAIL}"), 1);
    let mut started = never_seen();
    started.seen = tree.look(None).seen.into_iter().map(|(_, place)| place).collect();
    tree.remove(&format!("docker/{MAIL}"));
    let cgroups = tree.cgroups(None, false);
    assert_eq!(cgroups.look(&[started.clone()]).verdict, Verdict::Nothing);
    // Another part: the same question, from elsewhere.
    let other = Tree::new("seen-elsewhere");
    other.v2(".", 1);
    assert!(is_hidden(&other.cgroups(None, false).look(&[started])));
}

#[test]
fn the_whole_hierarchy_without_any_container_of_the_engine_proves_nothing() {
    let tree = Tree::new("rootless");
    tree.v2_whole("user.slice");
    assert!(is_hidden(&tree.look(Some(OWN))));
    assert!(is_hidden(&tree.look(None)));
}

#[test]
fn nothing_mounted_proves_nothing() {
    let tree = Tree::new("nothing");
    assert!(is_hidden(&tree.look(Some(OWN))));
    let missing = Cgroups {
        top: tree.0.join("missing"),
        ..tree.cgroups(Some(OWN), false)
    };
    assert!(is_hidden(&missing.look(&[never_seen()])));
}

#[test]
fn in_version_1_only_the_count_of_pids_proves_emptiness_from_within_a_container() {
    let tree = Tree::new("v1");
    for controller in ["memory", "pids"] {
        tree.v1(controller, "1\n", None);
        tree.file(&format!("{controller}/release_agent"), "");
    }
    tree.v1(&format!("memory/docker/{OWN}"), "", None);
    tree.v1(&format!("memory/docker/{MAIL}"), "", None);
    // Nothing but `memory` tells of it, and there the list is empty for whoever can't see the processes.
    assert!(is_hidden(&tree.look(Some(OWN))));
    let seeing = tree.cgroups(Some(OWN), true).look(&[never_seen()]);
    assert_eq!(seeing.verdict, Verdict::Nothing);
    tree.v1(&format!("pids/docker/{OWN}"), "", Some(3));
    tree.v1(&format!("pids/docker/{MAIL}"), "", Some(1));
    assert_eq!(tree.look(Some(OWN)).verdict, Verdict::Left { id: MAIL.to_owned() });
    tree.v1(&format!("pids/docker/{MAIL}"), "", Some(0));
    assert_eq!(tree.look(Some(OWN)).verdict, Verdict::Nothing);
    tree.remove(&format!("pids/docker/{MAIL}"));
    assert_eq!(tree.look(Some(OWN)).verdict, Verdict::Nothing);
}

#[test]
fn in_version_1_a_process_below_counts() {
    let tree = Tree::new("v1-below");
    tree.v1("memory", "1\n", None);
    tree.file("memory/release_agent", "");
    tree.v1(&format!("memory/docker/{MAIL}"), "", None);
    tree.v1(&format!("memory/docker/{MAIL}/inner"), "77\n", None);
    let look = tree.cgroups(None, true).look(&[never_seen()]);
    assert_eq!(look.verdict, Verdict::Left { id: MAIL.to_owned() });
}

#[test]
fn one_hierarchy_with_a_process_outweighs_all_others() {
    let tree = Tree::new("hybrid");
    tree.v1("pids", "1\n", None);
    tree.file("pids/release_agent", "");
    tree.v1(&format!("pids/docker/{OWN}"), "", Some(1));
    tree.file("unified/cgroup.procs", "1\n");
    tree.v2(&format!("unified/docker/{OWN}"), 1);
    tree.v2(&format!("unified/docker/{MAIL}"), 1);
    assert_eq!(tree.look(Some(OWN)).verdict, Verdict::Left { id: MAIL.to_owned() });
}

#[test]
fn one_of_several_containers_is_enough_to_disprove() {
    let tree = Tree::new("several");
    tree.v2_whole(&format!("docker/{OWN}"));
    tree.v2(&format!("docker/{MAIL}"), 1);
    let gone = Started {
        id: "3".repeat(64),
        seen: Vec::new(),
        devices: None,
    };
    let look = tree.cgroups(Some(OWN), false).look(&[gone, never_seen()]);
    assert_eq!(look.verdict, Verdict::Left { id: MAIL.to_owned() });
}

#[test]
fn the_memory_survives_the_sidecar_but_not_the_boot() {
    let tree = Tree::new("memory");
    let path = tree.0.join("containers.json");
    let place = Place { device: 7, top: 1 };
    let mut memory = Memory::open(&path, "boot-1", false).unwrap();
    assert_eq!(memory.of("mail/sams"), Some(Vec::new()));
    memory.will_start("mail/sams", "a", &[]).unwrap();
    memory.will_start("mail/sams", "b", &[]).unwrap();
    memory.saw("a", place).unwrap();
    let mut memory = Memory::open(&path, "boot-1", true).unwrap();
    let known = memory.of("mail/sams").unwrap();
    assert_eq!(known.len(), 2);
    assert_eq!(known[0].seen, [place]);
    memory.over("mail/sams", Some("b")).unwrap();
    assert_eq!(memory.of("mail/sams").unwrap().len(), 1);
    let memory = Memory::open(&path, "boot-2", false).unwrap();
    assert_eq!(memory.of("mail/sams"), Some(Vec::new()));
}

#[test]
fn a_lost_memory_is_not_taken_for_an_empty_one() {
    let tree = Tree::new("lost");
    let path = tree.0.join("containers.json");
    let memory = Memory::open(&path, "boot-1", true).unwrap();
    assert_eq!(memory.of("mail/sams"), None);
    // And stays lost over another restart, until the service is started anew.
    let mut memory = Memory::open(&path, "boot-1", false).unwrap();
    assert_eq!(memory.of("mail/sams"), None);
    memory.will_start("mail/sams", "c", &[]).unwrap();
    assert_eq!(memory.of("mail/sams").map(|known| known.len()), Some(1));
    fs::write(&path, "{").unwrap();
    let memory = Memory::open(&path, "boot-1", true).unwrap();
    assert_eq!(memory.of("mail/sams"), None);
}
