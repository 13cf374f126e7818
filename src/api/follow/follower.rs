//! One order that is followed: a look at the status after the other, folded into lines of progress and an end.

use std::time::Duration;

use super::{End, Failure, Goal, Look, Lost, Place, Progress};
use crate::history::Epoch;
use crate::status::{GroupLine, NodeLine};
use crate::words::{GroupState, IntentKind, IntentState, NodeState, Stage, TroubleState};

/// What an order does shows in the status within this: a turn of the loop here, a beat of another node.
const SETTLED: Duration = Duration::from_secs(3);
/// The same of this node's own run.
const SETTLED_HERE: Duration = Duration::from_secs(1);
/// A start that has failed is known to have. So long it is still seen who takes it up.
const FAILED_PATIENCE: Duration = Duration::from_secs(30);
/// A free group is taken in no time; after this it is worth a line.
const FREE_QUIETLY: Duration = Duration::from_secs(2);

/// An order about one group that is followed.
#[derive(Debug)]
pub struct Follower {
    group: String,
    goal: Goal,
    /// The last epoch that is known to have begun without this order.
    before: u64,
    /// The last one that began while its holder had begun with the request: it was silent, and the next one goes on with it.
    between: u64,
    /// An order kept it from starting.
    was_ended: bool,
    /// The order, or that a standing one is gone, was seen.
    seen: bool,
    /// Its holder has begun with the request.
    begun: bool,
    /// The first node that was seen to win a later epoch, with it.
    taken: Option<(u64, String)>,
    lost: Option<(Lost, Duration)>,
    /// Since when its holder tells that nothing runs.
    down: Option<Duration>,
    /// Since when nothing changes that should.
    still: Option<Duration>,
    free: Option<Duration>,
    phase: Option<(String, Duration)>,
    told: Option<String>,
    progress: Vec<Progress>,
    place: Place,
}

impl Follower {
    /// Of what was seen of the group before the order.
    pub fn new(group: &str, goal: Goal, line: &GroupLine) -> Self {
        let taken = match &goal {
            Goal::Anew { node, .. } => Some((line.epoch, node.clone())),
            Goal::Moves { .. } | Goal::Leaves { .. } | Goal::Serves { .. } | Goal::Stops => None,
        };
        Self {
            group: group.to_owned(),
            goal,
            before: line.epoch,
            between: line.epoch,
            was_ended: ended(line).is_some(),
            seen: false,
            begun: false,
            taken,
            lost: None,
            down: None,
            still: None,
            free: None,
            phase: None,
            told: None,
            progress: Vec::new(),
            place: Place::Unknown,
        }
    }

    /// Which group it is of.
    #[must_use]
    pub fn group(&self) -> &str {
        &self.group
    }

    /// What was ordered.
    #[must_use]
    pub fn goal(&self) -> &Goal {
        &self.goal
    }

    /// What goes on, by the last look: what was said last of a trouble, or the phase.
    #[must_use]
    pub fn doing(&self) -> Option<&str> {
        let phase = self.phase.as_ref().map(|(what, _)| what.as_str());
        self.told.as_deref().or(phase)
    }

    /// What is new for whoever watches.
    pub fn progress(&mut self) -> Vec<Progress> {
        std::mem::take(&mut self.progress)
    }

    /// Where it was last seen.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Whether the request can still be withdrawn, as far as it was seen.
    pub fn is_withdrawable(&self) -> bool {
        matches!(self.goal, Goal::Moves { .. }) && !self.begun && self.taken.is_none()
    }

    /// Who had it meanwhile and lost it again.
    pub fn lost(&self) -> Option<&Lost> {
        self.lost.as_ref().map(|(lost, _)| lost)
    }

    /// Whether the history has to be read: of another node's run the status may know only that it was won.
    pub fn wants_history(&self, line: &GroupLine) -> bool {
        let of_interest = match self.goal {
            Goal::Moves { .. } | Goal::Anew { .. } => line.epoch > self.before,
            Goal::Leaves { .. } | Goal::Serves { .. } => true,
            Goal::Stops => false,
        };
        let is_open = |(lost, _): &(Lost, Duration)| lost.cause.is_empty();
        let holds = line.holder.is_some() && line.held.is_none() && line.serving.is_none();
        let missed = self.taken.is_none() && line.epoch > self.before + 1;
        of_interest && (holds || missed || self.lost.as_ref().is_some_and(is_open) || self.is_lost(line))
    }

