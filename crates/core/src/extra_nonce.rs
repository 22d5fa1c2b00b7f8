//! The first half of the extra nonce, dealt so that no two connections have the same.
//!
//! It is the session's id as well. It is no secret and carries no right.

use std::collections::HashMap;

use crate::units::ConnId;

/// Ids that a server deals itself begin with 00.
const DEALT_MAX: u32 = 0x00ff_ffff;

/// Deals extranonce1.
pub(crate) struct ExtraNonces {
    next: u32,
    in_use: HashMap<u32, ConnId>,
}

impl ExtraNonces {
    /// Nothing is dealt yet; `seed` says where to begin.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            next: u32::try_from(seed & u64::from(DEALT_MAX)).expect("24 bits"),
            in_use: HashMap::new(),
        }
    }

    /// The id that is wanted, unless somebody has it, else a fresh one.
    pub(crate) fn deal(&mut self, wanted: Option<u32>, conn: ConnId) -> u32 {
        let mut id = wanted.filter(|id| !self.in_use.contains_key(id));
        while id.is_none() {
            self.next = (self.next + 1) & DEALT_MAX;
            id = Some(self.next).filter(|id| !self.in_use.contains_key(id));
        }
        let id = id.expect("the loop ends with one");
        self.in_use.insert(id, conn);
        id
    }

    /// A connection needs its id no longer.
    pub(crate) fn free(&mut self, id: u32) {
        self.in_use.remove(&id);
    }
}
