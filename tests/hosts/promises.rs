//! Promises: a holder runs on while etcd is away, by the word of all other nodes. Each row turns them on by the compose file and
//! `leasehold config apply`, while everything runs, and off again.

use std::time::Duration;

use crate::cluster::Cluster;
use crate::edited::Edited;
use crate::host::Host;
use crate::parts::Part;
use crate::row::{Figure, await_another};
use crate::scenarios::{Body, FAILOVER_LIMIT, TTL, figure, no_outage};
use crate::shell::{now, until, words};

pub(crate) const PROMISES: [(&str, Body); 4] = [
    ("promises: every etcd member away for 20 s", etcd_away),
    ("promises: holder cut from etcd and a voter", holder_and_voter_cut),
    ("promises: holder alone cut from etcd 15 s", holder_cut),
    ("promises: standby's sidecar killed, etcd away", standby_restarts),
];

const STATED: (&str, &str) = ("  ttl: ${TTL}\n", "  ttl: ${TTL}\n  promises: 10m\n");
const AWAY: Duration = Duration::from_secs(20);
const CUT: Duration = Duration::from_secs(15);
/// A round a minute in fair weather, and the first one at once.
const TOLD: Duration = Duration::from_secs(90);
/// A voter that said yes last waits that out, a ttl, before anybody takes over.
const WAITED: Duration = Duration::from_secs(FAILOVER_LIMIT.as_secs() + TTL.as_secs());

/// What the row does with promises on.
fn promised(cluster: &mut Cluster, body: impl FnOnce(&mut Cluster) -> Figure) -> Figure {
    cluster.await_successors();
    let edited = Edited::new(cluster, STATED.0, STATED.1);
    apply(cluster);
    until("the holder to have every promise", TOLD, || {
        let status = cluster.hosts[cluster.leader()?].status()?;
        status.promises?.left_ms
    });
    let figure = body(cluster);
    drop(edited);
    apply(cluster);
    until("promises to be off", TOLD, || {
        let off = |host: &Host| host.status().is_some_and(|status| status.promises.is_none());
        cluster.hosts.iter().all(off).then_some(())
    });
    figure
}

fn apply(cluster: &Cluster) {
    let mut said = String::new();
    let done = crate::shell::within(TOLD, || {
        let output = cluster.hosts[0].leasehold(&["config", "apply"]);
        said = words(&output);
        output.status.success().then_some(())
    });
    assert!(done.is_some(), "config apply: {said}");
}

fn last(length: Duration) {
    let began = now();
    until("it to have lasted", length * 2, || {
        (now() - began >= length).then_some(())
    });
}

fn same_run(cluster: &Cluster, before: &crate::ledger::Run) {
    let after = cluster.last_run();
    assert!(after.is(before), "another run: {} on {}", after.run, after.node);
}

fn etcd_away(cluster: &mut Cluster) -> Figure {
    promised(cluster, |cluster| {
        let before = cluster.last_run();
        let holder = cluster.await_leader();
        let mut left = 0;
        let seen = cluster.under_mail(|cluster| {
            cluster.hosts.iter_mut().for_each(Host::kill_etcd);
            last(AWAY);
            let status = cluster.hosts[holder].status().expect("a status");
            left = status
                .promises
                .and_then(|promises| promises.left_ms)
                .expect("every promise");
            cluster.mend();
        });
        same_run(cluster, &before);
        no_outage(
            &seen,
            &format!("run {} stays, {} s were left of it", before.run, left / 1000),
        )
    })
}

fn holder_cut(cluster: &mut Cluster) -> Figure {
    promised(cluster, |cluster| {
        let before = cluster.last_run();
        let holder = cluster.await_leader();
        let seen = cluster.under_mail(|cluster| {
            cluster.hosts[holder].drop_sent(&["tcp dport 2379"]);
            last(CUT);
            cluster.hosts[holder].drop_sent(&[]);
        });
        same_run(cluster, &before);
        no_outage(&seen, &format!("run {} stays", before.run))
    })
}

/// One voter does not hear the holder: that is a no, and the holder stops as without promises. The other one has promised, so
/// nobody takes over before that is over.
fn holder_and_voter_cut(cluster: &mut Cluster) -> Figure {
    promised(cluster, |cluster| {
        let before = cluster.last_run();
        let (holder, voter) = (cluster.await_leader(), cluster.standby());
        let silenced = format!("ip daddr {} udp dport 8009", cluster.hosts[voter].address());
        let seen = cluster.under_mail(|cluster| {
            cluster.hosts[holder].drop_sent(&["tcp dport 2379", &silenced]);
            until("the holder to say whose promise it lacks", TTL, || {
                let promises = cluster.hosts[holder].status()?.promises?;
                (promises.lacking == [cluster.hosts[voter].name] && promises.left_ms.is_none()).then_some(())
            });
            await_another(cluster, &cluster.hosts[holder]);
            cluster.hosts[holder].drop_sent(&[]);
            cluster.settle();
        });
        let after = cluster.last_run();
        assert_ne!(after.node, before.node, "it was taken over");
        figure(
            &seen,
            WAITED,
            &format!(
                "run {} on {} to {} on {}",
                before.run, before.node, after.run, after.node
            ),
        )
    })
}

fn standby_restarts(cluster: &mut Cluster) -> Figure {
    promised(cluster, |cluster| {
        let before = cluster.last_run();
        let standby = cluster.standby();
        let seen = cluster.under_mail(|cluster| {
            cluster.hosts.iter_mut().for_each(Host::kill_etcd);
            last(TTL * 2);
            cluster.hosts[standby].kill_part(Part::Sidecar);
            last(CUT);
            cluster.mend();
        });
        same_run(cluster, &before);
        no_outage(&seen, &format!("run {} stays", before.run))
    })
}

impl Host {
    /// Nothing of this kind leaves the host, or reaches itself, from here on; with no kind everything does.
    fn drop_sent(&self, kinds: &[&str]) {
        self.inside("nft delete table inet unsent 2> /dev/null || true");
        if kinds.is_empty() {
            return;
        }
        self.inside("nft add table inet unsent");
        self.inside("nft \"add chain inet unsent out { type filter hook output priority 0; }\"");
        for kind in kinds {
            self.inside(&format!("nft add rule inet unsent out {kind} drop"));
        }
    }
}
