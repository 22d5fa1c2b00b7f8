//! Parsers of option values; each gives `None` for a malformed value.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use hstratum_core::units::Difficulty;

use crate::secret::Secret;

const HOST_BYTES_MAX: usize = 253;
const TOKEN_BYTES_MIN: usize = 16;
const PASSWORD_BYTES_MAX: usize = 256;
const PATH_BYTES_MAX: usize = 4096;
const URL_BYTES_MAX: usize = 500;
const DATABASE_BYTES_MAX: usize = 2048;
const SERVER_ID_CHARS_MAX: usize = 64;
const WALLET_NAME_BYTES_MAX: usize = 40;
const INTERVAL_MIN: Duration = Duration::from_secs(60);
const INTERVAL_MAX: Duration = Duration::from_secs(31 * 86_400);

pub(crate) fn store<T>(place: &mut Option<T>, value: Option<T>) -> Option<()> {
    *place = Some(value?);
    Some(())
}

pub(crate) fn parse_integer<T: TryFrom<u32>>(text: &str, min: u32, max: u32) -> Option<T> {
    // `parse` alone would accept a plus sign.
    let value: u32 = text
        .bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| text.parse().ok())??;
    (min..=max)
        .contains(&value)
        .then(|| T::try_from(value).ok())?
}

pub(crate) fn parse_difficulty(text: &str) -> Option<Difficulty> {
    Difficulty::new(text.parse().ok()?)
}

pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

pub(crate) fn parse_switch(text: &str) -> Option<bool> {
    match text {
        "on" => Some(true),
        "off" => Some(false),
        _ => None,
    }
}

/// Parses a host, which will be part of an HTTP header and of a web page.
pub fn parse_host(text: &str) -> Option<String> {
    let name = (1..=HOST_BYTES_MAX).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    (name || text.parse::<IpAddr>().is_ok()).then(|| text.to_owned())
}

/// Parses a password. A flag without a value arrives as `true`, which would be the first guess of any
/// attacker.
pub(crate) fn parse_password(text: &str) -> Option<Secret> {
    let fits = (1..=PASSWORD_BYTES_MAX).contains(&text.len()) && text != "true";
    fits.then(|| Secret(text.to_owned()))
}

/// Parses a token, which clients send in an HTTP header; it has a minimum length since the port may be
/// public.
pub(crate) fn parse_token(text: &str) -> Option<Secret> {
    let fits = (TOKEN_BYTES_MIN..=PASSWORD_BYTES_MAX).contains(&text.len());
    (fits && text.bytes().all(|byte| byte.is_ascii_graphic())).then(|| Secret(text.to_owned()))
}

pub(crate) fn parse_list<T>(
    text: &str,
    max: usize,
    parse: fn(&str) -> Option<T>,
) -> Option<Vec<T>> {
    let items: Option<Vec<T>> = text.split(',').map(|item| parse(item.trim())).collect();
    items.filter(|items| items.len() <= max)
}

/// Parses a path. A flag without a value arrives as `true`.
pub(crate) fn parse_path(text: &str) -> Option<PathBuf> {
    let fits = (1..=PATH_BYTES_MAX).contains(&text.len()) && text != "true";
    fits.then(|| PathBuf::from(text))
}

/// Parses a web address with a place for a block: `%h` for its height or `%s` for its hash.
pub(crate) fn parse_explorer(text: &str) -> Option<String> {
    let is_web = text.starts_with("https://") || text.starts_with("http://");
    let is_plain = text
        .bytes()
        .all(|b| b.is_ascii_graphic() && !b"\"'<>`\\".contains(&b));
    let has_place = text.contains("%h") || text.contains("%s");
    let fits = text.len() <= URL_BYTES_MAX;
    (is_web && is_plain && has_place && fits).then(|| text.to_owned())
}

/// Checks the length of a database URL; it contains a password, so an error must not show it.
pub(crate) fn parse_database(text: &str) -> Option<Secret> {
    let fits = text.len() <= DATABASE_BYTES_MAX;
    (fits && text.starts_with("postgres")).then(|| Secret(text.to_owned()))
}

/// Parses the name of a wallet or of an account in it, as hsd allows it (lib/wallet/common.js, isName).
pub(crate) fn parse_wallet_name(text: &str) -> Option<String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let is_name = text.len() <= WALLET_NAME_BYTES_MAX && text.bytes().all(fits);
    (is_name && text.bytes().any(|byte| byte != b'.')).then(|| text.to_owned())
}

/// Parses an interval: a whole number and its unit, or `off`, which is `Some(None)`.
pub(crate) fn parse_interval(text: &str) -> Option<Option<Duration>> {
    if text == "off" {
        return Some(None);
    }
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit_s = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    let seconds = parse_integer::<u64>(number, 1, u32::MAX)? * unit_s;
    let interval = Duration::from_secs(seconds);
    (INTERVAL_MIN..=INTERVAL_MAX)
        .contains(&interval)
        .then_some(Some(interval))
}

/// Parses a server's name, which logs and pages show.
pub(crate) fn parse_server_id(text: &str) -> Option<String> {
    let fits = (1..=SERVER_ID_CHARS_MAX).contains(&text.len()) && text != "true";
    (fits && text.bytes().all(|byte| byte.is_ascii_graphic())).then(|| text.to_owned())
}
