//! Power cuts: what a disk may hold after one, rebuilt from the shim's log.
//!
//! # The model
//! - A write is certain once a sync of its file that began after it has ended. Until then each of
//!   its sectors is there or is not, independently (POSIX promises no more).
//! - What a failed sync should have written stays in the page cache as clean: only writing it again
//!   and syncing that can make it certain.
//! - A name made or removed is certain once its directory was synced after. Until then, for each
//!   name, some first part of what was done to it is there.
//! - The wal-index (`-shm`) and the lock hold nothing that lasts: they are left out.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use anyhow::{Context as _, ensure};

/// A disk writes sectors whole.
const SECTOR: usize = 512;

/// Random choices that a seed repeats (splitmix64).
#[derive(Clone, Debug)]
pub struct Dice(pub u64);

impl Dice {
    /// Evenly below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit.max(1)
    }
}

/// What the disk does with what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsynced {
    /// All of it is gone.
    Lost,
    /// All of it is there.
    Kept,
    /// Each sector and name by the dice.
    Torn,
}

/// One entry of the shim's log (`struct record`).
#[derive(Debug)]
enum Entry {
    Opened { name: String, made: bool },
    Wrote { offset: usize, data: Vec<u8> },
    Truncated(usize),
    SyncBegan,
    SyncEnded,
    SyncFailed,
    Unlinked(String),
    Renamed(String, String),
}

/// A log of one process: entries with their handle and where in the log they end.
#[derive(Debug)]
pub struct Log {
    entries: Vec<(u64, Entry, u64)>,
}

impl Log {
    /// Reads a log; a last entry that a kill has cut off is left out.
    ///
    /// # Errors
    /// It cannot be read, or is none.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let octets = fs::read(path)?;
        let (mut at, mut entries) = (0, Vec::new());
        while let Some(head) = octets.get(at..at + 32) {
            let short = |from: usize| {
                let octets = head[from..from + 4].try_into();
                u32::from_ne_bytes(octets.expect("invariant: four octets"))
            };
            let long = |from: usize| {
                let octets = head[from..from + 8].try_into();
                u64::from_ne_bytes(octets.expect("invariant: eight octets"))
            };
            let (kind, handle) = (short(0), long(8));
            let offset = usize::try_from(long(16))?;
            let name_end = at + 32 + usize::try_from(short(4))?;
            let end = name_end + usize::try_from(long(24))?;
            let Some(data) = octets.get(name_end..end) else {
                break;
            };
            let name = String::from_utf8(octets[at + 32..name_end].to_vec())?;
            let entry = match kind {
                1 | 2 => Entry::Opened {
                    name,
                    made: kind == 2,
                },
                3 => Entry::Wrote {
                    offset,
                    data: data.to_vec(),
                },
                4 => Entry::Truncated(offset),
                5 => Entry::SyncBegan,
                6 => Entry::SyncEnded,
                7 => Entry::Unlinked(name),
                8 => Entry::Renamed(name, String::from_utf8(data.to_vec())?),
                9 => Entry::SyncFailed,
                other => anyhow::bail!("{}: entry of kind {other} at {at}", path.display()),
            };
            at = end;
            entries.push((handle, entry, at as u64));
        }
        Ok(Self { entries })
    }

    /// A random place between two entries.
    #[must_use]
    pub fn moment(&self, dice: &mut Dice) -> u64 {
        let index = dice.below(self.entries.len() as u64);
        let index = usize::try_from(index).unwrap_or_default();
        self.entries.get(index).map_or(0, |(_, _, end)| *end)
    }

    /// Its length in octets.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.entries.last().map_or(0, |(_, _, end)| *end)
    }
}

#[derive(Clone, Debug)]
enum Change {
    Write { offset: usize, data: Vec<u8> },
    Truncate(usize),
}

impl Change {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Self::Write { offset, data } => {
                let end = offset + data.len();
                if to.len() < end {
                    to.resize(end, 0);
                }
                to[*offset..end].copy_from_slice(data);
            }
            Self::Truncate(len) => to.resize(*len, 0),
        }
    }
}

