//! Verbs that wait for what they ordered: the order is given, then followed until the service serves where it was sent, or until
//! it is known that it will not. What ends the waiting early ends nothing else.

mod progress;
mod told;

use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::progress::Printer;
use self::told::Cut;
use super::answer::Answer;
use super::client::{self, Daemon};
use super::text;
use leasehold_api::follow::{End, Follower, Goal, Look, Progress, is_known, told_of_all};
use leasehold_api::history::Epoch;
use leasehold_api::status::{GroupLine, Status};
use leasehold_api::words::MemberState;
use leasehold_api::{OrderRequest, Outcome, SwitchoverRequest};
use leasehold_base::clock;

/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// The history lies in etcd, and is read less often.
const READ_AGAIN: Duration = Duration::from_millis(300);
/// A look that takes longer is none.
const LOOK_TIMEOUT: Duration = Duration::from_secs(5);
/// So long the sidecar may be away, as when it is replaced, or be no member.
const BLIND_PATIENCE: Duration = Duration::from_secs(30);
const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);

/// How long a verb waits for what it ordered.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Patience {
    /// Return as soon as the order is taken
    #[arg(long)]
    no_wait: bool,
    /// Wait no longer than this, at most 24h: the order stands all the same
    #[arg(long, value_parser = bounded, value_name = "LENGTH", default_value = "5m", conflicts_with = "no_wait")]
    timeout: Duration,
}

fn bounded(text: &str) -> Result<Duration, String> {
    let length = text::duration(text)?;
    match length <= TIMEOUT_MAX {
        true => Ok(length),
        false => Err(format!("{text} is more than 24h: name a shorter time")),
    }
}

/// Gives an order to the sidecar of this host, and follows it.
#[derive(Debug)]
pub(super) struct Waiting<'a> {
    daemon: &'a Daemon,
    patience: Patience,
    json: bool,
}

impl<'a> Waiting<'a> {
    pub(super) fn new(daemon: &'a Daemon, patience: Patience, json: bool) -> Self {
        Self { daemon, patience, json }
    }

    pub(super) async fn switchover(&self, group: &str, to: Option<String>, why: String) -> Result<Answer> {
        self.moved(group, "switchover", &SwitchoverRequest { to, why }).await
    }

    /// A switchover to the node that is preferred, as the daemon says; nothing to do where that one holds the group.
    pub(super) async fn failback(&self, group: &str) -> Result<Answer> {
        let why = "failback".to_owned();
        self.moved(group, "failback", &OrderRequest { why }).await
    }

    async fn moved<T: Serialize + Sync>(&self, group: &str, verb: &str, body: &T) -> Result<Answer> {
        let followers = |before: &Status, outcome: &Outcome| {
            // Without a request it is where it shall be.
            let wished = outcome.wish.as_ref();
            let goal = wished.map(|wished| Goal::Moves {
                wish: wished.id,
                to: wished.to.clone(),
            });
            goal.map(|goal| follower(before, group, goal)).into_iter().collect()
        };
        self.order(&format!("/v1/groups/{group}/{verb}"), body, group, followers)
            .await
    }

    /// Until its holder has done it or said why not.
    pub(super) async fn apply(&self, group: &str, why: String) -> Result<Answer> {
        let followers = |before: &Status, _: &Outcome| {
            let line = line(before, group);
            let run = match &line.held {
                Some(held) => Some(held.run.clone()),
                None => line.serving.clone(),
            };
            let node = line.holder.clone().unwrap_or_default();
            vec![follower(before, group, Goal::Anew { node, run })]
        };
        let (path, body) = (format!("/v1/groups/{group}/apply"), OrderRequest { why });
        self.order(&path, &body, group, followers).await
    }

    pub(super) async fn stop(&self, group: &str, why: String) -> Result<Answer> {
        self.of_group(group, "stop", why, Goal::Stops).await
    }

    pub(super) async fn start(&self, group: &str) -> Result<Answer> {
        let unless_stopped = false;
        self.of_group(group, "start", String::new(), Goal::Serves { unless_stopped })
            .await
    }

    pub(super) async fn resume(&self, group: &str) -> Result<Answer> {
        let unless_stopped = true;
        self.of_group(group, "resume", String::new(), Goal::Serves { unless_stopped })
            .await
    }

    async fn of_group(&self, group: &str, verb: &str, why: String, goal: Goal) -> Result<Answer> {
        let followers = |before: &Status, _: &Outcome| vec![follower(before, group, goal.clone())];
        let (path, body) = (format!("/v1/groups/{group}/{verb}"), OrderRequest { why });
        self.order(&path, &body, group, followers).await
    }

    /// Until every group that the node holds serves elsewhere, or is known to stay. No name: this node.
    pub(super) async fn drain(&self, name: &str, why: String) -> Result<Answer> {
        let node = match name {
            "" => client::status(self.daemon).await?.node,
            name => name.to_owned(),
        };
        let followers = |before: &Status, _: &Outcome| {
            let held = before.groups.iter();
            let held = held.filter(|(_, line)| line.holder.as_deref() == Some(&*node));
            let goal = || Goal::Leaves { node: node.clone() };
            held.map(|(group, _)| follower(before, group, goal())).collect()
        };
        let (path, body) = (format!("/v1/nodes/{node}/drain"), OrderRequest { why });
        self.order(&path, &body, &node, followers).await
    }

