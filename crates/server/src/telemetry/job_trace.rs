//! Trace of the first job on each new tip: the times from the node's tip to the first and to the last miner's
//! job, and those of the steps between. Six clock readings for a tip, none for a miner. Later templates on the
//! same tip have no trace, nor has the tip that the node has at the start.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hstratum_core::plural::counted;
use hstratum_core::units::{Hash, Height};
use parking_lot::Mutex;

use crate::net::JobsSent;
use crate::telemetry::histogram::{Histogram, ms, steps_text};

/// The steps from a tip to the last miner's job, in order: the node makes a template; the plugin gives it to
/// the server; the driver takes it; it makes the job; the first miner's is written; the last miner's is.
pub(crate) const JOB_STEPS: [&str; 6] = ["template", "hand_over", "queue", "job", "first", "last"];

/// Times of all traces since the start.
#[derive(Clone, Copy, Default)]
pub(crate) struct JobTimes {
    /// From the tip until the first miner's job was written.
    pub first: Histogram,
    /// From the tip until the last miner's job was written.
    pub last: Histogram,
    /// Of each of [`JOB_STEPS`].
    pub steps: [Histogram; JOB_STEPS.len()],
}

/// The newest tip as the node's side tells it, until its first job is made. Its methods never wait for longer
/// than a look at it.
#[derive(Default)]
pub(crate) struct NewTip(Mutex<TipState>);

#[derive(Default)]
struct TipState {
    hash: Option<Hash>,
    /// Time of its event, unless it has been traced or is the first that was told.
    seen: Option<Instant>,
    /// Its first template: its number, when it was made, and when the server was given it.
    template: Option<(u64, Instant, Instant)>,
}

/// The driver's side.
#[derive(Default)]
pub(crate) struct JobTraces {
    pub(crate) tip: Arc<NewTip>,
    pub(crate) times: JobTimes,
    open: Option<JobTrace>,
}

/// Trace of a job that is being sent.
struct JobTrace {
    tip: Hash,
    tip_height: Height,
    /// When the tip was seen, its template made and given to the server, and taken by the driver, and when the
    /// job was made.
    at: [Instant; 5],
    /// When the first miner's job was written.
    first: Option<Instant>,
    miners: u32,
    /// Lines that are sent now are this job's.
    is_sending: bool,
    /// A line waits for the next flush.
    is_queued: bool,
}

impl NewTip {
    /// Records that the node has this tip now.
    pub(crate) fn tip(&self, hash: Hash) {
        let mut state = self.0.lock();
        if state.hash == Some(hash) {
            return;
        }
        let seen = state.hash.map(|_| Instant::now());
        *state = TipState {
            hash: Some(hash),
            seen,
            template: None,
        };
    }

    /// Records that the server is given a template on `tip` now, which was made this long ago.
    pub(crate) fn template(&self, id: u64, tip: Hash, ago: Duration) {
        let mut state = self.0.lock();
        if let Some(seen) = state.seen
            && state.hash == Some(tip)
            && state.template.is_none()
        {
            let now = Instant::now();
            let made = now.checked_sub(ago).unwrap_or(seen).max(seen);
            state.template = Some((id, made, now));
        }
    }

    /// Times of the tip's event, and of its first template if this is it. They are given once.
    fn take(&self, template: u64) -> Option<(Hash, [Instant; 3])> {
        let mut state = self.0.lock();
        let (_, made, given) = state.template.take_if(|(id, ..)| *id == template)?;
        Some((state.hash?, [state.seen.take()?, made, given]))
    }
}

impl JobTraces {
    /// Records that the job of a template that the driver took at `taken` is made, and is sent next.
    pub(crate) fn job_made(&mut self, template: u64, tip_height: Height, taken: Instant) {
        if let Some((tip, [seen, made, given])) = self.tip.take(template) {
            self.open = Some(JobTrace {
                tip,
                tip_height,
                at: [seen, made, given, taken, Instant::now()],
                first: None,
                miners: 0,
                is_sending: true,
                is_queued: false,
            });
        }
    }

    /// Records what became of a job's lines.
    pub(crate) fn jobs_sent(&mut self, sent: &JobsSent) {
        if let Some(trace) = self.open.as_mut().filter(|trace| trace.is_sending) {
            trace.miners += sent.written + sent.queued;
            trace.is_queued |= sent.queued > 0;
            trace.first = trace.first.or(sent.first);
        }
    }

    /// Records that all lines were sent but those of solo listeners, if miners there are owed a job. Returns the
    /// trace in a line for the log if that was all.
    pub(crate) fn lines_sent(&mut self, owes_solo_jobs: bool) -> Option<String> {
        let trace = self.open.as_mut()?;
        trace.is_sending = false;
        match trace.is_queued || owes_solo_jobs {
            true => None,
            false => self.end(),
        }
    }

