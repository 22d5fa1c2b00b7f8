//! Values by connection. The low half of a connection's id is its slot, which the socket layer reuses; a value
//! is found under its whole id only.

use crate::units::ConnId;

/// A vector by slot.
pub(crate) struct ConnMap<T> {
    slots: Vec<Option<(ConnId, T)>>,
}

fn slot_of(conn: ConnId) -> usize {
    (conn.0 & 0xffff_ffff) as usize
}

impl<T> Default for ConnMap<T> {
    fn default() -> Self {
        Self { slots: Vec::new() }
    }
}

impl<T> ConnMap<T> {
    /// Sets a connection's value; gives the one that was in its slot.
    pub(crate) fn insert(&mut self, conn: ConnId, value: T) -> Option<T> {
        let slot = slot_of(conn);
        if self.slots.len() <= slot {
            self.slots.resize_with(slot + 1, || None);
        }
        let before = self.slots[slot].replace((conn, value));
        before.map(|(_, value)| value)
    }

    pub(crate) fn get(&self, conn: ConnId) -> Option<&T> {
        let (known, value) = self.slots.get(slot_of(conn))?.as_ref()?;
        (*known == conn).then_some(value)
    }

    pub(crate) fn get_mut(&mut self, conn: ConnId) -> Option<&mut T> {
        let (known, value) = self.slots.get_mut(slot_of(conn))?.as_mut()?;
        (*known == conn).then_some(value)
    }

    pub(crate) fn remove(&mut self, conn: ConnId) -> Option<T> {
        self.get(conn)?;
        let taken = self.slots[slot_of(conn)].take();
        taken.map(|(_, value)| value)
    }

    /// Count of slots, used or not: as many as there were connections at a time.
    pub(crate) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// Count of values. Looks at each slot.
    pub(crate) fn len(&self) -> usize {
        self.slots.iter().flatten().count()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.iter_from(0).map(|(_, value)| value)
    }

    /// The values from this slot on, each with its slot.
    pub(crate) fn iter_from(&self, slot: usize) -> impl Iterator<Item = (usize, &T)> {
        let slots = self.slots.iter().enumerate().skip(slot);
        slots.filter_map(|(slot, value)| Some((slot, &value.as_ref()?.1)))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.slots.iter_mut().flatten().map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_that_is_used_again_is_another_connections() {
        let mut map = ConnMap::default();
        let (old, new) = (ConnId(1 << 32 | 7), ConnId(2 << 32 | 7));
        assert_eq!(map.insert(old, "old"), None);
        assert_eq!(map.remove(old), Some("old"));
        assert_eq!(map.insert(new, "new"), None);
        assert_eq!(map.get(old), None);
        assert_eq!(map.remove(old), None);
        assert_eq!((map.get(new), map.len()), (Some(&"new"), 1));
        assert_eq!(map.iter_from(8).next(), None);
    }
}
