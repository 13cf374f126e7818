//! What a look at the containers of a group means: what is told of it, which container is made anew at its next start, and
//! what a start does with the one it finds.

use crate::protocol::records::Drift;
use crate::text;

/// What a look at one container found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Looked {
    /// It is what the file says, or it does not run and is made anew by itself.
    Current,
    /// Nothing was found out, which is no news.
    Unseen,
    /// It runs, and differs in these keys.
    Differs { service: String, keys: Vec<String> },
    /// What the file says now could not be started.
    Impossible { service: String, why: String },
}

impl Looked {
    /// What was started meanwhile is not what was looked at. None: no container was known.
    #[must_use]
    pub fn of_the_same(self, before: Option<&str>, after: Option<&str>) -> Self {
        match before {
            Some(_) if before != after => Self::Unseen,
            Some(_) | None => self,
        }
    }

    /// Whether the container is made anew before its next start.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        match self {
            Self::Differs { .. } => true,
            Self::Current | Self::Unseen | Self::Impossible { .. } => false,
        }
    }

    fn told(&self) -> Option<Drift> {
        match self {
            Self::Current | Self::Unseen => None,
            Self::Differs { service, keys } => Some(Drift {
                what: text::start::file_changed(service, keys),
                obstacle: None,
            }),
            Self::Impossible { service, why } => Some(Drift {
                what: text::start::not_as_the_file_says(service),
                obstacle: Some(why.clone()),
            }),
        }
    }
}

/// In what a group differs: what of the file could not be taken, then each service. The first obstacle stands for all.
#[must_use]
pub fn summed(misfit: Option<Drift>, looked: &[Looked]) -> Option<Drift> {
    let said: Vec<Drift> = misfit
        .into_iter()
        .chain(looked.iter().filter_map(Looked::told))
        .collect();
    let what: Vec<&str> = said.iter().map(|drift| drift.what.as_str()).collect();
    (!said.is_empty()).then(|| Drift {
        what: what.join("; "),
        obstacle: said.iter().find_map(|drift| drift.obstacle.clone()),
    })
}

/// What a start does with the container that it finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is gone: another is made.
    Replace,
    /// An earlier run of it is still ending.
    Wait,
    /// A look found that it differs: it is made anew first.
    Renew,
    Start,
}

/// `leftover`: a process of an earlier run may be alive.
#[must_use]
pub fn step(exists: bool, running: bool, leftover: bool, stale: bool) -> Step {
    match (exists, running || leftover, stale) {
        (false, ..) => Step::Replace,
        (true, true, _) => Step::Wait,
        (true, false, true) => Step::Renew,
        (true, false, false) => Step::Start,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn differs(service: &str) -> Looked {
        Looked::Differs {
            service: service.to_owned(),
            keys: vec!["image".to_owned(), "user".to_owned()],
        }
    }

    fn impossible() -> Looked {
        Looked::Impossible {
            service: "web".to_owned(),
            why: "no such image".to_owned(),
        }
    }

    #[test]
    fn what_differs_is_told_service_by_service() {
        assert_eq!(summed(None, &[Looked::Current, Looked::Unseen]), None);
        let drift = summed(None, &[differs("sams"), impossible()]).unwrap();
        assert_eq!(
            drift.what,
            "the file has changed since sams was started: image, user; web could not be started again as the file says"
        );
        assert_eq!(drift.obstacle.as_deref(), Some("no such image"));
        let misfit = Drift {
            what: "ports".to_owned(),
            obstacle: Some("a new sidecar".to_owned()),
        };
        let drift = summed(Some(misfit), &[impossible()]).unwrap();
        assert!(drift.what.starts_with("ports; web"), "{}", drift.what);
        assert_eq!(drift.obstacle.as_deref(), Some("a new sidecar"));
    }

    #[test]
    fn only_what_can_be_made_anew_is_and_only_what_was_looked_at() {
        assert!(differs("sams").is_stale());
        for other in [Looked::Current, Looked::Unseen, impossible()] {
            assert!(!other.is_stale(), "{other:?}");
        }
        assert!(differs("sams").of_the_same(Some("c1"), Some("c1")).is_stale());
        assert!(differs("sams").of_the_same(None, Some("c1")).is_stale());
        assert_eq!(differs("sams").of_the_same(Some("c1"), Some("c2")), Looked::Unseen);
        assert_eq!(differs("sams").of_the_same(Some("c1"), None), Looked::Unseen);
    }

    #[test]
    fn a_start_waits_for_what_is_ending_before_anything_is_made_anew() {
        for (exists, running, leftover, stale, wanted) in [
            (false, false, false, true, Step::Replace),
            (true, true, false, true, Step::Wait),
            (true, false, true, true, Step::Wait),
            (true, false, false, true, Step::Renew),
            (true, false, false, false, Step::Start),
        ] {
            assert_eq!(step(exists, running, leftover, stale), wanted);
        }
    }
}
