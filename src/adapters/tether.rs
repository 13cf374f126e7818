//! The sidecar end of the tethers: page, socket and pidfd.
