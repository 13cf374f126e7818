//! Who is connected to ports of this host, by the kernel's word. A service with a network of its own is not seen here.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// The kernel's tables, of the network namespace that this thread is in.
const TABLES: [&str; 2] = ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"];
/// What is read of a table: some twenty thousand connections.
const BYTES_MAX: u64 = 4 << 20;
/// What is told of them.
const CLIENTS_MAX: usize = 1024;
/// Looks of one answer, and the pause between two.
const LOOKS: u32 = 40;
const PAUSE: Duration = Duration::from_millis(50);
/// Asking, asked, closed, listening: nobody is served there.
const NOT_SERVED: [u8; 5] = [0x02, 0x03, 0x07, 0x0a, 0x0c];

/// The address and port of each client that is let in at one of these ports within two seconds: many a client is there for some
/// milliseconds only. It keeps its thread for so long.
#[must_use]
pub fn seen_for_a_while(ports: &[u16]) -> BTreeSet<(String, u16)> {
    let mut found = BTreeSet::new();
    for _ in 0..LOOKS {
        found.extend(connected(ports));
        std::thread::sleep(PAUSE);
    }
    while found.len() > CLIENTS_MAX {
        found.pop_last();
    }
    found
}

/// Those of one moment, and of the one before it where the kernel still has them; none of this host itself.
fn connected(ports: &[u16]) -> BTreeSet<(String, u16)> {
    let mut found = BTreeSet::new();
    for table in TABLES {
        let Ok(file) = File::open(table) else { continue };
        let lines = BufReader::new(file.take(BYTES_MAX)).lines().map_while(Result::ok);
        let clients = lines.filter_map(|line| client(&line, ports));
        found.extend(clients.map(|(address, port)| (address.to_string(), port)));
    }
    found
}

/// The other end of a line of such a table.
fn client(line: &str, ports: &[u16]) -> Option<(IpAddr, u16)> {
    let mut words = line.split_whitespace().skip(1);
    let (own, port) = end(words.next()?)?;
    let (other, from) = end(words.next()?)?;
    let state = u8::from_str_radix(words.next()?, 16).ok()?;
    let is_served = ports.contains(&port) && !NOT_SERVED.contains(&state);
    (is_served && other != own && !other.is_loopback()).then_some((other, from))
}

/// `0100007F:0019`: each four bytes as a number of this machine.
fn end(word: &str) -> Option<(IpAddr, u16)> {
    let (address, port) = word.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let quarter = |at: usize| {
        let digits = address.get(at * 8..at * 8 + 8)?;
        u32::from_str_radix(digits, 16).ok().map(u32::to_ne_bytes)
    };
    let address = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from(quarter(0)?)),
        32 => {
            let mut all = [0; 16];
            for at in 0..4 {
                all[at * 4..at * 4 + 4].copy_from_slice(&quarter(at)?);
            }
            IpAddr::V6(Ipv6Addr::from(all)).to_canonical()
        }
        _ => return None,
    };
    Some((address, port))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn a_line_names_its_client_unless_nobody_is_served() {
        let line = |own: &str, other: &str, state: &str| {
            let line = format!("   3: {own} {other} {state} 00000000:00000000 00:00000000 00000000 0 0 1");
            client(&line, &[25]).map(|(address, port)| format!("{address} {port}"))
        };
        let own = "640200C0:0019";
        assert_eq!(line(own, "070200C0:C350", "01").as_deref(), Some("192.0.2.7 50000"));
        let mapped = "0000000000000000FFFF0000070200C0:C350";
        assert_eq!(
            line("0000000000000000FFFF0000640200C0:0019", mapped, "06").as_deref(),
            Some("192.0.2.7 50000")
        );
        // It is only asking, at another port, this host itself, no line of it.
        assert_eq!(line(own, "070200C0:C350", "03"), None);
        assert_eq!(line("640200C0:0050", "070200C0:C350", "01"), None);
        assert_eq!(line(own, "640200C0:C350", "01"), None);
        assert_eq!(line("0100007F:0019", "0100007F:C350", "01"), None);
        assert_eq!(client("  sl  local_address rem_address   st", &[25]), None);
    }

    /// The kernel's own words can be read; this host's own connection is no client.
    #[test]
    fn the_tables_are_read() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let _stream = TcpStream::connect(at).unwrap();
        assert!(connected(&[at.port()]).is_empty());
    }
}
