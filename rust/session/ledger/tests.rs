// SPDX-License-Identifier: GPL-2.0

//! The books, by example and against a map.

use super::*;
use core::{
    alloc::Layout,
    ptr::NonNull, //
};
use slab_heap::Block;

use crate::{
    handle::GENERATION_MAX,
    table::{
        CHUNKS,
        FIRST_CHUNK,
        chunk_entries,
        chunk_of, //
    },
    tests::Tables, //
};
use std::{
    collections::{
        HashMap,
        HashSet,
        VecDeque, //
    },
    vec,
    vec::Vec, //
};

type TestLedger = Ledger<Tables>;

fn chunk(first: u32, entries: usize) -> Linked<Tables> {
    Linked::new(vec![crate::Slot::VACANT; entries], first).unwrap()
}

fn ledger(bytes: usize, handles: u32) -> TestLedger {
    Ledger::new(Limits { bytes, handles })
}

fn record(charge: usize) -> Record {
    Record {
        block: Block {
            start: NonNull::dangling(),
            offset: None,
        },
        layout: Layout::new::<u8>(),
        charge,
    }
}

fn reserve(ledger: &mut TestLedger, charge: usize) -> Result<Handle, Denied> {
    loop {
        match ledger.reserve(charge) {
            Ok(handle) => return Ok(handle),
            Err(Full::Denied(denied)) => return Err(denied),
            Err(Full::Table { first, entries }) => {
                assert!(ledger.grow(chunk(first, entries)).is_none());
            }
        }
    }
}

fn insert(ledger: &mut TestLedger, charge: usize) -> Handle {
    let handle = reserve(ledger, charge).unwrap();
    ledger.fill(handle, &record(charge), Cost::default());
    handle
}

#[test]
fn every_index_has_its_own_place() {
    let mut first = 0;
    for chunk in 0..CHUNKS {
        let entries = chunk_entries(chunk);
        for place in [0, entries - 1] {
            assert_eq!(chunk_of(first + place as u32), chunk);
        }
        first += entries as u32;
    }
    assert_eq!(first, INDEX_MAX + 1);
}

#[test]
fn a_reserved_handle_names_nothing() {
    let mut ledger = ledger(100, 10);
    let handle = reserve(&mut ledger, 1).unwrap();
    assert_eq!(ledger.take(handle), Err(Denied::NoSuchBlock));
    assert_eq!(ledger.pin(handle), Err(Denied::NoSuchBlock));
    assert_eq!(ledger.begin_move(handle), Err(Denied::NoSuchBlock));
    ledger.fill(handle, &record(1), Cost::default());
    assert_eq!(ledger.take(handle), Ok(record(1)));
}

#[test]
fn a_block_that_is_inserted_has_its_name_at_once() {
    let mut ledger = ledger(100, 10);
    assert!(ledger.vacancy(1).is_none());
    assert!(ledger.grow(chunk(0, FIRST_CHUNK)).is_none());
    let before = ledger.tally();
    assert!(ledger.vacancy(1).is_some() && ledger.vacancy(101).is_none());
    assert_eq!(ledger.tally(), before);
    let handle = ledger.vacancy(1).unwrap().insert(record(1));
    assert_eq!((ledger.tally().blocks, ledger.tally().bytes), (1, 1));
    assert_eq!(ledger.take(handle), Ok(record(1)));
}

#[test]
fn entries_are_used_in_the_order_in_which_they_became_vacant() {
    let mut ledger = ledger(usize::MAX, u32::MAX);
    let mut vacant: VecDeque<_> = (0..FIRST_CHUNK as u32).collect();
    let mut live = Vec::new();
    for step in 0..12 * FIRST_CHUNK {
        // More and more are out, then fewer and fewer, to the last one either way.
        let takes = step / (2 * FIRST_CHUNK) % 2 == 0;
        if takes && !vacant.is_empty() {
            let handle = insert(&mut ledger, 1);
            assert_eq!(Some(handle.index()), vacant.pop_front());
            live.push(handle);
        }
        if !takes || step % 3 == 0 {
            let handle = live.swap_remove(step * 31 % live.len());
            ledger.take(handle).unwrap();
            vacant.push_back(handle.index());
        }
        if live.is_empty() {
            live.push(insert(&mut ledger, 1));
            vacant.pop_front();
        }
    }
}

#[test]
fn a_freed_handle_names_nothing_for_two_million_uses() {
    let mut ledger = ledger(100, 10);
    let stale = insert(&mut ledger, 1);
    ledger.take(stale).unwrap();
    for _ in 0..FIRST_CHUNK * GENERATION_MAX as usize - 1 {
        let handle = insert(&mut ledger, 1);
        assert_ne!(handle, stale);
        ledger.take(handle).unwrap();
    }
    assert_eq!(ledger.take(stale), Err(Denied::NoSuchBlock));
}

