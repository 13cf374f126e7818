//! What was said last of a node or of a group, so that a repetition is no news.

use std::time::Duration;

use crate::event::Decision;
use crate::time::Time;

/// Before the same sentence is mentioned again.
const MENTION_AGAIN: Duration = Duration::from_secs(60);

/// The last words.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said {
    last: Option<Decision>,
    /// What was last mentioned, and when.
    mentioned: Option<(Decision, Time)>,
}

impl Said {
    /// What holds, and stands in the status until something else does; true if it is news.
    pub(crate) fn say(&mut self, decision: &Decision) -> bool {
        let is_news = self.last.as_ref() != Some(decision);
        if is_news {
            self.last = Some(decision.clone());
        }
        is_news
    }

    /// What happened and is over, so that it does not stand in the status for ever; not again within a minute.
    pub(crate) fn mention(&mut self, now: Time, decision: &Decision) -> bool {
        let known = self
            .mentioned
            .as_ref()
            .is_some_and(|(said, at)| said == decision && now.since(*at) < MENTION_AGAIN);
        if !known {
            self.mentioned = Some((decision.clone(), now));
        }
        !known
    }

    pub(crate) fn last(&self) -> Option<&Decision> {
        self.last.as_ref()
    }

    /// Its sentence.
    pub(crate) fn text(&self) -> Option<&str> {
        self.last.as_ref().map(|decision| decision.text.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::code::Code;

    fn decision(text: &str) -> Decision {
        Decision {
            code: Code::EtcdRefuses,
            group: None,
            epoch: None,
            text: text.to_owned(),
        }
    }

    #[test]
    fn a_repetition_is_no_news_until_something_else_was_said() {
        let mut said = Said::default();
        assert!(said.say(&decision("a")) && !said.say(&decision("a")));
        assert!(said.say(&decision("b")) && said.say(&decision("a")));
        assert_eq!(said.text(), Some("a"));
    }

    #[test]
    fn what_is_mentioned_is_mentioned_again_after_a_minute_and_is_no_status() {
        let mut said = Said::default();
        let at = |seconds| Time::default().plus(Duration::from_secs(seconds));
        assert!(said.mention(at(0), &decision("a")) && !said.mention(at(59), &decision("a")));
        assert!(said.mention(at(60), &decision("a")));
        assert_eq!(said.last(), None);
    }
}
