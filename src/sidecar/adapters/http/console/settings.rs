//! What can be set for a group while it runs: the table of its values, and the form of one.

use maud::{Markup, html};

use super::look::said;
use crate::adapters::http::acts::Act;
use crate::adapters::http::problem::Problem;
use leasehold_core::protocol::policy::{Change, Setting};
use leasehold_core::snapshot::settings::SettingLine;
use leasehold_core::snapshot::status::{GroupLine, Status};

/// Letters of a value.
const VALUE_MAX: usize = 32;

/// What it is called beside its name.
fn title(setting: &Setting) -> String {
    match setting {
        Setting::Failback => "Back to the preferred node".to_owned(),
        Setting::RestartBudget => "Restarts in place".to_owned(),
        Setting::RestartWindow => "Restarts count for".to_owned(),
        Setting::ProbeInterval => "Between two checks of a probe".to_owned(),
        Setting::ProbeFall => "Wrong answers until a probe fails".to_owned(),
        Setting::ProbeFallTimeout => "The same with answers that did not come".to_owned(),
        Setting::Priority(node) => format!("Priority of {node}"),
    }
}

/// What fits, as an example.
fn example(setting: &Setting) -> &'static str {
    match setting {
        Setting::Failback => "manual, auto or auto:10m",
        Setting::RestartBudget => "0 to 100",
        Setting::RestartWindow => "10m",
        Setting::ProbeInterval => "5s",
        Setting::ProbeFall | Setting::ProbeFallTimeout => "1 to 1000",
        Setting::Priority(_) => "1 to 999",
    }
}

/// On the page of a group. `acts`: whoever looks may set them.
pub(super) fn table(name: &str, line: &GroupLine, acts: bool) -> Markup {
    html! {
        h2 #settings { "What can be set while it runs" }
        div.scroll role="region" aria-labelledby="settings" tabindex="0" {
            table {
                caption { "Every node goes by what is set, in the place of its file; nothing restarts for it" }
                thead { tr {
                    th scope="col" { "Value" } th scope="col" { "Counts" } th scope="col" { "The file here" } th scope="col" { "Set" }
                    @if acts { th scope="col" { span.quiet { "Act" } } }
                } }
                tbody {
                    @for one in &line.settings {
                        tr {
                            th scope="row" { (title(&one.setting)) " " code { (one.setting.name()) } }
                            td { strong { (one.value) } }
                            td { (file(one)) }
                            td { @match &one.set { Some(order) => (said(&order.to_string())), None => span.quiet { "no" } } }
                            @if acts { td {
                                a.button.plain href={ "/group/" (name) "/set?to=" (one.setting.name()) } { "Change " span.quiet { (one.setting.name()) } }
                            } }
                        }
                    }
                }
            }
        }
    }
}

fn file(line: &SettingLine) -> Markup {
    html! {
        (line.file.as_deref().unwrap_or("nothing"))
        @if let Some(nodes) = line.elsewhere.as_ref().filter(|nodes| !nodes.is_empty()) {
            span.quiet { ", not the same on " (nodes.join(", ")) }
        }
    }
}

/// The value that an act is about; none of any other act.
pub(super) fn of(act: &Act) -> Option<Setting> {
    let Act::Set { changes, .. } = act else { return None };
    changes.iter().find_map(|change| match change {
        Change::Set(wanted) => Some(wanted.setting()),
        Change::Unset(setting) => Some(setting.clone()),
        Change::UnsetAll => None,
    })
}

/// What a form says of it: nothing, or the box, takes it back.
pub(super) fn asked(group: &str, name: &str, value: &str, back: bool) -> Result<Act, Problem> {
    let value = value.trim();
    let change = match back || value.is_empty() {
        true => Change::unset(name)?,
        false => Change::set(name, value)?,
    };
    let (group, changes) = (group.to_owned(), vec![change]);
    Ok(Act::Set { group, changes })
}

fn line<'a>(status: &'a Status, act: &Act) -> Option<&'a SettingLine> {
    let setting = of(act)?;
    let group = status.groups.get(act.group()?)?;
    group.settings.iter().find(|line| line.setting == setting)
}

/// What is to be filled in.
pub(super) fn inputs(status: &Status, act: &Act) -> Markup {
    let Some(setting) = of(act) else { return html! {} };
    let line = line(status, act);
    let back = line.filter(|line| line.set.is_some());
    html! {
        input type="hidden" name="to" value=(setting.name());
        label for="value" { (title(&setting)) " (" (example(&setting)) ")" }
        input #value name="value" maxlength=(VALUE_MAX) autocomplete="off" value=[line.map(|line| &line.value)];
        @if let Some(line) = back {
            label for="unset" {
                input #unset name="back" type="checkbox" value="yes"; " Take it back: "
                @match &line.file { Some(file) => { (file) " counts again" }, None => "what the file says counts again" }
            }
        }
    }
}

/// What it will do.
pub(super) fn effects(status: &Status, act: &Act) -> Vec<String> {
    let (Some(setting), Some(group)) = (of(act), act.group()) else {
        return Vec::new();
    };
    let what = match &setting {
        Setting::Failback => format!(
            "With auto, {group} goes back by itself to the node with the lowest priority, once that one has been ready for so long: \
             an outage as of any move. With manual it stays where it is."
        ),
        Setting::RestartBudget => format!(
            "A failed {group} is started again so often in place, before it moves to another node. With 0 it moves at once. \
             Restarts that were made already count."
        ),
        Setting::RestartWindow => format!("Restarts of {group} that are older do not count any more."),
        Setting::ProbeInterval => format!(
            "Every probe of {group} is made so often, but for a canary. A longer time finds a sick service later."
        ),
        Setting::ProbeFall | Setting::ProbeFallTimeout => format!(
            "After so many in a row a probe has failed, and {group} is restarted. More of them find a sick service later."
        ),
        Setting::Priority(node) => format!(
            "Of nodes that are ready, the one with the lowest number takes {group} over first. Nothing moves to or from {node} now, \
             unless failback is auto."
        ),
    };
    let counts = line(status, act).map(|line| match &line.set {
        Some(order) => format!("Now it is {}, set {order}.", line.value),
        None => format!("Now it is {}, as the file says.", line.value),
    });
    let every =
        "Every node goes by it with its next beat. Nothing restarts, and the files stay as they are.".to_owned();
    [what, every].into_iter().chain(counts).collect()
}

/// Whether this node has seen it.
pub(super) fn landed(line: &GroupLine, changes: &[Change]) -> bool {
    let find = |setting: &Setting| line.settings.iter().find(|line| line.setting == *setting);
    changes.iter().all(|change| match change {
        Change::Set(wanted) => {
            let line = find(&wanted.setting());
            line.is_some_and(|line| line.set.is_some() && line.value == wanted.value())
        }
        Change::Unset(setting) => find(setting).is_none_or(|line| line.set.is_none()),
        Change::UnsetAll => line.settings.iter().all(|line| line.set.is_none()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_value_and_the_box_take_back() {
        let back = |value, back| match asked("mail", "restarts.budget", value, back) {
            Ok(Act::Set { changes, .. }) => changes,
            other => panic!("{other:?}"),
        };
        let unset = vec![Change::Unset(Setting::RestartBudget)];
        assert_eq!(back(" ", false), unset);
        assert_eq!(back("5", true), unset);
        assert_eq!(back(" 5 ", false)[0].to_string(), "restarts.budget=5");
        assert!(asked("mail", "restarts.budget", "many", false).is_err());
        assert!(asked("mail", "ttl", "5s", false).is_err());
    }
}
