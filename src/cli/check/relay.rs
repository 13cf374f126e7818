//! The relay that alarms go through by e-mail: it must not be what they are about.

use std::net::IpAddr;

use leasehold_compose::model::Project;
use leasehold_sidecar::adapters::dns::Names;

/// Why the relay can't be used. A name that nobody knows now is left to the first e-mail.
pub(super) async fn faults(project: &Project) -> Vec<String> {
    let Some(email) = project.cluster.events.as_ref().and_then(|events| events.email.as_ref()) else {
        return Vec::new();
    };
    let host = email.relay.host.as_str();
    let addresses = match (host.parse::<IpAddr>(), Names::of_this_host()) {
        (Ok(address), _) => vec![address],
        (Err(_), Ok(names)) => names.addresses(host).await.unwrap_or_default(),
        (Err(_), Err(_)) => Vec::new(),
    };
    judge(project, host, &addresses)
}

fn judge(project: &Project, host: &str, addresses: &[IpAddr]) -> Vec<String> {
    let is_here = |name: &String| {
        let group = project.groups.get(name);
        group.is_some_and(|group| group.vips.iter().any(|vip| addresses.contains(&vip.address)))
    };
    let all = project.groups.keys().filter(|name| is_here(name));
    let fault = |name: &String| {
        format!(
            "events.email: the relay {host} is a virtual IP of group {name}, whose alarms it would have to carry: name a server \
             that does not move with it"
        )
    };
    all.map(fault).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    #[test]
    fn what_is_protected_carries_no_alarm_about_itself() {
        let project = testing::project("", ", vips: [10.0.0.9/24]", "");
        let group = project.groups.values().next().unwrap();
        let vip = group.vips.first().unwrap().address;
        let other: IpAddr = "192.0.2.99".parse().unwrap();
        assert_eq!(judge(&project, "mx", &[other]), Vec::<String>::new());
        let told = judge(&project, "mx", &[other, vip]);
        assert!(told.len() == 1 && told[0].contains("whose alarms"), "{told:?}");
    }
}
