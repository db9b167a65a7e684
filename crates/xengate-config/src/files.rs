//! Files that the configuration names.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// More than any of them has; devices never end.
const LARGEST: u64 = 16 << 20;

/// Opens a file. What is none is refused: reading a FIFO that nobody writes into would never end.
pub fn open(file: &Path) -> io::Result<File> {
    // What the shell has opened for this process, by `<(…)`, is being written into.
    let inherited = ["/dev/fd/", "/proc/self/fd/", "/dev/stdin"];
    let inherited =
        inherited.iter().any(|prefix| file.as_os_str().to_string_lossy().starts_with(prefix));
    if !inherited && !std::fs::metadata(file)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    File::open(file)
}

/// The text of a file.
pub fn read(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    open(file)?.take(LARGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LARGEST {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 16 MiB"));
    }
    Ok(text)
}

/// Whether users other than its owner and group may read a file.
pub fn is_readable_by_others(file: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::metadata(file).is_ok_and(|about| about.permissions().mode() & 0o004 != 0)
    }
    #[cfg(not(unix))]
    {
        let _ = file;
        false
    }
}
