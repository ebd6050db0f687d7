// SPDX-License-Identifier: GPL-2.0

//! The fill of free memory. Each new block is compared with the fill before its owner writes to the block.
//!
//! The comparison detects an engine that allocates memory in use before the two owners overwrite each other's
//! data. Memory is filled when it is freed. Memory that was never allocated holds zeros, which are accepted
//! like the fill, so that the memory of a large pool is not touched before its first use.
//!
//! The fill costs one pass over each block when the block is allocated and one when the block is freed, so
//! only the pools of a supervised process use the fill.

use std::{
    alloc::Layout,
    panic::panic_any,
    ptr::NonNull,
    slice,
    sync::{
        PoisonError,
        RwLock, //
    },
};

use slab_heap::{
    Block, Cost, Engine, Refusal,
    engine::{
        AddRegion,
        Allocated,
        BadFree,
        Capabilities,
        Interfaces, //
    },
    region::{
        Offset,
        RegionError, //
    },
};

use super::PAGE_BYTES;
use crate::isolation::{
    self,
    underway, //
};

/// The byte that freed memory is filled with: the kernel's `POISON_FREE`, as in debug mode.
const FILL: u8 = 0x6b;

/// The memory of a region.
#[derive(Clone, Copy)]
struct RegionMemory {
    start: usize,
    bytes: usize,
    number: u16,
}

/// An engine whose new blocks are compared with the fill of free memory.
pub(super) struct Filled<E> {
    engine: E,
    is_active: bool,
    regions: RwLock<Vec<RegionMemory>>,
}

impl<E: Engine> Filled<E> {
    /// Wraps an engine that has no region yet.
    pub(super) fn new(engine: E) -> Self {
        // The fill proves nothing for an engine that may write any free byte, and would hide the contents that freed
        // memory has.
        let writes_all = engine.capabilities().free_block_bytes >= PAGE_BYTES as usize;
        Self {
            engine,
            is_active: underway::fills() && !writes_all,
            regions: RwLock::default(),
        }
    }

    /// Returns the offset of the `bytes` bytes at an address, if all of them lie in one region.
    fn place(&self, address: usize, bytes: usize) -> Option<Offset> {
        let regions = self.regions.read().unwrap_or_else(PoisonError::into_inner);
        regions.iter().find_map(|region| {
            let byte = address.checked_sub(region.start)?;
            let end = byte.checked_add(bytes)?;
            (end <= region.bytes).then(|| Offset::new(region.number, byte as u64))
        })
    }

    /// Checks a new block: it lies in one region, at the offset that the engine reports, is as large as
    /// requested, and its bytes from `from` on have the contents of free memory. Ends the process if one of
    /// these rules is violated.
    fn admit(&self, block: Block, layout: Layout, from: usize) {
        let usable = self.engine.usable_size(layout);
        let size = layout.size();
        let Some(offset) = self.place(block.start.addr().get(), usable) else {
            let said = self
                .engine
                .offset(block.start)
                .map_or_else(String::new, |offset| {
                    format!("; the engine reports the offset {:#x}", offset.to_bits())
                });
            complain(format!(
                "a new block of {usable} bytes does not lie in the pool{said}"
            ));
        };
        let said = self.engine.offset(block.start);
        if said != Some(offset) {
            let said = said.map_or(u64::MAX, Offset::to_bits);
            complain(format!(
                "a new block of {usable} bytes lies at offset {:#x}, but the engine reports {said:#x}",
                offset.to_bits()
            ));
        }
        if usable < size {
            complain(format!(
                "{size} bytes were requested, but the block has {usable}"
            ));
        }
        // SAFETY: `place` has found that the bytes lie in one region, so they are mapped, initialised and
        // readable. No other thread writes to them if the engine is correct, because the block has just been
        // allocated. If the engine is faulty, another owner may write to them meanwhile. This race is
        // accepted: the comparison is the check for that fault, and it ends the process.
        let bytes = unsafe { slice::from_raw_parts(block.start.as_ptr(), usable) };
        if let Some(byte) = self.unfree(bytes, offset.byte() as usize, from) {
            complain(format!(
                "a new block of {usable} bytes at offset {:#x} overlaps memory in use, or memory that \
                 was written after it was freed: byte {byte} is {:#04x}, but free memory has {FILL:#04x} \
                 (or 0 before its first use)",
                offset.to_bits(),
                bytes[byte]
            ));
        }
    }

