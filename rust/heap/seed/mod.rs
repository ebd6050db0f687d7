// SPDX-License-Identifier: GPL-2.0

//! The seed: slabs over a buddy system, as the architecture document has it.
//!
//! [`Heap`] is the document's, name by name, and a program written for the public crate that the
//! document describes switches to it by changing its `use` line. [`Seed`] is the same heap behind
//! the contract of [`Engine`](crate::Engine).
//!
//! ```text
//! size > 4096 ───────────────────────────────▶ buddy system ◀─┐
//! else, first N of 64 128 256 512 1024 2048                   │ 64 × N bytes,
//!       with size ≤ N and align ≤ N ─▶ Slab<N> ─ free list ───┤ when the list
//! else ──────────────────────────────▶ Slab<4096> ────────────┘ is empty
//! ```
//!
//! # Drawbacks
//!
//! The design is a textbook's, and keeps its faults for you to find. Each is shown by a test of
//! this module, whose name is in parentheses.
//!
//! - A size up to 4096 with an alignment above goes to `Slab<4096>`, and comes out misaligned
//!   (`a_small_block_with_a_large_alignment_is_misaligned`). [`Seed`] refuses alignments above
//!   4096.
//! - Slabs grow by 64 blocks in one piece: a heap of 32 KiB cannot serve 1024 bytes, one of
//!   128 KiB not one object of 4096 (`a_small_heap_cannot_serve_its_larger_classes`).
//! - Slabs give nothing back: memory once filled with small blocks serves nothing else, for ever
//!   (`freed_slabs_serve_no_other_size`).
//! - Freeing to the buddy system searches a list of all free blocks of that size for the buddy
//!   (`a_free_searches_every_free_block_of_its_size`).
//! - Adding memory merges nothing: two adjacent regions, however much of them is free, serve no
//!   request over their seam until a block at the seam is freed
//!   (`adjacent_regions_serve_nothing_over_their_seam`).
//! - Powers of two from 64 up: a byte takes 64, 4097 bytes take 8192
//!   (`sizes_are_rounded_up_to_powers_of_two`).
//! - Free lists live in freed memory (`a_write_after_free_chooses_an_allocation`).
//! - Whatever is freed is believed: a second free hands the block out twice
//!   (`a_double_free_hands_a_block_out_twice`).
//! - Memory that slabs took is counted by them and by the buddy system
//!   (`total_and_used_count_slab_memory_twice`).
//! - Buddies are told by address: what fits depends on where the memory lies
//!   (`what_fits_depends_on_the_address`).
//! - Bad arguments to [`Heap::new`] panic (`new_panics_on_bad_arguments`).
//! - One caller at a time: every operation needs `&mut` ([`Seed`] puts one lock around all).

use core::{
    alloc::Layout,
    fmt,
    ptr::{
        self,
        NonNull, //
    },
};

mod engine;
mod free_list;
mod slab;
#[cfg(test)]
mod tests;

pub use engine::{
    Seed,
    State, //
};
pub use slab::SET_SIZE;

use crate::stats::CLASSES_MAX;
use slab::Slab;

/// The smallest heap, and what a heap's size is a multiple of.
pub const MIN_HEAP_SIZE: usize = 0x8000;

/// The alignment of a heap's memory, and of what slabs take.
const PAGE_SIZE: usize = 4096;

/// The buddy system: blocks up to 2³¹ bytes.
type BuddySystem = buddy_system_allocator::Heap<32>;

/// The heap has no memory for what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllocError;

impl fmt::Display for AllocError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the heap cannot serve this layout")
    }
}

impl core::error::Error for AllocError {}

/// What is wrong with memory that was to become a heap's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryError {
    /// The start is not a multiple of 4096, or is the null address.
    Misaligned,
    /// The size is smaller than [`MIN_HEAP_SIZE`].
    TooSmall,
    /// The size is not a multiple of [`MIN_HEAP_SIZE`] (of 4096, when memory is added).
    BadSize,
    /// The end is past the end of the address space.
    Overflow,
}

impl fmt::Display for MemoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Misaligned => "Start address should be page aligned",
            Self::TooSmall => "Heap size should be greater or equal to minimum heap size",
            Self::BadSize => "Heap size should be a multiple of minimum heap size",
            Self::Overflow => "Heap should end in the address space",
        })
    }
}

impl core::error::Error for MemoryError {}

