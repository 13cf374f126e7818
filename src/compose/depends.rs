//! For whom a service waits: `depends_on`, `links` and `network_mode: service:`, as far as they stay inside its group.

use std::collections::BTreeMap;

use super::cursor::At;
use super::fault::Faults;
use super::groups::Member;
use super::model::{Dependency, NetworkMode};

/// A one-off container that must have ended well.
const STEP: &str = "service_completed_successfully";

/// `depends_on` and `network_mode: service:`, as far as they stay inside the group.
pub(super) fn read(member: &mut Member<'_>, homes: &BTreeMap<String, String>, faults: &mut Faults) {
    let at = member.at.clone();
    let depends_on = at
        .get("depends_on")
        .map(|field| stated(&field, faults))
        .unwrap_or_default();
    let links = at
        .get("links")
        .map(|field| linked(member, &field, faults))
        .unwrap_or_default();
    for wanted in [depends_on, links] {
        for (name, dependency, at) in wanted {
            if member.service.depends_on.contains_key(&name) {
                continue;
            }
            match homes.get(&name) {
                Some(group) if *group == member.settings.group => {
                    member.service.depends_on.insert(name, dependency);
                }
                Some(group) => at.fault(
                    faults,
                    format!("{name} is in another group, {group}, which may live on another node"),
                    "put both into one group, or remove it",
                ),
                None if is_optional(&at) => {
                    at.warn(faults, format!("is not waited for: {name} is not protected"), "");
                }
                None => at.fault(
                    faults,
                    format!("{name} is not protected: Leasehold neither starts it nor waits for it"),
                    "protect it in the same group, or add `required: false`",
                ),
            }
        }
    }
    let Some(NetworkMode::Service(name)) = &member.service.network_mode else {
        return;
    };
    match homes.get(name) {
        Some(group) if *group == member.settings.group => {
            member
                .service
                .depends_on
                .entry(name.clone())
                .or_insert(Dependency::Started);
        }
        Some(group) => {
            let message = format!("its network_mode names {name} of another group, {group}");
            member.at.fault(faults, message, "put both into one group");
        }
        None => {}
    }
}

fn is_optional(at: &At<'_>) -> bool {
    at.get("required").and_then(|field| field.node.scalar()).as_deref() == Some("false")
}

fn stated<'a>(field: &At<'a>, faults: &mut Faults) -> Vec<(String, Dependency, At<'a>)> {
    if !field.node.items().is_empty() {
        let items = field.list(faults);
        let names = items
            .into_iter()
            .filter_map(|item| Some((item.text(faults)?, Dependency::Started, item)));
        return names.collect();
    }
    let entries = field.map(faults).into_iter();
    entries
        .filter_map(|at| Some((at.name.to_owned(), one(&at, faults)?, at)))
        .collect()
}

/// What is waited for; nothing where it has been refused.
fn one(at: &At<'_>, faults: &mut Faults) -> Option<Dependency> {
    let mut dependency = Some(Dependency::Started);
    for part in at.map_of(faults, &["condition", "required"]) {
        match part.name {
            "condition" if part.node.scalar().as_deref() == Some(STEP) && is_optional(at) => {
                part.warn(faults, "is not waited for: it is a step that ends", "");
                dependency = None;
            }
            "condition" if part.node.scalar().as_deref() == Some(STEP) => {
                let message = format!(
                    "{} is a step that ends, and a group has services only, which run until it is stopped",
                    at.name
                );
                let remedy = "call the step in this service's own command, or run it by hand while the group runs, as after an \
                              update; then take this entry out";
                part.fault(faults, message, remedy);
                dependency = None;
            }
            "condition" => {
                let known = |text: &str| match text {
                    "service_started" => Some(Dependency::Started),
                    "service_healthy" => Some(Dependency::Healthy),
                    _ => None,
                };
                dependency = part.parsed(faults, "service_started or service_healthy", known);
            }
            _ => {
                part.bool(faults);
            }
        }
    }
    dependency
}

/// A link to a service of the same network is no more than an order of starting: it is found by its name all the same.
fn linked<'a>(member: &Member<'_>, field: &At<'a>, faults: &mut Faults) -> Vec<(String, Dependency, At<'a>)> {
    let mut links = Vec::new();
    for item in field.list(faults) {
        let Some(text) = item.text(faults) else { continue };
        let (name, alias) = text.split_once(':').unwrap_or((&text, &text));
        if member.service.network_mode.is_some() {
            let message = "means nothing with a network_mode: services find each other by name in networks only";
            item.fault(faults, message, "take it out, or use `networks`");
        } else if name != alias {
            let remedy =
                format!("write `networks: {{default: {{aliases: [{alias}]}}}}` into {name}, and `{name}` here");
            item.fault(
                faults,
                format!("a name of its own for {name} is not carried out"),
                remedy,
            );
        } else {
            links.push((name.to_owned(), Dependency::Started, item));
        }
    }
    links
}

#[cfg(test)]
mod tests {
    use super::super::model::Dependency;
    use super::super::testing::{LINES, REST, assert_one, faults, file, read_files, said};

    /// A group of two: `s` with these keys, and `db`.
    fn pair(keys: &str) -> String {
        let db = format!("  db:\n    image: d:1\n{LINES}    x-leasehold: {{group: s}}\n{REST}");
        file("", keys, &db)
    }

    #[test]
    fn a_bare_link_is_an_order_of_starting() {
        for keys in ["links: [db]", "links: ['db:db']", "links: [db]\ndepends_on: [db]"] {
            let project = read_files(&[("compose.yaml", &pair(keys))]).unwrap_or_else(|faults| panic!("{faults:#?}"));
            let group = &project.groups["s"];
            assert_eq!(group.services[0].name, "db", "{keys}");
            assert_eq!(group.services[1].depends_on["db"], Dependency::Started, "{keys}");
        }
        let healthy = "links: [db]\ndepends_on: {db: {condition: service_healthy}}";
        let project = read_files(&[("compose.yaml", &pair(healthy))]).unwrap();
        assert_eq!(project.groups["s"].services[1].depends_on["db"], Dependency::Healthy);
    }

    #[test]
    fn what_a_link_can_not_do_is_said() {
        assert_one(
            &said(&pair("links: ['db:store']")),
            &["services.s.links", "aliases: [store]"],
            "alias",
        );
        assert_one(
            &said(&pair("links: [db]\nnetwork_mode: bridge")),
            &["services.s.links", "network_mode"],
            "bridge",
        );
        assert_one(
            &faults("", "links: [other]"),
            &["other is not protected", "same group"],
            "other",
        );
    }

    #[test]
    fn a_step_that_ends_is_refused_by_name() {
        let step = "depends_on: {other: {condition: service_completed_successfully}}";
        assert_one(&faults("", step), &["other is a step that ends", "by hand"], "step");
        let optional = step.replace("fully}", "fully, required: false}");
        assert!(faults("", &optional).is_empty());
    }
}
