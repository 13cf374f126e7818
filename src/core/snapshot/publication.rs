//! What this node publishes of itself in etcd: written only when it changes.

/// The value of this node's status key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Publication {
    /// Known to stand there.
    published: Option<String>,
    /// Under way.
    publishing: Option<String>,
}

impl Publication {
    /// Whether this must be written; then it is under way.
    pub(crate) fn offer(&mut self, value: &str) -> bool {
        let is_new = self.published.as_deref() != Some(value);
        if is_new {
            self.publishing = Some(value.to_owned());
        }
        is_new
    }

    /// The beat that carried it was answered.
    pub(crate) fn landed(&mut self, succeeded: bool) {
        if let Some(value) = self.publishing.take().filter(|_| succeeded) {
            self.published = Some(value);
        }
    }

    /// What became of the one under way is not known: it is written again.
    pub(crate) fn unknown(&mut self) {
        self.publishing = None;
    }

    /// Another incarnation begins, or somebody else wrote there: it is written anew.
    pub(crate) fn forget(&mut self) {
        self.published = None;
    }

    /// What must stand there, unless another one is under way.
    pub(crate) fn settled(&self) -> Option<&str> {
        self.published.as_deref().filter(|_| self.publishing.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_written_until_it_has_landed_and_again_when_it_is_forgotten() {
        let mut own = Publication::default();
        assert!(own.offer("a") && own.settled().is_none());
        own.landed(false);
        assert!(own.offer("a"), "it did not land");
        own.landed(true);
        assert!(!own.offer("a") && own.settled() == Some("a"));
        assert!(own.offer("b") && own.settled().is_none(), "under way");
        own.unknown();
        assert_eq!(own.settled(), Some("a"));
        own.forget();
        assert!(own.offer("a"));
    }
}
