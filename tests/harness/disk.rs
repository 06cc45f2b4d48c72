//! A disk that fails on command: `shim/disk.c`, built once and preloaded below the gateway's SQLite.
//!
//! The faults stand in a small file that the shim has mapped, so they come and go while the gateway
//! runs. Every fault is counted there: a scenario waits until it has struck.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::ensure;

use crate::gateway::Directory;
use crate::shim::build;
use crate::wait_for;

/// No space left on device.
pub const ENOSPC: i32 = 28;
/// Input/output error.
pub const EIO: i32 = 5;

/// The control file: ten and more numbers of 32 bits, then 64 octets of name (`struct control`).
const CONTROL_LEN: usize = 128;
const HITS_AT: u64 = 20;
const NAME_AT: u64 = 64;
const NAME_LEN: usize = 64;

/// How long a fault may take to strike.
const STRIKES_WITHIN: Duration = Duration::from_secs(10);

/// What fails. All off by default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults<'a> {
    /// errno of writes, 0 for none.
    pub write: i32,
    /// Of syncs.
    pub sync: i32,
    /// Of opens that would create a file.
    pub create: i32,
    /// Of reads.
    pub read: i32,
    /// statvfs tells that nothing is free.
    pub no_room: bool,
    /// A failing write writes its first half before.
    pub short_writes: bool,
    /// Only files whose name holds this.
    pub name: &'a str,
}

/// The shim below one gateway's store.
#[derive(Debug)]
pub struct Disk {
    store: PathBuf,
    control_path: PathBuf,
    control: File,
    shim: PathBuf,
}

impl Disk {
    /// Builds the shim if no test has, and a control file without faults.
    ///
    /// # Errors
    /// No C compiler, or the files cannot be written.
    pub fn new(directory: &Directory) -> anyhow::Result<Self> {
        static SHIM: OnceLock<Result<PathBuf, String>> = OnceLock::new();
        let shim = SHIM.get_or_init(|| build("disk").map_err(|error| format!("{error:#}")));
        let shim = shim.clone().map_err(anyhow::Error::msg)?;
        let control_path = directory.path().join("disk.control");
        let control = File::options()
            .create(true)
            .truncate(true)
            .read(true)
            .write(true)
            .open(&control_path)?;
        control.write_all_at(&[0; CONTROL_LEN], 0)?;
        // SQLite resolves links in its paths, the shim does not.
        let store = directory.path().canonicalize()?.join("store");
        Ok(Self {
            store,
            control_path,
            control,
            shim,
        })
    }

    /// What the gateway's environment needs; with a log, everything written is recorded there and
    /// syncs do not reach the real disk.
    #[must_use]
    pub fn environment(&self, log: Option<&Path>) -> Vec<(&'static str, String)> {
        let text = |path: &Path| path.display().to_string();
        let mut environment = vec![
            ("LD_PRELOAD", text(&self.shim)),
            ("TRUNKLINE_DISK_DIR", text(&self.store)),
            ("TRUNKLINE_DISK_CONTROL", text(&self.control_path)),
        ];
        environment.extend(log.map(|log| ("TRUNKLINE_DISK_LOG", text(log))));
        environment
    }

    /// From now on this fails.
    ///
    /// # Errors
    /// The control file cannot be written.
    pub fn fail(&self, faults: Faults<'_>) -> anyhow::Result<()> {
        ensure!(faults.name.len() < NAME_LEN, "the name is too long");
        // Off first, so that no fault strikes with another's name.
        self.control.write_all_at(&[0; 20], 0)?;
        let mut name = [0; NAME_LEN];
        name[..faults.name.len()].copy_from_slice(faults.name.as_bytes());
        self.control.write_all_at(&name, NAME_AT)?;
        self.control.write_all_at(&[0; 8], HITS_AT)?;
        self.control
            .write_all_at(&faults.read.to_ne_bytes(), HITS_AT + 4)?;
        let numbers = [
            faults.write,
            faults.sync,
            faults.create,
            i32::from(faults.no_room),
            i32::from(faults.short_writes),
        ];
        let octets: Vec<u8> = numbers.into_iter().flat_map(i32::to_ne_bytes).collect();
        self.control.write_all_at(&octets, 0)?;
        Ok(())
    }

    /// Nothing fails any more.
    ///
    /// # Errors
    /// The control file cannot be written.
    pub fn heal(&self) -> anyhow::Result<()> {
        self.fail(Faults::default())
    }

    /// How often faults have struck since they were set.
    ///
    /// # Errors
    /// The control file cannot be read.
    pub fn hits(&self) -> anyhow::Result<u32> {
        let mut hits = [0; 4];
        self.control.read_exact_at(&mut hits, HITS_AT)?;
        Ok(u32::from_ne_bytes(hits))
    }

    /// Waits until faults have struck so often.
    ///
    /// # Panics
    /// When they have not in time.
    pub async fn struck(&self, times: u32) {
        wait_for("the fault to strike", STRIKES_WITHIN, async || {
            self.hits().ok().filter(|hits| *hits >= times)
        })
        .await;
    }
}
