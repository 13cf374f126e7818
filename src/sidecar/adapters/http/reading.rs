//! `/v1`, the reading half: for viewers.

use axum::Json;
use axum::extract::{Path as Name, State};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Shared;
use super::problem::{Cause, Problem};
use leasehold_api::history::History;
use leasehold_api::status::{GroupLine, Status};
use leasehold_api::{Outcome, Why};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(status))
        .routes(routes!(group))
        .routes(routes!(why))
        .routes(routes!(history))
}

/// The cluster as this node sees it.
#[utoipa::path(get, path = "/v1/status", tag = "reading", responses(
    (status = 200, body = Status),
    (status = 401, body = Outcome), (status = 403, body = Outcome),
))]
async fn status(State(shared): State<Shared>) -> Json<Status> {
    Json(shared.turn.borrow().status.clone().into())
}

/// One group as this node sees it.
#[utoipa::path(get, path = "/v1/groups/{group}", tag = "reading", params(("group" = String, Path, description = "The group's name")), responses(
    (status = 200, body = GroupLine),
    (status = 401, body = Outcome), (status = 403, body = Outcome), (status = 404, body = Outcome),
))]
async fn group(State(shared): State<Shared>, Name(name): Name<String>) -> Result<Json<GroupLine>, Problem> {
    let turn = shared.turn.borrow();
    let line = turn.status.groups.get(&name).cloned();
    line.map(|line| Json(line.into())).ok_or_else(|| unknown_group(&name))
}

/// The sentence, the evidence and the last decisions.
#[utoipa::path(get, path = "/v1/groups/{group}/why", tag = "reading", params(("group" = String, Path, description = "The group's name")), responses(
    (status = 200, body = Why),
    (status = 401, body = Outcome), (status = 403, body = Outcome), (status = 404, body = Outcome),
))]
async fn why(State(shared): State<Shared>, Name(name): Name<String>) -> Result<Json<Why>, Problem> {
    let turn = shared.turn.borrow();
    let evidence = turn.status.groups.get(&name).cloned();
    let evidence = evidence.ok_or_else(|| unknown_group(&name))?;
    Ok(Json(Why {
        node: turn.status.node.clone(),
        sentence: evidence.reason.clone(),
        decisions: turn.recent.about(&name),
        evidence: evidence.into(),
        group: name,
    }))
}

/// Every epoch that is kept: from where, to where, why and how long it took; and what operators asked for.
#[utoipa::path(get, path = "/v1/groups/{group}/history", tag = "reading", params(("group" = String, Path, description = "The group's name")), responses(
    (status = 200, body = History),
    (status = 401, body = Outcome), (status = 403, body = Outcome), (status = 404, body = Outcome),
    (status = 503, body = Outcome, description = "Reading etcd failed, or too many ask"),
))]
async fn history(State(shared): State<Shared>, Name(name): Name<String>) -> Result<Json<History>, Problem> {
    if !shared.turn.borrow().status.groups.contains_key(&name) {
        return Err(unknown_group(&name));
    }
    let read = shared.archive.history(&name).await;
    let read = read.map(|history| Json(history.into()));
    read.map_err(|why| Problem::new(Cause::Unread, why))
}

pub(super) fn unknown_group(name: &str) -> Problem {
    Problem::new(
        Cause::GroupUnknown,
        format!("no group {name}: see `leasehold group list`, or /v1/status"),
    )
}
