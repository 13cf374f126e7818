//! Sets `compose/node` up as its comments say: the commands are taken from the comments, so what an administrator reads is
//! what was tried. What a person decides in between (an editor, a list of hosts, where the storage lies) is decided here.

use std::fs;
use std::path::Path;

use crate::cluster::NAMES;
use crate::host::{Form, Host, STORAGE, WATCHED, image, package, programs};
use crate::lab::{NET4, VIP4};
use crate::scenarios::TTL;
use crate::shell::sh;

const NODE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/compose/node");
const COMPOSE: &str = include_str!("../../compose/node/compose.yaml");
const UNIT: &str = include_str!("../../compose/node/leasehold.service");
/// Before the package's own unit come the comments that are put in front of it.
const PACKAGED: &str = include_str!("../../docker/deb/unit");
/// Where the certificates of all hosts are handed on, on the shared storage.
const CERTIFICATES: &str = "/srv/storage/certificates.d";
/// The command of both comments that is typed once for the whole cluster.
const INIT: &str = "leasehold init mail";
/// The command of both comments after which all hosts are waited for.
const ETCD: &str = "docker compose up -d etcd";
/// The first command in the copied directory.
const COPIED: &str = "cp .env.example .env && nano .env";

/// The commands of a comment, without what is said beside them.
fn commands(text: &str) -> Vec<&str> {
    let comment = text.lines().take_while(|line| line.starts_with('#'));
    let lines = comment.filter_map(|line| line.strip_prefix("#   "));
    lines
        .map(|line| line.split("   ").next().unwrap_or(line).trim())
        .collect()
}

impl Host {
    /// Up to the host's etcd; the comments go on when all have it.
    pub(crate) fn follow_comments(&self) {
        self.copy_directory();
        let lines = self.commands();
        let until = lines.iter().position(|line| *line == ETCD).expect("etcd's start");
        self.type_lines(&lines[..=until]);
    }

    /// The check and the sidecar's start, as they are typed.
    pub(crate) fn rest_of_comments(&self) -> Vec<String> {
        let lines = self.commands();
        let from = lines.iter().position(|line| *line == ETCD).expect("etcd's start");
        let rest: Vec<&str> = lines[from + 1..]
            .iter()
            .copied()
            .filter(|line| !line.contains(INIT))
            .collect();
        assert!(
            rest.len() == 2 && rest[0].contains("leasehold check"),
            "no check before the start: {rest:?}"
        );
        rest.iter().map(|line| format!("cd /srv/mail && {line}")).collect()
    }

    /// `leasehold init mail`, once for the whole cluster.
    pub(crate) fn init_command(&self) -> String {
        let found = self.commands().into_iter().find(|line| line.contains(INIT));
        format!(
            "cd /srv/mail && {}",
            found.expect("the command that prepares the storage")
        )
    }

    /// In the order of the comments: both forms begin with the directory, then either goes its own way.
    fn commands(&self) -> Vec<&'static str> {
        let of_directory = commands(COMPOSE);
        match self.form {
            // The package brings the directory.
            Form::Unit if self.is_packaged() => commands(PACKAGED),
            Form::Unit => {
                let common = of_directory.into_iter().take_while(|line| *line != ETCD);
                common.chain(commands(UNIT)).collect()
            }
            Form::Container => of_directory,
        }
    }

    /// Each in the directory in which the line before has left its reader.
    fn type_lines(&self, lines: &[&str]) {
        let mut place = self.place();
        for line in lines {
            self.inside(&format!("cd {place} && {}", self.decided(line)));
            if line.contains("&& cd /srv/mail") {
                place = "/srv/mail";
            }
        }
    }

    /// "Copy this directory to every such host": where it is unpacked with the programs, or where it stays. Or the package,
    /// which has both.
    fn copy_directory(&self) {
        let place = self.place();
        self.inside(&format!("mkdir -p {place}"));
        if self.is_packaged() {
            let package = package();
            fs::copy(&package, self.disk().join("upper/root/leasehold.deb")).expect("the package");
            self.inside("dpkg -i /root/leasehold.deb");
            return;
        }
        let packed = self.disk().join("node.tar");
        sh(&format!("tar -c -f {} -C {NODE} .", packed.display()));
        self.unpack(&packed, place);
        if self.form == Form::Unit {
            sh(&format!(
                "tar -c -f {} -C {} leasehold leasehold-tether",
                packed.display(),
                programs().display()
            ));
            self.unpack(&packed, place);
        }
        let _ = fs::remove_file(&packed);
    }

    fn unpack(&self, archive: &Path, place: &str) {
        let file = fs::File::open(archive).expect("an archive");
        let output = self
            .command(&["tar", "-x", "--no-same-owner", "-C", place])
            .stdin(file)
            .output();
        assert!(output.expect("tar").status.success(), "{}: tar", self.name);
    }

    fn place(&self) -> &'static str {
        match self.form {
            Form::Unit => "/root/node",
            Form::Container => "/srv/mail",
        }
    }

    /// A line of the comments, with what its reader puts into it.
    fn decided(&self, line: &str) -> String {
        match line {
            COPIED => format!("cp .env.example .env && {}", self.edit()),
            "./certificates ..." => self.certificates(),
            "./volumes" => volumes(),
            _ => line.to_owned(),
        }
    }

    /// What is written in the editor.
    fn edit(&self) -> String {
        let mut values = vec![
            ("NODE".to_owned(), self.name.to_owned()),
            ("ADDRESS".to_owned(), self.address()),
            ("PRIORITY".to_owned(), (u32::from(self.number) * 10).to_string()),
            ("VIP".to_owned(), format!("{VIP4}/24")),
            ("TTL".to_owned(), format!("{}s", TTL.as_secs())),
            ("LEASEHOLD_IMAGE".to_owned(), image("leasehold")),
            ("ETCD_IMAGE".to_owned(), image("etcd")),
            ("SAMS_IMAGE".to_owned(), WATCHED.to_owned()),
        ];
        for (number, name) in (1..).zip(NAMES) {
            values.push((format!("MEMBER_{number}_NAME"), name.to_owned()));
            values.push((format!("MEMBER_{number}_ADDRESS"), format!("{NET4}.{number}")));
        }
        let edits: Vec<String> = values
            .iter()
            .map(|(key, value)| format!("-e 's|^{key}=.*|{key}={value}|'"))
            .collect();
        format!("sed -i {} .env", edits.join(" "))
    }

    /// Once, on one machine; each host gets its own `tls/`.
    fn certificates(&self) -> String {
        let hosts: Vec<String> = (1..)
            .zip(NAMES)
            .map(|(number, name)| format!("{name}={NET4}.{number}"))
            .collect();
        format!(
            "if [ ! -d {CERTIFICATES} ]; then ./certificates {} && cp -a certificates.d {CERTIFICATES}; fi; \
             cp -r {CERTIFICATES}/{} tls",
            hosts.join(" "),
            self.name
        )
    }
}

/// "Another kind of storage: make five volumes of these names your own way."
fn volumes() -> String {
    let made = STORAGE.map(|name| {
        format!(
            "docker volume create --driver local --opt type=none --opt o=bind --opt device=/srv/storage/{name} {name}"
        )
    });
    made.join(" && ")
}
