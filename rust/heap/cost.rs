// SPDX-License-Identifier: GPL-2.0

//! The cost of a request: by which path it was served, and the work of the buddy system.

/// By which path a request was served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Path {
    /// Not at all.
    #[default]
    None = 0,
    /// From a free block of the slab.
    Slab = 1,
    /// From a slab that took memory from the buddy system first.
    Growth = 2,
    /// By the buddy system.
    Buddy = 3,
    /// By the kernel's own allocator.
    Kernel = 4,
    /// By the block that was there.
    InPlace = 5,
    /// From what the CPU keeps to itself.
    Magazine = 6,
    /// In a way of the engine's own, which has neither slabs nor a buddy system.
    Other = 7,
}

impl Path {
    /// All paths, in the order of their numbers.
    const ALL: [Self; 8] = [
        Self::None,
        Self::Slab,
        Self::Growth,
        Self::Buddy,
        Self::Kernel,
        Self::InPlace,
        Self::Magazine,
        Self::Other,
    ];
}

/// The cost of a request.
///
/// A field that does not apply, or that the engine does not know, is `None`.
///
/// Every operation returns one, so it is one word: the path, a byte that is 0, the class, the
/// order, the splits and the merges, each a byte that is 255 where it is `None`, and two bytes for
/// the fragmentation index. Programs see the same word.
///
/// # Invariants
///
/// The lowest byte is the number of a path.
///
/// # Examples
///
/// ```
/// use slab_heap::{Cost, Path};
///
/// let cost = Cost::new(Path::Growth).with_class(Some(7)).with_work(2, 0);
/// assert_eq!((cost.path(), cost.class(), cost.order()), (Path::Growth, Some(7), None));
/// assert_eq!((cost.splits(), cost.merges()), (Some(2), Some(0)));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Cost(u64);

const CLASS_SHIFT: u32 = 16;
const ORDER_SHIFT: u32 = 24;
const SPLITS_SHIFT: u32 = 32;
const MERGES_SHIFT: u32 = 40;
const FRAGMENTATION_SHIFT: u32 = 48;

/// The byte of a field that is `None`.
const UNKNOWN: u8 = u8::MAX;

impl Cost {
    /// Returns the cost of a path, with nothing else known.
    #[inline(always)]
    #[must_use]
    pub const fn new(path: Path) -> Self {
        // INVARIANT: The lowest byte is the path's number.
        Self(0xffff_ffff << CLASS_SHIFT | path as u64)
    }

    /// Returns the path that the request took.
    #[must_use]
    pub fn path(self) -> Path {
        let number = usize::from(self.0 as u8);
        // By the type invariant there is one.
        Path::ALL.get(number).copied().unwrap_or_default()
    }

    /// Returns the size class, as numbered by [`Visitor::class`](crate::stats::Visitor::class).
    #[must_use]
    pub const fn class(self) -> Option<u8> {
        self.byte(CLASS_SHIFT)
    }

    /// Returns the order (log2 of the bytes) of what the buddy system gave.
    #[must_use]
    pub const fn order(self) -> Option<u8> {
        self.byte(ORDER_SHIFT)
    }

    /// Returns how many larger buddy blocks were split, up to 254.
    #[must_use]
    pub const fn splits(self) -> Option<u8> {
        self.byte(SPLITS_SHIFT)
    }

    /// Returns how many pairs of buddies were merged, up to 254.
    #[must_use]
    pub const fn merges(self) -> Option<u8> {
        self.byte(MERGES_SHIFT)
    }

    /// Returns, of a request that was refused as
    /// [`Refusal::Fragmented`](crate::Refusal::Fragmented), Linux's fragmentation index, from 0
    /// (there is little) to 1000 (it is in many pieces); else 0.
    #[must_use]
    pub const fn fragmentation(self) -> u16 {
        (self.0 >> FRAGMENTATION_SHIFT) as u16
    }

