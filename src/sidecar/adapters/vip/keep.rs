//! What is held: addresses with a lifetime, put back, announced, and gone in time.

use std::net::IpAddr;

use futures_util::future::join_all;

use super::announce::Schedule;
use super::installed::{Installed, Ours};
use super::netlink::lifetime;
use super::task::Task;
use super::{Until, VipError, VipEvent, installed_prefix};
use leasehold_base::clock::now;
use leasehold_compose::model::Vip;

/// Looks at the addresses until none is left: an address may come back between a look and its removal.
const PURGE_ROUNDS: usize = 3;

/// The addresses of one group while they are held.
pub(super) struct Holding {
    vips: Vec<Vip>,
    /// Those that the kernel took: only these are announced.
    present: Vec<Vip>,
    /// From the last `Hold`; nothing here ever moves it.
    pub(super) until: Until,
    /// Set once the addresses are there.
    pub(super) schedule: Option<Schedule>,
    /// The largest lifetime given out since the last `Hold`, in seconds.
    given: u32,
    /// `Held` was said.
    reported: bool,
}

impl Holding {
    pub(super) fn vips(&self) -> &[Vip] {
        &self.vips
    }
}

impl Task {
    pub(super) async fn hold(&mut self, group: String, vips: Vec<Vip>, until: Until, announce: bool) {
        let before = self
            .holdings
            .get(&group)
            .map(|holding| (holding.vips.clone(), holding.until));
        let known = before.as_ref().is_some_and(|(held, _)| *held == vips);
        if lifetime(now(), until).is_none() {
            // Too late to add. What is there ends by itself, unless it was given longer than this.
            if before.is_some_and(|(_, earlier)| earlier.end != earlier.end.earlier(until.end)) {
                self.end(group).await;
            }
            return;
        }
        if !known && !self.prepare(&group, &vips, before.map(|(held, _)| held)).await {
            return;
        }
        let holding = self.holdings.entry(group.clone()).or_insert_with(|| Holding {
            vips: Vec::new(),
            present: Vec::new(),
            until,
            schedule: None,
            given: 0,
            reported: false,
        });
        holding.vips = vips;
        holding.until = until;
        let all = self.put(&group).await;
        let Some(holding) = self.holdings.get_mut(&group) else {
            return;
        };
        // Who asks for announcements starts over and waits for the answer, also after an earlier sidecar's deadline was
        // renewed here before anybody waited.
        if all && (announce || !holding.reported) {
            holding.reported = true;
            self.report(VipEvent::Held { group: group.clone() });
        }
        self.schedule(&group, announce);
    }

    /// Before the first addition: the interface can be used, and no other copy of an address is about, which would
    /// have no lifetime.
    async fn prepare(&mut self, group: &str, vips: &[Vip], held: Option<Vec<Vip>>) -> bool {
        let ready = self.open_wire().map(|_| ());
        let index = match ready.and_then(|()| Ok(self.link()?.index)) {
            Ok(index) => index,
            Err(error) => {
                for vip in vips {
                    self.report_failed(group, *vip, error.clone());
                }
                return false;
            }
        };
        let mut stale: Vec<Vip> = held.unwrap_or_default();
        stale.extend(vips);
        self.theirs.know(group, &stale);
        let wanted = |it: &Installed| {
            it.index == index
                && vips
                    .iter()
                    .any(|vip| vip.address == it.address && installed_prefix(*vip) == it.prefix)
        };
        if let Err((vip, error)) = self.purge(&stale, wanted).await {
            self.report_failed(group, vip, error);
            return false;
        }
        self.watch(group, vips);
        self.look_for_theirs(Some(group)).await;
        true
    }

