//! What a browser is made to send by somebody else's page never acts. A browser shows its user's certificate, and sends a
//! password that it knows, along with whatever any page makes it ask for. An act therefore takes a header that no form can
//! carry and that no script of another site may add, JSON, and nothing that says that it comes from elsewhere. And it takes
//! a name of this node in `Host`: a page whose own name was turned to this address is of the same site as far as a browser
//! can see. The forms of the console can carry neither header nor JSON. They take the rest of it, and besides a seal that only
//! a page of the console shows (`console/session.rs`).

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::{Cause, Problem};
use super::serve::Peer;
use leasehold_api::ACT_HEADER;

const SITE: &str = "sec-fetch-site";

/// Names by which this node may be called, besides any address: those of the host, those of its certificate, and those that
/// the operator gives for a proxy in front of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Hosts {
    own: Arc<[String]>,
    given: Arc<[String]>,
}

impl Hosts {
    /// `own` are names of the host, `given` those of LEASEHOLD_HOSTS.
    pub(super) fn new(own: impl IntoIterator<Item = String>, given: &[String]) -> Self {
        let plain = |name: String| name.trim().trim_end_matches('.').to_ascii_lowercase();
        let given = given.iter().cloned().map(plain).filter(|name| !name.is_empty());
        Self {
            own: own.into_iter().chain(["localhost".to_owned()]).map(plain).collect(),
            given: given.collect(),
        }
    }

    /// Whether the node may be called so. No name at all can be turned around: an address is one's own.
    fn knows(&self, host: &str, certificate: &[String]) -> bool {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let given = self.given.iter().filter_map(|name| name.parse::<Authority>().ok());
        bare.parse::<IpAddr>().is_ok()
            || self.own.contains(&host)
            || given.into_iter().any(|name| name.host() == host)
            || certificate.iter().any(|name| covers(name, &host))
    }

    /// Whether a page of this origin is the operator's own: under the same name and port as this endpoint, or one given.
    fn trusts(&self, origin: &str, called: &Authority) -> bool {
        let Some((_, origin)) = origin.split_once("://") else {
            return false;
        };
        origin.eq_ignore_ascii_case(called.as_str()) || self.given.iter().any(|name| origin.eq_ignore_ascii_case(name))
    }
}

/// A name of a certificate may begin with `*.`, which stands for one part.
fn covers(name: &str, host: &str) -> bool {
    let name = name.to_ascii_lowercase();
    match name.strip_prefix("*.") {
        Some(rest) => host.split_once('.').is_some_and(|(_, parent)| parent == rest),
        None => name == host,
    }
}

