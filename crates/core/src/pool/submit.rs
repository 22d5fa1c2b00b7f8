//! Handles `mining.submit`: finds the job, judges the share, credits it, and offers its block if it is
//! one. A share of a solo listener is statistics and never credit: its reply does not wait for the ledger. Also `mining.get_transactions`.

use std::sync::Arc;

use crate::accounting::ledger::{BestShare, Credit};
use crate::accounts::clean_name;
use crate::chain::address::Address;
use crate::chain::block::{Reach, Solution};
use crate::chain::coinbase::Coinbase;
use crate::chain::header::{HeaderFields, HeaderHasher, Proof};
use crate::conn::LineServer;
use crate::event::{Action, LedgerState};
use crate::job::share::{self, Parent};
use crate::job::{Job, JobNumber, Jobs, share_key};
use crate::limits::{SCORE_DUPLICATE, SCORE_LOW_SHARE, SCORE_MALFORMED};
use crate::pool::dispatch::{Reply, RequestContext};
use crate::pool::worker_stats;
use crate::session::Session;
use crate::session::difficulty::Urgency;
use crate::units::{Difficulty, Hash, Target};
use crate::wire::message::{Reject, Request, Submit};

/// A submit for a job that was sent to the connection.
struct Claim {
    account: Arc<str>,
    job: JobNumber,
    /// The difficulty that the job was sent under.
    difficulty: Difficulty,
    target: Target,
    proof: Proof,
    /// The key by which duplicates are found.
    key: u128,
}

/// An accepted share.
struct Accepted {
    difficulty: Difficulty,
    hash: Option<Hash>,
    /// Its credit; `None` on a solo listener.
    credit: Option<Credit>,
}

