//! Handling of the node's templates: each becomes a job, or the reason why there is none.
//!
//! A node that has lost its chain, was reset or is far down on another branch may call itself synchronized
//! all the same. Work on its tip is worth nothing, and its shares would be credited at heights whose blocks
//! are divided already. So no job is made while the tip is [`JOB_BEHIND_HEIGHTS`] or more below the highest
//! that a ledger was shown. Fewer blocks are no reason: one node is always ahead of another, a reorganisation
//! passes, and divided blocks lie far deeper.

use crate::messages::{EvidenceSource, MinedBlock, NodeEvent};
use hstratum_core::accounting::ledger::{ChainView, Knowledge};
use hstratum_core::alarm::AlarmInput;
use hstratum_core::chain::template::{Template, TemplateParts};
use hstratum_core::event::Event;
use hstratum_core::pool::Pool;
use hstratum_core::units::{Height, Now};

use super::Driver;
use crate::driver::io::DriverIo;
use crate::limits::{BEHIND_TOLD, JOB_BEHIND_HEIGHTS};
use crate::store::StoreCommand;
use crate::telemetry::live::TelemetryWriter;

/// Highest tips that the ledgers were shown, and how long the node has been behind each.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    file: Lead,
    shared: Lead,
    /// The result of [`Evidence::behind`] that was reported last.
    told: Option<Height>,
}

#[derive(Debug, Default)]
struct Lead {
    /// Height of the tip with the most work.
    highest: Option<Height>,
    /// Time since which the node has known less work.
    since_ms: Option<u64>,
}

impl Evidence {
    pub(super) fn new(file: Option<Height>) -> Self {
        let file = Lead {
            highest: file,
            since_ms: None,
        };
        Self {
            file,
            ..Self::default()
        }
    }

    fn take(&mut self, of: EvidenceSource, view: &ChainView, knowledge: Knowledge, now: Now) {
        let lead = match of {
            EvidenceSource::File => &mut self.file,
            EvidenceSource::Shared => &mut self.shared,
        };
        let (highest, is_behind) = match knowledge {
            Knowledge::Enough => (view.tip.height, false),
            Knowledge::Tied(tip) => (tip.height, false),
            Knowledge::Behind(tip) => (tip.height, true),
            Knowledge::Unsynced => return lead.since_ms = None,
        };
        lead.highest = Some(highest);
        lead.since_ms = is_behind.then(|| lead.since_ms.unwrap_or(now.ms));
    }

    /// The highest tip's height, if it is so far above `tip` that no job is made.
    fn beyond(&self, tip: Height) -> Option<Height> {
        let highest = self.file.highest.max(self.shared.highest)?;
        (highest.0 >= tip.0.saturating_add(JOB_BEHIND_HEIGHTS)).then_some(highest)
    }

    /// The highest tip's height, if the node is behind it. Another server's node is always ahead for a
    /// moment, so for the shared ledger this has to last for [`BEHIND_TOLD`].
    fn behind(&self, now: Now) -> Option<Height> {
        let patience_ms = u64::try_from(BEHIND_TOLD.as_millis()).unwrap_or(u64::MAX);
        let is_told = |since_ms: u64| now.ms - since_ms >= patience_ms;
        let shared = self.shared.since_ms.is_some_and(is_told);
        let file = self.file.since_ms.and(self.file.highest);
        file.max(shared.then_some(self.shared.highest).flatten())
    }
}

impl<S: DriverIo> Driver<S> {
    pub(super) fn take_template(&mut self, pool: &mut Pool, now: Now, parts: TemplateParts) {
        let taken = self.telemetry.as_ref().map(TelemetryWriter::clock);
        let id = parts.id;
        let template = match Template::new(parts.clone()) {
            Ok(template) => template,
            Err(error) => {
                return self.take_reason(pool, now, format!("template refused: {error}"));
            }
        };
        let tip = tip_of(&parts);
        self.senders.tell_store(StoreCommand::Chain(tip));
        if let Some(highest) = self.evidence.beyond(tip) {
            return self.withhold(pool, now, parts, highest);
        }
        self.tell_alarms(AlarmInput::Template(parts.prev_block));
        let mined = MinedBlock {
            tip: parts.prev_block,
            height: parts.height,
            reward: template.node_coinbase.value(),
            difficulty: template.target.difficulty(),
            last_found: self.last_found,
        };
        self.view.template = Some(parts);
        self.view.withheld = None;
        self.view.no_template = None;
        let event = Event::Template(Box::new(template));
        pool.handle(now, event, &mut self.actions);
        if let (Some(telemetry), Some(taken)) = (&mut self.telemetry, taken) {
            telemetry.traces.job_made(id, tip, taken);
        }
        self.perform_all(pool);
        if let (Some(telemetry), Some(taken)) = (&mut self.telemetry, taken) {
            telemetry.job_sent(taken);
            let trace = telemetry.traces.lines_sent(pool.owes_solo_jobs());
            self.log_trace(trace);
        }
        if let Some(splits) = &self.senders.splits {
            let _ = splits.send(mined);
        }
    }

    /// Handles the node's message that it has no template.
    pub(super) fn take_reason(&mut self, pool: &mut Pool, now: Now, reason: String) {
        self.view.withheld = None;
        self.no_job(pool, now, reason);
    }

