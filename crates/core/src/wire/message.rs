//! Requests parsed from lines, replies and notifications written as lines.
//!
//! Parsing borrows from the line and allocates nothing for a share. Writing appends to a buffer. Requests
//! are only parsed here, not judged.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::units::{Difficulty, parse_hex_u32};

/// The reasons to refuse a request, with the code and the text that clients match on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reject {
    /// A line or parameters that are no valid request.
    InvalidParams,
    /// This server has no job to give now.
    NotUpToDate,
    /// A wrong admin password, or no admin password is set.
    InvalidPassword,
    /// `mining.add_user` on a connection without the admin's rights.
    OnlyAdmin,
    /// `mining.add_user` of a name that exists.
    UserExists,
    /// `mining.add_user` with a text that is not a payable address of this network.
    InvalidAddress,
    /// The user could not be written to disk.
    UserNotStored,
    /// The ledger that servers share, which holds the users, cannot be reached.
    LedgerAway,
    /// A method this server does not know.
    UnknownMethod,
    /// A line over the limit; the connection ends.
    LineTooLong,
    /// A share's time at or below the median time past, or below the template's earliest time.
    TimeTooOld,
    /// A share's time too far ahead.
    TimeTooNew,
    /// A share that cannot be credited, because the disk refuses writes. It may be sent again.
    LedgerFailing,
    /// A job that was not sent to this connection, or that is too old.
    JobNotFound,
    /// A job whose parent is no longer the tip.
    StalePrevblk,
    /// A share that was accepted before.
    Duplicate,
    /// A share above its target.
    HighHash,
    /// A user that is not authorized on this connection.
    UnauthorizedUser,
    /// On a solo listener, an account without an address to pay its blocks to.
    NoPayee,
    /// On a solo listener, while the payout addresses of accounts could not be read yet.
    PayeesUnknown,
    /// On a solo listener, a name that begins like an address and is none.
    PayeeMalformed,
    /// On a solo listener, an address of another network.
    PayeeOfOtherNetwork,
    /// On a solo listener, an address that is not of version 0, or all zeros.
    PayeeUnpayable,
    /// On a solo listener, a user with another payee than the first one of its connection.
    OtherPayee,
    /// A submit before a subscribe.
    NotSubscribed,
}

impl Reject {
    /// The name of a submit's result, in plain words joined by underscores, for counters; `None` for a
    /// reject that never answers a submit.
    pub fn outcome(self) -> Option<&'static str> {
        Some(match self {
            Self::InvalidParams => "malformed",
            Self::TimeTooOld => "time_too_old",
            Self::TimeTooNew => "time_too_new",
            Self::LedgerFailing => "ledger_unavailable",
            Self::JobNotFound => "unknown_job",
            Self::StalePrevblk => "stale",
            Self::Duplicate => "duplicate",
            Self::HighHash => "above_target",
            Self::UnauthorizedUser => "unauthorized",
            Self::NotSubscribed => "not_subscribed",
            Self::NotUpToDate
            | Self::InvalidPassword
            | Self::OnlyAdmin
            | Self::UserExists
            | Self::InvalidAddress
            | Self::UserNotStored
            | Self::LedgerAway
            | Self::UnknownMethod
            | Self::LineTooLong
            | Self::NoPayee
            | Self::PayeesUnknown
            | Self::PayeeMalformed
            | Self::PayeeOfOtherNetwork
            | Self::PayeeUnpayable
            | Self::OtherPayee => return None,
        })
    }

    /// Every reject, for tests and counters.
    pub const ALL: [Self; 25] = [
        Self::InvalidParams,
        Self::NotUpToDate,
        Self::InvalidPassword,
        Self::OnlyAdmin,
        Self::UserExists,
        Self::InvalidAddress,
        Self::UserNotStored,
        Self::LedgerAway,
        Self::UnknownMethod,
        Self::LineTooLong,
        Self::TimeTooOld,
        Self::TimeTooNew,
        Self::LedgerFailing,
        Self::JobNotFound,
        Self::StalePrevblk,
        Self::Duplicate,
        Self::HighHash,
        Self::UnauthorizedUser,
        Self::NoPayee,
        Self::PayeesUnknown,
        Self::PayeeMalformed,
        Self::PayeeOfOtherNetwork,
        Self::PayeeUnpayable,
        Self::OtherPayee,
        Self::NotSubscribed,
    ];

    /// The error code on the wire.
    pub fn code(self) -> u8 {
        match self {
            Self::InvalidParams
            | Self::NotUpToDate
            | Self::InvalidPassword
            | Self::OnlyAdmin
            | Self::UserExists
            | Self::InvalidAddress
            | Self::UserNotStored
            | Self::LedgerAway
            | Self::UnknownMethod
            | Self::LineTooLong => 0,
            Self::TimeTooOld | Self::TimeTooNew | Self::LedgerFailing => 20,
            Self::JobNotFound | Self::StalePrevblk => 21,
            Self::Duplicate => 22,
            Self::HighHash => 23,
            Self::UnauthorizedUser
            | Self::NoPayee
            | Self::PayeesUnknown
            | Self::PayeeMalformed
            | Self::PayeeOfOtherNetwork
            | Self::PayeeUnpayable
            | Self::OtherPayee => 24,
            Self::NotSubscribed => 25,
        }
    }

    /// The error text on the wire. HandyMiner compares those of code 0.
    pub fn text(self) -> &'static str {
        match self {
            Self::InvalidParams => "invalid params",
            Self::NotUpToDate => "not up to date",
            Self::InvalidPassword => "invalid password",
            Self::OnlyAdmin => "only admin can add user",
            Self::UserExists => "User already exists.",
            Self::InvalidAddress => "invalid address",
            Self::UserNotStored => "user not stored",
            Self::LedgerAway => "shared ledger away, try again later",
            Self::UnknownMethod => "unknown method",
            Self::LineTooLong => "line too long",
            Self::TimeTooOld => "time too old",
            Self::TimeTooNew => "time too new",
            Self::LedgerFailing => "ledger unavailable",
            Self::JobNotFound => "job not found",
            Self::StalePrevblk => "stale-prevblk",
            Self::Duplicate => "duplicate",
            Self::HighHash => "high-hash",
            Self::UnauthorizedUser => "unauthorized user",
            Self::NoPayee => "no address to be paid at: use one as the user name",
            Self::PayeesUnknown => "payout addresses not read yet, try again later",
            Self::PayeeMalformed => "the user name is not a valid address",
            Self::PayeeOfOtherNetwork => "the address is of another network",
            Self::PayeeUnpayable => "the address cannot be paid",
            Self::OtherPayee => "another address than that of this connection",
            Self::NotSubscribed => "not subscribed",
        }
    }
}

