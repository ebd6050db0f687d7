// SPDX-License-Identifier: GPL-2.0

//! The engine `seed`: slabs over a buddy system, exactly as `docs/seed-design.md` describes them.
//!
//! `docs/seed-design.md` contains the design, with diagrams and numbers. [`Heap`] has the names of the
//! design, so a program that uses the public crate of this design can use [`Heap`] after a change of one
//! `use` line. [`Seed`] puts the same heap behind the [`Engine`](crate::Engine) trait.
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
//! The design is that of a textbook, and this module reproduces the weaknesses of the design on purpose. The
//! reader is invited to find them: in this code, with `slablab stress` and `slablab replay`, and with the exhibits
//! of the museum (`docs/museum.md`). `slablab course start 9` is the exercise that repairs them, one at a time.
//! The solution is a page for teachers, `docs/seed-weaknesses.md`, which names the test of each weakness.

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

/// The smallest size of a heap. The size of a new heap is a multiple of `MIN_HEAP_SIZE`.
pub const MIN_HEAP_SIZE: usize = 0x8000;

/// The alignment of a heap's memory and of the memory with which a slab grows.
const PAGE_SIZE: usize = 4096;

/// The second tier: a buddy system with blocks of 2³ to 2³¹ bytes.
type BuddySystem = buddy_system_allocator::Heap<32>;

/// The error of a request for which the heap has no free block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllocError;

impl fmt::Display for AllocError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the heap has no free block for this layout")
    }
}

impl core::error::Error for AllocError {}

/// The reasons for which a heap refuses memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryError {
    /// The start is not a multiple of 4096, or is the null address.
    Misaligned,
    /// The size is smaller than [`MIN_HEAP_SIZE`].
    TooSmall,
    /// The size of a new heap is not a multiple of [`MIN_HEAP_SIZE`], or the size of added memory is not a
    /// multiple of 4096.
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

/// The part of a [`Heap`] that serves a request: a slab or the buddy system.
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

    /// Returns the size of the blocks of a slab, or `None` for the buddy system.
    #[must_use]
    pub const fn block_bytes(self) -> Option<usize> {
        match self {
            Self::BuddyAllocator => None,
            slab => Some(64 << slab as usize),
        }
    }
}

/// A heap of seven slabs for requests of at most 4096 bytes, over a buddy system for the others.
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

// SAFETY: A value may move to another thread if it contains nothing that is bound to a thread. A heap
// contains only counters and pointers to free memory, which no one but the heap uses.
unsafe impl Send for Heap {}

