//! Comparison of the settings that servers of one pool should have in common.
//!
//! Each server publishes its settings in its report, every second. A difference stops nothing, since an
//! operator changes one server after the other: it is shown in the log, on the dashboard and by `doctor`.

use std::collections::{BTreeMap, BTreeSet};

use hstratum_core::accounting::reward_split::FeePpm;
use hstratum_core::chain::coinbase::Payout;
use serde::{Deserialize, Serialize};

use crate::payout::agreement::PublishedTerms;

/// Settings of one server, as published to the others. Another version may publish more fields, or fewer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServerSettings {
    /// Address that its blocks pay; `None` before its first job.
    pub pays: Option<String>,
    /// `users`, `open` or `address`.
    pub auth: String,
    /// An admin's password is set.
    pub has_password: bool,
    /// A secret is shared with proxies.
    pub has_proxy_secret: bool,
    /// Lowest difficulty of a miner.
    pub difficulty_min: String,
    /// Kind of payout on each port of miners; a report of an earlier version has none.
    pub payouts: BTreeMap<u16, String>,
    /// Address that is given for the operator's part of solo blocks.
    pub fee_address: Option<String>,
    /// Terms for miners; a report of an earlier version has none.
    pub terms: Option<PublishedTerms>,
}

impl ServerSettings {
    /// Kinds of payout of its listeners.
    fn kinds(&self) -> Option<String> {
        let kinds: BTreeSet<&str> = self.payouts.values().map(String::as_str).collect();
        let kinds: Vec<&str> = kinds.into_iter().collect();
        (!kinds.is_empty()).then(|| kinds.join(" and "))
    }

    /// Address that the operator's part of its solo blocks is paid to, if there are such blocks.
    fn pays_fee_to(&self) -> Option<String> {
        let is_solo = |payout: &String| payout == Payout::Solo.name();
        let has_part = self.terms.as_ref()?.fee != FeePpm::default().to_string();
        let is_paid = has_part && self.payouts.values().any(is_solo);
        let address = self.fee_address.as_ref().or(self.pays.as_ref());
        address.filter(|_| is_paid).cloned()
    }
}

/// One line for each setting in which this server differs from others, with the others' names.
pub(crate) fn differences<'a>(
    own: &ServerSettings,
    others: impl Iterator<Item = (&'a str, &'a ServerSettings)> + Clone,
) -> Vec<String> {
    // A report without these settings is from an earlier version.
    let others = others.filter(|(_, settings)| !settings.auth.is_empty());
    let mut lines = Vec::new();
    let mut compare = |what: &str, of: &dyn Fn(&ServerSettings) -> Option<String>| {
        let Some(ours) = of(own) else { return };
        let mut seen = Vec::new();
        for (name, settings) in others.clone() {
            if let Some(theirs) = of(settings).filter(|theirs| *theirs != ours) {
                seen.push(format!("{theirs} on {name:?}"));
            }
        }
        if !seen.is_empty() {
            lines.push(format!("{what}: {ours} here, {}", seen.join(", ")));
        }
    };
    compare("blocks pay", &|settings| settings.pays.clone());
    compare("payout", &ServerSettings::kinds);
    for port in own.payouts.keys() {
        let what = format!("payout on port {port}");
        compare(&what, &|settings| settings.payouts.get(port).cloned());
    }
    compare("fee of solo blocks pays", &ServerSettings::pays_fee_to);
    compare("auth", &|settings| Some(settings.auth.clone()));
    compare("password", &|settings| is_there(settings.has_password));
    compare("proxy-secret", &|settings| {
        is_there(settings.has_proxy_secret)
    });
    compare("difficulty-min", &|settings| {
        Some(settings.difficulty_min.clone())
    });
    compare("scheme", &|settings| Some(settings.terms.clone()?.scheme));
    compare("fee", &|settings| Some(settings.terms.clone()?.fee));
    compare("threshold", &|settings| {
        Some(settings.terms.clone()?.threshold)
    });
    compare("threshold-min", &|settings| {
        Some(settings.terms.clone()?.threshold_min)
    });
    lines
}

