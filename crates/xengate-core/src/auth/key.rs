//! The key that signs tokens.
//!
//! A key file holds raw bytes, all of which are the key. It is a secret like a private key of TLS,
//! so a file that others may read is refused rather than used: who has the key can be anyone.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretSlice};

/// As many bytes as HS256 hashes to; fewer would make the key the weakest part.
const SHORTEST: usize = 32;

/// What a new key has.
const NEW: usize = 64;

/// More than anyone means by a key, so that a wrong path is noticed.
const LONGEST: u64 = 4096;

/// A key for HS256.
pub(super) struct Key(SecretSlice<u8>);

/// Why there is no key to sign tokens with. The texts name the file, never its content.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file could not be read.
    #[error("key file {}: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// There was no file and none could be made.
    #[error("key file {} is not there and could not be made: {source}", file.display())]
    Create {
        /// The file.
        file: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is a directory, a device or the like.
    #[error("key file {} is not a regular file", file.display())]
    NotAFile {
        /// The file.
        file: PathBuf,
    },
    /// Others than its owner may read or change it.
    #[error(
        "key file {} may be used by others than its owner (mode {mode:04o}): chmod 600 it, and \
         make a new key if anyone may have read this one",
        file.display()
    )]
    Exposed {
        /// The file.
        file: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It holds too few or too many bytes.
    #[error("key file {} must hold {SHORTEST} to {LONGEST} random bytes", file.display())]
    Length {
        /// The file.
        file: PathBuf,
    },
    /// The system gave no random bytes.
    #[error("no random bytes for a key: {0}")]
    Random(getrandom::Error),
}

impl Key {
    /// A key that lives and dies with the process.
    pub(super) fn ephemeral() -> Result<Self, KeyError> {
        let mut bytes = vec![0; NEW];
        getrandom::fill(&mut bytes).map_err(KeyError::Random)?;
        Ok(Self(bytes.into()))
    }

    /// The key in `file`, which is made when it is not there.
    pub(super) fn from_file(file: &Path) -> Result<Self, KeyError> {
        match open_file(file)? {
            Ok(open) => Self::read(file, open),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let key = Self::ephemeral()?;
                if create(file, key.expose())
                    .map_err(|source| KeyError::Create { file: file.to_owned(), source })?
                {
                    return Ok(key);
                }
                // Another process was quicker; the key that is on the disk is the one to share.
                let open = File::open(file).map_err(|source| reading(file, source))?;
                Self::read(file, open)
            }
            Err(source) => Err(reading(file, source)),
        }
    }

    fn read(file: &Path, open: File) -> Result<Self, KeyError> {
        // Asked of the open file, so that what is checked is what is read.
        let about = open.metadata().map_err(|source| reading(file, source))?;
        if !about.is_file() {
            return Err(KeyError::NotAFile { file: file.to_owned() });
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = about.permissions().mode() & 0o7777;
            if mode & 0o077 != 0 {
                return Err(KeyError::Exposed { file: file.to_owned(), mode });
            }
        }
        // The capacity is there from the start: a vector that grows leaves copies behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST as usize + 1));
        open.take(LONGEST + 1).read_to_end(&mut bytes).map_err(|source| reading(file, source))?;
        if bytes.len() < SHORTEST || bytes.len() as u64 > LONGEST {
            return Err(KeyError::Length { file: file.to_owned() });
        }
        Ok(Self(bytes.to_vec().into()))
    }

    /// The bytes, for those who sign and verify.
    pub(super) fn expose(&self) -> &[u8] {
        self.0.expose_secret()
    }
}

/// Whether the gateway could start with this key file. One that is not there yet is made at the
/// start, where there is a directory to make it in.
pub fn check_key_file(file: &Path) -> Result<(), KeyError> {
    match open_file(file)? {
        Ok(open) => Key::read(file, open).map(drop),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let about = directory_of(file).metadata();
            let usable = about.and_then(|about| match about.is_dir() {
                true => Ok(()),
                false => Err(io::ErrorKind::NotADirectory.into()),
            });
            usable.map_err(|source| KeyError::Create { file: file.to_owned(), source })
        }
        Err(source) => Err(reading(file, source)),
    }
}

/// Opens a file, unless that could wait for ever.
fn open_file(file: &Path) -> Result<io::Result<File>, KeyError> {
    match file.metadata() {
        Ok(about) if !about.is_file() => Err(KeyError::NotAFile { file: file.to_owned() }),
        _ => Ok(File::open(file)),
    }
}

