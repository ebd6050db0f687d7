// SPDX-License-Identifier: GPL-2.0

//! The experiments of `seed::tests::weaknesses` that apply to `hybrid`. `hybrid` does not have these
//! weaknesses.

use super::{
    buddy,
    page, //
};
use crate::{
    engine::BadFree,
    hybrid::{
        buddy::{
            Buddy,
            End,
            Work, //
        },
        page::{
            Link,
            Links,
            PageKind, //
        },
    },
    testing::{
        HostHybrid,
        LockedHybrid,
        weaknesses as ask, //
    },
};

#[test]
fn a_small_block_with_a_large_alignment_is_aligned() {
    assert_eq!(ask::misaligned::<HostHybrid>(), 0);
}

#[test]
fn a_small_heap_serves_all_classes() {
    for bytes in [4 << 10, 32 << 10, 64 << 10, 128 << 10] {
        assert_eq!(ask::unserved::<HostHybrid>(bytes), []);
    }
}

#[test]
fn freed_slabs_serve_every_size() {
    let served = ask::served_by_freed_slabs::<HostHybrid>();
    assert_eq!(served, [64, 128, 4096, 8192, 1 << 20]);
}

#[test]
fn a_free_reads_no_free_block_but_its_buddies() {
    let mut buddy = buddy(16_384);
    while let Some(block) = buddy.allocate(2, 0, End::Front) {
        let kind = PageKind::Large { pages: 2 };
        buddy.metadata.set_kind(block, kind);
    }
    let free = |buddy: &mut Buddy, index| {
        let PageKind::Large { pages: 2 } = buddy.metadata.kind(page(index)) else {
            panic!("page {index} is not live");
        };
        buddy.work = Work::default();
        buddy.metadata.set_kind(page(index), PageKind::Interior);
        buddy.free(page(index), 2);
        buddy.work.merges
    };
    for index in (0..16_384).step_by(4) {
        assert_eq!(free(&mut buddy, index), 0);
    }
    // 4096 blocks are in one list. The test destroys all links except for the links of the buddy, of its
    // neighbours, and of the first block, so a free that followed the list would not find the buddy.
    let (buddy_index, head) = (8192_usize, 16_380_usize);
    for index in (0..16_384).step_by(4) {
        if index != head && index.abs_diff(buddy_index) > 4 {
            let wild = Link(u32::MAX);
            let damaged = Links {
                prev: wild,
                next: wild,
            };
            buddy.metadata.damage(page(index), |links| *links = damaged);
        }
    }
    assert_eq!(free(&mut buddy, buddy_index + 2), 1);
    assert_eq!(
        buddy.metadata.kind(page(buddy_index)),
        PageKind::Free { order: 2 }
    );
}

#[test]
fn sizes_are_rounded_up_to_classes_and_pages() {
    let taken = [1, 65, 4097, 8193].map(ask::taken::<HostHybrid>);
    assert_eq!(taken, [8, 80, 8192, 12_288]);
    assert_eq!(ask::waste::<HostHybrid>(65..=4096), 7);
    assert_eq!(ask::waste::<HostHybrid>((4097..=65_536).step_by(61)), 5);
}

#[test]
fn a_write_after_free_chooses_nothing() {
    assert!(!ask::write_after_free_chooses::<HostHybrid>());
}

#[test]
fn a_double_free_that_reaches_the_slab_is_refused_by_name() {
    assert_eq!(
        ask::double_free::<LockedHybrid>(),
        (Err(BadFree::NotLive), false)
    );
}

#[test]
fn total_bytes_are_the_pool_and_used_bytes_are_the_live_blocks() {
    assert_eq!(ask::total_and_used::<HostHybrid>(), (1 << 20, 64));
}

#[test]
fn the_largest_block_does_not_depend_on_the_address() {
    for skew in [0, 4096, 12_288, 1 << 19] {
        assert_eq!(ask::largest::<HostHybrid>(skew), Some(20));
    }
}

#[test]
fn bad_arguments_are_errors() {
    assert!(!ask::bad_memory_panics::<HostHybrid>());
}