    /// Takes a look; the end, once it is there.
    pub fn see(&mut self, look: &Look<'_>) -> Option<End> {
        self.place = place(look);
        self.note_lost(look);
        self.note_trouble(look);
        let end = self.judge(look).or_else(|| self.given_up(look));
        if let Some(end) = &end {
            self.enter(look.at, None);
            if matches!(end, End::Serves(_)) {
                self.progress.push(Progress::Note("serving".to_owned()));
            }
        }
        end
    }

    fn judge(&mut self, look: &Look<'_>) -> Option<End> {
        if let Some(stuck) = &look.line.stuck {
            return Some(End::Failed(Failure::Stuck(stuck.clone())));
        }
        match self.goal.clone() {
            Goal::Moves { wish, to } => self.judge_move(look, wish, to.as_deref()),
            Goal::Leaves { node } => self.judge_leaving(look, &node),
            Goal::Serves { unless_stopped } => self.judge_start(look, unless_stopped),
            Goal::Stops => self.judge_stop(look),
            Goal::Anew { node, run } => self.judge_anew(look, &node, run.as_deref()),
        }
    }

    fn judge_move(&mut self, look: &Look<'_>, wish: i64, to: Option<&str>) -> Option<End> {
        let line = look.line;
        if let Some(order) = ended(line) {
            return Some(End::Failed(Failure::Overtaken(order)));
        }
        let is_there = to.is_some() && line.holder.as_deref() == to;
        match (&line.holder, standing(line, wish)) {
            (Some(_), Some(IntentState::Refused)) if is_there => self.judge_taken(look),
            (_, Some(IntentState::Refused)) => {
                Some(End::Failed(Failure::Refused(line.refused.clone().unwrap_or_default())))
            }
            // Whoever won an epoch meanwhile did not win it by this order, which stands.
            (Some(holder), Some(state)) => {
                self.begun = state == IntentState::Begun;
                self.between = line.epoch;
                if !self.begun {
                    self.before = self.before.max(line.epoch);
                }
                (self.taken, self.lost) = (None, None);
                let what = match self.begun {
                    true => format!("{holder} stops {}", self.group),
                    false => format!("{holder} is asked to hand {} over", self.group),
                };
                self.enter(look.at, Some(what));
                None
            }
            (None, _) => self.nobody(look),
            (Some(_), None) if line.epoch > self.before => self.judge_taken(look),
            (Some(_), None) => Some(End::Failed(match other(line, wish) {
                Some(order) => Failure::Overtaken(order),
                None => Failure::Withdrawn,
            })),
        }
    }

    fn judge_leaving(&mut self, look: &Look<'_>, node: &str) -> Option<End> {
        let line = look.line;
        if let Some(order) = ended(line) {
            return Some(End::Failed(Failure::Overtaken(order)));
        }
        match line.holder.as_deref() {
            None => return self.nobody(look),
            Some(holder) if holder != node => return self.judge_taken(look),
            Some(_) => {}
        }
        let drained = look.nodes.get(node).is_some_and(|line| line.drained.is_some());
        if self.seen && !drained {
            return Some(End::Failed(Failure::Overtaken(format!(
                "the drain of {node} was taken back"
            ))));
        }
        self.seen |= drained;
        let keeps = |why: String| {
            let node = node.to_owned();
            Some(End::Failed(Failure::Stays { node, why }))
        };
        if let Some(order) = line.paused.as_ref().filter(|_| !is_stopping(line)) {
            return keeps(format!("it is on pause {order}"));
        }
        if is_stopping(line) || has_standby(look, &self.group) {
            self.still = None;
        } else if self.has_stood(look.at, SETTLED) {
            return keeps("no standby is ready for it".to_owned());
        }
        self.enter(look.at, Some(format!("{node} stops {}", self.group)));
        None
    }

