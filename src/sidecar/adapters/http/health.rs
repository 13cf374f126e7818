//! The endpoints that are open to everybody, with the names and codes that users of HAProxy and Patroni know.

use std::time::Duration;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;

use super::Shared;
use crate::adapters::metrics;
use leasehold_base::clock;

/// The loop beats at least every second; so long without a turn it hangs.
const STILL_MAX: Duration = Duration::from_secs(5);

/// A group may be named in the query of the health endpoints: `/leader?group=mail`.
#[derive(Debug, Default, Deserialize)]
struct OfGroup {
    group: Option<String>,
}

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/health", get(readyz))
        .route("/leader", get(leader))
        .route("/standby", get(standby))
        .route("/metrics", get(metrics_text))
}

async fn livez(State(shared): State<Shared>) -> Response {
    let still = clock::now().since(shared.turn.borrow().at);
    if still < STILL_MAX {
        verdict(true, "alive")
    } else {
        verdict(false, &format!("the loop has not turned for {} ms", still.as_millis()))
    }
}

async fn readyz(State(shared): State<Shared>, Query(wanted): Query<OfGroup>) -> Response {
    match shared.turn.borrow().status.ready(wanted.group.as_deref()) {
        Ok(()) => verdict(true, "ready"),
        Err(why) => verdict(false, &why),
    }
}

async fn leader(State(shared): State<Shared>, Query(wanted): Query<OfGroup>) -> Response {
    let leads = shared.turn.borrow().status.leads(wanted.group.as_deref());
    verdict(leads, if leads { "leader" } else { "not the leader" })
}

async fn standby(State(shared): State<Shared>, Query(wanted): Query<OfGroup>) -> Response {
    let status = &shared.turn.borrow().status;
    let group = wanted.group.as_deref();
    if status.holds(group) {
        return verdict(false, "holds the group");
    }
    match status.ready(group) {
        Ok(()) => verdict(true, "standby"),
        Err(why) => verdict(false, &why),
    }
}

async fn metrics_text(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let format = metrics::Format::of(accept.unwrap_or_default());
    let turn = shared.turn.borrow();
    match metrics::encode(&turn.status, &turn.recent.counters, format) {
        Ok(text) => ([(header::CONTENT_TYPE, format.content_type())], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

fn verdict(good: bool, text: &str) -> Response {
    let status = if good {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, format!("{text}\n")).into_response()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::{mpsc, watch};

    use super::super::testing::Nowhere;
    use super::super::{ASKED_MAX, Snapshot};
    use super::*;
    use leasehold_base::time::Time;
    use leasehold_core::group::Stage;
    use leasehold_core::snapshot::status::{GroupLine, HeldLine, MemberState, Status};

    fn status(stage: Option<Stage>, unready: &str) -> Status {
        let held = stage.map(|stage| HeldLine {
            stage,
            ..HeldLine::default()
        });
        let line = GroupLine {
            held,
            unready: unready.to_owned(),
            ..GroupLine::default()
        };
        Status {
            member: MemberState::Joined,
            groups: [("mail".to_owned(), line)].into(),
            ..Status::default()
        }
    }

    async fn codes(at: Time, status: Status, paths: &[&str]) -> Vec<String> {
        let (asked, _commands) = mpsc::channel(ASKED_MAX);
        let (_publisher, turn) = watch::channel(Snapshot {
            at,
            status,
            recent: std::sync::Arc::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Shared::new(turn, asked, "a", std::sync::Arc::new(Nowhere));
        let server = tokio::spawn(async move { axum::serve(listener, routes().with_state(shared)).await });
        let mut codes = Vec::new();
        for path in paths {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            codes.push(answer[9..12].to_owned());
        }
        server.abort();
        codes
    }

    const PATHS: [&str; 6] = [
        "/livez",
        "/readyz",
        "/health",
        "/leader",
        "/standby",
        "/leader?group=other",
    ];

    #[tokio::test]
    async fn the_codes_tell_leader_standby_and_unready_apart() {
        let now = clock::now();
        let leader = codes(now, status(Some(Stage::Active), ""), &PATHS).await;
        assert_eq!(leader, ["200", "200", "200", "200", "503", "503"]);
        let starting = codes(now, status(Some(Stage::Starting), ""), &PATHS).await;
        assert_eq!(starting, ["200", "200", "200", "503", "503", "503"]);
        let standby = codes(now, status(None, ""), &PATHS).await;
        assert_eq!(standby, ["200", "200", "200", "503", "200", "503"]);
        let mut stuck = status(Some(Stage::Stopping), "");
        stuck
            .groups
            .values_mut()
            .for_each(|line| line.stuck = Some("stuck on a".to_owned()));
        assert_eq!(
            codes(now, stuck, &PATHS).await,
            ["200", "503", "503", "503", "503", "503"]
        );
        let unready = codes(now, status(None, "no image"), &PATHS).await;
        assert_eq!(unready, ["200", "503", "503", "503", "503", "503"]);
    }

    #[tokio::test]
    async fn a_loop_that_hangs_is_not_alive_and_every_read_is_there() {
        let long_ago = clock::now().minus(Duration::from_secs(6));
        let paths = ["/livez", "/metrics", "/v1/status", "/v1/accept"];
        assert_eq!(
            codes(long_ago, status(None, ""), &paths).await,
            ["503", "200", "404", "404"]
        );
    }
}
