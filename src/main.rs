//! One binary, two programs: the sidecar with its CLI, and the tether.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os().peekable();
    let name = args.next().unwrap_or_default();
    if called_tether(&name) || args.next_if(|first| first == "tether").is_some() {
        return leasehold_tether::main(args);
    }
    leasehold_cli::main()
}

fn called_tether(name: &OsString) -> bool {
    Path::new(name).file_name() == Some(OsStr::new("tether"))
}
