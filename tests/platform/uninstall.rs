//! The runbook "Uninstall" on all hosts, as the page has it, and what is left of Leasehold then.

use std::collections::BTreeMap;

use crate::cluster::{Cluster, Seen};
use crate::host::{Form, Host};
use crate::lab::VIP4;
use crate::row::Figure;
use crate::scenarios::RETURN_LIMIT;
use crate::shell::{now, until};

const PAGE: &str = include_str!("../../docs/runbooks.md");
const HEADING: &str = "## Uninstall";
/// What the page says to type where the sidecar is a unit: a line of the block, and what is typed then.
const UNIT: [(&str, &str); 3] = [
    ("docker compose exec leasehold leasehold", "leasehold"),
    (
        "docker compose stop leasehold",
        "systemctl disable --now leasehold && systemctl clean --what=all leasehold",
    ),
    (
        "docker volume rm leasehold-bin",
        "docker volume rm leasehold-bin && rm /etc/systemd/system/leasehold.service /usr/local/bin/leasehold*",
    ),
];
/// The same where the unit came with the package, in the place of the last.
const PACKAGED: (&str, &str) = (
    "rm /etc/systemd/system/leasehold.service /usr/local/bin/leasehold*",
    "apt purge leasehold",
);

/// The page's lines, by the hosts that they are typed on.
fn lines() -> BTreeMap<&'static str, Vec<&'static str>> {
    let section = PAGE.split_once(HEADING).expect("the runbook").1;
    let section = section.split("\n## ").next().unwrap_or(section);
    let mut found: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for block in section.split("```sh ").skip(1) {
        let (place, rest) = block.split_once('\n').expect("a block");
        let typed = rest.split("\n```").next().unwrap_or(rest);
        found.entry(place).or_default().extend(typed.lines());
    }
    assert!(
        section.contains(&format!("`{}`", PACKAGED.1)),
        "the page does not say it"
    );
    for (_, line) in UNIT {
        for part in line.split(" && ") {
            assert!(
                part == "leasehold"
                    || section.contains(&format!("`{part}`"))
                    || section.contains(&format!("\n{part}\n")),
                "the page does not say {part:?}"
            );
        }
    }
    found
}

/// A line as it is typed where the sidecar is a unit.
fn as_unit(line: &str) -> String {
    UNIT.iter()
        .fold(line.to_owned(), |line, (of_page, here)| line.replace(of_page, here))
}

impl Host {
    fn type_line(&self, line: &str) {
        let typed = match self.form {
            Form::Unit if self.is_packaged() => as_unit(line).replace(PACKAGED.0, &format!("{} -y", PACKAGED.1)),
            Form::Unit => as_unit(line),
            Form::Container => line.replace("compose exec ", "compose exec -T "),
        };
        self.inside(&format!("cd /srv/mail && {typed}"));
    }

    /// What the page does not name as left.
    fn is_clean(&self) {
        assert_eq!(self.inside("docker ps -aq"), "", "containers of {}", self.name);
        assert!(!self.carries(VIP4), "{} carries the address", self.name);
        // The bracket keeps the search itself out.
        assert_eq!(self.inside("pgrep -af '[l]easehold|[t]ether' || true"), "", "processes");
        let group = format!("/sys/fs/cgroup/{}", self.lab.host_name(self.name));
        assert_eq!(
            self.inside(&format!("find {group} -name 'docker-*.scope'")),
            "",
            "cgroups"
        );
        assert_eq!(
            self.inside("docker volume ls -q | grep leasehold-bin || true"),
            "",
            "the tether's volume"
        );
        let left = self.inside(
            "ls -d /var/lib/leasehold /etc/systemd/system/leasehold* /usr/local/bin/lease* \
                 /usr/bin/lease* /usr/lib/leasehold /etc/default/leasehold || true",
        );
        assert_eq!(left, "", "files");
        if self.form == Form::Unit {
            assert_eq!(self.inside("ls -d /run/leasehold || true"), "", "the runtime directory");
            let state = self.inside("systemctl daemon-reload; systemctl show -P LoadState leasehold");
            assert_eq!(state, "not-found");
        }
    }
}

pub(crate) fn uninstall(cluster: &mut Cluster) -> Figure {
    cluster.settle();
    let began = now();
    let typed = lines();
    for line in &typed["any"] {
        cluster.hosts[0].type_line(line);
    }
    until("nobody to hold the group", RETURN_LIMIT, || {
        let status = cluster.hosts[0].status()?;
        status.groups.get("mail")?.holder.is_none().then_some(())
    });
    for host in &cluster.hosts {
        typed["all"].iter().for_each(|line| host.type_line(line));
        host.is_clean();
    }
    let note = format!(
        "nothing left on three hosts after {:.1} s",
        (now() - began).as_secs_f64()
    );
    Figure::new(&Seen::default(), None, RETURN_LIMIT, &note)
}
