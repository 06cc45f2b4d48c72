//! Connect: the ways out. Attempts in, answers out, exactly one for each part.

pub mod credentials;
pub mod http2;
mod ledger;
pub mod push;
pub mod smpp;
mod tcp;
pub mod tls;
pub mod x509;
