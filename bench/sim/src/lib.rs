//! Misbehaving peers, as a library: tests, benchmarks and the demo run against them.

pub mod receiver;
pub mod smsc;
