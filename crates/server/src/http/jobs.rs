//! Jobs by their ids, with all that a miner needs to compute the roots of its `mining.notify` and to see whom
//! the block would pay.
//!
//! Everything is computed here from the template that the driver has shown; the pool is not asked.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use hstratum_core::chain::address::Address;
use hstratum_core::chain::coinbase::{Coinbase, Payout};
use hstratum_core::chain::coinbase_split::FrozenSplit;
use hstratum_core::chain::merkle::Branch;
use hstratum_core::chain::transaction::Transaction;
use hstratum_core::job::direct_payout::{DirectPayout, OperatorFee};
use hstratum_core::units::hex;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::answer::{ApiError, ApiResult, PathName, Problem, QueryParams};
use super::site::Site;
use crate::config::settings::Settings;
use crate::net::listener::ListenSpec;

/// A job as miners have it, but for its time, which miners choose.
#[derive(Serialize, ToSchema)]
#[schema(as = Job)]
pub(crate) struct ApiJob {
    /// The first parameter of `mining.notify`.
    id: String,
    /// Height of its block.
    height: u32,
    /// Hash of the block before.
    prev_block: String,
    /// Root of the name tree.
    tree_root: String,
    /// Reserved by the protocol.
    reserved_root: String,
    /// Version of its block.
    version: u32,
    /// Network target in compact form.
    bits: u32,
    /// Whom its block pays: `operator`, `split` for the accounts of the window, or `solo` for its finder.
    payout: &'static str,
    /// The whole transaction in hex, base and then witnesses.
    coinbase: String,
    /// Nodes beside the coinbase in the tree of transaction ids, from the leaf up: they give the merkle root.
    merkle_branch: Vec<String>,
    /// The same in the tree of witness hashes: they give the witness root.
    witness_branch: Vec<String>,
    /// The coinbase's outputs in their order.
    outputs: Vec<ApiJobOutput>,
}

/// An output of a job's coinbase.
#[derive(Serialize, ToSchema)]
#[schema(as = JobOutput)]
pub(crate) struct ApiJobOutput {
    /// The address that is paid.
    address: String,
    /// Amount in base units.
    value: u64,
    /// The account that it is paid to; left out where that is nobody's account.
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
}

/// Which of the jobs with that id.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct JobAsked {
    /// The address that a miner of a solo listener is paid at: its job is another for each. Only where there
    /// is such a listener; needed where there is no other.
    payee: Option<String>,
    /// The account whose outputs are named, also where names are hidden.
    #[expect(dead_code, reason = "it is read where answers are cut")]
    account: Option<String>,
}

/// The ways in which the listeners of a server pay.
pub(crate) struct ListenerPayouts {
    /// Jobs of some listener depend on no payee.
    has_shared: bool,
    /// The operator's part of solo blocks; none where no listener is solo.
    solo_fee: Option<Arc<OperatorFee>>,
}

impl ListenerPayouts {
    /// Those of a server whose options have been checked.
    pub(crate) fn of(settings: &Settings) -> Self {
        let listeners = settings.config.listeners();
        let is_solo = |(spec, _): &(ListenSpec, _)| spec.payout == Some(Payout::Solo);
        let fee = || settings.operator_fee().expect("checked at the start");
        Self {
            has_shared: !listeners.iter().all(is_solo),
            solo_fee: listeners.iter().any(is_solo).then(|| Arc::new(fee())),
        }
    }

    /// The recipients of solo blocks of that payee; `None` for jobs of the other listeners.
    fn direct(&self, payee: Option<&str>, site: &Site) -> Result<Option<DirectPayout>, ApiError> {
        match (payee, &self.solo_fee) {
            (None, _) if self.has_shared => Ok(None),
            (None, _) => Err(ApiError::wrong(
                "payee: blocks pay their finder here, so a job is known by its id and the finder's address",
            )),
            (Some(_), None) => Err(ApiError::wrong(
                "payee: no listener of this server pays the finders of blocks",
            )),
            (Some(text), Some(fee)) => {
                let payee = Address::payable(text, site.network)
                    .map_err(|why| ApiError::wrong(format!("payee: {why}")))?;
                let fee = fee.clone();
                Ok(Some(DirectPayout { payee, fee }))
            }
        }
    }
}

/// A job that miners of this server have or had, while its template is kept: of the last 32 templates.
#[utoipa::path(get, path = "/api/v1/jobs/{id}", tag = "miners",
    params(("id" = String, Path, description = "The first parameter of `mining.notify`."), JobAsked),
    responses((status = 200, body = ApiJob), (status = 400, body = Problem), (status = 404, body = Problem)))]
pub(crate) async fn job(
    State(site): State<Arc<Site>>,
    PathName(id): PathName,
    QueryParams(asked): QueryParams<JobAsked>,
) -> ApiResult<ApiJob> {
    let direct = site
        .payouts_of_listeners
        .direct(asked.payee.as_deref(), &site)?;
    let job = site.live.jobs().find(&id);
    let job = job.ok_or_else(|| ApiError::missing("no such job, or it is too old"))?;
    let (coinbase, payout) = match &direct {
        Some(direct) => (job.direct(direct).0, Payout::Solo),
        None if job.template.split.is_some() => (job.coinbase(), Payout::Split),
        None => (job.coinbase(), Payout::Operator),
    };
    let template = &job.template;
    let split = template.split.as_deref().filter(|_| direct.is_none());
    Ok(Json(ApiJob {
        id,
        height: template.height.0,
        prev_block: hex(&template.prev_block.0),
        tree_root: hex(&template.tree_root.0),
        reserved_root: hex(&template.reserved_root.0),
        version: template.version,
        bits: template.bits,
        payout: payout.name(),
        outputs: outputs(&coinbase, split, &site),
        coinbase: hex(coinbase.as_bytes()),
        merkle_branch: nodes(&template.merkle_branch),
        witness_branch: nodes(&template.witness_branch),
    }))
}

/// The outputs of a coinbase; those of a split are the last.
fn outputs(coinbase: &Coinbase, split: Option<&FrozenSplit>, site: &Site) -> Vec<ApiJobOutput> {
    let coinbase = Transaction::parse(coinbase.as_bytes()).expect("a coinbase is a transaction");
    let paid = split.map_or(&[][..], |split| &split.outputs);
    let first_paid = coinbase.outputs.len() - paid.len();
    let outputs = coinbase.outputs.iter().enumerate();
    let shown = outputs.map(|(index, output)| ApiJobOutput {
        address: output.address.encode(site.network),
        value: output.value,
        account: index
            .checked_sub(first_paid)
            .map(|at| paid[at].account.to_string()),
    });
    shown.collect()
}

fn nodes(branch: &Branch) -> Vec<String> {
    branch.nodes().iter().map(|node| hex(&node.0)).collect()
}
