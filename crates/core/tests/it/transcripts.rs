//! Conversations as text, one file for each case, in `transcripts/`. `UPDATE_EXPECT=1` rewrites the
//! pool's output in them.
//!
//! ```text
//! % difficulty 8            setup of the pool; also auth, difficulty-min, dynamic, password,
//!                           public-host, user, slow-user
//! # a comment
//! ! template                the node: see `Play::node`; `! order …` the operator: see `order`;
//!                           `! elsewhere …` another server of the pool: see `elsewhere`
//! @ +5s                     time passes
//! > {"id":1,…}              a miner sends; `2> …` for another, which connects with its first line
//! ^ the next 3 lines        arrive in one segment
//! < {"id":1,…}              the pool sends
//! * credit alice …          another action of the pool; `2* reset` if it is about a miner
//! ```
//!
//! In a miner's line `{share}`, `{block}` and `{low}` stand for the last three fields of a submit for the
//! job that the line names, `{again}` for those of the last one; options follow: `time+10`, `time-10`,
//! `wide` (a nonce of 16 digits), `upper`. `{cut}` leaves the newline out, `{byte 09}` is any byte,
//! `{pad 9000}` many. Values that differ from run to run have names: `$job1`, `$session1`, `$witness2`,
//! numbered in order of appearance.

use std::collections::HashMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use crate::harness::transcript_words::{elsewhere, order, setup};
use crate::harness::{Miner, Output, PoolHarness, SubmitFields, Want};
use hstratum_core::accounting::ledger::Verdict;
use hstratum_core::operator_order::NotWritten;
use serde_json::Value;

#[test]
fn transcripts_are_what_the_pool_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let entries = fs::read_dir(folder).expect("the folder is there");
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    assert!(paths.len() > 20, "the transcripts are there");
    let failures: Vec<String> = paths.iter().flat_map(|path| check(path)).collect();
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

/// Transcripts that differ through a proxy, with the reason.
const PROXIED_OTHERWISE: [(&str, &str); 10] = [
    ("clock-back.txt", WAITS),
    ("elsewhere.txt", WAITS),
    ("no-job-for-long.txt", WAITS),
    ("order-ban.txt", WAITS),
    ("keep-alive.txt", EARLIER),
    ("overdue.txt", EARLIER),
    (
        "order-drain-without-job.txt",
        "the proxy's own connection counts",
    ),
    ("order-drain.txt", "the proxy's own connection counts"),
    (
        "order-disable.txt",
        "a share on its way to a connection that ends is answered: refused",
    ),
    (
        "proxy-without-secret.txt",
        "what servers and proxies say to each other is no miner's",
    ),
];
const WAITS: &str = "a miner whose server ends its connection may go to another for 15 s";
const EARLIER: &str = "who does not log in is reset five seconds before a server would do it";

/// Plays every transcript through a proxy too: lines, users, bans, limits and refusals must be the same.
#[test]
fn transcripts_are_what_a_proxy_before_the_pool_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let entries = fs::read_dir(folder).expect("the folder is there");
    let mut failures = Vec::new();
    let mut played = 0;
    for entry in entries {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_other = PROXIED_OTHERWISE.iter().any(|(other, _)| *other == name);
        let differs = check_proxied(&path);
        assert!(
            !is_other || differs.is_some(),
            "{name} is the same after all"
        );
        played += usize::from(!is_other);
        failures.extend(differs.filter(|_| !is_other));
    }
    println!("{played} transcripts are the same through a proxy");
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

/// Plays a file through a proxy; gives the first difference. Each miner's lines are compared in order,
/// all other output in any order.
fn check_proxied(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).expect("a text file");
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut play = Play::new(&text);
    play.harness = play.harness.behind_a_proxy(setup(&text).public_host);
    let lines: Vec<(usize, &str)> = (1..).zip(text.lines()).collect();
    let mut lines = lines.into_iter().peekable();
    while let Some((number, line)) = lines.next() {
        let mut wanted = Vec::new();
        while let Some((_, line)) = lines.next_if(|(_, line)| is_output(line)) {
            wanted.push(line.to_owned());
        }
        let Ok(got) = catch_unwind(AssertUnwindSafe(|| play.line(line))) else {
            return Some(format!("{name}:{number}: a panic, see above: {line}"));
        };
        let (wanted, got) = (proxied(wanted), proxied(got));
        if wanted != got {
            return Some(format!(
                "{name}:{number}: {line}\n    wanted {wanted:#?}\n    got {got:#?}"
            ));
        }
    }
    None
}

