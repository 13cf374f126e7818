//! Hands each action of the core to its adapter, in order; what must be on disk before the next one is written here and
//! now. Nothing here waits: a queue that is full is an error, and an error ends the process.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use super::cgroup::Memory;
use super::clients;
use super::clock_source;
use super::containers::{self, ContainerCommand};
use super::events::Notifier;
use super::fence;
use super::files::Files;
use super::fitness;
use super::http::{PendingRequest, Snapshot};
use super::probe::{Inside, Prober, Target};
use super::promises::{self, Promises};
use super::reset;
use super::store::{self, HistoryWriter, StoreCommand};
use super::tether::TetherHost;
use super::vip::{self, Until, VipCommand, VipEvent};
use super::watchdog::WatchdogDevice;
use crate::counters::Counters;
use crate::decision_log::DecisionLog;
use crate::node_context::NodeContext;
use leasehold_base::clock;
use leasehold_base::epoch::Run;
use leasehold_base::page::{Page, mark};
use leasehold_base::time::Time;
use leasehold_compose::model::{Check, Group, Service, Vip};
use leasehold_core::event::{Action, Decision, Done, Event, Level, PageOrder, ProbeKey, ServiceKey};
use leasehold_core::history::EpochRecorder;
use leasehold_core::protocol::TxnKind;
use leasehold_core::protocol::records::{Pin, Saved};
use leasehold_core::protocol::secret::Secret;
use leasehold_core::protocol::sizing::Timing;
use leasehold_core::requests::refusal::Refusal;
use leasehold_core::snapshot::status::Status;
use leasehold_core::store::{Grant, RequestId};

mod inward;
mod kept;
mod moves;
mod receivers;

pub use kept::Lasting;

use inward::{forward, from_store, from_tether, from_vip};
use moves::Moves;
use receivers::notifier;

/// Orders that wait for an adapter; the core never has more under way.
const QUEUE_MAX: usize = 256;

/// The sending ends of all adapters.
pub struct Outbox {
    site: NodeContext,
    files: Files,
    boot_id: [u8; 16],
    store: mpsc::Sender<StoreCommand>,
    vip: mpsc::Sender<VipCommand>,
    containers: mpsc::Sender<ContainerCommand>,
    prober: Prober,
    inbox: mpsc::Sender<Event>,
    tethers: BTreeMap<ServiceKey, TetherHost>,
    /// For each group: the id that its storage must carry, as its containers were asked for last.
    stores: BTreeMap<String, String>,
    watchdog: Option<WatchdogDevice>,
    replies: BTreeMap<u64, oneshot::Sender<Result<Done, Refusal>>>,
    next_reply: u64,
    holders: BTreeMap<String, Option<String>>,
    recent: Arc<DecisionLog>,
    recorder: EpochRecorder,
    moves: Moves,
    writer: HistoryWriter,
    notifier: Option<Notifier>,
    promises: Promises,
    timing: Timing,
}

