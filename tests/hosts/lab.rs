//! The ground the hosts stand on: a switch with the client's addresses, in a network namespace of its own, a tmpfs for
//! what a reboot empties and a directory on the disk for the rest. Nothing of it appears in the machine's own network.
//!
//! Everything is named after this process, so that a later run finds and removes what a killed one left behind.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::thread::LinkNameSpaceType;

use crate::freezer;
use crate::shell::{sh, try_sh, within};
use crate::storage::{self, Storage};

pub(crate) const NET4: &str = "10.213.177";
pub(crate) const NET6: &str = "fd5a:213:177";
/// What clients know of the service.
pub(crate) const VIP4: &str = "10.213.177.100";
/// The client's own, on the switch.
pub(crate) const SWITCH4: &str = "10.213.177.200";
pub(crate) const VIP6: &str = "fd5a:213:177::100";

const PREFIX: &str = "leasehold-hosts-";
const KILL_LIMIT: Duration = Duration::from_secs(20);
const CGROUPS_LIMIT: Duration = Duration::from_secs(5);

/// Removed with everything that runs in it when dropped.
pub(crate) struct Lab {
    name: String,
    pub(crate) storage: Storage,
}

impl Lab {
    pub(crate) fn new() -> Self {
        assert!(rustix::process::geteuid().is_root(), "the host tests need root");
        sweep();
        let name = format!("{PREFIX}{}", std::process::id());
        let run = Path::new("/run").join(&name);
        fs::create_dir_all(&run).expect("a directory in /run");
        sh(&format!("mount -t tmpfs tmpfs {}", run.display()));
        let lab = Self {
            storage: Storage::new(&run),
            name,
        };
        fs::create_dir_all(lab.disk()).expect("a directory on the disk");
        lab.namespace(&lab.name);
        lab.in_switch("ip link add br0 type bridge mcast_snooping 0 forward_delay 0 && ip link set br0 up");
        lab.in_switch(&format!(
            "ip addr add {SWITCH4}/24 dev br0; ip addr add {NET6}::200/64 dev br0 nodad"
        ));
        lab
    }

    /// Emptied by a reboot, in short paths.
    pub(crate) fn run(&self) -> PathBuf {
        Path::new("/run").join(&self.name)
    }

    /// Lasting.
    pub(crate) fn disk(&self) -> PathBuf {
        disk(&self.name)
    }

    /// The name of a host's namespace and cgroup.
    pub(crate) fn host_name(&self, host: &str) -> String {
        format!("{}-{host}", self.name)
    }

    /// A namespace that forwards nothing.
    fn namespace(&self, name: &str) {
        sh(&format!("ip netns add {name}"));
        let inside = "ip link set lo up; echo 0 > /proc/sys/net/ipv4/ip_forward";
        sh(&format!("nsenter --net=/run/netns/{name} sh -c '{inside}'"));
    }

    /// A namespace for a host, with its interface; the cable is not plugged in yet.
    pub(crate) fn plug_in(&self, host: &str, number: u8) {
        let name = self.host_name(host);
        self.namespace(&name);
        sh(&format!(
            "ip link add eth0 address 02:00:00:00:77:0{number} netns {name} type veth peer name p-{host} netns {}",
            self.name
        ));
        self.in_switch(&format!("ip link set p-{host} master br0"));
        sh(&format!("nsenter --net=/run/netns/{name} ip link set eth0 up"));
    }

    /// A second network, over which the hosts reach each other and nobody else reaches them.
    pub(crate) fn lay_second_network(&self, hosts: &[(&str, u8)]) {
        self.in_switch("ip link add br1 type bridge mcast_snooping 0 forward_delay 0 && ip link set br1 up");
        for (host, number) in hosts {
            let name = self.host_name(host);
            sh(&format!(
                "ip link add eth1 address 02:00:00:00:78:0{number} netns {name} type veth peer name q-{host} netns {}",
                self.name
            ));
            self.in_switch(&format!("ip link set q-{host} master br1 && ip link set q-{host} up"));
            sh(&format!("nsenter --net=/run/netns/{name} ip link set eth1 up"));
            for (_, other) in hosts.iter().filter(|(other, _)| other != host) {
                sh(&format!(
                    "nsenter --net=/run/netns/{name} ip route add {NET4}.{other}/32 dev eth1 src {NET4}.{number}"
                ));
            }
        }
    }

