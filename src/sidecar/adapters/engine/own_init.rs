//! A service whose init must be PID 1: what its container is lent for that, and how commands are led into its namespace.

use bollard::models::{HealthConfig, HostConfig};

use super::Image;
use super::body::{self, TETHER};
use leasehold_base::own_init;
use leasehold_compose::model::Service;

/// What the tether is told of it.
pub(super) fn flags(service: &Service) -> Vec<String> {
    let lent = own_init::word(&leasehold_compose::lent(service));
    match service.own_init {
        true => vec![own_init::FLAG.to_owned(), lent],
        false => Vec::new(),
    }
}

/// What the tether needs for an init of the service's own, and gives away before that starts.
pub(super) fn lend(host: &mut HostConfig, service: &Service) {
    for lent in leasehold_compose::lent(service) {
        let name = lent.name();
        let is_it = |text: &String| {
            let text = text.to_ascii_uppercase();
            text.strip_prefix("CAP_").unwrap_or(&text) == name
        };
        // Some engines refuse what is both added and dropped.
        if let Some(dropped) = &mut host.cap_drop {
            dropped.retain(|text| !is_it(text));
        }
        host.cap_add.get_or_insert_default().push(name.to_owned());
    }
}

/// The service's health check. The engine starts it beside the tether; where the service has a namespace of its own, it is led
/// there, the image's own check as well.
pub(super) fn health_check(service: &Service, image: &Image) -> Option<HealthConfig> {
    let mut check = service.healthcheck.as_ref().map(body::healthcheck);
    let stated = check.as_ref().and_then(|check| check.test.as_ref());
    if let Some(led) = stated
        .or(image.healthcheck.as_ref())
        .and_then(|test| led(test, service))
    {
        check.get_or_insert_default().test = Some(led);
    }
    check
}

/// The same test, within; none where there is nothing to lead.
fn led(test: &[String], service: &Service) -> Option<Vec<String>> {
    let (kind, words) = test.split_first()?;
    let shell = ["/bin/sh".to_owned(), "-c".to_owned()];
    let words = match kind.as_str() {
        "CMD" => words.to_vec(),
        "CMD-SHELL" => [&shell[..], words].concat(),
        _ => return None,
    };
    let led = within(service, &words)?;
    Some([vec!["CMD".to_owned()], led].concat())
}

/// A command as it is started in the container for it to run in the service's own namespace; none where there is no such.
#[must_use]
pub fn within(service: &Service, command: &[String]) -> Option<Vec<String>> {
    let lent = own_init::word(&leasehold_compose::lent(service));
    let words = [TETHER, own_init::WITHIN, &lent, "--"].map(str::to_owned);
    service.own_init.then(|| [&words[..], command].concat())
}

#[cfg(test)]
mod tests {
    use leasehold_compose::model::Healthcheck;

    use super::*;

    #[test]
    fn what_is_lent_is_added_and_not_dropped() {
        let mut host = HostConfig {
            cap_add: Some(vec!["NET_ADMIN".to_owned()]),
            cap_drop: Some(vec!["cap_setpcap".to_owned(), "MKNOD".to_owned()]),
            ..HostConfig::default()
        };
        let service = Service {
            own_init: true,
            cap_drop: vec!["cap_setpcap".to_owned()],
            ..Service::default()
        };
        lend(&mut host, &Service::default());
        assert_eq!(host.cap_add.as_ref().unwrap().len(), 1);
        lend(&mut host, &service);
        assert_eq!(flags(&service), ["--own-init", "SYS_ADMIN,SETPCAP"]);
        assert_eq!(flags(&Service::default()), [""; 0]);
        assert_eq!(host.cap_add.unwrap(), ["NET_ADMIN", "SYS_ADMIN", "SETPCAP"]);
        assert_eq!(host.cap_drop.unwrap(), ["MKNOD"]);
    }

    #[test]
    fn a_health_check_is_led_into_the_namespace_of_the_service() {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let check = |test: &str| Healthcheck {
            test: Some(words(test)).filter(|test| !test.is_empty()),
            interval: None,
            timeout: None,
            retries: Some(7),
            start_period: None,
            start_interval: None,
        };
        let told = |own_init, own: Option<&str>, image: Option<&str>| {
            let service = Service {
                own_init,
                healthcheck: own.map(check),
                ..Service::default()
            };
            let image = Image {
                healthcheck: image.map(words),
                ..Image::default()
            };
            health_check(&service, &image).map(|check| check.test.unwrap_or_default().join(" "))
        };
        let led = |command: &str| Some(format!("CMD {TETHER} within SYS_ADMIN -- {command}"));
        for (found, expected) in [
            (told(true, None, Some("CMD s6-svstat /run")), led("s6-svstat /run")),
            (
                told(true, Some("CMD-SHELL pgrep"), Some("CMD x")),
                led("/bin/sh -c pgrep"),
            ),
            (told(true, Some(""), Some("CMD x")), led("x")),
            (told(true, Some("NONE"), Some("CMD x")), Some("NONE".to_owned())),
            (told(true, None, None), None),
            (told(false, None, Some("CMD x")), None),
            (told(false, Some("CMD x"), None), Some("CMD x".to_owned())),
        ] {
            assert_eq!(found, expected);
        }
    }
}
