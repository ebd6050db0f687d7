// SPDX-License-Identifier: GPL-2.0

//! The ABI, and what the kernel's own types look like in it.

use kernel::{
    bindings,
    transmute::{
        AsBytes,
        FromBytes, //
    }, //
};
use slab_heap::{
    Cost, Offset, Path, Refusal,
    check::Rule,
    stats::{
        BuddyStats,
        ClassStats,
        Totals,
        Visitor, //
    },
};
use slab_session::{
    Cause,
    Tally,
    errno, //
};

#[expect(
    non_camel_case_types,
    reason = "made by bindgen; the documentation is in slablab.h"
)]
#[allow(
    dead_code,
    unreachable_pub,
    clippy::undocumented_unsafe_blocks,
    reason = "made by bindgen: the whole ABI, of which the module needs a part"
)]
mod generated {
    include!("uapi/slablab.rs");
}

pub(crate) use generated::*;

/// A structure of the ABI that programs pass to a command.
pub(crate) trait Argument: FromBytes + AsBytes + Default {
    /// Its size in the first version of the ABI: no caller's is shorter.
    const SIZE_VER1: usize;
}

/// Declares which structures are arguments, and since which size.
macro_rules! arguments {
    ($($name:ident: $size:ident,)+) => {$(
        // What follows may grow, and will have to tell its versions apart then.
        const _: () = assert!(size_of::<$name>() == $size as usize);

        // SAFETY: All fields are unsigned integers, or structures and arrays of these, for which
        // any bits will do.
        unsafe impl FromBytes for $name {}

        // SAFETY: As above, and without padding: `make test` compiles the header with -Wpadded.
        unsafe impl AsBytes for $name {}

        impl Argument for $name {
            const SIZE_VER1: usize = $size as usize;
        }
    )+};
}

arguments! {
    slablab_info: SLABLAB_INFO_SIZE_VER1,
    slablab_bind: SLABLAB_BIND_SIZE_VER1,
    slablab_alloc: SLABLAB_ALLOC_SIZE_VER1,
    slablab_realloc: SLABLAB_REALLOC_SIZE_VER1,
    slablab_stats: SLABLAB_STATS_SIZE_VER1,
    slablab_check: SLABLAB_CHECK_SIZE_VER1,
    slablab_extend: SLABLAB_EXTEND_SIZE_VER1,
}

// The error numbers and causes of `slab_session` are the kernel's and the ABI's.
const _: () = {
    assert!(errno::ENOENT == bindings::ENOENT as i32);
    assert!(errno::ENXIO == bindings::ENXIO as i32);
    assert!(errno::ENOMEM == bindings::ENOMEM as i32);
    assert!(errno::EBUSY == bindings::EBUSY as i32);
    assert!(errno::EINVAL == bindings::EINVAL as i32);
    assert!(errno::EOPNOTSUPP == bindings::EOPNOTSUPP as i32);
    assert!(errno::EDQUOT == bindings::EDQUOT as i32);
    assert!(Cause::TooBig as u32 == SLABLAB_CAUSE_TOO_BIG);
    assert!(Cause::Exhausted as u32 == SLABLAB_CAUSE_EXHAUSTED);
    assert!(Cause::Fragmented as u32 == SLABLAB_CAUSE_FRAGMENTED);
    assert!(Cause::Quota as u32 == SLABLAB_CAUSE_QUOTA);
    assert!(Cause::Unsupported as u32 == SLABLAB_CAUSE_UNSUPPORTED);
    assert!(Cause::Tables as u32 == SLABLAB_CAUSE_TABLES);
    assert!(Cause::END <= SLABLAB_CAUSES as usize);
};

/// [`SLABLAB_NO_OFFSET`] as wide as an offset is; bindgen makes an `int` of it.
pub(crate) const NO_OFFSET: u64 = SLABLAB_NO_OFFSET as i64 as u64;

/// Returns an offset as programs see it.
pub(crate) fn offset(offset: Option<Offset>) -> u64 {
    offset.map_or(NO_OFFSET, Offset::to_bits)
}