    fn judge_start(&mut self, look: &Look<'_>, unless_stopped: bool) -> Option<End> {
        let line = look.line;
        let holder = line.holder.as_ref();
        if let Some(order) = ended(line) {
            // It may be the one that was taken back a moment ago.
            return match (unless_stopped, self.seen || look.at > SETTLED) {
                (true, _) => Some(End::AsItWas),
                (false, true) => Some(End::Failed(Failure::Overtaken(order))),
                (false, false) => None,
            };
        }
        self.seen = true;
        if let Some(holder) = holder.filter(|_| self.serves_on(look)) {
            return Some(End::Serves(holder.clone()));
        }
        if let Some(order) = line.paused.as_ref().filter(|_| look.at > SETTLED) {
            return Some(End::Failed(Failure::Forbidden(format!("on pause {order}"))));
        }
        match holder {
            None => self.nobody(look),
            Some(_) if line.epoch > self.before => self.judge_taken(look),
            Some(holder) => {
                match &self.place {
                    Place::Silent(_) => self.tell(format!("{holder}, which had {}, is silent", self.group)),
                    Place::Unknown | Place::Nobody | Place::Serves(_) | Place::Holds(_) => {}
                }
                None
            }
        }
    }

    /// Whether it serves, and will: what was ordered to stop a moment ago may look as if it did.
    fn serves_on(&mut self, look: &Look<'_>) -> bool {
        let line = look.line;
        if !serves(look) {
            self.still = None;
            return false;
        }
        let long_enough = match line.held.is_some() || line.serving.is_some() {
            true => SETTLED,
            false => FAILED_PATIENCE,
        };
        !self.was_ended || line.epoch > self.before || self.has_stood(look.at, long_enough)
    }

    fn judge_stop(&mut self, look: &Look<'_>) -> Option<End> {
        let line = look.line;
        let ordered = line.stopped.is_some() || line.deleted.is_some();
        if self.seen && !ordered {
            return Some(End::Failed(Failure::Overtaken(
                "the order to stop was taken back".to_owned(),
            )));
        }
        self.seen |= ordered;
        match &line.holder {
            None if line.unreadable => None,
            None => (self.seen || look.at > SETTLED).then_some(End::Stopped),
            Some(holder) => {
                self.enter(look.at, Some(format!("{holder} stops {}", self.group)));
                None
            }
        }
    }

    fn judge_anew(&mut self, look: &Look<'_>, node: &str, before: Option<&str>) -> Option<End> {
        let line = look.line;
        if let Some(order) = ended(line) {
            return Some(End::Failed(Failure::Overtaken(order)));
        }
        if line.holder.is_none() || line.epoch > self.before {
            return match line.holder {
                None => self.nobody(look),
                Some(_) => self.judge_taken(look),
            };
        }
        self.enter(look.at, Some(format!("{node} starts {} again", self.group)));
        if line.asked.as_ref().is_some_and(|asked| asked.what == IntentKind::Apply) {
            self.still = None;
            return None;
        }
        let here = line.held.as_ref();
        let now = match here {
            Some(held) => (held.stage == Stage::Active).then_some(held.run.as_str()),
            None => line.serving.as_deref(),
        };
        let is_new = before.is_some() && now.is_some() && now != before;
        if now.is_none() && before.is_some() {
            self.still = None;
            return None;
        }
        if is_new && line.drift.is_none() {
            return Some(End::Serves(node.to_owned()));
        }
        let settled = if here.is_some() { SETTLED_HERE } else { SETTLED };
        if !self.has_stood(look.at, settled) {
            return None;
        }
        Some(match &line.drift {
            Some(drift) => End::Failed(Failure::Differs(drift.clone())),
            None if now.is_some() => End::AsItWas,
            None => End::Unseen(node.to_owned()),
        })
    }

    /// Another node than before holds it: it is done once that one serves.
    fn judge_taken(&mut self, look: &Look<'_>) -> Option<End> {
        let (line, holder) = (look.line, look.line.holder.clone()?);
        self.free = None;
        self.taken
            .get_or_insert_with(|| match first(look.epochs, self.before.max(self.between)) {
                // It was won and lost again between two looks.
                Some(missed) if missed.0 < line.epoch => missed,
                Some(_) | None => (line.epoch, holder.clone()),
            });
        self.note_lost(look);
        self.enter(look.at, Some(format!("{holder} starts {}", self.group)));
        let wish = match self.goal {
            Goal::Moves { wish, .. } => wish,
            // No request has this id.
            Goal::Leaves { .. } | Goal::Serves { .. } | Goal::Stops | Goal::Anew { .. } => 0,
        };
        if serves(look) {
            let is_there = matches!(&self.goal, Goal::Moves { to: Some(to), .. } if *to == holder);
            return Some(match self.lost.clone().filter(|_| !is_there && !self.takes_any()) {
                None => End::Serves(holder),
                Some((lost, _)) => End::Failed(Failure::Lost(lost)),
            });
        }
        let other = other(line, wish)?;
        Some(End::Failed(Failure::Overtaken(other)))
    }

