//! `/v1`, the acting half: for operators and admins. Every act is written to the log with who asked and why.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Path as Name, Query, State};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot;
use utoipa::IntoResponses;
use utoipa::openapi::path::{Operation, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{Object, Type};
use utoipa::openapi::{RefOr, Required};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::access::{Caller, Role};
use super::acts::{Act, carry_out};
use super::answer::Body;
use super::problem::{Cause, Problem};
use super::reading::unknown_group;
use super::{PendingRequest, Shared, audit};
use leasehold_api::{
    AcceptRequest, FencedRequest, HoldRequest, OrderRequest, Outcome, PauseRequest, SwitchoverRequest,
};
use leasehold_base::clock;
use leasehold_core::event::{Done, OrderKind, Origin, Request};

/// A reason is a sentence, not a file.
const WHY_MAX: usize = 200;

/// The same where there is no body.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Reason {
    #[serde(default)]
    pub(super) why: String,
}

/// Which request is meant; none: whichever stands.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    #[serde(default)]
    wish: Option<i64>,
}

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(switchover, withdraw))
        .routes(routes!(failback))
        .routes(routes!(apply))
        .routes(routes!(stop))
        .routes(routes!(start))
        .routes(routes!(pause))
        .routes(routes!(resume))
        .routes(routes!(drain))
        .routes(routes!(undrain))
        .routes(routes!(remove))
        .routes(routes!(fenced_group))
        .routes(routes!(fenced_node))
        .routes(routes!(hold))
        .routes(routes!(accept))
}

pub(super) type Answer = Result<Response, Problem>;

/// What every act takes, and may be answered with, besides what it says itself.
pub(super) fn describe(act: &mut Operation) {
    let one = Object::builder()
        .schema_type(Type::String)
        .enum_values(Some(["1"]))
        .build();
    let header = ParameterBuilder::new()
        .name("X-Leasehold")
        .parameter_in(ParameterIn::Header)
        .required(Required::True)
        .description(Some(
            "No form of a page in a browser can send it, and no script of another site may",
        ))
        .schema(Some(one))
        .build();
    act.parameters.get_or_insert_default().push(header.into());
    if let Some(RefOr::T(mut misfit)) = act.responses.responses.get("400").cloned() {
        "The body is not said to be JSON.".clone_into(&mut misfit.description);
        act.responses.responses.insert("415".to_owned(), misfit.into());
    }
}

/// What an act about this node or the cluster is answered with.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "a description of answers, never made")]
pub(super) enum OfTheNode {
    /// It is done, or was before.
    #[response(status = 200)]
    Done(Outcome),
    /// The body does not fit.
    #[response(status = 400)]
    Misfit(Outcome),
    /// No known token was brought.
    #[response(status = 401)]
    Unknown(Outcome),
    /// The role may not do this, or a page of another site asked for it.
    #[response(status = 403)]
    Forbidden(Outcome),
    /// The state of the cluster forbids it, or another operator changed this first.
    #[response(status = 409)]
    Refused(Outcome),
    /// A value in it is one that no cluster takes.
    #[response(status = 422)]
    Unfit(Outcome),
    /// Too many acts at once, or another one is under way: ask again in a moment.
    #[response(status = 429)]
    TooMany(Outcome),
    /// This node takes no part now, or ends: ask another one.
    #[response(status = 503)]
    Unavailable(Outcome),
    /// No answer in time: look what came of it.
    #[response(status = 504)]
    Late(Outcome),
}

/// The same about a group or a node that is named, and may be unknown.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "a description of answers, never made")]
pub(super) enum OfAGroup {
    #[response(status = 200)]
    Done(Outcome),
    #[response(status = 400)]
    Misfit(Outcome),
    #[response(status = 401)]
    Unknown(Outcome),
    #[response(status = 403)]
    Forbidden(Outcome),
    /// There is none of this name.
    #[response(status = 404)]
    Missing(Outcome),
    #[response(status = 409)]
    Refused(Outcome),
    #[response(status = 422)]
    Unfit(Outcome),
    #[response(status = 429)]
    TooMany(Outcome),
    #[response(status = 503)]
    Unavailable(Outcome),
    #[response(status = 504)]
    Late(Outcome),
}

