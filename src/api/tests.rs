//! That neither the core nor a later version says a word that is lost here.

use std::collections::BTreeMap;

use leasehold_core::group;
use leasehold_core::history;
use leasehold_core::protocol;
use leasehold_core::protocol::policy;
use leasehold_core::protocol::records;
use leasehold_core::requests::exported;
use leasehold_core::snapshot::health;
use leasehold_core::snapshot::settings;
use leasehold_core::snapshot::status;
use serde_json::{Value, json};

use super::exported::Exported;
use super::history::{Begun, History};
use super::status::Status;
use super::words::{
    Before, GroupState, Health, Level, MemberState, NodeState, PhaseKind, Stage, TroubleState, WatchdogState,
};

fn written<T: serde::Serialize>(value: &T) -> Value {
    serde_json::to_value(value).unwrap()
}

#[test]
fn the_core_has_the_same_words() {
    let all = [
        MemberState::pairs(),
        WatchdogState::pairs(),
        NodeState::pairs(),
        Stage::pairs(),
        Level::pairs(),
        Health::pairs(),
    ];
    for (core, here) in all.iter().flatten() {
        assert_eq!(core, here);
    }
    for (before, word) in [
        (history::Before::Nothing, "nothing"),
        (history::Before::Release, "release"),
        (history::Before::Silence, "silence"),
    ] {
        assert_eq!(written(&before), word);
        assert_eq!(Before::from(before).word(), word);
    }
}

#[test]
fn a_group_is_its_stage_where_it_is_held() {
    let mut words = Vec::new();
    for stage in Stage::WORDS {
        let stages = [
            group::Stage::Adopting,
            group::Stage::Starting,
            group::Stage::Checking,
            group::Stage::Active,
            group::Stage::Stopping,
            group::Stage::Withdrawing,
            group::Stage::Stopped,
        ];
        let found = stages.into_iter().find(|of| of.word() == *stage).unwrap();
        words.push(status::GroupState::Held(found));
    }
    words.extend([
        status::GroupState::Unknown,
        status::GroupState::Stuck,
        status::GroupState::Standby,
        status::GroupState::Deleted,
        status::GroupState::Free,
    ]);
    for state in &words {
        assert_eq!(GroupState::from(*state).word(), state.word());
    }
    assert_eq!(words.len(), GroupState::WORDS.len());
}

/// Those of the core are read from etcd, where a later version may have written them.
#[test]
fn a_word_that_the_core_does_not_know_is_passed_on() {
    for word in TroubleState::WORDS.iter().chain(&["bewitched"]) {
        let of_core = protocol::TroubleState::from((*word).to_owned());
        assert_eq!(TroubleState::from(of_core).word(), *word);
    }
    assert_eq!(TroubleState::WORDS, protocol::TroubleState::WORDS);
    for word in PhaseKind::WORDS.iter().chain(&["farewell"]) {
        let of_core = history::PhaseKind::from((*word).to_owned());
        assert_eq!(PhaseKind::from(of_core).word(), *word);
    }
    assert_eq!(PhaseKind::WORDS, history::PhaseKind::WORDS);
}

fn text(word: &str) -> String {
    word.to_owned()
}

fn map(name: &str, word: &str) -> BTreeMap<String, String> {
    [(text(name), text(word))].into()
}

fn filled_settings() -> Vec<settings::SettingLine> {
    vec![
        settings::SettingLine {
            setting: policy::Setting::RestartBudget,
            value: text("7"),
            file: Some(text("3")),
            set: Some(records::StandingOrder {
                by: text("fay"),
                at: text("noon"),
                why: text("night"),
                until: None,
            }),
            elsewhere: Some(vec![text("c")]),
        },
        // It is not set, so the status tells nothing of it.
        settings::SettingLine {
            setting: policy::Setting::Failback,
            value: text("manual"),
            file: Some(text("manual")),
            set: None,
            elsewhere: None,
        },
    ]
}

/// Every field of the core's, none as it is by default.
fn filled_group() -> status::GroupLine {
    let held = status::HeldLine {
        run: leasehold_base::epoch::Run { epoch: 3, n: 1 },
        stage: group::Stage::Checking,
        up: true,
        valid_ms: 1500,
        address_held: true,
        probe_failure: Some(text("refused")),
        sick: true,
        services: [(
            text("sams"),
            status::ServiceLine {
                state: group::ServiceState::Up,
                healthy: Some(false),
            },
        )]
        .into(),
        probes: [(text("smtp 25"), true)].into(),
    };
    status::GroupLine {
        state: status::GroupState::Held(group::Stage::Checking),
        holder: Some(text("a")),
        last_holder: Some(text("b")),
        epoch: 3,
        stuck: Some(text("stuck on a")),
        record: text("b fell silent"),
        cause: Some(protocol::ReleaseCause::Silent),
        unreadable: true,
        reason: text("it starts"),
        vips: vec![text("192.0.2.10")],
        trouble: Some(records::Trouble {
            state: protocol::TroubleState::Restarting,
            why: text("refused"),
        }),
        opinions: map("b", "refused"),
        unreached: Some(text("b can't reach it")),
        held: Some(held),
        stopped: Some(text("by ann")),
        paused: Some(text("by bob")),
        deleted: Some(text("by cid")),
        excluded: map("c", "by dan"),
        used: map("c", "sams-1"),
        drift: Some(text("another image")),
        intent_text: Some(text("switchover")),
        refused: Some(text("full")),
        intent: Some((
            records::Intent::Switchover {
                to: Some(text("c")),
                by: text("eve"),
                why: String::new(),
                begun: Some(17),
            },
            18,
        )),
        serving: Some(leasehold_base::epoch::Run { epoch: 3, n: 1 }),
        settings: filled_settings(),
        warnings: vec![text("no image")],
        unready: text("no disk"),
    }
}

