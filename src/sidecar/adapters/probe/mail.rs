//! SMTP (RFC 5321, 3207, 4954), IMAP (RFC 9051) and POP3 (RFC 1939, 2449, 2595), as far as a client goes before its
//! first message.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::net::TcpStream;

use super::conversation::{Conversation, unexpected};
use leasehold_base::small_file;
use leasehold_compose::model::{MailCheck, MailProtocol, ProbeTls};
use leasehold_core::event::ProbeFailure;

/// The name with which the probe greets: reserved, so nobody's (RFC 6761).
const GREETING_NAME: &str = "probe.invalid";

/// Speaks with the server as far as the check wants.
pub(super) async fn check(stream: TcpStream, wanted: &MailCheck) -> Result<(), ProbeFailure> {
    let login = match &wanted.login_file {
        Some(path) => Some(Login::read(path).await?),
        None => None,
    };
    let mut server = Conversation::new(stream);
    if wanted.tls == ProbeTls::On {
        server.encrypt().await?;
    }
    let start = wanted.tls == ProbeTls::Start;
    match wanted.protocol {
        MailProtocol::Smtp => smtp(&mut server, start, login).await,
        MailProtocol::Imap => imap(&mut server, start, login).await,
        MailProtocol::Pop3 => pop3(&mut server, start, login).await,
    }?;
    server.judge_certificate()
}

/// User and password of the probe; never shown.
pub(super) struct Login {
    user: String,
    password: String,
}

impl Login {
    pub(super) async fn read(path: &Path) -> Result<Self, ProbeFailure> {
        let at = path.to_owned();
        let reading = tokio::task::spawn_blocking(move || small_file::read_text(&at, small_file::MAX));
        let text = reading
            .await
            .unwrap_or_else(|error| Err(error.into()))
            .map_err(|error| ProbeFailure::shared(format!("login_file {}: {error}", path.display())))?;
        let mut lines = text.lines();
        match (lines.next(), lines.next()) {
            (Some(user), Some(password)) if !user.is_empty() && !password.is_empty() => Ok(Self {
                user: user.to_owned(),
                password: password.to_owned(),
            }),
            _ => Err(ProbeFailure::shared(format!(
                "login_file {}: write the user on the first line, the password on the second",
                path.display()
            ))),
        }
    }
}

async fn smtp(server: &mut Conversation, start: bool, login: Option<Login>) -> Result<(), ProbeFailure> {
    let offered = smtp_begin(server, start).await?;
    if let Some(login) = login {
        let plain = offered.iter().any(|line| {
            let mut words = line.split([' ', '=']);
            words.next().is_some_and(|word| word.eq_ignore_ascii_case("AUTH"))
                && words.any(|word| word.eq_ignore_ascii_case("PLAIN"))
        });
        if !plain {
            return Err(ProbeFailure::wrong("EHLO: AUTH PLAIN is not offered"));
        }
        let secret = STANDARD.encode(format!("\0{}\0{}", login.user, login.password));
        smtp_ask(server, &format!("AUTH PLAIN {secret}"), "AUTH", "235").await?;
    }
    // Here a server says that its disk is full (RFC 5321, 452); nothing is sent.
    smtp_ask(server, "MAIL FROM:<>", "MAIL", "250").await?;
    smtp_ask(server, "RSET", "RSET", "250").await?;
    // The polite end keeps the server's log clean; whether it is heard does not matter.
    let _ = server.say("QUIT").await;
    Ok(())
}

/// The greeting, EHLO, and TLS if it is to be asked for; the extensions that the server offers.
pub(super) async fn smtp_begin(server: &mut Conversation, start: bool) -> Result<Vec<String>, ProbeFailure> {
    smtp_answer(server, "greeting", "220").await?;
    let offered = hello(server).await?;
    if !start {
        return Ok(offered);
    }
    if !offered.iter().any(|line| line.eq_ignore_ascii_case("STARTTLS")) {
        return Err(ProbeFailure::wrong("EHLO: STARTTLS is not offered"));
    }
    smtp_ask(server, "STARTTLS", "STARTTLS", "220").await?;
    server.encrypt().await?;
    hello(server).await
}

/// EHLO and the extensions that the server offers.
async fn hello(server: &mut Conversation) -> Result<Vec<String>, ProbeFailure> {
    let lines = smtp_ask(server, &format!("EHLO {GREETING_NAME}"), "EHLO", "250").await?;
    let offered = lines.iter().skip(1).filter_map(|line| line.get(4..));
    Ok(offered.map(str::to_owned).collect())
}

