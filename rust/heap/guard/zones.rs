// SPDX-License-Identifier: GPL-2.0

//! Red zones and poison: what the bytes around a block are, and those of free memory.
//!
//! The values are those of `include/linux/poison.h`, so that a dump reads like one of SLUB's.

use core::{
    alloc::Layout,
    ptr::NonNull,
    slice, //
};

use crate::class::PAGE_BYTES;

/// What a byte of free memory is: `POISON_FREE`.
pub(super) const POISON: u8 = 0x6b;

/// What a byte of a red zone is: `SLUB_RED_ACTIVE`.
pub(super) const RED: u8 = 0xcc;

/// The bytes that a red zone has at least.
pub(super) const ZONE: usize = 64;

/// log2 of that.
pub(super) const ZONE_LOG2: u8 = ZONE.ilog2() as u8;

/// What addresses of blocks are multiples of.
pub(super) const WORD: usize = size_of::<u64>();

/// What the engine is asked for in place of a block, so that there is room for red zones.
///
/// ```text
/// │◀── front ──▶│◀─ size ─▶│◀── rest, at least ZONE ──▶│
/// │  RED … RED  │ the block│ RED …                  RED │
/// │◀────────────────── usable(whole) ─────────────────▶│
/// ```
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// The layout that the engine is asked for.
    pub(super) whole: Layout,
    /// The bytes in front of the block, a multiple of its alignment.
    pub(super) front: usize,
    /// The block's bytes.
    pub(super) size: usize,
}

impl Shape {
    /// Returns the shape for a block, unless that is too large for there to be one.
    pub(super) fn of(layout: Layout) -> Option<Self> {
        Self::with_zone(layout, ZONE_LOG2)
    }

    /// Returns the shape for a block with a red zone behind it of at least 2^`zone_log2` bytes.
    pub(super) fn with_zone(layout: Layout, zone_log2: u8) -> Option<Self> {
        let zone = 1_usize.checked_shl(zone_log2.into())?;
        let align = layout.align().max(WORD);
        let front = align.max(ZONE);
        let bytes = layout.size().checked_add(front)?.checked_add(zone)?;
        Some(Self {
            whole: Layout::from_size_align(bytes, align).ok()?,
            front,
            size: layout.size(),
        })
    }

    /// Returns the first byte behind the block, counted from the whole's first.
    pub(super) fn end(&self) -> usize {
        self.front + self.size
    }
}

/// Bytes that are not as they were left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Damage {
    /// The first of them.
    pub(super) first: usize,
    /// How many they are.
    pub(super) bytes: usize,
}

/// Memory that nobody else uses.
///
/// # Invariants
///
/// `bytes` bytes from `start` on are valid for reads and writes, and nobody else touches them while
/// the value is used.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whole {
    start: NonNull<u8>,
    bytes: usize,
}

impl Whole {
    /// Says that memory is the caller's.
    ///
    /// # Safety
    ///
    /// It keeps the type's invariant.
    pub(super) unsafe fn new(start: NonNull<u8>, bytes: usize) -> Self {
        // INVARIANT: By this function's contract.
        Self { start, bytes }
    }

    /// Returns the first byte.
    pub(super) fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// Returns how many bytes there are.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the bytes from `begin` to `end`, as far as there are such.
    fn part(&self, begin: usize, end: usize) -> &[u8] {
        let end = end.min(self.bytes);
        let begin = begin.min(end);
        // SAFETY: By the type invariant, as both ends are in the memory.
        unsafe { slice::from_raw_parts(self.start.add(begin).as_ptr(), end - begin) }
    }

    /// Writes `value` to the bytes from `begin` to `end`, as far as there are such.
    pub(super) fn fill(&self, begin: usize, end: usize, value: u8) {
        let end = end.min(self.bytes);
        let begin = begin.min(end);
        // SAFETY: By the type invariant, as both ends are in the memory.
        unsafe { self.start.add(begin).write_bytes(value, end - begin) };
    }

    /// Makes the bytes around a block of this shape red.
    pub(super) fn redden(&self, shape: &Shape) {
        self.fill(0, shape.front, RED);
        self.fill(shape.end(), self.bytes, RED);
    }

    /// Returns what of the front is not red.
    pub(super) fn front_damage(&self, shape: &Shape) -> Option<Damage> {
        damage(self.part(0, shape.front), RED, |_| false)
    }

    /// Returns what behind the block is not red.
    pub(super) fn back_damage(&self, shape: &Shape) -> Option<Damage> {
        let found = damage(self.part(shape.end(), self.bytes), RED, |_| false)?;
        Some(Damage {
            first: shape.end() + found.first,
            ..found
        })
    }

    /// Returns which of its bytes are not poison. The bytes that the engine writes are left out: the
    /// first `engine_bytes` of the memory, and of each page, counted from the region's first byte;
    /// `region_byte` is where the memory begins in the region.
    pub(super) fn poison_damage(&self, region_byte: u64, engine_bytes: usize) -> Option<Damage> {
        let is_engine_s = |byte: usize| {
            let in_page = (region_byte as usize).wrapping_add(byte) % PAGE_BYTES;
            byte < engine_bytes || in_page < engine_bytes
        };
        damage(self.part(0, self.bytes), POISON, is_engine_s)
    }
}

impl Whole {
    /// Returns the first byte that is not `value`, but for those that do not matter.
    pub(super) fn first_other(
        &self,
        value: u8,
        matters_not: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        damage(self.part(0, self.bytes), value, matters_not).map(|damage| damage.first)
    }
}

/// Returns which bytes are not `value`, but for those that do not matter.
fn damage(bytes: &[u8], value: u8, matters_not: impl Fn(usize) -> bool) -> Option<Damage> {
    let expected = [value; WORD];
    let mut found: Option<Damage> = None;
    for (index, word) in bytes.chunks(WORD).enumerate() {
        // Sound memory is looked at word by word.
        if *word == expected[..word.len()] {
            continue;
        }
        let begin = index * WORD;
        for (byte, _) in (begin..).zip(word).filter(|(_, byte)| **byte != value) {
            if !matters_not(byte) {
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
    fn a_block_keeps_its_alignment_between_zones() {
        for (size, align) in [(1, 1), (7, 8), (100, 64), (5000, 4096), (1, 1 << 20)] {
            let shape = Shape::of(Layout::from_size_align(size, align).unwrap()).unwrap();
            assert!(shape.front >= ZONE && shape.front % align.max(WORD) == 0);
            assert!(shape.whole.align() >= align);
            assert!(shape.whole.size() - shape.end() >= ZONE);
        }
        let most = Layout::from_size_align(isize::MAX as usize, 1).unwrap();
        assert!(Shape::of(most).is_none());
    }

    #[test]
    fn damage_is_told_to_the_byte() {
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