/// The same of a whole status.
fn filled() -> status::Status {
    let node = status::NodeLine {
        state: status::NodeState::Alive,
        version: text("1"),
        address: text("192.0.2.1:8008"),
        priority: 10,
        away_s: Some(600),
        beat_ms: Some(120),
        ttl_ms: Some(5000),
        groups: map("mail", "no disk"),
        clock: text("hpet"),
        endpoints: text("closed"),
        drained: Some(text("by eve")),
    };
    status::Status {
        node: text("a"),
        cluster: text("mail"),
        version: text("1"),
        member: status::MemberState::Joined,
        etcd_age_ms: Some(7),
        etcd_failure: Some(text("timed out")),
        engine_failure: Some(text("down")),
        etcd_troubles: vec![text("etcd http://a: full")],
        etcd_members: BTreeMap::new(),
        watchdog: status::WatchdogState::NotFed,
        ttl_ms: 5000,
        longest_ms: Some(9000),
        promises: Some(status::PromisesLine {
            bound_ms: 3_600_000,
            left_ms: Some(3_590_000),
            lacking: vec![text("b")],
            alone: true,
            too_many: Some(60),
            fault: Some(text("UDP is taken")),
        }),
        measured: Some(status::MeasuredLine {
            for_s: 86_400,
            stops_a_day: 0.5,
            would_carry_ms: Some(3000),
        }),
        reason: text("joined"),
        overall: health::Overall {
            health: health::Health::Warning,
            sentences: vec![text("b is silent")],
        },
        damaged: map("/k", "can't be read"),
        nodes: [(text("a"), node)].into(),
        groups: [(text("mail"), filled_group())].into(),
    }
}

#[test]
fn the_status_is_written_as_it_always_was() {
    let held = json!({
        "run": "3.1", "stage": "checking", "valid_ms": 1500, "address_held": true, "probe_failure": "refused",
        "sick": true, "services": { "sams": "up, not healthy" }, "probes": { "smtp 25": true },
    });
    let mut mail = json!({
        "state": "checking", "holder": "a", "last_holder": "b", "epoch": 3, "stuck": "stuck on a",
        "record": "b fell silent", "unreadable": true, "reason": "it starts", "vips": ["192.0.2.10"],
        "unreached": "b can't reach it", "stopped": "by ann", "paused": "by bob", "deleted": "by cid",
        "drift": "another image", "wish": "switchover", "refused": "full", "unready": "no disk",
    });
    mail["asked"] = json!({ "id": 17, "what": "switchover", "to": "c", "state": "begun" });
    mail["serving"] = json!("3.1");
    mail["set"] = json!({ "restarts.budget": {
        "value": "7", "file": "3", "set": { "by": "fay", "at": "noon", "why": "night" }, "elsewhere": ["c"],
    } });
    mail["warnings"] = json!(["no image"]);
    mail["trouble"] = json!({ "state": "restarting", "why": "refused" });
    mail["opinions"] = json!({ "b": "refused" });
    mail["without"] = json!({ "c": "by dan" });
    mail["used"] = json!({ "c": "sams-1" });
    mail["held"] = held;
    let node = json!({
        "state": "alive", "version": "1", "address": "192.0.2.1:8008", "priority": 10, "away_s": 600, "beat_ms": 120, "ttl_ms": 5000,
        "groups": { "mail": "no disk" }, "clock": "hpet", "endpoints": "closed", "drained": "by eve",
    });
    let mut wanted = json!({
        "node": "a", "cluster": "mail", "version": "1", "member": "joined", "etcd_age_ms": 7, "etcd_failure": "timed out",
        "engine_failure": "down", "etcd_troubles": ["etcd http://a: full"], "watchdog": "not fed", "ttl_ms": 5000, "longest_ms": 9000, "reason": "joined",
    });
    wanted["promises"] = json!({
        "bound_ms": 3_600_000, "left_ms": 3_590_000, "lacking": ["b"], "alone": true, "too_many": 60, "fault": "UDP is taken",
    });
    wanted["measured"] = json!({ "for_s": 86_400, "stops_a_day": 0.5, "would_carry_ms": 3000 });
    wanted["overall"] = json!({ "health": "warning", "sentences": ["b is silent"] });
    wanted["damaged"] = json!({ "/k": "can't be read" });
    wanted["nodes"] = json!({ "a": node });
    wanted["groups"] = json!({ "mail": mail });
    assert_eq!(written(&Status::from(filled())), wanted);
}

