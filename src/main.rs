//! The sidecar and its command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    leasehold_cli::main()
}
