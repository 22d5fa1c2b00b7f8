//! Reads bytes as hsd writes them (bufio): little-endian numbers, varints, byte strings.

use crate::chain::address::{ADDRESS_HASH_BYTES, Address};

/// The bytes not read yet. Every read past the end gives `None`. A count in the data never sizes an
/// allocation: memory and loops are bounded by the bytes that are there.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(count)?;
        self.0 = tail;
        Some(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// bufio's varint; like there, `None` if a shorter form exists.
    pub(crate) fn varint(&mut self) -> Option<u64> {
        let (value, least) = match self.u8()? {
            0xff => (self.u64()?, 1 << 32),
            0xfe => (self.u32()?.into(), 1 << 16),
            0xfd => (self.array().map(u16::from_le_bytes)?.into(), 0xfd),
            short => (short.into(), 0),
        };
        (value >= least).then_some(value)
    }

    pub(crate) fn var_bytes(&mut self) -> Option<&'a [u8]> {
        let count = self.varint()?;
        self.take(usize::try_from(count).ok()?)
    }

    /// An output's address: version, length, hash (hsd lib/primitives/address.js, fromReader).
    pub(crate) fn address(&mut self) -> Option<Address> {
        let version = self.u8()?;
        let size = usize::from(self.u8()?);
        if !ADDRESS_HASH_BYTES.contains(&size) {
            return None;
        }
        Address::new(version, self.take(size)?.to_vec())
    }

    /// Skips a count and that many byte strings: a covenant's items or a witness.
    pub(crate) fn skip_items(&mut self) -> Option<()> {
        for _ in 0..self.varint()? {
            self.var_bytes()?;
        }
        Some(())
    }
}