/// A line without control characters: some Goldshell firmware puts raw ones into strings.
pub fn clean_line(line: &[u8]) -> Cow<'_, [u8]> {
    // No early exit: a plain fold is vectorized by the compiler.
    let has_control = line.iter().fold(false, |any, b| any | b.is_ascii_control());
    if has_control {
        let is_text = |byte: &u8| !byte.is_ascii_control();
        Cow::Owned(line.iter().copied().filter(is_text).collect())
    } else {
        Cow::Borrowed(line)
    }
}

/// A request with its id and parameters still as JSON text.
#[derive(Debug, Deserialize)]
pub struct Request<'a> {
    #[serde(borrow, default, deserialize_with = "raw")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "raw")]
    method: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "raw")]
    params: Option<&'a RawValue>,
}

/// Keeps `null` as a value, unlike a plain `Option`.
fn raw<'de: 'a, 'a, D: Deserializer<'de>>(from: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

impl<'a> Request<'a> {
    /// Reads a line; `None` if it is not a JSON object.
    pub fn parse(line: &'a str) -> Option<Self> {
        // A derived deserializer would also accept an array of the fields.
        if !line.trim_ascii_start().starts_with('{') {
            return None;
        }
        serde_json::from_str(line).ok()
    }

    /// The id as JSON text; `None` if the line has none and so expects no reply.
    pub fn id(&self) -> Option<&'a str> {
        self.id.map(RawValue::get)
    }

    /// The parameters as JSON text; missing or null ones are an empty list.
    pub fn params_text(&self) -> &'a str {
        self.params
            .map(RawValue::get)
            .filter(|text| *text != "null")
            .unwrap_or("[]")
    }

    /// The same request with another id.
    pub fn with_id(&self, id: &str) -> String {
        let method = self.method.map_or("null", RawValue::get);
        let params = self.params_text();
        format!(r#"{{"id":{id},"method":{method},"params":{params}}}"#)
    }

    /// The method; `None` if it is missing or not a string.
    pub fn method(&self) -> Option<Cow<'a, str>> {
        text(self.method?)
    }

    /// The parameters of `mining.submit`.
    pub fn submit(&self) -> Result<Submit<'a>, Reject> {
        self.params()
    }

    /// The first parameter as a number.
    pub fn number(&self) -> Result<f64, Reject> {
        let values: Vec<f64> = self.params()?;
        values.first().copied().ok_or(Reject::InvalidParams)
    }

    /// The first parameter as a whole number.
    pub fn count(&self) -> Option<u32> {
        let values: Vec<u32> = self.params().ok()?;
        values.first().copied()
    }

    /// The parameters of `mining.configure`.
    pub fn extensions(&self) -> Result<Extensions, Reject> {
        #[derive(Deserialize)]
        struct RequestParams(
            Vec<String>,
            #[serde(default)] serde_json::Map<String, serde_json::Value>,
        );
        let RequestParams(names, values) = self.params()?;
        Ok((names, values))
    }

    fn params<T: Deserialize<'a>>(&self) -> Result<T, Reject> {
        serde_json::from_str(self.params_text()).map_err(|_| Reject::InvalidParams)
    }

    /// The parameters as strings, with `None` for each that is not a string. Missing parameters are an
    /// empty list.
    pub fn texts(&self) -> Result<Vec<Option<String>>, Reject> {
        let values: Vec<serde_json::Value> = self.params()?;
        Ok(values
            .into_iter()
            .map(|value| match value {
                serde_json::Value::String(text) => Some(text),
                _ => None,
            })
            .collect())
    }
}

