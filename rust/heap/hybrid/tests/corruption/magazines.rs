// SPDX-License-Identifier: GPL-2.0

//! Damage to magazines, and double frees into magazines. For damage, the check must name the broken rule. A
//! double free must be detected at the latest when the magazine is flushed.

use core::sync::atomic::Ordering::Relaxed;

use super::{
    Machine,
    at,
    kind, //
};
use crate::{
    Block, Cost, Offset, PAGE_BYTES,
    backing_heap::BackingHeap,
    check::{
        self,
        Broken,
        Progress,
        Rule,
        Walk, //
    },
    engine::{
        BadFree,
        Engine, //
    },
    hybrid::Heap,
    lock::Lock,
    magazines::{
        CpuCache,
        depot::Depot,
        magazine::BLOCKS_MAX, //
    },
    size_class::MagazineKind,
    testing::{
        CPU,
        HostMemory,
        LockedHybrid,
        TestEngine,
        layout,
        prelude::*,
        sound,
        totals, //
    },
};
use std::vec::Vec;

/// Runs a check.
fn checked(machine: &Machine) -> Result<Progress, Broken> {
    check::run(&mut Walk::new(), |walk| machine.engine.check(walk))
}

/// A machine with two CPUs, and live blocks of 80 bytes, 64 bytes, two pages and three pages. Each CPU caches
/// at least three blocks of 64 bytes and one block of two pages.
struct Prepared {
    machine: Machine,
    eighty: Offset,
    sixty_four: Offset,
    two_pages: Offset,
    three_pages: Offset,
}

/// The size of a block of two pages.
const PAIR: usize = 2 * PAGE_BYTES;

/// The size of the pool in bytes.
const POOL: usize = 4 << 20;

fn prepared() -> Prepared {
    let machine = Machine::new(2, POOL);
    let two_pages = machine.allocate(PAIR);
    let three_pages = machine.allocate(3 * PAGE_BYTES);
    let eighty = machine.allocate(80);
    let sixty_four = machine.allocate(64);
    for cpu in 0..2 {
        machine.on(cpu).free_all(machine.allocate_all(64, 3));
        machine.free(machine.allocate(PAIR));
        assert_eq!(machine.held(cpu, PAIR).len(), 1);
    }
    assert!(machine.held(0, 64).len() >= 3 && machine.held(1, 64).len() >= 3);
    Prepared {
        machine,
        eighty,
        sixty_four,
        two_pages,
        three_pages,
    }
}

/// Overwrites the number of blocks of a magazine.
fn set_len(cache: &CpuCache, kind: MagazineKind, len: u16) {
    let magazine = &cache.magazines[kind.number()];
    let begin = magazine.top.load(Relaxed) - cache.len(kind) as u16;
    magazine.top.store(begin.wrapping_add(len), Relaxed);
}

/// Overwrites the capacity of a magazine.
fn set_capacity(cache: &CpuCache, kind: MagazineKind, capacity: u16) {
    let magazine = &cache.magazines[kind.number()];
    let begin = magazine.top.load(Relaxed) - cache.len(kind) as u16;
    magazine.end.store(begin + capacity, Relaxed);
}

/// Damages the cache of the second CPU, and returns the broken rule that the check reports.
#[track_caller]
fn broken(damage: impl FnOnce(&CpuCache, &Prepared)) -> Broken {
    let prepared = prepared();
    damage(prepared.machine.cache(1), &prepared);
    checked(&prepared.machine).unwrap_err()
}

/// Overwrites the second slot of the magazine of 64 bytes, and returns the broken rule that the check
/// reports.
#[track_caller]
fn replaced(by: impl FnOnce(&Prepared) -> Offset) -> Broken {
    broken(|cache, prepared| {
        let slot = &cache.slots(kind::<Heap>(64))[1];
        slot.set(prepared.machine.block(by(prepared)));
    })
}

