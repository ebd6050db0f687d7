// SPDX-License-Identifier: GPL-2.0

//! Misuse injection.
//!
//! A program has no addresses, so it cannot misuse a block as kernel code can. The injector allocates a block
//! and misuses it on behalf of the program. All writes stay within the padded block. A block that is freed
//! twice stays live in the engine until the second free, so no other call can allocate the block before.

use core::{
    alloc::Layout,
    hint::black_box,
    ptr::NonNull,
    sync::atomic::{
        AtomicU8,
        Ordering, //
    },
};

use super::{
    Caller, DebugMode, Fault, FreeResult, PendingFree, Report, State,
    zones::{
        PaddedLayout,
        RawBytes,
        WORD,
        ZONE,
        ZONE_LOG2, //
    },
};
use crate::{
    Block,
    Cost,
    Engine,
    Refusal,
    lock::Lock,
    size_class::OBJECT_BYTES_MAX, //
};

/// The misuses that can be injected. A misuse that LKDTM (`drivers/misc/lkdtm/heap.c`) also has, has the name
/// of LKDTM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Misuse {
    /// Writes the byte behind a block.
    SlabLinearOverflow,
    /// Writes the 8 bytes behind a block.
    SlabLinearOverflow8,
    /// Writes the 32 bytes behind a block.
    SlabLinearOverflow32,
    /// Writes the byte behind a block of whole pages.
    VmallocLinearOverflow,
    /// Writes the 8 bytes in front of a block.
    SlabLinearUnderflow,
    /// Writes into a free block.
    WriteAfterFree,
    /// Writes into a free block of whole pages.
    WriteBuddyAfterFree,
    /// Frees a block twice.
    SlabFreeDouble,
    /// Frees a block, then other blocks, then the first block again.
    SlabFreeDoubleDelayed,
    /// Frees a block, allocates it again, and frees it for both of its owners.
    SlabFreeDoubleReused,
    /// Frees an address in a block.
    SlabFreeInterior,
    /// Frees an address outside of the pool.
    SlabFreeForeign,
    /// Frees an address in the pool at which no block has begun.
    SlabFreeInvented,
    /// Frees an address that is not a multiple of a word.
    SlabFreeUnaligned,
    /// Frees a block with twice its size, as if to another cache.
    SlabFreeCross,
    /// Writes the 1 MiB behind a block.
    SlabLinearOverflow1M,
    /// Resizes a free block.
    ReallocAfterFree,
    /// Reads a free block. Debug mode does not detect the read. KASAN detects the read, in a kernel with
    /// KASAN.
    ReadAfterFree,
}

impl Misuse {
    /// All misuses, in the order of their numbers.
    pub const ALL: [Self; 18] = [
        Self::SlabLinearOverflow,
        Self::SlabLinearOverflow8,
        Self::SlabLinearOverflow32,
        Self::VmallocLinearOverflow,
        Self::SlabLinearUnderflow,
        Self::WriteAfterFree,
        Self::WriteBuddyAfterFree,
        Self::SlabFreeDouble,
        Self::SlabFreeDoubleDelayed,
        Self::SlabFreeDoubleReused,
        Self::SlabFreeInterior,
        Self::SlabFreeForeign,
        Self::SlabFreeInvented,
        Self::SlabFreeUnaligned,
        Self::SlabFreeCross,
        Self::SlabLinearOverflow1M,
        Self::ReallocAfterFree,
        Self::ReadAfterFree,
    ];

    /// Returns whether the misuse needs a block of whole pages.
    fn is_of_pages(self) -> bool {
        matches!(
            self,
            Self::VmallocLinearOverflow | Self::WriteBuddyAfterFree
        )
    }
}

/// The reasons for which a misuse is not injected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotDone {
    /// The block could not be allocated.
    Refused(Refusal),
    /// The injector could not allocate the freed block again. Another thread may have allocated the block.
    Elsewhere,
}

/// The value that the injector writes. The value is neither the poison value nor the red zone value.
const WRONG: u8 = 0x42;

/// log2 of the length of the longest overflow. The red zone of the block has the same length.
const LONG_LOG2: u8 = 20;

/// The number of bytes that are written into a free block.
const WRITTEN: usize = WORD;

/// The maximum number of allocations by which the injector tries to allocate a freed block again.
const TRIES: usize = 64;

