//! Finds, reads, fills in and merges the files of a project.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::fault::{Faults, Mark};
use super::interpolate::{self, Remark};
use super::layers::{self, Layers, Place};
use super::merge;
use super::paths::Paths;
use super::yaml::{self, Node};

/// Compose's own names of files, in its order of preference, and what is merged on top.
const DEFAULT_FILES: [&str; 4] = [
    "compose.yaml",
    "compose.yml",
    "docker-compose.yml",
    "docker-compose.yaml",
];

/// Where a project is read from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// The project directory on the Docker host.
    pub host_directory: PathBuf,
    /// The same directory as this process sees it.
    pub local_directory: PathBuf,
    /// Relative to the project directory or absolute on the host, in the order of merging; none means Compose's defaults.
    pub files: Vec<PathBuf>,
    /// Compose's project name where it is known already.
    pub project_name: Option<String>,
    /// The environment of this process, which goes before `.env`. `PWD` is replaced by the project directory; whatever
    /// else means the sidecar's own container (`HOSTNAME`, `HOME`, `PATH`) is better left out by the caller.
    pub environment: BTreeMap<String, String>,
}

/// The merged tree and what is needed to interpret it.
#[derive(Clone, Debug)]
pub(super) struct Loaded {
    pub(super) tree: Node,
    pub(super) name: String,
    pub(super) files: Vec<PathBuf>,
    pub(super) paths: Paths,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) remarks: Vec<Remark>,
}

/// One file that is read from here instead of from the disk: what an edit would make of it.
pub(super) type Instead<'a> = Option<(&'a Path, &'a str)>;

/// `None` when no file could be read; the faults say why.
pub(super) fn load(sources: &Sources, instead: Instead<'_>, faults: &mut Faults) -> Option<Loaded> {
    let paths = Paths::new(&sources.host_directory, &sources.local_directory);
    let mut environment = environment_of(sources, &paths, faults);
    let files = files_of(sources, &paths, &environment, faults);
    let mut layers = Layers::new(&paths, instead, faults);
    let mut read = Vec::new();
    for file in &files {
        read.extend(layers.documents(file).map(|documents| (file.clone(), documents)));
    }
    if read.is_empty() || read.len() < files.len() {
        return None;
    }
    let name = project_name(sources, &environment, read.iter().flat_map(|(_, documents)| documents));
    environment
        .entry("COMPOSE_PROJECT_NAME".to_owned())
        .or_insert_with(|| name.clone());
    let place = Place {
        directory: paths.host(Path::new("")),
        environment,
    };
    let tree = layers.together(read, &place)?;
    let remarks = layers.remarks;
    Some(Loaded {
        tree,
        name,
        files: files.iter().map(|file| paths.host(file)).collect(),
        paths,
        environment: place.environment,
        remarks,
    })
}

/// The environment of this process over `.env`.
fn environment_of(sources: &Sources, paths: &Paths, faults: &mut Faults) -> BTreeMap<String, String> {
    let name = Path::new(".env");
    // Compose passes over a directory, too.
    let path = paths.local(name).filter(|path| path.exists() && !path.is_dir());
    let found = path.map(|path| layers::read_env(paths, name, &path, &sources.environment, faults));
    let mut environment = found.unwrap_or_default();
    environment.extend(sources.environment.clone());
    environment.insert("PWD".to_owned(), sources.host_directory.display().to_string());
    environment
}

fn files_of(
    sources: &Sources,
    paths: &Paths,
    environment: &BTreeMap<String, String>,
    faults: &mut Faults,
) -> Vec<PathBuf> {
    if !sources.files.is_empty() {
        return sources.files.clone();
    }
    if let Some(list) = environment.get("COMPOSE_FILE").filter(|list| !list.is_empty()) {
        let separator = environment.get("COMPOSE_PATH_SEPARATOR").map_or(":", String::as_str);
        return list.split(separator).map(PathBuf::from).collect();
    }
    let exists = |name: &str| paths.local(Path::new(name)).is_some_and(|path| path.exists());
    let Some(base) = DEFAULT_FILES.into_iter().find(|name| exists(name)) else {
        let file = faults.add_file(&sources.host_directory.display().to_string());
        let remedy = format!(
            "mount the project directory of the host at {}",
            sources.local_directory.display()
        );
        faults.fault(
            Mark { file, line: 0 },
            "",
            "there is no compose.yaml in this directory",
            remedy,
        );
        return Vec::new();
    };
    let overrides = DEFAULT_FILES.map(|name| name.replacen(".y", ".override.y", 1));
    let over = overrides.into_iter().find(|name| exists(name));
    [base.to_owned()].into_iter().chain(over).map(PathBuf::from).collect()
}

/// The files that Compose would read, which may be named by `COMPOSE_FILE`.
#[must_use]
pub fn files(sources: &Sources) -> Vec<PathBuf> {
    let paths = Paths::new(&sources.host_directory, &sources.local_directory);
    let mut faults = Faults::default();
    let environment = environment_of(sources, &paths, &mut faults);
    let files = files_of(sources, &paths, &environment, &mut faults);
    files.iter().map(|file| paths.host(file)).collect()
}

