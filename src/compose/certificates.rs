//! `x-leasehold: certificates:` of a service: files in the container that each host has for itself, so that one host's may have run
//! out while another's is good.

use std::path::{Component, Path};

use super::cursor::At;
use super::fault::Faults;
use super::model::Mount;

/// Paths in one service.
const MAX: usize = 16;
/// As long as the kernel takes one.
const PATH_MAX: usize = 4095;

/// The paths, in the order of the file.
pub(super) fn read(at: &At<'_>, mounts: &[Mount], faults: &mut Faults) -> Vec<String> {
    let Some(field) = at.get("certificates") else {
        return Vec::new();
    };
    let mut paths: Vec<String> = Vec::new();
    for item in field.list(faults) {
        let what = "the path of a PEM file in the container, such as /etc/mail/tls/cert.pem";
        let Some(path) = item.parsed(faults, what, path) else {
            continue;
        };
        if let Some(mount) = of_all_hosts(&path, mounts) {
            let message = format!("{path} lies on the shared storage at {}", mount.target);
            item.fault(
                faults,
                message,
                "take it out: all hosts have the same there, and a probe with `tls` sees when it runs out",
            );
        }
        if paths.contains(&path) {
            item.fault(faults, format!("{path} stands twice"), "");
        }
        paths.push(path);
    }
    if paths.len() > MAX {
        field.fault(
            faults,
            format!("has {} paths, more than {MAX}", paths.len()),
            "name the ones that clients see",
        );
    }
    paths
}

fn path(text: &str) -> Option<String> {
    let plain = |part| matches!(part, Component::RootDir | Component::Normal(_));
    let is_file = text.starts_with('/') && text.len() > 1 && !text.ends_with('/');
    let is_sound = is_file && text.len() <= PATH_MAX && !text.contains(char::is_control);
    (is_sound && Path::new(text).components().all(plain)).then(|| text.to_owned())
}

/// The mount of the protected storage on which it lies.
fn of_all_hosts<'a>(path: &str, mounts: &'a [Mount]) -> Option<&'a Mount> {
    let above = mounts.iter().filter(|mount| Path::new(path).starts_with(&mount.target));
    let nearest = above.max_by_key(|mount| mount.target.len())?;
    nearest.is_protected().then_some(nearest)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{REST, assert_one, faults, file, read_files};

    const KEYS: &str = "network_mode: host\nvolumes: ['data:/store', './tls:/store/tls:ro']";

    fn certificates(own: &str) -> Vec<String> {
        let project = read_files(&[("compose.yaml", &file(own, KEYS, REST))]).unwrap();
        project.groups["s"].services[0].certificates.clone()
    }

    #[test]
    fn paths_that_each_host_has_for_itself() {
        assert_eq!(certificates(""), Vec::<String>::new());
        let read = certificates("certificates: [/etc/tls/cert.pem, /store/tls/mail.pem]");
        assert_eq!(read, ["/etc/tls/cert.pem", "/store/tls/mail.pem"]);
    }

    #[test]
    fn others_are_refused_with_a_remedy() {
        let many: Vec<String> = (0..17).map(|number| format!("/c/{number}")).collect();
        let many = format!("certificates: [{}]", many.join(", "));
        for (own, words) in [
            (
                "certificates: [/store/cert.pem]",
                ["shared storage at /store", "take it out"],
            ),
            (
                "certificates: [cert.pem]",
                ["x-leasehold.certificates: must be", "path of a PEM file"],
            ),
            (
                "certificates: [/etc/../cert.pem]",
                ["x-leasehold.certificates: must be", "path of a PEM file"],
            ),
            (
                "certificates: [/etc/tls/]",
                ["x-leasehold.certificates: must be", "path of a PEM file"],
            ),
            ("certificates: [/c/1, /c/1]", ["/c/1 stands twice", ""]),
            ("certificates: /c/1", ["certificates", "must be a list"]),
            (many.as_str(), ["17 paths", "more than 16"]),
        ] {
            assert_one(&faults(own, KEYS), &words, own);
        }
    }
}
