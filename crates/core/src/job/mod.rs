//! Jobs: the work that miners get from a template, and the `mining.notify` line that sends it.
//!
//! A job is a template, a coinbase and a mask. Each job has its own coinbase witness nonce, hence its own
//! witness root, so that no two jobs share header space. Ids never repeat, not even after a restart: they
//! begin with a prefix drawn for this start of the pool.
//!
//! On a solo listener a job has another coinbase for each payee, hence other roots: they are computed when the
//! job is sent, and again for each share of it, so that no payee costs memory. Miners of one payee get the
//! same bytes; their extra nonces keep their header space apart.

pub mod direct_payout;
pub(crate) mod ids;
pub mod kept_jobs;
pub(crate) mod remembered_shares;
pub mod share;

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use crate::chain::block::Solution;
use crate::chain::coinbase::Coinbase;
use crate::chain::coinbase_split::CoinbaseSplit;
use crate::chain::header::{HeaderFields, HeaderHasher, mask_hash};
use crate::chain::template::{RawTransactions, Template};
use crate::chain::transaction::witness_hash;
use crate::job::direct_payout::DirectPayout;
use crate::job::ids::JobIds;
pub use crate::job::ids::{Boot, JobNumber};
use crate::job::remembered_shares::ShareMemory;
use crate::limits::{FOUND_BLOCKS_MAX, SHARED_JOBS_MAX, SHARES_PER_JOB_MAX, TEMPLATES_MAX};
use crate::units::{Difficulty, Hash, hex, push_hex, put_hex};

/// Hex digits of a root.
const ROOT_DIGITS: usize = 64;
/// Between two parameters of `mining.notify`.
const BETWEEN: &[u8] = b"\",\"";

/// One piece of work for miners, with the accepted shares of it that are remembered.
pub struct Job {
    /// Number of the job.
    pub number: JobNumber,
    /// The template it was made from.
    pub template: Arc<Template>,
    /// Mask that hides from the miner which share is a block. Always zero: no client in use can work with
    /// another yet.
    pub mask: Hash,
    /// Computes the hashes of its shares.
    pub hasher: HeaderHasher,
    /// The network's difficulty. A share's difficulty is capped at it.
    pub network_difficulty: Difficulty,
    mask_hash: Hash,
    witness_nonce: [u8; 8],
    /// Hash of the witnesses of all its coinbases.
    witnesses: Hash,
    witness_root: Hash,
    seen: HashSet<u128>,
    /// True once it takes no more shares.
    is_closed: bool,
}

/// The key by which two shares of a job are told apart: both halves of the extra nonce, the time and the
/// nonce.
pub fn share_key(extra_nonce1: u32, extra_nonce2: u32, time: u32, nonce: u32) -> u128 {
    [extra_nonce1, extra_nonce2, time, nonce]
        .iter()
        .fold(0, |key, &part| key << 32 | u128::from(part))
}

impl Job {
    fn new(number: JobNumber, template: Arc<Template>, witness_nonce: [u8; 8]) -> Self {
        let mask = Hash::ZERO;
        let mask_hash = mask_hash(&template.prev_block, &mask);
        let coinbase = template.coinbase.with_witness_nonce(witness_nonce);
        let witness_root = template.witness_root(&coinbase);
        let roots = (template.merkle_root, witness_root);
        Self {
            number,
            mask,
            hasher: HeaderHasher::new(&fields(&template, roots, mask_hash)),
            network_difficulty: template.target.difficulty(),
            template,
            mask_hash,
            witness_nonce,
            witnesses: coinbase.hash_of_witnesses(),
            witness_root,
            seen: HashSet::new(),
            is_closed: false,
        }
    }

    /// The coinbase of this job's blocks.
    pub fn coinbase(&self) -> Coinbase {
        self.template
            .coinbase
            .with_witness_nonce(self.witness_nonce)
    }

    /// The constant parts of this job's header.
    pub fn header_fields(&self) -> HeaderFields {
        let roots = (self.template.merkle_root, self.witness_root);
        fields(&self.template, roots, self.mask_hash)
    }

