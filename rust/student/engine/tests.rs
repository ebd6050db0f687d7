// SPDX-License-Identifier: GPL-2.0

//! Tests of the engine `student` with small allocators, most of which break one rule.

use core::alloc::Layout;
use std::{
    vec,
    vec::Vec, //
};

use slab_heap::{
    Cost, Engine, PAGE_BYTES, Refusal,
    check::{
        self,
        Walk, //
    },
    testing::conformance::conforms,
    violation::{
        Operation,
        Rule,
        Supervise as _,
        Violation, //
    },
};
use slab_host::HostLock;

use crate::{
    ACCESSES_MAX,
    Allocator,
    CPUS,
    Error,
    Memory,
    PAGE_NOTES,
    State,
    StudentEngine,
    live_map::LiveMap,
    words::Words, //
};

type HostStudent<A> = StudentEngine<A, HostLock<State<A>>>;

fn engine<A: Allocator>() -> HostStudent<A> {
    StudentEngine::new(HostLock::new(State::new()))
}

/// Memory of the host for a pool and its table.
struct Pool {
    pages: Vec<[u64; PAGE_BYTES / 8]>,
    table: Vec<u64>,
}

impl Pool {
    /// Adds a pool of `pages` pages to an engine. The engine must not be used after the pool is dropped.
    fn lend<A: Allocator>(engine: &HostStudent<A>, pages: usize) -> Self {
        let add_region = engine.interfaces().add_region.unwrap();
        // One page more than needed, to begin at a page.
        let mut pool = Self {
            pages: vec![[0; PAGE_BYTES / 8]; pages + 1],
            table: vec![0; add_region.table_bytes(pages * PAGE_BYTES) / 8],
        };
        let start = pool.pages.as_mut_ptr().cast::<u8>();
        let skip = start.align_offset(PAGE_BYTES);
        let start = start.wrapping_add(skip);
        let table = core::ptr::NonNull::from(&mut pool.table[..]).cast();
        // SAFETY: `add_region` requires memory of the pool and of the table that nobody else uses as long as the engine
        // is used: both are new, and the caller keeps the pool.
        unsafe {
            let start = core::ptr::NonNull::new(start).unwrap();
            add_region
                .add_region(start, pages * PAGE_BYTES, table)
                .unwrap();
        }
        pool
    }
}

/// Blocks of whole pages, first fit. Note 0 of a page is 1 if the page is allocated.
struct FirstFit;

fn pages(bytes: usize) -> usize {
    bytes.div_ceil(PAGE_BYTES)
}

impl FirstFit {
    fn set(memory: &mut Memory, block: usize, bytes: usize, note: u64) -> Result<(), Error> {
        let first = block / PAGE_BYTES;
        (first..first + pages(bytes)).try_for_each(|page| memory.set_note(page, 0, note))
    }
}

impl Allocator for FirstFit {
    fn new(_memory: &mut Memory) -> Result<Self, Error> {
        Ok(Self)
    }

    fn allocate(&mut self, memory: &mut Memory, layout: Layout) -> Result<Option<usize>, Error> {
        let mut free = 0;
        for page in 0..memory.pages() {
            free = if memory.note(page, 0)? == 0 {
                free + 1
            } else {
                0
            };
            let first = page + 1 - pages(layout.size()).min(page + 1);
            let is_aligned = first * PAGE_BYTES % layout.align() == 0;
            if free >= pages(layout.size()) && is_aligned {
                Self::set(memory, first * PAGE_BYTES, layout.size(), 1)?;
                return Ok(Some(first * PAGE_BYTES));
            }
        }
        Ok(None)
    }

    fn free(&mut self, memory: &mut Memory, block: usize, layout: Layout) -> Result<(), Error> {
        // The memory of a freed block may be accessed.
        memory.write(block, 7)?;
        assert_eq!(memory.read(block)?, 7);
        Self::set(memory, block, layout.size(), 0)
    }

    fn resize(
        &mut self,
        _memory: &mut Memory,
        _block: usize,
        layout: Layout,
        size: usize,
    ) -> Result<bool, Error> {
        Ok(pages(size) == pages(layout.size()))
    }
}

#[test]
fn a_sound_allocator_conforms() {
    conforms(engine::<FirstFit>);
}

