//! The task: one loop over commands, the kernel's reports, frames and due dates.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::mpsc;

use super::keep::Holding;
use super::netlink::{Change, Changes, Link, Netlink, names};
use super::theirs::Theirs;
use super::wire::Wire;
use super::{Heard, Mac, Says, VipCommand, VipError, VipEvent};
use leasehold_base::clock::now;
use leasehold_base::time::Time;
use leasehold_compose::model::Vip;

/// RFC 5227 asks three times; one to two seconds apart there, which a failover can't afford.
const PROBES: u8 = 3;
const PROBE_SPACING: Duration = Duration::from_millis(50);

/// Between two reports of a foreign owner of the same address, and between two answers to it.
const FOREIGN_SPACING: Duration = Duration::from_secs(1);

/// Timers stop while the host is suspended: with something held, deadlines are looked at this often.
const LOOK: Duration = Duration::from_millis(200);

/// With nothing due.
const IDLE: Duration = Duration::from_secs(3600);

/// Reports that wait for a slow reader; beyond it no command is read.
const WAITING_MAX: usize = 256;

/// After a netlink socket broke.
const REOPEN_PAUSE: Duration = Duration::from_millis(200);

/// Everything the task knows.
pub(super) struct Task {
    pub(super) interface: String,
    pub(super) netlink: Netlink,
    /// Every interface of the host, by index.
    pub(super) links: BTreeMap<u32, Link>,
    /// Open while the interface is there and the kernel lets us.
    pub(super) wire: Option<(u32, Wire)>,
    /// By group.
    probes: BTreeMap<String, Probing>,
    /// By group.
    pub(super) holdings: BTreeMap<String, Holding>,
    /// The addresses of every group, and who has them here besides us.
    pub(super) theirs: Theirs,
    /// The addresses that are probed or held.
    pub(super) watched: BTreeMap<IpAddr, Watch>,
    waiting: VecDeque<VipEvent>,
    /// Whether the interface is up, and its hardware address.
    reported: Option<(bool, Option<Mac>)>,
    /// The Ethernet address of the interface that neighbours were told last.
    told_mac: Option<Mac>,
}

/// A probe under way.
struct Probing {
    vips: Vec<Vip>,
    sent: u8,
    due: Time,
}

/// An address that nobody else should use.
pub(super) struct Watch {
    pub(super) group: String,
    pub(super) vip: Vip,
    /// No report before this.
    pub(super) quiet_until: Time,
}

/// What ended a wait.
enum Woken {
    Command(Option<VipCommand>),
    Sent(bool),
    Change(Option<Change>),
    Heard(Option<Heard>),
    Due,
}

/// Runs until one of the channels closes.
pub(super) async fn run(interface: String, mut commands: mpsc::Receiver<VipCommand>, events: mpsc::Sender<VipEvent>) {
    let (netlink, mut changes) = open().await;
    let mut task = Task {
        interface,
        netlink,
        links: BTreeMap::new(),
        wire: None,
        probes: BTreeMap::new(),
        holdings: BTreeMap::new(),
        theirs: Theirs::default(),
        watched: BTreeMap::new(),
        waiting: VecDeque::new(),
        reported: None,
        told_mac: None,
    };
    task.read_links().await;
    loop {
        // First of all, whatever woke us.
        task.expire().await;
        match task.wait(&mut commands, &mut changes, &events).await {
            Woken::Command(None) | Woken::Sent(false) => return,
            Woken::Command(Some(command)) => task.command(command).await,
            Woken::Change(Some(Change::Missed)) => task.resync().await,
            Woken::Change(Some(change)) => task.change(change).await,
            Woken::Change(None) => {
                (task.netlink, changes) = open().await;
                task.resync().await;
            }
            Woken::Heard(Some(heard)) => task.heard(heard),
            Woken::Heard(None) | Woken::Sent(true) | Woken::Due => (),
        }
        task.step_probes();
        task.step_announcements();
    }
}

/// Opens netlink, as often as it takes: there is no work without it, and lifetimes end without us.
async fn open() -> (Netlink, Changes) {
    loop {
        match Netlink::open() {
            Ok(opened) => return opened,
            Err(error) => tracing::warn!(code = "netlink_failed", %error, "can't open netlink"),
        }
        tokio::time::sleep(REOPEN_PAUSE).await;
    }
}

