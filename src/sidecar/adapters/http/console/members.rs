//! etcd on the first screen: how long it may be away, and each member with what it said last.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::look::{Tone, span, word};
use crate::timings::MemberSeen;
use leasehold_base::time::Time;
use leasehold_core::snapshot::status::Status;

/// Members that the compose file names, and what was seen of them.
pub(super) struct Members<'a> {
    pub(super) names: &'a [String],
    pub(super) seen: BTreeMap<String, MemberSeen>,
    pub(super) now: Time,
}

pub(super) fn show(status: &Status, members: &Members<'_>) -> Markup {
    let known = match (status.etcd_age_ms, &status.etcd_failure) {
        (_, Some(failure)) => format!("It does not answer this node: {failure}."),
        (Some(age), None) => format!("Its last good answer to this node is {} old.", span(age)),
        (None, None) => "It has not answered this node yet.".to_owned(),
    };
    let held = status
        .groups
        .iter()
        .filter_map(|(name, line)| Some((name, line.held.as_ref()?)));
    html! {
        h2 #etcd { "etcd" }
        p { (known) @if let Some(leader) = members.leader() { " " (leader) " leads." } }
        h3 { "How long it may be away" }
        ul {
            @for (name, held) in held {
                li { "If it falls silent now, " (name) " is stopped here in " strong { (span(held.valid_ms)) } "." }
            }
            li {
                "Every holder stops its service within " (span(status.ttl_ms)) " after its last beat that etcd took. "
                "The service notices nothing of an outage of etcd that is much shorter."
            }
            @if let Some(longest) = status.longest_ms { li { "Until every node has confirmed that: within " (span(longest)) "." } }
        }
        @if !members.names.is_empty() { (table(status, members)) }
    }
}

impl Members<'_> {
    fn leader(&self) -> Option<&str> {
        let mut leaders = self.names.iter().filter(|name| {
            let seen = self.seen.get(*name);
            seen.and_then(|seen| seen.said?.leader) == Some(true)
        });
        leaders.next().map(String::as_str)
    }
}

fn table(status: &Status, members: &Members<'_>) -> Markup {
    html! {
        div.scroll role="region" aria-labelledby="etcd" tabindex="0" {
            table.cards role="table" {
                caption { "Members that this node's compose file names, as it saw them last. It looks once a minute." }
                thead role="rowgroup" { tr role="row" {
                    @for head in ["Member", "Answer", "Part", "File", "Troubles"] { th scope="col" role="columnheader" { (head) } }
                } }
                tbody role="rowgroup" { @for name in members.names { (row(status, name, members.seen.get(name), members.now)) } }
            }
        }
    }
}

fn row(status: &Status, name: &str, seen: Option<&MemberSeen>, now: Time) -> Markup {
    let said = seen.and_then(|seen| seen.said);
    let millis = |length: std::time::Duration| u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
    let troubles = status.etcd_members.get(name).map_or(&[][..], Vec::as_slice);
    html! {
        tr role="row" {
            th scope="row" role="rowheader" { (name) }
            td role="cell" data-of="Answer" {
                @match (seen, said) {
                    (None, _) => span.quiet { "not looked at yet" },
                    (Some(_), None) => (word(Tone::Bad, "no answer")),
                    (Some(_), Some(said)) => { "within " (span(millis(said.took))) }
                }
                @if let Some(seen) = seen { small { (span(millis(now.since(seen.at)))) " ago" } }
            }
            td role="cell" data-of="Part" {
                @match said.map(|said| said.leader) {
                    Some(Some(true)) => strong { "leader" },
                    Some(Some(false)) => "follower",
                    Some(None) | None => span.quiet { "it does not say" },
                }
            }
            td role="cell" data-of="File" {
                @match said.map(|said| (said.size, said.quota)) {
                    Some((Some(size), Some(quota))) => { (bytes(size)) " of " (bytes(quota)) " (" (percent(size, quota)) " %)" },
                    Some((Some(size), None)) => (bytes(size)),
                    Some((None, _)) | None => span.quiet { "it does not say" },
                }
            }
            td role="cell" data-of="Troubles" {
                @if troubles.is_empty() { "none that it told" }
                @for text in troubles { p { (text) } }
            }
        }
    }
}

fn percent(part: u64, whole: u64) -> u64 {
    part.saturating_mul(100) / whole.max(1)
}

/// A size in bytes as a person says it.
fn bytes(count: u64) -> String {
    let (unit, name) = match count {
        0..1_048_576 => (1 << 10, "KiB"),
        1_048_576..1_073_741_824 => (1 << 20, "MiB"),
        1_073_741_824.. => (1 << 30, "GiB"),
    };
    let tenths = count.saturating_mul(10) / unit;
    format!("{}.{} {name}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::timings::MemberFigures;

    #[test]
    fn each_member_is_shown_with_what_it_said_last() {
        let names = ["http://a", "http://b", "http://c"].map(str::to_owned);
        let now = Time::default().plus(Duration::from_secs(100));
        let at = now.minus(Duration::from_secs(20));
        let said = MemberFigures {
            size: Some(20 << 20),
            quota: Some(2 << 30),
            leader: Some(true),
            took: Duration::from_millis(12),
        };
        let seen = [
            ("http://a".to_owned(), MemberSeen { at, said: Some(said) }),
            ("http://b".to_owned(), MemberSeen { at, said: None }),
        ];
        let status = Status {
            etcd_members: [
                ("http://b".to_owned(), vec!["it fills up".to_owned()]),
                ("http://b:1".to_owned(), vec!["it is of another port".to_owned()]),
            ]
            .into(),
            ttl_ms: 8000,
            ..Status::default()
        };
        let members = Members {
            names: &names,
            seen: seen.into(),
            now,
        };
        let page = show(&status, &members).into_string();
        for part in [
            "http://a leads.",
            "within 12 ms<small>20.0 s ago</small>",
            "20.0 MiB of 2.0 GiB (0 %)",
            "no answer</span><small>20.0 s ago</small>",
            "not looked at yet",
            "<p>it fills up</p>",
            "stops its service within 8.0 s",
        ] {
            assert!(page.contains(part), "{part} is missing in {page}");
        }
    }

    #[test]
    fn sizes_are_said_shortly() {
        assert_eq!(
            [bytes(0), bytes(1536), bytes(5 << 30), bytes(u64::MAX)],
            ["0.0 KiB", "1.5 KiB", "5.0 GiB", "1717986918.3 GiB"]
        );
        assert_eq!((percent(1, 0), percent(u64::MAX, 1)), (100, u64::MAX));
    }
}
