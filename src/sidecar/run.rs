//! The loop: wait, let the core decide, hand its actions to the adapters, publish the status. The only caller of
//! [`Node::handle`].

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

use crate::adapters::alarm::Alarm;
use crate::adapters::engine::Engine;
use crate::adapters::fence;
use crate::adapters::files::{Files, Taken};
use crate::adapters::http::{self, Access, Endpoints, PendingRequest, Snapshot};
use crate::adapters::manager::{self, Manager};
use crate::adapters::outbox::{Lasting, Outbox};
use crate::adapters::store::{self, HistoryWriter};
use crate::adapters::tether;
use crate::adapters::voter::{self, Machine};
use crate::etcd_history::EtcdHistory;
use crate::left::{self, Left};
use crate::node_args::NodeArgs;
use crate::node_context::NodeContext;
use leasehold_base::clock;
use leasehold_base::small_file;
use leasehold_compose::model::{Check, Dependency, Fence, Group, MountKind, OnStopFailure, Probe};
use leasehold_core::event::{Action, Event};
use leasehold_core::group::{
    GroupSettings, OnConflict, OnFailure, OnStandby, ProbeSettings, SecondOpinion, ServiceSettings,
};
use leasehold_core::host::stuck;
use leasehold_core::node::{Identity, Node, Setup};
use leasehold_core::promises::Vote;
use leasehold_core::protocol::records::{Pin, Saved};
use leasehold_core::takeover::confirm::Failover;
use leasehold_core::takeover::fencing::FenceSettings;

/// Events that wait for the loop; a full inbox holds its senders up, never the loop.
const INBOX_MAX: usize = 1024;
/// What the history may take to be written at the end, when nothing is held any more.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// What the engine may take to remove helper containers at the end.
const LAST_HELPERS: Duration = Duration::from_secs(3);
/// Between two tries to reach etcd for the first time.
const ETCD_PAUSE: Duration = Duration::from_secs(1);

/// Runs the sidecar until it is told to end, or until it must not go on.
///
/// # Errors
/// What keeps it from starting; once it runs, an error of its own files, after which the tethers do the fencing.
pub async fn run(facts: &NodeArgs) -> Result<()> {
    let files = Files::open(&facts.run_dir, &facts.state_dir)?;
    let _lock = Files::lock(&facts.run_dir).context("another sidecar runs on this host")?;
    let saved = files.saved().unwrap_or_else(|error| {
        tracing::warn!(code = "memory_unreadable", %error, "the state of the earlier sidecar is unreadable: nothing is adopted");
        None
    });
    // Its deadlines are read by tethers in other containers.
    clock::unshifted().map_err(anyhow::Error::msg)?;
    let boot = clock::boot_id_text().context("the boot id")?;
    let may_run = saved.as_ref().is_some_and(|saved| saved.may_run(&boot));
    let taken = may_run.then(|| Taken::read(&facts.run_dir, &boot)).flatten();
    let mut site = NodeContext::open_after(facts, taken).await?;
    let saved = find_left(&mut site, saved.filter(|saved| saved.boot == boot))?;
    site.check_grace()?;
    // What an earlier sidecar holds goes on, whatever was added beside it.
    if !may_run {
        site.check_addresses().await?;
    }
    for warning in &site.project.warnings {
        tracing::warn!(code = "file_warning", "{warning}");
    }
    tether::install(&facts.tether_dir).context("installing the tether's binary")?;
    // From here on it waits for what is away, and does not end.
    let mut manager = Manager::of_environment();
    manager.ready();
    let pinned = pinned(&files)?;
    let kept = kept_election(&files, pinned.as_ref());
    let timing = site.timing(election_timeout(&site, &mut manager, kept).await)?;

    // Not before it is known to do: what keeps a sidecar from starting is mended in the file.
    site.remember(&site.project);
    let (inbox, events) = mpsc::channel(INBOX_MAX);
    arm_watchdog(&site, may_run)?;
    let store = || site.store(timing.attempt);
    let writer = HistoryWriter::spawn(store());
    let archive = EtcdHistory::new(&site.name, store(), writer.clone(), Arc::clone(&site.sources));
    let engine = site.engine.clone();
    let me = identity(&site)?;
    let outbox = Outbox::open(
        &site,
        timing,
        files.clone(),
        saved.as_ref(),
        pinned.as_ref(),
        writer.clone(),
        inbox.clone(),
    )?;
    let lasting = outbox.lasting();
    let node = Node::new(Setup {
        vote: vote(&facts.state_dir, &me),
        promises: site.project.cluster.promises,
        me,
        cluster: site.project.cluster.name.clone(),
        timing,
        fence: site.project.cluster.fence.as_ref().map(fence_settings),
        groups: site.project.groups.values().map(settings).collect(),
        pinned,
        pages: outbox.pages()?,
        saved,
        seed: getrandom::u64().context("no randomness from the kernel")?,
    });
    let (published, turns) = watch::channel(first_snapshot(&node));
    let asked = http::serve(endpoints(&site), turns, archive, inbox);
    tracing::info!(
        code = "sidecar_started",
        node = site.name,
        cluster = site.project.cluster.name,
        "leasehold {} runs",
        env!("CARGO_PKG_VERSION")
    );
    turn(node, outbox, events, asked, &published, &facts.run_dir, manager).await?;
    last_words(&writer, &engine, &lasting).await;
    Ok(())
}

