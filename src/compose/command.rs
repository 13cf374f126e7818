//! What a container runs: the image's entrypoint and command, and what the service puts in their place. And whether that can
//! run behind a tether.

use std::fmt;

use leasehold_base::own_init::Lent;

use super::model::Service;

/// Programs that refuse to work unless they are PID 1, and want nothing else: stages of s6-overlay, s6-linux-init and runit.
const INITS: [&str; 4] = ["s6-overlay-suexec", "s6-linux-init", "runit-init", "runit"];
/// s6-overlay keeps its first stages here.
const INIT_DIRECTORY: &str = "/package/admin/s6-overlay";
/// Where distributions keep the init of a whole system.
const SYSTEM_DIRECTORIES: [&str; 2] = ["/sbin/", "/usr/sbin/"];

/// An init that must be PID 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Init {
    /// It is content with a PID namespace of its own.
    Own,
    /// systemd, or whatever a distribution starts as `/sbin/init`: it wants the cgroups as well.
    System,
}

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

/// The init that a command line starts, if it is one that must be PID 1, where the tether is.
#[must_use]
pub fn init_of(line: &[String]) -> Option<Init> {
    let mut words = line.iter().map(String::as_str);
    let first = words.next()?;
    if let Some(init) = init(first) {
        return Some(init);
    }
    let is_shell = matches!(first.rsplit('/').next(), Some("sh" | "bash" | "ash" | "dash"));
    if !is_shell || words.next() != Some("-c") {
        return None;
    }
    let line = words.next().unwrap_or_default().trim_start();
    let line = line.strip_prefix("exec ").unwrap_or(line);
    line.split_whitespace().next().and_then(init)
}

fn init(program: &str) -> Option<Init> {
    let name = program.rsplit('/').next().unwrap_or_default();
    let is_system = SYSTEM_DIRECTORIES
        .iter()
        .any(|directory| program.strip_prefix(directory) == Some("init"));
    if name == "systemd" || is_system {
        return Some(Init::System);
    }
    let is_init = (name == "init" && program.starts_with('/')) || INITS.contains(&name);
    (is_init || program.starts_with(INIT_DIRECTORY)).then_some(Init::Own)
}

/// Why what a service starts can't run behind a tether.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// This must be PID 1, and the file does not say that it is given what that takes.
    WantsKey(String),
    /// This is the init of a whole system.
    System(String),
    /// Only root can be given a namespace, and this is the user.
    User(String),
}

/// Whether a command line can run behind a tether, as the file has the service.
///
/// # Errors
/// [`Unfit`]: why not.
pub fn fits(line: &[String], service: &Service, image_user: Option<&str>) -> Result<(), Unfit> {
    let user = service.user.as_deref().or(image_user).unwrap_or_default();
    match init_of(line) {
        Some(Init::System) => Err(Unfit::System(line.join(" "))),
        Some(Init::Own) if !service.own_init => Err(Unfit::WantsKey(line.join(" "))),
        Some(Init::Own) | None if service.own_init && !is_root(user) => Err(Unfit::User(user.to_owned())),
        Some(Init::Own) | None => Ok(()),
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WantsKey(line) => write!(
                f,
                "starts {line}, which must be PID 1, where the tether is: write `own_init: true` into its x-leasehold, or start \
                 its program directly, by `entrypoint` there"
            ),
            Self::System(line) => write!(
                f,
                "starts {line}, the init of a whole system, such as systemd: it must be PID 1 and wants to write the cgroups, \
                 which no protected container may; start its program directly, by `entrypoint` in its x-leasehold"
            ),
            Self::User(user) => write!(
                f,
                "has own_init and runs as user {user}: only root can make the PID namespace; take `user` out (`user: root` where \
                 the image sets one), and let the image's init change the user, as with PUID"
            ),
        }
    }
}

/// A user as compose files and images name it; nothing is root.
fn is_root(user: &str) -> bool {
    matches!(user.split(':').next(), None | Some("" | "0" | "root"))
}

