// SPDX-License-Identifier: GPL-2.0

//! Regions and offsets.
//!
//! A pool consists of regions: ranges of memory that were added one after the other. An [`Offset`] names a
//! byte of the pool without its address.

use core::{
    cmp::Ordering,
    fmt,
    num::NonZeroU64, //
};

/// The maximum number of regions of a pool.
pub const REGIONS_MAX: usize = 16;

/// The lowest bit of the region's number in an [`Offset`].
pub const REGION_SHIFT: u32 = 48;

/// A byte of a pool: the number of a region, and the byte in that region.
///
/// # Examples
///
/// ```
/// use slab_heap::Offset;
///
/// let offset = Offset::new(2, 4096);
/// assert_eq!((offset.region(), offset.byte()), (2, 4096));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Offset(
    /// The number that programs see, plus one. The sum is never 0, so `Option<Offset>` is as small as
    /// `Offset`.
    NonZeroU64,
);

const _: () = assert!(size_of::<Option<Offset>>() == size_of::<u64>());

impl Offset {
    /// An offset that is in no pool.
    pub(crate) const NOWHERE: Self = Self::new(u16::MAX, 0);

    /// Returns the offset of byte `byte` in region `region`. `byte` is below 2⁴⁸.
    #[inline(always)]
    #[must_use]
    pub const fn new(region: u16, byte: u64) -> Self {
        let bits = (region as u64) << REGION_SHIFT | byte;
        match NonZeroU64::new(bits.wrapping_add(1)) {
            Some(number) => Self(number),
            // Only the last byte of region `u16::MAX` leads here, and no pool has that many regions.
            None => Self(NonZeroU64::MAX),
        }
    }

    /// Returns the number of the region.
    #[inline(always)]
    #[must_use]
    pub const fn region(self) -> u16 {
        (self.to_bits() >> REGION_SHIFT) as u16
    }

    /// Returns the byte in the region.
    #[inline(always)]
    #[must_use]
    pub const fn byte(self) -> u64 {
        self.to_bits() & ((1 << REGION_SHIFT) - 1)
    }

    /// Returns the offset of the byte that is `bytes` bytes after this one, in the same region.
    #[inline(always)]
    pub(crate) const fn plus(self, bytes: usize) -> Self {
        match NonZeroU64::new(self.0.get().wrapping_add(bytes as u64)) {
            Some(number) => Self(number),
            // The sum overflows only past the last byte of region `u16::MAX`. No pool has that many regions.
            None => Self(NonZeroU64::MAX),
        }
    }

    /// Returns the number of bytes from `other` to this offset, or `None` if `other` is in another region or
    /// after this offset.
    #[inline(always)]
    pub(crate) const fn after(self, other: Self) -> Option<usize> {
        match self.to_bits().checked_sub(other.to_bits()) {
            Some(byte) if self.region() == other.region() => Some(byte as usize),
            _ => None,
        }
    }

    /// Returns the offset as the number that programs see.
    #[inline(always)]
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        self.0.get() - 1
    }
}

impl Ord for Offset {
    fn cmp(&self, other: &Self) -> Ordering {
        self.to_bits().cmp(&other.to_bits())
    }
}

impl PartialOrd for Offset {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Offset({}, {:#x})", self.region(), self.byte())
    }
}

/// The reason for which a region cannot be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegionError {
    /// The engine has no pool.
    NoPool,
    /// The pool has [`REGIONS_MAX`] regions.
    TooMany,
    /// The start does not have the alignment that the engine needs, or is the null address.
    Misaligned,
    /// The length is zero, not a multiple of the unit of the engine, or too large for the engine.
    BadLength,
    /// The end is past the end of the address space.
    Overflow,
    /// The range shares bytes with a region of the pool.
    Overlap,
    /// The calling process has a fatal signal.
    Interrupted,
}

/// A range of addresses.
///
/// # Invariants
///
/// `start + bytes` does not overflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct AddressRange {
    start: usize,
    bytes: usize,
}

impl AddressRange {
    /// Returns whether all of the `bytes` bytes at `address` lie in the range.
    fn holds(&self, address: usize, bytes: usize) -> bool {
        address
            .checked_sub(self.start)
            .and_then(|byte| self.bytes.checked_sub(byte))
            .is_some_and(|rest| bytes <= rest)
    }
}

/// The regions of a pool.
#[derive(Clone, Debug)]
pub struct Regions {
    ranges: [AddressRange; REGIONS_MAX],
    count: usize,
}

