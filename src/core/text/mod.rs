//! Every sentence that the core says to people, by topic. What decides gives typed values, and the words are made here alone:
//! `tests/tidy.rs` sees to it. No rule reads a sentence, but for those of earlier versions in `old`.

pub(crate) mod accept;
pub(crate) mod address;
pub(crate) mod advice;
pub(crate) mod damage;
pub(crate) mod etcd;
pub(crate) mod fencing;
pub(crate) mod health;
pub(crate) mod history;
pub(crate) mod host;
pub(crate) mod membership;
pub(crate) mod old;
pub(crate) mod orders;
pub(crate) mod policy;
pub(crate) mod probes;
pub(crate) mod promises;
mod refusal;
pub(crate) mod start;
pub(crate) mod stop;
pub(crate) mod stuck;
pub(crate) mod switchover;
pub(crate) mod takeover;
pub(crate) mod trust;
pub(crate) mod ttl;

/// What follows a request: who gave a reason is quoted.
pub(crate) fn given(why: &str) -> String {
    match why {
        "" => String::new(),
        why => format!(" ({why})"),
    }
}

/// "a", "a and b", "a, b and c".
fn listed(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::listed;

    #[test]
    fn names_are_listed_as_one_says_them() {
        assert_eq!(listed(&["a"]), "a");
        assert_eq!(listed(&["a", "b"]), "a and b");
        assert_eq!(listed(&["a", "b", "c"]), "a, b and c");
    }
}
