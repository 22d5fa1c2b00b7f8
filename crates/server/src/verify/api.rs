//! The API's answer about a job. It is untrusted: all of it is checked against the job, and quoted when shown.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use hstratum_core::chain::coinbase::Coinbase;
use hstratum_core::chain::merkle::Branch;
use hstratum_core::units::{Hash, unhex};
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use ureq::Agent;
use ureq::http::Uri;

const TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of an answer. The longest is of a coinbase as long as a block allows, a megabyte.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// Characters of a job's id.
const ID_CHARS_MAX: usize = 64;

/// Characters shown of a text of the API.
const TEXT_CHARS_MAX: usize = 200;

/// The address of an API: `http://HOST[:PORT]`, or https.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiUrl(String);

impl FromStr for ApiUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let uri: Uri = text.parse().ok()?;
            let scheme = uri
                .scheme_str()
                .filter(|one| ["http", "https"].contains(one))?;
            let authority = uri.authority().map(ToString::to_string)?;
            let is_bare = uri.path() == "/" && uri.query().is_none() && !text.contains(['@', '#']);
            (is_bare && uri.host().is_some_and(|host| !host.is_empty()))
                .then(|| Self(format!("{scheme}://{authority}")))
        };
        parse().ok_or_else(|| "expected http://HOST:PORT or https://HOST".to_owned())
    }
}

impl fmt::Display for ApiUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the API says of a job.
pub(super) enum Answer {
    Job(Box<ShownJob>),
    /// There is no such job, in its words.
    Unknown(String),
    /// The question was wrong, in its words.
    Refused(String),
}

/// A job as the API shows it.
#[derive(Clone, Deserialize)]
pub(super) struct ShownJob {
    pub id: String,
    pub height: u32,
    #[serde(deserialize_with = "hash")]
    pub prev_block: Hash,
    #[serde(deserialize_with = "hash")]
    pub tree_root: Hash,
    #[serde(deserialize_with = "hash")]
    pub reserved_root: Hash,
    pub version: u32,
    pub bits: u32,
    pub payout: String,
    #[serde(deserialize_with = "bytes")]
    pub coinbase: Vec<u8>,
    #[serde(deserialize_with = "branch")]
    pub merkle_branch: Vec<Hash>,
    #[serde(deserialize_with = "branch")]
    pub witness_branch: Vec<Hash>,
    pub outputs: Vec<ShownOutput>,
}

/// An output of its coinbase as the API shows it.
#[derive(Clone, Deserialize)]
pub(super) struct ShownOutput {
    pub address: String,
    pub value: u64,
    pub account: Option<String>,
}

#[derive(Default, Deserialize)]
struct Problem {
    error: String,
}
impl Answer {
    pub(super) fn job(&self) -> Option<&ShownJob> {
        match self {
            Self::Job(shown) => Some(shown),
            Self::Unknown(_) | Self::Refused(_) => None,
        }
    }
}

impl ShownJob {
    /// The merkle root that its coinbase and branch give; `None` if that is no coinbase.
    pub(super) fn merkle_root(&self) -> Option<Hash> {
        let coinbase = Coinbase::parse(&self.coinbase)?;
        Some(Branch::of_nodes(self.merkle_branch.clone()).root(&coinbase.txid()))
    }
}

impl ApiUrl {
    /// Asks for a job with the outputs of that account, of a solo listener for that payee.
    pub(super) fn ask(
        &self,
        id: &str,
        account: &str,
        payee: Option<&str>,
    ) -> anyhow::Result<Answer> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        ensure!(
            (1..=ID_CHARS_MAX).contains(&id.len()) && id.bytes().all(is_plain),
            "the id of the job is none of hstratum's: {:?}",
            cut(id)
        );
        let url = format!("{self}/api/v1/jobs/{id}");
        let payee = payee.map(|payee| ("payee", payee));
        let query = [("account", account)].into_iter().chain(payee);
        let asked = get(&url, query).with_context(|| format!("failed to get {url}"));
        let (status, text) = asked?;
        let said = || {
            let problem: Problem = serde_json::from_str(&text).unwrap_or_default();
            cut(&problem.error)
        };
        match status {
            200 => {
                let shown = serde_json::from_str(&text);
                shown
                    .map(|shown| Answer::Job(Box::new(shown)))
                    .with_context(|| format!("the answer is no job: {url}"))
            }
            404 => Ok(Answer::Unknown(said())),
            400 => Ok(Answer::Refused(said())),
            _ => bail!("{url} answers with status {status}: {:?}", said()),
        }
    }
}

/// Status and text of an answer. No redirect is followed.
fn get<'a>(
    url: &str,
    query: impl Iterator<Item = (&'a str, &'a str)>,
) -> anyhow::Result<(u16, String)> {
    let agent = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .timeout_global(Some(TIMEOUT))
        .build()
        .new_agent();
    let mut answer = agent.get(url).query_pairs(query).call()?;
    let body = answer.body_mut().with_config();
    let text = body
        .limit(ANSWER_BYTES_MAX)
        .lossy_utf8(true)
        .read_to_string()?;
    Ok((answer.status().as_u16(), text))
}

/// A text of the API, cut and without control characters.
fn cut(text: &str) -> String {
    let visible = text.chars().filter(|c| !c.is_control());
    visible.take(TEXT_CHARS_MAX).collect()
}

fn hash<'de, D: Deserializer<'de>>(from: D) -> Result<Hash, D::Error> {
    let text = String::deserialize(from)?;
    hash_of(&text)
}

fn branch<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Hash>, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    texts.iter().map(|text| hash_of(text)).collect()
}

fn hash_of<E: Error>(text: &str) -> Result<Hash, E> {
    Hash::from_hex(text).ok_or_else(|| E::custom("expected 64 hex digits"))
}

fn bytes<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(from)?;
    unhex(&text).ok_or_else(|| D::Error::custom("expected hex digits"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_of_an_api_has_a_host_and_no_path() {
        for (text, shown) in [
            ("http://127.0.0.1:3080", "http://127.0.0.1:3080"),
            ("http://[::1]:3080/", "http://[::1]:3080"),
            ("https://pool.example.com", "https://pool.example.com"),
        ] {
            assert_eq!(text.parse::<ApiUrl>().expect(text).to_string(), shown);
        }
        for text in [
            "",
            "127.0.0.1:3080",
            "ftp://a",
            "http://",
            "http://a/api",
            "http://a?b",
            "http://a#b",
            "http://user@a",
        ] {
            assert!(text.parse::<ApiUrl>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn id_that_would_be_another_path_is_not_asked_for() {
        let api: ApiUrl = "http://127.0.0.1:1".parse().expect("a URL");
        for id in ["", "../pool", "a?b", "a b", &"a".repeat(65)] {
            let error = api
                .ask(id, "alice", None)
                .err()
                .expect("refused")
                .to_string();
            assert!(error.starts_with("the id of the job is none"), "{error}");
        }
    }
}
