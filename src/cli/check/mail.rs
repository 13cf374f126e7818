//! A group that takes mail: its queue must move along, and other mail servers must find it by its own name and address.
//! Warnings, never a condition of a start: a name server that is down must not keep a mail server down.

use std::net::IpAddr;

use leasehold_compose::model::{Check, Group, MailProtocol, Service};
use leasehold_sidecar::adapters::dns::Names;

/// Names that are asked for one domain's policy.
const POLICIES_MAX: usize = 5;

/// Where mail servers keep what they have accepted and not delivered: sendmail's two, Postfix's, Exim's.
const QUEUES: [&str; 4] = [
    "/var/spool/mqueue",
    "/var/spool/clientmqueue",
    "/var/spool/postfix",
    "/var/spool/exim4",
];

/// What the DNS says of one name and its addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Known {
    addresses: Vec<IpAddr>,
    /// Of each virtual IP.
    names: Vec<(IpAddr, Vec<String>)>,
    mail_hosts: Vec<String>,
    /// What other servers judge its mail by.
    proofs: Proofs,
}

/// The texts of a domain that say who sends its mail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Proofs {
    spf: Vec<String>,
    dmarc: Vec<String>,
    /// Of the selector that the server signs with, where one is known.
    dkim: Option<(String, Vec<String>)>,
}

/// All warnings about a group; none where it takes no mail.
pub(super) async fn warnings(group: &Group) -> Vec<String> {
    if !takes_mail(group) {
        return Vec::new();
    }
    let mut warnings = queue(group);
    let Some(name) = host_name(group) else {
        warnings.push(format!(
            "group {}: takes mail without a name of its own: set MAIL_HOSTNAME (or `hostname`) to the full name of its \
             virtual IP, else it greets with the name of whatever host it runs on",
            group.name
        ));
        return warnings;
    };
    let domain = domain(group, &name);
    match ask(group, &name, &domain).await {
        Ok(known) => warnings.extend(judge(group, &name, &domain, &known)),
        Err(why) => warnings.push(format!("the DNS could not be asked about {name}: {why}")),
    }
    warnings
}

fn takes_mail(group: &Group) -> bool {
    let smtp = |check: &Check| matches!(check, Check::Mail(mail) if mail.protocol == MailProtocol::Smtp);
    group.probes.iter().any(|probe| smtp(&probe.check))
}

fn queue(group: &Group) -> Vec<String> {
    let protected = |service: &Service| {
        let mounts = service.mounts.iter().filter(|mount| mount.is_protected());
        let mut targets = mounts.map(|mount| mount.target.trim_end_matches('/'));
        targets.any(|target| {
            QUEUES
                .iter()
                .any(|queue| queue.starts_with(target) || target.starts_with(queue))
        })
    };
    if group.services.iter().any(protected) {
        return Vec::new();
    }
    vec![format!(
        "group {}: takes mail, but none of its mounts holds a queue ({}): mail that was accepted and not delivered would stay \
         behind in the container of a host that dies",
        group.name,
        QUEUES.join(", ")
    )]
}

fn host_name(group: &Group) -> Option<String> {
    let of = |service: &Service| {
        let named = service.environment.get("MAIL_HOSTNAME").or(service.hostname.as_ref());
        named
            .filter(|name| name.contains('.'))
            .map(|name| name.to_ascii_lowercase())
    };
    group.services.iter().find_map(of)
}

fn domain(group: &Group, name: &str) -> String {
    let stated = group
        .services
        .iter()
        .find_map(|service| service.environment.get("MAIL_DOMAIN"));
    let above = || name.split_once('.').map_or(name, |(_, above)| above).to_owned();
    stated.map_or_else(above, |domain| domain.to_ascii_lowercase())
}

async fn ask(group: &Group, name: &str, domain: &str) -> Result<Known, String> {
    let resolver = Names::of_this_host()?;
    let mut known = Known {
        addresses: resolver.addresses(name).await?,
        mail_hosts: resolver.mail_hosts(domain).await?,
        names: Vec::new(),
        proofs: proofs(group, domain, &resolver).await?,
    };
    for vip in &group.vips {
        known.names.push((vip.address, resolver.names(vip.address).await?));
    }
    Ok(known)
}

