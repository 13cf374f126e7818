//! What is set at run time, in the place of what the file says: the group goes by it from the next step on, without a restart.

use std::collections::BTreeSet;
use std::time::Duration;

use leasehold_base::length;

use super::health::ProbeRun;
use super::{Group, GroupSettings, ProbeSettings};
use crate::event::Action;
use crate::protocol::policy::{Policy, Setting, Wanted};
use crate::snapshot::code::Code;
use crate::text;
use crate::time::Time;

/// What the file says of all that can be set.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct InFile {
    failback: Option<Duration>,
    restarts: u32,
    restart_window: Duration,
    probes: Vec<ProbeSettings>,
}

impl InFile {
    pub(super) fn of(settings: &GroupSettings) -> Self {
        Self {
            failback: settings.failback,
            restarts: settings.restarts,
            restart_window: settings.restart_window,
            probes: settings.probes.clone(),
        }
    }

    /// The same with what is set.
    fn with(mut self, policy: &Policy) -> Self {
        for (_, given) in policy.given() {
            match &given.wanted {
                Wanted::Failback(quiet) => self.failback = *quiet,
                Wanted::RestartBudget(count) => self.restarts = *count,
                Wanted::RestartWindow(length) => self.restart_window = *length,
                Wanted::ProbeInterval(length) => self.deciding().for_each(|probe| probe.interval = *length),
                Wanted::ProbeFall(count) => self.deciding().for_each(|probe| probe.fall = *count),
                Wanted::ProbeFallTimeout(count) => self.deciding().for_each(|probe| probe.fall_timeout = *count),
                // The election reads it.
                Wanted::Priority { .. } => {}
            }
        }
        // Slowness never counts for more than a refusal, as in a file.
        self.deciding()
            .for_each(|probe| probe.fall_timeout = probe.fall_timeout.max(probe.fall));
        self
    }

    /// A canary has a pace of its own: each is a message.
    fn deciding(&mut self) -> impl Iterator<Item = &mut ProbeSettings> {
        self.probes.iter_mut().filter(|probe| !probe.alarms_only)
    }

    /// As people write it; of several probes each value once.
    fn value(&self, setting: &Setting) -> Option<String> {
        let of_probes = |value: fn(&ProbeSettings) -> String| {
            let deciding = self.probes.iter().filter(|probe| !probe.alarms_only);
            let values: BTreeSet<String> = deciding.map(value).collect();
            let values: Vec<String> = values.into_iter().collect();
            (!values.is_empty()).then(|| values.join(", "))
        };
        match setting {
            Setting::Failback => Some(Wanted::Failback(self.failback).value()),
            Setting::RestartBudget => Some(self.restarts.to_string()),
            Setting::RestartWindow => Some(length::write(self.restart_window)),
            Setting::ProbeInterval => of_probes(|probe| length::write(probe.interval)),
            Setting::ProbeFall => of_probes(|probe| probe.fall.to_string()),
            Setting::ProbeFallTimeout => of_probes(|probe| probe.fall_timeout.to_string()),
            Setting::Priority(_) => None,
        }
    }
}

impl Group {
    /// What the file says; none of what it says nothing of, as of probes that are not there.
    pub(crate) fn value_in_file(&self, setting: &Setting) -> Option<String> {
        self.in_file.value(setting)
    }

    /// The same of what counts now.
    pub(crate) fn value_in_force(&self, setting: &Setting) -> Option<String> {
        self.in_force.value(setting)
    }

    /// The most wrong answers until a probe fails, with what is set.
    pub(crate) fn fall_with(&self, policy: &Policy) -> u32 {
        let mut with = self.in_file.clone().with(policy);
        with.deciding().map(|probe| probe.fall).max().unwrap_or(0)
    }

