// SPDX-License-Identifier: GPL-2.0

//! Magazines damaged on purpose: the check must name what is wrong, and a block that was freed
//! twice must do no harm when it comes back.

use core::sync::atomic::Ordering::Relaxed;

use super::{
    at,
    machine::{
        Machine,
        kind, //
    },
};
use crate::{
    Engine, Offset,
    check::{
        self,
        Broken,
        Progress,
        Rule,
        Walk, //
    },
    class::PAGE_BYTES,
    engine::BadFree,
    hybrid::{
        CpuCache,
        magazine::BLOCKS_MAX, //
    },
    lock::Lock,
    testing::{
        layout,
        sound,
        totals, //
    },
};

/// Returns what the check says.
fn checked(machine: &Machine) -> Result<Progress, Broken> {
    check::run(&mut Walk::new(), |walk| machine.engine.check(walk))
}

/// A machine whose two CPUs keep three blocks of 64 bytes and one of two pages each; and blocks of
/// 80 bytes, 64 bytes, two pages and three pages, which are out.
struct Furnished {
    machine: Machine,
    eighty: Offset,
    sixty_four: Offset,
    two_pages: Offset,
    three_pages: Offset,
}

/// The size of a block of two pages.
const PAIR: usize = 2 * PAGE_BYTES;

/// The bytes of the pool.
const POOL: usize = 4 << 20;

fn furnished() -> Furnished {
    let machine = Machine::new(2, POOL);
    let two_pages = machine.allocate(PAIR);
    let three_pages = machine.allocate(3 * PAGE_BYTES);
    let eighty = machine.allocate(80);
    let sixty_four = machine.allocate(64);
    for cpu in 0..2 {
        machine.on(cpu).release_all(machine.allocate_all(64, 3));
        machine.release(machine.allocate(PAIR));
        assert_eq!(machine.held(cpu, PAIR).len(), 1);
    }
    assert!(machine.held(0, 64).len() >= 3 && machine.held(1, 64).len() >= 3);
    Furnished {
        machine,
        eighty,
        sixty_four,
        two_pages,
        three_pages,
    }
}

/// Damages what the second CPU keeps, and returns what the check finds broken.
#[track_caller]
fn broken(damage: impl FnOnce(&CpuCache, &Furnished)) -> Broken {
    let furnished = furnished();
    damage(furnished.machine.cache(1), &furnished);
    checked(&furnished.machine).unwrap_err()
}

/// Puts a block in place of the second one of 64 bytes, and returns what the check finds broken.
#[track_caller]
fn replaced(by: impl FnOnce(&Furnished) -> Offset) -> Broken {
    broken(|cache, furnished| {
        let start = furnished.machine.start(by(furnished));
        cache.damage(kind(64)).2[1].set(start);
    })
}

/// Puts a block in place of that of two pages, and returns the rule that this breaks.
#[track_caller]
fn pages_replaced(by: impl FnOnce(&Furnished) -> Offset) -> Rule {
    let broken = broken(|cache, furnished| {
        let start = furnished.machine.start(by(furnished));
        cache.damage(kind(PAIR)).2[0].set(start);
    });
    assert_eq!(broken.class, None);
    broken.rule
}

#[test]
fn a_block_that_is_twice_in_a_magazine_is_found() {
    let mut twice = at(0);
    let found = replaced(|furnished| {
        twice = furnished.machine.held(1, 64)[0];
        twice
    });
    let expected = (Rule::Magazines, Some(7), Some(twice));
    assert_eq!((found.rule, found.class, found.offset), expected);
}

#[test]
fn a_block_that_two_cpus_have_is_found() {
    for slot in 0..3 {
        let mut twice = at(0);
        let found = replaced(|furnished| {
            twice = furnished.machine.held(0, 64)[slot];
            twice
        });
        assert_eq!((found.rule, found.offset), (Rule::Magazines, Some(twice)));
    }
    let twice = pages_replaced(|furnished| furnished.machine.held(0, PAIR)[0]);
    assert_eq!(twice, Rule::Magazines);
}

#[test]
fn a_block_that_the_heap_has_is_found() {
    let free = replaced(|furnished| {
        let block = at(63 * 64 + (furnished.sixty_four.byte() as usize & !(PAGE_BYTES - 1)));
        assert!(!furnished.machine.is_live(block, 64));
        block
    });
    assert_eq!(free.rule, Rule::Magazines);
    let free_pages = pages_replaced(|_| at(POOL - PAIR));
    assert_eq!(free_pages, Rule::Magazines);
}

