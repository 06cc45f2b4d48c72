//! A wall clock that is ahead: `shim/ahead.c`, preloaded below a gateway that is started again, as if
//! it had been down for so long. Timers go on as before.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use crate::shim::build;

/// What the gateway's environment needs to be ahead by so long, whole seconds.
///
/// # Errors
/// No C compiler.
pub fn environment(by: Duration) -> anyhow::Result<[(&'static str, String); 2]> {
    static SHIM: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let shim = SHIM.get_or_init(|| build("ahead").map_err(|error| format!("{error:#}")));
    let shim = shim.clone().map_err(anyhow::Error::msg)?;
    Ok([
        ("LD_PRELOAD", shim.display().to_string()),
        ("TRUNKLINE_AHEAD_SECONDS", by.as_secs().to_string()),
    ])
}
