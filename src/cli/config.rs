//! `leasehold config`: what all nodes must agree on.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Subcommand;

use super::answer::Answer;
use super::client::{self, Daemon};
use super::page::{Page, Piece, Tone, View, plain};
use super::when;
use leasehold_api::exported::{Exported, StandingOrder};
use leasehold_api::words::NodeState;
use leasehold_api::{Configuration, OrderRequest, SetRequest, Setting};
use leasehold_base::small_file;

#[derive(Debug, Subcommand)]
pub(super) enum ConfigVerb {
    /// Show this host's compose file beside the cluster's values, and which node has confirmed them; exit 0 equal, 1 not
    ///
    /// The file is read as it is now, not as it was when the sidecar started.
    Diff,
    /// Make ttl and promises of this host's compose file the cluster's, while everything runs
    ///
    /// Edit the file on every host first, so that no sidecar says otherwise when it starts next. Each node takes the new ttl
    /// with its next beat; nothing stops. It is refused where it would be too short for some node, which is named. Promises
    /// are refused until every node that is known says that it knows them.
    Apply {
        /// For the log and the history
        #[arg(long, default_value = "", hide_default_value = true)]
        why: String,
    },
    /// Set values of a group on every node while it runs, in the place of what the files say, or take them back
    ///
    /// What can be set: failback (manual, auto, auto:10m), restarts.budget (0 to 100), restarts.window (10s to 24h), probes.interval
    /// (1s to 1h), probes.fall and probes.fall_timeout (1 to 1000), and priority.NODE (1 to 999, unique in the group). Every node
    /// goes by it with its next beat, and nothing restarts. The files stay as they are: `config diff` shows both. It is refused
    /// while a node takes part whose version knows nothing of it.
    Set {
        /// Name of the group
        group: String,
        /// Such as failback=auto:10m; without a value it is taken back
        #[arg(value_name = "NAME=VALUE", required_unless_present = "unset")]
        values: Vec<String>,
        /// What the files say counts again; `all` takes everything back
        #[arg(long, value_name = "NAME")]
        unset: Vec<String>,
        /// For the log, `status` and the history
        #[arg(long, default_value = "", hide_default_value = true)]
        why: String,
    },
    /// Print what the cluster itself has in etcd, as JSON: its configuration, every group's epoch and store id, standing orders
    ///
    /// No secrets are in it. Keep it beside the snapshots of etcd: it is all that `import` needs.
    Export,
    /// Put back what `export` printed, into an etcd that was lost for good and starts empty
    ///
    /// Refused where etcd knows a group already; nothing is overwritten. Each group comes back one epoch higher and free, so that
    /// the claims on the storages stay below; then every node starts over, which takes one ttl.
    Import {
        /// What `config export` printed
        file: PathBuf,
    },
}

pub(super) async fn run(daemon: &Daemon, verb: ConfigVerb) -> Result<Answer> {
    match verb {
        ConfigVerb::Diff => diff(daemon).await,
        ConfigVerb::Apply { why } => {
            let outcome = client::tell(daemon, "/v1/config/apply", &OrderRequest { why }).await?;
            Ok(client::conclude(&outcome))
        }
        ConfigVerb::Set {
            group,
            values,
            unset,
            why,
        } => {
            let wanted = wanted(&values, unset, why)?;
            let outcome = client::tell(daemon, &format!("/v1/groups/{group}/config"), &wanted).await?;
            Ok(client::conclude(&outcome))
        }
        ConfigVerb::Export => match client::ask::<Exported>(daemon, "/v1/config/export").await? {
            Ok(exported) => Answer::document(&exported, serde_json::to_string_pretty(&exported)?),
            Err(outcome) => Ok(client::conclude(&outcome)),
        },
        ConfigVerb::Import { file } => {
            let text = small_file::read_text(&file, small_file::MAX).with_context(|| {
                format!(
                    "reading {}: name what `leasehold config export` printed",
                    file.display()
                )
            })?;
            let exported: Exported = serde_json::from_str(&text)
                .with_context(|| format!("{} is not what `leasehold config export` prints", file.display()))?;
            Ok(client::conclude(
                &client::tell(daemon, "/v1/config/import", &exported).await?,
            ))
        }
    }
}