#[test]
fn the_words_of_a_later_sidecar_are_read_and_written_again() {
    let mut later = written(&Status::from(filled()));
    later["member"] = "hibernating".into();
    later["watchdog"] = "barking".into();
    later["overall"]["health"] = "splendid".into();
    later["nodes"]["a"]["state"] = "drowsy".into();
    let mail = &mut later["groups"]["mail"];
    mail["state"] = "levitating".into();
    mail["trouble"]["state"] = "bewitched".into();
    mail["held"]["stage"] = "rehearsing".into();
    mail["a field of a later version"] = 1.into();
    let read: Status = serde_json::from_value(later.clone()).unwrap();
    assert_eq!(read.member, MemberState::Other("hibernating".to_owned()));
    assert_eq!(read.overall.health.code(), 3);
    later["groups"]["mail"]
        .as_object_mut()
        .unwrap()
        .remove("a field of a later version");
    assert_eq!(written(&read), later);
}

#[test]
fn an_epoch_is_written_as_it_stands_in_etcd() {
    let begun = history::Begun {
        epoch: 2,
        from: Some("a".to_owned()),
        to: "b".to_owned(),
        cause: "a fell silent".to_owned(),
        at: "noon".to_owned(),
        before: history::Before::Silence,
        phases: vec![history::Phase {
            what: history::PhaseKind::TakeOver,
            ms: 12,
        }],
        served: true,
    };
    let left = history::Left {
        epoch: 2,
        node: "b".to_owned(),
        cause: "stopped".to_owned(),
        at: "one".to_owned(),
        phases: vec![history::Phase {
            what: history::PhaseKind::Stop,
            ms: 300,
        }],
        runs: 2,
    };
    let act = history::AuditEntry {
        at: "noon".to_owned(),
        by: "ann on a".to_owned(),
        verb: "stop".to_owned(),
        group: Some("mail".to_owned()),
        node: Some("b".to_owned()),
        why: "disk".to_owned(),
        accepted: true,
        answer: "it stops".to_owned(),
    };
    let wanted = json!({
        "group": "mail",
        "epochs": [{ "epoch": 2, "begun": begun, "left": left, "total_ms": 12, "unknown": "a part" }],
        "acts": [act],
    });
    let history = History::from(history::History {
        group: "mail".to_owned(),
        epochs: vec![history::Epoch {
            epoch: 2,
            begun: Some(begun),
            left: Some(left),
            total_ms: Some(12),
            unknown: Some("a part".to_owned()),
        }],
        acts: vec![act],
    });
    assert_eq!(written(&history), wanted);
    let mut later = written(&history.epochs[0].begun);
    later["before"] = "an eclipse".into();
    later["phases"][0]["what"] = "farewell".into();
    let read: Begun = serde_json::from_value(later.clone()).unwrap();
    assert_eq!(written(&read), later);
}

#[test]
fn an_export_comes_back_as_it_was() {
    let order = records::StandingOrder {
        by: "ann on a".to_owned(),
        at: "noon".to_owned(),
        why: "disk".to_owned(),
        until: Some("one".to_owned()),
    };
    let orders = || [("b".to_owned(), order.clone())].into();
    let group = exported::ExportedGroup {
        epoch: 7,
        node: "a".to_owned(),
        store: Some(records::StoreIds {
            id: "x".to_owned(),
            mounts: vec!["/var/mail".to_owned()],
        }),
        stopped: Some(order.clone()),
        deleted: Some(order.clone()),
        set: [(
            "failback".to_owned(),
            exported::ExportedValue {
                to: "manual".to_owned(),
                by: "ann".to_owned(),
                at: "noon".to_owned(),
                why: "disk".to_owned(),
            },
        )]
        .into(),
        excluded: orders(),
    };
    let whole = exported::Exported {
        format: 1,
        cluster: "mail".to_owned(),
        generation: 2,
        ttl_ms: 5000,
        longest_ms: Some(9000),
        groups: [("mail".to_owned(), group)].into(),
        drained: orders(),
    };
    let order = json!({ "by": "ann on a", "at": "noon", "why": "disk", "until": "one" });
    let wanted = json!({
        "format": 1, "cluster": "mail", "generation": 2, "ttl_ms": 5000, "longest_ms": 9000, "drained": { "b": order },
        "groups": { "mail": {
            "epoch": 7, "node": "a", "store": { "id": "x", "mounts": ["/var/mail"] }, "stopped": order, "deleted": order,
            "set": { "failback": { "to": "manual", "by": "ann", "at": "noon", "why": "disk" } }, "without": { "b": order },
        } },
    });
    let there = written(&Exported::from(whole.clone()));
    assert_eq!(there, wanted);
    let back: Exported = serde_json::from_value(there).unwrap();
    assert_eq!(exported::Exported::from(back), whole);
}
