//! `adopt`: the patch for an ordinary file, applied by the real `patch`, is what `check` accepts; and the way back.

#![allow(clippy::unwrap_used, reason = "a test fails by it, in its helpers too")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use leasehold::compose::adopt::{Draft, Hints, Request, Subject, Which};
use leasehold::compose::{Sources, read};

/// A project directory of one file.
struct Place(PathBuf);

impl Place {
    fn of(name: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let place = Self(std::env::temp_dir().join(format!("leasehold-adopt-{}-{count}", std::process::id())));
        std::fs::create_dir_all(&place.0).unwrap();
        std::fs::copy(here().join(name), place.file()).unwrap();
        place
    }

    fn file(&self) -> PathBuf {
        self.0.join("compose.yaml")
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.file()).unwrap()
    }

    fn sources(&self) -> Sources {
        Sources {
            host_directory: "/srv/office".into(),
            local_directory: self.0.clone(),
            files: vec!["compose.yaml".into()],
            ..Sources::default()
        }
    }

    fn subject(&self, service: Option<&str>) -> Subject {
        let found = Subject::find(&self.sources(), Path::new("compose.yaml"), service);
        found.unwrap_or_else(|faults| panic!("{faults:#?}"))
    }

    fn protect(&self, service: Option<&str>, request: &Request) -> Draft {
        self.protect_from(service, request, &Hints::default())
    }

    fn protect_from(&self, service: Option<&str>, request: &Request, hints: &Hints) -> Draft {
        let drafted = self.subject(service).protect(request, hints);
        drafted.unwrap_or_else(|faults| panic!("{faults:#?}"))
    }

    /// Runs the real patch, which must find every line where it expects it.
    fn patch(&self, draft: &Draft) {
        let mut patch = Command::new("patch")
            .args(["-p0", "--fuzz=0"])
            .current_dir(&self.0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this test needs `patch`: apt-get install patch");
        patch
            .stdin
            .take()
            .unwrap()
            .write_all(draft.diff("compose.yaml").as_bytes())
            .unwrap();
        let out = patch.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&out.stdout);
        assert!(out.status.success() && !said.contains("offset"), "{said}");
        assert_eq!(self.text(), draft.after);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/adopt")
}

/// Everything that the administrator sees, against the file that was reviewed.
fn assert_golden(name: &str, draft: &Draft) {
    let mut seen = draft.diff("compose.yaml");
    let faults = draft.faults.iter().map(ToString::to_string);
    let lists = [
        ("note", draft.notes.clone()),
        ("warning", draft.warnings.clone()),
        ("refused", faults.collect()),
    ];
    for (what, lines) in lists {
        seen.extend(lines.iter().map(|line| format!("{what}: {line}\n")));
    }
    let path = here().join(name);
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, &seen).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(seen, golden, "UPDATE_EXPECT=1 rewrites {name}");
}

fn request(vips: &[&str]) -> Request {
    Request {
        group: None,
        vips: vips.iter().map(|vip| (*vip).to_owned()).collect(),
        etcd: vec!["https://10.20.0.1:2379".to_owned()],
    }
}

#[test]
fn a_plain_file_becomes_one_that_check_accepts_and_is_plain_again_afterwards() {
    let place = Place::of("mail.yaml");
    let before = place.text();
    let draft = place.protect(None, &request(&["10.20.0.50/24"]));
    assert_golden("mail.expected", &draft);
    place.patch(&draft);
    let project = read(&place.sources()).unwrap_or_else(|faults| panic!("{faults:#?}"));
    let mail = &project.groups["mail"].services[0];
    assert_eq!(mail.entrypoint.as_deref().unwrap(), ["/init.sh", "--data dir"]);
    assert_eq!(project.groups["mail"].probes.len(), 5);

    let again = place.protect(Some("mail"), &request(&["10.20.0.50/24"]));
    assert_eq!(again.diff("compose.yaml"), "", "what is done is not done twice");

    let back = place.subject(Some("mail")).release().unwrap();
    place.patch(&back);
    let service = |text: &str| {
        let from = text.find("\n  mail:").unwrap();
        text[from..text.find("\n  # not mail").unwrap()].to_owned()
    };
    assert_eq!(
        service(&place.text()),
        service(&before),
        "the service as it was, to the letter"
    );
    assert!(place.subject(Some("mail")).release().unwrap().diff("x").is_empty());
}