/// The number of blocks that are freed between the two frees of a delayed double free.
const OTHERS: usize = 8;

/// Live blocks of the injector, which are freed when the value is dropped.
struct HeldBlocks<'g, E: Engine, L: Lock<State> + Sync, C: Caller> {
    guard: &'g DebugMode<E, L, C>,
    layout: Layout,
    /// The first bytes of the blocks.
    blocks: [Option<NonNull<u8>>; TRIES],
}

impl<'g, E: Engine, L: Lock<State> + Sync, C: Caller> HeldBlocks<'g, E, L, C> {
    fn new(guard: &'g DebugMode<E, L, C>, layout: Layout) -> Self {
        Self {
            guard,
            layout,
            blocks: [None; TRIES],
        }
    }

    /// Allocates up to `count` blocks, until `enough` returns `true` for a block. Returns that block, which
    /// `self` does not hold.
    fn allocate_until(
        &mut self,
        count: usize,
        mut enough: impl FnMut(&Block) -> bool,
    ) -> Result<Option<Block>, Refusal> {
        for slot in self.blocks.iter_mut().take(count) {
            let block = self
                .guard
                .allocate_checked(self.layout, &mut Cost::default())?;
            if enough(&block) {
                return Ok(Some(block));
            }
            *slot = Some(block.start);
        }
        Ok(None)
    }
}

impl<E: Engine, L: Lock<State> + Sync, C: Caller> Drop for HeldBlocks<'_, E, L, C> {
    fn drop(&mut self) {
        for start in self.blocks.iter().flatten() {
            self.guard.free(*start, self.layout.size());
        }
    }
}

impl<E: Engine, L: Lock<State> + Sync, C: Caller> DebugMode<E, L, C> {
    /// Injects a misuse of a block of `size` bytes, or of the smallest size that the misuse needs.
    /// Returns the report of the misuse, or `None` if it was not detected.
    ///
    /// # Errors
    ///
    /// [`NotDone`]. The pool is then unchanged.
    pub fn inject(&self, misuse: Misuse, size: usize) -> Result<Option<Report>, NotDone> {
        let size = match misuse {
            _ if misuse.is_of_pages() => size.max(2 * OBJECT_BYTES_MAX),
            // The block must have an interior address at a multiple of a word.
            Misuse::SlabFreeInterior | Misuse::SlabFreeUnaligned => size.max(2 * WORD),
            _ => size.max(1),
        };
        let too_big = NotDone::Refused(Refusal::TooBig);
        let layout = Layout::from_size_align(size, WORD).map_err(|_| too_big)?;
        let zone_log2 = match misuse {
            Misuse::SlabLinearOverflow1M => LONG_LOG2,
            _ => ZONE_LOG2,
        };
        let padded = PaddedLayout::with_zone(layout, zone_log2).ok_or(too_big)?;
        // The other blocks of a delayed double free are allocated first, so that none of them reuses the
        // memory of the block.
        let mut others = HeldBlocks::new(self, layout);
        if misuse == Misuse::SlabFreeDoubleDelayed {
            others
                .allocate_until(OTHERS, |_| false)
                .map_err(NotDone::Refused)?;
        }
        let victim = self.allocate_with_zone(layout, zone_log2, &mut Cost::default());
        let victim = victim.map_err(NotDone::Refused)?;
        match misuse {
            Misuse::SlabLinearOverflow | Misuse::VmallocLinearOverflow => {
                Ok(self.inject_write_around(victim, &padded, padded.end(), 1))
            }
            Misuse::SlabLinearOverflow8 => {
                Ok(self.inject_write_around(victim, &padded, padded.end(), 8))
            }
            Misuse::SlabLinearOverflow32 => {
                Ok(self.inject_write_around(victim, &padded, padded.end(), 32))
            }
            Misuse::SlabLinearOverflow1M => {
                Ok(self.inject_write_around(victim, &padded, padded.end(), 1 << LONG_LOG2))
            }
            Misuse::ReallocAfterFree => Ok(self.inject_realloc_after_free(victim, layout)),
            Misuse::ReadAfterFree => {
                self.inject_read_after_free(victim, size);
                Ok(None)
            }
            Misuse::SlabLinearUnderflow => {
                Ok(self.inject_write_around(victim, &padded, padded.front - WORD, WORD))
            }
            Misuse::WriteAfterFree | Misuse::WriteBuddyAfterFree => {
                self.inject_write_after_free(victim, &padded, layout)
            }
            Misuse::SlabFreeDouble => Ok(self.inject_double_free(victim, size, || {})),
            Misuse::SlabFreeDoubleDelayed => {
                Ok(self.inject_double_free(victim, size, move || drop(others)))
            }
            Misuse::SlabFreeDoubleReused => self.inject_double_free_reused(victim, layout),
            _ => {
                let report = self.inject_bad_free(misuse, victim, size);
                self.free(victim.start, size);
                Ok(report)
            }
        }
    }

