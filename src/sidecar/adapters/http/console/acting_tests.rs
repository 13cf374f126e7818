//! Acts by the console as an operator, a viewer and a page of another site make them.

use std::time::Duration;

use super::tests::Browser;
use crate::adapters::http::tests::{ADMIN, Bench, OPERATOR, VIEWER};
use crate::adapters::http::tls::Shown;
use leasehold_core::event::{Decision, OrderKind, Request};
use leasehold_core::protocol::policy::{Change, Setting, Wanted};
use leasehold_core::requests::fenced::Fenced;
use leasehold_core::requests::refusal::Refusal;
use leasehold_core::snapshot::code::Code;
use leasehold_core::snapshot::settings::SettingLine;
use leasehold_core::snapshot::status::{GroupLine, NodeLine, NodeState};

/// `mail` on a, with b ready.
fn serving() -> Bench {
    let bench = Bench::new();
    let node = |why: &str| NodeLine {
        state: NodeState::Alive,
        groups: [("mail".to_owned(), why.to_owned())].into(),
        ..NodeLine::default()
    };
    bench.turn.send_modify(|turn| {
        turn.status.nodes = [("a", ""), ("b", ""), ("c", "no image")]
            .map(|(name, why)| (name.to_owned(), node(why)))
            .into();
        let line = GroupLine {
            holder: Some("a".to_owned()),
            epoch: 4,
            ..GroupLine::default()
        };
        turn.status.groups = [("mail".to_owned(), line)].into();
    });
    bench
}

#[tokio::test]
async fn an_operator_is_offered_what_can_be_done_and_a_viewer_nothing() {
    let bench = serving();
    let mut operator = Browser::logged_in(&bench.network, OPERATOR).await;
    let first = operator.get("/").await.text;
    for part in [
        "href=\"/group/mail/switchover?to=b\"",
        "href=\"/group/mail/stop\"",
        "href=\"/node/b/drain\"",
        "could not take it: no image",
        "<b>Move to c</b>",
    ] {
        assert!(first.contains(part), "{part} is missing in {first}");
    }
    assert!(
        !first.contains("href=\"/group/mail/switchover?to=c\""),
        "it is not ready"
    );
    let refused = operator.get("/group/mail/switchover?to=c").await;
    assert!(
        refused.text.contains("Not now: ") && !refused.text.contains("<form method=\"post\">"),
        "{}",
        refused.text
    );

    let mut viewer = Browser::logged_in(&bench.network, VIEWER).await;
    for path in ["/", "/group/mail"] {
        let page = viewer.get(path).await;
        assert!(
            page.code == 200 && !page.text.contains("/stop") && !page.text.contains("Actions"),
            "{}",
            page.text
        );
    }
    let asked = viewer.get("/group/mail/stop").await;
    assert!(
        asked.code == 403 && asked.text.contains("v is viewer: this takes operator"),
        "{}",
        asked.text
    );
    let seal = viewer.get("/").await.seal();
    let done = viewer
        .post("/group/mail/stop", &[("seal", &seal), ("typed", "mail")])
        .await;
    assert!(
        done.code == 403 && done.text.contains("this takes operator"),
        "{}",
        done.text
    );
    for (path, code) in [
        ("/group/none", 404),
        ("/group/mail/dance", 404),
        ("/group/mail/drain", 404),
        ("/node/b/stop", 404),
        ("/act/7", 404),
    ] {
        assert_eq!(operator.get(path).await.code, code, "{path}");
    }
}

