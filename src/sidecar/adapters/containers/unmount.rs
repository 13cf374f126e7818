//! Whether anything is still mounted that one host alone may mount: the second half of a proof of stop. The engine alone
//! unmounts, so it may be asked; that nothing is mounted the kernel says.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::Shared;
use super::in_flight::Job;
use crate::adapters::cgroup::Started;
use crate::adapters::engine::{DeviceLook, EngineError};
use leasehold_base::device::Hold;
use leasehold_base::epoch::Run;
use leasehold_compose::model::{Project, Service};
use leasehold_core::event::{Event, Mounts, ServiceKey};

/// How long the helper waits for the unmount, which takes a healthy engine a third of a second.
const UNMOUNT_WAIT: Duration = Duration::from_secs(3);
/// Of a call to the engine before the helper: one that hangs unmounts nothing either.
const CALL_MAX: Duration = Duration::from_secs(3);
/// The whole look.
const LOOK_MAX: Duration = Duration::from_secs(20);
/// A start that mounts a block device: a file system with multi mount protection whose last holder died waits 42 s, and
/// more where its interval is longer.
const MOUNT_MAX: Duration = Duration::from_secs(300);
/// A start that mounts none of them, on a slow host. A bridge takes 0.3 s, a slow disk 5 s.
const START_MAX: Duration = Duration::from_secs(30);
/// Between two words that the engine lives while it mounts.
const MOUNT_TOLD: Duration = Duration::from_secs(5);

impl Shared {
    /// The answer to [`leasehold_core::event::Action::LookAtMounts`].
    pub(super) async fn look_at_mounts(&self, group: &str) -> Mounts {
        match timeout(LOOK_MAX, self.mounts(group)).await {
            Ok(mounts) => mounts,
            Err(_) => hidden(format!("the look has not ended within {LOOK_MAX:?}")),
        }
    }

    async fn mounts(&self, group: &str) -> Mounts {
        let project = self.project();
        let in_file = project.groups.get(group).map_or(&[][..], |group| &group.services);
        // Those of the file, then those that left it.
        let places = self.site.services(group).len();
        let mut started = Vec::new();
        for service in 0..places {
            let group = group.to_owned();
            let of = ServiceKey { group, service };
            match self.started_with(&of, &project, in_file.get(service)).await {
                Ok(of_service) => started.extend(of_service),
                Err(why) => return hidden(why),
            }
        }
        let devices: BTreeSet<String> = started.iter().filter_map(|one| one.devices.clone()).flatten().collect();
        if devices.is_empty() {
            return Mounts::Gone;
        }
        let devices: Vec<String> = devices.into_iter().collect();
        if let Err(why) = self.nothing_starts(group, places, &started).await {
            return hidden(format!("{}: {why}", devices.join(", ")));
        }
        // Any image does for the look: that of a group which left the file is not known any more.
        let others = project.groups.values().flat_map(|group| &group.services);
        let Some(first) = in_file.iter().chain(others).next() else {
            return hidden(format!(
                "{}: the compose file protects nothing any more, so there is no image to look with",
                devices.join(", ")
            ));
        };
        let look = DeviceLook {
            project: &project,
            service: first,
            node: &self.site.name,
            binary: &self.site.binary,
            devices: &devices,
        };
        match self.engine.devices_held(&look, UNMOUNT_WAIT).await {
            Ok(held) => verdict(&devices, &held),
            Err(error) => hidden(format!("{}: {error}", devices.join(", "))),
        }
    }

    /// What was started for a service, with the devices of each. An engine that hangs need not be asked where all is known.
    async fn started_with(
        &self,
        of: &ServiceKey,
        project: &Project,
        service: Option<&Service>,
    ) -> Result<Vec<Started>, String> {
        let Some(mut started) = self.started(of) else {
            return Err("what an earlier sidecar of this boot started is not remembered".to_owned());
        };
        for one in started.iter_mut().filter(|one| one.devices.is_none()) {
            let Some(service) = service else {
                return Err("what a service that left the compose file had mounted is not remembered".to_owned());
            };
            let engine = self.engine.within(CALL_MAX);
            let devices = engine.exclusive_devices(project, service).await;
            one.devices = Some(devices.map_err(|error| format!("its volumes: {error}"))?);
        }
        Ok(started)
    }

