//! The operator's orders: one method each, and what came of them as an object.

use std::net::IpAddr;

use hstratum::ledger::OpenRound;
use hstratum::server::RoundReader;
use hstratum_core::admin::{Answer, Order, Refusal, RefusalKind};
use hstratum_core::ban::{Ban, BannedBy};
use hstratum_core::event::NewUser;
use hstratum_core::info::{Info, WorkerInfo};
use hstratum_core::ledger::Work;
use napi::Env;
use napi::bindgen_prelude::{AsyncTask, Task};
use napi_derive::napi;
use serde_json::{Value, json};

use crate::{ERR_VALUE, Result, ServerHandle, unsigned};

#[napi]
impl ServerHandle {
    /// Adds a user; see [`OrderedObject`] for what it resolves to.
    #[napi(catch_unwind)]
    pub fn add_user(
        &self,
        name: String,
        password: String,
        address: Option<String>,
    ) -> AsyncTask<Ordered> {
        self.order(Order::AddUser(NewUser {
            name,
            password,
            address,
            is_locked: false,
        }))
    }

    /// Gives a user another password.
    #[napi(catch_unwind)]
    pub fn set_password(&self, name: String, password: String) -> AsyncTask<Ordered> {
        self.order(Order::SetPassword { name, password })
    }

    /// Disables a user and ends its connections.
    #[napi(catch_unwind)]
    pub fn disable_user(&self, name: String) -> AsyncTask<Ordered> {
        self.order(Order::DisableUser(name))
    }

    /// Enables a user again.
    #[napi(catch_unwind)]
    pub fn enable_user(&self, name: String) -> AsyncTask<Ordered> {
        self.order(Order::EnableUser(name))
    }

    /// Refuses an address for so many seconds; 0: until it is unbanned.
    #[napi(catch_unwind)]
    pub fn ban(&self, address: String, seconds: i64, reason: String) -> Result<AsyncTask<Ordered>> {
        let seconds = unsigned(seconds)?;
        Ok(self.order(Order::Ban {
            address: address_of(&address)?,
            duration_s: (seconds > 0).then_some(seconds),
            reason,
        }))
    }

    /// Takes connections from an address again.
    #[napi(catch_unwind)]
    pub fn unban(&self, address: String) -> Result<AsyncTask<Ordered>> {
        Ok(self.order(Order::Unban(address_of(&address)?)))
    }

    /// The addresses that are refused.
    #[napi(catch_unwind)]
    pub fn bans(&self) -> AsyncTask<Ordered> {
        self.order(Order::ListBans)
    }

    /// Takes no more connections and moves miners away over so many seconds.
    #[napi(catch_unwind)]
    pub fn drain(&self, seconds: i64) -> Result<AsyncTask<Ordered>> {
        let over_s = unsigned(seconds)?;
        Ok(self.order(Order::Drain { over_s }))
    }

    /// Takes connections again.
    #[napi(catch_unwind)]
    pub fn undrain(&self) -> AsyncTask<Ordered> {
        self.order(Order::Undrain)
    }

    /// Has the servers of that name in the shared ledger move miners away over so many seconds, or
    /// take connections again where none are given; resolves when they have been told.
    #[napi(catch_unwind)]
    pub fn drain_server(
        &self,
        server: String,
        seconds: Option<i64>,
    ) -> Result<AsyncTask<DrainServer>> {
        let over_s = seconds.map(unsigned).transpose()?;
        let told = self.server.drain_server(&server, over_s);
        let told = told.map_err(|error| napi::Error::new(ERR_VALUE, format!("{error:#}")))?;
        Ok(AsyncTask::new(DrainServer(told)))
    }

    /// How the pool does.
    #[napi(catch_unwind)]
    pub fn info(&self) -> AsyncTask<Ordered> {
        let round = Some(self.server.round());
        AsyncTask::new(Ordered(self.server.order(Order::Info), round))
    }

    /// So many workers after the first `from`, of one account or of all.
    #[napi(catch_unwind)]
    pub fn workers(&self, account: Option<String>, count: u32, from: u32) -> AsyncTask<Ordered> {
        self.order(Order::ListWorkers {
            account,
            count: count as usize,
            from: from as usize,
        })
    }

    /// hstratum's version.
    #[napi(getter, catch_unwind)]
    pub fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    /// Where miners connect, all of it: `ADDRESS:PORT`.
    #[napi(getter, catch_unwind)]
    pub fn addresses(&self) -> Vec<String> {
        let addresses = self.server.addresses().iter();
        addresses.map(ToString::to_string).collect()
    }

    /// Why shares are refused for the ledger's sake; null when they are taken.
    #[napi(getter, catch_unwind)]
    pub fn ledger_failing(&self) -> Option<String> {
        self.server.ledger_status().failing
    }

    /// How the ledger that several servers share does, as JSON; null without one.
    #[napi(getter, catch_unwind)]
    pub fn shared_ledger(&self) -> Option<String> {
        let reading = self.server.shared_standing()?;
        Some(reading.to_json())
    }

    fn order(&self, order: Order) -> AsyncTask<Ordered> {
        AsyncTask::new(Ordered(self.server.order(order), None))
    }
}

/// Waits for the shared ledger off the JavaScript thread.
pub struct DrainServer(hstratum::server::ServerDrained);