/// Overwrites the first slot of the magazine of two pages, and returns the rule that the check reports.
#[track_caller]
fn pages_replaced(by: impl FnOnce(&Prepared) -> Offset) -> Rule {
    let broken = broken(|cache, prepared| {
        let slot = &cache.slots(kind::<Heap>(PAIR))[0];
        slot.set(prepared.machine.block(by(prepared)));
    });
    assert_eq!(broken.class, None);
    broken.rule
}

#[test]
fn a_block_that_is_twice_in_a_magazine_is_found() {
    let mut twice = at(0);
    let found = replaced(|prepared| {
        twice = prepared.machine.held(1, 64)[0];
        twice
    });
    let expected = (Rule::Magazines, Some(7), Some(twice));
    assert_eq!((found.rule, found.class, found.offset), expected);
}

#[test]
fn a_block_in_the_magazines_of_two_cpus_is_found() {
    for slot in 0..3 {
        let mut twice = at(0);
        let found = replaced(|prepared| {
            twice = prepared.machine.held(0, 64)[slot];
            twice
        });
        assert_eq!((found.rule, found.offset), (Rule::Magazines, Some(twice)));
    }
    let twice = pages_replaced(|prepared| prepared.machine.held(0, PAIR)[0]);
    assert_eq!(twice, Rule::Magazines);
}

#[test]
fn a_wrong_block_of_a_cpu_after_one_without_a_cache_is_found() {
    let machine = Machine::without_caches(3, 1..2, 1 << 20);
    CPU.set(2);
    let blocks = [(); 2].map(|()| machine.allocate(64));
    machine.free_all(blocks);
    assert_eq!(checked(&machine), Ok(Progress::Sound));
    let twice = machine.held(2, 64)[0];
    machine.cache(2).slots(kind::<Heap>(64))[1].set(machine.block(twice));
    assert_eq!(checked(&machine).unwrap_err().rule, Rule::Magazines);
}

#[test]
fn a_block_that_is_free_in_the_heap_is_found() {
    let free = replaced(|prepared| {
        let block = at(63 * 64 + (prepared.sixty_four.byte() as usize & !(PAGE_BYTES - 1)));
        assert!(!prepared.machine.is_allocated(block, 64));
        block
    });
    assert_eq!(free.rule, Rule::Magazines);
    let free_pages = pages_replaced(|_| at(POOL - PAIR));
    assert_eq!(free_pages, Rule::Magazines);
}

#[test]
fn an_address_outside_of_the_pool_is_found() {
    // The check cannot report an offset for such an address.
    for place in [at(POOL), at(POOL + 64), at(1 << 40)] {
        let found = replaced(|_| place);
        assert_eq!((found.rule, found.offset), (Rule::Magazines, None));
        assert_eq!(pages_replaced(|_| place), Rule::Magazines);
    }
}

#[test]
fn an_address_inside_of_a_block_is_found() {
    for byte in [1, 8, 63] {
        let inside = |prepared: &Prepared| at(prepared.sixty_four.byte() as usize + byte);
        assert_eq!(replaced(inside).rule, Rule::Magazines);
    }
    for byte in [8, PAGE_BYTES] {
        let inside = |prepared: &Prepared| at(prepared.two_pages.byte() as usize + byte);
        assert_eq!(pages_replaced(inside), Rule::Magazines);
    }
}

#[test]
fn a_block_of_another_size_is_found() {
    assert_eq!(replaced(|prepared| prepared.eighty).rule, Rule::Magazines);
    assert_eq!(
        replaced(|prepared| prepared.two_pages).rule,
        Rule::Magazines
    );
    let pages = pages_replaced(|prepared| prepared.three_pages);
    assert_eq!(pages, Rule::Magazines);
    let object = pages_replaced(|prepared| prepared.sixty_four);
    assert_eq!(object, Rule::Magazines);
}