    /// Frees a block of the injector, and returns the report if the block was damaged.
    fn free(&self, start: NonNull<u8>, size: usize) -> Option<Report> {
        // SAFETY: The block was allocated by the injector, which does not use it any more.
        match unsafe { self.begin_free(start, size) } {
            FreeResult::Sound(pending) => {
                self.finish_free(&pending, &mut Cost::default());
                None
            }
            FreeResult::Damaged(report) | FreeResult::Refused(report) => Some(report),
        }
    }

    /// Makes a bad free, which debug mode must refuse.
    fn free_bad(&self, start: NonNull<u8>, size: usize) -> Option<Report> {
        // SAFETY: `begin_free` requires that a live block of `size` bytes at `start` is unused, and that
        // `start` is the pointer of its allocation. Only the block of the injector can be such a block. The
        // injector does not use it during the call, and has the pointer from its allocation.
        match unsafe { self.begin_free(start, size) } {
            // Debug mode did not detect the bad free. The block is not freed in the engine, so that the
            // engine's metadata is not damaged.
            FreeResult::Sound(_) => None,
            FreeResult::Damaged(report) | FreeResult::Refused(report) => Some(report),
        }
    }

    /// Writes `bytes` bytes of the padded block from byte `byte` on, and frees the block.
    fn inject_write_around(
        &self,
        victim: Block,
        padded: &PaddedLayout,
        byte: usize,
        bytes: usize,
    ) -> Option<Report> {
        // SAFETY: `front` bytes of the padded block lie in front of the block.
        let first = unsafe { victim.start.sub(padded.front) };
        // SAFETY: The padded block is live, so `usable_size` bytes are valid, and only the injector uses it.
        let memory = unsafe { RawBytes::new(first, self.engine.usable_size(padded.layout)) };
        memory.fill(byte, byte + bytes, WRONG);
        self.free(victim.start, padded.size)
    }

    /// Frees a block, writes into it, and allocates blocks until debug mode detects the write.
    ///
    /// Not inlined, because a second `HeldBlocks` would make the caller's stack frame too large.
    #[inline(never)]
    fn inject_write_after_free(
        &self,
        victim: Block,
        padded: &PaddedLayout,
        layout: Layout,
    ) -> Result<Option<Report>, NotDone> {
        // SAFETY: The block was allocated by the injector, which does not use it any more.
        let FreeResult::Sound(pending) = (unsafe { self.begin_free(victim.start, padded.size) })
        else {
            return Ok(None);
        };
        let PendingFree { memory, by, .. } = &pending;
        // The write is in the middle of the block, as in LKDTM, but not at a multiple of `ZONE`, where the
        // engine may have links.
        let middle = padded.front + padded.size / 2;
        let middle = middle.next_multiple_of(ZONE) - ZONE / 2;
        let middle = if (padded.front..padded.end()).contains(&middle) {
            middle
        } else {
            padded.front
        };
        memory.fill(middle, padded.end().min(middle + WRITTEN), WRONG);
        self.finish_free(&pending, &mut Cost::default());

        let noticed = || {
            self.state.with(|state| {
                let mut reports = state.log.iter();
                let is_it =
                    |report: &&Report| report.fault == Fault::WriteAfterFree && report.freed == *by;
                reports.find(is_it).copied()
            })
        };
        let mut held = HeldBlocks::new(self, layout);
        // Debug mode may also have detected the write in an allocation that was then refused.
        if let Ok(Some(block)) = held.allocate_until(TRIES, |_| noticed().is_some()) {
            self.free(block.start, layout.size());
        }
        Ok(noticed())
    }

