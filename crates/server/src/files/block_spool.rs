//! Spool of found blocks, kept whole from the moment they are found until the node has answered.
//!
//! One file a block, `<hash>.block`, named by the block's hash in hex. A file exists complete or not at all;
//! one that is damaged nevertheless is set aside, never deleted.
//!
//! A few files beside them, `.reserve-N`, reserve space: when the disk is full, a block is written over one
//! of them, which is then renamed. Deleting it first would free the space for whoever writes next.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use hstratum_core::chain::header::{HEADER_BYTES, decode_header, header_hash};
use hstratum_core::units::Hash;
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use crate::durable_fs;
use crate::limits::BLOCK_BYTES_MAX;

const SUFFIX: &str = ".block";

/// Number of blocks that find space on a full disk.
const RESERVE_FILES: u32 = 4;

/// Bytes of one reserve file. A block without its witnesses has at most 1 MB (hsd lib/protocol/consensus.js,
/// MAX_BLOCK_SIZE); a larger one uses the space of all.
const RESERVE_BYTES: usize = 1 << 20;

/// Damaged files of one name that are kept.
const TORN_PER_NAME_MAX: u32 = 1000;

/// The directory of found blocks.
#[derive(Debug)]
pub struct Spool {
    dir: PathBuf,
}

/// A block that the node has not answered yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpooledBlock {
    /// The block's hash.
    pub hash: Hash,
    /// The whole block as the node reads it.
    pub raw: Vec<u8>,
}

impl Spool {
    /// Opens or creates the directory and reads the blocks that an earlier run left, ordered by hash. The
    /// last value holds a line for each file that is no such block: it was renamed to `<name>.torn`, or left
    /// in place if it could not be read at all.
    ///
    /// # Errors
    ///
    /// When the directory cannot be created or listed, or a damaged file cannot be renamed.
    pub fn open(dir: impl Into<PathBuf>) -> anyhow::Result<(Self, Vec<SpooledBlock>, Vec<String>)> {
        let dir = dir.into();
        durable_fs::create_dir(&dir)?;
        let names =
            block_names(&dir).with_context(|| format!("failed to list {}", dir.display()))?;
        let mut blocks = Vec::new();
        let mut problems = Vec::new();
        for name in names {
            let path = dir.join(&name);
            match read_bounded(&path) {
                Err(error) => {
                    problems.push(format!("failed to read {}: {error}", path.display()));
                }
                Ok(raw) => match check(&name, &raw) {
                    Some(hash) => blocks.push(SpooledBlock { hash, raw }),
                    None => problems.push(set_aside(&dir, &name)?),
                },
            }
        }
        Ok((Self { dir }, blocks, problems))
    }

    /// Writes a block. It is durable when this returns.
    ///
    /// # Errors
    ///
    /// When it could not be written and synced.
    pub fn put(&self, hash: &Hash, raw: &[u8]) -> anyhow::Result<()> {
        let name = file_name(hash);
        durable_fs::write_whole(&self.dir, &name, raw).or_else(|error| {
            for number in 0..RESERVE_FILES {
                if self.write_over(number, &name, raw).is_ok() {
                    return durable_fs::sync_dir(&self.dir);
                }
            }
            let mut is_given_up = false;
            for number in 0..RESERVE_FILES {
                is_given_up |= fs::remove_file(self.reserve(number)).is_ok();
            }
            match is_given_up {
                true => durable_fs::write_whole(&self.dir, &name, raw),
                false => Err(error),
            }
        })
    }

    /// Writes a block over a reserve file without enlarging it.
    fn write_over(&self, number: u32, name: &str, raw: &[u8]) -> io::Result<()> {
        let path = self.reserve(number);
        let mut file = File::options().write(true).open(&path)?;
        if file.metadata()?.len() < raw.len() as u64 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        file.write_all(raw)?;
        file.set_len(raw.len() as u64)?;
        file.sync_all()?;
        fs::rename(path, self.dir.join(name))
    }

    fn reserve(&self, number: u32) -> PathBuf {
        self.dir.join(format!(".reserve-{number}"))
    }

    /// True if all reserve files are present.
    pub fn has_reserve(&self) -> bool {
        (0..RESERVE_FILES).all(|number| {
            let file = fs::metadata(self.reserve(number));
            file.is_ok_and(|file| file.len() == RESERVE_BYTES as u64)
        })
    }

    /// Creates missing reserve files.
    ///
    /// # Errors
    ///
    /// When there is no space for them; existing ones stay.
    pub fn make_reserve(&self) -> anyhow::Result<()> {
        for number in 0..RESERVE_FILES {
            let path = self.reserve(number);
            let file = fs::metadata(&path);
            if file.is_ok_and(|file| file.len() == RESERVE_BYTES as u64) {
                continue;
            }
            take_room(&path)
                .inspect_err(|_| drop(fs::remove_file(&path)))
                .with_context(|| format!("failed to write {}", path.display()))?;
        }
        Ok(())
    }

    /// Removes a block that the node has answered; a missing file is no error.
    ///
    /// # Errors
    ///
    /// When the file is there and could not be removed.
    pub fn remove(&self, hash: &Hash) -> anyhow::Result<()> {
        let path = self.dir.join(file_name(hash));
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            // Not synced: a block that reappears after a power cut is offered once more, which is harmless.
            removed => removed.with_context(|| format!("failed to remove {}", path.display())),
        }
    }
}

