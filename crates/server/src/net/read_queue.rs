//! Order in which connections are read.

use hstratum_core::units::ConnId;

use super::{Net, slot_of};
use crate::net::conn::ConnStage;

/// Reads of connections that are read first for one of another.
const READS_FIRST: u32 = 4;

impl Net {
    /// Takes the next connection to be read: those that are not open yet come first, but only a few in a
    /// turn, so that connections which come and go endlessly do not delay miners.
    pub(crate) fn next_readable(&mut self) -> Option<ConnId> {
        while self.newcomers_left > 0
            && let Some(id) = self.newcomers.pop_front()
        {
            if self.get_mut(id).is_some() {
                self.newcomers_left -= 1;
                return Some(self.take_from_queue(id));
            }
        }
        while let Some(id) = self.pop_readable() {
            if self.get_mut(id).is_some() {
                return Some(self.take_from_queue(id));
            }
        }
        None
    }

    /// Those read first are so many times in a row, as long as others wait.
    fn pop_readable(&mut self) -> Option<ConnId> {
        if self.reads_first < READS_FIRST || self.readable.is_empty() {
            self.reads_first = self.reads_first.saturating_add(1);
            let first = self.readable_first.pop_front();
            if first.is_some() {
                return first;
            }
        }
        self.reads_first = 0;
        self.readable.pop_front()
    }

    /// Reads a connection before others from now on, or no more.
    pub(crate) fn read_first(&mut self, id: ConnId, is_first: bool) {
        if let Some(conn) = self.get_mut(id) {
            conn.is_read_first = is_first;
        }
    }

    /// Takes the next connection to continue its TLS handshake.
    pub(crate) fn next_handshake(&mut self) -> Option<ConnId> {
        let id = self.handshakes.pop_front()?;
        Some(self.take_from_queue(id))
    }

    /// True if connections wait to be read.
    pub(crate) fn has_readable(&self) -> bool {
        !self.readable.is_empty() || !self.readable_first.is_empty() || !self.newcomers.is_empty()
    }

    fn take_from_queue(&mut self, id: ConnId) -> ConnId {
        if let Some(conn) = self.get_mut(id) {
            conn.is_queued = false;
        }
        id
    }

    pub(super) fn queue_read(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(slot_of(id)).filter(|conn| conn.id == id) else {
            return;
        };
        if !conn.is_queued && conn.may_read && !conn.is_held() {
            conn.is_queued = true;
            match conn.stage {
                ConnStage::Handshake => self.handshakes.push_back(id),
                ConnStage::Header | ConnStage::Silent => self.newcomers.push_back(id),
                _ if conn.is_read_first => self.readable_first.push_back(id),
                _ => self.readable.push_back(id),
            }
        }
    }
}
