//! How soon the probes judge the service, and how often it is restarted in place: as an operator would have it, or so that
//! a sick service is dealt with in seconds.

use std::time::Duration;

use leasehold::api::words::NodeState;

use crate::cluster::Cluster;
use crate::host::{Host, SIDECAR};
use crate::scenarios::{TTL, succeed};
use crate::shell::{now, until};

const LIMIT: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// The defaults of the program.
    Usual,
    /// A refusal counts after 2 s, an answer that does not come after 6 s; one restart in place, and 10 s for a start.
    Quick,
    /// The same, and standbys' opinions are acted upon; they look at their storage every 10 s.
    Acting,
}

impl Pace {
    pub(crate) fn settings(self) -> [(&'static str, &'static str); 8] {
        let names = [
            "PROBE_INTERVAL",
            "PROBE_TIMEOUT",
            "FALL",
            "FALL_TIMEOUT",
            "RESTARTS",
            "START_TIMEOUT",
            "SECOND_OPINION",
            "STORAGE_LOOK",
        ];
        let values = match self {
            Self::Usual => ["5s", "3s", "3", "6", "3", "60s", "tell", "60s"],
            Self::Quick => ["1s", "1s", "2", "3", "1", "10s", "tell", "60s"],
            Self::Acting => ["1s", "1s", "2", "3", "1", "10s", "act", "10s"],
        };
        std::array::from_fn(|place| (names[place], values[place]))
    }
}

impl Cluster {
    /// Makes all sidecars look after the service at this pace; those that do already are left alone.
    pub(crate) fn set_pace(&mut self, pace: Pace) {
        if self.pace != pace {
            self.pace = pace;
            self.hosts.iter().for_each(|host| host.write_settings(pace));
            self.renew_sidecars();
        }
    }

    /// New sidecars everywhere: they read their settings and have forgotten what failed before. The service goes on.
    pub(crate) fn renew_sidecars(&self) {
        self.settle();
        let leader = self.await_leader();
        for host in &self.hosts {
            succeed(host, &["kill", SIDECAR]);
            // As in a new container: after a crash it would go on with the settings of before.
            let _ = std::fs::remove_file(host.run().join("leasehold/project.json"));
            succeed(host, &["start", SIDECAR]);
        }
        let started = now();
        until("the new sidecar to lead", LIMIT, || {
            self.hosts[leader].leads().then_some(())
        });
        // Until then what the holder reads of the others may be what their old sidecars said.
        until("a ttl of the new sidecars", LIMIT, || {
            (now() - started > TTL).then_some(())
        });
        self.await_successors();
    }

    /// Waits until the holder would hand over to any other host, which takes a ttl from the start of its sidecar.
    pub(crate) fn await_successors(&self) {
        until("every standby to be a successor", LIMIT, || {
            let leader = self.leader()?;
            let up = self.hosts.iter().filter(|host| host.is_up()).count();
            (self.successors(&self.hosts[leader]) + 1 == up).then_some(())
        });
    }

    fn successors(&self, holder: &Host) -> usize {
        let nodes = holder.status().map(|status| status.nodes).unwrap_or_default();
        let ready = nodes.iter().filter(|(name, line)| {
            let why = line.groups.get("mail");
            **name != holder.name && line.state == NodeState::Alive && why.is_some_and(String::is_empty)
        });
        ready.count()
    }
}
