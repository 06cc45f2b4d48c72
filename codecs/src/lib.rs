//! Bytes to meaning and back.

pub mod smpp;
pub mod text;

#[cfg(test)]
mod testdata;
