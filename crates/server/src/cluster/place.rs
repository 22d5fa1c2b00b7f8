//! Where the shared ledger is, and who we are there: for threads that ask it beside the shipper.

use std::path::PathBuf;
use std::sync::Arc;

use hstratum_core::chain::address::Network;

use super::address::Address;
use super::roll::Me;
use super::standing::Standing;
use crate::store::schema::FileId;

/// See the module.
#[derive(Clone)]
pub(crate) struct Place {
    pub address: Address,
    pub network: Network,
    /// What the server's file shipped under at the start: it may turn out to be a copy of another's.
    pub origin: FileId,
    pub standing: Arc<Standing>,
    pub label: String,
    /// The server's directory; none in memory.
    pub dir: Option<PathBuf>,
}

impl Place {
    /// Who we are by this file.
    pub(crate) fn me<'a>(&'a self, origin: &'a FileId) -> Me<'a> {
        Me {
            origin,
            label: &self.label,
        }
    }
}