/// `NAME=VALUE` as `/v1` takes it; a name twice is a mistake.
fn wanted(values: &[String], unset: Vec<String>, why: String) -> Result<SetRequest> {
    let mut wanted = SetRequest {
        unset,
        why,
        ..SetRequest::default()
    };
    for text in values {
        let Some((name, value)) = text.split_once('=') else {
            bail!(
                "{text:?} names no value: name a value, as in `leasehold config set GROUP failback=manual`, or take it back with `--unset`"
            );
        };
        match value {
            "" => wanted.unset.push(name.to_owned()),
            value => {
                if wanted.set.insert(name.to_owned(), value.to_owned()).is_some() {
                    bail!("{name} stands there twice: name a value once, see `leasehold config diff`");
                }
            }
        }
    }
    Ok(wanted)
}

async fn diff(daemon: &Daemon) -> Result<Answer> {
    let configuration: Configuration = match client::ask(daemon, "/v1/config").await? {
        Ok(configuration) => configuration,
        Err(outcome) => return Ok(client::conclude(&outcome)),
    };
    let answer = Answer::page(&configuration, &render(&configuration, View::of_stdout()))?;
    Ok(answer.code(u8::from(!configuration.equal)))
}

fn render(configuration: &Configuration, view: View) -> Page {
    let words = |ms: Option<u64>| ms.map_or("-".to_owned(), |ms| format!("{:?}", Duration::from_millis(ms)));
    let row = |who: &str, ttl: &str, note: &str| {
        (
            vec![plain(who), plain(ttl), Piece::new(Tone::Warning, note)],
            Vec::new(),
        )
    };
    let cluster = words(Some(configuration.cluster_ttl_ms));
    let file = words(configuration.file_ttl_ms);
    let mut rows = vec![
        row("the cluster", &cluster, ""),
        row("the compose file here", &file, ""),
    ];
    for (name, node) in &configuration.nodes {
        let note = match node.ttl_ms {
            _ if node.state != NodeState::Alive => node.state.word(),
            Some(ttl) if ttl == configuration.cluster_ttl_ms => "",
            Some(_) | None => "not confirmed yet, or under a hold",
        };
        rows.push(row(&format!("the beats of {name}"), &words(node.ttl_ms), note));
    }
    let mut page = Page::new(view);
    page.table(&["WHO", "TTL", ""], &rows);
    if let Some(longest) = configuration.longest_ms {
        let longest = words(Some(longest));
        let until = format!("until every node beats with {cluster}, a holder that nobody sees is waited for {longest}");
        page.line(&[plain(until)], 2);
    }
    let promises = |ms: Option<u64>| ms.map_or("off".to_owned(), |ms| format!("{:?}", Duration::from_millis(ms)));
    if configuration.cluster_promises_ms.is_some() || configuration.file_promises_ms.is_some() {
        let (cluster, file) = (
            promises(configuration.cluster_promises_ms),
            promises(configuration.file_promises_ms),
        );
        page.line(
            &[plain(format!(
                "promises: the cluster {cluster}, the compose file here {file}"
            ))],
            2,
        );
    }
    let verdict = match &configuration.file_fault {
        Some(fault) => format!("the compose file here can't be used: {fault}; `leasehold check` has every fault"),
        None if configuration.file_promises_ms != configuration.cluster_promises_ms => {
            let (file, cluster) = (
                promises(configuration.file_promises_ms),
                promises(configuration.cluster_promises_ms),
            );
            format!(
                "the file says promises {file}, the cluster {cluster}: `leasehold config apply` makes it {file} everywhere"
            )
        }
        None if configuration.file_ttl_ms != Some(configuration.cluster_ttl_ms) => {
            format!("the file says {file}, the cluster {cluster}: `leasehold config apply` makes it {file} everywhere")
        }
        None if configuration.equal => "equal".to_owned(),
        None => "the file is the cluster's; not every node beats with it yet".to_owned(),
    };
    page.line(&[plain(verdict)], 2);
    settings(&mut page, configuration, view);
    page
}

/// Of each group what can be set at run time, beside the files.
fn settings(page: &mut Page, configuration: &Configuration, view: View) {
    for (group, settings) in &configuration.groups {
        page.gap();
        page.line(
            &[plain(format!(
                "{group}, while it runs (`leasehold config set {group} NAME=VALUE`):"
            ))],
            2,
        );
        let rows: Vec<_> = settings.iter().map(|(name, one)| setting(name, one, view)).collect();
        page.table(&["VALUE", "COUNTS", "FILE HERE", "FILES ELSEWHERE", "SET"], &rows);
    }
}

