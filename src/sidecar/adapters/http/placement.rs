//! `/v1`, on which nodes a group may run, and whether it is there at all.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Path as Name, Query, State};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Shared;
use super::access::Caller;
use super::acting::{Answer, OfAGroup, Reason, done};
use super::acts::{Act, carry_out};
use super::answer::Body;
use super::problem::Problem;
use leasehold_api::{ExtentRequest, OrderRequest};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(extend))
        .routes(routes!(unextend))
        .routes(routes!(create))
        .routes(routes!(delete))
}

/// Take an `unextend` back. Refused while the node does not beat, or has no such group in its compose file.
#[utoipa::path(post, path = "/v1/groups/{group}/extend", tag = "acting", request_body = ExtentRequest,
    params(("group" = String, Path, description = "The group's name")), responses(OfAGroup))]
async fn extend(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Name(group): Name<String>,
    Body(wanted): Body<ExtentRequest>,
) -> Answer {
    let ExtentRequest { node, why } = wanted;
    done(carry_out(&shared, &caller, Act::Extend { group, node }, why).await)
}

/// Let a node never take a group, until it is extended to it again. Refused while it holds the group, or is the last one.
#[utoipa::path(post, path = "/v1/groups/{group}/unextend", tag = "acting", request_body = ExtentRequest,
    params(("group" = String, Path, description = "The group's name")), responses(OfAGroup))]
async fn unextend(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Name(group): Name<String>,
    Body(wanted): Body<ExtentRequest>,
) -> Answer {
    let ExtentRequest { node, why } = wanted;
    done(carry_out(&shared, &caller, Act::Unextend { group, node }, why).await)
}

/// Take a deletion back. Refused while the storage is not initialised, or a container without a lease uses it.
#[utoipa::path(post, path = "/v1/groups/{group}/create", tag = "acting", request_body = Option<OrderRequest>,
    params(("group" = String, Path, description = "The group's name")), responses(OfAGroup))]
async fn create(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Name(group): Name<String>,
    Body(wanted): Body<OrderRequest>,
) -> Answer {
    done(carry_out(&shared, &caller, Act::Create { group }, wanted.why).await)
}

/// Delete a group: no node starts it any more, its record and its storage stay. Refused while a node holds it.
#[utoipa::path(delete, path = "/v1/groups/{group}", tag = "acting",
    params(("group" = String, Path, description = "The group's name"),
        ("why" = Option<String>, Query, max_length = 200, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$",
            description = "For the log, `status` and the history")), responses(OfAGroup))]
async fn delete(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Name(group): Name<String>,
    reason: Result<Query<Reason>, QueryRejection>,
) -> Answer {
    let Query(Reason { why }) =
        reason.map_err(|error| Problem::malformed(format!("the query does not fit: {error}")))?;
    done(carry_out(&shared, &caller, Act::Delete { group }, why).await)
}
