//! Applies the driver's calls and messages to the simulated world.

use std::sync::Arc;

use hstratum::messages::WorkerEvent;
use hstratum::store::group_commit::StoreCommand;
use hstratum::task_threads::PasswordCommand;
use hstratum::{messages, node};
use hstratum_core::chain::block::Solution;
use hstratum_core::chain::header::{HEADER_BYTES, decode_header};
use hstratum_core::event::{Listening, Password};
use hstratum_core::units::Hash;

use crate::server::sim_io::SocketAction;
use crate::server::store_thread::SpoolTask;
use crate::server::{Offers, stored};
use crate::world::disk::SpooledBlock;
use crate::world::injected_bug::InjectedBug;
use crate::world::node::short;
use crate::world::plan::between;
use crate::world::{BlockOffer, World, WorldEvent, note};

impl World {
    /// Applies everything that the driver has done in a turn. If the process dies in this turn, no bytes
    /// have left it.
    pub(crate) fn carry_out(&mut self, offers: Offers) {
        let Some(process) = &mut self.process else {
            return;
        };
        let said = process.sim_host.take();
        let out = std::mem::take(&mut process.driver.net.out);
        let ends = &process.ends;
        let store: Vec<_> = ends.store.try_iter().collect();
        let spool: Vec<_> = ends.spool.try_iter().collect();
        let passwords: Vec<_> = ends.passwords.try_iter().collect();
        let users: Vec<_> = ends.users.try_iter().collect();
        for offer in said.offers {
            self.offered(offer, offers);
        }
        for drill in &said.drills {
            self.take_drill(drill);
        }
        for (level, text) in said.log {
            note!(self, "log       {level:?}: {text}");
            self.hear_of_ban(&text);
        }
        for mail in store {
            self.post_to_store(mail);
        }
        for mail in spool {
            self.spool(match mail {
                messages::SpoolCommand::Put(solution, transactions) => {
                    let block = SpooledBlock {
                        payout: solution.payout(),
                        raw: solution.encode(&transactions),
                    };
                    SpoolTask::Put(solution.hash, block)
                }
                messages::SpoolCommand::Remove(hash) => SpoolTask::Remove(hash),
            });
        }
        for mail in passwords {
            self.ask_password(mail);
        }
        for mail in users {
            self.add_user(mail);
        }
        if let Some(doom) = self.doom.take() {
            self.doomed = Some(doom);
            return;
        }
        for out in out {
            self.put(out);
        }
        self.flush();
    }

    fn put(&mut self, out: SocketAction) {
        match out {
            SocketAction::Send(conn, bytes) => self.send(conn, &bytes),
            SocketAction::Close(conn) => self.close(conn),
            SocketAction::Dial(..) => unreachable!("a server dials nobody"),
            SocketAction::Listen(listening) => {
                note!(self, "server    listening: {listening:?}");
                if let Some(process) = &mut self.process {
                    process.is_listening = listening == Listening::On;
                }
            }
            SocketAction::ResetAll => self.reset_all(true),
        }
    }

    fn post_to_store(&mut self, mail: StoreCommand) {
        if let StoreCommand::Credits(credits) = &mail {
            for credit in credits {
                self.oracle.record(credit);
            }
            if self.injected_bug == Some(InjectedBug::ReplyBeforeSync)
                && let Some(last) = credits.last()
            {
                self.work_says(WorkerEvent::Durable(last.seq));
            }
        }
        if let StoreCommand::Tally(tallied) = &mail {
            if self.injected_bug == Some(InjectedBug::LostTally) {
                return;
            }
            self.worker_stats.tell(tallied);
        }
        self.post(mail);
    }

    fn ask_password(&mut self, PasswordCommand(ticket, known, password): PasswordCommand) {
        let is = if known == stored(&password) {
            Password::Right
        } else {
            Password::Wrong
        };
        let delay_ms = between(&mut self.rngs.server, 10, 400);
        self.after(delay_ms, WorldEvent::Checked(self.boot, ticket, is));
    }

    fn offered(&mut self, offer: node::Offer, offers: Offers) {
        match (offer, offers) {
            (node::Offer::Found(solution), Offers::First) => self.submit_block(&solution),
            (node::Offer::Found(solution), Offers::Again) => {
                self.offer(solution.hash, solution.template.prev_block);
            }
            (node::Offer::Spooled { hash, raw }, _) => {
                let (fields, ..) = decode_header(&raw[..HEADER_BYTES]).expect("a header");
                self.offer(hash, fields.prev_block);
            }
            (node::Offer::Relayed { .. }, _) => unreachable!("there is one server here"),
        }
    }

    fn submit_block(&mut self, solution: &Arc<Solution>) {
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
        self.check_payee(solution);
        let is_busy = self
            .told
            .back()
            .is_some_and(|(at_ms, _)| at_ms + 3_000 > self.now_ms);
        if self.injected_bug == Some(InjectedBug::LostBlock) && is_busy {
            return;
        }
        self.offer(hash, prev);
    }

    pub(crate) fn offer(&mut self, hash: Hash, prev: Hash) {
        let mut delay_ms = self.rngs.server.u64(0..4);
        if self.injected_bug == Some(InjectedBug::BlockWaitsForDisk) {
            delay_ms += self.disk.hangs_ms(self.now_ms);
        }
        let offer = BlockOffer { hash, prev };
        self.after(delay_ms, WorldEvent::Offer(self.boot, offer));
    }
}