    /// The coinbase and the constant parts of the header of this job's blocks that pay `payout`.
    pub fn direct(&self, payout: &DirectPayout) -> (Coinbase, HeaderFields) {
        let template = &self.template;
        let coinbase = payout.coinbase(&template.node_coinbase, self.witness_nonce);
        let merkle_root = template.merkle_branch.root(&coinbase.txid());
        let roots = (merkle_root, template.witness_root(&coinbase));
        (coinbase, fields(template, roots, self.mask_hash))
    }

    /// Merkle and witness root of those blocks.
    pub fn direct_roots(&self, payout: &DirectPayout) -> Roots {
        let template = &self.template;
        let txid = payout.txid(&template.node_coinbase);
        let witness_hash = witness_hash(&txid, &self.witnesses);
        (
            template.merkle_branch.root(&txid),
            template.witness_branch.root(&witness_hash),
        )
    }

    /// `difficulty`, but at most the network's.
    pub fn cap(&self, difficulty: Difficulty) -> Difficulty {
        if self.network_difficulty < difficulty {
            self.network_difficulty
        } else {
            difficulty
        }
    }

    /// Remembers an accepted share; false if it was remembered already.
    pub fn remember(&mut self, key: u128) -> bool {
        self.seen.insert(key)
    }

    /// True if the share was accepted before.
    pub fn remembers(&self, key: u128) -> bool {
        self.seen.contains(&key)
    }

    /// Count of remembered shares.
    pub fn remembered(&self) -> usize {
        self.seen.len()
    }

    /// True if it remembers [`SHARES_PER_JOB_MAX`] shares, so that everybody should get a fresh job.
    pub fn is_full(&self) -> bool {
        self.seen.len() >= SHARES_PER_JOB_MAX
    }

    /// True if it takes no more shares: it is too old, or remembers twice [`SHARES_PER_JOB_MAX`].
    pub fn is_closed(&self) -> bool {
        self.is_closed || self.seen.len() >= 2 * SHARES_PER_JOB_MAX
    }

    /// Takes no more shares from now on, and forgets the remembered ones.
    pub(crate) fn close(&mut self) {
        self.is_closed = true;
        self.seen = HashSet::new();
    }
}

/// A merkle and a witness root.
pub type Roots = (Hash, Hash);

/// Puts other roots into a `mining.notify` line, at the offset that [`Jobs::write_notify`] has returned.
pub fn put_roots(line: &mut [u8], at: usize, (merkle_root, witness_root): &Roots) {
    put_hex(&mut line[at..][..ROOT_DIGITS], &merkle_root.0);
    let next = at + ROOT_DIGITS + BETWEEN.len();
    put_hex(&mut line[next..][..ROOT_DIGITS], &witness_root.0);
}

/// The header fields with these merkle and witness roots.
fn fields(
    template: &Template,
    (merkle_root, witness_root): Roots,
    mask_hash: Hash,
) -> HeaderFields {
    HeaderFields {
        prev_block: template.prev_block,
        tree_root: template.tree_root,
        reserved_root: template.reserved_root,
        witness_root,
        merkle_root,
        version: template.version,
        bits: template.bits,
        mask_hash,
    }
}

/// A template, its raw transactions, and the blocks found on it before those came.
struct Slot {
    template: Arc<Template>,
    first_job: JobNumber,
    /// The same template as it paid others before, each with its first job.
    earlier: Vec<(JobNumber, Arc<Template>)>,
    transactions: Option<Arc<RawTransactions>>,
    /// Solutions that cannot be spooled yet, because the transactions of their block have not come.
    unspooled: Vec<Arc<Solution>>,
}

/// Sizes for the memory report: templates, shared jobs, the most shares of one shared job, the shares of
/// all of them, and the most blocks of one template that wait for its transactions.
pub(crate) struct JobSizes {
    pub templates: usize,
    pub shared: usize,
    pub shares: usize,
    pub all_shares: usize,
    pub unspooled: usize,
}

/// The templates still in use and their shared jobs: those that go to every miner. Jobs of one connection
/// alone are made here and kept by its session.
pub struct Jobs {
    ids: JobIds,
    next: JobNumber,
    slots: VecDeque<Slot>,
    shared: VecDeque<Job>,
    generations: ShareMemory,
}

