//! `leasehold status`: how the cluster is and what to do next, then the groups and the nodes, as this node sees them.

use anyhow::Result;

use super::answer::Answer;
use super::client::{self, Daemon};
use super::page::{Page, Piece, Tone, View, plain};
use super::when;
use leasehold_api::status::{GroupLine, MeasuredLine, NodeLine, PromisesLine, Status};
use leasehold_api::words::{GroupState, Health, MemberState, NodeState};

/// What must be thought about first, and is never the next thing to type.
const GRAVE: [&str; 4] = [
    "leasehold fenced",
    "leasehold accept",
    "leasehold node remove",
    "leasehold group delete",
];

/// A stop in ten days is nothing to be warned of.
const RARE: f64 = 0.1;

/// Where no sidecar answers, nothing is known: that is no mere warning.
pub(super) async fn show(daemon: &Daemon) -> Result<Answer> {
    match client::status(daemon).await {
        Ok(status) => {
            let page = render(&status, View::of_stdout());
            Ok(Answer::page(&status, &page)?.code(status.overall.health.code()))
        }
        Err(error) => Ok(Answer::bad(format!("{error:#}")).code(Health::Unknown.code())),
    }
}

/// The whole of it, laid out.
pub(super) fn render(status: &Status, view: View) -> Page {
    let mut page = Page::new(view);
    let tone = tone(&status.overall.health);
    let next = next(status).map_or(String::new(), |next| format!("; next: {next}"));
    let head = [
        plain("health: "),
        Piece::new(tone, status.overall.health.word()),
        plain(next),
    ];
    page.line(&head, 2);
    for sentence in &status.overall.sentences {
        let sentence = when::said(sentence, view.now);
        page.line(&[Piece::new(tone, "! "), plain(sentence)], 2);
    }
    page.gap();
    let groups: Vec<_> = status
        .groups
        .iter()
        .map(|(name, line)| group(name, line, view))
        .collect();
    page.table(&["GROUP", "HOLDER", "EPOCH", "HERE", "ADDRESSES"], &groups);
    page.gap();
    let nodes: Vec<_> = status.nodes.iter().map(|(name, line)| node(name, line, view)).collect();
    page.table(
        &["NODE", "STATE", "LAST BEAT", "PRIORITY", "VERSION", "READINESS"],
        &nodes,
    );
    page.gap();
    let age = status
        .etcd_age_ms
        .map_or("never read".to_owned(), |ms| format!("read {}", when::ago_ms(ms)));
    let ttl = when::took(status.ttl_ms);
    let (cluster, node, member) = (&status.cluster, &status.node, &status.member);
    let seen = format!("cluster {cluster}, seen from {node} ({member}; etcd {age}; ttl {ttl})");
    page.line(&[Piece::new(Tone::Faint, seen)], 2);
    if let Some(promises) = &status.promises {
        page.line(&[without_etcd(promises)], 2);
    }
    if let Some(measured) = status.measured.as_ref().filter(|line| line.stops_a_day >= RARE) {
        page.line(&[too_short(&ttl, measured)], 2);
    }
    if !status.reason.is_empty() {
        let said = format!("last decision of {node}: {}", when::said(&status.reason, view.now));
        page.line(&[Piece::new(Tone::Faint, said)], 2);
    }
    page
}

/// What the measurements say against the ttl of now.
fn too_short(ttl: &str, measured: &MeasuredLine) -> Piece {
    let stops = measured.stops_a_day;
    let said = format!(
        "with ttl {ttl}, what was measured here would have stopped a service {stops:.1} times a day; see `leasehold check`"
    );
    Piece::new(Tone::Warning, said)
}

/// For how long etcd may be away, as far as this node's groups go.
fn without_etcd(promises: &PromisesLine) -> Piece {
    match promises.left_ms {
        Some(left) => Piece::new(Tone::Faint, format!("etcd may be away for up to {}", when::took(left))),
        None if promises.alone || promises.too_many.is_some() || !promises.lacking.is_empty() => {
            Piece::new(Tone::Warning, "etcd may not be away for longer than a ttl")
        }
        None => {
            let bound = when::took(promises.bound_ms);
            Piece::new(
                Tone::Faint,
                format!("with promises a holder runs on for up to {bound} without etcd"),
            )
        }
    }
}

