//! The containers of this node: keeps them prepared, starts and kills them when told, and reports what it sees. Hints of
//! the engine make it look; what it finds by looking is the truth. Whether a container has ended, the kernel says
//! (`witness`), not the engine.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::cgroup::{Cgroups, Memory};
use super::engine::{
    Engine, EngineError, Guarded, Health, Hint, HintKind, Image, Prepared, Reason, Seen, TetherMounts, Wanted,
};
use crate::node_context::NodeContext;
use leasehold_base::epoch::Run;
use leasehold_compose::model::{Project, Service};
use leasehold_core::event::{Blame, Event, Intruder, NotStarted, Outside, ServiceKey};
use leasehold_core::group::made::{Made, is_for};

/// Between two looks for containers that may not run here, beside the engine's hints.
const SCAN_INTERVAL: Duration = Duration::from_secs(10);
/// Between two readings of the compose file.
const READ_INTERVAL: Duration = Duration::from_secs(2);

mod certificates;
mod drift;
mod gate;
mod in_flight;
mod looks;
mod second_way;
mod start;
mod trial;
mod unmount;
mod witness;

use drift::Reading;
use in_flight::{InFlight, Job};

/// What the core wants done to a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContainerCommand {
    Prepare {
        group: String,
        store: Option<String>,
    },
    /// The group is deleted: nothing of it is made any more, and who uses its storage is told, not killed.
    Unmanage {
        group: String,
    },
    Start {
        of: ServiceKey,
        run: Run,
        made: Made,
    },
    Kill {
        of: ServiceKey,
    },
    KillForeign {
        id: String,
    },
    Inspect {
        of: ServiceKey,
        run: Run,
    },
    Mounts {
        group: String,
        run: Run,
    },
    Compare {
        group: String,
        intent: i64,
    },
    Look {
        group: String,
        store: String,
    },
    Watch {
        group: String,
        store: String,
    },
    Try {
        group: String,
        made: Vec<Made>,
    },
}

/// What every task of this adapter shares.
struct Shared {
    site: NodeContext,
    engine: Engine,
    ids: Mutex<BTreeMap<ServiceKey, String>>,
    /// For each group that was prepared: the id that its storage must carry.
    stores: Mutex<BTreeMap<String, Option<String>>>,
    /// Groups that are deleted.
    unmanaged: Mutex<BTreeSet<String>>,
    /// Services whose preparation was asked for and could not be told yet.
    owed: Mutex<BTreeSet<ServiceKey>>,
    /// For each service: the run that was started last by this sidecar.
    started: Mutex<BTreeMap<ServiceKey, Run>>,
    /// What the file says now.
    reading: Mutex<Reading>,
    /// What runs and differs from it: made anew before its next start.
    stale: Mutex<BTreeSet<ServiceKey>>,
    /// One preparation at a time: two would make the same container, and the one that fails might be heard last.
    preparing: tokio::sync::Mutex<()>,
    cgroups: Cgroups,
    memory: Mutex<Memory>,
    /// One look at the cgroups at a time: the kernel may hold it up, and then the next would hang beside it.
    looking: Arc<tokio::sync::Mutex<()>>,
    in_flight: InFlight,
    events: mpsc::Sender<Event>,
}

/// What the container of a service is made of.
struct Drawn<'p> {
    service: &'p Service,
    image: Image,
    command_line: Vec<String>,
    config_hash: String,
    tether: TetherMounts,
    tether_flags: Vec<String>,
}

impl<'p> Drawn<'p> {
    fn wanted<'a>(&'a self, project: &'a Project, of: &'a ServiceKey, node: &'a str) -> Wanted<'a> {
        Wanted {
            project,
            group: &of.group,
            service: self.service,
            node,
            tether: &self.tether,
            tether_flags: &self.tether_flags,
            command_line: &self.command_line,
            config_hash: &self.config_hash,
        }
    }
}

/// Starts the adapter; it ends with the sender of `commands`.
pub fn spawn(
    site: NodeContext,
    memory: Memory,
    commands: mpsc::Receiver<ContainerCommand>,
    events: mpsc::Sender<Event>,
) {
    let shared = Arc::new(Shared {
        engine: site.engine.clone(),
        cgroups: site.cgroups(),
        memory: Mutex::new(memory),
        looking: Arc::default(),
        in_flight: InFlight::default(),
        reading: Mutex::new(Reading::new(Arc::clone(&site.project))),
        stale: Mutex::default(),
        site,
        ids: Mutex::default(),
        stores: Mutex::default(),
        unmanaged: Mutex::default(),
        owed: Mutex::default(),
        started: Mutex::default(),
        preparing: tokio::sync::Mutex::default(),
        events,
    });
    tokio::spawn(run(shared, commands));
}

