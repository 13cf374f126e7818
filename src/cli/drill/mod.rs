//! `leasehold drill GROUP`: a switchover and back, measured as a client.

mod plan;
mod report;
mod samples;
mod watch;

use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use tokio::task::JoinHandle;

use self::plan::{Plan, is_ready, plan};
use self::report::{Marks, Move, Report, millis, ports, whereabouts};
use self::watch::Watch;
use super::answer::Answer;
use super::client::{self, Daemon};
use super::fenced::confirmed;
use super::text::say;
use crate::NodeArgs;
use leasehold_api::status::Status;
use leasehold_api::words::Stage;
use leasehold_api::{Outcome, SwitchoverRequest};
use leasehold_base::clock;
use leasehold_sidecar::adapters::probe::{Inside, Prober};
use leasehold_sidecar::node_context::NodeContext;

/// Good answers before the first move.
const EDGE: Duration = Duration::from_millis(500);
/// How long the group serves on the standby.
const SETTLE: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// What its moves are for.
const WHY: &str = "a drill";

pub(super) async fn drill(
    daemon: &Daemon,
    facts: &NodeArgs,
    group: &str,
    to: Option<String>,
    yes: bool,
) -> Result<Answer> {
    let site = NodeContext::open(facts).await?;
    let look = async |to: Option<&str>| {
        let status = client::status(daemon).await?;
        plan(&status, &site.project, group, to).map_err(anyhow::Error::msg)
    };
    let mut agreed = look(to.as_deref()).await?;
    let prober = Prober::new(Inside::new(site.engine.clone()));
    let mut probes = watch::answering(&prober, &agreed).await.map_err(anyhow::Error::msg)?;
    if !yes {
        say(&agreed.question());
        if !confirmed(group, &mut std::io::stdin().lock())? {
            bail!("that is not {group}: nothing was done; say `leasehold drill {group}` again and type the name");
        }
        // Whoever was asked may have thought for an hour.
        let again = look(Some(&agreed.to)).await?;
        if (&again.from, again.epoch) != (&agreed.from, agreed.epoch) {
            bail!("{group} has moved meanwhile: nothing was done; say `leasehold drill {group}` again");
        }
        agreed = again;
        probes = watch::answering(&prober, &agreed).await.map_err(anyhow::Error::msg)?;
    }
    let report = Drill {
        daemon,
        watch: Watch::start(&prober, &agreed, probes),
        plan: agreed,
        marks: Marks::default(),
        there: None,
        back: None,
        call: None,
        wish: None,
    };
    let report = report.run().await;
    let text = report.render();
    let complaint = match report.ok {
        true => String::new(),
        false => format!("leasehold: {}", report.message),
    };
    let answer = Answer::document(&report, String::new())?;
    Ok(answer.code(u8::from(!report.ok)).instead(text, complaint))
}

/// A drill under way.
struct Drill<'a> {
    daemon: &'a Daemon,
    plan: Plan,
    watch: Watch,
    marks: Marks,
    there: Option<Move>,
    back: Option<Move>,
    /// The order under way: it goes on to its answer, whatever interrupts this.
    call: Option<JoinHandle<Result<Outcome>>>,
    /// The request that this drill has written last.
    wish: Option<i64>,
}

