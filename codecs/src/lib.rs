//! Bytes to meaning and back.

pub mod text;

#[cfg(test)]
mod testdata;