impl Jobs {
    /// Makes an empty set that lets at most `shares_remembered_max` shares be remembered.
    pub fn new(boot: Boot, shares_remembered_max: usize) -> Self {
        Self {
            ids: JobIds::new(boot),
            next: 1,
            slots: VecDeque::new(),
            shared: VecDeque::new(),
            generations: ShareMemory::new(shares_remembered_max),
        }
    }

    /// Takes a template and makes its shared job. Beyond [`TEMPLATES_MAX`] the oldest template is dropped
    /// with its jobs.
    pub fn push(&mut self, template: Template) -> &Job {
        let template = Arc::new(template);
        let transactions = template.txids.is_empty().then(|| {
            Arc::new(RawTransactions {
                count: 0,
                bytes: Arc::from([]),
            })
        });
        self.slots.push_back(Slot {
            template: template.clone(),
            first_job: self.next,
            earlier: Vec::new(),
            transactions,
            unspooled: Vec::new(),
        });
        if self.slots.len() > TEMPLATES_MAX {
            self.slots.pop_front();
        }
        let oldest = self.oldest_template();
        self.shared.retain(|job| job.template.id >= oldest);
        self.push_shared(template)
    }

    /// Has blocks of the newest template pay a split, and makes a shared job of it.
    pub fn pay_newest(&mut self, split: &Arc<CoinbaseSplit>) {
        let Some(slot) = self.slots.back_mut() else {
            return;
        };
        let mut template = Template::clone(&slot.template);
        template.pay(split);
        let before = std::mem::replace(&mut slot.template, Arc::new(template));
        slot.earlier.push((slot.first_job, before));
        slot.first_job = self.next;
        self.push_fresh();
    }

    /// Makes another shared job from the newest template.
    pub fn push_fresh(&mut self) -> Option<&Job> {
        let template = self.slots.back()?.template.clone();
        Some(self.push_shared(template))
    }

    /// Counts a share that some job has remembered.
    pub(crate) fn count_remembered(&mut self) {
        self.generations.count();
    }

    /// True if everybody should get a fresh job, because the newest one or all together remember too many
    /// shares.
    pub(crate) fn wants_fresh(&self) -> bool {
        self.generations.is_full() || self.newest().is_some_and(Job::is_full)
    }

    /// Starts a new generation with the newest job if the current one is full, and closes the shared jobs
    /// that are too old. Returns the number below which the sessions must close their own jobs.
    pub(crate) fn begin_generation(&mut self) -> Option<JobNumber> {
        if !self.generations.is_full() {
            return None;
        }
        let closed_below = self.generations.begin(self.newest()?.number);
        let old = self.shared.iter_mut();
        old.filter(|job| job.number < closed_below)
            .for_each(Job::close);
        Some(closed_below)
    }

    fn push_shared(&mut self, template: Arc<Template>) -> &Job {
        let job = self.make(template);
        if self.shared.len() == SHARED_JOBS_MAX {
            self.shared.pop_front();
        }
        self.shared.push_back(job);
        self.shared.back().expect("one was pushed")
    }

    /// Makes a job for one connection alone, from the newest template.
    pub fn make_own(&mut self) -> Option<Box<Job>> {
        let template = self.slots.back()?.template.clone();
        Some(Box::new(self.make(template)))
    }

    fn make(&mut self, template: Arc<Template>) -> Job {
        let number = self.next;
        self.next += 1;
        Job::new(number, template, self.ids.witness_nonce(number))
    }

    /// The newest shared job.
    pub fn newest(&self) -> Option<&Job> {
        self.shared.back()
    }

    /// A shared job that is still kept.
    pub fn shared_mut(&mut self, number: JobNumber) -> Option<&mut Job> {
        self.shared
            .iter_mut()
            .rev()
            .find(|job| job.number == number)
    }

    /// The id of the oldest template whose shares are still taken.
    pub fn oldest_template(&self) -> u64 {
        self.slots.front().map_or(0, |slot| slot.template.id)
    }

    /// The id on the wire of a job.
    pub fn id(&self, number: JobNumber) -> String {
        self.ids.id(number)
    }

