//! Detects that connections are refused or displaced because the pool is full.

use crate::alarm::kind::{Alarm, AlarmKind, Detail, plain};
use crate::limits::CROWD_QUIET_MS;
use crate::occupancy::Occupancy;

/// State of the alarm.
#[derive(Default)]
pub(super) struct OccupancyWatch {
    last: Occupancy,
    /// Set while the pool is full: the time since then, the counts at that time, and the time of the last
    /// refusal.
    full: Option<(u64, Occupancy, u64)>,
}

impl OccupancyWatch {
    pub(super) fn check(&mut self, now_ms: u64, door: Occupancy, out: &mut Vec<Alarm>) {
        let before = std::mem::replace(&mut self.last, door);
        let is_crowded = door.crowded() > before.crowded();
        match &mut self.full {
            None if is_crowded => {
                self.full = Some((now_ms, before, now_ms));
                let text = format!("{}; {}", how_full(&door), turned_away(&before, &door));
                out.push(Alarm {
                    kind: AlarmKind::ConnectionsRefused,
                    detail: Detail::Reason(text.clone()),
                    text,
                });
            }
            Some((_, _, at_ms)) if is_crowded => *at_ms = now_ms,
            Some((since_ms, first, at_ms)) if now_ms - *at_ms >= CROWD_QUIET_MS => {
                let seconds = (now_ms - *since_ms) / 1000;
                let what = turned_away(first, &door);
                let text = format!("Connections find a place again: in {seconds} s {what}");
                out.push(plain(AlarmKind::ConnectionsTaken, text));
                self.full = None;
            }
            _ => {}
        }
    }
}

fn how_full(door: &Occupancy) -> String {
    let Occupancy {
        taken,
        places,
        strangers,
        unproven,
        ..
    } = door;
    let mut text = format!(
        "The pool is full: {taken} of {places} connections, {strangers} of them not logged in, \
         {unproven} logged in without an accepted share"
    );
    if let Some((address, count)) = door.most {
        text += &format!(", {address} holds {count} of those that give way next");
    }
    if let Some(left) = door.descriptors_left {
        text += &format!(", {left} descriptors left");
    }
    text
}

fn turned_away(before: &Occupancy, now: &Occupancy) -> String {
    let refused = now.refused_full - before.refused_full;
    let gave_way = now.gave_way - before.gave_way;
    let unproven = now.gave_way_unproven - before.gave_way_unproven;
    let mut text = format!(
        "{refused} were refused, and {} gave way to new ones",
        gave_way + unproven
    );
    if unproven > 0 {
        text += &format!(", {unproven} of them logged in without an accepted share");
    }
    if now.refused_descriptors > before.refused_descriptors {
        text += ", and no descriptors were left";
    }
    text
}
