//! A request to a web server, by address.

use std::net::{IpAddr, SocketAddr};

use reqwest::header::HOST;
use reqwest::redirect::Policy;

use super::tls;
use crate::clock;
use crate::compose::model::{HttpCheck, ProbeTls};
use crate::core::event::ProbeFailure;

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
    if let Some(certificate) = answer
        .extensions()
        .get::<reqwest::tls::TlsInfo>()
        .and_then(|info| info.peer_certificate())
    {
        tls::in_date(&certificate.into(), clock::wall_seconds())?;
    }
    let status = answer.status().as_u16();
    let (first, last) = wanted.status;
    if !(first..=last).contains(&status) {
        return Err(ProbeFailure::wrong(format!("answered {status}, not {first} to {last}")));
    }
    let Some(body) = &wanted.body else { return Ok(()) };
    let mut heard: Vec<u8> = Vec::new();
    while heard.len() < BODY_MAX {
        match answer.chunk().await.map_err(failed)? {
            Some(piece) => heard.extend_from_slice(&piece),
            None => break,
        }
    }
    if String::from_utf8_lossy(&heard).contains(body.as_str()) {
        Ok(())
    } else {
        Err(ProbeFailure::wrong(format!("its answer does not contain {body:?}")))
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
