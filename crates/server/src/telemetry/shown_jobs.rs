//! The pool's jobs for readers, who look one up by its id without asking the pool.
//!
//! The driver shows a job before it is sent, so that whoever has its id finds it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hstratum_core::chain::template::Template;
use hstratum_core::job::kept_jobs::KeptJobs;
use hstratum_core::job::{Job, JobNumber};
use hstratum_core::pool::Pool;
use parking_lot::Mutex;

/// The jobs up to the newest one, all of templates that are kept.
#[derive(Default)]
struct JobSet {
    kept: KeptJobs,
    /// Beside its templates, so that no number is looked up among templates that came before it.
    newest: AtomicU64,
}

/// The readers' side.
#[derive(Default)]
pub(crate) struct ShownJobs(Mutex<Arc<JobSet>>);

/// The driver's side.
#[derive(Default)]
pub(crate) struct JobWriter {
    shown: Arc<ShownJobs>,
    set: Arc<JobSet>,
    /// Number of the newest template's first job.
    first: JobNumber,
}

impl ShownJobs {
    /// The job with this id on the wire; `None` if there is none, or its template is no longer kept.
    pub(crate) fn find(&self, id: &str) -> Option<Job> {
        let set = self.0.lock().clone();
        set.kept.job(id, set.newest.load(Ordering::Acquire))
    }

    /// The template of the newest job; `None` before the first.
    pub(crate) fn newest_template(&self) -> Option<Arc<Template>> {
        self.0.lock().kept.newest_template().cloned()
    }
}

impl JobWriter {
    pub(crate) fn shown(&self) -> &Arc<ShownJobs> {
        &self.shown
    }

    /// Shows the jobs that the pool has now. A pool without jobs, which a new one is at first, shows none.
    pub(crate) fn show(&mut self, pool: &Pool) {
        let (first, newest) = pool.job_numbers();
        if first != self.first {
            self.first = first;
            self.set = Arc::new(JobSet {
                kept: pool.kept_jobs(),
                newest: newest.into(),
            });
            *self.shown.0.lock() = self.set.clone();
        } else {
            self.set.newest.store(newest, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use hstratum_core::event::{Actions, Event};
    use hstratum_core::limits::TEMPLATES_MAX;
    use hstratum_core::pool::config::PoolConfig;
    use hstratum_core::units::{Height, Now, Seq};
    use hstratum_harness::setup::Setup;
    use hstratum_harness::test_chain::TestChain;

    use super::*;

    const NOW: Now = Now {
        ms: 0,
        unix_s: 1_800_000_000,
    };

    /// A pool that is started with this prefix of its job ids.
    fn pool(prefix: u64) -> Pool {
        let mut config: PoolConfig = Setup::default().config();
        config.boot.prefix = prefix;
        Pool::new(config, [], Seq(0), NOW)
    }

    fn give(pool: &mut Pool, chain: &mut TestChain) {
        chain.grow();
        let template = Box::new(chain.template(NOW.unix_s));
        let tip = Event::Tip(template.prev_block);
        pool.handle(NOW, tip, &mut Actions::default());
        pool.handle(NOW, Event::Template(template), &mut Actions::default());
    }

    fn id(prefix: u64, number: u64) -> String {
        format!("{prefix:012x}{number:x}")
    }

    fn height(shown: &ShownJobs, id: &str) -> Option<Height> {
        shown.find(id).map(|job| job.template.height)
    }

    #[test]
    fn job_is_found_with_its_template_until_that_is_dropped() {
        let (mut writer, mut chain, mut pool) =
            (JobWriter::default(), TestChain::default(), pool(1));
        let shown = writer.shown().clone();
        writer.show(&pool);
        assert_eq!(height(&shown, &id(1, 1)), None);
        let first = Height(101);
        for number in 1..=TEMPLATES_MAX as u64 {
            give(&mut pool, &mut chain);
            // Not shown before the driver says so, and never as one of the template before.
            assert_eq!(height(&shown, &id(1, number)), None);
            writer.show(&pool);
            let of = Height(first.0 + u32::try_from(number).expect("few") - 1);
            assert_eq!(height(&shown, &id(1, number)), Some(of));
            assert_eq!(height(&shown, &id(1, 1)), Some(first));
            assert_eq!(height(&shown, &id(1, number + 1)), None);
        }
        give(&mut pool, &mut chain);
        writer.show(&pool);
        assert_eq!(height(&shown, &id(1, 1)), None);
        assert!(height(&shown, &id(1, 2)).is_some());
    }

    #[test]
    fn jobs_of_a_pool_that_failed_are_forgotten() {
        let mut chain = TestChain::default();
        let mut writer = JobWriter::default();
        let shown = writer.shown().clone();
        let mut old = pool(1);
        give(&mut old, &mut chain);
        writer.show(&old);
        assert!(shown.find(&id(1, 1)).is_some());
        let mut new = pool(2);
        writer.show(&new);
        assert!(shown.find(&id(1, 1)).is_none());
        // Its first job has the number that the old pool's had.
        give(&mut new, &mut chain);
        writer.show(&new);
        assert!(shown.find(&id(1, 1)).is_none());
        assert!(shown.find(&id(2, 1)).is_some());
    }
}