impl Outbox {
    /// Starts every adapter.
    ///
    /// # Errors
    /// A file or socket of the tethers that could not be made.
    pub fn open(
        site: &NodeContext,
        timing: Timing,
        files: Files,
        saved: Option<&Saved>,
        pinned: Option<&Pin>,
        writer: HistoryWriter,
        inbox: mpsc::Sender<Event>,
    ) -> io::Result<Self> {
        let boot = clock::boot_id_text()?;
        let has_run = saved.is_some_and(|saved| saved.may_run(&boot));
        let memory = Memory::open(&files.containers, &boot, has_run)?;
        let (store, store_commands) = mpsc::channel(QUEUE_MAX);
        let (store_events, answers) = mpsc::channel(QUEUE_MAX);
        drop(store::spawn(site.store(timing.attempt), store_commands, store_events));
        let recent = DecisionLog::default();
        let counters = recent.counters.clone();
        forward(answers, inbox.clone(), move |event| from_store(event, &counters));

        let (vip, vip_commands) = mpsc::channel(QUEUE_MAX);
        let (vip_events, news) = mpsc::channel(QUEUE_MAX);
        own_thread(site.facts.interface.clone(), vip_commands, vip_events)?;
        forward(news, inbox.clone(), from_vip);

        let (containers, container_commands) = mpsc::channel(QUEUE_MAX);
        fitness::spawn(site, inbox.clone());
        clock_source::spawn(inbox.clone());
        store::spawn_looks(
            site.store(timing.attempt),
            inbox.clone(),
            recent.counters.timings.clone(),
        );
        containers::spawn(site.clone(), memory, container_commands, inbox.clone());

        recent.counters.timings.measure.keep(&site.facts.state_dir);
        drop_left(site, &vip)?;
        Ok(Self {
            site: site.clone(),
            prober: Prober::new(Inside::new(site.engine.clone())),
            files,
            boot_id: clock::boot_id()?,
            store,
            vip,
            containers,
            tethers: tethers(site, saved, &inbox)?,
            timing,
            promises: promises_of(site, pinned, &inbox, &recent.counters),
            stores: BTreeMap::new(),
            watchdog: site.watchdog.clone().map(WatchdogDevice::new),
            inbox,
            replies: BTreeMap::new(),
            next_reply: 0,
            holders: BTreeMap::new(),
            notifier: notifier(site, &recent.counters)?,
            moves: Moves::new(site.store(timing.attempt), recent.counters.timings.clone()),
            recent: Arc::new(recent),
            recorder: EpochRecorder::default(),
            writer,
        })
    }

    /// What the pages that an earlier sidecar left say.
    ///
    /// # Errors
    /// A page that can't be read.
    pub fn pages(&self) -> io::Result<BTreeMap<ServiceKey, PageOrder>> {
        let mut pages = BTreeMap::new();
        for (of, tether) in &self.tethers {
            let Some(page) = tether.read_page()? else { continue };
            let order = PageOrder {
                run: page.run,
                order: page.order,
                soft: page.soft,
                hard: page.hard,
            };
            pages.insert(of.clone(), order);
        }
        Ok(pages)
    }

    /// Carries out one action, or hands it on.
    ///
    /// # Errors
    /// A file that can't be written, or an adapter that takes no more orders.
    pub fn dispatch(&mut self, action: Action) -> io::Result<()> {
        match action {
            Action::Txn { id, txn } => self.ask_store(id, txn.kind, StoreCommand::Txn { id, txn }),
            Action::Read { id } => self.ask_store(id, TxnKind::Read, StoreCommand::Read { id }),
            Action::Grant(Grant { lease, ttl }) => give(&self.store, StoreCommand::Grant { lease, ttl }),
            Action::KeepAlive { lease } => give(&self.store, StoreCommand::KeepAlive { lease }),
            Action::Attempt(limit) => give(&self.store, StoreCommand::Attempt(limit)),
            Action::Revoke { lease } => give(&self.store, StoreCommand::Revoke { lease }),
            Action::Save(saved) => self.files.save(&saved),
            Action::Pin(pin) => self.pin(&pin),
            Action::PinLater(pin) => {
                self.pin_later(pin);
                Ok(())
            }
            Action::Page { of, page } => self.write_page(&of, page),
            Action::Admit { of, connection } => self.tether(&of)?.admit(connection),
            Action::Refuse { of, connection } => self.tether(&of)?.refuse(connection),
            Action::Prepare { group, store } => self.prepare(group, store),
            Action::Unmanage { group } => self.unmanage(group),
            Action::Start { of, run, made } => give(&self.containers, ContainerCommand::Start { of, run, made }),
            Action::Kill { of } => give(&self.containers, ContainerCommand::Kill { of }),
            Action::KillForeign { id, .. } => give(&self.containers, ContainerCommand::KillForeign { id }),
            Action::Inspect { of, run } => give(&self.containers, ContainerCommand::Inspect { of, run }),
            Action::Compare { group, intent } => give(&self.containers, ContainerCommand::Compare { group, intent }),
            Action::LookAtMounts { group, run } => give(&self.containers, ContainerCommand::Mounts { group, run }),
            Action::LookAtStorage { group, store } => give(&self.containers, ContainerCommand::Look { group, store }),
            Action::WatchClaims { group, store } => give(&self.containers, ContainerCommand::Watch { group, store }),
            Action::TryStart { group, made } => give(&self.containers, ContainerCommand::Try { group, made }),
            Action::Probe { of, run, at_vip } => self.probe(of, run, at_vip),
            Action::AskHolder { of, run } => self.ask_holder(of, run),
            Action::LookForClients { group } => {
                self.look_for_clients(group);
                Ok(())
            }
            Action::VipProbe { group } => self.probe_vips(group),
            Action::VipHold {
                group,
                until: end,
                coarse,
                announce,
            } => self.hold_vips(group, Until { end, coarse }, announce),
            Action::VipKeep { group, until, coarse } => self.keep_vips(group, until, coarse),
            Action::VipDrop { group } => self.drop_vips(group),
            Action::Feed { until } => self.watchdog.as_mut().map_or(Ok(()), |watchdog| watchdog.feed(until)),
            Action::Disarm => {
                self.watchdog.iter_mut().for_each(WatchdogDevice::disarm);
                Ok(())
            }
            Action::Say(decision) => {
                self.say(&decision);
                Ok(())
            }
            Action::Reply { reply, result } => {
                self.reply(reply, result);
                Ok(())
            }
            Action::Fence { node, incarnation } => {
                self.fence(node, incarnation);
                Ok(())
            }
            Action::Send { to, message } => {
                self.promises.say(to, message);
                Ok(())
            }
            Action::Reset { why } => self.reset(why),
            Action::Exit { detached } => {
                tracing::info!(code = "sidecar_ended", detached, "the sidecar ends");
                Ok(())
            }
        }
    }

