//! By what nodes know an image: so that they can tell whether it is the same.

/// An image, as the nodes name it to each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageId {
    /// Empty where it is not known.
    pub digest: String,
    /// What is in it, where that is known: the same in every image store.
    pub content: String,
}

impl ImageId {
    /// Whether it is the same, as far as both are known.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let is_unknown = self.digest.is_empty() || other.digest.is_empty();
        let is_same_content = !self.content.is_empty() && self.content == other.content;
        is_unknown || self.digest == other.digest || is_same_content
    }
}