/// An allocator whose functions do what the test says.
struct Scripted<const RULE: u32>;

const IN_POOL: u32 = Rule::AccessInPool as u32;
const ALIGNED: u32 = Rule::AccessAligned as u32;
const OUTSIDE_OF_BLOCKS: u32 = Rule::AccessOutsideOfBlocks as u32;
const ENDS: u32 = Rule::OperationEnds as u32;
const NOTE: u32 = Rule::NoteExists as u32;
const BLOCK_IN_POOL: u32 = Rule::BlockInPool as u32;
const BLOCK_ALIGNED: u32 = Rule::BlockAligned as u32;
const BLOCK_DISJOINT: u32 = Rule::BlockDisjoint as u32;
const OWN_CHECK: u32 = Rule::OwnCheck as u32;

/// The line of the access that breaks the rule.
const LINE: u32 = line!() + 20;

impl<const RULE: u32> Allocator for Scripted<RULE> {
    fn new(_memory: &mut Memory) -> Result<Self, Error> {
        Ok(Self)
    }

    fn allocate(&mut self, memory: &mut Memory, layout: Layout) -> Result<Option<usize>, Error> {
        if layout.size() == 8 {
            return Ok(Some(64));
        }
        let (at, rounds) = match RULE {
            IN_POOL => (memory.len(), 1),
            ALIGNED => (4, 1),
            OUTSIDE_OF_BLOCKS => (64, 1),
            ENDS => (0, usize::MAX),
            _ => (0, 0),
        };
        // The result is ignored on purpose, except by the loop.
        for _ in 0..rounds {
            if memory.read(at).is_err() {
                break;
            }
        }
        match RULE {
            NOTE => _ = memory.note(0, PAGE_NOTES),
            BLOCK_IN_POOL => return Ok(Some(memory.len() - 8)),
            BLOCK_ALIGNED => return Ok(Some(132)),
            BLOCK_DISJOINT => return Ok(Some(56)),
            _ => {}
        }
        Ok(Some(128))
    }

    fn free(&mut self, _memory: &mut Memory, _block: usize, _layout: Layout) -> Result<(), Error> {
        Ok(())
    }

    fn check(&mut self, memory: &mut Memory) -> Result<(), Error> {
        match RULE {
            OWN_CHECK => Err(memory.broken("the list has a loop", 72)),
            _ => Ok(()),
        }
    }
}

fn layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes, 8).unwrap()
}

/// Runs an allocation of 8 bytes, one of 16 bytes and a check. Returns the violation.
fn violation<const RULE: u32>() -> Option<Violation> {
    let engine = engine::<Scripted<RULE>>();
    let pool = Pool::lend(&engine, 2);
    let mut cost = Cost::default();
    let block = engine.allocate(layout(8), &mut cost).unwrap();
    let second = engine.allocate(layout(16), &mut cost);
    let checked = check::run(&mut Walk::new(), |walk| {
        engine.interfaces().check.unwrap().check(walk)
    });
    let violation = engine.violation();
    assert_eq!(checked.is_err(), violation.is_some());
    if violation.is_some() {
        assert!(RULE == OWN_CHECK || second == Err(Refusal::Faulty));
        assert_eq!(engine.allocate(layout(8), &mut cost), Err(Refusal::Faulty));
    }
    // A block can be freed after a violation.
    // SAFETY: `free` requires a live block with its layout, which nobody uses: it was allocated above.
    assert_eq!(unsafe { engine.free(block, layout(8), &mut cost) }, Ok(()));
    drop(pool);
    violation
}

#[test]
fn each_broken_rule_is_recorded_with_its_place() {
    let broken = |rule, offset: usize, line| Violation {
        rule,
        operation: Operation::Allocate,
        call: 2,
        offset: offset as u64,
        line,
        sentence: None,
    };
    let bytes = 2 * PAGE_BYTES;
    let cases = [
        (
            violation::<IN_POOL>(),
            broken(Rule::AccessInPool, bytes, LINE),
        ),
        (violation::<ALIGNED>(), broken(Rule::AccessAligned, 4, LINE)),
        (
            violation::<OUTSIDE_OF_BLOCKS>(),
            broken(Rule::AccessOutsideOfBlocks, 64, LINE),
        ),
        (violation::<ENDS>(), broken(Rule::OperationEnds, 0, LINE)),
        (
            violation::<NOTE>(),
            broken(Rule::NoteExists, PAGE_NOTES << 32, LINE + 5),
        ),
        (
            violation::<BLOCK_IN_POOL>(),
            broken(Rule::BlockInPool, bytes - 8, 0),
        ),
        (
            violation::<BLOCK_ALIGNED>(),
            broken(Rule::BlockAligned, 132, 0),
        ),
        (
            violation::<BLOCK_DISJOINT>(),
            broken(Rule::BlockDisjoint, 64, 0),
        ),
    ];
    for (found, expected) in cases {
        assert_eq!(found, Some(expected));
    }
    assert_eq!(violation::<0>(), None);
}

