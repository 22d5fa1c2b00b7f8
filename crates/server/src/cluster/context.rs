//! Address of the shared ledger and identity of this server there, for threads other than the shipper.

use std::path::PathBuf;
use std::sync::Arc;

use hstratum_core::chain::address::Network;

use super::cluster_status::{ClusterLink, ClusterStatus};
use super::origin;
use crate::clock::unix_s;
use crate::cluster::users::table::OwnServer;
use crate::sql::sqlite_schema::FileId;
use crate::sql::url::PostgresUrl;
use crate::sql::{Postgres, postgres_schema};

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
    /// A new connection, on which this server has its number.
    pub(crate) fn connect(&self) -> anyhow::Result<(Postgres, i64)> {
        let mut postgres = postgres_schema::open(&self.address, self.network, unix_s())?;
        let number = origin::find(postgres.client()?, &self.origin, &self.label)?;
        Ok((postgres, number))
    }

    /// The file that this server ships under, and how often it and the shared ledger were compared.
    pub(crate) fn own_origin(&self) -> (FileId, u64) {
        let (own, generation) = self.cluster_status.own();
        (own.map_or(self.origin, |own| own.origin), generation)
    }

    /// True while the shipper has a connection.
    pub(crate) fn is_up(&self) -> bool {
        self.cluster_status.read().link == ClusterLink::Up
    }

    /// This server, as the shared ledger knows it by this file.
    pub(crate) fn me<'a>(&'a self, origin: &'a FileId) -> OwnServer<'a> {
        OwnServer {
            origin,
            label: &self.label,
        }
    }
}
