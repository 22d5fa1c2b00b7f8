//! The bridge between hsd and hstratum: JavaScript objects become plain data and back. No decision is
//! made here.
//!
//! Every export catches panics, because a panic that crosses into the node would abort it. Calls into
//! JavaScript go through weak thread-safe functions, which do not keep the process alive; building their
//! arguments cannot fail.

use std::net::ToSocketAddrs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hstratum::config::deployment_signal::Deployment;
use hstratum::config::settings::Settings;
use hstratum::config::{Config, OptionOrigin, RawOption, Verify};
use hstratum::messages::Drilled;
use hstratum::node::{BlockQuery, Drill, Look, Node, Offer, SignedMessage};
use hstratum::payout::hsd::{HsdAddress, HsdAddresses};
use hstratum::secret::Secret;
use hstratum::server::{Closing, DeploymentStatus, ExtraNodeStatus, Lag, Server, SyncReport};
use hstratum_core::accounting::ledger::{ChainView, Chainwork, Tip, Verdict};
use hstratum_core::chain::address::Network;
use hstratum_core::chain::block::{Reach, Solution};
use hstratum_core::chain::template::TemplateParts;
use hstratum_core::event::Level;
use hstratum_core::units::{Hash, Height};
use napi::Status;
use napi::bindgen_prelude::{Buffer, FnArgs, Function, JsValuesTupleIntoVec};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi_derive::napi;

/// An error with a stable code.
type Result<T> = std::result::Result<T, napi::Error<&'static str>>;

const ERR_OPTION: &str = "ERR_HSTRATUM_OPTION";
const ERR_START: &str = "ERR_HSTRATUM_START";
const ERR_VALUE: &str = "ERR_HSTRATUM_VALUE";

/// An option as the operator gave it.
#[napi(object)]
pub struct GivenOption {
    /// The name in lower case, without hyphens.
    pub key: String,
    /// The value as text.
    pub value: String,
    /// The source: `flag`, `environment` or `file`.
    pub origin: String,
}

/// A deployment of the node's network, and what the pool's blocks say of it.
#[napi(object)]
#[allow(missing_docs)]
pub struct DeploymentObject {
    pub name: String,
    pub bit: u32,
    /// Null at the start.
    pub state: Option<String>,
    pub signalled: Option<bool>,
}

/// A node of option `extra-nodes`.
#[napi(object)]
#[allow(missing_docs)]
pub struct ExtraNodeObject {
    pub address: String,
    pub connected: bool,
    pub reason: String,
}

/// State of a node that is not synchronized; the fields are those of `SyncReport`.
#[napi(object)]
#[allow(missing_docs)]
pub struct SyncObject {
    pub height: u32,
    pub progress: f64,
    pub peers: u32,
    pub tip_time: i64,
    pub peer_height: Option<u32>,
}

/// The parameters of [`start`].
#[napi(object)]
pub struct StartOptions {
    /// The node's network.
    pub network: String,
    /// The data folder: `<prefix>/<network>/stratum`.
    pub prefix: String,
    /// True if nothing may be written to disk.
    pub memory: bool,
    /// The network's deployments.
    pub deployments: Vec<DeploymentObject>,
    /// Every option that was given.
    pub options: Vec<GivenOption>,
    /// The node's HTTP server.
    pub node_http: Option<HttpObject>,
    /// The HTTP server of its wallet; undefined if none runs in it.
    pub wallet_http: Option<HttpObject>,
}

/// An HTTP server of hsd.
#[napi(object)]
#[allow(missing_docs)]
pub struct HttpObject {
    pub url: String,
    /// The API key; undefined if none is asked for.
    pub key: Option<String>,
}

