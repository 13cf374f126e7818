//! What an earlier sidecar of this boot may have left behind that the compose file has no more: its services, which are still
//! to be stopped, and its addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use crate::adapters::tether;
use leasehold_compose::model::{Project, Vip};
use leasehold_core::adoption::left::Part;
use leasehold_core::protocol::records::Saved;

/// Of a service of which nothing but its page is known, in milliseconds.
const GRACE_MS: u64 = 10_000;

/// By group.
#[derive(Clone, Debug, Default)]
pub struct Left {
    services: BTreeMap<String, Vec<String>>,
    vips: BTreeMap<String, Vec<Vip>>,
}

impl Left {
    /// `saved`: of this boot, as [`complete`] gives it.
    #[must_use]
    pub fn of(saved: Option<&Saved>, project: &Project) -> Self {
        let mut left = Self::default();
        for (name, run) in saved.iter().flat_map(|saved| &saved.groups) {
            let group = project.groups.get(name);
            let services = group.iter().flat_map(|group| &group.services);
            let names: BTreeSet<&str> = services.map(|service| service.name.as_str()).collect();
            let beyond: Vec<String> = run.parts.beyond(&names).map(|part| part.name.clone()).collect();
            let is_left = |vip: &Vip| group.is_none_or(|group| !group.vips.contains(vip));
            let vips: Vec<Vip> = run.parts.vips.iter().filter_map(|text| text.parse().ok()).collect();
            left.services.insert(name.clone(), beyond);
            left.vips
                .insert(name.clone(), vips.into_iter().filter(is_left).collect());
        }
        left
    }

    /// Their places come after those of the file.
    pub fn services(&self, group: &str) -> impl Iterator<Item = &str> {
        self.services.get(group).into_iter().flatten().map(String::as_str)
    }

    #[must_use]
    pub fn vips(&self, group: &str) -> Vec<Vip> {
        self.vips.get(group).cloned().unwrap_or_default()
    }

    /// Groups of which anything is left.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.services.keys().map(String::as_str)
    }
}

/// Adds what the pages know and the saved state does not: one that an earlier version wrote says nothing of services. Where
/// nothing is saved of a group, its pages are closed, unless the file has them, which closes them as well.
///
/// # Errors
/// The run directory can't be read, or a page can't be closed.
pub fn complete(
    saved: Option<Saved>,
    project: &Project,
    run_dir: &Path,
    boot_id: [u8; 16],
) -> io::Result<Option<Saved>> {
    let mut saved = saved;
    for (group, services) in tether::open_pages(run_dir, boot_id)? {
        let run = saved.as_mut().and_then(|saved| saved.groups.get_mut(&group));
        let in_file = |service: &String| {
            let group = project.groups.get(&group);
            group.is_some_and(|group| group.services.iter().any(|one| one.name == *service))
        };
        match run {
            Some(run) => {
                let known: BTreeSet<String> = run.parts.services.iter().map(|part| part.name.clone()).collect();
                let unknown = services.into_iter().filter(|service| !known.contains(service));
                let unknown = unknown.map(|name| Part {
                    name,
                    grace_ms: GRACE_MS,
                });
                run.parts.services.extend(unknown);
            }
            None => {
                for service in services.into_iter().filter(|service| !in_file(service)) {
                    tracing::warn!(
                        code = "page_closed",
                        group,
                        service,
                        "nothing is known of its run, and the compose file does not have it: what is left of it is killed"
                    );
                    tether::close_page(&run_dir.join(&group).join(service), boot_id)?;
                }
            }
        }
    }
    Ok(saved)
}
