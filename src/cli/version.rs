//! `leasehold version`: this program's version, and that of the sidecar of this host.

use std::time::Duration;

use super::answer::Answer;
use super::client::{self, Daemon};

/// Of this program.
pub(super) const OWN: &str = env!("CARGO_PKG_VERSION");
/// Whoever asks for a version does not wait for a sidecar that hangs.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) async fn show(daemon: &Daemon) -> Answer {
    let asked = tokio::time::timeout(PATIENCE, client::status(daemon)).await;
    let sidecar = asked.ok().and_then(Result::ok).map(|status| status.version);
    told(sidecar)
}

fn told(sidecar: Option<String>) -> Answer {
    let text = match sidecar.as_deref() {
        Some(OWN) => format!("leasehold {OWN}, as the sidecar of this host"),
        Some(other) => {
            format!("leasehold {OWN}; the sidecar of this host is {other}: `leasehold node list` has all of them")
        }
        None => format!("leasehold {OWN}; no sidecar answers on this host"),
    };
    Answer::good(text).with("version", OWN).with("sidecar", sidecar).with(
        "platform",
        format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_names_both_and_tells_them_apart() {
        for (sidecar, words) in [
            (Some(OWN), "as the sidecar"),
            (Some("0.0.9"), "the sidecar of this host is 0.0.9"),
            (None, "no sidecar answers"),
        ] {
            let answer = told(sidecar.map(str::to_owned));
            assert!(answer.words().contains(words), "{}", answer.words());
            let read: serde_json::Value = serde_json::from_str(&answer.machine()).unwrap();
            assert_eq!((&read["version"], &read["sidecar"]), (&OWN.into(), &sidecar.into()));
            assert_eq!(read["ok"], true);
        }
    }
}
