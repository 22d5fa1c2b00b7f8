//! Spool of found blocks, kept whole from the moment they are found until the node has answered.
//!
//! One file a block, named by the block's hash in hex: `<hash>.block`, `<hash>.solo.block` for one that pays its
//! finder, `<hash>.split.block` for one that pays accounts. The last begins with a line that has its split. A file
//! exists complete or not at all; one that is damaged nevertheless is set aside, never deleted.
//!
//! A file is written as `.<name>.<length>-<checksum>.tmp` and renamed. A process that is killed before the rename
//! leaves that temporary, and its name says whether it is whole: then it is a block like the others.
//!
//! A few files beside them, `.reserve-N`, reserve space: when the disk is full, a block is written over one
//! of them, which is then renamed. Deleting it first would free the space for whoever writes next.

use std::borrow::Cow;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use hstratum_core::chain::coinbase::Payout;
use hstratum_core::chain::header::{HEADER_BYTES, decode_header, header_hash};
use hstratum_core::units::Hash;
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use crate::durable_fs;
use crate::limits::{BLOCK_BYTES_MAX, SPLIT_BYTES_MAX};

const SUFFIX: &str = ".block";

/// Number of blocks that find space on a full disk.
const RESERVE_FILES: u32 = 4;

/// Bytes of one reserve file. A block without its witnesses has at most 1 MB (hsd lib/protocol/consensus.js,
/// MAX_BLOCK_SIZE); a larger one uses the space of all.
const RESERVE_BYTES: usize = 1 << 20;

/// Digits of the checksum in a temporary's name.
const CHECKSUM_DIGITS: usize = 16;

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
    /// Recipient of its reward, which the bytes do not tell.
    pub payout: Payout,
    /// Its split as text without a newline, if it pays accounts.
    pub split: Option<String>,
    /// The whole block as the node reads it.
    pub raw: Vec<u8>,
}

