//! How an epoch began and ended, and what is not known of it.

/// Nothing was there before.
pub(crate) const FIRST_START: &str = "first start";
/// Where it has no name.
pub(crate) const ITS_HOLDER: &str = "its holder";
const HOLDER_BEFORE: &str = "the holder before";

// Why the outage is not known.
pub(crate) const BEGIN_NOT_WRITTEN: &str = "nobody wrote how it began";
pub(crate) const NEVER_SERVED: &str = "it ended before it served, or its sidecar was replaced meanwhile";

pub(crate) fn serves_not_written(holder: &str) -> String {
    format!("{holder} has not written that it serves: it still starts, or its sidecar ended")
}

pub(crate) fn stop_not_written(from: Option<&str>) -> String {
    format!("{} did not write how long its stop took", from.unwrap_or(HOLDER_BEFORE))
}

/// `record` is how it was released, in words.
pub(crate) fn taken_by(holder: &str, record: &str) -> String {
    format!("{holder} took it: {record}")
}
