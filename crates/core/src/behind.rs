//! A node that has lost its chain, or was reset, and calls itself synchronized: the ledger was shown more
//! than it knows. Work on its tip is in vain, and would be credited at heights that are settled: there
//! is no job.
//!
//! In a reorganisation a node knows less for a moment, which counts after a minute, or at once where it
//! lacks more blocks than a reorganisation takes away.

use crate::event::{Actions, Now};
use crate::limits::{BEHIND_BLOCKS, BEHIND_MS, JOBLESS_GRACE_MS};
use crate::pool::Pool;
use crate::template::Template;
use crate::units::Height;

/// The node knows less than the ledger was shown.
pub(crate) struct Behind {
    /// Up to which height.
    up_to: Height,
    since_ms: u64,
    /// The newest template that was no job for it.
    template: Option<Box<Template>>,
}

impl Behind {
    /// Whether what the node lacks is lost, and not only on its way.
    fn is_lost(&self, next: Height, now: Now) -> bool {
        let lacks = (u64::from(self.up_to.0) + 1).saturating_sub(next.0.into());
        lacks > BEHIND_BLOCKS || now.ms.saturating_sub(self.since_ms) >= BEHIND_MS
    }

    fn reason(&self) -> String {
        format!(
            "the node has lost its chain: the ledger was shown height {}; \
             if that chain is given up, begin a new ledger",
            self.up_to.0
        )
    }
}

impl Pool {
    /// Up to which height the ledger was shown a chain that the node lacks; none when it lacks nothing.
    pub(crate) fn handle_behind(&mut self, now: Now, up_to: Option<Height>, out: &mut Actions) {
        let before = self.behind.take();
        let Some(up_to) = up_to else {
            if let Some(template) = before.and_then(|behind| behind.template) {
                self.handle_template(now, *template, out);
            }
            return;
        };
        self.behind = Some(match before {
            Some(behind) => Behind { up_to, ..behind },
            None => Behind {
                up_to,
                since_ms: now.ms,
                template: None,
            },
        });
        self.look_at_behind(now, out);
    }

    /// Whether this template is no job, since the node has lost its chain: then it is kept.
    pub(crate) fn withholds(&mut self, template: &Template, now: Now, out: &mut Actions) -> bool {
        let Some(behind) = &mut self.behind else {
            return false;
        };
        if !behind.is_lost(template.height, now) {
            return false;
        }
        behind.template = Some(Box::new(template.clone()));
        self.look_at_behind(now, out);
        true
    }

    /// There is no job while the node has lost its chain, and nobody keeps the last one.
    pub(crate) fn look_at_behind(&mut self, now: Now, out: &mut Actions) {
        let Some(behind) = &mut self.behind else {
            return;
        };
        let newest = self.shared.jobs.newest();
        if behind.template.is_none()
            && let Some(job) = newest
            && behind.is_lost(job.template.height, now)
        {
            behind.template = Some(Box::new(Template::clone(&job.template)));
        }
        if behind.template.is_some() {
            let reason = behind.reason();
            self.handle_no_template(now, reason, out);
            self.shared.jobless_since_ms = Some(now.ms.saturating_sub(JOBLESS_GRACE_MS));
        }
    }
}
