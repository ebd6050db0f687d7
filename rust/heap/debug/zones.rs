// SPDX-License-Identifier: GPL-2.0

//! Red zones and poison: the values of the bytes around a block and of free memory.
//!
//! The values are those of `include/linux/poison.h`, so that a memory dump looks like a dump of SLUB.

use core::{
    alloc::Layout,
    ptr::NonNull,
    slice, //
};

use crate::PAGE_BYTES;

/// The value of free memory: `POISON_FREE`.
pub(super) const POISON: u8 = 0x6b;

/// The value of a red zone: `SLUB_RED_ACTIVE`.
pub(super) const RED: u8 = 0xcc;

/// The minimum length of a red zone in bytes.
pub(super) const ZONE: usize = 64;

/// log2 of [`ZONE`].
pub(super) const ZONE_LOG2: u8 = ZONE.ilog2() as u8;

/// The minimum alignment of a block.
pub(super) const WORD: usize = size_of::<u64>();

/// The layout of a padded block: the block with its red zones, as requested from the engine.
///
/// ```text
/// │◀── front ──▶│◀─ size ─▶│◀── rest, at least ZONE ──▶│
/// │  RED … RED  │  block   │ RED …                  RED │
/// │◀────────────── engine.usable_size(layout) ─────────────▶│
/// ```
#[derive(Clone, Copy, Debug)]
pub(super) struct PaddedLayout {
    /// The layout of the padded block.
    pub(super) layout: Layout,
    /// The length of the red zone in front of the block, a multiple of the block's alignment.
    pub(super) front: usize,
    /// The requested size of the block.
    pub(super) size: usize,
}

impl PaddedLayout {
    /// Returns the padded layout of a block, or `None` if it would exceed the address space.
    pub(super) fn of(layout: Layout) -> Option<Self> {
        Self::with_zone(layout, ZONE_LOG2)
    }

    /// Returns the padded layout of a block with at least 2^`zone_log2` bytes of red zone behind it.
    pub(super) fn with_zone(layout: Layout, zone_log2: u8) -> Option<Self> {
        let zone = 1_usize.checked_shl(zone_log2.into())?;
        let align = layout.align().max(WORD);
        let front = align.max(ZONE);
        let bytes = layout.size().checked_add(front)?.checked_add(zone)?;
        Some(Self {
            layout: Layout::from_size_align(bytes, align).ok()?,
            front,
            size: layout.size(),
        })
    }

    /// Returns the index in the padded block of the first byte behind the block.
    pub(super) fn end(&self) -> usize {
        self.front + self.size
    }
}

/// Changed bytes of a red zone or of free memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Damage {
    /// The index of the first changed byte.
    pub(super) first: usize,
    /// The number of changed bytes.
    pub(super) bytes: usize,
}

/// Memory that only the holder of the value accesses.
///
/// # Invariants
///
/// `bytes` bytes from `start` on are valid for reads and writes, and nothing else accesses them while
/// the value is used.
#[derive(Clone, Copy, Debug)]
pub(super) struct RawBytes {
    start: NonNull<u8>,
    bytes: usize,
}

impl RawBytes {
    /// Returns a value for the `bytes` bytes from `start` on.
    ///
    /// # Safety
    ///
    /// `bytes` bytes from `start` on are valid for reads and writes, and nothing else accesses them while the
    /// value is used.
    pub(super) unsafe fn new(start: NonNull<u8>, bytes: usize) -> Self {
        // INVARIANT: The contract of this function is the type invariant.
        Self { start, bytes }
    }

    /// Returns the first byte.
    pub(super) fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// Returns the number of bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the bytes from `begin` to `end`, both limited to the length.
    fn part(&self, begin: usize, end: usize) -> &[u8] {
        let end = end.min(self.bytes);
        let begin = begin.min(end);
        // SAFETY: By the type invariant the memory is readable and nothing writes it; both ends are
        // limited to its length.
        unsafe { slice::from_raw_parts(self.start.add(begin).as_ptr(), end - begin) }
    }