/// A template; the fields are those of `TemplateParts`, and its age.
#[napi(object)]
#[allow(missing_docs)]
pub struct TemplateObject {
    pub id: i64,
    pub height: u32,
    pub version: u32,
    pub bits: u32,
    pub time: i64,
    pub mtp: i64,
    pub time_min: i64,
    pub time_max: i64,
    pub prev_block: Buffer,
    pub tree_root: Buffer,
    pub reserved_root: Buffer,
    pub merkle_root: Buffer,
    pub witness_root: Buffer,
    pub coinbase: Buffer,
    pub leaves: Buffer,
    /// Milliseconds since it was made.
    pub age_ms: f64,
}

/// The node's view of the chain.
#[napi(object)]
#[allow(missing_docs)]
pub struct ViewObject {
    pub height: u32,
    pub hash: Buffer,
    /// hsd's chainwork, 32 bytes, big-endian.
    pub work: Buffer,
    pub synced: bool,
}

/// A found block for the node: its proof and coinbase for one of the node's templates, or the whole block
/// in `raw`.
#[napi(object)]
#[allow(missing_docs)]
pub struct SolutionObject {
    pub hash: Buffer,
    /// Number of the template; 0 if the block comes whole.
    pub template: i64,
    pub nonce: u32,
    pub time: i64,
    pub extra_nonce: Buffer,
    pub mask: Buffer,
    pub coinbase: Buffer,
    pub merkle_root: Buffer,
    pub witness_root: Buffer,
    /// True to send it to peers at once.
    pub broadcast: bool,
    /// True if another server has found it; the node's verdict is then not awaited.
    pub relayed: bool,
    pub raw: Option<Buffer>,
    /// Present for a drill's made-up solution, which nobody is told of.
    pub drill: Option<DrillObject>,
}

/// Durations of a drill's first two steps.
#[napi(object)]
#[allow(missing_docs)]
pub struct DrillObject {
    pub check_ms: f64,
    pub encode_ms: f64,
}

/// The address of a listener.
#[napi(object)]
#[allow(missing_docs)]
pub struct AddressObject {
    pub host: String,
    pub port: u32,
}

/// A peer to connect to.
#[napi(object)]
#[allow(missing_docs)]
pub struct PeerObject {
    pub name: String,
    pub host: String,
    pub port: u32,
}

