//! Moves on request, failback, and `apply`.

use std::time::Duration;

use super::given;

/// Where nobody is named.
pub(crate) const BEST_STANDBY: &str = "the best standby";
pub(crate) const THE_HOLDER: &str = "the holder";
pub(crate) const SEE_STATUS: &str = "see `leasehold status`";
pub(crate) const NO_STANDBY: &str = "no standby is ready: see `leasehold status`";

/// What stands in etcd of it.
pub(crate) fn wanted(to: Option<&str>, by: &str, why: &str, begun: bool) -> String {
    let to = to.unwrap_or(BEST_STANDBY);
    let begun = if begun { "" } else { ": not begun" };
    format!("switchover to {to}, asked by {by}{}{begun}", given(why))
}

/// The same, as the reason of the stop.
pub(crate) fn reason(next: &str, by: &str, why: &str) -> String {
    format!("switchover to {next}, asked by {by}{}", given(why))
}

/// Who asked for an apply.
pub(crate) fn asked(by: &str, why: &str) -> String {
    format!("asked by {by}{}", given(why))
}

// What the asker hears.

pub(crate) fn asked_of(holder: &str, group: &str) -> String {
    format!("an operator's order: {holder} is asked to hand {group} over")
}

pub(crate) fn not_begun(holder: &str, group: &str) -> String {
    format!(
        "asked, but {holder} has not begun: it may be busy with {group}, or gone; `leasehold switchover --withdraw {group}` \
         takes the request back"
    )
}

pub(crate) fn begun(holder: &str, group: &str) -> String {
    format!("{holder} stops {group}, then its successor starts it")
}

pub(crate) fn has_left(holder: &str, group: &str) -> String {
    format!("{group} has left {holder}")
}

/// By the order that was read.
pub(crate) fn withdrawn(group: &str) -> String {
    format!("the request to move {group} is withdrawn")
}

/// The answer to it.
pub(crate) fn stays(group: &str) -> String {
    format!("{group} stays where it is: the request to move it is withdrawn")
}

// Why the holder refuses.

pub(crate) fn refused(why: &str) -> String {
    format!("switchover refused: {why}")
}

pub(crate) fn claimed(group: &str) -> String {
    format!("a claim of a later epoch is on its storage: see `leasehold why {group}`")
}

/// `order` is what stands, and what takes it back.
pub(crate) fn forbidden(group: &str, order: &str) -> String {
    format!("{group} is {order}")
}

pub(crate) fn not_ready(node: &str, why: &str) -> String {
    format!("{node} is not ready: {why}")
}

/// It goes back to a preferred node.
pub(crate) mod failback {
    use super::Duration;

    pub(crate) fn reason(node: &str, quiet: Duration) -> String {
        format!("failback to {node}, preferred and ready for {quiet:?}")
    }

    pub(crate) fn awaited(node: &str, quiet: Duration) -> String {
        format!("{node} is preferred and ready: it goes back there once that has lasted for {quiet:?}")
    }
}

/// It is started again in place, as the file says. `asked` says by whom it was asked for.
pub(crate) mod apply {
    /// Why it can't be done.
    pub(crate) const NOT_A_MEMBER: &str = "its node is not a member now";

    pub(crate) fn wanted(by: &str, why: &str) -> String {
        format!("apply, {}", super::asked(by, why))
    }

    // What the asker hears.

    pub(crate) fn looks_anew(holder: &str, what: &str, obstacle: &str) -> String {
        format!("asked: {holder} looks again; as of its last look {what}, and it can't be applied: {obstacle}")
    }

    pub(crate) fn starts_again(holder: &str, group: &str, what: &str) -> String {
        format!("asked: {holder} starts {group} again in place: {what}")
    }

    pub(crate) fn nothing_differs(holder: &str, group: &str) -> String {
        format!(
            "asked: {holder} looks again and starts {group} again in place where anything differs; as of its last look nothing \
             does, and then nothing is done"
        )
    }

    // What the status says.

    pub(crate) fn impossible(what: &str, obstacle: &str) -> String {
        format!("{what}; it can't be applied: {obstacle}")
    }

    pub(crate) fn possible(what: &str, group: &str) -> String {
        format!("{what}; taken at the next start, or now with `leasehold apply {group}`")
    }

    // What the holder does.

    pub(crate) fn is(order: &str) -> String {
        format!("it is {order}")
    }

    pub(crate) fn refused(asked: &str, why: &str) -> String {
        format!("apply refused, {asked}: {why}")
    }

    pub(crate) fn needless(asked: &str) -> String {
        format!("apply, {asked}: nothing differs from what the file and the image say: it goes on as it is")
    }

    pub(crate) fn stopping(asked: &str, what: &str) -> String {
        format!("apply, {asked}: {what}: stopping, to start again here")
    }
}
