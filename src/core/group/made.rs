//! What a container was made for. A verdict counts for what it was asked for, and what starts is what was prepared for the run.

/// What a container was made for, and of what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Made {
    /// The id that its storage must carry, as its tether was told; none before the storage is initialised.
    pub store: Option<String>,
    /// Of the request that made it.
    pub fingerprint: String,
    /// The image's digest.
    pub image: String,
    /// What is in the image, where the engine tells: the same in every image store.
    pub content: String,
}

/// Whether a container is for this store, by the ids that its tether is told to find. `protects`: its service has protected
/// mounts; one without has nothing to find.
#[must_use]
pub fn is_for(ids: &[String], store: Option<&str>, protects: bool) -> bool {
    match store {
        None => ids.is_empty(),
        Some(store) => ids.iter().all(|id| id == store) && (!protects || !ids.is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::is_for;

    #[test]
    fn a_container_is_for_the_store_that_its_tether_looks_for() {
        let ids = |all: &[&str]| all.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        for (found, store, protects, wanted) in [
            (&[][..], None, true, true),
            (&[], Some("s1"), true, false),
            (&[], Some("s1"), false, true),
            (&["s1", "s1"], Some("s1"), true, true),
            (&["s1"], Some("s1"), false, true),
            (&["s1", "s2"], Some("s1"), true, false),
            (&["s2"], Some("s1"), true, false),
            (&["s1"], None, true, false),
        ] {
            assert_eq!(is_for(&ids(found), store, protects), wanted, "{found:?} for {store:?}");
        }
    }
}