    /// Whatever is still to be started would mount after the look.
    async fn nothing_starts(&self, group: &str, services: usize, started: &[Started]) -> Result<(), String> {
        for service in 0..services {
            let group = group.to_owned();
            if self.in_flight.is_under_way(&Job::Start(ServiceKey { group, service })) {
                return Err("a start of it still waits for the engine".to_owned());
            }
        }
        let engine = self.engine.within(CALL_MAX);
        for one in started {
            match engine.inspect(&one.id).await {
                Ok(state) if state.running => {
                    return Err(format!("the engine has not noted the end of {:.12}", one.id));
                }
                Ok(_) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(())
    }

    /// Before a start: what of it one host alone may mount.
    pub(super) async fn devices_of(&self, of: &ServiceKey) -> Result<Vec<String>, EngineError> {
        let project = self.project();
        let service = self.service(&project, of)?;
        self.engine.exclusive_devices(&project, service).await
    }

    /// Starts a container. While the engine lives and has not answered, the core hears so: a slow host, or a mount.
    pub(super) async fn start_mounting(
        &self,
        of: &ServiceKey,
        run: Run,
        id: &str,
        devices: &[String],
    ) -> Result<(), EngineError> {
        let limit = if devices.is_empty() { START_MAX } else { MOUNT_MAX };
        let engine = self.engine.within(limit);
        let mut start = std::pin::pin!(engine.start(id));
        loop {
            match timeout(MOUNT_TOLD, &mut start).await {
                // It may have been done without a word.
                Ok(Err(error @ EngineError::Unreachable(_))) => {
                    let state = self.engine.within(CALL_MAX).inspect(id).await;
                    return if state.is_ok_and(|state| state.running) {
                        Ok(())
                    } else {
                        Err(error)
                    };
                }
                Ok(answer) => return answer,
                Err(_) if self.engine.within(CALL_MAX).ping().await.is_ok() => {
                    let of = of.clone();
                    self.report(Event::Mounting { of, run }).await;
                }
                // Nothing of its own is mounted late: whoever comes next finds out by itself.
                Err(_) if devices.is_empty() => return Err(EngineError::late("start", MOUNT_TOLD + CALL_MAX)),
                Err(_) => sleep(CALL_MAX).await,
            }
        }
    }
}

fn hidden(why: String) -> Mounts {
    Mounts::Hidden { why }
}

/// One that is held says more than one that can't be seen.
fn verdict(devices: &[String], found: &[Hold]) -> Mounts {
    let held = devices.iter().zip(found).filter(|(_, hold)| **hold == Hold::Held);
    let held: Vec<&str> = held.map(|(device, _)| device.as_str()).collect();
    if !held.is_empty() {
        let what = format!("{} is still mounted on this host", held.join(", "));
        return Mounts::Left { what };
    }
    let unseen = devices.iter().zip(found).find_map(|(device, hold)| match hold {
        Hold::Hidden(why) => Some(format!("{device}: {why}")),
        Hold::Free | Hold::Held => None,
    });
    unseen.map_or(Mounts::Gone, hidden)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_where_every_device_is_free_it_is_gone() {
        let devices = ["/dev/a".to_owned(), "/dev/b".to_owned()];
        let of = |a: Hold, b: Hold| verdict(&devices, &[a, b]);
        let unseen = || Hold::Hidden("no such device".to_owned());
        assert_eq!(of(Hold::Free, Hold::Free), Mounts::Gone);
        let what = "/dev/b is still mounted on this host".to_owned();
        assert_eq!(of(unseen(), Hold::Held), Mounts::Left { what });
        assert_eq!(of(Hold::Free, unseen()), hidden("/dev/b: no such device".to_owned()));
    }
}
