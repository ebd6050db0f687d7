// SPDX-License-Identifier: GPL-2.0

//! The check of the magazines and of the depot, which follows the check of the heap.
//!
//! Magazines change without the lock. The walk therefore reads two epochs before the first magazine and after
//! the last one: the sum of the CPUs' epochs, and the epoch of the state. Each change of a magazine or of the
//! heap changes one of the two epochs. Blocks move only under the lock, and the epochs are read under the
//! lock, so no move is in progress. If an epoch has changed, the result is discarded and the walk begins
//! again.

use crate::{
    Block,
    Offset,
    backing_heap::InspectHeap,
    check::{
        Broken,
        Check,
        Progress,
        Rule,
        STEP,
        Walk, //
    },
    lock::Lock,
    magazines::{
        depot,
        engine::MagazineEngine,
        magazine::{
            BLOCKS_MAX,
            CpuCache, //
        },
        state::State, //
    },
    per_cpu::PerCpu,
    size_class::{
        MAGAZINE_KINDS as KINDS,
        MagazineKind, //
    }, //
};

/// The part of a [`Walk`] that checks the magazines, after all parts of the heap's check.
pub(crate) const MAGAZINES: usize = usize::MAX;

/// The largest number of blocks of a kind in the depot.
const DEPOT_PLACES: usize = depot::MAGAZINES_MAX * depot::STORED_MAX;

/// Returns a broken rule, with the kind of the magazine and the offset of the block.
fn broken(rule: Rule, kind: Option<MagazineKind>, offset: Option<Offset>) -> Broken {
    Broken {
        rule,
        class: kind.and_then(MagazineKind::class_number),
        offset,
    }
}

impl<H, L, P> Check for MagazineEngine<H, L, P>
where
    H: InspectHeap,
    L: Lock<State<H>> + Sync,
    P: PerCpu<CpuCache>,
{
    fn check(&self, walk: &mut Walk) -> Result<Progress, Broken> {
        if walk.part == MAGAZINES {
            self.check_magazines(walk)
        } else {
            self.check_heap(walk)
        }
    }
}

