//! What a refused call is answered with: the status, the word, and what the documentation says of it.

use std::path::Path;

use super::tests::{Bench, call};
use super::*;
use leasehold_api::Outcome;
use leasehold_api::problem::codes;

/// One command is asked for; its answer, and the code in it.
async fn asked(bench: &Bench) -> (u16, String) {
    let (status, text) = call(&bench.host, "POST", "/v1/groups/mail/start", None, "").await;
    let outcome: Outcome = serde_json::from_str(&text).unwrap();
    assert!(!outcome.ok && !outcome.message.is_empty(), "{text}");
    (status, outcome.code.unwrap())
}

#[tokio::test]
async fn what_the_core_refuses_has_its_status_and_its_word() {
    let mut bench = Bench::new();
    let mut commands = std::mem::replace(&mut bench.asked, mpsc::channel(1).1);
    let group = || "mail".to_owned();
    let refusals = [
        (Refusal::PauseLength { least: Duration::ZERO }, 422, "pause_length"),
        (
            Refusal::NoGroup {
                group: group(),
                known: group(),
            },
            404,
            "group_unknown",
        ),
        (Refusal::NoStandby { group: group() }, 409, "no_standby"),
        (Refusal::Faster, 409, "conflict"),
        (Refusal::TooManyOrders, 429, "busy"),
        (Refusal::Frozen, 503, "frozen"),
        (Refusal::Ending, 503, "ending"),
        (Refusal::NotWritten, 504, "not_written"),
    ];
    for (refusal, status, code) in refusals {
        let answers = async {
            let one = commands.recv().await.unwrap();
            one.reply.send(Err(refusal)).unwrap();
        };
        let (answer, ()) = tokio::join!(asked(&bench), answers);
        assert_eq!(answer, (status, code.to_owned()));
    }
}

#[tokio::test]
async fn a_loop_that_is_full_silent_or_gone_is_told_from_a_refusal() {
    let mut bench = Bench::with_patience(Duration::from_millis(50));
    // Nobody takes any: the first ones wait in vain, and then there is no room.
    for _ in 0..ASKED_MAX {
        assert_eq!(asked(&bench).await, (504, "no_answer".to_owned()));
    }
    assert_eq!(asked(&bench).await, (429, "busy".to_owned()));
    // The loop ends with a command in its hands, then it is gone.
    let mut commands = std::mem::replace(&mut bench.asked, mpsc::channel(1).1);
    while commands.try_recv().is_ok() {}
    let drops = async { drop(commands.recv().await) };
    let (answer, ()) = tokio::join!(asked(&bench), drops);
    assert_eq!(answer, (503, "ending".to_owned()));
    drop(commands);
    assert_eq!(asked(&bench).await, (503, "ending".to_owned()));
}

#[test]
fn every_word_stands_in_the_documentation_with_its_status_and_no_other_does() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/endpoints.md");
    let page = std::fs::read_to_string(page).unwrap();
    let rows = page
        .lines()
        .skip_while(|line| *line != "| code | status | what to do |");
    let rows = rows.take_while(|line| line.starts_with('|')).skip(2);
    let told: Vec<(String, u16)> = rows
        .map(|row| {
            let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
            let [code, status, remedy] = cells[..] else {
                panic!("three cells: {row}")
            };
            assert!(!remedy.is_empty(), "{row}");
            (code.trim_matches('`').to_owned(), status.parse().unwrap())
        })
        .collect();
    let codes = codes().into_iter().map(|(word, status)| (word.to_owned(), status));
    assert_eq!(told, codes.collect::<Vec<_>>());
}

#[test]
fn a_word_has_one_status() {
    let codes = codes();
    for (word, status) in &codes {
        let same = codes.iter().filter(|(other, _)| other == word).count();
        assert_eq!(same, 1, "{word} {status}");
    }
}
