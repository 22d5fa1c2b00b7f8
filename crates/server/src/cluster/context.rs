//! Address of the shared ledger and identity of this server there, for threads other than the shipper.

use std::path::PathBuf;
use std::sync::Arc;

use hstratum_core::chain::address::Network;

use super::cluster_status::ClusterStatus;
use crate::cluster::users::table::OwnServer;
use crate::sql::file_schema::FileId;
use crate::sql::url::PostgresUrl;

/// The address, this server's identity, and its status there.
#[derive(Clone)]
pub(crate) struct ClusterContext {
    pub address: PostgresUrl,
    pub network: Network,
    /// Id under which the server's file shipped at the start; it may turn out to be a copy of another's.
    pub origin: FileId,
    pub cluster_status: Arc<ClusterStatus>,
    pub label: String,
    /// The server's directory; `None` in memory.
    pub dir: Option<PathBuf>,
}

impl ClusterContext {
    /// This server's identity with this file.
    pub(crate) fn me<'a>(&'a self, origin: &'a FileId) -> OwnServer<'a> {
        OwnServer {
            origin,
            label: &self.label,
        }
    }
}
