//! What lies in etcd before or beside what the core writes there: the inputs `> etcd ...`.

use std::time::Duration;

use leasehold::core::protocol::FaultId;
use leasehold::core::protocol::policy::Policy;
use leasehold::core::protocol::records::{
    ClusterConfig, NodeStatus, Past, Readiness, Record, RecordState, StandingOrder, json,
};
use leasehold::core::protocol::secret::Promised;

use super::driver::World;
use super::operator::changes;
use super::parse::{option, origin, priority, run, time, trouble};
use super::words;

impl World {
    fn put_policy(&mut self, group: &str, values: &[&str]) {
        let key = self.keys.policy(group);
        let before = self.etcd.keys.get(&key).map(|kv| kv.value.clone());
        let before: Option<Policy> = before.and_then(|value| serde_json::from_str(&value).ok());
        let order = StandingOrder::from(origin());
        let after = before.unwrap_or_default().changed(&changes("set", values), &order);
        self.etcd.put(&key, &json(&after), 0);
    }

    fn put_config(&mut self, rest: &[&str]) {
        let generation = option(rest, "generation").map_or(1, |word| word.parse().unwrap());
        let ttl = option(rest, "ttl").and_then(time).unwrap_or(Duration::from_secs(5));
        let longest = option(rest, "longest").and_then(time).unwrap_or(ttl);
        let promised = Promised {
            bound_ms: option(rest, "promises")
                .and_then(time)
                .map(|bound| bound.as_secs() * 1000),
            secret: None,
        };
        let config = ClusterConfig::new(generation, ttl, longest).with(promised);
        self.etcd.put(&self.keys.config(), &json(&config), 0);
    }

    pub(super) fn etcd_input(&mut self, words: &[&str]) -> bool {
        match words {
            // Lost for good, and put up anew.
            ["lost"] => {
                self.date_writes();
                self.etcd = super::etcd::Etcd::new();
                self.etcd.cluster_id = 0xc2;
                self.alive.clear();
            }
            ["store", group, rest @ ..] => self.put_store(group, rest.first().unwrap_or(&"s1")),
            ["config", rest @ ..] => self.put_config(rest),
            ["lives", node, rest @ ..] => {
                self.alive.insert((*node).to_owned(), self.now);
                let lease = self.names.named(&format!("L{node}"));
                let promise = option(rest, "ttl").and_then(time).unwrap_or(Duration::from_secs(5));
                self.promises.insert((*node).to_owned(), promise);
                self.beat(node, lease, promise);
            }
            ["silent", node] => {
                self.alive.remove(*node);
            }
            ["beat", node, rest @ ..] => {
                let default = format!("L{node}");
                let lease = self.names.named(option(rest, "on").unwrap_or(&default));
                let promise = option(rest, "promises").and_then(time);
                self.beat(node, lease, promise.unwrap_or(Duration::from_secs(5)));
            }
            ["ready", node, groups @ ..] => self.publish(node, groups, ""),
            ["differs", node, groups @ ..] => self.publish(node, groups, "it differs"),
            ["unready", node, groups @ ..] => self.publish(node, groups, "no image"),
            ["ending", node, groups @ ..] => self.publish(node, groups, "its node was told to end"),
            ["record", group, epoch, node, state, rest @ ..] => {
                let record = self.told_record(epoch, node, state, rest);
                self.etcd.put(&self.keys.record(group), &json(&record), 0);
            }
            ["spoil", group] => self.etcd.put(&self.keys.record(group), "spoiled", 0),
            ["leader", group, node] => self.etcd.put(&self.keys.leader(group), node, 0),
            ["intent", group, rest @ ..] => {
                let key = self.keys.intent(group);
                let short = words::short(&self.keys, &key);
                let request = |name: &str| self.names.revision_named(short, name).expect("a request of that time");
                let intent = words::intent(rest, request);
                self.etcd.put(&key, &json(&intent), 0);
            }
            ["stopped", group] => self
                .etcd
                .put(&self.keys.stopped(group), &json(&StandingOrder::from(origin())), 0),
            ["paused", group] => self
                .etcd
                .put(&self.keys.paused(group), &json(&StandingOrder::from(origin())), 0),
            ["deleted", group] => self
                .etcd
                .put(&self.keys.deleted(group), &json(&StandingOrder::from(origin())), 0),
            ["without", group, node] => self.etcd.put(
                &self.keys.excluded(group, node),
                &json(&StandingOrder::from(origin())),
                0,
            ),
            ["set", group, values @ ..] => self.put_policy(group, values),
            ["drained", node] => self
                .etcd
                .put(&self.keys.drained(node), &json(&StandingOrder::from(origin())), 0),
            _ => return self.by_hand(words),
        }
        true
    }