/// Who serves a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HeapAllocator {
    /// `Slab<64>`
    Slab64Bytes,
    /// `Slab<128>`
    Slab128Bytes,
    /// `Slab<256>`
    Slab256Bytes,
    /// `Slab<512>`
    Slab512Bytes,
    /// `Slab<1024>`
    Slab1024Bytes,
    /// `Slab<2048>`
    Slab2048Bytes,
    /// `Slab<4096>`
    Slab4096Bytes,
    /// The buddy system.
    BuddyAllocator,
}

const _: () = assert!(HeapAllocator::SLABS.len() <= CLASSES_MAX);

impl HeapAllocator {
    /// The slabs, in the order of their block size.
    pub const SLABS: [Self; 7] = [
        Self::Slab64Bytes,
        Self::Slab128Bytes,
        Self::Slab256Bytes,
        Self::Slab512Bytes,
        Self::Slab1024Bytes,
        Self::Slab2048Bytes,
        Self::Slab4096Bytes,
    ];

    /// Returns the size of the blocks, if they have one size.
    #[must_use]
    pub const fn block_bytes(self) -> Option<usize> {
        match self {
            Self::BuddyAllocator => None,
            slab => Some(64 << slab as usize),
        }
    }
}

/// A heap with fixed-size slabs for what is small and a buddy system for the rest.
pub struct Heap {
    slab_64_bytes: Slab<64>,
    slab_128_bytes: Slab<128>,
    slab_256_bytes: Slab<256>,
    slab_512_bytes: Slab<512>,
    slab_1024_bytes: Slab<1024>,
    slab_2048_bytes: Slab<2048>,
    slab_4096_bytes: Slab<4096>,
    buddy_allocator: BuddySystem,
}

// SAFETY: A heap owns its free memory alone; nothing in it is tied to a thread.
unsafe impl Send for Heap {}

/// Evaluates `$then` with `$slab` standing for the slab that `$which` names, borrowed as the
/// brackets say; or `$buddy`.
///
/// Seven slabs of seven types: what would be an array is a macro.
macro_rules! dispatch {
    ([$($borrow:tt)+] $heap:expr, $which:expr, $slab:ident => $then:expr, buddy => $buddy:expr $(,)?) => {
        match $which {
            HeapAllocator::Slab64Bytes => {
                let $slab = $($borrow)+ $heap.slab_64_bytes;
                $then
            }
            HeapAllocator::Slab128Bytes => {
                let $slab = $($borrow)+ $heap.slab_128_bytes;
                $then
            }
            HeapAllocator::Slab256Bytes => {
                let $slab = $($borrow)+ $heap.slab_256_bytes;
                $then
            }
            HeapAllocator::Slab512Bytes => {
                let $slab = $($borrow)+ $heap.slab_512_bytes;
                $then
            }
            HeapAllocator::Slab1024Bytes => {
                let $slab = $($borrow)+ $heap.slab_1024_bytes;
                $then
            }
            HeapAllocator::Slab2048Bytes => {
                let $slab = $($borrow)+ $heap.slab_2048_bytes;
                $then
            }
            HeapAllocator::Slab4096Bytes => {
                let $slab = $($borrow)+ $heap.slab_4096_bytes;
                $then
            }
            HeapAllocator::BuddyAllocator => $buddy,
        }
    };
}

impl Heap {
    /// Makes a heap of `heap_size` bytes at `heap_start_addr`.
    ///
    /// # Panics
    ///
    /// On what [`Heap::try_new`] returns an error for.
    ///
    /// # Safety
    ///
    /// As for [`Heap::try_new`].
    #[must_use]
    pub unsafe fn new(heap_start_addr: usize, heap_size: usize) -> Self {
        // SAFETY: By this function's contract.
        match unsafe { Self::try_new(heap_start_addr, heap_size) } {
            Ok(heap) => heap,
            Err(error) => panic!("{error}"),
        }
    }

