//! Between the core's words and those of etcd's API.

use std::time::Duration;

use etcd_client::{
    Client, Compare as WireCompare, CompareOp, DeleteOptions, GetOptions, KeyValue as WireKeyValue, LeaseGrantOptions,
    PutOptions, Txn as WireTxn, TxnOp, TxnOpResponse, TxnResponse,
};

use super::classify::classify;
use leasehold_core::protocol::damage::READ_MAX;
use leasehold_core::protocol::keys::Keys;
use leasehold_core::store::{Answer, Compare, KeyValue, Op, StoreError, Txn};

/// Carries out one transaction, or a plain read where it has neither compares nor operations.
pub(super) async fn txn(client: &mut Client, keys: &Keys, txn: &Txn) -> Result<Answer, StoreError> {
    // The library's own limit would end every beat at 4 MiB.
    let mut calls = client.kv_client().max_decoding_message_size(READ_MAX);
    let response = calls.txn(to_wire(keys, txn)).await.map_err(|error| classify(&error))?;
    from_wire(&response)
}

/// Makes a lease; 0 lets etcd choose the id. Returns id and granted ttl.
pub(super) async fn grant(client: &mut Client, lease: i64, ttl: Duration) -> Result<(i64, Duration), StoreError> {
    let options = LeaseGrantOptions::new().with_id(lease);
    let response = client
        .lease_grant(whole_seconds(ttl), Some(options))
        .await
        .map_err(|error| classify(&error))?;
    let granted = u64::try_from(response.ttl())
        .map_err(|_| StoreError::Unknown(format!("etcd granted a ttl of {} s", response.ttl())))?;
    Ok((response.id(), Duration::from_secs(granted)))
}

/// Renews a lease once, over a stream of its own.
pub(super) async fn keep_alive(client: &mut Client, lease: i64) -> Result<(), StoreError> {
    client
        .lease_keep_alive(lease)
        .await
        .map(|_stream| ())
        .map_err(|error| classify(&error))
}

/// Ends a lease and deletes the keys on it.
pub(super) async fn revoke(client: &mut Client, lease: i64) -> Result<(), StoreError> {
    client
        .lease_revoke(lease)
        .await
        .map(|_response| ())
        .map_err(|error| classify(&error))
}

/// etcd counts leases in whole seconds; rounded up, as it does itself.
fn whole_seconds(ttl: Duration) -> i64 {
    let seconds = ttl.as_secs().saturating_add(u64::from(ttl.subsec_nanos() > 0));
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

fn to_wire(keys: &Keys, txn: &Txn) -> WireTxn {
    let compares: Vec<_> = txn.compare.iter().map(compare).collect();
    let mut then: Vec<_> = txn.then.iter().map(operation).collect();
    then.extend(reads(keys));
    // The builder panics in any other order.
    if compares.is_empty() {
        WireTxn::new().and_then(then)
    } else {
        WireTxn::new().when(compares).and_then(then).or_else(reads(keys))
    }
}

/// The reads at the end of both branches; within a transaction they are linearizable and see what it wrote.
fn reads(keys: &Keys) -> Vec<TxnOp> {
    keys.ranges()
        .into_iter()
        .map(|(start, end)| TxnOp::get(start, Some(GetOptions::new().with_range(end))))
        .collect()
}

/// etcd takes the revisions and the lease of an absent key as 0, so `LeaseNot` holds for it.
fn compare(compare: &Compare) -> WireCompare {
    match compare {
        Compare::Create { key, revision } => WireCompare::create_revision(key.as_str(), CompareOp::Equal, *revision),
        Compare::Mod { key, revision } => WireCompare::mod_revision(key.as_str(), CompareOp::Equal, *revision),
        Compare::Lease { key, lease } => WireCompare::lease(key.as_str(), CompareOp::Equal, *lease),
        Compare::LeaseNot { key, lease } => WireCompare::lease(key.as_str(), CompareOp::NotEqual, *lease),
    }
}

fn operation(op: &Op) -> TxnOp {
    match op {
        Op::Put { key, value, lease } => {
            TxnOp::put(key.as_str(), value.as_str(), Some(PutOptions::new().with_lease(*lease)))
        }
        Op::Delete { key } => TxnOp::delete(key.as_str(), None),
        Op::DeletePrefix { prefix } => TxnOp::delete(prefix.as_str(), Some(DeleteOptions::new().with_prefix())),
    }
}

fn from_wire(response: &TxnResponse) -> Result<Answer, StoreError> {
    let Some(header) = response.header() else {
        return Err(StoreError::Unknown("etcd's answer has no header".to_owned()));
    };
    let keys = response
        .op_responses()
        .iter()
        .flat_map(|op| match op {
            TxnOpResponse::Get(get) => get.kvs().iter().map(key_value).collect(),
            TxnOpResponse::Put(_) | TxnOpResponse::Delete(_) | TxnOpResponse::Txn(_) => Vec::new(),
        })
        .collect();
    Ok(Answer {
        succeeded: response.succeeded(),
        cluster_id: header.cluster_id(),
        revision: header.revision(),
        keys,
    })
}

/// Leasehold writes text only; what is not text was written by someone else and will not parse either way.
pub(super) fn key_value(kv: &WireKeyValue) -> KeyValue {
    KeyValue {
        key: String::from_utf8_lossy(kv.key()).into_owned(),
        value: String::from_utf8_lossy(kv.value()).into_owned(),
        create_revision: kv.create_revision(),
        mod_revision: kv.mod_revision(),
        lease: kv.lease(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ttl_is_rounded_up_to_whole_seconds() {
        let table = [(1000, 1), (1001, 2), (15_000, 15), (500, 1)];
        for (milliseconds, seconds) in table {
            assert_eq!(whole_seconds(Duration::from_millis(milliseconds)), seconds);
        }
        assert_eq!(whole_seconds(Duration::MAX), i64::MAX);
    }
}
