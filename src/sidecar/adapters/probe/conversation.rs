//! Lines to and from a server, within bounds.

use std::fmt;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::tls;
use leasehold_core::event::ProbeFailure;

/// Longer lines than this are no protocol's.
const LINE_MAX: usize = 4096;
/// More lines than this in one answer are none either.
const LINES_MAX: usize = 100;
/// How much of an unexpected answer is told.
const QUOTE_MAX: usize = 120;

/// One side of a conversation in lines.
pub(super) struct Conversation {
    stream: Stream,
    heard: Vec<u8>,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<tls::Stream>),
    /// Between the two, while the handshake is under way.
    None,
}

impl fmt::Debug for Conversation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Conversation").finish_non_exhaustive()
    }
}

impl Conversation {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self {
            stream: Stream::Plain(stream),
            heard: Vec::new(),
        }
    }

    /// Goes on encrypted. What the server said in the clear beyond its last line is refused: it could be an attacker's.
    pub(super) async fn encrypt(&mut self) -> Result<(), ProbeFailure> {
        if !self.heard.is_empty() {
            return Err(ProbeFailure::wrong("the server went on in the clear after STARTTLS"));
        }
        if let Stream::Plain(stream) = std::mem::replace(&mut self.stream, Stream::None) {
            self.stream = Stream::Tls(Box::new(tls::handshake(stream).await?));
        }
        Ok(())
    }

    /// What there is to say of the certificate that was shown.
    pub(super) fn judge_certificate(&self) -> Result<(), ProbeFailure> {
        match &self.stream {
            Stream::Tls(stream) => tls::shown_ends_soon(stream),
            Stream::Plain(_) | Stream::None => Ok(()),
        }
    }

    /// Sends one line; it may hold a password, so no error repeats it.
    pub(super) async fn say(&mut self, line: &str) -> Result<(), ProbeFailure> {
        let bytes = format!("{line}\r\n").into_bytes();
        let sent = match &mut self.stream {
            Stream::Plain(stream) => stream.write_all(&bytes).await,
            Stream::Tls(stream) => match stream.write_all(&bytes).await {
                Ok(()) => stream.flush().await,
                Err(error) => Err(error),
            },
            Stream::None => Ok(()),
        };
        sent.map_err(|error| ProbeFailure::wrong(error.to_string()))
    }

    /// The next line without its end.
    pub(super) async fn hear(&mut self) -> Result<String, ProbeFailure> {
        loop {
            if let Some(end) = self.heard.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.heard.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            if self.heard.len() > LINE_MAX {
                return Err(ProbeFailure::wrong(format!("a line of more than {LINE_MAX} bytes")));
            }
            let mut buffer = [0; 1024];
            let count = match &mut self.stream {
                Stream::Plain(stream) => stream.read(&mut buffer).await,
                Stream::Tls(stream) => stream.read(&mut buffer).await,
                Stream::None => Ok(0),
            };
            match count.map_err(|error| ProbeFailure::wrong(error.to_string()))? {
                0 if self.heard.is_empty() => return Err(ProbeFailure::wrong("the server closed the connection")),
                0 => return Err(ProbeFailure::wrong("the server closed the connection within a line")),
                count => self.heard.extend_from_slice(&buffer[..count]),
            }
        }
    }

    /// Lines until `last` says that one is the last; that one included.
    pub(super) async fn hear_until(&mut self, last: impl Fn(&str) -> bool) -> Result<Vec<String>, ProbeFailure> {
        let mut lines = Vec::new();
        while lines.len() < LINES_MAX {
            let line = self.hear().await?;
            let done = last(&line);
            lines.push(line);
            if done {
                return Ok(lines);
            }
        }
        Err(ProbeFailure::wrong(format!("an answer of more than {LINES_MAX} lines")))
    }
}

/// The failure for another answer than the expected one.
pub(super) fn unexpected(after: &str, expected: &str, heard: &str) -> ProbeFailure {
    let heard: String = heard.chars().filter(|one| !one.is_control()).take(QUOTE_MAX).collect();
    ProbeFailure::wrong(format!("{after}: expected `{expected}`, heard `{heard}`"))
}
