//! What can be set for a group while everything runs: its values in etcd, in the place of those of the files. No rule of
//! safety reads any of them (docs/protocol.md, "What is set at run time").

use std::collections::BTreeMap;
use std::time::Duration;

use leasehold_base::length;
use serde::{Deserialize, Serialize};

use crate::protocol::records::StandingOrder;
use crate::requests::refusal::Refusal;
use crate::text;

/// The quiet window of a failback, and of one that names none.
pub const QUIET_MIN: Duration = Duration::from_secs(30);
pub const QUIET_MAX: Duration = Duration::from_secs(86_400);
pub const QUIET_DEFAULT: Duration = Duration::from_secs(300);
/// Restarts in place, and within how long they count.
pub const BUDGET_MAX: u32 = 100;
pub const WINDOW_MIN: Duration = Duration::from_secs(10);
pub const WINDOW_MAX: Duration = Duration::from_secs(86_400);
/// Of probes that decide.
pub const INTERVAL_MIN: Duration = Duration::from_secs(1);
pub const INTERVAL_MAX: Duration = Duration::from_secs(3600);
pub const FALL_MAX: u32 = 1000;
/// Of a node.
pub const PRIORITY_MIN: u32 = 1;
pub const PRIORITY_MAX: u32 = 999;
/// Of one group: far above six and one a node.
pub const SET_MAX: usize = 64;
/// Letters of a name and of a value.
const WORD_MAX: usize = 128;
/// Bytes of who, when and why.
const TEXT_MAX: usize = 1024;

/// What a value is of, by its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Setting {
    Failback,
    RestartBudget,
    RestartWindow,
    ProbeInterval,
    ProbeFall,
    ProbeFallTimeout,
    /// Of this node for the group.
    Priority(String),
}

impl Setting {
    /// Those that every group has.
    pub const OF_EVERY_GROUP: [Self; 6] = [
        Self::Failback,
        Self::RestartBudget,
        Self::RestartWindow,
        Self::ProbeInterval,
        Self::ProbeFall,
        Self::ProbeFallTimeout,
    ];

    /// As people write it.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Failback => "failback".to_owned(),
            Self::RestartBudget => "restarts.budget".to_owned(),
            Self::RestartWindow => "restarts.window".to_owned(),
            Self::ProbeInterval => "probes.interval".to_owned(),
            Self::ProbeFall => "probes.fall".to_owned(),
            Self::ProbeFallTimeout => "probes.fall_timeout".to_owned(),
            Self::Priority(node) => format!("priority.{node}"),
        }
    }

    /// The same back.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        if let Some(node) = name.strip_prefix("priority.") {
            let fits = !node.is_empty() && node.len() <= WORD_MAX && node.bytes().all(|byte| byte.is_ascii_graphic());
            return fits.then(|| Self::Priority(node.to_owned()));
        }
        Self::OF_EVERY_GROUP.into_iter().find(|setting| setting.name() == name)
    }

    /// Under which the files of nodes are compared, where they have it.
    #[must_use]
    pub fn file_key(&self) -> Option<&'static str> {
        match self {
            Self::Failback => Some("failback"),
            Self::RestartBudget | Self::RestartWindow => Some("restarts"),
            Self::ProbeInterval | Self::ProbeFall | Self::ProbeFallTimeout => Some("probes"),
            Self::Priority(_) => None,
        }
    }

    /// The value that is written so; none where it is no value of this.
    #[must_use]
    pub fn read(&self, value: &str) -> Option<Wanted> {
        if value.len() > WORD_MAX {
            return None;
        }
        let span = |min, max| length::read(value).filter(|length| (min..=max).contains(length));
        let count = |min, max| value.parse().ok().filter(|count| (min..=max).contains(count));
        Some(match self {
            Self::Failback => Wanted::Failback(match value {
                "manual" => None,
                "auto" => Some(QUIET_DEFAULT),
                _ => {
                    let quiet = length::read(value.strip_prefix("auto:")?);
                    Some(quiet.filter(|quiet| (QUIET_MIN..=QUIET_MAX).contains(quiet))?)
                }
            }),
            Self::RestartBudget => Wanted::RestartBudget(count(0, BUDGET_MAX)?),
            Self::RestartWindow => Wanted::RestartWindow(span(WINDOW_MIN, WINDOW_MAX)?),
            Self::ProbeInterval => Wanted::ProbeInterval(span(INTERVAL_MIN, INTERVAL_MAX)?),
            Self::ProbeFall => Wanted::ProbeFall(count(1, FALL_MAX)?),
            Self::ProbeFallTimeout => Wanted::ProbeFallTimeout(count(1, FALL_MAX)?),
            Self::Priority(node) => Wanted::Priority {
                node: node.clone(),
                value: count(PRIORITY_MIN, PRIORITY_MAX)?,
            },
        })
    }
}

