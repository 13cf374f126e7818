//! `/v1/config`: what all nodes must agree on, beside what this node's compose file says.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::extract::{Extension, Path as Name, State};
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::access::{Caller, Role};
use super::acting::{Answer, OfAGroup, OfTheNode, ask, done, may, order};
use super::acts::{Act, carry_out};
use super::answer::Body;
use super::problem::{Cause, Problem};
use super::{FileConfig, Shared};
use leasehold_api::exported::Exported;
use leasehold_api::number::whole;
use leasehold_api::{Configuration, Confirmed, OrderRequest, Outcome, SetRequest};
use leasehold_core::event::{OrderKind, PromisesWanted, Request};
use leasehold_core::protocol::policy::{Change, SET_MAX};
use leasehold_core::protocol::secret::Secret;
use leasehold_core::requests::refusal::Refusal;
use leasehold_core::snapshot::status::{NodeState, Status};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(config))
        .routes(routes!(apply))
        .routes(routes!(export))
        .routes(routes!(import))
        .routes(routes!(set))
}

fn beside(status: &Status, file: Result<FileConfig, String>) -> Configuration {
    let nodes = status.nodes.iter().map(|(name, line)| {
        let confirmed = Confirmed {
            state: line.state.into(),
            ttl_ms: line.ttl_ms,
        };
        (name.clone(), confirmed)
    });
    let nodes: BTreeMap<String, Confirmed> = nodes.collect();
    let cluster = status.ttl_ms;
    let mut beating = status.nodes.values().filter(|line| line.state == NodeState::Alive);
    let confirmed = beating.all(|line| line.ttl_ms == Some(cluster));
    let millis = |length: Duration| u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
    let file_ttl_ms = file.as_ref().ok().map(|file| millis(file.ttl));
    let file_promises_ms = file.as_ref().ok().and_then(|file| file.promises).map(millis);
    let cluster_promises_ms = status.promises.as_ref().map(|promises| promises.bound_ms);
    let same = file_ttl_ms == Some(cluster) && file_promises_ms == cluster_promises_ms;
    let groups = status.groups.iter().map(|(name, line)| {
        let settings = line.settings.iter().cloned();
        let named = settings.map(|line| (line.setting.name(), line.into()));
        (name.clone(), named.collect())
    });
    Configuration {
        node: status.node.clone(),
        equal: same && confirmed,
        file_ttl_ms,
        file_promises_ms,
        file_fault: file.err(),
        cluster_ttl_ms: cluster,
        cluster_promises_ms,
        longest_ms: status.longest_ms,
        nodes,
        groups: groups.collect(),
    }
}

/// The cluster's configuration beside this node's compose file, which is read anew for it.
#[utoipa::path(get, path = "/v1/config", tag = "reading", responses(
    (status = 200, body = Configuration),
    (status = 401, body = Outcome), (status = 403, body = Outcome),
))]
async fn config(State(shared): State<Shared>) -> Json<Configuration> {
    let file = shared.archive.file_config().await;
    Json(beside(&shared.turn.borrow().status, file))
}

/// Make what this node's compose file says the cluster's: every node takes it with its next beat, nothing stops for it.
#[utoipa::path(post, path = "/v1/config/apply", tag = "acting", request_body = Option<OrderRequest>, responses(OfTheNode))]
async fn apply(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(wanted): Body<OrderRequest>,
) -> Answer {
    may(&caller, Role::Admin)?;
    let file = shared.archive.file_config().await;
    let file = file.map_err(|why| Problem::new(Cause::FileUnreadable, why))?;
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|error| Problem::new(Cause::Unread, format!("no randomness: {error}")))?;
    let promises = PromisesWanted {
        bound: file.promises,
        secret: Secret::new(secret),
    };
    let kind = OrderKind::Configure {
        ttl: file.ttl,
        promises: Some(promises),
    };
    done(order(&shared, &caller, Role::Admin, kind, wanted.why, None).await)
}

/// Set values of a group at run time in the place of its files', or take them back. Every node goes by them with its next beat,
/// and nothing restarts. Refused where a node takes part whose version knows nothing of it.
#[utoipa::path(post, path = "/v1/groups/{group}/config", tag = "acting", request_body = SetRequest,
    params(("group" = String, Path, description = "The group's name")), responses(OfAGroup))]
async fn set(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Name(group): Name<String>,
    Body(wanted): Body<SetRequest>,
) -> Answer {
    may(&caller, Role::Admin)?;
    let changes = changes(&wanted)?;
    done(carry_out(&shared, &caller, Act::Set { group, changes }, wanted.why).await)
}

fn changes(wanted: &SetRequest) -> Result<Vec<Change>, Problem> {
    match wanted.set.len() + wanted.unset.len() {
        0 => return Err(Refusal::SettingsNone.into()),
        1..=SET_MAX => {}
        _ => return Err(Refusal::SettingsTooMany { most: SET_MAX }.into()),
    }
    let set = wanted.set.iter().map(|(name, value)| Change::set(name, value));
    let unset = wanted.unset.iter().map(|name| Change::unset(name));
    // What is taken back goes first: `all` with a value leaves that value.
    let changes: Result<Vec<Change>, Refusal> = unset.chain(set).collect();
    Ok(changes?)
}

/// What the cluster itself has in etcd, without secrets, to be imported when etcd is lost for good.
#[utoipa::path(get, path = "/v1/config/export", tag = "reading", responses(
    (status = 200, body = Exported),
    (status = 401, body = Outcome), (status = 403, body = Outcome),
    (status = 503, body = Outcome, description = "Reading etcd failed, or too many ask"),
))]
async fn export(State(shared): State<Shared>) -> Result<Json<Exported>, Problem> {
    let read = shared.archive.export().await;
    let read = read.map(|exported| Json(exported.into()));
    read.map_err(|why| Problem::new(Cause::Unread, why))
}

/// Put back what was exported, each epoch one higher and free. Refused where etcd knows a group; every node starts over.
#[utoipa::path(post, path = "/v1/config/import", tag = "acting", request_body = Exported, responses(OfTheNode))]
async fn import(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(mut body): Body<Value>,
) -> Answer {
    whole_numbers(&mut body);
    let exported: Exported =
        serde_json::from_value(body).map_err(|error| Problem::malformed(format!("the body does not fit: {error}")))?;
    let exported = Box::new(exported.into());
    done(ask(&shared, &caller, Role::Admin, Request::Import { exported }).await)
}

/// A whole number as JSON means it: `60.0` is one. Every number of the body is.
fn whole_numbers(value: &mut Value) {
    match value {
        Value::Object(fields) => fields.values_mut().for_each(whole_numbers),
        Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        Value::Number(number) => {
            if let Ok(whole) = whole(&*number) {
                *value = whole.into();
            }
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}