async fn run(shared: Arc<Shared>, mut commands: mpsc::Receiver<ContainerCommand>) {
    let mut hints = shared.engine.events();
    let mut scan = interval(SCAN_INTERVAL);
    let mut read = interval(READ_INTERVAL);
    for timer in [&mut scan, &mut read] {
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    }
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                Some(command) => shared.take(command),
                None => return,
            },
            Some(hint) = hints.recv() => Arc::clone(&shared).hinted(hint).await,
            _ = read.tick() => shared.read_anew_soon(),
            _ = scan.tick() => shared.look_around_soon(),
        }
    }
}

impl Shared {
    /// Each command in a task of its own: one that hangs must not hold up the next. A job that is under way
    /// already is not begun again, so their number is bounded by that of the services.
    fn take(self: &Arc<Self>, command: ContainerCommand) {
        self.note_group(&command);
        let shared = Arc::clone(self);
        match self.in_flight.begin(Job::of(&command)) {
            Some(running) => drop(tokio::spawn(async move {
                shared.carry_out(command).await;
                drop(running);
            })),
            None => self.reject_duplicate(command),
        }
    }

    /// In the order of the commands, before any job of theirs.
    fn note_group(&self, command: &ContainerCommand) {
        let mut stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
        let mut unmanaged = self.unmanaged.lock().unwrap_or_else(PoisonError::into_inner);
        match command {
            ContainerCommand::Prepare { group, store } => {
                stores.insert(group.clone(), store.clone());
                unmanaged.remove(group);
            }
            ContainerCommand::Unmanage { group } => {
                stores.remove(group);
                unmanaged.insert(group.clone());
                self.lock().retain(|of, _| of.group != *group);
            }
            ContainerCommand::Start { .. }
            | ContainerCommand::Kill { .. }
            | ContainerCommand::KillForeign { .. }
            | ContainerCommand::Inspect { .. }
            | ContainerCommand::Mounts { .. }
            | ContainerCommand::Compare { .. }
            | ContainerCommand::Look { .. }
            | ContainerCommand::Watch { .. }
            | ContainerCommand::Try { .. } => {}
        }
    }

    fn is_unmanaged(&self, group: &str) -> bool {
        let unmanaged = self.unmanaged.lock().unwrap_or_else(PoisonError::into_inner);
        unmanaged.contains(group)
    }

    /// The same job hangs. What is asked for again by itself needs no answer; a start does.
    fn reject_duplicate(&self, command: ContainerCommand) {
        tracing::warn!(code = "engine_busy", ?command, "not begun: the same is still under way");
        let answer = match command {
            ContainerCommand::Start { of, run, .. } => Event::StartAnswered {
                of,
                run,
                result: Err(NotStarted {
                    why: "an earlier start of it still waits for the engine".to_owned(),
                    blame: Blame::Engine,
                }),
            },
            ContainerCommand::Look { group, store } => looks::hangs(group, store),
            ContainerCommand::Prepare { .. }
            | ContainerCommand::Unmanage { .. }
            | ContainerCommand::Kill { .. }
            | ContainerCommand::KillForeign { .. }
            | ContainerCommand::Inspect { .. }
            | ContainerCommand::Mounts { .. }
            | ContainerCommand::Compare { .. }
            | ContainerCommand::Watch { .. }
            | ContainerCommand::Try { .. } => return,
        };
        // A full inbox drops it: then the gate's own deadline tells, and of a look its own end.
        let _ = self.events.try_send(answer);
    }

    fn look_around_soon(self: &Arc<Self>) {
        let shared = Arc::clone(self);
        if let Some(running) = self.in_flight.begin(Job::LookAround) {
            tokio::spawn(async move {
                shared.look_around().await;
                drop(running);
            });
        }
    }

