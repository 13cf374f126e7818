//! `tether store show|init|look`, as a helper container runs it.

use crate::harness::{Place, Setup};

fn store(place: &Place, args: &[&str]) -> (i32, String) {
    let setup = Setup {
        no_home: true,
        before: "mkdir /run/a /run/b && mount -t tmpfs disk /run/a && echo x > /run/a/mail && \
            { cp $OUT/kept /run/a/.leasehold-store 2>/dev/null || true; } && ",
        init: Some("sh -c '\"$TETHER\" \"$@\"; code=$?; cp /run/a/.leasehold-store $OUT/kept; exit $code' sh"),
        ..Setup::default()
    };
    let code = place.start(&setup, &[&["store"], args].concat()).wait();
    (code, std::fs::read_to_string(place.path("stdout")).unwrap())
}

#[test]
fn show_says_what_a_mount_is() {
    let place = Place::new();
    let (code, lines) = store(&place, &["show", "/run/a", "/run/b"]);
    assert_eq!(code, 0);
    let lines: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        lines[0],
        serde_json::json!({"path": "/run/a", "mounted": true, "source": "disk", "root": "/", "fstype": "tmpfs",
            "entries": ["mail"], "count": 1, "store_id": null, "claim": null, "held": false, "writable": true})
    );
    assert_eq!(lines[1]["mounted"], false);
    assert_eq!(lines[1]["source"], serde_json::Value::Null);
}

#[test]
fn init_marks_a_mount_once() {
    let place = Place::new();
    assert_eq!(store(&place, &["init", "--id", "one", "/run/b"]).0, 1);
    assert!(place.stderr().contains("not a mount point"));
    assert_eq!(store(&place, &["init", "--id", "one", "/run/a"]).0, 0);
    assert_eq!(place.out("kept").unwrap(), "one\n");
    assert_eq!(store(&place, &["init", "--id", "one", "/run/a"]).0, 0);
    assert_eq!(store(&place, &["init", "--id", "two", "/run/a"]).0, 1);
    assert_eq!(place.out("kept").unwrap(), "one\n");
    assert!(store(&place, &["show", "/run/a"]).1.contains("\"store_id\":\"one\""));
    assert_eq!(store(&place, &["init", "/run/a"]).0, 1);
}

#[test]
fn look_finds_the_store_id_or_says_what_there_is_in_its_place() {
    let place = Place::new();
    let looks = |id: &str, path: &str| store(&place, &["look", "--id", id, path]).0;
    assert_eq!(looks("one", "/run/a"), 1);
    let stderr = place.stderr();
    assert!(
        stderr.contains("storage at /run/a: it has no store id: not mounted"),
        "{stderr}"
    );
    assert_eq!(store(&place, &["init", "--id", "one", "/run/a"]).0, 0);
    assert_eq!(looks("one", "/run/a"), 0);
    assert_eq!(looks("two", "/run/a"), 1);
    let stderr = place.stderr();
    assert!(stderr.contains("it is store \"one\", not \"two\""), "{stderr}");
    assert_eq!(store(&place, &["look", "--id", "one", "/run/a", "/run/b"]).0, 1);
    assert_eq!(store(&place, &["look", "--id", "one"]).0, 1);
}
