//! The push simulators, seen over TLS by clients that are not theirs.
#![expect(clippy::unwrap_used, reason = "tests' helper functions")]

#[path = "push/apns.rs"]
mod apns;
#[path = "push/client.rs"]
mod client;
#[path = "push/control.rs"]
mod control;
#[path = "push/fcm.rs"]
mod fcm;
