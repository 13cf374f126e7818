//! Hints of the engine: something happened, look again. They may be late, doubled or lost; only `inspect` is the truth.

use std::collections::{BTreeMap, HashMap};
use std::os::unix::fs::MetadataExt;
use std::pin::pin;
use std::time::Duration;

use bollard::models::EventMessage;
use bollard::query_parameters::EventsOptionsBuilder;
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::{Engine, EngineError, Result};

/// Hints that wait for a slow reader before the stream is held up.
const HINTS_MAX: usize = 256;
/// A frozen engine keeps the stream open and says nothing: it is asked this often.
const PING_INTERVAL: Duration = Duration::from_secs(2);
/// An answer later than this counts as a lost engine.
const PING_DEADLINE: Duration = Duration::from_secs(2);
/// Pauses before asking a lost engine again.
const RETRY_PAUSES: [Duration; 5] = [
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
];

/// Something that is worth a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// Something happened to a container.
    Container {
        id: String,
        kind: HintKind,
        /// Its labels, and the engine's `name` and `image`.
        labels: BTreeMap<String, String>,
    },
    /// The engine stopped answering: nothing is known until it is back.
    EngineLost(String),
    /// The same, and it will never answer here: its socket was removed, and what is bound in its place is told nowhere.
    EngineOrphaned,
    /// The engine answers, for the first time or again: inspect everything, hints were lost.
    EngineBack,
}

/// What happened to a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HintKind {
    Started,
    /// It was sent a signal that ends most programs.
    Signalled,
    /// All its processes were frozen.
    Paused,
    Died {
        exit_code: Option<i64>,
    },
    Destroyed,
    /// Its health was looked at, or is another one: which one, only an inspection says.
    Health,
    OutOfMemory,
}

impl Engine {
    /// Hints from now on, until the receiver is dropped. Must be called within a tokio runtime.
    #[must_use]
    pub fn events(&self) -> mpsc::Receiver<Hint> {
        let (hints, receiver) = mpsc::channel(HINTS_MAX);
        let engine = self.within(PING_DEADLINE);
        tokio::spawn(async move { engine.follow(&hints).await });
        receiver
    }

    async fn follow(&self, hints: &mpsc::Sender<Hint>) {
        let mut pauses = RETRY_PAUSES.iter();
        let mut was_lost = false;
        while !hints.is_closed() {
            let (answers, lost) = match self.greet(was_lost).await {
                Ok(()) => self.stream(hints).await,
                Err(error) => (0, error),
            };
            was_lost &= answers == 0;
            if answers > 1 {
                pauses = RETRY_PAUSES.iter();
            }
            if !was_lost && hints.send(Hint::EngineLost(lost.to_string())).await.is_err() {
                return;
            }
            was_lost = true;
            if self.is_orphaned() && hints.send(Hint::EngineOrphaned).await.is_err() {
                return;
            }
            let pause = pauses.next().unwrap_or(&RETRY_PAUSES[RETRY_PAUSES.len() - 1]);
            tokio::select! {
                () = sleep(*pause) => {}
                () = hints.closed() => return,
            }
        }
    }

    /// Whether the socket was bound into this container as a file, and that file is gone from where it lay: an engine that
    /// starts makes another.
    fn is_orphaned(&self) -> bool {
        std::fs::metadata(&self.socket).is_ok_and(|file| file.nlink() == 0)
    }

    /// Whether the engine answers. One that was away may have been replaced by another version.
    async fn greet(&self, was_lost: bool) -> Result<()> {
        if was_lost {
            self.agree().await?;
        }
        self.ping().await
    }

    /// Passes hints on until the engine is lost: how many pings were answered, and how it ended.
    async fn stream(&self, hints: &mpsc::Sender<Hint>) -> (usize, EngineError) {
        let mut answers = 0;
        let lost = match self.pass_on(hints, &mut answers).await {
            Ok(()) => EngineError::Unreachable("nobody listens".to_owned()),
            Err(lost) => lost,
        };
        (answers, lost)
    }

