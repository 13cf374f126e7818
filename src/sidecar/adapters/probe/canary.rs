//! A message that is sent over SMTP, as anybody's would be, and fetched over IMAP: queue, delivery and mailbox work too, and
//! not only the ports.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::connect;
use super::conversation::Conversation;
use super::mail::{Login, imap_ask, imap_begin, smtp_ask, smtp_begin};
use leasehold_base::clock;
use leasehold_compose::model::{CanaryCheck, ProbeTls};
use leasehold_core::event::ProbeFailure;

/// What tells a canary from a message of somebody.
const HEADER: &str = "X-Leasehold-Canary";
/// Between two looks into the mailbox.
const LOOK: Duration = Duration::from_millis(250);
/// How much of its time a canary has to come; with the rest it can be said that it did not.
const PATIENCE: f64 = 0.9;
/// So many messages at the head of the mailbox are looked through for canaries that came too late.
const SWEPT_MAX: u32 = 50;

/// Sends one and fetches it.
pub(super) async fn check(address: IpAddr, wanted: &CanaryCheck, limit: Duration) -> Result<(), ProbeFailure> {
    let login = Login::read(&wanted.login_file).await?;
    let token = token()?;
    let end = Instant::now() + limit.mul_f64(PATIENCE);
    timeout_at(end, send(address, wanted, &token))
        .await
        .unwrap_or_else(|_| Err(ProbeFailure::silent("no answer in time")))
        .map_err(|failure| over("SMTP", failure))?;
    timeout_at(end, fetch(address, wanted, login, &token))
        .await
        .unwrap_or_else(|_| Err(ProbeFailure::silent("sent, and not in the mailbox in time")))
        .map_err(|failure| over("IMAP", failure))
}

fn over(protocol: &str, failure: ProbeFailure) -> ProbeFailure {
    ProbeFailure {
        text: format!("{protocol}: {}", failure.text),
        ..failure
    }
}

