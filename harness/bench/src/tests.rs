// SPDX-License-Identifier: GPL-2.0

//! Tests of the checks: faulty allocators must be detected, and correct ones must pass.

use std::{
    cell::{
        Cell,
        RefCell, //
    },
    ptr::NonNull,
};

use slab_heap::Block;

use crate::{
    check::{
        self,
        CheckError,
        CheckedHeap, //
    },
    heap::BenchHeap,
    pattern,
    peers,
    space::{
        self,
        SpaceRequired,
        TraceRun, //
    },
    timing, //
};

/// The fault of a faulty allocator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HeapFault {
    None,
    Refused,
    Misaligned,
    Duplicate,
    Overwrite,
    LostContent,
}

/// An allocator that never frees, and whose 50th allocation has a fault.
struct FaultyHeap {
    fault: HeapFault,
    memory: RefCell<Vec<u64>>,
    next: Cell<usize>,
    count: Cell<usize>,
    last: Cell<NonNull<u8>>,
}

impl FaultyHeap {
    fn new(fault: HeapFault) -> Self {
        Self {
            fault,
            memory: RefCell::new(vec![0; 4 << 20]),
            next: Cell::new(0),
            count: Cell::new(0),
            last: Cell::new(NonNull::dangling()),
        }
    }

    /// Returns whether the current allocation has this fault.
    fn now(&self, fault: HeapFault) -> bool {
        self.fault == fault && self.count.get() == 50
    }
}

impl BenchHeap for FaultyHeap {
    fn alloc(&self, size: usize, _align: usize) -> Option<Block> {
        self.count.set(self.count.get() + 1);
        if self.now(HeapFault::Refused) {
            return None;
        }
        if self.now(HeapFault::Duplicate) {
            return Some(Block {
                start: self.last.get(),
            });
        }
        let at = self.next.get();
        self.next.set(at + size.next_multiple_of(8) + 8);
        let mut memory = self.memory.borrow_mut();
        assert!(
            self.next.get() <= memory.len() * 8,
            "the test's memory is too small"
        );
        let block = NonNull::new(memory.as_mut_ptr().cast::<u8>().wrapping_add(at)).unwrap();
        if self.now(HeapFault::Overwrite) {
            // SAFETY: `last` is the previous block, which has at least 1 byte in `memory`.
            unsafe { self.last.get().write(0xff) };
        }
        self.last.set(block);
        let misaligned = usize::from(self.now(HeapFault::Misaligned)) * 4;
        // SAFETY: 8 bytes of `memory` follow each block.
        let start = unsafe { block.add(misaligned) };
        Some(Block { start })
    }

    unsafe fn free(&self, _block: Block, _size: usize, _align: usize) {}

    unsafe fn realloc(&self, block: Block, size: usize, align: usize, new: usize) -> Option<Block> {
        if self.fault == HeapFault::LostContent {
            return self.alloc(new, align);
        }
        // SAFETY: Both functions have the same contract.
        unsafe { crate::heap::reallocate_by_copy(self, block, size, align, new) }
    }
}

/// Allocates, reallocates and frees blocks through a [`CheckedHeap`], and returns its result.
fn result(fault: HeapFault) -> Result<u64, CheckError> {
    let faulty = FaultyHeap::new(fault);
    let checked = CheckedHeap::new(&faulty);
    let sizes = 8..108;
    let blocks = sizes.filter_map(|size| Some((checked.alloc(size, 8)?, size)));
    let mut blocks: Vec<_> = blocks.collect();
    for (block, size) in &mut blocks {
        // SAFETY: The block is live, or `checked` does not track it and ignores the call.
        *block = unsafe { checked.realloc(*block, *size, 8, *size + 9) }.unwrap();
        *size += 9;
    }
    for (block, size) in blocks {
        // SAFETY: The block is live, or `checked` does not track it and ignores the call.
        unsafe { checked.free(block, size, 8) };
    }
    checked.result()
}

#[test]
fn every_fault_is_detected_and_named() {
    assert_eq!(result(HeapFault::None), Ok(200));
    assert_eq!(result(HeapFault::Refused), Err(CheckError::Refused(57)));
    assert_eq!(
        result(HeapFault::Misaligned),
        Err(CheckError::Misaligned(57, 8))
    );
    assert_eq!(
        result(HeapFault::Duplicate),
        Err(CheckError::Overlap(57, 56))
    );
    assert_eq!(result(HeapFault::Overwrite), Err(CheckError::Changed(56)));
    assert_eq!(result(HeapFault::LostContent), Err(CheckError::Lost(8, 17)));
}

#[test]
fn a_faulty_allocator_fails_a_pattern() {
    let patterns = pattern::all(true);
    let replace = patterns.iter().find(|of| of.name == "replace-4k").unwrap();
    let run = |fault| timing::checked(replace, &FaultyHeap::new(fault), 1);
    assert!(run(HeapFault::None).is_ok());
    for fault in [
        HeapFault::Refused,
        HeapFault::Misaligned,
        HeapFault::Duplicate,
        HeapFault::Overwrite,
    ] {
        assert!(run(fault).is_err(), "{fault:?}");
    }
}

#[test]
fn a_faulty_allocator_fails_a_timed_pass() {
    let mut run = pattern::all(true)[1].begin(&FaultyHeap::new(HeapFault::None), 1);
    for (fault, wrong) in [
        (HeapFault::None, 0),
        (HeapFault::Refused, 1),
        (HeapFault::Misaligned, 1),
    ] {
        assert_eq!(
            run.pass(&FaultyHeap::new(fault), 1).wrong,
            wrong,
            "{fault:?}"
        );
    }
    assert_eq!(
        check::check_overlap(vec![(64, 16), (0, 64), (79, 8)]),
        Err(CheckError::Overlap(8, 16))
    );
    assert_eq!(
        check::check_overlap(vec![(64, 16), (0, 64), (80, 8)]),
        Ok(())
    );
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
fn a_trace_is_replayed_completely() {
    let trace = slablab_trace::pattern::named("coalescing")
        .unwrap()
        .make(1, 10);
    let faulty = FaultyHeap::new(HeapFault::None);
    let checked = CheckedHeap::new(&faulty);
    assert!(space::replay(&trace, 8, &checked));
    assert_eq!(checked.result(), Ok(trace.blocks() as u64));
}

#[test]
fn the_smallest_pool_is_no_smaller_than_the_peak() {
    let trace = slablab_trace::pattern::named("coalescing")
        .unwrap()
        .make(1, 10);
    let peers = peers::all();
    let runs = [8, 16].map(|align| TraceRun {
        trace: &trace,
        align,
    });
    let found = space::measure(&runs, &peers, |_| ()).unwrap();
    for (peer, required) in found.iter().flat_map(|cells| peers.iter().zip(cells)) {
        assert_eq!(required.is_some(), peer.threads && peer.has_pool());
        let enough = |of: &SpaceRequired| of.pool_bytes as u64 >= trace.peak_bytes();
        assert!(required.as_ref().is_none_or(enough), "{}", peer.name);
    }
}