    /// The number of a job from its id on the wire; `None` if the id is not of this start of the pool, or
    /// not spelled as [`Jobs::id`] writes it.
    pub fn number(&self, id: &str) -> Option<JobNumber> {
        self.ids.number(id)
    }

    /// Takes the raw transactions of a template; returns the solutions that waited for them.
    pub fn set_transactions(
        &mut self,
        template: u64,
        bytes: Arc<[u8]>,
    ) -> Vec<(Arc<Solution>, Arc<RawTransactions>)> {
        let Some(slot) = self.slot_mut(template) else {
            return Vec::new();
        };
        let count = slot.template.txids.len();
        let transactions = Arc::new(RawTransactions { count, bytes });
        slot.transactions = Some(transactions.clone());
        slot.unspooled
            .drain(..)
            .map(|solution| (solution, transactions.clone()))
            .collect()
    }

    /// The raw transactions for a solution. If they have not come yet, the solution is kept for
    /// [`Jobs::set_transactions`].
    pub fn transactions_for(&mut self, solution: &Arc<Solution>) -> Option<Arc<RawTransactions>> {
        let slot = self.slot_mut(solution.template.id)?;
        if slot.transactions.is_none() && slot.unspooled.len() < FOUND_BLOCKS_MAX {
            slot.unspooled.push(solution.clone());
        }
        slot.transactions.clone()
    }

    /// Counts of what is kept, for the memory report.
    pub(crate) fn sizes(&self) -> JobSizes {
        let shares = self.shared.iter().map(Job::remembered);
        let unspooled = self.slots.iter().map(|slot| slot.unspooled.len());
        JobSizes {
            templates: self.slots.len(),
            shared: self.shared.len(),
            shares: shares.clone().max().unwrap_or(0),
            all_shares: shares.sum(),
            unspooled: unspooled.max().unwrap_or(0),
        }
    }

    /// The raw transactions of a template, once they have come.
    pub(crate) fn transactions(&self, template: u64) -> Option<Arc<RawTransactions>> {
        let mut slots = self.slots.iter();
        let slot = slots.find(|slot| slot.template.id == template)?;
        slot.transactions.clone()
    }

    fn slot_mut(&mut self, template: u64) -> Option<&mut Slot> {
        self.slots
            .iter_mut()
            .find(|slot| slot.template.id == template)
    }

    /// Appends the `mining.notify` line of a job, for blocks that pay `payout` if it is given; returns the offset of
    /// its roots.
    pub fn write_notify(
        &self,
        out: &mut Vec<u8>,
        job: &Job,
        payout: Option<&DirectPayout>,
        now_unix_s: u64,
    ) -> usize {
        let template = &job.template;
        let (merkle_root, witness_root) = match payout {
            None => (template.merkle_root, job.witness_root),
            Some(payout) => job.direct_roots(payout),
        };
        out.extend_from_slice(b"{\"id\":null,\"method\":\"mining.notify\",\"params\":[\"");
        out.extend_from_slice(self.id(job.number).as_bytes());
        out.extend_from_slice(BETWEEN);
        push_hex(out, &template.prev_block.0);
        let roots_at = out.len() + BETWEEN.len();
        for hash in [
            &merkle_root,
            &witness_root,
            &template.tree_root,
            &template.reserved_root,
        ] {
            out.extend_from_slice(BETWEEN);
            push_hex(out, &hash.0);
        }
        let time = now_unix_s.clamp(template.time_min, template.time_max);
        let time = u32::try_from(time).unwrap_or(u32::MAX);
        for number in [template.version, template.bits, time] {
            out.extend_from_slice(BETWEEN);
            push_hex(out, &number.to_be_bytes());
        }
        out.extend_from_slice(b"\"]}\n");
        roots_at
    }

    /// A JSON array of the ids of the template's transactions, the coinbase excluded.
    pub fn transactions_json(template: &Template) -> String {
        let ids: Vec<String> = template.txids.iter().map(|txid| hex(&txid.0)).collect();
        if ids.is_empty() {
            "[]".to_owned()
        } else {
            format!("[\"{}\"]", ids.join("\",\""))
        }
    }
}
