//! Promises between nodes, as datagrams from one socket. What the rules of `docs/promises.md` count on here, all of it:
//!
//! - P6: the core stamps a round before it gives the first request, and a request leaves after that. Nothing here keeps one back to
//!   send it again; a late one is as good as a lost one.
//! - P5: the core binds itself from when it takes a question in, which is after its receipt. Its answer leaves after that.
//! - A message that can't be sent or taken in is lost. Silence is a no, so nothing here waits, and the loop least of all.
//! - The clocks, the generation and what is strange are the core's to look at (P11, P13). The secret is the pinned one: the disk had
//!   it before anything was said under it.

mod codec;

use std::net::{AddrParseError, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use codec::{Dropped, MESSAGE_MAX, Seal};
use leasehold_base::clock;
use leasehold_base::time::Time;
use leasehold_core::event::Event;
use leasehold_core::promises::Message;
use leasehold_core::protocol::secret::Secret;

use super::http::address_towards;
use crate::counters::Counters;

/// The port that nodes ask each other at.
pub const PORT: u16 = 8009;
/// Messages that wait to be sent; what is more is lost.
const QUEUE_MAX: usize = 256;
/// Messages that are taken in within a second: fifteen nodes that ask ten times a second, twice over. A copy of what somebody else
/// said takes no more of the loop than this.
const TAKEN_MAX: u32 = 400;
/// After a socket that could not be opened, and between two looks at this host's address.
const PAUSE: Duration = Duration::from_secs(10);
/// After an error of the socket; and what the kernel may take to send one.
const BREATH: Duration = Duration::from_millis(10);
/// Looks in a row that find another address before the socket moves there.
const LOOKS: u32 = 2;

/// Finds the address to ask this node at; may ask a name server.
pub type Finder = Arc<dyn Fn() -> Result<SocketAddr, String> + Send + Sync>;

/// Where this node is asked: as given, else on the address that this host uses towards etcd.
///
/// # Errors
/// An address that can't be understood, with what was given; that the host has none towards etcd, which may come yet.
pub fn asked_at(given: Option<&str>, etcd: &[String]) -> Result<SocketAddr, String> {
    let Some(given) = given else {
        let address = address_towards(etcd)
            .ok_or("this host has no address towards etcd yet: see to its network, or set LEASEHOLD_PROMISES_LISTEN")?;
        return Ok(SocketAddr::new(address, PORT));
    };
    let address = given.parse().map(|address| SocketAddr::new(address, PORT));
    let address = address.or_else(|_| given.parse());
    let address: SocketAddr = address.map_err(|why: AddrParseError| {
        format!("LEASEHOLD_PROMISES_LISTEN={given}: {why}; write ADDRESS or ADDRESS:PORT")
    })?;
    match address.ip().is_unspecified() {
        true => Err(format!(
            "LEASEHOLD_PROMISES_LISTEN={given}: the others must be told one address of this host; write that"
        )),
        false => Ok(address),
    }
}

/// The sending end. Without a secret nothing is open, and nothing is said.
#[derive(Debug)]
pub struct Promises {
    out: mpsc::Sender<(String, Message)>,
    secret: watch::Sender<Option<Secret>>,
    counters: Counters,
}

impl Promises {
    /// `secret`: the pinned one. Whatever is heard goes to the inbox.
    #[must_use]
    pub fn spawn(
        cluster: &str,
        secret: Option<Secret>,
        finder: Finder,
        inbox: mpsc::Sender<Event>,
        counters: &Counters,
    ) -> Self {
        let (out, orders) = mpsc::channel(QUEUE_MAX);
        let (secret, known) = watch::channel(secret);
        let talk = Talk {
            cluster: cluster.to_owned(),
            secret: known,
            finder,
            orders,
            inbox,
            counters: counters.clone(),
        };
        drop(tokio::spawn(talk.run()));
        Self {
            out,
            secret,
            counters: counters.clone(),
        }
    }

    /// The secret that was pinned; none: promises are off.
    pub fn take(&self, secret: Option<Secret>) {
        self.secret.send_if_modified(|known| {
            let news = *known != secret;
            *known = secret;
            news
        });
    }

    /// Says it, or loses it.
    pub fn say(&self, to: String, message: Message) {
        if self.out.try_send((to, message)).is_err() {
            self.counters.message_dropped("not_sent");
        }
    }
}

/// The task.
struct Talk {
    cluster: String,
    secret: watch::Receiver<Option<Secret>>,
    finder: Finder,
    orders: mpsc::Receiver<(String, Message)>,
    inbox: mpsc::Sender<Event>,
    counters: Counters,
}

/// Why a socket is not used any more.
enum Closed {
    /// Promises are off, or this host has another address.
    Anew,
    /// The process ends.
    Over,
}

impl Talk {
    async fn run(mut self) {
        let mut fault = None;
        loop {
            let Some(seal) = self.seal() else {
                match self.wait(None).await {
                    Closed::Anew => continue,
                    Closed::Over => return,
                }
            };
            let closed = match open(&self.finder).await {
                Ok((socket, address)) => {
                    tracing::info!(code = "promises_open", %address, "this node is asked for promises at {address}");
                    fault = None;
                    self.tell(address.to_string(), None).await;
                    self.serve(&socket, address, seal).await
                }
                Err(why) => {
                    if fault.as_ref() != Some(&why) {
                        tracing::warn!(code = "promises_closed", "this node can't be asked for promises: {why}");
                        self.tell(String::new(), Some(why.clone())).await;
                        fault = Some(why);
                    }
                    self.wait(Some(PAUSE)).await
                }
            };
            match closed {
                Closed::Anew if self.secret.borrow().is_none() => {
                    fault = None;
                    self.tell(String::new(), None).await;
                }
                Closed::Anew => {}
                Closed::Over => return,
            }
        }
    }

    fn seal(&self) -> Option<Seal> {
        let secret = *self.secret.borrow();
        secret.map(|secret| Seal::new(&self.cluster, secret))
    }

    /// Nothing is open: what is to be said is lost.
    async fn wait(&mut self, length: Option<Duration>) -> Closed {
        let end = async {
            match length {
                Some(length) => sleep(length).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(end);
        loop {
            tokio::select! {
                changed = self.secret.changed() => {
                    return changed.map_or(Closed::Over, |()| Closed::Anew);
                }
                order = self.orders.recv() => match order {
                    Some(_) => self.counters.message_dropped("not_sent"),
                    None => return Closed::Over,
                },
                () = &mut end => return Closed::Anew,
            }
        }
    }

    async fn serve(&mut self, socket: &UdpSocket, address: SocketAddr, mut seal: Seal) -> Closed {
        let mut buffer = [0; MESSAGE_MAX + 1];
        let mut room = Room::new(clock::now());
        let moved = moved(Arc::clone(&self.finder), address);
        tokio::pin!(moved);
        loop {
            tokio::select! {
                changed = self.secret.changed() => match (changed, self.seal()) {
                    (Err(_), _) => return Closed::Over,
                    (Ok(()), None) => return Closed::Anew,
                    (Ok(()), Some(other)) => seal = other,
                },
                received = socket.recv_from(&mut buffer) => match received {
                    Ok((length, from)) => {
                        let heard = seal.decode(buffer.get(..length).unwrap_or_default());
                        self.hear(from, heard, &mut room);
                    }
                    Err(error) => {
                        tracing::debug!(%error, "receiving a promise");
                        sleep(BREATH).await;
                    }
                },
                order = self.orders.recv() => match order {
                    Some((to, message)) => self.send(socket, &seal, &to, &message).await,
                    None => return Closed::Over,
                },
                () = &mut moved => return Closed::Anew,
            }
        }
    }

    fn hear(&self, from: SocketAddr, heard: Result<Message, Dropped>, room: &mut Room) {
        let message = match heard {
            Ok(message) => message,
            Err(why) => return self.counters.message_dropped(why.word()),
        };
        // The other half of the inbox is for what the node lives on.
        let fits = self.inbox.capacity() > self.inbox.max_capacity() / 2;
        if !fits || !room.takes(clock::now()) {
            return self.counters.message_dropped("too_many");
        }
        let from = from.to_string();
        if self.inbox.try_send(Event::Heard { from, message }).is_err() {
            self.counters.message_dropped("too_many");
        }
    }

    async fn send(&self, socket: &UdpSocket, seal: &Seal, to: &str, message: &Message) {
        let Some((to, datagram)) = to.parse::<SocketAddr>().ok().zip(seal.encode(message)) else {
            return self.counters.message_dropped("not_sent");
        };
        let sent = timeout(BREATH, socket.send_to(&datagram, to)).await;
        if !matches!(sent, Ok(Ok(_))) {
            tracing::debug!(?sent, %to, "sending a promise");
            self.counters.message_dropped("not_sent");
        }
    }

    async fn tell(&self, address: String, fault: Option<String>) {
        // The loop may have ended meanwhile.
        let _ = self.inbox.send(Event::Reachable { address, fault }).await;
    }
}

/// How many more messages are taken in.
#[derive(Debug)]
struct Room {
    left: u32,
    since: Time,
}

impl Room {
    fn new(now: Time) -> Self {
        Self {
            left: TAKEN_MAX,
            since: now,
        }
    }

    fn takes(&mut self, now: Time) -> bool {
        if now.since(self.since) >= Duration::from_secs(1) {
            *self = Self::new(now);
        }
        let takes = self.left > 0;
        self.left = self.left.saturating_sub(1);
        takes
    }
}

/// Beside everything else: a name server that does not answer holds up one thread.
async fn find(finder: &Finder) -> Result<SocketAddr, String> {
    let finder = Arc::clone(finder);
    let found = tokio::task::spawn_blocking(move || finder()).await;
    found.map_err(|error| format!("looking for the address: {error}"))?
}

async fn open(finder: &Finder) -> Result<(UdpSocket, SocketAddr), String> {
    let address = find(finder).await?;
    let failed = |error: std::io::Error| {
        format!(
            "UDP {address}: {error}: see who listens there (`ss -lnup`), or set LEASEHOLD_PROMISES_LISTEN; it is tried again"
        )
    };
    let socket = UdpSocket::bind(address).await.map_err(failed)?;
    let address = socket.local_addr().map_err(failed)?;
    Ok((socket, address))
}

/// Waits until this host is asked elsewhere, and not just for a moment.
async fn moved(finder: Finder, from: SocketAddr) {
    let mut elsewhere = 0;
    while elsewhere < LOOKS {
        sleep(PAUSE).await;
        match find(&finder).await {
            Ok(to) if to.ip() == from.ip() => elsewhere = 0,
            Ok(_) => elsewhere += 1,
            // Nowhere: what is bound to an address that is gone hears again when that comes back.
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finder() -> Finder {
        Arc::new(|| Ok(SocketAddr::from(([127, 0, 0, 1], 0))))
    }

    struct Ear {
        promises: Promises,
        events: mpsc::Receiver<Event>,
    }

    impl Ear {
        fn new(cluster: &str, secret: Option<Secret>) -> Self {
            let (inbox, events) = mpsc::channel(16);
            let promises = Promises::spawn(cluster, secret, finder(), inbox, &Counters::default());
            Self { promises, events }
        }

        async fn next(&mut self) -> Option<Event> {
            let next = timeout(Duration::from_secs(5), self.events.recv()).await;
            next.ok().flatten()
        }

        async fn address(&mut self) -> String {
            match self.next().await {
                Some(Event::Reachable { address, fault: None }) => address,
                other => panic!("{other:?}"),
            }
        }
    }

    const RUNS: Message = Message::Runs {
        incarnation: 5,
        round: 6,
    };

    #[tokio::test]
    async fn one_hears_what_another_of_its_cluster_says_and_nobody_else() {
        let secret = Secret::new([1; 32]);
        let (mut a, mut b) = (Ear::new("mail", Some(secret)), Ear::new("mail", Some(secret)));
        let (at, from) = (a.address().await, b.address().await);
        let mut stranger = Ear::new("mail", Some(Secret::new([2; 32])));
        let mut elsewhere = Ear::new("mail2", Some(secret));
        for other in [&mut stranger, &mut elsewhere] {
            other.address().await;
            other.promises.say(at.clone(), RUNS);
        }
        sleep(Duration::from_millis(100)).await;
        b.promises.say("no address".to_owned(), RUNS);
        b.promises.say(at, RUNS);
        match a.next().await {
            Some(Event::Heard { from: who, message }) => assert!(who == from && message == RUNS, "{who}: {message:?}"),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn nothing_is_open_before_there_is_a_secret_and_after_it() {
        let mut ear = Ear::new("mail", None);
        ear.promises.say("127.0.0.1:9".to_owned(), RUNS);
        assert!(timeout(Duration::from_millis(200), ear.events.recv()).await.is_err());
        ear.promises.take(Some(Secret::new([1; 32])));
        let address = ear.address().await;
        ear.promises.take(None);
        assert_eq!(ear.address().await, "");
        assert!(UdpSocket::bind(address).await.is_ok(), "it is closed");
    }

    #[test]
    fn a_node_is_asked_at_one_address() {
        let etcd = ["http://127.0.0.1:2379".to_owned()];
        let at = |given| asked_at(given, &etcd).map(|at| at.to_string());
        assert_eq!(at(None), Ok("127.0.0.1:8009".to_owned()));
        assert_eq!(at(Some("10.0.0.1")), Ok("10.0.0.1:8009".to_owned()));
        assert_eq!(at(Some("[fd00::1]:9")), Ok("[fd00::1]:9".to_owned()));
        for wrong in ["0.0.0.0", "[::]:9", "host", ""] {
            let why = at(Some(wrong)).unwrap_err();
            assert!(why.contains("LEASEHOLD_PROMISES_LISTEN="), "{why}");
        }
        assert!(asked_at(None, &[]).is_err());
    }

    #[test]
    fn no_more_is_taken_in_within_a_second() {
        let start = clock::now();
        let mut room = Room::new(start);
        let taken = (0..1000).filter(|_| room.takes(start)).count();
        assert_eq!(taken, 400);
        assert!(room.takes(start.plus(Duration::from_secs(1))));
    }
}
