//! Trunkline, a delivery gateway: the line a message walks.
//!
//! ```text
//!  accept ──► plan ──► queue ──► limit ──► connect ──► outcome ──► receipt ──► event ──► webhook
//!  HTTP       policy,  durable,  rate,     attempt     settled,    the DLR     the       signed POST,
//!  → Message  route,   due,      window,   → answer    held or     finds its   record    own queue of
//!             segments lanes     breaker               moved on    message               the same kind
//!                         ▲                                │
//!                         └── held: HoldReason + due time ─┘      the only arrow back
//! ```
//!
//! Vocabulary (nouns, use only each other): [`message`], [`inbound`], [`outcome`], [`event`], [`names`], [`suppression`],
//! [`clock`], [`stop`], [`outbound`]. Memory: [`store`]. A stage knows the vocabulary, the store's interface and itself; no
//! stage imports another; `app` alone knows everyone.

#![forbid(unsafe_code)]

pub mod accept;
pub mod admin;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod connect;
pub mod delivery_view;
pub mod demo;
pub mod dispatch;
pub mod event;
pub mod files;
pub mod inbound;
pub mod link;
pub mod message;
pub mod metrics;
pub mod names;
pub mod outbound;
pub mod outcome;
pub mod plan;
pub mod receipt;
pub mod receipt_keys;
pub mod receive;
pub mod route_view;
pub mod stop;
pub mod store;
pub mod suppression;
pub mod webhook;
