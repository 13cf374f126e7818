//! A small network in namespaces of its own: a bridge with a neighbour's address, and hosts plugged into it.
//!
//! A test runs itself again under `unshare -n`; each host is a namespace kept by a process that ends when its standard
//! input closes. So nothing outlives the test, however it ends.

#![expect(
    clippy::unwrap_used,
    reason = "a lab that can't be built fails the test, with the place"
)]

use std::future::Future;
use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use leasehold::base::time::Time;
use leasehold::compose::model::Vip;
use leasehold::sidecar::adapters::vip::{Mac, Until, VipCommand, VipEvent, spawn};
use rustix::thread::{CapabilitySet, LinkNameSpaceType};
use tokio::sync::mpsc;

const INSIDE: &str = "LEASEHOLD_TEST_LAB";

/// The longest wait for anything that has no limit of its own.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs the body of the test `name` inside a network namespace of its own.
pub(crate) fn run<F: Future<Output = ()>>(name: &str, body: impl FnOnce(Lab) -> F) {
    if std::env::var_os(INSIDE).is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(body(Lab::new()));
        return;
    }
    assert!(
        rustix::process::geteuid().is_root(),
        "needs root, for network namespaces"
    );
    for tool in ["ip", "unshare", "nsenter"] {
        let found = Command::new(tool).arg("-V").output();
        assert!(found.is_ok(), "needs the program `{tool}` (iproute2, util-linux)");
    }
    let status = Command::new("unshare")
        .arg("-n")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .status()
        .unwrap();
    assert!(status.success(), "{name} failed inside its namespace, see above");
}

/// The bridge `br0` with the addresses of a neighbour: 192.0.2.1 and 2001:db8::1.
pub(crate) struct Lab {}

impl Lab {
    fn new() -> Self {
        sh("echo 0 > /proc/sys/net/ipv4/ip_forward");
        sh("ip link set lo up");
        sh("ip link add br0 type bridge mcast_snooping 0 forward_delay 0 && ip link set br0 up");
        sh("ip addr add 192.0.2.1/24 dev br0 && ip addr add 2001:db8::1/64 dev br0 nodad");
        Self {}
    }

