// SPDX-License-Identifier: GPL-2.0

//! Fuzzing of the engines.
//!
//! Random bytes are decoded to a list of operations. Every engine runs the list, with and without debug mode.
//! A shadow map checks the address, alignment and content of every live block. At the end of a run, the
//! engine's metadata is checked and all blocks are freed. In hybrid and extent, each region can then be allocated as
//! one block; in the seed, no block is live.
//!
//! `cargo test` runs all inputs of `corpus/engines` with any toolchain. A search for new inputs needs
//! `cargo install cargo-fuzz` and a nightly toolchain:
//!
//! ```text
//! cargo +nightly fuzz run --fuzz-dir rust/heap/fuzz --features libfuzzer engines
//! ```
//!
//! The search adds inputs with new coverage to the corpus, and writes inputs that fail to
//! `artifacts/engines`. Move such an input to the corpus when the fault that it shows is fixed.

mod world;

use std::{
    alloc::Layout,
    slice, //
};

use arbitrary::{
    Arbitrary,
    Unstructured, //
};
use slab_heap::{
    Block, Cost, Engine,
    backing_heap::InspectHeap,
    check::{
        self,
        Progress,
        Walk, //
    },
    debug::{
        self,
        DebugMode, //
    },
    extent, hybrid,
    magazines::{
        CacheSize,
        MagazineEngine,
        State, //
    },
    per_cpu::NoPerCpu,
    seed::{
        self,
        Seed, //
    },
    stats::{
        DebugStats,
        Totals,
        Visitor, //
    },
};

use slab_host::{
    HostCpus,
    HostLock,
    Process,
    run_on, //
};

use world::{
    CPUS,
    FuzzMemory, //
};

/// The size of the first region in bytes.
const POOL_BYTES: usize = 256 << 10;

/// The size in bytes of the first region of an engine with a depot, which has 4 magazines then.
const DEPOT_POOL_BYTES: usize = 2 << 20;

/// The size in bytes of a pool whose magazines have at most 4 blocks, so that few operations reach the depot.
const SMALL_CACHE_POOL_BYTES: usize = 32 << 10;

/// The size of an added region in bytes.
const REGION_BYTES: usize = 64 << 10;

/// The overhead of a page block in debug mode in bytes.
const DEBUG_OVERHEAD: usize = 128;

/// The maximum number of operations in a run.
const OPERATIONS: usize = 400;

/// An operation on an engine.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum FuzzOperation {
    /// Allocates a block of less than 4 KiB.
    Small(u16, u8),
    /// Allocates a block of less than 1 MiB.
    Large(u16, u8),
    /// Allocates a block of any size and alignment.
    Any(u32, u8),
    /// Frees a live block.
    Release(u8),
    /// Resizes a live block in place, if possible.
    Resize(u8, u32),
    /// Frees every other live block.
    ReleaseHalf,
    /// Migrates the thread to another CPU.
    Cpu(u8),
    /// Flushes the magazines of all CPUs.
    Shrink,
    /// Checks the engine's metadata and statistics.
    Check,
    /// Adds a region.
    AddRegion,
}

/// A live block.
struct FuzzBlock {
    block: Block,
    layout: Layout,
    usable: usize,
    fill: u8,
}

impl FuzzBlock {
    fn start(&self) -> usize {
        self.block.start.addr().get()
    }

    /// Checks that the first `bytes` bytes are unchanged.
    fn check_content(&self, bytes: usize) {
        // SAFETY: The block is live, has at least `bytes` usable bytes, and `write` initialized them.
        let found = unsafe { slice::from_raw_parts(self.block.start.as_ptr(), bytes) };
        assert!(
            found.iter().all(|byte| *byte == self.fill),
            "the content of a live block changed"
        );
    }

    fn write(&self) {
        // SAFETY: The block is live and has `usable` bytes.
        unsafe { self.block.start.write_bytes(self.fill, self.usable) };
    }
}

/// An engine with a shadow map of its live blocks.
struct FuzzedEngine<'a, E> {
    engine: &'a E,
    /// The live blocks, sorted by address.
    blocks: Vec<FuzzBlock>,
    memories: Vec<(FuzzMemory, FuzzMemory)>,
    fill: u8,
}

/// Collects the totals of an engine's statistics.
#[derive(Default)]
struct TotalsSink(Totals);

impl Visitor for TotalsSink {
    fn totals(&mut self, totals: &Totals) {
        self.0 = *totals;
    }

    fn debug(&mut self, stats: &DebugStats) {
        assert_eq!(
            *stats,
            DebugStats::default(),
            "debug mode reported a misuse"
        );
    }
}

/// Frees the cached memory of an engine, if the engine caches memory.
fn shrink(engine: &impl Engine) {
    if let Some(engine) = engine.interfaces().shrink {
        engine.shrink();
    }
}

