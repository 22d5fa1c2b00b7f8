//! Sending a job to many connections: two threads write the lines, each taking the next few, so that they are
//! written in the order in which they were added, and in about half the time where a second core is free.

use std::io;
use std::mem;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use hstratum_core::units::ConnId;
use parking_lot::Mutex;

use super::{Net, slot_of};
use crate::limits::{JOBS_AT_ONCE, JOBS_ONE_THREAD_MAX};
use crate::net::conn::Conn;

/// Jobs that were added and not sent yet, and what became of those sent since the last look.
#[derive(Default)]
pub(super) struct Jobs {
    /// Each connection is here once at most.
    added: Vec<(ConnId, Arc<[u8]>)>,
    sent: JobsSent,
}

/// What became of the lines of jobs.
#[derive(Debug, Default)]
pub struct JobsSent {
    /// Lines that were written whole.
    pub written: u32,
    /// Lines of which something waits for the next flush.
    pub queued: u32,
    /// When the first line was written.
    pub first: Option<Instant>,
}

/// A job's line on its way to a connection.
struct JobLine<'a> {
    conn: &'a mut Conn,
    line: &'a [u8],
    outcome: io::Result<()>,
}

impl Net {
    /// Adds a job's line to those that [`Self::send_jobs`] sends.
    pub(crate) fn add_job(&mut self, id: ConnId, line: Arc<[u8]>) {
        self.send_jobs_before(id);
        if let Some(conn) = self.get_mut(id) {
            conn.awaits_job = true;
            self.jobs.added.push((id, line));
        }
    }

    /// Sends the added jobs if this connection's is one of them: whatever follows it on the connection is sent,
    /// or done, after it.
    pub(super) fn send_jobs_before(&mut self, id: ConnId) {
        if self.get_mut(id).is_some_and(|conn| conn.awaits_job) {
            self.send_added();
        }
    }

    /// Writes the added jobs in their order, each behind what its connection has queued; queues what a connection
    /// does not take. Returns what became of all that were added since the last call.
    pub(crate) fn send_jobs(&mut self) -> JobsSent {
        self.send_added();
        mem::take(&mut self.jobs.sent)
    }

    /// Closed connections take their jobs with them.
    pub(super) fn forget_jobs(&mut self) {
        self.jobs = Jobs::default();
    }

    fn send_added(&mut self) {
        let added = mem::take(&mut self.jobs.added);
        let mut rest = &added[..];
        // The first does not wait for the start of a thread.
        while let [(id, line), others @ ..] = rest
            && (self.jobs.sent.first.is_none() || !self.is_for_two_threads(rest))
        {
            if let Some(conn) = self.get_mut(*id) {
                let outcome = conn.send_now(line);
                self.job_sent(*id, outcome);
            }
            rest = others;
        }
        for (id, outcome) in self.send_on_two_threads(rest) {
            self.job_sent(id, outcome);
        }
    }

    fn is_for_two_threads(&self, lines: &[(ConnId, Arc<[u8]>)]) -> bool {
        self.has_second_core && lines.len() > JOBS_ONE_THREAD_MAX
    }

    fn send_on_two_threads(
        &mut self,
        lines: &[(ConnId, Arc<[u8]>)],
    ) -> Vec<(ConnId, io::Result<()>)> {
        if lines.is_empty() {
            return Vec::new();
        }
        let mut by_slot: Vec<Option<&mut Conn>> = Vec::new();
        for (slot, conn) in &mut self.conns {
            by_slot.resize_with(slot, || None);
            by_slot.push(Some(conn));
        }
        let lines = lines.iter().filter_map(|(id, line)| {
            let conn = by_slot.get_mut(slot_of(*id))?;
            let conn = conn.take_if(|conn| conn.id == *id)?;
            let outcome = Ok(());
            Some(JobLine {
                conn,
                line,
                outcome,
            })
        });
        let mut lines: Vec<JobLine<'_>> = lines.collect();
        let next = Mutex::new(lines.chunks_mut(JOBS_AT_ONCE));
        let take_few = || next.lock().next();
        let send = || {
            while let Some(few) = take_few() {
                for JobLine {
                    conn,
                    line,
                    outcome,
                } in few
                {
                    *outcome = conn.send_now(line);
                }
            }
        };
        thread::scope(|scope| {
            let second = thread::Builder::new().name("hstratum-jobs".to_owned());
            // Without it this thread sends all.
            let _ = second.spawn_scoped(scope, send);
            send();
        });
        lines
            .into_iter()
            .map(|line| (line.conn.id, line.outcome))
            .collect()
    }

    fn job_sent(&mut self, id: ConnId, outcome: io::Result<()>) {
        let Some(conn) = self.get_mut(id) else { return };
        conn.awaits_job = false;
        let is_written = conn.is_flushed();
        let sent = &mut self.jobs.sent;
        match outcome {
            Err(_) => return self.lose(id),
            Ok(()) if is_written => {
                sent.written += 1;
                sent.first.get_or_insert_with(Instant::now);
            }
            Ok(()) => sent.queued += 1,
        }
        self.keep_or_lose(id);
        // It may have been too full to be read.
        self.queue_read(id);
    }
}