    /// Adds or renews every address of the group for what its deadline still allows. True if all are there.
    async fn put(&mut self, group: &str) -> bool {
        let Some(holding) = self.holdings.get(group) else {
            return false;
        };
        let (vips, until) = (holding.vips.clone(), holding.until);
        let addresses: Vec<IpAddr> = vips.iter().map(|vip| vip.address).collect();
        // One look for all: a socket can tell one list at a time.
        let results = match (self.link(), self.netlink.find(&addresses).await) {
            (Ok(link), Ok(found)) => {
                let there = |vip: Vip| found.iter().find(|it| it.is_at(link.index, vip));
                let puts = vips.iter().map(|vip| self.netlink.put(link, *vip, until, there(*vip)));
                join_all(puts).await
            }
            (Err(error), _) | (_, Err(error)) => vips.iter().map(|_| Err(error.clone())).collect(),
        };
        let mut present = Vec::new();
        let mut given = 0;
        for (vip, result) in vips.iter().zip(results) {
            match result {
                Ok(Some(valid)) => {
                    given = given.max(valid);
                    present.push(*vip);
                }
                Ok(None) => (),
                Err(VipError::Occupied(own)) => self.occupied(group, own),
                Err(error) => self.report_failed(group, *vip, error),
            }
        }
        let all = present.len() == vips.len();
        if let Some(holding) = self.holdings.get_mut(group) {
            holding.given = given;
            holding.present = present;
        }
        all
    }

    /// Starts the announcements that a `Hold` asks for, once.
    fn schedule(&mut self, group: &str, announce: bool) {
        let Some(holding) = self.holdings.get_mut(group) else {
            return;
        };
        if holding.present.is_empty() {
            return;
        }
        match (holding.schedule, announce) {
            (None, true) => holding.schedule = Some(Schedule::burst(now())),
            (None, false) => holding.schedule = Some(Schedule::periodic(now())),
            (Some(_), _) => (),
        }
    }

    pub(super) async fn release(&mut self, group: String, vips: Vec<Vip>) {
        let held = self.holdings.remove(&group).map(|holding| holding.vips);
        let mut gone = held.unwrap_or_default();
        gone.extend(vips);
        self.theirs.know(&group, &gone);
        self.watch(&group, &[]);
        match self.purge(&gone, |_| false).await {
            Ok(()) => self.report(VipEvent::Dropped { group: group.clone() }),
            Err((vip, error)) => self.report_failed(&group, vip, error),
        }
        self.look_for_theirs(Some(&group)).await;
    }

    /// Removes every copy of ours of the addresses that is not to be kept, from every interface, and looks again.
    async fn purge(&self, vips: &[Vip], keep: impl Fn(&Installed) -> bool) -> Result<(), (Vip, VipError)> {
        let Some(first) = vips.first() else {
            return Ok(());
        };
        let addresses: Vec<IpAddr> = vips.iter().map(|vip| vip.address).collect();
        let named = |address| *vips.iter().find(|vip| vip.address == address).unwrap_or(first);
        for _ in 0..PURGE_ROUNDS {
            let mut found = self.netlink.find(&addresses).await.map_err(|error| (*first, error))?;
            found.retain(|it| !keep(it));
            let ours: Vec<Ours> = found.into_iter().filter_map(Installed::ours).collect();
            if ours.is_empty() {
                return Ok(());
            }
            let removals = ours.iter().map(|it| self.netlink.remove(it));
            for (it, result) in ours.iter().zip(join_all(removals).await) {
                result.map_err(|error| (named(it.it().address), error))?;
            }
        }
        let doing = "removing the addresses".to_owned();
        let reason = "one of them keeps coming back".to_owned();
        Err((*first, VipError::Refused { doing, reason }))
    }

    /// Lets go of what is past its deadline. The kernel removed it before; this is for a host that was suspended,
    /// where the kernel's lifetimes stood still.
    pub(super) async fn expire(&mut self) {
        let now = now();
        let past = |(group, it): (&String, &Holding)| now.reached(it.until.end).then(|| group.clone());
        let groups: Vec<String> = self.holdings.iter().filter_map(past).collect();
        for group in groups {
            self.end(group).await;
        }
    }

    async fn end(&mut self, group: String) {
        let Some(holding) = self.holdings.remove(&group) else {
            return;
        };
        self.watch(&group, &[]);
        if let Err((vip, error)) = self.purge(&holding.vips, |_| false).await {
            self.report_failed(&group, vip, error);
        }
        self.report(VipEvent::Expired { group });
    }

    /// The group that holds this very address on our interface.
    fn holder(&self, it: &Installed) -> Option<(String, Vip)> {
        let index = self.link().ok()?.index;
        self.holdings.iter().find_map(|(group, holding)| {
            let same = |vip: &&Vip| it.is_at(index, **vip);
            holding.vips.iter().find(same).map(|vip| (group.clone(), *vip))
        })
    }