fn directory_of(file: &Path) -> &Path {
    match file.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// Writes a new key with mode 0600, whole or not at all; false when the file was there after all.
fn create(file: &Path, key: &[u8]) -> io::Result<bool> {
    let directory = directory_of(file);
    // A temporary file has mode 0600 from its first moment.
    let mut temporary = tempfile::NamedTempFile::new_in(directory)?;
    temporary.write_all(key)?;
    temporary.as_file().sync_all()?;
    match temporary.persist_noclobber(file) {
        Ok(_) => Ok(true),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error.error),
    }
}

fn reading(file: &Path, source: io::Error) -> KeyError {
    KeyError::Read { file: file.to_owned(), source }
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn with_mode(file: &Path, bytes: &[u8], mode: u32) {
        fs::write(file, bytes).expect("write");
        fs::set_permissions(file, Permissions::from_mode(mode)).expect("chmod");
    }

    #[test]
    fn a_key_is_made_once_with_mode_0600_and_read_afterwards() {
        let directory = tempfile::tempdir().expect("directory");
        let file = directory.path().join("token.key");
        let made = Key::from_file(&file).expect("made");
        let mode = fs::metadata(&file).expect("metadata").permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        assert_eq!(made.expose().len(), NEW);
        assert_eq!(fs::read(&file).expect("bytes"), made.expose());
        let read = Key::from_file(&file).expect("read");
        assert_eq!(read.expose(), made.expose());
        let entries = fs::read_dir(directory.path()).expect("entries").count();
        assert_eq!(entries, 1, "no temporary file is left");
    }

    #[test]
    fn a_key_that_appears_meanwhile_is_not_overwritten() {
        let directory = tempfile::tempdir().expect("directory");
        let file = directory.path().join("token.key");
        with_mode(&file, &[7; 32], 0o600);
        assert!(!create(&file, &[8; 32]).expect("no fault"));
        assert_eq!(fs::read(&file).expect("bytes"), [7; 32]);
    }

    #[test]
    fn many_starting_at_once_share_one_key() {
        let directory = tempfile::tempdir().expect("directory");
        let file = directory.path().join("token.key");
        let keys: Vec<Key> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..8).map(|_| scope.spawn(|| Key::from_file(&file).expect("key"))).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        assert!(keys.iter().all(|key| key.expose() == keys[0].expose()));
    }

    #[test]
    fn a_key_that_others_may_use_is_refused() {
        let directory = tempfile::tempdir().expect("directory");
        let file = directory.path().join("token.key");
        for mode in [0o644, 0o640, 0o604, 0o620, 0o602, 0o666] {
            with_mode(&file, &[7; 64], mode);
            let error = Key::from_file(&file).err().expect("refused");
            assert!(
                matches!(error, KeyError::Exposed { mode: seen, .. } if seen == mode),
                "{error}"
            );
            assert!(error.to_string().contains(&format!("mode {mode:04o}")), "{error}");
        }
        for mode in [0o600, 0o400] {
            with_mode(&file, &[7; 64], mode);
            assert!(Key::from_file(&file).is_ok());
        }
    }

    #[test]
    fn a_key_of_the_wrong_length_is_refused() {
        let directory = tempfile::tempdir().expect("directory");
        let file = directory.path().join("token.key");
        for length in [0, 1, 31, 4097, 100_000] {
            with_mode(&file, &vec![7; length], 0o600);
            let error = Key::from_file(&file).err().expect("refused");
            assert!(matches!(error, KeyError::Length { .. }), "{length}: {error}");
        }
        for length in [32, 4096] {
            with_mode(&file, &vec![7; length], 0o600);
            assert_eq!(Key::from_file(&file).expect("key").expose().len(), length);
        }
    }

    #[test]
    fn what_is_no_file_and_what_cannot_be_made_say_so() {
        let directory = tempfile::tempdir().expect("directory");
        let error = Key::from_file(directory.path()).err().expect("refused");
        assert!(matches!(error, KeyError::NotAFile { .. }), "{error}");
        let error = Key::from_file(Path::new("/dev/zero")).err().expect("refused");
        assert!(matches!(error, KeyError::NotAFile { .. }), "{error}");
        let nowhere = directory.path().join("absent").join("token.key");
        let error = Key::from_file(&nowhere).err().expect("refused");
        assert!(matches!(error, KeyError::Create { .. }), "{error}");
    }

    #[test]
    fn ephemeral_keys_differ() {
        let (one, other) = (Key::ephemeral().expect("key"), Key::ephemeral().expect("key"));
        assert_ne!(one.expose(), other.expose());
    }
}