#[test]
fn more_blocks_than_the_capacity_of_a_magazine_are_found() {
    for (size, len) in [
        (64, 5),
        (64, BLOCKS_MAX as u16),
        (64, BLOCKS_MAX as u16 + 1),
        (64, u16::MAX),
        (PAIR, 5),
        (128, 1),
    ] {
        let found = broken(|cache, _| set_len(cache, kind::<Heap>(size), len));
        let class = kind::<Heap>(size).class_number();
        assert_eq!((found.rule, found.class), (Rule::Magazines, class));
    }
}

#[test]
fn a_capacity_above_the_limit_is_found() {
    for (size, capacity) in [
        (64, BLOCKS_MAX + 1),
        (4096, 33),
        (PAIR, 17),
        (16 * PAGE_BYTES, 3),
    ] {
        let found = broken(|cache, prepared| {
            // `reserved_bytes` is changed accordingly, so that only the limit is broken.
            let more = capacity - cache.capacity(kind::<Heap>(size));
            let more = more * Heap::block_bytes(kind::<Heap>(size));
            let state = &prepared.machine.engine.state;
            state.with(|state| state.reserved_bytes += more);
            set_capacity(cache, kind::<Heap>(size), capacity as u16);
        });
        assert_eq!(found.rule, Rule::Magazines);
    }
}

#[test]
fn reserved_bytes_that_differ_from_the_capacities_are_found() {
    let reserved = |change: fn(&mut usize)| {
        broken(|_, prepared| {
            let state = &prepared.machine.engine.state;
            state.with(|state| change(&mut state.reserved_bytes));
        })
    };
    assert_eq!(reserved(|bytes| *bytes += 64).rule, Rule::Magazines);
    assert_eq!(reserved(|bytes| *bytes -= 1).rule, Rule::Magazines);
    assert_eq!(reserved(|bytes| *bytes = 0).rule, Rule::Magazines);
    let less = broken(|cache, _| set_capacity(cache, kind::<Heap>(64), 3));
    assert_eq!(less.rule, Rule::Magazines);
}

#[test]
fn blocks_that_a_magazine_lost_are_found() {
    let lost = broken(|cache, _| set_len(cache, kind::<Heap>(64), 2));
    assert_eq!(lost.rule, Rule::LiveBlocks);
}

#[test]
fn wrong_counters_of_a_cpu_are_found() {
    for change in [1, 2, u64::MAX] {
        let counted = |pick: fn(&CpuCache) -> &_| {
            let off = broken(|cache, _| {
                let counter: &crate::testing::atomic::AtomicU64 = pick(cache);
                counter.store(counter.load(Relaxed).wrapping_add(change), Relaxed);
            });
            off.rule
        };
        assert_eq!(counted(|cache| &cache.allocations), Rule::LiveBlocks);
        assert_eq!(counted(|cache| &cache.frees), Rule::LiveBlocks);
    }
}

#[test]
fn more_frees_than_allocations_are_found() {
    // A check that reads the counters during a free can also see more frees than allocations, and then begins
    // again. Here nothing changes during the check, so the counters must be wrong.
    let machine = Machine::new(1, 1 << 20);
    machine.free(machine.allocate(64));
    let frees = &machine.cache(0).frees;
    frees.store(frees.load(Relaxed) + 1, Relaxed);
    assert_eq!(checked(&machine).unwrap_err().rule, Rule::LiveBlocks);
}

#[test]
fn a_double_free_into_magazines_is_found_by_a_check() {
    for size in [64, PAIR] {
        for second_cpu in [0, 1] {
            let machine = Machine::new(2, 1 << 20);
            let block = machine.allocate(size);
            machine.on(1).allocate(size);
            machine.on(0).free(block);
            assert_eq!(machine.on(second_cpu).free_unknown(block, size), Ok(()));
            let found = checked(&machine).unwrap_err();
            assert_eq!((found.rule, found.offset), (Rule::Magazines, Some(block)));
        }
    }
}

