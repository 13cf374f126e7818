//! File systems on block devices, which one host alone may mount: the engine mounts one before it starts a container, and
//! unmounts it a while after the last process has ended, or not at all while it hangs.

use leasehold_core::epoch::Run;
use leasehold_core::event::{Event, Mounts};

use crate::events::Ev;
use crate::host::{Life, MS};
use crate::world::World;

/// What a healthy engine took on the machine on which it was measured.
const UNMOUNT: u64 = 294 * MS;

/// A mount on one host.
#[derive(Clone, Debug)]
pub(crate) struct Mounted {
    /// Under which its holder was given the epoch.
    lease: i64,
    epoch: u64,
    /// A start that came when its page was closed again mounts all the same, before any gate: counted apart.
    late: bool,
}

/// Which groups of this world have such a volume.
pub(crate) fn is_exclusive(group: &str) -> bool {
    group == "web"
}

impl World {
    /// The engine mounts before it starts the container.
    pub(crate) fn mount(&mut self, h: usize, group: &str, run: Run) {
        if is_exclusive(group) {
            let key = (group.to_owned(), run.epoch, self.hosts[h].name.clone());
            let lease = self.granted.get(&key).copied().unwrap_or(0);
            let (epoch, late) = (run.epoch, false);
            let mounted = Mounted { lease, epoch, late };
            self.hosts[h].mounts.insert(group.to_owned(), mounted);
        }
    }

    /// The gate is closed by now, but what stands before it is done.
    pub(crate) fn mount_late(&mut self, h: usize, group: &str) {
        if is_exclusive(group) && !self.hosts[h].mounts.contains_key(group) {
            self.count("mounted by a late start (known open)");
            let (lease, epoch, late) = (0, 0, true);
            let mounted = Mounted { lease, epoch, late };
            self.hosts[h].mounts.insert(group.to_owned(), mounted);
        }
        self.unmount_later(h, group, None);
    }

    /// A container has ended: the engine hears of it.
    pub(crate) fn unmount_later(&mut self, h: usize, group: &str, delay: Option<u64>) {
        if self.hosts[h].mounts.contains_key(group) {
            let (boot, group) = (self.hosts[h].boot, group.to_owned());
            self.push(delay.unwrap_or(UNMOUNT), Ev::Unmount { host: h, boot, group });
        }
    }

    pub(crate) fn unmount(&mut self, h: usize, boot: u64, group: &str) {
        let host = &self.hosts[h];
        let runs = |life: Life| life != Life::Stopped;
        let used = host.containers.iter().any(|(of, c)| of.group == group && runs(c.life));
        if host.boot != boot || !host.powered || used {
            return;
        }
        if !host.awake() || host.manners.engine_hangs {
            return self.unmount_later(h, group, Some(20 * MS));
        }
        if self.hosts[h].mounts.remove(group).is_some() {
            self.count("unmounted");
        }
    }

    /// The adapter's look: the kernel's word, asked for through the engine.
    pub(crate) fn look_at_mounts(&mut self, h: usize, group: String, run: Run, soon: u64) {
        let host = &self.hosts[h];
        let life = host.life;
        let mounts = match host.mounts.contains_key(&group) {
            _ if host.manners.engine_hangs => Mounts::Hidden { why: String::new() },
            true => Mounts::Left { what: String::new() },
            false => Mounts::Gone,
        };
        if mounts != Mounts::Gone {
            self.count("stop not proved: still mounted");
        }
        let event = Event::MountsSeen { group, run, mounts };
        self.push(soon * 20, Ev::Inbox { host: h, life, event });
    }

    /// S26: a holder that gives a group up has unmounted it.
    pub(crate) fn given_up_rightly(&mut self, h: usize, group: &str, epoch: u64) {
        let mounted = self.hosts[h].mounts.get(group);
        if mounted.is_some_and(|mounted| !mounted.late && mounted.epoch <= epoch) {
            let name = &self.hosts[h].name;
            let why = format!("S26: {name} gives epoch {epoch} of {group} up while it is mounted there");
            self.fail(why);
        }
    }

    /// S26: while the beats of its holder are good, nobody else has it mounted. What outlives a lease is counted apart: there
    /// the file system's own protection stands between the two, or a fence.
    pub(crate) fn mounted_once(&mut self) {
        let group = self.groups.iter().find(|group| is_exclusive(group)).cloned();
        let Some(group) = group else { return };
        let mut rightly = 0;
        let mut all = 0;
        for host in self.hosts.iter().filter(|host| host.powered) {
            let Some(mounted) = host.mounts.get(&group) else {
                continue;
            };
            all += 1;
            let cover = self.cover_of(&host.name, mounted.lease);
            let lives = cover.is_some_and(|cover| self.now < cover.until);
            rightly += usize::from(lives && !mounted.late);
        }
        if rightly > 1 && !self.restored {
            self.fail(format!("S26: {group} is mounted on {rightly} hosts that beat"));
        } else if all > 1 {
            self.count("mounted twice after a lease ran out (known open)");
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::directed::{check, saw, settled, until_active};
    use crate::events::Act;
    use leasehold_core::protocol::records::RecordState;

    fn hung_engine(host: usize, hangs: bool) -> Act {
        Act::Engine {
            host,
            hangs,
            refuses: false,
            lies: false,
        }
    }

    #[test]
    fn what_is_mounted_is_not_handed_over_before_the_unmount() {
        let mut world = settled(2, 2);
        world.act(Act::Switchover(0, "web".to_owned(), Some("b".to_owned())));
        let took = until_active(&mut world, "web", Some(1), 4000);
        check(&world, (300..3500).contains(&took), &format!("took {took} ms"));
        check(&world, saw(&world, "unmounted") && saw(&world, "T7"), "unmounted first");
    }

    #[test]
    fn an_engine_that_hangs_keeps_the_mount_and_with_it_the_group() {
        let mut world = settled(2, 2);
        world.act(hung_engine(0, true));
        world.act(Act::Switchover(0, "web".to_owned(), Some("b".to_owned())));
        world.run_for(20_000);
        let record = world.record("web");
        let held = |state, stuck: &Option<String>| state == RecordState::Active && stuck.is_some();
        let held = record.is_some_and(|record| record.node == "a" && held(record.state, &record.stuck));
        check(&world, held, "it is held and marked");
        check(&world, world.active("web").is_empty(), "it serves nowhere");
        world.act(hung_engine(0, false));
        until_active(&mut world, "web", None, 8000);
        check(&world, saw(&world, "unmounted"), "unmounted before anybody took it");
    }
}