impl RequestContext<'_> {
    pub(crate) fn handle_submit(
        &mut self,
        session: &mut Session,
        id: Option<&str>,
        submit: Result<Submit<'_>, Reject>,
    ) {
        let accepted = match session.extra_nonce1 {
            None => Err(Reject::NotSubscribed),
            Some(extra_nonce1) => submit.and_then(|s| self.judge(session, extra_nonce1, &s)),
        };
        let verdict = accepted.as_ref();
        let verdict = verdict.map(|share| share.difficulty).map_err(|r| *r);
        self.shared.counts.count(verdict);
        match accepted {
            Ok(share) => {
                match &share.credit {
                    Some(credit) => session.reply_after(credit.seq, id),
                    None => self.reply(session, id, Ok(Reply::True)),
                }
                if !session.conn.has_credit {
                    self.out.push(Action::Proven(session.conn.id));
                }
                let urgency = session.count_share(share.difficulty, self.now);
                self.out.extend(share.credit.map(Action::Record));
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

    /// Judges a submit in the order of checks usual in the field, offers its block if it is one, and
    /// counts the result. For an unknown job it is counted with the difficulty announced last.
    fn judge(
        &mut self,
        session: &mut Session,
        extra_nonce1: u32,
        submit: &Submit<'_>,
    ) -> Result<Accepted, Reject> {
        let position = match session.position(&submit.user) {
            Some(position) => position,
            None => clean_name(&submit.user)
                .and_then(|name| session.position(&name))
                .ok_or(Reject::UnauthorizedUser)?,
        };
        let number = self.shared.jobs.number(&submit.job);
        let assigned = number.and_then(|number| session.assigned(number));
        let accepted = match number.zip(assigned) {
            None => Err(Reject::JobNotFound),
            Some((job, (difficulty, target))) => {
                let claim = Claim {
                    account: session.users[position].user.account.clone(),
                    job,
                    difficulty,
                    target,
                    proof: share::proof(extra_nonce1, submit),
                    key: share_key(extra_nonce1, submit.extra_nonce2, submit.time, submit.nonce),
                };
                self.judge_claim(session, claim)
            }
        };
        if let Ok(share) = &accepted {
            let one = &mut session.users[position];
            let is_first = !std::mem::replace(&mut one.is_proven, true);
            one.rate.add(share.difficulty, self.now.ms);
            one.last_share_ms = Some(self.now.ms);
            if let Some(hash) = share.hash.filter(|hash| *hash < one.best_hash) {
                one.best_hash = hash;
                one.tally.add_best(Some(BestShare {
                    difficulty: Target(hash.0).difficulty(),
                    unix_s: self.now.unix_s,
                }));
            }
            self.shared.rate.add(share.difficulty, self.now.ms);
            if is_first {
                self.shared.count_names(session);
            }
        }
        let difficulty = assigned.map(|(difficulty, _)| difficulty);
        if let Some(difficulty) = difficulty.or(session.announced()) {
            let verdict = accepted.as_ref().map(|_| ()).map_err(|reject| *reject);
            let one = &mut session.users[position];
            worker_stats::count(&mut one.tally, verdict, difficulty, self.now.unix_s);
        }
        accepted
    }

    fn judge_claim(&mut self, session: &mut Session, claim: Claim) -> Result<Accepted, Reject> {
        let (tip, unix_s) = (self.shared.tip, self.now.unix_s);
        let direct = session.direct.clone();
        let state = match direct {
            None => self.shared.ledger.state(),
            Some(_) => LedgerState::Open,
        };
        let conn = session.conn.id;
        let difficulty_policy = &session.difficulty_policy;
        let told = difficulty_policy
            .sends_blocks()
            .then(|| difficulty_policy.told(claim.difficulty));
        let job = self
            .find_job(session, claim.job)
            .ok_or(Reject::JobNotFound)?;
        let parent = parent_of(job, tip);
        let block = direct.as_deref().map(|payout| {
            let (coinbase, fields) = job.direct(payout);
            (payout.payee.clone(), coinbase, fields)
        });
        let direct_hasher = block.as_ref().map(|(.., fields)| HeaderHasher::new(fields));
        let hasher = direct_hasher.as_ref().unwrap_or(&job.hasher);
        let checked = share::check(job, hasher, parent, &claim.proof, &claim.target, unix_s);
        let is_share_as_told = told.is_some_and(|told| {
            let target = Target::of_difficulty(told);
            share::check(job, hasher, parent, &claim.proof, &target, unix_s)
                .verdict
                .is_ok()
        });
        let verdict = checked.verdict.and_then(|()| admit(job, claim.key, state));
        let height = job.template.height;
        let network_difficulty = job.network_difficulty;
        let is_full = job.is_full();
        let solution = checked
            .block
            .map(|hash| solution(job, block, hash, parent, &claim));
        if let Some(solution) = solution {
            self.shared.offer(solution, self.out);
        }
        if verdict.is_ok() {
            self.shared.jobs.count_remembered();
        }
        self.shared.wants_fresh_job |= is_full || self.shared.jobs.wants_fresh();
        if verdict == Err(Reject::HighHash) && is_share_as_told {
            session.mines_shares(self.now);
        }
        verdict?;
        let difficulty = claim.difficulty;
        let credit = direct.is_none().then(|| Credit {
            seq: self.shared.ledger.record(conn),
            height,
            account: claim.account,
            difficulty,
            network_difficulty,
        });
        Ok(Accepted {
            difficulty,
            hash: checked.hash,
            credit,
        })
    }

    /// Finds a job that was sent to this connection.
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
    ) -> Result<Reply, Reject> {
        if session.extra_nonce1.is_none() {
            return Err(Reject::NotSubscribed);
        }
        let params = request.texts()?;
        let [Some(id), ..] = params.as_slice() else {
            return Err(Reject::InvalidParams);
        };
        let number = self.shared.jobs.number(id).ok_or(Reject::JobNotFound)?;
        let job = self.find_job(session, number).ok_or(Reject::JobNotFound)?;
        Ok(Reply::Json(Jobs::transactions_json(&job.template)))
    }
}

/// Accepts a share that meets its target, unless it is a duplicate. A share refused because the ledger
/// fails is not remembered, so that it can be sent again.
fn admit(job: &mut Job, key: u128, ledger: LedgerState) -> Result<(), Reject> {
    if job.is_closed() {
        return Err(Reject::JobNotFound);
    }
    match ledger {
        LedgerState::Open if job.remember(key) => Ok(()),
        LedgerState::Failing if !job.remembers(key) => Err(Reject::LedgerFailing),
        LedgerState::Open | LedgerState::Failing => Err(Reject::Duplicate),
    }
}

fn parent_of(job: &Job, tip: Option<Hash>) -> Parent {
    if tip == Some(job.template.prev_block) {
        Parent::Tip
    } else {
        Parent::Stale
    }
}

/// The solution of a claim; `direct` has payee, coinbase and header of a block that pays its finder.
fn solution(
    job: &Job,
    direct: Option<(Address, Coinbase, HeaderFields)>,
    hash: Hash,
    parent: Parent,
    claim: &Claim,
) -> Solution {
    let (payee, coinbase, fields) = match direct {
        None => (None, job.coinbase(), job.header_fields()),
        Some((payee, coinbase, fields)) => (Some(payee), coinbase, fields),
    };
    Solution {
        hash,
        template: job.template.clone(),
        fields,
        proof: claim.proof,
        mask: job.mask,
        coinbase,
        payee,
        reach: match parent {
            Parent::Tip => Reach::Network,
            Parent::Stale => Reach::Chain,
        },
        account: claim.account.clone(),
        difficulty: claim.difficulty,
    }
}
