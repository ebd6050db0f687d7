// SPDX-License-Identifier: GPL-2.0

//! The depot: a stock of full magazines, which all CPUs share (Bonwick and Adams 2001).
//!
//! A magazine that overflows gives most of its blocks to the depot, and an empty one gets them from there. For the heap
//! these blocks stay allocated, so an exchange does not touch the heap's metadata. A CPU that only frees blocks of a kind
//! supplies a CPU that only allocates them.
//!
//! ```text
//!  depot    8 B   ─▶ │ ● ● ● ● … │ ─▶ │ ● ● ● · … │       a list of full magazines for each kind
//!           16 B  ─▶
//!           …
//!           empty ─▶ │ · · · · … │ ─▶ …                   a list of empty ones
//! ```
//!
//! In the paper, a CPU and the depot exchange whole magazines. Here a CPU's magazines are parts of one array, so that the
//! fast paths need no pointer to a magazine, and an exchange copies up to [`STORED_MAX`] addresses.
//!
//! The memory of the depot is a part of the metadata of a region: a magazine for each [`BYTES_PER_MAGAZINE`] bytes of
//! the region, which is 0.1 %, up to [`MAGAZINES_MAX`] magazines. A smaller region has none. The blocks in the depot are
//! a part of the budget of magazines (see `capacity`).

use core::{
    iter,
    ptr::NonNull, //
};

use super::{
    magazine::{
        BLOCKS_MAX,
        CpuCache,
        Slot,
        add, //
    },
    state::State,
};
use crate::{
    Block,
    backing_heap::BackingHeap,
    per_cpu::Exclusive,
    size_class::{
        MAGAZINE_KINDS,
        MagazineKind, //
    },
};

/// The largest number of blocks of a magazine in the depot.
pub(crate) const STORED_MAX: usize = exchanged(BLOCKS_MAX);

/// The bytes of a region for which the depot gets a magazine.
const BYTES_PER_MAGAZINE: usize = 512 << 10;

/// The largest number of magazines that a depot has, full or empty. The bound limits the time of a check, which
/// compares each block with the other ones of its kind.
pub(crate) const MAGAZINES_MAX: usize = 128;

/// Returns the number of blocks that a full magazine of this capacity gives to the depot. Half of the capacity, but at
/// most 8 blocks, stays in the magazine, so that alternating operations do not exchange blocks each time.
const fn exchanged(capacity: usize) -> usize {
    let half = capacity / 2;
    capacity - if half < 8 { half } else { 8 }
}

/// A magazine in the depot.
///
/// # Invariants
///
/// In the list of a kind, `slots[..len]` contain blocks of this kind that are not live, and that the heap counts as
/// allocated, and `len` is not 0. In the list of empty magazines, `len` is 0.
pub(crate) struct StoredMagazine {
    next: MagazineList,
    len: usize,
    slots: [Slot; STORED_MAX],
}

/// A list of magazines. The magazine that was inserted last is the first one.
type MagazineList = Option<&'static mut StoredMagazine>;

impl StoredMagazine {
    fn empty() -> Self {
        Self {
            next: None,
            len: 0,
            slots: core::array::from_fn(|_| Slot::default()),
        }
    }

    /// Returns the slots from number `from` on that contain blocks, the oldest one first.
    pub(crate) fn slots(&self, from: usize) -> &[Slot] {
        self.slots.get(from..self.len).unwrap_or_default()
    }
}

/// The magazines with blocks, by kind, and the empty ones.
pub(crate) struct Depot {
    loaded: [MagazineList; MAGAZINE_KINDS],
    empty: MagazineList,
    /// The number of all magazines.
    count: usize,
}

impl Depot {
    /// Returns a depot without magazines.
    pub(crate) const fn new() -> Self {
        Self {
            loaded: [const { None }; MAGAZINE_KINDS],
            empty: None,
            count: 0,
        }
    }

    /// Returns the number of magazines that a region of so many bytes brings.
    const fn magazines_of(bytes: usize) -> usize {
        let magazines = bytes / BYTES_PER_MAGAZINE;
        if magazines < MAGAZINES_MAX {
            magazines
        } else {
            MAGAZINES_MAX
        }
    }

