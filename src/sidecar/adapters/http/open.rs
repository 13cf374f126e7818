//! Opens the endpoints, and opens them again: a port that is taken, an address that is not there yet, a certificate or a file
//! that can't be used closes the endpoints, is told, and is tried again. It never ends the sidecar: the service does not
//! hang on whether somebody can look at it.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, UnixListener};
use tokio::time::{sleep, timeout};

use super::access::Access;
use super::board::{Board, Part};
use super::serve::{Intake, serve_local};

/// The port of the endpoints, as users of Patroni know it.
const PORT: u16 = 8008;
/// Looks in a row that find another address before the endpoints move there.
const LOOKS: u32 = 2;
/// For the file of tokens, which may lie on a file system that hangs.
const FILE_TIMEOUT: Duration = Duration::from_secs(5);

/// How often is tried and looked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// After the first failure; twice as long after each further one.
    first: Duration,
    most: Duration,
    /// Between two looks at the address and the files.
    look: Duration,
}

pub(super) const PACE: Pace = Pace {
    first: Duration::from_secs(1),
    most: Duration::from_secs(10),
    look: Duration::from_secs(10),
};

/// Finds the address to listen on; may ask a name server.
pub(super) type Finder = Arc<dyn Fn() -> Result<SocketAddr, String> + Send + Sync>;

/// Where the endpoints listen: as given, else on the address that this host uses towards etcd.
///
/// # Errors
/// An address that can't be understood, with what was given; that the host has none towards etcd, which may come yet.
pub fn listen_address(given: Option<&str>, etcd: &[String]) -> Result<SocketAddr, String> {
    if let Some(given) = given {
        if let Ok(address) = given.parse::<IpAddr>() {
            return Ok(SocketAddr::new(address, PORT));
        }
        return given
            .parse()
            .map_err(|why| format!("LEASEHOLD_LISTEN={given}: {why}; write ADDRESS or ADDRESS:PORT"));
    }
    let address = address_towards(etcd)
        .ok_or("this host has no address towards etcd yet: see to its network, or set LEASEHOLD_LISTEN")?;
    Ok(SocketAddr::new(address, PORT))
}