async fn proofs(group: &Group, domain: &str, resolver: &Names) -> Result<Proofs, String> {
    let of = |mut texts: Vec<String>, mark: &str| {
        texts.retain(|text| text.to_ascii_lowercase().starts_with(mark));
        texts
    };
    let dkim = match selector(group) {
        None => None,
        Some(selector) => {
            let key = format!("{selector}._domainkey.{domain}");
            let texts = resolver.texts(&key).await?;
            Some((key, texts))
        }
    };
    let mut dmarc = Vec::new();
    for name in policies_of(domain) {
        dmarc = of(resolver.texts(&name).await?, "v=dmarc1");
        if !dmarc.is_empty() {
            break;
        }
    }
    Ok(Proofs {
        spf: of(resolver.texts(domain).await?, "v=spf1"),
        dmarc,
        dkim,
    })
}

/// Where the policy of a domain may stand: its own, and that of a domain above it (RFC 7489, 6.6.3). No top level has one.
fn policies_of(domain: &str) -> Vec<String> {
    let mut rest = domain;
    let mut names = vec![format!("_dmarc.{domain}")];
    while let Some((_, above)) = rest.split_once('.').filter(|(_, above)| above.contains('.')) {
        names.push(format!("_dmarc.{above}"));
        rest = above;
    }
    names.truncate(POLICIES_MAX);
    names
}

fn selector(group: &Group) -> Option<&String> {
    let mut services = group.services.iter();
    let stated = services.find_map(|service| service.environment.get("MAIL_DKIM_SELECTOR"));
    stated.filter(|selector| !selector.is_empty())
}

/// What the proofs lack. Whether an SPF record names the virtual IP is not asked: it may do so through other names.
fn judge_proofs(domain: &str, proofs: &Proofs) -> Vec<String> {
    let mut warnings = Vec::new();
    match proofs.spf.len() {
        0 => warnings.push(format!(
            "DNS: {domain} has no SPF record, and other mail servers may take its mail for forged: add the text \"v=spf1 mx ~all\""
        )),
        1 => {}
        count => warnings.push(format!(
            "DNS: {domain} has {count} SPF records, and other mail servers then heed none: keep one"
        )),
    }
    if let Some((key, texts)) = &proofs.dkim {
        // An empty key is one that was taken back.
        let given = |text: &String| {
            let fields = text.split(';').filter_map(|field| field.split_once('='));
            let mut keys = fields.filter(|(name, _)| name.trim() == "p");
            keys.any(|(_, key)| !key.trim().is_empty())
        };
        if !texts.iter().any(given) {
            warnings.push(format!(
                "DNS: {key} has no key, so nobody can check the signatures of {domain}: `sams-dkim` in the container prints the line"
            ));
        }
    }
    if proofs.dmarc.is_empty() {
        warnings.push(format!(
            "DNS: _dmarc.{domain} says nothing, and some mail servers refuse mail for it: add the text \"v=DMARC1; p=none\" to begin with"
        ));
    }
    warnings
}

