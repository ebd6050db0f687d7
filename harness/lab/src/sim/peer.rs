// SPDX-License-Identifier: GPL-2.0

//! A peer as an engine: an allocator of another project behind the session code of `sim`.
//!
//! The adapter counts what a peer does not count: live blocks, bytes and refusals. A peer has no MAP, no CHECK, no size
//! classes and no magazines, and does not say why it refuses a request.

use std::{
    alloc::Layout,
    ops::Range,
    ptr::NonNull,
    sync::OnceLock, //
};

use slab_heap::{
    Block,
    Cost,
    Engine,
    Offset,
    Path,
    Refusal,
    engine::{
        AddRegion,
        BadFree,
        Capabilities,
        Interfaces, //
    },
    lock::Lock as _,
    region::RegionError,
    stats::{
        Statistics,
        Totals,
        Visitor, //
    }, //
};
use slab_host::HostLock;
use slablab_peers::{
    Peer,
    PeerKind, //
};

use super::filled::complain;

/// A peer with the counters of an engine.
pub(super) struct PeerEngine {
    kind: PeerKind,
    /// The addresses of the pool.
    pool: OnceLock<Range<usize>>,
    state: HostLock<State>,
}

/// The state behind the lock.
#[derive(Default)]
struct State {
    /// The allocator, after the pool was added.
    peer: Option<Box<dyn Peer>>,
    live_bytes: usize,
    requested_bytes: usize,
    allocations: u64,
    frees: u64,
    refusals: [u64; Refusal::COUNT],
}

impl PeerEngine {
    /// Returns an engine without a pool.
    pub(super) fn new(kind: PeerKind) -> Self {
        Self {
            kind,
            pool: OnceLock::new(),
            state: HostLock::new(State::default()),
        }
    }

    /// Ends this process if a new block does not lie in the pool, because the session would write to memory of others.
    fn admit(&self, start: NonNull<u8>, bytes: usize) {
        let address = start.addr().get();
        let end = address.checked_add(bytes);
        let is_inside =
            |pool: &Range<usize>| pool.start <= address && end.is_some_and(|end| end <= pool.end);
        if !self.pool.get().is_some_and(is_inside) {
            complain(format!(
                "a new block of {bytes} bytes does not lie in the pool"
            ));
        }
    }

    /// Returns the cause for which a request is refused. The peer does not say it, so `Exhausted` stands for any cause
    /// but the alignment. The session refuses a request that is larger than the pool.
    fn refusal(&self, layout: Layout) -> Refusal {
        let is_unsupported = |max| layout.align() > max;
        if self.kind.facts().align_max.is_some_and(is_unsupported) {
            Refusal::Unsupported
        } else {
            Refusal::Exhausted
        }
    }
}

impl State {
    /// Allocates a block, unless the peer does not support the alignment.
    fn allocate(&mut self, kind: &PeerKind, layout: Layout) -> Option<NonNull<u8>> {
        let align_max = kind.facts().align_max.unwrap_or(usize::MAX);
        let peer = self.peer.as_mut().filter(|_| layout.align() <= align_max)?;
        // SAFETY: `Peer::allocate` requires a size that is not 0, which `requested` ensures.
        unsafe { peer.allocate(requested(layout)) }
    }
}

/// Returns the layout that is requested from the peer: at least one byte.
fn requested(layout: Layout) -> Layout {
    Layout::from_size_align(layout.size().max(1), layout.align()).unwrap_or(layout)
}

