//! Promises: a holder runs on while etcd is away, by the word of all other nodes. Each row turns them on by the compose file and
//! `leasehold config apply`, while everything runs, and off again.

use std::time::Duration;

use leasehold::api::words::MemberState;

use crate::by_hand;
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

/// What `./test faults` alone runs.
pub(crate) const LONG_PROMISES: [(&str, Body); 2] = [
    ("promises: etcd away for longer than 20 s of bound", bound_over),
    ("promises: etcd restored, accepted by hand", restored),
];

/// Longer than any row takes.
const BOUND: &str = "10m";
const SHORT_BOUND: Duration = Duration::from_secs(20);
/// Well past it.
const BOUND_OVER: Duration = Duration::from_secs(35);
/// From an `accept` on: every vote is registered anew, then a ttl passes, then the service starts.
const ACCEPTED: Duration = Duration::from_secs(TTL.as_secs() * 2 + 8);
const AWAY: Duration = Duration::from_secs(20);
const CUT: Duration = Duration::from_secs(15);
/// A round a minute in fair weather, and the first one at once.
const TOLD: Duration = Duration::from_secs(90);
/// A voter that said yes last waits that out, a ttl, before anybody takes over.
const WAITED: Duration = Duration::from_secs(FAILOVER_LIMIT.as_secs() + TTL.as_secs());

/// What the row does with promises on.
fn promised(cluster: &mut Cluster, body: impl FnOnce(&mut Cluster) -> Figure) -> Figure {
    promised_for(cluster, BOUND, body)
}

fn promised_for(cluster: &mut Cluster, bound: &str, body: impl FnOnce(&mut Cluster) -> Figure) -> Figure {
    cluster.await_successors();
    let ttl = "  ttl: ${TTL}\n";
    let edited = Edited::new(cluster, ttl, &format!("{ttl}  promises: {bound}\n"));
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

/// Everybody goes on to promise, and the holder stops all the same: whoever has no vote waits no longer than that.
fn bound_over(cluster: &mut Cluster) -> Figure {
    let bound = format!("{}s", SHORT_BOUND.as_secs());
    promised_for(cluster, &bound, |cluster| {
        let before = cluster.last_run();
        let mut ran_on = Duration::ZERO;
        let seen = cluster.under_mail(|cluster| {
            cluster.hosts.iter_mut().for_each(Host::kill_etcd);
            let began = now();
            until("the holder to stop", BOUND_OVER, || {
                let serves = cluster.hosts.iter().any(|host| !host.serving().is_empty());
                (!serves).then_some(())
            });
            ran_on = now() - began;
            last(BOUND_OVER.saturating_sub(ran_on));
            cluster.mend();
        });
        let bound = SHORT_BOUND.as_secs_f64();
        let ran = ran_on.as_secs_f64();
        assert!(ran <= bound, "it ran on for {ran:.1} s of {bound} s");
        assert!(ran >= bound - 4.0, "it ran on for {ran:.1} s of {bound} s alone");
        let after = cluster.last_run();
        let note = format!(
            "it ran on for {ran:.1} s; run {} on {} to {} on {}",
            before.run, before.node, after.run, after.node
        );
        figure(&seen, BOUND_OVER - SHORT_BOUND + WAITED, &note)
    })
}

/// All members come back with what a snapshot holds, in which the service is elsewhere: everybody finds that strange, so nobody
/// promises anything, and nothing runs before somebody has accepted it.
fn restored(cluster: &mut Cluster) -> Figure {
    promised(cluster, |cluster| {
        let before = cluster.last_run();
        let mut back = Duration::ZERO;
        let seen = cluster.under_mail(|cluster| {
            let snapshot = cluster.save_etcd();
            let leader = cluster.await_leader();
            by_hand::switch_over(cluster, leader);
            await_another(cluster, &cluster.hosts[leader]);
            cluster.restore_all_etcd(&snapshot);
            until("nothing to run, and everybody to find it strange", TOLD, || {
                let quiet = |host: &Host| {
                    let member = host.status().map(|status| status.member);
                    host.serving().is_empty() && member == Some(MemberState::Frozen)
                };
                cluster.hosts.iter().all(quiet).then_some(())
            });
            by_hand::accept(cluster, 0);
            let accepted = now();
            back = cluster.await_greeting().saturating_sub(accepted);
        });
        let after = cluster.last_run();
        let note = format!(
            "run {} on {} to {} on {}",
            before.run, before.node, after.run, after.node
        );
        Figure::new(&seen, Some(back), ACCEPTED, &note)
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
