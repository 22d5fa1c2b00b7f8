//! Ids of jobs on the wire and their coinbase witness nonces, which follow from a job's number.

/// Values that make this start of the pool differ from every other; random.
#[derive(Debug, Clone, Copy)]
pub struct Boot {
    /// Begins each job's id. For example Unix seconds and 16 random bits.
    pub prefix: u64,
    /// The first coinbase witness nonce; later ones count up from it.
    pub nonce: u64,
    /// Key of digests that live in memory only.
    pub secret: [u8; 32],
}

/// The number of a job. Jobs are counted in the order in which they were made.
pub type JobNumber = u64;

/// Leading hex digits of a job's id, the same for all jobs of one start of the pool.
const PREFIX_DIGITS: usize = 12;
const PREFIX_MASK: u64 = (1 << (4 * PREFIX_DIGITS)) - 1;

/// Rule for the ids and the coinbase witness nonces of one start of the pool.
#[derive(Clone, Debug, Default)]
pub(crate) struct JobIds {
    /// Begins each job id.
    prefix: String,
    /// The first coinbase witness nonce.
    nonce: u64,
}

impl JobIds {
    pub(crate) fn new(boot: Boot) -> Self {
        let prefix = boot.prefix & PREFIX_MASK;
        Self {
            prefix: format!("{prefix:0PREFIX_DIGITS$x}"),
            nonce: boot.nonce,
        }
    }

    pub(crate) fn id(&self, number: JobNumber) -> String {
        format!("{}{number:x}", self.prefix)
    }

    pub(crate) fn number(&self, id: &str) -> Option<JobNumber> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let number = id.strip_prefix(&self.prefix)?;
        if number.starts_with('0') || !number.bytes().all(is_digit) {
            return None;
        }
        JobNumber::from_str_radix(number, 16).ok()
    }

    pub(crate) fn witness_nonce(&self, number: JobNumber) -> [u8; 8] {
        self.nonce.wrapping_add(number).to_be_bytes()
    }
}