    /// Returns the bytes of memory that [`Depot::add`] needs for a region of so many bytes.
    pub(crate) const fn bytes(bytes: usize) -> usize {
        Self::magazines_of(bytes) * size_of::<StoredMagazine>()
    }

    /// Adds the empty magazines of a region of `bytes` bytes.
    ///
    /// # Safety
    ///
    /// `memory` points to [`Depot::bytes`] bytes, which are aligned to 8, and which nobody else accesses as long as the
    /// depot exists.
    pub(crate) unsafe fn add(&mut self, bytes: usize, memory: NonNull<u8>) {
        let memory = memory.cast::<StoredMagazine>();
        let missing = MAGAZINES_MAX.saturating_sub(self.count);
        for number in 0..Self::magazines_of(bytes).min(missing) {
            // SAFETY: `add` requires that the result is in the same allocation: the memory has room for all magazines
            // of the region, by this function's contract.
            let place = unsafe { memory.add(number) };
            // SAFETY: `write` requires valid and aligned memory: by this function's contract it is aligned to 8, which
            // is the alignment of a `StoredMagazine`.
            unsafe { place.write(StoredMagazine::empty()) };
            // SAFETY: `&mut` requires an initialized value that nobody else accesses. The value was written just now,
            // and by this function's contract nobody else accesses the memory as long as the depot exists. The
            // lifetime is `'static` because no shorter one has a name; the reference never leaves the depot.
            self.recycle(unsafe { &mut *place.as_ptr() });
            self.count += 1;
        }
    }

    /// Returns the number of blocks of a kind. O(magazines of the kind).
    pub(crate) fn len(&self, kind: MagazineKind) -> usize {
        let lens = magazines(&self.loaded[kind.number()]).map(|magazine| magazine.len);
        lens.fold(0, usize::wrapping_add)
    }

    /// Returns the blocks of a kind.
    pub(crate) fn blocks(&self, kind: MagazineKind) -> impl Iterator<Item = Block> {
        magazines(&self.loaded[kind.number()])
            .flat_map(|magazine| magazine.slots(0).iter().filter_map(Slot::get))
    }

    /// Returns the block in a place of the magazines of a kind, if there is one. O(magazines of the kind).
    pub(crate) fn block(&self, kind: MagazineKind, place: usize) -> Option<Block> {
        let mut place = place;
        for magazine in magazines(&self.loaded[kind.number()]) {
            if place < magazine.len {
                return magazine.slots(place).first().and_then(Slot::get);
            }
            place -= magazine.len;
        }
        None
    }

    /// Returns the number of all magazines, full or empty.
    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Returns the slots of the first magazine of a kind.
    #[cfg(test)]
    pub(crate) fn first_slots(&self, kind: MagazineKind) -> &[Slot] {
        let mut loaded = magazines(&self.loaded[kind.number()]);
        loaded.next().map_or(&[], |magazine| magazine.slots(0))
    }

    /// Damages the number of blocks of the first magazine of a kind.
    #[cfg(test)]
    pub(crate) fn set_first_len(&mut self, kind: MagazineKind, len: usize) {
        if let Some(magazine) = self.loaded[kind.number()].as_deref_mut() {
            magazine.len = len;
        }
    }

    /// Returns whether the lists have all magazines, those of the kinds only magazines with blocks, and the list of
    /// empty magazines only empty ones. O(magazines).
    pub(crate) fn is_sound(&self) -> bool {
        let loaded = self.loaded.iter().flat_map(magazines);
        let count = loaded.clone().count() + magazines(&self.empty).count();
        count == self.count
            && loaded
                .map(|magazine| magazine.len)
                .all(|len| (1..=STORED_MAX).contains(&len))
            && magazines(&self.empty).all(|magazine| magazine.len == 0)
    }

    /// Puts a magazine of a kind back: into the list of the kind or, if it has no blocks, into that of empty magazines.
    fn put(&mut self, kind: MagazineKind, magazine: &'static mut StoredMagazine) {
        if magazine.len > 0 {
            put_first(&mut self.loaded[kind.number()], magazine);
        } else {
            self.recycle(magazine);
        }
    }

