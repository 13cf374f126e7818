//! `leasehold fenced` and `accept`: an operator's word that nothing but eyes can check, asked for twice.

use std::io::{BufRead, Write};

use anyhow::{Result, bail};

use super::answer::Answer;
use super::client::{Daemon, conclude, status, tell, user};
use super::text::say;
use leasehold_api::status::Status;
use leasehold_api::words::MemberState;
use leasehold_api::{AcceptRequest, FencedRequest};

pub(super) async fn fenced(daemon: &Daemon, node: Option<String>, group: Option<String>, yes: bool) -> Result<Answer> {
    let status = status(daemon).await?;
    let (path, holder) = match (node, group) {
        (Some(node), _) => (format!("/v1/nodes/{node}/fenced"), Some(node)),
        (None, Some(group)) => {
            let holder = status.groups.get(&group).and_then(|line| line.holder.clone());
            (format!("/v1/groups/{group}/fenced"), holder)
        }
        (None, None) => bail!("name the node, or --group GROUP: see `leasehold fenced --help`"),
    };
    // Without a holder there is nothing to confirm: the daemon says why there is nothing to free.
    if let Some(node) = holder.filter(|_| !yes) {
        say(&question(&status, &node));
        if !confirmed(&node, &mut std::io::stdin().lock())? {
            bail!("that is not {node}: nothing was done; say `leasehold fenced` again and type the name");
        }
    }
    let by = who(|name| std::env::var(name).ok());
    Ok(conclude(&tell(daemon, &path, &FencedRequest { by }).await?))
}

/// Where nothing is strange there is nothing to confirm: the daemon refuses, and says so.
pub(super) async fn accept(daemon: &Daemon, force: bool, epoch: Option<u64>, yes: bool) -> Result<Answer> {
    let status = status(daemon).await?;
    if !yes && (force || status.member == MemberState::Frozen) {
        let cluster = &status.cluster;
        say(&format!(
            "This etcd becomes the true one of cluster {cluster}: every node starts over. If the etcd of before still lives \
             anywhere, two hosts may serve.\nMake sure that it is gone for good. Then type the cluster's name:"
        ));
        if !confirmed(cluster, &mut std::io::stdin().lock())? {
            bail!("that is not {cluster}: nothing was done; say `leasehold accept` again and type the name");
        }
    }
    let body = AcceptRequest { force, epoch };
    Ok(conclude(&tell(daemon, "/v1/accept", &body).await?))
}

fn question(status: &Status, node: &str) -> String {
    let held = status
        .groups
        .iter()
        .filter(|(_, line)| line.holder.as_deref() == Some(node));
    let held: Vec<&str> = held.map(|(name, _)| name.as_str()).collect();
    let held = if held.is_empty() {
        "nothing".to_owned()
    } else {
        held.join(", ")
    };
    let state = status.nodes.get(node).map_or("unknown here", |line| line.state.word());
    format!(
        "{node} is {state} and holds {held}, which another node may start at once. If {node} can still write to the storage, \
         the data will be damaged.\nMake sure that it is powered off, or cut from the storage. Then type its name:"
    )
}

/// Whether the name itself was typed.
pub(super) fn confirmed(name: &str, input: &mut impl BufRead) -> Result<bool> {
    std::io::stderr().flush()?;
    let mut line = String::new();
    input.read_line(&mut line)?;
    Ok(line.trim() == name)
}

fn who(variable: impl Fn(&str) -> Option<String>) -> String {
    user(variable).unwrap_or_else(|| "an operator".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use tokio::sync::watch;

    use super::super::Arguments;
    use super::*;
    use leasehold_api::status::{GroupLine, NodeLine};
    use leasehold_api::words::NodeState;
    use leasehold_base::clock;
    use leasehold_core::event::Request;
    use leasehold_core::requests::fenced::Fenced;
    use leasehold_sidecar::adapters::http::{self, Snapshot};

    #[test]
    fn only_the_name_itself_confirms() {
        for (typed, good) in [
            ("a\n", true),
            ("a", true),
            (" a \n", true),
            ("\n", false),
            ("", false),
            ("b\n", false),
            ("yes\n", false),
        ] {
            assert_eq!(confirmed("a", &mut typed.as_bytes()).unwrap(), good, "{typed:?}");
        }
    }

    #[test]
    fn the_question_names_what_is_at_stake() {
        let line = GroupLine {
            holder: Some("a".into()),
            ..GroupLine::default()
        };
        let node = NodeLine {
            state: NodeState::Silent,
            ..NodeLine::default()
        };
        let status = Status {
            groups: [("mail".to_owned(), line.clone()), ("web".to_owned(), line)].into(),
            nodes: [("a".to_owned(), node)].into(),
            ..Status::default()
        };
        let text = question(&status, "a");
        assert!(text.starts_with("a is silent and holds mail, web,"), "{text}");
        assert!(question(&status, "b").starts_with("b is unknown here and holds nothing"));
    }

    #[test]
    fn sudo_hides_nobody() {
        let from = |name: &str| match name {
            "SUDO_USER" => Some("kim".to_owned()),
            "USER" => Some("root".to_owned()),
            _ => None,
        };
        assert_eq!(who(from), "kim");
        assert_eq!(who(|_| None), "an operator");
    }

    fn arguments(words: &[&str], run_dir: &str) -> Result<Arguments, clap::Error> {
        let flags = ["--run-dir", run_dir];
        Arguments::try_parse_from(["leasehold", "fenced"].iter().chain(words).chain(&flags))
    }

    #[test]
    fn a_node_or_a_group_is_named_and_not_both() {
        assert!(arguments(&["a"], "/x").is_ok() && arguments(&["--group", "mail"], "/x").is_ok());
        assert!(arguments(&[], "/x").is_err() && arguments(&["a", "--group", "mail"], "/x").is_err());
    }

    #[tokio::test]
    async fn the_word_reaches_the_loop_with_who_and_when() {
        let run_dir = std::env::temp_dir().join(format!("leasehold-fenced-{}", std::process::id()));
        std::fs::create_dir_all(&run_dir).unwrap();
        let facts = arguments(&["a"], &run_dir.display().to_string()).unwrap().facts;
        let daemon = Daemon::at(facts.socket());
        let (at, status) = (clock::now(), leasehold_core::snapshot::status::Status::default());
        let (_publisher, turn) = watch::channel(Snapshot {
            at,
            status,
            recent: std::sync::Arc::default(),
        });
        let archive = std::sync::Arc::new(http::testing::Nowhere);
        let inbox = tokio::sync::mpsc::channel(8).0;
        let mut asked = http::serve(http::testing::nowhere(&facts.socket()), turn, archive, inbox);
        let answers = tokio::spawn(async move {
            let mut heard = Vec::new();
            while let Some(next) = asked.recv().await {
                let Request::Fenced { what, by } = next.request else {
                    continue;
                };
                heard.push(what);
                assert!(by.contains(" at 20"), "{by}");
                next.reply.send(Ok("freed".to_owned().into())).unwrap();
                if heard.len() == 2 {
                    break;
                }
            }
            heard
        });
        fenced(&daemon, Some("a".into()), None, true).await.unwrap();
        fenced(&daemon, None, Some("mail".into()), true).await.unwrap();
        let heard = answers.await.unwrap();
        std::fs::remove_dir_all(&run_dir).unwrap();
        assert_eq!(heard, [Fenced::Node("a".into()), Fenced::Group("mail".into())]);
    }
}
