//! Deployments, extra nodes and the download of the chain, as the node's side last reported them.

use parking_lot::Mutex;
use serde::Serialize;
use utoipa::ToSchema;

use crate::telemetry::chain_sync::ChainSync;

/// A deployment of the network, on which blocks vote with a bit of their version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Deployment)]
pub struct DeploymentStatus {
    /// Its name.
    pub name: String,
    /// Its bit.
    pub bit: u32,
    /// `defined`, `started`, `locked_in`, `active` or `failed`. It is being voted on while it is `started`.
    pub state: String,
    /// Whether the pool's blocks have the bit set.
    pub is_signalled: bool,
}

/// A node that the node is to stay connected to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ExtraNode)]
pub struct ExtraNodeStatus {
    /// `HOST:PORT`, as in the option.
    pub address: String,
    /// Whether it is connected.
    pub is_connected: bool,
    /// Why it is not; empty before the first attempt has ended. Untrusted text.
    pub reason: String,
}

/// The last reports.
#[derive(Default)]
pub(crate) struct NodeReports {
    deployments: Mutex<Vec<DeploymentStatus>>,
    extra_nodes: Mutex<Vec<ExtraNodeStatus>>,
    pub sync: ChainSync,
}

impl NodeReports {
    pub(crate) fn set_deployments(&self, deployments: Vec<DeploymentStatus>) {
        *self.deployments.lock() = deployments;
    }

    pub(crate) fn deployments(&self) -> Vec<DeploymentStatus> {
        self.deployments.lock().clone()
    }

    pub(crate) fn set_extra_nodes(&self, nodes: Vec<ExtraNodeStatus>) {
        *self.extra_nodes.lock() = nodes;
    }

    pub(crate) fn extra_nodes(&self) -> Vec<ExtraNodeStatus> {
        self.extra_nodes.lock().clone()
    }
}