impl Regions {
    /// Returns a table without regions.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            // INVARIANT: `0 + 0` does not overflow.
            ranges: [AddressRange { start: 0, bytes: 0 }; REGIONS_MAX],
            count: 0,
        }
    }

    /// Adds the `bytes` bytes at `start` and returns the region's number.
    ///
    /// # Errors
    ///
    /// [`RegionError::TooMany`], [`RegionError::Overflow`] or [`RegionError::Overlap`]. The table is then
    /// unchanged.
    pub fn add(&mut self, start: usize, bytes: usize) -> Result<u16, RegionError> {
        let end = start.checked_add(bytes).ok_or(RegionError::Overflow)?;
        if self
            .iter()
            .any(|range| start < range.start + range.bytes && range.start < end)
        {
            return Err(RegionError::Overlap);
        }
        let slot = self
            .ranges
            .get_mut(self.count)
            .ok_or(RegionError::TooMany)?;
        // INVARIANT: `start + bytes` does not overflow: `checked_add` computed the sum above.
        *slot = AddressRange { start, bytes };
        self.count += 1;
        Ok((self.count - 1) as u16)
    }

    /// Returns the number of regions.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Returns the sum of the sizes of all regions, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.iter().map(|range| range.bytes).sum()
    }

    /// Returns the size of the largest region in bytes.
    #[must_use]
    pub fn largest(&self) -> usize {
        self.iter().map(|range| range.bytes).max().unwrap_or(0)
    }

    /// Returns the offset of the `bytes` bytes at `address`, if all of them lie in one region.
    #[must_use]
    pub fn offset(&self, address: usize, bytes: usize) -> Option<Offset> {
        let region = self.iter().position(|range| range.holds(address, bytes))?;
        let byte = address - self.ranges[region].start;
        Some(Offset::new(region as u16, byte as u64))
    }

    fn iter(&self) -> impl Iterator<Item = &AddressRange> {
        self.ranges[..self.count].iter()
    }
}

impl Default for Regions {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_is_found_in_its_region() {
        let mut regions = Regions::new();
        assert_eq!(regions.add(0x10_0000, 0x1000), Ok(0));
        assert_eq!(regions.add(0x8000, 0x2000), Ok(1));
        assert_eq!(regions.offset(0x10_0000, 1), Some(Offset::new(0, 0)));
        assert_eq!(regions.offset(0x9fff, 1), Some(Offset::new(1, 0x1fff)));
        assert_eq!(
            (regions.count(), regions.bytes(), regions.largest()),
            (2, 0x3000, 0x2000)
        );
    }

    #[test]
    fn only_a_byte_of_the_same_region_is_behind_another() {
        let bytes = |from: (u16, u64), to: (u16, u64)| {
            Offset::new(to.0, to.1).after(Offset::new(from.0, from.1))
        };
        assert_eq!(bytes((1, 4096), (1, 4096)), Some(0));
        assert_eq!(bytes((1, 4096), (1, 5000)), Some(904));
        assert_eq!(bytes((1, 4096), (1, 4095)), None);
        // The bytes of the first pair are less than 2⁴⁸ apart as numbers, the bytes of the second pair more.
        assert_eq!(bytes((0, 4096), (1, 0)), None);
        assert_eq!(bytes((0, 0), (1, 4096)), None);
        assert_eq!(bytes((1, 0), (0, 4096)), None);
    }

    #[test]
    fn a_range_outside_or_across_the_end_has_no_offset() {
        let mut regions = Regions::new();
        assert_eq!(regions.add(0x1000, 0x1000), Ok(0));
        for (address, bytes) in [(0xfff, 1), (0x2000, 1), (0x1fff, 2), (0x1000, usize::MAX)] {
            assert_eq!(
                regions.offset(address, bytes),
                None,
                "{address:#x} + {bytes:#x}"
            );
        }
    }

    #[test]
    fn overlapping_overflowing_and_surplus_regions_are_refused() {
        let mut regions = Regions::new();
        assert_eq!(regions.add(0x4000, 0x1000), Ok(0));
        assert_eq!(regions.add(0x4fff, 0x1000), Err(RegionError::Overlap));
        assert_eq!(regions.add(0x3001, 0x1000), Err(RegionError::Overlap));
        assert_eq!(regions.add(usize::MAX, 2), Err(RegionError::Overflow));
        for n in 1..REGIONS_MAX {
            assert_eq!(regions.add(0x10_0000 * n, 0x1000), Ok(n as u16));
        }
        assert_eq!(regions.add(0x4000_0000, 0x1000), Err(RegionError::TooMany));
        assert_eq!(regions.count(), REGIONS_MAX);
    }
}
