//! Scenarios, one per file.
#![forbid(unsafe_code)]
