//! Two kinds of miners in the field: their messages, and what they do not tolerate (docs/protocol.md).
//!
//! Pure: lines in, lines out. Work and shares are those of `hstratum_core::wire::client`; this module
//! converts its lines to the dialect's form and back.

use serde_json::{Value, json};

/// A miner's dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// The Goldshell HS1's own client.
    Goldshell,
    /// HandyMiner, in pool mode.
    HandyMiner,
}

/// Prefix of HandyMiner's ids.
const HANDY_ID: &str = "herpderpington_";

/// Mask that both assume and send: zero.
const MASK: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Bytes of a line up to which it arrives in one TCP segment.
const LINE_BYTES_MAX: usize = 1400;

impl Dialect {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Goldshell => "Goldshell HS1",
            Self::HandyMiner => "HandyMiner",
        }
    }

    /// User name that it sends for an account.
    pub(super) fn user(self, account: &str) -> String {
        match self {
            Self::Goldshell if account.contains('.') => format!("{account}_H10DOCTOR"),
            Self::Goldshell => format!("{account}.H10DOCTOR"),
            Self::HandyMiner => account.to_owned(),
        }
    }

    /// First and second message of its login, from subscribe and authorize; the second follows the first
    /// reply.
    pub(super) fn hello(self, [subscribe, authorize]: [String; 2], user: &str) -> [String; 2] {
        match self {
            Self::Goldshell => {
                let subscribe = with_params(&subscribe, json!(["icbtminer"]));
                [subscribe, authorize]
            }
            Self::HandyMiner => {
                let add = json!({ "id": "init_doctor", "method": "mining.add_user", "params": [user, "x"] });
                let subscribe = with_params(&subscribe, json!(["handyminer/0.0.5"]));
                let lines = [&authorize, &subscribe].map(|line| with_string_id(line));
                [format!("{add}\n{}", lines.concat()), String::new()]
            }
        }
    }

    /// Converts a submit to the dialect.
    pub(super) fn submit(self, line: &str) -> String {
        let mut message = parse(line);
        if let Some(params) = message["params"].as_array_mut() {
            params.push(MASK.into());
        }
        let line = format!("{message}\n");
        match self {
            Self::Goldshell => line,
            Self::HandyMiner => with_string_id(&line),
        }
    }

    /// Converts a line of the server back, with the id that the client knows.
    pub(super) fn received(self, line: &str) -> String {
        let mut message = parse(line);
        let number = message["id"]
            .as_str()
            .and_then(|id| id.strip_prefix(HANDY_ID)?.parse::<u64>().ok());
        match number {
            Some(number) => {
                message["id"] = number.into();
                message.to_string()
            }
            None => line.to_owned(),
        }
    }
}

/// Checker for messages of a server that one of the two does not tolerate.
#[derive(Default)]
pub(super) struct DialectCheck {
    has_difficulty: bool,
    complaints: Vec<String>,
}

impl DialectCheck {
    /// Checks the bytes of one read.
    pub(super) fn see_chunk(&mut self, chunk: &[u8]) {
        if chunk.last().is_some_and(|last| *last != b'\n') {
            self.complain(
                "a line arrived in two pieces: a Goldshell reconnects, HandyMiner may miss it",
            );
        }
    }

    /// Checks a line.
    pub(super) fn see_line(&mut self, line: &str) {
        if line.len() > LINE_BYTES_MAX {
            self.complain("a line is longer than a segment: a Goldshell reconnects if it is cut");
        }
        let message = parse(line);
        match message["method"].as_str() {
            Some("mining.set_difficulty") => self.has_difficulty = true,
            Some("mining.notify") => {
                if !self.has_difficulty {
                    self.complain(
                        "a job came before a difficulty: HandyMiner starts up to 20 s later",
                    );
                }
                if message["params"]
                    .as_array()
                    .is_some_and(|fields| fields.len() > 9)
                {
                    self.complain(
                        "the job has a tenth field: with a mask in it both make bad shares",
                    );
                }
            }
            Some(method) => self.complain(&format!("a Goldshell reconnects on {method:?}")),
            None if message["id"].is_null() => {
                self.complain("a reply has no id: a Goldshell reconnects");
            }
            None => self.see_reply(&message),
        }
    }

