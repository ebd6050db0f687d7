// SPDX-License-Identifier: GPL-2.0

//! The ABI of `/dev/slablab`, which `rust/uapi/slablab.h` defines.
//!
//! bindgen generates the structures and constants from the header. The conversions from the types of engines
//! and sessions are in `rust/uapi/replies.rs`, a file of the module. Each enumeration of the header is a Rust
//! enum here, so that the rest of the command compares names instead of numbers.

#[expect(
    missing_docs,
    non_camel_case_types,
    clippy::undocumented_unsafe_blocks,
    reason = "made by bindgen from the header, where the documentation is"
)]
#[path = "../../../rust/uapi/slablab.rs"]
mod raw;

#[path = "../../../rust/uapi/replies.rs"]
#[forbid(unsafe_code)]
mod replies;

use std::fmt;

use serde::{
    Deserialize,
    Serialize, //
};

pub use raw::*;
pub(crate) use replies::{
    capabilities,
    check_reply,
    event,
    free_bytes,
    misuse,
    offset,
    refusal_cost, //
};

/// The offset of a block that is in no pool.
pub const NO_OFFSET: u64 = replies::NO_OFFSET;

/// The bytes of a block of order 0.
pub const PAGE_BYTES: u64 = slab_heap::PAGE_BYTES as u64;

/// The device's path.
pub const DEVICE: &str = match SLABLAB_DEVICE.split_last() {
    Some((0, path)) => match core::str::from_utf8(path) {
        Ok(path) => path,
        Err(_) => panic!("the path is not UTF-8"),
    },
    _ => panic!("the path does not end in NUL"),
};

impl slablab_info {
    /// Returns the available engines.
    pub fn engines(&self) -> impl Iterator<Item = Engine> + use<> {
        let bits = self.engines;
        let engines = Engine::ALL.iter().copied();
        engines.filter(move |engine| bits & (1 << engine.raw()) != 0)
    }
}

impl slablab_cost {
    /// Returns all fields as one number, so that two costs can be compared.
    pub fn bits(&self) -> u64 {
        let Self {
            path,
            cause,
            class_index,
            order,
            splits,
            merges,
            fragmentation,
        } = *self;
        let [low, high] = fragmentation.to_le_bytes();
        u64::from_le_bytes([path, cause, class_index, order, splits, merges, low, high])
    }
}

