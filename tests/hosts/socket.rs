//! The sidecar's socket for operators, spoken to directly: much quicker than the command line in its container.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// A sidecar that does not answer a question within this is frozen.
const READ_TIMEOUT: Duration = Duration::from_secs(2);
/// Acts wait for the loop, and that for etcd; longer than the sidecar's own patience.
const ACT_TIMEOUT: Duration = Duration::from_secs(20);

/// The answer's status code and body.
pub(crate) fn ask(socket: &Path, method: &str, path: &str, body: &str) -> io::Result<(u16, String)> {
    let mut stream = UnixStream::connect(socket)?;
    let timeout = if method == "GET" { READ_TIMEOUT } else { ACT_TIMEOUT };
    stream.set_read_timeout(Some(timeout))?;
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: local\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n"
    );
    stream.write_all(format!("{head}{body}").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let split = answer.split_once("\r\n\r\n").zip(answer.split(' ').nth(1));
    let read = split.and_then(|((_, body), code)| Some((code.parse().ok()?, body.to_owned())));
    read.ok_or_else(|| io::Error::other(format!("no answer of HTTP: {answer}")))
}