    /// Somebody gave an address of ours a longer life: back to what it may have. Or it came back while it is not held: away
    /// with it. One that is not ours, or no more since somebody made it last, is told.
    pub(super) async fn check_added(&mut self, it: Installed) {
        self.note(&it).await;
        let holder = self.holder(&it);
        let Some(ours) = it.clone().ours() else {
            return;
        };
        let Some((group, _)) = holder else {
            return self.remove_stray(&ours).await;
        };
        if self
            .holdings
            .get(&group)
            .is_some_and(|holding| it.valid > holding.given)
        {
            self.put(&group).await;
        }
    }

    /// One of ours that is not held here answers beside its holder: an earlier sidecar's, in a place of its own.
    async fn remove_stray(&mut self, ours: &Ours) {
        let it = ours.it();
        // The report may be older than a removal of ours.
        if !self.theirs.knows(it.address) || !self.is_there(it).await {
            return;
        }
        let (address, prefix) = (it.address, it.prefix);
        match self.netlink.remove(ours).await {
            Ok(()) => tracing::warn!(
                code = "address_swept",
                alarm = true,
                "{address}/{prefix} came back without being held here: taken away, only the lease brings it here"
            ),
            Err(error) => tracing::warn!(
                code = "address_not_swept", alarm = true, %error,
                "{address}/{prefix} came back without being held here and can't be taken away: remove it by hand"
            ),
        }
    }

    /// An address went: expired, or taken away while it is held.
    pub(super) async fn check_removed(&mut self, it: Installed) {
        self.note(&it).await;
        let Some((group, vip)) = self.holder(&it) else {
            return;
        };
        let left = self
            .holdings
            .get(&group)
            .and_then(|holding| lifetime(now(), holding.until));
        if left.is_none() || self.is_there(&it).await {
            return;
        }
        self.report(VipEvent::Lost {
            group: group.clone(),
            vip,
        });
        self.put(&group).await;
        self.announce(&group, &[vip]);
    }

    /// True also where the kernel can't be asked: the next `Hold` adds whatever is missing.
    async fn is_there(&self, it: &Installed) -> bool {
        let Ok(found) = self.netlink.find(&[it.address]).await else {
            return true;
        };
        let same = |other: &Installed| other.index == it.index && other.prefix == it.prefix;
        found.iter().any(same)
    }

    /// Everything that is held is put back for the time that it has left.
    pub(super) async fn restore(&mut self) {
        let groups: Vec<String> = self.holdings.keys().cloned().collect();
        for group in groups {
            let left = self
                .holdings
                .get(&group)
                .and_then(|holding| lifetime(now(), holding.until));
            if left.is_some() {
                self.put(&group).await;
            }
        }
    }

    /// The full burst for everything that is held.
    pub(super) fn announce_again(&mut self) {
        for holding in self.holdings.values_mut() {
            holding.schedule = Some(Schedule::burst(now()));
        }
    }

    pub(super) fn step_announcements(&mut self) {
        let now = now();
        let mut due = Vec::new();
        for (group, holding) in &mut self.holdings {
            if holding.schedule.as_mut().is_some_and(|schedule| schedule.step(now)) {
                due.push((group.clone(), holding.present.clone()));
            }
        }
        for (group, vips) in due {
            self.announce(&group, &vips);
        }
    }

    /// A second owner was heard: whoever holds the lease says so again.
    pub(super) fn answer_foreign(&mut self, group: &str, vip: Vip) {
        if self.holdings.contains_key(group) {
            self.announce(group, &[vip]);
        }
    }

    /// Sends the announcements now, of addresses that are there and not about to go. A link that is down would lose
    /// them; it brings a new burst when it is back.
    fn announce(&mut self, group: &str, vips: &[Vip]) {
        let Some(holding) = self.holdings.get(group) else {
            return;
        };
        if lifetime(now(), holding.until).is_none() || !self.link().is_ok_and(|link| link.up) {
            return;
        }
        let present = holding.present.clone();
        for vip in vips.iter().filter(|vip| present.contains(vip)) {
            let sent = match self.open_wire() {
                Ok((wire, mac)) => wire.announce(mac, vip.address).map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            if let Err(error) = sent {
                tracing::warn!(code = "address_unannounced", group, address = %vip.address, error, "can't announce a virtual IP");
            }
        }
    }
}
