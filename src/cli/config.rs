//! `leasehold config`: what all nodes must agree on.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Subcommand;

use super::answer::Answer;
use super::client::{self, Daemon};
use super::page::{Page, Piece, Tone, View, plain};
use leasehold_api::exported::Exported;
use leasehold_api::words::NodeState;
use leasehold_api::{Configuration, OrderRequest};
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
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use leasehold_api::Confirmed;

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
