//! `leasehold man DIR`: the manual, a page for each verb.

use std::path::Path;

use anyhow::{Context, Result};

use super::answer::Answer;
use super::command;

pub(super) fn write(directory: &Path) -> Result<Answer> {
    let place = directory.display();
    std::fs::create_dir_all(directory)
        .with_context(|| format!("making the directory {place}: name one that can be written, `leasehold man DIR`"))?;
    clap_mangen::generate_to(command(), directory).with_context(|| {
        format!("writing the pages into {place}: name a directory that can be written, `leasehold man DIR`")
    })?;
    Ok(Answer::good(format!(
        "written: read them with `man -l {place}/leasehold.1`"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pages that a command and all verbs below it should have.
    fn expected(command: &clap::Command, name: &str, pages: &mut Vec<String>) {
        pages.push(format!("{name}.1"));
        for verb in command.get_subcommands() {
            expected(verb, &format!("{name}-{}", verb.get_name()), pages);
        }
    }

    #[test]
    fn every_verb_has_a_page() {
        let directory = std::env::temp_dir().join(format!("leasehold-man-{}", std::process::id()));
        write(&directory).unwrap();
        let mut pages = Vec::new();
        expected(&command(), "leasehold", &mut pages);
        pages.sort_unstable();
        let entries = std::fs::read_dir(&directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        let mut written: Vec<String> = entries.map(|name| name.into_string().unwrap()).collect();
        written.sort_unstable();
        let pause = std::fs::read_to_string(directory.join("leasehold-pause.1")).unwrap();
        std::fs::remove_dir_all(&directory).unwrap();
        assert_eq!(written, pages);
        assert!(pages.contains(&"leasehold-node-remove.1".to_owned()), "{pages:?}");
        assert!(pause.contains("ends by itself") && pause.contains("LENGTH"), "{pause}");
    }

    /// What the environment of whoever writes the manual holds is not for its readers.
    #[test]
    fn no_page_shows_what_the_environment_holds() {
        fn look(command: &clap::Command) -> usize {
            let named = command.get_arguments().filter(|argument| argument.get_env().is_some());
            let named: Vec<_> = named.collect();
            for argument in &named {
                assert!(
                    argument.is_hide_env_values_set(),
                    "{} of {}",
                    argument.get_id(),
                    command.get_name()
                );
            }
            named.len() + command.get_subcommands().map(look).sum::<usize>()
        }
        let mut whole = command();
        whole.build();
        assert!(look(&whole) > 100, "every verb takes the facts of the node");
    }

    /// Whoever asks for help about a verb learns what each of its words means.
    #[test]
    fn every_argument_of_every_verb_is_explained() {
        fn look(command: &clap::Command) {
            for argument in command.get_arguments() {
                assert!(
                    argument.get_help().is_some(),
                    "{} of {}",
                    argument.get_id(),
                    command.get_name()
                );
            }
            assert!(command.get_about().is_some(), "{}", command.get_name());
            command.get_subcommands().for_each(look);
        }
        look(&command());
    }
}
