//! What a reader of one service needs to know of the rest of the project.

use std::collections::BTreeMap;

use super::cursor::At;
use super::paths::Paths;

/// The project around a service.
#[derive(Debug)]
pub(super) struct Context<'a> {
    /// The merged tree.
    pub(super) root: At<'a>,
    pub(super) project: &'a str,
    pub(super) paths: &'a Paths,
    /// The process's environment over `.env`.
    pub(super) environment: &'a BTreeMap<String, String>,
}

impl<'a> Context<'a> {
    /// An entry of a top-level mapping such as `volumes`.
    pub(super) fn top(&self, section: &str, key: &str) -> Option<At<'a>> {
        self.root.get(section)?.get(key)
    }

    pub(super) fn lookup(&self, key: &str) -> Option<String> {
        self.environment.get(key).cloned()
    }
}