// SAFETY: `Peer` promises that a block is aligned, disjoint from others and untouched while it is live, and `admit`
// checks that it lies in the pool. The usable bytes are those that the peer reports for the layout, or the requested
// ones.
unsafe impl Engine for PeerEngine {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            mmap: false,
            quick: false,
            // A peer may write to any free byte.
            free_block_bytes: usize::MAX,
            free_block_align: 1,
        }
    }

    fn usable_size(&self, layout: Layout) -> usize {
        let usable = self.kind.usable_bytes(requested(layout));
        usable.unwrap_or(layout.size())
    }

    fn capacity(&self) -> usize {
        self.pool.get().map_or(0, Range::len)
    }

    fn offset(&self, byte: NonNull<u8>) -> Option<Offset> {
        let pool = self.pool.get()?;
        let address = byte.addr().get();
        (pool.contains(&address)).then(|| Offset::new(0, (address - pool.start) as u64))
    }

    fn allocate(&self, layout: Layout, cost: &mut Cost) -> Result<Block, Refusal> {
        *cost = Cost::new(Path::Other);
        let usable = self.usable_size(layout);
        self.state.with(|state| {
            let Some(start) = state.allocate(&self.kind, layout) else {
                let refusal = self.refusal(layout);
                state.refusals[refusal as usize] += 1;
                return Err(refusal);
            };
            self.admit(start, usable);
            state.allocations += 1;
            state.live_bytes += usable;
            state.requested_bytes += layout.size();
            Ok(Block { start })
        })
    }

    unsafe fn free(&self, block: Block, layout: Layout, cost: &mut Cost) -> Result<(), BadFree> {
        *cost = Cost::new(Path::Other);
        let usable = self.usable_size(layout);
        self.state.with(|state| {
            let peer = state.peer.as_mut().ok_or(BadFree::Foreign)?;
            // SAFETY: `Peer::free` requires a live block, its layout, and that nobody uses it any more. The caller
            // promises each, and the block was requested with `requested(layout)`.
            unsafe { peer.free(block.start, requested(layout)) };
            state.frees += 1;
            state.live_bytes -= usable;
            state.requested_bytes -= layout.size();
            Ok(())
        })
    }

    fn fits_in_place(&self, layout: Layout, new: Layout) -> bool {
        requested(layout) == requested(new)
    }

    unsafe fn resize(&self, block: Block, layout: Layout, new: Layout, cost: &mut Cost) -> bool {
        let (old_usable, new_usable) = (self.usable_size(layout), self.usable_size(new));
        self.state.with(|state| {
            let Some(peer) = state.peer.as_mut() else {
                return false;
            };
            let (old_size, new_size) = (requested(layout), requested(new).size());
            // SAFETY: `Peer::resize_in_place` requires a live block, its layout, no other user, a new size that is not
            // 0, and a valid new layout. The caller promises the first three, `requested` ensures the fourth, and
            // `new` is a layout of the same alignment.
            let is_resized = self.fits_in_place(layout, new)
                || unsafe { peer.resize_in_place(block.start, old_size, new_size) };
            if is_resized {
                self.admit(block.start, new_usable);
                *cost = Cost::new(Path::InPlace);
                state.live_bytes = state.live_bytes - old_usable + new_usable;
                state.requested_bytes = state.requested_bytes - layout.size() + new.size();
            }
            is_resized
        })
    }

    fn interfaces(&self) -> Interfaces<'_> {
        Interfaces {
            statistics: self,
            add_region: Some(self),
            check: None,
            map: None,
            shrink: None,
            fail_growth: None,
            supervise: None,
        }
    }
}

impl AddRegion for PeerEngine {
    /// Constructs the peer. A peer has one region.
    unsafe fn add_region(
        &self,
        start: NonNull<u8>,
        bytes: usize,
        _table: NonNull<u8>,
    ) -> Result<u16, RegionError> {
        self.state.with(|state| {
            if state.peer.is_some() {
                return Err(RegionError::TooMany);
            }
            let pool = NonNull::slice_from_raw_parts(start, bytes);
            // SAFETY: `PeerKind::construct` requires memory that is valid and that nobody else uses until the peer is
            // dropped, and a pointer whose provenance covers it. The caller promises each.
            let peer = unsafe { self.kind.construct(pool) }.ok_or(RegionError::BadLength)?;
            state.peer = Some(peer);
            let address = start.addr().get();
            self.pool.get_or_init(|| address..address + bytes);
            Ok(0)
        })
    }
}

impl Statistics for PeerEngine {
    fn visit(&self, visitor: &mut dyn Visitor) {
        let pool_bytes = self.capacity() as u64;
        self.state.with(|state| {
            let live_bytes = state.live_bytes as u64;
            let free_bytes = pool_bytes.saturating_sub(live_bytes);
            visitor.totals(&Totals {
                total_bytes: pool_bytes,
                used_bytes: live_bytes,
                available_bytes: free_bytes,
                pool_bytes,
                live_bytes,
                cached_bytes: 0,
                magazine_bytes: 0,
                free_bytes,
                // The peer does not say how its free memory is divided.
                largest_free_bytes: 0,
                requested_bytes: state.requested_bytes as u64,
                live_blocks: state.allocations - state.frees,
                regions: u32::from(state.peer.is_some()),
                allocations: state.allocations,
                frees: state.frees,
                refusals: state.refusals,
            });
        });
    }
}