#[test]
fn a_double_free_is_refused_and_counted_when_it_reaches_the_slab() {
    for (size, has_other) in [(64, true), (64, false), (PAIR, true), (PAIR, false)] {
        let machine = Machine::new(1, 1 << 20);
        let block = machine.allocate(size);
        let others = usize::from(has_other);
        let others_live = machine.allocate_all(size, others);
        machine.free(block);
        assert_eq!(machine.free_unknown(block, size), Ok(()));
        machine.engine.shrink();

        let late = machine.engine.state.with(|state| state.late_double_frees);
        assert_eq!(late, 1);
        sound(&machine.engine);
        let figures = totals(&machine.engine);
        assert_eq!(figures.live_blocks as usize, others);
        assert_eq!(figures.live_bytes as usize, others * size);
        assert_eq!((figures.magazine_bytes, machine.reserved_bytes()), (0, 0));
        // The refused free is not counted.
        assert_eq!(figures.allocations - figures.frees, others as u64);
        machine.free_all_unchecked(others_live);
        machine.engine.shrink();
        sound(&machine.engine);
        assert_eq!(totals(&machine.engine).free_bytes, 1 << 20);
        assert!(machine.serve_unchecked(layout(1 << 20, 8)).is_ok());
    }
}

#[test]
fn a_free_that_is_refused_late_raises_the_epoch_without_overflow() {
    let machine = Machine::new(1, 1 << 20);
    let block = machine.allocate(64);
    let free = at(block.byte() as usize + 60 * 64);
    assert!(!machine.is_allocated(free, 64));
    machine.engine.state.with(|state| {
        let mut epochs = std::vec![state.epoch()];
        // No free was counted under the lock, so the count of frees is 0 here.
        for late in 1..=3 {
            state.free_flushed(kind::<Heap>(64), &[free], usize::MAX);
            assert_eq!(state.late_double_frees, late);
            epochs.push(state.epoch());
        }
        assert!(epochs.is_sorted_by(|before, after| before < after));
    });
}

#[test]
fn returned_capacity_changes_the_epoch() {
    let machine = Machine::new(1, 1 << 20);
    machine.engine.state.with(|state| {
        let before = state.epoch();
        state.return_to_budget(4, kind::<Heap>(64));
        assert_ne!(state.epoch(), before);
        // No capacity is returned here.
        let before = state.epoch();
        state.return_to_budget(0, kind::<Heap>(64));
        assert_eq!(state.epoch(), before);
    });
}

#[test]
fn a_bad_free_is_refused_before_it_reaches_a_magazine() {
    let Prepared {
        machine,
        sixty_four,
        two_pages,
        ..
    } = prepared();
    for (block, size, error) in [
        (at(sixty_four.byte() as usize + 8), 64, BadFree::Interior),
        (sixty_four, 80, BadFree::WrongSize),
        (two_pages, 64, BadFree::WrongSize),
        (two_pages, 3 * PAGE_BYTES, BadFree::WrongSize),
        (
            at(two_pages.byte() as usize + PAGE_BYTES),
            PAIR,
            BadFree::Interior,
        ),
        (at(POOL - PAIR), PAIR, BadFree::NotLive),
        (at(POOL - 64), 64, BadFree::NotLive),
        (at(POOL), 64, BadFree::Foreign),
    ] {
        assert_eq!(machine.free_unknown(block, size), Err(error));
        machine.check();
    }
}

#[test]
fn a_late_double_free_does_not_free_a_block_that_is_there_now() {
    // A slab of the class has three pages. After the slab was returned, live blocks of one page take its
    // place, and one of them begins at the address of the freed object.
    let memory = HostMemory::new(8 * PAGE_BYTES);
    let engine = LockedHybrid::over(&memory);
    let mut cost = Cost::default();
    let object = engine.allocate(layout(3072, 8), &mut cost).unwrap();
    let offset = engine.offset(object.start).unwrap();
    engine.state.with(|state| {
        state.free_flushed(kind::<Heap>(3072), &[offset], usize::MAX);
        state.heap.free_empty_slabs();
    });
    let pages = core::iter::from_fn(|| engine.allocate(layout(64, 2 * PAGE_BYTES), &mut cost).ok());
    let mut blocks: Vec<_> = pages.collect();
    while let Ok(block) = engine.allocate(layout(PAGE_BYTES, PAGE_BYTES), &mut cost) {
        blocks.push(block);
    }
    assert!(blocks.contains(&object));
    let live_blocks = totals(&engine).live_blocks;
    engine.state.with(|state| {
        state.free_flushed(kind::<Heap>(3072), &[offset], usize::MAX);
        assert_eq!(state.late_double_frees, 1);
        assert_eq!(state.heap.allocated_blocks as u64, live_blocks);
    });
}

