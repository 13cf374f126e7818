//! Single calls without the adapter's task: for `check` and the other verbs of the command line.

use std::time::Duration;

use etcd_client::Client;

use super::classify::classify;
use super::client::{Purpose, connect, limited};
use super::{Settings, wire};
use leasehold_core::store::{Answer, StoreError, Txn};

/// Carries out one transaction. Reads go to one endpoint after another until one answers. A write goes, once, to the
/// first endpoint that has just answered a read: if its answer is lost it is [`StoreError::Unknown`].
///
/// # Errors
/// As [`StoreError`] says; with no endpoint answering, that of the last one.
pub async fn once(settings: &Settings, txn: &Txn) -> Result<Answer, StoreError> {
    let read = Txn::read();
    let is_read = txn.then.is_empty();
    let question = if is_read { txn } else { &read };
    let (url, mut client, answer) = first_answer(settings, async |client| {
        wire::txn(client, &settings.keys, question).await
    })
    .await?;
    if is_read {
        return Ok(answer);
    }
    limited(settings, url, wire::txn(&mut client, &settings.keys, txn)).await
}

/// One whole read of the cluster's keys, from the first endpoint that answers; for the sidecar, beside its loop.
///
/// # Errors
/// As [`StoreError`] says; with no endpoint answering, that of the last one.
pub async fn read(settings: &Settings) -> Result<Answer, StoreError> {
    let mut last = StoreError::Refused("no etcd endpoint is configured".to_owned());
    for url in &settings.endpoints {
        let work = async {
            let mut client = connect(settings, url, Purpose::Calls).await?;
            wire::txn(&mut client, &settings.keys, &Txn::read()).await
        };
        match limited(settings, url, work).await {
            Err(error @ StoreError::Unknown(_)) => last = error,
            result => return result,
        }
    }
    Err(last)
}

/// The ttl that etcd grants when asked for 1 s: its floor, 1.5 election timeouts rounded up to whole seconds, so the
/// election timeout is at most this divided by 1.5. The lease is revoked again.
///
/// # Errors
/// As [`StoreError`] says; with no endpoint answering, that of the last one.
pub async fn floor_probe(settings: &Settings) -> Result<Duration, StoreError> {
    let (url, mut client, (lease, granted)) = first_answer(settings, async |client| {
        wire::grant(client, 0, Duration::from_secs(1)).await
    })
    .await?;
    // Left alone it would go by itself within that ttl, so a failure here is none.
    if let Err(error) = limited(settings, url, wire::revoke(&mut client, lease)).await {
        tracing::debug!(?error, "the probe's lease is left to expire");
    }
    Ok(granted)
}

/// How many members vote in etcd.
///
/// # Errors
/// As [`StoreError`] says; with no endpoint answering, that of the last one.
pub async fn member_count(settings: &Settings) -> Result<usize, StoreError> {
    let (_, _, count) = first_answer(settings, async |client| {
        let list = client.member_list().await.map_err(|error| classify(&error))?;
        Ok(list.members().iter().filter(|member| !member.is_learner()).count())
    })
    .await?;
    Ok(count)
}

/// Asks one endpoint after another, only what may be asked twice. A refusal ends it: all would say the same.
async fn first_answer<'a, T>(
    settings: &'a Settings,
    ask: impl AsyncFn(&mut Client) -> Result<T, StoreError>,
) -> Result<(&'a str, Client, T), StoreError> {
    let mut last = StoreError::Refused("no etcd endpoint is configured".to_owned());
    for url in &settings.endpoints {
        let work = async {
            let mut client = connect(settings, url, Purpose::Calls).await?;
            let answer = ask(&mut client).await?;
            Ok((url.as_str(), client, answer))
        };
        match limited(settings, url, work).await {
            Err(error @ StoreError::Unknown(_)) => last = error,
            result => return result,
        }
    }
    Err(last)
}
