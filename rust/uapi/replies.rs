// SPDX-License-Identifier: GPL-2.0

//! Conversions from types of engines and sessions to structures of the ABI.
//!
//! The module and the command both compile this file, each with its own copy of `slablab.rs`, so
//! that `sim` and the device return equal structures for equal results.

use slab_heap::{
    Cost, Offset, Path, Refusal,
    check::{
        Broken,
        Rule, //
    },
    debug::{
        Fault,
        LOG_LEN,
        Misuse,
        Owner,
        Report, //
    },
    map::{
        Extent,
        Use, //
    },
    nospec,
    region::{
        REGION_SHIFT,
        REGIONS_MAX, //
    },
    stats::{
        BuddyStats,
        CLASSES_MAX,
        ClassStats,
        DebugStats,
        ORDERS_MAX,
        OrderStats,
        ShortRunStats,
        Totals,
        Visitor, //
    },
    violation::Supervise,
};
use slab_session::{
    BlockRef,
    EncodedOperation,
    Event,
    EventKind,
    EventOutcome,
    HANDLE_BITS,
    Handle,
    NO_ALIGN,
    Operation,
    RefusalCause,
    Reply,
    SessionError,
    SessionStats,
    errno, //
};

use super::*;

// The numbers of `slab_session`'s causes are those of the ABI.
const _: () = {
    assert!(RefusalCause::TooBig as u32 == SLABLAB_CAUSE_TOO_BIG);
    assert!(RefusalCause::Exhausted as u32 == SLABLAB_CAUSE_EXHAUSTED);
    assert!(RefusalCause::Fragmented as u32 == SLABLAB_CAUSE_FRAGMENTED);
    assert!(RefusalCause::Quota as u32 == SLABLAB_CAUSE_QUOTA);
    assert!(RefusalCause::Unsupported as u32 == SLABLAB_CAUSE_UNSUPPORTED);
    assert!(RefusalCause::Tables as u32 == SLABLAB_CAUSE_TABLES);
    assert!(RefusalCause::Injected as u32 == SLABLAB_CAUSE_INJECTED);
    assert!(RefusalCause::Busy as u32 == SLABLAB_CAUSE_BUSY);
    assert!(RefusalCause::Faulty as u32 == SLABLAB_CAUSE_FAULTY);
    assert!(RefusalCause::END <= SLABLAB_CAUSES as usize);
};

// The constants and the other numbers that are declared on both sides are equal.
const _: () = {
    assert!(REGION_SHIFT == SLABLAB_OFFSET_REGION_SHIFT);
    assert!(REGIONS_MAX == SLABLAB_REGIONS_MAX as usize);
    assert!(CLASSES_MAX <= SLABLAB_CLASSES_MAX as usize);
    assert!(ORDERS_MAX <= SLABLAB_ORDERS_MAX as usize);
    assert!(HANDLE_BITS + SLABLAB_POSITION_HANDLE_SHIFT == 63);
    assert!(LOG_LEN == SLABLAB_REPORTS_KEPT as usize);
    assert!(Fault::COUNT < SLABLAB_FAULTS as usize);
    assert!(EventKind::None as u32 == SLABLAB_EVENT_NONE);
    assert!(EventKind::Allocate as u32 == SLABLAB_EVENT_ALLOC);
    assert!(EventKind::Free as u32 == SLABLAB_EVENT_FREE);
    assert!(EventKind::Reallocate as u32 == SLABLAB_EVENT_REALLOC);
    assert!(EventKind::Revoke as u32 == SLABLAB_EVENT_REVOKE);
    assert!(NO_ALIGN as u32 == SLABLAB_NO_ALIGN);
};

/// Asserts that the enums of debug mode have the ABI's numbers minus 1, because 0 is "none".
macro_rules! numbered {
    ($($kind:ident { $($variant:ident: $number:ident,)+ })+) => {
        const _: () = {
            $($(assert!($kind::$variant as u32 + 1 == $number);)+)+
        };
    };
}