/// Move a group: it stops where it is, then the successor starts. Answered when the holder has begun, or says why it refuses.
#[utoipa::path(post, path = "/v1/groups/{group}/switchover", tag = "acting", request_body = Option<SwitchoverRequest>,
    params(("group" = String, Path, description = "The group's name")), responses(OfAGroup))]
async fn switchover(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Name(group): Name<String>,
    Body(wanted): Body<SwitchoverRequest>,
) -> Answer {
    let SwitchoverRequest { to, why } = wanted;
    done(carry_out(&shared, &caller, Act::Switchover { group, to }, why).await)
}

/// Start a group again in place with what the file and the image say now on its holder, if it runs with anything else.
#[utoipa::path(post, path = "/v1/groups/{group}/apply", tag = "acting", request_body = Option<OrderRequest>,
    params(("group" = String, Path, description = "The group's name")), responses(OfAGroup))]
async fn apply(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Name(group): Name<String>,
    Body(wanted): Body<OrderRequest>,
) -> Answer {
    done(carry_out(&shared, &caller, Act::Apply { group }, wanted.why).await)
}

/// Move a group back to the ready node that is preferred for it. Nothing is done where that one holds it.
#[utoipa::path(post, path = "/v1/groups/{group}/failback", tag = "acting", request_body = Option<OrderRequest>,
    params(("group" = String, Path, description = "The group's name")), responses(OfAGroup))]
async fn failback(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Name(group): Name<String>,
    Body(wanted): Body<OrderRequest>,
) -> Answer {
    done(carry_out(&shared, &caller, Act::Failback { group }, wanted.why).await)
}

/// Take a switchover back that its holder has not begun.
#[utoipa::path(delete, path = "/v1/groups/{group}/switchover", tag = "acting",
    params(("group" = String, Path, description = "The group's name"),
        ("wish" = Option<i64>, Query, description = "The id of the request: no other one is taken back")), responses(OfAGroup))]
async fn withdraw(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Name(group): Name<String>,
    which: Result<Query<Which>, QueryRejection>,
) -> Answer {
    known_group(&shared, &group)?;
    let Query(Which { wish: id }) =
        which.map_err(|error| Problem::malformed(format!("the query does not fit: {error}")))?;
    let kind = OrderKind::Withdraw { group, id };
    done(order(&shared, &caller, Role::Operator, kind, String::new(), None).await)
}

/// Stop a group; nobody starts it until `start`.
#[utoipa::path(post, path = "/v1/groups/{group}/stop", tag = "acting", request_body = Option<OrderRequest>,
    params(("group" = String, Path, description = "The group's name")), responses(OfAGroup))]
async fn stop(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Name(group): Name<String>,
    Body(wanted): Body<OrderRequest>,
) -> Answer {
    done(carry_out(&shared, &caller, Act::Stop { group }, wanted.why).await)
}

/// Take a `stop` back.
#[utoipa::path(post, path = "/v1/groups/{group}/start", tag = "acting", request_body = Option<OrderRequest>,
    params(("group" = String, Path, description = "The group's name")), responses(OfAGroup))]
async fn start(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Name(group): Name<String>,
    Body(wanted): Body<OrderRequest>,
) -> Answer {
    done(carry_out(&shared, &caller, Act::Start { group }, wanted.why).await)
}

/// Do nothing to a group automatically, for a while.
#[utoipa::path(post, path = "/v1/groups/{group}/pause", tag = "acting", request_body = PauseRequest,
    params(("group" = String, Path, description = "The group's name")), responses(OfAGroup))]
async fn pause(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Name(group): Name<String>,
    Body(wanted): Body<PauseRequest>,
) -> Answer {
    let length = Duration::from_secs(wanted.seconds);
    done(carry_out(&shared, &caller, Act::Pause { group, length }, wanted.why).await)
}

