//! `environment` and `env_file`.

use std::collections::BTreeMap;
use std::path::Path;

use super::context::Context;
use super::cursor::At;
use super::dotenv;
use super::fault::{Faults, Mark};
use super::files::unreadable;
use super::interpolate::Lookup;
use super::yaml::Value;
use leasehold_base::small_file;

/// The variables of a service: `environment` over its `env_file`s; a key without a value is taken out.
pub(super) fn read(service: &At<'_>, context: &Context<'_>, faults: &mut Faults) -> BTreeMap<String, String> {
    let stated = service.get("environment");
    let stated = stated.map(|at| at.pairs(faults)).unwrap_or_default();
    let stated: Vec<(String, Option<String>)> = stated
        .into_iter()
        .map(|pair| {
            if pair.key.is_empty() {
                pair.at.fault(faults, "has a variable without a name", "");
            }
            let value = pair.value.or_else(|| context.lookup(&pair.key));
            (pair.key, value)
        })
        .collect();
    let mut variables = BTreeMap::new();
    if let Some(at) = service.get("env_file") {
        // What is looked up in a file is the project's, then what `environment` says, then what stood further up.
        let known = |key: &str| {
            let own = || stated.iter().find(|(name, _)| name == key)?.1.clone();
            context.lookup(key).or_else(own)
        };
        for file in env_files(&at, faults) {
            let read = file.read(&variables, &known, context, faults);
            variables.extend(read);
        }
    }
    for (key, value) in stated {
        match value {
            Some(value) => drop(variables.insert(key, value)),
            None => drop(variables.remove(&key)),
        }
    }
    variables
}

struct EnvFile<'a> {
    at: At<'a>,
    path: String,
    required: bool,
    raw: bool,
}

fn env_files<'a>(at: &At<'a>, faults: &mut Faults) -> Vec<EnvFile<'a>> {
    let items = match at.node.value {
        Value::List(_) => at.list(faults),
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) | Value::Map(_) => {
            vec![at.clone()]
        }
    };
    items.into_iter().filter_map(|item| env_file(item, faults)).collect()
}

fn env_file<'a>(at: At<'a>, faults: &mut Faults) -> Option<EnvFile<'a>> {
    let mut file = EnvFile {
        path: at.node.scalar().unwrap_or_default(),
        required: true,
        raw: false,
        at,
    };
    if file.path.is_empty() {
        for field in file.at.map_of(faults, &["path", "required", "format"]) {
            match field.name {
                "path" => file.path = field.text(faults)?,
                "required" => file.required = field.bool(faults)?,
                _ => file.raw = field.parsed(faults, "raw", |text| (text == "raw").then_some(true))?,
            }
        }
    }
    if file.path.is_empty() {
        file.at.fault(faults, "has no path", "");
        return None;
    }
    Some(file)
}

impl EnvFile<'_> {
    fn read(
        &self,
        before: &BTreeMap<String, String>,
        known: &Lookup<'_>,
        context: &Context<'_>,
        faults: &mut Faults,
    ) -> Vec<(String, String)> {
        let name = Path::new(&self.path);
        let Some(path) = context.paths.local(name) else {
            let message = format!("{} is outside the project directory", self.path);
            self.at.fault(
                faults,
                message,
                "move it there: only that directory is mounted into the sidecar",
            );
            return Vec::new();
        };
        if !self.required && !path.exists() {
            return Vec::new();
        }
        match small_file::read_text(&path, small_file::MAX) {
            Ok(text) if self.raw => dotenv::parse_raw(&text),
            Ok(text) => dotenv::parse(&text, before, known).unwrap_or_else(|broken| {
                let file = faults.add_file(&context.paths.shown(Path::new(&self.path)));
                let line = broken.line;
                faults.fault(Mark { file, line }, "", broken.message, "");
                Vec::new()
            }),
            Err(error) => {
                let message = format!("{} {}", self.path, unreadable(&error));
                self.at
                    .fault(faults, message, "create it, or write `required: false` beside its path");
                Vec::new()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{REST, assert_one, faults, file, read_files};

    fn variables(keys: &str, files: &[(&str, &str)]) -> String {
        let text = file("", keys, REST);
        let files: Vec<_> = [("compose.yaml", text.as_str())]
            .into_iter()
            .chain(files.iter().copied())
            .collect();
        let project = read_files(&files).unwrap_or_else(|faults| panic!("{keys}: {faults:#?}"));
        format!("{:?}", project.groups["s"].services[0].environment)
    }

    #[test]
    fn files_in_every_form() {
        let files = [
            ("a.env", "A=1\nB=$NODE-$Z\nC=3\n"),
            ("sub/b.env", "export B='x y' # c\n"),
            ("raw.env", "A=\"$X\"\n"),
            ("one.env", "HOST=db\nPORT: 5432\n"),
            ("two.env", "URL=tcp://$HOST:${PORT:-1}/$NAME\n"),
        ];
        for (keys, variables_read) in [
            ("env_file: a.env", r#"{"A": "1", "B": "n1-", "C": "3"}"#),
            ("env_file: [./a.env, sub/b.env]", r#"{"A": "1", "B": "x y", "C": "3"}"#),
            ("env_file: [{path: /srv/mail/sub/b.env}]", r#"{"B": "x y"}"#),
            ("env_file: [{path: gone.env, required: false}]", "{}"),
            (
                "env_file: [one.env, two.env]\nenvironment: {NAME: n}",
                r#"{"HOST": "db", "NAME": "n", "PORT": "5432", "URL": "tcp://db:5432/n"}"#,
            ),
            (
                "env_file: [two.env, one.env]",
                r#"{"HOST": "db", "PORT": "5432", "URL": "tcp://:1/"}"#,
            ),
            ("env_file: {path: raw.env, format: raw}", r#"{"A": "\"$X\""}"#),
            (
                "env_file: a.env\nenvironment: {A: 2, B: , C: ''}",
                r#"{"A": "2", "C": ""}"#,
            ),
        ] {
            assert_eq!(variables(keys, &files), variables_read, "{keys}");
        }
    }

    #[test]
    fn files_that_are_not_there_are_faults() {
        for (keys, words) in [
            ("env_file: gone.env", ["gone.env cannot be read", "required: false"]),
            (
                "env_file: /etc/x.env",
                ["outside the project directory", "move it there"],
            ),
            ("env_file: [{format: raw}]", ["has no path", ""]),
            (
                "env_file: [{path: key.txt, required: false, frmat: raw}]",
                ["frmat", "did you mean format?"],
            ),
            ("environment: ['=x']", ["without a name", ""]),
        ] {
            assert_one(&faults("", keys), &words, keys);
        }
    }
}