/// Each miner's lines in order, then all other output; without pauses of reading, and without logins that
/// the proxy itself refuses.
fn proxied(outputs: Vec<String>) -> Vec<String> {
    let is_pace = |line: &String| ["paused", "resumed"].contains(&split(line).2);
    let is_nameless = |line: &String| line.ends_with("no name, or too long");
    let (mut lines, mut others): (Vec<String>, Vec<String>) = outputs
        .into_iter()
        .filter(|line| !is_pace(line) && !is_nameless(line))
        .partition(|line| split(line).1 == "<");
    lines.sort_by_key(|line| split(line).0.to_owned());
    others.sort();
    lines.append(&mut others);
    lines
}

/// Plays a file; gives the differences, each with its line.
fn check(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).expect("a text file");
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut play = Play::new(&text);
    let mut failures = Vec::new();
    let mut rewritten = Vec::new();
    let mut actual = Vec::<String>::new();
    for (number, line) in (1..).zip(text.lines()) {
        if !is_output(line) {
            failures.extend(
                actual
                    .drain(..)
                    .map(|got| format!("{name}:{number}: got {got}")),
            );
            rewritten.push(line.to_owned());
            match catch_unwind(AssertUnwindSafe(|| play.line(line))) {
                Ok(output) => actual = output,
                Err(_) => return vec![format!("{name}:{number}: a panic, see above: {line}")],
            }
            rewritten.extend(actual.iter().cloned());
        } else if actual.is_empty() {
            failures.push(format!("{name}:{number}: wanted {line}\n    got nothing"));
        } else {
            let got = actual.remove(0);
            if got != line {
                failures.push(format!("{name}:{number}: wanted {line}\n    got    {got}"));
            }
        }
    }
    failures.extend(
        actual
            .iter()
            .map(|got| format!("{name}: at the end got {got}")),
    );
    if std::env::var_os("UPDATE_EXPECT").is_some() && !failures.is_empty() {
        fs::write(path, rewritten.join("\n") + "\n").expect("the file can be written");
        return Vec::new();
    }
    failures
}

/// Splits `2> text` into miner, kind and text.
fn split(line: &str) -> (&str, &str, &str) {
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    let (label, rest) = line.split_at(digits);
    let kind = rest.len().min(1);
    (label, &rest[..kind], rest[kind..].trim_start_matches(' '))
}

fn is_output(line: &str) -> bool {
    matches!(split(line).1, "<" | "*")
}

/// The state of a transcript being played.
struct Play {
    harness: PoolHarness,
    miners: HashMap<String, Miner>,
    /// Values and the names that stand for them, in order of appearance.
    names: Vec<(String, String)>,
    counts: HashMap<&'static str, usize>,
    /// Count of lines still to come in this segment, and the bytes so far.
    segment: (usize, Vec<u8>),
    /// The unfinished line of each miner.
    lines: HashMap<Miner, Vec<u8>>,
    last: Option<SubmitFields>,
}

impl Play {
    fn new(text: &str) -> Self {
        Self {
            harness: PoolHarness::new(&setup(text)),
            miners: HashMap::new(),
            names: Vec::new(),
            counts: HashMap::new(),
            segment: (0, Vec::new()),
            lines: HashMap::new(),
            last: None,
        }
    }

