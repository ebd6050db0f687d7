// SPDX-License-Identifier: GPL-2.0

//! Tests of the handle table and the quota: examples, and a comparison with a map.

use super::*;
use core::{
    alloc::Layout,
    mem,
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
    }, //
};
use std::{
    collections::{
        HashMap,
        HashSet, //
    },
    vec,
    vec::Vec, //
};

type TestTable = QuotaTable<Vec<HandleEntry>>;

fn chunk(first: u32, entries: usize) -> PreparedChunk<Vec<HandleEntry>> {
    PreparedChunk::new(vec![HandleEntry::VACANT; entries], first)
}

fn new_table(bytes: usize, handles: u32) -> TestTable {
    QuotaTable::new(Quota { bytes, handles })
}

fn pin(table: &mut TestTable, handle: Handle) -> Result<Allocation, SessionError> {
    table.entry(handle)?.pin()
}

fn unpin(table: &mut TestTable, handle: Handle) {
    table.entry(handle).unwrap().unpin();
}

fn begin_move(table: &mut TestTable, handle: Handle) -> Result<Allocation, SessionError> {
    table.entry(handle)?.begin_move()
}

fn allocation(charge: usize) -> Allocation {
    Allocation {
        block: Block {
            start: NonNull::dangling(),
        },
        offset: None,
        layout: Layout::new::<u8>(),
        charge,
    }
}

fn reserve(table: &mut TestTable, charge: usize) -> Result<Handle, SessionError> {
    loop {
        let need = match table.reserve(charge) {
            Ok(reservation) => return Ok(reservation.detach()),
            Err(ReserveError::Refused(error)) => return Err(error),
            Err(ReserveError::NeedChunk(need)) => need,
        };
        assert!(table.grow(chunk(need.first, need.entries)).is_none());
    }
}

fn insert(table: &mut TestTable, charge: usize) -> Handle {
    let handle = reserve(table, charge).unwrap();
    table.commit(handle, &allocation(charge));
    handle
}

