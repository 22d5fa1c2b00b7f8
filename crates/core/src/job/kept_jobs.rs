//! Jobs made again from their ids, for whoever asks what a job pays.
//!
//! A job follows from its template and its number, and a new job is always of the newest template. So the number
//! of each template's first job is enough to find the template of any job, also of one that a single connection
//! has: nothing is kept for a job, and the pool does nothing when one is asked for.

use std::sync::Arc;

use crate::chain::template::Template;
use crate::job::ids::{JobIds, JobNumber};
use crate::job::{Job, Jobs};

/// The jobs of the templates that a pool has in use.
#[derive(Clone, Debug, Default)]
pub struct KeptJobs {
    ids: JobIds,
    /// Each with the number of its first job, the oldest first.
    templates: Vec<(JobNumber, Arc<Template>)>,
}

impl KeptJobs {
    /// Makes the job with this id on the wire again; `None` if it is of another start of the pool, of a template
    /// that is no longer kept, or later than `newest`.
    #[must_use]
    pub fn job(&self, id: &str, newest: JobNumber) -> Option<Job> {
        let number = self.ids.number(id).filter(|number| *number <= newest)?;
        let mut templates = self.templates.iter().rev();
        let (_, template) = templates.find(|(first, _)| *first <= number)?;
        let nonce = self.ids.witness_nonce(number);
        Some(Job::new(number, template.clone(), nonce))
    }

    /// The newest template; `None` before the first.
    #[must_use]
    pub fn newest_template(&self) -> Option<&Arc<Template>> {
        self.templates.last().map(|(_, template)| template)
    }
}

impl Jobs {
    /// Numbers of the first job of the newest template and of the newest job; zero before the first.
    pub(crate) fn numbers(&self) -> (JobNumber, JobNumber) {
        let first = self.slots.back().map_or(0, |slot| slot.first_job);
        (first, self.next - 1)
    }

    /// The jobs of the templates still in use.
    pub(crate) fn kept(&self) -> KeptJobs {
        let templates = self.slots.iter().flat_map(|slot| {
            let newest = (slot.first_job, slot.template.clone());
            slot.earlier.iter().cloned().chain([newest])
        });
        KeptJobs {
            ids: self.ids.clone(),
            templates: templates.collect(),
        }
    }
}
