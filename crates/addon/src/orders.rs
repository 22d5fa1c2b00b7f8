//! The operator's orders: one method each, with the answers as objects. Each takes the number of its
//! call, under which it is answered.

use std::collections::BTreeMap;
use std::net::IpAddr;

use hstratum::audit_trail::Actor;
use hstratum::server::{BlockPath, RoundKnown};
use hstratum_core::accounting::ledger::ShareTotals;
use hstratum_core::accounting::reward_split::parse_hns;
use hstratum_core::accounts::ban::{Ban, BannedBy};
use hstratum_core::accounts::refused_logins::RefusalReason;
use hstratum_core::operator_order::{
    Info, NewUser, Order, OrderOutcome, OrderRefusal, OrderRefusalKind, WorkerInfo,
};
use napi_derive::napi;
use serde_json::{Value, json};

use crate::calls::Class;
use crate::{ERR_VALUE, Result, ServerHandle, unsigned};

/// Addresses with refused logins that are shown, the latest first.
const REFUSALS_SHOWN: usize = 16;

#[napi]
impl ServerHandle {
    /// Adds a user; answered with an [`AnswerObject`], as are all orders.
    #[napi(catch_unwind)]
    pub fn add_user(&self, call: u32, name: String, password: String, address: Option<String>) {
        let order = Order::AddUser(NewUser {
            name,
            password,
            address,
            is_locked: false,
            wire_admin: None,
        });
        self.change(call, order);
    }

    /// Replaces a user's password.
    #[napi(catch_unwind)]
    pub fn set_password(&self, call: u32, name: String, password: String) {
        self.change(call, Order::SetPassword { name, password });
    }

    /// Disables a user and closes its connections.
    #[napi(catch_unwind)]
    pub fn disable_user(&self, call: u32, name: String) {
        self.change(call, Order::DisableUser(name));
    }

    /// Enables a user again.
    #[napi(catch_unwind)]
    pub fn enable_user(&self, call: u32, name: String) {
        self.change(call, Order::EnableUser(name));
    }

    /// Sets the payout address of an account; answered once that is durable.
    #[napi(catch_unwind)]
    pub fn set_address(&self, call: u32, account: String, address: String) -> Result<()> {
        let stored = self.server.set_address(&Actor::rpc(), &account, &address);
        let stored = stored.map_err(wrong_value)?;
        self.calls.begin(Class::Change, call, move || {
            stored.wait().map_err(failed)?;
            Ok(AnswerObject::default())
        });
        Ok(())
    }

    /// Sets the balance in HNS from which an account is paid, or the pool's; answered once that is durable.
    #[napi(catch_unwind)]
    pub fn set_threshold(&self, call: u32, account: String, hns: Option<String>) -> Result<()> {
        let threshold = hns.map(|hns| parse_hns(&hns)).transpose();
        let threshold =
            threshold.map_err(|error| wrong_value(format!("not an amount of HNS: {error}")))?;
        let stored = self
            .server
            .set_threshold(&Actor::rpc(), &account, threshold);
        let stored = stored.map_err(wrong_value)?;
        self.calls.begin(Class::Change, call, move || {
            stored.wait().map_err(failed)?;
            Ok(AnswerObject::default())
        });
        Ok(())
    }

    /// Pauses payouts or resumes them, or changes nothing if `paused` is null; answered with their state.
    #[napi(catch_unwind)]
    pub fn payout(&self, call: u32, paused: Option<bool>) {
        let payouts = self.server.payouts();
        self.calls.begin(Class::Change, call, move || {
            let report = match paused {
                Some(is_paused) => payouts.set_paused(&Actor::rpc(), is_paused),
                None => payouts.report(),
            };
            let report = json!(report.map_err(failed)?);
            Ok(AnswerObject {
                payout: Some(report.to_string()),
                ..AnswerObject::default()
            })
        });
    }

    /// Bans an address for these seconds; 0 until the ban is lifted.
    #[napi(catch_unwind)]
    pub fn ban(&self, call: u32, address: String, seconds: i64, reason: String) -> Result<()> {
        let seconds = unsigned(seconds)?;
        let order = Order::Ban {
            address: address_of(&address)?,
            duration_s: (seconds > 0).then_some(seconds),
            reason,
        };
        self.change(call, order);
        Ok(())
    }

    /// Lifts the ban of an address.
    #[napi(catch_unwind)]
    pub fn unban(&self, call: u32, address: String) -> Result<()> {
        let address = address_of(&address)?;
        self.change(call, Order::Unban(address));
        Ok(())
    }

    /// Lists all bans in force.
    #[napi(catch_unwind)]
    pub fn bans(&self, call: u32) {
        self.look(call, Order::ListBans);
    }

