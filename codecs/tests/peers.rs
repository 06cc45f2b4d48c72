//! One session and whatever a peer may send: deviations, hostile probes, floods.
#![expect(clippy::unwrap_used, reason = "a test's helper functions")]

#[path = "peers/deviations.rs"]
mod deviations;
#[path = "peers/floods.rs"]
mod floods;
#[path = "peers/probes.rs"]
mod probes;
#[path = "peers/quirk_names.rs"]
mod quirk_names;
#[path = "peers/side.rs"]
mod side;
