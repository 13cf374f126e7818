//! A one-off container with a service's mounts: `leasehold init` looks at the storage and marks it through one, a standby
//! looks through one whether it is still there.

use std::time::Duration;

use bollard::container::LogOutput;
use bollard::errors::Error as ClientError;
use bollard::models::{ContainerCreateBody, HostConfigLogConfig};
use bollard::query_parameters::{CreateContainerOptionsBuilder, LogsOptionsBuilder, WaitContainerOptions};
use futures_util::StreamExt;
use tokio::sync::RwLock;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{Engine, EngineError, MountSource, Result, body, labels, mounts};
use leasehold_compose::model::{Project, Service};

/// What is kept of each output stream; the rest is cut off and said so.
const OUTPUT_MAX_BYTES: usize = 1 << 20;

/// A helper container.
#[derive(Clone, Copy, Debug)]
pub struct Helper<'a> {
    pub project: &'a Project,
    /// Whose image, mounts, capabilities and user it gets.
    pub service: &'a Service,
    pub node: &'a str,
    /// Where the tether's binary comes from.
    pub binary: &'a MountSource,
    /// The end of the container's name: one of a name at a time.
    pub name: &'a str,
    /// The targets of the only mounts that it gets, and these read-only; all of the service's where none.
    pub only: Option<&'a [String]>,
    /// Block devices of the host that it may read. With any it has no capability, whatever the service has.
    pub devices: &'a [String],
    /// Program and arguments, such as `/leasehold/tether store ...`.
    pub command: &'a [String],
    /// In place of the service's user.
    pub user: Option<&'a str>,
    /// From the start to the end of the program.
    pub deadline: Duration,
}

/// How a helper ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HelperOutcome {
    pub exit_code: i64,
    pub stdout: String,
    pub stderr: String,
    /// Output beyond the limit was dropped.
    pub truncated: bool,
}

/// Whether it counts that the output can't be read back, as with some log drivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Output {
    Needed,
    IfRead,
}

/// The helpers of this process that have not been removed yet.
#[derive(Debug, Default)]
pub(super) struct Helpers {
    /// Held while there is one.
    under_way: RwLock<()>,
    /// No more are made.
    ending: CancellationToken,
}

impl Engine {
    /// Runs a helper to its end and removes it, whatever the end. Unlike `prepare` this does mount the volumes.
    pub async fn run_helper(&self, helper: &Helper<'_>) -> Result<HelperOutcome> {
        self.image(&helper.service.image).await?;
        self.ensure_volumes(helper.project, helper.service).await?;
        let name = format!(
            "{}-{}-{}-{}",
            helper.project.name, helper.service.name, helper.node, helper.name
        );
        self.run_one_off(&name, request(helper)?, helper.deadline, Output::Needed)
            .await
    }

    /// Makes a container, runs it to its end and removes it, whatever the end.
    pub(super) async fn run_one_off(
        &self,
        name: &str,
        request: ContainerCreateBody,
        deadline: Duration,
        output: Output,
    ) -> Result<HelperOutcome> {
        let _under_way = self.helpers.under_way.read().await;
        if self.helpers.ending.is_cancelled() {
            return Err(ends());
        }
        self.clear_leftover(name).await?;
        let docker = self.client().await?;
        let options = CreateContainerOptionsBuilder::new().name(name).build();
        let made = self
            .ask("create helper", docker.create_container(Some(options), request))
            .await?;
        let outcome = tokio::select! {
            outcome = self.run_made(&made.id, deadline, output) => outcome,
            () = self.helpers.ending.cancelled() => Err(ends()),
        };
        let removed = self.remove_container(&made.id, true).await;
        let outcome = outcome?;
        removed.map(|()| outcome)
    }

    /// Removes the helpers that still run, and makes no more: a program that ends leaves none behind.
    pub async fn end_helpers(&self, within: Duration) {
        self.helpers.ending.cancel();
        if timeout(within, self.helpers.under_way.write()).await.is_err() {
            tracing::warn!(
                code = "helper_left",
                "a helper container is left behind: the next look removes it"
            );
        }
    }

    /// What a helper that was interrupted left behind; only ever a helper.
    async fn clear_leftover(&self, name: &str) -> Result<()> {
        let found = self.inspect(name).await?;
        if !found.exists {
            return Ok(());
        }
        if found
            .labels
            .get(labels::ROLE)
            .is_none_or(|role| role != labels::ROLE_INIT)
        {
            return Err(EngineError::invalid(format!(
                "the name {name} is taken by another container"
            )));
        }
        self.remove_container(name, true).await
    }

