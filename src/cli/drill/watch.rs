//! The client of a drill: asks every port at once, again and again, and writes down what came.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::plan::Plan;
use super::samples::{Sample, is_back};
use crate::adapters::probe::{Prober, Target};
use crate::clock;
use crate::compose::model::Probe;

/// From one question to the next.
pub(super) const PACE: Duration = Duration::from_millis(50);
/// Questions to one port that may be open: while nobody answers, the next one is asked all the same, so that the first
/// answer is not missed.
const OPEN_MAX: usize = 10;
/// The patience of a question; a server that is slow by nature gets more.
const PATIENCE: Duration = Duration::from_millis(500);

/// Asks every port once with the patience that the file says, and gives back the probes with that of the drill.
pub(super) async fn answering(prober: &Prober, plan: &Plan) -> Result<Vec<Probe>, String> {
    let mut probes = plan.probes.clone();
    for probe in &mut probes {
        let began = clock::now().boot;
        if let Err(failure) = prober.check(probe, &target(plan)).await {
            return Err(format!(
                "{} can't be reached from this host at {}: {}: mend that first, see `leasehold why {}`",
                plan.group, plan.address, failure.text, plan.group
            ));
        }
        let took = clock::now().boot.saturating_sub(began);
        probe.cadence.timeout = (took * 2).max(PATIENCE).min(probe.cadence.timeout);
    }
    Ok(probes)
}

fn target(plan: &Plan) -> Target {
    Target {
        address: plan.address,
        container: None,
        place: 0,
    }
}

/// Asks until it is dropped.
pub(super) struct Watch {
    ports: Vec<(String, Arc<Mutex<Vec<Sample>>>)>,
    _tasks: JoinSet<()>,
}

impl Watch {
    pub(super) fn start(prober: &Prober, plan: &Plan, probes: Vec<Probe>) -> Self {
        let (mut ports, mut tasks) = (Vec::new(), JoinSet::new());
        for probe in probes {
            let samples: Arc<Mutex<Vec<Sample>>> = Arc::default();
            ports.push((probe.check.name(), Arc::clone(&samples)));
            tasks.spawn(ask(prober.clone(), probe, target(plan), samples));
        }
        Self { ports, _tasks: tasks }
    }

    /// Whether every port has answered a question that was asked after `since`.
    pub(super) fn all_back(&self, since: Duration) -> bool {
        self.ports.iter().all(|(_, samples)| is_back(&lock(samples), since))
    }

    /// Each port, and all that was seen of it.
    pub(super) fn seen(&self) -> Vec<(String, Vec<Sample>)> {
        let copy = |(name, samples): &(String, Arc<Mutex<Vec<Sample>>>)| (name.clone(), lock(samples).clone());
        self.ports.iter().map(copy).collect()
    }
}

fn lock(samples: &Mutex<Vec<Sample>>) -> MutexGuard<'_, Vec<Sample>> {
    samples.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One port. The list grows by twenty samples a second, and every drill has an end.
async fn ask(prober: Prober, probe: Probe, target: Target, samples: Arc<Mutex<Vec<Sample>>>) {
    let mut ticks = tokio::time::interval(PACE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            _ = ticks.tick(), if open.len() < OPEN_MAX => {
                let (prober, probe, target) = (prober.clone(), probe.clone(), target.clone());
                open.spawn(async move {
                    let asked = clock::now().boot;
                    let good = prober.check(&probe, &target).await.is_ok();
                    Sample { asked, ended: clock::now().boot, good }
                });
            }
            Some(ended) = open.join_next() => lock(&samples).extend(ended.ok()),
        }
    }
}