    /// It is between two holders.
    fn nobody(&mut self, look: &Look<'_>) -> Option<End> {
        self.enter(look.at, None);
        let since = *self.free.get_or_insert(look.at);
        if look.at.saturating_sub(since) > FREE_QUIETLY {
            let why = match look.line.reason.as_str() {
                "" => String::new(),
                why => format!(": {why}"),
            };
            self.tell(format!("nobody has taken {} yet{why}", self.group));
        }
        let lasts = look.at.saturating_sub(since);
        if let Some(order) = look.line.paused.as_ref().filter(|_| lasts > SETTLED) {
            return Some(End::Failed(Failure::Forbidden(format!("on pause {order}"))));
        }
        // What was lost is told with its cause.
        if self.lost.is_some() || has_standby(look, &self.group) {
            self.still = None;
            return None;
        }
        let unready = || End::Failed(Failure::Unready(look.line.reason.clone()));
        self.has_stood(look.at, FAILED_PATIENCE).then(unready)
    }

    /// What has failed and is not taken up by anybody.
    fn given_up(&self, look: &Look<'_>) -> Option<End> {
        let is_over = |since: Duration| look.at.saturating_sub(since) > FAILED_PATIENCE;
        let lost = self
            .lost
            .as_ref()
            .filter(|_| look.line.holder.is_none() || !self.takes_any());
        if let Some((lost, since)) = lost {
            return is_over(*since).then(|| End::Failed(Failure::Lost(lost.clone())));
        }
        let node = look.line.holder.clone()?;
        let why = look.line.trouble.as_ref().map(|trouble| trouble.why.clone())?;
        is_over(self.down?).then_some(End::Failed(Failure::Fails { node, why }))
    }

    /// Whether it is as good on the next node.
    fn takes_any(&self) -> bool {
        matches!(self.goal, Goal::Serves { .. } | Goal::Leaves { .. })
    }

    /// The epoch that was taken is over as soon as another one is held, or none.
    fn is_lost(&self, line: &GroupLine) -> bool {
        let held = line.holder.as_ref().map(|_| line.epoch);
        self.taken.as_ref().is_some_and(|(epoch, _)| Some(*epoch) != held)
    }

    /// Why may be written a moment later.
    fn note_lost(&mut self, look: &Look<'_>) {
        if !self.is_lost(look.line) {
            return;
        }
        let Some((epoch, node)) = self.taken.clone() else {
            return;
        };
        let left = written(look.epochs, epoch).and_then(|of| of.left.as_ref());
        let since = self.lost.as_ref().map_or(look.at, |(_, since)| *since);
        let cause = match (left, self.lost.take()) {
            (Some(left), _) => left.cause.clone(),
            (None, known) => known.map(|(lost, _)| lost.cause).unwrap_or_default(),
        };
        self.lost = Some((Lost { node, cause }, since));
    }

    /// What its holder has to say, once.
    fn note_trouble(&mut self, look: &Look<'_>) {
        let (line, stops) = (look.line, self.goal == Goal::Stops);
        let of_order = line.epoch > self.before || matches!(self.goal, Goal::Anew { .. } | Goal::Serves { .. });
        let (Some(holder), Some(trouble)) = (line.holder.as_ref().filter(|_| of_order && !stops), &line.trouble) else {
            self.down = None;
            return;
        };
        match trouble.state {
            TroubleState::Down => {
                self.down.get_or_insert(look.at);
            }
            // A try between two pauses.
            TroubleState::Restarting => {}
            TroubleState::Sick | TroubleState::Impaired | TroubleState::Endangered | TroubleState::Other(_) => {
                self.down = None;
            }
        }
        if !serves(look) {
            self.tell(format!("{holder} does not serve yet: {}", trouble.why));
        }
    }

