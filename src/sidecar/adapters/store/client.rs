//! Makes a client for one endpoint. Files are read here and nowhere else, so a renewed certificate or password is
//! taken with the next connection.

use std::path::Path;
use std::time::Duration;

use etcd_client::{Certificate, Client, ConnectOptions, Identity, TlsOptions};
use tokio::time::timeout;

use super::Settings;
use super::classify::classify;
use super::explain::explained;
use leasehold_base::small_file;
use leasehold_compose::model::{EtcdTls, EtcdUser};
use leasehold_core::store::StoreError;

/// Pings on the watch's connection. etcd cuts clients off that ping faster than its `--grpc-keepalive-min-time` (5 s).
const PING_INTERVAL: Duration = Duration::from_secs(6);
/// A ping that is not answered for so long ends the connection.
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// What the connection is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Calls, each with its own time limit: no pings needed.
    Calls,
    /// A long-lived stream: pings find a silent death, and a member without a leader must end it.
    Watch,
}

/// A client for the endpoint, logged in where a user is set. The caller limits its time: a frozen etcd lets it hang.
pub(super) async fn connect(settings: &Settings, url: &str, purpose: Purpose) -> Result<Client, StoreError> {
    // `ConnectOptions` shows the password in its Debug form: it must never leave this function.
    let mut options = ConnectOptions::new()
        .with_connect_timeout(settings.attempt)
        .with_keep_alive_while_idle(false);
    if purpose == Purpose::Watch {
        options = options
            .with_keep_alive(PING_INTERVAL, PING_TIMEOUT)
            .with_require_leader(true);
    }
    if url.starts_with("https://") {
        options = options.with_tls(tls_options(settings.tls.as_ref()).await?);
    }
    if let Some(user) = &settings.user {
        options = options.with_user(user.name.clone(), password(user).await?);
    }
    Client::connect([url], Some(options))
        .await
        .map_err(|error| classify(&error))
}

/// The work's result if it comes within one attempt's time, with the endpoint named in an error.
pub(super) async fn limited<T>(
    settings: &Settings,
    url: &str,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let limit = settings.attempt;
    let result = timeout(limit, work)
        .await
        .unwrap_or_else(|_| Err(StoreError::Unknown(format!("no answer within {limit:?}"))));
    let error = match result {
        Ok(value) => return Ok(value),
        Err(error) => explained(settings, url, error).await,
    };
    Err(match error {
        StoreError::Unknown(text) => StoreError::Unknown(format!("{url}: {text}")),
        StoreError::Refused(text) => StoreError::Refused(format!("{url}: {text}")),
    })
}

async fn tls_options(files: Option<&EtcdTls>) -> Result<TlsOptions, StoreError> {
    let mut options = TlsOptions::new();
    let Some(files) = files else { return Ok(options) };
    options = options.ca_certificate(Certificate::from_pem(read(&files.ca).await?));
    options = match (&files.certificate, &files.key) {
        (Some(certificate), Some(key)) => {
            options.identity(Identity::from_pem(read(certificate).await?, read(key).await?))
        }
        (None, None) => options,
        (Some(_), None) | (None, Some(_)) => {
            return Err(StoreError::Refused(
                "etcd: a client certificate needs its key, and a key its certificate".to_owned(),
            ));
        }
    };
    Ok(options)
}

/// The file's text without the line end that editors leave.
async fn password(user: &EtcdUser) -> Result<String, StoreError> {
    let text = String::from_utf8(read(&user.password_file).await?)
        .map_err(|_| StoreError::Refused(format!("{}: not UTF-8", user.password_file.display())))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

pub(super) async fn read(path: &Path) -> Result<Vec<u8>, StoreError> {
    let at = path.to_owned();
    let reading = tokio::task::spawn_blocking(move || small_file::read(&at, small_file::MAX));
    reading
        .await
        .unwrap_or_else(|error| Err(error.into()))
        .map_err(|error| StoreError::Refused(format!("{}: {error}", path.display())))
}
