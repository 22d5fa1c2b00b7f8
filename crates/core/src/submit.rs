//! `mining.submit` and what belongs to it: which job is meant, what the share is worth, and the
//! block it may be.

use std::sync::Arc;

use crate::account::clean_name;
use crate::block::{Reach, Solution};
use crate::event::Action;
use crate::header::Proof;
use crate::job::{Job, JobNumber, Jobs, share_key};
use crate::ledger::Credit;
use crate::limits::{SCORE_DUPLICATE, SCORE_LOW_SHARE, SCORE_MALFORMED};
use crate::message::{Reject, Request, Submit, write_true};
use crate::pace::Urgency;
use crate::request::{Answer, Desk};
use crate::session::Session;
use crate::share::{self, Parent};
use crate::units::{Difficulty, Hash};

impl Desk<'_> {
    pub(crate) fn handle_submit(
        &mut self,
        session: &mut Session,
        id: Option<&str>,
        submit: Result<Submit<'_>, Reject>,
    ) {
        let credit = match session.extra_nonce1 {
            None => Err(Reject::NotSubscribed),
            Some(extra_nonce1) => submit.and_then(|s| self.judge(session, extra_nonce1, &s)),
        };
        match credit {
            Ok(credit) => {
                let seq = credit.seq;
                let urgency = session.count_share(credit.difficulty, self.now);
                self.out.push(Action::Record(credit));
                if let Some(id) = id {
                    session.reply_after(seq, |line| write_true(line, id));
                    self.shared.waiting.push_back((seq, session.conn));
                }
                if urgency == Urgency::Now {
                    self.send_changed_difficulty(session);
                }
            }
            Err(reject) => {
                self.reply(session, id, Err(reject));
                match reject {
                    Reject::HighHash if session.is_settling(self.now) => {}
                    Reject::HighHash => self.blame(session, SCORE_LOW_SHARE),
                    Reject::Duplicate => self.blame(session, SCORE_DUPLICATE),
                    Reject::InvalidParams => self.blame(session, SCORE_MALFORMED),
                    _ => {}
                }
            }
        }
    }

    /// Judges a submit in the order of checks the field knows, and offers its block if it is one.
    fn judge(
        &mut self,
        session: &mut Session,
        extra_nonce1: u32,
        submit: &Submit<'_>,
    ) -> Result<Credit, Reject> {
        let user = match session.user(&submit.user) {
            Some(user) => user,
            None => clean_name(&submit.user)
                .and_then(|name| session.user(&name))
                .ok_or(Reject::UnauthorizedUser)?,
        };
        let account = user.account.clone();
        let (tip, unix_s) = (self.shared.tip, self.now.unix_s);
        let number = self
            .shared
            .jobs
            .number(&submit.job)
            .ok_or(Reject::JobNotFound)?;
        let (difficulty, target) = session.assigned(number).ok_or(Reject::JobNotFound)?;
        let job = self.find_job(session, number).ok_or(Reject::JobNotFound)?;
        let parent = parent_of(job, tip);
        let proof = share::proof(extra_nonce1, submit);
        let checked = share::check(job, parent, &proof, &target, unix_s);
        let key = share_key(extra_nonce1, submit.extra_nonce2, submit.time, submit.nonce);
        let verdict = checked.verdict.and_then(|()| {
            if job.is_overfull() {
                Err(Reject::JobNotFound)
            } else if job.remember(key) {
                Ok(())
            } else {
                Err(Reject::Duplicate)
            }
        });
        let height = job.template.height;
        let network_difficulty = job.network_difficulty;
        let is_full = job.is_full();
        let solution = checked
            .block
            .map(|hash| solution(job, hash, &proof, parent, account.clone(), difficulty));
        if let Some(solution) = solution {
            self.shared.offer(solution, self.out);
        }
        self.shared.wants_fresh_job |= is_full;
        verdict?;
        Ok(Credit {
            seq: self.shared.next_seq(),
            height,
            account,
            difficulty,
            network_difficulty,
        })
    }

    /// A job that this connection was given.
    fn find_job<'s>(
        &'s mut self,
        session: &'s mut Session,
        number: JobNumber,
    ) -> Option<&'s mut Job> {
        session.assigned(number)?;
        let own = session.own_jobs.iter_mut().find(|job| job.number == number);
        match own {
            Some(own) => (own.template.id >= self.shared.jobs.oldest_template()).then_some(own),
            None => self.shared.jobs.shared_mut(number),
        }
    }

    pub(crate) fn get_transactions(
        &mut self,
        session: &mut Session,
        request: &Request<'_>,
    ) -> Result<Answer, Reject> {
        if session.extra_nonce1.is_none() {
            return Err(Reject::NotSubscribed);
        }
        let params = request.texts()?;
        let [Some(id), ..] = params.as_slice() else {
            return Err(Reject::InvalidParams);
        };
        let number = self.shared.jobs.number(id).ok_or(Reject::JobNotFound)?;
        let job = self.find_job(session, number).ok_or(Reject::JobNotFound)?;
        Ok(Answer::Json(Jobs::transactions_json(&job.template)))
    }
}

fn parent_of(job: &Job, tip: Option<Hash>) -> Parent {
    if tip == Some(job.template.prev_block) {
        Parent::Tip
    } else {
        Parent::Stale
    }
}

fn solution(
    job: &Job,
    hash: Hash,
    proof: &Proof,
    parent: Parent,
    account: Arc<str>,
    difficulty: Difficulty,
) -> Solution {
    Solution {
        hash,
        template: job.template.clone(),
        fields: job.header_fields(),
        proof: *proof,
        mask: job.mask,
        coinbase: job.coinbase(),
        reach: match parent {
            Parent::Tip => Reach::Network,
            Parent::Stale => Reach::Chain,
        },
        account,
        difficulty,
    }
}