#[test]
fn a_place_outside_of_the_pool_is_found() {
    // A place has no offset then.
    for place in [at(POOL), at(POOL + 64), at(1 << 40)] {
        let found = replaced(|_| place);
        assert_eq!((found.rule, found.offset), (Rule::Magazines, None));
        assert_eq!(pages_replaced(|_| place), Rule::Magazines);
    }
}

#[test]
fn a_place_inside_of_a_block_is_found() {
    for byte in [1, 8, 63] {
        let inside = |furnished: &Furnished| at(furnished.sixty_four.byte() as usize + byte);
        assert_eq!(replaced(inside).rule, Rule::Magazines);
    }
    for byte in [8, PAGE_BYTES] {
        let inside = |furnished: &Furnished| at(furnished.two_pages.byte() as usize + byte);
        assert_eq!(pages_replaced(inside), Rule::Magazines);
    }
}

#[test]
fn a_block_of_another_size_is_found() {
    assert_eq!(replaced(|furnished| furnished.eighty).rule, Rule::Magazines);
    assert_eq!(
        replaced(|furnished| furnished.two_pages).rule,
        Rule::Magazines
    );
    let pages = pages_replaced(|furnished| furnished.three_pages);
    assert_eq!(pages, Rule::Magazines);
    let object = pages_replaced(|furnished| furnished.sixty_four);
    assert_eq!(object, Rule::Magazines);
}

#[test]
fn more_blocks_than_a_magazine_may_hold_are_found() {
    for (size, len) in [
        (64, 5),
        (64, BLOCKS_MAX as u32),
        (64, BLOCKS_MAX as u32 + 1),
        (64, u32::MAX),
        (PAIR, 5),
        (128, 1),
    ] {
        let found = broken(|cache, _| cache.damage(kind(size)).0.store(len, Relaxed));
        let class = kind(size).class().map(crate::class::Class::number);
        assert_eq!((found.rule, found.class), (Rule::Magazines, class));
    }
}

#[test]
fn magazines_that_are_too_large_are_found() {
    for (size, capacity) in [
        (64, BLOCKS_MAX + 1),
        (4096, 33),
        (PAIR, 17),
        (16 * PAGE_BYTES, 3),
    ] {
        let found = broken(|cache, furnished| {
            // As if it had been granted.
            let more = capacity - cache.capacity(kind(size));
            let more = more * kind(size).bytes();
            let state = &furnished.machine.engine.state;
            state.with(|state| state.reserved_bytes += more);
            cache.damage(kind(size)).1.store(capacity as u32, Relaxed);
        });
        assert_eq!(found.rule, Rule::Magazines);
    }
}

#[test]
fn what_is_set_aside_for_magazines_is_compared_with_what_they_may_hold() {
    let reserved = |change: fn(&mut usize)| {
        broken(|_, furnished| {
            let state = &furnished.machine.engine.state;
            state.with(|state| change(&mut state.reserved_bytes));
        })
    };
    assert_eq!(reserved(|bytes| *bytes += 64).rule, Rule::Magazines);
    assert_eq!(reserved(|bytes| *bytes -= 1).rule, Rule::Magazines);
    assert_eq!(reserved(|bytes| *bytes = 0).rule, Rule::Magazines);
    let less = broken(|cache, _| cache.damage(kind(64)).1.store(3, Relaxed));
    assert_eq!(less.rule, Rule::Magazines);
}

#[test]
fn blocks_that_a_magazine_lost_are_found() {
    let lost = broken(|cache, _| cache.damage(kind(64)).0.store(2, Relaxed));
    assert_eq!(lost.rule, Rule::LiveBlocks);
}

#[test]
fn the_counters_of_magazines_are_compared() {
    for change in [1, 2, u64::MAX] {
        let counted = |pick: fn(&CpuCache) -> &_| {
            let off = broken(|cache, _| {
                let counter: &crate::testing::atomic::AtomicU64 = pick(cache);
                counter.store(counter.load(Relaxed).wrapping_add(change), Relaxed);
            });
            off.rule
        };
        assert_eq!(counted(|cache| cache.damage_counts().0), Rule::LiveBlocks);
        assert_eq!(counted(|cache| cache.damage_counts().1), Rule::LiveBlocks);
    }
}

