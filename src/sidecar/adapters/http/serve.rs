//! One connection from its first byte to its last: how long each part of it may take.

use std::net::{IpAddr, Ipv4Addr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::limits::{LOCAL, NETWORK, Rate, Room, Timed};
use super::tls::{Pair, Shown, shake};

/// From the end of the last answer to the end of the next request's head; so long may a connection be idle, too.
const HEAD_MAX: Duration = Duration::from_secs(10);
/// A head is a few lines.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// After so long a connection takes no further request, however busy it is: whoever holds it gives its place back.
const LIFE_MAX: Duration = Duration::from_secs(120);
/// For the answer that is under way then.
const LAST_MAX: Duration = Duration::from_secs(30);
/// After an error of the kernel, such as no more descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Who is at the other end of a connection, and by which name it may have called this node.
#[derive(Clone, Debug, Default)]
pub(super) struct Peer {
    pub(super) from: Option<IpAddr>,
    /// The certificate that it has shown; the authority has signed it.
    pub(super) shown: Option<Shown>,
    /// The names in this node's own certificate.
    pub(super) names: Arc<[String]>,
    /// Nobody on the way can read what is said.
    pub(super) is_private: bool,
}

/// Answers on this connection until it ends, or its time is over.
async fn converse<I>(io: I, peer: Peer, router: Router)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let inner = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        inner.call(request)
    });
    let mut server = http1::Builder::new();
    server
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_MAX)
        .max_buf_size(HEAD_BYTES_MAX);
    let mut connection = pin!(server.serve_connection(TokioIo::new(io), service));
    if timeout(LIFE_MAX, connection.as_mut()).await.is_err() {
        connection.as_mut().graceful_shutdown();
        let _ = timeout(LAST_MAX, connection).await;
    }
}

/// How connections over the network are taken in.
#[derive(Clone)]
pub(super) struct Intake {
    pub(super) router: Router,
    /// The certificate in use, where the endpoints speak TLS.
    pub(super) tls: Option<watch::Receiver<Option<Arc<Pair>>>>,
    room: Room,
    lines: Rate,
}

impl Intake {
    pub(super) fn new(router: Router, tls: Option<watch::Receiver<Option<Arc<Pair>>>>) -> Self {
        Self {
            router,
            tls,
            room: Room::new(NETWORK),
            lines: Rate::of_lines(),
        }
    }

    /// Takes in who comes. For whom there is no place is refused at once, so that the next one is seen.
    pub(super) async fn serve(&self, listener: &TcpListener) -> std::convert::Infallible {
        loop {
            let (stream, from) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::debug!(%error, "a connection was not accepted");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let own = stream
                .local_addr()
                .map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |own| own.ip());
            let Some(place) = self.room.take(from.ip(), own) else {
                if let Some(more) = self.lines.admits() {
                    tracing::warn!(code = "connection_refused", from = %from.ip(), more, "no place for another connection of this address");
                }
                continue;
            };
            let (router, tls) = (self.router.clone(), self.tls.clone());
            tokio::spawn(async move {
                let mut peer = Peer {
                    from: Some(from.ip().to_canonical()),
                    ..Peer::default()
                };
                let stream = Timed::new(stream);
                match tls {
                    None => converse(stream, peer, router).await,
                    Some(tls) => {
                        let pair = tls.borrow().clone();
                        if let Some(pair) = pair
                            && let Some((stream, shown)) = shake(stream, &pair, from).await
                        {
                            peer.shown = shown;
                            peer.names = Arc::clone(&pair.names);
                            peer.is_private = true;
                            converse(stream, peer, router).await;
                        }
                    }
                }
                drop(place);
            });
        }
    }
}

/// Takes in who comes to the local socket.
pub(super) async fn serve_local(listener: UnixListener, router: Router) -> std::convert::Infallible {
    let (room, here) = (Room::new(LOCAL), IpAddr::V4(Ipv4Addr::LOCALHOST));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let (Some(place), router) = (room.take(here, here), router.clone()) else {
            continue;
        };
        tokio::spawn(async move {
            converse(Timed::new(stream), Peer::default(), router).await;
            drop(place);
        });
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_head_that_does_not_end_and_a_caller_who_says_nothing_lose_their_place() {
        let router = Router::new().route("/", get(|| async { "here" }));
        let heads = ["", "GET / HTTP/1.1\r\nX-A: ", "GET / HTTP/1.1\r\nHost: x\r\n\r\n"];
        let all = heads.map(|said| {
            let (mut theirs, ours) = tokio::io::duplex(4096);
            let served = tokio::spawn(converse(ours, Peer::default(), router.clone()));
            tokio::spawn(async move {
                theirs.write_all(said.as_bytes()).await.unwrap();
                let mut heard = String::new();
                let ended = timeout(HEAD_MAX + Duration::from_secs(20), theirs.read_to_string(&mut heard));
                ended.await.unwrap().unwrap();
                served.await.unwrap();
                assert_eq!(heard.contains("here"), said.contains("Host"), "{heard}");
            })
        });
        for one in all {
            one.await.unwrap();
        }
    }
}