    /// Makes a heap of `heap_size` bytes at `heap_start_addr`.
    ///
    /// # Errors
    ///
    /// The first [`MemoryError`] that applies.
    ///
    /// # Examples
    ///
    /// ```
    /// use core::alloc::Layout;
    /// use slab_heap::seed::{Heap, MIN_HEAP_SIZE};
    ///
    /// #[repr(align(4096))]
    /// struct Memory([u8; 2 * MIN_HEAP_SIZE]);
    ///
    /// let memory = Box::leak(Box::new(Memory([0; 2 * MIN_HEAP_SIZE])));
    /// let start = memory.0.as_mut_ptr().expose_provenance();
    /// // SAFETY: The memory was leaked, so it is there for ever and the heap's alone.
    /// let mut heap = unsafe { Heap::try_new(start, memory.0.len()) }?;
    ///
    /// let layout = Layout::new::<[u64; 12]>();
    /// let block = heap.allocate(layout)?;
    /// assert_eq!(heap.usable_size(layout), (96, 128));
    /// // SAFETY: Allocated above with this layout.
    /// unsafe { heap.deallocate(block, layout) };
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Safety
    ///
    /// The memory is valid for reads and writes, and the heap's alone, for as long as the heap
    /// lives. Its provenance was exposed.
    pub unsafe fn try_new(heap_start_addr: usize, heap_size: usize) -> Result<Self, MemoryError> {
        Self::check_size(heap_size)?;
        let mut heap = Self::empty();
        // SAFETY: By this function's contract.
        unsafe { heap.try_add_memory(heap_start_addr, heap_size) }?;
        Ok(heap)
    }

    /// Checks the size of a new heap.
    fn check_size(heap_size: usize) -> Result<(), MemoryError> {
        if heap_size < MIN_HEAP_SIZE {
            return Err(MemoryError::TooSmall);
        }
        if heap_size % MIN_HEAP_SIZE != 0 {
            return Err(MemoryError::BadSize);
        }
        Ok(())
    }

    /// Returns a heap without memory.
    const fn empty() -> Self {
        Self {
            slab_64_bytes: Slab::new(),
            slab_128_bytes: Slab::new(),
            slab_256_bytes: Slab::new(),
            slab_512_bytes: Slab::new(),
            slab_1024_bytes: Slab::new(),
            slab_2048_bytes: Slab::new(),
            slab_4096_bytes: Slab::new(),
            buddy_allocator: BuddySystem::new(),
        }
    }

    /// Adds `mem_size` bytes at `mem_start_addr` to the heap.
    ///
    /// # Panics
    ///
    /// On what [`Heap::try_add_memory`] returns an error for.
    ///
    /// # Safety
    ///
    /// As for [`Heap::try_new`].
    pub unsafe fn add_memory(&mut self, mem_start_addr: usize, mem_size: usize) {
        // SAFETY: By this function's contract.
        if let Err(error) = unsafe { self.try_add_memory(mem_start_addr, mem_size) } {
            panic!("{error}");
        }
    }

    /// Adds `mem_size` bytes at `mem_start_addr` to the heap.
    ///
    /// # Errors
    ///
    /// The first [`MemoryError`] that applies; the heap is then as before.
    ///
    /// # Safety
    ///
    /// As for [`Heap::try_new`].
    pub unsafe fn try_add_memory(
        &mut self,
        mem_start_addr: usize,
        mem_size: usize,
    ) -> Result<(), MemoryError> {
        if mem_start_addr == 0 || mem_start_addr % PAGE_SIZE != 0 {
            return Err(MemoryError::Misaligned);
        }
        if mem_size == 0 || mem_size % PAGE_SIZE != 0 {
            return Err(MemoryError::BadSize);
        }
        let end = mem_start_addr
            .checked_add(mem_size)
            .ok_or(MemoryError::Overflow)?;
        // SAFETY: By this function's contract; both ends are multiples of a word.
        unsafe { self.buddy_allocator.add_to_heap(mem_start_addr, end) };
        Ok(())
    }

    /// Allocates a block and returns its address.
    ///
    /// # Errors
    ///
    /// [`AllocError`] when the buddy system has no block that is large enough.
    ///
    /// # Panics
    ///
    /// When `layout.size()` rounded up to a power of two overflows.
    #[inline]
    pub fn allocate(&mut self, layout: Layout) -> Result<usize, AllocError> {
        dispatch!(
            [&mut] self,
            Self::layout_to_allocator(&layout),
            slab => slab.allocate(&mut self.buddy_allocator),
            buddy => match self.buddy_allocator.alloc(layout) {
                Ok(block) => Ok(block.addr().get()),
                Err(()) => Err(AllocError),
            },
        )
    }

