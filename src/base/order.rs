//! What a page orders.

/// What the tether shall do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Nothing may run: a tether that starts leaves, one that runs kills.
    Closed,
    /// The run may start and go on until the deadlines.
    Open,
    /// The stop signal now, the kill at `hard`.
    Stop,
    /// The kill now.
    Kill,
}
