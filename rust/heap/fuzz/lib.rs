// SPDX-License-Identifier: GPL-2.0

//! Fuzzes the engines.
//!
//! Bytes become operations, which each engine does, one after the other, in debug mode and not,
//! beside a shadow that knows every block: where it is, how it is aligned, and what was written to
//! it. At the end of each run the records are walked and all is freed; of the hybrid, each region
//! must then be one block again, of the seed nothing may be out.
//!
//! The tests do this with all of `corpus/engines`, with any toolchain. To look for more (needs
//! `cargo install cargo-fuzz` and a nightly toolchain):
//!
//! ```text
//! cargo +nightly fuzz run --fuzz-dir rust/heap/fuzz --features libfuzzer engines
//! ```
//!
//! That adds to the corpus whatever does something new. What breaks an engine it leaves in
//! `artifacts/engines`; once that is mended, it belongs to the corpus.

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
    check::{
        self,
        Progress,
        Walk, //
    },
    guard::{
        self,
        Guard, //
    },
    hybrid::{
        self,
        Hybrid, //
    },
    per_cpu::NoPerCpu,
    seed::{
        self,
        Seed, //
    },
    stats::{
        GuardStats,
        Totals,
        Visitor, //
    },
};

use world::{
    CPU,
    CPUS,
    HostLock,
    Machine,
    Memory,
    Nobody, //
};

/// Bytes of the first region.
const POOL_BYTES: usize = 256 << 10;

/// Bytes of those that are added.
const REGION_BYTES: usize = 64 << 10;

/// Bytes that a block of pages takes more in debug mode.
const ZONES: usize = 128;

/// The most operations of a run.
const OPERATIONS: usize = 400;

/// What is asked of an engine.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Operation {
    /// A block of up to 4 KiB.
    Small(u16, u8),
    /// A block of up to 1 MiB.
    Large(u16, u8),
    /// A block of any size and alignment.
    Any(u32, u8),
    /// To take back one of the blocks.
    Release(u8),
    /// To make one of them so large.
    Resize(u8, u32),
    /// To take back every other one.
    ReleaseHalf,
    /// To go on elsewhere.
    Cpu(u8),
    /// To give back what CPUs keep.
    Drain,
    /// To say what there is.
    Check,
    /// To have more.
    AddRegion,
}

/// A block that is out.
struct Live {
    block: Block,
    layout: Layout,
    usable: usize,
    fill: u8,
}

impl Live {
    fn start(&self) -> usize {
        self.block.start.addr().get()
    }

    /// Fails unless the first bytes are as they were left.
    fn holds(&self, bytes: usize) {
        // SAFETY: The block is out, has so many bytes, and they were written.
        let found = unsafe { slice::from_raw_parts(self.block.start.as_ptr(), bytes) };
        assert!(
            found.iter().all(|byte| *byte == self.fill),
            "contents changed"
        );
    }

    fn write(&self) {
        // SAFETY: The block is out and has so many bytes.
        unsafe { self.block.start.write_bytes(self.fill, self.usable) };
    }
}

/// An engine beside what is known of it.
struct Shadow<'a, E> {
    engine: &'a E,
    /// By address.
    blocks: Vec<Live>,
    memories: Vec<(Memory, Memory)>,
    fill: u8,
}

/// What an engine says that it has.
#[derive(Default)]
struct Sums(Totals);

impl Visitor for Sums {
    fn totals(&mut self, totals: &Totals) {
        self.0 = *totals;
    }

    fn guard(&mut self, stats: &GuardStats) {
        assert_eq!(*stats, GuardStats::default(), "nothing was done wrong");
    }
}

