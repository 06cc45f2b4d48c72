//! SMPP 3.3, 3.4 and 5.0: PDUs, framing, and the session.
//!
//! Decoding borrows from the octets that came; encoding appends to a buffer. Neither allocates
//! (encoding reserves once).

pub mod alert;
pub mod bind;
pub mod broadcast;
pub mod deliver;
pub mod fields;
pub mod frame;
mod layout;
pub mod link;
pub mod multi;
pub mod pdu;
mod put;
pub mod query;
pub mod quirks;
pub mod receipt;
pub mod session;
pub mod status;
pub mod submit;
pub mod tlv;

pub use alert::AlertNotification;
pub use bind::{Bind, BindKind, BindResp, Outbind};
pub use broadcast::{BroadcastSm, CancelBroadcastSm, QueryBroadcastSm};
pub use deliver::{DataSm, DeliverSm};
pub use fields::{Address, DecodeError, EncodeError, Field, Kind, Limits, Quirks};
pub use frame::{CommandId, Frame, FrameError, Framing, HEADER_OCTETS, Header, Speaks, next_frame};
pub use multi::{SubmitMulti, SubmitMultiResp};
pub use pdu::Pdu;
pub use query::{CancelSm, QuerySm, QuerySmResp, ReplaceSm};
pub use session::{Config, Event, Session};
pub use status::CommandStatus;
pub use submit::{SubmitSm, SubmitSmResp};
pub use tlv::{Sar, Tag, Tlv, TlvBuf, Tlvs};
