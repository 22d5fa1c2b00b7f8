//! How full the sockets are, and who was not let in: plain numbers, for alarms and whoever looks.

use std::net::IpAddr;

/// See the module. Counts are since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Door {
    /// Connections that there may be.
    pub places: usize,
    /// Those that there are.
    pub taken: usize,
    /// Of them, those that have said nothing yet.
    pub silent: usize,
    /// Of them, those that have not logged in yet, the silent ones too. They give way when all places
    /// are taken.
    pub strangers: usize,
    /// Of them, those that have logged in and have no accepted share yet. They give way too.
    pub unproven: usize,
    /// Of those that give way next, the address that holds most, and how many.
    pub most: Option<(IpAddr, usize)>,
    /// Connections refused because all places were taken by others that do not give way.
    pub refused_full: u64,
    /// Connections refused because their address had enough.
    pub refused_address: u64,
    /// Times that none could be taken for want of descriptors.
    pub refused_descriptors: u64,
    /// Connections that had not logged in and were closed for new ones.
    pub gave_way: u64,
    /// Connections that had logged in, without an accepted share, and were closed for new ones.
    pub gave_way_unproven: u64,
    /// Descriptors that the process may still open, where the system says that.
    pub descriptors_left: Option<u64>,
}

impl Door {
    /// How often a place was wanted that was not free.
    #[must_use]
    pub fn crowded(&self) -> u64 {
        self.refused_full + self.refused_descriptors + self.gave_way + self.gave_way_unproven
    }
}
