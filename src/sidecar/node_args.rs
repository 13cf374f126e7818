//! What is particular to this host: from flags, or from the sidecar's environment.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::adapters::http::TlsFiles;

/// Flags that every command shares.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "This node")]
pub struct NodeArgs {
    /// This node's name in the cluster; unique, and the same after a reboot
    #[arg(
        long,
        env = "LEASEHOLD_NODE",
        global = true,
        default_value = "",
        hide_default_value = true
    )]
    pub node: String,
    /// Interface that gets the virtual IPs
    #[arg(long, env = "LEASEHOLD_INTERFACE", global = true, default_value = "eth0")]
    pub interface: String,
    /// Preference as the next leader, 1 to 999; lower wins
    #[arg(long, env = "LEASEHOLD_PRIORITY", global = true, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=999))]
    pub priority: u32,
    /// Address and port of the health endpoints [default: the address used towards etcd, port 8008]
    #[arg(long, env = "LEASEHOLD_LISTEN", global = true)]
    pub listen: Option<String>,
    /// Address and UDP port at which other nodes ask this one, where promises are on [default: the address used towards etcd, port
    /// 8009]
    #[arg(long, env = "LEASEHOLD_PROMISES_LISTEN", global = true)]
    pub promises_listen: Option<String>,
    /// File of tokens for `/v1` over the network, a line each: ROLE NAME TOKEN, or ROLE NAME cert [default: nobody is let in]
    #[arg(long, env = "LEASEHOLD_TOKENS", global = true)]
    pub tokens: Option<PathBuf>,
    /// Names by which a proxy in front of the endpoints, or anybody, calls this node, with the port where it is not the usual
    /// one: acts under any other name than the host's own and the certificate's are refused
    #[arg(long, env = "LEASEHOLD_HOSTS", global = true, value_delimiter = ',')]
    pub hosts: Vec<String>,
    /// Certificate chain of the endpoints over the network, in PEM; a renewed one is taken by itself [default: plain HTTP]
    #[arg(long, env = "LEASEHOLD_TLS_CERT", global = true)]
    pub tls_cert: Option<PathBuf>,
    /// Its private key
    #[arg(long, env = "LEASEHOLD_TLS_KEY", global = true)]
    pub tls_key: Option<PathBuf>,
    /// Authorities whose client certificates may stand in for a token: `ROLE NAME cert` in the file of tokens
    #[arg(long, env = "LEASEHOLD_TLS_CLIENT_CA", global = true)]
    pub tls_client_ca: Option<PathBuf>,
    /// Boot-scoped directory (tmpfs): pages, sockets, state
    #[arg(long, env = "LEASEHOLD_RUN_DIR", global = true, default_value = "/run/leasehold")]
    pub run_dir: PathBuf,
    /// Lasting directory: which etcd is trusted
    #[arg(
        long,
        env = "LEASEHOLD_STATE_DIR",
        global = true,
        default_value = "/var/lib/leasehold"
    )]
    pub state_dir: PathBuf,
    /// Free space below which this node is no standby, in MiB, on the file system of the state directory, which is the
    /// engine's where that is a volume; 0: do not look
    #[arg(long, env = "LEASEHOLD_DISK_FLOOR", global = true, default_value_t = 64)]
    pub disk_floor: u64,
    /// Directory for the tether's binary, mounted into the protected containers
    #[arg(long, env = "LEASEHOLD_TETHER_DIR", global = true, default_value = "/leasehold")]
    pub tether_dir: PathBuf,
    /// Where `b` resets the host, for groups with `on_stop_failure: reboot`
    #[arg(
        long,
        env = "LEASEHOLD_SYSRQ_TRIGGER",
        global = true,
        default_value = "/proc/sysrq-trigger"
    )]
    pub sysrq_trigger: PathBuf,
    /// Where the host's cgroups are seen: the witness of a stop when a tether can't tell
    #[arg(long, env = "LEASEHOLD_CGROUP", global = true, default_value = "/sys/fs/cgroup")]
    pub cgroup_dir: PathBuf,
    /// Hardware watchdog that resets this host when a stop is not proved in time, such as /dev/watchdog [default: none]
    #[arg(long, env = "LEASEHOLD_WATCHDOG", global = true)]
    pub watchdog: Option<PathBuf>,
    /// The engine's socket
    #[arg(
        long,
        env = "LEASEHOLD_ENGINE",
        global = true,
        default_value = "/var/run/docker.sock"
    )]
    pub engine: PathBuf,
    /// Where the project directory is mounted in the sidecar's container
    #[arg(long, env = "LEASEHOLD_PROJECT", global = true, default_value = "/project")]
    pub project: PathBuf,
    /// Compose file, when the sidecar does not run in a container of the project; may be given several times
    #[arg(short, long = "file", global = true)]
    pub files: Vec<PathBuf>,
    /// Compose's project name, when the sidecar does not run in a container of the project
    #[arg(short, long, global = true, env = "COMPOSE_PROJECT_NAME")]
    pub project_name: Option<String>,
}