impl Task for DrainServer {
    type Output = ();
    type JsValue = ();

    fn compute(&mut self) -> napi::Result<()> {
        let told = self.0.wait();
        told.map_err(|error| napi::Error::from_reason(format!("{error:#}")))
    }

    fn resolve(&mut self, _env: Env, (): ()) -> napi::Result<()> {
        Ok(())
    }
}

/// Waits for an order off the JavaScript thread, and reads the open round where that is wanted.
pub struct Ordered(hstratum::server::Ordered, Option<RoundReader>);

/// What came of an order.
#[napi(object)]
#[derive(Default)]
pub struct OrderedObject {
    /// Why it was not carried out.
    pub refused: Option<String>,
    /// Then: `malformed`, `state` or `disk`.
    pub kind: Option<String>,
    /// The addresses that are refused, where it asks for them.
    pub bans: Option<Vec<BanObject>>,
    /// How the pool does, as JSON text.
    pub info: Option<String>,
    /// Workers, as JSON text.
    pub workers: Option<String>,
}

/// An address that is refused.
#[napi(object)]
pub struct BanObject {
    /// Of IPv6 the first of the /64 that is meant.
    pub address: String,
    /// Unix seconds.
    pub since: i64,
    /// Unix seconds; none: until it is unbanned.
    pub until: Option<i64>,
    /// Why.
    pub reason: String,
    /// `operator` or `pool`.
    pub by: String,
}

impl Task for Ordered {
    type Output = (std::result::Result<Answer, Refusal>, Option<OpenRound>);
    type JsValue = OrderedObject;

    fn compute(&mut self) -> napi::Result<Self::Output> {
        let answer = self.0.wait();
        let answer = answer.map_err(failed)?;
        let round = self.1.as_ref().map(RoundReader::read);
        Ok((answer, round.transpose().map_err(failed)?.flatten()))
    }

    fn resolve(&mut self, _env: Env, answer: Self::Output) -> napi::Result<OrderedObject> {
        let (answer, round) = answer;
        Ok(match answer {
            Ok(Answer::Done) => OrderedObject::default(),
            Ok(Answer::Info(info)) => OrderedObject {
                info: Some(info_json(&info, round.as_ref()).to_string()),
                ..OrderedObject::default()
            },
            Ok(Answer::Workers(workers, total)) => OrderedObject {
                workers: Some(workers_json(&workers, total).to_string()),
                ..OrderedObject::default()
            },
            Ok(Answer::Bans(bans)) => OrderedObject {
                bans: Some(bans.into_iter().map(ban_object).collect()),
                ..OrderedObject::default()
            },
            Err(refusal) => OrderedObject {
                refused: Some(refusal.text().to_owned()),
                kind: Some(kind_of(refusal).to_owned()),
                ..OrderedObject::default()
            },
        })
    }
}

fn failed(error: impl std::fmt::Display) -> napi::Error {
    napi::Error::from_reason(format!("{error:#}"))
}

fn info_json(info: &Info, round: Option<&OpenRound>) -> Value {
    let work = |work: &Work| json!({"count": work.count, "difficulty": work.difficulty});
    json!({
        "connections": info.connections,
        "mining": info.mining,
        "workers": info.workers,
        "job": info.job.map(|job| json!({
            "height": job.height.0,
            "difficulty": job.difficulty.get(),
            "age": job.age_s,
        })),
        "nojob": info.no_job,
        "hashrate": info.hashrate,
        "shares": {
            "accepted": work(&info.sent.accepted),
            "stale": work(&info.sent.stale),
            "low": work(&info.sent.low),
            "duplicate": work(&info.sent.duplicate),
        },
        "round": round.map(|round| json!({
            "fromheight": round.from_height,
            "shares": round.shares,
            "work": round.work,
            "effort": round.effort,
        })),
        "bans": info.bans,
        "draining": info.is_draining,
        "lastblock": info.last_block.map(|(height, hash)| json!({
            "height": height.0,
            "hash": hash.to_string(),
        })),
    })
}

fn workers_json(workers: &[WorkerInfo], total: usize) -> Value {
    let workers: Vec<Value> = workers
        .iter()
        .map(|one| {
            json!({
                "account": &*one.account,
                "worker": &*one.worker,
                "connections": one.connections,
                "difficulty": one.difficulty.map(|difficulty| difficulty.get()),
                "hashrate": one.hashrate,
                "connected": one.connected_s,
            })
        })
        .collect();
    json!({"total": total, "workers": workers})
}

fn kind_of(refusal: Refusal) -> &'static str {
    match refusal.kind() {
        RefusalKind::Malformed => "malformed",
        RefusalKind::State => "state",
        RefusalKind::Disk => "disk",
    }
}

fn ban_object(ban: Ban) -> BanObject {
    let seconds = |time: u64| i64::try_from(time).unwrap_or(i64::MAX);
    BanObject {
        address: ban.address.to_string(),
        since: seconds(ban.since_s),
        until: ban.until_s.map(seconds),
        reason: ban.reason,
        by: match ban.by {
            BannedBy::Operator => "operator",
            BannedBy::Pool => "pool",
        }
        .to_owned(),
    }
}

fn address_of(text: &str) -> Result<IpAddr> {
    let wrong = |_| napi::Error::new(ERR_VALUE, format!("no IP address: {text:?}"));
    text.parse().map_err(wrong)
}
