//! The adapter's loop: one task per command, and the only owner of clients and endpoint health.

use std::sync::Arc;

use etcd_client::Client;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, error};

use super::client::{Purpose, connect, limited};
use super::pool::Pool;
use super::{Settings, StoreCommand, StoreEvent, wire};
use leasehold_core::store::{RequestId, StoreError, Txn};

/// Commands under way at once. Each ends within one attempt, and the core has one transaction out at a time, so only
/// a fault fills this.
const IN_FLIGHT_MAX: usize = 8;

/// Works off the commands until their sender is gone, then waits for those under way.
pub(super) async fn run(
    settings: Arc<Settings>,
    mut commands: mpsc::Receiver<StoreCommand>,
    events: mpsc::Sender<StoreEvent>,
) {
    let count = settings.endpoints.len();
    let (preferred, preferred_seen) = watch::channel(0);
    let mut watching = JoinSet::new();
    if count > 0 {
        watching.spawn(super::watch::run(settings.clone(), preferred_seen, events.clone()));
    }
    let mut dispatcher = Dispatcher {
        settings,
        pool: Pool::new(count),
        client: None,
        under_way: JoinSet::new(),
        trials: JoinSet::new(),
        preferred,
        events,
    };
    loop {
        // Results first: a command that follows a failure must meet the new endpoint.
        tokio::select! { biased;
            Some(joined) = dispatcher.under_way.join_next() => dispatcher.finish(joined).await,
            Some(Ok((number, result))) = dispatcher.trials.join_next() => dispatcher.finish_trial(number, result).await,
            command = commands.recv() => match command {
                Some(command) => dispatcher.start(command).await,
                None => break,
            },
            () = until(dispatcher.pool.next_trial()) => dispatcher.try_failed(),
        }
    }
    while let Some(joined) = dispatcher.under_way.join_next().await {
        dispatcher.finish(joined).await;
    }
}

struct Dispatcher {
    settings: Arc<Settings>,
    pool: Pool,
    /// Of the preferred endpoint alone, so that no token or connection grows old unused.
    client: Option<Client>,
    under_way: JoinSet<Outcome>,
    /// Reads at endpoints in quarantine, so that the commands need not find out who is back.
    trials: JoinSet<(usize, Result<(), StoreError>)>,
    preferred: watch::Sender<usize>,
    events: mpsc::Sender<StoreEvent>,
}

/// A finished command.
struct Outcome {
    endpoint: usize,
    command: StoreCommand,
    result: Result<(Client, Option<StoreEvent>), StoreError>,
}

impl Dispatcher {
    async fn start(&mut self, command: StoreCommand) {
        if let StoreCommand::Attempt(attempt) = command {
            let settings = Settings::clone(&self.settings);
            self.settings = Arc::new(Settings { attempt, ..settings });
            return;
        }
        let number = self.pool.preferred();
        let full = self.under_way.len() >= IN_FLIGHT_MAX;
        let Some(url) = self.settings.endpoints.get(number).filter(|_| !full).cloned() else {
            let error = StoreError::Refused(format!("not sent: no endpoint, or {IN_FLIGHT_MAX} commands under way"));
            return self.report(failure(&command, error)).await;
        };
        let client = self.client.clone();
        let settings = self.settings.clone();
        self.under_way.spawn(async move {
            let work = carry_out(&settings, &url, client, &command);
            let result = limited(&settings, &url, work).await;
            Outcome {
                endpoint: number,
                command,
                result,
            }
        });
    }

    /// Sends a read to each endpoint whose quarantine is over.
    fn try_failed(&mut self) {
        for number in self.pool.due(Instant::now()) {
            let settings = self.settings.clone();
            self.trials.spawn(async move {
                let Some(url) = settings.endpoints.get(number) else {
                    return (number, Ok(()));
                };
                let read = StoreCommand::Read { id: RequestId(0) };
                let work = carry_out(&settings, url, None, &read);
                (number, limited(&settings, url, work).await.map(|_| ()))
            });
        }
    }

    async fn finish_trial(&mut self, number: usize, result: Result<(), StoreError>) {
        match result {
            Ok(()) if self.pool.answered(number) => self.report_health(number, None).await,
            Ok(()) | Err(StoreError::Refused(_)) => {}
            Err(StoreError::Unknown(error)) => debug!(number, error, "etcd endpoint is still away"),
        }
    }

