// SPDX-License-Identifier: GPL-2.0

//! The rules that an allocator must keep, as a learner names them.

use serde::{
    Deserialize,
    Serialize, //
};
use slablab_lab::{
    oracle::Violation,
    uapi::AllocatorRule, //
};

/// A rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rule {
    /// A block lies in the pool.
    InPool,
    /// A block begins at a multiple of its alignment.
    Aligned,
    /// Two live blocks share no byte.
    Disjoint,
    /// The allocator accesses only memory and notes that exist.
    AccessInPool,
    /// The allocator does not access live blocks.
    Untouched,
    /// The contents of a block stay.
    Contents,
    /// Each request ends.
    Ends,
    /// A request that fits into the free memory is served.
    NoMemoryLost,
    /// The allocator's own check finds nothing.
    OwnCheck,
}

impl Rule {
    /// All rules.
    pub const ALL: [Self; 9] = [
        Self::InPool,
        Self::Aligned,
        Self::Disjoint,
        Self::AccessInPool,
        Self::Untouched,
        Self::Contents,
        Self::Ends,
        Self::NoMemoryLost,
        Self::OwnCheck,
    ];

    /// Returns the name.
    pub fn name(self) -> &'static str {
        match self {
            Self::InPool => "in-pool",
            Self::Aligned => "aligned",
            Self::Disjoint => "disjoint",
            Self::AccessInPool => "access-in-pool",
            Self::Untouched => "untouched",
            Self::Contents => "contents",
            Self::Ends => "ends",
            Self::NoMemoryLost => "no-memory-lost",
            Self::OwnCheck => "own-check",
        }
    }

    /// Returns the rule with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rule| rule.name() == name)
    }

    /// Returns the rule as a sentence.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::InPool => "A block lies in the pool, from its first byte to its last.",
            Self::Aligned => "A block begins at a multiple of the requested alignment.",
            Self::Disjoint => {
                "A new block, or a block that grows, shares no byte with another live block."
            }
            Self::AccessInPool => {
                "The allocator accesses only words of the pool and notes of pages that exist."
            }
            Self::Untouched => "The allocator does not access the memory of live blocks.",
            Self::Contents => "The contents of a block stay until it is freed; new bytes are zero.",
            Self::Ends => "Each request ends, without a panic.",
            Self::NoMemoryLost => {
                "No memory is lost: each request is served that the sound allocator serves."
            }
            Self::OwnCheck => {
                "The allocator's data agree with each other: the allocator's own check finds nothing."
            }
        }
    }

    /// Returns where a learner can see that a rule of this kind is broken.
    pub fn place(self) -> &'static str {
        match self {
            Self::InPool | Self::Aligned | Self::Disjoint => {
                "the offsets and the sizes of the blocks that are live at that moment"
            }
            Self::AccessInPool | Self::Untouched => {
                "the memory that the allocator itself reads and writes"
            }
            Self::Contents => "the bytes of the blocks",
            Self::Ends | Self::NoMemoryLost => "whether requests end and are served",
            Self::OwnCheck => "the sentence with which the allocator's own check answers",
        }
    }

    /// Returns the rule that a violation breaks. `rule` is the rule that the supervisor of the allocator names.
    pub fn of(violation: &Violation, rule: Option<AllocatorRule>) -> Self {
        match violation {
            Violation::Allocator(_) => Self::of_allocator(rule),
            Violation::OutsidePool { .. } => Self::InPool,
            Violation::Misaligned { .. } => Self::Aligned,
            Violation::Overlap { .. } => Self::Disjoint,
            Violation::NeverServed { .. } => Self::NoMemoryLost,
            Violation::NotZero { .. } | Violation::Corrupt { .. } => Self::Contents,
            _ => Self::OwnCheck,
        }
    }

    fn of_allocator(rule: Option<AllocatorRule>) -> Self {
        match rule {
            Some(AllocatorRule::BlockInPool) => Self::InPool,
            Some(AllocatorRule::BlockAligned) => Self::Aligned,
            Some(AllocatorRule::BlockDisjoint) => Self::Disjoint,
            Some(
                AllocatorRule::AccessInPool
                | AllocatorRule::AccessAligned
                | AllocatorRule::NoteExists,
            ) => Self::AccessInPool,
            Some(AllocatorRule::AccessOutsideOfBlocks) => Self::Untouched,
            Some(AllocatorRule::CallEnds) => Self::Ends,
            _ => Self::OwnCheck,
        }
    }
}
