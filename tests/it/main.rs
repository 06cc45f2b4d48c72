//! Scenarios against the real binary, one per file.
#![forbid(unsafe_code)]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests: what does not hold fails them"
)]

mod api_sending;
mod backlog;
mod carriers;
mod config_errors;
mod crash;
mod disk_faults;
mod duplicate_key;
mod failover_on_reject;
mod failover_route_down;
mod fair_share;
mod handsets;
mod hostile_http;
mod interop;
mod interop_carriers;
mod interop_kannel;
mod interop_push;
mod interop_push_strict;
mod journal_damaged;
mod message_tlvs;
mod oracles;
mod otp_lane;
mod overload;
mod overload_backlog;
mod power_cut;
mod push;
mod push_answers;
mod push_chaos;
mod push_pains;
mod push_receipts;
mod push_retries;
mod receipt_early_hex_dec_other_bind;
mod receipts;
mod refused;
mod route_removed;
mod second_form;
mod second_process;
mod sessions;
mod sigterm_drains;
mod submit_then_receipt;
mod suppressions;
mod texts;
mod three_parts;
mod throttled_order;
mod throttled_route;
mod waits_for;
mod webhook_faults;
