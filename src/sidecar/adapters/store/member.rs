//! What a member of etcd says of itself: its status by gRPC, and its metrics, which it shows to whoever may connect.

use std::str::FromStr;
use std::time::Duration;

use etcd_client::Client;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::Settings;
use super::classify::classify;
use super::client::{Purpose, connect, limited, read};
use crate::measure::DiskCounts;
use crate::timings::{MemberFigures, Timings};
use leasehold_base::clock;
use leasehold_core::event::Event;
use leasehold_core::observe::etcd::EtcdMember;
use leasehold_core::store::StoreError;

/// A page of metrics is some 100 KiB.
const METRICS_MAX: usize = 4 << 20;
const METRICS_PATIENCE: Duration = Duration::from_secs(1);
/// Between two looks at all members: what fills up does so for days.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Starts the adapter, which looks at each member now and then; it ends with the receiver of `events`. Of one that does not
/// answer nothing is told: the beats find that out.
pub fn spawn_looks(settings: Settings, events: mpsc::Sender<Event>, timings: Timings) {
    tokio::spawn(async move {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            for url in &settings.endpoints {
                let began = clock::now();
                let looked = look(&settings, url).await;
                let took = clock::now().since(began);
                let figures = looked.as_ref().ok().map(|seen| MemberFigures {
                    size: seen.member.size,
                    quota: seen.member.quota,
                    leader: seen.leader,
                    took,
                });
                timings.member(url, figures);
                let Ok(seen) = looked else {
                    continue;
                };
                timings.disk(url, seen.disk.as_ref());
                let (url, troubles) = (url.clone(), seen.member.troubles());
                if events.send(Event::EtcdMember { url, troubles }).await.is_err() {
                    return;
                }
            }
        }
    });
}

/// What the member behind one endpoint says of itself. With authentication on, etcd (seen on 3.5.30) tells its status to users
/// with the role `root` only; its metrics then say what they can. Both may be closed: nothing is known then.
///
/// # Errors
/// As [`StoreError`] says, where the member does not answer or refuses this node.
pub async fn member(settings: &Settings, url: &str) -> Result<EtcdMember, StoreError> {
    look(settings, url).await.map(|seen| seen.member)
}

/// All that a member tells.
struct Seen {
    member: EtcdMember,
    /// None: it does not say.
    leader: Option<bool>,
    /// None: its metrics can't be read, or do not say.
    disk: Option<DiskCounts>,
}

async fn look(settings: &Settings, url: &str) -> Result<Seen, StoreError> {
    let (mut member, mut leader) = limited(settings, url, status(settings, url)).await?;
    // A page takes longer than a call, and nothing waits for it.
    let attempt = settings.attempt.max(METRICS_PATIENCE);
    let patient = Settings {
        attempt,
        ..settings.clone()
    };
    let mut disk = None;
    match limited(&patient, url, metrics(&patient, url)).await {
        Ok(text) => {
            add_metrics(&mut member, &text);
            leader = leader.or_else(|| leads(&text));
            disk = DiskCounts::of_metrics(&text);
        }
        Err(error) => tracing::debug!(?error, "etcd's metrics are not read"),
    }
    Ok(Seen { member, leader, disk })
}

/// Whether the member leads, by its metrics.
fn leads(metrics: &str) -> Option<bool> {
    let value = metrics
        .lines()
        .find_map(|line| line.strip_prefix("etcd_server_is_leader "))?;
    match value.trim() {
        "0" => Some(false),
        "1" => Some(true),
        _ => None,
    }
}

async fn status(settings: &Settings, url: &str) -> Result<(EtcdMember, Option<bool>), StoreError> {
    let mut client: Client = connect(settings, url, Purpose::Calls).await?;
    let status = match client.status().await.map_err(|error| classify(&error)) {
        Err(StoreError::Refused(why)) if why.contains("permission denied") => return Ok((EtcdMember::default(), None)),
        status => status?,
    };
    let alarm = |word: &str| status.errors().iter().any(|error| error.contains(word));
    let header = status.header().map(|header| header.revision());
    let own = status.header().map(|header| header.member_id());
    let member = EtcdMember {
        version: Some(status.version().to_owned()).filter(|version| !version.is_empty()),
        size: count(status.db_size()),
        quota: count(status.db_size_quota()),
        revision: header.and_then(count),
        compacted: None,
        no_space: alarm("NOSPACE"),
        corrupt: alarm("CORRUPT"),
    };
    Ok((member, own.map(|own| own == status.leader())))
}