impl From<Cost> for slablab_cost {
    fn from(cost: Cost) -> Self {
        let path = match cost.path {
            Path::None => SLABLAB_PATH_NONE,
            Path::Slab => SLABLAB_PATH_SLAB,
            Path::Growth => SLABLAB_PATH_GROWTH,
            Path::Buddy => SLABLAB_PATH_BUDDY,
            Path::Kernel => SLABLAB_PATH_KERNEL,
            Path::InPlace => SLABLAB_PATH_IN_PLACE,
        };
        Self {
            path: path as u8,
            cause: SLABLAB_CAUSE_NONE as u8,
            class_index: cost.class.unwrap_or(SLABLAB_NO_CLASS as u8),
            order: cost.order.unwrap_or(SLABLAB_NO_ORDER as u8),
            splits: cost.splits.unwrap_or(SLABLAB_UNKNOWN as u16),
            merges: cost.merges.unwrap_or(SLABLAB_UNKNOWN as u16),
        }
    }
}

impl From<Cause> for slablab_cost {
    /// Makes the cost of what was refused.
    fn from(cause: Cause) -> Self {
        Self {
            cause: cause as u8,
            ..Cost::default().into()
        }
    }
}

/// Returns the number of a rule.
pub(crate) fn rule(rule: Rule) -> u32 {
    match rule {
        Rule::ListLength => SLABLAB_RULE_LIST_LENGTH,
        Rule::BlockInPool => SLABLAB_RULE_BLOCK_IN_POOL,
        Rule::BlockAligned => SLABLAB_RULE_BLOCK_ALIGNED,
        Rule::ClassCounters => SLABLAB_RULE_CLASS_COUNTERS,
        Rule::BuddyCounters => SLABLAB_RULE_BUDDY_COUNTERS,
        Rule::PoolBytes => SLABLAB_RULE_POOL_BYTES,
        Rule::LiveBlocks => SLABLAB_RULE_LIVE_BLOCKS,
    }
}

impl Visitor for slablab_stats {
    fn totals(&mut self, totals: &Totals) {
        self.regions = totals.regions;
        self.total_bytes = totals.total_bytes;
        self.used_bytes = totals.used_bytes;
        self.available_bytes = totals.available_bytes;
        self.pool_bytes = totals.pool_bytes;
        self.live_bytes = totals.live_bytes;
        self.cached_bytes = totals.cached_bytes;
        self.free_bytes = totals.free_bytes;
        self.requested_bytes = totals.requested_bytes;
        self.live_blocks = totals.live_blocks;
        self.allocations = totals.allocations;
        self.frees = totals.frees;
        for refusal in Refusal::ALL {
            self.refusals[Cause::from(refusal) as usize] = totals.refusals[refusal as usize];
        }
    }

    fn class(&mut self, index: u8, class: &ClassStats) {
        if let Some(slot) = self.classes.get_mut(usize::from(index)) {
            *slot = slablab_class_stats {
                block_bytes: class.block_bytes,
                total_blocks: class.total_blocks,
                used_blocks: class.used_blocks,
                growths: class.growths,
            };
            self.class_count = u32::from(index) + 1;
        }
    }

    fn buddy(&mut self, buddy: &BuddyStats) {
        self.buddy_user_bytes = buddy.user_bytes;
        self.buddy_actual_bytes = buddy.actual_bytes;
        self.buddy_total_bytes = buddy.total_bytes;
    }
}

impl slablab_stats {
    /// Adds the session's share.
    pub(crate) fn set_session(&mut self, tally: &Tally) {
        self.session_blocks = tally.blocks.into();
        self.session_bytes = tally.bytes as u64;
        self.session_allocations = tally.allocations;
        self.session_frees = tally.frees;
        self.session_reallocations = tally.reallocations;
        for (slot, count) in self.session_refusals.iter_mut().zip(tally.refusals) {
            *slot = count;
        }
    }
}
