//! Whether this host could run a group, beyond what the engine says of its containers: nobody else listens on the
//! service's ports, and the disk has room. Looked at again and again, so that a failover never finds it out first.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::node_context::NodeContext;
use leasehold_compose::model::{NetworkMode, Probe, Service, Vip};
use leasehold_core::event::Event;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// A look that takes longer than this hangs in a file system.
const LOOK_MAX: Duration = Duration::from_secs(3);
/// In `/proc/net/tcp`: the socket listens.
const LISTENS: &str = "0A";
const MIB: u64 = 1024 * 1024;
/// Of the boot-scoped directory, which holds some small files.
const RUN_FLOOR: u64 = 1;
/// Files that may still be made.
const FILES_FLOOR: u64 = 100;

/// What a group needs of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Needs {
    ports: BTreeSet<u16>,
    /// Its virtual addresses.
    addresses: Vec<IpAddr>,
}

/// A socket that takes connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Listener {
    address: IpAddr,
    port: u16,
    inode: u64,
}

/// Starts the adapter; it ends with the receiver of `events`.
pub fn spawn(site: &NodeContext, events: mpsc::Sender<Event>) {
    let groups = site.project.groups.iter();
    let needs: BTreeMap<String, Needs> = groups
        .map(|(name, group)| (name.clone(), needs(&group.services, &group.probes, &group.vips)))
        .collect();
    let places = vec![
        (site.facts.state_dir.clone(), site.facts.disk_floor),
        (site.facts.run_dir.clone(), RUN_FLOOR.min(site.facts.disk_floor)),
    ];
    tokio::spawn(run(needs, places, events));
}

/// `places`: each with the MiB that must be free there.
async fn run(needs: BTreeMap<String, Needs>, places: Vec<(PathBuf, u64)>, events: mpsc::Sender<Event>) {
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let (wanted, disks) = (needs.clone(), places.clone());
        let mut look = tokio::task::spawn_blocking(move || unfit(Path::new("/proc"), &wanted, &disks));
        let found = match timeout(LOOK_MAX, &mut look).await {
            Ok(found) => found,
            Err(_) => {
                let named: Vec<String> = places.iter().map(|(place, _)| place.display().to_string()).collect();
                let why = format!("a file system does not answer: that of {}", named.join(" or "));
                let hangs = needs.keys().map(|group| (group.clone(), Some(why.clone()))).collect();
                if !tell(&events, hangs).await {
                    return;
                }
                // No second look beside one that hangs.
                look.await
            }
        };
        match found {
            Ok(found) => {
                if !tell(&events, found).await {
                    return;
                }
            }
            Err(_) => return,
        }
    }
}

async fn tell(events: &mpsc::Sender<Event>, found: BTreeMap<String, Option<String>>) -> bool {
    for (group, unfit) in found {
        if events.send(Event::Fitness { group, unfit }).await.is_err() {
            return false;
        }
    }
    true
}

fn unfit(proc: &Path, needs: &BTreeMap<String, Needs>, places: &[(PathBuf, u64)]) -> BTreeMap<String, Option<String>> {
    let tables = ["net/tcp", "net/tcp6"].map(|table| fs::read_to_string(proc.join(table)).unwrap_or_default());
    let listeners: Vec<Listener> = tables.iter().flat_map(|table| listeners(table)).collect();
    let full = places.iter().find_map(|(place, floor)| full(place, *floor));
    let judged = needs.iter().map(|(group, needs)| {
        let taken = in_the_way(needs, &listeners).map(|one| taken(one, owner(proc, one.inode)));
        (group.clone(), taken.or_else(|| full.clone()))
    });
    judged.collect()
}

/// The ports that the group's containers take on the host itself.
fn needs(services: &[Service], probes: &[Probe], vips: &[Vip]) -> Needs {
    let is_on_host = |service: &Service| service.network_mode == Some(NetworkMode::Host);
    let mut ports = BTreeSet::new();
    if services.iter().any(is_on_host) {
        ports.extend(probes.iter().filter_map(|probe| probe.check.port()));
    }
    let published = services.iter().flat_map(|service| &service.ports);
    let published = published.filter(|port| port.protocol == "tcp");
    ports.extend(published.filter_map(|port| port.published.as_deref()?.parse::<u16>().ok()));
    Needs {
        ports,
        addresses: vips.iter().map(|vip| vip.address).collect(),
    }
}

