//! The certificates that each host has for itself: a trial start shows them as the service would find them there, and one that has
//! run out is told before the service comes to this host.

use std::fmt::Display;
use std::time::Duration;

use x509_parser::pem::parse_x509_pem;

use leasehold_base::trial::{self, Shown};
use leasehold_core::event::ProbeFailure;

/// What a trial start saw of the certificates that its host has for itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Seen {
    /// None is named.
    #[default]
    NoneNamed,
    /// All are good, for so long from now on.
    Good(Duration),
    /// Nothing could be read back of one of them.
    Unknown,
}

impl Seen {
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::NoneNamed, known) | (known, Self::NoneNamed) => known,
            (Self::Good(one), Self::Good(other)) => Self::Good(one.min(other)),
            (Self::Unknown, _) | (_, Self::Unknown) => Self::Unknown,
        }
    }

    pub(super) fn good_for(self) -> Option<Duration> {
        match self {
            Self::Good(duration) => Some(duration),
            Self::NoneNamed | Self::Unknown => None,
        }
    }
}

/// Whether those of a service are in date at `now`, in seconds since 1970. `output`: what its trial start wrote. Of a file of which
/// nothing can be read back nothing is said: that is so with some log drivers.
pub(super) fn judge(service: &str, paths: &[String], output: &str, now: i64) -> Result<Seen, ProbeFailure> {
    let found = trial::shown(output, paths.len());
    let mut seen = Seen::default();
    for (path, shown) in paths.iter().zip(&found) {
        let Some(shown) = shown else {
            tracing::debug!(service, path, "the trial's output can't be read back");
            seen = seen.and(Seen::Unknown);
            continue;
        };
        let left = good_for(shown, now).map_err(|why| {
            let text = format!("the certificate {path} of service {service} {why} on this host: renew it here, too");
            ProbeFailure::wrong(text)
        })?;
        seen = seen.and(Seen::Good(left));
    }
    Ok(seen)
}

/// How long it is good for, or what is wrong with it.
fn good_for(shown: &Shown, now: i64) -> Result<Duration, String> {
    let unreadable = |error: &dyn Display| format!("can't be read ({error})");
    let block = shown.as_ref().map_err(|why| unreadable(why))?;
    let (_, pem) = parse_x509_pem(block.as_bytes()).map_err(|error| unreadable(&error))?;
    let certificate = pem.parse_x509().map_err(|error| unreadable(&error))?;
    let validity = certificate.validity();
    if now < validity.not_before.timestamp() {
        return Err(format!("is valid only from {} on", validity.not_before));
    }
    let left = validity.not_after.timestamp().saturating_sub(now);
    let left = u64::try_from(left).map_err(|_| format!("has run out on {}", validity.not_after))?;
    Ok(Duration::from_secs(left))
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
        let years = Duration::from_secs(u64::try_from(year(2030) - year(2025)).unwrap());
        let Ok(Seen::Good(left)) = said(&good, year(2025)) else {
            panic!("it is good");
        };
        assert!(left.abs_diff(years) < Duration::from_secs(60 * 86_400), "{left:?}");
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
            Ok(Seen::Unknown)
        );
        assert_eq!(
            judge("mail", &[], "", year(2025)).map_err(|it| it.text),
            Ok(Seen::NoneNamed)
        );
    }

    #[test]
    fn all_of_them_must_be_good() {
        let seconds = |count| Seen::Good(Duration::from_secs(count));
        assert_eq!(seconds(5).and(seconds(3)).good_for(), Some(Duration::from_secs(3)));
        assert_eq!(Seen::NoneNamed.and(seconds(5)), seconds(5));
        assert_eq!(seconds(5).and(Seen::NoneNamed), seconds(5));
        assert_eq!(seconds(5).and(Seen::Unknown).good_for(), None);
        assert_eq!(Seen::Unknown.and(seconds(5)).good_for(), None);
        assert_eq!(Seen::default().good_for(), None);
    }
}
