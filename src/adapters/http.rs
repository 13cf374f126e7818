//! Health endpoints, metrics and the local socket.
