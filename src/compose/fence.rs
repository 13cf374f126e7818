//! `x-leasehold: fence:`: which agent fences a node, and what it is told.

use std::collections::BTreeMap;
use std::time::Duration;

use super::context::Context;
use super::cursor::At;
use super::fault::Faults;
use super::leasehold::{seen_here, within};
use super::model::{Fence, FenceOptions};
use super::scalar::{self, NAME_PATTERN};

const TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);
const TIMEOUT_MIN: Duration = Duration::from_secs(1);
const TIMEOUT_MAX: Duration = Duration::from_secs(600);
const TRIES_DEFAULT: u32 = 3;
const TRIES_MAX: u32 = 10;
/// What Leasehold itself tells the agent.
const OURS: [&str; 2] = ["action", "nodename"];

const EXAMPLE: &str = "such as fence: {agent: /usr/sbin/fence_ipmilan, options: {username: leasehold}, \
    secret_files: {password: /run/secrets/ipmi}, nodes: {a: {options: {ip: 10.0.0.11}}}}";

pub(super) fn read(at: &At<'_>, context: &Context<'_>, faults: &mut Faults) -> Option<Fence> {
    let mut agent = None;
    let mut fence = Fence {
        agent: Default::default(),
        action: "off".to_owned(),
        timeout: TIMEOUT_DEFAULT,
        tries: TRIES_DEFAULT,
        common: FenceOptions::default(),
        nodes: BTreeMap::new(),
    };
    let known = [
        "agent",
        "action",
        "timeout",
        "tries",
        "options",
        "secret_files",
        "nodes",
    ];
    for field in at.map_of(faults, &known) {
        match field.name {
            "agent" => {
                let path = field.parsed(faults, "a path, such as /usr/sbin/fence_ipmilan", |text| {
                    text.contains('/').then(|| text.to_owned())
                });
                agent = Some(seen_here(&path.unwrap_or_default(), context));
            }
            "action" => fence.action = action(&field, faults).unwrap_or(fence.action),
            "timeout" => {
                fence.timeout = within(&field, TIMEOUT_MIN, TIMEOUT_MAX, faults).unwrap_or(TIMEOUT_DEFAULT);
            }
            "tries" => fence.tries = tries(&field, faults).unwrap_or(TRIES_DEFAULT),
            "nodes" => fence.nodes = nodes(&field, context, faults),
            _ => part(&field, &mut fence.common, context, faults),
        }
    }
    let Some(agent) = agent else {
        at.fault(faults, "does not name the agent", EXAMPLE);
        return None;
    };
    Some(Fence { agent, ..fence })
}

fn action(at: &At<'_>, faults: &mut Faults) -> Option<String> {
    let known = |text: &str| matches!(text, "off" | "reboot").then(|| text.to_owned());
    at.parsed(faults, "off or reboot", known)
}

fn tries(at: &At<'_>, faults: &mut Faults) -> Option<u32> {
    let few = |text: &str| text.parse().ok().filter(|tries| (1..=TRIES_MAX).contains(tries));
    at.parsed(faults, &format!("a number from 1 to {TRIES_MAX}"), few)
}

fn nodes(at: &At<'_>, context: &Context<'_>, faults: &mut Faults) -> BTreeMap<String, FenceOptions> {
    let mut nodes = BTreeMap::new();
    for node in at.map(faults) {
        let mut own = FenceOptions::default();
        for field in node.map_of(faults, &["options", "secret_files"]) {
            part(&field, &mut own, context, faults);
        }
        nodes.insert(node.name.to_owned(), own);
    }
    if nodes.is_empty() {
        at.fault(faults, "names no node", "name each node with its options, or remove it");
    }
    nodes
}

/// `options` or `secret_files`.
fn part(at: &At<'_>, into: &mut FenceOptions, context: &Context<'_>, faults: &mut Faults) {
    let secret = at.name == "secret_files";
    for field in at.map(faults) {
        if !scalar::is_name(field.name) {
            field.fault(faults, format!("is no name of an option ({NAME_PATTERN})"), "");
        } else if OURS.contains(&field.name) {
            field.fault(
                faults,
                "is told to the agent by Leasehold",
                "use fence.action, or remove it",
            );
        } else if secret {
            if let Some(path) = field.text(faults) {
                into.secret_files
                    .insert(field.name.to_owned(), seen_here(&path, context));
            }
        } else if is_secret(field.name) {
            let remedy = format!(
                "write its value into a file of its own and `secret_files: {{{}: FILE}}`",
                field.name
            );
            field.fault(faults, "would stand here for everybody to read", remedy);
        } else if let Some(value) = field.text(faults) {
            if value.contains(['\n', '\r']) {
                field.fault(faults, "must be one line", "");
            }
            into.options.insert(field.name.to_owned(), value);
        }
    }
}

