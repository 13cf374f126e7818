//! `volumes` of a service.

use std::path::Path;

use super::context::Context;
use super::cursor::At;
use super::fault::Faults;
use super::model::{Mount, MountKind};
use super::places::{self, Place};
use super::scalar;
use super::yaml::Value;

const PROPAGATIONS: [&str; 6] = ["private", "rprivate", "shared", "rshared", "slave", "rslave"];

/// Everything under `volumes`.
pub(super) fn read(at: &At<'_>, context: &Context<'_>, faults: &mut Faults) -> Vec<Mount> {
    let mut mounts = Vec::new();
    for item in at.list(faults) {
        let mount = match &item.node.value {
            Value::Map(_) => long(&item, context, faults),
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) | Value::List(_) => {
                item.text(faults).and_then(|text| short(&text, &item, context, faults))
            }
        };
        mounts.extend(mount);
    }
    mounts
}

/// `[source:]target[:options]`.
fn short(text: &str, at: &At<'_>, context: &Context<'_>, faults: &mut Faults) -> Option<Mount> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts.as_slice() {
        [target] => {
            anonymous(at, target, faults);
            return None;
        }
        [source, target] => (*source, *target, ""),
        [source, target, options] => (*source, *target, *options),
        _ => ("", "", ""),
    };
    if source.is_empty() || target.is_empty() {
        at.fault(
            faults,
            format!("{text:?} is no mount"),
            "write source:target or source:target:ro",
        );
        return None;
    }
    let target = absolute(target, at, faults)?;
    let mut read_only = false;
    let mut propagation = None;
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => read_only = true,
            "rw" => read_only = false,
            "nocopy" | "consistent" | "cached" | "delegated" => {}
            "z" | "Z" => relabel(at, option, faults),
            option if PROPAGATIONS.contains(&option) => propagation = Some(option.to_owned()),
            option => at.fault(
                faults,
                format!("{option:?} is no option of a mount"),
                "use ro, rw or nocopy",
            ),
        }
    }
    let kind = match source.starts_with(['.', '/', '~']) {
        true => bind(source, propagation, at, context, faults)?,
        false => volume(source, None, at, context, faults)?,
    };
    Some(mount(kind, target, read_only, at, context, faults))
}

/// A mount, and whether it is one of data.
fn mount(
    kind: MountKind,
    target: String,
    read_only: bool,
    at: &At<'_>,
    context: &Context<'_>,
    faults: &mut Faults,
) -> Mount {
    let place = match &kind {
        MountKind::Bind { source, .. } => {
            let place = places::of(source, context.paths);
            if place == Place::Parent && !read_only {
                let message = format!(
                    "{} holds more than this service's data: whoever else uses anything in it would be taken for an intruder",
                    source.display()
                );
                at.fault(faults, message, "mount the directory itself, or write `:ro`");
            }
            place
        }
        MountKind::Volume { .. } | MountKind::Tmpfs { .. } | MountKind::File { .. } => Place::Data,
    };
    Mount {
        kind,
        target,
        read_only,
        // Nothing is asked of what can't be written to, and its fingerprint stays.
        no_storage: !read_only && place == Place::System,
    }
}

fn anonymous(at: &At<'_>, target: &str, faults: &mut Faults) {
    let message = format!("{target:?} is an anonymous volume: every node would have contents of its own");
    at.fault(faults, message, "name a volume that all nodes share, or use tmpfs");
}

fn relabel(at: &At<'_>, option: &str, faults: &mut Faults) {
    let message = format!("the option {option} is not carried out: Leasehold never relabels shared storage");
    at.warn(faults, message, "on SELinux hosts label the directory once, with chcon");
}

fn absolute(target: &str, at: &At<'_>, faults: &mut Faults) -> Option<String> {
    if !target.starts_with('/') {
        at.fault(faults, format!("the target {target:?} is not absolute"), "");
        return None;
    }
    let trimmed = target.trim_end_matches('/');
    Some(if trimmed.is_empty() {
        "/".to_owned()
    } else {
        trimmed.to_owned()
    })
}