#[test]
fn what_a_service_inherits_is_overridden_and_what_is_there_stays() {
    let place = Place::of("web.yaml");
    let draft = place.protect(Some("wiki"), &request(&["10.20.0.51/24"]));
    assert_golden("web.expected", &draft);
    place.patch(&draft);
    assert_eq!(
        draft.faults.len(),
        3,
        "three lines of db; the sidecar got the time it needs"
    );
    let other = place.protect(Some("db"), &request(&[]));
    place.patch(&other);
    let project = read(&place.sources()).unwrap_or_else(|faults| panic!("{faults:#?}"));
    let names: Vec<_> = project.groups.keys().map(String::as_str).collect();
    assert_eq!(names, ["db", "wiki"]);

    let both = ["wiki", "db"].map(|service| place.subject(Some(service)));
    let both = Subject::release_all(&both).unwrap();
    for service in ["wiki", "db"] {
        let back = place.subject(Some(service)).release().unwrap();
        place.patch(&back);
    }
    assert_eq!(both.after, place.text(), "one patch does the same");
    let own = std::fs::read_to_string(here().join("web.yaml")).unwrap();
    let own = own.replace("    x-leasehold: {group: db}\n", "").replace("12s", "20s");
    assert_eq!(place.text(), own, "all but the sidecar's grace");
}

#[test]
fn a_second_service_joins_the_group_without_stating_it_anew() {
    let place = Place::of("web.yaml");
    place.patch(&place.protect(Some("wiki"), &request(&["10.20.0.51/24"])));
    let text = place.text().replace("    x-leasehold: {group: db}\n", "");
    std::fs::write(place.file(), text).unwrap();
    let joined = Request {
        group: Some("wiki".to_owned()),
        ..Request::default()
    };
    place.patch(&place.protect(Some("db"), &joined));
    let project = read(&place.sources()).unwrap_or_else(|faults| panic!("{faults:#?}"));
    assert_eq!(project.groups["wiki"].services.len(), 2);
}

fn subjects(place: &Place, which: &Which) -> Vec<Subject> {
    let found = Subject::find_all(&place.sources(), Path::new("compose.yaml"), which);
    found.unwrap_or_else(|faults| panic!("{faults:#?}"))
}

fn named(names: &[&str]) -> Which {
    Which::Named(names.iter().map(|name| (*name).to_owned()).collect())
}

#[test]
fn several_services_are_one_patch_and_one_group_and_all_others_stay_as_they_are() {
    let place = Place::of("shop.yaml");
    let before = place.text();
    let both = subjects(&place, &named(&["shop", "rows"]));
    let hints = [Hints::default(), Hints::default()];
    let draft = Subject::protect_all(&both, &request(&["10.20.0.52/24"]), &hints).unwrap();
    assert_golden("shop.expected", &draft);
    assert!(draft.faults.is_empty(), "{:#?}", draft.faults);
    place.patch(&draft);
    let project = read(&place.sources()).unwrap_or_else(|faults| panic!("{faults:#?}"));
    let group = &project.groups["shop"];
    let names: Vec<_> = group.services.iter().map(|service| service.name.as_str()).collect();
    assert_eq!(names, ["rows", "shop"], "the one that is waited for comes first");
    assert_eq!((project.groups.len(), group.vips.len(), group.probes.len()), (1, 1, 2));
    let grace = place.text().contains("stop_grace_period: 50s");
    assert!(grace, "the sum of both, and ten seconds: {}", place.text());

    let again = subjects(&place, &named(&["shop", "rows"]));
    let again = Subject::protect_all(&again, &request(&["10.20.0.52/24"]), &hints).unwrap();
    assert_eq!(again.diff("compose.yaml"), "", "what is done is not done twice");

    let one = place.subject(Some("shop")).release().unwrap();
    assert!(
        one.after.contains("# leasehold: beside shop, rows"),
        "rows still needs them"
    );
    let back = Subject::release_all(&subjects(&place, &named(&["shop", "rows"]))).unwrap();
    place.patch(&back);
    let services = |text: &str| {
        let from = text.find("services:").unwrap();
        let to = text
            .find("\n\n  leasehold:")
            .or_else(|| text.find("\nvolumes:"))
            .unwrap();
        text[from..to].to_owned()
    };
    assert_eq!(
        services(&place.text()),
        services(&before),
        "the services as they were, to the letter"
    );
}

/// What Compose itself says of the others, before and after.
#[test]
fn a_service_that_merges_an_anchor_keeps_what_it_had() {
    let place = Place::of("shop.yaml");
    let config = || {
        let out = Command::new("docker")
            .args(["compose", "config", "--format", "json"])
            .current_dir(&place.0)
            .env_remove("COMPOSE_FILE")
            .output();
        let out = out.expect("this test needs `docker compose`: apt-get install docker-compose");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let text: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
        let mut worker = text["services"]["worker"].clone();
        let worker = worker.as_object_mut().unwrap();
        // Who waits for whom is another matter.
        worker.retain(|key, value| !value.is_null() && !["depends_on", "x-leasehold", "scale"].contains(&key.as_str()));
        serde_json::Value::from(worker.clone())
    };
    let before = config();
    place.patch(&place.protect(Some("shop"), &request(&[])));
    assert_eq!(config(), before);
    let read = read(&place.sources());
    let names = |project: leasehold::compose::model::Project| {
        let services = project.groups.into_values().flat_map(|group| group.services);
        services.map(|service| service.name).collect::<Vec<_>>()
    };
    let faults = read.map(names).unwrap_err();
    let keys: Vec<_> = faults.iter().map(|fault| fault.key.as_str()).collect();
    assert_eq!(
        keys,
        ["services.shop.depends_on"],
        "rows is not protected; the worker has no part in it"
    );
}