fn setting(name: &str, one: &Setting, view: View) -> (Vec<Piece>, Vec<Piece>) {
    let elsewhere = match one.elsewhere.as_deref() {
        None => plain("-"),
        Some([]) => plain("the same"),
        Some(nodes) => Piece::new(Tone::Warning, format!("other on {}", nodes.join(", "))),
    };
    let file = match (one.file.as_deref(), name.starts_with("priority.")) {
        (None, _) => "-".to_owned(),
        (Some(file), false) => file.to_owned(),
        // By its environment.
        (Some(own), true) => format!("{own} (its host)"),
    };
    let set = one.set.as_ref().map_or("no".to_owned(), |order| {
        let StandingOrder { by, at, why, until: _ } = order;
        let why = if why.is_empty() {
            String::new()
        } else {
            format!(" ({why})")
        };
        when::said(&format!("by {by} at {at}{why}"), view.now)
    });
    let tone = if one.set.is_some() { Tone::Good } else { Tone::Plain };
    let cells = vec![
        plain(name),
        Piece::new(tone, one.value.as_str()),
        plain(file),
        elsewhere,
        plain(set),
    ];
    (cells, Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;
    use leasehold_api::Confirmed;

    #[test]
    fn what_is_set_stands_beside_the_files() {
        let by = StandingOrder {
            by: "root on a".to_owned(),
            at: "noon".to_owned(),
            why: "new disk".to_owned(),
            until: None,
        };
        let one = |value: &str, file: &str, set, elsewhere: Option<&[&str]>| Setting {
            value: value.to_owned(),
            file: Some(file.to_owned()),
            set,
            elsewhere: elsewhere.map(|nodes| nodes.iter().map(|node| (*node).to_owned()).collect()),
        };
        let settings = [
            ("failback".to_owned(), one("auto:10m", "manual", Some(by), Some(&[]))),
            ("priority.b".to_owned(), one("20", "20", None, None)),
            ("restarts.budget".to_owned(), one("3", "3", None, Some(&["c"]))),
        ];
        let configuration = Configuration {
            groups: [("mail".to_owned(), settings.into())].into(),
            ..Configuration::default()
        };
        let text = render(&configuration, View { width: None, now: 0 }).text();
        let wanted = "mail, while it runs (`leasehold config set mail NAME=VALUE`):\n\
                      VALUE            COUNTS    FILE HERE      FILES ELSEWHERE  SET\n\
                      failback         auto:10m  manual         the same         by root on a at noon (new disk)\n\
                      priority.b       20        20 (its host)  -                no\n\
                      restarts.budget  3         3              other on c       no";
        assert!(text.ends_with(wanted), "{text}");
    }

    #[test]
    fn values_are_read_as_they_are_typed() {
        let read = |values: &[&str]| {
            let values: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
            wanted(&values, Vec::new(), String::new())
        };
        let both = read(&["failback=auto:10m", "restarts.budget="]).unwrap();
        assert_eq!(both.set["failback"], "auto:10m");
        assert_eq!(both.unset, ["restarts.budget"]);
        assert!(read(&["failback"]).is_err());
        assert!(read(&["a=1", "a=2"]).is_err());
    }

    #[test]
    fn a_difference_is_shown_with_what_ends_it() {
        let node = |state, ttl_ms| Confirmed { state, ttl_ms };
        let mut configuration = Configuration {
            node: "a".to_owned(),
            file_ttl_ms: Some(5000),
            cluster_ttl_ms: 10_000,
            nodes: [
                ("a".to_owned(), node(NodeState::Alive, Some(10_000))),
                ("b".to_owned(), node(NodeState::Silent, None)),
            ]
            .into(),
            ..Configuration::default()
        };
        let wanted = "WHO                    TTL\n\
                      the cluster            10s\n\
                      the compose file here  5s\n\
                      the beats of a         10s\n\
                      the beats of b         -    silent\n\
                      the file says 5s, the cluster 10s: `leasehold config apply` makes it 5s everywhere";
        let shown = |configuration: &Configuration| render(configuration, View { width: None, now: 0 }).text();
        assert_eq!(shown(&configuration), wanted);
        configuration.cluster_ttl_ms = 5000;
        configuration.longest_ms = Some(10_000);
        let text = shown(&configuration);
        assert!(text.contains("10s  not confirmed yet"), "{text}");
        assert!(text.contains("until every node beats with 5s"), "{text}");
        assert!(text.ends_with("not every node beats with it yet"), "{text}");
    }
}