/// A value that is wanted in the place of the file's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Back by itself after so long; none: only by a person's word.
    Failback(Option<Duration>),
    RestartBudget(u32),
    RestartWindow(Duration),
    ProbeInterval(Duration),
    ProbeFall(u32),
    ProbeFallTimeout(u32),
    Priority {
        node: String,
        value: u32,
    },
}

impl Wanted {
    /// What it is a value of.
    #[must_use]
    pub fn setting(&self) -> Setting {
        match self {
            Self::Failback(_) => Setting::Failback,
            Self::RestartBudget(_) => Setting::RestartBudget,
            Self::RestartWindow(_) => Setting::RestartWindow,
            Self::ProbeInterval(_) => Setting::ProbeInterval,
            Self::ProbeFall(_) => Setting::ProbeFall,
            Self::ProbeFallTimeout(_) => Setting::ProbeFallTimeout,
            Self::Priority { node, .. } => Setting::Priority(node.clone()),
        }
    }

    /// As people write it.
    #[must_use]
    pub fn value(&self) -> String {
        match self {
            Self::Failback(None) => "manual".to_owned(),
            Self::Failback(Some(quiet)) => format!("auto:{}", length::write(*quiet)),
            Self::RestartWindow(length) | Self::ProbeInterval(length) => length::write(*length),
            Self::RestartBudget(count) | Self::ProbeFall(count) | Self::ProbeFallTimeout(count) => count.to_string(),
            Self::Priority { value, .. } => value.to_string(),
        }
    }
}

/// Where a node's priority comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    Set,
    /// By the environment of its sidecar.
    ByItself,
}

/// Why a key of the compose file can't be set at run time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fixed {
    /// The whole cluster's, which `config apply` changes.
    Cluster,
    /// A deadline or a stop rests on it.
    Deadline,
    /// The addresses on the interface are these.
    Address,
    /// Containers are made from it.
    Container,
    /// It says what a person decides.
    Person,
    /// Nothing but that it stands in the file.
    File,
}

impl Fixed {
    /// Of a name that is known and can't be set.
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "ttl" | "promises" | "clock_margin" | "etcd_election_timeout" => Self::Cluster,
            "lease_loss_grace" | "on_stop_failure" | "stop_grace_period" | "fence" => Self::Deadline,
            "vips" | "vip_first" | "on_conflict" => Self::Address,
            "image" | "volumes" | "environment" | "command" | "entrypoint" | "ports" | "healthcheck" => Self::Container,
            "failover" | "second_opinion" | "on_failure" => Self::Person,
            "start_timeout" | "storage_look" | "start_trial" | "probes" | "probes.timeout" | "probes.rise"
            | "restarts" | "priority" => Self::File,
            _ => return None,
        })
    }
}

/// One step of an operator's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Set(Wanted),
    /// The file's value counts again.
    Unset(Setting),
    /// Every one does.
    UnsetAll,
}

impl Change {
    /// Reads `NAME=VALUE`, in its two parts.
    ///
    /// # Errors
    /// Why nothing of this name, or no such value, can be set.
    pub fn set(name: &str, value: &str) -> Result<Self, Refusal> {
        let setting = settable(name)?;
        match setting.read(value) {
            Some(wanted) => Ok(Self::Set(wanted)),
            None => {
                let value = value.chars().take(WORD_MAX).collect();
                Err(Refusal::SettingValue { setting, value })
            }
        }
    }

    /// Reads the name of what is taken back; `all` is everything.
    ///
    /// # Errors
    /// Why nothing of this name can be set.
    pub fn unset(name: &str) -> Result<Self, Refusal> {
        match name {
            "all" => Ok(Self::UnsetAll),
            name => settable(name).map(Self::Unset),
        }
    }
}

fn settable(name: &str) -> Result<Setting, Refusal> {
    let short = || name.chars().take(WORD_MAX).collect();
    match (Setting::named(name), Fixed::of(name)) {
        (Some(setting), _) => Ok(setting),
        (None, Some(why)) => Err(Refusal::SettingFixed { name: short(), why }),
        (None, None) => {
            let known: Vec<String> = Setting::OF_EVERY_GROUP.iter().map(Setting::name).collect();
            let (name, known) = (short(), known.join(", "));
            Err(Refusal::SettingUnknown { name, known })
        }
    }
}

/// A value with who set it, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    pub wanted: Wanted,
    pub order: StandingOrder,
}

