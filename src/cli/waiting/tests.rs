//! A sidecar that is played: it takes the order, and shows what it is told to show.

use std::path::PathBuf;
use std::sync::Arc;

use leasehold_core::event::{Done, IntentRef, OrderKind, Request};
use leasehold_core::group::Stage;
use leasehold_core::protocol::records::Intent;
use leasehold_core::snapshot::status::{self as seen, GroupLine as Seen, GroupState, HeldLine, MemberState};
use leasehold_sidecar::adapters::http::{self, Snapshot};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::*;
use crate::answer::Answer;

const WISH: i64 = 7;

struct Played {
    place: PathBuf,
    daemon: Daemon,
    shown: watch::Sender<Snapshot>,
    /// What was ordered.
    loops: JoinHandle<Request>,
}

fn turn(member: MemberState, line: Seen) -> Snapshot {
    let alive = |name: &str| {
        let state = seen::NodeState::Alive;
        let node = seen::NodeLine {
            state,
            ..seen::NodeLine::default()
        };
        (name.to_owned(), node)
    };
    let status = seen::Status {
        node: "a".to_owned(),
        nodes: ["a", "b"].map(alive).into(),
        member,
        groups: [("mail".to_owned(), line)].into(),
        ..seen::Status::default()
    };
    Snapshot {
        at: clock::now(),
        status,
        recent: Arc::default(),
    }
}

fn held(epoch: u64, stage: Stage) -> Seen {
    let run = leasehold_base::epoch::Run { epoch, n: 1 };
    Seen {
        state: GroupState::Held(stage),
        epoch,
        holder: Some("a".to_owned()),
        held: Some(HeldLine {
            run,
            stage,
            ..HeldLine::default()
        }),
        ..Seen::default()
    }
}

fn elsewhere(epoch: u64, holder: &str) -> Seen {
    Seen {
        state: GroupState::Standby,
        epoch,
        holder: Some(holder.to_owned()),
        ..Seen::default()
    }
}

fn wished(line: Seen, begun: Option<i64>) -> Seen {
    let (to, by, why) = (None, "root on a".to_owned(), String::new());
    Seen {
        intent: Some((Intent::Switchover { to, by, why, begun }, WISH)),
        ..line
    }
}

fn free(epoch: u64) -> Seen {
    Seen {
        state: GroupState::Free,
        epoch,
        ..Seen::default()
    }
}

impl Played {
    fn new(name: &str, line: Seen) -> Self {
        let place = std::env::temp_dir().join(format!("leasehold-waiting-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&place).unwrap();
        let socket = place.join("leasehold.sock");
        let (shown, turns) = watch::channel(turn(MemberState::Joined, line));
        let archive = Arc::new(http::testing::Nowhere);
        let inbox = tokio::sync::mpsc::channel(8).0;
        let mut asked = http::serve(http::testing::nowhere(&socket), turns, archive, inbox);
        let loops = tokio::spawn(async move {
            let next = asked.recv().await.unwrap();
            let intent = matches!(next.request, Request::Switchover { .. }).then_some(IntentRef { id: WISH, to: None });
            let text = "taken".to_owned();
            next.reply.send(Ok(Done { text, intent })).unwrap();
            next.request
        });
        Self {
            place,
            daemon: Daemon::at(socket),
            shown,
            loops,
        }
    }

    fn show(&self, line: Seen) {
        self.shown.send_replace(turn(MemberState::Joined, line));
    }
}

impl Drop for Played {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.place);
    }
}

fn patience(no_wait: bool, timeout: Duration) -> Patience {
    Patience { no_wait, timeout }
}

const LONG: Duration = Duration::from_secs(60);

fn said(answer: Result<Answer>) -> (bool, serde_json::Value) {
    let answer = answer.unwrap();
    (answer.is_good(), serde_json::from_str(&answer.machine()).unwrap())
}

