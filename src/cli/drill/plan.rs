//! Whether a drill may begin, and from where to where. Pure: from what the sidecar says and what the file says.

use std::net::IpAddr;
use std::time::Duration;

use leasehold_api::status::{GroupLine, NodeLine, Status};
use leasehold_api::words::{MemberState, NodeState, Stage};
use leasehold_compose::model::{Check, Group, Probe, Project, Service};

/// Besides the service's own grace and the ttl, for its start.
const SLACK: Duration = Duration::from_secs(10);

/// A drill that may begin.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Plan {
    pub(super) group: String,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) epoch: u64,
    pub(super) address: IpAddr,
    /// What a client can ask for.
    pub(super) probes: Vec<Probe>,
    /// Each move has ended within it.
    pub(super) bound: Duration,
}

/// Plans the drill, or says why not and what to do about it.
pub(super) fn plan(status: &Status, project: &Project, name: &str, to: Option<&str>) -> Result<Plan, String> {
    let known = || project.groups.keys().cloned().collect::<Vec<_>>().join(", ");
    let group = project.groups.get(name);
    let group = group.ok_or_else(|| {
        format!(
            "no group {name}: the compose file has {}; see `leasehold group list`",
            known()
        )
    })?;
    let line = status.groups.get(name);
    let line = line.ok_or_else(|| {
        format!("the sidecar of this host does not know {name}: it was started with another file; restart it")
    })?;
    let (address, probes) = asked(group)?;
    if status.member != MemberState::Joined {
        let (node, member) = (&status.node, &status.member);
        return Err(format!(
            "{node} is {member}, so it can't tell how {name} is: drill from a host that `leasehold status` shows as joined"
        ));
    }
    let from = serving(name, line)?;
    returnable(status, name, from)?;
    let to = successor(status, name, from, to)?;
    let grace = |service: &Service| service.stop_grace_period;
    Ok(Plan {
        group: name.to_owned(),
        from: from.to_owned(),
        to,
        epoch: line.epoch,
        address,
        probes,
        bound: group.services.iter().map(grace).sum::<Duration>() + Duration::from_millis(status.ttl_ms) + SLACK,
    })
}

/// What a client can ask for, and where.
fn asked(group: &Group) -> Result<(IpAddr, Vec<Probe>), String> {
    let name = &group.name;
    let vip = group.vips.first();
    let vip = vip.ok_or_else(|| format!("{name} has no virtual IP, so no client can be moved with it: set `vips`"))?;
    let probes: Vec<Probe> = group.probes.iter().filter_map(from_outside).collect();
    if probes.is_empty() {
        return Err(format!(
            "{name} has no probe that a client could ask: set `probes` with smtp, imap, pop3, http or tcp"
        ));
    }
    Ok((vip.address, probes))
}

/// The probe as it is asked twenty times a second: without the login, which servers slow down when it comes so often.
fn from_outside(probe: &Probe) -> Option<Probe> {
    let check = match &probe.check {
        Check::Mail(mail) => {
            let mut mail = mail.clone();
            mail.login_file = None;
            Check::Mail(mail)
        }
        Check::Tcp { .. } | Check::Http(_) => probe.check.clone(),
        Check::Exec { .. }
        | Check::Docker { .. }
        | Check::Storage { .. }
        | Check::Canary(_)
        | Check::Gateway { .. } => return None,
    };
    Some(Probe {
        check,
        cadence: probe.cadence,
    })
}

/// The holder of a group that is well.
fn serving<'a>(name: &str, line: &'a GroupLine) -> Result<&'a str, String> {
    if let Some(order) = &line.stopped {
        return Err(format!("{name} is stopped {order}: first `leasehold start {name}`"));
    }
    if let Some(order) = &line.paused {
        return Err(format!("{name} is on pause {order}: first `leasehold resume {name}`"));
    }
    if let Some(stuck) = &line.stuck {
        return Err(format!("{name} is {stuck}; see `leasehold why {name}`"));
    }
    let holder = line.holder.as_deref();
    let holder = holder.ok_or_else(|| format!("{name} is active nowhere: see `leasehold why {name}`"))?;
    let held = line.held.as_ref();
    if let Some(held) = held.filter(|held| held.stage != Stage::Active) {
        let stage = &held.stage;
        return Err(format!(
            "{name} is {stage} on {holder}: wait until `leasehold status` shows it as active"
        ));
    }
    // One bad answer is too little for a trouble, and enough for a drill to wait.
    let failure = held.and_then(|held| held.probe_failure.as_deref());
    let trouble = line.trouble.as_ref().map(|trouble| trouble.why.as_str());
    if let Some(why) = trouble.or(failure) {
        return Err(format!(
            "{name} is not well on {holder} ({why}): mend that first, see `leasehold why {name}`"
        ));
    }
    Ok(holder)
}

