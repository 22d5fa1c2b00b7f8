//! Detects workers that have mined for a while and have fallen silent.
//!
//! Workers are collected into one alarm: a network failure that silences ten thousand raises one.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::accounting::ledger::Tallied;
use crate::alarm::kind::{Alarm, AlarmKind, Detail};
use crate::limits::{ALARM_NAMES_MAX, WATCHED_WORKERS_MAX};

const MINUTE_MS: u64 = 60_000;
/// Time of mining from which a worker's silence is noticed,
const KNOWN_MS: u64 = 10 * MINUTE_MS;
/// and the count of shares it must have had.
const KNOWN_SHARES: u64 = 20;
/// Silence after which a worker is gone,
const SILENCE_MS: u64 = 10 * MINUTE_MS;
/// and the multiple of its mean interval between shares that the silence must reach.
const SILENCE_SHARES: u64 = 10;
/// Time for which gone or returned workers are collected for one alarm,
const GATHER_MS: u64 = 2 * MINUTE_MS;
/// and the shortest time between two alarms.
const PAUSE_MS: u64 = 10 * MINUTE_MS;
/// Silence after which a worker is forgotten.
const FORGET_MS: u64 = 24 * 60 * MINUTE_MS;

/// The workers that have had shares, and those to be reported.
#[derive(Default)]
pub(crate) struct WorkerLoss {
    seen: BTreeMap<(Arc<str>, Box<str>), SeenWorker>,
    next_look_ms: u64,
    gone: GatheredNames,
    back: GatheredNames,
}

struct SeenWorker {
    first_ms: u64,
    last_ms: u64,
    shares: u64,
    is_gone: bool,
}

/// Workers collected for the next alarm.
#[derive(Default)]
struct GatheredNames {
    count: usize,
    names: Vec<String>,
    since_ms: u64,
    told_ms: Option<u64>,
}

impl WorkerLoss {
    /// Counts accepted shares.
    pub(crate) fn add(&mut self, tallied: &[Tallied], now_ms: u64) {
        for one in tallied {
            let count = one.tally.accepted.count;
            let key = (one.account.clone(), one.worker.clone());
            let has_room = self.seen.len() < WATCHED_WORKERS_MAX;
            if count == 0 || !has_room && !self.seen.contains_key(&key) {
                continue;
            }
            let name = name(&key);
            let seen = self.seen.entry(key).or_insert(SeenWorker {
                first_ms: now_ms,
                last_ms: now_ms,
                shares: 0,
                is_gone: false,
            });
            seen.last_ms = now_ms;
            seen.shares += count;
            if std::mem::take(&mut seen.is_gone) {
                self.back.add(name, now_ms);
                // Its mining is measured anew from here.
                seen.first_ms = now_ms;
                seen.shares = 0;
            }
        }
    }

    /// Checks for silent workers, once a minute.
    pub(crate) fn check(&mut self, now_ms: u64, out: &mut Vec<Alarm>) {
        if now_ms < self.next_look_ms {
            return;
        }
        self.next_look_ms = now_ms + MINUTE_MS;
        self.seen
            .retain(|_, seen| now_ms - seen.last_ms < FORGET_MS);
        for (key, seen) in &mut self.seen {
            if seen.is_missed(now_ms) {
                seen.is_gone = true;
                self.gone.add(name(key), now_ms);
            }
        }
        if let Some((count, names)) = self.gone.take(now_ms) {
            let text = format!("Silent for ten minutes: {}", listed(count, &names));
            out.push(alarm(AlarmKind::WorkersGone, text, count, names));
        }
        if let Some((count, names)) = self.back.take(now_ms) {
            let text = format!("Mining again: {}", listed(count, &names));
            out.push(alarm(AlarmKind::WorkersBack, text, count, names));
        }
    }
}

impl SeenWorker {
    fn is_missed(&self, now_ms: u64) -> bool {
        let mined_ms = self.last_ms - self.first_ms;
        let is_known = mined_ms >= KNOWN_MS && self.shares >= KNOWN_SHARES;
        let silent_ms = now_ms - self.last_ms;
        is_known
            && !self.is_gone
            && silent_ms >= SILENCE_MS
            && silent_ms >= SILENCE_SHARES * mined_ms / self.shares
    }
}

impl GatheredNames {
    fn add(&mut self, name: String, now_ms: u64) {
        if self.count == 0 {
            self.since_ms = now_ms;
        }
        self.count += 1;
        if self.names.len() < ALARM_NAMES_MAX {
            self.names.push(name);
        }
    }

    fn take(&mut self, now_ms: u64) -> Option<(usize, Vec<String>)> {
        let has_rested = self.told_ms.is_none_or(|told| now_ms - told >= PAUSE_MS);
        if self.count == 0 || now_ms - self.since_ms < GATHER_MS || !has_rested {
            return None;
        }
        self.told_ms = Some(now_ms);
        let mut names = std::mem::take(&mut self.names);
        names.sort();
        Some((std::mem::take(&mut self.count), names))
    }
}

fn name((account, worker): &(Arc<str>, Box<str>)) -> String {
    match &**worker {
        "" => account.to_string(),
        worker => format!("{account}.{worker}"),
    }
}

fn listed(count: usize, names: &[String]) -> String {
    let workers = if count == 1 { "worker" } else { "workers" };
    let more = if count > names.len() { ", …" } else { "" };
    format!("{count} {workers}: {}{more}", names.join(", "))
}

fn alarm(kind: AlarmKind, text: String, count: usize, names: Vec<String>) -> Alarm {
    Alarm {
        kind,
        text,
        detail: Detail::Workers { count, names },
    }
}