fn tone(health: &Health) -> Tone {
    match health {
        Health::Normal => Tone::Good,
        Health::Warning => Tone::Warning,
        Health::Failed | Health::Unknown | Health::Other(_) => Tone::Bad,
    }
}

/// What to type first where something is wrong; none where nothing is.
fn next(status: &Status) -> Option<String> {
    if status.overall.health == Health::Normal {
        return None;
    }
    if status.member != MemberState::Joined {
        return Some("leasehold check".to_owned());
    }
    let mut sentences = status.overall.sentences.iter();
    if status.overall.health == Health::Failed
        && let Some((name, _)) = status.groups.iter().find(|(_, line)| fails(line))
    {
        // The worst comes first.
        let worst = sentences.next().and_then(|sentence| named(sentence));
        return Some(worst.unwrap_or_else(|| format!("leasehold why {name}")));
    }
    if let Some(named) = sentences.find_map(|sentence| named(sentence)) {
        return Some(named);
    }
    for (name, line) in &status.groups {
        if line.paused.is_some() {
            return Some(format!("leasehold resume {name}"));
        }
        if line.stopped.is_some() && line.holder.is_none() && line.deleted.is_none() {
            return Some(format!("leasehold start {name}"));
        }
    }
    if let Some((name, _)) = status.nodes.iter().find(|(_, line)| line.drained.is_some()) {
        return Some(format!("leasehold undrain {name}"));
    }
    match status.nodes.iter().find(|(_, line)| line.state != NodeState::Alive) {
        Some((name, _)) => Some(format!("leasehold check (on {name})")),
        None => Some("leasehold check".to_owned()),
    }
}

fn fails(line: &GroupLine) -> bool {
    let is_wanted = line.stopped.is_none() && line.deleted.is_none();
    line.stuck.is_some() || line.trouble.is_some() || (line.holder.is_none() && is_wanted && !line.unreadable)
}

/// The command that a sentence names, if it may be typed without a second thought.
fn named(sentence: &str) -> Option<String> {
    let quoted = sentence.split('`').skip(1).step_by(2);
    let mut commands = quoted.filter(|words| words.starts_with("leasehold "));
    let found = commands.find(|words| !GRAVE.iter().any(|grave| words.starts_with(grave)));
    found.map(str::to_owned)
}

fn group(name: &str, line: &GroupLine, view: View) -> (Vec<Piece>, Vec<Piece>) {
    let cells = vec![
        plain(name),
        holder(line),
        plain(line.epoch.to_string()),
        here(line),
        plain(line.vips.join(" ")),
    ];
    let reason = when::said(&line.reason, view.now);
    let below = Some(Piece::new(Tone::Faint, reason)).filter(|_| !line.reason.is_empty());
    let set: Vec<String> = line
        .set
        .iter()
        .map(|(name, one)| format!("{name}={}", one.value))
        .collect();
    let set = Some(Piece::new(
        Tone::Faint,
        format!("set at run time: {}; see `leasehold config diff`", set.join(", ")),
    ))
    .filter(|_| !line.set.is_empty());
    (cells, below.into_iter().chain(set).collect())
}

fn holder(line: &GroupLine) -> Piece {
    match (&line.holder, &line.trouble) {
        (Some(holder), Some(trouble)) => Piece::new(Tone::Bad, format!("{holder} ({})", trouble.state)),
        (Some(holder), None) => plain(holder),
        (None, _) => plain("-"),
    }
}

fn here(line: &GroupLine) -> Piece {
    match &line.held {
        Some(held) if line.stuck.is_some() => Piece::new(Tone::Bad, format!("stuck {}", held.run)),
        Some(held) => Piece::new(Tone::Good, format!("{} {}", held.stage, held.run)),
        None if line.state == GroupState::Stuck => Piece::new(Tone::Bad, line.state.word()),
        None => plain(line.state.word()),
    }
}