fn judge(group: &Group, name: &str, domain: &str, known: &Known) -> Vec<String> {
    let mut warnings = Vec::new();
    for vip in &group.vips {
        if !known.addresses.contains(&vip.address) {
            let address = vip.address;
            warnings.push(format!(
                "DNS: {name} does not have the address {address} of group {}",
                group.name
            ));
        }
    }
    let foreign = known
        .addresses
        .iter()
        .filter(|address| group.vips.iter().all(|vip| vip.address != **address));
    for address in foreign {
        warnings.push(format!(
            "DNS: {name} also has the address {address}, which is no virtual IP of group {}: clients that take it do not follow a move",
            group.name
        ));
    }
    for (address, names) in &known.names {
        if !names.iter().any(|found| found == name) {
            let found = if names.is_empty() {
                "no name".to_owned()
            } else {
                names.join(", ")
            };
            warnings.push(format!(
                "DNS: {address} has {found}, not {name}: other mail servers may refuse mail from here"
            ));
        }
    }
    if !known.mail_hosts.is_empty() && !known.mail_hosts.iter().any(|host| host == name) {
        warnings.push(format!(
            "DNS: the mail of {domain} goes to {}, not to {name}",
            known.mail_hosts.join(", ")
        ));
    }
    // A name that is in no DNS is one of a trial.
    if !known.addresses.is_empty() {
        warnings.extend(judge_proofs(domain, &known.proofs));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::super::testing::project;
    use super::*;

    const MAIL: &str = ", vips: [192.0.2.10/24], probes: [{smtp: 25}]";

    fn group(own: &str, service: &str) -> Group {
        project("", own, service).groups.remove("mail").unwrap()
    }

    #[test]
    fn a_queue_that_stays_behind_is_said() {
        let warned = |volume: &str| queue(&group(MAIL, &format!("volumes: ['/srv/q:{volume}']"))).len();
        assert_eq!(warned("/var/spool/mqueue"), 0);
        assert_eq!(warned("/var/spool"), 0);
        assert_eq!(warned("/var/spool/postfix"), 0);
        assert_eq!(warned("/var/md/store"), 1);
        assert_eq!(warned("/var/spool/mqueue:ro"), 1);
        assert!(!takes_mail(&group(", probes: [{imap: 143}]", "hostname: a")));
        assert!(takes_mail(&group(MAIL, "hostname: a")));
    }

    #[test]
    fn the_name_is_the_services_own() {
        let named = |keys: &str| host_name(&group(MAIL, keys));
        assert_eq!(named("hostname: Mail.example.org").as_deref(), Some("mail.example.org"));
        assert_eq!(
            named("environment: {MAIL_HOSTNAME: mx.example.org}").as_deref(),
            Some("mx.example.org")
        );
        assert_eq!(named("hostname: host7"), None);
        assert_eq!(domain(&group(MAIL, "hostname: a"), "mail.example.org"), "example.org");
        let stated = group(MAIL, "environment: {MAIL_DOMAIN: Example.net}");
        assert_eq!(domain(&stated, "mail.example.org"), "example.net");
    }

    #[test]
    fn what_the_dns_says_must_fit_the_virtual_ip() {
        let group = group(MAIL, "hostname: mail.example.org");
        let vip: IpAddr = "192.0.2.10".parse().unwrap();
        let good = Known {
            addresses: vec![vip],
            names: vec![(vip, vec!["mail.example.org".to_owned()])],
            mail_hosts: vec!["backup.example.net".to_owned(), "mail.example.org".to_owned()],
            proofs: Proofs {
                spf: vec!["v=spf1 mx -all".to_owned()],
                dmarc: vec!["v=DMARC1; p=none".to_owned()],
                dkim: None,
            },
        };
        let judged = |known: &Known| judge(&group, "mail.example.org", "example.org", known);
        assert_eq!(judged(&good), Vec::<String>::new());
        let no_mx = Known {
            mail_hosts: Vec::new(),
            ..good.clone()
        };
        assert_eq!(judged(&no_mx), Vec::<String>::new(), "an address is enough");
        let wrong = Known {
            addresses: vec!["192.0.2.11".parse().unwrap()],
            names: vec![(vip, Vec::new())],
            mail_hosts: vec!["old.example.org".to_owned()],
            proofs: Proofs::default(),
        };
        let said = judged(&wrong);
        for part in [
            "does not have the address 192.0.2.10",
            "also has the address 192.0.2.11",
            "192.0.2.10 has no name, not mail.example.org",
            "goes to old.example.org",
        ] {
            assert!(
                said.iter().any(|line| line.contains(part)),
                "{part:?} is not in {said:?}"
            );
        }
    }

    #[test]
    fn what_other_servers_judge_mail_by_is_missed() {
        let good = Proofs {
            spf: vec!["v=spf1 mx -all".to_owned()],
            dmarc: vec!["v=DMARC1; p=reject".to_owned()],
            dkim: Some((
                "a._domainkey.example.org".to_owned(),
                vec!["v=DKIM1; k=rsa; p=AAAA".to_owned()],
            )),
        };
        let judged = |proofs: &Proofs| judge_proofs("example.org", proofs);
        assert_eq!(judged(&good), Vec::<String>::new());
        let taken_back = ("a._domainkey.example.org".to_owned(), vec!["v=DKIM1; p=".to_owned()]);
        let bad = Proofs {
            spf: Vec::new(),
            dmarc: Vec::new(),
            dkim: Some(taken_back),
        };
        let said = judged(&bad);
        assert_eq!(said.len(), 3, "{said:?}");
        assert!(
            said[0].contains("no SPF") && said[1].contains("a._domainkey.example.org has no key"),
            "{said:?}"
        );
        assert!(said[2].contains("_dmarc.example.org says nothing"), "{said:?}");
        let twice = Proofs {
            spf: vec!["v=spf1 mx -all".to_owned(), "v=spf1 a -all".to_owned()],
            ..good
        };
        assert!(judged(&twice)[0].contains("2 SPF records"));
        let signed = group(MAIL, "environment: {MAIL_DKIM_SELECTOR: a}");
        assert_eq!(selector(&signed).map(String::as_str), Some("a"));
        assert_eq!(policies_of("example.org"), ["_dmarc.example.org"]);
        let inherited = ["_dmarc.post.example.org", "_dmarc.example.org"];
        assert_eq!(policies_of("post.example.org"), inherited);
        assert_eq!(policies_of("localhost"), ["_dmarc.localhost"]);
        assert_eq!(selector(&group(MAIL, "environment: {MAIL_DKIM_SELECTOR: ''}")), None);
    }
}