    /// Takes a block back.
    ///
    /// # Safety
    ///
    /// - This heap handed out the block at `ptr` for `layout`, and it was not taken back since.
    /// - Nobody uses the block any more.
    #[inline]
    pub unsafe fn deallocate(&mut self, ptr: usize, layout: Layout) {
        dispatch!(
            [&mut] self,
            Self::layout_to_allocator(&layout),
            // SAFETY: The layout leads to the slab that handed the block out.
            slab => unsafe { slab.deallocate(ptr) },
            buddy => if let Some(block) = NonNull::new(ptr::with_exposed_provenance_mut(ptr)) {
                // SAFETY: By this function's contract.
                unsafe { self.buddy_allocator.dealloc(block, layout) };
            },
        );
    }

    /// Returns the bytes that a block for `layout` has at least and at most.
    #[inline]
    #[must_use]
    pub fn usable_size(&self, layout: Layout) -> (usize, usize) {
        let size = layout.size();
        match Self::layout_to_allocator(&layout).block_bytes() {
            Some(block_bytes) => (size, block_bytes),
            None => (size, size),
        }
    }

    /// Returns who serves requests with this layout.
    #[inline]
    #[must_use]
    pub fn layout_to_allocator(layout: &Layout) -> HeapAllocator {
        let (size, align) = (layout.size(), layout.align());
        if size > 4096 {
            HeapAllocator::BuddyAllocator
        } else if size <= 64 && align <= 64 {
            HeapAllocator::Slab64Bytes
        } else if size <= 128 && align <= 128 {
            HeapAllocator::Slab128Bytes
        } else if size <= 256 && align <= 256 {
            HeapAllocator::Slab256Bytes
        } else if size <= 512 && align <= 512 {
            HeapAllocator::Slab512Bytes
        } else if size <= 1024 && align <= 1024 {
            HeapAllocator::Slab1024Bytes
        } else if size <= 2048 && align <= 2048 {
            HeapAllocator::Slab2048Bytes
        } else {
            HeapAllocator::Slab4096Bytes
        }
    }

    /// Returns the slabs' bytes plus the buddy system's.
    ///
    /// What slabs took from the buddy system is in both.
    #[must_use]
    pub fn total_bytes(&self) -> usize {
        self.slab_bytes(|slab| slab.total_blocks) + self.buddy_allocator.stats_total_bytes()
    }

    /// Returns the bytes of the blocks that slabs have out, plus those that the buddy system has.
    ///
    /// What slabs took from the buddy system counts as out there.
    #[must_use]
    pub fn used_bytes(&self) -> usize {
        self.slab_bytes(|slab| slab.used_blocks) + self.buddy_allocator.stats_alloc_actual()
    }

    /// Returns `total_bytes() - used_bytes()`.
    #[must_use]
    pub fn available_bytes(&self) -> usize {
        self.total_bytes() - self.used_bytes()
    }

    /// Returns the bytes that the buddy system has to give, in whatever pieces.
    fn buddy_free_bytes(&self) -> usize {
        self.buddy_allocator.stats_total_bytes() - self.buddy_allocator.stats_alloc_actual()
    }

    /// Returns the blocks that slabs have out.
    fn used_blocks(&self) -> usize {
        let figures = |slab| Some(self.figures(slab)?.used_blocks);
        HeapAllocator::SLABS.into_iter().filter_map(figures).sum()
    }

    /// Sums up a count of blocks over the slabs, in bytes.
    fn slab_bytes(&self, count: impl Fn(SlabFigures) -> usize) -> usize {
        let bytes = |slab| {
            let figures = self.figures(slab)?;
            Some(count(figures) * figures.block_bytes)
        };
        HeapAllocator::SLABS.into_iter().filter_map(bytes).sum()
    }

    /// Returns what is to be known of a slab.
    fn figures(&self, which: HeapAllocator) -> Option<SlabFigures> {
        let block_bytes = which.block_bytes()?;
        dispatch!(
            [&] self,
            which,
            slab => {
                let (free_blocks, first_free) = slab.free_blocks();
                Some(SlabFigures {
                    block_bytes,
                    total_blocks: slab.total_blocks(),
                    used_blocks: slab.used_blocks(),
                    free_blocks,
                    first_free,
                })
            },
            buddy => None,
        )
    }
}

/// What is to be known of a slab.
#[derive(Clone, Copy)]
struct SlabFigures {
    block_bytes: usize,
    total_blocks: usize,
    used_blocks: usize,
    free_blocks: usize,
    first_free: Option<usize>,
}
