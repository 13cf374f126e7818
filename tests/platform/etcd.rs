//! The etcd members: the service `etcd` of `compose/node` on every host.

use std::time::Duration;

use crate::cluster::Cluster;
use crate::shell::{until, words};

const LIMIT: Duration = Duration::from_secs(60);

impl Cluster {
    /// The host whose etcd member leads.
    fn etcd_leader(&self) -> Option<usize> {
        self.hosts.iter().position(|host| {
            let said = host.try_inside("cd /srv/mail && docker compose exec -T etcd etcdctl endpoint status -w json");
            let shown: Option<serde_json::Value> = serde_json::from_slice(&said.stdout).ok();
            shown.is_some_and(|shown| {
                let status = &shown[0]["Status"];
                status["leader"].is_u64() && status["leader"] == status["header"]["member_id"]
            })
        })
    }

    pub(crate) fn await_etcd_leader(&self) -> usize {
        until("etcd to elect its leader", LIMIT, || self.etcd_leader())
    }

    /// Makes a host's etcd member the leader.
    pub(crate) fn lead_etcd(&self, wanted: usize) {
        until("etcd's leadership to move", LIMIT, || {
            let leader = self.etcd_leader()?;
            if leader == wanted {
                return Some(());
            }
            let name = self.hosts[wanted].name;
            let said = self.hosts[leader].try_inside(&format!(
                "cd /srv/mail && docker compose exec -T etcd sh -c \
                 'etcdctl move-leader $(etcdctl member list | grep \", {name},\" | cut -d, -f1)'"
            ));
            assert!(said.status.success(), "{}", words(&said));
            None
        });
    }
}