/// A file, whatever its name is now.
#[derive(Clone, Debug, Default)]
struct Inode {
    certain: Vec<u8>,
    /// What the page cache holds.
    cached: Vec<u8>,
    unsynced: Vec<Change>,
    /// How many changes are certain.
    synced: usize,
}

impl Inode {
    fn change(&mut self, change: Change) {
        change.apply(&mut self.cached);
        self.unsynced.push(change);
    }

    fn after_cut(&self, unsynced: Unsynced, dice: &mut Dice) -> Vec<u8> {
        match unsynced {
            Unsynced::Lost => return self.certain.clone(),
            Unsynced::Kept => return self.cached.clone(),
            Unsynced::Torn => {}
        }
        let mut content = self.certain.clone();
        for change in &self.unsynced {
            match change {
                Change::Truncate(_) if dice.below(2) == 0 => {}
                Change::Truncate(_) => change.apply(&mut content),
                Change::Write { offset, data } => {
                    // Some writes are there as a whole, some not at all, some in parts.
                    let share = dice.below(4);
                    let mut from = 0;
                    while from < data.len() {
                        let to = data.len().min(from + SECTOR - (offset + from) % SECTOR);
                        if dice.below(3) < share {
                            let data = data[from..to].to_vec();
                            let offset = offset + from;
                            Change::Write { offset, data }.apply(&mut content);
                        }
                        from = to;
                    }
                }
            }
        }
        content
    }
}

/// A directory's disk, played forward from logs.
#[derive(Clone, Debug, Default)]
pub struct Replay {
    inodes: Vec<Inode>,
    /// As the process sees it.
    names: BTreeMap<String, usize>,
    certain_names: BTreeMap<String, usize>,
    /// In order: a name and what it points to from then on.
    unsynced_names: Vec<(String, Option<usize>)>,
    /// How many of them were made certain before.
    synced_names: usize,
    handles: HashMap<u64, Option<usize>>,
    /// By handle: how many changes there had been in all when its sync began.
    syncing: HashMap<u64, usize>,
    /// Files whose name begins so are not synced, whatever the disk says.
    lies_about: Option<String>,
}

/// What lasts of a name: everything but locks and the wal-index.
fn lasts(name: &str) -> bool {
    !name.ends_with("-shm") && name != "lock" && name != "."
}

impl Replay {
    /// From now on the disk says that it has synced files whose name begins so, and has not.
    pub fn lie_about(&mut self, prefix: &str) {
        self.lies_about = Some(prefix.to_owned());
    }

    /// A process was killed and the next one starts: what the page cache holds is what the files on
    /// the real disk hold. (The log tells of a write before it is done.)
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn next_process(&mut self, directory: &Path) -> anyhow::Result<()> {
        self.handles.clear();
        self.syncing.clear();
        for (name, inode) in &self.names {
            let path = directory.join(name);
            let real = match fs::read(&path) {
                Ok(real) => real,
                Err(_) if !lasts(name) => continue,
                Err(error) => return Err(error).with_context(|| path.display().to_string()),
            };
            let inode = &mut self.inodes[*inode];
            if inode.cached.len() != real.len() {
                inode.change(Change::Truncate(real.len()));
            }
            for (index, sector) in real.chunks(SECTOR).enumerate() {
                let offset = index * SECTOR;
                if inode.cached.get(offset..offset + sector.len()) != Some(sector) {
                    let data = sector.to_vec();
                    inode.change(Change::Write { offset, data });
                }
            }
        }
        Ok(())
    }

    /// Plays a log from one place to another, both in octets.
    ///
    /// # Errors
    /// The log is not one of this directory.
    pub fn play(&mut self, log: &Log, from: u64, to: u64) -> anyhow::Result<()> {
        let entries = log.entries.iter();
        let wanted = entries.filter(|(_, _, end)| *end > from && *end <= to);
        for (handle, entry, _) in wanted {
            self.step(*handle, entry)?;
        }
        Ok(())
    }

