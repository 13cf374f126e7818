//! The files of a project become one tree: their documents, what they include, what their services extend.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::cursor::At;
use super::fault::{Faults, Mark};
use super::files::{Instead, broken, unreadable};
use super::interpolate::{self, Remark};
use super::paths::Paths;
use super::yaml::{self, Entry, Node, Value};
use super::{dotenv, elsewhere, merge};
use leasehold_base::small_file;

/// What an included file brings; everything else in it is the includer's affair.
const IMPORTED: [&str; 6] = ["services", "volumes", "networks", "secrets", "configs", "models"];

/// Where relative paths begin, and what variables stand for.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// On the Docker host.
    pub(super) directory: PathBuf,
    pub(super) environment: BTreeMap<String, String>,
}

impl Place {
    fn lookup(&self, key: &str) -> Option<String> {
        self.environment.get(key).cloned()
    }
}

/// Reads files, and remembers what came up while they were filled in.
pub(super) struct Layers<'a> {
    paths: &'a Paths,
    instead: Instead<'a>,
    pub(super) faults: &'a mut Faults,
    pub(super) remarks: Vec<Remark>,
    /// The files on the way to the one that is being read, by their paths on the host.
    trail: Vec<PathBuf>,
}

impl<'a> Layers<'a> {
    pub(super) fn new(paths: &'a Paths, instead: Instead<'a>, faults: &'a mut Faults) -> Self {
        Self {
            paths,
            instead,
            faults,
            remarks: Vec::new(),
            trail: Vec::new(),
        }
    }

    /// The documents of a file, as they stand there; none where it can't be read.
    pub(super) fn documents(&mut self, name: &Path) -> Option<Vec<Node>> {
        let file = self.faults.add_file(&self.paths.shown(name));
        let whole = Mark { file, line: 0 };
        let Some(path) = self.paths.local(name) else {
            let remedy = "move it there: only that directory is mounted into the sidecar";
            self.faults.fault(whole, "", "is outside the project directory", remedy);
            return None;
        };
        let given = self
            .instead
            .filter(|(file, _)| self.paths.host(file) == self.paths.host(name))
            .map(|(_, text)| text.to_owned());
        let text = match given.map_or_else(|| small_file::read_text(&path, small_file::MAX), Ok) {
            Ok(text) => text,
            Err(error) => {
                self.faults.fault(whole, "", unreadable(&error), "");
                return None;
            }
        };
        match yaml::parse(&text, file) {
            Ok(documents) if documents.iter().all(|node| matches!(node.value, Value::Map(_))) => Some(documents),
            Ok(_) => {
                self.faults
                    .fault(whole, "", "is no compose file: its top level is not a mapping", "");
                None
            }
            Err(reason) => {
                broken(file, &reason, self.faults);
                None
            }
        }
    }

    /// Puts the documents of files together, in their order.
    pub(super) fn together(&mut self, files: Vec<(PathBuf, Vec<Node>)>, place: &Place) -> Option<Node> {
        let mut tree: Option<Node> = None;
        for (file, documents) in files {
            self.trail.push(self.paths.host(&file));
            for mut document in documents {
                interpolate::fill_tree(&mut document, &|key| place.lookup(key), self.faults, &mut self.remarks);
                let document = self.included(document, place);
                let document = self.extended(document, &file, place);
                tree = Some(merge::merge(tree.unwrap_or_default(), document, self.faults));
            }
            self.trail.pop();
        }
        tree
    }

    /// A document on top of what it includes.
    fn included(&mut self, mut document: Node, place: &Place) -> Node {
        let Some(entry) = document.take("include") else {
            return document;
        };
        let holder = Node::new(Value::Map(vec![entry]), document.mark);
        let Some(list) = At::root(&holder).get("include") else {
            return document;
        };
        for item in list.list(self.faults) {
            if let Some(imported) = self.include(&item, place) {
                document = merge::import(imported, document, self.faults);
            }
        }
        document
    }

