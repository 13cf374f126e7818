//! The parts of a host that can be killed, frozen and thawed one by one.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::freezer;
use crate::host::Host;
use crate::shell::{sh, until};

const LIMIT: Duration = Duration::from_secs(60);

/// A process of a host, as the tests send it signals.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    Sidecar,
    Tether,
    Engine,
    Containerd,
    Etcd,
}

impl Host {
    /// # Panics
    /// Where the part does not run.
    pub(crate) fn pid(&self, part: Part) -> i32 {
        let child = |child: &Option<std::process::Child>| Some(i32::try_from(child.as_ref()?.id()).expect("a process"));
        let found = match part {
            Part::Sidecar => self.sidecar_pid(),
            Part::Tether => self
                .serving()
                .first()
                .and_then(|id| self.inspect(id, "{{.State.Pid}}").parse().ok()),
            Part::Engine => child(&self.engine),
            Part::Containerd => fs::read_to_string(self.run().join("exec/containerd/containerd.pid"))
                .ok()
                .and_then(|text| text.trim().parse().ok()),
            Part::Etcd => child(&self.etcd),
        };
        found.unwrap_or_else(|| panic!("{part:?} does not run on {}", self.name))
    }

    pub(crate) fn kill_part(&self, part: Part) {
        signal(self.pid(part), Signal::SIGKILL);
    }

    /// The container's group of the freezer.
    pub(crate) fn container_group(&self) -> PathBuf {
        let serving = self.serving();
        let id = serving.first().expect("a container that runs");
        freezer::group(&self.lab.host_name(self.name)).join(id)
    }

    /// The group in which everything of the host is, its containers too.
    pub(crate) fn whole_group(&self) -> PathBuf {
        let name = self.lab.host_name(self.name);
        freezer::gather(&name, self.lab.processes(self.name));
        freezer::group(&name)
    }

    /// The service's own process, which the tether started.
    pub(crate) fn service_pid(&self) -> i32 {
        // The other child keeps the claim on the storage.
        let keeps_claim = |pid: &i32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.starts_with(b"tether\0claim\0")
        };
        let mut found = children(self.pid(Part::Tether))
            .into_iter()
            .filter(|pid| !keeps_claim(pid));
        found.next().expect("the service's process")
    }

    /// The service's own daemons of this name, which its first process started.
    pub(crate) fn daemons(&self, name: &str) -> Vec<i32> {
        let of_name = |pid: &i32| {
            let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            comm.trim() == name
        };
        children(self.service_pid()).into_iter().filter(of_name).collect()
    }

    /// SIGKILL to the engine alone; its containerd and its containers live on for the time being.
    pub(crate) fn kill_engine(&mut self) {
        if let Some(mut child) = self.engine.take() {
            child.kill().expect("a signal to the engine");
            child.wait().expect("a killed child");
        }
    }

    /// SIGKILL to the engine with its containerd, and both anew.
    pub(crate) fn restart_engine(&mut self) {
        let containerd = self.pid(Part::Containerd);
        self.kill_engine();
        // It may follow the engine by itself.
        let _ = kill(Pid::from_raw(containerd), Signal::SIGKILL);
        until("the end of containerd", LIMIT, || {
            kill(Pid::from_raw(containerd), None).is_err().then_some(())
        });
        self.start_engine();
    }

    /// Starts the engine where it does not run, or has ended by itself.
    pub(crate) fn revive_engine(&mut self) {
        let ended = self
            .engine
            .as_mut()
            .is_none_or(|child| child.try_wait().is_ok_and(|code| code.is_some()));
        if ended {
            self.start_engine();
        }
    }

    /// What the host's init does before the power goes: everything is told to end, and is waited for.
    pub(crate) fn end_in_order(&mut self) {
        for part in [Part::Engine, Part::Etcd] {
            signal(self.pid(part), Signal::SIGTERM);
        }
        for mut child in [self.engine.take(), self.etcd.take()].into_iter().flatten() {
            child.wait().expect("the end of engine and etcd");
        }
    }

    /// As the machine's service manager restarts it: told to end, then started.
    pub(crate) fn restart_engine_orderly(&mut self) {
        signal(self.pid(Part::Engine), Signal::SIGTERM);
        if let Some(mut child) = self.engine.take() {
            child.wait().expect("the engine's end");
        }
        self.start_engine();
    }
}

fn children(pid: i32) -> Vec<i32> {
    // It may have ended.
    let listed = sh(&format!("cat /proc/{pid}/task/*/children 2> /dev/null || true"));
    listed.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// A process and all that descend from it, as far as they are there now.
pub(crate) fn family(pid: i32) -> Vec<i32> {
    let below = children(pid).into_iter().flat_map(family);
    std::iter::once(pid).chain(below).collect()
}

pub(crate) fn signal(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).unwrap_or_else(|error| panic!("{signal} to process {pid}: {error}"));
}

/// Lets a process go on that the tests had stopped, and no other that has got its number since.
pub(crate) fn resume(pid: i32) {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    if stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" T ")) {
        // It may have been killed in between.
        let _ = kill(Pid::from_raw(pid), Signal::SIGCONT);
    }
}
