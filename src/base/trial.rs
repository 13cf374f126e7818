//! How a trial start is asked for: `tether try [--absent PATH]... ARGUMENTS`, with the arguments of a true one.

/// The tether's first word in this form.
pub const FORM: &str = "try";

/// Before a mount of the service that the trial goes without.
pub const ABSENT: &str = "--absent";
