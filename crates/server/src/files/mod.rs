//! Files in a server's directory, other than the ledger, and how they are read at a start.

pub(crate) mod bans;
pub mod block_spool;
pub mod recovered_state;
pub mod share_dump;
pub mod users;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use hstratum_core::accounts::Auth;
use hstratum_core::accounts::ban::Ban;
use hstratum_core::accounts::password::StoredPassword;
use hstratum_core::chain::block::FoundBlock;
use hstratum_core::event::Level;
use hstratum_core::units::Hash;

use crate::clock::unix_s;
use crate::config::settings::Settings;
use crate::files::bans::BansFile;
use crate::files::block_spool::Spool;
use crate::files::recovered_state::Unanswered;
use crate::files::users::{Repair, UsersFile};
use crate::node::Node;
use crate::sql::sqlite_schema::FILE_NAME;

/// The files of users and bans; none in memory, or where several servers share them.
#[derive(Default)]
pub(crate) struct UsersFiles {
    pub users: Option<UsersFile>,
    pub bans: Option<BansFile>,
}

/// Content of the files of an earlier run.
#[derive(Default)]
pub(crate) struct ServerFiles {
    pub users_files: UsersFiles,
    pub users: HashMap<String, StoredPassword>,
    pub bans: Vec<Ban>,
    pub spool: Option<Spool>,
    pub unanswered: BTreeMap<Hash, Unanswered>,
}

impl ServerFiles {
    /// Reads the files, and repairs what a crash has left.
    ///
    /// # Errors
    /// One line that names the faulty file.
    pub(crate) fn open(settings: &Settings, node: &dyn Node) -> anyhow::Result<Self> {
        let Some(dir) = &settings.dir else {
            node.log(
                Level::Warning,
                "the node runs in memory: the ledger, users and found blocks are not kept",
            );
            return Ok(Self::default());
        };
        let (spool, spooled, problems) = Spool::open(dir.join("spool"))?;
        for problem in problems {
            node.log(Level::Error, &problem);
        }
        let mut unanswered = BTreeMap::new();
        for block in spooled {
            if let Some(found) = FoundBlock::parse(&block.raw) {
                unanswered.insert(block.hash, Unanswered::Spooled(Box::new(found), block.raw));
            } else {
                let text = format!(
                    "block {} in the spool cannot be read: it stays there",
                    block.hash
                );
                node.log(Level::Error, &text);
            }
        }
        let mut files = Self {
            spool: Some(spool),
            unanswered,
            ..Self::default()
        };
        if settings.config.database.is_none() {
            files.open_people(dir, settings.config.auth, node)?;
        }
        Ok(files)
    }

    /// Reads users and bans of a server that does not share them.
    fn open_people(&mut self, dir: &Path, auth: Auth, node: &dyn Node) -> anyhow::Result<()> {
        let is_gone = !dir.join("users.json").exists() && dir.join(FILE_NAME).exists();
        if is_gone && auth == Auth::Users {
            let text = "there is no users.json: nobody may mine until a user is added. If somebody removed \
                        it, put it back from a backup while the node is stopped";
            node.log(Level::Warning, text);
        }
        let (users_file, records, repair) = UsersFile::open(dir.join("users.json"), unix_s())?;
        match repair {
            None => {}
            Some(Repair::Completed) => {
                node.log(
                    Level::Warning,
                    "the last line of users.json had no newline: it was added",
                );
            }
            Some(Repair::Cut(path)) => {
                let path = path.display();
                node.log(
                    Level::Warning,
                    &format!("the torn end of users.json was moved to {path}"),
                );
            }
        }
        let (bans_file, bans) = BansFile::open(dir)?;
        self.users_files = UsersFiles {
            users: Some(users_file),
            bans: Some(bans_file),
        };
        self.bans = bans;
        self.users = records
            .into_iter()
            .map(|user| (user.name, user.password))
            .collect();
        Ok(())
    }
}
