//! What the tests broke, and how all of it is mended: the same way after a row, after a failed row, and in a mixture.

use std::process::Child;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::by_hand;
use crate::cluster::Cluster;
use crate::freezer;
use crate::host::Host;
use crate::parts::resume;
use crate::shell::{now, until, within, words};
use crate::storage;

const LIMIT: Duration = Duration::from_secs(60);
/// A tether that wakes up past its deadline ends within this, or is not counted as woken.
const DEATH_LIMIT: Duration = Duration::from_secs(5);
/// Within this an etcd member that was started has joined or has given up.
const JOIN_LIMIT: Duration = Duration::from_secs(15);

/// Kept until the next mending.
#[derive(Default)]
pub(crate) struct Broken {
    pub(crate) stopped: Vec<i32>,
    pub(crate) hogs: Vec<Child>,
    /// The tether of a container that is frozen, to be seen dying.
    pub(crate) frozen_tether: Option<i32>,
    /// Since boot, and how long the tether lived on after it.
    pub(crate) thaw: Option<(Duration, Duration)>,
    /// Every one that was measured.
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
            host.fuse.iter().for_each(|fuse| storage::signal(fuse, Signal::SIGCONT));
            self.lab.port(host.name, true);
            self.lab.cable(host.name, true);
            self.lab.hear(host.name);
            by_hand::take_vip_away(host);
        }
        self.broken.stopped.drain(..).for_each(resume);
        self.thaw();
        for mut hog in self.broken.hogs.drain(..) {
            // It ends by itself too, later.
            let _ = hog.kill();
            let _ = hog.wait();
        }
        if self.lab.storage.has_failed() {
            self.repair_storage();
        }
        for host in &mut self.hosts {
            host.frozen = false;
            if host.is_up() {
                host.revive_etcd();
                host.revive_engine();
            } else {
                host.boot();
            }
        }
    }

    /// Mends, brings back the etcd members and sidecars that don't come by themselves, and waits until all is well.
    pub(crate) fn heal(&mut self) {
        self.mend();
        if within(JOIN_LIMIT, || self.etcd_odd_one_out().is_none().then_some(())).is_none()
            && let Some(place) = self.etcd_odd_one_out()
        {
            self.replace_etcd(place);
        }
        for host in &self.hosts {
            host.await_engine();
            host.start_sidecar();
        }
        // A row that failed half-way may have left the group stopped or deleted by order.
        if within(JOIN_LIMIT, || self.leader()).is_none() {
            self.hosts[0].leasehold(&["start", "mail", "--no-wait"]);
            self.hosts[0].leasehold(&["group", "create", "mail"]);
        }
        self.settle();
        self.show_plainly();
    }

    /// Everything that is frozen goes on at once; the death of the tether that was frozen is timed.
    fn thaw(&mut self) {
        let watched = self.broken.frozen_tether.take();
        let began = now();
        for host in &self.hosts {
            let name = self.lab.host_name(host.name);
            freezer::below(&name).iter().for_each(|group| freezer::thaw(group));
        }
        if let Some(pid) = watched {
            let alive = std::path::PathBuf::from(format!("/proc/{pid}/stat"));
            let ended = || {
                let stat = std::fs::read_to_string(&alive).unwrap_or_default();
                let state = stat.rsplit(") ").next().unwrap_or_default();
                state.is_empty() || state.starts_with(['Z', 'X'])
            };
            while !ended() && now() - began < DEATH_LIMIT {
                std::thread::yield_now();
            }
            self.broken.thaw = Some((began, now() - began));
        }
    }

    /// A file system that has failed is checked and mounted anew while no host uses it: all are restarted.
    fn repair_storage(&mut self) {
        self.hosts.iter_mut().for_each(Host::power_off);
        let names: Vec<_> = self.hosts.iter().map(|host| host.name).collect();
        self.lab.storage.repair(&names);
    }

    /// Hosts that see the storage through a process get it plainly again, once they don't serve.
    fn show_plainly(&mut self) {
        for place in 0..self.hosts.len() {
            if self.hosts[place].fuse.is_none() {
                continue;
            }
            if self.leader() == Some(place) {
                let output = self.hosts[place].leasehold(&["switchover", "mail"]);
                assert!(output.status.success(), "{}", words(&output));
                until("the service to leave the host", LIMIT, || {
                    self.leader().filter(|leader| *leader != place)
                });
            }
            let host = &mut self.hosts[place];
            until("no container on the view", LIMIT, || {
                host.serving().is_empty().then_some(())
            });
            self.lab.storage.show(host.name);
            if let Some(mut fuse) = host.fuse.take() {
                let _ = fuse.kill();
                let _ = fuse.wait();
            }
            self.settle();
        }
    }
}
