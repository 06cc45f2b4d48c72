//! Provider tokens that outlive the process: one small file for each key, in the data directory.
//!
//! A gateway that restarts in a loop must not make a token at each start (push.md §1.2). The file
//! holds the token and what it is for, never the private key; it is for its owner only (0600), and
//! what it says is believed only after the key itself has verified it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use codecs::jwt::{Jws, SigningKey, TOKEN_OCTETS_MAX};
use serde::{Deserialize, Serialize};

use crate::clock::UnixMs;

/// The directory below the data directory.
const DIRECTORY: &str = "push-tokens";

/// Most octets of a file: a token and a few words.
const FILE_OCTETS_MAX: u64 = TOKEN_OCTETS_MAX as u64 + 1_024;

/// What the file says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    team_id: String,
    key_id: String,
    /// [`SigningKey::fingerprint`] in hexadecimal digits.
    key_fingerprint: String,
    /// `iat`, seconds since 1970.
    issued_at: u64,
    token: String,
}

/// Whose token it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName {
    /// Apple's id of the team, [`codecs::apns::is_id`].
    pub team_id: Box<str>,
    /// Apple's id of the key, of the same form.
    pub key_id: Box<str>,
}

impl std::fmt::Display for KeyName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.team_id, self.key_id)
    }
}

fn path(data: &Path, name: &KeyName) -> PathBuf {
    data.join(DIRECTORY).join(format!("apns-{name}.json"))
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// The token that an earlier process left for this key, and when it was issued. `None`: there is
/// none, or none that `key` signed for `name`.
pub(super) fn load(data: &Path, name: &KeyName, key: &SigningKey) -> Option<(String, UnixMs)> {
    let path = path(data, name);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(path = %path.display(), %error, "a kept provider token cannot be read");
            }
            return None;
        }
    };
    let mut text = Vec::new();
    file.take(FILE_OCTETS_MAX).read_to_end(&mut text).ok()?;
    let content: Content = serde_json::from_slice(&text).ok()?;
    let jws = Jws::parse(&content.token).ok()?;
    let named = jws.key_id() == Some(&*name.key_id);
    let claims = jws.verify(&key.verifying()).ok()?;
    let team = claims.get("iss")?.as_str() == Some(&*name.team_id);
    let issued_at = claims.get("iat")?.as_u64()?.checked_mul(1_000)?;
    (named && team).then_some((content.token, UnixMs(issued_at)))
}

/// Keeps a token. When this returns it is on the disk, whole, in place of the one before.
///
/// # Errors
/// What the system says.
pub(super) fn save(
    data: &Path,
    name: &KeyName,
    fingerprint: &[u8; 32],
    token: &str,
    issued_at: UnixMs,
) -> io::Result<()> {
    let path = path(data, name);
    let directory = data.join(DIRECTORY);
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&directory)?;
    let content = Content {
        team_id: name.team_id.to_string(),
        key_id: name.key_id.to_string(),
        key_fingerprint: hex(fingerprint),
        issued_at: issued_at.0 / 1_000,
        token: token.to_owned(),
    };
    let text = serde_json::to_vec(&content)?;
    let next = path.with_extension("next");
    // Not over what a crash left, whose mode may be another's.
    match fs::remove_file(&next) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&next)?;
    file.write_all(&text)?;
    file.sync_all()?;
    fs::rename(&next, &path)?;
    File::open(&directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use codecs::jwt::Claims;

    use super::*;
    use crate::connect::credentials::tests::{key_pem, name, signing};
    use crate::store::tests::TempDir;

    const ISSUED: UnixMs = UnixMs(1_800_000_000_000);

    fn token(key: &SigningKey, team_id: &str, key_id: &str) -> String {
        let issued_at = ISSUED.0 / 1_000;
        let claims = Claims::Provider { team_id, issued_at };
        key.sign(key_id, &claims).unwrap()
    }

    fn kept(dir: &TempDir, key: &SigningKey, token: &str) -> Option<(String, UnixMs)> {
        save(&dir.0, &name(), &key.fingerprint(), token, ISSUED).unwrap();
        load(&dir.0, &name(), key)
    }

    #[test]
    fn a_token_comes_back_for_its_own_key_team_and_name_only() {
        let (dir, key) = (TempDir::new(), signing(&key_pem()));
        assert_eq!(load(&dir.0, &name(), &key), None);
        let name = name();
        let good = token(&key, &name.team_id, &name.key_id);
        assert_eq!(kept(&dir, &key, &good), Some((good.clone(), ISSUED)));
        // Whoever can write the file can still not put another's token there.
        let other = signing(&key_pem());
        let forged = token(&other, &name.team_id, &name.key_id);
        assert_eq!(kept(&dir, &key, &forged), None);
        assert_eq!(
            kept(&dir, &key, &token(&key, "OTHERTEAM1", &name.key_id)),
            None
        );
        assert_eq!(
            kept(&dir, &key, &token(&key, &name.team_id, "OTHERKEY12")),
            None
        );
        assert_eq!(load(&dir.0, &name, &other), None);
    }

    #[test]
    fn the_file_is_its_owners_alone_and_holds_no_private_key() {
        let (dir, pem) = (TempDir::new(), key_pem());
        let key = signing(&pem);
        let token = token(&key, "TEAM123456", "ABC1234567");
        let next = path(&dir.0, &name()).with_extension("next");
        fs::create_dir_all(next.parent().unwrap()).unwrap();
        // What a crash left, for all to read.
        fs::write(&next, "half").unwrap();
        kept(&dir, &key, &token).unwrap();
        let path = path(&dir.0, &name());
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(!next.exists());
        let text = fs::read_to_string(&path).unwrap();
        let secret = pem.lines().nth(1).unwrap();
        assert!(!text.contains(secret) && !text.contains("PRIVATE"));
        assert!(text.contains(&hex(&key.fingerprint())));
    }

    #[test]
    fn damage_is_no_token() {
        let (dir, key) = (TempDir::new(), signing(&key_pem()));
        let token = token(&key, "TEAM123456", "ABC1234567");
        kept(&dir, &key, &token).unwrap();
        let path = path(&dir.0, &name());
        let whole = fs::read(&path).unwrap();
        for end in 0..whole.len() {
            fs::write(&path, &whole[..end]).unwrap();
            assert_eq!(load(&dir.0, &name(), &key), None, "{end} octets");
        }
    }
}