    /// Returns the index of the first byte from `from` on that does not have the contents of free memory: the
    /// fill, zero, or a byte that the engine may write in free blocks.
    fn unfree(&self, bytes: &[u8], region_byte: usize, from: usize) -> Option<usize> {
        let engine_bytes = self.engine.capabilities().free_block_bytes;
        let is_free = |word: &[u8]| word.iter().all(|byte| *byte == FILL || *byte == 0);
        let is_engine_s = |byte: usize| {
            byte - from < engine_bytes
                || (region_byte + byte) % (PAGE_BYTES as usize) < engine_bytes
        };
        let (fill, zeros) = ([FILL; 8], [0; 8]);
        let words = bytes.get(from..)?.chunks(8);
        words.zip((from..).step_by(8)).find_map(|(word, begin)| {
            if word == fill || word == zeros || is_free(word) {
                return None;
            }
            let is_wrong = |byte: &usize| !is_free(&bytes[*byte..=*byte]) && !is_engine_s(*byte);
            (begin..begin + word.len()).find(is_wrong)
        })
    }

    /// Writes the fill to the bytes of a block from `from` on. The caller is about to free these bytes.
    ///
    /// # Safety
    ///
    /// - `block` is live and has the layout `layout`, and `from` is at most its usable size.
    /// - Nobody uses the bytes from `from` on any more.
    unsafe fn fill(&self, block: Block, layout: Layout, from: usize) {
        let bytes = self.engine.usable_size(layout).saturating_sub(from);
        // SAFETY: By this function's contract the block has `usable_size(layout)` bytes, `from` is at most
        // that, and nobody uses the bytes from `from` on. So the `bytes` bytes lie in the block and are valid
        // for writes.
        unsafe { block.start.add(from).write_bytes(FILL, bytes) };
    }
}

/// Ends this process with a message about a rule that a new block breaks.
pub(super) fn complain(text: String) -> ! {
    panic_any(isolation::BlockViolation(text))
}

// SAFETY: Every method forwards to the inner engine, which is never replaced, so a block is valid, aligned
// and disjoint from other blocks as long as the inner engine guarantees this. The memory of a block is read
// only before the caller receives the block or its new bytes, and written only in `free` and `resize`, whose
// caller does not use the bytes in question meanwhile.
unsafe impl<E: Engine> Engine for Filled<E> {
    fn capabilities(&self) -> Capabilities {
        self.engine.capabilities()
    }

    fn usable_size(&self, layout: Layout) -> usize {
        self.engine.usable_size(layout)
    }

    fn capacity(&self) -> usize {
        self.engine.capacity()
    }

    fn offset(&self, byte: NonNull<u8>) -> Option<Offset> {
        self.engine.offset(byte)
    }

    fn allocate(&self, layout: Layout, cost: &mut Cost) -> Result<Block, Refusal> {
        let block = self.engine.allocate(layout, cost)?;
        if self.is_active {
            self.admit(block, layout, 0);
        }
        Ok(block)
    }

    fn try_allocate_fast(&self, layout: Layout) -> Option<Allocated> {
        let allocated = self.engine.try_allocate_fast(layout)?;
        if self.is_active {
            self.admit(allocated.block, layout, 0);
        }
        Some(allocated)
    }

    unsafe fn try_free_fast(&self, block: Block, layout: Layout) -> Option<Cost> {
        // The block stays live if the inner engine returns `None`, so it must not be filled here. The caller
        // then calls `free`, which fills and frees the block.
        if self.is_active {
            return None;
        }
        // SAFETY: By this function's contract the block is a live block of the inner engine with this layout,
        // and nobody uses it any more.
        unsafe { self.engine.try_free_fast(block, layout) }
    }

