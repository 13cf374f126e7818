//! What a call is refused with: a status, and a word that never changes its meaning. The core's refusals get their status here.

use leasehold_core::requests::refusal::{Class, Refusal};
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};

/// Writes the enum and its tables from one list.
macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident = $word:literal, $status:literal;)+) => {
        /// Why the endpoints refuse a call themselves.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Cause {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Cause {
            /// All of them, in this order.
            const ALL: &[Self] = &[$(Self::$name,)+];

            /// The stable word.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)+
                }
            }

            /// The status of HTTP.
            #[must_use]
            pub fn status(self) -> u16 {
                match self {
                    $(Self::$name => $status,)+
                }
            }
        }
    };
}

reasons! {
    /// The body or the query does not fit.
    Malformed = "malformed", 400;
    /// No known token or certificate was brought.
    Unauthenticated = "unauthenticated", 401;
    /// The role may not do this, or a page of another site asks.
    Forbidden = "forbidden", 403;
    /// There is no group of this name.
    GroupUnknown = "group_unknown", 404;
    /// There is no node of this name.
    NodeUnknown = "node_unknown", 404;
    /// There is no such path.
    NoEndpoint = "no_endpoint", 404;
    /// The path is there, not with this method.
    NoMethod = "no_method", 405;
    /// The caller took too long to ask.
    TooSlow = "too_slow", 408;
    /// The compose file of this node can't be read.
    FileUnreadable = "file_unreadable", 409;
    /// The body is not said to be JSON.
    NotJson = "not_json", 415;
    /// More acts in a short time than are taken.
    TooManyActs = "too_many_acts", 429;
    /// The loop has as many commands before it as may wait.
    Busy = "busy", 429;
    /// What is kept in etcd can't be read now.
    Unread = "unread", 503;
    /// The sidecar ends.
    Ending = "ending", 503;
    /// The loop does not answer.
    NoAnswer = "no_answer", 504;
}

/// The status of HTTP that says whether asking again helps.
#[must_use]
pub fn status(class: Class) -> u16 {
    match class {
        Class::Invalid => 422,
        Class::Unknown => 404,
        Class::Refused | Class::Conflict => 409,
        Class::Full => 429,
        Class::Unavailable => 503,
        Class::TimedOut => 504,
    }
}

/// Every word with its status, each once: those of the endpoints, then the core's.
#[must_use]
pub fn codes() -> Vec<(&'static str, u16)> {
    let own = Cause::ALL.iter().map(|cause| (cause.word(), cause.status()));
    let of_core = Refusal::WORDS.iter().map(|(word, class)| (*word, status(*class)));
    let mut all: Vec<(&str, u16)> = Vec::new();
    for (word, status) in own.chain(of_core) {
        if !all.contains(&(word, status)) {
            all.push((word, status));
        }
    }
    all
}

/// The words as the description of the API has them.
pub(crate) fn words() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(
            "Why it was refused, as a word that never changes its meaning; the documentation says what to do about each",
        ))
        .enum_values(Some(codes().into_iter().map(|(word, _)| word)))
        .build()
}
