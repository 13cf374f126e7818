//! `leasehold completions SHELL`: what a shell needs to complete verbs and options.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap_complete::Shell;

use super::command;

pub(super) fn write(shell: Shell, out: &mut impl Write) -> Result<ExitCode> {
    // In memory first: the generator panics where it can't write, and a reader that has gone away is no bug.
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command(), "leasehold", &mut text);
    out.write_all(&text)
        .context("writing the completions: redirect them, `leasehold completions bash > FILE`")?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn every_shell_learns_of_verbs_and_options() {
        for shell in Shell::value_variants() {
            let mut text = Vec::new();
            write(*shell, &mut text).unwrap();
            let text = String::from_utf8(text).unwrap();
            for word in ["switchover", "undrain", "adopt", "completions"] {
                assert!(text.contains(word), "{shell}: {word}");
            }
        }
    }
}
