//! Commands inside a running container, as `docker exec` starts them.

use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use futures_util::StreamExt;

use super::{Engine, EngineError, Result};

/// What is kept of a command's output.
const OUTPUT_MAX: usize = 400;

/// A command that was started.
#[derive(Debug)]
pub struct Exec {
    pub id: String,
    started: StartExecResults,
}

/// How a command ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecOutcome {
    pub exit_code: i64,
    /// The beginning of stdout and stderr together.
    pub output: String,
}

impl Engine {
    /// Starts a command in a running container, in its working directory unless another one is named.
    ///
    /// # Errors
    /// The container does not run, has no such program, or the engine does not answer.
    pub async fn exec(&self, container_id: &str, command: &[String], directory: Option<&str>) -> Result<Exec> {
        let docker = self.client().await?;
        let options = CreateExecOptions {
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            cmd: Some(command.to_vec()),
            working_dir: directory.map(str::to_owned),
            ..CreateExecOptions::default()
        };
        let made = self
            .ask("create exec", docker.create_exec(container_id, options))
            .await?;
        let started = self
            .ask("start exec", docker.start_exec(&made.id, None::<StartExecOptions>))
            .await?;
        Ok(Exec { id: made.id, started })
    }

    /// Waits for the command's end; the caller bounds the wait.
    ///
    /// # Errors
    /// The engine does not answer, or does not know the command any more.
    pub async fn exec_outcome(&self, exec: Exec) -> Result<ExecOutcome> {
        let mut kept: Vec<u8> = Vec::new();
        if let StartExecResults::Attached { mut output, .. } = exec.started {
            while let Some(piece) = output.next().await {
                let piece = piece.map_err(|error| EngineError::sort("exec output", &error))?;
                let (LogOutput::StdErr { message }
                | LogOutput::StdOut { message }
                | LogOutput::StdIn { message }
                | LogOutput::Console { message }) = piece;
                let room = OUTPUT_MAX.saturating_sub(kept.len());
                kept.extend(message.iter().take(room));
            }
        }
        let docker = self.client().await?;
        let ended = self.ask("inspect exec", docker.inspect_exec(&exec.id)).await?;
        let Some(exit_code) = ended.exit_code else {
            return Err(EngineError::invalid("the command's end is not known".to_owned()));
        };
        Ok(ExecOutcome {
            exit_code,
            output: String::from_utf8_lossy(&kept).into_owned(),
        })
    }

    /// Whether a command still runs; one that the engine has forgotten does not.
    ///
    /// # Errors
    /// The engine does not answer.
    pub async fn exec_goes_on(&self, exec_id: &str) -> Result<bool> {
        let docker = self.client().await?;
        match self.ask("inspect exec", docker.inspect_exec(exec_id)).await {
            Ok(state) => Ok(state.running.unwrap_or(false)),
            Err(EngineError::Missing { .. }) => Ok(false),
            Err(other) => Err(other),
        }
    }
}