fn bind(
    source: &str,
    propagation: Option<String>,
    at: &At<'_>,
    context: &Context<'_>,
    faults: &mut Faults,
) -> Option<MountKind> {
    if source.starts_with('~') {
        let message = format!("{source:?} depends on the home directory of whoever starts it");
        at.fault(faults, message, "write the absolute path");
        return None;
    }
    let source = context.paths.host(Path::new(source));
    Some(MountKind::Bind { source, propagation })
}

fn volume(
    key: &str,
    subpath: Option<String>,
    at: &At<'_>,
    context: &Context<'_>,
    faults: &mut Faults,
) -> Option<MountKind> {
    if context.top("volumes", key).is_none() {
        let remedy = format!("add {key} to the top-level volumes, or write ./{key} for a directory");
        at.fault(faults, format!("the volume {key:?} is not defined"), remedy);
        return None;
    }
    let key = key.to_owned();
    Some(MountKind::Volume { key, subpath })
}

/// The long form, field by field.
#[derive(Default)]
struct Long {
    kind: String,
    source: Option<String>,
    target: Option<String>,
    read_only: bool,
    propagation: Option<String>,
    subpath: Option<String>,
    size: Option<i64>,
    mode: Option<u32>,
}

fn long(item: &At<'_>, context: &Context<'_>, faults: &mut Faults) -> Option<Mount> {
    let known = [
        "type",
        "source",
        "target",
        "read_only",
        "bind",
        "volume",
        "tmpfs",
        "consistency",
    ];
    let mut long = Long::default();
    for field in item.map_of(faults, &known) {
        match field.name {
            "type" => long.kind = field.text(faults)?,
            "source" => long.source = field.text(faults),
            "target" => long.target = field.text(faults),
            "read_only" => long.read_only = field.bool(faults)?,
            "bind" => long.bind_options(&field, faults),
            "volume" => long.volume_options(&field, faults),
            "tmpfs" => long.tmpfs_options(&field, faults),
            _ => {}
        }
    }
    let Some(target) = long.target.take() else {
        item.fault(faults, "has a mount without a target", "");
        return None;
    };
    let target = absolute(&target, item, faults)?;
    let read_only = long.read_only;
    let kind = long.into_kind(&target, item, context, faults)?;
    Some(mount(kind, target, read_only, item, context, faults))
}

impl Long {
    fn bind_options(&mut self, at: &At<'_>, faults: &mut Faults) {
        for field in at.map_of(faults, &["propagation", "create_host_path", "selinux"]) {
            match field.name {
                "propagation" => {
                    let known = |text: &str| PROPAGATIONS.contains(&text).then(|| text.to_owned());
                    self.propagation = field.parsed(faults, "a propagation such as rslave", known);
                }
                "create_host_path" => {
                    if field.bool(faults) == Some(true) {
                        field.warn(
                            faults,
                            "is not carried out: an empty directory is no storage",
                            "create it yourself",
                        );
                    }
                }
                _ => relabel(&field, &field.node.scalar().unwrap_or_default(), faults),
            }
        }
    }

    fn volume_options(&mut self, at: &At<'_>, faults: &mut Faults) {
        for field in at.map_of(faults, &["nocopy", "subpath"]) {
            match field.name {
                "subpath" => self.subpath = field.text(faults),
                _ => {
                    if field.bool(faults) == Some(false) {
                        field.warn(faults, "is always true: mounting never fills a volume", "");
                    }
                }
            }
        }
    }

    fn tmpfs_options(&mut self, at: &At<'_>, faults: &mut Faults) {
        for field in at.map_of(faults, &["size", "mode"]) {
            match field.name {
                "size" => self.size = field.bytes(faults),
                _ => self.mode = mode(&field, faults),
            }
        }
    }

