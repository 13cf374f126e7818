//! What an earlier sidecar left of a group, and what follows its stop: the file that the group is in may be another by now.

use super::{AfterStop, Group, Holding, Stage};
use crate::epoch::Run;
use crate::protocol::ReleaseCause;
use crate::protocol::sizing::Deadlines;
use crate::snapshot::code::Code;
use crate::text;
use crate::time::Time;

/// What follows the stop of a run that an earlier sidecar left.
pub(crate) struct Sequel {
    pub after: AfterStop,
    pub code: Code,
    pub text: String,
    /// It starts again at once, and not because it failed.
    pub anew: bool,
}

impl Group {
    /// Whether it has left the file as a whole.
    pub(crate) fn has_left(&self) -> bool {
        self.settings.gone
    }

    /// Services that left the file and may still run.
    fn left(&self) -> Vec<&str> {
        let left = self.settings.services.iter().filter(|service| service.left);
        left.map(|service| service.name.as_str()).collect()
    }

    /// Why nobody takes it here.
    pub(crate) fn not_in_file(&self) -> Option<String> {
        self.has_left().then(|| text::stop::NOT_IN_FILE.to_owned())
    }

    /// Whether a run of before can go on as it is.
    pub(crate) fn is_as_the_file_says(&self) -> bool {
        !self.has_left() && self.left().is_empty()
    }

    /// `cut_short`: its stop was under way, or it is past its deadline.
    pub(crate) fn sequel(&self, run: Run, cut_short: bool, me: &str) -> Sequel {
        let left = self.left().join(", ");
        let sequel = |after, code, text| Sequel {
            after,
            code,
            text,
            anew: false,
        };
        if self.has_left() {
            let reason = text::stop::left_the_file(me);
            let after = AfterStop::Release {
                cause: ReleaseCause::LeftFile,
                reason,
                successor: None,
            };
            let text = text::stop::group_left_the_file(run);
            return sequel(after, Code::LeftFile, text);
        }
        if !cut_short && !left.is_empty() {
            let text = text::stop::services_left_the_file(run, &left);
            return Sequel {
                anew: true,
                ..sequel(AfterStop::Restart, Code::LeftFile, text)
            };
        }
        let text = text::stop::begun_before(run);
        sequel(AfterStop::Interrupted, Code::StopResumed, text)
    }

    /// All of it is proved stopped: from here on the file counts alone.
    pub(super) fn forget_left(&mut self) {
        self.settings.services.retain(|service| !service.left);
        let count = self.settings.services.len();
        self.containers.shorten(count);
        self.reported.truncate(count);
    }

    /// A campaign of an earlier sidecar landed, and nothing was started under it: the record is only to be released, once nothing
    /// is mounted of a run before it.
    pub(super) fn take_to_release(&mut self, now: Time, run: Run, lease: i64, deadlines: Deadlines, me: &str) {
        self.forget_left();
        let mut held = Holding::new(run, lease, deadlines, now, &self.settings);
        held.latched = true;
        held.after = self.sequel(run, true, me).after;
        held.enter(Stage::Withdrawing, now);
        self.held = Some(held);
    }
}