    async fn carry_out(self: &Arc<Self>, command: ContainerCommand) {
        match command {
            ContainerCommand::Prepare { group, .. } => {
                self.prepare_group(&group).await;
                // Who may not run beside it was left alone while nobody knew whether it is deleted.
                self.look_around_soon();
            }
            ContainerCommand::Unmanage { .. } => self.look_around_soon(),
            ContainerCommand::Start { of, run, made } => {
                let result = self.start(&of, run, made).await;
                if let Ok(id) = &result {
                    self.watch_gate_soon(&of, run, id.clone());
                }
                let result = result.map(drop).map_err(|error| gate::not_started(&error));
                self.report(Event::StartAnswered { of, run, result }).await;
            }
            ContainerCommand::Kill { of } => self.end(of).await,
            // It may have become one of this node's own since it was seen.
            ContainerCommand::KillForeign { id } if self.key_of(&id).is_some() => {}
            ContainerCommand::KillForeign { id } => self.kill(&id).await,
            ContainerCommand::Compare { group, intent } => self.compare_anew(&group, intent).await,
            ContainerCommand::Look { group, store } => self.look_at_storage(&group, &store).await,
            ContainerCommand::Watch { group, store } => self.watch_claims(&group, &store).await,
            ContainerCommand::Try { group, made } => self.try_start(group, made).await,
            ContainerCommand::Mounts { group, run } => {
                let mounts = self.look_at_mounts(&group).await;
                self.report(Event::MountsSeen { group, run, mounts }).await;
            }
            ContainerCommand::Inspect { of, run } => {
                let trace = self.witness(&of).await;
                self.report(Event::Inspected { of, run, trace }).await;
            }
        }
    }

    async fn report(&self, event: Event) {
        // The receiver goes away only with the process.
        let _ = self.events.send(event).await;
    }

    async fn kill(&self, id: &str) {
        if let Err(error) = self.engine.kill(id, "KILL").await {
            tracing::debug!(%id, %error, "kill");
        }
    }

    async fn tell_of(&self, of: ServiceKey, what: Outside) {
        let run = self.run_of(&of);
        self.report(Event::Signalled { of, run, what }).await;
    }

    async fn hinted(self: Arc<Self>, hint: Hint) {
        match hint {
            Hint::EngineLost(why) => self.report(Event::Engine { result: Err(why) }).await,
            Hint::EngineOrphaned => self.report(Event::EngineOrphaned).await,
            Hint::EngineBack => {
                self.report(Event::Engine { result: Ok(()) }).await;
                self.look_around_soon();
            }
            Hint::Container { id, kind, .. } => match (kind, self.key_of(&id)) {
                (HintKind::Health, Some(of)) => self.look_at_soon(of, id),
                (HintKind::Died { exit_code }, Some(of)) => self.tell_end_soon(of, id, exit_code),
                (HintKind::Signalled, Some(of)) => self.tell_of(of, Outside::Ends).await,
                (HintKind::Paused, Some(of)) => self.tell_of(of, Outside::Pauses).await,
                (HintKind::Started, None) | (HintKind::Destroyed, Some(_)) => self.look_around_soon(),
                (HintKind::Health | HintKind::Destroyed | HintKind::Signalled | HintKind::Paused, None)
                | (HintKind::Started, Some(_))
                | (HintKind::Died { .. }, None)
                | (HintKind::OutOfMemory, _) => {}
            },
        }
    }

    /// Prepares what is not, and reports every container that may not run here.
    async fn look_around(&self) {
        self.note_living().await;
        let project = self.project();
        for (name, group) in &project.groups {
            self.tell_file(name, &project, group).await;
            self.prepare_missing(name).await;
            let guarded = Guarded::of(&project, group);
            let allowed: Vec<String> = self.lock().values().cloned().collect();
            let seen = match self.engine.intruders(&guarded, &self.site.name, &allowed).await {
                Ok(seen) => seen,
                Err(error) => {
                    tracing::debug!(%error, "look for containers that may not run here");
                    continue;
                }
            };
            let mut seen = seen.into_iter().filter(|one| one.writes && !self.is_own(name, one));
            if self.is_unmanaged(name) {
                let (group, by) = (name.clone(), seen.next().map(|one| one.name));
                self.report(Event::Used { group, by }).await;
                continue;
            }
            for one in seen {
                let runs = one.runs();
                let why = match one.reason {
                    Reason::Service(service) => format!("it is of the protected service {service}"),
                    Reason::Volume(volume) => format!("it mounts the protected volume {volume}"),
                    Reason::Path(path) => format!("it mounts the protected path {}", path.display()),
                };
                let (group, id, name) = (name.clone(), one.container_id, one.name);
                let seen = Intruder { id, name, why, runs };
                self.report(Event::Intruder { group, seen }).await;
            }
        }
        // Last: nothing else waits for it.
        for name in project.groups.keys() {
            self.compare(name).await;
        }
    }