    /// A host with `eth0` on the bridge and 192.0.2.<number>/24, once it can be reached.
    pub(crate) async fn host(&self, number: u8) -> Host {
        let mut holder = Command::new("unshare")
            .args(["-n", "sh", "-c", "echo ready; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        let host = Host { holder, number };
        let (pid, mac) = (host.holder.id(), host.mac());
        sh(&format!(
            "ip link add port{number} type veth peer name eth0 address {mac} netns {pid} \
             && ip link set port{number} master br0 up"
        ));
        host.sh("echo 0 > /proc/sys/net/ipv4/ip_forward; ip link set lo up");
        host.sh("echo 1 > /proc/sys/net/ipv4/conf/eth0/arp_notify");
        host.sh("echo 1 > /proc/sys/net/ipv6/conf/eth0/ndisc_notify; echo 0 > /proc/sys/net/ipv6/conf/eth0/accept_dad");
        host.sh(&format!(
            "ip addr add 192.0.2.{number}/24 dev eth0 && ip link set eth0 up"
        ));
        let port = format!("ip -d link show port{number}");
        until("a plugged host", || {
            sh(&port).contains("state forwarding") && host.sh("ip link show eth0").contains("state UP")
        })
        .await;
        host
    }

    /// Takes the carrier of the host's interface away, or gives it back.
    pub(crate) fn plug(&self, host: &Host, state: &str) {
        sh(&format!("ip link set port{} {state}", host.number));
    }

    /// Makes the neighbour believe that the address is at a machine that is not there.
    pub(crate) fn mislead(&self, vip: Vip) {
        sh(&format!(
            "ip neigh replace {} lladdr 02:00:00:00:00:99 nud reachable dev br0",
            vip.address
        ));
    }

    /// Waits until the neighbour knows the address at this host.
    pub(crate) async fn learned(&self, vip: Vip, host: &Host) {
        self.learned_at(vip, &host.mac().to_string()).await;
    }

    pub(crate) async fn learned_at(&self, vip: Vip, mac: &str) {
        let want = format!("lladdr {mac}");
        let command = format!("ip neigh show {} dev br0", vip.address);
        until(&format!("the neighbour has {} at {mac}", vip.address), || {
            sh(&command).contains(&want)
        })
        .await;
    }
}

/// A namespace with one interface.
pub(crate) struct Host {
    holder: Child,
    number: u8,
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}

impl Host {
    pub(crate) fn mac(&self) -> Mac {
        Mac([2, 0, 0, 0, 0, self.number])
    }

    /// Runs a shell command in the host's namespace.
    pub(crate) fn sh(&self, command: &str) -> String {
        let pid = self.holder.id().to_string();
        output(Command::new("nsenter").args(["-t", &pid, "-n", "sh", "-c", command]))
    }

    /// Whether any interface of the host has the address.
    pub(crate) fn has(&self, vip: Vip) -> bool {
        self.sh("ip -o addr show").contains(&format!(" {}/", vip.address))
    }

    /// Waits until the address is on the host, or off it.
    pub(crate) async fn until_has(&self, vip: Vip, wanted: bool) {
        until(&format!("{} there: {wanted}", vip.address), || self.has(vip) == wanted).await;
    }

    /// Asks something of the kernel from within the host's namespace.
    pub(crate) fn ask<T, F>(&self, question: impl FnOnce() -> F + Send + 'static) -> T
    where
        T: Send + 'static,
        F: Future<Output = T>,
    {
        let space = std::fs::File::open(format!("/proc/{}/ns/net", self.holder.id())).unwrap();
        let asked = std::thread::spawn(move || {
            rustix::thread::move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(question())
        });
        asked.join().unwrap()
    }

    pub(crate) fn task(&self) -> Task {
        self.task_on("eth0", CapabilitySet::empty())
    }

    /// Starts the task on a thread in the host's namespace, without some capabilities.
    pub(crate) fn task_on(&self, interface: &str, without: CapabilitySet) -> Task {
        let (sender, commands) = mpsc::channel(8);
        let (events, receiver) = mpsc::channel(8);
        let space = std::fs::File::open(format!("/proc/{}/ns/net", self.holder.id())).unwrap();
        let interface = interface.to_owned();
        std::thread::spawn(move || {
            rustix::thread::move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            if !without.is_empty() {
                let mut sets = rustix::thread::capabilities(None).unwrap();
                sets.effective -= without;
                rustix::thread::set_capabilities(None, sets).unwrap();
            }
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime
                .block_on(async { spawn(interface, commands, events).await })
                .unwrap();
        });
        Task {
            commands: sender,
            events: receiver,
        }
    }
}

/// A running task, with the group `mail`.
pub(crate) struct Task {
    commands: mpsc::Sender<VipCommand>,
    events: mpsc::Receiver<VipEvent>,
}

impl Task {
    pub(crate) async fn probe(&self, vips: &[Vip]) {
        let (group, vips) = (mail(), vips.to_vec());
        self.commands.send(VipCommand::Probe { group, vips }).await.unwrap();
    }

    pub(crate) async fn hold(&self, vips: &[Vip], until: Time) {
        self.send_hold(vips, until, true).await;
    }

    /// Without the burst of announcements, so that what is seen on the wire has another cause.
    pub(crate) async fn hold_quietly(&self, vips: &[Vip], until: Time) {
        self.send_hold(vips, until, false).await;
    }

    async fn send_hold(&self, vips: &[Vip], until: Time, announce: bool) {
        let command = VipCommand::Hold {
            group: mail(),
            vips: vips.to_vec(),
            until: Until {
                end: until,
                coarse: false,
            },
            announce,
        };
        self.commands.send(command).await.unwrap();
    }

    pub(crate) async fn keep(&self, vips: &[Vip], end: Time) {
        let command = VipCommand::Keep {
            group: mail(),
            vips: vips.to_vec(),
            until: Until { end, coarse: false },
        };
        self.commands.send(command).await.unwrap();
    }

    pub(crate) async fn drop(&self, vips: &[Vip]) {
        let (group, vips) = (mail(), vips.to_vec());
        self.commands.send(VipCommand::Drop { group, vips }).await.unwrap();
    }

    /// The next event.
    pub(crate) async fn next(&mut self) -> VipEvent {
        let event = tokio::time::timeout(PATIENCE, self.events.recv()).await;
        event.expect("an event in time").expect("a running task")
    }

    /// Waits for one event; the events before it must be among those that may come.
    pub(crate) async fn expect(&mut self, wanted: &VipEvent, passing: impl Fn(&VipEvent) -> bool) {
        loop {
            let event = self.next().await;
            if without_mac(&event) == *wanted {
                return;
            }
            assert!(passing(&event), "waiting for {wanted:?}, got {event:?}");
        }
    }

    /// Waits for the first report of the link, which must be up.
    pub(crate) async fn start(&mut self) {
        let first = self.next().await;
        assert!(matches!(first, VipEvent::Link { up: true, mac: Some(_) }), "{first:?}");
    }
}

/// By which hardware address the link is up is no matter of most tests.
fn without_mac(event: &VipEvent) -> VipEvent {
    let mut event = event.clone();
    if let VipEvent::Link { mac, .. } = &mut event {
        *mac = None;
    }
    event
}

pub(crate) fn mail() -> String {
    "mail".to_owned()
}

pub(crate) fn vip(address: &str) -> Vip {
    let address: std::net::IpAddr = address.parse().unwrap();
    let prefix = if address.is_ipv4() { 24 } else { 64 };
    Vip { address, prefix }
}

/// Both clocks, this long from now.
pub(crate) fn after(ms: u64) -> Time {
    now().plus(Duration::from_millis(ms))
}

pub(crate) fn now() -> Time {
    leasehold::base::clock::now()
}

/// Waits for a state of the kernel, which has no event that a shell could wait for.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let limit = now().plus(PATIENCE);
    while !condition() {
        assert!(!now().reached(limit), "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn sh(command: &str) -> String {
    output(Command::new("sh").args(["-c", command]))
}

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}
