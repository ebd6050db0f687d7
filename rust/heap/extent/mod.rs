// SPDX-License-Identifier: GPL-2.0

//! `extent`: runs of granules, found by size in bins, behind per-CPU magazines.
//!
//! A pool is divided into *granules* of 16 bytes. A *run* is a sequence of adjacent granules: a block or a free run.
//! Blocks and free runs cover each region without gaps. There are no slabs and no buddy system: a free coalesces the
//! block with the free runs on both sides, and the memory then serves a request of any size. Up to 4096 bytes a size is
//! rounded up to one of 48 size classes, because a magazine needs sizes that repeat. A class has no memory of its own.
//!
//! The metadata lies outside of the pool, and the engine never accesses a byte of the pool. The metadata of a page is a
//! descriptor of 72 bytes and 7 bytes of bins; a region of less than 64 pages has 448 bytes of bins. A bad free that
//! reaches the heap is refused with its cause.
//!
//! # Reading order
//!
//! 1. `place`: granules, runs, and the length and alignment that serve a layout.
//! 2. `page`: page descriptors. Two bits for each granule say where runs begin, and whether they are free.
//! 3. `table`: the descriptors of a region. Finds a run by its first granule, and the run before it.
//! 4. `bins`, then `matrix`: the bins of free runs. A matrix of bits finds a page with a short free run of a bin.
//! 5. `runs`: find, split and coalesce. Files 1 to 5 are the textbook's allocator.
//! 6. `class`, then `heap`: size classes, batches and the counters. Implements `BackingHeap`, the interface of the
//!    engine to a heap.
//! 7. [`magazines`](crate::magazines): per-CPU stacks of free blocks, the depot, the lock, and the engine.
//!
//! `counts` has the counters, and `refusal` the causes of refused requests and frees. `inspect/` has the statistics,
//! the map and the check. Two words have another meaning in the ABI: an *extent* is a part of a map (`inspect/map.rs`),
//! and a *short* free run is shorter than one page (`inspect/stats.rs`), but shorter than two pages in the other files.
//!
//! # The bits
//!
//! The beginning of a pool: a block of 112 bytes (7 granules), a free run of 2 pages and 100 granules, and a block that
//! ends at the end of page 2. A dot is a bit that nobody reads.
//!
//! ```text
//!             page 0                           page 1                 page 2
//!  granule    0       7                255     256             511    512         619          767
//!            ┌───────┬────────────────────────────────────────────────────────────┬───────────────┐
//!            │ block │ free run                                                   │ block         │
//!            └───────┴────────────────────────────────────────────────────────────┴───────────────┘
//!  begins     1000000 1000000 …        0       0000 …          0      0000 …      1000 …       0
//!  free       0······ 1······ …        ·       links           ·      ···· …      0··· …       ·
//!  end        619                              (not valid)            768
//!  head       (not valid)                      (not valid)            7
//!
//!  bins       the free run has 612 granules, so it is long: the list of bin 59 (608 to 639 granules) contains it
//!  matrix     no bit, because no short free run begins in these pages
//! ```
//!
//! `end` and `head` are granules of the region. A run of 512 granules or more is *long*. It contains its second page
//! completely, so no run begins there, and the first word of `free` of that page has the links of the list.
//!
//! # Invariants
//!
//! The check of the heap names a broken invariant by the rule in brackets.
//!
//! - Blocks and free runs cover each region. A bit of `begins` is set if and only if a run begins at the granule. `end`
//!   names the end of the last run that begins in a page, and `head` the beginning of the run of several pages that
//!   ends in a page ([`Partition`](crate::check::Rule::Partition)).
//! - Free runs are maximal: no two of them lie side by side ([`Merged`](crate::check::Rule::Merged)).
//! - A long free run is in the list of its bin. For a short one the bit of its bin and its page is set
//!   ([`Lists`](crate::check::Rule::Lists)). A bit of a higher level of the matrix is set if and only if the word below
//!   is not 0, and a bit of the set of bins if and only if the bin has a run
//!   ([`Summary`](crate::check::Rule::Summary)).
//! - The counters agree with the runs ([`FreeCounters`](crate::check::Rule::FreeCounters),
//!   [`ClassCounters`](crate::check::Rule::ClassCounters), [`LiveBlocks`](crate::check::Rule::LiveBlocks)).
//! - Only the holder of the lock writes metadata. The bits at the first granule of a block, the next bit that is set in
//!   `begins`, and `end` if no bit follows in the page, do not change while the block is allocated, unless its owner
//!   resizes it. A free therefore checks the block without the lock.
//!
//! # The path of a request
//!
//! 1. The current CPU's magazine for the class or the number of pages, with preemption off and no lock. Sizes up to
//!    4096 bytes and blocks of 2 to 16 pages have magazines.
//! 2. The depot, under the lock: a full magazine, which another CPU may have filled.
//! 3. The heap, under the lock. Before a request for more than 1/16 of the pool, the magazines of this CPU and the
//!    depot are flushed, because a few small blocks beside the large one would divide the rest of the pool.
//!    - The search begins in the bin of the length, and takes a run of the first bin that has one that fits. In each
//!      bin it examines one page of each region or one long run, and up to 8 more pages and long runs in total. An
//!      equal or somewhat longer run is therefore preferred to a long one (good fit).
//!    - A block of up to 1 KiB lies at the end of the run, a larger one at its beginning, where it can often grow.
//!      Blocks of whole pages have the alignment of a page, so that they can be mapped.
//!    - If the request refills a magazine and the run is long enough, a *batch* of blocks is taken side by side: see
//!      `Heap::batch`.
//! 4. If the request was refused as exhausted or fragmented: the magazines of this CPU and the depot are flushed, then
//!    the magazines of all CPUs, and the heap tries again after each of the two. As a fallback, the heap examines up to
//!    256 more pages and long runs instead of 8.
//! 5. The request is refused: [`TooBig`](crate::Refusal::TooBig) if no region is long enough,
//!    [`Unsupported`](crate::Refusal::Unsupported) for an alignment that the memory does not have,
//!    [`Exhausted`](crate::Refusal::Exhausted) if too few granules are free, else
//!    [`Fragmented`](crate::Refusal::Fragmented) with Linux's fragmentation index; [`Busy`](crate::Refusal::Busy) if
//!    the magazines of a CPU could not be reached.
//!
//! A free goes the other way. The block is compared with the page descriptor without the lock, and pushed into the
//! CPU's magazine. A full magazine grows, if its limit and the budget allow. Otherwise most of its blocks move to the
//! depot. If the depot does not take them, up to 8 of them are freed to the heap. The heap frees adjacent blocks of a
//! flush as one run, and coalesces this run with its neighbours.
//!
//! # Sources and changes
//!
//! - Boundary tags: Knuth, TAOCP 1, 2.5. Knuth's tags are words at both ends of a block. Here they are bits outside of
//!   the pool, so a block needs no header, and a program cannot damage them.
//! - Bins with bitmaps: Masmano, Ripoll, Crespo and Real (TLSF: a New Dynamic Memory Allocator for Real-Time Systems,
//!   2004). TLSF rounds the request up, so that every run of the bin fits. Here the search also tries the bin of the
//!   length. TLSF has a list for each bin. Here short free runs are found by page, because a free run of one granule
//!   has no place for links outside of the pool. Blocks up to 1 KiB thus gather at the end of a region.
//! - Classes: eight to a doubling, where `hybrid` has four. Before the engine was written, a simulation compared designs.
//!   In this simulation, the mean utilisation of the traces `twelve` (see `docs/benchmarks.md`) at alignment 16 was
//!   91.3 % with exact sizes, 91.0 % with eight classes to a doubling, and 90.0 % with four.
//! - Batches against checkerboards. In the simulation each class kept a *chunk*: memory that was cut in advance, and
//!   that was returned when a request did not fit. Here a refill of a magazine takes its blocks side by side, and
//!   nothing is cut in advance, because chunks gained only 0.2 points of the mean utilisation of `twelve`.
//!
//! # Drawbacks
//!
//! - Every block takes whole granules. At alignment 8, where many blocks have 24 bytes, the traces `newer` need less
//!   memory in `hybrid` (utilisation 86.7 % against 82.3 %).
//! - A request may be refused as fragmented although a free run fits, if the fallback does not examine this run. In the
//!   traces of the benchmark no run that fits was missed, even without the fallback.
//! - A free into a magazine takes more instructions than in `hybrid`: the length of the block is not stored, so the
//!   check searches up to four words of `begins` for the next run.
//! - An allocation from the heap searches the bins and updates two or three of them, and a free to the heap updates up
//!   to three. An allocation and a free of whole pages that no magazine serves take several times the instructions of
//!   `hybrid`.
//! - The metadata takes 1.9 % of the pool, whether the pool is used or not, and the depot 0.1 %.
//!
//! `docs/limits.md` lists all limits, and `docs/benchmarks.md` has the figures.

#[forbid(unsafe_code)]
mod bins;
mod class;
#[forbid(unsafe_code)]
mod counts;
mod heap;
mod inspect;
#[forbid(unsafe_code)]
mod matrix;
#[forbid(unsafe_code)]
mod page;
#[forbid(unsafe_code)]
mod place;
#[forbid(unsafe_code)]
mod refusal;
#[forbid(unsafe_code)]
mod runs;
mod table;
#[cfg(test)]
mod tests;

pub use heap::Heap;

use crate::magazines::{
    MagazineEngine,
    State as EngineState, //
};

/// The engine `extent`. `L` is the lock around the heap, `P` the caches of the CPUs.
pub type ExtentEngine<L, P> = MagazineEngine<Heap, L, P>;

/// The state of `extent` behind the lock.
pub type State = EngineState<Heap>;

impl State {
    /// Returns the state of an engine without memory.
    // Inlined into a constant: the state is larger than a stack frame should be.
    #[inline(always)]
    #[must_use]
    pub const fn new() -> Self {
        Self::with_heap(Heap::new())
    }
}