/// Declares an enum of constants of the header, with their names in text and JSON.
macro_rules! header_enum {
    ($(#[$docs:meta])* $name:ident { $($(#[doc = $doc:literal])* $variant:ident = $value:ident, $text:literal;)* }) => {
        $(#[$docs])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[repr(u32)]
        pub enum $name {
            $($(#[doc = $doc])* #[serde(rename = $text)] $variant = $value,)*
        }

        impl $name {
            /// Every value that the header names.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Returns the value with a number of the ABI.
            #[allow(dead_code, reason = "not all of them come from the kernel")]
            pub fn from_raw(raw: u32) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.raw() == raw)
            }

            /// Returns the value with a name in text and JSON.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.name() == name)
            }

            /// Returns the number of the ABI.
            pub const fn raw(self) -> u32 {
                self as u32
            }

            /// Returns the name in text and JSON.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }

            /// Returns the comment of the value.
            pub fn comment(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($($doc),*).trim(),)*
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }
    };
}

header_enum! {
    /// An engine. The help of the command line shows these comments.
    Engine {
        /// The module's default.
        Default = SLABLAB_ENGINE_DEFAULT, "default";
        /// Slabs over a buddy system, the design of docs/seed-design.md.
        Seed = SLABLAB_ENGINE_SEED, "seed";
        /// Slabs over a buddy system, behind per-CPU magazines.
        Hybrid = SLABLAB_ENGINE_HYBRID, "hybrid";
        /// Linux's own kvmalloc, on the device only.
        Slub = SLABLAB_ENGINE_SLUB, "slub";
    }
}

header_enum! {
    /// The path of an operation.
    Path {
        /// The operation was not served.
        None = SLABLAB_PATH_NONE, "none";
        /// A free object of a slab.
        Slab = SLABLAB_PATH_SLAB, "slab";
        /// An object of a new slab, whose memory came from the buddy system.
        Growth = SLABLAB_PATH_GROWTH, "growth";
        /// A block of the buddy system.
        Buddy = SLABLAB_PATH_BUDDY, "buddy";
        /// The kernel's own allocator.
        Kernel = SLABLAB_PATH_KERNEL, "kernel";
        /// A REALLOC in place: the block did not move.
        InPlace = SLABLAB_PATH_IN_PLACE, "in place";
        /// A magazine of the CPU.
        Magazine = SLABLAB_PATH_MAGAZINE, "magazine";
        /// A path of an engine that has neither slabs nor a buddy system.
        Other = SLABLAB_PATH_OTHER, "other";
    }
}

header_enum! {
    /// The cause for which a request was refused.
    Cause {
        /// The request was not refused, or the errno needs no cause.
        None = SLABLAB_CAUSE_NONE, "none";
        /// The request would not fit into the pool if the pool were empty.
        TooBig = SLABLAB_CAUSE_TOO_BIG, "too big";
        /// The pool has fewer free bytes than the request needs.
        Exhausted = SLABLAB_CAUSE_EXHAUSTED, "exhausted";
        /// The pool has enough free bytes, but no free block that is large enough.
        Fragmented = SLABLAB_CAUSE_FRAGMENTED, "fragmented";
        /// The request exceeds the session's quota of bytes or handles.
        Quota = SLABLAB_CAUSE_QUOTA, "quota";
        /// The engine does not support this combination of size and alignment.
        Unsupported = SLABLAB_CAUSE_UNSUPPORTED, "unsupported";
        /// There is no memory for the session's handle table.
        Tables = SLABLAB_CAUSE_TABLES, "tables";
        /// Fault injection (FAIL) refused the request.
        Injected = SLABLAB_CAUSE_INJECTED, "injected";
        /// The magazines of a CPU could not be flushed in time.
        Busy = SLABLAB_CAUSE_BUSY, "busy";
    }
}

header_enum! {
    /// A rule that CHECK checks.
    Rule {
        /// No rule is violated.
        None = SLABLAB_RULE_NONE, "none";
        /// The length of a class's free list equals its counter.
        ListLength = SLABLAB_RULE_LIST_LENGTH, "list length";
        /// A free block of a slab lies in one region of the pool.
        BlockInPool = SLABLAB_RULE_BLOCK_IN_POOL, "block in pool";
        /// A free block lies at a multiple of its size.
        BlockAligned = SLABLAB_RULE_BLOCK_ALIGNED, "block aligned";
        /// A class has at most as many used blocks as blocks.
        ClassCounters = SLABLAB_RULE_CLASS_COUNTERS, "class counters";
        /// The memory of slabs was allocated by the buddy system.
        BuddyCounters = SLABLAB_RULE_BUDDY_COUNTERS, "buddy counters";
        /// The bytes of the pool are the sum of the bytes of its regions.
        PoolBytes = SLABLAB_RULE_POOL_BYTES, "pool bytes";
        /// The live blocks equal allocations minus frees.
        LiveBlocks = SLABLAB_RULE_LIVE_BLOCKS, "live blocks";
        /// The blocks of pages cover each region without gap or overlap.
        Partition = SLABLAB_RULE_PARTITION, "partition";
        /// A free block lies at a multiple of its size.
        FreeBlocks = SLABLAB_RULE_FREE_BLOCKS, "free blocks";
        /// No two buddies are both free.
        Merged = SLABLAB_RULE_MERGED, "merged";
        /// The counter of used objects of a slab equals its bitmap.
        Bitmap = SLABLAB_RULE_BITMAP, "bitmap";
        /// Free blocks and partial slabs are in the right lists.
        Lists = SLABLAB_RULE_LISTS, "lists";
        /// Every block in a magazine was allocated from the heap and is in one magazine only, and the
        /// magazines are within their limits.
        Magazines = SLABLAB_RULE_MAGAZINES, "magazines";
        /// In debug mode: the red zones of live blocks are unchanged.
        RedZones = SLABLAB_RULE_RED_ZONES, "red zones";
        /// In debug mode: the poison of free memory is unchanged.
        Poison = SLABLAB_RULE_POISON, "poison";
    }
}

header_enum! {
    /// The faults that debug mode reports.
    Fault {
        /// No fault.
        None = SLABLAB_FAULT_NONE, "nothing";
        /// Bytes behind a block were written.
        Overflow = SLABLAB_FAULT_OVERFLOW, "overflow";
        /// Bytes in front of a block were written.
        Underflow = SLABLAB_FAULT_UNDERFLOW, "underflow";
        /// Bytes of free memory were written.
        WriteAfterFree = SLABLAB_FAULT_WRITE_AFTER_FREE, "write after free";
        /// A free block was freed.
        DoubleFree = SLABLAB_FAULT_DOUBLE_FREE, "double free";
        /// An address inside of a block was freed.
        InteriorFree = SLABLAB_FAULT_INTERIOR_FREE, "interior free";
        /// An address outside of the pool was freed.
        ForeignFree = SLABLAB_FAULT_FOREIGN_FREE, "foreign free";
        /// An address in the pool was freed at which no block has begun.
        InventedFree = SLABLAB_FAULT_INVENTED_FREE, "invented free";
        /// An address was freed that is not a multiple of 8.
        UnalignedFree = SLABLAB_FAULT_UNALIGNED_FREE, "unaligned free";
        /// A block was freed with a wrong size.
        WrongSizeFree = SLABLAB_FAULT_WRONG_SIZE_FREE, "wrong size";
        /// A free block was reallocated.
        ReallocAfterFree = SLABLAB_FAULT_REALLOC_AFTER_FREE, "realloc after free";
    }
}

header_enum! {
    /// The misuses of INJECT, with LKDTM's names.
    Misuse {
        /// Writes the byte behind a block.
        SlabLinearOverflow = SLABLAB_MISUSE_SLAB_LINEAR_OVERFLOW, "SLAB_LINEAR_OVERFLOW";
        /// Writes the 8 bytes behind a block.
        SlabLinearOverflow8 = SLABLAB_MISUSE_SLAB_LINEAR_OVERFLOW_8, "SLAB_LINEAR_OVERFLOW_8";
        /// Writes the 32 bytes behind a block.
        SlabLinearOverflow32 = SLABLAB_MISUSE_SLAB_LINEAR_OVERFLOW_32, "SLAB_LINEAR_OVERFLOW_32";
        /// Writes the byte behind a block of whole pages.
        VmallocLinearOverflow = SLABLAB_MISUSE_VMALLOC_LINEAR_OVERFLOW, "VMALLOC_LINEAR_OVERFLOW";
        /// Writes the 8 bytes in front of a block.
        SlabLinearUnderflow = SLABLAB_MISUSE_SLAB_LINEAR_UNDERFLOW, "SLAB_LINEAR_UNDERFLOW";
        /// Writes into a free block.
        WriteAfterFree = SLABLAB_MISUSE_WRITE_AFTER_FREE, "WRITE_AFTER_FREE";
        /// Writes into a free block of whole pages.
        WriteBuddyAfterFree = SLABLAB_MISUSE_WRITE_BUDDY_AFTER_FREE, "WRITE_BUDDY_AFTER_FREE";
        /// Frees a block twice.
        SlabFreeDouble = SLABLAB_MISUSE_SLAB_FREE_DOUBLE, "SLAB_FREE_DOUBLE";
        /// Frees a block, then other blocks, then the first block again.
        SlabFreeDoubleDelayed = SLABLAB_MISUSE_SLAB_FREE_DOUBLE_DELAYED, "SLAB_FREE_DOUBLE_DELAYED";
        /// Frees a block, allocates it again, and frees it for both of its owners.
        SlabFreeDoubleReused = SLABLAB_MISUSE_SLAB_FREE_DOUBLE_REUSED, "SLAB_FREE_DOUBLE_REUSED";
        /// Frees an address in a block.
        SlabFreeInterior = SLABLAB_MISUSE_SLAB_FREE_INTERIOR, "SLAB_FREE_INTERIOR";
        /// Frees an address outside of the pool.
        SlabFreeForeign = SLABLAB_MISUSE_SLAB_FREE_FOREIGN, "SLAB_FREE_FOREIGN";
        /// Frees an address in the pool at which no block has begun.
        SlabFreeInvented = SLABLAB_MISUSE_SLAB_FREE_INVENTED, "SLAB_FREE_INVENTED";
        /// Frees an address that is not a multiple of 8.
        SlabFreeUnaligned = SLABLAB_MISUSE_SLAB_FREE_UNALIGNED, "SLAB_FREE_UNALIGNED";
        /// Frees a block with twice its size.
        SlabFreeCross = SLABLAB_MISUSE_SLAB_FREE_CROSS, "SLAB_FREE_CROSS";
        /// Writes the 1 MiB behind a block.
        SlabLinearOverflow1M = SLABLAB_MISUSE_SLAB_LINEAR_OVERFLOW_1M, "SLAB_LINEAR_OVERFLOW_1M";
        /// Reallocates a free block.
        ReallocAfterFree = SLABLAB_MISUSE_REALLOC_AFTER_FREE, "REALLOC_AFTER_FREE";
        /// Reads a byte of a free block, which debug mode does not detect.
        ReadAfterFree = SLABLAB_MISUSE_READ_AFTER_FREE, "READ_AFTER_FREE";
    }
}

impl Misuse {
    /// Returns the fault that debug mode must report for this misuse.
    pub fn expected(self) -> Fault {
        match self {
            Self::SlabLinearOverflow
            | Self::SlabLinearOverflow8
            | Self::SlabLinearOverflow32
            | Self::SlabLinearOverflow1M
            | Self::VmallocLinearOverflow => Fault::Overflow,
            Self::SlabLinearUnderflow => Fault::Underflow,
            Self::WriteAfterFree | Self::WriteBuddyAfterFree => Fault::WriteAfterFree,
            Self::SlabFreeDouble | Self::SlabFreeDoubleDelayed | Self::SlabFreeDoubleReused => {
                Fault::DoubleFree
            }
            Self::SlabFreeInterior => Fault::InteriorFree,
            Self::SlabFreeForeign => Fault::ForeignFree,
            Self::SlabFreeInvented => Fault::InventedFree,
            Self::SlabFreeUnaligned => Fault::UnalignedFree,
            Self::SlabFreeCross => Fault::WrongSizeFree,
            Self::ReallocAfterFree => Fault::ReallocAfterFree,
            Self::ReadAfterFree => Fault::None,
        }
    }

    /// Returns the number of bytes that this misuse damages, with a block of `size` bytes.
    pub fn damaged_bytes(self, size: u64) -> u64 {
        match self {
            Self::SlabLinearOverflow | Self::VmallocLinearOverflow => 1,
            Self::SlabLinearOverflow8 | Self::SlabLinearUnderflow | Self::WriteBuddyAfterFree => 8,
            Self::SlabLinearOverflow32 => 32,
            Self::SlabLinearOverflow1M => 1 << 20,
            Self::WriteAfterFree => size.min(8),
            _ => 0,
        }
    }
}

header_enum! {
    /// The operation of an event.
    EventKind {
        /// An invalid operation of a SUBMIT.
        None = SLABLAB_EVENT_NONE, "no operation";
        /// ALLOC.
        Alloc = SLABLAB_EVENT_ALLOC, "alloc";
        /// FREE.
        Free = SLABLAB_EVENT_FREE, "free";
        /// REALLOC.
        Realloc = SLABLAB_EVENT_REALLOC, "realloc";
        /// The block of an ALLOC was freed because its reply could not be copied to the program.
        Revoke = SLABLAB_EVENT_REVOKE, "revoke";
    }
}

header_enum! {
    /// The use of a block of pages.
    ExtentKind {
        /// The page is free, in the buddy system.
        Free = SLABLAB_EXTENT_FREE, "free";
        /// Allocated as a block of whole pages.
        Large = SLABLAB_EXTENT_LARGE, "large";
        /// A slab: cut into objects of one size class.
        Slab = SLABLAB_EXTENT_SLAB, "slab";
    }
}

header_enum! {
    /// The allocators of BENCH.
    BenchSubject {
        /// An allocator that does nothing: measures the cost of the loop.
        Nothing = SLABLAB_BENCH_NOTHING, "loop";
        /// `hybrid`, through the trait `Engine`.
        Hybrid = SLABLAB_BENCH_HYBRID, "hybrid";
        /// `seed`, through the trait `Engine`.
        Seed = SLABLAB_BENCH_SEED, "seed";
        /// `__kmalloc` and `kfree`.
        Kmalloc = SLABLAB_BENCH_KMALLOC, "kmalloc";
        /// `kmem_cache_alloc` and `kmem_cache_free`.
        KmemCache = SLABLAB_BENCH_KMEM_CACHE, "kmem_cache";
    }
}

header_enum! {
    /// The patterns of BENCH.
    BenchPattern {
        /// Allocates a block and frees it.
        Pair = SLABLAB_BENCH_PAIR, "pair";
        /// Allocates a batch and frees it, the last block first.
        Lifo = SLABLAB_BENCH_LIFO, "lifo";
        /// Allocates a batch and frees it, the first block first.
        Fifo = SLABLAB_BENCH_FIFO, "fifo";
        /// Frees one block and allocates another.
        Replace = SLABLAB_BENCH_REPLACE, "replace";
        /// Frees the block of a random place, or allocates one there.
        Churn = SLABLAB_BENCH_CHURN, "churn";
        /// Frees single blocks among many free blocks.
        Fragments = SLABLAB_BENCH_FRAGMENTS, "fragments";
        /// One thread allocates, and another thread frees.
        Handover = SLABLAB_BENCH_HANDOVER, "handover";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_the_header_and_enums_agree() {
        for engine in Engine::ALL {
            assert_eq!(Engine::from_raw(engine.raw()), Some(*engine));
            assert_eq!(Engine::from_name(engine.name()), Some(*engine));
        }
        assert_eq!(Engine::Default.comment(), "The module's default.");
        assert_eq!(
            Cause::from_raw(SLABLAB_CAUSE_FRAGMENTED),
            Some(Cause::Fragmented)
        );
        assert_eq!(Rule::from_raw(99), None);
        assert!(Cause::ALL.iter().all(|cause| cause.raw() < SLABLAB_CAUSES));
    }

    #[test]
    fn the_path_of_the_device_has_no_terminator() {
        assert_eq!(DEVICE, "/dev/slablab");
    }
}