impl Drill<'_> {
    async fn run(mut self) -> Report {
        let ended = tokio::select! {
            ended = self.there_and_back() => ended,
            _ = tokio::signal::ctrl_c() => Err(anyhow!("interrupted: see `leasehold status`")),
        };
        let failure = match ended {
            Ok(()) => None,
            Err(error) => {
                self.withdraw().await;
                let now = client::status(self.daemon).await;
                let now = now.map_or_else(
                    |_| format!("where {} is now this host can't say: ask another one", self.plan.group),
                    |status| whereabouts(&self.plan, &status),
                );
                Some(format!("{error:#}; {now}"))
            }
        };
        let Plan { group, from, to, .. } = &self.plan;
        Report {
            ok: failure.is_none(),
            message: failure.unwrap_or_else(|| format!("{group} went from {from} to {to} and back")),
            ports: ports(&self.watch.seen(), self.marks),
            group: self.plan.group,
            address: self.plan.address.to_string(),
            there: self.there,
            back: self.back,
        }
    }

    /// Nothing of it shall move any more that nobody watches. What has begun goes on to its end.
    async fn withdraw(&mut self) {
        // An order without its answer may have been written all the same.
        if self.call.is_some() {
            let _ = self.answered().await;
        }
        if self.wish.is_some() {
            // A refusal changes nothing in what is said next.
            let _ = client::withdraw(self.daemon, &self.plan.group, self.wish).await;
        }
    }

    /// Orders a move, and waits for the answer.
    async fn order(&mut self, to: &str) -> Result<()> {
        let (daemon, group) = (self.daemon.clone(), &self.plan.group);
        let path = format!("/v1/groups/{group}/switchover");
        let body = SwitchoverRequest {
            to: Some(to.to_owned()),
            why: WHY.to_owned(),
        };
        self.wish = None;
        self.call = Some(tokio::spawn(async move { client::tell(&daemon, &path, &body).await }));
        self.answered().await
    }

    /// The answer to the order under way; where this is given up, the order is not.
    async fn answered(&mut self) -> Result<()> {
        let Some(call) = &mut self.call else { return Ok(()) };
        let outcome = call.await;
        self.call = None;
        let outcome = outcome??;
        self.wish = outcome.wish.map(|wish| wish.id);
        if outcome.ok {
            Ok(())
        } else {
            bail!("{}", outcome.message)
        }
    }

    async fn there_and_back(&mut self) -> Result<()> {
        let Plan { group, from, to, .. } = self.plan.clone();
        tokio::time::sleep(EDGE).await;
        say(&format!("{group}: from {from} to {to}"));
        self.there = Some(self.shift(&from, &to).await?);
        tokio::time::sleep(SETTLE).await;
        say(&format!("{group}: back from {to} to {from}"));
        self.marks.back_ordered = Some(self.watch.calm_moment().await);
        for port in ports(&self.watch.seen(), self.marks) {
            say(&port.on_the_way());
        }
        self.back = Some(self.shift(&to, &from).await?);
        self.marks.ended = Some(self.watch.calm_moment().await);
        Ok(())
    }

    /// One move, within its bound.
    async fn shift(&mut self, from: &str, to: &str) -> Result<Move> {
        let bound = self.plan.bound;
        let ended = tokio::time::timeout(bound, self.shift_unbounded(from, to)).await;
        let group = &self.plan.group;
        ended.unwrap_or_else(|_| {
            Err(anyhow!(
                "{group} was not up on {to} within {bound:?}: see `leasehold history {group}`"
            ))
        })
    }

    async fn shift_unbounded(&mut self, from: &str, to: &str) -> Result<Move> {
        let before = self.ready(from, to).await?;
        let ordered = clock::now().boot;
        self.order(to).await?;
        let epoch = self.taken(to, before).await?;
        // The record changes hands only when the other side has stopped: from now on whoever answers is the new one.
        let since = clock::now().boot;
        let run = self.active(epoch).await?;
        while !self.watch.all_back(since) {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(Move {
            from: from.to_owned(),
            to: to.to_owned(),
            epoch,
            run,
            ms: millis(clock::now().boot.saturating_sub(ordered)),
        })
    }

    /// Waits until the node may be asked to take over; the epoch until then.
    async fn ready(&self, from: &str, to: &str) -> Result<u64> {
        let group = &self.plan.group;
        loop {
            let status = self.status().await?;
            let line = status.groups.get(group).cloned().unwrap_or_default();
            if line.holder.as_deref() != Some(from) {
                bail!("{group} has left {from} by itself: see `leasehold history {group}`");
            }
            if status.nodes.get(to).is_some_and(|line| is_ready(line, group)) {
                return Ok(line.epoch);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Waits until the node has won the next epoch.
    async fn taken(&self, to: &str, before: u64) -> Result<u64> {
        let group = &self.plan.group;
        loop {
            let line = self.status().await?.groups.remove(group).unwrap_or_default();
            match line.holder {
                Some(holder) if line.epoch > before && holder == to => return Ok(line.epoch),
                Some(holder) if line.epoch > before => {
                    bail!("{holder} has taken {group}, not {to}: see `leasehold history {group}`")
                }
                Some(_) | None => tokio::time::sleep(LOOK_AGAIN).await,
            }
        }
    }

    /// Waits until the holder has written that it serves; the run, where it is here.
    async fn active(&self, epoch: u64) -> Result<Option<String>> {
        let group = &self.plan.group;
        loop {
            let line = self.status().await?.groups.remove(group).unwrap_or_default();
            if line.epoch != epoch || line.holder.is_none() {
                bail!("{group} was lost again before it served: see `leasehold history {group}`");
            }
            match line.held {
                Some(held) if held.stage == Stage::Active => return Ok(Some(held.run)),
                Some(_) => {}
                None => {
                    let history = client::history(self.daemon, group).await?;
                    let epochs = history.map(|history| history.epochs).unwrap_or_default();
                    let served = |of: &leasehold_api::history::Epoch| {
                        of.epoch == epoch && of.begun.as_ref().is_some_and(|begun| begun.served)
                    };
                    if epochs.iter().any(served) {
                        return Ok(None);
                    }
                }
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    async fn status(&self) -> Result<Status> {
        client::status(self.daemon).await
    }
}