#[test]
fn more_frees_than_allocations_are_found() {
    // So it also looks when a block is freed while the counters are read one after the other.
    let machine = Machine::new(1, 1 << 20);
    machine.release(machine.allocate(64));
    let frees = machine.cache(0).damage_counts().1;
    frees.store(frees.load(Relaxed) + 1, Relaxed);
    assert_eq!(checked(&machine).unwrap_err().rule, Rule::LiveBlocks);
}

#[test]
fn a_double_free_is_seen_while_it_is_in_magazines() {
    for size in [64, PAIR] {
        for second_cpu in [0, 1] {
            let machine = Machine::new(2, 1 << 20);
            let block = machine.allocate(size);
            machine.on(1).allocate(size);
            machine.on(0).release(block);
            assert_eq!(machine.on(second_cpu).free_blindly(block, size), Ok(()));
            let found = checked(&machine).unwrap_err();
            assert_eq!((found.rule, found.offset), (Rule::Magazines, Some(block)));
        }
    }
}

#[test]
fn a_double_free_is_refused_and_counted_when_it_reaches_the_slab() {
    for (size, keep) in [(64, true), (64, false), (PAIR, true), (PAIR, false)] {
        let machine = Machine::new(1, 1 << 20);
        let block = machine.allocate(size);
        let others = usize::from(keep);
        let kept = machine.allocate_all(size, others);
        machine.release(block);
        assert_eq!(machine.free_blindly(block, size), Ok(()));
        machine.engine.drain();

        let late = machine.engine.state.with(|state| state.late_double_frees);
        assert_eq!(late, 1);
        sound(&machine.engine);
        let figures = totals(&machine.engine);
        assert_eq!(figures.live_blocks as usize, others);
        assert_eq!(figures.live_bytes as usize, others * size);
        assert_eq!((figures.magazine_bytes, machine.reserved_bytes()), (0, 0));
        // Allocations and frees are those that were right.
        assert_eq!(figures.allocations - figures.frees, others as u64);
        machine.release_all_unchecked(kept);
        machine.engine.drain();
        sound(&machine.engine);
        assert_eq!(totals(&machine.engine).free_bytes, 1 << 20);
        assert!(machine.serve_unchecked(layout(1 << 20, 8)).is_ok());
    }
}

#[test]
fn a_free_that_is_refused_late_changes_the_epoch_and_overflows_none() {
    let machine = Machine::new(1, 1 << 20);
    let block = machine.allocate(64);
    let free = at(block.byte() as usize + 60 * 64);
    assert!(!machine.is_live(free, 64));
    machine.engine.state.with(|state| {
        let mut epochs = std::vec![state.epoch()];
        // The lock's holders have counted no free.
        for late in 1..=3 {
            state.free_cached(kind(64), &[free]);
            assert_eq!(state.late_double_frees, late);
            epochs.push(state.epoch());
        }
        assert!(epochs.is_sorted_by(|before, after| before < after));
    });
}

#[test]
fn room_that_is_given_back_changes_the_epoch() {
    let machine = Machine::new(1, 1 << 20);
    machine.engine.state.with(|state| {
        let granted = state.reserve(4, 64);
        let before = state.epoch();
        state.unreserve(granted, 64);
        assert_ne!(state.epoch(), before);
        // None was.
        let before = state.epoch();
        state.unreserve(0, 64);
        assert_eq!(state.epoch(), before);
    });
}

#[test]
fn a_bad_free_does_not_get_into_a_magazine() {
    let Furnished {
        machine,
        sixty_four,
        two_pages,
        ..
    } = furnished();
    for (block, size, said) in [
        (at(sixty_four.byte() as usize + 8), 64, BadFree::Interior),
        (sixty_four, 80, BadFree::WrongSize),
        (two_pages, 64, BadFree::WrongSize),
        (two_pages, 3 * PAGE_BYTES, BadFree::WrongSize),
        (
            at(two_pages.byte() as usize + PAGE_BYTES),
            PAIR,
            BadFree::Interior,
        ),
        (at(POOL - PAIR), PAIR, BadFree::NotOut),
        (at(POOL - 64), 64, BadFree::NotOut),
        (at(POOL), 64, BadFree::Foreign),
    ] {
        assert_eq!(machine.free_blindly(block, size), Err(said));
        machine.balanced();
    }
}