/// Over the network: lets acts through that are meant.
pub(super) async fn guard(State(hosts): State<Hosts>, request: Request, next: Next) -> Response {
    if is_reading(request.method()) {
        return next.run(request).await;
    }
    let names = request.extensions().get::<Peer>().map(|peer| Arc::clone(&peer.names));
    match judge(&request, &hosts, &names.unwrap_or_default()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

/// On this host: no browser reaches the socket, unless somebody has put a proxy before it.
pub(super) async fn guard_local(request: Request, next: Next) -> Response {
    let headers = request.headers();
    let is_of_a_page = headers.contains_key(header::ORIGIN) || headers.contains_key(SITE);
    if is_of_a_page && !is_reading(request.method()) {
        let message = "this socket is for the command line: no page of a browser acts through it";
        return Problem::new(Cause::Forbidden, message).into_response();
    }
    next.run(request).await
}

fn is_reading(method: &Method) -> bool {
    *method == Method::GET || *method == Method::HEAD
}

fn judge(request: &Request, hosts: &Hosts, certificate: &[String]) -> Result<(), Problem> {
    let headers = request.headers();
    if word(headers, ACT_HEADER) != Some("1") {
        let message = "acting takes the header `X-Leasehold: 1`, which no form of a page can send: add it";
        return Err(Problem::new(Cause::Forbidden, message));
    }
    comes_from_here(request, hosts, certificate)?;
    if !is_json(headers) {
        let message = "acting takes a body of JSON: `Content-Type: application/json`";
        return Err(Problem::new(Cause::NotJson, message));
    }
    Ok(())
}

/// Whether a form was sent by a page of this node, as far as a browser tells.
///
/// # Errors
/// Why not.
pub(super) fn judge_form(request: &Request, hosts: &Hosts) -> Result<(), Problem> {
    let names = request.extensions().get::<Peer>().map(|peer| Arc::clone(&peer.names));
    comes_from_here(request, hosts, &names.unwrap_or_default())
}

/// A name of this node in `Host`, and nothing that says that a page of another site has sent it.
fn comes_from_here(request: &Request, hosts: &Hosts, certificate: &[String]) -> Result<(), Problem> {
    let forbidden = |why: String| Err(Problem::new(Cause::Forbidden, why));
    let headers = request.headers();
    let called = request.uri().authority().cloned();
    let called = called.or_else(|| word(headers, header::HOST.as_str())?.parse().ok());
    let Some(called) = called else {
        return forbidden("acting takes the header `Host`, with a name or an address of this node".to_owned());
    };
    let host = called.host();
    if !hosts.knows(host, certificate) {
        return forbidden(format!(
            "{host} is no name of this node that it knows: call it by its address, or set LEASEHOLD_HOSTS={host} for the sidecar"
        ));
    }
    if let Some(site) = word(headers, SITE).filter(|site| !matches!(*site, "same-origin" | "none")) {
        return forbidden(format!("a page of another site can't act (Sec-Fetch-Site: {site})"));
    }
    match headers
        .get(header::ORIGIN)
        .map(|origin| origin.to_str().unwrap_or_default())
    {
        Some(origin) if !hosts.trusts(origin, &called) => {
            return forbidden(format!(
                "a page of {origin} can't act here: if it is yours, behind a proxy, set LEASEHOLD_HOSTS to its name and port for the sidecar"
            ));
        }
        Some(_) | None => {}
    }
    Ok(())
}

/// Whether the browser calls this node by HTTPS, as it says itself: behind a proxy that speaks TLS, too.
pub(super) fn is_of_https(headers: &HeaderMap) -> bool {
    word(headers, header::ORIGIN.as_str()).is_some_and(|origin| origin.starts_with("https://"))
}

fn word<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// Without a body there is nothing to be named.
fn is_json(headers: &HeaderMap) -> bool {
    match headers.get(header::CONTENT_TYPE) {
        Some(given) => {
            let given = given.to_str().unwrap_or_default();
            let essence = given.split(';').next().unwrap_or_default().trim();
            essence.eq_ignore_ascii_case("application/json")
        }
        None => {
            let length = word(headers, header::CONTENT_LENGTH.as_str()).unwrap_or("0");
            length == "0" && !headers.contains_key(header::TRANSFER_ENCODING)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_address_and_the_nodes_own_names_are_known() {
        let given = ["Ha.Example.org:8443".to_owned(), " ".to_owned()];
        let hosts = Hosts::new(["a".to_owned(), "Host1".to_owned()], &given);
        let certificate = ["a.example".to_owned(), "*.mail.example".to_owned()];
        for host in [
            "10.0.0.1",
            "[2001:db8::1]",
            "localhost",
            "a",
            "A",
            "host1.",
            "ha.example.org",
            "a.example",
            "x.mail.example",
        ] {
            assert!(hosts.knows(host, &certificate), "{host}");
        }
        for host in [
            "evil.example",
            "a.evil.example",
            "mail.example",
            "y.x.mail.example",
            "",
            "10.0.0.1.evil.example",
        ] {
            assert!(!hosts.knows(host, &certificate), "{host}");
        }
    }

    #[test]
    fn a_page_is_ones_own_under_the_same_name_and_port_or_one_given() {
        let hosts = Hosts::new(["a".to_owned()], &["ha.example.org:8443".to_owned()]);
        let called: Authority = "10.0.0.1:8008".parse().unwrap();
        for (origin, is_own) in [
            ("http://10.0.0.1:8008", true),
            ("https://HA.example.org:8443", true),
            // Another service of the same host, or of the same name.
            ("http://10.0.0.1", false),
            ("https://ha.example.org", false),
            ("https://evil.example", false),
            ("null", false),
            ("", false),
        ] {
            assert_eq!(hosts.trusts(origin, &called), is_own, "{origin}");
        }
    }
}
