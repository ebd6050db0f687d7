// SPDX-License-Identifier: GPL-2.0

//! Magazines return their blocks to the heap: under memory pressure, on request, and to redistribute
//! the reserve.
//!
//! # When a refusal is final
//!
//! A request is refused as exhausted or fragmented only if the memory is not there, whatever other tasks
//! do and however they are preempted:
//!
//! 1. The caller raises [`State::is_reclaiming`]. While any caller has it raised, no magazine grows and
//!    nothing is prefetched, so a magazine that has no capacity stays empty.
//! 2. The caller takes the blocks and the capacity of every magazine of every CPU. One magazine is
//!    taken at a time: under the lock its blocks move from the CPU's cache to the heap, at most
//!    [`BLOCKS_MAX`] of them, and the lock is released before the next one. Another CPU's cache is
//!    reached by [`PerCpu::with_remote`], which interrupts that CPU for the time of up to 71 address
//!    look-ups and never waits for its scheduler.
//! 3. Under the lock the caller tries once more. All magazines are empty now, and no block is between a
//!    magazine and the heap (see [`refill`](super::refill)): each one is in the heap or live. The heap
//!    alone decides.
//!
//! While any CPU goes on- or offline, the magazines of offline CPUs cannot be reached; the caller tries
//! again for up to [`ATTEMPTS`] pauses. After that it uses the fallbacks of the heap, and where these have
//! nothing either, the request is refused as [`Refusal::Busy`].
//!
//! # The reserve
//!
//! All magazines together may hold a sixteenth of the pool. Where this reserve is used up, a magazine
//! cannot grow. After 64 such failures of a CPU, its next allocation that finds no room for growth gives up
//! the CPU's whole part of the reserve, which may belong to sizes that it no longer uses. A CPU that has no
//! part takes that of the CPU which has been least active since the reserve was last redistributed, so an
//! idle CPU does not keep the reserve.

use super::{
    Hybrid,
    cpu_cache::CpuCache,
    magazine::BLOCKS_MAX,
    state::{
        Request,
        State, //
    },
};
use crate::{engine::Refusal, lock::Lock, per_cpu::PerCpu, region::Offset};

/// Pauses after which a CPU that cannot be reached is given up: each is at most a millisecond.
const ATTEMPTS: usize = 10;

/// Blocks that moved from magazines to the heap.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flushed {
    pub(super) blocks: usize,
    /// Pages that became free.
    pub(super) pages: usize,
    /// Whether a CPU could not be reached.
    pub(super) incomplete: bool,
}

impl Flushed {
    fn add(&mut self, other: Self) {
        self.blocks += other.blocks;
        self.pages += other.pages;
        self.incomplete |= other.incomplete;
    }
}

/// The CPU whose magazines are flushed.
#[derive(Clone, Copy)]
enum Owner {
    /// The CPU on which the caller runs whenever it takes one.
    Local,
    Cpu(usize),
}

impl<L: Lock<State> + Sync, P: PerCpu<CpuCache>> Hybrid<L, P> {
    /// Allocates a block where the heap refused with `refusal`: flushes the magazines, the CPU's own
    /// first, then uses the fallbacks of the heap, or counts the refusal.
    #[cold]
    pub(super) fn allocate_under_pressure(
        &self,
        request: &mut Request<'_>,
        refusal: Refusal,
    ) -> Result<Offset, Refusal> {
        if !matches!(refusal, Refusal::Exhausted | Refusal::Fragmented) {
            let last = |state: &mut State| state.allocate_last(request, refusal);
            return self.state.with(last);
        }
        if self.flush_owner(Owner::Local).blocks > 0 {
            let again = |state: &mut State| Self::allocate_from_heap(state, request);
            if let Ok(block) = self.state.with(again) {
                return Ok(block);
            }
        }
        self.state.with(State::begin_reclaim);
        let flushed = self.flush_all();
        self.state.with(|state| {
            state.end_reclaim();
            match Self::allocate_from_heap(state, request) {
                Ok(block) => Ok(block),
                Err(_) if flushed.incomplete => state.allocate_last(request, Refusal::Busy),
                Err(refusal) => state.allocate_last(request, refusal),
            }
        })
    }

    /// Moves all blocks of the current CPU's magazines to the heap, and returns how many they are.
    pub(super) fn flush_local(&self) -> usize {
        self.flush_owner(Owner::Local).blocks
    }

    /// Moves all blocks of all CPUs' magazines to the heap. A CPU that cannot be reached is tried again,
    /// for up to [`ATTEMPTS`] pauses.
    pub(super) fn flush_all(&self) -> Flushed {
        let mut all = self.flush_all_once();
        for _ in 0..ATTEMPTS {
            if !all.incomplete || !self.per_cpu.pause() {
                break;
            }
            all.incomplete = false;
            all.add(self.flush_all_once());
        }
        all
    }

    /// Moves the blocks of all CPUs' magazines to the heap, as far as the CPUs can be reached now.
    fn flush_all_once(&self) -> Flushed {
        let mut all = Flushed::default();
        for (cpu, cache) in self.per_cpu.iter().enumerate() {
            if cache.reserved_bytes() > 0 {
                all.add(self.flush_owner(Owner::Cpu(cpu)));
            }
        }
        all
    }

    /// Gives up a part of the reserve: the current CPU's, or if that has none, the least active CPU's.
    #[cold]
    pub(super) fn redistribute_reserve(&self) {
        let own = self.state.with(|_| {
            self.per_cpu.with_local(|cache| {
                cache.forget_grow_failures();
                cache.reserved_bytes()
            })
        });
        if own > Some(0) {
            self.flush_owner(Owner::Local);
            return;
        }
        let caches = self.per_cpu.iter().enumerate();
        let activities = caches.map(|(cpu, cache)| (cache.activity(), cpu, cache));
        // Every CPU's activity is read, so that all are measured over the same time.
        let least = activities
            .filter(|(_, _, cache)| cache.reserved_bytes() > 0)
            .min_by_key(|(activity, ..)| *activity);
        if let Some((_, cpu, _)) = least {
            self.flush_owner(Owner::Cpu(cpu));
        }
    }

    /// Moves all blocks of a CPU's magazines to the heap and takes the magazines' capacity away, one
    /// magazine at a time.
    fn flush_owner(&self, owner: Owner) -> Flushed {
        let mut flushed = Flushed::default();
        let mut from = Some(0);
        while let Some(number) = from {
            from = self.state.with(|state| {
                let mut blocks = [Offset::NOWHERE; BLOCKS_MAX];
                let mut places = blocks.iter_mut();
                let disable = |cache: &CpuCache| {
                    let kind = cache.next_enabled(number)?;
                    let (taken, capacity) = cache.disable(kind, |block| {
                        if let Some(place) = places.next() {
                            *place = self.addresses.offset_at(block);
                        }
                    });
                    Some((kind, taken, capacity))
                };
                let disabled = match owner {
                    Owner::Local => self.per_cpu.with_local(disable).flatten(),
                    Owner::Cpu(cpu) => {
                        let disabled = self.per_cpu.with_remote(cpu, disable);
                        flushed.incomplete |= disabled.is_none();
                        disabled.flatten()
                    }
                };
                let (kind, taken, capacity) = disabled?;
                let before = state.heap.buddy.free_pages();
                state.unreserve(capacity, kind.bytes());
                state.free_cached(kind, blocks.get(..taken)?);
                flushed.blocks += taken;
                flushed.pages += state.heap.buddy.free_pages() - before;
                Some(kind.number() + 1)
            });
        }
        flushed
    }
}
