// SPDX-License-Identifier: GPL-2.0

//! The numbers of operations of two processes that run at the same time.

use std::sync::Arc;

use super::{
    altered_seed::{
        AlteredSeed,
        guarded, //
    },
    *, //
};

#[test]
fn an_allocation_has_a_later_number_than_the_free_of_its_memory() {
    let memory = HostMemory::new(POOL_BYTES);
    let guard = Arc::new(guarded(AlteredSeed::new(8, 8), &memory));
    let layout = layout(1000, 8);
    let address = allocate(&guard, 7, layout).start.expose_provenance();
    let other = Arc::clone(&guard);
    guard.engine().before_next_allocation(move || {
        let start = NonNull::with_exposed_provenance(address);
        free(&other, 8, start, layout).unwrap();
        scribble(start, 100, 1);
    });
    allocate(&guard, 9, layout);
    let report = only(&guard, Fault::WriteAfterFree, 1);
    let operations = [report.allocated, report.freed, report.noticed].map(|by| by.operation);
    assert_eq!(operations, [1, 2, 3]);
}
