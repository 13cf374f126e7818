//! Sorts errors by the one question that matters: is it certain that nothing was carried out?

use etcd_client::Error;

use leasehold_core::store::StoreError;

/// gRPC status codes whose errors etcd gives only for requests that it has not carried out.
///
/// Not among them, on purpose: `ResourceExhausted` (etcd applies the transaction that crosses the quota and then
/// says "database space exceeded"), `OutOfRange` (also our own end, refusing an answer that is too large),
/// `Unavailable`, `Cancelled`, `DeadlineExceeded`, `Unknown`, `Internal`, `Aborted`, `DataLoss`.
const NOT_CARRIED_OUT: [i32; 5] = [
    INVALID_ARGUMENT,
    NOT_FOUND,
    PERMISSION_DENIED,
    FAILED_PRECONDITION,
    UNAUTHENTICATED,
];
const INVALID_ARGUMENT: i32 = 3;
const NOT_FOUND: i32 = 5;
const PERMISSION_DENIED: i32 = 7;
const FAILED_PRECONDITION: i32 = 9;
const UNAUTHENTICATED: i32 = 16;

/// How etcd begins its own messages. The same codes are also made up by HTTP/2 stacks and proxies on the way.
const SAID_BY_ETCD: &str = "etcdserver:";

const LEASE_NOT_FOUND: &str = "lease not found";

/// What the core is told of an error of the client library.
pub(super) fn classify(error: &Error) -> StoreError {
    match error {
        Error::GRpcStatus(status) => with_cause(of_status(i32::from(status.code()), status.message()), status),
        Error::InvalidArgs(_) | Error::InvalidUri(_) | Error::InvalidMetadataValue(_) => {
            StoreError::Refused(error.to_string())
        }
        // An answer, in the library's own words: the renewal found no such lease.
        Error::LeaseKeepAliveError(text) if text == LEASE_NOT_FOUND => StoreError::Refused(text.clone()),
        Error::IoError(_)
        | Error::TransportError(_)
        | Error::WatchError(_)
        | Error::Utf8Error(_)
        | Error::LeaseKeepAliveError(_)
        | Error::ElectError(_)
        | Error::EndpointError(_)
        | Error::EndpointsNotManaged
        | Error::Internal(_) => StoreError::Unknown(error.to_string()),
    }
}

fn of_status(code: i32, message: &str) -> StoreError {
    if NOT_CARRIED_OUT.contains(&code) && message.starts_with(SAID_BY_ETCD) {
        StoreError::Refused(message.to_owned())
    } else {
        StoreError::Unknown(format!("gRPC status {code}: {message}"))
    }
}

/// Adds the innermost cause, which is where "certificate expired" and "connection refused" hide.
fn with_cause(error: StoreError, status: &dyn std::error::Error) -> StoreError {
    let innermost = std::iter::successors(status.source(), |cause| cause.source()).last();
    match (error, innermost.map(ToString::to_string)) {
        (StoreError::Unknown(text), Some(cause)) if !text.contains(&cause) => {
            StoreError::Unknown(format!("{text}: {cause}"))
        }
        (error, _) => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: bool = true;
    const UNKNOWN: bool = false;

    #[test]
    fn only_what_etcd_says_it_did_not_do_is_refused() {
        let table = [
            (
                INVALID_ARGUMENT,
                "etcdserver: too many operations in txn request",
                REFUSED,
            ),
            (
                INVALID_ARGUMENT,
                "etcdserver: duplicate key given in txn request",
                REFUSED,
            ),
            (INVALID_ARGUMENT, "etcdserver: request is too large", REFUSED),
            (INVALID_ARGUMENT, "etcdserver: revision of auth store is old", REFUSED),
            (
                INVALID_ARGUMENT,
                "etcdserver: authentication failed, invalid user ID or password",
                REFUSED,
            ),
            (NOT_FOUND, "etcdserver: requested lease not found", REFUSED),
            (PERMISSION_DENIED, "etcdserver: permission denied", REFUSED),
            (FAILED_PRECONDITION, "etcdserver: lease already exists", REFUSED),
            (
                FAILED_PRECONDITION,
                "etcdserver: authentication is not enabled",
                REFUSED,
            ),
            (UNAUTHENTICATED, "etcdserver: invalid auth token", REFUSED),
            // The transport's own: the request may have been handed over before.
            (PERMISSION_DENIED, "h2 protocol error: inadequate security", UNKNOWN),
            (
                UNAUTHENTICATED,
                "grpc-status header missing, mapped from HTTP 401",
                UNKNOWN,
            ),
            (1, "Timeout expired", UNKNOWN),
            (1, "operation was canceled", UNKNOWN),
            (2, "h2 protocol error: error reading a body from connection", UNKNOWN),
            (4, "context deadline exceeded", UNKNOWN),
            (8, "etcdserver: mvcc: database space exceeded", UNKNOWN),
            (8, "etcdserver: too many requests", UNKNOWN),
            (8, "h2 protocol error: enhance your calm", UNKNOWN),
            (11, "Error, decoded message length too large", UNKNOWN),
            (14, "tcp connect error", UNKNOWN),
            (14, "etcdserver: no leader", UNKNOWN),
            (14, "etcdserver: leader changed", UNKNOWN),
            (14, "etcdserver: request timed out", UNKNOWN),
            (15, "etcdserver: corrupt cluster", UNKNOWN),
        ];
        for (code, message, refused) in table {
            let is_refused = matches!(of_status(code, message), StoreError::Refused(_));
            assert_eq!(is_refused, refused, "{code} {message}");
        }
    }

    #[test]
    fn what_could_not_be_asked_is_refused_and_what_broke_on_the_way_is_unknown() {
        let table = [
            (Error::InvalidArgs("empty endpoints".to_owned()), REFUSED),
            (Error::IoError(std::io::ErrorKind::ConnectionReset.into()), UNKNOWN),
            (Error::LeaseKeepAliveError(LEASE_NOT_FOUND.to_owned()), REFUSED),
            (Error::LeaseKeepAliveError("channel closed".to_owned()), UNKNOWN),
            (Error::Internal("queue closed".to_owned()), UNKNOWN),
        ];
        for (error, refused) in table {
            assert_eq!(matches!(classify(&error), StoreError::Refused(_)), refused, "{error}");
        }
    }
}