#[test]
fn the_allocators_own_check_names_what_is_wrong() {
    let found = violation::<OWN_CHECK>().unwrap();
    assert_eq!(
        (found.rule, found.operation),
        (Rule::OwnCheck, Operation::Check)
    );
    assert_eq!(
        (found.offset, found.sentence),
        (72, Some("the list has a loop"))
    );
}

/// An allocator of one block. `resize` writes to the last word of the block, and shrinks the block to 32 bytes only.
struct Shrinking;

impl Allocator for Shrinking {
    fn new(_memory: &mut Memory) -> Result<Self, Error> {
        Ok(Self)
    }

    fn allocate(&mut self, _memory: &mut Memory, _layout: Layout) -> Result<Option<usize>, Error> {
        Ok(Some(0))
    }

    fn free(&mut self, _memory: &mut Memory, _block: usize, _layout: Layout) -> Result<(), Error> {
        Ok(())
    }

    fn resize(
        &mut self,
        memory: &mut Memory,
        block: usize,
        layout: Layout,
        size: usize,
    ) -> Result<bool, Error> {
        memory.write(block + layout.size() - 8, 7)?;
        Ok(size == 32)
    }
}

#[test]
fn only_an_allocator_that_shrinks_a_block_may_write_to_its_tail() {
    let engine = engine::<Shrinking>();
    let pool = Pool::lend(&engine, 1);
    let mut cost = Cost::default();
    let block = engine.allocate(layout(64), &mut cost).unwrap();
    // SAFETY: `resize` requires a live block with its layout, which nobody uses: it was allocated above.
    assert!(unsafe { engine.resize(block, layout(64), layout(32), &mut cost) });
    assert_eq!(engine.violation(), None);
    // SAFETY: As above: the layout of the block is that of the last resize.
    assert!(!unsafe { engine.resize(block, layout(32), layout(16), &mut cost) });
    let found = engine.violation().unwrap();
    assert_eq!(
        (found.rule, found.offset),
        (Rule::AccessOutsideOfBlocks, 24)
    );
    assert!(found.line > 0);
    drop(pool);
}

/// Allocates the block at offset 64. `free` reports an error of the program if the word behind the block is not 7.
struct Guarding;

impl Allocator for Guarding {
    fn new(memory: &mut Memory) -> Result<Self, Error> {
        memory.write(72, 7)?;
        Ok(Self)
    }

    fn allocate(&mut self, _memory: &mut Memory, _layout: Layout) -> Result<Option<usize>, Error> {
        Ok(Some(64))
    }

    fn free(&mut self, memory: &mut Memory, _block: usize, _layout: Layout) -> Result<(), Error> {
        match memory.read(72)? {
            7 => Ok(()),
            _ => Err(memory.program_error("a write behind the block", 72)),
        }
    }
}

#[test]
fn a_stray_write_outside_of_blocks_is_an_error_of_the_program() {
    let engine = engine::<Guarding>();
    let pool = Pool::lend(&engine, 1);
    let mut cost = Cost::default();
    let block = engine.allocate(layout(8), &mut cost).unwrap();
    let accesses = engine.accesses();
    // Neither a live block nor a byte past the end of the pool can be reached.
    for offset in [64, 71, PAGE_BYTES as u64, u64::MAX] {
        assert_eq!(engine.free_byte(offset), None);
        assert!(!engine.stray_write(offset, 1), "offset {offset}");
    }
    assert!(engine.stray_write(73, 5));
    assert_eq!(
        [72, 73, 74].map(|at| engine.free_byte(at)),
        [7, 5, 0].map(Some)
    );
    assert_eq!((engine.violation(), engine.accesses()), (None, accesses));
    // SAFETY: `free` requires a live block with its layout, which nobody uses: it was allocated above.
    assert_eq!(unsafe { engine.free(block, layout(8), &mut cost) }, Ok(()));
    let found = engine.violation().unwrap();
    assert_eq!(
        (found.rule, found.operation),
        (Rule::ProgramError, Operation::Free)
    );
    assert_eq!(
        (found.offset, found.sentence),
        (72, Some("a write behind the block"))
    );
    assert_eq!(engine.allocate(layout(8), &mut cost), Err(Refusal::Faulty));
    drop(pool);
}

