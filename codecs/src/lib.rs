//! Bytes to meaning and back.
//!
//! No sockets, no clock, no gateway types. Nothing here panics on what a peer sends, and nothing
//! allocates more than a stated limit.

#![forbid(unsafe_code)]

pub mod apns;
pub(crate) mod cursor;
pub mod fcm;
pub(crate) mod json;
pub mod jwt;
pub mod push;
pub mod receipt_token;
pub mod smpp;
pub mod text;
pub mod verdict;
pub mod webhook;

#[cfg(test)]
mod testdata;
