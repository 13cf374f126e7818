//! The tether's program: PID 1 of the protected container.

use std::process::ExitCode;

fn main() -> ExitCode {
    leasehold_tether::main(std::env::args_os().skip(1))
}