    /// Whether it is this node's own: prepared meanwhile, or left by an earlier sidecar. The core adopts or stops the
    /// latter as soon as its service is prepared; until then its tether knows how long it may run.
    fn is_own(&self, group: &str, seen: &Seen) -> bool {
        // One that left the file is still to be stopped in order.
        let leaves = |group: &str, service: &str| self.site.left.services(group).any(|left| left == service);
        if seen.is_made_for(&self.site.name) && seen.part().is_some_and(|(group, service)| leaves(group, service)) {
            return true;
        }
        let Reason::Service(name) = &seen.reason else {
            return false;
        };
        let settings = self.site.project.groups.get(group);
        let place = settings.and_then(|group| group.services.iter().position(|service| service.name == *name));
        let known = place.and_then(|service| {
            let group = group.to_owned();
            self.id_of(&ServiceKey { group, service })
        });
        known.map_or_else(|| seen.is_made_for(&self.site.name), |id| id == seen.container_id)
    }

    /// Prepares the containers that are not known or no longer there, and looks again at those that wait: their image may
    /// have been replaced or removed meanwhile.
    async fn prepare_missing(&self, group: &str) {
        let asked = self
            .stores
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains_key(group);
        let Some(settings) = self.site.project.groups.get(group).filter(|_| asked) else {
            return;
        };
        for (service, _) in settings.services.iter().enumerate() {
            let of = ServiceKey {
                group: group.to_owned(),
                service,
            };
            let runs = match self.id_of(&of) {
                Some(id) => self.look_at(&of, &id).await,
                None => false,
            };
            if !runs || self.is_owed(&of) {
                self.prepare(&of).await;
            }
        }
    }

    /// What a container ended with, and what it wrote last. Its tether's own lines say nothing that the core does not know.
    fn tell_end_soon(self: Arc<Self>, of: ServiceKey, id: String, code: Option<i64>) {
        let run = self.run_of(&of);
        if let Some(running) = self.in_flight.begin(Job::LastLines(of.clone())) {
            tokio::spawn(async move {
                let mut lines = self.engine.last_lines(&id).await.unwrap_or_default();
                lines.retain(|line| !line.starts_with("leasehold: "));
                self.report(Event::Ended { of, run, code, lines }).await;
                drop(running);
            });
        }
    }

    /// A hint does not say of which run it is: a look does.
    fn look_at_soon(self: Arc<Self>, of: ServiceKey, id: String) {
        if let Some(running) = self.in_flight.begin(Job::Health(of.clone())) {
            tokio::spawn(async move {
                self.look_at(&of, &id).await;
                drop(running);
            });
        }
    }

    /// Whether the container runs, or may run; its health is told again, which hints may have missed.
    async fn look_at(&self, of: &ServiceKey, id: &str) -> bool {
        // Before the look: what runs then is of this run, because the one before it was over when this one was noted.
        let run = self.run_of(of);
        let Ok(state) = self.engine.inspect(id).await else {
            return true;
        };
        if state.running && state.health != Health::None {
            let (of, healthy) = (of.clone(), state.health == Health::Healthy);
            self.report(Event::Health { of, run, healthy }).await;
        }
        state.exists && !state.status.is_down()
    }

    fn run_of(&self, of: &ServiceKey) -> Option<Run> {
        let started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        started.get(of).copied()
    }

    async fn prepare_group(&self, group: &str) {
        let all = self.services(group);
        self.owed().extend(all.iter().cloned());
        for of in all {
            self.prepare(&of).await;
        }
    }

