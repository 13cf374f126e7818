//! What is counted has bounds: a number beyond them was never counted by Leasehold.

/// The highest epoch or generation that is taken from outside: a claim on the storage, an operator's word, an import. Nobody
/// counted so far; above it is damage.
pub const GIVEN_MAX: u64 = 1 << 48;
/// What is counted on from there stays below this, so that one more never wraps, nor becomes unreadable by itself.
pub const COUNTED_MAX: u64 = 1 << 49;
