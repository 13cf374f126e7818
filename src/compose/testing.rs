//! A project directory for tests: written, read, removed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::model::{Project, Service};
use super::{Fault, Sources, read};

static COUNT: AtomicU32 = AtomicU32::new(0);

/// The directory on the pretended host.
pub(super) const HOST: &str = "/srv/mail";

pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new(files: &[(&str, &str)]) -> Self {
        let unique = format!(
            "leasehold-compose-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let folder = Self(std::env::temp_dir().join(unique));
        for (name, text) in files {
            let path = folder.0.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    pub(super) fn sources(&self) -> Sources {
        Sources {
            host_directory: HOST.into(),
            local_directory: self.0.clone(),
            environment: BTreeMap::from([("NODE".to_owned(), "n1".to_owned())]),
            ..Sources::default()
        }
    }
}

impl AsRef<Path> for Folder {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(super) fn read_files(files: &[(&str, &str)]) -> Result<Project, Vec<Fault>> {
    read(&Folder::new(files).sources())
}

pub(super) const CLUSTER: &str = "x-leasehold: {cluster: mail, etcd: [\"http://10.0.0.1:2379\"]}\n";
pub(super) const LINES: &str = "    profiles: [leasehold]\n    scale: 0\n    entrypoint: [\"/leasehold/tether\"]\n";

/// A project around the service `s`, in group `s`; `own` goes into its `x-leasehold`, `keys` stand indented below it.
pub(super) fn file(own: &str, keys: &str, rest: &str) -> String {
    let keys: String = keys.lines().map(|line| format!("    {line}\n")).collect();
    let image = if keys.contains("image:") {
        ""
    } else {
        "    image: i:1\n"
    };
    format!("{CLUSTER}services:\n  s:\n{image}{LINES}    x-leasehold: {{{own}}}\n{keys}{rest}\n")
}

pub(super) const REST: &str = "  other: {image: o:1}\nvolumes: {data: {external: true}, own: }\nnetworks: {net: , far: {external: true}}\n\
                               secrets: {key: {file: ./key.txt}, env: {environment: X}}\nconfigs: {conf: {file: /etc/conf}}\n";

/// The service `s` with these keys, and the warnings; panics on faults.
pub(super) fn service(keys: &str) -> (Service, Vec<String>) {
    let project =
        read_files(&[("compose.yaml", &file("", keys, REST))]).unwrap_or_else(|faults| panic!("{keys}\n{faults:#?}"));
    (project.groups["s"].services[0].clone(), project.warnings)
}

/// The faults that these keys bring, as `key: message (remedy)`.
pub(super) fn faults(own: &str, keys: &str) -> Vec<String> {
    said(&file(own, keys, REST))
}

/// The faults of a whole file, without file and line.
pub(super) fn said(text: &str) -> Vec<String> {
    let faults = read_files(&[("compose.yaml", text)]).err().unwrap_or_default();
    faults
        .iter()
        .map(|fault| format!("{}: {} ({})", fault.key, fault.message, fault.remedy))
        .collect()
}

/// One fault, and it contains all of the words.
pub(super) fn assert_one(faults: &[String], words: &[&str], what: &str) {
    assert_eq!(faults.len(), 1, "{what}: {faults:#?}");
    for word in words {
        assert!(faults[0].contains(word), "{what}: {word:?} in {faults:#?}");
    }
}