/// Names of the extensions in `mining.configure`, and their values.
type Extensions = (Vec<String>, serde_json::Map<String, serde_json::Value>);

fn text<'a>(raw: &'a RawValue) -> Option<Cow<'a, str>> {
    serde_json::from_str(raw.get()).ok().map(|Text(text)| text)
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The parameters of `mining.submit`.
#[derive(Debug, PartialEq, Eq)]
pub struct Submit<'a> {
    /// The user name as sent.
    pub user: Cow<'a, str>,
    /// The job id as sent.
    pub job: Cow<'a, str>,
    /// The miner's half of the extra nonce.
    pub extra_nonce2: u32,
    /// The time, in Unix seconds.
    pub time: u32,
    /// The header's nonce.
    pub nonce: u32,
}

impl<'de: 'a, 'a> Deserialize<'de> for Submit<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Fields<'a>(std::marker::PhantomData<&'a ()>);

        impl<'de: 'a, 'a> Visitor<'de> for Fields<'a> {
            type Value = Submit<'a>;

            fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                to.write_str("user, job, extranonce2, time, nonce and at most one more")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Submit<'a>, A::Error> {
                let mut next = || {
                    seq.next_element::<Text<'a>>()?
                        .map(|Text(text)| text)
                        .ok_or_else(|| A::Error::custom("too few"))
                };
                let submit = Submit {
                    user: next()?,
                    job: next()?,
                    extra_nonce2: parse_hex_u32(&next()?).ok_or_else(expected_hex)?,
                    time: parse_hex_u32(&next()?).ok_or_else(expected_hex)?,
                    nonce: parse_nonce(&next()?).ok_or_else(expected_hex)?,
                };
                // Goldshell and HandyMiner send the mask they assume; it is ignored.
                if seq.next_element::<IgnoredAny>()?.is_some()
                    && seq.next_element::<IgnoredAny>()?.is_some()
                {
                    return Err(A::Error::custom("too many"));
                }
                Ok(submit)
            }
        }

        from.deserialize_seq(Fields(std::marker::PhantomData))
    }
}

fn expected_hex<E: serde::de::Error>() -> E {
    E::custom("expected 8 hex digits")
}

/// Parses a nonce. HandyMiner in solo mode sends it as 16 digits, of which the first 8 are zeros.
pub(crate) fn parse_nonce(text: &str) -> Option<u32> {
    match text.len() {
        16 => parse_hex_u32(text.strip_prefix("00000000")?),
        _ => parse_hex_u32(text),
    }
}

/// Appends `{"id":…,"result":true,"error":null}`.
pub fn write_true(out: &mut Vec<u8>, id: &str) {
    write_result(out, id, "true");
}

/// Appends a reply whose result is the JSON text `result`.
pub fn write_result(out: &mut Vec<u8>, id: &str, result: &str) {
    out.extend_from_slice(b"{\"id\":");
    out.extend_from_slice(id.as_bytes());
    out.extend_from_slice(b",\"result\":");
    out.extend_from_slice(result.as_bytes());
    out.extend_from_slice(b",\"error\":null}\n");
}

/// Appends `{"id":…,"result":null,"error":[code,text,false]}`.
pub fn write_reject(out: &mut Vec<u8>, id: &str, reject: Reject) {
    use std::io::Write;
    writeln!(
        out,
        "{{\"id\":{id},\"result\":null,\"error\":[{},\"{}\",false]}}",
        reject.code(),
        reject.text()
    )
    .expect("writing to memory cannot fail");
}

