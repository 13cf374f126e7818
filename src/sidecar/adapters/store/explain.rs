//! What an error of TLS means for the operator. Explains only: a wrong wall clock of this host must not keep it from an
//! etcd that would let it in.

use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::time::timeout;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{Settings, client};
use leasehold_base::clock;
use leasehold_compose::model::EtcdTls;
use leasehold_core::store::StoreError;

/// The error with what is to be done about it, where that is known.
pub(super) async fn explained(settings: &Settings, url: &str, error: StoreError) -> StoreError {
    let (StoreError::Unknown(text), Some(files)) = (&error, &settings.tls) else {
        return error;
    };
    if !url.starts_with("https://") {
        return error;
    }
    let own = timeout(settings.attempt, out_of_date(files)).await.unwrap_or_default();
    match meaning(text, files, own) {
        Some(meaning) => StoreError::Unknown(format!("{meaning} ({text})")),
        None => error,
    }
}

fn meaning(text: &str, files: &EtcdTls, own: Option<String>) -> Option<String> {
    let of_the_server = [
        (
            "UnknownIssuer",
            format!(
                "etcd's certificate is not of the authority in {}: see etcd_tls in the file",
                files.ca.display()
            ),
        ),
        (
            "certificate expired",
            "etcd's certificate has run out: renew it on that host".to_owned(),
        ),
        (
            "not valid for name",
            "etcd's certificate does not name this address: see its alternative names".to_owned(),
        ),
        (
            "CertificateRequired",
            "etcd asks for a certificate: set certificate and key of etcd_tls in the file".to_owned(),
        ),
    ];
    let found = of_the_server.into_iter().find(|(words, _)| text.contains(words));
    found.map(|(_, meaning)| meaning).or(own)
}

/// The sentence about this node's own certificate when it is not valid now. etcd's end of the connection often closes
/// before its reason arrives.
async fn out_of_date(files: &EtcdTls) -> Option<String> {
    let path = files.certificate.as_deref()?;
    judged(path, &client::read(path).await.ok()?, clock::wall_seconds())
}

fn judged(path: &Path, pem: &[u8], now: i64) -> Option<String> {
    let certificate = CertificateDer::from_pem_slice(pem).ok()?;
    let (_, parsed) = X509Certificate::from_der(&certificate).ok()?;
    let (validity, place) = (parsed.validity(), path.display());
    if now > validity.not_after.timestamp() {
        let end = validity.not_after;
        return Some(format!(
            "this node's certificate {place} has run out on {end}: renew it"
        ));
    }
    (now < validity.not_before.timestamp()).then(|| {
        let start = validity.not_before;
        format!("this node's certificate {place} is valid only from {start} on: see the clock and the certificate")
    })
}