    /// Writes `value` to the bytes from `begin` to `end`, both limited to the length.
    pub(super) fn fill(&self, begin: usize, end: usize, value: u8) {
        let end = end.min(self.bytes);
        let begin = begin.min(end);
        // SAFETY: By the type invariant the memory is writable and nothing else accesses it; both ends
        // are limited to its length.
        unsafe { self.start.add(begin).write_bytes(value, end - begin) };
    }

    /// Writes the red zones of a padded block.
    pub(super) fn write_red_zones(&self, padded: &PaddedLayout) {
        self.fill(0, padded.front, RED);
        self.fill(padded.end(), self.bytes, RED);
    }

    /// Returns the damage of the red zone in front of the block.
    pub(super) fn front_damage(&self, padded: &PaddedLayout) -> Option<Damage> {
        damage(self.part(0, padded.front), RED, |_| false)
    }

    /// Returns the damage of the red zone behind the block.
    pub(super) fn back_damage(&self, padded: &PaddedLayout) -> Option<Damage> {
        let found = damage(self.part(padded.end(), self.bytes), RED, |_| false)?;
        Some(Damage {
            first: padded.end() + found.first,
            ..found
        })
    }

    /// Returns the damage of the poison, in free memory that begins at `region_byte` of its region.
    ///
    /// Bytes that the engine may write in free memory are ignored: the first `engine_bytes` bytes of the
    /// memory and of each page.
    pub(super) fn poison_damage(&self, region_byte: u64, engine_bytes: usize) -> Option<Damage> {
        let is_engine_byte = |byte: usize| {
            let in_page = (region_byte as usize).wrapping_add(byte) % PAGE_BYTES;
            byte < engine_bytes || in_page < engine_bytes
        };
        damage(self.part(0, self.bytes), POISON, is_engine_byte)
    }
}

impl RawBytes {
    /// Returns the index of the first byte that is not `value` and not `ignored`.
    pub(super) fn first_other(&self, value: u8, ignored: impl Fn(usize) -> bool) -> Option<usize> {
        damage(self.part(0, self.bytes), value, ignored).map(|damage| damage.first)
    }
}

/// Returns the index of the first byte that is not `value` and not `ignored`, and the number of such bytes.
fn damage(bytes: &[u8], value: u8, ignored: impl Fn(usize) -> bool) -> Option<Damage> {
    let expected = [value; WORD];
    let mut found: Option<Damage> = None;
    for (index, word) in bytes.chunks(WORD).enumerate() {
        // Fast path: undamaged memory is compared word by word.
        if *word == expected[..word.len()] {
            continue;
        }
        let begin = index * WORD;
        for (byte, _) in (begin..).zip(word).filter(|(_, byte)| **byte != value) {
            if !ignored(byte) {
                let damage = found.get_or_insert(Damage {
                    first: byte,
                    bytes: 0,
                });
                damage.bytes += 1;
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_padded_block_has_both_zones_and_the_alignment() {
        for (size, align) in [(1, 1), (7, 8), (100, 64), (5000, 4096), (1, 1 << 20)] {
            let padded = PaddedLayout::of(Layout::from_size_align(size, align).unwrap()).unwrap();
            assert!(padded.front >= ZONE && padded.front % align.max(WORD) == 0);
            assert!(padded.layout.align() >= align);
            assert!(padded.layout.size() - padded.end() >= ZONE);
        }
        let most = Layout::from_size_align(isize::MAX as usize, 1).unwrap();
        assert!(PaddedLayout::of(most).is_none());
    }

    #[test]
    fn damage_is_found_to_the_byte() {
        let mut bytes = [RED; 100];
        assert_eq!(damage(&bytes, RED, |_| false), None);
        bytes[97] = 0;
        bytes[99] = 0;
        let found = Damage {
            first: 97,
            bytes: 2,
        };
        assert_eq!(damage(&bytes, RED, |_| false), Some(found));
        let rest = Damage {
            first: 99,
            bytes: 1,
        };
        assert_eq!(damage(&bytes, RED, |byte| byte == 97), Some(rest));
    }
}