fn is_there(is_there: bool) -> Option<String> {
    Some(if is_there { "set" } else { "not set" }.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payouts(ports: &[(u16, Payout)]) -> BTreeMap<u16, String> {
        let named = ports.iter();
        named
            .map(|(port, payout)| (*port, payout.name().to_owned()))
            .collect()
    }

    fn settings() -> ServerSettings {
        ServerSettings {
            pays: Some("hs1qa".to_owned()),
            auth: "users".to_owned(),
            has_password: true,
            has_proxy_secret: false,
            difficulty_min: "1".to_owned(),
            payouts: payouts(&[(3008, Payout::Operator), (3010, Payout::Solo)]),
            fee_address: None,
            terms: Some(PublishedTerms {
                scheme: "prop".to_owned(),
                fee: "1 %".to_owned(),
                threshold: "9 HNS".to_owned(),
                threshold_min: "1 HNS".to_owned(),
            }),
        }
    }

    #[test]
    fn what_differs_is_named_with_who_has_it() {
        let own = settings();
        let unknown = ServerSettings::default();
        let starting = ServerSettings {
            pays: None,
            ..settings()
        };
        let same = [("b", &own), ("old", &unknown), ("new", &starting)];
        assert!(differences(&own, same.into_iter()).is_empty());
        let other = ServerSettings {
            pays: Some("hs1qb".to_owned()),
            auth: "open".to_owned(),
            has_password: false,
            has_proxy_secret: true,
            difficulty_min: "4".to_owned(),
            payouts: payouts(&[(3008, Payout::Solo), (3009, Payout::Operator)]),
            fee_address: None,
            terms: Some(PublishedTerms {
                scheme: "prop".to_owned(),
                fee: "2 %".to_owned(),
                threshold: "1 HNS".to_owned(),
                threshold_min: "1 HNS".to_owned(),
            }),
        };
        let others = [("a", &own), ("b", &other)];
        let lines = differences(&own, others.into_iter());
        assert_eq!(
            lines,
            [
                "blocks pay: hs1qa here, hs1qb on \"b\"",
                "payout on port 3008: operator here, solo on \"b\"",
                "fee of solo blocks pays: hs1qa here, hs1qb on \"b\"",
                "auth: users here, open on \"b\"",
                "password: set here, not set on \"b\"",
                "proxy-secret: not set here, set on \"b\"",
                "difficulty-min: 1 here, 4 on \"b\"",
                "fee: 1 % here, 2 % on \"b\"",
                "threshold: 9 HNS here, 1 HNS on \"b\"",
            ]
        );
    }

    #[test]
    fn fee_address_matters_where_solo_blocks_have_a_fee() {
        let own = settings();
        let lines = |own: &ServerSettings, other: &ServerSettings| {
            differences(own, [("b", other)].into_iter())
        };
        // What the other names is what this one's node pays.
        let same = ServerSettings {
            fee_address: own.pays.clone(),
            ..settings()
        };
        assert!(lines(&own, &same).is_empty());
        let mut other = ServerSettings {
            fee_address: Some("hs1qc".to_owned()),
            ..settings()
        };
        let said = "fee of solo blocks pays: hs1qa here, hs1qc on \"b\"";
        assert_eq!(lines(&own, &other), [said]);
        other.payouts = payouts(&[(3008, Payout::Operator)]);
        let said = "payout: operator and solo here, operator on \"b\"";
        assert_eq!(lines(&own, &other), [said]);
        let mut free = (settings(), other);
        free.1.payouts = free.0.payouts.clone();
        for settings in [&mut free.0, &mut free.1] {
            settings.terms.as_mut().expect("given").fee = "0 %".to_owned();
        }
        assert!(lines(&free.0, &free.1).is_empty());
    }
}