impl<E: Engine> FuzzedEngine<'_, E> {
    /// Adds a region, unless the engine has the maximum number of regions.
    fn add_region(&mut self, bytes: usize) {
        let engine = self.engine.interfaces().add_region;
        let engine = engine.expect("every fuzzed engine has a pool");
        let (memory, table) = (
            FuzzMemory::new(bytes),
            FuzzMemory::new(engine.table_bytes(bytes)),
        );
        // SAFETY: The memory and the table are two allocations, zeroed and aligned to at least 4096, and each
        // pointer comes from its allocation. Nobody else uses them, and both outlive the engine, because
        // `fuzz` drops the engine first.
        let added = unsafe { engine.add_region(memory.start(), bytes, table.start()) };
        if added.is_ok() {
            self.memories.push((memory, table));
        }
    }

    fn allocate(&mut self, size: usize, align: u32) {
        let Ok(layout) = Layout::from_size_align(size.max(1), 1 << align) else {
            return;
        };
        let Ok(block) = self.engine.allocate(layout, &mut Cost::default()) else {
            return;
        };
        self.fill = self.fill.wrapping_add(1);
        let usable = self.engine.usable_size(layout);
        let live = FuzzBlock {
            block,
            layout,
            usable,
            fill: self.fill,
        };
        assert!(usable >= layout.size());
        assert_eq!(live.start() % layout.align(), 0);
        let at = self
            .blocks
            .partition_point(|other| other.start() < live.start());
        assert!(
            at == 0 || self.blocks[at - 1].start() + self.blocks[at - 1].usable <= live.start()
        );
        assert!(
            self.blocks
                .get(at)
                .is_none_or(|next| live.start() + usable <= next.start())
        );
        let within = |(memory, _): &(FuzzMemory, FuzzMemory)| {
            let first = memory.start().addr().get();
            first <= live.start() && live.start() + usable <= first + memory.bytes()
        };
        assert!(
            self.memories.iter().any(within),
            "the block lies outside the pool"
        );
        live.write();
        self.blocks.insert(at, live);
    }

    fn free(&mut self, n: usize) {
        let live = self.blocks.remove(n);
        live.check_content(live.usable);
        // SAFETY: The block is live with this layout, and was removed from the shadow map, so it is
        // freed once and not used again.
        let freed = unsafe {
            self.engine
                .free(live.block, live.layout, &mut Cost::default())
        };
        freed.expect("the engine refused a valid free");
    }

    fn resize(&mut self, n: usize, size: usize) {
        let live = &mut self.blocks[n];
        let Ok(new) = Layout::from_size_align(size.max(1), live.layout.align()) else {
            return;
        };
        let fits_in_place = self.engine.fits_in_place(live.layout, new);
        // SAFETY: The block is live with this layout, the new layout has the same alignment, and nothing uses
        // the block during the call.
        let resized = unsafe {
            self.engine
                .resize(live.block, live.layout, new, &mut Cost::default())
        };
        assert!(
            resized || !fits_in_place,
            "a block that fits in place was not resized"
        );
        if resized {
            live.check_content(live.usable.min(new.size()));
            (live.layout, live.usable) = (new, self.engine.usable_size(new));
            assert!(live.usable >= new.size());
            let end = live.start() + live.usable;
            live.write();
            assert!(
                self.blocks
                    .get(n + 1)
                    .is_none_or(|next| end <= next.start())
            );
        }
    }

    /// Checks the engine's metadata, and compares its statistics with the shadow map.
    fn check(&self) {
        let engine = self.engine.interfaces().check;
        let engine = engine.expect("every fuzzed engine has a check");
        let walked = check::run(&mut Walk::new(), |walk| engine.check(walk));
        assert_eq!(walked, Ok(Progress::Sound));
        let mut sums = TotalsSink::default();
        self.engine.interfaces().statistics.visit(&mut sums);
        let TotalsSink(totals) = sums;
        assert_eq!(totals.live_blocks as usize, self.blocks.len());
        let requested: usize = self.blocks.iter().map(|live| live.layout.size()).sum();
        assert_eq!(totals.requested_bytes as usize, requested);
        let all = totals.live_bytes + totals.cached_bytes + totals.free_bytes;
        assert_eq!(all, totals.pool_bytes);
    }

    fn apply(&mut self, operation: FuzzOperation) {
        let pick = |n: u8| usize::from(n).checked_rem(self.blocks.len());
        match operation {
            FuzzOperation::Small(size, align) => {
                self.allocate(usize::from(size % 4096), u32::from(align % 13))
            }
            FuzzOperation::Large(size, align) => {
                self.allocate(usize::from(size) << 4, u32::from(align % 20));
            }
            FuzzOperation::Any(size, align) => self.allocate(size as usize, u32::from(align % 64)),
            FuzzOperation::Release(n) => {
                if let Some(n) = pick(n) {
                    self.free(n);
                }
            }
            FuzzOperation::Resize(n, size) => {
                if let Some(n) = pick(n) {
                    self.resize(n, size as usize % (96 << 10));
                }
            }
            FuzzOperation::ReleaseHalf => {
                for n in (0..self.blocks.len()).step_by(2).rev() {
                    self.free(n);
                }
            }
            FuzzOperation::Cpu(cpu) => run_on(usize::from(cpu) % CPUS),
            FuzzOperation::Shrink => {
                shrink(self.engine);
            }
            FuzzOperation::Check => self.check(),
            FuzzOperation::AddRegion => self.add_region(REGION_BYTES),
        }
    }

    fn free_all(&mut self) {
        while let Some(last) = self.blocks.len().checked_sub(1) {
            self.free(last);
        }
        self.check();
    }

    /// Frees all blocks, and checks the final state.
    fn end(&mut self, final_state: FinalState) {
        self.check();
        self.free_all();
        let FinalState::OneBlock { overhead } = final_state else {
            return;
        };
        shrink(self.engine);
        let mut sums = TotalsSink::default();
        self.engine.interfaces().statistics.visit(&mut sums);
        assert_eq!(sums.0.free_bytes, sums.0.pool_bytes);
        let regions: Vec<_> = self
            .memories
            .iter()
            .map(|(memory, _)| memory.bytes())
            .collect();
        for bytes in &regions {
            self.allocate(bytes - overhead, 0);
        }
        assert_eq!(
            self.blocks.len(),
            regions.len(),
            "each region must be allocatable as one block"
        );
        self.free_all();
    }
}