impl<H, L, P> MagazineEngine<H, L, P>
where
    H: InspectHeap,
    L: Lock<State<H>> + Sync,
    P: PerCpu<CpuCache>,
{
    /// Executes the next step of a check of the heap.
    fn check_heap(&self, walk: &mut Walk) -> Result<Progress, Broken> {
        let progress = self.state.with(|state| {
            if !walk.resume(state.epoch()) {
                return Ok(Progress::Disturbed);
            }
            if state.heap.totals().pool_bytes != state.regions.bytes() {
                return Err(broken(Rule::PoolBytes, None, None));
            }
            state.heap.check(walk)
        })?;
        if progress == Progress::Sound {
            self.begin_magazines(walk);
            return Ok(Progress::More);
        }
        Ok(progress)
    }

    /// Begins the check of the magazines, and reads the epochs.
    fn begin_magazines(&self, walk: &mut Walk) {
        walk.next_part();
        walk.part = MAGAZINES;
        walk.cpu_epochs = self.epochs();
    }

    /// Returns a number that changes with every change of a magazine, or `None` if a CPU cannot be reached.
    fn epochs(&self) -> Option<u64> {
        let mut epochs = 0_u64;
        for (cpu, cache) in self.per_cpu.iter() {
            // A CPU whose cache was never used has no blocks.
            if cache.epoch() > 0 {
                let reach = || self.per_cpu.with_remote(cpu, |cache| cache.epoch());
                epochs = epochs.wrapping_add(self.state.with(|_| reach())?);
            }
        }
        Some(epochs)
    }

    /// Executes the next step of a check of the magazines.
    fn check_magazines(&self, walk: &mut Walk) -> Result<Progress, Broken> {
        let result = self.check_slots(walk);
        if result == Ok(Progress::More) {
            return result;
        }
        // The result is valid if nothing has changed since `begin_magazines`.
        let mut unchanged = walk.cpu_epochs.is_some() && walk.cpu_epochs == self.epochs();
        unchanged &= self.state.with(|state| walk.epoch == Some(state.epoch()));
        if unchanged {
            result
        } else {
            Ok(walk.restart())
        }
    }

    /// Checks the next slots of the CPUs' magazines, then the next blocks of the depot, and at last the counters.
    fn check_slots(&self, walk: &mut Walk) -> Result<Progress, Broken> {
        let slots = self.per_cpu.cpus() * KINDS * BLOCKS_MAX;
        let mut compared = 0;
        while walk.place < slots {
            if compared >= STEP {
                return Ok(Progress::More);
            }
            let (magazine, slot) = (walk.place / BLOCKS_MAX, walk.place % BLOCKS_MAX);
            let (cpu, number) = (magazine / KINDS, magazine % KINDS);
            let (Some(cache), Some(kind)) = (self.per_cpu.get(cpu), MagazineKind::new(number))
            else {
                // The CPU has no cache.
                walk.place = (cpu + 1) * KINDS * BLOCKS_MAX;
                compared += 1;
                continue;
            };
            let (len, capacity) = (cache.len(kind), cache.capacity(kind));
            if len > capacity || capacity > cache.limit(kind) {
                return Err(broken(Rule::Magazines, Some(kind), None));
            }
            let Some(block) = cache.block(kind, slot) else {
                // The later slots of the magazine contain no blocks either.
                walk.place = (magazine + 1) * BLOCKS_MAX;
                compared += 1;
                continue;
            };
            compared += self.check_block(walk, kind, block)?;
            walk.place += 1;
            walk.walked += 1;
        }
        while walk.place < slots + KINDS * DEPOT_PLACES {
            if compared >= STEP {
                return Ok(Progress::More);
            }
            let (number, place) = {
                let place = walk.place - slots;
                (place / DEPOT_PLACES, place % DEPOT_PLACES)
            };
            let stored = MagazineKind::new(number).and_then(|kind| {
                let block = self.state.with(|state| state.depot.block(kind, place))?;
                Some((kind, block))
            });
            let Some((kind, block)) = stored else {
                // The depot has no more blocks of the kind.
                walk.place = slots + (number + 1) * DEPOT_PLACES;
                compared += 1;
                continue;
            };
            compared += self.check_block(walk, kind, block)?;
            compared += self.check_stored(kind, block, place)?;
            walk.place += 1;
            walk.walked += 1;
        }
        self.state.with(|state| self.check_counters(walk, state))?;
        Ok(Progress::Sound)
    }

    /// Checks that a block of the depot is not also in an earlier place of the depot, and returns the number of
    /// comparisons.
    fn check_stored(
        &self,
        kind: MagazineKind,
        block: Block,
        place: usize,
    ) -> Result<usize, Broken> {
        self.state.with(|state| {
            let mut earlier = state.depot.blocks(kind).take(place);
            if earlier.any(|other| other == block) {
                let offset = self.index.offset(block.start);
                return Err(broken(Rule::Magazines, Some(kind), offset));
            }
            Ok(place)
        })
    }

    /// Checks a block, and returns the number of comparisons.
    fn check_block(&self, walk: &Walk, kind: MagazineKind, block: Block) -> Result<usize, Broken> {
        let offset = self.index.offset(block.start);
        let is_allocated = |offset| {
            self.state
                .with(|state| state.heap.is_allocated(offset, kind))
        };
        if !offset.is_some_and(is_allocated) {
            return Err(broken(Rule::Magazines, Some(kind), offset));
        }
        let mut compared = 1;
        // The block must not be in an earlier slot, of this magazine or of the same magazine of another CPU. The
        // places of the depot follow all slots.
        for (cpu, cache) in self.per_cpu.iter() {
            let first = (cpu * KINDS + kind.number()) * BLOCKS_MAX;
            for slot in 0..cache.len(kind).min(BLOCKS_MAX) {
                compared += 1;
                if first + slot < walk.place && cache.block(kind, slot) == Some(block) {
                    return Err(broken(Rule::Magazines, Some(kind), offset));
                }
            }
        }
        Ok(compared)
    }

    /// Compares the counters of capacities and of live blocks.
    fn check_counters(&self, walk: &mut Walk, state: &State<H>) -> Result<(), Broken> {
        // The sums wrap, because the counters of other CPUs may be read at different moments or be damaged.
        let (mut held, mut reserved) = (0_usize, 0_usize);
        for kind in MagazineKind::all() {
            let stored = state.depot.len(kind);
            held = held.wrapping_add(stored);
            reserved = reserved.wrapping_add(stored.wrapping_mul(H::block_bytes(kind)));
        }
        for (cache, kind) in self
            .per_cpu
            .iter()
            .flat_map(|(_, cache)| MagazineKind::all().map(move |kind| (cache, kind)))
        {
            held = held.wrapping_add(cache.len(kind));
            let bytes = cache.capacity(kind).wrapping_mul(H::block_bytes(kind));
            reserved = reserved.wrapping_add(bytes);
        }
        walk.walked += 1;
        if !state.depot.is_sound() || reserved != state.reserved_bytes {
            return Err(broken(Rule::Magazines, None, None));
        }
        let counts = self.counts(state);
        // Because the counters are read one after the other, they may show more frees than allocations.
        let live = counts.allocations.wrapping_sub(counts.frees);
        let in_heap = state.heap.totals().allocated_blocks;
        if in_heap as u64 != live.wrapping_add(held as u64) {
            return Err(broken(Rule::LiveBlocks, None, None));
        }
        Ok(())
    }
}