#[test]
fn quotas_hold_and_are_given_back() {
    let mut ledger = ledger(100, 2);
    assert_eq!(reserve(&mut ledger, 101), Err(Denied::QuotaBytes));
    assert_eq!(reserve(&mut ledger, usize::MAX), Err(Denied::QuotaBytes));
    let first = insert(&mut ledger, 60);
    assert_eq!(reserve(&mut ledger, 41), Err(Denied::QuotaBytes));
    let second = reserve(&mut ledger, 40).unwrap();
    assert_eq!(reserve(&mut ledger, 0), Err(Denied::QuotaHandles));
    ledger.cancel(second, 40);
    assert_eq!(ledger.charge(41), Err(Denied::QuotaBytes));
    assert_eq!(ledger.charge(40), Ok(()));
    ledger.discharge(40);
    ledger.take(first).unwrap();
    assert_eq!((ledger.tally().blocks, ledger.tally().bytes), (0, 0));
}

#[test]
fn a_pinned_block_stays() {
    let mut ledger = ledger(100, 10);
    let handle = insert(&mut ledger, 1);
    ledger.pin(handle).unwrap();
    ledger.pin(handle).unwrap();
    ledger.unpin(handle);
    assert_eq!(ledger.take(handle), Err(Denied::Pinned));
    assert_eq!(ledger.begin_move(handle), Err(Denied::Pinned));
    ledger.unpin(handle);
    assert_eq!(ledger.begin_move(handle), Ok(record(1)));
    assert_eq!(ledger.pin(handle), Err(Denied::Pinned));
    assert_eq!(ledger.take(handle), Err(Denied::Pinned));
    ledger.end_move(handle, &record(1), true);
    assert_eq!(ledger.take(handle), Ok(record(1)));
    assert_eq!(ledger.tally().reallocations, 1);
}

#[test]
fn a_chunk_that_is_not_needed_comes_back() {
    let mut ledger = ledger(100, 10);
    assert!(ledger.grow(chunk(0, FIRST_CHUNK + 1)).is_some());
    assert!(ledger.grow(chunk(0, FIRST_CHUNK)).is_none());
    assert!(ledger.grow(chunk(1024, FIRST_CHUNK)).is_some());
}

#[test]
fn the_table_holds_a_block_under_every_index() {
    let mut ledger = ledger(usize::MAX, u32::MAX);
    for index in 0..=INDEX_MAX {
        assert_eq!(insert(&mut ledger, 1).index(), index);
    }
    assert_eq!(reserve(&mut ledger, 1), Err(Denied::QuotaHandles));
}

#[test]
fn all_blocks_are_found_at_the_end() {
    let mut ledger = ledger(usize::MAX, 20_000);
    let handles: Vec<_> = (0..20_000).map(|_| insert(&mut ledger, 3)).collect();
    assert_eq!(reserve(&mut ledger, 0), Err(Denied::QuotaHandles));
    assert_eq!(handles.iter().collect::<HashSet<_>>().len(), 20_000);
    for handle in handles.iter().step_by(2) {
        ledger.take(*handle).unwrap();
    }
    ledger.pin(handles[1]).unwrap();
    let (mut cursor, mut found) = (0, 0);
    while let Some(record) = ledger.next_record(&mut cursor) {
        found += usize::from(record.is_some());
    }
    assert_eq!(found, 10_000);
    assert_eq!((ledger.tally().blocks, ledger.tally().bytes), (0, 0));
}

proptest::proptest! {
    /// Random operations against a map.
    #[test]
    fn the_ledger_agrees_with_a_map(operations in proptest::collection::vec(
        (0u8..6, proptest::num::usize::ANY, 0usize..200), 1..400)) {
        let mut ledger = ledger(5_000, 40);
        let mut model: HashMap<u32, (usize, u32)> = HashMap::new();
        let mut known = Vec::new();
        for (operation, pick, charge) in operations {
            let handle = (!known.is_empty()).then(|| known[pick % known.len()]);
            let bytes: usize = model.values().map(|(charge, _)| charge).sum();
            match (operation, handle) {
                (0 | 1, _) | (_, None) => match reserve(&mut ledger, charge) {
                    Ok(handle) => {
                        ledger.fill(handle, &record(charge), Cost::default());
                        assert!(model.insert(handle.to_bits(), (charge, 0)).is_none());
                        known.push(handle);
                    }
                    Err(Denied::QuotaHandles) => assert_eq!(model.len(), 40),
                    Err(denied) => {
                        assert_eq!(denied, Denied::QuotaBytes);
                        assert!(bytes + charge > 5_000);
                    }
                },
                (2 | 3, Some(handle)) => {
                    let expected = match model.get(&handle.to_bits()) {
                        None => Err(Denied::NoSuchBlock),
                        Some((_, 1..)) => Err(Denied::Pinned),
                        Some((charge, 0)) => Ok(record(*charge)),
                    };
                    assert_eq!(ledger.take(handle), expected);
                    if expected.is_ok() {
                        model.remove(&handle.to_bits());
                    }
                }
                (4, Some(handle)) => {
                    assert_eq!(ledger.pin(handle).is_ok(), model.contains_key(&handle.to_bits()));
                    if let Some((_, pins)) = model.get_mut(&handle.to_bits()) {
                        *pins += 1;
                    }
                }
                (_, Some(handle)) => {
                    if let Some((_, pins @ 1..)) = model.get_mut(&handle.to_bits()) {
                        *pins -= 1;
                        ledger.unpin(handle);
                    }
                }
            }
            assert_eq!(ledger.tally().blocks as usize, model.len());
            assert_eq!(ledger.tally().bytes, model.values().map(|(charge, _)| charge).sum());
        }
    }
}