    /// What is answered under this number; the time from here to the answer is told.
    fn ask_store(&mut self, id: RequestId, kind: TxnKind, command: StoreCommand) -> io::Result<()> {
        self.recent.counters.timings.sent(id, kind);
        give(&self.store, command)
    }

    fn probe_vips(&self, group: String) -> io::Result<()> {
        let vips = self.vips(&group);
        give(&self.vip, VipCommand::Probe { group, vips })
    }

    fn keep_vips(&self, group: String, end: Time, coarse: bool) -> io::Result<()> {
        let (vips, until) = (self.vips(&group), Until { end, coarse });
        give(&self.vip, VipCommand::Keep { group, vips, until })
    }

    fn drop_vips(&self, group: String) -> io::Result<()> {
        let vips = self.vips(&group);
        give(&self.vip, VipCommand::Drop { group, vips })
    }

    /// From here on every page of the group says what its tether must be told to find.
    fn prepare(&mut self, group: String, store: Option<String>) -> io::Result<()> {
        match &store {
            Some(id) => drop(self.stores.insert(group.clone(), id.clone())),
            None => drop(self.stores.remove(&group)),
        }
        give(&self.containers, ContainerCommand::Prepare { group, store })
    }

    /// Containers and addresses of a group that is no more are whoever's they are.
    fn unmanage(&self, group: String) -> io::Result<()> {
        let vips = self.vips(&group);
        give(&self.vip, VipCommand::Forget { vips })?;
        give(&self.containers, ContainerCommand::Unmanage { group })
    }

    fn reply(&mut self, reply: u64, result: Result<Done, Refusal>) {
        if let Some(asker) = self.replies.remove(&reply) {
            // Whoever asked may have gone away meanwhile.
            let _ = asker.send(result);
        }
    }

    /// To the log, to whoever asks why, and to the world.
    fn say(&mut self, decision: &Decision) {
        say(decision);
        let at = clock::wall();
        Arc::make_mut(&mut self.recent).keep(at.clone(), decision);
        if let Some(notifier) = &mut self.notifier {
            notifier.tell(at, decision);
        }
    }

    /// Keeps the asker of a command until its reply.
    pub fn remember(&mut self, asked: PendingRequest) -> Event {
        self.next_reply += 1;
        self.replies.insert(self.next_reply, asked.reply);
        Event::Request {
            reply: self.next_reply,
            request: asked.request,
        }
    }