/// Before anything has happened.
fn first_snapshot(node: &Node) -> Snapshot {
    let at = clock::now();
    Snapshot {
        at,
        status: node.status(at),
        recent: Arc::default(),
    }
}

/// Before anything starts; one that what runs already counts on is not tried.
fn arm_watchdog(site: &NodeContext, may_run: bool) -> Result<()> {
    if let Some(watchdog) = &site.watchdog {
        tracing::info!(code = "watchdog_armed", identity = watchdog.identity, timeout = ?watchdog.timeout, "the watchdog is armed before anything starts");
        if !may_run {
            watchdog.try_out()?;
        }
    }
    Ok(())
}

/// What is left to be done when nothing is held any more.
async fn last_words(writer: &HistoryWriter, engine: &Engine, lasting: &Lasting) {
    tokio::join!(
        writer.flush(LAST_WORDS),
        engine.end_helpers(LAST_HELPERS),
        lasting.flush(LAST_WORDS)
    );
}

fn endpoints(site: &NodeContext) -> Endpoints {
    let facts = &site.facts;
    Endpoints {
        listen: facts.listen.clone(),
        etcd: site.project.cluster.etcd.clone(),
        socket: facts.socket(),
        access: Access::new(facts.tokens.clone()),
        tls: facts.tls(),
        hosts: facts.hosts.clone(),
        words: facts.words(),
    }
}

/// What an earlier sidecar of this boot left that the file has no more.
fn find_left(site: &mut NodeContext, saved: Option<Saved>) -> Result<Option<Saved>> {
    let boot_id = clock::boot_id().context("the boot id")?;
    let saved = left::complete(saved, &site.project, &site.facts.run_dir, boot_id);
    let saved = saved.context("the pages of an earlier sidecar")?;
    site.left = Left::of(saved.as_ref(), &site.project);
    Ok(saved)
}

