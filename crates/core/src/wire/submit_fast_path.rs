//! Fast parser for the most frequent request: a `mining.submit` as known clients write it, read in one
//! pass without serde.
//!
//! It takes no white space and no escapes; an id, the method and the parameters, once each and in any
//! order. Any other line is left to [`Request`](crate::wire::message::Request). Invariant: a line that is
//! read here is read with the same result there.

use std::borrow::Cow;

use crate::units::parse_hex_u32;
use crate::wire::message::{Submit, parse_nonce};

/// The id and the parameters of a submit; `None` for every line that only the full parser can judge.
pub fn scan_submit(line: &str) -> Option<(&str, Submit<'_>)> {
    let mut rest = line.strip_prefix('{')?;
    let (mut id, mut method, mut params) = (None, None, None);
    loop {
        if let Some(value) = rest.strip_prefix("\"id\":") {
            rest = set_once(&mut id, number(value)?)?;
        } else if let Some(value) = rest.strip_prefix("\"method\":\"mining.submit\"") {
            rest = set_once(&mut method, ((), value))?;
        } else if let Some(value) = rest.strip_prefix("\"params\":[") {
            rest = set_once(&mut params, submit(value)?)?;
        } else {
            return None;
        }
        match rest.strip_prefix(',') {
            Some(next) => rest = next,
            None => break,
        }
    }
    method?;
    (rest == "}").then_some((id?, params?))
}

/// Stores a value and gives the text after it; `None` if there was a value before.
fn set_once<'a, T>(to: &mut Option<T>, (value, rest): (T, &'a str)) -> Option<&'a str> {
    to.replace(value).is_none().then_some(rest)
}

/// A number without sign, fraction or exponent, and the text after it.
fn number(text: &str) -> Option<(&str, &str)> {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit())?;
    let is_one = end == 1 || (end > 1 && !text.starts_with('0'));
    is_one.then(|| text.split_at(end))
}

/// The parameters after the opening bracket, and the text after them. An optional sixth one, the mask
/// that the client assumes, is skipped.
fn submit(text: &str) -> Option<(Submit<'_>, &str)> {
    let (user, rest) = string(text)?;
    let (job, rest) = string(rest.strip_prefix(',')?)?;
    let (extra_nonce2, rest) = string(rest.strip_prefix(',')?)?;
    let (time, rest) = string(rest.strip_prefix(',')?)?;
    let (nonce, mut rest) = string(rest.strip_prefix(',')?)?;
    if let Some(mask) = rest.strip_prefix(',') {
        rest = string(mask)?.1;
    }
    let submit = Submit {
        user: Cow::Borrowed(user),
        job: Cow::Borrowed(job),
        extra_nonce2: parse_hex_u32(extra_nonce2)?,
        time: parse_hex_u32(time)?,
        nonce: parse_nonce(nonce)?,
    };
    Some((submit, rest.strip_prefix(']')?))
}

/// A string without escapes, and the text after it.
fn string(text: &str) -> Option<(&str, &str)> {
    let text = text.strip_prefix('"')?;
    let is_special = |byte: u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    let end = text.bytes().position(is_special)?;
    let (string, rest) = text.split_at(end);
    Some((string, rest.strip_prefix('"')?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::message::Request;

    /// Submits as Goldshell, HandyMiner and others send them.
    const LINES: [&str; 4] = [
        r#"{"method":"mining.submit","id":2,"params":["alice.H1","6b02e213aa1","00000003","6b02e213","e2df6898","0000000000000000000000000000000000000000000000000000000000000000"]}"#,
        r#"{"id":10,"method":"mining.submit","params":["alice","6b02e213aa1","00000003","6b02e213","00000000e2df6898",""]}"#,
        r#"{"id":0,"method":"mining.submit","params":["ä","b","FfffFFff","6b02e213","e2df6898"]}"#,
        r#"{"params":["a","b","00000003","6b02e213","e2df6898"],"id":123456789012345678901234567890,"method":"mining.submit"}"#,
    ];

    /// True if the fast parser reads the line; then the full parser must give the same result.
    fn check(line: &str) -> bool {
        let Some((id, submit)) = scan_submit(line) else {
            return false;
        };
        let request = Request::parse(line).unwrap_or_else(|| panic!("no request: {line}"));
        assert_eq!(request.id(), Some(id), "{line}");
        assert_eq!(request.method().as_deref(), Some("mining.submit"), "{line}");
        assert_eq!(request.submit(), Ok(submit), "{line}");
        true
    }

    #[test]
    fn submits_of_known_clients_are_read() {
        for line in LINES {
            assert!(check(line), "{line}");
        }
    }

    #[test]
    fn what_is_changed_anywhere_is_read_the_same_or_not_here() {
        let mut read = 0;
        for line in LINES {
            for (at, old) in line.char_indices() {
                let (before, after) = (&line[..at], &line[at + old.len_utf8()..]);
                read += u32::from(check(&format!("{before}{after}")));
                for new in "0a-\"\\,:{}[] \t\n\u{0}\u{7f}né".chars() {
                    read += u32::from(check(&format!("{before}{new}{after}")));
                    read += u32::from(check(&format!("{before}{new}{old}{after}")));
                }
            }
        }
        assert!(read > 1000, "the changes within strings: {read}");
    }

    #[test]
    fn nothing_comes_twice_and_nothing_is_missing() {
        let [line, ..] = LINES;
        let twice = line.replace("\"id\":2,", "\"id\":2,\"id\":3,");
        for other in [&twice, &line.replace("\"id\":2,", ""), "{}", "{", ""] {
            assert!(scan_submit(other).is_none(), "{other}");
        }
    }
}