    /// Publishes the status; containers that meet a closed gate learn who leads.
    pub fn publish(&mut self, published: &watch::Sender<Snapshot>, at: Time, mut status: Status) {
        for entry in self.recorder.observe(at, &clock::wall(), &status) {
            self.writer.epoch(&entry);
            self.moves.told(&entry);
        }
        self.moves.seen(&status);
        let timing = self.timing.with_ttl(Duration::from_millis(status.ttl_ms));
        let measure = &self.recent.counters.timings.measure;
        status.measured = measure.line(at, &timing, status.promises.is_some());
        for (name, line) in &mut status.groups {
            line.vips = self
                .vips(name)
                .iter()
                .map(|vip| format!("{}/{}", vip.address, vip.prefix))
                .collect();
            if self.holders.get(name) != Some(&line.holder) {
                self.holders.insert(name.clone(), line.holder.clone());
                let text = match &line.holder {
                    Some(holder) => format!(
                        "{name} is led by {holder}; to move it here: leasehold switchover {name} --to {}",
                        status.node
                    ),
                    None => format!("{name} is led by nobody now; see: leasehold status"),
                };
                if let Err(error) = self.notice(name, &text) {
                    tracing::debug!(%error, "notice");
                }
            }
        }
        let recent = Arc::clone(&self.recent);
        published.send_replace(Snapshot { at, status, recent });
    }

    fn tether(&self, of: &ServiceKey) -> io::Result<&TetherHost> {
        self.tethers
            .get(of)
            .ok_or_else(|| io::Error::other(format!("no tether for service {} of {}", of.service, of.group)))
    }

    fn write_page(&self, of: &ServiceKey, page: PageOrder) -> io::Result<()> {
        let PageOrder { run, order, soft, hard } = page;
        let boot_id = self.boot_id;
        let store = self.store_mark(of);
        self.tether(of)?.write_page(&Page {
            boot_id,
            store,
            run,
            order,
            soft,
            hard,
        })
    }

    /// A service without protected mounts has nothing to find.
    fn store_mark(&self, of: &ServiceKey) -> u64 {
        let service = self.group(&of.group).and_then(|group| group.services.get(of.service));
        let protects = service.is_some_and(|service| !service.protected_targets().is_empty());
        let store = self.stores.get(&of.group).filter(|_| protects);
        store.map_or(0, |store| mark(store))
    }

    fn notice(&self, group: &str, text: &str) -> io::Result<()> {
        let mut of_group = self.tethers.iter().filter(|(of, _)| of.group == group);
        of_group.try_for_each(|(_, tether)| tether.write_notice(text))
    }

    fn group(&self, name: &str) -> Option<&Group> {
        self.site.project.groups.get(name)
    }

    fn vips(&self, group: &str) -> Vec<Vip> {
        let in_file = self.group(group).map(|group| group.vips.clone());
        in_file.unwrap_or_else(|| self.site.left.vips(group))
    }

    fn hold_vips(&self, group: String, until: Until, announce: bool) -> io::Result<()> {
        let vips = self.vips(&group);
        give(
            &self.vip,
            VipCommand::Hold {
                group,
                vips,
                until,
                announce,
            },
        )
    }

    /// The disk has a secret before anything is said under it.
    fn pin(&self, pin: &Pin) -> io::Result<()> {
        self.files.save_pin(pin)?;
        let secret = secret_of(pin);
        if secret.is_some() {
            // Without it a voter that starts while etcd is away waits for etcd, and is silent until then.
            let _ = self.files.save_election(self.timing.election_timeout);
        }
        self.promises.take(secret);
        Ok(())
    }

    /// Beside the loop: nothing depends on it.
    fn pin_later(&self, pin: Pin) {
        let inbox = self.inbox.clone();
        let failed = move |error: io::Error| {
            // A full inbox has worse to tell; the loop may have ended meanwhile.
            let _ = inbox.try_send(Event::PinUnwritten { why: error.to_string() });
        };
        self.files.pin_later(pin, failed);
    }