/// End a pause.
#[utoipa::path(post, path = "/v1/groups/{group}/resume", tag = "acting", request_body = Option<OrderRequest>,
    params(("group" = String, Path, description = "The group's name")), responses(OfAGroup))]
async fn resume(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Name(group): Name<String>,
    Body(wanted): Body<OrderRequest>,
) -> Answer {
    done(carry_out(&shared, &caller, Act::Resume { group }, wanted.why).await)
}

/// Let a node give its groups away and take none.
#[utoipa::path(post, path = "/v1/nodes/{node}/drain", tag = "acting", request_body = Option<OrderRequest>,
    params(("node" = String, Path, description = "The node's name")), responses(OfAGroup))]
async fn drain(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Name(node): Name<String>,
    Body(wanted): Body<OrderRequest>,
) -> Answer {
    done(carry_out(&shared, &caller, Act::Drain { node }, wanted.why).await)
}

/// Take a `drain` back.
#[utoipa::path(post, path = "/v1/nodes/{node}/undrain", tag = "acting", request_body = Option<OrderRequest>,
    params(("node" = String, Path, description = "The node's name")), responses(OfAGroup))]
async fn undrain(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Name(node): Name<String>,
    Body(wanted): Body<OrderRequest>,
) -> Answer {
    done(carry_out(&shared, &caller, Act::Undrain { node }, wanted.why).await)
}

/// Delete what a node that is gone for good left behind. Refused while it beats, or while a record names it as holder.
#[utoipa::path(delete, path = "/v1/nodes/{node}", tag = "acting",
    params(("node" = String, Path, description = "The node's name"),
        ("why" = Option<String>, Query, max_length = 200, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$",
            description = "For the log and the history")), responses(OfTheNode))]
async fn remove(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Name(node): Name<String>,
    reason: Result<Query<Reason>, QueryRejection>,
) -> Answer {
    let Query(Reason { why }) =
        reason.map_err(|error| Problem::malformed(format!("the query does not fit: {error}")))?;
    // One that is removed already is no fault.
    done(carry_out(&shared, &caller, Act::Remove { node }, why).await)
}

/// Your word that the storage of a stuck group was cut from its host: the group is freed.
#[utoipa::path(post, path = "/v1/groups/{group}/fenced", tag = "acting", request_body = FencedRequest,
    params(("group" = String, Path, description = "The group's name")), responses(OfAGroup))]
async fn fenced_group(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Name(group): Name<String>,
    Body(wanted): Body<FencedRequest>,
) -> Answer {
    done(carry_out(&shared, &caller, Act::FencedGroup { group }, wanted.by).await)
}

/// Your word that the node can't write any more: what it held is freed.
#[utoipa::path(post, path = "/v1/nodes/{node}/fenced", tag = "acting", request_body = FencedRequest,
    params(("node" = String, Path, description = "The node's name")), responses(OfAGroup))]
async fn fenced_node(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Name(node): Name<String>,
    Body(wanted): Body<FencedRequest>,
) -> Answer {
    done(carry_out(&shared, &caller, Act::FencedNode { node }, wanted.by).await)
}

/// One long beat of this node, so that its sidecar can be replaced.
#[utoipa::path(post, path = "/v1/hold", tag = "acting", request_body = HoldRequest, responses(OfTheNode))]
async fn hold(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(wanted): Body<HoldRequest>,
) -> Answer {
    let (node, length) = (shared.node.clone(), Duration::from_secs(wanted.seconds));
    done(carry_out(&shared, &caller, Act::Hold { node, length }, String::new()).await)
}

/// Trust a restored or replaced etcd; every node starts over.
#[utoipa::path(post, path = "/v1/accept", tag = "acting", request_body = Option<AcceptRequest>, responses(OfTheNode))]
async fn accept(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(wanted): Body<AcceptRequest>,
) -> Answer {
    let AcceptRequest { force, epoch } = wanted;
    done(ask(&shared, &caller, Role::Admin, Request::Accept { force, epoch }).await)
}