numbered! {
    Fault {
        Overflow: SLABLAB_FAULT_OVERFLOW,
        Underflow: SLABLAB_FAULT_UNDERFLOW,
        WriteAfterFree: SLABLAB_FAULT_WRITE_AFTER_FREE,
        DoubleFree: SLABLAB_FAULT_DOUBLE_FREE,
        InteriorFree: SLABLAB_FAULT_INTERIOR_FREE,
        ForeignFree: SLABLAB_FAULT_FOREIGN_FREE,
        InventedFree: SLABLAB_FAULT_INVENTED_FREE,
        UnalignedFree: SLABLAB_FAULT_UNALIGNED_FREE,
        WrongSizeFree: SLABLAB_FAULT_WRONG_SIZE_FREE,
        ReallocAfterFree: SLABLAB_FAULT_REALLOC_AFTER_FREE,
    }
    Misuse {
        SlabLinearOverflow: SLABLAB_MISUSE_SLAB_LINEAR_OVERFLOW,
        SlabLinearOverflow8: SLABLAB_MISUSE_SLAB_LINEAR_OVERFLOW_8,
        SlabLinearOverflow32: SLABLAB_MISUSE_SLAB_LINEAR_OVERFLOW_32,
        VmallocLinearOverflow: SLABLAB_MISUSE_VMALLOC_LINEAR_OVERFLOW,
        SlabLinearUnderflow: SLABLAB_MISUSE_SLAB_LINEAR_UNDERFLOW,
        WriteAfterFree: SLABLAB_MISUSE_WRITE_AFTER_FREE,
        WriteBuddyAfterFree: SLABLAB_MISUSE_WRITE_BUDDY_AFTER_FREE,
        SlabFreeDouble: SLABLAB_MISUSE_SLAB_FREE_DOUBLE,
        SlabFreeDoubleDelayed: SLABLAB_MISUSE_SLAB_FREE_DOUBLE_DELAYED,
        SlabFreeDoubleReused: SLABLAB_MISUSE_SLAB_FREE_DOUBLE_REUSED,
        SlabFreeInterior: SLABLAB_MISUSE_SLAB_FREE_INTERIOR,
        SlabFreeForeign: SLABLAB_MISUSE_SLAB_FREE_FOREIGN,
        SlabFreeInvented: SLABLAB_MISUSE_SLAB_FREE_INVENTED,
        SlabFreeUnaligned: SLABLAB_MISUSE_SLAB_FREE_UNALIGNED,
        SlabFreeCross: SLABLAB_MISUSE_SLAB_FREE_CROSS,
        SlabLinearOverflow1M: SLABLAB_MISUSE_SLAB_LINEAR_OVERFLOW_1M,
        ReallocAfterFree: SLABLAB_MISUSE_REALLOC_AFTER_FREE,
        ReadAfterFree: SLABLAB_MISUSE_READ_AFTER_FREE,
    }
}

/// Returns the misuse with this number in the ABI.
pub(crate) fn misuse(number: u32) -> Option<Misuse> {
    let index = (number as usize).checked_sub(1)?;
    if index >= Misuse::ALL.len() {
        return None;
    }
    // A program chose the number, so a speculative access must not use an index out of bounds.
    Some(Misuse::ALL[nospec::clamp(index, Misuse::ALL.len())])
}

impl From<Owner> for slablab_owner {
    fn from(owner: Owner) -> Self {
        Self {
            operation: owner.operation,
            pid: owner.pid,
            reserved: 0,
        }
    }
}

impl From<Report> for slablab_report {
    fn from(report: Report) -> Self {
        Self {
            number: report.number,
            fault: report.fault as u32 + 1,
            reserved: 0,
            offset: offset(report.offset),
            size: report.size as u64,
            named_size: report.named_size as u64,
            byte: report.byte as i64,
            damaged_bytes: report.damaged as u64,
            allocated: report.allocated.into(),
            freed: report.freed.into(),
            noticed: report.noticed.into(),
        }
    }
}

/// [`SLABLAB_NO_OFFSET`] with the width of an offset. Bindgen generates the constant as the `i32` -1.
pub(crate) const NO_OFFSET: u64 = SLABLAB_NO_OFFSET as i64 as u64;

/// Returns an offset in the ABI's form.
pub(crate) fn offset(offset: Option<Offset>) -> u64 {
    offset.map_or(NO_OFFSET, Offset::to_bits)
}