    fn reset(&self, why: String) -> io::Result<()> {
        let (trigger, inbox) = (self.site.facts.sysrq_trigger.clone(), self.inbox.clone());
        reset::order(trigger, why, move |why| {
            // The loop may have ended meanwhile.
            let _ = inbox.blocking_send(Event::ResetFailed { why });
        })
    }

    /// One try, beside the loop; the core orders one at a time for a node.
    fn fence(&self, node: String, incarnation: i64) {
        let (wanted, inbox) = (self.site.project.cluster.fence.clone(), self.inbox.clone());
        tokio::spawn(async move {
            let result = match &wanted {
                Some(wanted) => fence::fence(wanted, &node).await,
                None => Err("no fence is configured".to_owned()),
            };
            match &result {
                Ok(said) => tracing::info!(code = "fence_agent_done", node, "the fence agent succeeded: {said}"),
                Err(why) => tracing::warn!(code = "fence_agent_failed", node, "the fence agent failed: {why}"),
            }
            let _ = inbox
                .send(Event::FenceEnded {
                    node,
                    incarnation,
                    result,
                })
                .await;
        });
    }

    /// One check in a task of its own; the core has one of a probe under way at most. Of what the file does not have, none.
    fn probe(&self, of: ProbeKey, run: Run, at_vip: bool) -> io::Result<()> {
        let Some(group) = self.group(&of.group) else {
            return Ok(());
        };
        let Some(mut probe) = group.probes.get(of.probe).cloned() else {
            return Ok(());
        };
        let own = IpAddr::from([127, 0, 0, 1]);
        let vip = group.vips.first().filter(|_| at_vip || group.vip_first);
        let inside = match &probe.check {
            Check::Exec { service, .. } | Check::Docker { service } | Check::Storage { service, .. } => Some(service),
            Check::Tcp { .. } | Check::Mail(_) | Check::Http(_) | Check::Canary(_) | Check::Gateway { .. } => None,
        };
        let service = inside.and_then(|name| group.services.iter().find(|service| service.name == *name));
        if let (Check::Exec { command, .. }, Some(service)) = (&mut probe.check, service)
            && let Some(led) = super::engine::within(service, command)
        {
            *command = led;
        }
        let target = Target {
            address: vip.map_or(own, |vip| vip.address),
            container: service.and_then(|service| self.site.container_name(&service.name)),
            mounts: service.map(Service::protected_targets).unwrap_or_default(),
            place: of.probe,
        };
        let (prober, inbox) = (self.prober.clone(), self.inbox.clone());
        let counters = self.recent.counters.clone();
        tokio::spawn(async move {
            let began = clock::now();
            let result = prober.check(&probe, &target).await;
            let fault = result.as_ref().err().map(|failure| failure.text.as_str());
            let took = clock::now().since(began);
            counters.timings.probed(&of.group, run, probe.check.name(), took, fault);
            if result.is_err() {
                counters.probe_failed(&of.group, probe.check.name());
            }
            // The receiver goes away only with the process.
            let _ = inbox.send(Event::Probed { of, run, result }).await;
        });
        Ok(())
    }

    /// The same of another node's run, as a client would: at the address, and without a login.
    /// Beside the loop: a busy host has long tables.
    fn look_for_clients(&self, group: String) {
        let probes = self.group(&group).into_iter().flat_map(|group| &group.probes);
        let ports: Vec<u16> = probes.filter_map(|probe| probe.check.port()).collect();
        let inbox = self.inbox.clone();
        tokio::task::spawn_blocking(move || {
            let clients = clients::seen_for_a_while(&ports);
            // A full inbox drops it; the next look tells.
            let _ = inbox.try_send(Event::ClientsSeen { group, clients });
        });
    }

