//! The console in a real browser: three sidecars on a real etcd and this machine's engine, which serve a busybox, and Debian's
//! chromium, driven by its chromedriver. Pictures of what was seen: `target/console`.

#![allow(clippy::unwrap_used, reason = "a test fails by it, in its helpers too")]

#[path = "console/bed.rs"]
mod bed;
#[path = "sidecar/busybox.rs"]
#[allow(dead_code, reason = "the sidecar tests use the rest")]
mod busybox;
#[path = "console/driver.rs"]
mod driver;
#[path = "store/etcd.rs"]
#[allow(dead_code, reason = "the store tests use the rest")]
mod etcd;
#[path = "sidecar/process.rs"]
#[allow(dead_code, reason = "the sidecar tests use the rest")]
mod process;
#[path = "console/story.rs"]
mod story;
