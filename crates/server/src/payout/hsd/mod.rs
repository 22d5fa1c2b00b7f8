//! hsd over HTTP: the few calls of its node and its wallet that payouts and `doctor` need.
//!
//! Each call has a time limit and a maximum answer, goes to the address given and to no proxy, and follows no
//! redirect. hsd's answers are untrusted: they are read field by field, and quoted in errors. Keys and
//! passphrases are in no error and in no URL. This module decides nothing.

mod node;
mod wallet;

use std::fmt;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use hstratum_core::units::Hash;
use serde_json::{Value, json};
use ureq::Agent;
use ureq::http::Request;

pub use crate::config::hsd_address::{HsdAddress, HsdAddresses, HsdPart, Url};
pub use node::{Coin, HsdBlock, HsdNode, Hstratum, NodeInfo, NodePayee, NodeStatus};
pub use wallet::{Demand, Wallet, WalletTransaction};

use crate::limits::{HSD_ANSWER_BYTES, HSD_CALL, HSD_CREATE, HSD_SAYING_CHARS};
use crate::secret::Secret;

/// How long hsd may take to answer.
#[derive(Clone, Copy, Debug)]
pub struct HsdTimeouts {
    /// For anything but making a transaction.
    pub call: Duration,
    /// For making a transaction, funded and signed.
    pub create: Duration,
}

impl Default for HsdTimeouts {
    fn default() -> Self {
        Self {
            call: HSD_CALL,
            create: HSD_CREATE,
        }
    }
}

/// Error: hsd has answered with a refusal.
#[derive(Debug)]
struct HsdRefusal {
    status: u16,
    message: String,
}

impl fmt::Display for HsdRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { status, message } = self;
        write!(f, "hsd says {message:?} (status {status})")
    }
}

impl std::error::Error for HsdRefusal {}

/// One of hsd's HTTP servers.
struct Endpoint {
    agent: Agent,
    url: Url,
    authorization: Option<Secret>,
    patience: HsdTimeouts,
}

impl Endpoint {
    fn new(url: Url, key: Option<Secret>, patience: HsdTimeouts) -> Self {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .max_idle_connections(0)
            .build()
            .new_agent();
        let authorization = key.map(|key| {
            let user_and_key = BASE64_STANDARD.encode(format!("x:{}", key.0));
            Secret(format!("Basic {user_and_key}"))
        });
        Self {
            agent,
            url,
            authorization,
            patience,
        }
    }

    /// The answer to a request; `None` if hsd does not know the thing asked for.
    fn call(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Option<Value>> {
        self.call_for(self.patience.call, method, path, body)
    }

    fn call_for(
        &self,
        limit: Duration,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Option<Value>> {
        self.exchange(limit, method, path, body)
            .with_context(|| format!("failed to {method} {}{path}", self.url))
    }

    fn exchange(
        &self,
        limit: Duration,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Option<Value>> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header("Content-Type", "application/json")
            .header("Connection", "close");
        if let Some(secret) = &self.authorization {
            request = request.header("Authorization", &secret.0);
        }
        let text = body.map(Value::to_string).unwrap_or_default();
        // A malformed request must not be displayed, since the key is in it.
        let request = request
            .body(text)
            .map_err(|_| anyhow!("the API key has characters that HTTP does not allow"))?;
        let request = self
            .agent
            .configure_request(request)
            .timeout_global(Some(limit))
            .allow_non_standard_methods(true)
            .build();
        let mut answer = self.agent.run(request)?;
        let status = answer.status().as_u16();
        let text = answer
            .body_mut()
            .with_config()
            .limit(HSD_ANSWER_BYTES)
            .lossy_utf8(true)
            .read_to_string()?;
        match status {
            200 => Ok(Some(
                serde_json::from_str(&text).context("hsd's answer is not JSON")?,
            )),
            404 => Ok(None),
            401 => bail!(
                "hsd refuses the API key: the node's is HSTRATUM_NODE_API_KEY in the environment, \
                 the wallet's HSTRATUM_WALLET_API_KEY"
            ),
            _ => Err(HsdRefusal {
                status,
                message: saying(&text),
            }
            .into()),
        }
    }

    /// A call of hsd's JSON-RPC. An error answer is a [`HsdRefusal`].
    fn rpc(&self, method: &str, params: &Value) -> anyhow::Result<Value> {
        let body = json!({ "method": method, "params": params, "id": 1 });
        let answer = self
            .call("POST", "/", Some(&body))
            .with_context(|| format!("failed to call {method}"))?;
        let mut answer = answer.ok_or_else(|| anyhow!("no JSON-RPC at {}", self.url))?;
        if let Some(message) = answer.pointer("/error/message") {
            let message = cut(message.as_str().unwrap_or("?"));
            return Err(HsdRefusal {
                status: 200,
                message,
            })
            .with_context(|| format!("failed to call {method} at {}", self.url));
        }
        Ok(answer["result"].take())
    }
}

/// The text of hsd's error.
fn saying(text: &str) -> String {
    let json: Value = serde_json::from_str(text).unwrap_or_default();
    match json.pointer("/error/message").and_then(Value::as_str) {
        Some(message) => cut(message),
        None => cut(text),
    }
}

fn cut(text: &str) -> String {
    text.chars().take(HSD_SAYING_CHARS).collect()
}

fn as_hash(value: &Value) -> Option<Hash> {
    Hash::from_hex(value.as_str()?)
}
