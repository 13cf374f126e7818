//! Delivery by e-mail, through a relay: for people, so what happens in quick succession goes into one.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lettre::message::header::{ContentType, Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use super::tries::{Down, Failure, first_line, with_tries};
use super::{EventMessage, Kept, Pace};
use crate::counters::{Counters, Receiver};
use leasehold_base::small_file;
use leasehold_compose::model::{Email, EmailTls};

/// Events in one e-mail.
const TOGETHER_MAX: usize = 50;
/// Letters of a subject.
const SUBJECT_MAX: usize = 120;

pub(super) async fn deliver(
    email: Email,
    pace: Pace,
    mut queue: mpsc::Receiver<Arc<EventMessage>>,
    counters: Counters,
    kept: Kept,
) {
    let mut down = Down::default();
    let mut not_before = Instant::now();
    while let Some(first) = queue.recv().await {
        sleep_until(not_before).await;
        let mut together = vec![first];
        while together.len() < TOGETHER_MAX
            && let Ok(more) = queue.try_recv()
        {
            together.push(more);
        }
        let sent = with_tries(&pace.pauses, || one_try(&email, pace.deadline, &together)).await;
        not_before = Instant::now() + pace.email;
        for told in &together {
            match sent {
                Ok(()) => counters.delivered(Receiver::Email),
                Err(_) => counters.failed(Receiver::Email),
            }
            kept.done(Receiver::Email, &told.id);
        }
        match sent {
            Ok(()) if down.ends() => tracing::info!(code = "email_restored", "the relay takes e-mail again"),
            Err(why) if down.begins() => tracing::warn!(
                code = "email_failed",
                events = together.len(),
                why,
                "events could not be sent by e-mail"
            ),
            Ok(()) | Err(_) => {}
        }
    }
}

async fn one_try(email: &Email, deadline: Duration, told: &[Arc<EventMessage>]) -> Result<(), Failure> {
    let message = message(email, told).map_err(Failure::Refused)?;
    let relay = relay(email, deadline).map_err(Failure::Passing)?;
    match timeout(deadline, relay.send(message)).await {
        Ok(Ok(_)) => Ok(()),
        // A 5xx: of the addresses, the login or the message.
        Ok(Err(error)) if error.is_permanent() => Err(Failure::Refused(said(&error))),
        Ok(Err(error)) => Err(Failure::Passing(said(&error))),
        Err(_) => Err(Failure::Passing(format!("no answer within {deadline:?}"))),
    }
}

/// In a line, with its causes.
fn said(error: &lettre::transport::smtp::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let _ = write!(text, ": {inner}");
        cause = inner.source();
    }
    text.replace(char::is_control, " ")
}

/// Made for each try: files that were replaced count from the next one on.
fn relay(email: &Email, deadline: Duration) -> Result<AsyncSmtpTransport<Tokio1Executor>, String> {
    // Another part of the process may have been first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let tls = match email.tls {
        EmailTls::Starttls => Tls::Required(trust(email)?),
        EmailTls::Implicit => Tls::Wrapper(trust(email)?),
        EmailTls::Never => Tls::None,
    };
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&email.relay.host)
        .port(email.relay.port)
        .timeout(Some(deadline))
        .tls(tls);
    if let Some(login) = &email.login {
        let password = first_line("password_file", &login.password_file)?;
        builder = builder.credentials(Credentials::new(login.user.clone(), password));
    }
    Ok(builder.build())
}

fn trust(email: &Email) -> Result<TlsParameters, String> {
    let mut builder = TlsParameters::builder(email.relay.host.clone());
    if let Some(path) = &email.ca {
        builder = builder.certificate_store(CertificateStore::None);
        builder = certificates(path)?
            .into_iter()
            .fold(builder, |builder, one| builder.add_root_certificate(one));
    }
    builder.build_rustls().map_err(|error| said(&error))
}

fn certificates(path: &Path) -> Result<Vec<Certificate>, String> {
    let fault = |what: &dyn std::fmt::Display| format!("ca: {}: {what}", path.display());
    let pem = small_file::read_text(path, small_file::MAX).map_err(|error| fault(&error))?;
    let end = "-----END CERTIFICATE-----";
    let blocks = pem.split_inclusive(end).filter(|block| block.contains(end));
    let all: Result<Vec<_>, _> = blocks.map(|block| Certificate::from_pem(block.as_bytes())).collect();
    let all = all.map_err(|error| fault(&said(&error)))?;
    (!all.is_empty())
        .then_some(all)
        .ok_or_else(|| fault(&"holds no certificate in PEM"))
}

/// No answer is wanted from a machine that is away (RFC 3834).
#[derive(Clone, Debug)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

fn message(email: &Email, told: &[Arc<EventMessage>]) -> Result<Message, String> {
    let address = |text: &str| text.parse::<Address>().map_err(|error| format!("{text}: {error}"));
    let (from, first) = (address(&email.from)?, told.first().ok_or("nothing to tell")?);
    let domain = from.domain().to_owned();
    let mut builder = Message::builder()
        .from(Mailbox::new(Some(format!("Leasehold {}", first.cluster)), from))
        // A second delivery has the same one.
        .message_id(Some(format!("<{}@{domain}>", first.id)))
        .subject(subject(told))
        .header(AutoSubmitted)
        .header(ContentType::TEXT_PLAIN);
    for to in &email.to {
        builder = builder.to(Mailbox::new(None, address(to)?));
    }
    builder.body(body(told)).map_err(|error| error.to_string())
}

/// What is worst comes first: a telephone shows no more.
fn subject(told: &[Arc<EventMessage>]) -> String {
    let worst = told.iter().find(|told| told.level == "alarm").or(told.first());
    let Some(worst) = worst else { return String::new() };
    let of = worst.group.as_deref().unwrap_or(&worst.node);
    let more = match told.len() {
        1 => String::new(),
        count => format!(" (and {} more)", count - 1),
    };
    let text = format!("{}: {of}: {}", worst.level, worst.text);
    let short: String = text.chars().take(SUBJECT_MAX).collect();
    format!("{short}{more}").replace(char::is_control, " ")
}

fn body(told: &[Arc<EventMessage>]) -> String {
    let mut text = String::new();
    for told in told {
        let EventMessage {
            time,
            node,
            group,
            code,
            level,
            epoch,
            text: sentence,
            ..
        } = &**told;
        let group = group
            .as_ref()
            .map_or_else(String::new, |group| format!(" about {group}"));
        let epoch = epoch.map_or_else(String::new, |epoch| format!(", epoch {epoch}"));
        let _ = write!(
            text,
            "{level}: {sentence}\n    {code}, told by {node}{group}{epoch} at {time}\n\n"
        );
    }
    if let Some(first) = told.first() {
        let of = first
            .group
            .as_deref()
            .map_or_else(|| "status".to_owned(), |group| format!("why {group}"));
        let _ = writeln!(text, "More: `leasehold {of}` on {}.", first.node);
    }
    text
}

pub(super) fn faults(email: &Email) -> Vec<String> {
    let address = |text: &String| {
        text.parse::<Address>()
            .map(drop)
            .map_err(|error| format!("{text}: {error}"))
    };
    let addresses = email.to.iter().chain([&email.from]).map(address);
    let all = addresses.chain([relay(email, Pace::default().deadline).map(drop)]);
    all.filter_map(|one| one.err().map(|why| format!("events.email: {why}")))
        .collect()
}

#[cfg(test)]
#[path = "email_tests.rs"]
mod tests;