#[test]
fn one_that_inherits_in_braces_is_named_and_nothing_is_printed() {
    let place = Place::of("shop.yaml");
    let text = place.text().replace(
        "  worker:\n    <<: *shop\n    command: work\n    ports: []\n",
        "  worker: {<<: *shop}\n",
    );
    std::fs::write(place.file(), text).unwrap();
    let refused = place
        .subject(Some("shop"))
        .protect(&request(&[]), &Hints::default())
        .unwrap_err();
    let said = refused[0].to_string();
    assert!(
        said.contains("compose.yaml:20: worker: inherits from shop, and would be protected with it"),
        "{said}"
    );
}

#[test]
fn all_services_are_all_but_the_sidecar() {
    let place = Place::of("shop.yaml");
    let all = subjects(&place, &Which::All);
    let names: Vec<_> = all.iter().map(|subject| subject.name.as_str()).collect();
    assert_eq!(names, ["shop", "rows", "worker", "proxy"]);
    let hints = vec![Hints::default(); all.len()];
    let asked = Request {
        group: Some(all[0].project().to_owned()),
        ..request(&["10.20.0.52/24"])
    };
    let draft = Subject::protect_all(&all, &asked, &hints).unwrap();
    assert!(draft.faults.is_empty(), "{:#?}", draft.faults);
    place.patch(&draft);
    let project = read(&place.sources()).unwrap_or_else(|faults| panic!("{faults:#?}"));
    assert_eq!(project.groups["office"].services.len(), 4);
    let left = Subject::find_all(&place.sources(), Path::new("compose.yaml"), &Which::All).unwrap_err();
    assert!(
        left[0].to_string().contains("none that could be protected"),
        "{}",
        left[0]
    );
}

/// What `docs/projects/paperless-ngx.md` and `docs/projects/nextcloud.md` rest on.
#[test]
fn services_of_one_image_keep_each_the_entrypoint_of_its_own() {
    let place = Place::of("desk.yaml");
    let all = subjects(&place, &Which::All);
    let hints = vec![Hints::default(); all.len()];
    let asked = Request {
        group: Some("desk".to_owned()),
        ..request(&["10.20.0.53/24"])
    };
    let draft = Subject::protect_all(&all, &asked, &hints).unwrap();
    assert_golden("desk.expected", &draft);
    place.patch(&draft);
    let project = read(&place.sources()).unwrap_or_else(|faults| panic!("{faults:#?}"));
    let services = &project.groups["desk"].services;
    let starts: Vec<_> = services
        .iter()
        .map(|service| service.entrypoint.clone().unwrap_or_default().join(" "))
        .collect();
    assert_eq!(starts, ["", "serve --port 8000", "/job.sh"]);
}

