//! Statuses of a server's parts, for those that show them or raise alarms from them: each is written by
//! one thread and read by any, which waits for nobody.

use std::sync::Arc;

use crate::cluster::cluster_status::ClusterStatus;
use crate::payer::PayerStatus;
use crate::store::ledger_status::LedgerStatus;
use crate::supervision::Duties;
use crate::telemetry::node_lag::NodeLag;
use crate::telemetry::node_reports::NodeReports;

/// The statuses of one server. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Statuses {
    pub ledger: Arc<LedgerStatus>,
    /// None where no ledger is shared.
    pub cluster: Option<Arc<ClusterStatus>>,
    pub node_lag: Arc<NodeLag>,
    pub node_reports: Arc<NodeReports>,
    pub payer: Arc<PayerStatus>,
    pub duties: Duties,
}