#[test]
fn every_chunk_contains_its_first_and_last_index() {
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
fn a_reserved_handle_names_no_block() {
    let mut table = new_table(100, 10);
    let handle = reserve(&mut table, 1).unwrap();
    assert_eq!(table.remove(handle), Err(SessionError::NoSuchBlock));
    assert_eq!(pin(&mut table, handle), Err(SessionError::NoSuchBlock));
    assert_eq!(
        begin_move(&mut table, handle),
        Err(SessionError::NoSuchBlock)
    );
    table.commit(handle, &allocation(1));
    assert_eq!(table.remove(handle), Ok(allocation(1)));
}

#[test]
fn a_committed_reservation_names_its_block() {
    let mut table = new_table(100, 10);
    assert!(table.reserve(1).is_err());
    assert!(table.grow(chunk(0, FIRST_CHUNK)).is_none());
    let before = table.used();
    assert!(table.reserve(1).is_ok() && table.reserve(101).is_err());
    assert_eq!(table.used(), before);
    let handle = table.reserve(1).ok().unwrap().commit(allocation(1));
    assert_eq!((table.used().handles, table.used().bytes), (1, 1));
    assert_eq!(table.remove(handle), Ok(allocation(1)));
}

#[test]
fn a_round_uses_each_entry_that_was_vacant_at_its_start_once() {
    let mut table = new_table(usize::MAX, u32::MAX);
    // The table uses the last indexes of both vectors first.
    let mut vacant: Vec<_> = (0..FIRST_CHUNK as u32).rev().collect();
    let mut released = Vec::new();
    let mut live = Vec::new();
    for step in 0..12 * FIRST_CHUNK {
        // The number of live entries alternately grows until the chunk is full, and shrinks to zero.
        let grows = step / (2 * FIRST_CHUNK) % 2 == 0;
        if live.is_empty() || grows && live.len() < FIRST_CHUNK {
            if vacant.is_empty() {
                mem::swap(&mut vacant, &mut released);
            }
            let handle = insert(&mut table, 1);
            assert_eq!(Some(handle.index()), vacant.pop());
            live.push(handle);
        }
        if !grows || step % 3 == 0 {
            let handle = live.swap_remove(step * 31 % live.len());
            table.remove(handle).unwrap();
            released.push(handle.index());
        }
    }
}

#[test]
fn a_stale_handle_names_no_block_for_two_million_allocations() {
    let mut table = new_table(100, 10);
    let stale = insert(&mut table, 1);
    table.remove(stale).unwrap();
    for _ in 0..FIRST_CHUNK * GENERATION_MAX as usize - 1 {
        let handle = insert(&mut table, 1);
        assert_ne!(handle, stale);
        table.remove(handle).unwrap();
    }
    assert_eq!(table.remove(stale), Err(SessionError::NoSuchBlock));
}

#[test]
fn quotas_are_enforced_and_uncharged() {
    let mut table = new_table(100, 2);
    assert_eq!(reserve(&mut table, 101), Err(SessionError::QuotaBytes));
    assert_eq!(
        reserve(&mut table, usize::MAX),
        Err(SessionError::QuotaBytes)
    );
    let first = insert(&mut table, 60);
    assert_eq!(reserve(&mut table, 41), Err(SessionError::QuotaBytes));
    let second = reserve(&mut table, 40).unwrap();
    assert_eq!(reserve(&mut table, 0), Err(SessionError::QuotaHandles));
    table.abort(second, 40);
    assert_eq!(table.charge(41), Err(SessionError::QuotaBytes));
    assert_eq!(table.charge(40), Ok(()));
    table.uncharge(40);
    table.remove(first).unwrap();
    assert_eq!((table.used().handles, table.used().bytes), (0, 0));
}

#[test]
fn a_pinned_block_is_neither_removed_nor_moved() {
    let mut table = new_table(100, 10);
    let handle = insert(&mut table, 1);
    pin(&mut table, handle).unwrap();
    pin(&mut table, handle).unwrap();
    unpin(&mut table, handle);
    assert_eq!(table.remove(handle), Err(SessionError::Pinned));
    assert_eq!(begin_move(&mut table, handle), Err(SessionError::Pinned));
    unpin(&mut table, handle);
    assert_eq!(begin_move(&mut table, handle), Ok(allocation(1)));
    assert_eq!(pin(&mut table, handle), Err(SessionError::Pinned));
    assert_eq!(table.remove(handle), Err(SessionError::Pinned));
    table.entry(handle).unwrap().end_move(&allocation(1));
    assert_eq!(table.remove(handle), Ok(allocation(1)));
}

#[test]
fn a_surplus_chunk_is_rejected() {
    let mut table = new_table(100, 10);
    assert!(table.grow(chunk(0, FIRST_CHUNK + 1)).is_some());
    assert!(table.grow(chunk(0, FIRST_CHUNK)).is_none());
    assert!(table.grow(chunk(1024, FIRST_CHUNK)).is_some());
}

#[test]
fn the_table_has_an_entry_for_every_index() {
    let mut table = new_table(usize::MAX, u32::MAX);
    for index in 0..=INDEX_MAX {
        assert_eq!(insert(&mut table, 1).index(), index);
    }
    assert_eq!(reserve(&mut table, 1), Err(SessionError::QuotaHandles));
}

#[test]
fn remove_next_finds_all_live_blocks() {
    let mut table = new_table(usize::MAX, 20_000);
    let handles: Vec<_> = (0..20_000).map(|_| insert(&mut table, 3)).collect();
    assert_eq!(reserve(&mut table, 0), Err(SessionError::QuotaHandles));
    assert_eq!(handles.iter().collect::<HashSet<_>>().len(), 20_000);
    for handle in handles.iter().step_by(2) {
        table.remove(*handle).unwrap();
    }
    pin(&mut table, handles[1]).unwrap();
    let (mut cursor, mut found) = (0, 0);
    while let Some(allocation) = table.remove_next(&mut cursor) {
        found += usize::from(allocation.is_some());
    }
    assert_eq!(found, 10_000);
    assert_eq!((table.used().handles, table.used().bytes), (0, 0));
}

proptest::proptest! {
    /// Asserts that random operations have the same results on the table and on a map.
    #[test]
    fn the_table_agrees_with_a_map(operations in proptest::collection::vec(
        (0u8..6, proptest::num::usize::ANY, 0usize..200), 1..400)) {
        let mut table = new_table(5_000, 40);
        let mut model: HashMap<u32, (usize, u32)> = HashMap::new();
        let mut known = Vec::new();
        for (operation, pick, charge) in operations {
            let handle = (!known.is_empty()).then(|| known[pick % known.len()]);
            let bytes: usize = model.values().map(|(charge, _)| charge).sum();
            match (operation, handle) {
                (0 | 1, _) | (_, None) => match reserve(&mut table, charge) {
                    Ok(handle) => {
                        table.commit(handle, &allocation(charge));
                        assert!(model.insert(handle.to_bits(), (charge, 0)).is_none());
                        known.push(handle);
                    }
                    Err(SessionError::QuotaHandles) => assert_eq!(model.len(), 40),
                    Err(error) => {
                        assert_eq!(error, SessionError::QuotaBytes);
                        assert!(bytes + charge > 5_000);
                    }
                },
                (2 | 3, Some(handle)) => {
                    let expected = match model.get(&handle.to_bits()) {
                        None => Err(SessionError::NoSuchBlock),
                        Some((_, 1..)) => Err(SessionError::Pinned),
                        Some((charge, 0)) => Ok(allocation(*charge)),
                    };
                    assert_eq!(table.remove(handle), expected);
                    if expected.is_ok() {
                        model.remove(&handle.to_bits());
                    }
                }
                (4, Some(handle)) => {
                    assert_eq!(pin(&mut table, handle).is_ok(), model.contains_key(&handle.to_bits()));
                    if let Some((_, pins)) = model.get_mut(&handle.to_bits()) {
                        *pins += 1;
                    }
                }
                (_, Some(handle)) => {
                    if let Some((_, pins @ 1..)) = model.get_mut(&handle.to_bits()) {
                        *pins -= 1;
                        unpin(&mut table, handle);
                    }
                }
            }
            assert_eq!(table.used().handles as usize, model.len());
            assert_eq!(table.used().bytes, model.values().map(|(charge, _)| charge).sum());
        }
    }
}