/// The loop itself.
async fn turn(
    mut node: Node,
    mut outbox: Outbox,
    mut events: mpsc::Receiver<Event>,
    mut asked: mpsc::Receiver<PendingRequest>,
    published: &watch::Sender<Snapshot>,
    run_dir: &Path,
    mut manager: Manager,
) -> Result<()> {
    let alarm = Alarm::new()?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut actions: Vec<Action> = Vec::new();
    node.start(clock::now(), &mut actions);
    loop {
        for action in actions.drain(..) {
            outbox
                .dispatch(action)
                .context("an order could not be given: ending, so that the tethers fence")?;
        }
        let at = clock::now();
        outbox.publish(published, at, node.status(at));
        manager.alive();
        manager.stands(&manager::sentence(&published.borrow().status));
        if node.is_finished() {
            return Ok(());
        }
        let event = tokio::select! {
            biased;
            woken = alarm.until(node.deadline()) => { woken?; Event::Tick }
            _ = terminate.recv() => Event::Terminate,
            _ = interrupt.recv() => Event::Terminate,
            Some(event) = events.recv() => event,
            Some(asked) = asked.recv() => outbox.remember(asked),
            () = manager.due() => Event::Tick,
        };
        if matches!(event, Event::Terminate) {
            manager.stopping();
            Taken::forget(run_dir);
        }
        node.handle(clock::now(), event, &mut actions);
    }
}

/// Which etcd is trusted. What an earlier version pinned from a damaged configuration counts for nothing; the next pin is sound.
fn pinned(files: &Files) -> Result<Option<Pin>> {
    let Some((pin, fault)) = files.pin()? else {
        return Ok(None);
    };
    if let Some(fault) = fault {
        tracing::warn!(code = "pin_damaged", alarm = true, "{fault}: it is taken as not known");
    }
    Ok(Some(pin))
}

/// What etcd takes to elect a leader, as a voter's earlier sidecar learned it: this one is asked for promises while etcd is away.
fn kept_election(files: &Files, pinned: Option<&Pin>) -> Option<Duration> {
    let votes = pinned.is_some_and(|pin| pin.promises_ms.is_some());
    files.election().filter(|_| votes)
}

/// This node's vote. Where it is asked is told once the socket is open. Without one it takes nothing that is kept by promises, and
/// they can't be turned on.
fn vote(state_dir: &Path, me: &Identity) -> Option<Vote> {
    match voter::of(state_dir, &Machine::of_host(&me.machine)) {
        Ok(id) => {
            let address = String::new();
            Some(Vote { id, address })
        }
        Err(error) => {
            tracing::warn!(code = "no_vote", %error, "this node has no vote in promises");
            None
        }
    }
}

/// What etcd may take to elect a leader: stated in the file, or bounded by the lowest lease that it grants. `kept`: by an earlier
/// sidecar of a voter, which is asked for promises while etcd is away.
async fn election_timeout(site: &NodeContext, manager: &mut Manager, kept: Option<Duration>) -> Duration {
    if let Some(stated) = site.project.cluster.election_timeout {
        return stated;
    }
    let settings = site.store(Duration::from_secs(2));
    loop {
        manager.alive();
        manager.stands("waits for etcd");
        match store::floor_probe(&settings).await {
            Ok(floor) => return floor.div_f64(1.5),
            Err(error) => tracing::warn!(
                code = "etcd_awaited",
                ?error,
                "etcd does not answer yet: its election timeout is not known"
            ),
        }
        if let Some(kept) = kept {
            return kept;
        }
        tokio::time::sleep(ETCD_PAUSE).await;
    }
}

fn identity(site: &NodeContext) -> Result<Identity> {
    let machine = small_file::read_text(Path::new("/etc/machine-id"), small_file::MAX).unwrap_or_default();
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").context("the boot id")?;
    if boot.trim().is_empty() {
        bail!("the boot id is empty");
    }
    Ok(Identity {
        name: site.name.clone(),
        machine: machine.trim().to_owned(),
        boot: boot.trim().to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        // Told once the endpoints are open.
        address: String::new(),
        priority: site.facts.priority,
    })
}

/// What the core must know of the fence; one that could not work is said now, and not when it is needed.
fn fence_settings(fence: &Fence) -> FenceSettings {
    for fault in fence::faults(fence) {
        tracing::warn!(code = "setting_unusable", alarm = true, "{fault}");
    }
    let agent = fence.agent.file_name().unwrap_or(fence.agent.as_os_str());
    FenceSettings {
        agent: agent.to_string_lossy().into_owned(),
        timeout: fence.timeout,
        tries: fence.tries,
    }
}