/// The state of an engine after all blocks are freed.
#[derive(Clone, Copy)]
enum FinalState {
    /// No block is live, but slabs are not returned to the buddy system.
    Empty,
    /// Each region, less the overhead of a block, is allocatable as one block.
    OneBlock { overhead: usize },
}

/// Runs the operations on a new engine with a pool of [`POOL_BYTES`].
fn fuzz<E: Engine>(engine: E, operations: &[FuzzOperation], final_state: FinalState) {
    fuzz_in(POOL_BYTES, engine, operations, final_state);
}

/// Runs the operations on a new engine whose first region has `pool_bytes` bytes.
fn fuzz_in<E: Engine>(
    pool_bytes: usize,
    engine: E,
    operations: &[FuzzOperation],
    final_state: FinalState,
) {
    run_on(0);
    let mut fuzzed = FuzzedEngine {
        engine: &engine,
        blocks: Vec::new(),
        memories: Vec::new(),
        fill: 0,
    };
    fuzzed.add_region(pool_bytes);
    for operation in operations {
        fuzzed.apply(*operation);
    }
    fuzzed.end(final_state);
    let memories = fuzzed.memories;
    // The engine must be dropped before its memory.
    drop(engine);
    drop(memories);
}

/// Decodes bytes to operations and runs them on every engine.
///
/// # Panics
///
/// Panics when a check of an engine fails.
pub fn run(bytes: &[u8]) {
    let mut bytes = Unstructured::new(bytes);
    let mut operations = Vec::new();
    while operations.len() < OPERATIONS && !bytes.is_empty() {
        let Ok(operation) = bytes.arbitrary() else {
            break;
        };
        operations.push(operation);
    }
    let seed = || Seed::new(HostLock::new(seed::State::new()));
    fuzz(seed(), &operations, FinalState::Empty);
    fuzz(
        DebugMode::new(seed(), owners(), Process),
        &operations,
        FinalState::Empty,
    );
    fuzz_magazines(hybrid::State::new, &operations);
    fuzz_magazines(extent::State::new, &operations);
}

/// Returns the state of debug mode behind a lock.
fn owners() -> HostLock<debug::State> {
    HostLock::new(debug::State::new())
}

/// Runs the operations on an engine with magazines in front of a heap: without CPUs, on several CPUs, with a depot, and
/// in debug mode. `state` constructs the state of the engine.
fn fuzz_magazines<H: InspectHeap>(state: impl Fn() -> State<H>, operations: &[FuzzOperation]) {
    let whole = FinalState::OneBlock { overhead: 0 };
    let guarded = FinalState::OneBlock {
        overhead: DEBUG_OVERHEAD,
    };
    let state = || HostLock::new(state());
    let on_cpus = || MagazineEngine::new(state(), HostCpus::new(CPUS, CacheSize::FULL));
    fuzz(MagazineEngine::new(state(), NoPerCpu), operations, whole);
    fuzz(on_cpus(), operations, whole);
    let small = HostCpus::new(CPUS, CacheSize::for_pool::<H>(SMALL_CACHE_POOL_BYTES));
    let with_depot = MagazineEngine::new(state(), small);
    fuzz_in(DEPOT_POOL_BYTES, with_depot, operations, whole);
    let debug = DebugMode::new(on_cpus(), owners(), Process);
    fuzz(debug, operations, guarded);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_input_of_the_corpus_passes() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/engines");
        let files = std::fs::read_dir(folder)
            .unwrap()
            .map(|file| file.unwrap().path());
        let count = files.map(|file| run(&std::fs::read(file).unwrap())).count();
        assert!(count >= 90, "{count} files");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(100) })]

        #[test]
        fn random_inputs_pass(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            run(&bytes);
        }
    }
}
