//! Files that the config names: opened without waiting for anybody, and read up to a limit.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;

#[cfg(test)]
pub(crate) mod temp;

/// Octets of a PEM file. Chosen: some fifteen times all root certificates that a machine trusts (Debian's
/// bundle has 220,000).
pub const PEM_OCTETS_MAX: u64 = 4 << 20;

/// Opens a regular file, or what a link says is one. A FIFO would wait for a writer, and a device may have
/// no end.
///
/// # Errors
/// What the system says, or that it is not a regular file.
pub fn open(path: &Path) -> io::Result<File> {
    // Looked at first, as opening a device may do something; and what was opened may be another one by then.
    regular(&std::fs::metadata(path)?)?;
    let now = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(now).open(path)?;
    regular(&file.metadata()?)?;
    Ok(file)
}

/// Reads a regular file of at most so many octets.
///
/// # Errors
/// As [`open`], or that it is larger.
pub fn read(path: &Path, octets_max: u64) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    let octets = file.metadata()?.len();
    let larger = || io::Error::other(format!("it is larger than {octets_max} octets"));
    if octets > octets_max {
        return Err(larger());
    }
    let mut text = Vec::with_capacity(usize::try_from(octets).unwrap_or_default());
    // It may grow meanwhile.
    file.take(octets_max + 1).read_to_end(&mut text)?;
    match text.len() as u64 > octets_max {
        true => Err(larger()),
        false => Ok(text),
    }
}

/// As [`read`], of a text.
///
/// # Errors
/// As [`read`], or that it is no UTF-8.
pub fn read_text(path: &Path, octets_max: u64) -> io::Result<String> {
    let text = String::from_utf8(read(path, octets_max)?);
    text.map_err(|_| io::Error::other("it is not UTF-8 text"))
}

fn regular(found: &Metadata) -> io::Result<()> {
    match found.is_file() {
        true => Ok(()),
        false => Err(io::Error::other("it is not a regular file")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::temp::TempDir;
    use super::*;

    /// Far above what it takes to say no.
    const SOON: Duration = Duration::from_secs(20);

    #[test]
    fn nothing_but_a_regular_file_is_opened_and_nobody_is_waited_for() {
        let dir = TempDir::new();
        let fifo = dir.0.join("key.p8");
        mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let link = dir.0.join("link");
        std::os::unix::fs::symlink(&fifo, &link).unwrap();
        for path in [fifo, link, dir.0.clone(), "/dev/zero".into()] {
            let (told, hear) = mpsc::channel();
            let asked = path.clone();
            std::thread::spawn(move || told.send(read(&asked, 10).map_err(|why| why.to_string())));
            let said = hear.recv_timeout(SOON);
            let why = Err("it is not a regular file".to_owned());
            assert_eq!(said, Ok(why), "{}", path.display());
        }
    }

    #[test]
    fn a_file_is_read_up_to_the_limit_and_not_beyond() {
        let dir = TempDir::new();
        let path = dir.0.join("key");
        std::fs::write(&path, "0123456789").unwrap();
        assert_eq!(read(&path, 10).unwrap(), b"0123456789");
        assert_eq!(read_text(&path, 10).unwrap(), "0123456789");
        let why = read(&path, 9).unwrap_err().to_string();
        assert_eq!(why, "it is larger than 9 octets");
        std::fs::write(&path, b"\xff").unwrap();
        let why = read_text(&path, 9).unwrap_err().to_string();
        assert_eq!(why, "it is not UTF-8 text");
    }
}
