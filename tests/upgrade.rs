//! Values as 84eb5cc wrote them, on three hosts (`upgrade/README.md`): each is read with the meaning that it had, and what is
//! written now is read there with the same. That both programs work beside each other is `tests/hosts/upgrade.rs`.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "upgrade/before.rs"]
mod before;
#[path = "upgrade/disk.rs"]
mod disk;
#[path = "upgrade/etcd.rs"]
mod etcd;
#[path = "upgrade/recorded.rs"]
mod recorded;
#[path = "upgrade/written.rs"]
mod written;
