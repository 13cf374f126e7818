//! The protocol's own words. `docs/protocol.md` has each transaction with its compares, its reason and the schedule that breaks without it.

mod kind;

pub use kind::TxnKind;