    /// Plays an input line; gives the resulting output.
    fn line(&mut self, line: &str) -> Vec<String> {
        let (label, kind, text) = split(line);
        match kind {
            "" | "#" | "%" => {}
            "^" => {
                let count = text.split(' ').find_map(|word| word.parse().ok());
                self.segment = (count.expect("how many lines"), Vec::new());
            }
            "@" => {
                let seconds: f64 = text
                    .strip_prefix('+')
                    .and_then(|text| text.strip_suffix('s')?.parse().ok())
                    .unwrap_or_else(|| panic!("no time: {line}"));
                self.harness.advance((seconds * 1000.0) as u64);
            }
            "!" => {
                self.node(text);
                self.harness.probe_through_proxy();
            }
            ">" => self.say(label, text),
            _ => panic!("no such line: {line}"),
        }
        let output = std::mem::take(&mut self.harness.output);
        output.into_iter().map(|output| self.show(output)).collect()
    }

    fn node(&mut self, text: &str) {
        let (event, rest) = text.split_once(' ').unwrap_or((text, ""));
        let harness = &mut self.harness;
        match (event, rest) {
            ("tip", "") => harness.tip(),
            ("template", "") => harness.template(),
            ("block", "") => harness.block(),
            ("no-template", reason) => harness.no_template(reason),
            ("bits", bits) => harness.chain.bits = u32::from_str_radix(bits, 16).expect("hex"),
            ("mempool", count) => harness.chain.transactions = count.parse().expect("a number"),
            ("transactions", "") => harness.transactions(),
            ("accepted", "") => harness.answer_block(Verdict::Accepted),
            ("side", "") => harness.answer_block(Verdict::Side),
            ("refused", reason) => harness.answer_block(Verdict::Refused(reason.to_owned())),
            ("unknown", reason) => harness.answer_block(Verdict::Unknown(reason.to_owned())),
            ("clock-behind", seconds) => {
                harness.clock_behind_s = seconds.parse().expect("a number");
            }
            ("hold", "ledger") => harness.ledger_held = true,
            ("hold", "clerk") => harness.passwords_held = true,
            ("release", "") => harness.release(),
            ("break", "disk") => harness.refuses = Some(NotWritten::Failed),
            ("lose", "database") => harness.refuses = Some(NotWritten::Away),
            ("overtake", "users") => harness.refuses = Some(NotWritten::Changed),
            ("break", "ledger") => harness.break_ledger(),
            ("mend", "ledger") => harness.mend_ledger(),
            ("connect", label) => {
                let miner = harness.connect();
                self.miners.insert(label.to_owned(), miner);
            }
            ("close", label) => harness.close(self.miners[label]),
            ("order", text) => harness.order(order(text)),
            ("mend", "disk") => harness.refuses = None,
            ("elsewhere", text) => elsewhere(harness, text),
            _ => panic!("no such event: {text}"),
        }
    }

    fn say(&mut self, label: &str, text: &str) {
        let open = self.miners.get(label).copied();
        let open = open.filter(|miner| self.harness.is_open(*miner));
        let miner = open.unwrap_or_else(|| self.harness.connect());
        self.miners.insert(label.to_owned(), miner);
        let named = expand(text, &self.names);
        let (mut bytes, is_cut) = self.fill(miner, &named);
        if named.contains(" HTTP/1") || named.contains("{pad") {
            self.harness.ignore_replies(miner);
        }
        let line = self.lines.entry(miner).or_default();
        line.extend_from_slice(&bytes);
        if !is_cut {
            let line = std::mem::take(line);
            self.harness
                .await_reply(miner, &String::from_utf8_lossy(&line));
            bytes.push(b'\n');
        }
        self.segment.0 = self.segment.0.saturating_sub(1);
        self.segment.1.extend(bytes);
        if self.segment.0 == 0 {
            let bytes = std::mem::take(&mut self.segment.1);
            self.harness.send_bytes(miner, &bytes);
        }
    }