// The layout and the numbers of a `Cost` are those of a `slablab_cost`.
const _: () = {
    assert!(Path::None as u32 == SLABLAB_PATH_NONE);
    assert!(Path::Slab as u32 == SLABLAB_PATH_SLAB);
    assert!(Path::Growth as u32 == SLABLAB_PATH_GROWTH);
    assert!(Path::Buddy as u32 == SLABLAB_PATH_BUDDY);
    assert!(Path::Kernel as u32 == SLABLAB_PATH_KERNEL);
    assert!(Path::InPlace as u32 == SLABLAB_PATH_IN_PLACE);
    assert!(Path::Magazine as u32 == SLABLAB_PATH_MAGAZINE);
    assert!(Path::Other as u32 == SLABLAB_PATH_OTHER);
    assert!(Path::Depot as u32 == SLABLAB_PATH_DEPOT);
};

impl From<Cost> for slablab_cost {
    #[inline(always)]
    fn from(cost: Cost) -> Self {
        Self {
            path: cost.path() as u8,
            cause: SLABLAB_CAUSE_NONE as u8,
            class_index: cost.class().unwrap_or(SLABLAB_NO_CLASS as u8),
            order: cost.order().unwrap_or(SLABLAB_NO_ORDER as u8),
            splits: cost.splits().unwrap_or(SLABLAB_UNKNOWN as u8),
            merges: cost.merges().unwrap_or(SLABLAB_UNKNOWN as u8),
            fragmentation: cost.fragmentation(),
        }
    }
}

impl From<SessionError> for slablab_cost {
    /// Returns a cost with the cause of a refused request.
    fn from(denied: SessionError) -> Self {
        Self {
            cause: denied.cause().map_or(0, |cause| cause as u8),
            fragmentation: denied.fragmentation().unwrap_or(0),
            ..Cost::default().into()
        }
    }
}

/// Converts the event with this number.
pub(crate) fn event(number: u64, event: &Event) -> slablab_event {
    let (error, cost) = match event.outcome {
        EventOutcome::Served | EventOutcome::Pending => (0, event.cost.into()),
        EventOutcome::Failed(denied) => (denied.errno(), refusal_cost(denied)),
        EventOutcome::RolledBack => (errno::EFAULT, slablab_cost::default()),
    };
    slablab_event {
        number,
        time_ns: event.time_ns,
        thread: event.thread,
        cpu: event.cpu,
        kind: event.kind as u8,
        align_log2: event.align_log2,
        error: error as u32,
        handle: event.handle,
        size: event.size,
        usable: event.usable,
        offset: offset(event.offset),
        cost,
    }
}

/// Returns the cost in the reply to a refused request: zeros if the refusal has no cause.
pub(crate) fn refusal_cost(denied: SessionError) -> slablab_cost {
    match denied.cause() {
        Some(_) => denied.into(),
        None => slablab_cost::default(),
    }
}

/// Returns the free bytes of an engine's pool.
pub(crate) fn free_bytes(engine: &impl slab_heap::Engine) -> u64 {
    struct FreeBytes(u64);
    impl Visitor for FreeBytes {
        fn totals(&mut self, totals: &Totals) {
            self.0 = totals.free_bytes;
        }
    }
    let mut free = FreeBytes(0);
    engine.interfaces().statistics.visit(&mut free);
    free.0
}