/// What a container gets beyond its file for an init of its own, and loses before that starts.
#[must_use]
pub fn lent(service: &Service) -> Vec<Lent> {
    let named = |list: &[String], name: &str| {
        list.iter().any(|one| {
            let one = one.to_ascii_uppercase();
            let one = one.strip_prefix("CAP_").unwrap_or(&one);
            one == name || one == "ALL"
        })
    };
    let is_lent = |one: &Lent| {
        let name = one.name();
        // Engines give it unless the file takes it away.
        let by_default = *one != Lent::SysAdmin && !named(&service.cap_drop, name);
        service.own_init && !by_default && !named(&service.cap_add, name)
    };
    Lent::ALL.into_iter().filter(is_lent).collect()
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
            ("/init", Some(Init::Own)),
            ("/package/admin/s6-overlay/libexec/preinit", Some(Init::Own)),
            ("/command/s6-overlay-suexec|x", Some(Init::Own)),
            ("/usr/bin/s6-linux-init|-c|/etc", Some(Init::Own)),
            ("runit-init", Some(Init::Own)),
            ("/bin/sh|-c|/init", Some(Init::Own)),
            ("/sbin/init", Some(Init::System)),
            ("/usr/sbin/init", Some(Init::System)),
            ("/lib/systemd/systemd", Some(Init::System)),
            ("/usr/lib/systemd/systemd|--system", Some(Init::System)),
            ("systemd", Some(Init::System)),
            ("/bin/sh|-c|exec /sbin/init", Some(Init::System)),
            // Content with any number.
            ("/bin/s6-svscan|/etc/s6", None),
            ("/command/s6-setuidgid|app|serve", None),
            ("/usr/sbin/runsvdir-start", None),
            ("/sbin/my_init", None),
            ("init", None),
            ("/docker-entrypoint.sh|/init.sh", None),
            ("/usr/bin/tini|--|/run", None),
            ("/usr/bin/dumb-init|--", None),
            ("/bin/sh|-c|echo /init", None),
            ("/bin/sh", None),
            ("[]", None),
        ] {
            assert_eq!(init_of(&words(entrypoint).unwrap()), answer, "{entrypoint}");
        }
    }

    #[test]
    fn an_init_wants_its_key_and_root() {
        let told = |line: &str, own_init, user: Option<&str>, image_user| {
            let service = Service {
                own_init,
                user: user.map(str::to_owned),
                ..Service::default()
            };
            fits(&words(line).unwrap(), &service, image_user).err()
        };
        let key = Some(Unfit::WantsKey("/init -x".to_owned()));
        let user = |name: &str| Some(Unfit::User(name.to_owned()));
        for (found, expected) in [
            (told("/init|-x", false, None, None), key),
            (told("/init", true, None, None), None),
            (told("/init", true, Some("root:mail"), Some("app")), None),
            (told("/init", true, Some("0"), None), None),
            (told("/init", true, None, Some("app")), user("app")),
            (told("/init", true, Some("1000:0"), None), user("1000:0")),
            (told("/start", true, Some("app"), None), user("app")),
            (told("/start", false, Some("app"), None), None),
            (
                told("/sbin/init", true, None, None),
                Some(Unfit::System("/sbin/init".to_owned())),
            ),
        ] {
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn only_what_the_file_does_not_ask_for_is_lent() {
        let all = |names: &str| names.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let lent_to = |own_init, add: &str, drop: &str| {
            let (cap_add, cap_drop) = (all(add), all(drop));
            lent(&Service {
                own_init,
                cap_add,
                cap_drop,
                ..Service::default()
            })
        };
        assert_eq!(lent_to(false, "", "ALL"), []);
        assert_eq!(lent_to(true, "NET_ADMIN", ""), [Lent::SysAdmin]);
        assert_eq!(lent_to(true, "", "cap_setpcap"), [Lent::SysAdmin, Lent::Setpcap]);
        assert_eq!(lent_to(true, "", "ALL"), Lent::ALL);
        assert_eq!(lent_to(true, "SETPCAP SYS_CHROOT", "ALL"), [Lent::SysAdmin]);
        for add in ["CAP_SYS_ADMIN", "all"] {
            assert_eq!(lent_to(true, add, ""), [], "{add}");
        }
    }
}