/// A listener beside which the service could not listen, whether it binds all addresses or the virtual one. One on another
/// address may be meant to be there, such as a host's own mailer on 127.0.0.1.
fn in_the_way<'a>(needs: &Needs, listeners: &'a [Listener]) -> Option<&'a Listener> {
    let meets = |address: IpAddr| address.is_unspecified() || needs.addresses.contains(&address);
    listeners
        .iter()
        .find(|one| needs.ports.contains(&one.port) && meets(one.address))
}

fn taken(one: &Listener, owner: Option<(u32, String)>) -> String {
    let Listener { address, port, .. } = one;
    match owner {
        Some((process, name)) => format!("port {port} is taken: {name} (process {process}) listens on {address}"),
        None => format!(
            "port {port} is taken: a process that can't be seen from here listens on {address}; \
             `ss -ltnp sport = :{port}` on the host names it"
        ),
    }
}

fn listeners(table: &str) -> Vec<Listener> {
    table.lines().skip(1).filter_map(listener).collect()
}

fn listener(line: &str) -> Option<Listener> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (address, port) = words.get(1)?.split_once(':')?;
    if *words.get(3)? != LISTENS {
        return None;
    }
    Some(Listener {
        address: address_of(address)?,
        port: u16::from_str_radix(port, 16).ok()?,
        inode: words.get(9)?.parse().ok()?,
    })
}

/// The kernel writes an address as words of 32 bits in the byte order of the host.
fn address_of(digits: &str) -> Option<IpAddr> {
    let words = digits.as_bytes().chunks(8).map(|word| {
        let word = std::str::from_utf8(word).ok()?;
        u32::from_str_radix(word, 16).ok().map(u32::to_ne_bytes)
    });
    let bytes: Vec<u8> = words.collect::<Option<Vec<_>>>()?.concat();
    let v4 = <[u8; 4]>::try_from(bytes.as_slice()).map(|octets| IpAddr::V4(Ipv4Addr::from(octets)));
    let v6 = || <[u8; 16]>::try_from(bytes.as_slice()).map(|octets| Ipv6Addr::from(octets).to_canonical());
    v4.or_else(|_| v6()).ok()
}

/// Process and command name behind a socket; none where its processes can't be seen.
fn owner(proc: &Path, inode: u64) -> Option<(u32, String)> {
    let wanted = format!("socket:[{inode}]");
    let processes = fs::read_dir(proc).ok()?.flatten();
    let numbered = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    for process in numbered {
        let place = proc.join(process.to_string());
        let Ok(open) = fs::read_dir(place.join("fd")) else {
            continue;
        };
        let is_it = |file: fs::DirEntry| fs::read_link(file.path()).is_ok_and(|target| target == Path::new(&wanted));
        if open.flatten().any(is_it) {
            let name = fs::read_to_string(place.join("comm")).unwrap_or_default();
            return Some((process, name.trim().to_owned()));
        }
    }
    None
}

/// What a file system has left.
#[derive(Clone, Copy, Debug)]
struct Room {
    free: u64,
    /// 0 where the file system does not count them.
    files: u64,
    free_files: u64,
}

fn full(place: &Path, floor: u64) -> Option<String> {
    let space = rustix::fs::statvfs(place).ok()?;
    let room = Room {
        free: space.f_bavail.saturating_mul(space.f_frsize) / MIB,
        files: space.f_files,
        free_files: space.f_favail,
    };
    room.wants(place, floor)
}

