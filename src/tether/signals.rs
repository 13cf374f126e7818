//! Signals for the service, noted by handlers and passed on from the loop.
//!
//! Handlers and not a blocked mask: a mask would be inherited by the service, handlers are not.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::Signal;
use signal_hook::{flag, low_level::pipe};

/// What docker-init forwards, less `SIGPIPE` (it would be our own) and the real-time signals.
///
/// Not among them: what a fault of the tether itself raises, and `SIGTTIN`/`SIGTTOU`, which its own use of the terminal
/// raises.
pub(super) const FORWARDED: [Signal; 17] = [
    Signal::HUP,
    Signal::INT,
    Signal::QUIT,
    Signal::USR1,
    Signal::USR2,
    Signal::ALARM,
    Signal::TERM,
    Signal::CONT,
    Signal::TSTP,
    Signal::URG,
    Signal::XCPU,
    Signal::XFSZ,
    Signal::VTALARM,
    Signal::PROF,
    Signal::WINCH,
    Signal::IO,
    Signal::POWER,
];

/// The signals that came in and were not passed on yet.
#[derive(Debug)]
pub(super) struct Signals {
    wake: UnixStream,
    pending: Vec<(Signal, Arc<AtomicBool>)>,
}

impl Signals {
    /// Installs the handlers; `SIGCHLD` wakes the loop too.
    pub(super) fn install() -> io::Result<Self> {
        let (wake, notify) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        let mut pending = Vec::with_capacity(FORWARDED.len());
        for signal in FORWARDED {
            let came = Arc::new(AtomicBool::new(false));
            // In this order: the flag must stand before the loop wakes up.
            flag::register(signal.as_raw(), Arc::clone(&came))?;
            pipe::register(signal.as_raw(), notify.try_clone()?)?;
            pending.push((signal, came));
        }
        pipe::register(Signal::CHILD.as_raw(), notify)?;
        Ok(Self { wake, pending })
    }

    /// Readable when a signal came in.
    pub(super) fn wake(&self) -> &UnixStream {
        &self.wake
    }

    /// Passes on every signal that came in since the last call. Allocates nothing.
    pub(super) fn drain(&self, mut pass_on: impl FnMut(Signal)) {
        let mut bytes = [0; 64];
        while matches!((&self.wake).read(&mut bytes), Ok(length) if length > 0) {}
        for (signal, came) in &self.pending {
            if came.swap(false, Ordering::AcqRel) {
                pass_on(*signal);
            }
        }
    }

    /// True if somebody asked for an end; for the gate, where there is nothing to pass it on to.
    pub(super) fn end_asked(&self) -> bool {
        self.pending.iter().any(|(signal, came)| {
            [Signal::TERM, Signal::INT, Signal::QUIT].contains(signal) && came.load(Ordering::Acquire)
        })
    }
}