    pub(crate) fn remove_second_network(&self, hosts: &[(&str, u8)]) {
        for (host, _) in hosts {
            self.in_switch(&format!("ip link del q-{host}"));
        }
        self.in_switch("ip link del br1");
    }

    /// Plugs a host's cable in, or pulls it: the host sees its carrier go.
    pub(crate) fn cable(&self, host: &str, plugged: bool) {
        self.in_switch(&format!("ip link set p-{host} {}", if plugged { "up" } else { "down" }));
    }

    /// Takes a host's port off the switch: its carrier stays, but nobody hears it.
    pub(crate) fn port(&self, host: &str, connected: bool) {
        let master = if connected { "master br0" } else { "nomaster" };
        self.in_switch(&format!("ip link set p-{host} {master}"));
    }

    /// Nothing that is sent to the host arrives; what it sends does.
    pub(crate) fn deafen(&self, host: &str) {
        self.drop_frames(&self.host_name(host), "eth0");
    }

    /// Nothing that the host sends arrives; what is sent to it does.
    pub(crate) fn mute(&self, host: &str) {
        self.drop_frames(&self.name, &format!("p-{host}"));
    }

    fn drop_frames(&self, space: &str, interface: &str) {
        let table = format!("lost-{interface}");
        sh(&format!(
            "nsenter --net=/run/netns/{space} nft \"add table netdev {table}; \
             add chain netdev {table} frames {{ type filter hook ingress device {interface} priority 0; policy drop; }}\""
        ));
    }

    /// Both ways work again.
    pub(crate) fn hear(&self, host: &str) {
        for (space, interface) in [
            (self.host_name(host), "eth0".to_owned()),
            (self.name.clone(), format!("p-{host}")),
        ] {
            try_sh(&format!(
                "nsenter --net=/run/netns/{space} nft delete table netdev lost-{interface} 2> /dev/null"
            ));
        }
    }

    /// Runs a shell command where the client lives.
    pub(crate) fn in_switch(&self, command: &str) -> String {
        sh(&format!("nsenter --net=/run/netns/{} sh -c '{command}'", self.name))
    }

    /// Runs a body where the client lives, in a thread of its own.
    pub(crate) fn client<T: Send + 'static>(
        &self,
        body: impl FnOnce() -> T + Send + 'static,
    ) -> std::thread::JoinHandle<T> {
        let space = fs::File::open(Path::new("/run/netns").join(&self.name)).expect("the switch's namespace");
        std::thread::spawn(move || {
            rustix::thread::move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("entering the switch's namespace");
            body()
        })
    }

    /// The processes of a host.
    pub(crate) fn processes(&self, host: &str) -> BTreeSet<i32> {
        members(&self.host_name(host))
    }

    /// Ends everything that runs on a host, as fast as signals go.
    pub(crate) fn kill_host(&self, host: &str) {
        kill_everything(&self.host_name(host));
        self.storage.hide(host);
        unmount_below(&self.disk().join(host));
        unmount_below(&self.run().join(host));
        remove_cgroups(&self.host_name(host));
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        end(&self.name);
    }
}

fn disk(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// Removes what runs that were killed left behind.
pub(crate) fn sweep() {
    let places = [
        Path::new("/run/netns"),
        Path::new("/run"),
        Path::new(env!("CARGO_TARGET_TMPDIR")),
    ];
    let mut dead = BTreeSet::new();
    for entry in places
        .iter()
        .filter_map(|place| fs::read_dir(place).ok())
        .flatten()
        .flatten()
    {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(rest) = name.strip_prefix(PREFIX) else {
            continue;
        };
        let pid = rest.split('-').next().unwrap_or_default();
        if !Path::new("/proc").join(pid).exists() {
            dead.insert(format!("{PREFIX}{pid}"));
        }
    }
    dead.iter().for_each(|name| end(name));
}

fn end(name: &str) {
    let spaces: Vec<String> = fs::read_dir("/run/netns")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|space| space == name || space.starts_with(&format!("{name}-")))
        .collect();
    let run = Path::new("/run").join(name);
    // Nothing that waits for it can end otherwise.
    storage::release(&run.join("storage"));
    for space in &spaces {
        kill_everything(space);
        remove_cgroups(space);
    }
    unmount_below(&run);
    unmount_below(&disk(name));
    for space in &spaces {
        try_sh(&format!("ip netns del {space}"));
    }
    // What can't be removed is found by the next run.
    let _ = fs::remove_dir_all(&run);
    let _ = fs::remove_dir_all(disk(name));
}

