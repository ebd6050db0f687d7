// SPDX-License-Identifier: GPL-2.0

//! The catalog of the defects: name, broken rule, explanation, and a public report of a similar defect.
//!
//! The addresses name reports of defects in other allocators. The allocators of the hunt share no code with those.

use crate::{
    defect::Entry,
    kind::Kind,
    rule::Rule, //
};

/// Declares the enum `Defect` and its entries. An entry is a variant, its name, the rule that its trace breaks, the
/// explanation, and the address of a public report, if one is known.
macro_rules! defects {
    ($($kind:ident {
        $($variant:ident $name:literal $rule:ident: $explanation:literal $($report:literal)?;)+
    })+) => {
        /// A defect of an allocator.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Defect {
            $($(#[doc = $explanation] $variant,)+)+
        }

        impl Defect {
            /// All defects.
            pub const ALL: [Self; [$($($name,)+)+].len()] = [$($(Self::$variant,)+)+];

            /// Returns what the catalog says about the defect.
            pub(crate) const fn entry(self) -> Entry {
                match self {
                    $($(Self::$variant => Entry {
                        name: $name,
                        kind: Kind::$kind,
                        rule: Rule::$rule,
                        explanation: $explanation,
                        report: report!($($report)?),
                    },)+)+
                }
            }
        }
    };
}

/// The address of a report, if there is one.
macro_rules! report {
    () => {
        None
    };
    ($report:literal) => {
        Some($report)
    };
}

defects! {
    FirstFit {
        LastFreeBlockSkipped "last-free-block-skipped" NoMemoryLost:
            "The search ends before the last free block of the list, unless that block is the only one. The end of the \
             list is tested one step too early. The memory of the last free block is found only when all other free \
             blocks are gone.";
        GapLost "gap-lost" NoMemoryLost:
            "If the alignment leaves a gap in front of the new block, the gap is not put back into the list. No block \
             owns these bytes any more: each aligned request loses some memory for ever, until the pool seems to be \
             full."
            "https://github.com/phil-opp/blog_os/issues/796";
        RemainderTooSmall "remainder-too-small" Untouched:
            "Sizes are rounded up to 8 bytes only, so that a split can leave a remainder of 8 bytes. The header of a \
             free block has 16 bytes: its second word is written behind the remainder, into the next live block or \
             behind the end of the pool."
            "https://github.com/rust-osdev/linked-list-allocator/issues/66";
        ZeroRemainder "zero-remainder" AccessInPool:
            "A block that fits exactly is split, too, into the block and a remainder of no bytes. The header of the \
             remainder is written behind the block: into the next live block, or behind the end of the pool.";
        CoalescesOverLiveBlock "coalesces-over-live-block" Untouched:
            "A freed block is merged with the next free block if less than one unit lies between them, although the \
             16 bytes in between can be a live block. The live block then is inside of a free one, and is allocated a \
             second time, or a header is written into it.";
        MergeOfThreeLosesThird "merge-of-three-loses-third" NoMemoryLost:
            "If both neighbours of a freed block are free, the three become one block, but the length of the third is \
             not added. Its memory is lost. Only this order of frees shows it: the block in the middle must be the \
             last."
            "https://github.com/dmsc/emu2/issues/122";
        ListLoops "list-loops" Ends:
            "A block that is freed in front of all other free blocks becomes the first of the list, and the old first \
             block becomes its successor. Here the head is replaced before it is read, so that the block is its own \
             successor. The next search that walks past the block never ends."
            "https://github.com/avrdudes/avr-libc/issues/308";
    }
    Resizing {
        ShrinkForgetsTail "shrink-forgets-tail" NoMemoryLost:
            "A block that shrinks in place does not put its tail into the list of free blocks. When the block is freed, \
             the caller names the smaller size, so that the tail is lost for ever."
            "https://github.com/gnzlbg/jemallocator/pull/92";
        AlignmentLostByShrink "alignment-lost-by-shrink" Aligned:
            "The tail of a block that shrinks begins at the new size, which is not rounded up to 16 bytes. A free block \
             then begins at an odd multiple of 8. Requests aligned to 16 get it as it is, because all free blocks were \
             aligned to 16 so far; and the block is freed with its rounded size, which overlaps the tail."
            "https://github.com/avrdudes/avr-libc/issues/394";
        GrowsOverLiveBlock "grows-over-live-block" Disjoint:
            "A block that grows takes its memory from the next free block of the list, without a test whether this \
             block begins where the growing block ends. The block grows over the live blocks in between."
            "https://github.com/llvm-mos/llvm-mos-sdk/issues/314";
        GrowLeavesMemoryFree "grow-leaves-memory-free" Untouched:
            "A block that grows gets the memory of the free block behind it, but that block stays in the list. The \
             next request or free reads a header that is inside of a live block, or returns the memory a second time."
            "https://github.com/avrdudes/avr-libc/issues/367";
        GrowLosesRest "grow-loses-rest" NoMemoryLost:
            "A block that grows removes the free block behind it from the list, and keeps the part that it needs. The \
             rest is not put back, so that it is lost.";
    }
    Slabs {
        ClassOffByOne "class-off-by-one" Disjoint:
            "The class is computed from the size minus one granule instead of minus one byte. A size of up to 8 bytes \
             more than a class gets an object of that class, and reaches into the next object."
            "https://github.com/gscept/nebula/pull/181";
        ClassIgnoresAlignment "class-ignores-alignment" Aligned:
            "The class is computed from the size alone. An object is aligned to the bytes of its class only, so that \
             a small block with a large alignment is misaligned unless it is the first object of its slab."
            "https://github.com/microsoft/mimalloc/issues/700";
        BitmapWordBoundary "bitmap-word-boundary" OwnCheck:
            "A free computes the word of the bitmap from the number of the object plus one. For the 64th object, the \
             word is the next one, in which the bit is clear. Only slabs with at least 64 allocated objects show it.";
        CountsTwice "counts-twice" OwnCheck:
            "A free into a full slab subtracts two from the counter. The counter reaches zero while one object is \
             live, so that the slab becomes a free page with a live object in it, and the memory is allocated again."
            "https://github.com/mit-pdos/xv6-riscv-fall19/pull/13";
        WrongClassAfterResize "wrong-class-after-resize" OwnCheck:
            "A block that shrinks stays in its object, whose class only the page knows. A free here uses the class of \
             the new size, and so computes another object and another bit of the bitmap."
            "https://github.com/gnzlbg/jemallocator/pull/92";
        FreesIntoOtherSlab "frees-into-other-slab" OwnCheck:
            "A free uses the slab at the front of the list of its class, instead of the slab in which the block lies. \
             With one partial slab the two are the same. With a second slab, the bit of another object is cleared: \
             of a free one, or of a live one.";
        TailPageLost "tail-page-lost" NoMemoryLost:
            "A request for whole pages rounds the size up, but the free rounds it down. If the size is no multiple of \
             a page, the last page is never free again."
            "https://github.com/vespa-engine/vespa/pull/883";
        RunOfNoPages "run-of-no-pages" Ends:
            "The length of a run is recorded rounded down. For a block of more than 2048 and less than 4096 bytes the \
             length is 0, and the search for free pages, which jumps over runs by their length, never gets past it.";
        LastPageUnused "last-page-unused" NoMemoryLost:
            "The search for free pages ends one page before the end of the pool. The last page is never allocated, and \
             a request for the whole pool is refused."
            "https://github.com/unikraft/unikraft/issues/688";
        PageCountOverflows "page-count-overflows" InPool:
            "The number of pages of a request is kept in 8 bits. For 256 pages it is 0: any place is long enough, and \
             no page is marked as used. The block reaches beyond the end of the pool, or over other blocks."
            "https://github.com/rhempel/umm_malloc/issues/62";
    }
    Buddy {
        PoolRoundedUp "pool-rounded-up" AccessInPool:
            "The length of the pool is rounded up to a power of two, and the pool becomes one free block. The upper \
             part of the block does not exist: splitting it writes links behind the end of the pool, or a block is \
             returned that lies there.";
        SplitLosesHalf "split-loses-half" NoMemoryLost:
            "The loop that puts the upper halves of a split back ends one order too early. The smallest upper half, \
             the buddy of the new block, is in no list. It is found again only if its buddy is freed and merging did \
             not need it.";
        BuddyOfOtherOrder "buddy-of-other-order" Untouched:
            "A freed block is merged with its buddy if any free block begins there, also a smaller one. The rest of the \
             buddy can be live. The merged block contains live memory."
            "https://github.com/rcore-os/buddy_system_allocator/pull/31";
        BuddyIsNextBlock "buddy-is-next-block" Aligned:
            "The buddy is computed as the next block of the same order, not as the offset with one bit changed. For an \
             upper half this is a block of another pair: merging the two gives a block that does not begin at a multiple \
             of its length.";
        LargestNeverMerges "largest-never-merges" NoMemoryLost:
            "Merging ends one order below the largest. Two free blocks of half the largest size stay apart for ever, so \
             that a request of the largest size is refused although the pool is empty."
            "https://github.com/rcore-os/buddy_system_allocator/pull/31";
        StaleBackLink "stale-back-link" Untouched:
            "A block that leaves the middle of its list updates the block before it, but not the block behind it, which \
             still names the removed block. When the block behind is removed in turn, its link is written into the \
             memory of the first one, which may be live by then.";
    }
    Magazines {
        StaleMagazine "stale-magazine" Disjoint:
            "When all magazines are flushed, the blocks are freed in the heap, but the counts of the magazines stay. \
             The magazines then name blocks that are free in the heap, so that the memory is allocated twice.";
        FlushLosesBlock "flush-loses-block" NoMemoryLost:
            "A full magazine keeps the first half of its blocks, and frees the others in the heap except for one. That \
             block is in no magazine and not free in the heap: it is lost, and its page with it.";
        LastBlockStaysInMagazine "last-block-stays-in-magazine" Disjoint:
            "The last block of a magazine is taken without an update of the count, because the count is decremented only \
             while it is more than one. The next request gets the same block again.";
        MagazineOfNextClass "magazine-of-next-class" Disjoint:
            "A freed block that fills its object completely is put into the magazine of the next class, because the \
             comparison of its size with the class is off by one. A later request of that class gets a block of half \
             the size.";
        MagazinesNotFlushed "magazines-not-flushed" NoMemoryLost:
            "A request for whole pages is refused at once if the heap has no run that is long enough. Magazines are \
             flushed only for small requests. The objects in the magazines keep their pages in use although all \
             their memory is free."
            "https://github.com/google/sanitizers/issues/233";
    }
}