/// None: it did not say.
fn count(number: i64) -> Option<u64> {
    u64::try_from(number).ok().filter(|number| *number > 0)
}

/// The text that a member shows below `/metrics` at its client port.
async fn metrics(settings: &Settings, url: &str) -> Result<String, StoreError> {
    let unknown = |error: reqwest::Error| StoreError::Unknown(error.without_url().to_string());
    // Another part of the process may have been first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut builder = reqwest::Client::builder()
        .timeout(settings.attempt)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy();
    if let Some(files) = settings.tls.as_ref().filter(|_| url.starts_with("https://")) {
        let trusted = reqwest::Certificate::from_pem_bundle(&read(&files.ca).await?).map_err(unknown)?;
        builder = builder.tls_certs_only(trusted);
        if let (Some(certificate), Some(key)) = (&files.certificate, &files.key) {
            let mut pem = read(certificate).await?;
            pem.push(b'\n');
            pem.extend(read(key).await?);
            builder = builder.identity(reqwest::Identity::from_pem(&pem).map_err(unknown)?);
        }
    }
    let client = builder.build().map_err(unknown)?;
    let page = format!("{}/metrics", url.trim_end_matches('/'));
    let answer = client.get(page).send().await.map_err(unknown)?;
    let mut answer = answer.error_for_status().map_err(unknown)?;
    let mut text = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(unknown)? {
        text.extend_from_slice(&chunk);
        if text.len() > METRICS_MAX {
            return Err(StoreError::Unknown(format!("metrics of more than {METRICS_MAX} bytes")));
        }
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// What its metrics add to what a member says.
fn add_metrics(member: &mut EtcdMember, text: &str) {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    for (name, value) in lines.filter_map(|line| line.rsplit_once(' ')) {
        let number = f64::from_str(value).ok().filter(|number| (0.0..=9e15).contains(number));
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "bounded in the line above"
        )]
        let number = number.map(|number| number as u64);
        match name {
            "etcd_server_quota_backend_bytes" => member.quota = number.or(member.quota),
            "etcd_mvcc_db_total_size_in_bytes" => member.size = number.or(member.size),
            "etcd_debugging_mvcc_current_revision" => member.revision = number.or(member.revision),
            "etcd_debugging_mvcc_compact_revision" => member.compacted = number.or(member.compacted),
            _ => {
                let label = name.strip_prefix("etcd_server_version{server_version=\"");
                if let Some(version) = label.and_then(|rest| rest.strip_suffix("\"}")) {
                    member.version.get_or_insert_with(|| version.to_owned());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{add_metrics, leads};
    use leasehold_core::observe::etcd::EtcdMember;

    #[test]
    fn figures_are_read_from_metrics() {
        let text = "# HELP etcd_server_quota_backend_bytes Current backend storage quota size in bytes.\n\
                    # TYPE etcd_server_quota_backend_bytes gauge\n\
                    etcd_server_quota_backend_bytes 1.6777216e+07\n\
                    etcd_mvcc_db_total_size_in_bytes 20480\n\
                    etcd_server_version{server_version=\"3.5.30\"} 1\n\
                    etcd_debugging_mvcc_compact_revision -1\n\
                    etcd_debugging_mvcc_current_revision NaN\n\
                    nonsense\n";
        let mut member = EtcdMember::default();
        add_metrics(&mut member, text);
        let expected = EtcdMember {
            version: Some("3.5.30".to_owned()),
            size: Some(20480),
            quota: Some(16 << 20),
            ..EtcdMember::default()
        };
        assert_eq!(member, expected);
        assert_eq!(leads(text), None);
        for (value, wanted) in [("0", Some(false)), ("1", Some(true)), ("NaN", None)] {
            assert_eq!(leads(&format!("etcd_server_is_leader {value}\n")), wanted);
        }
    }
}