fn kill_everything(space: &str) {
    let dead = within(KILL_LIMIT, || {
        let pids = members(space);
        for pid in &pids {
            // It may have ended by itself.
            let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
        }
        // What is frozen dies when it thaws, before it does anything else.
        for place in freezer::below(space) {
            freezer::thaw(&place);
        }
        pids.is_empty().then_some(())
    });
    if dead.is_none() {
        try_sh(&format!("echo {space}: processes outlive SIGKILL >&2"));
    }
}

/// The processes in a host's namespace, their descendants and the host's cgroup.
fn members(space: &str) -> BTreeSet<i32> {
    let Ok(inode) = fs::metadata(Path::new("/run/netns").join(space)).map(|data| data.ino()) else {
        return BTreeSet::new();
    };
    let wanted = format!("net:[{inode}]");
    let mut parents: BTreeMap<i32, i32> = BTreeMap::new();
    let mut found: BTreeSet<i32> = cgroups(space).iter().flat_map(|place| processes(place)).collect();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    for pid in entries.filter_map(|entry| entry.file_name().to_string_lossy().parse::<i32>().ok()) {
        let place = Path::new("/proc").join(pid.to_string());
        // Ended processes that wait for their parents have no namespace any more.
        let Ok(net) = fs::read_link(place.join("ns/net")) else {
            continue;
        };
        if net.to_string_lossy() == wanted {
            found.insert(pid);
        }
        let stat = fs::read_to_string(place.join("stat")).unwrap_or_default();
        let parent = stat
            .rsplit(')')
            .next()
            .and_then(|rest| rest.split_whitespace().nth(1)?.parse().ok());
        parents.insert(pid, parent.unwrap_or(0));
    }
    loop {
        let more: Vec<i32> = parents
            .iter()
            .filter(|(pid, parent)| found.contains(parent) && !found.contains(pid))
            .map(|(pid, _)| *pid)
            .collect();
        if more.is_empty() {
            break;
        }
        found.extend(more);
    }
    let own = rustix::process::getpid().as_raw_nonzero().get();
    found.retain(|pid| *pid != own && *pid > 1);
    found
}

/// The host's cgroup in every hierarchy.
fn cgroups(space: &str) -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(root)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    let places = std::iter::once(root.to_path_buf()).chain(hierarchies);
    places
        .map(|place| place.join(space))
        .filter(|place| place.is_dir())
        .collect()
}

fn processes(cgroup: &Path) -> Vec<i32> {
    let text = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    let own = text.lines().filter_map(|line| line.parse().ok());
    let below = directories(cgroup);
    own.chain(below.iter().flat_map(|place| processes(place))).collect()
}

fn directories(place: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(place).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir() && !path.is_symlink())
        .collect()
}

fn remove_cgroups(space: &str) {
    fn remove(place: &Path) {
        directories(place).iter().for_each(|below| remove(below));
        // A process that is still ending keeps it, though it is listed nowhere any more.
        let _ = fs::remove_dir(place);
    }
    // A host that starts anew in what is left of its groups may not have a process at their top. Else they cost nothing.
    within(CGROUPS_LIMIT, || {
        cgroups(space).iter().for_each(|place| remove(place));
        cgroups(space).is_empty().then_some(())
    });
}

/// Unmounts everything at and below a directory, the last mounted first.
fn unmount_below(place: &Path) {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(PathBuf::from);
    let mut below: Vec<PathBuf> = points.filter(|point| point.starts_with(place)).collect();
    below.reverse();
    for point in below {
        try_sh(&format!("umount -l {}", point.display()));
    }
}