impl SpooledBlock {
    /// The bytes of its file.
    fn bytes(&self) -> Cow<'_, [u8]> {
        match &self.split {
            None => Cow::Borrowed(&self.raw),
            Some(split) => Cow::Owned([split.as_bytes(), b"\n", &self.raw].concat()),
        }
    }
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
        let list = || names(&dir).with_context(|| format!("failed to list {}", dir.display()));
        let mut blocks = Vec::new();
        let mut problems = Vec::new();
        let temporaries = list()?;
        for temporary in temporaries.iter().filter_map(|name| Temporary::parse(name)) {
            if !temporary.finish(&dir)? {
                problems.push(set_aside(&dir, &temporary.to_string())?);
            }
        }
        for name in list()? {
            if !name.ends_with(SUFFIX) {
                continue;
            }
            let path = dir.join(&name);
            match read_bounded(&path) {
                Err(error) => {
                    problems.push(format!("failed to read {}: {error}", path.display()));
                }
                Ok(bytes) => match check(&name, bytes) {
                    Some(block) => blocks.push(block),
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
    pub fn put(&self, block: &SpooledBlock) -> anyhow::Result<()> {
        let raw = &block.bytes();
        let temporary = Temporary::of(file_name(&block.hash, block.payout), raw);
        self.write(&temporary, raw).or_else(|error| {
            for number in 0..RESERVE_FILES {
                if self.write_over(number, &temporary, raw).is_ok() {
                    return durable_fs::sync_dir(&self.dir);
                }
            }
            let mut is_given_up = false;
            for number in 0..RESERVE_FILES {
                is_given_up |= fs::remove_file(self.reserve(number)).is_ok();
            }
            match is_given_up {
                true => self.write(&temporary, raw),
                false => Err(error),
            }
        })
    }

    fn write(&self, temporary: &Temporary, raw: &[u8]) -> anyhow::Result<()> {
        let (path, name) = (temporary.to_string(), &temporary.name);
        durable_fs::write_by_way_of(&self.dir, &path, name, raw, durable_fs::FOR_ALL)
    }

    /// Writes a block over a reserve file without enlarging it.
    fn write_over(&self, number: u32, temporary: &Temporary, raw: &[u8]) -> io::Result<()> {
        let reserve = self.reserve(number);
        if fs::metadata(&reserve)?.len() < raw.len() as u64 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let path = self.dir.join(temporary.to_string());
        fs::rename(reserve, &path)?;
        let mut file = File::options().write(true).open(&path)?;
        file.write_all(raw)
            .and_then(|()| file.set_len(raw.len() as u64))
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::rename(&path, self.dir.join(&temporary.name)))
            .inspect_err(|_| drop(fs::remove_file(&path)))
    }

    fn reserve(&self, number: u32) -> PathBuf {
        self.dir.join(format!(".reserve-{number}"))
    }

    /// Renames a block's file that is not to be offered. Gives a line that says so.
    ///
    /// # Errors
    /// When it could not be renamed.
    pub(crate) fn set_aside(&self, block: &SpooledBlock) -> anyhow::Result<String> {
        set_aside(&self.dir, &file_name(&block.hash, block.payout))
    }

    /// Copies a block's file that is offered without its split. Gives the copy's path.
    ///
    /// # Errors
    /// When it could not be written.
    pub(crate) fn copy_aside(&self, block: &SpooledBlock) -> anyhow::Result<PathBuf> {
        let name = format!("{}.torn", file_name(&block.hash, block.payout));
        durable_fs::write_whole(&self.dir, &name, &block.bytes())?;
        Ok(self.dir.join(name))
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
        for payout in Payout::ALL {
            let path = self.dir.join(file_name(hash, payout));
            match fs::remove_file(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                // Not synced: a block that reappears after a power cut is offered once more, which is harmless.
                removed => {
                    removed.with_context(|| format!("failed to remove {}", path.display()))?;
                }
            }
        }
        Ok(())
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

fn file_name(hash: &Hash, payout: Payout) -> String {
    match payout {
        Payout::Operator => format!("{hash}{SUFFIX}"),
        Payout::Solo | Payout::Split => format!("{hash}.{}{SUFFIX}", payout.name()),
    }
}

/// A file while it is written: its later name, and what tells from the temporary's name whether it is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Temporary {
    name: String,
    length: u64,
    checksum: String,
}

impl Temporary {
    fn of(name: String, bytes: &[u8]) -> Self {
        Self {
            name,
            length: bytes.len() as u64,
            checksum: checksum(bytes),
        }
    }

    /// The temporary of a file's name, if it is one.
    fn parse(file: &str) -> Option<Self> {
        let (name, proof) = file
            .strip_prefix('.')?
            .strip_suffix(".tmp")?
            .rsplit_once('.')?;
        let (length, checksum) = proof.split_once('-')?;
        Some(Self {
            name: name.ends_with(SUFFIX).then(|| name.to_owned())?,
            length: length.parse().ok()?,
            checksum: checksum.to_owned(),
        })
    }

    /// Gives a whole file its name; false if it is not whole.
    fn finish(&self, dir: &Path) -> anyhow::Result<bool> {
        let path = dir.join(self.to_string());
        // A reserve file that was written over may have more behind the block.
        let is_whole = read_bounded(&path).is_ok_and(|bytes| {
            let block = usize::try_from(self.length)
                .ok()
                .and_then(|end| bytes.get(..end));
            block.is_some_and(|block| checksum(block) == self.checksum)
        });
        if !is_whole {
            return Ok(false);
        }
        let renamed = File::options().write(true).open(&path).and_then(|file| {
            file.set_len(self.length)?;
            file.sync_all()?;
            fs::rename(&path, dir.join(&self.name))
        });
        renamed.with_context(|| format!("failed to rename {}", path.display()))?;
        durable_fs::sync_dir(dir)?;
        Ok(true)
    }
}

impl fmt::Display for Temporary {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, ".{}.{}-{}.tmp", self.name, self.length, self.checksum)
    }
}

fn checksum(bytes: &[u8]) -> String {
    let mut digits = Hash::blake2b(&[bytes]).to_string();
    digits.truncate(CHECKSUM_DIGITS);
    digits
}

/// Sorted names of the files in a directory.
fn names(dir: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        // A name that is not UTF-8 is not ours.
        if let Ok(name) = entry?.file_name().into_string() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Reads at most one byte more than a file may have, which is enough to recognize one that is no block.
fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut raw = Vec::new();
    File::open(path)?
        .take(SPLIT_BYTES_MAX + BLOCK_BYTES_MAX + 1)
        .read_to_end(&mut raw)?;
    Ok(raw)
}