    fn step(&mut self, handle: u64, entry: &Entry) -> anyhow::Result<()> {
        match entry {
            Entry::Opened { name, .. } if name == "." => {
                self.handles.insert(handle, None);
            }
            Entry::Opened { name, made } => {
                let known = self.names.get(name).copied().filter(|_| !made);
                let inode = known.unwrap_or_else(|| {
                    self.inodes.push(Inode::default());
                    let inode = self.inodes.len() - 1;
                    self.name(name, Some(inode));
                    inode
                });
                self.handles.insert(handle, Some(inode));
            }
            Entry::Wrote { offset, data } => {
                let (offset, data) = (*offset, data.clone());
                self.inode(handle)?.change(Change::Write { offset, data });
            }
            Entry::Truncated(len) => {
                let len = *len;
                self.inode(handle)?.change(Change::Truncate(len));
            }
            Entry::SyncBegan => {
                let count = match self.handles.get(&handle).context("an unknown handle")? {
                    None => self.synced_names + self.unsynced_names.len(),
                    Some(inode) => {
                        let inode = &self.inodes[*inode];
                        inode.synced + inode.unsynced.len()
                    }
                };
                self.syncing.insert(handle, count);
            }
            Entry::SyncEnded => self.synced(handle)?,
            Entry::SyncFailed => {
                let inode = self.inode(handle)?;
                inode.synced += inode.unsynced.len();
                inode.unsynced.clear();
            }
            Entry::Unlinked(name) => self.name(name, None),
            Entry::Renamed(from, to) => {
                let inode = self.names.get(from).copied();
                self.name(to, inode);
                self.name(from, None);
            }
        }
        Ok(())
    }

    fn synced(&mut self, handle: u64) -> anyhow::Result<()> {
        let count = self.syncing.remove(&handle).context("no sync began")?;
        let Some(inode) = self.handles.get(&handle).context("an unknown handle")? else {
            let count = count.saturating_sub(self.synced_names);
            self.synced_names += count;
            for (name, inode) in self.unsynced_names.drain(..count) {
                match inode {
                    Some(inode) => self.certain_names.insert(name, inode),
                    None => self.certain_names.remove(&name),
                };
            }
            return Ok(());
        };
        if let Some(prefix) = &self.lies_about {
            let mut names = self.names.iter();
            if names.any(|(name, known)| known == inode && name.starts_with(&**prefix)) {
                return Ok(());
            }
        }
        let inode = &mut self.inodes[*inode];
        // Another handle of the same file may have been synced meanwhile.
        let count = count.saturating_sub(inode.synced);
        inode.synced += count;
        for change in inode.unsynced.drain(..count) {
            change.apply(&mut inode.certain);
        }
        Ok(())
    }

    fn inode(&mut self, handle: u64) -> anyhow::Result<&mut Inode> {
        let inode = self.handles.get(&handle).copied().flatten();
        let inode = inode.context("a write to an unknown handle")?;
        Ok(&mut self.inodes[inode])
    }

    fn name(&mut self, name: &str, inode: Option<usize>) {
        match inode {
            Some(inode) => self.names.insert(name.to_owned(), inode),
            None => self.names.remove(name),
        };
        self.unsynced_names.push((name.to_owned(), inode));
    }

    /// Writes a directory as a power cut at this moment may leave it.
    ///
    /// # Errors
    /// It cannot be written, or is not new.
    pub fn cut(&self, unsynced: Unsynced, dice: &mut Dice, into: &Path) -> anyhow::Result<()> {
        ensure!(!into.exists(), "{} is there already", into.display());
        fs::create_dir_all(into)?;
        let mut names = self.certain_names.clone();
        let mut ended: BTreeMap<&str, bool> = BTreeMap::new();
        for (name, inode) in &self.unsynced_names {
            let over = ended.entry(name).or_insert(false);
            *over |= match unsynced {
                Unsynced::Lost => true,
                Unsynced::Kept => false,
                Unsynced::Torn => dice.below(2) == 0,
            };
            match inode {
                _ if *over => {}
                Some(inode) => drop(names.insert(name.clone(), *inode)),
                None => drop(names.remove(name)),
            }
        }
        for (name, inode) in names.iter().filter(|(name, _)| lasts(name)) {
            let content = self.inodes[*inode].after_cut(unsynced, dice);
            fs::write(into.join(name), content)?;
        }
        Ok(())
    }
}