#[tokio::test]
async fn an_act_goes_the_way_of_the_command_line_and_is_followed() {
    let mut bench = serving();
    let looped = bench.loops();
    let mut operator = Browser::logged_in(&bench.network, OPERATOR).await;
    let page = operator.get("/group/mail/switchover?to=b").await;
    assert!(page.text.contains("a stops mail. Then b starts it"), "{}", page.text);
    let seal = page.seal();
    let fields = [("seal", seal.as_str()), ("to", "b"), ("why", "new disk & more")];
    let done = operator.post("/group/mail/switchover", &fields).await;
    assert_eq!(
        (done.code, done.header(axum::http::header::LOCATION)),
        (303, "/act/1"),
        "{}",
        done.text
    );
    let followed = operator.get("/act/1").await.text;
    assert!(
        followed.contains("Move to b: mail") && followed.contains("Asked by o"),
        "{followed}"
    );

    for (path, fields) in [
        ("/group/mail/pause", vec![("minutes", "30")]),
        ("/group/mail/stop", vec![("typed", "mail")]),
        ("/node/b/drain", vec![]),
    ] {
        let fields = [&[("seal", seal.as_str())][..], &fields].concat();
        assert_eq!(operator.post(path, &fields).await.code, 303, "{path}");
    }
    let acts = bench.kept.acts.lock().unwrap().clone();
    let told: Vec<(&str, &str, bool)> = acts
        .iter()
        .map(|act| (act.by.as_str(), act.verb.as_str(), act.accepted))
        .collect();
    let verbs = ["switchover", "pause 1800 s", "stop", "drain"];
    assert_eq!(
        told,
        verbs.map(|verb| ("o on a", verb, true)),
        "the same as of any other way"
    );
    drop((bench, operator));
    let seen = looped.await.unwrap();
    let Request::Switchover { group, to, origin } = &seen[0] else {
        panic!("{seen:?}");
    };
    assert_eq!(
        (group.as_str(), to.as_deref(), origin.why.as_str()),
        ("mail", Some("b"), "new disk & more")
    );
    let (group, length) = ("mail".to_owned(), Duration::from_secs(1800));
    assert!(
        matches!(&seen[1], Request::Order { order, origin } if *order == OrderKind::Pause { group, length } && origin.until.is_some())
    );
}