    /// Gives the order, and follows it where it was taken and there is something to wait for.
    async fn order<T: Serialize + Sync>(
        &self,
        path: &str,
        body: &T,
        of: &str,
        followers: impl FnOnce(&Status, &Outcome) -> Vec<Follower>,
    ) -> Result<Answer> {
        if self.patience.no_wait {
            return Ok(client::conclude(&client::tell(self.daemon, path, body).await?));
        }
        let mut interrupted = signal(SignalKind::interrupt())
            .context("listening for Ctrl-C: say it again with `--no-wait`, and ask again with `leasehold status`")?;
        let before = client::status(self.daemon).await?;
        let outcome = tokio::select! {
            outcome = client::tell(self.daemon, path, body) => outcome?,
            _ = interrupted.recv() => return Ok(told::unanswered(of)),
        };
        let followers = followers(&before, &outcome);
        if !outcome.ok || followers.is_empty() {
            return Ok(client::conclude(&outcome));
        }
        let mut printer = Printer::new(self.json);
        printer.note(&outcome.message);
        let mut all: Vec<(Follower, Option<End>)> = followers.into_iter().map(|of| (of, None)).collect();
        let cut = self.until_ended(&mut all, &mut printer, interrupted).await;
        printer.close();
        Ok(match (cut, told_of_all(&all)) {
            (None, Some(told)) => told::answer(told),
            (None, None) => client::conclude(&outcome),
            (Some(cut), _) => told::cut_short(&all, &cut),
        })
    }

    /// None where all of them have ended.
    async fn until_ended(
        &self,
        all: &mut [(Follower, Option<End>)],
        printer: &mut Printer<std::io::Stderr>,
        mut interrupted: Signal,
    ) -> Option<Cut> {
        let timeout = self.patience.timeout;
        tokio::select! {
            cut = look_on(self.daemon, BLIND_PATIENCE, all, |line| printer.show(line)) => cut,
            _ = interrupted.recv() => Some(Cut::Interrupted),
            () = tokio::time::sleep(timeout) => Some(Cut::TimedOut(timeout)),
        }
    }
}

fn line(status: &Status, group: &str) -> GroupLine {
    status.groups.get(group).cloned().unwrap_or_default()
}

fn follower(before: &Status, group: &str, goal: Goal) -> Follower {
    Follower::new(group, goal, &line(before, group))
}

/// Looks until all have ended, or nothing was told for longer than `patience`.
async fn look_on(
    daemon: &Daemon,
    patience: Duration,
    all: &mut [(Follower, Option<End>)],
    mut show: impl FnMut(Progress),
) -> Option<Cut> {
    let began = clock::now().boot;
    let (mut told, mut read) = (began, None);
    loop {
        let seen = look(daemon).await;
        let now = clock::now().boot;
        let known = match seen {
            Ok(status) => {
                let may_read = read.is_none_or(|at| now.saturating_sub(at) >= READ_AGAIN);
                let mut all_known = true;
                for (of, end) in all.iter_mut().filter(|(_, end)| end.is_none()) {
                    let Some(line) = status.groups.get(of.group()).filter(|line| is_known(line)) else {
                        all_known = false;
                        continue;
                    };
                    let epochs = match (of.wants_history(line), may_read) {
                        (false, _) => Vec::new(),
                        (true, false) => continue,
                        (true, true) => {
                            read = Some(now);
                            epochs(daemon, of.group()).await
                        }
                    };
                    let (at, nodes) = (now.saturating_sub(began), &status.nodes);
                    let epochs = &epochs[..];
                    *end = of.see(&Look {
                        at,
                        line,
                        nodes,
                        epochs,
                    });
                    of.progress().into_iter().for_each(&mut show);
                }
                all_known
                    .then_some(())
                    .ok_or_else(|| format!("{} has not read it", status.node))
            }
            Err(why) => Err(why),
        };
        if all.iter().all(|(_, end)| end.is_some()) {
            return None;
        }
        match known {
            Ok(()) => told = now,
            Err(why) if now.saturating_sub(told) > patience => return Some(Cut::Blind(patience, why)),
            Err(_) => {}
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// What the sidecar of this host knows; or why that is nothing now.
async fn look(daemon: &Daemon) -> Result<Status, String> {
    let status = tokio::time::timeout(LOOK_TIMEOUT, client::status(daemon)).await;
    let status = status.map_err(|_| format!("no answer within {LOOK_TIMEOUT:?}"))?;
    let status = status.map_err(|error| format!("{error:#}"))?;
    match status.member {
        // It reads what all others write.
        MemberState::Joined | MemberState::Waiting => Ok(status),
        MemberState::Arriving | MemberState::Lost | MemberState::Frozen | MemberState::Left | MemberState::Other(_) => {
            Err(format!("{} is {}: see `leasehold status`", status.node, status.member))
        }
    }
}

async fn epochs(daemon: &Daemon, group: &str) -> Vec<Epoch> {
    let history = client::history(daemon, group).await.ok().and_then(Result::ok);
    history.map(|history| history.epochs).unwrap_or_default()
}

#[cfg(test)]
mod tests;