#[tokio::test]
async fn an_order_is_followed_until_the_service_serves() {
    let played = Played::new("serves", free(3));
    let waiting = Waiting::new(&played.daemon, patience(false, LONG), true);
    let (told, ()) = tokio::join!(waiting.start("mail"), async {
        for stage in [Stage::Starting, Stage::Checking, Stage::Active] {
            tokio::time::sleep(LOOK_AGAIN * 3).await;
            played.show(held(4, stage));
        }
    });
    let wanted = serde_json::json!({"ok": true, "message": "a serves mail", "end": "serves", "node": "a"});
    assert_eq!(said(told), (true, wanted));
}

#[tokio::test]
async fn who_does_not_want_to_wait_has_the_answer_of_the_sidecar() {
    let played = Played::new("no-wait", free(3));
    let waiting = Waiting::new(&played.daemon, patience(true, LONG), true);
    let wanted = serde_json::json!({"ok": true, "message": "taken"});
    assert_eq!(said(waiting.start("mail").await), (true, wanted));
    let mut played = played;
    let command = (&mut played.loops).await.unwrap();
    assert!(matches!(command, Request::Order { order: OrderKind::Start { group }, .. } if group == "mail"));
}

#[tokio::test]
async fn what_takes_too_long_is_left_to_go_on() {
    let played = Played::new("timeout", wished(elsewhere(3, "b"), None));
    let short = Duration::from_secs(1);
    let waiting = Waiting::new(&played.daemon, patience(false, short), true);
    let (good, told) = said(waiting.switchover("mail", None, String::new()).await);
    let message = "not done within 1s, and the order stands: b holds mail and has not said that it serves; `leasehold why mail` \
                   shows how it goes on, `leasehold switchover --withdraw mail` takes it back while it has not begun";
    let wanted = serde_json::json!({"ok": false, "message": message, "end": "timed_out", "node": "b"});
    assert_eq!((good, told), (false, wanted));
}

#[tokio::test]
async fn a_sidecar_that_is_no_member_for_a_while_says_nothing_meanwhile() {
    let played = Played::new("away", wished(held(3, Stage::Stopping), Some(WISH)));
    let waiting = Waiting::new(&played.daemon, patience(false, LONG), true);
    let (told, ()) = tokio::join!(waiting.switchover("mail", None, String::new()), async {
        // As a new sidecar begins: it knows of no holder and no request.
        for member in [MemberState::Left, MemberState::Arriving, MemberState::Waiting] {
            tokio::time::sleep(LOOK_AGAIN * 3).await;
            let known_of_nothing = Seen::default();
            played.shown.send_replace(turn(member, known_of_nothing));
        }
        tokio::time::sleep(LOOK_AGAIN * 3).await;
        let serving = Some(leasehold_base::epoch::Run { epoch: 4, n: 1 });
        let line = elsewhere(4, "b");
        played.show(Seen { serving, ..line });
    });
    let wanted = serde_json::json!({"ok": true, "message": "mail moved to b", "end": "serves", "node": "b"});
    assert_eq!(said(told), (true, wanted));
}

#[tokio::test]
async fn a_sidecar_that_stays_away_ends_the_waiting() {
    let nobody = Daemon::at("/nowhere/leasehold.sock".into());
    let mut all = vec![(follower(&Status::default(), "mail", Goal::Stops), None)];
    let cut = look_on(&nobody, Duration::from_millis(400), &mut all, |_| {}).await;
    let Some(Cut::Blind(after, why)) = &cut else {
        panic!("{cut:?}")
    };
    assert!(
        *after == Duration::from_millis(400) && why.contains("no sidecar answers"),
        "{why}"
    );
    let told: serde_json::Value = serde_json::from_str(&told::cut_short(&all, &cut.unwrap()).machine()).unwrap();
    let message = told["message"].as_str().unwrap();
    assert!(
        told["end"] == "no_answer" && message.contains("the order stands"),
        "{message}"
    );
    assert!(message.contains("on another node `leasehold why mail`"), "{message}");
}

#[test]
fn a_wait_is_bounded_when_it_is_read() {
    assert_eq!(bounded("90s"), Ok(Duration::from_secs(90)));
    assert_eq!(bounded("24h"), Ok(TIMEOUT_MAX));
    for wrong in ["25h", "0s", "5", "", "-1s"] {
        assert!(bounded(wrong).is_err(), "{wrong}");
    }
}
