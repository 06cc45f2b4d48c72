//! SMPP.

pub mod receipt;