    /// Replaces everything in braces; true if the newline is left out.
    fn fill(&mut self, miner: Miner, text: &str) -> (Vec<u8>, bool) {
        let (mut bytes, mut rest, mut is_cut) = (Vec::new(), text, false);
        while let Some(at) = rest
            .match_indices('{')
            .map(|(at, _)| at)
            .find(|at| rest[at + 1..].starts_with(|c: char| c.is_ascii_lowercase()))
        {
            let end = at + rest[at..].find('}').expect("a closing brace");
            bytes.extend_from_slice(&rest.as_bytes()[..at]);
            let (what, options) = rest[at + 1..end]
                .split_once(' ')
                .unwrap_or((&rest[at + 1..end], ""));
            match what {
                "cut" => is_cut = true,
                "byte" => bytes.push(u8::from_str_radix(options, 16).expect("hex")),
                "pad" => bytes.resize(
                    bytes.len() + options.parse::<usize>().expect("a number"),
                    b'x',
                ),
                _ => bytes.extend(self.solve(miner, text, what, options).into_bytes()),
            }
            rest = &rest[end + 1..];
        }
        bytes.extend_from_slice(rest.as_bytes());
        (bytes, is_cut)
    }

    /// The last three fields of a submit.
    fn solve(&mut self, miner: Miner, line: &str, what: &str, options: &str) -> String {
        let want = match what {
            "share" => Want::Share,
            "block" => Want::Block,
            "low" => Want::Low,
            "again" => return shape(&self.last.expect("an earlier submit"), options),
            _ => panic!("no such thing: {what}"),
        };
        let named = self.harness.works.values();
        let named = named
            .into_iter()
            .find(|work| line.contains(&format!("\"{}\"", work.id)));
        let work = named.cloned().unwrap_or_else(|| self.harness.job(miner));
        let offset = options
            .split(' ')
            .find_map(|word| word.strip_prefix("time"));
        let offset: i32 = offset.map_or(0, |text| text.parse().expect("seconds"));
        let found = self
            .harness
            .find(miner, &work, want, work.time.wrapping_add_signed(offset));
        self.last = Some(found);
        shape(&found, options)
    }

    /// The transcript line of an output.
    fn show(&mut self, output: Output) -> String {
        let label_of = |play: &Self, miner: Miner| {
            let label = play.miners.iter().find(|(_, open)| **open == miner);
            label.map_or("", |(label, _)| label).to_owned()
        };
        let line = match output {
            Output::Line(miner, line) => {
                self.learn(&line);
                format!("{}< {line}", label_of(self, miner))
            }
            Output::Effect(miner, text) => {
                let label = miner.map_or(String::new(), |miner| label_of(self, miner));
                format!("{label}* {text}")
            }
        };
        for solution in &self.harness.solutions.clone() {
            self.name("block", &solution.hash.to_string());
        }
        let shorten = |line: String, (value, name): &(String, String)| line.replace(value, name);
        self.names.iter().fold(line, shorten).trim_end().to_owned()
    }

    /// Names the values in a line of the pool that differ from run to run.
    fn learn(&mut self, line: &str) {
        let value: Value = serde_json::from_str(line).unwrap_or_default();
        if let Some(session) = value["result"][1].as_str().filter(|text| text.len() == 8) {
            self.name("session", session);
        }
        if value["method"] == "mining.notify" {
            let kinds = ["job", "prev", "merkle", "witness", "tree"];
            let at = kinds.into_iter().enumerate().chain([(8, "time")]);
            for (at, kind) in at {
                self.name(kind, value["params"][at].as_str().expect("a string"));
            }
        }
    }

    fn name(&mut self, kind: &'static str, value: &str) {
        if !self.names.iter().any(|(known, _)| known == value) {
            let count = self.counts.entry(kind).or_default();
            *count += 1;
            self.names
                .push((value.to_owned(), format!("${kind}{count}")));
        }
    }
}

/// Replaces names by their values, `$job12` before `$job1`.
fn expand(text: &str, names: &[(String, String)]) -> String {
    let insert = |text: String, (value, name): &(String, String)| text.replace(name, value);
    names.iter().rev().fold(text.to_owned(), insert)
}

fn shape(found: &SubmitFields, options: &str) -> String {
    let mut fields = found.fields();
    for option in options.split(' ') {
        match option {
            "wide" => fields.insert_str(fields.len() - 9, "00000000"),
            "upper" => fields = fields.to_uppercase(),
            _ => {}
        }
    }
    fields
}