/// What the core must know of a group.
fn settings(group: &Group) -> GroupSettings {
    let place: BTreeMap<&str, usize> = group
        .services
        .iter()
        .enumerate()
        .map(|(at, service)| (service.name.as_str(), at))
        .collect();
    let services = group.services.iter().map(|service| {
        let healthy = service
            .depends_on
            .iter()
            .filter(|(_, wanted)| **wanted == Dependency::Healthy);
        ServiceSettings {
            name: service.name.clone(),
            stop_grace: service.stop_grace_period,
            after_healthy: healthy
                .filter_map(|(name, _)| place.get(name.as_str()).copied())
                .collect(),
            left: false,
        }
    });
    GroupSettings {
        name: group.name.clone(),
        gone: false,
        services: services.collect(),
        vips: group.vips.len(),
        vip_first: group.vip_first,
        on_conflict: match group.on_conflict {
            leasehold_compose::model::OnConflict::Wait => OnConflict::Wait,
            leasehold_compose::model::OnConflict::Take => OnConflict::Take,
        },
        probes: group.probes.iter().map(probe_settings).collect(),
        start_timeout: group.start_timeout,
        on_failure: match group.on_failure {
            leasehold_compose::model::OnFailure::Recover => OnFailure::Recover,
            leasehold_compose::model::OnFailure::Notify => OnFailure::Notify,
        },
        restarts: group.restarts.count,
        restart_window: group.restarts.window,
        grace: group.lease_loss_grace,
        on_stop_failure: match group.on_stop_failure {
            OnStopFailure::Reboot => stuck::OnStopFailure::Reboot,
            OnStopFailure::Hold => stuck::OnStopFailure::Hold,
        },
        failover: match group.failover {
            leasehold_compose::model::Failover::Auto => Failover::Auto,
            leasehold_compose::model::Failover::Confirm => Failover::Confirm,
        },
        second_opinion: match group.second_opinion {
            leasehold_compose::model::SecondOpinion::Off => SecondOpinion::Off,
            leasehold_compose::model::SecondOpinion::Tell => SecondOpinion::Tell,
            leasehold_compose::model::SecondOpinion::Act => SecondOpinion::Act,
        },
        storage_look: group.storage_look.filter(|_| has_storage(group)),
        start_trial: group.start_trial,
        exclusive_mounts: has_volume(group),
        address: group
            .vips
            .first()
            .map(|vip| vip.address.to_string())
            .unwrap_or_default(),
        addresses: group.vips.iter().map(ToString::to_string).collect(),
        failback: match group.failback {
            leasehold_compose::model::Failback::Manual => None,
            leasehold_compose::model::Failback::Auto { quiet } => Some(quiet),
        },
    }
}

fn has_storage(group: &Group) -> bool {
    group
        .services
        .iter()
        .any(|service| !service.protected_targets().is_empty())
}

/// What a volume is, the engine alone knows: of an external one the file says nothing.
fn has_volume(group: &Group) -> bool {
    let mut mounts = group.services.iter().flat_map(|service| &service.mounts);
    mounts.any(|mount| matches!(mount.kind, MountKind::Volume { .. }))
}

fn probe_settings(probe: &Probe) -> ProbeSettings {
    let cadence = probe.cadence;
    ProbeSettings {
        name: probe.check.name(),
        interval: cadence.interval,
        rise: cadence.rise,
        fall: cadence.fall,
        fall_timeout: cadence.fall_timeout,
        alarms_only: matches!(probe.check, Check::Canary(_)),
        on_standby: match probe.check {
            Check::Gateway { .. } => OnStandby::ChecksWay,
            Check::Tcp { .. } | Check::Mail(_) | Check::Http(_) => OnStandby::Asks,
            Check::Exec { .. } | Check::Docker { .. } | Check::Storage { .. } | Check::Canary(_) => OnStandby::Skips,
        },
    }
}