/// All that is set for a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "InEtcd", into = "InEtcd")]
pub struct Policy {
    set: BTreeMap<Setting, Given>,
    /// What only a later version knows: it stays as it is.
    later: BTreeMap<String, Written>,
}

impl Policy {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.later.is_empty()
    }

    /// What is set, in the order of the names.
    pub fn given(&self) -> impl Iterator<Item = (&Setting, &Given)> {
        self.set.iter()
    }

    #[must_use]
    pub fn of(&self, setting: &Setting) -> Option<&Given> {
        self.set.get(setting)
    }

    /// The same without who set it.
    #[must_use]
    pub fn wanted(&self, setting: &Setting) -> Option<&Wanted> {
        self.set.get(setting).map(|given| &given.wanted)
    }

    /// Names that only a later version knows.
    pub fn later(&self) -> impl Iterator<Item = &str> {
        self.later.keys().map(String::as_str)
    }

    /// A node's priority for the group, where it is set.
    #[must_use]
    pub fn priority(&self, node: &str) -> Option<u32> {
        let mut all = self.priorities().filter(|(named, _)| *named == node);
        all.next().map(|(_, value)| value)
    }

    /// Each that is set, with its node.
    pub fn priorities(&self) -> impl Iterator<Item = (&str, u32)> {
        self.set.values().filter_map(|given| match &given.wanted {
            Wanted::Priority { node, value } => Some((node.as_str(), *value)),
            Wanted::Failback(_)
            | Wanted::RestartBudget(_)
            | Wanted::RestartWindow(_)
            | Wanted::ProbeInterval(_)
            | Wanted::ProbeFall(_)
            | Wanted::ProbeFallTimeout(_) => None,
        })
    }

    /// What it is after an order.
    #[must_use]
    pub fn changed(mut self, changes: &[Change], order: &StandingOrder) -> Self {
        for change in changes {
            match change {
                Change::Set(wanted) => {
                    let same = self
                        .set
                        .get(&wanted.setting())
                        .is_some_and(|given| given.wanted == *wanted);
                    // Who set it first has set it.
                    if !same {
                        let (wanted, order) = (wanted.clone(), order.clone());
                        self.set.insert(wanted.setting(), Given { wanted, order });
                    }
                }
                Change::Unset(setting) => {
                    self.set.remove(setting);
                }
                Change::UnsetAll => self = Self::default(),
            }
        }
        self
    }

    /// Two nodes of one priority, if there are.
    #[must_use]
    pub fn twice(&self) -> Option<(&str, &str, u32)> {
        let mut seen: BTreeMap<u32, &str> = BTreeMap::new();
        self.priorities()
            .find_map(|(node, value)| seen.insert(value, node).map(|first| (first, node, value)))
    }

    /// How many are set.
    #[must_use]
    pub fn count(&self) -> usize {
        self.set.len() + self.later.len()
    }
}

/// The form in etcd: names with values as people write them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct InEtcd {
    #[serde(default)]
    set: BTreeMap<String, Written>,
}

/// A value as it is written, with who set it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    pub to: String,
    pub by: String,
    pub at: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}

impl From<Policy> for InEtcd {
    fn from(policy: Policy) -> Self {
        let set = policy.into();
        Self { set }
    }
}

impl TryFrom<InEtcd> for Policy {
    type Error = &'static str;

    fn try_from(read: InEtcd) -> Result<Self, Self::Error> {
        Self::try_from(read.set)
    }
}

impl From<Policy> for BTreeMap<String, Written> {
    fn from(policy: Policy) -> Self {
        let known = policy.set.into_iter().map(|(setting, given)| {
            let StandingOrder { by, at, why, until: _ } = given.order;
            let to = given.wanted.value();
            (setting.name(), Written { to, by, at, why })
        });
        known.chain(policy.later).collect()
    }
}

impl TryFrom<BTreeMap<String, Written>> for Policy {
    type Error = &'static str;