/// The block of a file, if the file's name agrees.
fn check(name: &str, mut bytes: Vec<u8>) -> Option<SpooledBlock> {
    let is_split = name.ends_with(&format!(".{}{SUFFIX}", Payout::Split.name()));
    let mut split = None;
    if is_split {
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let raw = bytes.split_off(end + 1);
        bytes.truncate(end);
        split = Some(String::from_utf8(std::mem::replace(&mut bytes, raw)).ok()?);
    }
    let (fields, proof, mask) = decode_header(bytes.get(..HEADER_BYTES)?)?;
    let hash = header_hash(&fields, &proof, &mask);
    let mut payouts = Payout::ALL.into_iter();
    let payout = payouts.find(|payout| name == file_name(&hash, *payout))?;
    (bytes.len() as u64 <= BLOCK_BYTES_MAX).then_some(SpooledBlock {
        hash,
        payout,
        split,
        raw: bytes,
    })
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
            payout: Payout::ALL[usize::from(nonce) % 3],
            split: (nonce % 3 == 2).then(|| "[\"a split\"]".to_owned()),
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
        let mut put = vec![block(1), block(2), block(3)];
        for block in &put {
            spool.put(block).expect("put");
        }
        spool.put(&put[0]).expect("put again");

        let (spool, blocks, problems) = open(&dir);
        put.sort_by_key(|block| block.hash);
        assert_eq!(blocks, put);
        assert!(problems.is_empty());

        spool.remove(&put[0].hash).expect("removed");
        spool.remove(&put[0].hash).expect("nothing to remove");
        assert_eq!(open(&dir).1, put[1..]);
    }

    #[test]
    fn foreign_files_are_ignored() {
        let dir = tempfile::tempdir().expect("a directory");
        for name in ["README", ".mine.tmp", ".mine.block.tmp", ".reserve-0"] {
            fs::write(dir.path().join(name), "mine").expect("written");
        }
        let (_, blocks, problems) = open(dir.path());
        assert!(blocks.is_empty() && problems.is_empty());
    }

    /// The temporary of a block, written by a process that was killed before the rename.
    fn killed_at(dir: &Path, block: &SpooledBlock, written: &[u8]) -> PathBuf {
        let name = file_name(&block.hash, block.payout);
        let path = dir.join(Temporary::of(name, &block.bytes()).to_string());
        fs::write(&path, written).expect("written");
        path
    }

    #[test]
    fn block_whose_writer_was_killed_before_the_rename_is_there() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut put = vec![block(1), block(2), block(3)];
        let whole = put.iter().map(|block| block.bytes().into_owned());
        let mut whole: Vec<_> = whole.collect();
        // Written over a reserve file, which is longer.
        whole[2].resize(RESERVE_BYTES, 9);
        for (block, written) in put.iter().zip(&whole) {
            killed_at(dir.path(), block, written);
        }
        put.sort_by_key(|block| block.hash);
        for _ in 0..2 {
            let (_, blocks, problems) = open(dir.path());
            assert_eq!(blocks, put);
            assert!(problems.is_empty(), "{problems:?}");
            assert_eq!(names(dir.path()).expect("listed").len(), 3);
        }
    }

    #[test]
    fn part_of_a_block_is_set_aside() {
        let dir = tempfile::tempdir().expect("a directory");
        let block = block(2);
        let half = &block.bytes()[..200];
        let path = killed_at(dir.path(), &block, half);
        let (_, blocks, problems) = open(dir.path());
        assert!(blocks.is_empty());
        assert_eq!(problems.len(), 1);
        let torn = format!("{}.torn", path.display());
        assert_eq!(fs::read(torn).expect("kept"), half);
        assert!(open(dir.path()).2.is_empty());
    }

    #[test]
    fn block_written_over_a_reserve_file_is_there() {
        let dir = tempfile::tempdir().expect("a directory");
        let (spool, ..) = open(dir.path());
        spool.make_reserve().expect("made");
        let (block, large) = (block(2), vec![1; RESERVE_BYTES + 1]);
        let temporary = Temporary::of(file_name(&block.hash, block.payout), &block.bytes());
        spool
            .write_over(0, &temporary, &large)
            .expect_err("too large");
        assert!(spool.has_reserve());
        spool
            .write_over(0, &temporary, &block.bytes())
            .expect("written");
        assert!(!spool.has_reserve());
        let (_, blocks, problems) = open(dir.path());
        assert_eq!(blocks, [block]);
        assert!(problems.is_empty(), "{problems:?}");
    }

    #[test]
    fn damaged_block_is_set_aside_and_never_deleted() {
        let dir = tempfile::tempdir().expect("a directory");
        let name = file_name(&block(1).hash, Payout::Operator);
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
