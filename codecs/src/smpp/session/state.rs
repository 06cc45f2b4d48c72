//! A session's states, and what may happen in each.
//!
//! ```text
//!  ESME: new ─ bind sent ─► Binding ── bind_resp 0 ──► Bound ── unbind sent ──► Unbinding ─┐
//!                              │ bind_resp ≠ 0           │                          resp │
//!  SMSC: new ──► Open ─ bind ─► Binding ─ accepted ──► Bound ── unbind came ──► Parting ──┤
//!                              │ refused                                      window empty│
//!                              ▼                                              or 2 s      ▼
//!        any: framing error, timeout, flood ──────────────────────► Closing ─ flushed ─► Closed
//! ```

use super::event::CloseReason;
use crate::smpp::bind::BindKind;

/// Where a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// SMSC: nobody has asked to bind yet.
    Open,
    /// ESME: bind sent. SMSC: bind received, the caller decides.
    Binding(BindKind),
    /// Messages may flow.
    Bound(BindKind),
    /// We sent unbind and wait for its response.
    Unbinding(BindKind),
    /// The peer unbound; answers to what is in flight are awaited for a moment.
    Parting,
    /// Nothing more is read; what is queued is flushed.
    Closing(CloseReason),
    /// Over.
    Closed,
}

impl State {
    /// The bind on which new requests may be sent.
    #[inline]
    pub(super) fn bound(self) -> Option<BindKind> {
        match self {
            Self::Bound(kind) => Some(kind),
            _ => None,
        }
    }

    /// The bind on which the peer's messages are taken: also while our unbind is on its way.
    #[inline]
    pub(super) fn receiving(self) -> Option<BindKind> {
        match self {
            Self::Bound(kind) | Self::Unbinding(kind) => Some(kind),
            _ => None,
        }
    }

    /// Says whether what the peer sends is still looked at.
    #[inline]
    pub(super) fn reads(self) -> bool {
        !matches!(self, Self::Closing(_) | Self::Closed)
    }

    /// Says whether a bind was made: larger PDUs are allowed then.
    #[inline]
    pub(super) fn was_bound(self) -> bool {
        matches!(self, Self::Bound(_) | Self::Unbinding(_) | Self::Parting)
    }
}
