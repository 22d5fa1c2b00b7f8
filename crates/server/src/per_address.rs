//! How many connections each address has.

use std::collections::HashMap;
use std::net::IpAddr;

/// Counts nothing where there is no limit.
pub(crate) struct PerAddress {
    /// 0 is any number.
    max: u32,
    counts: HashMap<IpAddr, u32>,
}

impl PerAddress {
    pub(crate) fn new(max: u32) -> Self {
        Self {
            max,
            counts: HashMap::new(),
        }
    }

    /// One more from an address; false when it has as many as it may.
    pub(crate) fn enter(&mut self, address: IpAddr) -> bool {
        if self.max == 0 {
            return true;
        }
        let count = self.counts.entry(address).or_default();
        let is_wanted = *count < self.max;
        *count += u32::from(is_wanted);
        is_wanted
    }

    /// One less from an address that was let in.
    pub(crate) fn leave(&mut self, address: IpAddr) {
        if let Some(count) = self.counts.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&address);
            }
        }
    }

    pub(crate) fn clear(&mut self) {
        self.counts.clear();
    }
}