#[test]
fn the_files_of_a_project_are_those_that_compose_reads() {
    let place = Place::of("shop.yaml");
    let files = |environment: &[(&str, &str)]| {
        let sources = Sources {
            files: Vec::new(),
            environment: environment
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
            ..place.sources()
        };
        let files = leasehold::compose::files(&sources).into_iter();
        files
            .map(|file| file.display().to_string())
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(files(&[]), "/srv/office/compose.yaml");
    std::fs::write(place.0.join(".env"), "COMPOSE_FILE=compose.yaml:web.yaml\n").unwrap();
    assert_eq!(files(&[]), "/srv/office/compose.yaml /srv/office/web.yaml");
    assert_eq!(files(&[("COMPOSE_FILE", "other.yaml")]), "/srv/office/other.yaml");
}

#[test]
fn what_no_edit_can_do_is_told_with_its_line() {
    let place = Place::of("left.yaml");
    let draft = place.protect(None, &Request::default());
    assert_golden("left.expected", &draft);
    place.patch(&draft);
    let after = read(&place.sources()).unwrap_err();
    assert_eq!(after, draft.faults, "the lines are those of the patched file");
}

#[test]
fn a_file_that_lines_cannot_be_added_to_is_refused() {
    let place = Place::of("mail.yaml");
    let refusal = |text: &str, service: Option<&str>| {
        std::fs::write(place.file(), text).unwrap();
        let found = Subject::find(&place.sources(), Path::new("compose.yaml"), service);
        let drafted = found.and_then(|subject| subject.protect(&Request::default(), &Hints::default()));
        drafted.unwrap_err()[0].to_string()
    };
    for (text, service, parts) in [
        (
            "services: {a: {image: i, volumes: ['v:/v']}}\n",
            None,
            ["compose.yaml:1: a:", "line of its own"],
        ),
        (
            "services:\n  a: {image: i}\n",
            Some("a"),
            ["compose.yaml:2: a:", "braces"],
        ),
        (
            "services:\n  a:\n    image: i\nvolumes: {}\n",
            Some("a"),
            ["compose.yaml:4: volumes:", "braces"],
        ),
        ("services:\n  a:\n    image: i\n", Some("b"), ["has no service b", ""]),
        (
            "services:\n  a:\n    image: i\n",
            None,
            ["none that is not protected", "--service"],
        ),
        (
            "services:\n  a:\n    ports: ['1']\n  b:\n    ports: ['2']\n",
            None,
            ["may each be meant: a, b", "--service"],
        ),
        (
            "services:\r\n  a:\r\n    image: i\r\n",
            Some("a"),
            ["carriage return", "dos2unix"],
        ),
        ("services:\n  a: [\n", None, ["is no valid YAML", "compose.yaml"]),
    ] {
        let said = refusal(text, service);
        assert!(parts.iter().all(|part| said.contains(part)), "{text:?}: {said}");
    }
}

/// Whatever people write: an edit that can be read, done once, and a way back; or a refusal with its line.
#[test]
fn every_service_of_every_example_is_edited_or_refused() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut edited = 0;
    for directory in ["tests/compose", "compose/node", "compose/demo", "compose/witness"] {
        for entry in std::fs::read_dir(root.join(directory)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "yaml") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let names = text
                .lines()
                .filter_map(|line| line.strip_prefix("  ")?.strip_suffix(':'));
            for name in names.filter(|name| !name.starts_with([' ', '#'])) {
                edited += u32::from(edits(&text, name, &path));
            }
        }
    }
    assert!(edited >= 20, "only {edited} were edited");
}

fn edits(text: &str, name: &str, path: &Path) -> bool {
    let place = Place::of("mail.yaml");
    std::fs::write(place.file(), text).unwrap();
    let find = || Subject::find(&place.sources(), Path::new("compose.yaml"), Some(name));
    let drafted = find().and_then(|subject| subject.protect(&Request::default(), &Hints::default()));
    let draft = match drafted {
        Ok(draft) => draft,
        Err(faults) => {
            assert!(
                !faults.is_empty() && !faults[0].message.is_empty(),
                "{}: {name}",
                path.display()
            );
            return false;
        }
    };
    assert!(
        draft.project.is_some(),
        "{}: {name}: {:#?}",
        path.display(),
        draft.faults
    );
    place.patch(&draft);
    let again = place.protect(Some(name), &Request::default());
    assert_eq!(again.diff("x"), "", "{}: {name}", path.display());
    let back = find().unwrap().release();
    let back = back.unwrap_or_else(|faults| panic!("{}: {name}: {faults:#?}", path.display()));
    place.patch(&back);
    true
}

/// An image of s6-overlay, as the engine shows it; and a file that starts such an init itself.
#[test]
fn an_init_that_must_be_pid_1_gets_its_key() {
    let place = Place::of("init.yaml");
    let hints = Hints {
        entrypoint: Some(vec!["/init".to_owned()]),
        ..Hints::default()
    };
    let draft = place.protect_from(Some("wiki"), &request(&["10.20.0.53/24"]), &hints);
    assert_golden("init.expected", &draft);
    place.patch(&draft);
    let project = read(&place.sources()).unwrap_or_else(|faults| panic!("{faults:#?}"));
    assert!(project.groups["wiki"].services[0].own_init);
    let again = place.protect_from(Some("wiki"), &request(&[]), &hints);
    assert_eq!((again.diff("x"), again.notes), (String::new(), Vec::new()));
    // Of what is protected already no line is changed, but it is told.
    std::fs::write(place.file(), place.text().replace("      own_init: true\n", "")).unwrap();
    let told = place.protect_from(Some("wiki"), &request(&[]), &hints);
    assert_eq!(told.diff("x"), "");
    assert!(told.notes[0].contains("services.wiki") && told.notes[0].contains("`own_init: true`"));

    let draft = place.protect(Some("feeds"), &request(&[]));
    assert_eq!(draft.faults, []);
    assert!(
        draft
            .after
            .contains("      entrypoint: [\"/init\"]\n      own_init: true\n"),
        "{}",
        draft.after
    );
}
