//! TLS for the endpoints over the network. The files are looked at all the time: a renewed pair is taken with the next
//! connection, a broken one is refused with an alarm while the old one goes on. A client may show a certificate; what it
//! may do with it stands in the file of tokens.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::board::{Board, Part};
use leasehold_base::clock;
use leasehold_base::small_file;

/// Between two looks at the files.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(2);
/// From the first byte to the end of the handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// More than this is no certificate.
const FILE_MAX: u64 = 1024 * 1024;

/// The files of the endpoints' certificate.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    certificate: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
}

impl TlsFiles {
    /// The files as they are named in the settings; none: plain HTTP.
    ///
    /// # Errors
    /// A part without the rest, with what to set.
    pub fn new(
        certificate: Option<&Path>,
        key: Option<&Path>,
        client_ca: Option<&Path>,
    ) -> Result<Option<Self>, String> {
        match (certificate, key) {
            (Some(certificate), Some(key)) => Ok(Some(Self {
                certificate: certificate.to_owned(),
                key: key.to_owned(),
                client_ca: client_ca.map(Path::to_owned),
            })),
            (None, None) if client_ca.is_none() => Ok(None),
            (None, None) => {
                Err("LEASEHOLD_TLS_CLIENT_CA needs TLS: set LEASEHOLD_TLS_CERT and LEASEHOLD_TLS_KEY, too".to_owned())
            }
            (Some(_), None) | (None, Some(_)) => {
                Err("LEASEHOLD_TLS_CERT and LEASEHOLD_TLS_KEY belong together: set both".to_owned())
            }
        }
    }

    /// Whether the files can be used now.
    ///
    /// # Errors
    /// The file and what is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        load(self, &self.read()?, clock::wall_seconds()).map(drop)
    }

    fn read(&self) -> Result<Contents, String> {
        Ok(Contents {
            certificate: read(&self.certificate)?,
            key: read(&self.key)?,
            client_ca: self.client_ca.as_deref().map(read).transpose()?,
        })
    }
}

/// What the files held; compared, never shown.
#[derive(PartialEq, Eq)]
struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let place = path.display();
    let failed = |error: io::Error| format!("{place}: {error}");
    small_file::read(path, FILE_MAX).map_err(failed)
}

/// A pair that servers can use.
#[derive(Debug)]
pub(super) struct Pair {
    config: Arc<ServerConfig>,
    /// The names that clients may find it under.
    pub(super) names: Arc<[String]>,
    /// Its last second, since 1970.
    until: i64,
}

fn load(files: &TlsFiles, contents: &Contents, now: i64) -> Result<Pair, String> {
    let chain = certificates(&files.certificate, &contents.certificate)?;
    // The parser's error may quote the line that it could not read.
    let key = PrivateKeyDer::from_pem_slice(&contents.key)
        .map_err(|_| format!("{}: no private key in PEM without a passphrase", files.key.display()))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = match (&files.client_ca, &contents.client_ca) {
        (Some(path), Some(text)) => {
            let place = path.display();
            let mut roots = RootCertStore::empty();
            for one in certificates(path, text)? {
                roots.add(one).map_err(|error| format!("{place}: {error}"))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .allow_unauthenticated()
                .build()
                .map_err(|error| format!("{place}: {error}"))?;
            builder.with_client_cert_verifier(verifier)
        }
        (None, _) | (_, None) => builder.with_no_client_auth(),
    };
    let (place, key_place) = (files.certificate.display(), files.key.display());
    let (since, until) = dates(&chain).map_err(|why| format!("{place}: {why}"))?;
    let names = chain.first().and_then(Shown::read).map(|shown| shown.names.into());
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| format!("{place} with {key_place}: {error}"))?;
    in_date(&files.certificate, since, until, now)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Pair {
        config: Arc::new(config),
        names: names.unwrap_or_default(),
        until,
    })
}

fn certificates(path: &Path, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let place = path.display();
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(format!("{place}: no certificate in PEM")),
        Err(error) => Err(format!("{place}: {error}")),
    }
}