/// Returns a machine whose depot has blocks of 64 bytes, and a live block of 64 bytes.
fn with_depot() -> (Machine, Offset) {
    let machine = Machine::new(2, 1 << 20);
    let mut blocks = machine.allocate_all(64, 200);
    machine.engine.shrink();
    let live = blocks.pop().unwrap();
    machine.on(1).free_all(blocks);
    assert!(machine.stored(64).len() > BLOCKS_MAX);
    (machine, live)
}

/// Changes the depot by `damage`, and returns the rule that the check reports.
#[track_caller]
fn depot_damaged(damage: impl FnOnce(&mut Depot, &Machine, Offset)) -> Rule {
    let (machine, live) = with_depot();
    let state = &machine.engine.state;
    state.with(|state| damage(&mut state.depot, &machine, live));
    checked(&machine).unwrap_err().rule
}

/// Overwrites a block of the depot, and returns the rule that the check reports.
#[track_caller]
fn stored_replaced(by: impl FnOnce(&Depot, &Machine, Offset) -> Block) -> Rule {
    depot_damaged(|depot, machine, live| {
        let block = by(depot, machine, live);
        depot.first_slots(kind::<Heap>(64))[5].set(block);
    })
}

#[test]
fn a_block_that_is_twice_in_the_depot_is_found() {
    for place in [0, 4, 64, 70] {
        let twice = stored_replaced(|depot, _, _| depot.block(kind::<Heap>(64), place).unwrap());
        assert_eq!(twice, Rule::Magazines, "{place}");
    }
}

#[test]
fn a_block_in_the_depot_and_in_a_magazine_is_found() {
    let twice =
        stored_replaced(|_, machine, _| machine.cache(1).block(kind::<Heap>(64), 0).unwrap());
    assert_eq!(twice, Rule::Magazines);
}

#[test]
fn a_block_of_the_depot_that_is_not_allocated_is_found() {
    let free = stored_replaced(|_, machine, _| machine.block(at(0)));
    assert_eq!(free, Rule::Magazines);
    let outside = stored_replaced(|_, machine, _| machine.block(at(1 << 30)));
    assert_eq!(outside, Rule::Magazines);
    let inside = stored_replaced(|_, machine, live| machine.block(at(live.byte() as usize + 8)));
    assert_eq!(inside, Rule::Magazines);
}

#[test]
fn a_wrong_number_of_blocks_in_the_depot_is_found() {
    for len in [0, 1, 65, usize::MAX] {
        let wrong = depot_damaged(|depot, _, _| depot.set_first_len(kind::<Heap>(64), len));
        assert_eq!(wrong, Rule::Magazines, "{len}");
    }
}

#[test]
fn a_double_free_in_the_depot_is_found_by_a_check_and_refused_by_the_heap() {
    let machine = Machine::new(1, 1 << 20);
    let mut blocks = machine.allocate_all(64, 100);
    machine.engine.shrink();
    let block = blocks.remove(20);
    machine.free(block);
    // The shadow of the machine does not know the second free, so nothing is checked meanwhile.
    assert_eq!(machine.free_unknown(block, 64), Ok(()));
    for block in blocks {
        machine.free_unchecked(block);
    }
    assert!(machine.stored(64).len() >= 64);
    assert_eq!(checked(&machine).unwrap_err().rule, Rule::Magazines);
    machine.engine.shrink();
    let late = machine.engine.state.with(|state| state.late_double_frees);
    assert_eq!(late, 1);
    sound(&machine.engine);
}
