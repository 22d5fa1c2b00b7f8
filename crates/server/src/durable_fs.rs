//! File operations after which a power cut leaves the old state or the new one, never a mixture.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;

/// Mode of a file that the umask alone restricts.
pub(crate) const FOR_ALL: u32 = 0o666;

/// Creates a directory with its parents, syncing each into the one above.
pub(crate) fn create_dir(dir: &Path) -> anyhow::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    if let Some(parent) = parent(dir) {
        create_dir(parent)?;
    }
    match fs::create_dir(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(error).with_context(|| format!("failed to create {}", dir.display()));
        }
        _ => {}
    }
    parent(dir).map_or(Ok(()), sync_dir)
}

/// Makes names created, renamed or removed in `dir` durable.
pub(crate) fn sync_dir(dir: &Path) -> anyhow::Result<()> {
    File::open(dir)
        .and_then(|file| file.sync_all())
        .with_context(|| format!("failed to sync {}", dir.display()))
}

/// Writes `dir/name` whole: writes to a temporary name, syncs, renames, syncs the directory.
///
/// A temporary left by a crash is overwritten by the next attempt and never read.
pub(crate) fn write_whole(dir: &Path, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
    write(dir, name, bytes, FOR_ALL)
}

/// The same for a file that only its owner may read.
pub(crate) fn write_secret(dir: &Path, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
    write(dir, name, bytes, 0o600)
}

fn write(dir: &Path, name: &str, bytes: &[u8], mode: u32) -> anyhow::Result<()> {
    write_by_way_of(dir, &format!(".{name}.tmp"), name, bytes, mode)
}

/// [`write_whole`] with this temporary name, for who reads the temporaries that a crash left, and a file of this mode.
pub(crate) fn write_by_way_of(
    dir: &Path,
    temporary: &str,
    name: &str,
    bytes: &[u8],
    mode: u32,
) -> anyhow::Result<()> {
    create_dir(dir)?;
    let path = dir.join(name);
    let temporary = dir.join(temporary);
    write_synced(&temporary, bytes, mode)
        .and_then(|()| fs::rename(&temporary, &path))
        .inspect_err(|_| {
            // Frees the space for the next attempt, if the disk is full.
            let _ = fs::remove_file(&temporary);
        })
        .with_context(|| format!("failed to write {}", path.display()))?;
    sync_dir(dir)
}

/// The directory a path is in; `None` for a root.
pub(crate) fn parent(path: &Path) -> Option<&Path> {
    path.parent().map(|parent| {
        if parent.as_os_str().is_empty() {
            Path::new(".")
        } else {
            parent
        }
    })
}

fn write_synced(path: &Path, bytes: &[u8], mode: u32) -> std::io::Result<()> {
    // An existing file would keep its mode.
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
