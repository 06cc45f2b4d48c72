//! Bytes to meaning and back.

pub mod smpp;
pub mod text;
pub mod webhook;

#[cfg(test)]
mod testdata;