impl<E: Engine> Shadow<'_, E> {
    /// Adds a region; there may be as many as there can be already.
    fn add_region(&mut self, bytes: usize) {
        let (memory, table) = (
            Memory::new(bytes),
            Memory::new(self.engine.table_bytes(bytes)),
        );
        // SAFETY: Both are kept until the engine is gone, see `fuzz`, and are as large as is said.
        let added = unsafe { self.engine.add_region(memory.start(), bytes, table.start()) };
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
        let usable = self.engine.usable(layout);
        let live = Live {
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
        let within = |(memory, _): &(Memory, Memory)| {
            let first = memory.start().addr().get();
            first <= live.start() && live.start() + usable <= first + memory.bytes()
        };
        assert!(self.memories.iter().any(within), "outside of the pool");
        live.write();
        self.blocks.insert(at, live);
    }

    fn release(&mut self, n: usize) {
        let live = self.blocks.remove(n);
        live.holds(live.usable);
        // SAFETY: The block was out, with this layout, and is now forgotten.
        let released = unsafe {
            self.engine
                .release(live.block, live.layout, &mut Cost::default())
        };
        released.expect("a right free");
    }

    fn resize(&mut self, n: usize, size: usize) {
        let live = &mut self.blocks[n];
        let Ok(new) = Layout::from_size_align(size.max(1), live.layout.align()) else {
            return;
        };
        let keeps = self.engine.keeps(live.layout, new);
        // SAFETY: The block is out, with this layout; the alignment is the same.
        let resized = unsafe {
            self.engine
                .resize(live.block, live.layout, new, &mut Cost::default())
        };
        assert!(resized || !keeps, "what can stay must be resized in place");
        if resized {
            live.holds(live.usable.min(new.size()));
            (live.layout, live.usable) = (new, self.engine.usable(new));
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

    /// Walks the records, and compares what the engine says with what is known.
    fn check(&self) {
        let walked = check::run(&mut Walk::new(), |walk| self.engine.check(walk));
        assert_eq!(walked, Ok(Progress::Sound));
        let mut sums = Sums::default();
        self.engine.visit(&mut sums);
        let Sums(totals) = sums;
        assert_eq!(totals.live_blocks as usize, self.blocks.len());
        let requested: usize = self.blocks.iter().map(|live| live.layout.size()).sum();
        assert_eq!(totals.requested_bytes as usize, requested);
        let all = totals.live_bytes + totals.cached_bytes + totals.free_bytes;
        assert_eq!(all, totals.pool_bytes);
    }

    fn apply(&mut self, operation: Operation) {
        let pick = |n: u8| usize::from(n).checked_rem(self.blocks.len());
        match operation {
            Operation::Small(size, align) => {
                self.allocate(usize::from(size % 4096), u32::from(align % 13))
            }
            Operation::Large(size, align) => {
                self.allocate(usize::from(size) << 4, u32::from(align % 20));
            }
            Operation::Any(size, align) => self.allocate(size as usize, u32::from(align % 64)),
            Operation::Release(n) => {
                if let Some(n) = pick(n) {
                    self.release(n);
                }
            }
            Operation::Resize(n, size) => {
                if let Some(n) = pick(n) {
                    self.resize(n, size as usize % (96 << 10));
                }
            }
            Operation::ReleaseHalf => {
                for n in (0..self.blocks.len()).step_by(2).rev() {
                    self.release(n);
                }
            }
            Operation::Cpu(cpu) => CPU.set(usize::from(cpu) % CPUS),
            Operation::Drain => {
                self.engine.drain();
            }
            Operation::Check => self.check(),
            Operation::AddRegion => self.add_region(REGION_BYTES),
        }
    }

    fn release_all(&mut self) {
        while let Some(last) = self.blocks.len().checked_sub(1) {
            self.release(last);
        }
        self.check();
    }

    /// Frees all; what is to be one block again must be.
    fn end(&mut self, merges: Merges) {
        self.check();
        self.release_all();
        let Merges::AllBut { zones } = merges else {
            return;
        };
        self.engine.drain();
        let mut sums = Sums::default();
        self.engine.visit(&mut sums);
        assert_eq!(sums.0.free_bytes, sums.0.pool_bytes);
        let regions: Vec<_> = self
            .memories
            .iter()
            .map(|(memory, _)| memory.bytes())
            .collect();
        for bytes in &regions {
            self.allocate(bytes - zones, 0);
        }
        assert_eq!(
            self.blocks.len(),
            regions.len(),
            "every region is one block"
        );
        self.release_all();
    }
}

/// What an engine puts together again when all is freed.
#[derive(Clone, Copy)]
enum Merges {
    /// Not all: slabs stay slabs.
    Some,
    /// Each region, but for what a block takes beside its bytes.
    AllBut { zones: usize },
}

/// Has a new engine do the operations.
fn fuzz<E: Engine>(engine: E, operations: &[Operation], merges: Merges) {
    CPU.set(0);
    let mut shadow = Shadow {
        engine: &engine,
        blocks: Vec::new(),
        memories: Vec::new(),
        fill: 0,
    };
    shadow.add_region(POOL_BYTES);
    for operation in operations {
        shadow.apply(*operation);
    }
    shadow.end(merges);
    let memories = shadow.memories;
    // The engine ends before its memory does.
    drop(engine);
    drop(memories);
}

/// Turns bytes into operations and has every engine do them.
///
/// # Panics
///
/// When an engine did something wrong.
pub fn run(bytes: &[u8]) {
    let mut bytes = Unstructured::new(bytes);
    let mut operations = Vec::new();
    while operations.len() < OPERATIONS
        && !bytes.is_empty()
        && let Ok(operation) = bytes.arbitrary()
    {
        operations.push(operation);
    }
    let seed = || Seed::new(HostLock::new(seed::State::new()));
    let state = || HostLock::new(hybrid::State::new());
    let records = || HostLock::new(guard::State::new());
    fuzz(seed(), &operations, Merges::Some);
    fuzz(
        Guard::new(seed(), records(), Nobody),
        &operations,
        Merges::Some,
    );
    let (whole, guarded) = (Merges::AllBut { zones: 0 }, Merges::AllBut { zones: ZONES });
    fuzz(Hybrid::new(state(), NoPerCpu), &operations, whole);
    fuzz(Hybrid::new(state(), Machine::new()), &operations, whole);
    let hybrid = Hybrid::new(state(), Machine::new());
    fuzz(Guard::new(hybrid, records(), Nobody), &operations, guarded);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_corpus_is_replayed() {
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
        fn no_bytes_break_an_engine(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            run(&bytes);
        }
    }
}
