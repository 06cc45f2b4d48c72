//! Shims: small C libraries of `shim/`, preloaded below the gateway.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

/// Compiles `shim/{name}.c` beside the running test.
///
/// # Errors
/// No C compiler, or it refuses the source.
pub(crate) fn build(name: &str) -> anyhow::Result<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("shim/{name}.c"));
    let test = std::env::current_exe()?;
    let beside = test.parent().context("the test has no directory")?;
    let shim = beside.join(format!("trunkline-{name}-shim.so"));
    // Tests run in parallel processes: each makes its own and puts it there whole.
    let made = beside.join(format!("trunkline-{name}-shim-{}.so", std::process::id()));
    let compiled = Command::new("cc")
        .args(["-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"])
        .arg("-o")
        .args([&made, &source])
        .args(["-ldl", "-lpthread"])
        .output()
        .context("cc (Debian: apt-get install gcc)")?;
    let said = String::from_utf8_lossy(&compiled.stderr);
    ensure!(compiled.status.success(), "cc {}: {said}", source.display());
    fs::rename(&made, &shim)?;
    Ok(shim)
}