    /// Notes the endpoint's health before the core hears of the result, since the core may answer at once.
    async fn finish(&mut self, joined: Result<Outcome, JoinError>) {
        let outcome = match joined {
            Ok(outcome) => outcome,
            Err(error) => return error!(code = "task_failed", %error, "a task of the etcd adapter failed"),
        };
        let number = outcome.endpoint;
        let before = self.pool.preferred();
        let (client, event, health) = match outcome.result {
            Ok((client, event)) => {
                let news = self.pool.answered(number);
                (Some(client), event, news.then_some(None))
            }
            Err(error) => {
                debug!(%number, ?error, "etcd command failed");
                let health = self.note_error(number, &error);
                (None, failure(&outcome.command, error), health)
            }
        };
        let preferred = self.pool.preferred();
        if number == preferred || preferred != before {
            self.client = client;
        }
        self.preferred
            .send_if_modified(|value| std::mem::replace(value, preferred) != preferred);
        self.report(event).await;
        if let Some(error) = health {
            self.report_health(number, error).await;
        }
    }

    /// What to say of the endpoint's health after an error: nothing if it is known already.
    fn note_error(&mut self, number: usize, error: &StoreError) -> Option<Option<String>> {
        match error {
            StoreError::Unknown(text) => {
                let news = self.pool.failed(number, Instant::now());
                news.then(|| Some(text.clone()))
            }
            // etcd, or our own files, said no: another endpoint would say the same. The new client logs in afresh,
            // which is all that an expired token needs.
            StoreError::Refused(_) => None,
        }
    }

    async fn report(&self, event: Option<StoreEvent>) {
        if let Some(event) = event
            && self.events.send(event).await.is_err()
        {
            debug!("nobody waits for the events of the etcd adapter any more");
        }
    }

    async fn report_health(&self, number: usize, error: Option<String>) {
        let event = self.settings.endpoints.get(number).map(|url| StoreEvent::Endpoint {
            url: url.clone(),
            healthy: error.is_none(),
            error,
        });
        self.report(event).await;
    }
}

/// Sends the command, once, over the given client or a new one.
async fn carry_out(
    settings: &Settings,
    url: &str,
    client: Option<Client>,
    command: &StoreCommand,
) -> Result<(Client, Option<StoreEvent>), StoreError> {
    let mut client = match client {
        Some(client) => client,
        None => connect(settings, url, Purpose::Calls).await?,
    };
    let event = match command {
        StoreCommand::Txn { id, txn } => Some(StoreEvent::Answer {
            id: *id,
            result: Ok(wire::txn(&mut client, &settings.keys, txn).await?),
        }),
        StoreCommand::Read { id } => Some(StoreEvent::Answer {
            id: *id,
            result: Ok(wire::txn(&mut client, &settings.keys, &Txn::read()).await?),
        }),
        StoreCommand::Grant { lease, ttl } => {
            let (_, granted) = wire::grant(&mut client, *lease, *ttl).await?;
            Some(StoreEvent::Granted {
                lease: *lease,
                result: Ok(granted),
            })
        }
        StoreCommand::KeepAlive { lease } => {
            wire::keep_alive(&mut client, *lease).await?;
            debug!(lease, "etcd lease renewed");
            None
        }
        StoreCommand::Revoke { lease } => {
            wire::revoke(&mut client, *lease).await?;
            debug!(lease, "etcd lease revoked");
            None
        }
        StoreCommand::Attempt(_) => None,
    };
    Ok((client, event))
}

/// The event that tells the core of a failed command, where it waits for one.
fn failure(command: &StoreCommand, error: StoreError) -> Option<StoreEvent> {
    match command {
        StoreCommand::Txn { id, .. } | StoreCommand::Read { id } => Some(StoreEvent::Answer {
            id: *id,
            result: Err(error),
        }),
        StoreCommand::Grant { lease, .. } => Some(StoreEvent::Granted {
            lease: *lease,
            result: Err(error),
        }),
        StoreCommand::KeepAlive { .. } | StoreCommand::Revoke { .. } | StoreCommand::Attempt(_) => None,
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
