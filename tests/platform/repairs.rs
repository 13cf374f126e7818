//! How everything is mended, the same way after every row.

use std::time::Duration;

use crate::cluster::Cluster;
use crate::shell::{try_sh, within};

/// Within this a service that is let run runs.
const START_LIMIT: Duration = Duration::from_secs(15);

/// Nothing is thawed on these hosts; the table asks for it.
#[derive(Default)]
pub(crate) struct Broken {
    pub(crate) thaw: Option<(Duration, Duration)>,
    pub(crate) thaws: Vec<Thaw>,
}

/// A holder that woke up past its deadline, beside another one.
#[derive(Clone, Copy)]
pub(crate) struct Thaw {
    pub(crate) two_writers: Duration,
    /// From the thaw to the end of its tether.
    pub(crate) lived: Duration,
}

impl Cluster {
    /// Ends every fault; what the hosts make of it is not waited for.
    pub(crate) fn mend(&mut self) {
        self.lab.storage.mend();
        for host in &mut self.hosts {
            if !host.is_up() {
                host.boot();
            }
            // One that was killed leaves its socket to nobody.
            host.inside(
                "systemctl is-active -q docker || { systemctl unmask --runtime docker.socket docker containerd; \
                 systemctl reset-failed; systemctl restart docker.socket containerd; systemctl start docker; }",
            );
        }
    }

    /// Mends, starts the sidecars that don't come by themselves, and waits until all is well.
    pub(crate) fn heal(&mut self) {
        self.mend();
        for host in &self.hosts {
            host.await_engine();
            host.start_sidecar();
        }
        // A row that failed half-way may have left the group stopped by order.
        if within(START_LIMIT, || self.leader()).is_none() {
            self.hosts[0].leasehold(&["start", "mail", "--no-wait"]);
        }
        self.settle();
    }
}

/// For a person at the machine: `ip netns` and `nsenter` find the hosts then.
pub(crate) fn wait_if_asked() {
    if let Some(seconds) = std::env::var_os("LEASEHOLD_PLATFORM_WAIT") {
        try_sh(&format!("sleep {}", seconds.to_string_lossy()));
    }
}
