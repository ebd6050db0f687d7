// SPDX-License-Identifier: GPL-2.0

//! The faults that debug mode detects.

/// A fault that debug mode detects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Bytes behind a block were written.
    Overflow,
    /// Bytes in front of a block were written.
    Underflow,
    /// Bytes of free memory were written.
    WriteAfterFree,
    /// A free block was freed.
    DoubleFree,
    /// An address inside of a block was freed.
    InteriorFree,
    /// An address outside of the pool was freed.
    ForeignFree,
    /// An address in the pool was freed at which no block has begun.
    InventedFree,
    /// An address was freed that is not a multiple of a word, so no block can begin there.
    UnalignedFree,
    /// A block was freed with a wrong size.
    WrongSizeFree,
    /// A free block was resized.
    ReallocAfterFree,
}

impl Fault {
    /// All faults, in the order of their numbers.
    pub const ALL: [Self; 10] = [
        Self::Overflow,
        Self::Underflow,
        Self::WriteAfterFree,
        Self::DoubleFree,
        Self::InteriorFree,
        Self::ForeignFree,
        Self::InventedFree,
        Self::UnalignedFree,
        Self::WrongSizeFree,
        Self::ReallocAfterFree,
    ];

    /// The number of faults.
    pub const COUNT: usize = Self::ALL.len();
}
