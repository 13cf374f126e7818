//! A mail client: SMTP in, IMAP and POP3 out; logins over TLS, as the server wants them.

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

/// The address as the tests give it is always well-formed.
pub(crate) fn at(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address.parse().expect("an address"), port)
}

const USER: &str = "alice";
const PASSWORD: &str = "secret";
/// The same in IMAP's words.
pub(crate) const LOGIN: &str = "LOGIN alice secret";
/// Commands sent ahead of their answers.
const PIPELINE: usize = 200;

/// The ports whose conversation begins with TLS.
const WITHIN_TLS: [u16; 2] = [993, 995];

/// What a conversation goes over.
trait Wire: Read + Write {}
impl<T: Read + Write> Wire for T {}

/// A conversation by lines.
pub(crate) struct Talk {
    reader: BufReader<Box<dyn Wire>>,
}

impl Talk {
    pub(crate) fn open(to: SocketAddr, connect: Duration, answer: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&to, connect)?;
        stream.set_read_timeout(Some(answer))?;
        stream.set_write_timeout(Some(answer))?;
        stream.set_nodelay(true)?;
        let wire: Box<dyn Wire> = if WITHIN_TLS.contains(&to.port()) {
            Box::new(encrypted(stream, to)?)
        } else {
            Box::new(stream)
        };
        Ok(Self {
            reader: BufReader::new(wire),
        })
    }

    pub(crate) fn line(&mut self) -> io::Result<String> {
        let mut bytes = Vec::new();
        self.reader.read_until(b'\n', &mut bytes)?;
        if bytes.last() != Some(&b'\n') {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
    }

    pub(crate) fn send(&mut self, text: &str) -> io::Result<()> {
        self.reader.get_mut().write_all(text.as_bytes())
    }

    /// Reads a line that must begin so.
    fn expect(&mut self, begin: &str) -> io::Result<String> {
        let line = self.line()?;
        if line.starts_with(begin) {
            Ok(line)
        } else {
            Err(io::Error::other(format!("wanted {begin}, got {line}")))
        }
    }

    /// Reads to the last line of an SMTP answer, which must have the code.
    fn smtp(&mut self, code: &str) -> io::Result<()> {
        while self.expect(code)?.as_bytes().get(3) == Some(&b'-') {}
        Ok(())
    }

    fn ask(&mut self, text: &str, code: &str) -> io::Result<()> {
        self.send(&format!("{text}\r\n"))?;
        self.smtp(code)
    }
}

/// Shakes hands at the first word. The server's certificate is one that it made itself.
fn encrypted(stream: TcpStream, to: SocketAddr) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    let client = ClientConnection::new(Arc::new(config), ServerName::from(to.ip())).map_err(io::Error::other)?;
    Ok(StreamOwned::new(client, stream))
}

/// Takes every certificate whose key the server can prove to have.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Waits for the greeting of the mail server, and leaves.
pub(crate) fn greeting(to: SocketAddr, connect: Duration, answer: Duration) -> io::Result<()> {
    let mut talk = Talk::open(to, connect, answer)?;
    // The first line depends on the protocol, and each has a port of its own.
    match to.port() {
        143 => drop(talk.expect("* OK")?),
        110 => drop(talk.expect("+OK")?),
        _ => talk.smtp("220")?,
    }
    // Good manners; the greeting was all that was wanted.
    let _ = talk.send(if to.port() == 143 { "a LOGOUT\r\n" } else { "QUIT\r\n" });
    Ok(())
}

/// Delivers one message; `Ok` means that the server took responsibility for it.
pub(crate) fn send(to: SocketAddr, subject: &str, connect: Duration, answer: Duration) -> io::Result<()> {
    let mut talk = Talk::open(to, connect, answer)?;
    talk.smtp("220")?;
    talk.ask("EHLO client.example.test", "250")?;
    talk.ask("MAIL FROM:<bob@elsewhere.test>", "250")?;
    talk.ask("RCPT TO:<alice@example.test>", "250")?;
    talk.ask("DATA", "354")?;
    talk.send(&format!("Subject: {subject}\r\n\r\nThe body of {subject}.\r\n"))?;
    talk.ask(".", "250")?;
    let _ = talk.send("QUIT\r\n");
    Ok(())
}

/// The subjects in the mailbox, as IMAP tells them.
pub(crate) fn imap(to: SocketAddr, limit: Duration) -> io::Result<BTreeSet<String>> {
    let mut talk = Talk::open(to, limit, limit)?;
    talk.expect("* OK")?;
    talk.send(&format!("a {LOGIN}\r\nb SELECT INBOX\r\n"))?;
    let mut exists = false;
    loop {
        let line = talk.line()?;
        exists |= line.starts_with("* ") && line.ends_with(" EXISTS") && line != "* 0 EXISTS";
        if line.starts_with("a NO") || line.starts_with("b NO") {
            return Err(io::Error::other(line));
        } else if line.starts_with("b OK") {
            break;
        }
    }
    let mut subjects = BTreeSet::new();
    if !exists {
        return Ok(subjects);
    }
    talk.send("c FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT)])\r\n")?;
    loop {
        let line = talk.line()?;
        match line.strip_prefix("Subject: ") {
            Some(subject) => drop(subjects.insert(subject.to_owned())),
            None if line.starts_with("c OK") => return Ok(subjects),
            None if line.starts_with("c ") => return Err(io::Error::other(line)),
            None => {}
        }
    }
}

/// Removes all messages from the mailbox.
pub(crate) fn empty(to: SocketAddr, limit: Duration) -> io::Result<()> {
    let mut talk = Talk::open(to, limit, limit)?;
    talk.expect("* OK")?;
    let commands = [
        ("a", LOGIN),
        ("b", "SELECT INBOX"),
        ("c", "STORE 1:* +FLAGS.SILENT (\\Deleted)"),
        ("d", "EXPUNGE"),
    ];
    for (tag, command) in commands {
        talk.send(&format!("{tag} {command}\r\n"))?;
        loop {
            let line = talk.line()?;
            match line.strip_prefix(&format!("{tag} ")) {
                Some(answer) if answer.starts_with("OK") => break,
                Some(_) => return Err(io::Error::other(line)),
                None => {}
            }
        }
    }
    Ok(())
}

/// The subjects in the mailbox, as POP3 tells them.
pub(crate) fn pop3(to: SocketAddr, limit: Duration) -> io::Result<BTreeSet<String>> {
    let mut talk = Talk::open(to, limit, limit)?;
    talk.expect("+OK")?;
    for command in [format!("USER {USER}"), format!("PASS {PASSWORD}")] {
        talk.send(&format!("{command}\r\n"))?;
        talk.expect("+OK")?;
    }
    talk.send("STAT\r\n")?;
    let stat = talk.expect("+OK")?;
    let count = stat.split(' ').nth(1).and_then(|count| count.parse::<usize>().ok());
    let numbers: Vec<usize> = (1..=count.ok_or_else(|| io::Error::other(stat))?).collect();
    let mut subjects = BTreeSet::new();
    for some in numbers.chunks(PIPELINE) {
        let commands = some.iter().map(|number| format!("TOP {number} 0\r\n"));
        talk.send(&commands.collect::<String>())?;
        for _ in some {
            talk.expect("+OK")?;
            loop {
                let line = talk.line()?;
                if line == "." {
                    break;
                } else if let Some(subject) = line.strip_prefix("Subject: ") {
                    subjects.insert(subject.to_owned());
                }
            }
        }
    }
    talk.send("QUIT\r\n")?;
    talk.expect("+OK")?;
    Ok(subjects)
}