/// Says a line and hears the answer; `name` stands for the line wherever it is told.
pub(super) async fn smtp_ask(
    server: &mut Conversation,
    line: &str,
    name: &str,
    code: &str,
) -> Result<Vec<String>, ProbeFailure> {
    server.say(line).await?;
    smtp_answer(server, name, code).await
}

async fn smtp_answer(server: &mut Conversation, name: &str, code: &str) -> Result<Vec<String>, ProbeFailure> {
    let lines = server
        .hear_until(|line| line.as_bytes().get(3).is_none_or(|byte| *byte != b'-'))
        .await?;
    let last = lines.last().map(String::as_str).unwrap_or_default();
    if last.starts_with(code) {
        return Ok(lines);
    }
    let failure = unexpected(name, code, last);
    // 452 and the enhanced codes of RFC 3463 for a full system or store.
    let full = last.starts_with("452") || last.contains("4.3.1") || last.contains("5.3.1");
    Err(if full {
        ProbeFailure::shared(format!("{}: its disk is full", failure.text))
    } else {
        failure
    })
}

async fn imap(server: &mut Conversation, start: bool, login: Option<Login>) -> Result<(), ProbeFailure> {
    imap_begin(server, start, login).await?;
    let _ = server.say("z LOGOUT").await;
    Ok(())
}

/// The greeting, the capabilities, TLS and the login as far as they are wanted.
pub(super) async fn imap_begin(
    server: &mut Conversation,
    start: bool,
    login: Option<Login>,
) -> Result<(), ProbeFailure> {
    let greeting = server.hear().await?;
    if !greeting.starts_with("* OK") && !greeting.starts_with("* PREAUTH") {
        return Err(unexpected("greeting", "* OK", &greeting));
    }
    let lines = imap_ask(server, "a CAPABILITY", "CAPABILITY").await?;
    let offered = lines.iter().find(|line| line.starts_with("* CAPABILITY"));
    let offered = offered.map(|line| line.to_ascii_uppercase()).unwrap_or_default();
    if !offered.contains("IMAP4REV1") && !offered.contains("IMAP4REV2") {
        return Err(unexpected("CAPABILITY", "IMAP4rev1", &offered));
    }
    if start {
        if !offered.split(' ').any(|word| word == "STARTTLS") {
            return Err(ProbeFailure::wrong("CAPABILITY: STARTTLS is not offered"));
        }
        imap_ask(server, "b STARTTLS", "STARTTLS").await?;
        server.encrypt().await?;
    }
    if let Some(login) = login {
        let line = format!("c LOGIN {} {}", quoted(&login.user), quoted(&login.password));
        imap_ask(server, &line, "LOGIN").await?;
    }
    Ok(())
}

pub(super) async fn imap_ask(server: &mut Conversation, line: &str, name: &str) -> Result<Vec<String>, ProbeFailure> {
    server.say(line).await?;
    let tag = line.split(' ').next().unwrap_or_default().to_owned() + " ";
    let lines = server.hear_until(|line| line.starts_with(&tag)).await?;
    let last = lines.last().map(String::as_str).unwrap_or_default();
    if last.starts_with(&format!("{tag}OK")) {
        Ok(lines)
    } else {
        Err(unexpected(name, &format!("{tag}OK"), last))
    }
}

/// A quoted string of IMAP.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

async fn pop3(server: &mut Conversation, start: bool, login: Option<Login>) -> Result<(), ProbeFailure> {
    pop3_answer(server, "greeting").await?;
    server.say("CAPA").await?;
    // Servers older than RFC 2449 refuse it: that is no fault.
    let known = server.hear().await?.starts_with("+OK");
    let offered = if known {
        server.hear_until(|line| line == ".").await?
    } else {
        Vec::new()
    };
    if start {
        if !offered.iter().any(|line| line.eq_ignore_ascii_case("STLS")) {
            return Err(ProbeFailure::wrong("CAPA: STLS is not offered"));
        }
        server.say("STLS").await?;
        pop3_answer(server, "STLS").await?;
        server.encrypt().await?;
    }
    if let Some(login) = login {
        server.say(&format!("USER {}", login.user)).await?;
        pop3_answer(server, "USER").await?;
        server.say(&format!("PASS {}", login.password)).await?;
        pop3_answer(server, "PASS").await?;
    }
    let _ = server.say("QUIT").await;
    Ok(())
}

async fn pop3_answer(server: &mut Conversation, name: &str) -> Result<(), ProbeFailure> {
    let line = server.hear().await?;
    if line.starts_with("+OK") {
        Ok(())
    } else {
        Err(unexpected(name, "+OK", &line))
    }
}