    /// What one entry of `include` brings.
    fn include(&mut self, item: &At<'_>, place: &Place) -> Option<Node> {
        let (mut files, mut directory, mut env_files) = (item.node.scalar().into_iter().collect(), None, None);
        if item.node.scalar().is_none() {
            for field in item.map_of(self.faults, &["path", "project_directory", "env_file"]) {
                match field.name {
                    "path" => files = field.strings(self.faults),
                    "project_directory" => directory = field.text(self.faults),
                    _ => env_files = Some(field.strings(self.faults)),
                }
            }
        }
        let Some(first) = files.first() else {
            item.fault(self.faults, "has an entry without a path", "");
            return None;
        };
        if let Some(far) = files.iter().find(|file| is_remote(file)) {
            let message = format!("{far} lies elsewhere: nothing is fetched");
            item.fault(self.faults, message, "put it into the project directory");
            return None;
        }
        let files: Vec<PathBuf> = files.iter().map(|file| place.directory.join(file)).collect();
        if files.iter().any(|file| self.trail.contains(&self.paths.host(file))) {
            item.fault(
                self.faults,
                format!("{first} includes itself"),
                "take one of the two out",
            );
            return None;
        }
        let directory = match directory {
            Some(directory) => place.directory.join(directory),
            None => files.first()?.parent().map(Path::to_path_buf)?,
        };
        let environment = self.environment(item, &directory, env_files, place);
        let inner = Place { directory, environment };
        let mut read = Vec::new();
        for file in files {
            let documents = self.documents(&file)?;
            read.push((file, documents));
        }
        let mut tree = self.together(read, &inner)?;
        elsewhere::project(&mut tree, &inner);
        self.unread(&tree);
        let mark = tree.mark;
        let mut entries = tree.into_entries();
        entries.retain(|entry| IMPORTED.contains(&entry.key.as_str()));
        Some(Node::new(Value::Map(entries), mark))
    }

    /// What of an included file nobody reads, though it is ours.
    fn unread(&mut self, tree: &Node) {
        if let Some(own) = At::root(tree).get("x-leasehold") {
            let message = "is not read from a file that another includes";
            own.fault(self.faults, message, "write it into the file that includes it");
        }
    }

    /// The variables of an included file: what is known already goes first.
    fn environment(
        &mut self,
        item: &At<'_>,
        directory: &Path,
        env_files: Option<Vec<String>>,
        place: &Place,
    ) -> BTreeMap<String, String> {
        let named = env_files.is_some();
        let files = match env_files {
            Some(files) => files.iter().map(|file| place.directory.join(file)).collect(),
            None => vec![directory.join(".env")],
        };
        let mut found = BTreeMap::new();
        for file in files.iter().filter(|file| *file != Path::new("/dev/null")) {
            let path = self.paths.local(file).filter(|path| path.is_file());
            match path {
                Some(path) => found.extend(read_env(self.paths, file, &path, &place.environment, self.faults)),
                None if named => {
                    let shown = self.paths.shown(file);
                    let remedy = "put it there, or take it out of env_file";
                    item.fault(
                        self.faults,
                        format!("{shown} is no file of the project directory"),
                        remedy,
                    );
                }
                None => {}
            }
        }
        found.extend(place.environment.clone());
        found
    }

    /// A document whose services are put onto those that they extend.
    fn extended(&mut self, mut document: Node, file: &Path, place: &Place) -> Node {
        let Some(services) = document.get("services").map(|entry| entry.node.clone()) else {
            return document;
        };
        let extends = |entry: &&Entry| entry.node.get("extends").is_some();
        for entry in services.entries().iter().filter(extends) {
            let chain = vec![(self.paths.host(file), entry.key.clone())];
            let whole = self.service(&entry.key, &services, chain, place);
            let slot = document
                .get_mut("services")
                .and_then(|all| all.node.get_mut(&entry.key));
            if let (Some(whole), Some(slot)) = (whole, slot) {
                slot.node = whole;
            }
        }
        document
    }

    /// A service with everything that it extends.
    fn service(&mut self, name: &str, services: &Node, chain: Vec<(PathBuf, String)>, place: &Place) -> Option<Node> {
        let all = At::root(services);
        let at = all.get(name)?;
        let mut own = at.node.clone();
        let Some(extends) = at.get("extends") else {
            return Some(own);
        };
        own.take("extends");
        let (mut base, mut other) = (extends.node.scalar(), None);
        if base.is_none() {
            for field in extends.map_of(self.faults, &["service", "file"]) {
                match field.name {
                    "service" => base = field.text(self.faults),
                    _ => other = field.text(self.faults),
                }
            }
        }
        let Some(base) = base else {
            self.cannot_extend(&extends, name, "names no service", "write `extends: {service: NAME}`");
            return Some(own);
        };
        let found = match &other {
            None => self.base_here(name, &base, services, &chain, place),
            Some(file) => self.base_elsewhere(name, &base, &place.directory.join(file), &chain, place),
        };
        match found {
            Found::Service(found) => Some(merge::extend(found, own, self.faults)),
            Found::Told => Some(own),
            Found::Nothing => {
                let place = other.map_or_else(|| "this file".to_owned(), |file| file.clone());
                let message = format!("there is no service {base} in {place}");
                self.cannot_extend(&extends, name, &message, "");
                Some(own)
            }
            Found::Circle => {
                let message = format!("{base} extends this service in turn");
                self.cannot_extend(&extends, name, &message, "take one of the two out");
                Some(own)
            }
        }
    }

