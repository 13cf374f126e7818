//! More under the prefixes than anybody should keep there: beats go on, up to a limit that is stated.

use std::time::Duration;

use leasehold::core::protocol::damage::{READ_ALARM, READ_MAX};
use leasehold::core::protocol::keys::Keys;
use leasehold::core::protocol::records::View;
use leasehold::core::store::{Op, StoreError};

use crate::adapter::{Adapter, always, put};
use crate::etcd::{Cluster, FAST};

/// Below etcd's own limit for a request.
const PIECE: usize = 1 << 20;

fn piece(keys: &Keys, number: usize) -> Op {
    put(format!("{}note{number}/text", keys.groups()), &"x".repeat(PIECE), 0)
}

#[tokio::test]
async fn beats_go_on_far_beyond_the_librarys_limit_and_say_where_they_end() {
    let cluster = Cluster::start(1, &FAST).await;
    let keys = cluster.settings().keys;
    let mut settings = cluster.settings();
    settings.attempt = Duration::from_secs(8);
    let mut adapter = Adapter::new(settings);
    let mut written = 0;
    // Several times what ends a beat where the library's own limit (4 MiB) holds.
    while (written + 1) * PIECE < READ_MAX {
        let answer = adapter.txn(always(vec![piece(&keys, written)])).await;
        assert!(answer.is_ok(), "{written} MiB: {answer:?}");
        written += 1;
    }
    let answer = adapter.txn(always(vec![put(keys.node("a"), "beat", 0)])).await.unwrap();
    let view = View::read(&keys, &answer);
    assert!(view.bytes > READ_ALARM && view.bytes < READ_MAX, "{}", view.bytes);
    assert!(view.largest.unwrap().0.contains("note"), "the largest is named");
    // Beyond it: the write lands, its answer does not come, and the reason says so.
    for number in written..written + 2 {
        let _ = adapter.txn(always(vec![piece(&keys, number)])).await;
    }
    let beat = adapter.txn(always(vec![put(keys.node("a"), "beat", 0)])).await;
    assert!(
        matches!(&beat, Err(StoreError::Unknown(why)) if why.contains("limit")),
        "{beat:?}"
    );
    let prefix = format!("{}note", keys.groups());
    let _ = adapter.txn(always(vec![Op::DeletePrefix { prefix }])).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(adapter.read().await.is_ok(), "all is well once it is gone");
}