    fn owed(&self) -> std::sync::MutexGuard<'_, BTreeSet<ServiceKey>> {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_owed(&self, of: &ServiceKey) -> bool {
        self.owed().contains(of)
    }

    /// Makes sure that the container exists and tells the core.
    async fn prepare(&self, of: &ServiceKey) {
        let _alone = self.preparing.lock().await;
        if self.is_unmanaged(&of.group) {
            return;
        }
        let store = self.store_of(&of.group);
        let result = match self.prepared(of, store.as_deref()).await {
            // What was prepared stands; that the engine does not answer is told by itself.
            Err(EngineError::Unreachable(_)) if self.id_of(of).is_some() && !self.is_owed(of) => return,
            Err(error @ EngineError::Unreachable(_)) => Err(error.to_string()),
            other => {
                self.owed().remove(of);
                other.and_then(|(_, made)| made).map_err(|error| error.to_string())
            }
        };
        self.tell_prepared(of, store, result).await;
    }

    async fn tell_prepared(&self, of: &ServiceKey, store: Option<String>, result: Result<Made, String>) {
        let of = of.clone();
        self.report(Event::Prepared { of, store, result }).await;
    }

    /// The id that the storage of a group must carry.
    fn store_of(&self, group: &str) -> Option<String> {
        let stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
        stores.get(group).cloned().flatten()
    }

    /// The container, and what it was made for, or that it is not for this store.
    async fn prepared(
        &self,
        of: &ServiceKey,
        store: Option<&str>,
    ) -> Result<(Prepared, Result<Made, EngineError>), EngineError> {
        let project = self.project();
        let drawn = self.draw(&project, of, store).await?;
        let (service, image) = (drawn.service, &drawn.image);
        let prepared = self
            .engine
            .prepare(&drawn.wanted(&project, of, &self.site.name))
            .await?;
        let known = self.lock().insert(of.clone(), prepared.container_id.clone());
        if known.as_ref() != Some(&prepared.container_id) {
            for note in &prepared.notes {
                tracing::warn!(code = "container_noted", service = service.name, "{note}");
            }
        }
        let made = match is_for(&prepared.stores, store, protects(service)) {
            true => Ok(Made {
                store: store.map(str::to_owned),
                fingerprint: prepared.fingerprint.clone(),
                image: prepared.image_digest.clone(),
                content: image.content.clone(),
            }),
            // It runs, and can't be made anew before it ends.
            false => Err(other_store(&prepared.container_id)),
        };
        Ok((prepared, made))
    }

    /// All that goes into the container of a service.
    async fn draw<'p>(
        &self,
        project: &'p Project,
        of: &ServiceKey,
        store: Option<&str>,
    ) -> Result<Drawn<'p>, EngineError> {
        let service = self.service(project, of)?;
        let image = self.engine.image(&service.image).await?;
        let command_line = leasehold_compose::command_line(image.entrypoint.as_deref(), image.cmd.as_deref(), service);
        if let Err(unfit) = leasehold_compose::fits(&command_line, service, image.user.as_deref()) {
            let message = format!("service {}: image {} {unfit}", service.name, service.image);
            return Err(EngineError::Invalid { message });
        }
        Ok(Drawn {
            service,
            command_line,
            config_hash: leasehold_compose::config_hash(service, project),
            tether: self.site.tether_mounts(&of.group, &service.name),
            tether_flags: self.tether_flags(store, service, image.stop_signal.as_deref()),
            image,
        })
    }

    /// The cluster, the stop signal of the service, and the id that each protected mount must carry.
    fn tether_flags(&self, store: Option<&str>, service: &Service, image_signal: Option<&str>) -> Vec<String> {
        let mut flags = vec!["--cluster".to_owned(), self.site.project.cluster.name.clone()];
        if let Some(signal) = service.stop_signal.as_deref().or(image_signal) {
            flags.extend(["--stop-signal".to_owned(), signal.to_owned()]);
        }
        if let Some(id) = store {
            for mount in service.mounts.iter().filter(|mount| mount.is_protected()) {
                flags.extend(["--store".to_owned(), format!("{id}={}", mount.target)]);
            }
        }
        flags
    }

    /// Makes the container as it is wanted now, tells the core, and gives the fingerprint.
    async fn remake(&self, of: &ServiceKey) -> Result<String, EngineError> {
        let _alone = self.preparing.lock().await;
        let store = self.store_of(&of.group);
        let (_, made) = self.prepared(of, store.as_deref()).await?;
        let made = made?;
        let print = made.fingerprint.clone();
        self.tell_prepared(of, store, Ok(made)).await;
        Ok(print)
    }

    fn service<'p>(&self, project: &'p Project, of: &ServiceKey) -> Result<&'p Service, EngineError> {
        let group = project.groups.get(&of.group);
        group
            .and_then(|group| group.services.get(of.service))
            .ok_or_else(|| EngineError::Missing {
                what: format!("service {} of group {} in the compose file", of.service, of.group),
            })
    }

    fn id_of(&self, of: &ServiceKey) -> Option<String> {
        self.lock().get(of).cloned()
    }

    fn key_of(&self, id: &str) -> Option<ServiceKey> {
        self.lock()
            .iter()
            .find(|(_, known)| known.as_str() == id)
            .map(|(of, _)| of.clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<ServiceKey, String>> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn protects(service: &Service) -> bool {
    !service.protected_targets().is_empty()
}

fn other_store(id: &str) -> EngineError {
    EngineError::Invalid {
        message: format!("container {id:.12} was made for another storage than the group has now: not started"),
    }
}
