//! etcd: carries the transactions of the core.
