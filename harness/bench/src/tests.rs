// SPDX-License-Identifier: GPL-2.0

//! Faulty allocators, which must be caught, and good ones, which must not.

use std::cell::{
    Cell,
    RefCell, //
};

use crate::{
    check::{
        self,
        Checked,
        Wrong, //
    },
    heap::Heap,
    pattern,
    peers,
    pool::Pool,
    space,
    timing, //
};

/// What is wrong with an allocator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    Null,
    Misaligned,
    Twice,
    Scribbled,
    Forgetful,
}

/// An allocator that never frees, and that goes wrong at its 50th block.
struct Faulty {
    fault: Fault,
    memory: RefCell<Vec<u64>>,
    next: Cell<usize>,
    count: Cell<usize>,
    last: Cell<*mut u8>,
}

impl Faulty {
    fn new(fault: Fault) -> Self {
        Self {
            fault,
            memory: RefCell::new(vec![0; 4 << 20]),
            next: Cell::new(0),
            count: Cell::new(0),
            last: Cell::new(std::ptr::null_mut()),
        }
    }

    /// Says whether it is time, for a fault.
    fn now(&self, fault: Fault) -> bool {
        self.fault == fault && self.count.get() == 50
    }
}

impl Heap for Faulty {
    fn alloc(&self, size: usize, _align: usize) -> *mut u8 {
        self.count.set(self.count.get() + 1);
        if self.now(Fault::Null) {
            return std::ptr::null_mut();
        }
        if self.now(Fault::Twice) {
            return self.last.get();
        }
        let at = self.next.get();
        self.next.set(at + size.next_multiple_of(8) + 8);
        let mut memory = self.memory.borrow_mut();
        assert!(
            self.next.get() <= memory.len() * 8,
            "the test's memory is too small"
        );
        let block = memory.as_mut_ptr().cast::<u8>().wrapping_add(at);
        if self.now(Fault::Scribbled) {
            // SAFETY: The block before was handed out, and a byte of it is written.
            unsafe { self.last.get().write(0xff) };
        }
        self.last.set(block);
        block.wrapping_add(usize::from(self.now(Fault::Misaligned)) * 4)
    }

    unsafe fn free(&self, _block: *mut u8, _size: usize, _align: usize) {}

    unsafe fn realloc(&self, block: *mut u8, size: usize, align: usize, new: usize) -> *mut u8 {
        if self.fault == Fault::Forgetful {
            return self.alloc(new, align);
        }
        // SAFETY: By this function's contract.
        unsafe { crate::heap::moved(self, block, size, align, new) }
    }
}

/// Fills, moves and frees some blocks behind the check.
fn verdict(fault: Fault) -> Result<u64, Wrong> {
    let faulty = Faulty::new(fault);
    let checked = Checked::new(&faulty);
    let mut blocks = Vec::new();
    for size in 8..108 {
        blocks.push((checked.alloc(size, 8), size));
    }
    for (block, size) in &mut blocks {
        // SAFETY: The block is out, or the check says that it never was.
        *block = unsafe { checked.realloc(*block, *size, 8, *size + 9) };
        *size += 9;
    }
    for (block, size) in blocks {
        // SAFETY: As above.
        unsafe { checked.free(block, size, 8) };
    }
    checked.verdict()
}

#[test]
fn every_fault_is_caught_and_named() {
    assert_eq!(verdict(Fault::None), Ok(200));
    assert_eq!(verdict(Fault::Null), Err(Wrong::Null(57)));
    assert_eq!(verdict(Fault::Misaligned), Err(Wrong::Misaligned(57, 8)));
    assert_eq!(verdict(Fault::Twice), Err(Wrong::Overlap(57, 56)));
    assert_eq!(verdict(Fault::Scribbled), Err(Wrong::Changed(56)));
    assert_eq!(verdict(Fault::Forgetful), Err(Wrong::Lost(8, 17)));
}

#[test]
fn a_faulty_allocator_fails_a_pattern() {
    let patterns = pattern::all(true);
    let replace = patterns.iter().find(|of| of.name == "replace-4k").unwrap();
    let run = |fault| timing::checked(replace, &Faulty::new(fault), 1);
    assert!(run(Fault::None).is_ok());
    for fault in [
        Fault::Null,
        Fault::Misaligned,
        Fault::Twice,
        Fault::Scribbled,
    ] {
        assert!(run(fault).is_err(), "{fault:?}");
    }
}

#[test]
fn a_faulty_allocator_fails_a_timed_pass() {
    let mut run = pattern::all(true)[1].begin(&Faulty::new(Fault::None), 1);
    for (fault, wrong) in [(Fault::None, 0), (Fault::Null, 1), (Fault::Misaligned, 1)] {
        assert_eq!(run.pass(&Faulty::new(fault), 1).wrong, wrong, "{fault:?}");
    }
    assert_eq!(
        check::distinct(vec![(64, 16), (0, 64), (79, 8)]),
        Err(Wrong::Overlap(8, 16))
    );
    assert_eq!(check::distinct(vec![(64, 16), (0, 64), (80, 8)]), Ok(()));
}

#[test]
fn every_allocator_passes_every_pattern() {
    let patterns = pattern::all(true).into_iter();
    for pattern in patterns.filter(|of| of.checked_pairs > 0) {
        for peer in peers::all().iter().skip(1) {
            let instance = peer.make(pattern.pool_bytes).unwrap();
            let checked = timing::checked(&pattern, &*instance.heap, 3);
            assert!(
                checked.is_ok(),
                "{} at {}: {checked:?}",
                peer.name,
                pattern.name
            );
        }
    }
}

#[test]
fn a_trace_is_replayed_whole() {
    let trace = space::patterns().next().unwrap().make(1, 10);
    let faulty = Faulty::new(Fault::None);
    let checked = Checked::new(&faulty);
    assert!(space::replay(&trace, &checked));
    assert_eq!(checked.verdict(), Ok(trace.blocks() as u64));
    assert_eq!(space::patterns().count(), 11 + 16);
}

#[test]
fn the_smallest_pool_is_no_smaller_than_the_peak() {
    let trace = space::patterns().next().unwrap().make(1, 10);
    let pool = Pool::new(space::pool_bytes([&trace])).unwrap();
    let peers = peers::all();
    for peer in peers.iter().filter(|peer| peer.threads && peer.has_pool()) {
        let need = space::smallest(peer, &pool, &trace).unwrap().unwrap();
        assert!(
            need.pool_bytes as u64 >= trace.peak_bytes(),
            "{}",
            peer.name
        );
    }
}
