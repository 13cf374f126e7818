//! The election in the small, searched exhaustively: every order of sends, landings, answers, crashes and ticks of a
//! few nodes, with clocks that drift apart as far as they may. `rules.rs` is the table of what each transaction
//! compares; a test holds it against what the shipped core sends, as the stories print it.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "scenarios/shelf.rs"]
mod shelf;

mod model {
    mod check;
    pub(crate) mod rules;
    pub(crate) mod search;
    pub(crate) mod state;
    pub(crate) mod step;
}