    fn no_job(&mut self, pool: &mut Pool, now: Now, reason: String) {
        self.tell_alarms(AlarmInput::NoTemplate(reason.clone()));
        self.view.template = None;
        self.view.no_template = Some(reason.clone());
        self.handle(pool, now, Event::NoTemplate(reason));
    }

    /// Keeps a template without making a job of it, until the ledgers' evidence changes.
    fn withhold(&mut self, pool: &mut Pool, now: Now, parts: TemplateParts, highest: Height) {
        if self.view.withheld.replace(parts).is_none() {
            let reason = format!(
                "the node knows less of the chain than the ledger was shown, up to height {}: wait \
                 until it has caught up; for another chain begin a new ledger (docs/ledger.md, \
                 \"What a node's word is worth\")",
                highest.0
            );
            self.no_job(pool, now, reason);
        }
    }

    /// Records a comparison of the node's chain with what a ledger was shown.
    pub(super) fn take_evidence(
        &mut self,
        pool: &mut Pool,
        now: Now,
        (of, view, knowledge): (EvidenceSource, ChainView, Knowledge),
    ) {
        self.evidence.take(of, &view, knowledge, now);
        if let Some(parts) = self.view.withheld.take_if(|parts| {
            let tip = tip_of(parts);
            self.evidence.beyond(tip).is_none()
        }) {
            let transactions = self.view.transactions.take();
            let id = parts.id;
            self.take_template(pool, now, parts);
            if let Some((template, bytes)) = transactions.filter(|(template, _)| *template == id) {
                self.handle_node(pool, now, NodeEvent::Transactions(template, bytes));
            }
        } else if let Some(parts) = &self.view.template
            && let Some(highest) = self.evidence.beyond(tip_of(parts))
        {
            let parts = parts.clone();
            self.withhold(pool, now, parts, highest);
        }
        self.tell_evidence(now);
    }

    /// Reports when the node begins to know less than a ledger was shown, and when that is over.
    pub(super) fn tell_evidence(&mut self, now: Now) {
        let behind = self.evidence.behind(now);
        if self.evidence.told != behind {
            self.evidence.told = behind;
            self.node_lag.set_behind(behind);
            self.tell_alarms(AlarmInput::Behind(behind));
        }
    }
}

/// Height of the block that a template builds on.
fn tip_of(parts: &TemplateParts) -> Height {
    Height(parts.height.0.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use hstratum_core::accounting::ledger::Tip;
    use hstratum_core::units::Hash;

    use super::*;

    fn at(ms: u64) -> Now {
        Now { ms, unix_s: 0 }
    }

    fn tip(height: u32) -> Tip {
        Tip {
            height: Height(height),
            hash: Hash::ZERO,
            work: u64::from(height).into(),
        }
    }

    fn look(evidence: &mut Evidence, of: EvidenceSource, own: u32, highest: u32, now: Now) {
        let view = ChainView {
            tip: tip(own),
            is_synced: true,
        };
        let knowledge = Knowledge::of(&view, &tip(highest));
        evidence.take(of, &view, knowledge, now);
    }

    #[test]
    fn few_blocks_take_no_job_away_whoever_has_them() {
        let mut evidence = Evidence::new(Some(Height(100)));
        let few = 101 - JOB_BEHIND_HEIGHTS;
        assert_eq!(evidence.beyond(Height(few)), None);
        assert_eq!(evidence.beyond(Height(few - 1)), Some(Height(100)));
        look(&mut evidence, EvidenceSource::Shared, few, 100, at(0));
        assert_eq!(evidence.beyond(Height(few)), None);
        // Also if it lasts.
        look(
            &mut evidence,
            EvidenceSource::Shared,
            few,
            100,
            at(3_600_000),
        );
        assert_eq!(evidence.beyond(Height(few)), None);
        look(
            &mut evidence,
            EvidenceSource::Shared,
            few,
            101,
            at(3_600_000),
        );
        assert_eq!(evidence.beyond(Height(few)), Some(Height(101)));
    }

    #[test]
    fn lower_tip_with_more_work_counts_once_the_ledger_has_weighed_it() {
        let mut evidence = Evidence::new(Some(Height(100)));
        assert!(evidence.beyond(Height(50)).is_some());
        let view = ChainView {
            tip: Tip {
                work: 1_000.into(),
                ..tip(50)
            },
            is_synced: true,
        };
        evidence.take(EvidenceSource::File, &view, Knowledge::Enough, at(0));
        assert_eq!(evidence.beyond(Height(50)), None);
    }

    #[test]
    fn own_chain_that_is_shorter_is_told_at_once_and_another_servers_after_a_while() {
        let mut evidence = Evidence::default();
        look(&mut evidence, EvidenceSource::Shared, 99, 100, at(0));
        assert_eq!(evidence.behind(at(1_000)), None);
        look(&mut evidence, EvidenceSource::Shared, 100, 101, at(2_000));
        let late = at(u64::try_from(BEHIND_TOLD.as_millis()).expect("a small number"));
        assert_eq!(evidence.behind(late), Some(Height(101)));
        look(&mut evidence, EvidenceSource::Shared, 101, 101, late);
        assert_eq!(evidence.behind(late), None);
        look(&mut evidence, EvidenceSource::File, 90, 100, late);
        assert_eq!(evidence.behind(late), Some(Height(100)));
    }
}
