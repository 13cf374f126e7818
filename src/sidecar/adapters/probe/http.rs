//! A request to a web server, by address.

use std::net::{IpAddr, SocketAddr};

use reqwest::header::HOST;
use reqwest::redirect::Policy;
use rustls::pki_types::CertificateDer;

use super::tls;
use leasehold_base::clock;
use leasehold_compose::model::{HttpCheck, ProbeTls};
use leasehold_core::event::ProbeFailure;

/// What of a body is looked at.
const BODY_MAX: usize = 64 * 1024;

/// Asks for the path and looks at status and body. Redirects are answers, not followed.
pub(super) async fn check(address: IpAddr, wanted: &HttpCheck) -> Result<(), ProbeFailure> {
    let failed = |error: reqwest::Error| ProbeFailure::wrong(reason(&error));
    let client = reqwest::Client::builder()
        .redirect(Policy::none())
        .no_proxy()
        .tls_backend_preconfigured(tls::config()?)
        .tls_info(true)
        .build()
        .map_err(failed)?;
    let scheme = if wanted.tls == ProbeTls::Off { "http" } else { "https" };
    let at = SocketAddr::new(address, wanted.port);
    let mut request = client.get(format!("{scheme}://{at}{}", wanted.path));
    if let Some(host) = &wanted.host {
        request = request.header(HOST, host);
    }
    let mut answer = request.send().await.map_err(failed)?;
    let shown = answer.extensions().get::<reqwest::tls::TlsInfo>();
    let certificate = shown.and_then(|info| info.peer_certificate()).map(<[u8]>::to_vec);
    let certificate = certificate.map(CertificateDer::from);
    let now = clock::wall_seconds();
    if let Some(certificate) = &certificate {
        tls::in_date(certificate, now)?;
    }
    let status = answer.status().as_u16();
    let (first, last) = wanted.status;
    if !(first..=last).contains(&status) {
        return Err(ProbeFailure::wrong(format!("answered {status}, not {first} to {last}")));
    }
    if let Some(body) = &wanted.body {
        contains(&mut answer, body).await?;
    }
    certificate.map_or(Ok(()), |certificate| tls::ends_soon(&certificate, now))
}

async fn contains(answer: &mut reqwest::Response, wanted: &str) -> Result<(), ProbeFailure> {
    let mut heard: Vec<u8> = Vec::new();
    while heard.len() < BODY_MAX {
        let piece = answer.chunk().await;
        match piece.map_err(|error| ProbeFailure::wrong(reason(&error)))? {
            Some(piece) => heard.extend_from_slice(&piece),
            None => break,
        }
    }
    if String::from_utf8_lossy(&heard).contains(wanted) {
        Ok(())
    } else {
        Err(ProbeFailure::wrong(format!("its answer does not contain {wanted:?}")))
    }
}

/// The innermost cause: the outer ones repeat the URL.
fn reason(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
