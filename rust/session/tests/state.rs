// SPDX-License-Identifier: GPL-2.0

//! The session state, by example and compared with a map.

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
    tests::TestStorage, //
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

type TestState = SessionState<TestStorage>;

fn chunk(first: u32, entries: usize) -> PreparedChunk<TestStorage> {
    PreparedChunk::new(vec![crate::Slot::VACANT; entries], first).unwrap()
}

fn state(bytes: usize, handles: u32) -> TestState {
    SessionState::new(Limits { bytes, handles })
}

fn allocation(charge: usize) -> Allocation {
    Allocation {
        block: Block {
            start: NonNull::dangling(),
            offset: None,
        },
        layout: Layout::new::<u8>(),
        charge,
    }
}

fn reserve(state: &mut TestState, charge: usize) -> Result<Handle, SessionError> {
    loop {
        match state.reserve_new(charge) {
            Ok(handle) => return Ok(handle),
            Err(ReserveError::Refused(error)) => return Err(error),
            Err(ReserveError::NeedChunk { first, entries }) => {
                assert!(state.grow(chunk(first, entries)).is_none());
            }
        }
    }
}

fn insert(state: &mut TestState, charge: usize) -> Handle {
    let handle = reserve(state, charge).unwrap();
    state.reservation_commit(handle, &allocation(charge), Cost::default());
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
    let mut state = state(100, 10);
    let handle = reserve(&mut state, 1).unwrap();
    assert_eq!(state.remove(handle), Err(SessionError::NoSuchBlock));
    assert_eq!(state.pin(handle), Err(SessionError::NoSuchBlock));
    assert_eq!(state.begin_move(handle), Err(SessionError::NoSuchBlock));
    state.reservation_commit(handle, &allocation(1), Cost::default());
    assert_eq!(state.remove(handle), Ok(allocation(1)));
}

#[test]
fn a_committed_reservation_names_its_block() {
    let mut state = state(100, 10);
    assert!(state.try_reserve(1).is_none());
    assert!(state.grow(chunk(0, FIRST_CHUNK)).is_none());
    let before = state.stats();
    assert!(state.try_reserve(1).is_some() && state.try_reserve(101).is_none());
    assert_eq!(state.stats(), before);
    let handle = state.try_reserve(1).unwrap().commit(allocation(1));
    assert_eq!((state.stats().blocks, state.stats().bytes), (1, 1));
    assert_eq!(state.remove(handle), Ok(allocation(1)));
}

#[test]
fn vacant_entries_are_reused_in_fifo_order() {
    let mut state = state(usize::MAX, u32::MAX);
    let mut vacant: VecDeque<_> = (0..FIRST_CHUNK as u32).collect();
    let mut live = Vec::new();
    for step in 0..12 * FIRST_CHUNK {
        // The number of live entries grows until the chunk is full, then shrinks to one, in turns.
        let grows = step / (2 * FIRST_CHUNK) % 2 == 0;
        if grows && !vacant.is_empty() {
            let handle = insert(&mut state, 1);
            assert_eq!(Some(handle.index()), vacant.pop_front());
            live.push(handle);
        }
        if !grows || step % 3 == 0 {
            let handle = live.swap_remove(step * 31 % live.len());
            state.remove(handle).unwrap();
            vacant.push_back(handle.index());
        }
        if live.is_empty() {
            live.push(insert(&mut state, 1));
            vacant.pop_front();
        }
    }
}

#[test]
fn a_stale_handle_names_no_block_for_two_million_allocations() {
    let mut state = state(100, 10);
    let stale = insert(&mut state, 1);
    state.remove(stale).unwrap();
    for _ in 0..FIRST_CHUNK * GENERATION_MAX as usize - 1 {
        let handle = insert(&mut state, 1);
        assert_ne!(handle, stale);
        state.remove(handle).unwrap();
    }
    assert_eq!(state.remove(stale), Err(SessionError::NoSuchBlock));
}

#[test]
fn quotas_are_enforced_and_uncharged() {
    let mut state = state(100, 2);
    assert_eq!(reserve(&mut state, 101), Err(SessionError::QuotaBytes));
    assert_eq!(
        reserve(&mut state, usize::MAX),
        Err(SessionError::QuotaBytes)
    );
    let first = insert(&mut state, 60);
    assert_eq!(reserve(&mut state, 41), Err(SessionError::QuotaBytes));
    let second = reserve(&mut state, 40).unwrap();
    assert_eq!(reserve(&mut state, 0), Err(SessionError::QuotaHandles));
    state.reservation_abort(second, 40);
    assert_eq!(state.charge(41), Err(SessionError::QuotaBytes));
    assert_eq!(state.charge(40), Ok(()));
    state.uncharge(40);
    state.remove(first).unwrap();
    assert_eq!((state.stats().blocks, state.stats().bytes), (0, 0));
}

