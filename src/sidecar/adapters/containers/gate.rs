//! Why a container did not come to its gate: its exit code and its tether's own words; and whose fault that is.

use std::sync::Arc;
use std::time::Duration;

use super::Shared;
use super::in_flight::Job;
use crate::adapters::engine::EngineError;
use leasehold_base::epoch::Run;
use leasehold_base::exit::Code;
use leasehold_core::event::{Blame, Event, NotStarted, ServiceKey};

/// Longer than the core waits for a gate.
const WATCH: Duration = Duration::from_secs(30);
/// The engine's words where what runs containers for it failed, or is being replaced. All else that it refuses, it refuses
/// for the container's sake.
const RUNTIME: [&str; 6] = [
    "oci runtime",
    "runc",
    "containerd",
    "shim",
    "ttrpc",
    "transport is closing",
];
/// What the engine says where this host lacks something that it once had, and every start fails until somebody brings it back; and
/// how.
const LACKS: [(&str, &str); 2] = [
    (
        "no chain/target/match by that name",
        "the engine's packet filter chains are gone, flushed by a firewall's reload: restart the engine, which makes them anew",
    ),
    (
        "apparmor",
        "the engine's AppArmor profile is not loaded: restart AppArmor, or the engine, which loads it anew",
    ),
];
/// What precedes a tether's reason.
const NOT_STARTED: &str = "leasehold: not started (";
/// What follows it for whoever reads the log: who leads the group, which is known here.
const HINTS: [&str; 2] = ["; GROUP is led by ", "; see `leasehold status`"];
/// What is told of another program's last line.
const WORDS_MAX: usize = 200;

impl Shared {
    /// Sees a started container end before its gate; what was let in is the business of its pidfd.
    pub(super) fn watch_gate_soon(self: &Arc<Self>, of: &ServiceKey, run: Run, id: String) {
        let Some(running) = self.in_flight.begin(Job::Gate(of.clone())) else {
            return;
        };
        let (shared, of) = (Arc::clone(self), of.clone());
        tokio::spawn(async move {
            if let Ok(code) = shared.engine.within(WATCH).ended(&id).await {
                let lines = shared.engine.last_lines(&id).await;
                let result = Err(ended(&of.group, code, &lines.unwrap_or_default()));
                shared.report(Event::StartAnswered { of, run, result }).await;
            }
            drop(running);
        });
    }
}

/// The engine did not start it.
pub(super) fn not_started(error: &EngineError) -> NotStarted {
    if let Some(remedy) = lacking(error) {
        return NotStarted {
            why: format!("{error}: {remedy}"),
            blame: Blame::Lasting,
        };
    }
    let blame = match error {
        EngineError::Unreachable(_) => Blame::Engine,
        EngineError::Refused { status: 500.., message } if is_of_runtime(message) => Blame::Engine,
        EngineError::Invalid { .. } => Blame::Lasting,
        EngineError::Refused { .. } | EngineError::Missing { .. } => Blame::Unknown,
    };
    NotStarted {
        why: error.to_string(),
        blame,
    }
}

fn lacking(error: &EngineError) -> Option<&'static str> {
    let message = error.to_string().to_lowercase();
    let refused = matches!(error, EngineError::Refused { .. });
    let found = LACKS.iter().find(|(words, _)| refused && message.contains(words));
    found.map(|(_, remedy)| *remedy)
}

fn is_of_runtime(message: &str) -> bool {
    let message = message.to_lowercase();
    RUNTIME.iter().any(|word| message.contains(word))
}