/// The file that Compose merges on top of one of its own names, if there is one beside it.
#[must_use]
pub fn override_of(file: &Path) -> Option<PathBuf> {
    let name = file.file_name()?.to_str().filter(|name| DEFAULT_FILES.contains(name))?;
    let over = file.with_file_name(name.replacen(".y", ".override.y", 1));
    over.exists().then_some(over)
}

/// A file's own tree, as it stands there: where its lines are. Its documents are one on top of the other.
pub(super) fn own_tree(text: &str) -> Result<Node, yaml::Broken> {
    let documents = yaml::parse(text, 0)?.into_iter();
    let all = documents.reduce(|base, over| merge::merge(base, over, &mut Faults::default()));
    Ok(all.unwrap_or_default())
}

/// Why a file is no YAML.
pub(super) fn broken(file: usize, reason: &yaml::Broken, faults: &mut Faults) {
    let line = reason.line;
    faults.fault(
        Mark { file, line },
        "",
        format!("is no valid YAML: {}", reason.message),
        "",
    );
}

/// One sentence for a file that cannot be read.
pub(super) fn unreadable(error: &io::Error) -> String {
    format!("cannot be read: {error}")
}

/// Compose's order: told, `COMPOSE_PROJECT_NAME`, `name:` of the last file, the directory.
fn project_name<'n>(
    sources: &Sources,
    environment: &BTreeMap<String, String>,
    trees: impl Iterator<Item = &'n Node>,
) -> String {
    let told = sources.project_name.clone();
    let set = || {
        environment
            .get("COMPOSE_PROJECT_NAME")
            .filter(|name| !name.is_empty())
            .cloned()
    };
    let stated = || {
        let names = trees.filter_map(|tree| tree.get("name")?.node.scalar());
        let lookup = |key: &str| environment.get(key).cloned();
        names
            .last()
            .and_then(|name| Some(interpolate::fill(&name, &lookup).ok()?.text))
    };
    told.or_else(set)
        .or_else(stated)
        .unwrap_or_else(|| directory_name(&sources.host_directory))
}