/// Allocates a reserve file, if possible without writing its bytes: a found block that is being synced would
/// have to wait for them.
fn take_room(path: &Path) -> io::Result<()> {
    let mut file = File::create(path)?;
    match fallocate(&file, FallocateFlags::empty(), 0, RESERVE_BYTES as u64) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
            // Random bytes, which no filesystem can compress.
            let mut bytes = vec![0; RESERVE_BYTES];
            getrandom::fill(&mut bytes)?;
            file.write_all(&bytes)
        }
        taken => Ok(taken?),
    }
}

fn file_name(hash: &Hash) -> String {
    format!("{hash}{SUFFIX}")
}

/// Sorted names of block files, without temporaries and torn files.
fn block_names(dir: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        // A name that is not UTF-8 is not ours.
        if let Ok(name) = entry?.file_name().into_string()
            && name.ends_with(SUFFIX)
        {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Reads at most one byte more than a block may have, which is enough to recognize a file that is none.
fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut raw = Vec::new();
    File::open(path)?
        .take(BLOCK_BYTES_MAX + 1)
        .read_to_end(&mut raw)?;
    Ok(raw)
}

/// The block's hash, if the file's name agrees.
fn check(name: &str, raw: &[u8]) -> Option<Hash> {
    let (fields, proof, mask) = decode_header(raw.get(..HEADER_BYTES)?)?;
    let hash = header_hash(&fields, &proof, &mask);
    (raw.len() as u64 <= BLOCK_BYTES_MAX && name == file_name(&hash)).then_some(hash)
}

fn set_aside(dir: &Path, name: &str) -> anyhow::Result<String> {
    let path = dir.join(name);
    for number in 0..TORN_PER_NAME_MAX {
        let torn = match number {
            0 => dir.join(format!("{name}.torn")),
            _ => dir.join(format!("{name}.torn-{number}")),
        };
        // A rename would replace an earlier one.
        if torn.symlink_metadata().is_err() {
            fs::rename(&path, &torn)
                .with_context(|| format!("failed to rename {}", path.display()))?;
            durable_fs::sync_dir(dir)?;
            return Ok(format!(
                "{} does not hold the block of its name, renamed to {}",
                path.display(),
                torn.display()
            ));
        }
    }
    bail!("failed to rename {}: too many torn files", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(nonce: u8) -> SpooledBlock {
        let mut raw = vec![7; HEADER_BYTES + 100];
        raw[0] = nonce;
        let (fields, proof, mask) = decode_header(&raw[..HEADER_BYTES]).expect("a header");
        SpooledBlock {
            hash: header_hash(&fields, &proof, &mask),
            raw,
        }
    }

    fn open(dir: &Path) -> (Spool, Vec<SpooledBlock>, Vec<String>) {
        Spool::open(dir).expect("opened")
    }

    #[test]
    fn block_is_there_after_a_restart_until_it_is_removed() {
        let root = tempfile::tempdir().expect("a directory");
        let dir = root.path().join("stratum/spool");
        let (spool, blocks, problems) = open(&dir);
        assert!(blocks.is_empty() && problems.is_empty());
        let mut put = vec![block(1), block(2)];
        for block in &put {
            spool.put(&block.hash, &block.raw).expect("put");
        }
        spool.put(&put[0].hash, &put[0].raw).expect("put again");

        let (spool, blocks, problems) = open(&dir);
        put.sort_by_key(|block| block.hash);
        assert_eq!(blocks, put);
        assert!(problems.is_empty());

        spool.remove(&put[0].hash).expect("removed");
        spool.remove(&put[0].hash).expect("nothing to remove");
        assert_eq!(open(&dir).1, put[1..]);
    }

    #[test]
    fn temporaries_and_foreign_files_are_ignored() {
        let dir = tempfile::tempdir().expect("a directory");
        let name = file_name(&block(1).hash);
        fs::write(dir.path().join(format!(".{name}.tmp")), "torn").expect("written");
        fs::write(dir.path().join("README"), "mine").expect("written");
        let (_, blocks, problems) = open(dir.path());
        assert!(blocks.is_empty() && problems.is_empty());
    }

    #[test]
    fn damaged_block_is_set_aside_and_never_deleted() {
        let dir = tempfile::tempdir().expect("a directory");
        let name = file_name(&block(1).hash);
        for (number, raw) in [vec![], block(2).raw, block(1).raw[..200].to_vec()]
            .iter()
            .enumerate()
        {
            fs::write(dir.path().join(&name), raw).expect("written");
            let (_, blocks, problems) = open(dir.path());
            assert!(blocks.is_empty());
            assert_eq!(problems.len(), 1);
            assert!(problems[0].contains(&name), "{}", problems[0]);
            let torn = match number {
                0 => format!("{name}.torn"),
                _ => format!("{name}.torn-{number}"),
            };
            assert_eq!(&fs::read(dir.path().join(torn)).expect("kept"), raw);
        }
        assert!(open(dir.path()).2.is_empty());
    }

    #[test]
    fn name_that_is_no_hash_and_file_that_is_no_block_are_problems() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("mine.block"), block(1).raw).expect("written");
        fs::create_dir(dir.path().join("folder.block")).expect("created");
        let file = File::create(dir.path().join("huge.block")).expect("created");
        file.set_len(BLOCK_BYTES_MAX * 2).expect("sparse");
        let (_, blocks, problems) = open(dir.path());
        assert!(blocks.is_empty());
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(dir.path().join("mine.block.torn").exists());
        assert!(dir.path().join("folder.block").exists());
    }
}