fn node(name: &str, line: &NodeLine, view: View) -> (Vec<Piece>, Vec<Piece>) {
    let (ready, below) = readiness(line, view);
    let cells = vec![
        plain(name),
        state(line),
        plain(last_seen(line)),
        plain(line.priority.to_string()),
        plain(or_none(&line.version)),
        ready,
    ];
    (cells, below)
}

/// How the node is.
pub(super) fn state(line: &NodeLine) -> Piece {
    let tone = match line.state {
        NodeState::Alive => Tone::Good,
        NodeState::Silent | NodeState::Away | NodeState::Other(_) => Tone::Warning,
    };
    Piece::new(tone, line.state.word())
}

/// When it was seen last.
pub(super) fn last_seen(line: &NodeLine) -> String {
    match (line.beat_ms, line.away_s) {
        (Some(ms), _) => when::ago_ms(ms),
        // It is remembered to a minute.
        (None, Some(0..120)) => "a minute ago".to_owned(),
        (None, Some(seconds)) => when::ago(seconds),
        (None, None) => "-".to_owned(),
    }
}

/// In a word, and why not, a line for each reason.
pub(super) fn readiness(line: &NodeLine, view: View) -> (Piece, Vec<Piece>) {
    if line.state != NodeState::Alive {
        return (plain("-"), Vec::new());
    }
    if let Some(order) = &line.drained {
        let order = when::said(&format!("drained {order}"), view.now);
        return (Piece::new(Tone::Warning, "drained"), vec![plain(order)]);
    }
    let unready = line.groups.iter().filter(|(_, why)| !why.is_empty());
    let unready: Vec<Piece> = unready
        .map(|(group, why)| plain(when::said(&format!("{group}: {why}"), view.now)))
        .collect();
    match unready.is_empty() {
        true => (Piece::new(Tone::Good, "ready"), unready),
        // Scripts look for ` ready` at the end of a line.
        false => (Piece::new(Tone::Warning, "unready"), unready),
    }
}

