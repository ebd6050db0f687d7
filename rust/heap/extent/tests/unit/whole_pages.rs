// SPDX-License-Identifier: GPL-2.0

//! The promise for `mmap`: a block whose size and alignment are multiples of a page, or whose size is, lies on pages and
//! shares none of them. The heap, the magazines and a resize in place keep it.

use super::BareHeap;
use crate::{
    PAGE_BYTES,
    Path,
    extent::Heap,
    testing::{
        checked_machine::Machine,
        layout, //
    }, //
};

/// Allocates a block of `size` bytes in a heap whose free runs begin and end inside of pages, and returns its offset.
fn allocate_between_small_blocks(size: usize, align: usize) -> usize {
    let mut heap = BareHeap::new(&[64]);
    let smalls: std::vec::Vec<_> = (0..40)
        .map(|_| heap.allocate(layout(3000, 8)).unwrap())
        .collect();
    smalls.iter().step_by(3).for_each(|block| {
        heap.free(*block);
    });
    heap.allocate(layout(48, 8)).unwrap();
    let block = heap.allocate(layout(size, align)).unwrap();
    heap.check();
    block.byte() as usize
}

#[test]
fn blocks_of_whole_pages_lie_on_pages() {
    for pages in [1, 2, 3, 5, 16, 17, 20] {
        for align in [1, 8, 64, PAGE_BYTES, 4 * PAGE_BYTES] {
            let byte = allocate_between_small_blocks(pages * PAGE_BYTES, align);
            assert_eq!(byte % align.max(PAGE_BYTES), 0, "{pages} {align}");
        }
    }
}

#[test]
fn blocks_from_magazines_lie_on_pages() {
    for pages in [1, 2, 3, 16] {
        let size = pages * PAGE_BYTES;
        let machine = Machine::<Heap>::new(1, 8 << 20);
        // Blocks of other sizes lie between them.
        let mut blocks = std::vec![];
        for number in 0..12 {
            machine.allocate(48 + 16 * number);
            blocks.push(machine.allocate(size));
        }
        machine.free_all(blocks);
        let mut served = 0;
        for _ in 0..20 {
            let (block, path) = machine.serve(layout(size, 8)).unwrap();
            assert_eq!(block.byte() as usize % PAGE_BYTES, 0);
            served += usize::from(path == Path::Magazine);
        }
        assert!(served > 0, "{pages}");
    }
}

#[test]
fn a_block_that_is_not_of_whole_pages_does_not_get_into_their_magazines() {
    // The usable size of the block is that of two pages, but the block may lie anywhere.
    let machine = Machine::<Heap>::new(1, 8 << 20);
    machine.allocate(48);
    for less in [1, 8, 16, 500, 4000] {
        let size = 2 * PAGE_BYTES - less;
        let blocks = machine.allocate_all(size, 4);
        machine.free_all(blocks);
        for _ in 0..4 {
            let (block, _) = machine.serve(layout(2 * PAGE_BYTES, 8)).unwrap();
            assert_eq!(block.byte() as usize % PAGE_BYTES, 0, "{less}");
        }
    }
}

#[test]
fn a_resize_to_whole_pages_is_in_place_only_on_a_page() {
    let mut heap = BareHeap::new(&[4]);
    let odd = layout(5000, 8);
    let on_page = heap.allocate(layout(4 * PAGE_BYTES, 8)).unwrap();
    assert!(heap.resize(on_page, odd));
    let mut others = [(); 2].map(|()| heap.allocate(odd).unwrap());
    others.sort_unstable();
    let between = others[0];
    heap.free(others[1]);
    assert_ne!(between.byte() as usize % PAGE_BYTES, 0);
    assert!(heap.resize(between, layout(9000, 8)));
    for pages in [1, 2] {
        // `BareHeap::resize` expects the refusal, because the block does not begin on a page.
        assert!(!heap.resize(between, layout(pages * PAGE_BYTES, 8)));
        heap.check();
    }
    heap.free(between);
    for pages in [1, 2, 4] {
        assert!(heap.resize(on_page, layout(pages * PAGE_BYTES, 8)));
        heap.check();
    }
    heap.end();
}