/// Allocates block number `n` of 64 bytes on CPU `n`.
struct Following;

impl Allocator for Following {
    fn new(_memory: &mut Memory) -> Result<Self, Error> {
        Ok(Self)
    }

    fn allocate(&mut self, memory: &mut Memory, _layout: Layout) -> Result<Option<usize>, Error> {
        Ok(Some(memory.cpu() * 64))
    }

    fn free(&mut self, _memory: &mut Memory, _block: usize, _layout: Layout) -> Result<(), Error> {
        Ok(())
    }
}

#[test]
fn a_call_has_the_number_of_its_cpu_which_wraps_around() {
    let engine: HostStudent<Following> =
        StudentEngine::new(HostLock::new(State::with_cpus(slab_host::current_cpu)));
    let pool = Pool::lend(&engine, 1);
    for cpu in [0, 1, CPUS - 1, CPUS, CPUS + 1, 1000 * CPUS + 1, usize::MAX] {
        slab_host::run_on(cpu);
        let mut cost = Cost::default();
        let block = engine.allocate(layout(64), &mut cost).unwrap();
        let offset = engine.offset(block.start).unwrap().byte();
        assert_eq!(offset, (cpu % CPUS * 64) as u64);
        // SAFETY: `free` requires a live block with its layout, which nobody uses: it was allocated above.
        assert_eq!(unsafe { engine.free(block, layout(64), &mut cost) }, Ok(()));
    }
    slab_host::run_on(0);
    drop(pool);
}

#[test]
fn accesses_are_counted_up_to_the_limit() {
    let engine = engine::<Scripted<ENDS>>();
    let pool = Pool::lend(&engine, 1);
    let result = engine.allocate(layout(16), &mut Cost::default());
    assert_eq!(
        (result, engine.accesses()),
        (Err(Refusal::Faulty), ACCESSES_MAX + 1)
    );
    drop(pool);
}

#[test]
fn a_second_region_is_refused() {
    let engine = engine::<FirstFit>();
    let pool = Pool::lend(&engine, 1);
    let second = std::panic::catch_unwind(core::panic::AssertUnwindSafe(|| Pool::lend(&engine, 1)));
    assert!(second.is_err());
    assert_eq!(engine.capacity(), PAGE_BYTES);
    drop(pool);
}

#[test]
fn the_live_map_agrees_with_a_list_of_granules() {
    let mut words = [0_u64; 5];
    let start = core::ptr::NonNull::from(&mut words[..]).cast();
    // SAFETY: `Words::new` requires aligned memory for five words that nobody else uses: it is the vector's.
    let mut map = LiveMap::new(unsafe { Words::new(start, 5) });
    let mut model = [false; 5 * 64];
    let ranges = [
        (0, 1),
        (3, 64),
        (60, 70),
        (64, 192),
        (5, 6),
        (190, 320),
        (100, 300),
    ];
    for (number, (begin, end)) in ranges.into_iter().enumerate() {
        let live = number % 3 != 2;
        map.mark(begin * 8, end * 8, live);
        model[begin..end].fill(live);
        for (granule, live) in model.iter().enumerate() {
            assert_eq!(map.is_live(granule), *live, "granule {granule}");
        }
        for begin in 0..model.len() {
            for end in [begin, begin + 1, begin + 63, begin + 65, 320] {
                let end = end.min(model.len());
                let first = (begin..end).find(|granule| model[*granule]);
                let found = map.first_live(begin * 8, end * 8);
                assert_eq!(found, first.map(|granule| granule * 8), "{begin}..{end}");
            }
        }
    }
}
