//! Files in a server's directory, other than the ledger, and how they are read at a start.

pub(crate) mod bans;
pub mod block_spool;
pub mod recovered_state;
pub mod share_dump;
pub(crate) mod spooled_split;
pub mod users;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use hstratum_core::accounts::Auth;
use hstratum_core::accounts::ban::Ban;
use hstratum_core::accounts::password::StoredPassword;
use hstratum_core::chain::address::Network;
use hstratum_core::chain::block::{BlockSplit, FoundBlock, is_whole};
use hstratum_core::chain::coinbase_split::SplitRecord;
use hstratum_core::event::Level;
use hstratum_core::units::Hash;

use crate::clock::unix_s;
use crate::config::settings::Settings;
use crate::files::bans::BansFile;
use crate::files::block_spool::{Spool, SpooledBlock};
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

/// The split of a spooled block. Money follows from it, so it must be that of the block's own coinbase.
fn read_split(
    block: &SpooledBlock,
    found: &FoundBlock,
    network: Network,
) -> Result<Option<Arc<SplitRecord>>, &'static str> {
    let Some(text) = &block.split else {
        return Ok(None);
    };
    let split = spooled_split::decode(text, network);
    let split = split.ok_or("has a split that cannot be read")?;
    match split.is_of(found.coinbase.as_bytes()) {
        true => Ok(Some(split)),
        false => Err("has a split that is not its coinbase's"),
    }
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
            let found = FoundBlock::parse(&block.raw, block.payout);
            let Some(mut found) = found.filter(|_| is_whole(&block.raw)) else {
                node.log(Level::Error, &spool.set_aside(&block)?);
                continue;
            };
            found.split = match read_split(&block, &found, settings.network) {
                Ok(split) => split.map(BlockSplit::Recorded),
                Err(reason) => {
                    let copy = spool.copy_aside(&block)?;
                    let text = format!(
                        "block {} in the spool {reason}: it is offered, and recorded without its split if the \
                         ledger has none; what accounts keep of it is in {}",
                        block.hash,
                        copy.display()
                    );
                    node.log(Level::Error, &text);
                    None
                }
            };
            unanswered.insert(block.hash, Unanswered::Spooled(Box::new(found), block.raw));
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
