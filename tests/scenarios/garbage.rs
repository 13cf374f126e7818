//! Garbage of every sort in every kind of key: what is held goes on, nothing panics, the key is named, and all is well once
//! it is taken out.

use leasehold::core::store::KeyValue;

use super::driver::World;

/// Every sort, with a name for the message of a failure.
fn garbage() -> Vec<(&'static str, String)> {
    let huge = u64::MAX;
    vec![
        ("empty", String::new()),
        (
            "binary",
            String::from_utf8_lossy(&[0, 0xff, 0x1b, b'[', b'2', b'J', 0xc3]).into_owned(),
        ),
        ("a number", huge.to_string()),
        ("a negative number", "-1".to_owned()),
        ("another type", r#"["config"]"#.to_owned()),
        ("nothing of ours", "{}".to_owned()),
        ("deep", format!("{}{}", "[".repeat(100_000), "]".repeat(100_000))),
        ("a mebibyte", "x".repeat(1 << 20)),
        (
            "a mebibyte of a word",
            format!(r#"{{"by":"{}","at":"noon"}}"#, "x".repeat(1 << 20)),
        ),
        // What an earlier version took for good.
        ("a huge ttl", format!(r#"{{"generation":1,"ttl_ms":{huge}}}"#)),
        ("a huge generation", format!(r#"{{"generation":{huge},"ttl_ms":5000}}"#)),
        ("a negative ttl", r#"{"generation":1,"ttl_ms":-5000}"#.to_owned()),
        ("no ttl", r#"{"generation":1,"ttl_ms":0}"#.to_owned()),
        (
            "a huge promise",
            format!(r#"{{"machine":"m","boot":"b1","seq":{huge},"nonce":{huge},"ttl_ms":{huge}}}"#),
        ),
        (
            "a huge epoch",
            format!(r#"{{"epoch":{huge},"node":"b","incarnation":1,"state":"released","reason":""}}"#),
        ),
        (
            "a huge promise in a record",
            format!(r#"{{"epoch":1,"node":"b","incarnation":1,"state":"active","reason":"","promise_ms":{huge}}}"#),
        ),
        (
            "a huge quiet window",
            format!(
                r#"{{"epoch":1,"node":"b","incarnation":1,"state":"active","reason":"","past":{{"quiet_ms":{huge}}}}}"#
            ),
        ),
        (
            "a huge claim",
            format!(
                r#"{{"version":"1","address":"","priority":1,"groups":{{"sams":{{"ready":true,"claim":{huge}}}}}}}"#
            ),
        ),
        (
            "a huge run",
            format!(
                r#"{{"version":"1","address":"","priority":1,"groups":{{"sams":{{"ready":true,"serves":{{"epoch":{huge},"n":1}}}}}}}}"#
            ),
        ),
        ("an id that is no argument", r#"{"id":"a b=/c","mounts":[]}"#.to_owned()),
    ]
}

/// What a key does to the group that this node holds, by its mere presence.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Held {
    GoesOn,
    /// It is an order, whatever stands in it.
    Stops,
    /// It is this node's own place.
    Lost,
}

const KEYS: &[(&str, Held)] = &[
    ("config", Held::GoesOn),
    ("nodes/a", Held::Lost),
    ("nodes/b", Held::GoesOn),
    ("nodes/nobody", Held::GoesOn),
    ("status/a", Held::GoesOn),
    ("status/b", Held::GoesOn),
    ("status/nobody", Held::GoesOn),
    ("status/b/known", Held::GoesOn),
    ("status/b/voter", Held::GoesOn),
    ("status/b/drained", Held::GoesOn),
    ("groups/sams/record", Held::GoesOn),
    ("groups/sams/intent", Held::GoesOn),
    ("groups/sams/store", Held::GoesOn),
    ("groups/sams/paused", Held::GoesOn),
    ("groups/sams/stopped", Held::Stops),
    ("groups/sams/deleted", Held::Stops),
    ("groups/sams/without/b", Held::GoesOn),
    ("groups/other/record", Held::GoesOn),
];

fn told(world: &mut World, lines: &[&str]) {
    for line in lines {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert!(world.input(&words), "{line}");
        world.mode = super::driver::Mode::Told;
    }
}

fn leads(world: &World) -> bool {
    world.status().is_some_and(|status| status.leads(Some("sams")))
}

fn damaged(world: &World) -> Vec<String> {
    world.status().unwrap().damaged.into_keys().collect()
}

/// Node a, which holds the group, or b does; both are well.
fn well(holder: &str) -> World {
    let mut world = World::new(7);
    told(&mut world, &["node a sams", "etcd config", "etcd store sams"]);
    if holder == "b" {
        told(&mut world, &["etcd record sams 1 b active"]);
    }
    told(&mut world, &["etcd lives b", "etcd ready b sams"]);
    match holder {
        "a" => told(&mut world, &["quick lead sams"]),
        _ => told(&mut world, &["quick join", "quick to 12s"]),
    }
    world
}

/// Writes it there by hand, and says what was there before.
fn spoil(world: &mut World, key: &str, value: &str, lease: Option<i64>) -> Option<KeyValue> {
    let key = format!("{}{key}", world.keys.prefix());
    let before = world.etcd.keys.get(&key).cloned();
    let lease = lease.or_else(|| before.as_ref().map(|kv| kv.lease)).unwrap_or(0);
    world.etcd.put(&key, value, lease);
    before
}

fn mend(world: &mut World, key: &str, before: Option<KeyValue>) {
    let key = format!("{}{key}", world.keys.prefix());
    match before {
        Some(kv) => world.etcd.put(&key, &kv.value, kv.lease),
        None => world.etcd.remove(|kv| kv.key == key),
    }
}

/// Whether some value is sound where it stands: garbage for one key is none for another.
fn is_sound(key: &str, sort: &str) -> bool {
    matches!(
        (key.rsplit('/').next().unwrap_or_default(), sort),
        ("intent", "nothing of ours") | (_, "nothing")
    )
}

#[test]
fn what_is_held_goes_on_beside_garbage_in_any_key() {
    for (sort, value) in garbage() {
        for (key, held) in KEYS {
            let case = format!("{sort} in {key}");
            let mut world = well("a");
            let before = spoil(&mut world, key, &value, None);
            let full = format!("{}{key}", world.keys.prefix());
            told(&mut world, &["quick to 7s"]);
            // What a living node writes is soon sound again.
            let rewritten = ["status/a", "nodes/a", "nodes/b"].contains(key);
            let named = damaged(&world).contains(&full) || is_sound(key, sort);
            assert!(named || rewritten, "{case}: {:?}", damaged(&world));
            told(&mut world, &["quick to 14s"]);
            match held {
                Held::GoesOn => assert!(leads(&world), "{case}: {:?}", world.status()),
                Held::Stops => assert!(!leads(&world), "{case}"),
                Held::Lost => {}
            }
            if *held != Held::Lost {
                let before = before.filter(|_| *key != "status/a");
                mend(&mut world, key, before);
            }
            told(&mut world, &["quick to 40s"]);
            assert_eq!(damaged(&world), Vec::<String>::new(), "{case}");
            assert!(leads(&world), "{case}: {:?}", world.status());
        }
    }
}

#[test]
fn a_standby_takes_nothing_from_garbage_and_everything_after_it() {
    for (sort, value) in garbage() {
        for (key, _) in KEYS.iter().filter(|(key, _)| !key.ends_with("/a") && *key != "nodes/b") {
            let case = format!("{sort} in {key}");
            let mut world = well("b");
            let before = spoil(&mut world, key, &value, None);
            told(&mut world, &["quick to 30s"]);
            assert!(!leads(&world), "{case}: b holds it");
            mend(&mut world, key, before);
            told(&mut world, &["quick to 32s", "etcd silent b", "quick to 60s"]);
            assert_eq!(damaged(&world), Vec::<String>::new(), "{case}");
            assert!(leads(&world), "{case}: {:?}", world.status());
        }
    }
}

/// The configuration says how long beats count that nobody saw; one that was seen says so itself.
#[test]
fn a_silent_holder_is_followed_while_the_configuration_is_garbage() {
    for (sort, value) in garbage() {
        let mut world = well("b");
        told(&mut world, &["quick to 320s"]);
        spoil(&mut world, "config", &value, None);
        told(&mut world, &["quick to 322s", "etcd silent b", "quick to 326s"]);
        assert!(!leads(&world), "{sort}: b promised 5 s");
        told(&mut world, &["quick to 332s"]);
        assert!(leads(&world), "{sort}: {:?}", world.status());
    }
}
