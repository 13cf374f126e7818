//! What the world around the node answers: etcd, the engine, the tethers and the addresses.

#![expect(clippy::wildcard_enum_match_arm, reason = "a few of the actions only are answered")]

use std::time::Duration;

use leasehold::core::event::{Action, Event, Mounts, Order, VipNews};
use leasehold::core::protocol::records::{Beat, json};
use leasehold::core::store::{Grant, StoreError, TXN_MAX, Txn};

use super::driver::{ANSWER, Call, TTL, World};
use super::groups::{made, services};
use super::words;

impl World {
    /// The answers of a world in which all goes well.
    pub(super) fn respond(&mut self, action: &Action) {
        let at = self.now.plus(ANSWER);
        let afar = self.afar.clone();
        let mut answer = |event| self.soon.push_back((at, event));
        match action.clone() {
            Action::Prepare { group, store } => {
                for of in services(&group) {
                    let (store, result) = (store.clone(), Ok(made(store.clone())));
                    answer(Event::Prepared { of, store, result });
                }
            }
            Action::Start { of, run, .. } => answer(Event::TetherHello {
                of,
                run,
                running: false,
                connection: 1,
            }),
            Action::Page { of, page }
                if matches!(page.order, Order::Stop | Order::Kill) && !self.hung.contains(&of) =>
            {
                let run = page.run;
                let connection = match self.tethers.get(&of) {
                    Some(connection) => *connection,
                    // One that an earlier sidecar let in reports to this one before it ends.
                    None => {
                        let (of, running, connection) = (of.clone(), true, 1);
                        answer(Event::TetherHello {
                            of,
                            run,
                            running,
                            connection,
                        });
                        connection
                    }
                };
                answer(Event::TetherGone { of, run, connection });
            }
            Action::Probe { of, run, .. } => answer(Event::Probed {
                of,
                run,
                result: Ok(()),
            }),
            Action::AskHolder { of, run } => {
                let result = afar.clone();
                let vantage = None;
                answer(Event::HolderAsked {
                    of,
                    run,
                    result,
                    vantage,
                });
            }
            Action::LookAtMounts { group, run } => {
                let mounts = Mounts::Gone;
                answer(Event::MountsSeen { group, run, mounts });
            }
            Action::VipProbe { group } => answer(Event::Vip(VipNews::Free { group })),
            Action::VipHold {
                group, announce: true, ..
            } => answer(Event::Vip(VipNews::Held { group })),
            Action::VipDrop { group } => answer(Event::Vip(VipNews::Dropped { group })),
            _ => {}
        }
    }

    /// etcd carries out what was asked, and says so if it failed.
    pub(crate) fn apply(&mut self, txn: &Txn) -> bool {
        self.others_beat();
        self.date_writes();
        let failed = txn.compare.iter().find(|compare| !self.etcd.holds(compare)).cloned();
        if let Some(failed) = failed {
            let failed = words::compare(&mut self.names, &self.keys, &failed);
            self.tell(format!("etcd: not carried out, for not {failed}"));
        }
        self.etcd.txn(txn)
    }

    /// etcd answers what was asked.
    pub(crate) fn answer(&mut self) {
        let Some(call) = self.call.take() else {
            return self.misled("nothing is asked of etcd");
        };
        let reads = self.keys.ranges().len();
        let (id, succeeded) = match call {
            Call::Txn(_, ref txn) if txn.compare.len() > TXN_MAX || txn.then.len() + reads > TXN_MAX => {
                self.call = Some(call);
                self.fail(StoreError::Refused(
                    "etcdserver: too many operations in txn request".to_owned(),
                ));
                self.adrift.pop();
                return;
            }
            Call::Txn(id, txn) => (id, self.apply(&txn)),
            Call::Read(id) => {
                self.others_beat();
                (id, true)
            }
            Call::Grant(Grant { lease, .. }) => return self.deliver(Event::Granted { lease, result: Ok(()) }),
        };
        let result = Ok(self.etcd.answer(&self.keys, succeeded));
        self.deliver(Event::Answer { id, result });
    }

    pub(crate) fn fail(&mut self, why: StoreError) {
        let Some(call) = self.call.take() else {
            return self.misled("nothing is asked of etcd");
        };
        let (id, txn) = match call {
            Call::Txn(id, txn) => (id, Some(txn)),
            Call::Read(id) => (id, None),
            Call::Grant(Grant { lease, .. }) => {
                return self.deliver(Event::Granted {
                    lease,
                    result: Err(why),
                });
            }
        };
        self.adrift.extend(txn);
        self.deliver(Event::Answer { id, result: Err(why) });
    }

    pub(crate) fn beat(&mut self, node: &str, lease: i64, promise: Duration) {
        let beat = Beat {
            machine: "m".to_owned(),
            boot: format!("{node}1"),
            seq: 1,
            nonce: 7,
            ttl_ms: u64::try_from(promise.as_millis()).unwrap(),
        };
        self.etcd.put(&self.keys.node(node), &json(&beat), lease);
    }

    pub(super) fn others_beat(&mut self) {
        let due = self
            .alive
            .iter()
            .filter(|(_, last)| self.now.since(**last) >= self.timing.beat);
        let due: Vec<String> = due.map(|(name, _)| name.clone()).collect();
        for name in due {
            let lease = self.names.named(&format!("L{name}"));
            let promise = self.promises.get(&name).copied().unwrap_or(TTL);
            self.beat(&name, lease, promise);
            self.alive.insert(name, self.now);
        }
    }
}
