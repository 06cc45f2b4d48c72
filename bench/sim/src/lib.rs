//! Misbehaving peers, as a library: tests, benchmarks and the demo run against them.

#![forbid(unsafe_code)]

pub mod push;
pub mod receiver;
pub mod smsc;
