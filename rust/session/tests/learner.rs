// SPDX-License-Identifier: GPL-2.0

//! Sessions on the engine `student`, whose allocator may refuse to undo a resize.

use super::*;
use slab_heap::violation::Supervise;
use slab_student::{
    Allocator,
    Error,
    Layout as BlockLayout,
    Memory,
    State as StudentState,
    StudentEngine, //
};

/// An allocator that shrinks a block in place and never lengthens it.
struct OnlyShrinks {
    next: usize,
}

impl Allocator for OnlyShrinks {
    fn new(_memory: &mut Memory) -> Result<Self, Error> {
        Ok(Self { next: 0 })
    }

    fn allocate(
        &mut self,
        memory: &mut Memory,
        layout: BlockLayout,
    ) -> Result<Option<usize>, Error> {
        let block = self.next.next_multiple_of(layout.align());
        self.next = block + layout.size();
        Ok((self.next <= memory.len()).then_some(block))
    }

    fn free(&mut self, _: &mut Memory, _: usize, _: BlockLayout) -> Result<(), Error> {
        Ok(())
    }

    fn resize(
        &mut self,
        _: &mut Memory,
        _: usize,
        layout: BlockLayout,
        size: usize,
    ) -> Result<bool, Error> {
        Ok(size <= layout.size())
    }
}

#[test]
fn a_shrink_that_cannot_be_undone_keeps_the_new_size() {
    let bytes = 1 << 16;
    let mut memory = vec![0_u64; bytes / 8 + 512];
    let start = memory.as_mut_ptr().cast::<u8>();
    let start = start.wrapping_add(start.align_offset(4096));
    let engine = StudentEngine::<OnlyShrinks, _>::new(HostLock::new(StudentState::new()));
    let mut table = vec![0_u64; engine.table_bytes(bytes).div_ceil(8)];
    let table = NonNull::from(&mut *table).cast();
    // SAFETY: `add_region` requires memory and a table that are valid and that nobody else uses as long as the engine
    // exists: both vectors outlive the engine's last use and are not accessed here any more.
    unsafe { engine.add_region(NonNull::new(start).unwrap(), bytes, table) }.unwrap();

    let session = session_on(&engine, bytes, 8);
    let handle = session.allocate(4000, 8).unwrap().handle;
    let before = session.stats();
    drop(session.reallocate(handle, 1000).unwrap());
    assert_eq!(session.stats().reallocations, before.reallocations);
    assert_eq!(session.stats().bytes, 1000);
    // The next block may use the tail of the shrunk one. Nothing of the two blocks is shared.
    assert!(session.allocate(4000, 8).is_ok());
    assert!(session.free(handle).is_ok());
    assert_eq!(engine.violation(), None);
}