/// Returns the reply to a check of `walked_blocks` free blocks.
pub(crate) fn check_reply(broken: Option<Broken>, walked_blocks: u64) -> slablab_check {
    let rule = match broken.map(|broken| broken.rule) {
        None => SLABLAB_RULE_NONE,
        Some(Rule::ListLength) => SLABLAB_RULE_LIST_LENGTH,
        Some(Rule::BlockInPool) => SLABLAB_RULE_BLOCK_IN_POOL,
        Some(Rule::BlockAligned) => SLABLAB_RULE_BLOCK_ALIGNED,
        Some(Rule::ClassCounters) => SLABLAB_RULE_CLASS_COUNTERS,
        Some(Rule::BuddyCounters) => SLABLAB_RULE_BUDDY_COUNTERS,
        Some(Rule::PoolBytes) => SLABLAB_RULE_POOL_BYTES,
        Some(Rule::LiveBlocks) => SLABLAB_RULE_LIVE_BLOCKS,
        Some(Rule::Partition) => SLABLAB_RULE_PARTITION,
        Some(Rule::FreeBlocks) => SLABLAB_RULE_FREE_BLOCKS,
        Some(Rule::Merged) => SLABLAB_RULE_MERGED,
        Some(Rule::Bitmap) => SLABLAB_RULE_BITMAP,
        Some(Rule::Lists) => SLABLAB_RULE_LISTS,
        Some(Rule::Magazines) => SLABLAB_RULE_MAGAZINES,
        Some(Rule::RedZones) => SLABLAB_RULE_RED_ZONES,
        Some(Rule::Poison) => SLABLAB_RULE_POISON,
        Some(Rule::Allocator) => SLABLAB_RULE_ALLOCATOR,
        Some(Rule::Summary) => SLABLAB_RULE_SUMMARY,
        Some(Rule::FreeCounters) => SLABLAB_RULE_FREE_COUNTERS,
    };
    let class = broken.and_then(|broken| broken.class);
    slablab_check {
        flags: 0,
        rule,
        class_index: class.map_or(SLABLAB_NO_CLASS, u32::from),
        reserved: 0,
        offset: offset(broken.and_then(|broken| broken.offset)),
        walked_blocks,
    }
}

impl From<Extent> for slablab_extent {
    fn from(extent: Extent) -> Self {
        let unclassified = Self {
            page: extent.page,
            pages: extent.pages,
            class_index: SLABLAB_NO_CLASS as u8,
            ..Self::default()
        };
        match extent.what {
            Use::Free => Self {
                kind: SLABLAB_EXTENT_FREE as u8,
                ..unclassified
            },
            Use::Large => Self {
                kind: SLABLAB_EXTENT_LARGE as u8,
                ..unclassified
            },
            Use::Slab {
                class,
                objects,
                used,
            } => Self {
                kind: SLABLAB_EXTENT_SLAB as u8,
                class_index: class,
                objects,
                used,
                ..unclassified
            },
            Use::Mixed {
                blocks,
                used_bytes,
                largest_free_bytes,
            } => Self {
                kind: SLABLAB_EXTENT_MIXED as u8,
                objects: blocks,
                used: used_bytes,
                largest_free: largest_free_bytes,
                ..unclassified
            },
        }
    }
}

/// Returns an engine's capabilities as bits `SLABLAB_CAP_*`.
pub(crate) fn capabilities(engine: &impl slab_heap::Engine) -> u32 {
    let interfaces = engine.interfaces();
    let mut bits = 0;
    if interfaces.add_region.is_some() {
        bits |= SLABLAB_CAP_POOL | SLABLAB_CAP_PRIVATE;
    }
    if interfaces.map.is_some() {
        bits |= SLABLAB_CAP_MAP;
    }
    if engine.capabilities().mmap {
        bits |= SLABLAB_CAP_MMAP;
    }
    bits
}

impl slablab_operation {
    /// Returns whether all fields that a NOP does not use are 0.
    // The attribute makes the compiler test for the other kinds of operations first.
    #[cold]
    #[inline(never)]
    fn is_empty(&self) -> bool {
        self.flags == 0 && self.align_log2 == 0 && self.handle == 0 && self.bytes == 0
    }

    /// Returns the reference to the block of a FREE or a REALLOC.
    #[inline]
    fn name(&self) -> BlockRef {
        if u32::from(self.flags) == SLABLAB_OP_EARLIER {
            BlockRef::Earlier(self.handle)
        } else {
            BlockRef::Handle(self.handle)
        }
    }
}

impl EncodedOperation for slablab_operation {
    #[inline]
    fn decode(&self) -> Result<Operation, SessionError> {
        let flags = u32::from(self.flags);
        let is_named = flags & !SLABLAB_OP_EARLIER == 0 && self.align_log2 == 0;
        match u32::from(self.kind) {
            SLABLAB_OP_ALLOC if flags == 0 => Ok(Operation::Allocate {
                size: self.bytes,
                // A shift that is too large results in 0. Because 0 is not a power of two, it is refused like other
                // bad alignments.
                align: 1_u64.checked_shl(self.align_log2.into()).unwrap_or(0),
            }),
            SLABLAB_OP_FREE if is_named && self.bytes == 0 => Ok(Operation::Free(self.name())),
            SLABLAB_OP_REALLOC if is_named => Ok(Operation::Reallocate(self.name(), self.bytes)),
            SLABLAB_OP_NOP if self.is_empty() => Ok(Operation::Nothing),
            _ => Err(SessionError::BadOperation),
        }
    }

