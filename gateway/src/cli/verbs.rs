//! Verbs whose parts of the gateway are wired in by `app`: until then each says so and fails.

use std::io::Write;
use std::path::Path;

use super::{Demo, Failure, SimReceiver, SimSmsc};
use crate::config::Config;

fn not_built(verb: &str) -> Result<(), Failure> {
    Err(Failure::failed(format!(
        "`trunkline {verb}`: not built yet"
    )))
}

/// `serve`: runs the gateway until it is stopped.
pub(super) fn serve(config: Config, _json: bool, _out: &mut dyn Write) -> Result<(), Failure> {
    drop(config);
    not_built("serve")
}

/// `demo`.
pub(super) fn demo(_demo: &Demo, _json: bool, _out: &mut dyn Write) -> Result<(), Failure> {
    not_built("demo")
}

/// `sim smsc`.
pub(super) fn sim_smsc(_sim: &SimSmsc, _json: bool, _out: &mut dyn Write) -> Result<(), Failure> {
    not_built("sim smsc")
}

/// `sim receiver`.
pub(super) fn sim_receiver(
    _sim: &SimReceiver,
    _json: bool,
    _out: &mut dyn Write,
) -> Result<(), Failure> {
    not_built("sim receiver")
}

/// `store check`.
pub(super) fn store_check(_dir: &Path, _json: bool, _out: &mut dyn Write) -> Result<(), Failure> {
    not_built("store check")
}

/// `store export`.
pub(super) fn store_export(
    _dir: &Path,
    _file: &Path,
    _json: bool,
    _out: &mut dyn Write,
) -> Result<(), Failure> {
    not_built("store export")
}

/// `openapi`.
pub(super) fn openapi(_out: &mut dyn Write) -> Result<(), Failure> {
    not_built("openapi")
}