    fn cannot_extend(&mut self, extends: &At<'_>, name: &str, message: &str, remedy: &str) {
        let key = format!("services.{name}.extends");
        self.faults.fault(extends.mark, &key, message, remedy);
    }

    fn base_here(
        &mut self,
        name: &str,
        base: &str,
        services: &Node,
        chain: &[(PathBuf, String)],
        place: &Place,
    ) -> Found {
        let Some((file, _)) = chain.last() else {
            return Found::Nothing;
        };
        let next = (file.clone(), base.to_owned());
        if chain.contains(&next) {
            return Found::Circle;
        }
        let chain = [chain, &[next]].concat();
        let found = self.service(base, services, chain, place);
        let copies: Vec<Remark> = self.remarks.iter().filter_map(|remark| remark.of(base, name)).collect();
        self.remarks.extend(copies);
        found.map_or(Found::Nothing, Found::Service)
    }

    fn base_elsewhere(
        &mut self,
        name: &str,
        base: &str,
        file: &Path,
        chain: &[(PathBuf, String)],
        place: &Place,
    ) -> Found {
        let next = (self.paths.host(file), base.to_owned());
        if chain.contains(&next) {
            return Found::Circle;
        }
        let Some(documents) = self.documents(file) else {
            return Found::Told;
        };
        let before = self.remarks.len();
        let mut tree = Node::default();
        for mut document in documents {
            interpolate::fill_tree(&mut document, &|key| place.lookup(key), self.faults, &mut self.remarks);
            tree = merge::merge(tree, document, self.faults);
        }
        let inner = Place {
            directory: file.parent().map(Path::to_path_buf).unwrap_or_default(),
            environment: place.environment.clone(),
        };
        let services = tree.get("services").map(|entry| entry.node.clone()).unwrap_or_default();
        let chain = [chain, &[next]].concat();
        let found = self.service(base, &services, chain, &inner);
        let remarks = self.remarks.split_off(before);
        self.remarks
            .extend(remarks.iter().filter_map(|remark| remark.of(base, name)));
        let Some(mut found) = found else {
            return Found::Nothing;
        };
        elsewhere::service(&mut found, &inner.directory);
        Found::Service(found)
    }
}

/// What a service extends.
enum Found {
    Service(Node),
    Nothing,
    Circle,
    /// Why not has been said.
    Told,
}

/// Whether Compose would fetch it.
fn is_remote(file: &str) -> bool {
    file.contains("://") || file.starts_with("git@") || file.starts_with("oci:")
}

