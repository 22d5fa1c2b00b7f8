//! Writes the share dumps that payout scripts read: `shares/[height]-[hash].json`, one a block.

use std::path::Path;

use hstratum_core::accounting::share_dump::Dump;

use crate::durable_fs;

/// Writes the file whole and durably, once: an existing file of that name is not changed, whatever it
/// contains, since a script may have paid by it or an operator corrected it.
///
/// # Errors
///
/// When it could not be written and synced. No partial file is visible then, and the call may be repeated.
pub fn write_dump(dir: &Path, dump: &Dump) -> anyhow::Result<DumpWritten> {
    let name = dump.file_name();
    if dir.join(&name).symlink_metadata().is_ok() {
        // An earlier call may have failed between the rename and this sync.
        durable_fs::sync_dir(dir)?;
        return Ok(DumpWritten::Before);
    }
    durable_fs::write_whole(dir, &name, dump.to_json().as_bytes())?;
    Ok(DumpWritten::Now)
}

/// Result of writing a dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DumpWritten {
    /// Written now.
    Now,
    /// Existed before, and was not changed.
    Before,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;

    use hstratum_core::units::Hash;

    use super::*;

    fn dump() -> Dump {
        Dump {
            network: "regtest".into(),
            height: 7,
            block: Hash([0xab; 32]),
            ts: 1,
            time: 2,
            txid: Hash([0xcd; 32]),
            address: "rs1qexample".into(),
            reward: 2_000_000_000,
            total: 8.0,
            shares: BTreeMap::from([("alice".into(), 8.0)]),
            payout: "operator".into(),
            paid: None,
            split: None,
        }
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(dir)
            .expect("listed")
            .map(|entry| {
                entry
                    .expect("read")
                    .file_name()
                    .into_string()
                    .expect("UTF-8")
            })
            .collect();
        names.sort();
        names
    }

    #[test]
    fn dump_is_written_into_a_new_directory() {
        let root = tempfile::tempdir().expect("a directory");
        let dir = root.path().join("stratum/shares");
        write_dump(&dir, &dump()).expect("written");
        assert_eq!(names(&dir), [dump().file_name()]);
        let content = fs::read_to_string(dir.join(dump().file_name())).expect("read");
        assert_eq!(content, dump().to_json());
    }

    #[test]
    fn existing_file_is_left_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join(dump().file_name());
        fs::write(&path, "paid").expect("written");
        write_dump(dir.path(), &dump()).expect("left alone");
        assert_eq!(fs::read_to_string(&path).expect("read"), "paid");
    }

    #[test]
    fn stale_temporary_is_overwritten() {
        let dir = tempfile::tempdir().expect("a directory");
        let stale = dir.path().join(format!(".{}.tmp", dump().file_name()));
        fs::write(&stale, "x".repeat(10_000)).expect("written");
        write_dump(dir.path(), &dump()).expect("written");
        assert_eq!(names(dir.path()), [dump().file_name()]);
        let content = fs::read_to_string(dir.path().join(dump().file_name())).expect("read");
        assert_eq!(content, dump().to_json());
    }

    #[test]
    fn directory_that_cannot_be_made_is_an_error() {
        let root = tempfile::tempdir().expect("a directory");
        fs::write(root.path().join("shares"), "a file").expect("written");
        let error = write_dump(&root.path().join("shares"), &dump()).expect_err("not a directory");
        assert!(format!("{error:#}").starts_with("failed to "), "{error:#}");
    }
}