    /// Refuses new connections and closes the open ones, spread over these seconds.
    #[napi(catch_unwind)]
    pub fn drain(&self, call: u32, seconds: i64) -> Result<()> {
        let over_s = unsigned(seconds)?;
        self.change(call, Order::Drain { over_s });
        Ok(())
    }

    /// Ends a drain.
    #[napi(catch_unwind)]
    pub fn undrain(&self, call: u32) {
        self.change(call, Order::Undrain);
    }

    /// Drains the servers of that name in the shared ledger over these seconds, or ends their drain if
    /// `seconds` is null; answered once it is written there.
    #[napi(catch_unwind)]
    pub fn drain_server(&self, call: u32, server: String, seconds: Option<i64>) -> Result<()> {
        let over_s = seconds.map(unsigned).transpose()?;
        let told = self.server.drain_server(&Actor::rpc(), &server, over_s);
        let told = told.map_err(wrong_value)?;
        self.calls.begin(Class::Change, call, move || {
            told.wait().map_err(failed)?;
            Ok(AnswerObject::default())
        });
        Ok(())
    }

    /// The status of the pool. Nothing that can hang is asked: the round's figures are those read last.
    #[napi(catch_unwind)]
    pub fn info(&self, call: u32) {
        let (info, round) = (self.server.order(Order::Info), self.server.round());
        self.calls.begin(Class::Look, call, move || {
            let answer = info.wait().map_err(failed)?;
            let round = round.look();
            Ok(match answer {
                Ok(OrderOutcome::Info(info)) => AnswerObject {
                    info: Some(info_json(&info, &round).to_string()),
                    ..AnswerObject::default()
                },
                other => answer_object(other),
            })
        });
    }

    /// Up to `count` workers after the first `from`, of one account or of all.
    #[napi(catch_unwind)]
    pub fn workers(&self, call: u32, account: Option<String>, count: u32, from: u32) {
        let order = Order::ListWorkers {
            account,
            count: count as usize,
            from: from as usize,
        };
        self.look(call, order);
    }

    /// Version of hstratum.
    #[napi(getter, catch_unwind)]
    pub fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    /// All addresses where miners connect, as `ADDRESS:PORT`.
    #[napi(getter, catch_unwind)]
    pub fn addresses(&self) -> Vec<String> {
        let addresses = self.server.addresses().iter();
        addresses.map(ToString::to_string).collect()
    }

    /// The options in force, as JSON.
    #[napi(getter, catch_unwind)]
    pub fn options(&self) -> String {
        serde_json::to_string(self.server.in_force()).unwrap_or_else(|_| "null".to_owned())
    }

    /// The reason why shares are refused, or wait for the ledger; null while they are accepted.
    #[napi(getter, catch_unwind)]
    pub fn ledger_trouble(&self) -> Option<String> {
        self.server.ledger_status().trouble()
    }

    /// A text if the node knows less of the chain than the ledger was shown; null if it does not.
    #[napi(getter, catch_unwind)]
    pub fn node_behind(&self) -> Option<String> {
        self.server.node_behind()
    }

    /// The node's reason to refuse the block of its own template; null while it is valid.
    #[napi(getter, catch_unwind)]
    pub fn template_refused(&self) -> Option<String> {
        self.server.template_refused()
    }

    /// `ok`, or the reason why the last drill failed, or that there was none.
    #[napi(getter, catch_unwind)]
    pub fn block_path(&self) -> String {
        match self.server.block_path() {
            BlockPath::Works => "ok".to_owned(),
            BlockPath::Untried => "not tried yet".to_owned(),
            BlockPath::Broken(reason) => reason,
        }
    }

    /// The status of the shared ledger, as JSON; null without one.
    #[napi(getter, catch_unwind)]
    pub fn shared_ledger(&self) -> Option<String> {
        let reading = self.server.cluster_status()?;
        Some(reading.to_json())
    }

    fn look(&self, call: u32, order: Order) {
        let ordered = self.server.order(order);
        self.calls.begin(Class::Look, call, move || {
            let answer = ordered.wait().map_err(failed)?;
            Ok(answer_object(answer))
        });
    }

    fn change(&self, call: u32, order: Order) {
        let change = self.server.change(&Actor::rpc(), order);
        self.calls.begin(Class::Change, call, move || {
            let answer = change.make().map_err(failed)?;
            Ok(answer_object(answer))
        });
    }
}