/// The pairs of a file such as `.env`; what is known already goes before what stands in it.
pub(super) fn read_env(
    paths: &Paths,
    name: &Path,
    path: &Path,
    known: &BTreeMap<String, String>,
    faults: &mut Faults,
) -> BTreeMap<String, String> {
    let file = faults.add_file(&paths.shown(name));
    let text = match small_file::read_text(path, small_file::MAX) {
        Ok(text) => text,
        Err(error) => {
            faults.fault(Mark { file, line: 0 }, "", unreadable(&error), "");
            return BTreeMap::new();
        }
    };
    match dotenv::parse(&text, &BTreeMap::new(), &|key| known.get(key).cloned()) {
        Ok(pairs) => pairs.into_iter().collect(),
        Err(wrong) => {
            let line = wrong.line;
            faults.fault(Mark { file, line }, "", wrong.message, "");
            BTreeMap::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::Service;
    use super::super::testing::{CLUSTER, LINES, REST, file, read_files};

    const BASE: &str =
        "services:\n  base:\n    image: b:$V\n    env_file: b.env\n    volumes: ['./d:/d']\n    user: $GONE\n";

    fn read_s(files: &[(&str, &str)]) -> (Service, Vec<String>) {
        let project = read_files(files).unwrap_or_else(|faults| panic!("{faults:#?}"));
        (project.groups["s"].services[0].clone(), project.warnings)
    }

    fn faults(files: &[(&str, &str)]) -> String {
        let faults = read_files(files).unwrap_err();
        faults.iter().map(|fault| format!("{fault}\n")).collect()
    }

    #[test]
    fn a_service_of_another_file_keeps_its_paths_and_its_remarks() {
        let own = file("", "extends: {file: sub/base.yaml, service: base}", REST).replace("    image: i:1\n", "");
        let files = [
            ("compose.yaml", own.as_str()),
            ("sub/base.yaml", BASE),
            ("sub/b.env", "A=$V\n"),
            (".env", "V=7\n"),
        ];
        let (service, warnings) = read_s(&files);
        assert_eq!(
            (service.image.as_str(), service.environment["A"].as_str()),
            ("b:7", "7")
        );
        let super::super::model::MountKind::Bind { source, .. } = &service.mounts[0].kind else {
            panic!("{:?}", service.mounts)
        };
        assert_eq!(source, std::path::Path::new("/srv/mail/sub/d"));
        assert!(
            warnings
                .iter()
                .any(|warning| warning.starts_with("sub/base.yaml:6: services.base.user: the variable GONE")),
            "{warnings:#?}"
        );
    }

    #[test]
    fn what_can_not_be_extended_is_said() {
        let with = |keys: &str| file("", keys, REST);
        for (keys, words) in [
            ("extends: nobody", "there is no service nobody in this file"),
            (
                "extends: {file: sub/base.yaml, service: nobody}",
                "there is no service nobody in sub/base.yaml",
            ),
            ("extends: {file: gone.yaml, service: base}", "gone.yaml: cannot be read"),
            ("extends: s", "s extends this service in turn"),
            (
                "extends: {file: ../x.yaml, service: base}",
                "outside the project directory",
            ),
            ("extends: {files: x}", "did you mean file?"),
        ] {
            let text = with(keys);
            let found = faults(&[("compose.yaml", &text), ("sub/base.yaml", BASE)]);
            assert!(found.contains(words), "{keys}: {found}");
        }
        let circle = format!("  t:\n    extends: u\n  u:\n    extends: t\n{REST}");
        let found = faults(&[("compose.yaml", &file("", "", &circle))]);
        assert!(found.contains("extends this service in turn"), "{found}");
    }

    #[test]
    fn an_included_project_is_read_where_it_lies() {
        let own = format!("{CLUSTER}include: [inc/app.yaml]\nservices:\n  s: {{user: me}}\n");
        let app = format!(
            "services:\n  s:\n    image: a:$V\n{LINES}    x-leasehold: {{}}\n    environment: [V, W]\n    env_file: a.env\n    \
             volumes: ['./d:/d', 'v:/v']\n    secrets: [k]\nvolumes: {{v: }}\nsecrets: {{k: {{file: k.txt}}}}\n"
        );
        let files = [
            ("compose.yaml", own.as_str()),
            ("inc/app.yaml", &app),
            ("inc/.env", "V=inner\nW=w\n"),
            ("inc/a.env", "A=$V\n"),
            (".env", "V=outer\n"),
        ];
        let (service, _) = read_s(&files);
        assert_eq!(
            (service.image.as_str(), service.user.as_deref()),
            ("a:outer", Some("me"))
        );
        let found: Vec<_> = service
            .environment
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        assert_eq!(found, ["A=outer", "V=outer", "W=w"]);
        let sources: Vec<_> = service.mounts.iter().map(|mount| format!("{:?}", mount.kind)).collect();
        assert!(
            sources[0].contains("/srv/mail/inc/d") && sources[2].contains("/srv/mail/inc/k.txt"),
            "{sources:#?}"
        );
    }

    #[test]
    fn what_can_not_be_included_is_said() {
        let own = file("", "", REST);
        for (include, words) in [
            ("[gone.yaml]", "gone.yaml: cannot be read"),
            ("[compose.yaml]", "includes itself"),
            ("['https://example.test/x.git']", "nothing is fetched"),
            ("[{env_file: x}]", "without a path"),
            ("[{path: a.yaml, env_file: gone.env}]", "gone.env is no file"),
            ("[b.yaml]", "is not read from a file that another includes"),
            ("x", "must be a list"),
        ] {
            let text = format!("include: {include}\n{own}");
            let found = faults(&[
                ("compose.yaml", &text),
                ("a.yaml", "services: {}\n"),
                ("b.yaml", CLUSTER),
            ]);
            assert!(found.contains(words), "{include}: {found}");
        }
    }

    #[test]
    fn several_documents_and_an_override_file_are_one_project() {
        let own = format!(
            "{}---\nservices:\n  s:\n    ports: [81]\n",
            file("", "ports: [80]\nuser: a", REST)
        );
        let over = "services:\n  s:\n    ports: !override [90]\n    user: !reset null\n";
        let (service, _) = read_s(&[("compose.yaml", &own)]);
        assert_eq!(service.ports.len(), 2);
        let (service, _) = read_s(&[("compose.yaml", &own), ("compose.override.yaml", over)]);
        assert_eq!(
            (service.ports.len(), service.ports[0].target, service.user),
            (1, 90, None)
        );
    }
}
