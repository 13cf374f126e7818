//! What a container runs: the image's entrypoint and command, and what the service puts in their place.

use super::model::Service;

/// Programs that refuse to work unless they are PID 1.
const INIT_PROGRAMS: [&str; 4] = ["init", "systemd", "s6-svscan", "runsvdir-start"];
/// s6-overlay keeps its stages here.
const INIT_DIRECTORIES: [&str; 2] = ["/package/admin/s6", "/command/s6"];

/// The words that go behind the tether, put together as the engine does it: an entrypoint of the user drops the image's
/// command unless it is empty, and an empty command is no command of its own, so the image's counts.
#[must_use]
pub fn command_line(
    image_entrypoint: Option<&[String]>,
    image_cmd: Option<&[String]>,
    service: &Service,
) -> Vec<String> {
    let own_command = service.command.as_deref().filter(|words| !words.is_empty());
    let image_cmd = image_cmd.unwrap_or_default();
    let (entrypoint, default_command): (&[String], &[String]) = match service.entrypoint.as_deref() {
        None => (image_entrypoint.unwrap_or_default(), image_cmd),
        Some([]) => (&[], image_cmd),
        // One empty word is how `docker run --entrypoint ""` clears the entrypoint together with the image's command.
        Some([word]) if word.is_empty() => (&[], &[]),
        Some(words) => (words, &[]),
    };
    [entrypoint, own_command.unwrap_or(default_command)].concat()
}

/// Whether an entrypoint is an init system that works only as PID 1, where the tether must be.
#[must_use]
pub fn must_be_pid_one(entrypoint: &[String]) -> bool {
    let mut words = entrypoint.iter().map(String::as_str).peekable();
    let Some(first) = words.next() else {
        return false;
    };
    if is_init(first) {
        return true;
    }
    let is_shell = matches!(first.rsplit('/').next(), Some("sh" | "bash" | "ash" | "dash"));
    if !is_shell || words.next() != Some("-c") {
        return false;
    }
    let line = words.next().unwrap_or_default().trim_start();
    let line = line.strip_prefix("exec ").unwrap_or(line);
    line.split_whitespace().next().is_some_and(is_init)
}

fn is_init(program: &str) -> bool {
    let name = program.rsplit('/').next().unwrap_or_default();
    let is_path_or_systemd = program.starts_with('/') || name != "init";
    (INIT_PROGRAMS.contains(&name) && is_path_or_systemd)
        || INIT_DIRECTORIES.iter().any(|directory| program.starts_with(directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Option<Vec<String>> {
        match text {
            "-" => None,
            "[]" => Some(Vec::new()),
            "\"\"" => Some(vec![String::new()]),
            text => Some(text.split('|').map(str::to_owned).collect()),
        }
    }

    /// `-` is null, `[]` an empty list, `""` a list of one empty word, `|` parts words. Tried on engine 20.10 with images
    /// that have only an entrypoint and only a command.
    const GOLDEN: &str = r#"
        # image entrypoint | image cmd | service entrypoint | service command => runs
        -                  -            -        -        =>
        /e                 -            -        -        => /e
        -                  bash         -        -        => bash
        /e                 -d           -        -        => /e|-d
        /e                 -d           -        []       => /e|-d
        /e                 -d           -        -x|y     => /e|-x|y
        -                  bash         -        sleep|1  => sleep|1
        /e                 -d           /o       -        => /o
        /e                 -d           /o       []       => /o
        /e                 -d           /o|-q    -x       => /o|-q|-x
        /e                 -d           []       -        => -d
        /e                 -d           []       []       => -d
        /e                 -d           []       run      => run
        /e                 -d           ""       -        =>
        /e                 -d           ""       run      => run
        -                  bash         []       -        => bash
        /bin/sh|-c|serve   -            -        -        => /bin/sh|-c|serve
        /bin/sh|-c|serve   -            -        -x       => /bin/sh|-c|serve|-x
        -                  /bin/sh|-c|a -        -        => /bin/sh|-c|a
        /e                 /bin/sh|-c|a -        -        => /e|/bin/sh|-c|a
        /e                 /bin/sh|-c|a -        b        => /e|b
    "#;

    #[test]
    fn the_command_line_is_what_the_engine_would_run() {
        for row in GOLDEN
            .lines()
            .map(str::trim)
            .filter(|row| !row.is_empty() && !row.starts_with('#'))
        {
            let (inputs, runs) = row.split_once("=>").unwrap();
            let inputs: Vec<_> = inputs.split_whitespace().map(words).collect();
            let service = Service {
                entrypoint: inputs[2].clone(),
                command: inputs[3].clone(),
                ..Service::default()
            };
            let line = command_line(inputs[0].as_deref(), inputs[1].as_deref(), &service);
            assert_eq!(line.join("|"), runs.trim(), "{row}");
        }
    }

    #[test]
    fn init_systems_are_known_by_their_entrypoint() {
        for (entrypoint, answer) in [
            ("/init", true),
            ("/sbin/init", true),
            ("/lib/systemd/systemd", true),
            ("/usr/lib/systemd/systemd|--system", true),
            ("systemd", true),
            ("/bin/s6-svscan|/etc/s6", true),
            ("/package/admin/s6-overlay/libexec/preinit", true),
            ("/bin/sh|-c|exec /sbin/init", true),
            ("/bin/sh|-c|/init", true),
            ("init", false),
            ("/docker-entrypoint.sh|/init.sh", false),
            ("/usr/bin/tini|--|/run", false),
            ("/usr/bin/dumb-init|--", false),
            ("/bin/sh|-c|echo /init", false),
            ("/bin/sh", false),
            ("[]", false),
        ] {
            assert_eq!(must_be_pid_one(&words(entrypoint).unwrap()), answer, "{entrypoint}");
        }
    }
}
