//! Which containers stand ready for the runs to come, and for which store.

use super::Group;
use super::up::GATE_TIMEOUT;
use crate::event::Action;
use crate::group::made::Made;
use crate::protocol::image::ImageId;
use crate::text;
use crate::time::Time;

/// The containers of a group as they are asked for, and what came of it. A verdict is taken back with each new order, and
/// counts for the order that it answers: one for a storage without its id must never start on a storage that has it.
#[derive(Clone, Debug)]
pub(super) struct Containers {
    /// The store id that they are to be made for; none before anything is asked for.
    asked: Option<Option<String>>,
    /// The last word on each.
    verdicts: Vec<Option<Result<Made, String>>>,
    /// The last that was good, for the store that is asked for: it can be started while a newer one can't be made.
    made: Vec<Option<Made>>,
    /// Since when a start waits for a verdict.
    waits_since: Option<Time>,
}

/// What a start finds.
pub(super) enum Ready<'a> {
    Made(&'a Made),
    Not(&'a str),
    /// It is asked for, and nobody has said anything.
    Awaited,
}

fn image_of(made: &Made) -> ImageId {
    ImageId {
        digest: made.image.clone(),
        content: made.content.clone(),
    }
}

impl Containers {
    pub(super) fn new(count: usize) -> Self {
        Self {
            asked: None,
            verdicts: vec![None; count],
            made: vec![None; count],
            waits_since: None,
        }
    }

    pub(super) fn forget(&mut self) {
        *self = Self::new(self.verdicts.len());
    }

    /// What is left are those of the file.
    pub(super) fn shorten(&mut self, count: usize) {
        self.verdicts.truncate(count);
        self.made.truncate(count);
    }

    pub(super) fn is_asked(&self) -> bool {
        self.asked.is_some()
    }

    /// The first one's image, as it is published.
    pub(super) fn image(&self) -> ImageId {
        match self.verdicts.first() {
            Some(Some(Ok(made))) => image_of(made),
            Some(Some(Err(_)) | None) | None => ImageId::default(),
        }
    }

    /// The image of the first one that can be started, whatever was said of it since.
    pub(super) fn startable_image(&self) -> ImageId {
        self.made
            .first()
            .and_then(Option::as_ref)
            .map(image_of)
            .unwrap_or_default()
    }

    /// Whether this is what is asked for.
    pub(super) fn fits(&self, made: &Made) -> bool {
        self.asked.as_ref() == Some(&made.store)
    }

    pub(super) fn ready(&self, place: usize) -> Ready<'_> {
        if let Some(Some(made)) = self.made.get(place) {
            return Ready::Made(made);
        }
        match self.verdicts.get(place) {
            Some(Some(Err(why))) => Ready::Not(why),
            Some(Some(Ok(_)) | None) | None => Ready::Awaited,
        }
    }

    fn take(&mut self, place: usize, store: &Option<String>, result: Result<Made, String>) {
        if self.asked.as_ref() != Some(store) {
            return;
        }
        let result = match result {
            Ok(made) if made.store != *store => Err(text::start::OTHER_STORAGE.to_owned()),
            result => result,
        };
        if let (Ok(made), Some(known)) = (&result, self.made.get_mut(place)) {
            *known = Some(made.clone());
        }
        if let Some(verdict) = self.verdicts.get_mut(place) {
            *verdict = Some(result);
        }
        self.waits_since = None;
    }

    /// A new run waits anew.
    pub(super) fn wait_anew(&mut self) {
        self.waits_since = None;
    }

    pub(super) fn wake(&self) -> Option<Time> {
        self.waits_since.map(|since| since.plus(GATE_TIMEOUT))
    }
}

impl Group {
    /// Has the containers made for this store, unless that is what was asked for last.
    pub(crate) fn prepare(&mut self, store: Option<String>, out: &mut Vec<Action>) {
        if self.containers.asked.as_ref() == Some(&store) {
            return;
        }
        self.containers.forget();
        self.containers.asked = Some(store.clone());
        out.push(Action::Prepare {
            group: self.settings.name.clone(),
            store,
        });
    }

    /// The verdict on one container.
    pub(crate) fn prepared(&mut self, service: usize, store: &Option<String>, result: Result<Made, String>) {
        self.containers.take(service, store, result);
    }

    /// Why no container of this group could start here.
    pub(crate) fn unprepared(&self) -> Option<String> {
        let mut all = self.settings.services.iter().zip(&self.containers.verdicts);
        all.find_map(|(service, verdict)| match verdict {
            Some(Ok(_)) => None,
            Some(Err(why)) => Some(text::start::not_preparable(&service.name, why)),
            None => Some(text::start::not_prepared(&service.name)),
        })
    }

    /// A start waits for the verdict that is asked for, though not for ever.
    pub(super) fn wait_for_container(&mut self, place: usize, now: Time, out: &mut Vec<Action>) {
        let since = *self.containers.waits_since.get_or_insert(now);
        if now.since(since) >= GATE_TIMEOUT {
            self.containers.waits_since = None;
            let name = &self.settings.services[place].name;
            let text = text::start::not_prepared_in_time(name, GATE_TIMEOUT);
            self.failed(now, text, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Containers, Ready};
    use crate::group::made::Made;

    fn made(store: Option<&str>) -> Made {
        Made {
            store: store.map(str::to_owned),
            fingerprint: "f".to_owned(),
            image: "i".to_owned(),
            content: String::new(),
        }
    }

    fn asked(store: Option<&str>) -> Containers {
        Containers {
            asked: Some(store.map(str::to_owned)),
            ..Containers::new(1)
        }
    }

    #[test]
    fn a_verdict_counts_for_the_order_that_it_answers() {
        let (none, s1) = (None, Some("s1".to_owned()));
        let mut containers = asked(Some("s1"));
        containers.take(0, &none, Ok(made(None)));
        assert!(matches!(containers.ready(0), Ready::Awaited), "one of before `init`");
        containers.take(0, &s1, Ok(made(None)));
        assert!(
            matches!(containers.ready(0), Ready::Not(_)),
            "one that still runs as it was"
        );
        containers.take(0, &s1, Ok(made(Some("s1"))));
        assert!(matches!(containers.ready(0), Ready::Made(found) if containers.fits(found)));
        // It stands, although it could not be made anew.
        containers.take(0, &s1, Err("no such image".to_owned()));
        assert!(matches!(containers.ready(0), Ready::Made(_)));
        containers.forget();
        assert!(matches!(containers.ready(0), Ready::Awaited) && containers.image().digest.is_empty());
    }
}
