//! Bytes to meaning and back.
pub mod receiver;
