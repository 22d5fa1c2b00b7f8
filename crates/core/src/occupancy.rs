//! Occupancy of the sockets, and connections that were refused: plain numbers for alarms and status
//! reports.

use std::net::IpAddr;

/// Occupancy of the sockets of a server. Counts of refusals are since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Occupancy {
    /// Most connections at a time.
    pub places: usize,
    /// Open connections.
    pub taken: usize,
    /// Of these, those that have sent nothing yet.
    pub silent: usize,
    /// Of these, those that have not logged in yet, including the silent ones. They are displaced when
    /// the server is full.
    pub strangers: usize,
    /// Of these, those that have logged in but have no accepted share yet. They are displaced too.
    pub unproven: usize,
    /// Of the connections displaced next, the address with most of them, and their count.
    pub most: Option<(IpAddr, usize)>,
    /// Connections refused because the server was full and no connection could be displaced.
    pub refused_full: u64,
    /// Connections refused because their address had as many as it may have.
    pub refused_address: u64,
    /// Times that no connection could be accepted for lack of descriptors.
    pub refused_descriptors: u64,
    /// Connections without a login that were closed to make room.
    pub gave_way: u64,
    /// Connections with a login but without an accepted share that were closed to make room.
    pub gave_way_unproven: u64,
    /// Descriptors that the process may still open, if the system tells.
    pub descriptors_left: Option<u64>,
}

impl Occupancy {
    /// Count of connections for which there was no free place.
    #[must_use]
    pub fn crowded(&self) -> u64 {
        self.refused_full + self.refused_descriptors + self.gave_way + self.gave_way_unproven
    }
}