type OnSolution = ThreadsafeFunction<SolutionObject, (), SolutionObject, Status, false, true>;
type LogArgs = FnArgs<(&'static str, String)>;
type OnLog = ThreadsafeFunction<LogArgs, (), LogArgs, Status, false, true>;

type LocateArgs = FnArgs<(Vec<Buffer>, Vec<u32>)>;
type OnLocate = ThreadsafeFunction<LocateArgs, (), LocateArgs, Status, false, true>;

type VerifyArgs = FnArgs<(i64, String, String, String)>;
type OnVerify = ThreadsafeFunction<VerifyArgs, (), VerifyArgs, Status, false, true>;

/// hsd, called through the plugin's callbacks.
struct Hsd {
    on_solution: OnSolution,
    on_log: OnLog,
    on_locate: OnLocate,
    on_verify: OnVerify,
}

impl Node for Hsd {
    fn offer(&self, offer: Offer) {
        let solution = match offer {
            Offer::Found(solution) => found(&solution),
            Offer::Spooled { hash, raw } => whole(hash, raw, false),
            Offer::Relayed { hash, raw } => whole(hash, raw, true),
        };
        // Refused only while the process ends; the block is then in the spool.
        self.on_solution
            .call(solution, ThreadsafeFunctionCallMode::NonBlocking);
    }

    fn drill(&self, drill: Drill) {
        let solution = SolutionObject {
            raw: Some(drill.raw.into()),
            drill: Some(DrillObject {
                check_ms: drill.check_ms,
                encode_ms: drill.encode_ms,
            }),
            ..found(&drill.solution)
        };
        self.on_solution
            .call(solution, ThreadsafeFunctionCallMode::NonBlocking);
    }

    fn locate(&self, blocks: Vec<BlockQuery>) {
        let hashes = blocks.iter().map(|(hash, _)| buffer(hash)).collect();
        let heights = blocks.iter().map(|(_, height)| height.0).collect();
        let args = FnArgs::from((hashes, heights));
        self.on_locate
            .call(args, ThreadsafeFunctionCallMode::NonBlocking);
    }

    fn verify_message(&self, id: u64, message: SignedMessage) {
        let id = i64::try_from(id).expect("a count of sign-ins");
        let SignedMessage {
            address,
            signature,
            text,
        } = message;
        let args = FnArgs::from((id, address, signature, text));
        self.on_verify
            .call(args, ThreadsafeFunctionCallMode::NonBlocking);
    }

    fn log(&self, level: Level, text: &str) {
        let args = FnArgs::from((level.name(), text.to_owned()));
        self.on_log
            .call(args, ThreadsafeFunctionCallMode::NonBlocking);
    }
}

fn found(solution: &Solution) -> SolutionObject {
    SolutionObject {
        hash: buffer(&solution.hash),
        template: i64::try_from(solution.template.id).expect("an id of ours"),
        nonce: solution.proof.nonce,
        time: i64::try_from(solution.proof.time).expect("a time of 32 bits"),
        extra_nonce: solution.proof.extra_nonce.to_vec().into(),
        mask: buffer(&solution.mask),
        coinbase: solution.coinbase.as_bytes().to_vec().into(),
        merkle_root: buffer(&solution.fields.merkle_root),
        witness_root: buffer(&solution.fields.witness_root),
        broadcast: solution.reach == Reach::Network,
        relayed: false,
        raw: None,
        drill: None,
    }
}

fn whole(hash: Hash, raw: Vec<u8>, relayed: bool) -> SolutionObject {
    SolutionObject {
        hash: buffer(&hash),
        template: 0,
        nonce: 0,
        time: 0,
        extra_nonce: Buffer::from(vec![]),
        mask: Buffer::from(vec![]),
        coinbase: Buffer::from(vec![]),
        merkle_root: Buffer::from(vec![]),
        witness_root: Buffer::from(vec![]),
        broadcast: true,
        relayed,
        raw: Some(raw.into()),
        drill: None,
    }
}

type StartedArgs = FnArgs<(Option<&'static str>, Option<String>, Option<ServerHandle>)>;

/// A callback for any thread, which does not keep the process running.
fn callback<T: JsValuesTupleIntoVec + 'static>(
    function: &Function<'_, T, ()>,
) -> Result<ThreadsafeFunction<T, (), T, Status, false, true>> {
    let builder = function.build_threadsafe_function().weak::<true>();
    let built = builder.build();
    built.map_err(|error| napi::Error::new(ERR_START, error.reason.clone()))
}

/// Starts a server on a thread of its own, because files, name lookups and the shared ledger can hang.
/// `on_started` gets the result: the server, or an error's code and its one line, which names the wrong
/// option, file or address.
///
/// # Errors
/// The thread or a callback could not be created.
#[napi(catch_unwind)]
pub fn start(
    options: StartOptions,
    on_solution: Function<'_, SolutionObject, ()>,
    on_log: Function<'_, LogArgs, ()>,
    on_locate: Function<'_, LocateArgs, ()>,
    on_verify: Function<'_, VerifyArgs, ()>,
    on_answer: Function<'_, AnswerArgs, ()>,
    on_started: Function<'_, StartedArgs, ()>,
) -> Result<()> {
    let node = Hsd {
        on_solution: callback(&on_solution)?,
        on_log: callback(&on_log)?,
        on_locate: callback(&on_locate)?,
        on_verify: callback(&on_verify)?,
    };
    let (on_answer, on_started) = (callback(&on_answer)?, callback(&on_started)?);
    std::thread::Builder::new()
        .name("hstratum-start".to_owned())
        .spawn(move || {
            let started = catch_unwind(AssertUnwindSafe(|| {
                let (settings, cleared_bits) = settings(options)?;
                let config = settings.config.clone();
                let coinbase_weight = settings.coinbase_weight();
                let server = Server::start(settings, Arc::new(node))
                    .map_err(|error| napi::Error::new(ERR_START, format!("{error:#}")))?;
                Ok(ServerHandle {
                    server,
                    config,
                    coinbase_weight,
                    cleared_bits,
                    calls: Calls::new(on_answer),
                })
            }));
            let args = match started {
                Ok(Ok(server)) => (None, None, Some(server)),
                Ok(Err(error)) => {
                    let error: napi::Error<&'static str> = error;
                    (Some(error.status), Some(error.reason.clone()), None)
                }
                Err(_) => {
                    let text = "the start failed, which is a bug".to_owned();
                    (Some(ERR_START), Some(text), None)
                }
            };
            on_started.call(FnArgs::from(args), ThreadsafeFunctionCallMode::NonBlocking);
        })
        .map_err(|error| napi::Error::new(ERR_START, format!("failed to start: {error}")))?;
    Ok(())
}

/// Bits that option `signal` has cleared, on the node's network.
fn cleared_bits(network: &str, known: &[DeploymentObject], config: &Config) -> Result<u32> {
    let known: Vec<Deployment> = known
        .iter()
        .map(|one| Deployment {
            name: one.name.clone(),
            bit: one.bit,
        })
        .collect();
    let bits = config.signal.cleared_bits(network, &known);
    bits.map_err(|error| napi::Error::new(ERR_OPTION, error.to_string()))
}

/// Address of an HTTP server of hsd. One that cannot be spoken to is an error only if payouts need it.
fn address_of(http: Option<HttpObject>, is_needed: bool) -> Result<Option<HsdAddress>> {
    let Some(HttpObject { url, key }) = http else {
        return Ok(None);
    };
    match url.parse() {
        Ok(url) => Ok(Some(HsdAddress {
            url,
            key: key.map(Secret),
        })),
        Err(_) if !is_needed => Ok(None),
        Err(error) => Err(napi::Error::new(
            ERR_OPTION,
            format!("payout-wallet needs hsd's HTTP server at {url}: {error}"),
        )),
    }
}

/// The server's settings, and the bits that no version has set.
fn settings(options: StartOptions) -> Result<(Settings, u32)> {
    let network = Network::from_name(&options.network).ok_or_else(|| {
        napi::Error::new(ERR_START, format!("unknown network {:?}", options.network))
    })?;
    let mut given = Vec::new();
    for option in options.options {
        given.push(RawOption {
            key: option.key,
            value: option.value,
            origin: match option.origin.as_str() {
                "flag" => OptionOrigin::Flag,
                "environment" => OptionOrigin::Environment,
                "file" => OptionOrigin::File,
                other => {
                    return Err(napi::Error::new(
                        ERR_VALUE,
                        format!("unknown origin {other:?}"),
                    ));
                }
            },
        });
    }
    let config =
        Config::parse(&given).map_err(|error| napi::Error::new(ERR_OPTION, error.to_string()))?;
    let cleared_bits = cleared_bits(&options.network, &options.deployments, &config)?;
    let dir = (!options.memory).then(|| PathBuf::from(options.prefix));
    let pays = config.payout.wallet.is_some();
    let hsd = HsdAddresses {
        node: address_of(options.node_http, pays)?,
        wallet: address_of(options.wallet_http, pays)?,
    };
    let settings = Settings {
        config,
        network,
        dir,
        hsd,
    };
    Ok((settings, cleared_bits))
}

/// A running server.
#[napi(js_name = "Server")]
pub struct ServerHandle {
    server: Server,
    config: Config,
    coinbase_weight: u32,
    /// Bits that are cleared in versions of the node's making.
    cleared_bits: u32,
    calls: Calls,
}

mod calls;
// Declared here, because napi must have seen the class and its name before another file adds methods to
// it.
mod orders;

use calls::{AnswerArgs, Calls, Class};
use orders::AnswerObject;

#[napi]
impl ServerHandle {
    /// Seconds between templates made for mempool changes.
    #[napi(getter, catch_unwind)]
    pub fn refresh_seconds(&self) -> u32 {
        self.config.refresh_s
    }

    /// Weight that templates leave for outputs of the coinbase.
    #[napi(getter, catch_unwind)]
    pub fn coinbase_weight(&self) -> u32 {
        self.coinbase_weight
    }

    /// Bits of a block's version that are not to be set.
    #[napi(getter, catch_unwind)]
    pub fn cleared_bits(&self) -> u32 {
        self.cleared_bits
    }

    /// The nodes of option `extra-nodes`, with the name that they are reported by.
    #[napi(getter, catch_unwind)]
    pub fn extra_nodes(&self) -> Vec<PeerObject> {
        let nodes = self.config.extra_nodes.iter();
        nodes
            .map(|node| PeerObject {
                name: node.to_string(),
                host: node.host.clone(),
                port: node.port.into(),
            })
            .collect()
    }

    /// Reports which extra nodes are connected.
    #[napi(catch_unwind)]
    pub fn tell_extra_nodes(&self, nodes: Vec<ExtraNodeObject>) {
        let nodes = nodes.into_iter().map(|node| ExtraNodeStatus {
            address: node.address,
            is_connected: node.connected,
            reason: node.reason,
        });
        self.server.extra_nodes(nodes.collect());
    }

    /// Reports the network's deployments.
    #[napi(catch_unwind)]
    pub fn tell_deployments(&self, deployments: Vec<DeploymentObject>) {
        let deployments = deployments.into_iter().map(|one| DeploymentStatus {
            name: one.name,
            bit: one.bit,
            state: one.state.unwrap_or_default(),
            is_signalled: one.signalled.unwrap_or(false),
        });
        self.server.deployments(deployments.collect());
    }

    /// Reports how far the download of the chain is; null once the node is synchronized.
    #[napi(catch_unwind)]
    pub fn chain_sync(&self, sync: Option<SyncObject>) -> Result<()> {
        let report = sync.map(|sync| -> Result<SyncReport> {
            Ok(SyncReport {
                height: sync.height,
                progress: sync.progress,
                peers: sync.peers,
                tip_time: unsigned(sync.tip_time)?,
                peer_height: sync.peer_height,
            })
        });
        self.server.chain_sync(report.transpose()?);
        Ok(())
    }

    /// Reports that a found block is announced now, to this many peers, this many milliseconds after the
    /// node's thread has taken its solution.
    #[napi(catch_unwind)]
    pub fn block_announced(&self, hash: Buffer, peers: u32, taken_ms: f64) -> Result<()> {
        self.server
            .block_announced(&hash_of(&hash)?, peers, duration(taken_ms));
        Ok(())
    }

    /// Reports that a first peer asks for a found block now.
    #[napi(catch_unwind)]
    pub fn block_asked(&self, hash: Buffer) -> Result<()> {
        self.server.block_asked(&hash_of(&hash)?);
        Ok(())
    }

    /// Reports how many peers have asked for a found block a second after its announcement, or that it is
    /// not announced.
    #[napi(catch_unwind)]
    pub fn block_spread(&self, hash: Buffer, peers: u32) -> Result<()> {
        self.server.block_spread(&hash_of(&hash)?, peers);
        Ok(())
    }

    /// Reports a block of the node's that is not on its main chain.
    #[napi(catch_unwind)]
    pub fn competitor(&self, hash: Buffer, height: u32) -> Result<()> {
        self.server.competitor(hash_of(&hash)?, Height(height));
        Ok(())
    }

    /// Looks a host's addresses up, on a thread of its own.
    #[napi(catch_unwind)]
    pub fn resolve(&self, call: u32, host: String) {
        self.calls.begin(Class::Resolve, call, move || {
            let found = (host.as_str(), 0).to_socket_addrs();
            let found = found.map_err(|error| napi::Error::from_reason(error.to_string()))?;
            let addresses = found.map(|address| address.ip().to_string()).collect();
            Ok(AnswerObject {
                addresses: Some(addresses),
                ..AnswerObject::default()
            })
        });
    }

    /// True if templates are verified in the node's idle time.
    #[napi(getter, catch_unwind)]
    pub fn verifies(&self) -> bool {
        self.config.verify == Verify::Idle
    }

    /// The first address where miners connect.
    #[napi(getter, catch_unwind)]
    pub fn address(&self) -> AddressObject {
        let address = self.server.address();
        AddressObject {
            host: address.ip().to_string(),
            port: address.port().into(),
        }
    }

    /// Reports that the chain has a new tip.
    #[napi(catch_unwind)]
    pub fn tip(&self, hash: Buffer, height: u32) -> Result<()> {
        self.server.tip(hash_of(&hash)?, Height(height));
        Ok(())
    }

    /// The answer to `onLocate`: the node's view of the chain, and for each hash the hash of the main
    /// chain's block at its height, empty if the chain does not reach it.
    #[napi(catch_unwind)]
    pub fn located(&self, view: ViewObject, hashes: Vec<Buffer>, there: Vec<Buffer>) -> Result<()> {
        let mut places = Vec::new();
        for (hash, there) in hashes.iter().zip(there) {
            let there = (!there.is_empty()).then(|| hash_of(&there)).transpose()?;
            places.push((hash_of(hash)?, there));
        }
        let tip = Tip {
            height: Height(view.height),
            hash: hash_of(&view.hash)?,
            work: Chainwork(hash_of(&view.work)?.0),
        };
        let is_synced = view.synced;
        let view = ChainView { tip, is_synced };
        self.server.located(Look { view, places });
        Ok(())
    }

    /// The answer to `onVerify`: whether the message with this number was signed with the address's key.
    #[napi(catch_unwind)]
    pub fn message_verified(&self, id: i64, is_valid: bool) -> Result<()> {
        self.server.message_verified(unsigned(id)?, is_valid);
        Ok(())
    }

    /// Passes on a new template on the node's tip.
    #[napi(catch_unwind)]
    pub fn template(&self, template: TemplateObject) -> Result<()> {
        let parts = TemplateParts {
            id: unsigned(template.id)?,
            height: Height(template.height),
            version: template.version,
            bits: template.bits,
            time: unsigned(template.time)?,
            mtp: unsigned(template.mtp)?,
            time_min: unsigned(template.time_min)?,
            time_max: unsigned(template.time_max)?,
            prev_block: hash_of(&template.prev_block)?,
            tree_root: hash_of(&template.tree_root)?,
            reserved_root: hash_of(&template.reserved_root)?,
            merkle_root: hash_of(&template.merkle_root)?,
            witness_root: hash_of(&template.witness_root)?,
            coinbase: template.coinbase.to_vec(),
            leaves: template.leaves.to_vec(),
        };
        self.server.template_made(parts, duration(template.age_ms));
        Ok(())
    }

    /// Passes on the raw transactions of a template, without the coinbase.
    #[napi(catch_unwind)]
    pub fn transactions(&self, template: i64, raw: Buffer) -> Result<()> {
        self.server
            .transactions(unsigned(template)?, Arc::from(&*raw));
        Ok(())
    }

    /// Reports that there can be no job now, for this reason.
    #[napi(catch_unwind)]
    pub fn no_template(&self, reason: String) {
        self.server.no_template(reason);
    }

    /// The node's reason to refuse the block of a template; null once templates are valid again.
    #[napi(catch_unwind)]
    pub fn template_invalid(&self, reason: Option<String>) {
        self.server.template_invalid(reason);
    }

    /// The outcome of a drill: `works`, `broken` for a reason, or `interrupted`.
    #[napi(catch_unwind)]
    pub fn drilled(&self, outcome: String, reason: String) -> Result<()> {
        self.server.drilled(match outcome.as_str() {
            "works" => Drilled::Works,
            "broken" => Drilled::Broken(reason),
            "interrupted" => Drilled::Interrupted,
            other => {
                return Err(napi::Error::new(
                    ERR_VALUE,
                    format!("unknown outcome {other:?}"),
                ));
            }
        });
        Ok(())
    }

    /// Reports the node's verdict on a block.
    #[napi(catch_unwind)]
    pub fn block_result(&self, hash: Buffer, verdict: String, reason: String) -> Result<()> {
        let verdict = match verdict.as_str() {
            "accepted" => Verdict::Accepted,
            "side" => Verdict::Side,
            "rejected" => Verdict::Refused(reason),
            // Jobs are made on the node's tip, so the node has lost its chain and may get it back.
            "orphan" => Verdict::Unknown("its parent is unknown to the node".to_owned()),
            // The node knows the block from before, but not on its main chain.
            "duplicate" if reason.is_empty() => Verdict::Side,
            "duplicate" => Verdict::Refused(reason),
            "failed" => Verdict::Unknown(reason),
            other => {
                return Err(napi::Error::new(
                    ERR_VALUE,
                    format!("unknown verdict {other:?}"),
                ));
            }
        };
        self.server.block_result(hash_of(&hash)?, verdict);
        Ok(())
    }

    /// Reports the recent delays of the node's event loop, in seconds.
    #[napi(catch_unwind)]
    pub fn node_lag(&self, mean_s: f64, p99_s: f64, max_s: f64) {
        self.server.node_lag(Lag {
            mean_s,
            p99_s,
            max_s,
        });
    }

    /// Reports the question that the node has not answered for too long; null if there is none.
    #[napi(catch_unwind)]
    pub fn node_overdue(&self, what: Option<String>) {
        self.server.node_overdue(what);
    }

    /// Reads the certificate of the TLS listeners again; open connections stay.
    #[napi(catch_unwind)]
    pub fn reload(&self) {
        self.server.reload_certificates();
    }

    /// Asks proxies to move their miners elsewhere before a stop; answered when they have, or after four
    /// seconds.
    #[napi(catch_unwind)]
    pub fn leave(&self, call: u32) {
        self.stop(call, self.server.leave());
    }

    /// Stops the server; answered with true when everything is written, or with false if that takes
    /// longer than ten seconds.
    #[napi(catch_unwind)]
    pub fn close(&self, call: u32) {
        self.stop(call, self.server.close());
    }

    fn stop(&self, call: u32, closing: Closing) {
        self.calls.begin(Class::Stop, call, move || {
            Ok(AnswerObject {
                done: Some(closing.wait()),
                ..AnswerObject::default()
            })
        });
    }
}

fn buffer(hash: &Hash) -> Buffer {
    hash.0.to_vec().into()
}

fn hash_of(bytes: &[u8]) -> Result<Hash> {
    let bytes = <[u8; 32]>::try_from(bytes).map_err(|_| {
        napi::Error::new(
            ERR_VALUE,
            format!("expected 32 bytes, found {}", bytes.len()),
        )
    })?;
    Ok(Hash(bytes))
}

/// A measured duration; none if the number is not one.
fn duration(ms: f64) -> Duration {
    Duration::try_from_secs_f64(ms / 1000.0).unwrap_or_default()
}

fn unsigned(number: i64) -> Result<u64> {
    u64::try_from(number).map_err(|_| {
        napi::Error::new(
            ERR_VALUE,
            format!("expected a number from 0, found {number}"),
        )
    })
}