    /// Frees a block and resizes it, before it is free in the engine.
    fn inject_realloc_after_free(&self, victim: Block, layout: Layout) -> Option<Report> {
        // SAFETY: The block was allocated by the injector, which does not use it any more.
        let FreeResult::Sound(pending) = (unsafe { self.begin_free(victim.start, layout.size()) })
        else {
            return None;
        };
        let before = self.state.with(|state| state.log.made());
        // SAFETY: The call violates the contract on purpose: the block is free. By its record, debug mode
        // finds that the block is not live, and then accesses no memory of it. In the engine the block is
        // still live.
        let resized = unsafe { self.resize(victim, layout, layout, &mut Cost::default()) };
        debug_assert!(!resized, "a block that is free was resized");
        let report = self.state.with(|state| {
            let is_it = |report: &&Report| {
                report.number >= before
                    && report.fault == Fault::ReallocAfterFree
                    && report.freed == pending.by
            };
            state.log.iter().find(is_it).copied()
        });
        self.finish_free(&pending, &mut Cost::default());
        report
    }

    /// Frees a block and reads its first byte.
    fn inject_read_after_free(&self, victim: Block, size: usize) {
        self.free(victim.start, size);
        // SAFETY: `from_ptr` requires a valid byte without concurrent non-atomic writes. The byte is memory
        // of the pool, which stays valid. Another thread that has allocated the memory may write the byte:
        // this race is part of the injected misuse. The race does no harm, because a load of one byte is
        // indivisible and its value is not used.
        let byte = unsafe { AtomicU8::from_ptr(victim.start.as_ptr()) };
        black_box(byte.load(Ordering::Relaxed));
    }

    /// Frees a block, calls `then`, and frees the block again.
    fn inject_double_free(
        &self,
        victim: Block,
        size: usize,
        then: impl FnOnce(),
    ) -> Option<Report> {
        // SAFETY: The block was allocated by the injector, which does not use it any more.
        let FreeResult::Sound(pending) = (unsafe { self.begin_free(victim.start, size) }) else {
            return None;
        };
        then();
        let report = self.free_bad(victim.start, size);
        self.finish_free(&pending, &mut Cost::default());
        report
    }

    /// Frees a block, allocates it again, and frees it for its first and for its second owner.
    #[inline(never)]
    fn inject_double_free_reused(
        &self,
        victim: Block,
        layout: Layout,
    ) -> Result<Option<Report>, NotDone> {
        self.free(victim.start, layout.size());
        let mut held = HeldBlocks::new(self, layout);
        let again = held.allocate_until(TRIES, |block| block.start == victim.start);
        let again = again.map_err(NotDone::Refused)?;
        let again = again.ok_or(NotDone::Elsewhere)?;
        Ok(self.inject_double_free(again, layout.size(), || {}))
    }

    /// Makes a bad free of the address of a live block or of an address near the block. The block stays live.
    fn inject_bad_free(&self, misuse: Misuse, victim: Block, size: usize) -> Option<Report> {
        match misuse {
            Misuse::SlabFreeInterior => {
                let inside = (size / 2).next_multiple_of(WORD).min(size - 1) / WORD * WORD;
                // SAFETY: `inside` is less than the block's size.
                self.free_bad(unsafe { victim.start.add(inside) }, size)
            }
            // The address of the engine itself is not in the pool.
            Misuse::SlabFreeForeign => self.free_bad(NonNull::from(self).cast(), size),
            Misuse::SlabFreeInvented => self.free_bad(self.unused(victim, size)?, size),
            // SAFETY: The block has at least two words, so the next address is in the block.
            Misuse::SlabFreeUnaligned => self.free_bad(unsafe { victim.start.add(1) }, size),
            _ => self.free_bad(victim.start, size.saturating_mul(2)),
        }
    }

    /// Returns an address in the red zone behind a block that has no record of a block.
    ///
    /// No block can begin there while the block is live. Such an address exists, because each granule
    /// has only one record.
    fn unused(&self, victim: Block, size: usize) -> Option<NonNull<u8>> {
        let zone = size.next_multiple_of(WORD)..size + ZONE;
        let byte = zone.step_by(WORD).find(|byte| {
            let address = victim.start.addr().get() + byte;
            self.state.with(|state| state.record_at(address).is_none())
        })?;
        // SAFETY: `byte` is at most the end of the red zone behind the block.
        Some(unsafe { victim.start.add(byte) })
    }
}