/// Evaluates `$then` with `$slab` bound to the slab that `$which` names, borrowed by the tokens in
/// the brackets, or evaluates `$buddy`.
///
/// The seven slabs have seven types, so they cannot be an array.
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
    /// Creates a heap of `heap_size` bytes at `heap_start_addr`.
    ///
    /// # Panics
    ///
    /// If [`Heap::try_new`] returns an error for the same arguments.
    ///
    /// # Safety
    ///
    /// The contract of [`Heap::try_new`].
    #[must_use]
    pub unsafe fn new(heap_start_addr: usize, heap_size: usize) -> Self {
        // SAFETY: The contract of `try_new` is that of this function.
        match unsafe { Self::try_new(heap_start_addr, heap_size) } {
            Ok(heap) => heap,
            Err(error) => panic!("{error}"),
        }
    }

    /// Creates a heap of `heap_size` bytes at `heap_start_addr`.
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
    /// // SAFETY: The memory was leaked, so it is valid for ever and nothing else uses it.
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
    /// - The memory is valid for reads and writes as long as the heap lives.
    /// - Nothing but the heap and the owners of its live blocks uses that memory meanwhile.
    /// - The provenance of the memory was exposed.
    pub unsafe fn try_new(heap_start_addr: usize, heap_size: usize) -> Result<Self, MemoryError> {
        Self::check_size(heap_size)?;
        let mut heap = Self::empty();
        // SAFETY: The contract of `try_add_memory` is that of this function.
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
    /// If [`Heap::try_add_memory`] returns an error for the same arguments.
    ///
    /// # Safety
    ///
    /// The contract of [`Heap::try_new`].
    pub unsafe fn add_memory(&mut self, mem_start_addr: usize, mem_size: usize) {
        // SAFETY: The contract of `try_add_memory` is that of this function.
        if let Err(error) = unsafe { self.try_add_memory(mem_start_addr, mem_size) } {
            panic!("{error}");
        }
    }

    /// Adds `mem_size` bytes at `mem_start_addr` to the heap.
    ///
    /// # Errors
    ///
    /// The first [`MemoryError`] that applies. The heap is then unchanged.
    ///
    /// # Safety
    ///
    /// The contract of [`Heap::try_new`].
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
        // SAFETY: `add_to_heap` requires memory that is valid, writable and in no other heap as long as the
        // buddy system exists, which the caller promises, and a range that does not wrap around, which
        // `checked_add` ensured.
        unsafe { self.buddy_allocator.add_to_heap(mem_start_addr, end) };
        Ok(())
    }

    /// Allocates a block and returns its address.
    ///
    /// O(1) from a slab with a free block. A slab that grows takes 64 more steps. The buddy system splits at
    /// most 31 blocks.
    ///
    /// # Errors
    ///
    /// [`AllocError`] if the buddy system has no block that is large enough.
    ///
    /// # Panics
    ///
    /// If `layout.size()` rounded up to a power of two overflows.
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

    /// Frees a block.
    ///
    /// A free to a slab is O(1). A free to the buddy system is O(n) for n free blocks of the same size, at
    /// each of at most 31 sizes.
    ///
    /// # Safety
    ///
    /// - [`Heap::allocate`] of this heap returned `ptr` for `layout`, and the block is live.
    /// - Nothing uses the block any more.
    #[inline]
    pub unsafe fn deallocate(&mut self, ptr: usize, layout: Layout) {
        dispatch!(
            [&mut] self,
            Self::layout_to_allocator(&layout),
            // SAFETY: The caller promises that the block is live and unused, and that this heap allocated it
            // for this layout. The same layout always leads to the same slab, so this slab allocated the
            // block.
            slab => unsafe { slab.deallocate(ptr) },
            buddy => if let Some(block) = NonNull::new(ptr::with_exposed_provenance_mut(ptr)) {
                // SAFETY: The caller promises that this heap allocated the block for this layout, which leads
                // to the buddy system, and that the block is live and unused.
                unsafe { self.buddy_allocator.dealloc(block, layout) };
            },
        );
    }

    /// Returns the smallest and the largest number of bytes that a block for `layout` may have.
    #[inline]
    #[must_use]
    pub fn usable_size(&self, layout: Layout) -> (usize, usize) {
        let size = layout.size();
        match Self::layout_to_allocator(&layout).block_bytes() {
            Some(block_bytes) => (size, block_bytes),
            None => (size, size),
        }
    }

    /// Returns the allocator that serves requests with this layout.
    ///
    /// This is the decision tree of the design. The tree first compares the size with 4096, and then the size
    /// and the alignment with the block sizes.
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

    /// Returns the bytes of all slabs plus the bytes of the buddy system.
    ///
    /// The memory of slabs is counted twice, because it came from the buddy system.
    #[must_use]
    pub fn total_bytes(&self) -> usize {
        self.slab_bytes(|slab| slab.total_blocks) + self.buddy_allocator.stats_total_bytes()
    }

    /// Returns the bytes of the live blocks of slabs plus the allocated bytes of the buddy system.
    ///
    /// All memory of slabs is allocated in the buddy system, so live blocks of slabs are counted twice.
    #[must_use]
    pub fn used_bytes(&self) -> usize {
        self.slab_bytes(|slab| slab.used_blocks) + self.buddy_allocator.stats_alloc_actual()
    }

    /// Returns `total_bytes() - used_bytes()`.
    #[must_use]
    pub fn available_bytes(&self) -> usize {
        self.total_bytes() - self.used_bytes()
    }

    /// Returns the free bytes of the buddy system, in free blocks of all sizes.
    fn buddy_free_bytes(&self) -> usize {
        self.buddy_allocator.stats_total_bytes() - self.buddy_allocator.stats_alloc_actual()
    }

    /// Returns the number of live blocks of all slabs.
    fn used_blocks(&self) -> usize {
        let used = |slab| Some(self.slab_stats(slab)?.used_blocks);
        HeapAllocator::SLABS.into_iter().filter_map(used).sum()
    }

    /// Returns the sum, over all slabs, of the blocks that `count` returns, in bytes.
    fn slab_bytes(&self, count: impl Fn(SlabStats) -> usize) -> usize {
        let bytes = |slab| {
            let stats = self.slab_stats(slab)?;
            Some(count(stats) * stats.block_bytes)
        };
        HeapAllocator::SLABS.into_iter().filter_map(bytes).sum()
    }

    /// Returns the statistics of a slab, or `None` for the buddy system.
    fn slab_stats(&self, which: HeapAllocator) -> Option<SlabStats> {
        let block_bytes = which.block_bytes()?;
        dispatch!(
            [&] self,
            which,
            slab => {
                let (free_blocks, first_free) = slab.free_blocks();
                Some(SlabStats {
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

/// The statistics of a slab.
#[derive(Clone, Copy)]
struct SlabStats {
    block_bytes: usize,
    total_blocks: usize,
    used_blocks: usize,
    free_blocks: usize,
    /// The address of the first block in the free list.
    first_free: Option<usize>,
}
