//! Lines of a transcript about other servers, the operator and the setup.

use std::sync::Arc;

use hstratum_core::accounting::reward_split::FeePpm;
use hstratum_core::accounts::Auth;
use hstratum_core::accounts::ban::{Ban, BannedBy};
use hstratum_core::chain::coinbase::Payout;
use hstratum_core::job::direct_payout::OperatorFee;
use hstratum_core::operator_order::{NewUser, Order};
use hstratum_core::session::difficulty::Dynamic;

use super::PoolHarness;
use hstratum_harness::setup::{Setup, stored};

/// Applies a change made on another server.
pub(crate) fn elsewhere(harness: &mut PoolHarness, text: &str) {
    let words: Vec<&str> = text.split(' ').collect();
    let mut user = |name: &str, password| harness.change_user((name.to_owned(), password));
    match words.as_slice() {
        ["user", name, password] => user(name, Some(stored(password))),
        ["disabled", name, password] => user(name, Some(stored(password).locked())),
        ["no", "user", name] => user(name, None),
        ["bans", addresses @ ..] => {
            let ban = |address: &&str| Ban {
                address: address.parse().expect("an address"),
                since_s: 0,
                until_s: None,
                reason: String::new(),
                by: BannedBy::Operator,
            };
            harness.change_bans(addresses.iter().map(ban).collect());
        }
        _ => panic!("no such change: {text}"),
    }
}

/// An order in words.
pub(crate) fn order(text: &str) -> Order {
    let words: Vec<&str> = text.split(' ').collect();
    match words.as_slice() {
        ["add", name, password, address @ ..] => Order::AddUser(NewUser {
            name: (*name).to_owned(),
            password: (*password).to_owned(),
            address: address.first().map(|text| (*text).to_owned()),
            is_locked: false,
            wire_admin: None,
        }),
        ["password", name, password] => Order::SetPassword {
            name: (*name).to_owned(),
            password: (*password).to_owned(),
        },
        ["disable", name] => Order::DisableUser((*name).to_owned()),
        ["enable", name] => Order::EnableUser((*name).to_owned()),
        ["ban", address, duration, reason @ ..] => Order::Ban {
            address: address.parse().expect("an address"),
            duration_s: duration.parse().ok(),
            reason: reason.join(" "),
        },
        ["unban", address] => Order::Unban(address.parse().expect("an address")),
        ["list", "bans"] => Order::ListBans,
        ["users", count, from, search @ ..] => Order::ListUsers {
            search: search.join(" "),
            count: count.parse().expect("a number"),
            from: from.parse().expect("a number"),
        },
        ["find", name] => Order::FindUser((*name).to_owned()),
        ["drain", over_s] => Order::Drain {
            over_s: over_s.parse().expect("seconds"),
        },
        ["undrain"] => Order::Undrain,
        ["workers", count, from, account @ ..] => Order::ListWorkers {
            account: account.first().map(|text| (*text).to_owned()),
            count: count.parse().expect("a number"),
            from: from.parse().expect("a number"),
        },
        _ => panic!("no such order: {text}"),
    }
}

/// The setup from the lines that begin with `%`.
pub(crate) fn setup(text: &str) -> Setup {
    let mut setup = Setup::default();
    for line in text.lines().filter_map(|line| line.strip_prefix("% ")) {
        let (key, value) = line.split_once(' ').unwrap_or((line, ""));
        let user = || {
            let (name, password) = value.split_once(' ').expect("a name and a password");
            (name.to_owned(), password.to_owned())
        };
        match key {
            "difficulty" => setup.difficulty = value.parse().expect("a number"),
            "difficulty-min" => setup.difficulty_min = value.parse().expect("a number"),
            "dynamic" => setup.dynamic = Dynamic::On,
            "password" => setup.admin_password = Some(value.to_owned()),
            "public-host" => setup.public_host = Some(value.to_owned()),
            "user" => setup.users.push(user()),
            "slow-user" => setup.slow_users.push(user()),
            "payout" => setup.payout = Payout::from_name(value).expect("a kind of payout"),
            "fee" => {
                let part = FeePpm::parse_percent(value).expect("a percentage");
                let address = setup.operator_fee.address.clone();
                setup.operator_fee = Arc::new(OperatorFee { part, address });
            }
            "auth" => {
                setup.auth = match value {
                    "users" => Auth::Users,
                    "open" => Auth::Open,
                    "address" => Auth::Address,
                    _ => panic!("no such auth: {value}"),
                }
            }
            _ => panic!("no such setting: {line}"),
        }
    }
    setup
}
