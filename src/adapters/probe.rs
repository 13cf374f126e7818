//! Checks of the service, as a client would make them.