#[test]
fn a_pinned_block_is_neither_removed_nor_moved() {
    let mut state = state(100, 10);
    let handle = insert(&mut state, 1);
    state.pin(handle).unwrap();
    state.pin(handle).unwrap();
    state.unpin(handle);
    assert_eq!(state.remove(handle), Err(SessionError::Pinned));
    assert_eq!(state.begin_move(handle), Err(SessionError::Pinned));
    state.unpin(handle);
    assert_eq!(state.begin_move(handle), Ok(allocation(1)));
    assert_eq!(state.pin(handle), Err(SessionError::Pinned));
    assert_eq!(state.remove(handle), Err(SessionError::Pinned));
    state.end_move(handle, &allocation(1), true);
    assert_eq!(state.remove(handle), Ok(allocation(1)));
    assert_eq!(state.stats().reallocations, 1);
}

#[test]
fn a_surplus_chunk_is_rejected() {
    let mut state = state(100, 10);
    assert!(state.grow(chunk(0, FIRST_CHUNK + 1)).is_some());
    assert!(state.grow(chunk(0, FIRST_CHUNK)).is_none());
    assert!(state.grow(chunk(1024, FIRST_CHUNK)).is_some());
}

#[test]
fn the_table_has_an_entry_for_every_index() {
    let mut state = state(usize::MAX, u32::MAX);
    for index in 0..=INDEX_MAX {
        assert_eq!(insert(&mut state, 1).index(), index);
    }
    assert_eq!(reserve(&mut state, 1), Err(SessionError::QuotaHandles));
}

#[test]
fn remove_next_finds_all_live_blocks() {
    let mut state = state(usize::MAX, 20_000);
    let handles: Vec<_> = (0..20_000).map(|_| insert(&mut state, 3)).collect();
    assert_eq!(reserve(&mut state, 0), Err(SessionError::QuotaHandles));
    assert_eq!(handles.iter().collect::<HashSet<_>>().len(), 20_000);
    for handle in handles.iter().step_by(2) {
        state.remove(*handle).unwrap();
    }
    state.pin(handles[1]).unwrap();
    let (mut cursor, mut found) = (0, 0);
    while let Some(allocation) = state.remove_next(&mut cursor) {
        found += usize::from(allocation.is_some());
    }
    assert_eq!(found, 10_000);
    assert_eq!((state.stats().blocks, state.stats().bytes), (0, 0));
}

proptest::proptest! {
    /// Random operations have the same results as on a map.
    #[test]
    fn the_session_state_agrees_with_a_map(operations in proptest::collection::vec(
        (0u8..6, proptest::num::usize::ANY, 0usize..200), 1..400)) {
        let mut state = state(5_000, 40);
        let mut model: HashMap<u32, (usize, u32)> = HashMap::new();
        let mut known = Vec::new();
        for (operation, pick, charge) in operations {
            let handle = (!known.is_empty()).then(|| known[pick % known.len()]);
            let bytes: usize = model.values().map(|(charge, _)| charge).sum();
            match (operation, handle) {
                (0 | 1, _) | (_, None) => match reserve(&mut state, charge) {
                    Ok(handle) => {
                        state.reservation_commit(handle, &allocation(charge), Cost::default());
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
                    assert_eq!(state.remove(handle), expected);
                    if expected.is_ok() {
                        model.remove(&handle.to_bits());
                    }
                }
                (4, Some(handle)) => {
                    assert_eq!(state.pin(handle).is_ok(), model.contains_key(&handle.to_bits()));
                    if let Some((_, pins)) = model.get_mut(&handle.to_bits()) {
                        *pins += 1;
                    }
                }
                (_, Some(handle)) => {
                    if let Some((_, pins @ 1..)) = model.get_mut(&handle.to_bits()) {
                        *pins -= 1;
                        state.unpin(handle);
                    }
                }
            }
            assert_eq!(state.stats().blocks as usize, model.len());
            assert_eq!(state.stats().bytes, model.values().map(|(charge, _)| charge).sum());
        }
    }
}
