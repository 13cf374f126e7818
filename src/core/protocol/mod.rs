//! The protocol's own words: what a transaction is for, and the words in etcd that other nodes decide by. `docs/protocol.md` has each
//! transaction with its compares, its reason and the schedule that breaks without it.

mod cause;
mod fault;
mod kind;
mod trouble;

pub use cause::ReleaseCause;
pub use fault::FaultId;
pub use kind::TxnKind;
pub use trouble::TroubleState;
