//! The command line: what can be said to the daemon, and the daemon itself. Stdout is data, stderr is talk.

mod adopt;
mod answer;
mod check;
mod client;
mod completions;
mod config;
mod drill;
mod fenced;
mod group;
mod history;
mod init;
mod man;
mod nodes;
mod page;
mod plain;
mod status;
mod support;
mod text;
mod version;
mod waiting;
mod watch;
mod when;
mod why;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use self::answer::{Answer, USAGE};
use self::client::Daemon;
use self::waiting::{Patience, Waiting};
use leasehold_sidecar::node_args::NodeArgs;

/// Keeps one container alive on exactly one of several Docker hosts.
///
/// `leasehold run` is the sidecar. Most other verbs speak to the sidecar of this host, which knows the whole cluster: begin
/// with `leasehold status`, and `leasehold why GROUP` where something is not as you expect it.
#[derive(Debug, Parser)]
#[command(name = "leasehold", version, about, long_about, max_term_width = 100)]
struct Arguments {
    #[command(flatten)]
    facts: NodeArgs,
    /// Print one JSON object on stdout and nothing else, failures as well: `{"ok": false, "message": ...}`
    ///
    /// What is read is the same as `/v1` answers; an act is answered with `ok`, `message` and what there is to know of it. What
    /// the sidecar refuses has a `code`, which docs/endpoints.md explains. The exit code does not change.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the sidecar: take part in the election, run the containers where this node leads
    Run,
    /// Show the cluster as this node sees it; exit 0 normal, 1 warning, 2 failed, 3 unknown
    Status {
        /// Go on: show it anew whenever it changes, until Ctrl-C
        #[arg(long)]
        watch: bool,
    },
    /// List the nodes, or forget one that is gone for good
    #[command(subcommand)]
    Node(NodeVerb),
    /// List the groups; say on which nodes one may run; delete one, or take that back
    #[command(subcommand)]
    Group(group::GroupVerb),
    /// Show or change what all nodes must agree on
    #[command(subcommand)]
    Config(config::ConfigVerb),
    /// Read the compose file, print every fault at once and the times that follow from it; start nothing
    Check,
    /// Print the patch that protects a service of a compose file, or the one that takes it back; change nothing
    ///
    /// On the host where the service runs: `leasehold adopt compose.yaml | patch -p0`. It adds whole lines and keeps what must
    /// go in comments. Refused while containers of its own still use the service's storage. What `check` would refuse
    /// afterwards is told on stderr as left to do; the exit code is 0 all the same.
    Adopt(adopt::Wanted),
    /// Prepare a group's storage once: show each mount, write a store id into each and into etcd
    ///
    /// A group without it does not start. With storage that is not mounted, or that holds somebody else's data, it is refused.
    Init {
        /// Name of the group in the compose file
        group: String,
        /// Take over mounts that already hold data
        #[arg(long)]
        adopt: bool,
    },
    /// Move a group: it stops here or there, then the successor starts
    ///
    /// It may be asked for on any node; where the holder refuses, it says why. Connections end; what was being stored is stored,
    /// within the service's stop_grace_period. A request that the holder has not begun with can be withdrawn.
    Switchover {
        /// Name of the group in the compose file
        group: String,
        /// The node that takes over [default: the best ready standby]
        #[arg(long, value_name = "NODE")]
        to: Option<String>,
        /// For the log and the history
        #[arg(long, default_value = "", hide_default_value = true)]
        why: String,
        /// Take the last request back, if its holder has not begun; exit 0 if the group stays where it is
        #[arg(long, conflicts_with_all = ["to", "why", "no_wait", "timeout"])]
        withdraw: bool,
        #[command(flatten)]
        patience: Patience,
    },
    /// Move a group back to the node that is preferred for it, if that one is ready
    Failback {
        /// Name of the group in the compose file
        group: String,
        #[command(flatten)]
        patience: Patience,
    },
    /// Move a group to a standby and back, and measure both outages on each of its ports, as a client on this host sees them
    ///
    /// A fire drill: it shows that the standby can do it, and what a move costs. Refused unless the group is well and a standby
    /// is ready. Every port of its probes is asked at the first virtual IP, twenty times a second, without a login. Exit 0 when
    /// both moves ended in time (the stop_grace_period, the ttl and 10 s each); else it says where the group is now.
    Drill {
        /// Name of the group in the compose file
        group: String,
        /// The standby that has to show what it can [default: the best ready one]
        #[arg(long, value_name = "NODE")]
        to: Option<String>,
        /// Do not ask for the group's name again
        #[arg(long)]
        yes: bool,
    },
    /// Start a group again in place with what the compose file and the image say now, if it runs with anything else
    ///
    /// `leasehold status` shows what differs. It may be asked for on any node, and means the file on the group's holder; the
    /// outage is that of a restart. What is the same is left alone.
    Apply {
        /// Name of the group in the compose file
        group: String,
        /// For the log and the history
        #[arg(long, default_value = "", hide_default_value = true)]
        why: String,
        #[command(flatten)]
        patience: Patience,
    },
    /// Stop a group wherever it runs; nobody starts it until `start`
    ///
    /// The order outlives reboots of every host: `leasehold status` shows who gave it, when and why.
    Stop {
        /// Name of the group in the compose file
        group: String,
        /// For the log, `status` and whoever asks later
        #[arg(long, default_value = "", hide_default_value = true)]
        why: String,
        #[command(flatten)]
        patience: Patience,
    },
    /// Take a `stop` back: the first ready node starts the group
    Start {
        /// Name of the group in the compose file
        group: String,
        #[command(flatten)]
        patience: Patience,
    },
    /// Do nothing to a group automatically for a while: no start, no restart, no move. A lease that runs out still ends it
    Pause {
        /// Name of the group in the compose file
        group: String,
        /// It ends by itself after so long: 30m, 1h30m; at most 168h
        #[arg(long = "for", value_parser = text::duration, value_name = "LENGTH", default_value = "1h")]
        length: Duration,
        /// For the log, `status` and whoever asks later
        #[arg(long, default_value = "", hide_default_value = true)]
        why: String,
    },
    /// End a `pause`
    Resume {
        /// Name of the group in the compose file
        group: String,
        #[command(flatten)]
        patience: Patience,
    },
    /// Let a node give its groups to ready standbys and take none until `undrain`
    ///
    /// Before work on a host. What no standby is ready for stays where it is, and `status` says so.
    Drain {
        /// The node [default: this one]
        #[arg(value_name = "NODE", default_value = "", hide_default_value = true)]
        name: String,
        /// For the log, `status` and whoever asks later
        #[arg(long, default_value = "", hide_default_value = true)]
        why: String,
        #[command(flatten)]
        patience: Patience,
    },
    /// Take a `drain` back
    Undrain {
        /// The node [default: this one]
        #[arg(value_name = "NODE", default_value = "", hide_default_value = true)]
        name: String,
    },
    /// Say why a group is where it is: the sentence, the evidence, the last decisions of this node
    Why {
        /// Name of the group in the compose file
        group: String,
    },
    /// Tell every epoch of a group: from where, to where, why, and how long each phase took; and what operators asked for
    History {
        /// Name of the group in the compose file
        group: String,
    },
    /// Promise one long beat, so that this sidecar can be replaced without an outage: `hold 120s`
    ///
    /// Replace it at once: until the new one has adopted the containers, nobody takes over if this host dies.
    Hold {
        /// Such as 120s or 2m; at most 300s
        #[arg(value_parser = text::duration)]
        length: Duration,
    },
    /// Say that a node can't write any more, because it was powered off or cut from the storage: what it held is freed
    ///
    /// Another node may start the service at once. Said of a node that still writes, it damages the data.
    Fenced {
        /// The node, which was powered off or cut from all storage
        #[arg(required_unless_present = "group", conflicts_with = "group")]
        node: Option<String>,
        /// Only this group, whose storage was cut from its holder
        #[arg(long)]
        group: Option<String>,
        /// Do not ask for the node's name again
        #[arg(long)]
        yes: bool,
    },
    /// Trust a restored or replaced etcd as the true one, and lift every epoch above the claims on the storages; every
    /// node stops what it runs and starts over
    ///
    /// Said while the etcd of before still lives elsewhere, it makes two clusters, and only the claims on the storage stand
    /// between two copies.
    Accept {
        /// Although nothing is strange
        #[arg(long)]
        force: bool,
        /// Lift every epoch above this one, read from a claim that no living node has met
        #[arg(long)]
        epoch: Option<u64>,
        /// Do not ask for the cluster's name
        #[arg(long)]
        yes: bool,
    },
    /// Write one archive for a bug report: versions, status, history, decisions, etcd, the engine, the compose file, the log
    ///
    /// Without secrets, as far as a program can tell: values of environments, whatever is named like a secret, private keys and
    /// passwords in URLs are taken out. Look through it before you send it. What can't be had is in it as a sentence. From a
    /// container: `docker compose exec -T leasehold leasehold support --to - > support.tar`.
    Support(support::Wanted),
    /// Print the version of this program and of the sidecar of this host
    Version,
    /// Print what a shell needs to complete verbs and options
    ///
    /// Such as `leasehold completions bash > /etc/bash_completion.d/leasehold`.
    Completions {
        /// The shell that is to read it
        shell: clap_complete::Shell,
    },
    /// Write the manual into a directory: a page for each verb
    Man {
        /// It is made if it is not there
        directory: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
enum NodeVerb {
    /// Show every node: whether it beats, what it holds, what it is ready for
    List,
    /// Delete what a node that is gone for good left in etcd; refused while it beats or a record names it as holder
    Remove {
        /// The node's name, as `node list` shows it
        name: String,
        /// For the log and the history
        #[arg(long, default_value = "", hide_default_value = true)]
        why: String,
    },
}

/// The command line as it is parsed, explained and printed. What the environment holds is nobody's business: help and
/// manual are shown to others and kept.
#[must_use]
pub fn command() -> clap::Command {
    Arguments::command().mut_args(|argument| argument.hide_env_values(true))
}

/// Parses, runs, and turns the outcome into an exit code: 0 good, 1 failed, 2 usage, 3 unknown.
pub fn main() -> ExitCode {
    let parsed = command()
        .try_get_matches()
        .and_then(|matches| Arguments::from_arg_matches(&matches))
        .and_then(|arguments| match arguments.verb.why_no_json() {
            Some(why) if arguments.json => Err(command().error(ErrorKind::ArgumentConflict, why)),
            Some(_) | None => Ok(arguments),
        });
    let arguments = match parsed {
        Ok(arguments) => arguments,
        Err(error) if error.use_stderr() && std::env::args_os().any(|word| word == "--json") => {
            return Answer::bad(error.to_string().trim()).code(USAGE).write(true);
        }
        Err(error) => error.exit(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Arguments { facts, json, verb } = arguments;
    let answer = runtime
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(verb.carry_out(&facts, json)));
    let answer = answer.unwrap_or_else(|error| Answer::bad(format!("{error:#}")));
    answer.write(json)
}

impl Verb {
    /// Whose stdout is something else.
    fn why_no_json(&self) -> Option<&'static str> {
        if matches!(self, Self::Run) {
            Some("the sidecar's log is JSON with LEASEHOLD_LOG_FORMAT=json")
        } else if matches!(self, Self::Adopt(_)) {
            Some("`adopt` prints a patch")
        } else if matches!(self, Self::Completions { .. }) {
            Some("`completions` prints what a shell reads")
        } else if matches!(self, Self::Support(wanted) if wanted.is_for_stdout()) {
            Some("`support --to -` prints an archive")
        } else {
            None
        }
    }

    async fn carry_out(self, facts: &NodeArgs, json: bool) -> anyhow::Result<Answer> {
        let daemon = &Daemon::at(facts.socket());
        let waiting = |patience| Waiting::new(daemon, patience, json);
        match self {
            Self::Run => {
                log();
                leasehold_sidecar::run::run(facts)
                    .await
                    .map(|()| Answer::Written(ExitCode::SUCCESS))
            }
            Self::Status { watch: true } => watch::show(daemon, json).await.map(Answer::Written),
            Self::Status { watch: false } => status::show(daemon).await,
            Self::Node(NodeVerb::List) => nodes::list(daemon).await,
            Self::Node(NodeVerb::Remove { name, why }) => client::remove(daemon, &name, &why).await,
            Self::Group(verb) => group::run(daemon, facts, verb).await,
            Self::Config(verb) => config::run(daemon, verb).await,
            Self::Check => check::check(facts).await,
            Self::Adopt(wanted) => adopt::adopt(facts, &wanted).await.map(Answer::Written),
            Self::Init { group, adopt } => init::init(facts, &group, adopt).await,
            Self::Switchover {
                group, withdraw: true, ..
            } => Ok(client::conclude(&client::withdraw(daemon, &group, None).await?)),
            Self::Switchover {
                group,
                to,
                why,
                patience,
                ..
            } => waiting(patience).switchover(&group, to, why).await,
            Self::Failback { group, patience } => waiting(patience).failback(&group).await,
            Self::Drill { group, to, yes } => drill::drill(daemon, facts, &group, to, yes).await,
            Self::Apply { group, why, patience } => waiting(patience).apply(&group, why).await,
            Self::Stop { group, why, patience } => waiting(patience).stop(&group, why).await,
            Self::Start { group, patience } => waiting(patience).start(&group).await,
            Self::Pause { group, length, why } => client::pause(daemon, &group, length, why).await,
            Self::Resume { group, patience } => waiting(patience).resume(&group).await,
            Self::Drain { name, why, patience } => waiting(patience).drain(&name, why).await,
            Self::Undrain { name } => client::undrain(daemon, &name).await,
            Self::Why { group } => why::show(daemon, &group).await,
            Self::History { group } => history::show(daemon, facts, &group).await,
            Self::Hold { length } => client::hold(daemon, length).await,
            Self::Fenced { node, group, yes } => fenced::fenced(daemon, node, group, yes).await,
            Self::Accept { force, epoch, yes } => fenced::accept(daemon, force, epoch, yes).await,
            Self::Support(wanted) => support::write(daemon, facts, &wanted).await,
            Self::Version => Ok(version::show(daemon).await),
            Self::Completions { shell } => {
                completions::write(shell, &mut std::io::stdout().lock()).map(Answer::Written)
            }
            Self::Man { directory } => man::write(&directory),
        }
    }
}

/// INFO for decisions, unless `LEASEHOLD_LOG` says otherwise; `LEASEHOLD_LOG_FORMAT=json` for machines.
fn log() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("LEASEHOLD_LOG");
    let filter = filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let json = std::env::var("LEASEHOLD_LOG_FORMAT").is_ok_and(|format| format == "json");
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || plain::Log { json })
        .with_target(false);
    match json {
        true => builder.json().init(),
        false => builder.with_ansi(false).init(),
    }
}
