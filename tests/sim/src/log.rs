//! One line per transition, kept only when somebody will read it.

/// Formats a line of the log only when there is one.
macro_rules! note {
    ($world:expr, $($line:tt)*) => {
        if $world.log.is_some() {
            let line = format!($($line)*);
            let at = $world.now as f64 / $crate::host::S as f64;
            if let Some(log) = &mut $world.log {
                log.push(format!("{at:>9.4} {line}"));
            }
        }
    };
}
