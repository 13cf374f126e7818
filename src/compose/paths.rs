//! The project directory has two names: the host's, for mounts and messages, and this process's, for reading.

use std::path::{Component, Path, PathBuf};

/// Both names of the project directory.
#[derive(Clone, Debug)]
pub(super) struct Paths {
    host: PathBuf,
    local: PathBuf,
}

impl Paths {
    pub(super) fn new(host: &Path, local: &Path) -> Self {
        Self {
            host: normal(host),
            local: local.to_path_buf(),
        }
    }

    /// A path of the file as an absolute path of the Docker host.
    pub(super) fn host(&self, path: &Path) -> PathBuf {
        normal(&self.host.join(path))
    }

    /// Where this process sees a path of the host; `None` outside the project directory.
    pub(super) fn local(&self, path: &Path) -> Option<PathBuf> {
        let host = self.host(path);
        let inside = host.strip_prefix(&self.host).ok()?;
        Some(self.local.join(inside))
    }

    /// The shortest name of a path that the user recognises.
    pub(super) fn shown(&self, path: &Path) -> String {
        let host = self.host(path);
        host.strip_prefix(&self.host).unwrap_or(&host).display().to_string()
    }
}

/// Takes `.` and `..` out without asking the file system: the path is the host's.
pub(super) fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                out.pop();
            }
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => out.push(part),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_a_host_name_a_local_name_and_a_short_name() {
        let paths = Paths::new(Path::new("/srv/mail/"), Path::new("/project"));
        for (path, host, local, shown) in [
            ("a.env", "/srv/mail/a.env", Some("/project/a.env"), "a.env"),
            ("./x/../b", "/srv/mail/b", Some("/project/b"), "b"),
            ("/srv/mail/c", "/srv/mail/c", Some("/project/c"), "c"),
            ("../d", "/srv/d", None, "/srv/d"),
            ("/etc/e", "/etc/e", None, "/etc/e"),
            ("/srv/mailbox", "/srv/mailbox", None, "/srv/mailbox"),
        ] {
            let path = Path::new(path);
            assert_eq!(paths.host(path), Path::new(host));
            assert_eq!(paths.local(path).as_deref(), local.map(Path::new));
            assert_eq!(paths.shown(path), shown);
        }
    }
}
