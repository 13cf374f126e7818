//! Small projects for the tests of verbs.

use std::sync::atomic::{AtomicU32, Ordering};

use leasehold_compose::model::Project;
use leasehold_compose::{Sources, read};

static COUNT: AtomicU32 = AtomicU32::new(0);

/// One group `mail` with one service: more keys of the cluster and of the group as flow mappings, of the service as a line.
pub(crate) fn project(cluster: &str, group: &str, service: &str) -> Project {
    let unique = format!(
        "leasehold-check-{}-{}",
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    );
    let directory = std::env::temp_dir().join(unique);
    std::fs::create_dir_all(&directory).unwrap();
    let file = format!(
        "x-leasehold: {{cluster: mail, etcd: [\"http://10.0.0.1:2379\"], ttl: 10s{cluster}}}\n\
         services:\n  sams:\n    image: sams\n    scale: 0\n    profiles: [leasehold]\n    network_mode: host\n    \
         entrypoint: [/leasehold/tether]\n    stop_grace_period: 20s\n    x-leasehold: {{group: mail{group}}}\n    {service}\n"
    );
    std::fs::write(directory.join("compose.yaml"), file).unwrap();
    let sources = Sources {
        host_directory: directory.clone(),
        local_directory: directory.clone(),
        ..Sources::default()
    };
    let project = read(&sources);
    let _ = std::fs::remove_dir_all(&directory);
    project.unwrap_or_else(|faults| panic!("{faults:?}"))
}