impl Task {
    async fn wait(
        &mut self,
        commands: &mut mpsc::Receiver<VipCommand>,
        changes: &mut Changes,
        events: &mpsc::Sender<VipEvent>,
    ) -> Woken {
        let pause = self.pause();
        let hear = async {
            match &self.wire {
                Some((_, wire)) => wire.hear().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            permit = events.reserve(), if !self.waiting.is_empty() => {
                if let (Ok(permit), Some(event)) = (permit, self.waiting.pop_front()) {
                    permit.send(event);
                    return Woken::Sent(true);
                }
                Woken::Sent(false)
            }
            command = commands.recv(), if self.waiting.len() < WAITING_MAX => Woken::Command(command),
            () = events.closed() => Woken::Sent(false),
            change = changes.next() => Woken::Change(change),
            heard = hear => Woken::Heard(heard),
            () = tokio::time::sleep(pause) => Woken::Due,
        }
    }

    /// How long nothing is due.
    fn pause(&self) -> Duration {
        let now = now();
        let probes = self.probes.values().map(|probing| now.until(probing.due));
        let kept = self.holdings.values().flat_map(|holding| {
            let announcement = holding.schedule.map(|schedule| now.until(schedule.due));
            [Some(LOOK), Some(now.until(holding.until.end)), announcement]
        });
        probes.chain(kept.flatten()).min().unwrap_or(IDLE)
    }

    async fn command(&mut self, command: VipCommand) {
        match command {
            VipCommand::Probe { group, vips } => self.probe(group, vips).await,
            VipCommand::Hold {
                group,
                vips,
                until,
                announce,
            } => {
                self.probes.remove(&group);
                self.hold(group, vips, until, announce).await;
            }
            VipCommand::Keep { group, vips, until } => {
                let there = self.left_here(&vips).await;
                if !there.is_empty() {
                    self.hold(group.clone(), there, until, false).await;
                    self.watch_asked(&group);
                }
            }
            VipCommand::Drop { group, vips } => {
                self.probes.remove(&group);
                self.release(group, vips).await;
            }
            VipCommand::Forget { vips } => self.theirs.forget(&vips),
        }
    }

    async fn change(&mut self, change: Change) {
        match change {
            Change::Added(it) => self.check_added(it).await,
            Change::Removed(it) => self.check_removed(it).await,
            Change::Link(link) => {
                self.links.insert(link.index, link);
                self.check_link().await;
            }
            Change::LinkGone(index) => {
                self.links.remove(&index);
                self.check_link().await;
            }
            Change::Missed => self.resync().await,
        }
    }

    /// Reads everything again after reports were lost.
    async fn resync(&mut self) {
        self.read_links().await;
        self.look_for_theirs(None).await;
        self.restore().await;
    }

    async fn read_links(&mut self) {
        match self.netlink.links().await {
            Ok(links) => self.links = links.into_iter().map(|link| (link.index, link)).collect(),
            Err(error) => tracing::warn!(code = "netlink_failed", %error, "the interfaces are not known"),
        }
        self.check_link().await;
    }

    /// Follows the interface: its state, its sockets, and what has to be done when it comes back.
    async fn check_link(&mut self) {
        let link = self.link().ok();
        let (up, mac) = (link.is_some_and(|link| link.up), link.and_then(|link| link.mac));
        if let Err(error) = self.open_wire() {
            tracing::debug!(%error, "nothing is heard on the wire");
        }
        if let Some(mac) = mac
            && self.told_mac.replace(mac).is_some_and(|told| told != mac)
        {
            // As a bridge or a bond does whose first port is another now: the neighbours send to the old one for up to minutes.
            self.announce_again();
        }
        let (before, mac) = (self.reported, self.told_mac);
        if before.is_some_and(|(was, told)| was == up && (!up || told == mac)) {
            return;
        }
        self.reported = Some((up, mac));
        self.report(VipEvent::Link { up, mac });
        if up && before.is_some_and(|(was, _)| !was) {
            // A link that goes down takes IPv6 addresses with it, and the neighbours may have forgotten us.
            self.restore().await;
            self.announce_again();
        }
    }

    /// The interface, if there is one of that name.
    pub(super) fn link(&self) -> Result<&Link, VipError> {
        let found = self.links.values().find(|link| link.name == self.interface);
        found.ok_or_else(|| VipError::NoInterface {
            name: self.interface.clone(),
            existing: names(self.links.values()),
        })
    }

    /// The sockets on the interface and its Ethernet address. An interface made anew needs new sockets.
    pub(super) fn open_wire(&mut self) -> Result<(&Wire, Mac), VipError> {
        let link = self.link().cloned();
        let current = self.wire.as_ref().map(|(index, _)| *index);
        if current != link.as_ref().ok().map(|link| link.index) {
            self.wire = None;
        }
        let link = link?;
        let name = link.name.clone();
        let mac = link.mac.ok_or(VipError::NotEthernet { name })?;
        let wire = match self.wire.take() {
            Some((_, wire)) => wire,
            None => Wire::open(&link.name)?,
        };
        let (_, wire) = self.wire.insert((link.index, wire));
        Ok((wire, mac))
    }

    pub(super) fn report(&mut self, event: VipEvent) {
        // Only what nobody asked for can pile up, since no command is read meanwhile.
        if self.waiting.len() < 2 * WAITING_MAX {
            self.waiting.push_back(event);
        }
    }

    pub(super) fn report_failed(&mut self, group: &str, vip: Vip, error: VipError) {
        let group = group.to_owned();
        self.report(VipEvent::Failed { group, vip, error });
    }

    pub(super) fn watch(&mut self, group: &str, vips: &[Vip]) {
        self.watched.retain(|_, watch| watch.group != group);
        for vip in vips {
            let watch = Watch {
                group: group.to_owned(),
                vip: *vip,
                quiet_until: Time::default(),
            };
            self.watched.insert(vip.address, watch);
        }
    }

    /// Those of ours that are on the interface. None where the kernel can't be asked: then the network is.
    async fn left_here(&self, vips: &[Vip]) -> Vec<Vip> {
        let addresses: Vec<IpAddr> = vips.iter().map(|vip| vip.address).collect();
        let (Ok(link), Ok(found)) = (self.link(), self.netlink.find(&addresses).await) else {
            return Vec::new();
        };
        let of_ours = |vip: &Vip| {
            found
                .iter()
                .any(|it| it.is_at(link.index, *vip) && it.clone().ours().is_some())
        };
        vips.iter().copied().filter(of_ours).collect()
    }

    async fn probe(&mut self, group: String, mut vips: Vec<Vip>) {
        if self.link().is_err() {
            self.read_links().await;
        }
        let here = self.left_here(&vips).await;
        if !vips.is_empty() && here.len() == vips.len() {
            return self.report(VipEvent::Free { group });
        }
        let ready = match (self.link().map(|link| link.up), self.open_wire()) {
            (Err(error), _) | (Ok(true), Err(error)) => Err(error),
            (Ok(false), _) => Err(VipError::LinkDown {
                name: self.interface.clone(),
            }),
            (Ok(true), Ok(_)) => Ok(()),
        };
        if let Err(error) = ready {
            for vip in vips {
                self.report_failed(&group, vip, error.clone());
            }
            return;
        }
        self.theirs.know(&group, &vips);
        if self.is_occupied(&group).await {
            return;
        }
        if !self.holdings.contains_key(&group) {
            self.watch(&group, &vips);
        }
        vips.retain(|vip| !here.contains(vip));
        let (sent, due) = (0, now());
        self.probes.insert(group.clone(), Probing { vips, sent, due });
        self.watch_asked(&group);
    }

    /// What is asked about is listened for, also beside what the group holds.
    fn watch_asked(&mut self, group: &str) {
        let Some(probing) = self.probes.get(group) else { return };
        for vip in &probing.vips {
            self.watched.entry(vip.address).or_insert_with(|| Watch {
                group: group.to_owned(),
                vip: *vip,
                quiet_until: Time::default(),
            });
        }
    }

    fn step_probes(&mut self) {
        let now = now();
        let due = |probing: &Probing| now.reached(probing.due);
        let groups: Vec<String> = self
            .probes
            .iter()
            .filter(|(_, it)| due(it))
            .map(|(group, _)| group.clone())
            .collect();
        for group in groups {
            let Some(mut probing) = self.probes.remove(&group) else {
                continue;
            };
            if probing.sent == PROBES {
                self.report(VipEvent::Free { group });
                continue;
            }
            if let Err((vip, error)) = self.ask(&probing.vips) {
                self.report_failed(&group, vip, error);
                continue;
            }
            probing.sent += 1;
            probing.due = now.plus(PROBE_SPACING);
            self.probes.insert(group, probing);
        }
    }

    fn ask(&mut self, vips: &[Vip]) -> Result<(), (Vip, VipError)> {
        for vip in vips {
            let (wire, mac) = self.open_wire().map_err(|error| (*vip, error))?;
            wire.probe(mac, vip.address).map_err(|error| {
                let doing = format!("probing {}", vip.address);
                let reason = error.to_string();
                (*vip, VipError::Refused { doing, reason })
            })?;
        }
        Ok(())
    }

    fn heard(&mut self, heard: Heard) {
        let Heard { address, mac, says } = heard;
        if self.links.values().any(|link| link.mac == Some(mac)) {
            return;
        }
        let Some(watch) = self.watched.get(&address) else {
            return;
        };
        let (group, vip) = (watch.group.clone(), watch.vip);
        let probed = self.probes.get(&group);
        if probed.is_some_and(|probing| probing.vips.iter().any(|it| it.address == address)) {
            self.probes.remove(&group);
            let held = self.holdings.get(&group).map(|holding| holding.vips().to_vec());
            self.watch(&group, &held.unwrap_or_default());
            self.report(VipEvent::Conflict { group, vip, mac });
            return;
        }
        let now = now();
        if says == Says::Asking || !now.reached(watch.quiet_until) {
            return;
        }
        if let Some(watch) = self.watched.get_mut(&address) {
            watch.quiet_until = now.plus(FOREIGN_SPACING);
        }
        self.report(VipEvent::Foreign {
            group: group.clone(),
            vip,
            mac,
        });
        self.answer_foreign(&group, vip);
    }
}
