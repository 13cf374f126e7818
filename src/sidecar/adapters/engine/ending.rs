//! How a container ended: its exit code, and what it said last.

use bollard::container::LogOutput;
use bollard::errors::Error as ClientError;
use bollard::query_parameters::{LogsOptionsBuilder, WaitContainerOptions};
use futures_util::StreamExt;
use tokio::time::timeout;

use super::{Engine, EngineError, Result};

/// Lines that are read of a log where nobody asks for more.
const LINES: u32 = 10;
/// Whoever asks for more gets no more than these.
const LINES_MAX: u32 = 20_000;
/// What is kept of each.
const LINE_MAX: usize = 1000;

impl Engine {
    /// Waits for the end of a container, which may have ended already; its exit code. The caller bounds the wait by the
    /// engine's own deadline.
    ///
    /// # Errors
    /// It has not ended by then, or the engine can't tell.
    pub async fn ended(&self, container_id: &str) -> Result<i64> {
        let docker = self.client().await?;
        let mut ends = std::pin::pin!(docker.wait_container(container_id, None::<WaitContainerOptions>));
        match timeout(self.deadline, ends.next()).await {
            Ok(Some(Ok(end))) => Ok(end.status_code),
            // The library makes an error of every exit code but 0.
            Ok(Some(Err(ClientError::DockerContainerWaitError { code, .. }))) => Ok(code),
            Ok(Some(Err(error))) => Err(EngineError::sort("wait", &error)),
            Ok(None) | Err(_) => Err(EngineError::late("wait", self.deadline)),
        }
    }

    /// The last lines that a container wrote, the latest last. Not every log driver lets them be read.
    ///
    /// # Errors
    /// They can't be read.
    pub async fn last_lines(&self, container_id: &str) -> Result<Vec<String>> {
        self.log(container_id, LINES).await
    }

    /// The same of so many lines, 20 000 at most.
    ///
    /// # Errors
    /// They can't be read.
    pub async fn log(&self, container_id: &str, lines: u32) -> Result<Vec<String>> {
        timeout(self.deadline, self.read_last(container_id, lines.min(LINES_MAX)))
            .await
            .map_err(|_| EngineError::late("logs", self.deadline))?
    }

    async fn read_last(&self, container_id: &str, lines: u32) -> Result<Vec<String>> {
        let tail = lines.to_string();
        let options = LogsOptionsBuilder::new().stdout(true).stderr(true).tail(&tail).build();
        let docker = self.client().await?;
        let mut logs = std::pin::pin!(docker.logs(container_id, Some(options)));
        let mut lines = Vec::new();
        while let Some(piece) = logs.next().await {
            let piece = piece.map_err(|error| EngineError::sort("logs", &error))?;
            let (LogOutput::StdErr { message }
            | LogOutput::StdOut { message }
            | LogOutput::Console { message }
            | LogOutput::StdIn { message }) = piece;
            let text = String::from_utf8_lossy(&message[..message.len().min(LINE_MAX)]);
            lines.extend(text.lines().map(|line| line.trim().to_owned()));
        }
        Ok(lines)
    }
}