/// This host's own address on its way to etcd, if it has one yet. May ask a name server.
#[must_use]
pub fn address_towards(etcd: &[String]) -> Option<IpAddr> {
    etcd.iter().find_map(|url| {
        let host = url.split("://").nth(1)?.trim_end_matches('/');
        let target = host.to_socket_addrs().ok()?.next()?;
        let socket = UdpSocket::bind(if target.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" }).ok()?;
        // Connecting a datagram socket sends nothing: it only asks the kernel which address it would use.
        socket.connect(target).ok()?;
        socket.local_addr().ok().map(|local| local.ip())
    })
}

/// Beside everything else: a name server that does not answer holds up one thread.
async fn find(finder: &Finder) -> Result<SocketAddr, String> {
    let finder = Arc::clone(finder);
    let found = tokio::task::spawn_blocking(move || finder()).await;
    found.map_err(|error| format!("looking for the address: {error}"))?
}

async fn bind(finder: &Finder) -> Result<(TcpListener, SocketAddr), String> {
    let address = find(finder).await?;
    let failed = |error: io::Error| {
        format!("{address}: {error}: see who listens there (`ss -ltnp`), or set LEASEHOLD_LISTEN; it is tried again")
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// Keeps the endpoints open over the network.
pub(super) async fn keep_open(finder: Finder, pace: Pace, intake: Intake, board: Arc<Board>) -> Infallible {
    let mut pause = pace.first;
    loop {
        match bind(&finder).await {
            Ok((listener, address)) => {
                pause = pace.first;
                tracing::info!(code = "endpoints_open", %address, "the endpoints are open");
                board.listen(Ok(address)).await;
                tokio::select! {
                    never = intake.serve(&listener) => match never {},
                    () = moved(&finder, pace, address) => {}
                }
            }
            Err(why) => {
                board.listen(Err(why)).await;
                sleep(pause).await;
                pause = (pause * 2).min(pace.most);
            }
        }
    }
}

/// Waits until the endpoints belong elsewhere, and not just for a moment.
async fn moved(finder: &Finder, pace: Pace, from: SocketAddr) {
    let mut elsewhere = 0;
    while elsewhere < LOOKS {
        sleep(pace.look).await;
        match find(finder).await {
            Ok(to) if to.ip() == from.ip() => elsewhere = 0,
            Ok(_) => elsewhere += 1,
            // Nowhere: what is bound to an address that is gone listens again when that comes back.
            Err(_) => {}
        }
    }
}

/// Keeps an eye on the file of tokens, so that a fault is told before somebody needs to come in.
pub(super) async fn look_at_tokens(access: Access, pace: Pace, board: Arc<Board>) -> Infallible {
    loop {
        let looked = access.clone();
        let mut look = tokio::task::spawn_blocking(move || looked.fault());
        let fault = match timeout(FILE_TIMEOUT, &mut look).await {
            Ok(looked) => looked,
            Err(_) => {
                let why = format!("it can't be read within {FILE_TIMEOUT:?}");
                board.set(Part::Tokens, Some(why)).await;
                // One thread waits for a file that hangs, not more and more.
                look.await
            }
        };
        board.set(Part::Tokens, fault.unwrap_or_default()).await;
        sleep(pace.look).await;
    }
}

/// The command line's end on this host.
pub(super) fn bind_local(socket: &Path) -> io::Result<UnixListener> {
    // A socket left behind by an earlier sidecar; the host-wide lock says that it is dead.
    let _ = std::fs::remove_file(socket);
    let listener = UnixListener::bind(socket)?;
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Serves it, once it can be opened.
pub(super) async fn keep_local(
    socket: PathBuf,
    first: io::Result<UnixListener>,
    router: Router,
    board: Arc<Board>,
) -> Infallible {
    let (mut opened, mut pause) = (first, PACE.first);
    loop {
        match opened {
            Ok(listener) => {
                board.set(Part::Socket, None).await;
                return serve_local(listener, router).await;
            }
            Err(error) => {
                let why = format!("{}: {error}; it is tried again", socket.display());
                board.set(Part::Socket, Some(why)).await;
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(PACE.most);
        opened = bind_local(&socket);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::sync::mpsc;

    use super::*;
    use leasehold_core::event::Event;

    const FAST: Pace = Pace {
        first: Duration::from_millis(10),
        most: Duration::from_millis(20),
        look: Duration::from_millis(20),
    };

    /// Endpoints that look where to listen in a place that the test writes to, and what the loop is told of them.
    fn endpoints(at: Result<SocketAddr, String>) -> (Arc<Mutex<Result<SocketAddr, String>>>, mpsc::Receiver<Event>) {
        let place = Arc::new(Mutex::new(at));
        let (sender, told) = mpsc::channel(16);
        let found = Arc::clone(&place);
        let finder: Finder = Arc::new(move || found.lock().unwrap().clone());
        let intake = Intake::new(Router::new(), None);
        tokio::spawn(async move { keep_open(finder, FAST, intake, Arc::new(Board::new(sender))).await });
        (place, told)
    }

    async fn next(told: &mut mpsc::Receiver<Event>) -> (String, String) {
        let limit = Duration::from_secs(10);
        let Ok(Some(Event::Endpoints { address, fault })) = timeout(limit, told.recv()).await else {
            panic!("nothing is told");
        };
        (address, fault.unwrap_or_default())
    }

    #[tokio::test]
    async fn a_port_that_is_taken_closes_the_endpoints_until_it_is_free() {
        let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = other.local_addr().unwrap();
        let (_place, mut told) = endpoints(Ok(address));
        let (at, why) = next(&mut told).await;
        assert!(
            at.is_empty() && why.starts_with("closed: ") && why.contains("in use") && why.contains("ss -ltnp"),
            "{why}"
        );
        drop(other);
        assert_eq!(next(&mut told).await, (address.to_string(), String::new()));
        tokio::net::TcpStream::connect(address).await.unwrap();
    }

    #[tokio::test]
    async fn an_address_that_comes_late_or_is_another_one_later_is_listened_on() {
        let any = |last: u8| SocketAddr::from(([127, 0, 0, last], 0));
        let (place, mut told) = endpoints(Err("no address yet".to_owned()));
        assert_eq!(
            next(&mut told).await,
            (String::new(), "closed: no address yet".to_owned())
        );
        *place.lock().unwrap() = Ok(any(2));
        let (at, why) = next(&mut told).await;
        assert!(at.starts_with("127.0.0.2:") && why.is_empty(), "{at} {why}");
        *place.lock().unwrap() = Ok(any(3));
        let (at, _) = next(&mut told).await;
        assert!(at.starts_with("127.0.0.3:"), "{at}");
        tokio::net::TcpStream::connect(at).await.unwrap();
    }

    #[test]
    fn without_an_address_towards_etcd_it_is_waited_for_and_never_loopback() {
        let nowhere = ["http://nowhere.invalid:2379".to_owned()];
        let why = listen_address(None, &nowhere).unwrap_err();
        assert!(why.contains("no address towards etcd yet"), "{why}");
        let here = listen_address(None, &[nowhere[0].clone(), "http://127.0.0.1:2379".to_owned()]);
        assert_eq!(here, Ok(SocketAddr::from(([127, 0, 0, 1], PORT))));
        assert_eq!(
            listen_address(Some("10.0.0.1"), &[]),
            Ok(SocketAddr::from(([10, 0, 0, 1], PORT)))
        );
        assert!(
            listen_address(Some("eth0"), &[])
                .unwrap_err()
                .contains("LEASEHOLD_LISTEN=eth0")
        );
    }
}
