//! The harness of the scenarios.
#![forbid(unsafe_code)]