    fn into_kind(self, target: &str, item: &At<'_>, context: &Context<'_>, faults: &mut Faults) -> Option<MountKind> {
        match (self.kind.as_str(), self.source) {
            ("bind", Some(source)) => bind(&source, self.propagation, item, context, faults),
            ("volume", Some(source)) => volume(&source, self.subpath, item, context, faults),
            ("tmpfs", _) => Some(MountKind::Tmpfs {
                size: self.size,
                mode: self.mode,
            }),
            ("volume", None) => {
                anonymous(item, target, faults);
                None
            }
            ("bind", None) => {
                item.fault(faults, "has a bind mount without a source", "");
                None
            }
            ("image", _) => {
                item.fault(
                    faults,
                    "an image is not mounted: an engine below 28 can't",
                    "copy what it holds into a volume",
                );
                None
            }
            (kind, _) => {
                item.fault(
                    faults,
                    format!("{kind:?} is no type of mount that Leasehold knows"),
                    "use bind, volume or tmpfs",
                );
                None
            }
        }
    }
}

fn mode(at: &At<'_>, faults: &mut Faults) -> Option<u32> {
    let was_text = matches!(at.node.value, Value::Text(_));
    at.parsed(faults, "a mode such as 0440", |text| scalar::mode(text, was_text))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_one, faults, service};
    use super::*;

    fn show(keys: &str) -> String {
        let show = |mount: &Mount| {
            let source = match &mount.kind {
                MountKind::Bind { source, propagation } => {
                    format!(
                        "bind {}{}",
                        source.display(),
                        propagation.as_deref().unwrap_or_default()
                    )
                }
                MountKind::Volume { key, subpath } => format!("volume {key}{}", subpath.as_deref().unwrap_or_default()),
                MountKind::Tmpfs { size, mode } => format!("tmpfs {size:?} {mode:?}"),
                MountKind::File { source } => format!("file {}", source.display()),
            };
            let how = if mount.read_only { "ro" } else { "rw" };
            format!("{source} {} {how} {}", mount.target, mount.is_protected())
        };
        service(keys).0.mounts.iter().map(show).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn mounts_in_every_form() {
        for (keys, mounts) in [
            ("volumes: ['data:/x']", "volume data /x rw true"),
            ("volumes: ['data:/x/:ro']", "volume data /x ro false"),
            ("volumes: ['./a/../b:/x']", "bind /srv/mail/b /x rw true"),
            (
                "volumes: ['/etc/localtime:/etc/localtime:ro']",
                "bind /etc/localtime /etc/localtime ro false",
            ),
            ("volumes: ['../up:/x:rw,rslave,z']", "bind /srv/uprslave /x rw true"),
            ("volumes: ['.:/x:nocopy']", "bind /srv/mail /x rw true"),
            (
                "volumes: [{type: volume, source: data, target: /x, volume: {subpath: s, nocopy: true}}]",
                "volume datas /x rw true",
            ),
            (
                "volumes: [{type: bind, source: ./a, target: /x, read_only: true, bind: {propagation: rshared}}]",
                "bind /srv/mail/arshared /x ro false",
            ),
            (
                "volumes: [{type: tmpfs, target: /x, tmpfs: {size: 1m, mode: 01777}}]",
                "tmpfs Some(1048576) Some(1023) /x rw false",
            ),
            ("secrets: [key]", "file /srv/mail/key.txt /run/secrets/key ro false"),
            (
                "secrets: [{source: key, target: other}]",
                "file /srv/mail/key.txt /run/secrets/other ro false",
            ),
            (
                "secrets: [{source: key, target: /etc/key, mode: 0440}]",
                "file /srv/mail/key.txt /etc/key ro false",
            ),
            ("configs: [conf]", "file /etc/conf /conf ro false"),
        ] {
            assert_eq!(show(keys), mounts, "{keys}");
        }
        let (read, _) = service("tmpfs: /run");
        assert_eq!(read.tmpfs, ["/run"]);
        let (read, _) = service("tmpfs: ['/run', '/tmp:size=1m']");
        assert_eq!(read.tmpfs, ["/run", "/tmp:size=1m"]);
    }

    #[test]
    fn what_cannot_be_mounted_safely_is_refused() {
        for (keys, words) in [
            ("volumes: ['/var/lib/data']", ["anonymous volume", "name a volume"]),
            (
                "volumes: [{type: volume, target: /x}]",
                ["anonymous volume", "name a volume"],
            ),
            ("volumes: ['nowhere:/x']", ["not defined", "top-level volumes"]),
            ("volumes: ['data:x']", ["not absolute", "volumes"]),
            ("volumes: ['~/a:/x']", ["home directory", "absolute path"]),
            ("volumes: ['a:/b:ro:z']", ["is no mount", "source:target"]),
            ("volumes: ['data:/x:rx']", ["no option", "nocopy"]),
            ("volumes: ['data:/x', './a:/x/']", ["two mounts", "keep one"]),
            (
                "volumes: [{type: npipe, source: a, target: /x}]",
                ["no type of mount", "tmpfs"],
            ),
            ("volumes: [{type: bind, target: /x}]", ["without a source", ""]),
            ("volumes: [{type: bind, source: /x}]", ["without a target", ""]),
            (
                "volumes: [{type: bind, source: /x, target: /x, bind: {recursive: x}}]",
                ["bind.recursive", "comes along"],
            ),
            ("volumes: ['/:/host']", ["/ holds more than", "`:ro`"]),
            (
                "volumes: ['/mnt/:/mnt']",
                ["/mnt holds more than", "the directory itself"],
            ),
            (
                "volumes: [{type: bind, source: /var/lib, target: /x}]",
                ["/var/lib holds more than", "`:ro`"],
            ),
            (
                "volumes: [{type: image, source: i, target: /x}]",
                ["an image is not mounted", "volume"],
            ),
            ("volumes: {data: /x}", ["must be a list", ""]),
            ("secrets: [none]", ["not defined", "top-level secrets"]),
            ("secrets: [env]", ["secrets.env.environment", "`file:`"]),
            ("configs: [{target: /x}]", ["without a source", ""]),
        ] {
            assert_one(&faults("", keys), &words, keys);
        }
    }

    #[test]
    fn files_sockets_and_the_systems_own_places_are_no_storage() {
        for (source, protected) in [
            ("/var/run/docker.sock", false),
            ("/run/docker.sock", false),
            ("/dev/shm", false),
            ("/sys/fs/cgroup", false),
            ("/etc/localtime", false),
            ("/var/log/mail", false),
            ("/tmp", false),
            ("/tmp/x", true),
            ("/srv/x.sock", false),
            ("/etc/letsencrypt", true),
            ("/mnt/mail", true),
            ("/srv/mail/d", true),
            ("/var/lib/mail", true),
            ("/running", true),
            // Compose's own file stands in the project directory; a directory of that name does not.
            ("./compose.yaml", false),
            ("./not-there", true),
        ] {
            let mounts = service(&format!("volumes: ['{source}:/x']")).0.mounts;
            assert_eq!(mounts[0].is_protected(), protected, "{source}");
        }
        for keys in ["volumes: ['/:/host:ro']", "volumes: ['/mnt:/mnt:ro,rslave']"] {
            assert!(faults("", keys).is_empty(), "{keys}");
        }
    }

    #[test]
    fn what_is_not_done_for_a_mount_is_said() {
        for keys in [
            "volumes: ['./a:/x:Z']",
            "volumes: [{type: bind, source: ./a, target: /x, bind: {create_host_path: true}}]",
            "volumes: [{type: volume, source: data, target: /x, volume: {nocopy: false}}]",
            "secrets: [{source: key, mode: 0440}]",
            "volumes: ['own:/x']",
        ] {
            assert_eq!(service(keys).1.len(), 1, "{keys}");
        }
        assert!(service("volumes: ['own:/x']").1[0].contains("down -v"));
    }
}