    /// Whether it is as it is for so long.
    fn has_stood(&mut self, at: Duration, long_enough: Duration) -> bool {
        at.saturating_sub(*self.still.get_or_insert(at)) >= long_enough
    }

    fn tell(&mut self, what: String) {
        if self.told.as_ref() != Some(&what) {
            self.progress.push(Progress::Note(what.clone()));
            self.told = Some(what);
        }
    }

    fn enter(&mut self, at: Duration, next: Option<String>) {
        if self.phase.as_ref().map(|(what, _)| what) == next.as_ref() {
            return;
        }
        if let Some((what, since)) = self.phase.take() {
            let took = at.saturating_sub(since);
            self.progress.push(Progress::Ends { what, took });
        }
        self.phase = next
            .inspect(|what| self.progress.push(Progress::Begins(what.clone())))
            .map(|what| (what, at));
    }
}

fn place(look: &Look<'_>) -> Place {
    let Some(holder) = look.line.holder.clone() else {
        return Place::Nobody;
    };
    match (is_silent(look, &holder), serves(look)) {
        (true, _) => Place::Silent(holder),
        (false, true) => Place::Serves(holder),
        (false, false) => Place::Holds(holder),
    }
}

/// What this node holds itself, it knows of.
fn is_silent(look: &Look<'_>, holder: &str) -> bool {
    let node = look.nodes.get(holder);
    look.line.held.is_none() && node.is_none_or(|node| node.state != NodeState::Alive)
}

/// Whether its holder has said so, and is there.
fn serves(look: &Look<'_>) -> bool {
    let (line, epochs) = (look.line, look.epochs);
    if line.holder.as_ref().is_none_or(|holder| is_silent(look, holder)) {
        return false;
    }
    let fails = |state: &TroubleState| matches!(state, TroubleState::Down | TroubleState::Restarting);
    if line.trouble.as_ref().is_some_and(|trouble| fails(&trouble.state)) {
        return false;
    }
    let told = || written(epochs, line.epoch).is_some_and(|of| of.begun.as_ref().is_some_and(|begun| begun.served));
    match &line.held {
        Some(held) => held.stage == Stage::Active,
        None => line.serving.is_some() || told(),
    }
}

/// An order by which nobody starts it.
fn ended(line: &GroupLine) -> Option<String> {
    let deleted = line.deleted.as_ref().map(|order| format!("deleted {order}"));
    deleted.or_else(|| Some(format!("stopped {}", line.stopped.as_ref()?)))
}

/// Another request than this, that its holder has begun with.
fn other(line: &GroupLine, wish: i64) -> Option<String> {
    let asked = line.asked.as_ref()?;
    (asked.id != wish && asked.state == IntentState::Begun).then(|| line.wish.clone().unwrap_or_default())
}

/// How this request stands. A sidecar of before tells no id: there it is whichever stands.
fn standing(line: &GroupLine, wish: i64) -> Option<IntentState> {
    match &line.asked {
        Some(asked) => (asked.id == wish).then(|| asked.state.clone()),
        None if line.wish.is_some() => Some(IntentState::Asked),
        None => line.refused.as_ref().map(|_| IntentState::Refused),
    }
}

fn is_stopping(line: &GroupLine) -> bool {
    matches!(
        line.state,
        GroupState::Stopping | GroupState::Withdrawing | GroupState::Stopped
    )
}

fn has_standby(look: &Look<'_>, group: &str) -> bool {
    let holder = look.line.holder.as_ref();
    let ready = |(name, node): (&String, &NodeLine)| {
        Some(name) != holder
            && node.state == NodeState::Alive
            && node.drained.is_none()
            && node.groups.get(group).is_some_and(String::is_empty)
    };
    look.nodes.iter().any(ready)
}

/// The first epoch after this one that anybody wrote of.
fn first(epochs: &[Epoch], before: u64) -> Option<(u64, String)> {
    let of = epochs.iter().find(|of| of.epoch > before)?;
    Some((of.epoch, of.begun.as_ref()?.to.clone()))
}

fn written(epochs: &[Epoch], epoch: u64) -> Option<&Epoch> {
    epochs.iter().find(|of| of.epoch == epoch)
}