    #[inline]
    fn allocated(&self) -> Option<Handle> {
        if u32::from(self.kind) != SLABLAB_OP_ALLOC {
            return None;
        }
        Handle::from_bits(self.handle)
    }

    #[inline]
    fn on_served(&mut self, reply: &Reply) {
        self.flags = 0;
        self.handle = reply.handle.to_bits();
        self.bytes = reply.usable as u64;
        self.offset = offset(reply.offset);
        self.cost = reply.cost.into();
    }

    #[inline]
    fn on_freed(&mut self, handle: Handle, cost: Cost) {
        self.flags = 0;
        self.handle = handle.to_bits();
        self.cost = cost.into();
    }

    fn on_error(&mut self, denied: SessionError) {
        self.cost = refusal_cost(denied);
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
        self.magazine_bytes = totals.magazine_bytes;
        self.free_bytes = totals.free_bytes;
        self.largest_free_bytes = totals.largest_free_bytes;
        self.requested_bytes = totals.requested_bytes;
        self.live_blocks = totals.live_blocks;
        self.allocations = totals.allocations;
        self.frees = totals.frees;
        for refusal in Refusal::ALL {
            self.refusals[RefusalCause::from(refusal) as usize] = totals.refusals[refusal as usize];
        }
    }

    fn class(&mut self, index: u8, class: &ClassStats) {
        if let Some(slot) = self.classes.get_mut(usize::from(index)) {
            *slot = slablab_class_stats {
                block_bytes: class.block_bytes,
                total_blocks: class.total_blocks,
                used_blocks: class.used_blocks,
                magazine_blocks: class.magazine_blocks,
                growths: class.growths,
            };
            self.class_count = u32::from(index) + 1;
        }
    }

    fn order(&mut self, order: u8, stats: &OrderStats) {
        if let Some(slot) = self.orders.get_mut(usize::from(order)) {
            *slot = slablab_order_stats {
                used_blocks: stats.used_blocks,
                magazine_blocks: stats.magazine_blocks,
                free_blocks: stats.free_blocks,
            };
        }
    }

    fn short_runs(&mut self, stats: &ShortRunStats) {
        self.short_free_runs = stats.runs;
        self.short_free_bytes = stats.bytes;
    }

    fn buddy(&mut self, buddy: &BuddyStats) {
        self.buddy_user_bytes = buddy.user_bytes;
        self.buddy_actual_bytes = buddy.actual_bytes;
        self.buddy_total_bytes = buddy.total_bytes;
    }

    fn debug(&mut self, debug: &DebugStats) {
        for fault in Fault::ALL {
            self.reports[fault as usize + 1] = debug.reports[fault as usize];
        }
        self.quarantined_blocks = debug.quarantined_blocks;
        self.quarantined_bytes = debug.quarantined_bytes;
    }
}

impl slablab_stats {
    /// Sets the fields of the session. For a file without a session, `tally` is all zeros.
    pub(crate) fn set_session(&mut self, tally: &SessionStats) {
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

/// Returns the reply to VIOLATION.
pub(crate) fn violation_reply(engine: &dyn Supervise) -> slablab_violation {
    let mut reply = slablab_violation {
        accesses: engine.accesses(),
        ..slablab_violation::default()
    };
    let Some(violation) = engine.violation() else {
        return reply;
    };
    reply.rule = violation.rule as u32;
    reply.function = violation.operation as u32;
    reply.line = violation.line;
    reply.call = violation.call;
    reply.offset = violation.offset;
    // The last byte stays zero.
    let room = reply
        .sentence
        .iter_mut()
        .take(SLABLAB_SENTENCE_BYTES as usize - 1);
    let sentence = violation.sentence.unwrap_or_default();
    for (to, from) in room.zip(sentence.bytes()) {
        *to = from;
    }
    reply
}
