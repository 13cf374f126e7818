//! What the rest of the core may know of a group, and what it tells the group that is none of its run's own affair.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Group, GroupSettings, Holding, Stage, StartCause};
use crate::event::Action;
use crate::group::made::Made;
use crate::protocol::image::ImageId;
use crate::protocol::records::Drift;
use crate::snapshot::code::Code;
use crate::text;
use crate::time::Time;

impl Group {
    pub(crate) fn settings(&self) -> &GroupSettings {
        &self.settings
    }

    /// What is held here: to be read, never to be changed.
    pub(crate) fn held(&self) -> Option<&Holding> {
        self.held.as_ref()
    }

    pub(crate) fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// Whether the group serves on this node.
    #[must_use]
    pub fn active(&self) -> bool {
        self.held
            .as_ref()
            .is_some_and(|held| held.stage == Stage::Active && !held.latched)
    }

    /// How long it has served here without a break.
    pub(crate) fn serves_for(&self, now: Time) -> Option<Duration> {
        let held = self.held.as_ref().filter(|_| self.active() && !self.is_sick())?;
        Some(now.waited(held.since))
    }

    /// What was said of it last.
    pub(crate) fn last_words(&self) -> Option<&str> {
        self.said.text()
    }

    /// The last epoch that was held here and lost by nobody's order.
    pub(crate) fn lost(&self) -> Option<u64> {
        self.lost
    }

    /// The highest epoch that a tether found claimed on the storage, above its own.
    pub(crate) fn claim(&self) -> Option<u64> {
        self.claim
    }

    /// In what its run differs from what would be started now.
    pub(crate) fn drift(&self) -> Option<&Drift> {
        self.drift.as_ref().filter(|_| self.held.is_some())
    }

    /// A look has compared its run with the file and the image.
    pub(crate) fn compared(&mut self, drift: Option<Drift>) {
        self.drift = drift.filter(|_| self.held.is_some());
    }

    /// While it is deleted: the container that uses its storage.
    pub(crate) fn used(&self) -> Option<&str> {
        self.used.as_deref()
    }

    pub(crate) fn used_by(&mut self, by: Option<String>) {
        self.used = by.filter(|_| self.unmanaged);
    }

    /// Why the host itself could not run it, while it is not held here.
    pub(crate) fn unfit(&self) -> Option<String> {
        let found = self.occupied.as_ref().or(self.unfit.as_ref());
        found.filter(|_| self.held.is_none()).cloned()
    }

    /// While it is held here, its own service takes the ports.
    pub(crate) fn found_unfit(&mut self, unfit: Option<String>) {
        self.unfit = unfit.filter(|_| self.held.is_none());
    }

    pub(crate) fn file_read(&mut self, keys: BTreeMap<String, String>) {
        self.file = keys;
    }

    pub(crate) fn file(&self) -> &BTreeMap<String, String> {
        &self.file
    }

    /// What the last look at the storage did not find there, while it is not held here.
    pub(crate) fn unseen(&self) -> Option<String> {
        self.look.fault().filter(|_| self.held.is_none())
    }

    /// Whether its containers are asked for, for whatever store.
    pub(crate) fn is_prepared(&self) -> bool {
        self.containers.is_asked()
    }

    /// Whether a container was made for the store that is asked for.
    pub(crate) fn fits(&self, made: &Made) -> bool {
        self.containers.fits(made)
    }

    /// Its first image.
    pub(crate) fn image(&self) -> ImageId {
        self.containers.image()
    }

    /// How the epoch comes about that this node campaigns for now. `before`: the image of another node that had it last, as far as
    /// it is known.
    pub(crate) fn campaign(&mut self, taking: StartCause, before: Option<ImageId>) {
        self.taking = taking;
        self.served = before.or(self.served.take());
    }

    /// The release has landed: others go first until then.
    pub(crate) fn released(&mut self, cool_until: Time, out: &mut Vec<Action>) {
        self.cool_until = Some(cool_until);
        self.say(Code::Released, text::stop::RELEASED.to_owned(), out);
    }

    /// Whether every other node goes first: it was lost or given up here a moment ago.
    pub(crate) fn cools(&self, now: Time) -> bool {
        self.cool_until.is_some_and(|until| !now.reached(until))
    }

    /// Whether the service failed here several times of late.
    pub(crate) fn fails(&self, now: Time) -> bool {
        self.failing_until.is_some_and(|until| !now.reached(until))
    }
}