impl Room {
    /// What a start would lack.
    fn wants(self, place: &Path, floor: u64) -> Option<String> {
        let Self {
            free,
            files,
            free_files,
        } = self;
        let place = place.display();
        if free < floor {
            return Some(format!(
                "only {free} MiB are free on the file system of {place}: a standby needs {floor} MiB (LEASEHOLD_DISK_FLOOR)"
            ));
        }
        // The blocks may be free all the same, and `df` shows nothing.
        (floor > 0 && files > 0 && free_files < FILES_FLOOR).then(|| {
            format!(
                "only {free_files} more files can be made on the file system of {place}, a standby needs {FILES_FLOOR}: see `df -i {place}`"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use leasehold_compose::model::{Cadence, Check, Port};

    const TABLE: &str =
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:0019 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0
   1: 0100007F:008F 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 100 0 0 10 0
   2: 0100007F:1F48 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 4713 1 0 100 0 0 10 0
";
    const TABLE6: &str = "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000000000000:006E 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4714 1 0 100 0 0 10 0
   1: 0000000000000000FFFF00000A00000A:0050 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4715 1 0 100 0 0 10 0
";

    fn wants(ports: &[u16]) -> Needs {
        Needs {
            ports: ports.iter().copied().collect(),
            addresses: vec!["10.0.0.10".parse().unwrap()],
        }
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn the_kernels_tables_are_read() {
        let found: Vec<_> = [TABLE, TABLE6].into_iter().flat_map(listeners).collect();
        let shown: Vec<_> = found
            .iter()
            .map(|one| format!("{} {} {}", one.address, one.port, one.inode))
            .collect();
        let wanted = [
            "0.0.0.0 25 4711",
            "127.0.0.1 143 4712",
            ":: 110 4714",
            "10.0.0.10 80 4715",
        ];
        assert_eq!(shown, wanted);
        // On all addresses, of either family, and on the virtual one; not on another.
        for (port, wanted) in [(25, true), (143, false), (110, true), (80, true), (8008, false)] {
            assert_eq!(in_the_way(&wants(&[port]), &found).is_some(), wanted, "{port}");
        }
    }

    #[test]
    fn a_sentence_names_who_listens_or_how_to_find_out() {
        let socket = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let groups = BTreeMap::from([("mail".to_owned(), wants(&[port])), ("web".to_owned(), wants(&[]))]);
        let found = unfit(Path::new("/proc"), &groups, &[]);
        let own = std::process::id();
        let why = found["mail"].as_deref().unwrap();
        let comm = fs::read_to_string("/proc/self/comm").unwrap();
        let wanted = format!(
            "port {port} is taken: {} (process {own}) listens on 0.0.0.0",
            comm.trim()
        );
        assert_eq!(why, wanted);
        assert_eq!(found["web"], None);
        let hidden = Listener {
            address: "0.0.0.0".parse().unwrap(),
            port,
            inode: 0,
        };
        assert!(taken(&hidden, owner(Path::new("/proc"), u64::MAX)).contains("ss -ltnp"));
        drop(socket);
        assert_eq!(unfit(Path::new("/proc"), &groups, &[])["mail"], None);
    }

    #[test]
    fn a_full_disk_is_told_for_every_group() {
        let groups = BTreeMap::from([("mail".to_owned(), wants(&[]))]);
        let at = |floor| [(std::env::temp_dir(), 0), (std::env::temp_dir(), floor)];
        let found = unfit(Path::new("/proc"), &groups, &at(u64::MAX));
        let why = found["mail"].as_deref().unwrap();
        assert!(
            why.starts_with("only ") && why.contains("LEASEHOLD_DISK_FLOOR"),
            "{why}"
        );
        assert_eq!(unfit(Path::new("/proc"), &groups, &at(0))["mail"], None);
    }

    #[test]
    fn a_disk_with_room_and_no_inode_is_full() {
        let wants = |files, free_files| {
            let free = 5000;
            let room = Room {
                free,
                files,
                free_files,
            };
            room.wants(Path::new("/state"), 64)
        };
        assert_eq!(wants(0, 0), None, "not counted");
        assert_eq!(wants(4096, 100), None);
        let wanted =
            "only 99 more files can be made on the file system of /state, a standby needs 100: see `df -i /state`";
        assert_eq!(wants(4096, 99).as_deref(), Some(wanted));
    }

    #[test]
    fn only_ports_on_the_host_are_needed() {
        let probe = Probe {
            check: Check::Tcp { port: 25 },
            cadence: Cadence {
                interval: LOOK_EVERY,
                timeout: LOOK_MAX,
                rise: 1,
                fall: 3,
                fall_timeout: 6,
            },
        };
        let port = |published: &str, protocol: &str| Port {
            host_ip: None,
            published: Some(published.to_owned()),
            target: 80,
            protocol: protocol.to_owned(),
        };
        let mut service = Service {
            ports: vec![port("8080", "tcp"), port("53", "udp"), port("9000-9001", "tcp")],
            ..Service::default()
        };
        let ports = |service: &Service| needs(std::slice::from_ref(service), std::slice::from_ref(&probe), &[]).ports;
        assert_eq!(ports(&service), BTreeSet::from([8080]));
        service.network_mode = Some(NetworkMode::Host);
        assert_eq!(ports(&service), BTreeSet::from([25, 8080]));
    }
}
