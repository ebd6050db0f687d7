// SPDX-License-Identifier: GPL-2.0

//! The fill of free memory: each new block is compared with it before its owner writes to it.
//!
//! An engine that allocates memory which is in use is found at that moment, before the two owners
//! overwrite each other's data. Memory is filled when it is freed. Memory that was never allocated holds
//! zeros, which are accepted like the fill, so that the memory of a large pool is not touched before it
//! is used.
//!
//! The fill takes a pass over each block when it is allocated and another one when it is freed, so only
//! the pools of a supervised process use it.

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
    /// Stands in front of an engine without memory.
    pub(super) fn new(engine: E) -> Self {
        Self {
            engine,
            is_active: underway::fills(),
            regions: RwLock::default(),
        }
    }

    /// Returns the offset of `bytes` bytes at an address, if they lie whole in a region.
    fn place(&self, address: usize, bytes: usize) -> Option<Offset> {
        let regions = self.regions.read().unwrap_or_else(PoisonError::into_inner);
        regions.iter().find_map(|region| {
            let byte = address.checked_sub(region.start)?;
            let end = byte.checked_add(bytes)?;
            (end <= region.bytes).then(|| Offset::new(region.number, byte as u64))
        })
    }

    /// Ends the process with a complaint unless a block lies where the engine says, and its bytes
    /// from `from` on are as free memory is.
    fn admit(&self, block: Block, layout: Layout, from: usize) {
        let usable = self.engine.usable_size(layout);
        let size = layout.size();
        let Some(offset) = self.place(block.start.addr().get(), usable) else {
            let said = self
                .engine
                .offset(block.start)
                .map_or_else(String::new, |offset| {
                    format!(", which the engine calls {:#x},", offset.to_bits())
                });
            complain(format!(
                "a new block of {usable} bytes{said} does not lie in the pool"
            ));
        };
        let said = self.engine.offset(block.start);
        if said != Some(offset) {
            let said = said.map_or(u64::MAX, Offset::to_bits);
            complain(format!(
                "a new block of {usable} bytes lies at offset {:#x}, and the engine says {said:#x}",
                offset.to_bits()
            ));
        }
        if usable < size {
            complain(format!(
                "{size} bytes were asked for, and the block has {usable}"
            ));
        }
        // SAFETY: The bytes lie in a region, as was looked up, and the memory of regions is mapped.
        // If the engine is right they are nobody else's; if not, this process ends here or there.
        let bytes = unsafe { slice::from_raw_parts(block.start.as_ptr(), usable) };
        if let Some(byte) = self.unfree(bytes, offset.byte() as usize, from) {
            complain(format!(
                "a new block of {usable} bytes at offset {:#x} is memory in use, or memory that was \
                 written after it was freed: its byte {byte} is {:#04x}, and free memory is {FILL:#04x} \
                 (or zeros, before it is used first)",
                offset.to_bits(),
                bytes[byte]
            ));
        }
    }

    /// Returns the first byte from `from` on that is not as free memory is.
    fn unfree(&self, bytes: &[u8], region_byte: usize, from: usize) -> Option<usize> {
        let engine_bytes = self.engine.capabilities().free_block_bytes;
        if engine_bytes >= PAGE_BYTES as usize {
            return None;
        }
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

    /// Fills the bytes of a block from `from` on, which the caller is about to free.
    ///
    /// # Safety
    ///
    /// The block is live, and nobody uses these bytes any more.
    unsafe fn fill(&self, block: Block, layout: Layout, from: usize) {
        let bytes = self.engine.usable_size(layout).saturating_sub(from);
        // SAFETY: By this function's contract.
        unsafe { block.start.add(from).write_bytes(FILL, bytes) };
    }
}

/// Ends this process with a complaint about a new block.
fn complain(text: String) -> ! {
    panic_any(isolation::BlockViolation(text))
}

// SAFETY: Every method is that of the engine inside, which is never exchanged. Blocks are read when
// they were just allocated, and written when they are about to be released.
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
        // The block may stay live, so it cannot be filled here. `release` fills and frees it.
        if self.is_active {
            return None;
        }
        // SAFETY: By this function's contract, which is the engine's.
        unsafe { self.engine.try_free_fast(block, layout) }
    }

    unsafe fn free(&self, block: Block, layout: Layout, cost: &mut Cost) -> Result<(), BadFree> {
        if self.is_active {
            // SAFETY: By this function's contract.
            unsafe { self.fill(block, layout, 0) };
        }
        // SAFETY: By this function's contract, which is the engine's.
        unsafe { self.engine.free(block, layout, cost) }
    }

    fn fits_in_place(&self, layout: Layout, new: Layout) -> bool {
        self.engine.fits_in_place(layout, new)
    }

    unsafe fn resize(&self, block: Block, layout: Layout, new: Layout, cost: &mut Cost) -> bool {
        if !self.is_active {
            // SAFETY: By this function's contract, which is the engine's.
            return unsafe { self.engine.resize(block, layout, new, cost) };
        }
        let (before, after) = (
            self.engine.usable_size(layout),
            self.engine.usable_size(new),
        );
        // The tail that the block loses belongs to the engine before `resize` returns. It is filled first, and
        // restored if the resize fails.
        let mut lost = vec![0; before.saturating_sub(after)];
        // SAFETY: By this function's contract the block has so many bytes, nobody else's.
        let rest = unsafe { block.start.add(before.min(after)) };
        // SAFETY: As above.
        unsafe { rest.copy_to_nonoverlapping(NonNull::from(&mut lost[..]).cast(), lost.len()) };
        // SAFETY: As above.
        unsafe { rest.write_bytes(FILL, lost.len()) };
        // SAFETY: By this function's contract, which is the engine's.
        let resized = unsafe { self.engine.resize(block, layout, new, cost) };
        if !resized {
            // SAFETY: The block is as before, and has the bytes.
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
        // SAFETY: By this function's contract, which is the engine's.
        let number = unsafe { engine.add_region(start, bytes, table) }?;
        regions.push(RegionMemory {
            start: start.addr().get(),
            bytes,
            number,
        });
        Ok(number)
    }
}
