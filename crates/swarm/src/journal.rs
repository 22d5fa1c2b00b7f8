//! The account of a run for a script, while it runs: JSON lines in a file, each whole and at once, so that
//! they outlive whatever happens to the server or to this process. Each line says its `kind`:
//!
//! - `account`: all that became of an account's shares so far, after a connection was lost and at
//!   the end. The last line of an account counts.
//! - `block`: a share that is a block is about to be sent. `answer`: what the server said to it.
//! - `progress`: how it goes, several times a second; every `account` line that is due comes before.
//!   `oldest_ms` is how long the share that has waited longest for its answer has.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use serde_json::{Value, json};

/// The file of a run's account. Without a path there is none.
pub(crate) struct Journal {
    file: Option<(File, PathBuf)>,
}

impl Journal {
    /// Goes on at the end of what is there.
    pub(crate) fn open(path: Option<&Path>) -> anyhow::Result<Self> {
        let open = |path: &Path| {
            let file = OpenOptions::new().create(true).append(true).open(path);
            let file = file.with_context(|| format!("failed to open {path:?}"))?;
            anyhow::Ok((file, path.to_owned()))
        };
        let file = path.map(open).transpose()?;
        Ok(Self { file })
    }

    /// Tells if there is a file.
    pub(crate) fn is_kept(&self) -> bool {
        self.file.is_some()
    }

    /// Appends objects, each with its `kind` and the time in unix milliseconds.
    pub(crate) fn write(
        &mut self,
        kind: &str,
        objects: impl IntoIterator<Item = Value>,
    ) -> anyhow::Result<()> {
        let Some((file, path)) = &mut self.file else {
            return Ok(());
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let at = now.map_or(0, |since| since.as_millis() as u64);
        let mut lines = String::new();
        for mut object in objects {
            object["kind"] = json!(kind);
            object["at"] = json!(at);
            lines += &object.to_string();
            lines.push('\n');
        }
        file.write_all(lines.as_bytes())
            .with_context(|| format!("failed to write {path:?}"))
    }
}