/// Appends the reply to `mining.subscribe`: the session's id is its extranonce1.
pub fn write_subscribed(out: &mut Vec<u8>, id: &str, extra_nonce1: u32) {
    use std::io::Write;
    writeln!(
        out,
        "{{\"id\":{id},\"result\":[[[\"mining.notify\",\"{extra_nonce1:08x}\"],\
         [\"mining.set_difficulty\",\"{extra_nonce1:08x}\"]],\"{extra_nonce1:08x}\",4],\"error\":null}}"
    )
    .expect("writing to memory cannot fail");
}

/// Appends a `mining.set_difficulty` notification.
pub fn write_set_difficulty(out: &mut Vec<u8>, difficulty: Difficulty) {
    use std::io::Write;
    writeln!(
        out,
        "{{\"id\":null,\"method\":\"mining.set_difficulty\",\"params\":[{difficulty}]}}"
    )
    .expect("writing to memory cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn submit(params: &str) -> Result<Submit<'static>, Reject> {
        let line = format!("{{\"id\":1,\"method\":\"mining.submit\",\"params\":{params}}}");
        let line: &'static str = line.leak();
        Request::parse(line).expect("an object").submit()
    }

    #[test]
    fn submits_of_every_known_dialect_are_read() {
        let share = Submit {
            user: "a.b".into(),
            job: "j1".into(),
            extra_nonce2: 3,
            time: 0x5fc5_a7b8,
            nonce: 0xed79_6623,
        };
        for params in [
            r#"["a.b","j1","00000003","5fc5a7b8","ed796623"]"#,
            r#"["a.b","j1","00000003","5FC5A7B8","00000000ed796623"]"#,
            r#"["a.b","j1","00000003","5fc5a7b8","ed796623","0000"]"#,
            r#"["a.b","j1","00000003","5fc5a7b8","ed796623",{"any":[1]}]"#,
            r#"["a\u002eb","j1","00000003","5fc5a7b8","ed796623",null]"#,
        ] {
            assert_eq!(submit(params).as_ref(), Ok(&share), "{params}");
        }
    }

    #[test]
    fn submits_of_other_shapes_are_invalid() {
        for params in [
            r#"{}"#,
            r#"null"#,
            r#"[]"#,
            r#"["a","j","00000003","5fc5a7b8"]"#,
            r#"["a","j","00000003","5fc5a7b8","ed796623","0","0"]"#,
            r#"["a","j","3","5fc5a7b8","ed796623"]"#,
            r#"["a","j","00000003","5fc5a7b8","+d796623"]"#,
            r#"["a","j","00000003","5fc5a7b8","00000001ed796623"]"#,
            r#"["a","j",3,"5fc5a7b8","ed796623"]"#,
            r#"["a",7,"00000003","5fc5a7b8","ed796623"]"#,
        ] {
            assert_eq!(submit(params), Err(Reject::InvalidParams), "{params}");
        }
    }

    #[test]
    fn an_id_of_any_kind_is_kept_as_it_came() {
        for id in [
            "7",
            "\"a\\u0041\"",
            "null",
            "1e3",
            "[1, 2]",
            "{\"a\":1}",
            "true",
        ] {
            let line = format!("{{\"method\":\"m\",\"id\":{id}}}");
            assert_eq!(Request::parse(&line).unwrap().id(), Some(id));
        }
        assert_eq!(Request::parse("{\"method\":\"m\"}").unwrap().id(), None);
    }

    #[test]
    fn what_is_no_object_is_no_request() {
        for line in ["", "1", "[]", "\"x\"", "{", "{}x", "{\"id\":1,\"id\":2}"] {
            assert!(Request::parse(line).is_none(), "{line}");
        }
        let deep = format!("{{\"id\":{}{}}}", "[".repeat(4000), "]".repeat(4000));
        assert!(Request::parse(&deep).is_some(), "depth alone is no harm");
        let deep = format!("{{\"params\":{}{}}}", "[".repeat(4000), "]".repeat(4000));
        assert_eq!(
            Request::parse(&deep).unwrap().texts(),
            Err(Reject::InvalidParams)
        );
    }

    #[test]
    fn replies_read_as_the_field_writes_them() {
        let mut out = Vec::new();
        write_true(&mut out, "4");
        write_reject(&mut out, "\"x\"", Reject::UserExists);
        write_subscribed(&mut out, "0", 0x00ab_cdef);
        write_set_difficulty(&mut out, Difficulty::new(0.5).unwrap());
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "{\"id\":4,\"result\":true,\"error\":null}\n\
             {\"id\":\"x\",\"result\":null,\"error\":[0,\"User already exists.\",false]}\n\
             {\"id\":0,\"result\":[[[\"mining.notify\",\"00abcdef\"],[\"mining.set_difficulty\",\"00abcdef\"]],\"00abcdef\",4],\"error\":null}\n\
             {\"id\":null,\"method\":\"mining.set_difficulty\",\"params\":[0.5]}\n"
        );
    }
}
