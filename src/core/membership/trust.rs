//! Whether this is the etcd that was trusted before, and what follows when it is not.

use std::time::Duration;

use super::Member;
use crate::event::Action;
use crate::node::Node;
use crate::protocol::records::{View, json};
use crate::requests::refusal::Refusal;
use crate::snapshot::code::Code;
use crate::text;
use crate::time::Time;

/// How long after its end a lease may still be there: an etcd that elects a leader starts every lease anew.
const LEASE_LATE: Duration = Duration::from_secs(60);

impl Node {
    /// Whether all that is strange is that somebody deleted the configuration, and nothing else has been strange since this
    /// node stands still.
    pub(super) fn config_missing(&self, view: &View) -> bool {
        let frozen = matches!(self.membership.member, Member::Frozen { before: None, .. });
        self.trust.misses_config_only(view) && !frozen
    }

    /// Stands still until the configuration is there again, in the same generation; or for good, if anything else goes back
    /// meanwhile, by the view that was just read.
    pub(super) fn freeze_until_config(&mut self, out: &mut Vec<Action>) {
        let Some(config) = self
            .trust
            .expect_config(self.facts.view().revision, self.facts.timing().ttl)
        else {
            return;
        };
        let why = text::trust::config_gone(&self.facts.keys().config());
        let text = text::trust::put_config_back(&why, &json(&config));
        let before = if let Member::Frozen { before, .. } = &self.membership.member {
            before.clone()
        } else {
            Some(Box::new(self.membership.member.clone()))
        };
        self.stand_still(Code::EtcdStrange, text, why, before, out);
    }

    /// Keys that etcd will not clear away by itself. No rule depends on it, but somebody should know.
    pub(super) fn suspect_leases(&mut self, now: Time, out: &mut Vec<Action>) {
        let mut found = Vec::new();
        for (name, key) in &self.facts.view().nodes {
            // This node's own key is its own affair: it has lost its place, and evicts it.
            if *name == self.facts.me().name {
                continue;
            }
            let path = self.facts.keys().node(name);
            let silent = self
                .facts
                .observer()
                .silent_for(now, name, key.lease)
                .unwrap_or_default();
            if key.lease == 0 {
                let text = text::trust::node_without_lease(&path, name);
                found.push((path, text));
            } else if silent >= self.facts.timing().lease_ttl() + LEASE_LATE {
                let text = text::trust::lease_does_not_end(name, silent, &path);
                found.push((path, text));
            }
        }
        for (name, _) in self.facts.view().groups.iter().filter(|(_, keys)| keys.immortal_leader) {
            let path = self.facts.keys().leader(name);
            let text = text::trust::leader_without_lease(&path);
            found.push((path, text));
        }
        for text in self.facts.damage_mut().suspect(found) {
            self.mention(Code::KeyNeverEnds, text, out);
        }
    }

    /// The pin on the disk stays behind: after a reboot, less of a restored etcd would be noticed.
    pub(crate) fn pin_unwritten(&mut self, why: &str, out: &mut Vec<Action>) {
        self.mention(Code::PinUnwritten, text::trust::pin_not_written(why), out);
    }

    /// etcd is not the one that was trusted.
    pub(crate) fn freeze(&mut self, code: Code, why: String, out: &mut Vec<Action>) {
        let text = text::trust::frozen(&why);
        self.stand_still(code, text, why, None, out);
    }

    pub(crate) fn stand_still(
        &mut self,
        code: Code,
        text: String,
        why: String,
        before: Option<Box<Member>>,
        out: &mut Vec<Action>,
    ) {
        self.say(code, text, out);
        self.facts.lose_contact();
        // Holding groups run on to their deadline; no beat counts from here.
        self.membership.member = Member::Frozen { why, before };
        self.dismiss_requests(&Refusal::Frozen, out);
    }

    /// AfterStop T11: everything seen before counts for nothing, this incarnation included.
    pub(super) fn start_over(&mut self, now: Time, view: View, out: &mut Vec<Action>) {
        self.trust.forget();
        self.trust.raise_longest(&view);
        self.pin(&view, out);
        self.facts.start_over(view);
        self.heed_policies(now, out);
        let lease = self.membership.member.lease().unwrap_or(0);
        self.lose(now, lease, text::membership::ETCD_ACCEPTED, out);
    }

    pub(super) fn pin(&mut self, view: &View, out: &mut Vec<Action>) {
        out.extend(self.trust.pin(view));
    }
}
