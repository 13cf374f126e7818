//! Storage on NFS: options that do harm to what lies there, and what a silent host may still write.

use std::path::{Path, PathBuf};

use leasehold_base::small_file;
use leasehold_compose::Sources;
use leasehold_compose::model::{Group, MountKind, Project};
use leasehold_compose::nfs::{Harm, harms_of_lasting, is_nfs};

use super::volumes::Guard;

/// A file system that is mounted on this host.
#[derive(Debug, PartialEq, Eq)]
struct Mounted {
    at: PathBuf,
    kind: String,
    options: String,
}

/// Warnings of the storage of a group. Directories are looked at where this host's own paths are seen, as without a sidecar.
pub(super) fn warnings(project: &Project, sources: &Sources, group: &Group, guard: Option<Guard>) -> Vec<String> {
    let sees_host = sources.host_directory == sources.local_directory;
    let table = small_file::read_text(Path::new("/proc/self/mountinfo"), small_file::MAX);
    let mounted = mounted(&table.ok().filter(|_| sees_host).unwrap_or_default());
    of_group(project, group, guard, &mounted)
}

fn of_group(project: &Project, group: &Group, guard: Option<Guard>, mounted: &[Mounted]) -> Vec<String> {
    let mut told: Vec<String> = Vec::new();
    let mounts = group.services.iter().flat_map(|service| &service.mounts);
    for mount in mounts.filter(|mount| mount.is_protected()) {
        let place = match &mount.kind {
            MountKind::Volume { key, .. } => project
                .volumes
                .get(key)
                .filter(|volume| volume.driver_opts.get("type").is_some_and(|kind| is_nfs(kind)))
                .map(|volume| format!("the volume {}", volume.name)),
            MountKind::Bind { source, .. } => {
                holder(mounted, source)
                    .filter(|found| is_nfs(&found.kind))
                    .map(|found| {
                        told.extend(harms_of_lasting(&found.options).map(|harm| {
                            let (
                                at,
                                Harm {
                                    option,
                                    message,
                                    remedy,
                                },
                            ) = (found.at.display(), harm);
                            format!(
                                "group {}: the mount {at} has `{option}`, which {message}: {remedy}",
                                group.name
                            )
                        }));
                        source.display().to_string()
                    })
            }
            MountKind::Tmpfs { .. } | MountKind::File { .. } => None,
        };
        let Some(place) = place else { continue };
        match guard {
            None => told.push(late(&group.name, &place)),
            Some(Guard::Watchdog | Guard::Fence | Guard::Person) => {}
        }
    }
    told.dedup();
    told
}

/// Pages that were written to a server which does not answer stay in memory when their process is killed.
fn late(group: &str, place: &str) -> String {
    format!(
        "group {group}: {place} lies on NFS: a host that is cut off from etcd and from the server at once writes what it still \
         has in memory when the server is back, over what the next holder wrote meanwhile: configure a fence or a watchdog"
    )
}

/// What is mounted where this path lies.
fn holder<'m>(mounted: &'m [Mounted], path: &Path) -> Option<&'m Mounted> {
    let above = mounted.iter().filter(|mounted| path.starts_with(&mounted.at));
    // Of several at one place the last is seen.
    above.max_by_key(|mounted| mounted.at.components().count())
}

/// From lines such as `36 35 0:40 / /at rw,noatime master:1 - nfs4 nas:/mail rw,vers=4.2`.
fn mounted(table: &str) -> Vec<Mounted> {
    let line = |line: &str| {
        let (head, tail) = line.split_once(" - ")?;
        let (mut head, mut tail) = (head.split(' ').skip(4), tail.split(' '));
        let (at, own) = (head.next()?, head.next()?);
        Some(Mounted {
            at: PathBuf::from(plain(at)),
            kind: tail.next()?.to_owned(),
            options: format!("{own},{}", tail.nth(1)?),
        })
    };
    table.lines().filter_map(line).collect()
}

/// The kernel writes blanks, tabs, newlines and backslashes as three octal digits.
fn plain(path: &str) -> String {
    let letters = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    letters
        .iter()
        .fold(path.to_owned(), |path, (code, letter)| path.replace(code, letter))
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    const TABLE: &str = "21 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n\
        30 21 0:40 / /srv/nas rw,relatime shared:1 - nfs4 nas:/mail rw,vers=4.2,soft,proto=tcp\n\
        31 30 0:41 / /srv/nas/in\\040it rw - ext4 /dev/sdb rw\n\
        nonsense\n";

    #[test]
    fn the_mount_of_a_path_is_the_nearest_above() {
        let mounted = mounted(TABLE);
        assert_eq!(mounted.len(), 3);
        for (path, kind) in [
            ("/srv/nas/mail", "nfs4"),
            ("/srv/nas", "nfs4"),
            ("/srv/nasty", "ext4"),
            ("/srv/nas/in it/x", "ext4"),
        ] {
            assert_eq!(holder(&mounted, Path::new(path)).unwrap().kind, kind, "{path}");
        }
    }

    #[test]
    fn a_directory_and_a_volume_on_nfs_are_told() {
        let mounted = mounted(TABLE);
        let volumes = "volumes: {v: {driver_opts: {type: nfs, o: 'addr=10.0.0.9', device: ':/x'}}}";
        let keys = format!("volumes: ['/srv/nas/mail:/m', '/srv/other:/o', 'v:/v']\n{volumes}");
        let project = testing::project("", "", &keys);
        let group = project.groups.values().next().unwrap();
        let told = of_group(&project, group, None, &mounted);
        let words = [
            "has `soft`",
            "`lookupcache=all`",
            "/srv/nas/mail lies on NFS",
            "the volume ",
        ];
        assert_eq!(told.len(), words.len(), "{told:?}");
        for (line, words) in told.iter().zip(words) {
            assert!(line.contains(words), "{line}");
        }
        // A host that is reset forgets what it had in memory.
        for guard in [Guard::Fence, Guard::Watchdog] {
            let told = of_group(&project, group, Some(guard), &mounted);
            assert_eq!(told.len(), 2, "{told:?}");
        }
    }
}