    /// Goes by what is set from here on. What changes is told by the node that holds it.
    pub(crate) fn heed(&mut self, now: Time, policy: &Policy, out: &mut Vec<Action>) {
        if self.policy.as_ref() == Some(policy) {
            return;
        }
        self.in_force = self.in_file.clone().with(policy);
        let InFile {
            failback,
            restarts,
            restart_window,
            probes,
        } = &self.in_force;
        (self.settings.failback, self.settings.restarts) = (*failback, *restarts);
        self.settings.restart_window = *restart_window;
        self.settings.probes.clone_from(probes);
        self.ask_no_later(now);
        // As it was found when this sidecar started: no news.
        let Some(before) = self.policy.replace(policy.clone()) else {
            return;
        };
        if self.held.is_some() {
            for text in self.differences(&before, policy) {
                self.mention(now, Code::SettingChanged, text, out);
            }
        }
    }

    /// The next check of a probe that is made more often from here on.
    fn ask_no_later(&mut self, now: Time) {
        let here = self.held.iter_mut().flat_map(|held| held.probes.iter_mut());
        no_later(now, here, &self.settings.probes);
        no_later(now, self.asking.runs(), &self.settings.probes);
    }

    fn differences(&self, before: &Policy, after: &Policy) -> Vec<String> {
        let settings: BTreeSet<&Setting> = before
            .given()
            .chain(after.given())
            .map(|(setting, _)| setting)
            .collect();
        let changed = settings
            .into_iter()
            .filter(|setting| before.wanted(setting) != after.wanted(setting));
        let told = changed.map(|setting| match after.of(setting) {
            Some(given) => text::policy::is_set(setting, given),
            None => text::policy::unset(setting, self.value_in_file(setting).as_deref()),
        });
        told.collect()
    }
}

fn no_later<'a>(now: Time, runs: impl Iterator<Item = &'a mut ProbeRun>, settings: &[ProbeSettings]) {
    for (run, settings) in runs.zip(settings) {
        run.at = run.at.map(|at| at.earlier(now.plus(settings.interval)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::policy::Change;
    use crate::protocol::records::StandingOrder;

    fn set(wanted: impl IntoIterator<Item = Wanted>) -> Policy {
        let changes: Vec<Change> = wanted.into_iter().map(Change::Set).collect();
        Policy::default().changed(&changes, &StandingOrder::default())
    }

    fn file() -> InFile {
        InFile {
            failback: None,
            restarts: 3,
            restart_window: Duration::from_secs(600),
            probes: vec![
                ProbeSettings::named("smtp 25"),
                ProbeSettings::canary("canary", Duration::from_secs(300)),
            ],
        }
    }

    #[test]
    fn what_is_set_counts_and_the_rest_stays_the_files() {
        let seconds = Duration::from_secs;
        let policy = set([
            Wanted::Failback(Some(seconds(60))),
            Wanted::RestartBudget(7),
            Wanted::ProbeFall(9),
        ]);
        let with = file().with(&policy);
        assert_eq!((with.failback, with.restarts), (Some(seconds(60)), 7));
        assert_eq!(with.restart_window, seconds(600));
        assert_eq!(
            (with.probes[0].fall, with.probes[0].fall_timeout),
            (9, 9),
            "never below fall"
        );
        assert_eq!(with.probes[1], file().probes[1], "a canary keeps its pace");
        assert_eq!(file().with(&Policy::default()), file());
    }

    #[test]
    fn what_the_file_says_is_told_as_people_write_it() {
        let told = |setting| file().value(&setting).unwrap();
        assert_eq!(told(Setting::Failback), "manual");
        assert_eq!(told(Setting::RestartWindow), "10m");
        assert_eq!(told(Setting::ProbeInterval), "5s");
        let mut two = file();
        two.probes.push(ProbeSettings {
            fall: 4,
            ..ProbeSettings::named("imap 143")
        });
        assert_eq!(two.value(&Setting::ProbeFall).unwrap(), "3, 4");
        two.probes.clear();
        assert_eq!(two.value(&Setting::ProbeFall), None);
    }
}
