//! Delivery by HTTP: in order, each event with its own tries.

use std::sync::Arc;
use std::time::Duration;

use hmac::{Hmac, Mac};
use reqwest::header::{CONTENT_TYPE, USER_AGENT};
use reqwest::redirect::Policy;
use sha2::Sha256;
use tokio::sync::mpsc;

use super::tries::{Down, Failure, first_line, with_tries};
use super::{EventMessage, Kept, Pace};
use crate::counters::{Counters, Receiver};
use leasehold_base::clock;
use leasehold_base::small_file;
use leasehold_compose::events::web_url;
use leasehold_compose::model::{Webhook, WebhookUrl};

/// Over `TIMESTAMP.BODY`, as `t=TIMESTAMP,v1=HEX`; of every try, so that an old one can be refused.
const SIGNATURE: &str = "leasehold-signature";
const EVENT: &str = "leasehold-event";

pub(super) async fn deliver(
    hook: Webhook,
    pace: Pace,
    mut queue: mpsc::Receiver<Arc<EventMessage>>,
    counters: Counters,
    kept: Kept,
) {
    let mut down = Down::default();
    while let Some(told) = queue.recv().await {
        match with_tries(&pace.pauses, || one_try(&hook, pace.deadline, &told)).await {
            Ok(()) => {
                counters.delivered(Receiver::Webhook);
                if down.ends() {
                    tracing::info!(code = "webhook_restored", "the webhook takes events again");
                }
            }
            Err(why) => {
                counters.failed(Receiver::Webhook);
                if down.begins() {
                    tracing::warn!(
                        code = "webhook_failed",
                        id = told.id,
                        event = %told.code,
                        why,
                        "an event could not be delivered to the webhook"
                    );
                }
            }
        }
        kept.done(Receiver::Webhook, &told.id);
    }
}

async fn one_try(hook: &Webhook, deadline: Duration, told: &EventMessage) -> Result<(), Failure> {
    let url = url(&hook.url).map_err(Failure::Passing)?;
    let body = told.line();
    let mut request = client(hook, deadline)
        .map_err(Failure::Passing)?
        .post(url)
        .header(CONTENT_TYPE, "application/json")
        .header(USER_AGENT, concat!("leasehold/", env!("CARGO_PKG_VERSION")))
        .header(EVENT, told.code.as_ref());
    if let Some(path) = &hook.secret_file {
        let secret = first_line("secret_file", path).map_err(Failure::Passing)?;
        request = request.header(SIGNATURE, sign(&secret, clock::wall_seconds(), &body));
    }
    // Neither the URL nor what the receiver says is repeated: either may hold a secret.
    let sent = request.body(body).send().await;
    let status = sent
        .map_err(|error| Failure::Passing(reason(&error.without_url())))?
        .status();
    match status.as_u16() {
        200..=299 => Ok(()),
        408 | 429 | 500..=599 => Err(Failure::Passing(format!("it answered {status}"))),
        _ => Err(Failure::Refused(format!("it answered {status}"))),
    }
}

/// Made for each try: files that were replaced count from the next one on.
fn client(hook: &Webhook, deadline: Duration) -> Result<reqwest::Client, String> {
    // Another part of the process may have been first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut builder = reqwest::Client::builder()
        .timeout(deadline)
        .redirect(Policy::none())
        .no_proxy();
    if let Some(path) = &hook.ca {
        let pem =
            small_file::read(path, small_file::MAX).map_err(|error| format!("ca: {}: {error}", path.display()))?;
        let trusted = reqwest::Certificate::from_pem_bundle(&pem)
            .ok()
            .filter(|some| !some.is_empty());
        let trusted = trusted.ok_or_else(|| format!("ca: {} holds no certificate in PEM", path.display()))?;
        builder = builder.tls_certs_only(trusted);
    }
    builder.build().map_err(|error| reason(&error))
}

fn url(wanted: &WebhookUrl) -> Result<String, String> {
    match wanted {
        WebhookUrl::Plain(url) => Ok(url.clone()),
        WebhookUrl::File(path) => {
            let line = first_line("webhook_file", path)?;
            web_url(&line).ok_or_else(|| format!("webhook_file: {} holds no http:// or https:// URL", path.display()))
        }
    }
}

fn sign(secret: &str, at: i64, body: &str) -> String {
    // A key of any length is one.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {
        return String::new();
    };
    mac.update(format!("{at}.{body}").as_bytes());
    let digest = mac.finalize().into_bytes();
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={at},v1={hex}")
}

/// The innermost cause, in a line.
fn reason(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

pub(super) fn faults(hook: &Webhook) -> Vec<String> {
    let secret = hook
        .secret_file
        .as_ref()
        .map(|path| first_line("secret_file", path).map(drop));
    let client = client(hook, Pace::default().deadline).map(drop);
    let all = [url(&hook.url).map(drop), secret.unwrap_or(Ok(())), client];
    all.into_iter()
        .filter_map(|one| one.err().map(|why| format!("events: {why}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with `openssl dgst -sha256 -hmac`.
    #[test]
    fn the_signature_is_what_others_compute() {
        assert_eq!(
            sign("key", 1_700_000_000, "{\"a\":1}"),
            "t=1700000000,v1=a438e398bfafc57e4396bb7fc2304422f0f768e965d073ca313cb52e22e6ad03"
        );
    }
}