    /// Sets the size class.
    #[inline(always)]
    #[must_use]
    pub const fn with_class(self, class: Option<u8>) -> Self {
        self.with_byte(CLASS_SHIFT, class)
    }

    /// Sets the order.
    #[inline]
    #[must_use]
    pub const fn with_order(self, order: Option<u8>) -> Self {
        self.with_byte(ORDER_SHIFT, order)
    }

    /// Sets how many buddy blocks were split and merged.
    #[inline]
    #[must_use]
    pub const fn with_work(self, splits: u16, merges: u16) -> Self {
        self.with_splits(splits).with_merges(merges)
    }

    /// Sets how many buddy blocks were split.
    #[inline]
    #[must_use]
    pub const fn with_splits(self, splits: u16) -> Self {
        self.with_byte(SPLITS_SHIFT, Some(saturated(splits)))
    }

    /// Sets how many pairs of buddies were merged.
    #[inline]
    #[must_use]
    pub const fn with_merges(self, merges: u16) -> Self {
        self.with_byte(MERGES_SHIFT, Some(saturated(merges)))
    }

    /// Sets the fragmentation index.
    #[must_use]
    pub const fn with_fragmentation(self, index: u16) -> Self {
        let rest = self.0 & !(0xffff << FRAGMENTATION_SHIFT);
        // INVARIANT: The lowest byte is as before.
        Self(rest | (index as u64) << FRAGMENTATION_SHIFT)
    }

    /// Returns the word.
    #[inline(always)]
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    #[inline(always)]
    const fn byte(self, shift: u32) -> Option<u8> {
        match (self.0 >> shift) as u8 {
            UNKNOWN => None,
            byte => Some(byte),
        }
    }

    #[inline(always)]
    const fn with_byte(self, shift: u32, byte: Option<u8>) -> Self {
        let byte = match byte {
            Some(byte) => byte,
            None => UNKNOWN,
        };
        // INVARIANT: The lowest byte is as before.
        Self(self.0 & !(0xff << shift) | (byte as u64) << shift)
    }
}

/// Returns a number as a byte that is not [`UNKNOWN`].
const fn saturated(number: u16) -> u8 {
    if number < UNKNOWN as u16 {
        number as u8
    } else {
        UNKNOWN - 1
    }
}

impl Default for Cost {
    #[inline]
    fn default() -> Self {
        Self::new(Path::None)
    }
}

impl core::fmt::Debug for Cost {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Cost")
            .field("path", &self.path())
            .field("class", &self.class())
            .field("order", &self.order())
            .field("splits", &self.splits())
            .field("merges", &self.merges())
            .field("fragmentation", &self.fragmentation())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_do_not_touch_each_other() {
        let whole = Cost::new(Path::Magazine)
            .with_class(Some(31))
            .with_order(Some(12))
            .with_work(3, 4)
            .with_fragmentation(777);
        let told = |cost: Cost| {
            let work = (cost.splits(), cost.merges());
            (
                cost.path(),
                cost.class(),
                cost.order(),
                work,
                cost.fragmentation(),
            )
        };
        let all = (Path::Magazine, Some(31), Some(12), (Some(3), Some(4)), 777);
        assert_eq!(told(whole), all);
        assert_eq!(whole.to_bits() >> 8 & 0xff, 0);
        let less = whole.with_class(None).with_order(None);
        assert_eq!(told(less), (all.0, None, None, all.3, all.4));
        for path in Path::ALL {
            let none = (path, None, None, (None, None), 0);
            assert_eq!(told(Cost::new(path)), none);
        }
        assert_eq!(told(Cost::default()).0, Path::None);
    }

    #[test]
    fn numbers_that_are_too_large_are_cut_and_stay_known() {
        let cost = Cost::default().with_work(254, u16::MAX);
        assert_eq!((cost.splits(), cost.merges()), (Some(254), Some(254)));
        let cost = Cost::default().with_work(255, 0);
        assert_eq!((cost.splits(), cost.merges()), (Some(254), Some(0)));
    }
}
