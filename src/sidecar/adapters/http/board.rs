//! What is wrong with the endpoints, gathered from their parts and told to the loop whenever it changes.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use tokio::sync::{Mutex, mpsc};

use leasehold_core::event::Event;

/// What can be wrong with the endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// They listen nowhere.
    Port,
    /// The CLI's end on this host.
    Socket,
    Certificate,
    Tokens,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Port => "closed",
            Self::Socket => "the command line's socket",
            Self::Certificate => "the certificate",
            Self::Tokens => "the file of tokens",
        }
    }
}

#[derive(Debug, Default)]
struct Seen {
    address: Option<SocketAddr>,
    faults: BTreeMap<Part, String>,
    told: Option<(String, Option<String>)>,
}

impl Seen {
    fn told(&self) -> (String, Option<String>) {
        let faults = self.faults.iter().map(|(part, why)| format!("{}: {why}", part.name()));
        let faults: Vec<String> = faults.collect();
        let address = self.address.map_or_else(String::new, |address| address.to_string());
        (address, (!faults.is_empty()).then(|| faults.join("; ")))
    }
}

/// Of all parts.
#[derive(Debug)]
pub(super) struct Board {
    seen: Mutex<Seen>,
    inbox: mpsc::Sender<Event>,
}

impl Board {
    pub(super) fn new(inbox: mpsc::Sender<Event>) -> Self {
        let seen = Mutex::default();
        Self { seen, inbox }
    }

    /// What is wrong with a part, or that nothing is.
    pub(super) async fn set(&self, part: Part, fault: Option<String>) {
        let mut seen = self.seen.lock().await;
        match fault {
            Some(why) => drop(seen.faults.insert(part, why)),
            None => drop(seen.faults.remove(&part)),
        }
        self.tell(&mut seen).await;
    }

    /// Where they listen, or why nowhere.
    pub(super) async fn listen(&self, at: Result<SocketAddr, String>) {
        let mut seen = self.seen.lock().await;
        match at {
            Ok(address) => {
                seen.address = Some(address);
                seen.faults.remove(&Part::Port);
            }
            Err(why) => {
                seen.address = None;
                seen.faults.insert(Part::Port, why);
            }
        }
        self.tell(&mut seen).await;
    }

    /// In the order in which it was seen: the lock is kept.
    async fn tell(&self, seen: &mut Seen) {
        let now = seen.told();
        if seen.told.as_ref() == Some(&now) {
            return;
        }
        let (address, fault) = now.clone();
        seen.told = Some(now);
        // The loop may have ended meanwhile.
        let _ = self.inbox.send(Event::Endpoints { address, fault }).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_change_is_told_once_with_all_that_is_wrong() {
        let (sender, mut told) = mpsc::channel(16);
        let board = Board::new(sender);
        let address = SocketAddr::from(([10, 0, 0, 1], 8008));
        board.listen(Err("taken".to_owned())).await;
        board.listen(Err("taken".to_owned())).await;
        board.set(Part::Tokens, Some("broken".to_owned())).await;
        board.set(Part::Certificate, None).await;
        board.listen(Ok(address)).await;
        board.set(Part::Tokens, None).await;
        drop(board);
        let mut all = Vec::new();
        while let Some(Event::Endpoints { address, fault }) = told.recv().await {
            all.push((address, fault.unwrap_or_default()));
        }
        let all: Vec<(&str, &str)> = all.iter().map(|(at, why)| (at.as_str(), why.as_str())).collect();
        let open = "10.0.0.1:8008";
        assert_eq!(
            all,
            [
                ("", "closed: taken"),
                ("", "closed: taken; the file of tokens: broken"),
                (open, "the file of tokens: broken"),
                (open, ""),
            ]
        );
    }
}