/// The answer to a call.
#[napi(object)]
#[derive(Default)]
pub struct AnswerObject {
    /// The reason why there is no answer.
    pub failed: Option<String>,
    /// For a stop: true if everything was done.
    pub done: Option<bool>,
    /// The reason why the order was refused.
    pub refused: Option<String>,
    /// The class of a refusal: `malformed`, `state` or `disk`.
    pub kind: Option<String>,
    /// The bans in force, if they were asked for.
    pub bans: Option<Vec<BanObject>>,
    /// The status of the pool, as JSON text.
    pub info: Option<String>,
    /// Workers, as JSON text.
    pub workers: Option<String>,
    /// The state of payouts, as JSON text.
    pub payout: Option<String>,
    /// A host's addresses.
    pub addresses: Option<Vec<String>>,
}

/// The ban of one address.
#[napi(object)]
pub struct BanObject {
    /// The address; for IPv6 the first of the /64 that is banned.
    pub address: String,
    /// Start of the ban, in Unix seconds.
    pub since: i64,
    /// End of the ban, in Unix seconds; null until it is lifted.
    pub until: Option<i64>,
    /// The reason.
    pub reason: String,
    /// The party that banned it: `operator` or `pool`.
    pub by: String,
}

impl AnswerObject {
    pub(crate) fn failed(reason: String) -> Self {
        Self {
            failed: Some(reason),
            ..Self::default()
        }
    }
}

fn answer_object(answer: std::result::Result<OrderOutcome, OrderRefusal>) -> AnswerObject {
    match answer {
        // The status is built in [`ServerHandle::info`], together with the round. Nobody signs in over RPC, or lists
        // users.
        Ok(
            OrderOutcome::Done
            | OrderOutcome::Info(_)
            | OrderOutcome::Account(_)
            | OrderOutcome::Users(..),
        ) => AnswerObject::default(),
        Ok(OrderOutcome::Workers(workers, total)) => AnswerObject {
            workers: Some(workers_json(&workers, total).to_string()),
            ..AnswerObject::default()
        },
        Ok(OrderOutcome::Bans(bans)) => AnswerObject {
            bans: Some(bans.into_iter().map(ban_object).collect()),
            ..AnswerObject::default()
        },
        Err(refusal) => AnswerObject {
            refused: Some(refusal.text().to_owned()),
            kind: Some(kind_of(refusal).to_owned()),
            ..AnswerObject::default()
        },
    }
}

fn wrong_value(error: impl std::fmt::Display) -> napi::Error<&'static str> {
    napi::Error::new(ERR_VALUE, format!("{error:#}"))
}

fn failed(error: impl std::fmt::Display) -> napi::Error {
    napi::Error::from_reason(format!("{error:#}"))
}

fn info_json(info: &Info, known: &RoundKnown) -> Value {
    let work = |work: &ShareTotals| json!({"count": work.count, "difficulty": work.difficulty});
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
        "round": known.round.as_ref().map(|round| json!({
            "fromheight": round.from_height,
            "shares": round.shares,
            "work": round.work,
            "effort": round.effort,
            "age": known.age_s,
        })),
        "roundfailing": known.failing,
        "places": {
            "all": info.door.places,
            "taken": info.door.taken,
            "silent": info.door.silent,
            "notloggedin": info.door.strangers,
            "unproven": info.door.unproven,
            "descriptorsleft": info.door.descriptors_left,
        },
        "refused": {
            "full": info.door.refused_full,
            "peraddress": info.door.refused_address,
            "descriptors": info.door.refused_descriptors,
            "gaveway": info.door.gave_way,
            "gavewayunproven": info.door.gave_way_unproven,
            "banned": info.refused_banned,
        },
        "refusedlogins": RefusalReason::ALL.map(RefusalReason::name).into_iter().zip(info.refused_logins)
            .collect::<BTreeMap<_, _>>(),
        "refusals": info.refused.iter().take(REFUSALS_SHOWN).map(|one| json!({
            "address": one.address.to_string(),
            "name": &*one.name,
            "reason": one.reason.name(),
            "count": one.count(),
            "reasons": one.reasons().map(|(why, count)| (why.name(), count))
                .collect::<BTreeMap<_, _>>(),
            "first": one.first_s,
            "last": one.last_s,
        })).collect::<Vec<_>>(),
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
                "accepted": one.sent.accepted.count,
                "stale": one.sent.stale.count,
                "low": one.sent.low.count,
                "duplicate": one.sent.duplicate.count,
                "connected": one.connected_s,
            })
        })
        .collect();
    json!({"total": total, "workers": workers})
}

fn kind_of(refusal: OrderRefusal) -> &'static str {
    match refusal.kind() {
        OrderRefusalKind::Malformed => "malformed",
        OrderRefusalKind::State => "state",
        OrderRefusalKind::Disk => "disk",
        OrderRefusalKind::SignIn => "sign-in",
        OrderRefusalKind::TooMany => "too-many",
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
    let wrong = |_| napi::Error::new(ERR_VALUE, format!("not an IP address: {text:?}"));
    text.parse().map_err(wrong)
}
