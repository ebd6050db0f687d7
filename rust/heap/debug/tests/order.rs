// SPDX-License-Identifier: GPL-2.0

//! The numbers of operations that run at the same time.

use std::{
    boxed::Box,
    sync::Arc, //
};

use super::*;
use crate::{
    Refusal,
    engine::{
        Capabilities,
        Interfaces, //
    },
    testing::HostSeed,
};

/// What another process does meanwhile.
type Meanwhile = Box<dyn FnOnce() + Send>;

/// The seed, whose next allocation waits until another process has done something.
struct Interrupted {
    engine: HostSeed,
    meanwhile: Mutex<Option<Meanwhile>>,
}

// SAFETY: All methods call the methods of the seed, which meets the contract.
unsafe impl Engine for Interrupted {
    fn capabilities(&self) -> Capabilities {
        self.engine.capabilities()
    }

    fn usable_size(&self, layout: Layout) -> usize {
        self.engine.usable_size(layout)
    }

    fn capacity(&self) -> usize {
        self.engine.capacity()
    }

    fn offset(&self, byte: NonNull<u8>) -> Option<crate::Offset> {
        self.engine.offset(byte)
    }

    fn allocate(&self, layout: Layout, cost: &mut Cost) -> Result<Block, Refusal> {
        let meanwhile = self.meanwhile.lock().unwrap().take();
        if let Some(meanwhile) = meanwhile {
            meanwhile();
        }
        self.engine.allocate(layout, cost)
    }

    unsafe fn free(&self, block: Block, layout: Layout, cost: &mut Cost) -> Result<(), BadFree> {
        // SAFETY: The contract of this function is the contract of the same method of the seed.
        unsafe { self.engine.free(block, layout, cost) }
    }

    fn fits_in_place(&self, layout: Layout, new: Layout) -> bool {
        self.engine.fits_in_place(layout, new)
    }

    unsafe fn resize(&self, block: Block, layout: Layout, new: Layout, cost: &mut Cost) -> bool {
        // SAFETY: The contract of this function is the contract of the same method of the seed.
        unsafe { self.engine.resize(block, layout, new, cost) }
    }

    fn interfaces(&self) -> Interfaces<'_> {
        self.engine.interfaces()
    }
}

#[test]
fn an_allocation_has_a_later_number_than_the_free_of_its_memory() {
    let memory = HostMemory::new(POOL_BYTES);
    let engine = Interrupted {
        engine: HostSeed::empty(),
        meanwhile: Mutex::default(),
    };
    let guard = Arc::new(DebugMode::new(engine, Mutex::default(), Played));
    memory.lend(&*guard).unwrap();
    let layout = layout(1000, 8);
    let address = allocate(&guard, 7, layout).start.expose_provenance();
    let other = Arc::clone(&guard);
    let meanwhile = move || {
        let start = NonNull::with_exposed_provenance(address);
        free(&other, 8, start, layout).unwrap();
        scribble(start, 100, 1);
    };
    *guard.engine().meanwhile.lock().unwrap() = Some(Box::new(meanwhile));
    allocate(&guard, 9, layout);
    let report = only(&guard, Fault::WriteAfterFree, 1);
    let operations = [report.allocated, report.freed, report.noticed].map(|by| by.operation);
    assert_eq!(operations, [1, 2, 3]);
}