    /// Records that what was queued is written, as far as miners take it. The lines of solo listeners follow if
    /// miners there are owed a job; else the trace ends, and is returned in a line for the log.
    pub(crate) fn flushed(&mut self, owes_solo_jobs: bool) -> Option<String> {
        let trace = self.open.as_mut()?;
        if trace.first.is_none() && trace.miners > 0 {
            trace.first = Some(Instant::now());
        }
        trace.is_sending = owes_solo_jobs;
        match owes_solo_jobs {
            true => None,
            false => self.end(),
        }
    }

    /// Ends the trace now. It is nothing if no miner was there.
    fn end(&mut self) -> Option<String> {
        let trace = self.open.take()?;
        let (first, last) = (trace.first?, Instant::now());
        let [seen, ..] = trace.at;
        let times = &mut self.times;
        times.first.observe(first - seen, 1);
        times.last.observe(last - seen, 1);
        let at = [&trace.at[..], &[first, last]].concat();
        for (step, at) in times.steps.iter_mut().zip(at.windows(2)) {
            step.observe(at[1] - at[0], 1);
        }
        Some(format!(
            "new tip: {} {}: {} had its job after {:.2} to {:.2} ms ({})",
            trace.tip_height.0,
            trace.tip,
            counted(trace.miners, "miner"),
            ms(first - seen),
            ms(last - seen),
            steps_text(&JOB_STEPS, &at)
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIP: Hash = Hash([1; 32]);
    const NEXT: Hash = Hash([2; 32]);

    /// Traces of a server that has had [`TIP`] since its start, and knows of [`NEXT`] now.
    fn traces() -> JobTraces {
        let traces = JobTraces::default();
        traces.tip.tip(TIP);
        traces.tip.template(1, TIP, Duration::ZERO);
        traces.tip.tip(NEXT);
        traces
    }

    /// What became of so many lines.
    fn lines(written: u32, queued: u32) -> JobsSent {
        let first = (written > 0).then(Instant::now);
        JobsSent {
            written,
            queued,
            first,
        }
    }

    /// The counts of the traces to the first and to the last miner.
    fn counts(traces: &JobTraces) -> (u64, u64) {
        (traces.times.first.count, traces.times.last.count)
    }

    #[test]
    fn steps_of_a_tips_first_job_add_up_and_are_told_in_a_line() {
        let mut traces = traces();
        traces.tip.template(2, NEXT, Duration::from_secs(9));
        traces.tip.template(3, NEXT, Duration::ZERO);
        // Told again when the node is synchronized.
        traces.tip.tip(NEXT);
        traces.job_made(2, Height(7), Instant::now());
        traces.jobs_sent(&lines(2, 0));
        let line = traces.lines_sent(false).expect("all was written");
        let head = format!("new tip: 7 {NEXT}: 2 miners had its job after ");
        assert!(line.starts_with(&head), "{line}");
        // A template is not made before its tip was seen.
        assert!(line.contains(" ms (template 0.00, hand_over "), "{line}");

        let JobTimes { first, last, steps } = traces.times;
        assert_eq!(counts(&traces), (1, 1));
        assert!(steps.iter().all(|step| step.count == 1));
        let sum_s = |steps: &[Histogram]| steps.iter().map(|step| step.sum_s).sum::<f64>();
        assert!((sum_s(&steps[..5]) - first.sum_s).abs() < 1e-9);
        assert!((sum_s(&steps) - last.sum_s).abs() < 1e-9);

        // A refresh of the template has no trace.
        traces.job_made(3, Height(7), Instant::now());
        traces.jobs_sent(&lines(1, 0));
        assert_eq!(traces.lines_sent(false), None);
        assert_eq!(counts(&traces), (1, 1));
    }

    #[test]
    fn trace_ends_when_queued_lines_and_solo_listeners_jobs_are_written() {
        let mut traces = traces();
        traces.tip.template(2, NEXT, Duration::ZERO);
        traces.job_made(2, Height(7), Instant::now());
        traces.jobs_sent(&lines(0, 1));
        assert_eq!(traces.lines_sent(true), None);
        // The job of another template.
        traces.jobs_sent(&lines(1, 0));
        assert_eq!(traces.flushed(true), None);
        traces.jobs_sent(&lines(1, 0));
        let line = traces.flushed(false).expect("all is written");
        assert!(line.contains(": 2 miners had its job "), "{line}");
        assert_eq!(traces.flushed(false), None);
    }

    #[test]
    fn tip_at_the_start_and_job_for_nobody_have_no_trace() {
        let mut traces = JobTraces::default();
        traces.tip.tip(TIP);
        traces.tip.template(1, TIP, Duration::ZERO);
        traces.job_made(1, Height(6), Instant::now());
        traces.jobs_sent(&lines(1, 0));
        assert_eq!(traces.lines_sent(false), None);
        traces.tip.tip(NEXT);
        traces.tip.template(2, NEXT, Duration::ZERO);
        traces.job_made(2, Height(7), Instant::now());
        assert_eq!(traces.lines_sent(false), None);
        assert_eq!(counts(&traces), (0, 0));
    }
}