    async fn run_made(&self, id: &str, deadline: Duration, output: Output) -> Result<HelperOutcome> {
        let docker = self
            .client()
            .await?
            .with_timeout(deadline.saturating_add(Duration::from_secs(2)));
        let run = async {
            // Mounting counts: a dead file server must not hold the caller up.
            docker.start_container(id, None).await?;
            let mut ends = std::pin::pin!(docker.wait_container(id, None::<WaitContainerOptions>));
            match ends.next().await {
                Some(Ok(end)) => Ok(end.status_code),
                // The library makes an error of every exit code but 0.
                Some(Err(ClientError::DockerContainerWaitError { code, .. })) => Ok(code),
                Some(Err(other)) => Err(other),
                None => Err(ClientError::RequestTimeoutError),
            }
        };
        let ended = timeout(deadline, run)
            .await
            .map_err(|_| EngineError::late("start", deadline))?;
        let exit_code = ended.map_err(|error| EngineError::sort("start", &error))?;
        let mut outcome = HelperOutcome {
            exit_code,
            ..HelperOutcome::default()
        };
        let read = timeout(self.deadline, self.read_output(id, &mut outcome))
            .await
            .map_err(|_| EngineError::late("logs", self.deadline));
        match (read.flatten(), output) {
            (Ok(()), _) | (Err(_), Output::IfRead) => Ok(outcome),
            (Err(error), Output::Needed) => Err(error),
        }
    }

    async fn read_output(&self, id: &str, outcome: &mut HelperOutcome) -> Result<()> {
        let options = LogsOptionsBuilder::new().stdout(true).stderr(true).build();
        let docker = self.client().await?;
        let mut logs = std::pin::pin!(docker.logs(id, Some(options)));
        let (mut out, mut err) = (Vec::new(), Vec::new());
        while let Some(piece) = logs.next().await {
            let (kept, piece) = match piece.map_err(|error| EngineError::sort("logs", &error))? {
                LogOutput::StdErr { message } => (&mut err, message),
                LogOutput::StdOut { message } | LogOutput::Console { message } => (&mut out, message),
                LogOutput::StdIn { .. } => continue,
            };
            let room = OUTPUT_MAX_BYTES - kept.len();
            kept.extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.len() > room {
                outcome.truncated = true;
                break;
            }
        }
        outcome.stdout = String::from_utf8_lossy(&out).into_owned();
        outcome.stderr = String::from_utf8_lossy(&err).into_owned();
        Ok(())
    }
}

fn ends() -> EngineError {
    EngineError::invalid("no helper is run: the program ends")
}

fn request(helper: &Helper<'_>) -> Result<ContainerCreateBody> {
    let service = helper.service;
    let mut all = mounts::of_service(helper.project, service)?;
    if let Some(only) = helper.only {
        all.retain(|mount| mount.target.as_ref().is_some_and(|target| only.contains(target)));
        all.iter_mut().for_each(|mount| mount.read_only = Some(true));
    }
    all.push(mounts::binary(helper.binary));
    let mut host = body::host(service, all)?;
    host.network_mode = Some("none".to_owned());
    if !helper.devices.is_empty() {
        body::readers(&mut host, helper.devices);
    }
    (host.sysctls, host.extra_hosts, host.device_requests) = (None, None, None);
    (host.dns, host.dns_search, host.dns_options) = (None, None, None);
    // The output is read back through the engine, which not every log driver allows.
    host.log_config = Some(HostConfigLogConfig {
        typ: Some("json-file".to_owned()),
        config: None,
    });
    let own = [
        (labels::ROLE, labels::ROLE_INIT),
        (labels::CLUSTER, &helper.project.cluster.name),
        (labels::NODE, helper.node),
    ];
    let mut command = helper.command.iter();
    Ok(ContainerCreateBody {
        image: Some(service.image.clone()),
        entrypoint: Some(command.next().into_iter().cloned().collect()),
        cmd: Some(command.cloned().collect()),
        env: Some(body::environment(service)),
        user: helper.user.map(str::to_owned).or_else(|| service.user.clone()),
        labels: Some(own.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
        host_config: Some(host),
        ..ContainerCreateBody::default()
    })
}
