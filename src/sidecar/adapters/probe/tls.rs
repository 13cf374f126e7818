//! TLS as a probe needs it: whether the server can speak it, and whether its certificate has run out. Whose certificate
//! it is does not matter: the probe speaks to an address of its own host.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use x509_parser::prelude::{FromDer, X509Certificate};

use leasehold_base::clock;
use leasehold_core::event::ProbeFailure;

pub(super) type Stream = tokio_rustls::client::TlsStream<TcpStream>;

/// A client's settings that accept any certificate.
pub(super) fn config() -> Result<ClientConfig, ProbeFailure> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| ProbeFailure::wrong(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    Ok(config)
}

/// Shakes hands, then looks at the dates of the certificate.
pub(super) async fn handshake(stream: TcpStream) -> Result<Stream, ProbeFailure> {
    let address = stream
        .peer_addr()
        .map_err(|error| ProbeFailure::wrong(error.to_string()))?
        .ip();
    let connector = TlsConnector::from(Arc::new(config()?));
    let stream = connector
        .connect(ServerName::from(address), stream)
        .await
        .map_err(|error| ProbeFailure::wrong(format!("TLS: {error}")))?;
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    match chain.first() {
        Some(certificate) => in_date(certificate, clock::wall_seconds())?,
        None => return Err(ProbeFailure::wrong("TLS: the server shows no certificate")),
    }
    Ok(stream)
}

/// The certificate that a server shows, whoever has signed it; none where it speaks no TLS.
pub async fn shown_certificate(stream: TcpStream) -> Option<CertificateDer<'static>> {
    let address = stream.peer_addr().ok()?.ip();
    let connector = TlsConnector::from(Arc::new(config().ok()?));
    let stream = connector.connect(ServerName::from(address), stream).await.ok()?;
    let certificate = stream.get_ref().1.peer_certificates()?.first()?;
    Some(certificate.clone().into_owned())
}

/// Whether the certificate is valid at `now`, in seconds since 1970.
pub(super) fn in_date(certificate: &CertificateDer<'_>, now: i64) -> Result<(), ProbeFailure> {
    let (_, parsed) = X509Certificate::from_der(certificate)
        .map_err(|error| ProbeFailure::wrong(format!("TLS: the certificate cannot be read: {error}")))?;
    let validity = parsed.validity();
    if now > validity.not_after.timestamp() {
        return Err(ProbeFailure::certificate(format!(
            "its certificate has run out on {}: replace it",
            validity.not_after
        )));
    }
    if now < validity.not_before.timestamp() {
        return Err(ProbeFailure::certificate(format!(
            "its certificate is valid only from {} on: see the clock and the certificate",
            validity.not_before
        )));
    }
    Ok(())
}

/// Renewals that work by themselves leave this much; of a short-lived certificate a quarter of its life.
const SOON: i64 = 14 * 86_400;

/// What to say of a certificate that is valid at `now` and will not be for long.
pub(super) fn ends_soon(certificate: &CertificateDer<'_>, now: i64) -> Result<(), ProbeFailure> {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else {
        return Ok(());
    };
    let (start, end) = (parsed.validity().not_before, parsed.validity().not_after);
    let life = end.timestamp().saturating_sub(start.timestamp());
    if end.timestamp().saturating_sub(now) > SOON.min(life / 4) {
        return Ok(());
    }
    Err(ProbeFailure::warning(format!("its certificate ends on {end}")))
}

/// The same of a connection's.
pub(super) fn shown_ends_soon(stream: &Stream) -> Result<(), ProbeFailure> {
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    chain
        .first()
        .map_or(Ok(()), |certificate| ends_soon(certificate, clock::wall_seconds()))
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
