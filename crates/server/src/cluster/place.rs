//! Address of the shared ledger and identity of this server there, for threads other than the shipper.

use std::path::PathBuf;
use std::sync::Arc;

use hstratum_core::chain::address::Network;

use super::address::Address;
use super::roll::Me;
use super::standing::Standing;
use crate::store::schema::FileId;

/// The address, this server's identity, and its status there.
#[derive(Clone)]
pub(crate) struct Place {
    pub address: Address,
    pub network: Network,
    /// Id under which the server's file shipped at the start; it may turn out to be a copy of another's.
    pub origin: FileId,
    pub standing: Arc<Standing>,
    pub label: String,
    /// The server's directory; `None` in memory.
    pub dir: Option<PathBuf>,
}

impl Place {
    /// This server's identity with this file.
    pub(crate) fn me<'a>(&'a self, origin: &'a FileId) -> Me<'a> {
        Me {
            origin,
            label: &self.label,
        }
    }
}
