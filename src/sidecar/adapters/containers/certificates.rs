//! The certificates that each host has for itself: a trial start shows them as the service would find them there, and one that has
//! run out is told before the service comes to this host.

use x509_parser::pem::parse_x509_pem;

use leasehold_base::trial::{self, Shown};
use leasehold_core::event::ProbeFailure;

/// Whether those of a service are in date at `now`, in seconds since 1970. `output`: what its trial start wrote. Of a file of which
/// nothing can be read back nothing is said: that is so with some log drivers.
pub(super) fn judge(service: &str, paths: &[String], output: &str, now: i64) -> Result<(), ProbeFailure> {
    let found = trial::shown(output, paths.len());
    for (path, shown) in paths.iter().zip(&found) {
        let Some(shown) = shown else {
            tracing::debug!(service, path, "the trial's output can't be read back");
            continue;
        };
        if let Some(why) = fault(shown, now) {
            let text = format!("the certificate {path} of service {service} {why} on this host: renew it here, too");
            return Err(ProbeFailure::wrong(text));
        }
    }
    Ok(())
}

fn fault(shown: &Shown, now: i64) -> Option<String> {
    let block = match shown {
        Ok(block) => block,
        Err(why) => return Some(format!("can't be read ({why})")),
    };
    let unreadable = |error: String| Some(format!("can't be read ({error})"));
    let pem = match parse_x509_pem(block.as_bytes()) {
        Ok((_, pem)) => pem,
        Err(error) => return unreadable(error.to_string()),
    };
    let validity = match pem.parse_x509() {
        Ok(certificate) => certificate.validity().clone(),
        Err(error) => return unreadable(error.to_string()),
    };
    if now > validity.not_after.timestamp() {
        return Some(format!("has run out on {}", validity.not_after));
    }
    (now < validity.not_before.timestamp()).then(|| format!("is valid only from {} on", validity.not_before))
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    /// Valid from 2020 to 2030.
    fn made() -> String {
        let mut params = CertificateParams::new(vec!["mail.example.test".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2030, 1, 1);
        let key = KeyPair::generate().unwrap();
        let made = params.self_signed(&key).unwrap();
        format!("{}\n{}\n{}", trial::BEGIN, STANDARD.encode(made.der()), trial::END)
    }

    #[test]
    fn one_that_has_run_out_or_is_not_there_is_told() {
        let block = made();
        let year = |year: i64| (year - 1970) * 365 * 86_400 + 30 * 86_400;
        let said = |shown: &Shown, now: i64| {
            let paths = ["/etc/tls/cert.pem".to_owned()];
            judge("mail", &paths, &trial::show(0, shown), now).map_err(|failure| failure.text)
        };
        let good = Ok(block);
        assert_eq!(said(&good, year(2025)), Ok(()));
        let late = said(&good, year(2031)).unwrap_err();
        assert!(
            late.starts_with("the certificate /etc/tls/cert.pem of service mail has run out on Jan  1 00:00:00 2030"),
            "{late}"
        );
        let early = said(&good, year(2019)).unwrap_err();
        assert!(early.contains("is valid only from Jan  1"), "{early}");
        let broken = Ok(format!("{}\nAAAA\n{}", trial::BEGIN, trial::END));
        assert!(said(&broken, year(2025)).unwrap_err().contains("can't be read"));
        let missing = said(&Err("No such file".to_owned()), year(2025)).unwrap_err();
        assert!(
            missing.contains("can't be read (No such file) on this host: renew it here"),
            "{missing}"
        );
        assert_eq!(
            judge("mail", &["/a".to_owned()], "", year(2025)).map_err(|it| it.text),
            Ok(())
        );
    }
}