impl NodeArgs {
    /// The flags that say the same to this program once more.
    #[must_use]
    pub fn words(&self) -> Vec<OsString> {
        let Self {
            node,
            interface,
            priority,
            listen,
            promises_listen,
            tokens,
            hosts,
            tls_cert,
            tls_key,
            tls_client_ca,
            run_dir,
            state_dir,
            disk_floor,
            tether_dir,
            sysrq_trigger,
            cgroup_dir,
            watchdog,
            engine,
            project,
            files,
            project_name,
        } = self;
        let mut words: Vec<OsString> = Vec::new();
        let mut say = |flag: &str, value: &OsStr| words.extend([flag.into(), value.to_owned()]);
        let (priority, disk_floor) = (priority.to_string(), disk_floor.to_string());
        for (flag, value) in [
            ("--interface", interface),
            ("--priority", &priority),
            ("--disk-floor", &disk_floor),
        ] {
            say(flag, OsStr::new(value));
        }
        let paths = [
            ("--run-dir", run_dir),
            ("--state-dir", state_dir),
            ("--tether-dir", tether_dir),
            ("--sysrq-trigger", sysrq_trigger),
            ("--cgroup-dir", cgroup_dir),
            ("--engine", engine),
            ("--project", project),
        ];
        for (flag, path) in paths {
            say(flag, path.as_os_str());
        }
        let maybe = [
            ("--tokens", tokens.as_deref().map(Path::as_os_str)),
            ("--tls-cert", tls_cert.as_deref().map(Path::as_os_str)),
            ("--tls-key", tls_key.as_deref().map(Path::as_os_str)),
            ("--tls-client-ca", tls_client_ca.as_deref().map(Path::as_os_str)),
            ("--watchdog", watchdog.as_deref().map(Path::as_os_str)),
            ("--listen", listen.as_deref().map(OsStr::new)),
            ("--promises-listen", promises_listen.as_deref().map(OsStr::new)),
            ("--project-name", project_name.as_deref().map(OsStr::new)),
        ];
        for (flag, value) in maybe {
            value.into_iter().for_each(|value| say(flag, value));
        }
        if !node.is_empty() {
            say("--node", OsStr::new(node));
        }
        if !hosts.is_empty() {
            say("--hosts", OsStr::new(&hosts.join(",")));
        }
        for file in files {
            say("--file", file.as_os_str());
        }
        words
    }

    /// The local socket of the daemon.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.run_dir.join("leasehold.sock")
    }

    /// The files of the endpoints' certificate; none: plain HTTP.
    ///
    /// # Errors
    /// A part without the rest, with what to set.
    pub fn tls(&self) -> Result<Option<TlsFiles>, String> {
        let [certificate, key, client_ca] =
            [&self.tls_cert, &self.tls_key, &self.tls_client_ca].map(|path| path.as_deref());
        TlsFiles::new(certificate, key, client_ca)
    }

    /// The node's name: as given, else the host's.
    ///
    /// # Errors
    /// A name that could not be part of a key.
    pub fn name(&self) -> Result<String, String> {
        let name = match self.node.as_str() {
            "" => rustix::system::uname().nodename().to_string_lossy().into_owned(),
            given => given.to_owned(),
        };
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || !name.chars().all(fits) {
            return Err(format!(
                "LEASEHOLD_NODE={name:?} can't be a node's name: use letters, digits, `-`, `_` and `.`"
            ));
        }
        Ok(name)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Called {
        #[command(flatten)]
        facts: NodeArgs,
    }

    #[test]
    fn its_words_say_the_same_once_more() {
        let words = "leasehold --node a --interface lo --priority 7 --listen 127.0.0.1:1 --promises-listen 127.0.0.1:2 --tokens /t --hosts x,y:1 --tls-cert /c \
                     --tls-key /k --tls-client-ca /ca --run-dir /r --state-dir /s --disk-floor 3 --tether-dir /d \
                     --sysrq-trigger /q --cgroup-dir /g --watchdog /w --engine /e --project /p --file /f1 --file /f2 \
                     --project-name n";
        let called = |words: Vec<OsString>| Called::try_parse_from(words).unwrap().facts;
        for words in [words, "leasehold"] {
            let given = called(words.split_whitespace().map(OsString::from).collect());
            let again = ["leasehold".into()].into_iter().chain(given.words()).collect();
            assert_eq!(format!("{:?}", called(again)), format!("{given:?}"));
        }
    }
}