/// Each act that takes an admin: what it takes besides the seal, and what the page that follows it is called.
type Grave = (&'static str, &'static [(&'static str, &'static str)], &'static str);

const GRAVE: [Grave; 6] = [
    (
        "/group/mail/delete",
        &[("typed", "mail"), ("why", "moved away")],
        "Delete: mail",
    ),
    ("/group/mail/create", &[], "Create: mail"),
    (
        "/group/mail/fenced",
        &[("typed", "mail"), ("why", "cable pulled")],
        "Its storage is cut",
    ),
    (
        "/node/c/fenced",
        &[("typed", "c"), ("why", "power off")],
        "c is powered off",
    ),
    ("/node/c/remove", &[("typed", "c")], "Remove c"),
    ("/node/a/hold", &[("seconds", "60")], "Hold a"),
];

#[tokio::test]
async fn what_takes_an_admin_is_offered_to_admins_alone() {
    let mut bench = serving();
    let looped = bench.loops();
    let mut operator = Browser::logged_in(&bench.network, OPERATOR).await;
    let first = operator.get("/").await;
    assert!(
        !first.text.contains("/delete") && !first.text.contains("/hold"),
        "{}",
        first.text
    );
    let seal = first.seal();
    for (path, fields, _) in GRAVE {
        let asked = operator.get(path).await;
        let fields = [&[("seal", seal.as_str())], fields].concat();
        let done = operator.post(path, &fields).await;
        for answer in [asked, done] {
            assert!(
                answer.code == 403 && answer.text.contains("o is operator: this takes admin"),
                "{path}: {}",
                answer.text
            );
        }
    }
    assert!(bench.kept.acts.lock().unwrap().is_empty());

    let mut admin = Browser::logged_in(&bench.network, ADMIN).await;
    let first = admin.get("/").await;
    for part in ["href=\"/node/a/hold\"", "<b>Delete</b>", "a holds mail: stop it first"] {
        assert!(first.text.contains(part), "{part} is missing in {}", first.text);
    }
    let seal = first.seal();
    for (path, fields, name) in GRAVE {
        let bare = admin.post(path, &[("seal", "x")]).await;
        assert_eq!(bare.code, 403, "{path}: {}", bare.text);
        let typed = fields.iter().any(|(name, _)| *name == "typed");
        let without: Vec<(&str, &str)> = fields.iter().copied().filter(|(name, _)| *name != "typed").collect();
        if typed {
            let asked = admin
                .post(path, &[&[("seal", seal.as_str())][..], &without].concat())
                .await;
            assert_eq!(asked.code, 422, "{path}: its name is not typed");
        }
        let done = admin.post(path, &[&[("seal", seal.as_str())], fields].concat()).await;
        assert_eq!(done.code, 303, "{path}: {}", done.text);
        let next = done.header(axum::http::header::LOCATION).to_owned();
        let followed = admin.get(&next).await.text;
        assert!(followed.contains(name), "{name}: {followed}");
    }
    // The form of one node's console holds no other node.
    let other = admin.post("/node/b/hold", &[("seal", &seal), ("seconds", "60")]).await;
    assert!(
        other.code == 400 && other.text.contains("ask b itself"),
        "{}",
        other.text
    );
    let acts = bench.kept.acts.lock().unwrap().clone();
    let told: Vec<&str> = acts.iter().map(|act| act.verb.as_str()).collect();
    // What the command line does itself is written down with its own calls.
    assert_eq!(told, ["fenced", "fenced", "remove", "hold 60 s"]);
    drop((bench, operator, admin));
    let seen = looped.await.unwrap();
    let [
        Request::Fenced { what: group, by },
        Request::Fenced { what: node, .. },
        ..,
    ] = &seen[..]
    else {
        panic!("{seen:?}");
    };
    assert_eq!(
        (group, node),
        (&Fenced::Group("mail".to_owned()), &Fenced::Node("c".to_owned()))
    );
    assert!(by.starts_with("cable pulled (a on a) at "), "{by}");
}

#[tokio::test]
async fn what_is_not_meant_reaches_nobody() {
    let mut bench = serving();
    let mut operator = Browser::logged_in(&bench.network, OPERATOR).await;
    let mut other = Browser::logged_in(&bench.network, OPERATOR).await;
    let (seal, foreign) = (operator.get("/").await.seal(), other.get("/").await.seal());
    assert!(seal.len() == 64 && seal != foreign);
    let path = "/group/mail/switchover";
    for seal in ["", "x", &foreign] {
        let answer = operator.post(path, &[("seal", seal), ("to", "b")]).await;
        assert!(
            answer.code == 403 && answer.text.contains("open the page again"),
            "{}",
            answer.text
        );
    }
    let sealed = [("seal", seal.as_str()), ("to", "b")];
    let elsewhere: [&[(&str, &str)]; 4] = [
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
        &[("sec-fetch-site", "cross-site")],
        &[("host", "evil.example"), ("origin", "http://evil.example")],
    ];
    for headers in elsewhere {
        assert_eq!(
            operator.post_with(path, &sealed, headers).await.code,
            403,
            "{headers:?}"
        );
    }
    // Without a session, whatever the form says.
    let mut stranger = Browser::new(&bench.network);
    assert_eq!(stranger.post(path, &sealed).await.code, 303);
    // What ends the service takes its name, once more.
    for typed in ["", "web", "mail mail"] {
        let answer = operator
            .post("/group/mail/stop", &[("seal", &seal), ("typed", typed)])
            .await;
        assert!(
            answer.code == 422 && answer.text.contains("type mail"),
            "{}",
            answer.text
        );
    }
    let odd = operator
        .post("/group/mail/pause", &[("seal", &seal), ("minutes", "-1")])
        .await;
    assert_eq!(odd.code, 400, "{}", odd.text);
    let long = operator
        .post(path, &[("seal", &seal), ("to", "b"), ("why", &"x".repeat(201))])
        .await;
    assert!(
        long.code == 400 && long.text.contains("200 characters"),
        "{}",
        long.text
    );
    let mut root = Browser::new(&bench.host);
    assert_eq!(root.post(path, &sealed).await.code, 403, "not by the socket");
    assert!(bench.asked.try_recv().is_err());
    assert!(bench.kept.acts.lock().unwrap().is_empty());
}

/// A browser shows a certificate to whatever page makes it ask: it takes the seal as a session does.
#[tokio::test]
async fn who_shows_a_certificate_acts_with_the_seal_of_a_page() {
    let mut bench = serving();
    let looped = bench.loops();
    std::fs::write(&bench.tokens, "operator ann cert\n").unwrap();
    let mut browser = Browser::new(&bench.network);
    let names = vec!["ann".to_owned()];
    browser.peer.shown = Some(Shown { names, until: i64::MAX });
    let seal = browser.get("/group/mail/stop").await.seal();
    for (seal, code) in [("", 403), (seal.as_str(), 303)] {
        let answer = browser
            .post("/group/mail/stop", &[("seal", seal), ("typed", "mail")])
            .await;
        assert_eq!(answer.code, code, "{}", answer.text);
    }
    drop((bench, browser));
    let seen = looped.await.unwrap();
    assert!(
        matches!(&seen[..], [Request::Order { origin, .. }] if origin.by == "ann on a"),
        "{seen:?}"
    );
}

#[tokio::test]
async fn a_refusal_of_the_core_is_shown_in_its_words() {
    let mut bench = serving();
    let (_, nothing) = tokio::sync::mpsc::channel(1);
    let mut asked = std::mem::replace(&mut bench.asked, nothing);
    tokio::spawn(async move {
        while let Some(one) = asked.recv().await {
            let group = "mail".to_owned();
            let _ = one.reply.send(Err(Refusal::NoStandby { group }));
        }
    });
    let mut operator = Browser::logged_in(&bench.network, OPERATOR).await;
    let seal = operator.get("/").await.seal();
    let answer = operator.post("/group/mail/failback", &[("seal", &seal)]).await;
    assert!(
        answer.code == 409 && answer.text.contains("no standby is ready for mail"),
        "{}",
        answer.text
    );
}

#[tokio::test]
async fn what_others_wrote_is_text_and_the_last_decision_comes_first() {
    let bench = serving();
    let hostile = "<script>alert(1)</script>";
    bench.turn.send_modify(|turn| {
        let line = turn.status.groups.get_mut("mail").unwrap();
        for field in [&mut line.reason, &mut line.record] {
            hostile.clone_into(field);
        }
        line.paused = Some(format!("by {hostile}"));
        line.drift = Some(hostile.to_owned());
        line.warnings = vec![hostile.to_owned()];
        turn.status.overall.sentences = vec![hostile.to_owned(), hostile.to_owned()];
        let node = turn.status.nodes.get_mut("b").unwrap();
        for field in [
            &mut node.address,
            &mut node.version,
            &mut node.clock,
            &mut node.endpoints,
        ] {
            hostile.clone_into(field);
        }
        let mut recent = crate::decision_log::DecisionLog::default();
        for text in ["decided once", "decided twice", hostile] {
            let decision = Decision {
                code: Code::Released,
                epoch: None,
                group: Some("mail".to_owned()),
                text: text.to_owned(),
            };
            recent.keep("now".to_owned(), &decision);
        }
        turn.recent = recent.into();
    });
    let mut operator = Browser::logged_in(&bench.network, OPERATOR).await;
    for path in ["/", "/group/mail", "/group/mail/apply"] {
        let text = operator.get(path).await.text;
        assert!(!text.contains("<script>"), "{path}: {text}");
        assert!(
            text.contains("&lt;script&gt;") || path.ends_with("apply"),
            "{path}: {text}"
        );
    }
    let text = operator.get("/group/mail").await.text;
    assert!(text.find("decided twice") < text.find("decided once"), "{text}");
}

/// What a screen reader finds its way by.
#[tokio::test]
async fn each_page_has_one_main_part_one_heading_and_no_id_twice() {
    let mut bench = serving();
    let _looped = bench.loops();
    let mut operator = Browser::logged_in(&bench.network, ADMIN).await;
    let seal = operator.get("/").await.seal();
    operator.post("/node/b/drain", &[("seal", &seal)]).await;
    for path in [
        "/",
        "/group/mail/fenced",
        "/group/mail/create",
        "/node/a/hold",
        "/group/mail",
        "/group/mail/stop",
        "/group/mail/pause",
        "/node/b/drain",
        "/act/1",
        "/login",
        "/group/none",
    ] {
        let text = operator.get(path).await.text;
        for (part, count) in [("<main", 1), ("<h1", 1), ("<html lang=\"en\">", 1), ("<title>", 1)] {
            assert_eq!(text.matches(part).count(), count, "{part} in {path}: {text}");
        }
        let ids: Vec<&str> = text
            .split(" id=\"")
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .collect();
        let mut once = ids.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), ids.len(), "{path}: {ids:?}");
        // Each label, description and region names what is there.
        for naming in [" for=\"", " aria-labelledby=\"", " aria-describedby=\""] {
            for named in text.split(naming).skip(1).filter_map(|rest| rest.split('"').next()) {
                assert!(once.contains(&named), "{path}:{naming}{named}");
            }
        }
        let inputs = text.split("<input ").skip(1).filter_map(|rest| rest.split('>').next());
        for input in inputs.filter(|input| !input.contains("type=\"hidden\"")) {
            let id = input
                .split("id=\"")
                .nth(1)
                .and_then(|rest| rest.split('"').next())
                .unwrap_or_default();
            assert!(
                text.contains(&format!("<label for=\"{id}\">")),
                "{path}: {input} has no label"
            );
        }
    }
}