/// A drill that could not be ended where it began would be a move.
fn returnable(status: &Status, name: &str, holder: &str) -> Result<(), String> {
    let line = status.nodes.get(holder);
    let line = line.ok_or_else(|| format!("{holder} holds {name}, but is not known here: see `leasehold status`"))?;
    if line.drained.is_some() {
        return Err(format!(
            "{holder} is drained, so {name} could not come back to it: first `leasehold undrain {holder}`"
        ));
    }
    match unready(line, name) {
        None => Ok(()),
        Some(why) => Err(format!(
            "{name} could not come back to {holder}: {why}: mend that first, see `leasehold status`"
        )),
    }
}

/// The node that is named, or the best that is ready.
fn successor(status: &Status, name: &str, holder: &str, to: Option<&str>) -> Result<String, String> {
    let known = || status.nodes.keys().cloned().collect::<Vec<_>>().join(", ");
    if let Some(to) = to {
        let line = status.nodes.get(to);
        let line = line.ok_or_else(|| format!("no node {to}: there is {}; see `leasehold node list`", known()))?;
        return match unready(line, name) {
            _ if to == holder => Err(format!("{to} holds {name} already: name a standby, or none")),
            None => Ok(to.to_owned()),
            Some(why) => Err(format!(
                "{to} is not ready for {name}: {why}: mend that first, or name another node"
            )),
        };
    }
    let others = || status.nodes.iter().filter(|(node, _)| *node != holder);
    let ready = others().filter(|(_, line)| is_ready(line, name));
    let priority = |node: &str, own: u32| {
        let set = status
            .groups
            .get(name)
            .and_then(|line| line.set.get(&format!("priority.{node}")));
        set.and_then(|set| set.value.parse().ok()).unwrap_or(own)
    };
    let best = ready.min_by_key(|(node, line)| (priority(node, line.priority), (*node).clone()));
    best.map(|(node, _)| node.clone()).ok_or_else(|| {
        let each = others().filter_map(|(node, line)| Some(format!("{node}: {}", unready(line, name)?)));
        let each = each.collect::<Vec<_>>().join("; ");
        let each = if each.is_empty() {
            "there is no other node".to_owned()
        } else {
            each
        };
        format!("no standby is ready for {name} ({each}): see `leasehold status`")
    })
}

/// Whether a node may be asked to take the group over.
pub(super) fn is_ready(line: &NodeLine, group: &str) -> bool {
    unready(line, group).is_none()
}

fn unready(line: &NodeLine, group: &str) -> Option<String> {
    if line.state != NodeState::Alive {
        return Some(format!("it is {}", line.state));
    }
    match line.groups.get(group) {
        None => Some("it does not know the group".to_owned()),
        Some(why) => (!why.is_empty()).then(|| why.clone()),
    }
}