/// Nobody else's message has it.
fn token() -> Result<String, ProbeFailure> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| ProbeFailure::silent(error.to_string()))?;
    Ok(bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

async fn open(address: IpAddr, port: u16, tls: ProbeTls) -> Result<Conversation, ProbeFailure> {
    let mut server = Conversation::new(connect(address, port).await?);
    if tls == ProbeTls::On {
        server.encrypt().await?;
    }
    Ok(server)
}

/// From nobody, so that nothing comes back where it can't be delivered.
async fn send(address: IpAddr, wanted: &CanaryCheck, token: &str) -> Result<(), ProbeFailure> {
    let mut server = open(address, wanted.smtp_port, wanted.tls).await?;
    smtp_begin(&mut server, wanted.tls == ProbeTls::Start).await?;
    smtp_ask(&mut server, "MAIL FROM:<>", "MAIL", "250").await?;
    let recipient = format!("RCPT TO:<{}>", wanted.mailbox);
    smtp_ask(&mut server, &recipient, "RCPT", "25").await?;
    smtp_ask(&mut server, "DATA", "DATA", "354").await?;
    for line in message(&wanted.mailbox, token, &clock::wall_in_mail()) {
        server.say(&line).await?;
    }
    smtp_ask(&mut server, ".", "the message", "250").await?;
    let _ = server.say("QUIT").await;
    Ok(())
}

fn message(mailbox: &str, token: &str, date: &str) -> [String; 9] {
    [
        format!("From: Leasehold <{mailbox}>"),
        format!("To: <{mailbox}>"),
        "Subject: canary".to_owned(),
        format!("Date: {date}"),
        format!("Message-ID: <{token}@canary.invalid>"),
        // Filters that answer by themselves leave it alone (RFC 3834).
        "Auto-Submitted: auto-generated".to_owned(),
        format!("{HEADER}: {token}"),
        String::new(),
        "A test of the mail server by Leasehold, which deletes it again.".to_owned(),
    ]
}

async fn fetch(address: IpAddr, wanted: &CanaryCheck, login: Login, token: &str) -> Result<(), ProbeFailure> {
    let mut server = open(address, wanted.imap_port, wanted.tls).await?;
    imap_begin(&mut server, wanted.tls == ProbeTls::Start, Some(login)).await?;
    let opened = imap_ask(&mut server, "d SELECT INBOX", "SELECT").await?;
    let mut found;
    loop {
        found = search(&mut server, &format!("e UID SEARCH HEADER {HEADER} {token}")).await?;
        if !found.is_empty() {
            break;
        }
        sleep(LOOK).await;
    }
    let ask = format!("f UID FETCH {} BODY.PEEK[HEADER.FIELDS ({HEADER})]", numbers(&found));
    let lines = imap_ask(&mut server, &ask, "FETCH").await?;
    if !lines.iter().any(|line| line.contains(token)) {
        return Err(ProbeFailure::wrong("FETCH: what was found is another message"));
    }
    // Those of earlier checks, which came when nobody waited any more.
    let last = exists(&opened).clamp(1, SWEPT_MAX);
    let late = search(&mut server, &format!("g UID SEARCH 1:{last} HEADER {HEADER} \"\"")).await?;
    found.extend(late);
    delete(&mut server, &numbers(&found)).await?;
    let _ = server.say("z LOGOUT").await;
    Ok(())
}

async fn delete(server: &mut Conversation, messages: &str) -> Result<(), ProbeFailure> {
    let mark = format!("h UID STORE {messages} +FLAGS.SILENT (\\Deleted)");
    imap_ask(server, &mark, "STORE").await?;
    // What a login offers may be more than what was offered before it.
    let offered = imap_ask(server, "i CAPABILITY", "CAPABILITY").await?;
    let precise = offered
        .iter()
        .any(|line| line.to_ascii_uppercase().contains(" UIDPLUS"));
    let expunge = if precise {
        format!("j UID EXPUNGE {messages}")
    } else {
        "j EXPUNGE".to_owned()
    };
    imap_ask(server, &expunge, "EXPUNGE").await.map(drop)
}

async fn search(server: &mut Conversation, ask: &str) -> Result<BTreeSet<u32>, ProbeFailure> {
    let lines = imap_ask(server, ask, "SEARCH").await?;
    Ok(lines.iter().flat_map(|line| matches(line)).collect())
}

/// The messages that an untagged answer to a search names.
fn matches(line: &str) -> Vec<u32> {
    let words = line
        .strip_prefix("* SEARCH")
        .into_iter()
        .flat_map(str::split_whitespace);
    words.filter_map(|word| word.parse().ok()).collect()
}

/// How many messages the mailbox had when it was opened.
fn exists(lines: &[String]) -> u32 {
    let told = |line: &String| line.strip_prefix("* ")?.strip_suffix(" EXISTS")?.parse().ok();
    lines.iter().find_map(told).unwrap_or(0)
}

/// As a set of IMAP.
fn numbers(messages: &BTreeSet<u32>) -> String {
    let each: Vec<String> = messages.iter().map(u32::to_string).collect();
    each.join(",")
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::path::PathBuf;
    use std::sync::{Arc, Mutex};

    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    use tokio::net::TcpListener;

    use super::*;
    use leasehold_core::event::FailureKind;

    const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const SECRET: &str = "pass word";

    /// A mail server with one mailbox: number and text of each message, and what IMAP was asked.
    #[derive(Debug, Default)]
    struct Post {
        messages: Vec<(u32, String)>,
        asked: Vec<String>,
        /// Takes mail and delivers none.
        loses: bool,
        refuses: bool,
    }

    /// What the server says to a line; none at the end of the conversation.
    fn smtp(post: &mut Post, line: &str, text: &mut Option<String>) -> Option<String> {
        if let Some(open) = text {
            if line != "." {
                open.push_str(&format!("{line}\n"));
                return Some(String::new());
            }
            let whole = text.take().unwrap_or_default();
            let number = post.messages.iter().map(|(number, _)| number + 1).max().unwrap_or(7);
            if !post.loses {
                post.messages.push((number, whole));
            }
        }
        Some(match line.split(' ').next()? {
            "QUIT" => return None,
            "RCPT" if post.refuses => "550 nobody\r\n".to_owned(),
            "DATA" => {
                *text = Some(String::new());
                "354 go\r\n".to_owned()
            }
            _ => "250 ok\r\n".to_owned(),
        })
    }

    fn imap(post: &mut Post, line: &str) -> Option<String> {
        post.asked.push(line.to_owned());
        let mut words = line.splitn(3, ' ');
        let (tag, verb, rest) = (words.next()?, words.next()?, words.next().unwrap_or_default());
        let untagged = match (verb, rest.split(' ').next()?) {
            ("LOGOUT", _) => return None,
            ("LOGIN", _) if !rest.contains(SECRET) => return Some(format!("{tag} NO wrong\r\n")),
            ("CAPABILITY", _) => "* CAPABILITY IMAP4rev1 UIDPLUS\r\n".to_owned(),
            ("SELECT", _) => format!("* {} EXISTS\r\n", post.messages.len()),
            ("UID", "SEARCH") => {
                let wanted = rest.rsplit(' ').next()?.trim_matches('"');
                let hits = post.messages.iter().filter(|(_, text)| {
                    let header = format!("{HEADER}: ");
                    text.lines()
                        .any(|line| line.starts_with(&header) && line.contains(wanted))
                });
                let hits: String = hits.map(|(number, _)| format!(" {number}")).collect();
                format!("* SEARCH{hits}\r\n")
            }
            ("UID", "FETCH") => {
                let text = post.messages.iter().map(|(_, text)| text.replace('\n', "\r\n"));
                text.collect()
            }
            ("UID", "EXPUNGE") => {
                let gone: Vec<u32> = rest
                    .rsplit(' ')
                    .next()?
                    .split(',')
                    .filter_map(|n| n.parse().ok())
                    .collect();
                post.messages.retain(|(number, _)| !gone.contains(number));
                String::new()
            }
            _ => String::new(),
        };
        Some(format!("{untagged}{tag} OK\r\n"))
    }

    async fn serve(greeting: &'static str, mut answer: impl FnMut(&str) -> Option<String> + Send + 'static) -> u16 {
        let listener = TcpListener::bind((HOME, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = BufReader::new(stream);
            stream.write_all(greeting.as_bytes()).await.unwrap();
            let mut line = String::new();
            while stream.read_line(&mut line).await.unwrap_or(0) > 0 {
                let Some(said) = answer(line.trim_end()) else { return };
                stream.write_all(said.as_bytes()).await.unwrap();
                line.clear();
            }
        });
        port
    }

    async fn canary(post: Post, password: &str, limit: Duration) -> (Post, Result<(), ProbeFailure>) {
        let login_file: PathBuf = std::env::temp_dir().join(format!(
            "leasehold-canary-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        std::fs::write(&login_file, format!("c\n{password}\n")).unwrap();
        let post = Arc::new(Mutex::new(post));
        let (inward, outward) = (Arc::clone(&post), Arc::clone(&post));
        let mut text = None;
        let wanted = CanaryCheck {
            mailbox: "c@m.test".to_owned(),
            smtp_port: serve("220 m\r\n", move |line| {
                smtp(&mut inward.lock().unwrap(), line, &mut text)
            })
            .await,
            imap_port: serve("* OK m\r\n", move |line| imap(&mut outward.lock().unwrap(), line)).await,
            tls: ProbeTls::Off,
            login_file: login_file.clone(),
        };
        let result = check(HOME, &wanted, limit).await;
        std::fs::remove_file(login_file).unwrap();
        let post = std::mem::take(&mut *post.lock().unwrap());
        (post, result)
    }

    const LONG: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn it_is_fetched_and_deleted_with_those_that_came_late_and_nothing_else() {
        let late = format!("Subject: canary\n{HEADER}: aa\n\n");
        let messages = vec![(3, late), (4, "Subject: of somebody\n\n".to_owned())];
        let post = Post {
            messages,
            ..Post::default()
        };
        let (post, result) = canary(post, SECRET, LONG).await;
        assert_eq!(result, Ok(()));
        let left: Vec<u32> = post.messages.iter().map(|(number, _)| *number).collect();
        assert_eq!(left, [4]);
        assert!(post.asked.contains(&"j UID EXPUNGE 3,5".to_owned()), "{:?}", post.asked);
    }

    #[tokio::test]
    async fn a_message_that_does_not_come_is_told_from_one_that_is_refused() {
        let lost = Post {
            loses: true,
            ..Post::default()
        };
        let failure = canary(lost, SECRET, Duration::from_secs(2)).await.1.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Silent);
        assert_eq!(failure.text, "IMAP: sent, and not in the mailbox in time");
        let refused = Post {
            refuses: true,
            ..Post::default()
        };
        let failure = canary(refused, SECRET, LONG).await.1.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Wrong);
        assert_eq!(failure.text, "SMTP: RCPT: expected `25`, heard `550 nobody`");
    }

    #[tokio::test]
    async fn the_password_is_nowhere() {
        let (_, result) = canary(Post::default(), "hunter2", LONG).await;
        let failure = result.unwrap_err();
        assert!(failure.text.starts_with("IMAP: LOGIN: expected"), "{}", failure.text);
        assert!(!format!("{failure:?}").contains("hunter2"), "{failure:?}");
    }

    #[test]
    fn answers_are_read_as_servers_give_them() {
        assert_eq!(matches("* SEARCH 3 17"), [3, 17]);
        assert_eq!(matches("* SEARCH"), [0; 0]);
        assert_eq!(matches("e OK 3 done"), [0; 0]);
        let lines = ["* FLAGS ()", "* 12 EXISTS", "* 0 RECENT"].map(str::to_owned);
        assert_eq!(exists(&lines), 12);
        assert_eq!(exists(&[]), 0);
        assert_eq!(numbers(&BTreeSet::from([5, 3])), "3,5");
        let text = message("c@m.test", "aa", "Mon, 23 Nov 2026 00:00:00 +0000").join("\n");
        assert!(text.contains("\nX-Leasehold-Canary: aa\n\n"), "{text}");
    }
}