/// First and last second of the first certificate.
fn dates(chain: &[CertificateDer<'_>]) -> Result<(i64, i64), String> {
    let first = chain.first().ok_or("no certificate")?;
    let (_, parsed) = X509Certificate::from_der(first).map_err(|error| error.to_string())?;
    let validity = parsed.validity();
    Ok((validity.not_before.timestamp(), validity.not_after.timestamp()))
}

fn in_date(path: &Path, since: i64, until: i64, now: i64) -> Result<(), String> {
    let place = path.display();
    if now > until {
        return Err(format!("{place}: the certificate has run out: renew it"));
    }
    if now < since {
        return Err(format!(
            "{place}: the certificate is not valid yet: see the clock and the certificate"
        ));
    }
    Ok(())
}

/// Holds the pair in use and looks for a newer one.
struct Keeper {
    files: TlsFiles,
    used: watch::Sender<Option<Arc<Pair>>>,
    /// What the pair in use was made of, and when it runs out.
    from: Option<(Contents, i64)>,
    /// The fault of the last look, and the one that was said last.
    seen: Option<String>,
    said: Option<String>,
}

impl Keeper {
    fn new(files: TlsFiles) -> (Self, watch::Receiver<Option<Arc<Pair>>>) {
        let (used, current) = watch::channel(None);
        let keeper = Self {
            files,
            used,
            from: None,
            seen: None,
            said: None,
        };
        (keeper, current)
    }

    /// Takes a changed pair that can be used; a fault that is new and not just the moment between two writes is given back.
    fn look(&mut self, now: i64) -> Option<String> {
        let fault = self.take(now).err();
        let lasts = fault == self.seen || self.from.is_none();
        self.seen.clone_from(&fault);
        if fault.is_none() {
            self.said = None;
        }
        if !lasts || fault == self.said {
            return None;
        }
        self.said.clone_from(&fault);
        fault
    }

    fn take(&mut self, now: i64) -> Result<(), String> {
        let contents = self.files.read()?;
        if let Some((_, until)) = self.from.as_ref().filter(|(used, _)| *used == contents) {
            return in_date(&self.files.certificate, i64::MIN, *until, now);
        }
        let pair = load(&self.files, &contents, now)?;
        self.from = Some((contents, pair.until));
        self.used.send_replace(Some(Arc::new(pair)));
        tracing::info!(code = "certificate_used", certificate = %self.files.certificate.display(), "the endpoints use this certificate from now on");
        Ok(())
    }

    fn say(&self, why: &str) {
        let goes_on = self.goes_on();
        tracing::warn!(code = "certificate_unusable", alarm = true, %why, "the certificate of the endpoints can't be used: {goes_on}");
    }

    fn goes_on(&self) -> &'static str {
        match &self.from {
            Some((_, until)) if clock::wall_seconds() <= *until => "the one before it goes on",
            Some(_) => "clients will refuse it",
            None => "nobody is let in over the network",
        }
    }

    /// The fault that was said last, while it lasts.
    fn fault(&self) -> Option<String> {
        let said = self.said.as_ref()?;
        Some(format!("{said}: {}", self.goes_on()))
    }
}

/// Looks at the files from now on; the pair in use, once there is one.
pub(super) fn keep_new(files: TlsFiles, look_every: Duration, board: Arc<Board>) -> watch::Receiver<Option<Arc<Pair>>> {
    let (keeper, current) = Keeper::new(files);
    tokio::spawn(keep(keeper, look_every, board));
    current
}

async fn keep(mut keeper: Keeper, look_every: Duration, board: Arc<Board>) {
    let mut looks = interval(look_every);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !keeper.used.is_closed() {
        looks.tick().await;
        // A file system that hangs must not hold up a connection.
        let look = move || {
            if let Some(why) = keeper.look(clock::wall_seconds()) {
                keeper.say(&why);
            }
            keeper
        };
        match tokio::task::spawn_blocking(look).await {
            Ok(back) => keeper = back,
            Err(_) => return,
        }
        board.set(Part::Certificate, keeper.fault()).await;
    }
}

/// Shakes hands with who comes, in time; gives the certificate that was shown.
pub(super) async fn shake<I>(stream: I, pair: &Pair, from: SocketAddr) -> Option<(TlsStream<I>, Option<Shown>)>
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    let acceptor = TlsAcceptor::from(Arc::clone(&pair.config));
    match timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => {
            let chain = stream.get_ref().1.peer_certificates();
            let shown = chain.and_then(|chain| chain.first()).and_then(Shown::read);
            Some((stream, shown))
        }
        Ok(Err(why)) => {
            tracing::debug!(%from, %why, "a TLS handshake failed");
            None
        }
        Err(_) => {
            tracing::debug!(%from, "a TLS handshake took too long");
            None
        }
    }
}

/// A client's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    /// The common name of its subject and its alternative names.
    pub(super) names: Vec<String>,
    /// Its last second, since 1970: a connection may outlive it.
    pub(super) until: i64,
}

impl Shown {
    fn read(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let common = parsed
            .subject()
            .iter_common_name()
            .filter_map(|name| name.as_str().ok());
        let mut names: Vec<String> = common.map(str::to_owned).collect();
        if let Ok(Some(alternative)) = parsed.subject_alternative_name() {
            names.extend(alternative.value.general_names.iter().filter_map(word));
        }
        Some(Self {
            names,
            until: parsed.validity().not_after.timestamp(),
        })
    }
}

/// An alternative name that can stand in the file of tokens.
fn word(name: &GeneralName<'_>) -> Option<String> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the rest is not written as a word")]
    match name {
        GeneralName::DNSName(text) | GeneralName::RFC822Name(text) | GeneralName::URI(text) => Some((*text).to_owned()),
        _ => None,
    }
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
