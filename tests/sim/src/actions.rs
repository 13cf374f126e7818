//! Carries out what the core orders, as the adapters do.

use std::time::Duration;

use leasehold_core::event::{Action, Event, Level, ProbeFailure, ServiceKey, VipNews};
use leasehold_core::group::made::Made;
use leasehold_core::time::Time;

use crate::events::{Act, Call, Ev};
use crate::host::{MS, S};
use crate::tether::End;
use crate::world::World;

impl World {
    #[expect(clippy::too_many_lines, reason = "one match over every action")]
    pub(crate) fn carry_out(&mut self, h: usize, action: Action) {
        let life = self.hosts[h].life;
        let soon = self.rng.range(MS, 10 * MS);
        match action {
            Action::Txn { id, txn } => {
                self.sends_rightly(h, &txn);
                self.send_txn(h, id, txn);
            }
            Action::Read { id } => self.call(h, Call::Read(id)),
            Action::Grant(grant) => self.call(h, Call::Grant(grant)),
            Action::KeepAlive { lease } => self.call(h, Call::KeepAlive(lease)),
            // The network here gives every call the same time.
            Action::Attempt(_) => {}
            Action::Revoke { lease } => self.call(h, Call::Revoke(lease)),
            Action::Page { of, page } => self.write_page(h, of, page),
            Action::Save(saved) => self.hosts[h].saved = Some(saved),
            Action::Pin(pin) | Action::PinLater(pin) => self.hosts[h].pin = Some(pin),
            Action::Prepare { group, store } => {
                for service in 0..self.settings(&group).services.len() {
                    let of = ServiceKey {
                        group: group.clone(),
                        service,
                    };
                    let made = Made {
                        store: store.clone(),
                        fingerprint: String::new(),
                        image: "sha256:1".to_owned(),
                        content: String::new(),
                    };
                    let event = Event::Prepared {
                        of,
                        store: store.clone(),
                        result: Ok(made),
                    };
                    self.push(soon * 3, Ev::Inbox { host: h, life, event });
                }
            }
            Action::Start { of, run, .. } => {
                self.trusts(h, &of.group);
                self.starts_rightly(h, &of, run);
                self.start(h, of, run, soon);
            }
            Action::Admit { of, connection } => {
                self.trusts(h, &of.group);
                self.push(
                    soon / 4,
                    Ev::Admit {
                        host: h,
                        key: of,
                        instance: connection,
                        refuse: false,
                    },
                );
            }
            Action::Refuse { of, connection } => {
                self.push(
                    soon / 4,
                    Ev::Admit {
                        host: h,
                        key: of,
                        instance: connection,
                        refuse: true,
                    },
                );
            }
            Action::Kill { of } => {
                let instance = self.hosts[h].containers.get(&of).map(|c| c.instance);
                if let Some(instance) = instance.filter(|_| !self.hosts[h].manners.engine_hangs) {
                    self.push(
                        soon,
                        Ev::Exit {
                            host: h,
                            key: of,
                            instance,
                            end: End::Forced,
                        },
                    );
                }
            }
            Action::Inspect { of, run } => self.inspect(h, of, run, soon),
            Action::LookAtMounts { group, run } => self.look_at_mounts(h, group, run, soon),
            Action::Probe { of, run, .. } => {
                let up = self.hosts[h].serves(&of.group);
                let result = match (up, self.hosts[h].expired) {
                    (true, false) => Ok(()),
                    (true, true) => Err(ProbeFailure::certificate("its certificate has run out")),
                    (false, _) => Err(ProbeFailure::wrong("refused")),
                };
                self.push(
                    soon,
                    Ev::Inbox {
                        host: h,
                        life,
                        event: Event::Probed { of, run, result },
                    },
                );
            }
            Action::VipProbe { group } => {
                let here = self.hosts[h].has_vip(&group, self.now);
                let other = (0..self.hosts.len()).find(|o| *o != h && self.hosts[*o].has_vip(&group, self.now));
                let mac = other.map(|other| self.hosts[other].name.clone());
                let proxy = self.proxy.clone().filter(|mac| *mac != self.hosts[h].name);
                let news = match mac.or(proxy).filter(|_| !here) {
                    Some(mac) => {
                        self.hosts[h].answered.insert(group.clone(), mac.clone());
                        VipNews::Conflict {
                            group,
                            vip: "v".to_owned(),
                            mac,
                        }
                    }
                    None => {
                        self.hosts[h].answered.remove(&group);
                        VipNews::Free { group }
                    }
                };
                self.push(
                    soon * 20,
                    Ev::Inbox {
                        host: h,
                        life,
                        event: Event::Vip(news),
                    },
                );
            }
            Action::VipHold {
                group, until, coarse, ..
            } => self.hold_vip(h, group, until, coarse, soon),
            Action::VipKeep { group, until, coarse } => {
                if self.hosts[h].has_vip(&group, self.now) {
                    self.hold_vip(h, group, until, coarse, soon);
                }
            }
            Action::VipDrop { group } => {
                self.hosts[h].vips.remove(&group);
                self.push(
                    soon,
                    Ev::Inbox {
                        host: h,
                        life,
                        event: Event::Vip(VipNews::Dropped { group }),
                    },
                );
            }
            Action::Say(decision) => {
                self.decides_rightly(h, &decision);
                let name = self.hosts[h].name.clone();
                self.count(&format!("said {}", decision.code.word()));
                if decision.text.contains("adopting run") {
                    self.count("adopted");
                }
                if decision.text.contains("nothing starts until") {
                    self.hosts[h].frozen_core = true;
                } else if decision.text.contains("accepted a restored") {
                    self.hosts[h].frozen_core = false;
                }
                if decision.code.level() == Level::Alarm {
                    self.alarms.push(format!("{name}: {}", decision.text));
                }
                note!(
                    self,
                    "{name} [{}] {}",
                    decision.group.unwrap_or_default(),
                    decision.text
                );
            }
            Action::Reply { result, .. } => {
                note!(self, "{} replies {result:?}", self.hosts[h].name);
                self.replies
                    .push((h, result.map(|done| done.text).map_err(|refusal| refusal.to_string())));
            }
            Action::Exit { detached } => {
                note!(self, "{} exits, detached {detached}", self.hosts[h].name);
                self.hosts[h].detached = detached;
            }
            // A reset is a crash of the machine, which comes back.
            Action::Reset { why } => {
                note!(self, "{} is reset: {why}", self.hosts[h].name);
                self.power_off(h);
                self.push(3 * S, Ev::Act(Act::PowerOn(h)));
            }
            Action::Compare { group, intent } => self.compare(h, group, intent, soon),
            // Nobody but the core looks at containers here.
            Action::Unmanage { .. } => {}
            Action::AskHolder { of, run } => self.ask_holder(h, of, run, soon),
            Action::LookAtStorage { group, store } => self.look(h, group, store, soon),
            Action::WatchClaims { group, .. } => self.watch_claims(h, group, soon),
            Action::TryStart { group, made } => self.try_start(h, group, made, soon),
            Action::Send { to, message } => self.say_directly(h, &to, message),
            Action::Fence { node, incarnation } => self.fence(h, node, incarnation),
            Action::KillForeign { .. } | Action::LookForClients { .. } | Action::Feed { .. } | Action::Disarm => {}
        }
    }

    pub(crate) fn hold_vip(&mut self, h: usize, group: String, until: Time, coarse: bool, soon: u64) {
        self.takes_rightly(h, &group);
        let life = self.hosts[h].life;
        let now = self.hosts[h].clock.read(self.now);
        let raw = now.awake();
        let left = now.until(until);
        let whole = if coarse {
            left.as_nanos().div_ceil(u128::from(S)) as u64
        } else {
            left.saturating_sub(Duration::from_millis(300)).as_secs()
        };
        if whole == 0 {
            return;
        }
        let late = Duration::from_nanos(self.rng.range(0, 300 * MS));
        self.hosts[h]
            .vips
            .insert(group.clone(), raw + Duration::from_secs(whole) + late);
        self.push(
            soon,
            Ev::Inbox {
                host: h,
                life,
                event: Event::Vip(VipNews::Held { group }),
            },
        );
    }
}
