//! The behaviour of hostile miners: malformed lines, false claims, and everything that might make the
//! server keep more and more.

use hstratum_core::limits::{SCORE_MAX, USERS_PER_SESSION_MAX};

use crate::miner::mining::Repeat;
use crate::server::KNOWN_USER;
use crate::world::{World, WorldEvent};

/// The miner's next step after sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AfterMisbehaviour {
    Stays,
    HangsUp,
}

fn request(method: &str, params: &str) -> String {
    format!("{{\"id\":\"x\",\"method\":\"mining.{method}\",\"params\":[{params}]}}\n")
}

/// A request for a difficulty, in each of the possible ways in turn.
fn ask_for(n: usize, wish: &str) -> String {
    match n % 4 {
        0 => request("suggest_difficulty", wish),
        1 => request("authorize", &format!(r#""mallory","x,d={wish}""#)),
        2 => {
            let least = format!(r#"["minimum-difficulty"],{{"minimum-difficulty.value":{wish}}}"#);
            request("configure", &least)
        }
        _ => request("suggest_target", &format!("\"{}\"", "f".repeat(64))),
    }
}

impl World {
    /// Makes a hostile miner do something, and schedules the next time.
    pub(crate) fn mischief(&mut self, at: usize, number: u64) {
        let miner = &mut self.miners[at];
        let Some(conn) = miner.conn.filter(|conn| conn.0 == number) else {
            return;
        };
        let choice = miner.rng.u8(..20);
        let (bytes, then) = match choice {
            0..5 => (self.nonsense(at, choice), AfterMisbehaviour::Stays),
            5..9 => (self.lie(at, choice - 5), AfterMisbehaviour::Stays),
            9..17 => self.hoard(at, choice - 9),
            17 => (Vec::new(), AfterMisbehaviour::HangsUp),
            _ => {
                self.guess_shares(at);
                (Vec::new(), AfterMisbehaviour::Stays)
            }
        };
        if !bytes.is_empty() {
            self.transmit(conn, &bytes);
        }
        if then == AfterMisbehaviour::HangsUp {
            return self.hang_up(at);
        }
        let delay_ms = self.miners[at].rng.u64(50..5_000);
        self.after(delay_ms, WorldEvent::Mischief(at, number));
    }

    fn nonsense(&mut self, at: usize, choice: u8) -> Vec<u8> {
        match choice {
            0 => b"}{\n".to_vec(),
            1 => b"{\"id\":1,\"method\":\"mini".to_vec(),
            2 => b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
            3 => vec![0xff, 0, b'\n', 0xc0],
            _ => {
                // Enough lines to be dropped, and in the end banned.
                let lines = self.miners[at].rng.u32(..SCORE_MAX / 5);
                "nonsense\n".repeat(lines as usize).into_bytes()
            }
        }
    }

    fn lie(&mut self, at: usize, choice: u8) -> Vec<u8> {
        let line = match choice {
            0 => request("submit", r#""x","0","0","0","0""#),
            1 => request("authorize", &format!(r#""{KNOWN_USER}","wrong""#)),
            2 => request("authorize", r#""alice","x""#),
            _ => {
                let guess = self.miners[at].rng.u32(..);
                request("authorize_admin", &format!(r#""{guess}""#))
                    + &request("add_user", r#""eve","x""#)
            }
        };
        line.into_bytes()
    }

    /// Requests after each of which a careless server would keep something more.
    fn hoard(&mut self, at: usize, choice: u8) -> (Vec<u8>, AfterMisbehaviour) {
        let rng = &mut self.miners[at].rng;
        match choice {
            0 => ("x".repeat(9_000).into_bytes(), AfterMisbehaviour::HangsUp),
            1 => {
                let lines = request("subscribe", "").repeat(50);
                (lines.into_bytes(), AfterMisbehaviour::Stays)
            }
            // A session that no connection had.
            2 => {
                let session = format!(r#""x","{:08x}""#, rng.u32(..));
                (
                    request("subscribe", &session).into_bytes(),
                    AfterMisbehaviour::HangsUp,
                )
            }
            // A password check that nobody waits for.
            3 => {
                let guess = format!(r#""{KNOWN_USER}","{}""#, rng.u32(..));
                (
                    request("authorize", &guess).into_bytes(),
                    AfterMisbehaviour::HangsUp,
                )
            }
            4 => {
                let users = 0..=USERS_PER_SESSION_MAX;
                let name = |n| format!(r#""mallory.{n}","x""#);
                let lines = users.map(|n| request("authorize", &name(n)));
                (
                    lines.collect::<String>().into_bytes(),
                    AfterMisbehaviour::Stays,
                )
            }
            5 => {
                let wish = |_| format!("{:e}", 10_f64.powf(-10.0 * rng.f64()));
                let wishes = (0..40).map(wish).enumerate();
                let lines = wishes.map(|(n, wish)| ask_for(n, &wish));
                (
                    lines.collect::<String>().into_bytes(),
                    AfterMisbehaviour::Stays,
                )
            }
            // Replies queued behind a share that waits for the ledger.
            6 => {
                self.guess_shares(at);
                let lines = request("ping", "").repeat(2_000);
                (lines.into_bytes(), AfterMisbehaviour::Stays)
            }
            _ => (
                b"GET / HTTP/1.1\r\nA: b\r\n".to_vec(),
                AfterMisbehaviour::HangsUp,
            ),
        }
    }

    /// Submits random shares; now and then one is valid.
    fn guess_shares(&mut self, at: usize) {
        let miner = &mut self.miners[at];
        let Some(job) = miner.job().cloned() else {
            return;
        };
        let proof = (miner.rng.u32(..), job.read.time, miner.rng.u32(..));
        for _ in 0..miner.rng.u8(1..8) {
            self.submit(at, &job, proof, Repeat::First);
        }
    }
}