    fn ask_holder(&self, of: ProbeKey, run: Run) -> io::Result<()> {
        let Some(group) = self.group(&of.group) else {
            return Ok(());
        };
        let (Some(probe), Some(vip)) = (group.probes.get(of.probe), group.vips.first()) else {
            return Ok(());
        };
        let (prober, inbox, probe) = (self.prober.clone(), self.inbox.clone(), probe.from_outside());
        let target = Target {
            address: vip.address,
            container: None,
            mounts: Vec::new(),
            place: of.probe,
        };
        tokio::spawn(async move {
            let result = prober.check(&probe, &target).await;
            let vantage = match result {
                Ok(()) => None,
                Err(_) => vip::vantage(target.address).await,
            };
            let event = Event::HolderAsked {
                of,
                run,
                result,
                vantage,
            };
            let _ = inbox.send(event).await;
        });
        Ok(())
    }
}

/// Addresses that an earlier sidecar added and that have left the file, though their group has not: they go now, and then
/// they are whoever's they are. Those of a group that left as a whole go with its run.
fn drop_left(site: &NodeContext, vip: &mpsc::Sender<VipCommand>) -> io::Result<()> {
    for group in site.project.groups.keys() {
        let vips = site.left.vips(group);
        if vips.is_empty() {
            continue;
        }
        // Under a name that is no group's: nobody waits for the answer.
        let name = format!("{group}, as it was");
        let (group, given) = (name, vips.clone());
        give(vip, VipCommand::Drop { group, vips: given })?;
        give(vip, VipCommand::Forget { vips })?;
    }
    Ok(())
}

/// None: promises are off.
fn secret_of(pin: &Pin) -> Option<Secret> {
    let promised = pin.promised();
    promised.bound_ms.and(promised.secret)
}

fn promises_of(site: &NodeContext, pinned: Option<&Pin>, inbox: &mpsc::Sender<Event>, counters: &Counters) -> Promises {
    let (given, etcd) = (site.facts.promises_listen.clone(), site.project.cluster.etcd.clone());
    let finder = Arc::new(move || promises::asked_at(given.as_deref(), &etcd));
    let secret = pinned.and_then(secret_of);
    Promises::spawn(&site.project.cluster.name, secret, finder, inbox.clone(), counters)
}

/// Opens page and socket of every service; a page whose run may be adopted stays as it is.
fn tethers(
    site: &NodeContext,
    saved: Option<&Saved>,
    inbox: &mpsc::Sender<Event>,
) -> io::Result<BTreeMap<ServiceKey, TetherHost>> {
    let mut tethers = BTreeMap::new();
    for group in site.groups() {
        let (events, heard) = mpsc::channel(QUEUE_MAX);
        let name = group.to_owned();
        forward(heard, inbox.clone(), move |event| Some(from_tether(&name, event)));
        let adopt = saved.is_some_and(|saved| saved.groups.contains_key(group));
        let notice = format!("{group} is led by nobody that this node knows yet; see: leasehold status");
        for (service, name) in site.services(group).into_iter().enumerate() {
            let directory = site.page_dir(group, name);
            let of = ServiceKey {
                group: group.to_owned(),
                service,
            };
            let host = TetherHost::open(&directory, service, &notice, adopt, events.clone())?;
            tethers.insert(of, host);
        }
    }
    Ok(tethers)
}

/// A thread for the addresses alone: the kernel may hold a netlink call up for as long as somebody else changes the
/// network, and the loop must not wait for it.
fn own_thread(
    interface: String,
    commands: mpsc::Receiver<VipCommand>,
    events: mpsc::Sender<VipEvent>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let body = move || {
        runtime.block_on(async {
            if let Err(error) = vip::spawn(interface, commands, events).await {
                tracing::error!(code = "addresses_ended", %error, "the address adapter ended");
            }
        });
    };
    std::thread::Builder::new()
        .name("addresses".to_owned())
        .spawn(body)
        .map(drop)
}

fn give<T>(queue: &mpsc::Sender<T>, order: T) -> io::Result<()> {
    queue
        .try_send(order)
        .map_err(|_| io::Error::other("an adapter takes no more orders"))
}

fn say(decision: &Decision) {
    let (code, group) = (decision.code.word(), decision.group.as_deref());
    match decision.code.level() {
        Level::Info => tracing::info!(code, group, "{}", decision.text),
        Level::Alarm => tracing::warn!(code, group, alarm = true, "{}", decision.text),
    }
}