    unsafe fn free(&self, block: Block, layout: Layout, cost: &mut Cost) -> Result<(), BadFree> {
        if self.is_active {
            // SAFETY: By this function's contract the block is live with this layout, and nobody uses it any
            // more. 0 is at most its usable size.
            unsafe { self.fill(block, layout, 0) };
        }
        // SAFETY: By this function's contract the block is a live block of the inner engine with this layout,
        // and nobody uses it any more.
        unsafe { self.engine.free(block, layout, cost) }
    }

    fn fits_in_place(&self, layout: Layout, new: Layout) -> bool {
        self.engine.fits_in_place(layout, new)
    }

    unsafe fn resize(&self, block: Block, layout: Layout, new: Layout, cost: &mut Cost) -> bool {
        if !self.is_active {
            // SAFETY: By this function's contract the block is a live block of the inner engine with this
            // layout, nobody uses it meanwhile, and `new` has the same alignment.
            return unsafe { self.engine.resize(block, layout, new, cost) };
        }
        let (before, after) = (
            self.engine.usable_size(layout),
            self.engine.usable_size(new),
        );
        // The tail that the block loses belongs to the engine before `resize` returns. It is filled first, and
        // restored if the resize fails.
        let mut lost = vec![0; before.saturating_sub(after)];
        // SAFETY: By this function's contract the block is live, so it has `before` bytes, and the result is
        // at most its end.
        let rest = unsafe { block.start.add(before.min(after)) };
        // SAFETY: The block has the `lost.len()` bytes from `rest` on, and nobody else uses them. `lost` has
        // as many bytes in another allocation, so the ranges do not overlap.
        unsafe { rest.copy_to_nonoverlapping(NonNull::from(&mut lost[..]).cast(), lost.len()) };
        // SAFETY: The block has the `lost.len()` bytes from `rest` on, and nobody else uses them.
        unsafe { rest.write_bytes(FILL, lost.len()) };
        // SAFETY: By this function's contract the block is a live block of the inner engine with this layout,
        // nobody uses it meanwhile, and `new` has the same alignment.
        let resized = unsafe { self.engine.resize(block, layout, new, cost) };
        if !resized {
            // SAFETY: The resize failed, so the block is unchanged and still has the `lost.len()` bytes from
            // `rest` on. `lost` is another allocation, so the ranges do not overlap.
            unsafe { rest.copy_from_nonoverlapping(NonNull::from(&lost[..]).cast(), lost.len()) };
        } else if after > before {
            self.admit(block, new, before);
        }
        resized
    }

    fn interfaces(&self) -> Interfaces<'_> {
        Interfaces {
            add_region: Some(self),
            ..self.engine.interfaces()
        }
    }
}

impl<E: Engine> AddRegion for Filled<E> {
    fn table_bytes(&self, bytes: usize) -> usize {
        let engine = self.engine.interfaces().add_region;
        engine.map_or(0, |engine| engine.table_bytes(bytes))
    }

    unsafe fn add_region(
        &self,
        start: NonNull<u8>,
        bytes: usize,
        table: NonNull<u8>,
    ) -> Result<u16, RegionError> {
        let engine = self.engine.interfaces().add_region;
        let engine = engine.ok_or(RegionError::NoPool)?;
        let mut regions = self.regions.write().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: The caller promises about both ranges what the inner engine requires: they are valid, used
        // by nobody else until the engine is dropped, and covered by the provenance of the pointers, and the
        // table is zeroed, aligned to 8, and as long as the inner engine's `table_bytes` says.
        let number = unsafe { engine.add_region(start, bytes, table) }?;
        regions.push(RegionMemory {
            start: start.addr().get(),
            bytes,
            number,
        });
        Ok(number)
    }
}
