//! What apps tell of pushes: how a request of theirs fared.

use crate::message::life::Status;
use crate::message::life::app::AppRefusal;

/// How a request with what an app tells of a message fared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppAnswer {
    /// It is on disk.
    Taken(AppTaken),
    /// Nothing of it is, because of the receipt at this place.
    Refused(usize, AppRefusal),
    /// The message is not kept any more.
    Gone,
}

/// Receipts that are on disk, and where they put their message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppTaken {
    /// For each of them, whether it is new: one that was told before changes nothing.
    pub new: Vec<bool>,
    /// Where the message stands.
    pub status: Status,
    /// Its version.
    pub version: u16,
    /// Whether no further change is expected.
    pub is_final: bool,
}