    async fn pass_on(&self, hints: &mpsc::Sender<Hint>, answers: &mut usize) -> Result<()> {
        let docker = self.client().await?;
        let mut events = pin!(docker.events(Some(wanted_events())));
        let mut pings = interval(PING_INTERVAL);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // The stream first: its request is on the way before the ping that says the engine is back.
            let hint = tokio::select! {
                biased;
                () = hints.closed() => return Ok(()),
                event = events.next() => match event {
                    Some(Ok(event)) => hint(event),
                    Some(Err(error)) => return Err(EngineError::sort("events", &error)),
                    None => return Err(EngineError::Unreachable("events: the engine closed the stream".to_owned())),
                },
                _ = pings.tick() => {
                    self.ping().await?;
                    *answers += 1;
                    (*answers == 1).then_some(Hint::EngineBack)
                }
            };
            if let Some(hint) = hint
                && hints.send(hint).await.is_err()
            {
                return Ok(());
            }
        }
    }
}

fn wanted_events() -> bollard::query_parameters::EventsOptions {
    // What is `destroy` to Docker, Podman calls `remove`.
    let events = vec![
        "start",
        "kill",
        "pause",
        "die",
        "destroy",
        "remove",
        "health_status",
        "oom",
    ];
    let filters = HashMap::from([("type", vec!["container"]), ("event", events)]);
    EventsOptionsBuilder::new().filters(&filters).build()
}

/// Whether a signal, as the engine writes it, asks a program to end: interrupt, quit, kill, terminate, and the one that is a
/// web server's stop signal. Others reload.
fn ends(signal: Option<&str>) -> bool {
    matches!(signal, Some("2" | "3" | "9" | "15" | "28"))
}

fn hint(event: EventMessage) -> Option<Hint> {
    let actor = event.actor.unwrap_or_default();
    let mut labels: BTreeMap<_, _> = actor.attributes.unwrap_or_default().into_iter().collect();
    let kind = match event.action.as_deref()? {
        "start" => HintKind::Started,
        "die" => HintKind::Died {
            exit_code: labels.remove("exitCode").and_then(|code| code.parse().ok()),
        },
        "kill" if ends(labels.get("signal").map(String::as_str)) => HintKind::Signalled,
        "pause" => HintKind::Paused,
        "destroy" | "remove" => HintKind::Destroyed,
        "oom" => HintKind::OutOfMemory,
        // Docker puts the new one behind a colon, and speaks of changes alone; Podman says it elsewhere, after every check.
        action if action.split(':').next() == Some("health_status") => HintKind::Health,
        _ => return None,
    };
    Some(Hint::Container {
        id: actor.id?,
        kind,
        labels,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Option<HintKind> {
        match hint(serde_json::from_str(text).unwrap())? {
            Hint::Container { id, kind, .. } => (id == "34d6f87d").then_some(kind),
            Hint::EngineLost(_) | Hint::EngineOrphaned | Hint::EngineBack => None,
        }
    }

    /// As Podman 5.4.2 and Docker 20.10.24 said it, without the labels.
    #[test]
    fn both_engines_events_are_understood() {
        let podman = |action: &str, more: &str| {
            told(&format!(
                r#"{{"status":"{action}","id":"34d6f87d","from":"localhost/leasehold/sams:dev","Type":"container",
                "Action":"{action}","Actor":{{"ID":"34d6f87d","Attributes":{{"image":"localhost/leasehold/sams:dev",
                "name":"mail-sams-a","podId":""{more}}}}},"scope":"local","time":1796076422,"timeNano":1796076422711922053,
                "HealthStatus":"healthy"}}"#
            ))
        };
        let ended = r#","containerExitCode":"137","exitCode":"137""#;
        assert_eq!(podman("health_status", ""), Some(HintKind::Health));
        assert_eq!(podman("remove", ""), Some(HintKind::Destroyed));
        assert_eq!(podman("die", ended), Some(HintKind::Died { exit_code: Some(137) }));
        assert_eq!(podman("start", ""), Some(HintKind::Started));
        assert_eq!((podman("init", ""), podman("cleanup", ended)), (None, None));
        let docker = |action: &str, attributes: &str| {
            told(&format!(
                r#"{{"status":"{action}","id":"34d6f87d","Type":"container","Action":"{action}",
                "Actor":{{"ID":"34d6f87d","Attributes":{{{attributes}}}}},"scope":"local","time":1796076422}}"#
            ))
        };
        assert_eq!(docker("health_status: unhealthy", ""), Some(HintKind::Health));
        assert_eq!(docker("destroy", ""), Some(HintKind::Destroyed));
        assert_eq!(docker("kill", r#""signal":"15""#), Some(HintKind::Signalled));
        assert_eq!(docker("kill", r#""signal":"1""#), None);
        assert_eq!(docker("exec_die: /bin/true", ""), None);
    }
}