/// A dash where there is nothing.
pub(super) fn or_none(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use leasehold_api::status::{HeldLine, Overall, Trouble};
    use leasehold_api::words::{Stage, TroubleState};

    const VIEW: View = View {
        width: Some(80),
        now: 1_795_381_445,
    };

    fn status(stuck: Option<&str>, holder: Option<&str>) -> Status {
        let line = GroupLine {
            holder: holder.map(str::to_owned),
            stuck: stuck.map(str::to_owned),
            held: stuck.map(|_| HeldLine {
                run: "3.1".into(),
                stage: Stage::Stopping,
                ..HeldLine::default()
            }),
            reason: stuck.unwrap_or_default().to_owned(),
            ..GroupLine::default()
        };
        let alive = NodeLine {
            state: NodeState::Alive,
            ..NodeLine::default()
        };
        Status {
            member: MemberState::Joined,
            nodes: [("a".to_owned(), alive)].into(),
            groups: [("mail".to_owned(), line)].into(),
            ..Status::default()
        }
    }

    fn shown(status: &Status) -> String {
        render(status, VIEW).text()
    }

    #[test]
    fn it_says_for_how_long_etcd_may_be_away() {
        let mut seen = status(None, Some("a"));
        assert!(!shown(&seen).contains("without etcd") && !shown(&seen).contains("etcd may"));
        let mut promises = PromisesLine {
            bound_ms: 3_600_000,
            ..PromisesLine::default()
        };
        seen.promises = Some(promises.clone());
        assert!(shown(&seen).contains("a holder runs on for up to 1 h 0 min without etcd"));
        promises.left_ms = Some(3_500_000);
        seen.promises = Some(promises.clone());
        assert!(shown(&seen).contains("etcd may be away for up to 58 min 20 s"));
        (promises.left_ms, promises.lacking) = (None, vec!["b".to_owned()]);
        seen.promises = Some(promises.clone());
        assert!(shown(&seen).contains("etcd may not be away for longer than a ttl"));
        (promises.too_many, promises.lacking) = (Some(60), Vec::new());
        seen.promises = Some(promises);
        assert!(shown(&seen).contains("etcd may not be away for longer than a ttl"));
    }

    #[test]
    fn it_warns_of_a_ttl_that_was_too_short_for_what_was_measured() {
        let mut seen = status(None, Some("a"));
        seen.ttl_ms = 1000;
        let mut measured = MeasuredLine {
            for_s: 86_400,
            stops_a_day: 0.05,
            would_carry_ms: Some(1000),
        };
        seen.measured = Some(measured.clone());
        assert!(!shown(&seen).contains("measured"));
        measured.stops_a_day = 0.3;
        seen.measured = Some(measured);
        let text = shown(&seen).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            text.contains("would have stopped a service 0.3 times a day; see `leasehold check`"),
            "{text}"
        );
    }

    fn with_health(mut status: Status, health: Health, sentence: &str) -> Status {
        let sentences = vec![sentence.to_owned()];
        status.overall = Overall { health, sentences };
        status
    }

    #[test]
    fn what_the_holder_says_stands_beside_its_name() {
        let mut seen = status(None, Some("a"));
        assert!(!shown(&seen).contains("a ("), "{}", shown(&seen));
        for line in seen.groups.values_mut() {
            line.trouble = Some(Trouble {
                state: TroubleState::Sick,
                why: "smtp 25: refused".to_owned(),
            });
        }
        let text = shown(&with_health(
            seen,
            Health::Failed,
            "mail is sick on a: smtp 25: refused",
        ));
        let first = "health: failed; next: leasehold why mail\n! mail is sick on a: smtp 25: refused\n";
        assert!(text.starts_with(first) && text.contains("a (sick)"), "{text}");
    }

    #[test]
    fn a_group_that_is_stuck_says_so_with_its_remedy() {
        let text = shown(&status(Some("stuck on a (why): run `leasehold fenced a`"), Some("a")));
        assert!(
            text.contains("stuck 3.1") && text.contains("run `leasehold fenced a`"),
            "{text}"
        );
    }

    #[test]
    fn the_words_of_a_later_sidecar_are_shown_as_they_are() {
        let mut later = status(None, Some("a"));
        later.member = MemberState::Other("hibernating".to_owned());
        later.overall.health = Health::Other("splendid".to_owned());
        later.nodes.get_mut("a").unwrap().state = NodeState::Other("drowsy".to_owned());
        let text = shown(&later);
        for words in ["(hibernating; ", "health: splendid", "a     drowsy"] {
            assert!(text.contains(words), "{words}: {text}");
        }
        assert_eq!(later.overall.health.code(), Health::Unknown.code());
    }

    #[test]
    fn the_next_command_is_one_that_may_be_typed() {
        let well = status(None, Some("a"));
        let of = |status: Status| next(&status);
        assert_eq!(of(with_health(well.clone(), Health::Normal, "")), None);
        let warned = |change: fn(&mut Status), sentence: &str| {
            let mut status = well.clone();
            change(&mut status);
            of(with_health(status, Health::Warning, sentence))
        };
        for (change, sentence, wanted) in [
            (
                (|_| ()) as fn(&mut Status),
                "mail on a: changed: `leasehold apply mail`",
                "leasehold apply mail",
            ),
            (
                |_| (),
                "c is away: if it will not come back, `leasehold node remove c`",
                "leasehold check",
            ),
            (
                |status| status.nodes.get_mut("a").unwrap().state = NodeState::Silent,
                "a is silent",
                "leasehold check (on a)",
            ),
            (
                |status| status.groups.get_mut("mail").unwrap().paused = Some("by ann".to_owned()),
                "mail is on pause",
                "leasehold resume mail",
            ),
            (
                |status| status.nodes.get_mut("a").unwrap().drained = Some("by ann".to_owned()),
                "a is drained",
                "leasehold undrain a",
            ),
        ] {
            assert_eq!(warned(change, sentence).as_deref(), Some(wanted), "{sentence}");
        }
        let mut stopped = status(None, None);
        stopped.groups.get_mut("mail").unwrap().stopped = Some("by ann".to_owned());
        assert_eq!(
            of(with_health(stopped, Health::Warning, "mail is stopped")).as_deref(),
            Some("leasehold start mail")
        );
        let nowhere = with_health(status(None, None), Health::Failed, "mail is active nowhere");
        assert_eq!(of(nowhere).as_deref(), Some("leasehold why mail"));
        let said = "mail is active nowhere: its storage is not initialised: run `leasehold init mail`";
        let unprepared = with_health(status(None, None), Health::Failed, said);
        assert_eq!(of(unprepared).as_deref(), Some("leasehold init mail"));
        let mut frozen = well;
        frozen.member = MemberState::Frozen;
        assert_eq!(
            of(with_health(frozen, Health::Unknown, "a is frozen")).as_deref(),
            Some("leasehold check")
        );
    }

    /// Three nodes and four groups with names as long as a host's may be.
    fn long() -> Status {
        let order = "by christopher-robin.milne on mailserver-02.frankfurt.example.org at 2026-11-22T21:02:05Z (replacing the \
                     second disk of the array), until 2026-11-22T22:04:05Z";
        let nodes = ["01", "02", "03"].map(|number| format!("mailserver-{number}.frankfurt.datacenter.example.org"));
        let node = |beat_ms, why: &str| NodeLine {
            state: NodeState::Alive,
            beat_ms: Some(beat_ms),
            version: "0.1.0-pre.4+linux".to_owned(),
            groups: [("customer-relationship-management".to_owned(), why.to_owned())].into(),
            ..NodeLine::default()
        };
        let line = |holder: &str| GroupLine {
            holder: Some(holder.to_owned()),
            epoch: 281_474_976_710_656,
            vips: vec![
                "2001:db8:ffff:ffff:ffff:ffff:ffff:fff1/128".to_owned(),
                "192.0.2.10/24".to_owned(),
            ],
            reason: format!("on pause {order}"),
            ..GroupLine::default()
        };
        let names = ["mail", "customer-relationship-management", "groupware", "a"];
        Status {
            cluster: "frankfurt-and-amsterdam-production".to_owned(),
            node: nodes[0].clone(),
            member: MemberState::Joined,
            etcd_age_ms: Some(214),
            ttl_ms: 10_000,
            reason: "an-unbroken-word-".repeat(12),
            overall: Overall {
                health: Health::Warning,
                sentences: vec![format!("mail is on pause {order}: `leasehold resume mail` ends it")],
            },
            groups: names.map(|name| (name.to_owned(), line(&nodes[1]))).into(),
            nodes: [
                (nodes[0].clone(), node(120, "")),
                (
                    nodes[1].clone(),
                    node(
                        61_000,
                        "the image registry.example.org/customer/relationship:2026.11.22 is not here",
                    ),
                ),
                (nodes[2].clone(), node(3, "")),
            ]
            .into(),
            ..Status::default()
        }
    }

    #[test]
    fn it_fits_eighty_columns_whatever_the_names_are() {
        let text = shown(&long());
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{}: {line:?}\n{text}", line.chars().count());
        }
        // A person's times, nothing lost, and every word of a sentence whole.
        for words in [
            "2 min ago",
            "ending in 60 min",
            "0.1 s ago",
            "1 min ago",
            "unready",
            "seen from",
        ] {
            assert!(text.contains(words), "{words}\n{text}");
        }
        assert!(!text.contains("2026-11-22T"), "{text}");
        let whole = render(&long(), View { width: None, ..VIEW }).text();
        let letters = |text: &str| {
            text.chars()
                .filter(|letter| !letter.is_whitespace())
                .collect::<String>()
        };
        let mut cut: Vec<char> = letters(&text).chars().collect();
        let mut all: Vec<char> = letters(&whole).chars().collect();
        cut.sort_unstable();
        all.sort_unstable();
        assert_eq!(cut, all, "what was wrapped has every letter");
    }
}
