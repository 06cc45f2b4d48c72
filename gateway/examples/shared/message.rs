//! A plain message, for the examples that send many.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use smallvec::smallvec;
use trunkline::clock::Clock;
use trunkline::message::{
    Class, Encoding, FailoverOn, Message, MessageId, OnAmbiguous, Phone, Policy, Priority, RouteIx,
    TenantIx, Texts,
};

const TEXT: &str = "Your order 12345678 has left our house and will be with you tomorrow before \
                    noon. Thank you, the ACME.";

/// The message of this number, 0 to 999, in one segment.
pub(crate) fn message(number: u64) -> anyhow::Result<Arc<Message>> {
    let to = Phone::parse(&format!("+4670{number:03}1234")).context("a number")?;
    Ok(Arc::new(Message {
        id: MessageId(number),
        tenant: TenantIx(0),
        to,
        class: Class::Transactional,
        priority: Priority::Normal,
        on_ambiguous: OnAmbiguous::Retry,
        failover_on: FailoverOn::ALL,
        encoding: Encoding::Gsm7,
        segments: 1,
        concat_ref: 0,
        sms: None,
        policy: Policy::default(),
        callback: None,
        batch: None,
        accepted_at: Clock::system().now(),
        expires_at: Clock::system().now().plus(Duration::from_secs(86_400)),
        routes: smallvec![RouteIx(0)],
        steps: None,
        texts: Texts::pack(["ACME", TEXT, "", "", "", "", "", "", "", ""])
            .ok()
            .context("texts")?,
    }))
}