/// It was started, and ended by itself.
pub(super) fn ended(group: &str, code: i64, lines: &[String]) -> NotStarted {
    let Some(of_tether) = Code::from_number(code) else {
        let last = lines.iter().rfind(|line| !line.is_empty());
        let words: String = last.map_or("", String::as_str).chars().take(WORDS_MAX).collect();
        let words = if words.is_empty() { words } else { format!(": {words}") };
        return format!("it ended before its gate with exit code {code}{words}").into();
    };
    let name = of_tether.name();
    // One line a run, and the log goes back to earlier ones.
    let said = lines.iter().rev().find_map(|line| {
        let (head, reason) = line.strip_prefix(NOT_STARTED)?.split_once("): ")?;
        let hint = HINTS.iter().find_map(|hint| reason.find(&hint.replace("GROUP", group)));
        let reason = hint.map_or(reason, |at| &reason[..at]);
        head.starts_with(&code.to_string()).then(|| reason.to_owned())
    });
    let why = said.unwrap_or_else(|| "its log can't be read through the engine".to_owned());
    NotStarted {
        why: format!("its tether refused ({code} {name}): {why}"),
        blame: match of_tether.is_lasting() {
            true => Blame::Lasting,
            false => Blame::Unknown,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, message: &str) -> Blame {
        let message = message.to_owned();
        not_started(&EngineError::Refused { status, message }).blame
    }

    #[test]
    fn only_an_engine_that_can_run_nothing_is_blamed() {
        let silent = EngineError::Unreachable("connection refused".to_owned());
        assert_eq!(not_started(&silent).blame, Blame::Engine);
        assert_eq!(
            refused(500, "start: OCI runtime create failed: exec format error"),
            Blame::Engine
        );
        assert_eq!(refused(500, "start: failed to create shim task"), Blame::Engine);
        // As Docker 20.10.24 said them.
        let flushed = "start: driver failed programming external connectivity on endpoint c1 (8465): (iptables failed: iptables \
                       --wait -t nat -A DOCKER -p tcp: iptables: No chain/target/match by that name.\n (exit status 1))";
        let profile = "start: OCI runtime create failed: container_linux.go:380: starting container process caused: process_linux.go:\
                       545: container init caused: apply apparmor profile: apparmor failed to apply profile: no such file";
        for (message, remedy) in [(flushed, "restart the engine"), (profile, "restart AppArmor")] {
            let message = message.to_owned();
            let failure = not_started(&EngineError::Refused { status: 500, message });
            assert!(
                failure.blame == Blame::Lasting && failure.why.contains(remedy),
                "{failure:?}"
            );
        }
        for (status, message) in [
            (500, "start: error while mounting volume: no such device"),
            (
                500,
                "start: driver failed programming external connectivity: port is already allocated",
            ),
            (
                400,
                "start: OCI runtime create failed: exec: \"/leasehold/tether\": permission denied",
            ),
            (409, "start: in use"),
        ] {
            assert_eq!(refused(status, message), Blame::Unknown, "{message}");
        }
        let missing = EngineError::Missing {
            what: "image".to_owned(),
        };
        assert_eq!(not_started(&missing).blame, Blame::Unknown);
        // Such as its name, which another container has: until somebody mends that.
        let taken = EngineError::Invalid {
            message: "the name is taken".to_owned(),
        };
        assert_eq!(not_started(&taken).blame, Blame::Lasting);
    }

    #[test]
    fn a_tether_is_quoted_and_its_code_says_whether_it_lasts() {
        let line = |text: &str| vec![text.to_owned(), String::new()];
        let said = ended(
            "mail",
            208,
            &line("leasehold: not started (208 environment): no store id at /mail; mail is led by a; to move it: x"),
        );
        assert_eq!(said.why, "its tether refused (208 environment): no store id at /mail");
        assert_eq!(said.blame, Blame::Lasting);
        // What an earlier run said is not its reason.
        let said = ended(
            "mail",
            204,
            &line("leasehold: not started (208 environment): no store id"),
        );
        assert_eq!(
            said.why,
            "its tether refused (204 closed): its log can't be read through the engine"
        );
        assert_eq!(said.blame, Blame::Unknown);
        let said = ended("mail", 127, &line("sh: not found"));
        assert_eq!(
            (said.why.as_str(), said.blame),
            (
                "it ended before its gate with exit code 127: sh: not found",
                Blame::Unknown
            )
        );
        assert_eq!(
            ended("mail", 137, &[]).why,
            "it ended before its gate with exit code 137"
        );
    }
}