    /// What nobody but an operator, or an accident, does to etcd.
    pub(super) fn by_hand(&mut self, words: &[&str]) -> bool {
        match words {
            // On no lease.
            ["put", key, value @ ..] => {
                let key = format!("{}{key}", self.keys.prefix());
                self.etcd.put(&key, &value.join(" "), 0);
            }
            ["fill", key, kib] => {
                let key = format!("{}{key}", self.keys.prefix());
                self.etcd.put(&key, &"x".repeat(kib.parse::<usize>().unwrap() << 10), 0);
            }
            ["delete", key] => {
                let key = format!("{}{key}", self.keys.prefix());
                self.deleted = self.etcd.keys.get(&key).map_or(0, |kv| kv.mod_revision);
                self.etcd.remove(|kv| kv.key == key);
            }
            ["cluster", id] => self.etcd.cluster_id = u64::from_str_radix(id, 16).unwrap(),
            ["revision", to] => self.etcd.revision = to.parse().unwrap(),
            _ => return false,
        }
        true
    }

    pub(super) fn put_store(&mut self, group: &str, id: &str) {
        let value = format!(r#"{{"id":"{id}","mounts":[]}}"#);
        self.etcd.put(&self.keys.store(group), &value, 0);
    }

    pub(super) fn told_record(&mut self, epoch: &str, node: &str, state: &str, rest: &[&str]) -> Record {
        let default = format!("L{node}");
        Record {
            epoch: epoch.parse().unwrap(),
            node: node.to_owned(),
            incarnation: self.names.named(option(rest, "on").unwrap_or(&default)),
            state: match state {
                "active" | "stuck" => RecordState::Active,
                _ => RecordState::Released,
            },
            reason: "told".to_owned(),
            kept: None,
            cause: None,
            successor: option(rest, "successor").map(str::to_owned),
            stuck: (state == "stuck").then(|| "run 1.1 could not be stopped".to_owned()),
            promise_ms: option(rest, "promises")
                .and_then(time)
                .map(|promise| u64::try_from(promise.as_millis()).unwrap()),
            past: Past {
                returned: rest.contains(&"returned"),
                quiet_ms: option(rest, "quiet")
                    .and_then(time)
                    .map(|quiet| u64::try_from(quiet.as_millis()).unwrap()),
                faults: option(rest, "fault")
                    .iter()
                    .map(|fault| FaultId::of_old(&fault.replace('_', " ")))
                    .collect(),
            },
        }
    }

    pub(super) fn publish(&mut self, node: &str, groups: &[&str], why: &str) {
        let lease = self.names.named(&format!("L{node}"));
        let ready = Readiness {
            ready: why.is_empty(),
            why: why.to_owned(),
            image: option(groups, "image").unwrap_or("sha256:1").to_owned(),
            content: String::new(),
            file: option(groups, "file").map(words::file).unwrap_or_default(),
            claim: option(groups, "claim").map(|epoch| epoch.parse().unwrap()),
            used: option(groups, "used").map(str::to_owned),
            trouble: option(groups, "trouble").map(trouble),
            serves: option(groups, "serves").map(run),
            opinion: option(groups, "opinion").map(words::opinion_of),
            certified: option(groups, "certified").is_some(),
            drift: (why == "it differs").then(|| words::drift_of("image", None)),
        };
        let words = groups;
        let groups = groups.iter().filter(|word| !word.contains('='));
        let groups = groups.map(|group| ((*group).to_owned(), ready.clone()));
        let status = NodeStatus {
            version: "1".to_owned(),
            address: String::new(),
            priority: priority(node),
            smallest_ttl_ms: option(words, "needs")
                .and_then(time)
                .map(|ttl| ttl.as_secs() * 1000)
                .or(Some(5000)),
            groups: groups.collect(),
            clock: String::new(),
            endpoints: String::new(),
            ending: false,
            votes: option(words, "votes").is_some(),
            heeds_policy: option(words, "old").is_none(),
            mac: option(words, "mac").unwrap_or_default().to_owned(),
        };
        self.etcd.put(&self.keys.status(node), &json(&status), lease);
    }
}
