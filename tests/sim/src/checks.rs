//! What must hold after every event.

use shipped::core::records::{Beat, Record, RecordState};
use shipped::core::store::{Compare, Op, Txn};

use crate::etcd::Change;
use crate::host::{Life, MS};
use crate::world::World;

impl World {
    pub(crate) fn covered(&mut self, node: &str, lease: i64, value: &str) {
        if let Ok(beat) = serde_json::from_str::<Beat>(value) {
            // An observer's raw clock may run 0.4 % fast.
            let wait = (beat.ttl_ms * MS) as f64 / 1.004;
            self.cover.insert((node.to_owned(), lease), self.now + wait as u64);
        }
    }

    pub(crate) fn recorded(
        &mut self,
        by: Option<usize>,
        group: &str,
        before: Option<Record>,
        after: &str,
        accepted: bool,
    ) {
        let Ok(after) = serde_json::from_str::<Record>(after) else {
            return;
        };
        note!(
            self,
            "record {group}: epoch {} {:?} {} ({})",
            after.epoch,
            after.state,
            after.node,
            after.reason
        );
        let Some(before) = before else { return };
        if after.epoch < before.epoch {
            self.fail(format!(
                "the record of {group} went back from {} to {}",
                before.epoch, after.epoch
            ));
        }
        if before.state != RecordState::Active || accepted {
            return;
        }
        // Released or taken: nothing of the old epoch may still write.
        let writer = self.hosts.iter().position(|host| {
            host.name == before.node
                && host.awake()
                && host.containers.iter().any(|(key, c)| {
                    key.group == *group && c.life == Life::Up && !c.excused && c.run.epoch <= before.epoch
                })
        });
        if let Some(writer) = writer {
            self.fail(format!(
                "epoch {} of {group} was given up by {by:?} while its application runs on {}",
                before.epoch, self.hosts[writer].name
            ));
        }
    }

    pub(crate) fn classify(&mut self, txn: &Txn, changes: &[Change]) {
        let nodes = self.keys.nodes();
        let record = changes.iter().find_map(|(key, before, after)| {
            let record = self.keys.parts(key).is_some_and(|p| p.len() == 3 && p[2] == "record");
            let read = |kv: &Option<shipped::core::store::KeyValue>| {
                kv.as_ref()
                    .and_then(|kv| serde_json::from_str::<Record>(&kv.value).ok())
            };
            record.then(|| (read(before), read(after)))
        });
        let own = txn
            .compare
            .iter()
            .any(|c| matches!(c, Compare::Lease { key, .. } if key.starts_with(&nodes)));
        let deletes = txn
            .then
            .iter()
            .any(|op| matches!(op, Op::Delete { key } if key.starts_with(&nodes)));
        let not = txn.compare.iter().any(|c| matches!(c, Compare::LeaseNot { .. }));
        let creates = txn
            .compare
            .iter()
            .any(|c| matches!(c, Compare::Create { key, .. } if key.starts_with(&nodes)));
        let accept = txn.then.iter().any(|op| matches!(op, Op::DeletePrefix { .. }));
        let records = changes.iter().filter(|(key, ..)| key.ends_with("/record")).count();
        let kind = match record {
            _ if accept => "T11",
            Some((before, Some(after))) if after.state == RecordState::Active => match before {
                _ if not => "T5",
                Some(before) if before.state == RecordState::Active && before.incarnation == after.incarnation => "T6",
                _ if deletes => {
                    if records > 1 {
                        self.count("T4 frees a second group");
                    }
                    "T4"
                }
                Some(_) | None => "T3",
            },
            Some(_) if own => "T7",
            Some(_) => "T8",
            None if creates => "T1",
            None if deletes => "T9",
            None if own => "T2",
            None => "configure",
        };
        self.count(kind);
    }

    pub(crate) fn admitted(&mut self, h: usize, group: &str, epoch: u64) {
        self.count("started");
        let last = self.epochs.insert(group.to_owned(), (epoch, h));
        if self.restored {
            return; // Without the claim on the storage a restore may repeat an epoch: counted apart.
        }
        if let Some((before, on)) = last
            && (epoch < before || (epoch == before && on != h))
        {
            self.fail(format!("epoch {epoch} of {group} starts after epoch {before}"));
        }
    }

    pub(crate) fn check(&mut self) {
        for at in 0..self.groups.len() {
            let group = &self.groups[at];
            let mut writers = self.hosts.iter().filter(|host| host.writes(group));
            if let (Some(one), Some(two)) = (writers.next(), writers.next()) {
                let why = format!("S1: {group} runs on {} and {}", one.name, two.name);
                return self.fail(why);
            }
            let mut held = self
                .hosts
                .iter()
                .filter(|host| host.has_vip(group, self.now) && !host.vip_excused);
            if let (Some(one), Some(two)) = (held.next(), held.next()) {
                let why = format!("S5: the address of {group} is on {} and {}", one.name, two.name);
                return self.fail(why);
            }
        }
        for host in &self.hosts {
            if !host.awake() {
                continue;
            }
            for (key, c) in &host.containers {
                if c.life != Life::Up || c.excused {
                    continue;
                }
                let cover = self.cover.get(&(host.name.clone(), c.lease)).copied().unwrap_or(0);
                if self.now > cover && !host.manners.unkillable {
                    let why = format!("S3: {}/{} outlives its lease on {}", key.group, key.service, host.name);
                    return self.fail(why);
                }
            }
        }
    }
}
