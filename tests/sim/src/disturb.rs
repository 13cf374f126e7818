//! Faults of what the hosts share: the storage's way to a host, and hands that change etcd.

use leasehold_core::event::{OrderKind, Origin, Request, ServiceKey};

use crate::etcd::Etcd;
use crate::events::Ev;
use crate::host::{Container, Life, S};
use crate::members::SWEEP;
use crate::storage::Fault;
use crate::world::{STORE, World};

impl World {
    /// When storage that hung goes on, what was written meanwhile lands first, whatever has become of its writer.
    pub(crate) fn storage(&mut self, h: usize, fault: Fault) {
        let before = std::mem::replace(&mut self.hosts[h].manners.storage, fault);
        if before != Fault::Hangs || fault == Fault::Hangs || !self.hosts[h].powered {
            return;
        }
        let asleep = !self.hosts[h].awake();
        let blocked: Vec<_> = self.hosts[h]
            .containers
            .iter_mut()
            .filter(|(_, c)| c.life == Life::Up)
            .map(|(key, c)| {
                // It was to be dead by now, and everybody but the kernel did what they could.
                let overdue = c.dying;
                c.excused |= overdue;
                (key.group.clone(), c.run.epoch, overdue)
            })
            .collect();
        for (group, epoch, overdue) in blocked {
            let known_open = match (overdue, asleep) {
                (true, _) => Some("late write after a hang (known open)"),
                // What the storage had taken in before the machine was paused, and lands only now.
                (false, true) => Some("late write after a pause (known open)"),
                (false, false) => None,
            };
            self.reached(&group, epoch, h, known_open);
        }
    }

    /// A restored etcd knows nothing of a hold that came after the snapshot: a machine that slept under it finds another
    /// writer, and its claim alone ends it, within one beat (known open).
    pub(crate) fn woke_to_another(&mut self, h: usize, key: &ServiceKey) {
        let claim = self.stores.get(&key.group).and_then(|store| store.claim.as_ref());
        let foreign = claim.is_some_and(|claim| claim.owner.host != h);
        let up = |c: &&mut Container| c.life == Life::Up && !c.excused;
        if let Some(c) = self.hosts[h].containers.get_mut(key).filter(up)
            && foreign
            && self.restored
        {
            c.excused = true;
            // Its address ends with its kernel lifetime, or with the next sidecar.
            self.hosts[h].vip_excused = true;
            self.count("woke to another's claim after a restore (known open)");
        }
    }

    pub(crate) fn revoke_by_hand(&mut self, h: usize) {
        let key = self.keys.node(&self.hosts[h].name);
        let lease = self.etcd.keys.get(&key);
        if let Some(lease) = lease.map(|kv| kv.lease) {
            let changes = self.etcd.revoke(lease);
            self.changed(None, &changes);
        }
    }

    pub(crate) fn edit_record(&mut self, group: &str, garbage: bool) {
        let key = self.keys.record(group);
        let Some(kv) = self.etcd.keys.get(&key).cloned() else {
            return;
        };
        let value = if garbage {
            if kv.value != "spoiled" {
                self.spoiled.insert(group.to_owned(), kv.value);
            }
            "spoiled".to_owned()
        } else {
            kv.value
        };
        self.put_by_hand(&key, &value);
    }

    /// Puts back what stood there, unless it has been written anew.
    pub(crate) fn repair_record(&mut self, group: &str) {
        let Some(value) = self.spoiled.get(group).cloned() else {
            return;
        };
        let key = self.keys.record(group);
        if self.etcd.keys.get(&key).is_some_and(|kv| kv.value == "spoiled") {
            self.put_by_hand(&key, &value);
        }
    }

    /// The sidecar is made anew with another file; what runs goes on.
    pub(crate) fn change_file(&mut self, h: usize, group: String, dropped: bool) {
        let list = &mut self.hosts[h].dropped;
        match dropped {
            true => list.insert(group),
            false => list.remove(&group),
        };
        self.end_sidecar(h);
        self.start_sidecar(h);
    }

    pub(crate) fn end_all_orders(&mut self) {
        for group in self.groups.clone() {
            self.repair_record(&group);
            self.end_orders(&group);
        }
        self.end_node_orders();
    }

    /// Whoever creates a group prepares its storage first.
    pub(crate) fn order(&mut self, h: usize, kind: OrderKind) {
        if let OrderKind::Create { group } = &kind {
            self.initialise(group);
        }
        let name = format!("{kind:?}");
        let name = name.split(' ').next().unwrap_or_default().to_owned();
        self.count(&format!("order {name}"));
        let origin = Origin::default();
        self.request(h, Request::Order { order: kind, origin });
    }

    fn initialise(&mut self, group: &str) {
        let key = self.keys.store(group);
        if !self.etcd.keys.contains_key(&key) {
            self.put_by_hand(&key, STORE);
        }
    }

    /// Everything that an operator ordered is taken back.
    pub(crate) fn end_orders(&mut self, group: &str) {
        self.initialise(group);
        let orders = [
            self.keys.stopped(group),
            self.keys.deleted(group),
            self.keys.paused(group),
        ];
        let without = self.keys.excluded(group, "");
        let changes = self
            .etcd
            .remove(|kv| orders.contains(&kv.key) || kv.key.starts_with(&without));
        self.changed(None, &changes);
    }

    fn put_by_hand(&mut self, key: &str, value: &str) {
        let revision = self.etcd.revision + 1;
        let change = self.etcd.put(key, value, 0, revision);
        self.etcd.revision = revision;
        self.changed(None, &[change]);
    }

    pub(crate) fn swap(&mut self) {
        if self.swapped.is_none() {
            let mut other = Etcd::new();
            other.cluster_id = 0xbad;
            self.swapped = Some(std::mem::replace(&mut self.etcd, other));
            self.restored = true;
        }
    }

    pub(crate) fn swap_back(&mut self) {
        let Some(true_one) = self.swapped.take() else { return };
        self.etcd = true_one;
        for (lease, ttl) in self.etcd.restart_leases(self.now) {
            self.push(ttl + SWEEP + S, Ev::LeaseEnd { lease });
        }
    }
}
