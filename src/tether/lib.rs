//! PID 1 of the protected container: starts the service behind a gate and kills it when the lease runs out.
//!
//! `tether --service S --group G --node N [--cluster C] [--stop-signal X] [--own-init LENT] [--store ID=PATH]... -- command...`
//! is the form the sidecar uses; it replaces docker-init. `tether store show|init` prepares storage for `leasehold init`; `tether claim`
//! is what the tether itself starts beside the service, `tether probe-storage` what the sidecar starts to try the storage,
//! `tether device` what it starts to see whether a block device is still mounted, `tether try` what it starts on a standby to
//! see whether a start would come to its gate. `tether init` is what the tether starts, and what then becomes an init that must
//! be PID 1; `tether within` leads a health check into its namespace. Anything else meets the closed gate.
//! Exit codes: [`exit::Code`].

mod args;
mod beat;
mod claim;
mod claim_file;
mod claims;
mod device;
mod exit;
mod gate;
mod home;
mod inner_proc;
mod link;
mod memory;
mod own_init;
mod own_namespace;
mod service;
mod signals;
mod standing;
mod storage_probe;
mod store;
mod trial;
mod watch;
mod within;

use std::ffi::OsString;
use std::process::ExitCode;

use args::Args;
use exit::Refusal;
use own_namespace::OwnNamespace;
use rustix::process::{DumpableBehavior, set_dumpable_behavior, setpriority_process};
use service::Service;
use signals::Signals;
use standing::Standing;

/// Before everything that is not real-time.
const NICE: i32 = -20;

/// The tether, from its arguments without the program's name.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.collect();
    match args.split_first() {
        Some((first, rest)) if first == "store" => return store::main(rest),
        Some((first, rest)) if first == beat::FORM => return beat::main(rest),
        Some((first, rest)) if first == leasehold_base::storage_probe::FORM => return storage_probe::main(rest),
        Some((first, rest)) if first == leasehold_base::device::FORM => return device::main(rest),
        Some((first, rest)) if first == leasehold_base::trial::FORM => return trial::main(rest),
        Some((first, rest)) if first == own_init::FORM => return own_init::main(rest),
        Some((first, rest)) if first == leasehold_base::own_init::WITHIN => return within::main(rest),
        Some((first, rest)) if first == within::LED => return within::led(rest),
        Some(_) | None => {}
    }
    let own = match OwnNamespace::prove() {
        Ok(own) => own,
        Err(why) => return Refusal::NotInit(why).report(),
    };
    match enter(&own, &args) {
        Ok(code) => code,
        Err(refusal) => refusal.report(),
    }
}

fn enter(own: &OwnNamespace, args: &[OsString]) -> Result<ExitCode, Refusal> {
    let args = Args::parse(args).map_err(Refusal::NotOurs)?;
    if !memory::hold() {
        exit::report_unlocked();
    }
    // What this process knows is not for the service, though both are of one user.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let environment = |what: &str, error: std::io::Error| Refusal::Environment(format!("{what}: {error}"));
    let signals = Signals::install().map_err(|error| environment("signals", error))?;
    let timer = watch::timer().map_err(|error| environment("timer", error.into()))?;
    let mut standing = Standing::of_init().map_err(|error| environment("/proc/1/stat", error))?;
    if let Some(loan) = args.own_init {
        own_init::check(loan)?;
    }
    let admitted = gate::pass(&signals, &args)?;
    // Once more: for what was allocated since.
    memory::hold();
    match Service::start(&args, admitted.page.run) {
        Ok(service) => {
            // Above the service, where the container may; after its start, because that would inherit it.
            let _ = setpriority_process(None, NICE);
            Ok(watch::watch(own, admitted, service, &signals, &timer, &mut standing))
        }
        Err(error) => {
            admitted.claims.give_up();
            exit::report_exec(&args.command, &error);
            Ok(service::exec_failure(&error))
        }
    }
}