fn directory_name(directory: &Path) -> String {
    let name = directory
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .to_ascii_lowercase();
    let allowed = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let name: String = name.chars().filter(allowed).collect();
    name.trim_start_matches(['_', '-']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::read;
    use super::super::testing::{Folder, HOST, REST, assert_one, file, read_files, said};
    use super::*;

    #[test]
    fn the_directory_gives_the_name_as_compose_makes_it() {
        for (directory, name) in [("/srv/Mail.Server", "mailserver"), ("/srv/_x-1", "x-1"), ("/", "")] {
            assert_eq!(directory_name(Path::new(directory)), name);
        }
    }

    #[test]
    fn the_projects_name_comes_from_the_nearest_source() {
        let text = file("", "", REST);
        let folder = Folder::new(&[("compose.yaml", &text)]);
        let mut sources = folder.sources();
        assert_eq!(read(&sources).unwrap().name, "mail");
        let named = Folder::new(&[("compose.yaml", &format!("name: ${{NODE}}-x\n{text}"))]);
        assert_eq!(read(&named.sources()).unwrap().name, "n1-x");
        sources.environment.insert("COMPOSE_PROJECT_NAME".into(), "set".into());
        assert_eq!(read(&sources).unwrap().name, "set");
        sources.project_name = Some("told".into());
        assert_eq!(read(&sources).unwrap().name, "told");
    }

    #[test]
    fn a_name_that_compose_would_refuse_is_refused() {
        for name in ["'Mail'", "a.b", "_a", "''"] {
            let found = said(&format!("name: {name}\n{}", file("", "", REST)));
            assert_one(&found, &["name: ", "lower-case"], name);
        }
    }

    #[test]
    fn all_faults_are_found_even_without_a_cluster() {
        let text = file("", "networks: [nowhere]", "").replace("x-leasehold: {cluster", "x-own: {cluster");
        assert_eq!(said(&text).len(), 2, "{:#?}", said(&text));
    }

    #[test]
    fn override_files_and_named_files_are_merged() {
        let over = "services:\n  s:\n    image: i:2\n    environment: {B: '2'}\n";
        let base = file("", "environment: [A=1]", REST);
        let files = [
            ("compose.yaml", base.as_str()),
            ("compose.override.yaml", over),
            ("sub/x.yaml", over),
        ];
        let project = read_files(&files).unwrap();
        let s = &project.groups["s"].services[0];
        assert_eq!((s.image.as_str(), s.environment.len()), ("i:2", 2));
        let paths = |names: [&str; 2]| names.map(|name| Path::new(HOST).join(name)).to_vec();
        assert_eq!(project.files, paths(["compose.yaml", "compose.override.yaml"]));
        let folder = Folder::new(&files);
        let mut sources = folder.sources();
        sources.files = vec!["compose.yaml".into()];
        assert_eq!(read(&sources).unwrap().groups["s"].services[0].image, "i:1");
        sources.files = vec!["/srv/mail/compose.yaml".into(), "sub/x.yaml".into()];
        assert_eq!(read(&sources).unwrap().files, paths(["compose.yaml", "sub/x.yaml"]));
        sources.files.clear();
        sources
            .environment
            .insert("COMPOSE_FILE".into(), "compose.yaml:sub/x.yaml".into());
        assert_eq!(read(&sources).unwrap().groups["s"].services[0].image, "i:2");
    }

    #[test]
    fn variables_come_from_the_environment_then_from_dotenv() {
        let text = file(
            "vips: ['${VIP}/24']",
            "hostname: ${NODE}\nlabels: {a: '${P:-${PWD}}', p: $COMPOSE_PROJECT_NAME}",
            REST,
        );
        let project = read_files(&[("compose.yaml", &text), (".env", "NODE=wrong\nVIP=192.0.2.${N:-7}\n")]).unwrap();
        let group = &project.groups["s"];
        assert_eq!(group.vips[0].address.to_string(), "192.0.2.7");
        assert_eq!(group.services[0].hostname.as_deref(), Some("n1"));
        assert_eq!(group.services[0].labels["a"], HOST);
        assert_eq!(group.services[0].labels["p"], "mail");
    }

    #[test]
    fn variables_that_are_missing_are_said_where_they_concern_us() {
        let web = format!("  web: {{image: $GONE, user: '${{GONE:?}}'}}\n{REST}");
        let project = read_files(&[("compose.yaml", &file("", "labels: {a: x$GONE}", &web))]).unwrap();
        assert_eq!(project.warnings.len(), 1);
        assert!(
            project.warnings[0].contains("services.s.labels.a: the variable GONE"),
            "{:?}",
            project.warnings
        );
        assert_one(
            &said(&file("", "user: ${GONE:?set it}", REST)),
            &["services.s.user", "GONE", "set it"],
            "required",
        );
        assert_one(
            &said(&file("", "user: 'a${'", REST)),
            &["services.s.user", "$$"],
            "template",
        );
    }

    #[test]
    fn files_that_cannot_be_read_are_named() {
        let good = file("", "", REST);
        let shown = |files: &[(&str, &str)], names: &[&str]| {
            let folder = Folder::new(files);
            let mut sources = folder.sources();
            sources.files = names.iter().map(PathBuf::from).collect();
            read(&sources).unwrap_err()[0].to_string()
        };
        for (files, names, parts) in [
            (
                &[][..],
                &[][..],
                ["/srv/mail: there is no compose.yaml", "mount the project directory"],
            ),
            (&[], &["gone.yaml"], ["gone.yaml: cannot be read", ""]),
            (&[], &["/etc/x.yaml"], ["/etc/x.yaml: is outside", "move it there"]),
            (
                &[("compose.yaml", "[]")],
                &[],
                ["compose.yaml: is no compose file", "mapping"],
            ),
            (
                &[("compose.yaml", "a:\n  b: [1")],
                &[],
                ["compose.yaml:", "is no valid YAML"],
            ),
            (
                &[("compose.yaml", "a: 1\na: 2\n")],
                &[],
                ["compose.yaml:2: is no valid YAML", "stands twice"],
            ),
            (
                &[("compose.yaml", "a: 1\nb: !secret []\n")],
                &[],
                ["compose.yaml:2: is no valid YAML", "the tag !secret"],
            ),
            (
                &[("compose.yaml", good.as_str()), (".env", "A=1\nB C\n")],
                &[],
                [".env:2: ", "no name"],
            ),
        ] {
            let fault = shown(files, names);
            assert!(parts.iter().all(|part| fault.contains(part)), "{fault}");
        }
    }

    #[test]
    fn all_faults_come_at_once_in_order() {
        let text = "volume: [x]\nservices:\n  s:\n    image: i:1\n    restart: always\n    x-leasehold: {vips: [x]}\n    ipc: host\n";
        let faults = read_files(&[("compose.yaml", text)]).unwrap_err();
        let places: Vec<_> = faults.iter().map(|fault| (fault.line, fault.key.as_str())).collect();
        assert_eq!(
            places,
            [
                (1, "volume"),
                (1, "x-leasehold"),
                (3, "services.s.profiles"),
                (3, "services.s.scale"),
                (3, "services.s.entrypoint"),
                (5, "services.s.restart"),
                (6, "services.s.x-leasehold.vips"),
                (7, "services.s.ipc"),
            ]
        );
        assert!(
            faults[5]
                .to_string()
                .starts_with("compose.yaml:5: services.s.restart: "),
            "{}",
            faults[5]
        );
    }

    #[test]
    fn unknown_keys_of_the_file_are_refused() {
        assert_one(
            &said(&format!(
                "version: '3'\nx-mine: 1\nvolume: {{}}\n{}",
                file("", "", REST)
            )),
            &["volume", "volumes?"],
            "top",
        );
    }
}
