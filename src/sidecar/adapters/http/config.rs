//! `/v1/config`: what all nodes must agree on, beside what this node's compose file says.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Extension, State};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Shared;
use super::access::{Caller, Role};
use super::acting::{Answer, OfTheNode, OrderRequest, ask, may, order};
use super::answer::{Body, Outcome, whole};
use super::problem::{Cause, Problem};
use leasehold_core::event::{Command, Wish};
use leasehold_core::exported::Exported;
use leasehold_core::status::Status;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(config))
        .routes(routes!(apply))
        .routes(routes!(export))
        .routes(routes!(import))
}

/// The cluster's configuration, this node's file, and what each node has confirmed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Configuration {
    /// The node whose file and view this is.
    pub node: String,
    /// The file says what the cluster says, and every node that beats has confirmed it.
    pub equal: bool,
    /// The ttl in this node's compose file, as it is now, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_ttl_ms: Option<u64>,
    /// Why the file can't be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_fault: Option<String>,
    /// The ttl that is everybody's.
    pub cluster_ttl_ms: u64,
    /// While not every node has confirmed a shorter one: how long a node that nobody sees is waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub longest_ms: Option<u64>,
    pub nodes: BTreeMap<String, Confirmed>,
}

/// What a node has confirmed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Confirmed {
    /// `alive` or `silent`.
    pub state: String,
    /// What its last beat promised; more than the ttl under a `hold`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<u64>,
}

impl Configuration {
    fn new(status: &Status, file: Result<u64, String>) -> Self {
        let nodes = status.nodes.iter().map(|(name, line)| {
            let confirmed = Confirmed {
                state: line.state.clone(),
                ttl_ms: line.ttl_ms,
            };
            (name.clone(), confirmed)
        });
        let nodes: BTreeMap<String, Confirmed> = nodes.collect();
        let cluster = status.ttl_ms;
        let confirmed = |node: &Confirmed| node.state != "alive" || node.ttl_ms == Some(cluster);
        let (file_ttl_ms, file_fault) = match file {
            Ok(ttl) => (Some(ttl), None),
            Err(why) => (None, Some(why)),
        };
        Self {
            node: status.node.clone(),
            equal: file_ttl_ms == Some(cluster) && nodes.values().all(confirmed),
            file_ttl_ms,
            file_fault,
            cluster_ttl_ms: cluster,
            longest_ms: status.longest_ms,
            nodes,
        }
    }
}

/// The cluster's configuration beside this node's compose file, which is read anew for it.
#[utoipa::path(get, path = "/v1/config", tag = "reading", responses(
    (status = 200, body = Configuration),
    (status = 401, body = Outcome), (status = 403, body = Outcome),
))]
async fn config(State(shared): State<Shared>) -> Json<Configuration> {
    let file = shared.archive.file_ttl_ms().await;
    Json(Configuration::new(&shared.turn.borrow().status, file))
}

/// Make what this node's compose file says the cluster's: every node takes it with its next beat, nothing stops for it.
#[utoipa::path(post, path = "/v1/config/apply", tag = "acting", request_body = Option<OrderRequest>, responses(OfTheNode))]
async fn apply(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(wanted): Body<OrderRequest>,
) -> Answer {
    may(&caller, Role::Admin)?;
    let file = shared.archive.file_ttl_ms().await;
    let ttl = file.map_err(|why| Problem::new(Cause::FileUnreadable, why))?;
    let wish = Wish::Configure {
        ttl: std::time::Duration::from_millis(ttl),
    };
    order(&shared, &caller, Role::Admin, wish, wanted.why, None).await
}

/// What the cluster itself has in etcd, without secrets, to be imported when etcd is lost for good.
#[utoipa::path(get, path = "/v1/config/export", tag = "reading", responses(
    (status = 200, body = Exported),
    (status = 401, body = Outcome), (status = 403, body = Outcome),
    (status = 503, body = Outcome, description = "etcd does not tell, or too many ask"),
))]
async fn export(State(shared): State<Shared>) -> Result<Json<Exported>, Problem> {
    let read = shared.archive.export().await;
    read.map(Json).map_err(|why| Problem::new(Cause::Unread, why))
}

/// Put back what was exported, each epoch one higher and free. Refused where etcd knows a group; every node starts over.
#[utoipa::path(post, path = "/v1/config/import", tag = "acting", request_body = Exported, responses(OfTheNode))]
async fn import(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(mut body): Body<Value>,
) -> Answer {
    whole_numbers(&mut body);
    let exported =
        serde_json::from_value(body).map_err(|error| Problem::malformed(format!("the body does not fit: {error}")))?;
    let exported = Box::new(exported);
    ask(&shared, &caller, Role::Admin, Command::Import { exported }).await
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
