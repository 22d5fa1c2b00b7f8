//! What the pool's actions come to in the simulated world, as the driver carries them out.

use std::sync::Arc;

use hstratum::store::keeper::StoreMail;
use hstratum_core::block::Solution;
use hstratum_core::event::{Action, Listening, Password};
use hstratum_core::units::Hash;

use crate::node::short;
use crate::plan::{between, happens};
use crate::plant::Plant;
use crate::server::{Unanswered, WorkMail, stored};
use crate::store::SpoolMail;
use crate::world::{Doom, Offer, What, World, note};

impl World {
    /// A crash or a failure of the pool comes between any two actions. After a failure what
    /// outlives it is done all the same.
    pub(crate) fn perform_or_fail(&mut self, action: Action, bytes: &[u8]) {
        if self.doomed.is_none()
            && let Some((left, doom)) = &mut self.doom
        {
            match left {
                0 => {
                    self.doomed = Some(*doom);
                    self.doom = None;
                }
                _ => *left -= 1,
            }
        }
        match self.doomed {
            None => self.perform(action, bytes),
            Some(Doom::PoolPanic) if action.outlives_failure() => self.perform(action, bytes),
            Some(_) => {}
        }
    }

    fn perform(&mut self, action: Action, bytes: &[u8]) {
        let process = self.process.as_mut().expect("actions come of a process");
        match action {
            Action::SubmitBlock(solution) => self.submit_block(solution),
            Action::Spool(solution, transactions) => {
                let raw = solution.encode(&transactions);
                self.spool(SpoolMail::Put(solution.hash, raw));
            }
            Action::Record(credit) => {
                self.book.record(&credit);
                process.last = credit.seq;
                process.credits.push(credit);
            }
            Action::BlockFound(block) => self.post(StoreMail::BlockFound(block)),
            Action::BlockAnswered(hash, verdict) => {
                self.commit_credits();
                self.post(StoreMail::BlockAnswered(hash, verdict));
            }
            Action::Tally(tallied) => self.post(StoreMail::Tally(tallied)),
            Action::Send(conn, _) => self.send(conn, bytes),
            Action::SendShared(conn, line) => self.send(conn, &line),
            Action::Pause(conn) => self.pause(conn, true),
            Action::Resume(conn) => self.pause(conn, false),
            Action::Close(conn, _) => self.close(conn),
            Action::Listen(listening) => {
                process.is_listening = listening == Listening::On;
                note!(self, "server    listening: {listening:?}");
            }
            Action::CheckPassword(ticket, known, password) => {
                let is = if known == stored(&password) {
                    Password::Right
                } else {
                    Password::Wrong
                };
                let delay_ms = between(&mut self.rngs.server, 10, 400);
                self.after(delay_ms, What::Checked(self.boot, ticket, is));
            }
            Action::AddUser(ticket, user) => {
                let kept = !happens(&mut self.rngs.disk, self.faults.failed_file);
                let kept = kept.then(|| stored(&user.password));
                self.after(20, What::Added(self.boot, ticket, user.name, kept));
            }
            Action::KeepUser(ticket, name, password) => {
                let kept = !happens(&mut self.rngs.disk, self.faults.failed_file);
                let kept = kept.then_some(password);
                self.after(20, What::Added(self.boot, ticket, name, kept));
            }
            Action::KeepBans(..) | Action::Answer(..) => {
                unreachable!("no operator gives orders here")
            }
            Action::Log(level, text) => {
                note!(self, "log       {level:?}: {text}");
                self.hear_of_ban(&text);
            }
        }
    }

    fn submit_block(&mut self, solution: Arc<Solution>) {
        let (hash, prev) = (solution.hash, solution.template.prev_block);
        note!(
            self,
            "block     {} {} by {:?}",
            solution.template.height.0,
            short(&hash),
            solution.account
        );
        let is_new = self.find_block(hash, prev);
        assert!(is_new, "one block was offered twice in one run: {hash}");
        let process = self.process.as_mut().expect("a process");
        let is_busy = self
            .told
            .back()
            .is_some_and(|(at_ms, _)| at_ms + 3_000 > self.now_ms);
        if self.plant == Some(Plant::LostBlock) && is_busy {
            return;
        }
        process.unanswered.insert(hash, Unanswered::Found(solution));
        self.offer(hash, prev);
    }

    pub(crate) fn offer(&mut self, hash: Hash, prev: Hash) {
        let delay_ms = self.rngs.server.u64(0..4);
        let offer = Offer { hash, prev };
        self.after(delay_ms, What::Offer(self.boot, offer));
    }

    pub(crate) fn commit_credits(&mut self) {
        let Some(process) = &mut self.process else {
            return;
        };
        let credits = std::mem::take(&mut process.credits);
        if !credits.is_empty() {
            if self.plant == Some(Plant::ReplyBeforeSync) {
                let last = process.last;
                process.work_mail.push_back(WorkMail::Durable(last));
                self.want_turn(0);
            }
            self.post(StoreMail::Credits(credits));
        }
    }
}