impl Plan {
    /// What the operator is asked before anything happens.
    pub(super) fn question(&self) -> String {
        format!(
            "{group} moves from {from} to {to} and back again: two outages, in which every connection to {address} ends. If the \
             service fails on {to}, it may be down for longer.\nType the group's name to begin:",
            group = self.group,
            from = self.from,
            to = self.to,
            address = self.address,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::testing::project;
    use leasehold_api::status::{HeldLine, Trouble};
    use leasehold_api::words::TroubleState;

    const GROUP: &str =
        ", vips: [192.0.2.10/24], probes: [{smtp: 25, login_file: ./login}, {docker: sams}, {tcp: 4190}]";

    fn node(priority: u32, why: &str) -> NodeLine {
        NodeLine {
            state: NodeState::Alive,
            priority,
            groups: [("mail".to_owned(), why.to_owned())].into(),
            ..NodeLine::default()
        }
    }

    /// `mail` active on a, seen from there; b and c ready, c preferred.
    fn well() -> Status {
        let line = GroupLine {
            holder: Some("a".to_owned()),
            epoch: 4,
            held: Some(HeldLine {
                stage: Stage::Active,
                ..HeldLine::default()
            }),
            ..GroupLine::default()
        };
        Status {
            node: "a".to_owned(),
            member: MemberState::Joined,
            ttl_ms: 5000,
            groups: [("mail".to_owned(), line)].into(),
            nodes: [("a", node(10, "")), ("b", node(30, "")), ("c", node(20, ""))]
                .map(|(name, line)| (name.to_owned(), line))
                .into(),
            ..Status::default()
        }
    }

    fn planned(change: impl FnOnce(&mut Status, &mut GroupLine), to: Option<&str>) -> Result<Plan, String> {
        let mut status = well();
        let mut line = status.groups.remove("mail").unwrap();
        change(&mut status, &mut line);
        status.groups.insert("mail".to_owned(), line);
        plan(
            &status,
            &project("", GROUP, "healthcheck: {test: [CMD, true]}"),
            "mail",
            to,
        )
    }

    #[test]
    fn the_best_ready_standby_is_taken_or_the_one_that_is_named() {
        let best = planned(|_, _| {}, None).unwrap();
        assert_eq!((best.from.as_str(), best.to.as_str(), best.epoch), ("a", "c", 4));
        assert_eq!(best.bound, Duration::from_secs(20 + 5 + 10));
        let names: Vec<String> = best.probes.iter().map(|probe| probe.check.name()).collect();
        assert_eq!(names, ["smtp 25", "tcp 4190"]);
        let Check::Mail(mail) = &best.probes[0].check else {
            panic!("{:?}", best.probes)
        };
        assert_eq!(mail.login_file, None, "nobody logs in twenty times a second");
        assert_eq!(planned(|_, _| {}, Some("b")).unwrap().to, "b");
        let seen_from_c = planned(|_, line| line.held = None, None).unwrap();
        assert_eq!(seen_from_c.from, "a");
    }

    #[test]
    fn whatever_is_not_well_is_refused_with_its_remedy() {
        type Change = fn(&mut Status, &mut GroupLine);
        let cases: [(Change, &str); 11] = [
            (|status, _| status.member = MemberState::Frozen, "a is frozen"),
            (
                |_, line| line.stopped = Some("by root".to_owned()),
                "`leasehold start mail`",
            ),
            (
                |_, line| line.paused = Some("by root".to_owned()),
                "`leasehold resume mail`",
            ),
            (
                |_, line| line.stuck = Some("stuck on a: run it".to_owned()),
                "mail is stuck on a",
            ),
            (|_, line| line.holder = None, "`leasehold why mail`"),
            (
                |_, line| line.held.as_mut().unwrap().stage = Stage::Checking,
                "mail is checking on a: wait",
            ),
            (
                |_, line| line.held.as_mut().unwrap().probe_failure = Some("smtp 25: refused".to_owned()),
                "not well on a (smtp 25: refused)",
            ),
            (
                |_, line| {
                    let why = "seen from c: refused".to_owned();
                    let state = TroubleState::Sick;
                    (line.held, line.trouble) = (None, Some(Trouble { state, why }));
                },
                "not well on a (seen from c: refused)",
            ),
            (
                |status, _| status.nodes.get_mut("a").unwrap().drained = Some("by root".to_owned()),
                "`leasehold undrain a`",
            ),
            (
                |status, _| {
                    status.nodes.insert("a".to_owned(), node(10, "it failed here"));
                },
                "could not come back to a: it failed here",
            ),
            (
                |status, _| {
                    status.nodes.remove("b");
                    status.nodes.insert("c".to_owned(), node(20, "no image"));
                },
                "no standby is ready for mail (c: no image)",
            ),
        ];
        for (change, words) in cases {
            let refused = planned(change, None).expect_err(words);
            assert!(refused.contains(words), "{words}: {refused}");
        }
    }

    #[test]
    fn a_named_node_must_be_there_and_ready() {
        for (to, words) in [("a", "holds mail already"), ("x", "no node x: there is a, b, c")] {
            let refused = planned(|_, _| {}, Some(to)).expect_err(to);
            assert!(refused.contains(words), "{refused}");
        }
        let silence = |status: &mut Status, _: &mut GroupLine| {
            status.nodes.get_mut("b").unwrap().state = NodeState::Silent;
        };
        let refused = planned(silence, Some("b")).expect_err("silent");
        assert!(refused.contains("b is not ready for mail: it is silent"), "{refused}");
    }

    #[test]
    fn what_no_client_can_ask_is_not_drilled() {
        for (group, words) in [
            ("", "set `vips`"),
            (
                ", vips: [192.0.2.10/24], probes: [{gateway: 192.0.2.1}]",
                "set `probes`",
            ),
        ] {
            let refused = plan(&well(), &project("", group, "hostname: a"), "mail", None).expect_err(words);
            assert!(refused.contains(words), "{refused}");
        }
        let refused = plan(
            &well(),
            &project("", GROUP, "healthcheck: {test: [CMD, true]}"),
            "web",
            None,
        );
        assert_eq!(
            refused.expect_err("web"),
            "no group web: the compose file has mail; see `leasehold group list`"
        );
    }
}