    fn see_reply(&mut self, message: &Value) {
        let Some(extra_nonce1) = message.pointer("/result/1").and_then(Value::as_str) else {
            return;
        };
        let is_hex = extra_nonce1.bytes().all(|b| b.is_ascii_hexdigit());
        if extra_nonce1.len() != 8 || !is_hex {
            self.complain("extranonce1 is not 8 hex digits: shares of most miners are invalid");
        }
    }

    pub(super) fn complaints(self) -> Vec<String> {
        self.complaints
    }

    /// Records each complaint once.
    fn complain(&mut self, text: &str) {
        if !self.complaints.iter().any(|known| known == text) {
            self.complaints.push(text.to_owned());
        }
    }
}

fn parse(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_default()
}

fn with_params(line: &str, params: Value) -> String {
    let mut message = parse(line);
    message["params"] = params;
    format!("{message}\n")
}

fn with_string_id(line: &str) -> String {
    let mut message = parse(line);
    message["id"] = format!("{HANDY_ID}{}", message["id"]).into();
    format!("{message}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use hstratum_core::wire::client::Client;

    #[test]
    fn each_says_hello_as_it_does_in_the_field() {
        let hello = |dialect: Dialect| {
            let user = dialect.user("alice");
            dialect.hello(Client::new(&user, "x").connect(), &user)
        };
        let [first, then] = hello(Dialect::Goldshell);
        let subscribe = json!({"method": "mining.subscribe", "id": 0, "params": ["icbtminer"]});
        let authorize =
            json!({"method": "mining.authorize", "id": 1, "params": ["alice.H10DOCTOR", "x"]});
        assert_eq!((parse(&first), parse(&then)), (subscribe, authorize));

        let [first, then] = hello(Dialect::HandyMiner);
        let methods: Vec<String> = first
            .lines()
            .map(|line| {
                parse(line)["method"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned()
            })
            .collect();
        let expected = ["mining.add_user", "mining.authorize", "mining.subscribe"];
        assert_eq!(
            (methods, then),
            (expected.map(str::to_owned).into(), String::new())
        );
    }

    #[test]
    fn ids_come_back_as_the_client_gave_them() {
        let line = r#"{"id":7,"method":"mining.submit","params":["alice"]}"#;
        let sent = parse(&Dialect::HandyMiner.submit(line));
        assert_eq!(sent["params"], json!(["alice", MASK]));
        let reply = json!({"id": sent["id"], "result": true, "error": null}).to_string();
        assert_eq!(parse(&Dialect::HandyMiner.received(&reply))["id"], 7);
        assert_eq!(parse(&Dialect::Goldshell.submit(line))["id"], 7);
    }

    #[test]
    fn what_miners_do_not_bear_is_told_once() {
        let complaints = |lines: &[&str]| {
            let mut judge = DialectCheck::default();
            for line in lines {
                judge.see_line(line);
                judge.see_line(line);
            }
            judge.complaints()
        };
        let difficulty = r#"{"id":null,"method":"mining.set_difficulty","params":[8]}"#;
        let job = r#"{"id":null,"method":"mining.notify","params":[1,2,3,4,5,6,7,8,9]}"#;
        assert!(complaints(&[difficulty, job]).is_empty());
        assert!(complaints(&[r#"{"id":0,"result":[[],"0000000a",4],"error":null}"#]).is_empty());
        for (line, says) in [
            (job, "before a difficulty"),
            (
                r#"{"id":null,"method":"client.show_message","params":[]}"#,
                "show_message",
            ),
            (
                r#"{"id":null,"result":null,"error":[0,"x",false]}"#,
                "no id",
            ),
            (
                r#"{"id":0,"result":[[],"000000000a",4],"error":null}"#,
                "8 hex digits",
            ),
        ] {
            let found = complaints(&[line]);
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].contains(says), "{found:?}");
        }
        let mut judge = DialectCheck::default();
        judge.see_chunk(b"{}\n{");
        assert_eq!(judge.complaints().len(), 1);
    }
}