pub(super) fn known_group(shared: &Shared, group: &str) -> Result<(), Problem> {
    let known = shared.turn.borrow().status.groups.contains_key(group);
    if known { Ok(()) } else { Err(unknown_group(group)) }
}

pub(super) fn known_node(shared: &Shared, node: &str) -> Result<(), Problem> {
    let known = shared.turn.borrow().status.nodes.contains_key(node);
    let unknown = || {
        Problem::new(
            Cause::NodeUnknown,
            format!("no node {node}: see `leasehold node list`, or /v1/status"),
        )
    };
    if known { Ok(()) } else { Err(unknown()) }
}

pub(super) fn one_line(name: &str, text: &str) -> Result<(), Problem> {
    if text.chars().count() > WHY_MAX || text.chars().any(char::is_control) {
        let message = format!("{name} is one line of {WHY_MAX} characters at most");
        return Err(Problem::malformed(message));
    }
    Ok(())
}

pub(super) async fn order(
    shared: &Shared,
    caller: &Caller,
    needed: Role,
    order: OrderKind,
    why: String,
    until: Option<String>,
) -> Result<Done, Problem> {
    let origin = origin(shared, caller, why, until)?;
    ask(shared, caller, needed, Request::Order { order, origin }).await
}

pub(super) fn origin(shared: &Shared, caller: &Caller, why: String, until: Option<String>) -> Result<Origin, Problem> {
    one_line("why", &why)?;
    Ok(Origin {
        by: format!("{} on {}", caller.name, shared.node),
        at: clock::wall(),
        why,
        until,
    })
}

/// Whether the caller's role is enough.
pub(super) fn may(caller: &Caller, needed: Role) -> Result<(), Problem> {
    if caller.role >= needed {
        return Ok(());
    }
    let message = format!(
        "{} is {}: this takes {}",
        caller.name,
        caller.role.word(),
        needed.word()
    );
    Err(Problem::new(Cause::Forbidden, message))
}

/// Hands the command to the loop and waits for its reply.
pub(super) async fn ask(shared: &Shared, caller: &Caller, needed: Role, request: Request) -> Result<Done, Problem> {
    may(caller, needed)?;
    if shared.rate.admits().is_none() {
        return Err(Problem::new(Cause::TooManyActs, "too many acts at once: wait a second"));
    }
    tracing::info!(
        code = "operator_asked",
        by = caller.name,
        role = caller.role.word(),
        ?request,
        "asked by an operator"
    );
    let act = audit::act(format!("{} on {}", caller.name, shared.node), &request);
    let (reply, answer) = oneshot::channel();
    let result = match shared.asked.try_send(PendingRequest { request, reply }) {
        Err(TrySendError::Full(_)) => Err(Problem::new(Cause::Busy, "too many commands wait: try again")),
        Err(TrySendError::Closed(_)) => Err(ending()),
        Ok(()) => match tokio::time::timeout(shared.patience, answer).await {
            Ok(Ok(result)) => result.map_err(Problem::from),
            Ok(Err(_)) => Err(ending()),
            Err(_) => Err(Problem::new(
                Cause::NoAnswer,
                format!("no reply within {:?}: see `leasehold status`", shared.patience),
            )),
        },
    };
    tracing::info!(
        code = "operator_answered",
        by = caller.name,
        ok = result.is_ok(),
        refusal = result.as_ref().err().map(Problem::code),
        "answered to an operator"
    );
    shared.archive.keep(audit::answered(act, &result));
    result
}

/// The answer to whoever called `/v1`.
pub(super) fn done(result: Result<Done, Problem>) -> Answer {
    result.map(|done| Json(Outcome::done(done)).into_response())
}

fn ending() -> Problem {
    Problem::new(Cause::Ending, "the sidecar is ending: ask another node")
}
