//! Pages of runs whose services the compose file may have no more.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::Path;

use super::files::Files;
use leasehold_base::page::{Order, Page};

/// By group: the services with a page that may let something run in this boot. One that can't be read may.
///
/// # Errors
/// The run directory can't be read.
pub fn open_pages(run_dir: &Path, boot_id: [u8; 16]) -> io::Result<BTreeMap<String, BTreeSet<String>>> {
    let is_over = |page: Page| page.boot_id != boot_id || page.order == Order::Closed;
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (group, of_group) in directories(run_dir)? {
        for (service, path) in directories(&of_group)? {
            let bytes = match std::fs::read(path.join("page")) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            if !Page::decode(&bytes).is_some_and(is_over) {
                all.entry(group.clone()).or_default().insert(service);
            }
        }
    }
    Ok(all)
}

/// Nothing is known of its run: what still runs is killed by its tether.
///
/// # Errors
/// The page can't be written.
pub fn close_page(directory: &Path, boot_id: [u8; 16]) -> io::Result<()> {
    Files::open(directory, boot_id, false).map(drop)
}

fn directories(parent: &Path) -> io::Result<Vec<(String, std::path::PathBuf)>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(parent)? {
        let entry = entry?;
        if entry.file_type()?.is_dir()
            && let Ok(name) = entry.file_name().into_string()
        {
            all.push((name, entry.path()));
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use leasehold_base::epoch::Run;
    use leasehold_base::time::Time;

    #[test]
    fn only_pages_of_this_boot_that_let_something_run_count() {
        let dir = std::env::temp_dir().join(format!("leasehold-pages-{}", std::process::id()));
        let page = |boot, order| Page {
            boot_id: [boot; 16],
            run: Run { epoch: 1, n: 1 },
            order,
            soft: Time::default(),
            hard: Time::default(),
            store: 0,
        };
        for (place, bytes) in [
            ("mail/open", page(1, Order::Open).encode().to_vec()),
            ("mail/stopping", page(1, Order::Stop).encode().to_vec()),
            ("mail/closed", page(1, Order::Closed).encode().to_vec()),
            ("mail/before", page(2, Order::Open).encode().to_vec()),
            ("web/damaged", vec![0; 7]),
        ] {
            std::fs::create_dir_all(dir.join(place)).unwrap();
            std::fs::write(dir.join(place).join("page"), bytes).unwrap();
        }
        std::fs::create_dir_all(dir.join("web/none")).unwrap();
        let seen = open_pages(&dir, [1; 16]).unwrap();
        let names = |group: &str| seen[group].iter().cloned().collect::<Vec<_>>().join(" ");
        assert_eq!(
            (names("mail").as_str(), names("web").as_str()),
            ("open stopping", "damaged")
        );
        for place in ["mail/open", "mail/stopping", "web/damaged"] {
            close_page(&dir.join(place), [1; 16]).unwrap();
        }
        assert_eq!(open_pages(&dir, [1; 16]).unwrap(), BTreeMap::new());
        std::fs::remove_dir_all(dir).unwrap();
    }
}
