// SPDX-License-Identifier: GPL-2.0

//! The cost of an operation: its path, and the blocks that were split and coalesced.

/// The path by which an engine served an operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Path {
    /// The request was refused.
    #[default]
    None = 0,
    /// A slab, without a growth.
    Slab = 1,
    /// A slab that took memory from the buddy system first.
    Growth = 2,
    /// The buddy system.
    Buddy = 3,
    /// The kernel's own allocator.
    Kernel = 4,
    /// A resize in place.
    InPlace = 5,
    /// A magazine of the current CPU.
    Magazine = 6,
    /// A path of an engine that has neither slabs nor a buddy system.
    Other = 7,
    /// The depot, which exchanged blocks with a magazine of the current CPU.
    Depot = 8,
}

/// The cost of an operation.
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
// The order of the fields is that of `struct slablab_cost`, so that a reply copies a cost as one word.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Cost {
    // The number of a `Path`. If this field were a `Path`, the compiler would represent the `None` of an
    // `Option<Allocated>` by an invalid path, and a caller would compare the path instead of the address,
    // which takes 14 more instructions.
    path: u8,
    // Always 0. The ABI has the field `cause` in this place.
    reserved: u8,
    // A field that does not apply, or that the engine does not know, is `UNKNOWN`. `Option<u8>` would have
    // twice the size, and every operation returns a cost.
    class: u8,
    order: u8,
    splits: u8,
    merges: u8,
    fragmentation: u16,
}

const _: () = assert!(size_of::<Cost>() == 8);

/// The value of a field that is `None`.
const UNKNOWN: u8 = u8::MAX;

impl Cost {
    /// Returns the cost of an operation of which only the path is known.
    #[inline(always)]
    #[must_use]
    pub const fn new(path: Path) -> Self {
        Self {
            path: path as u8,
            reserved: 0,
            class: UNKNOWN,
            order: UNKNOWN,
            splits: UNKNOWN,
            merges: UNKNOWN,
            fragmentation: 0,
        }
    }

    /// Returns the path of the operation.
    #[must_use]
    pub const fn path(self) -> Path {
        match self.path {
            1 => Path::Slab,
            2 => Path::Growth,
            3 => Path::Buddy,
            4 => Path::Kernel,
            5 => Path::InPlace,
            6 => Path::Magazine,
            7 => Path::Other,
            8 => Path::Depot,
            _ => Path::None,
        }
    }

    /// Returns the size class, as numbered by [`Visitor::class`](crate::stats::Visitor::class).
    #[must_use]
    pub const fn class(self) -> Option<u8> {
        known(self.class)
    }

    /// Returns the order of the block of the buddy system: log2 of its pages.
    #[must_use]
    pub const fn order(self) -> Option<u8> {
        known(self.order)
    }

    /// Returns the number of free blocks that were split, or free runs in `extent`, at most 254.
    #[must_use]
    pub const fn splits(self) -> Option<u8> {
        known(self.splits)
    }

    /// Returns the number of pairs of buddies that were coalesced, or of neighbours in `extent`, at most 254.
    #[must_use]
    pub const fn merges(self) -> Option<u8> {
        known(self.merges)
    }

    /// Returns Linux's fragmentation index of a request that was refused as
    /// [`Refusal::Fragmented`](crate::Refusal::Fragmented), else 0. The index is near 0 if few pages are
    /// free, and near 1000 if the free pages are in many pieces.
    #[must_use]
    pub const fn fragmentation(self) -> u16 {
        self.fragmentation
    }

    /// Sets the size class.
    #[inline(always)]
    #[must_use]
    pub const fn with_class(self, class: Option<u8>) -> Self {
        let class = or_unknown(class);
        Self { class, ..self }
    }

    /// Sets the order of the buddy block.
    #[inline]
    #[must_use]
    pub const fn with_order(self, order: Option<u8>) -> Self {
        let order = or_unknown(order);
        Self { order, ..self }
    }

    /// Sets the number of buddy blocks that were split, and of pairs of buddies that were coalesced.
    #[inline]
    #[must_use]
    pub const fn with_work(self, splits: u16, merges: u16) -> Self {
        self.with_splits(splits).with_merges(merges)
    }

    /// Sets the number of buddy blocks that were split.
    #[inline]
    #[must_use]
    pub const fn with_splits(self, splits: u16) -> Self {
        let splits = saturated(splits);
        Self { splits, ..self }
    }

    /// Sets the number of pairs of buddies that were coalesced.
    #[inline]
    #[must_use]
    pub const fn with_merges(self, merges: u16) -> Self {
        let merges = saturated(merges);
        Self { merges, ..self }
    }

    /// Sets the fragmentation index.
    #[must_use]
    pub const fn with_fragmentation(self, fragmentation: u16) -> Self {
        Self {
            fragmentation,
            ..self
        }
    }
}

#[inline(always)]
const fn known(field: u8) -> Option<u8> {
    match field {
        UNKNOWN => None,
        field => Some(field),
    }
}

#[inline(always)]
const fn or_unknown(field: Option<u8>) -> u8 {
    match field {
        Some(field) => field,
        None => UNKNOWN,
    }
}

/// Returns a number as a byte. A number that is [`UNKNOWN`] or larger becomes `UNKNOWN - 1`.
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
        let fields = |cost: Cost| {
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
        assert_eq!(fields(whole), all);
        let less = whole.with_class(None).with_order(None);
        assert_eq!(fields(less), (all.0, None, None, all.3, all.4));
        for path in [
            Path::None,
            Path::Slab,
            Path::Growth,
            Path::Buddy,
            Path::Kernel,
            Path::InPlace,
            Path::Magazine,
            Path::Other,
            Path::Depot,
        ] {
            let none = (path, None, None, (None, None), 0);
            assert_eq!(fields(Cost::new(path)), none);
        }
        assert_eq!(fields(Cost::default()).0, Path::None);
    }

    #[test]
    fn numbers_that_are_too_large_are_cut_and_stay_known() {
        let cost = Cost::default().with_work(254, u16::MAX);
        assert_eq!((cost.splits(), cost.merges()), (Some(254), Some(254)));
        let cost = Cost::default().with_work(255, 0);
        assert_eq!((cost.splits(), cost.merges()), (Some(254), Some(0)));
    }
}
