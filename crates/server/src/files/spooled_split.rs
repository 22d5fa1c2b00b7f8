//! The split of a found block as a line of text, for the spool and the share dump.

use std::sync::Arc;

use hstratum_core::accounting::reward_split::FeePpm;
use hstratum_core::accounting::terms::Scheme;
use hstratum_core::chain::address::{Address, Network};
use hstratum_core::chain::coinbase_split::{SplitLine, SplitRecord};
use serde::{Deserialize, Serialize};

/// A [`SplitRecord`] in JSON. Amounts are in base units.
#[derive(Serialize, Deserialize)]
struct SplitText {
    scheme: String,
    window: String,
    fee_ppm: u32,
    from_height: u32,
    shares: u64,
    reward: u64,
    fee: u64,
    remainder: u64,
    lines: Vec<LineText>,
}

/// Account, part, and the output if there is one: address and amount.
type LineText = (String, u64, Option<(String, u64)>);

/// The record as text, without a newline.
pub(crate) fn encode(record: &SplitRecord, network: Network) -> String {
    to_json(record, network).to_string()
}

/// The same, as a part of another text.
pub(crate) fn to_json(record: &SplitRecord, network: Network) -> serde_json::Value {
    let lines = record.lines.iter().map(|line| {
        let output = line.output.as_ref();
        let output = output.map(|(address, value)| (address.encode(network), *value));
        (line.account.to_string(), line.part, output)
    });
    let text = SplitText {
        lines: lines.collect(),
        scheme: record.scheme.name().to_owned(),
        window: record.scheme.window(),
        fee_ppm: record.fee_part.get(),
        from_height: record.from_height,
        shares: record.shares,
        reward: record.reward,
        fee: record.fee,
        remainder: record.remainder,
    };
    serde_json::to_value(&text).expect("names and numbers are JSON")
}

/// Reads what [`encode`] or [`to_json`] wrote; `None` for anything else.
pub(crate) fn decode(text: &str, network: Network) -> Option<Arc<SplitRecord>> {
    let text: SplitText = serde_json::from_str(text).ok()?;
    let lines = text.lines.into_iter().map(|(account, part, output)| {
        let output = match output {
            None => None,
            Some((address, value)) => Some((Address::parse_payable(&address, network)?, value)),
        };
        Some(SplitLine {
            account: account.into(),
            part,
            output,
        })
    });
    Some(Arc::new(SplitRecord {
        lines: lines.collect::<Option<_>>()?,
        scheme: Scheme::from_stored(&text.scheme, &text.window)?,
        fee_part: FeePpm::new(text.fee_ppm)?,
        from_height: text.from_height,
        shares: text.shares,
        reward: text.reward,
        fee: text.fee,
        remainder: text.remainder,
    }))
}