    fn try_from(read: BTreeMap<String, Written>) -> Result<Self, Self::Error> {
        let mut policy = Self::default();
        let long = |(name, written): (&String, &Written)| {
            let Written { to, by, at, why } = written;
            name.len() > 2 * WORD_MAX || [to, by, at, why].into_iter().any(|text| text.len() > TEXT_MAX)
        };
        if read.len() > SET_MAX || read.iter().any(long) {
            return Err(text::policy::NOT_OURS);
        }
        for (name, written) in read {
            let Some(setting) = Setting::named(&name) else {
                policy.later.insert(name, written);
                continue;
            };
            let wanted = setting.read(&written.to).ok_or(text::policy::NOT_OURS)?;
            let Written { by, at, why, .. } = written;
            let order = StandingOrder {
                by,
                at,
                why,
                until: None,
            };
            policy.set.insert(setting, Given { wanted, order });
        }
        match policy.twice() {
            Some(_) => Err(text::policy::NOT_OURS),
            None => Ok(policy),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Option<Policy> {
        serde_json::from_str(json).ok()
    }

    fn one(name: &str, to: &str) -> String {
        format!(r#"{{"set":{{"{name}":{{"to":"{to}","by":"root on a","at":"noon"}}}}}}"#)
    }

    #[test]
    fn every_setting_is_named_and_read_as_it_is_written() {
        for (name, values) in [
            ("failback", &["manual", "auto:30s", "auto:10m", "auto:24h"][..]),
            ("restarts.budget", &["0", "100"]),
            ("restarts.window", &["10s", "24h"]),
            ("probes.interval", &["1s", "1h"]),
            ("probes.fall", &["1", "1000"]),
            ("probes.fall_timeout", &["1", "1000"]),
            ("priority.b", &["1", "999"]),
        ] {
            let setting = Setting::named(name).unwrap();
            assert_eq!(setting.name(), name);
            for value in values {
                let wanted = setting.read(value).unwrap_or_else(|| panic!("{name}={value}"));
                assert_eq!((wanted.value().as_str(), wanted.setting()), (*value, setting.clone()));
            }
        }
        let auto = Setting::Failback.read("auto").unwrap();
        assert_eq!(auto.value(), "auto:5m");
    }

    #[test]
    fn what_is_beyond_is_no_value_in_etcd_either() {
        for (name, values) in [
            ("failback", &["", "auto:29s", "auto:25h", "auto:", "never"][..]),
            ("restarts.budget", &["101", "-1", ""]),
            ("restarts.window", &["9s", "86401s", "10"]),
            ("probes.interval", &["0s", "3601s"]),
            ("probes.fall", &["0", "1001"]),
            ("probes.fall_timeout", &["0"]),
            ("priority.b", &["0", "1000", "18446744073709551616"]),
        ] {
            let setting = Setting::named(name).unwrap();
            for value in values {
                assert_eq!(setting.read(value), None, "{name}={value}");
                assert_eq!(read(&one(name, value)), None, "{name}={value}");
            }
        }
        assert_eq!(Setting::named("priority."), None);
        let many: Vec<String> = (0..=SET_MAX)
            .map(|n| format!(r#""x{n}":{{"to":"","by":"","at":""}}"#))
            .collect();
        assert_eq!(read(&format!(r#"{{"set":{{{}}}}}"#, many.join(","))), None);
    }

    #[test]
    fn two_nodes_of_one_priority_are_damage() {
        let entry = |node: &str, to: u32| format!(r#""priority.{node}":{{"to":"{to}","by":"r","at":"n"}}"#);
        let both = |b, c| format!(r#"{{"set":{{{},{}}}}}"#, entry("b", b), entry("c", c));
        assert!(read(&both(10, 20)).is_some());
        assert_eq!(read(&both(10, 10)), None);
    }

    #[test]
    fn what_a_later_version_set_stays() {
        let text =
            r#"{"set":{"failback":{"to":"manual","by":"r","at":"n"},"start_timeout":{"to":"2m","by":"r","at":"n"}}}"#;
        let policy = read(text).unwrap();
        assert_eq!(policy.later().collect::<Vec<_>>(), ["start_timeout"]);
        let order = StandingOrder::default();
        let changed = policy.changed(&[Change::Unset(Setting::Failback)], &order);
        let text = serde_json::to_string(&changed).unwrap();
        assert!(text.contains("start_timeout") && !text.contains("failback"), "{text}");
        assert!(changed.changed(&[Change::UnsetAll], &order).is_empty());
        assert!(read(r#"{"set":{},"more":1}"#).unwrap().is_empty());
    }

    #[test]
    fn who_set_a_value_first_has_set_it() {
        let by = |by: &str| StandingOrder {
            by: by.to_owned(),
            ..StandingOrder::default()
        };
        let set = |count| Change::Set(Wanted::RestartBudget(count));
        let policy = Policy::default().changed(&[set(5)], &by("one"));
        let again = policy.changed(&[set(5)], &by("two"));
        assert_eq!(again.of(&Setting::RestartBudget).unwrap().order.by, "one");
        let other = again.changed(&[set(6)], &by("two"));
        assert_eq!(other.of(&Setting::RestartBudget).unwrap().order.by, "two");
    }
}