    /// Puts a magazine without blocks into the list of empty magazines.
    fn recycle(&mut self, magazine: &'static mut StoredMagazine) {
        put_first(&mut self.empty, magazine);
    }
}

/// Returns the magazines of a list. The bound ends the list if the metadata is damaged.
fn magazines(list: &MagazineList) -> impl Iterator<Item = &StoredMagazine> + Clone {
    iter::successors(list.as_deref(), |magazine| magazine.next.as_deref()).take(MAGAZINES_MAX)
}

/// Removes the first magazine of a list.
fn take_first(list: &mut MagazineList) -> MagazineList {
    let first = list.take()?;
    *list = first.next.take();
    Some(first)
}

/// Puts a magazine first in a list.
fn put_first(list: &mut MagazineList, magazine: &'static mut StoredMagazine) {
    magazine.next = list.take();
    *list = Some(magazine);
}

impl<H: BackingHeap> State<H> {
    /// Moves most of the blocks of a full magazine to the depot, and returns whether the depot and the budget have room
    /// for them. O(blocks moved), at most [`STORED_MAX`].
    ///
    /// While any caller is reclaiming, the depot takes no blocks.
    pub(crate) fn store(&mut self, cache: &Exclusive<'_, CpuCache>, kind: MagazineKind) -> bool {
        if self.is_reclaiming() {
            return false;
        }
        let blocks = exchanged(cache.capacity(kind)).min(STORED_MAX);
        if blocks == 0 || self.depot.count == 0 {
            return false;
        }
        let has_room = blocks * H::block_bytes(kind) <= self.budget_left();
        let empty = has_room.then(|| take_first(&mut self.depot.empty));
        let Some(magazine) = empty.flatten() else {
            // Blocks of sizes that are no longer used may fill the depot: see `redistribution`.
            add(&cache.grow_failures, 1);
            return false;
        };
        // INVARIANT: The blocks are of the kind of the list, and leave the CPU's magazine.
        magazine.len = Slot::copy(cache.newest(kind, blocks), &magazine.slots);
        cache.remove_newest(kind, magazine.len);
        self.reserved_bytes += magazine.len * H::block_bytes(kind);
        self.transfers += 1;
        self.depot.put(kind, magazine);
        true
    }

    /// Moves the blocks of a magazine in the depot to a CPU's empty magazine, and returns one of them for the caller.
    /// Blocks for which the CPU's magazine has no room stay in the depot. O(blocks moved), at most [`STORED_MAX`].
    pub(crate) fn load(
        &mut self,
        cache: &Exclusive<'_, CpuCache>,
        kind: MagazineKind,
    ) -> Option<Block> {
        let magazine = take_first(&mut self.depot.loaded[kind.number()])?;
        // The capacity may grow by the budget of the blocks that leave the depot.
        self.return_to_budget(magazine.len, kind);
        self.grow_magazine(cache, kind);
        let first = magazine.len.saturating_sub(1 + cache.capacity(kind));
        let block = magazine.slots(first).split_last().and_then(|(last, rest)| {
            // SAFETY: `load` requires slots with blocks of the kind that the heap counts as allocated and nobody uses:
            // that is the invariant of `StoredMagazine`, and the blocks leave the magazine below.
            unsafe { cache.load(kind, rest) };
            last.get()
        });
        magazine.len = first;
        self.reserved_bytes += first * H::block_bytes(kind);
        self.depot.put(kind, magazine);
        block
    }

    /// Removes up to `count` blocks of a kind from one magazine in the depot, and passes each to `take`. Returns how
    /// many.
    pub(crate) fn unload(
        &mut self,
        kind: MagazineKind,
        count: usize,
        take: impl FnMut(Block),
    ) -> usize {
        let Some(magazine) = take_first(&mut self.depot.loaded[kind.number()]) else {
            return 0;
        };
        let len = magazine.len;
        let rest = len.saturating_sub(count);
        let blocks = magazine.slots(rest).iter().rev();
        blocks.filter_map(Slot::get).for_each(take);
        magazine.len = rest;
        self.return_to_budget(len - rest, kind);
        self.depot.put(kind, magazine);
        len - rest
    }
}
