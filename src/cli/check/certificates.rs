//! Certificates that run out: those in the files of this node, and those that etcd shows.

use std::path::Path;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::net::TcpStream;
use tokio::time::timeout;
use x509_parser::prelude::{FromDer, X509Certificate};

use leasehold_base::clock;
use leasehold_base::small_file;
use leasehold_compose::model::Cluster;
use leasehold_sidecar::adapters::probe::shown_certificate;
use leasehold_sidecar::node_args::NodeArgs;

/// Renewals that work by themselves leave this much.
const SOON: i64 = 30 * DAY;
const DAY: i64 = 86_400;
/// Of one endpoint.
const PATIENCE: Duration = Duration::from_secs(2);

/// What was found: faults keep somebody out now, warnings will.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) faults: Vec<String>,
    pub(super) warnings: Vec<String>,
}

/// Looks at the certificates of both files and of every https endpoint of etcd.
pub(super) async fn look(cluster: &Cluster, facts: &NodeArgs) -> Found {
    let mut found = Found::default();
    let now = clock::wall_seconds();
    let etcd = cluster.etcd_tls.iter();
    let etcd = etcd.flat_map(|files| [Some(&files.ca), files.certificate.as_ref()]);
    let own = [facts.tls_cert.as_ref(), facts.tls_client_ca.as_ref()];
    for path in etcd.chain(own).flatten() {
        found.file(path, now);
    }
    for url in &cluster.etcd {
        // One that does not answer is told of elsewhere.
        if let Some(certificate) = of_server(url).await {
            found.judge(&format!("the certificate that etcd {url} shows"), &certificate, now);
        }
    }
    found
}

async fn of_server(url: &str) -> Option<CertificateDer<'static>> {
    let address = url.strip_prefix("https://")?.trim_end_matches('/');
    let shown = async { shown_certificate(TcpStream::connect(address).await.ok()?).await };
    timeout(PATIENCE, shown).await.ok()?
}

impl Found {
    fn file(&mut self, path: &Path, now: i64) {
        let place = path.display();
        let text = match small_file::read(path, small_file::MAX) {
            Ok(text) => text,
            Err(error) => return self.faults.push(format!("{place}: {error}")),
        };
        let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        match all {
            Ok(all) if !all.is_empty() => all.iter().for_each(|one| self.judge(&place.to_string(), one, now)),
            Ok(_) | Err(_) => self.faults.push(format!("{place}: no certificate in PEM")),
        }
    }

    fn judge(&mut self, what: &str, certificate: &CertificateDer<'_>, now: i64) {
        let Ok((_, parsed)) = X509Certificate::from_der(certificate) else {
            return self.faults.push(format!("{what} can't be read"));
        };
        let (validity, subject) = (parsed.validity(), parsed.subject());
        let (start, end) = (validity.not_before, validity.not_after);
        let left = end.timestamp() - now;
        if left < 0 {
            self.faults
                .push(format!("{what} ({subject}) has run out on {end}: renew it"));
        } else if now < start.timestamp() {
            let why = "see the clock and the certificate";
            self.faults
                .push(format!("{what} ({subject}) is valid only from {start} on: {why}"));
        } else if left < SOON {
            let days = left / DAY;
            self.warnings.push(format!(
                "{what} ({subject}) runs out in {days} days, on {end}: renew it"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    /// A certificate for the whole of the year 2000.
    fn certificate() -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec!["etcd.example.test".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().clone()
    }

    #[test]
    fn the_last_month_warns_and_the_end_refuses() {
        let certificate = certificate();
        let (first, end) = (946_684_800, 978_307_200);
        let judged = |now| {
            let mut found = Found::default();
            found.judge("it", &certificate, now);
            (found.faults.join(" "), found.warnings.join(" "))
        };
        assert_eq!(judged(first + DAY), (String::new(), String::new()));
        assert_eq!(judged(end - SOON), (String::new(), String::new()));
        let (faults, warning) = judged(end - SOON + 1);
        assert!(
            faults.is_empty() && warning.contains("runs out in 29 days"),
            "{warning}"
        );
        let (fault, _) = judged(end + 1);
        assert!(
            fault.contains("has run out on") && fault.contains("renew it"),
            "{fault}"
        );
        let (fault, _) = judged(first - 1);
        assert!(fault.contains("valid only from"), "{fault}");
    }

    #[test]
    fn a_file_that_holds_none_is_named() {
        let place = std::env::temp_dir().join(format!("leasehold-no-certificate-{}", std::process::id()));
        std::fs::write(&place, "something else").unwrap();
        let mut found = Found::default();
        found.file(&place, 0);
        let _ = std::fs::remove_file(&place);
        found.file(&place, 0);
        let [none, absent] = found.faults.as_slice() else {
            panic!("{found:?}")
        };
        assert!(
            none.contains("no certificate in PEM") && absent.contains("leasehold-no-certificate"),
            "{found:?}"
        );
    }
}