/// Options of fence agents that hold a secret; a path to a script that prints one is none.
fn is_secret(option: &str) -> bool {
    let option = option.to_ascii_lowercase();
    let named = ["passw", "secret", "token", "community"]
        .iter()
        .any(|word| option.contains(word));
    named && !option.ends_with("_script")
}

#[cfg(test)]
mod tests {
    use super::super::model::Fence;
    use super::super::testing::{REST, assert_one, file, read_files, said};
    use super::*;

    fn with(fence: &str) -> String {
        let text = file("", "network_mode: host", REST);
        text.replacen("etcd: [", &format!("fence: {{{fence}}}, etcd: ["), 1)
    }

    fn fence(keys: &str) -> Fence {
        let project =
            read_files(&[("compose.yaml", &with(keys))]).unwrap_or_else(|faults| panic!("{keys}\n{faults:#?}"));
        project.cluster.fence.unwrap()
    }

    #[test]
    fn every_key_is_read_and_has_a_default() {
        let least = fence("agent: /usr/sbin/fence_ipmilan");
        assert_eq!(
            (least.action.as_str(), least.timeout, least.tries),
            ("off", TIMEOUT_DEFAULT, 3)
        );
        let whole = fence(
            "agent: ./fence.sh, action: reboot, timeout: 20s, tries: 5, options: {lanplus: 1, username: u}, \
             secret_files: {password: /run/secrets/ipmi}, nodes: {a: {options: {ip: 10.0.0.11}, secret_files: {password: ./a}}, b: }",
        );
        assert!(
            whole.agent.ends_with("fence.sh") && !whole.agent.starts_with("/srv/mail"),
            "{whole:?}"
        );
        assert_eq!(
            (whole.action.as_str(), whole.timeout, whole.tries),
            ("reboot", Duration::from_secs(20), 5)
        );
        assert_eq!(whole.common.options["lanplus"], "1");
        assert_eq!(
            whole.common.secret_files["password"].to_str(),
            Some("/run/secrets/ipmi")
        );
        assert_eq!(whole.nodes["a"].options["ip"], "10.0.0.11");
        assert!(whole.nodes["a"].secret_files["password"].ends_with("a"));
        assert_eq!(whole.nodes["b"], FenceOptions::default());
    }

    #[test]
    fn what_is_wrong_is_refused() {
        for (keys, words) in [
            ("action: off", ["does not name the agent", "fence_ipmilan"]),
            ("agent: fence_ipmilan", ["fence.agent", "must be a path"]),
            ("agent: /f, action: on", ["fence.action", "off or reboot"]),
            ("agent: /f, tries: 0", ["fence.tries", "from 1 to 10"]),
            ("agent: /f, timeout: 0s", ["fence.timeout", "between"]),
            ("agent: /f, agnet: /g", ["fence.agnet", "did you mean agent?"]),
            (
                "agent: /f, options: {password: x}",
                ["fence.options.password", "secret_files"],
            ),
            (
                "agent: /f, nodes: {a: {options: {snmp_priv_passwd: x}}}",
                ["nodes.a.options.snmp_priv_passwd", "secret_files"],
            ),
            (
                "agent: /f, options: {action: off}",
                ["fence.options.action", "by Leasehold"],
            ),
            ("agent: /f, options: {'a b': c}", ["fence.options.a b", "no name"]),
            ("agent: /f, options: {a: \"b\\nc\"}", ["fence.options.a", "one line"]),
            ("agent: /f, nodes: {}", ["fence.nodes", "names no node"]),
            ("agent: /f, nodes: {a: {ip: 1}}", ["nodes.a.ip", "not a key"]),
        ] {
            assert_one(&said(&with(keys)), &words, keys);
        }
        fence("agent: /f, options: {password_script: /get-it}");
    }
}
