//! What the sidecar of this host has measured, and which ttl that would carry.

use std::io;

use leasehold_core::advice::{self, Measured};
use leasehold_core::protocol::sizing::Timing;
use leasehold_sidecar::measure;
use leasehold_sidecar::node_args::NodeArgs;

/// The whole paragraph.
pub(super) fn tell(facts: &NodeArgs, timing: &Timing, promises: bool) -> String {
    said(measure::read(&facts.state_dir, measure::wall()), timing, promises)
}

fn said(measured: io::Result<Option<Measured>>, timing: &Timing, promises: bool) -> String {
    let lines = match measured {
        Ok(Some(measured)) => advice::judge(&measured, timing, promises).lines(&measured),
        Ok(None) => vec![advice::nothing()],
        Err(error) => vec![format!(
            "what was measured can't be read: {error}; the sidecar of this host writes it anew every minute"
        )],
    };
    format!("Measured on this host in the last day:\n  {}", lines.join("\n  "))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn there_is_always_a_word_of_what_is_known() {
        let timing = Timing::new(Duration::from_secs(5), 0.01, None, Duration::from_millis(200));
        let none = said(Ok(None), &timing, false);
        assert!(none.contains("nothing was measured here yet"), "{none}");
        let damaged = said(Err(io::Error::other("no such thing")), &timing, false);
        assert!(damaged.contains("no such thing"), "{damaged}");
        let mut measured = Measured {
            time: Duration::from_secs(720),
            ..Measured::default()
        };
        measured.answers.add(Duration::from_millis(3));
        measured.stalls.add(Duration::from_secs(1));
        let told = said(Ok(Some(measured)), &timing, false);
        let wanted = "would carry ttl 2 s; at 1 s it would have stopped 1.0 times so far: measured for 12 min, and a day is better";
        assert!(told.ends_with(wanted), "{told}");
    }
}