#[tokio::test]
async fn a_value_is_set_by_an_admin_and_one_that_does_not_fit_is_asked_for_again() {
    let mut bench = serving();
    bench.turn.send_modify(|turn| {
        let line = SettingLine {
            setting: Setting::RestartBudget,
            value: "3".to_owned(),
            file: Some("3".to_owned()),
            set: None,
            elsewhere: Some(vec!["c".to_owned()]),
        };
        turn.status.groups.get_mut("mail").unwrap().settings = vec![line];
    });
    let looped = bench.loops();
    let path = "/group/mail/set?to=restarts.budget";
    let mut operator = Browser::logged_in(&bench.network, OPERATOR).await;
    let page = operator.get("/group/mail").await.text;
    assert!(page.contains("not the same on c"), "{page}");
    assert!(!page.contains(path), "it takes an admin");
    assert_eq!(operator.get(path).await.code, 403);

    let mut admin = Browser::logged_in(&bench.network, ADMIN).await;
    assert!(admin.get("/group/mail").await.text.contains(path));
    let form = admin.get(path).await;
    for part in [
        "Set restarts.budget: mail",
        "Nothing restarts",
        "Now it is 3, as the file says",
        "value=\"3\"",
    ] {
        assert!(form.text.contains(part), "{part}: {}", form.text);
    }
    let seal = form.seal();
    let with = |value| {
        [
            ("seal", seal.as_str()),
            ("to", "restarts.budget"),
            ("value", value),
            ("why", "night"),
        ]
    };
    let wrong = admin.post("/group/mail/set", &with("many")).await;
    assert!(
        wrong.code == 422 && wrong.text.contains("Nothing was done: restarts.budget can't be"),
        "{}",
        wrong.text
    );
    let done = admin.post("/group/mail/set", &with("7")).await;
    assert_eq!(done.code, 303, "{}", done.text);
    assert!(
        admin.get("/act/1").await.text.contains("The order is on its way"),
        "not seen yet"
    );
    assert_eq!(admin.get("/group/mail/set?to=ttl").await.code, 404, "no such value");
    let verbs: Vec<String> = bench
        .kept
        .acts
        .lock()
        .unwrap()
        .iter()
        .map(|act| act.verb.clone())
        .collect();
    assert_eq!(verbs, ["config set restarts.budget=7"]);
    drop((bench, operator, admin));
    let group = "mail".to_owned();
    let changes = vec![Change::Set(Wanted::RestartBudget(7))];
    let seen = looped.await.unwrap();
    assert!(
        matches!(&seen[..], [Request::Order { order, .. }] if *order == OrderKind::Set { group, changes }),
        "{seen:?}"
    );
}
