//! The client of a drill: asks every port at once, again and again, and writes down what came.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::plan::Plan;
use super::samples::{Sample, is_back, outage};
use leasehold_base::clock;
use leasehold_compose::model::Probe;
use leasehold_sidecar::adapters::probe::{Prober, Target};

/// From one question to the next.
pub(super) const PACE: Duration = Duration::from_millis(50);
/// Questions to one port that may be open: while nobody answers, the next one is asked all the same, so that the first
/// answer is not missed.
const OPEN_MAX: usize = 10;
/// The patience of a question; a server that is slow by nature gets more.
const PATIENCE: Duration = Duration::from_millis(500);

/// How often a calm moment is looked for.
const CALM_TRIES: usize = 10;

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
        mounts: Vec::new(),
        place: 0,
    }
}

/// Asks until it is dropped.
pub(super) struct Watch {
    ports: Vec<(String, Arc<Mutex<Vec<Sample>>>)>,
    patience: Duration,
    _tasks: JoinSet<()>,
}

impl Watch {
    pub(super) fn start(prober: &Prober, plan: &Plan, probes: Vec<Probe>) -> Self {
        let (mut ports, mut tasks) = (Vec::new(), JoinSet::new());
        let patience = probes
            .iter()
            .map(|probe| probe.cadence.timeout)
            .max()
            .unwrap_or(PATIENCE);
        for probe in probes {
            let samples: Arc<Mutex<Vec<Sample>>> = Arc::default();
            ports.push((probe.check.name(), Arc::clone(&samples)));
            tasks.spawn(ask(prober.clone(), probe, target(plan), samples));
        }
        Self {
            ports,
            patience,
            _tasks: tasks,
        }
    }

    /// A moment, a little while ago, at which each port had answered what it was asked last. A single slow answer is no part of a
    /// move, and must not look as if the port had not come back. Now, if there is none for long.
    pub(super) async fn calm_moment(&self) -> Duration {
        for _ in 0..CALM_TRIES {
            let moment = clock::now().boot;
            // Until then, what was asked before has its answer, or has none.
            tokio::time::sleep(self.patience).await;
            if self.is_calm(moment) {
                return moment;
            }
        }
        clock::now().boot
    }

    fn is_calm(&self, moment: Duration) -> bool {
        let mut ports = self.ports.iter();
        ports.all(|(_, samples)| outage(&lock(samples), Duration::ZERO, moment).is_some())
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

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::net::TcpListener;

    use super::super::samples::outage;
    use super::*;
    use leasehold_compose::model::{Cadence, Check};
    use leasehold_sidecar::adapters::engine::Engine;
    use leasehold_sidecar::adapters::probe::Inside;

    const LIMIT: Duration = Duration::from_secs(20);

    fn plan(port: u16) -> Plan {
        let cadence = Cadence {
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(3),
            rise: 1,
            fall: 3,
            fall_timeout: 6,
        };
        Plan {
            group: "mail".to_owned(),
            from: "a".to_owned(),
            to: "b".to_owned(),
            epoch: 1,
            address: Ipv4Addr::LOCALHOST.into(),
            probes: vec![Probe {
                check: Check::Tcp { port },
                cadence,
            }],
            bound: LIMIT,
        }
    }

    async fn until(condition: impl Fn() -> bool) {
        let waited = tokio::time::timeout(LIMIT, async {
            while !condition() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        waited.await.unwrap();
    }

    #[tokio::test]
    async fn a_port_that_goes_and_comes_back_is_seen_to_do_so() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let prober = Prober::new(Inside::new(Engine::connect("/nowhere".as_ref())));
        let plan = plan(port);
        let probes = answering(&prober, &plan).await.unwrap();
        assert_eq!(probes[0].cadence.timeout, PATIENCE);
        let watch = Watch::start(&prober, &plan, probes);
        let began = clock::now().boot;
        until(|| watch.all_back(began)).await;

        drop(listener);
        let gone = clock::now().boot;
        let failures = || watch.seen()[0].1.iter().filter(|sample| !sample.good).count();
        until(|| failures() >= 3).await;
        assert!(!watch.all_back(gone));
        let refused = answering(&prober, &plan).await.expect_err("nobody listens");
        assert!(
            refused.contains("mail can't be reached") && refused.contains("leasehold why mail"),
            "{refused}"
        );

        assert!(!watch.is_calm(clock::now().boot));
        let _again = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        let back = clock::now().boot;
        until(|| watch.all_back(back)).await;
        let ended = watch.calm_moment().await;
        assert!(watch.is_calm(ended) && ended >= back);
        let seen = watch.seen();
        let outage = outage(&seen[0].1, Duration::ZERO, ended).expect("it is back");
        assert!(outage > PACE && outage <= ended - began, "{outage:?}");
    }
}
