// SPDX-License-Identifier: GPL-2.0

//! The kinds of allocators.

/// A kind of allocator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// First fit.
    FirstFit,
    /// First fit that resizes in place.
    Resizing,
    /// Slabs.
    Slabs,
    /// A buddy system.
    Buddy,
    /// Magazines in front of slabs.
    Magazines,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 5] = [
        Self::FirstFit,
        Self::Resizing,
        Self::Slabs,
        Self::Buddy,
        Self::Magazines,
    ];

    /// Returns the kind in words.
    pub fn name(self) -> &'static str {
        match self {
            Self::FirstFit => "first fit",
            Self::Resizing => "first fit that resizes in place",
            Self::Slabs => "slabs",
            Self::Buddy => "a buddy system",
            Self::Magazines => "magazines in front of slabs",
        }
    }

    /// Returns what is known of the allocator.
    pub fn about(self) -> &'static str {
        match self {
            Self::FirstFit => {
                "Free blocks are in a list in the order of their offsets, and begin with a header of 16 bytes. \
                 A request takes the first free block that is long enough, and splits it. A freed block is \
                 merged with the free blocks on both sides. Blocks are multiples of 16 bytes."
            }
            Self::Resizing => {
                "Free blocks are in a list in the order of their offsets, and begin with a header of 16 bytes. \
                 A block that shrinks frees its tail; a block that grows takes memory of the free block behind \
                 it, if there is one. Blocks are multiples of 16 bytes."
            }
            Self::Slabs => {
                "There are classes of 16, 32, 64 … 2048 bytes. A slab is a page of objects of one class, with \
                 a bitmap and a counter in the notes of the page. A larger request gets a run of whole pages. \
                 An empty slab becomes a free page. A block is resized in place as long as it fits into its \
                 object, or needs fewer pages."
            }
            Self::Buddy => {
                "Blocks have 64 bytes times a power of two, and begin at multiples of their length. A free \
                 block is split into halves (buddies) until it fits; a freed block is merged with its buddy as \
                 long as the buddy is free. The pool is no power of two: its largest blocks have 2 MiB and 1 MiB."
            }
            Self::Magazines => {
                "A magazine for each class keeps up to 8 freed objects, in front of slabs with the classes 16, \
                 32, 64 … 2048 bytes. A full magazine is flushed down to half. If the heap cannot serve a \
                 request, all magazines are flushed. Larger requests get whole pages, without a magazine."
            }
        }
    }

    /// Returns the size of the pool in MiB.
    pub fn pool_mib(self) -> u64 {
        match self {
            Self::Buddy => 3,
            _ => 1,
        }
    }

    /// Returns the size of the pool in bytes.
    pub fn pool_bytes(self) -> u64 {
        self.pool_mib() << 20
    }

    /// Returns the path of the source in the tree, and the source.
    pub(crate) fn source(self) -> (&'static str, &'static str) {
        macro_rules! source {
            ($file:literal) => {
                (
                    concat!("harness/hunt/src/allocators/", $file),
                    include_str!(concat!("allocators/", $file)),
                )
            };
        }
        match self {
            Self::FirstFit => source!("first_fit.rs"),
            Self::Resizing => source!("resizing.rs"),
            Self::Slabs => source!("slabs.rs"),
            Self::Buddy => source!("buddy.rs"),
            Self::Magazines => source!("magazines.rs"),
        }
    }
}
