// SPDX-License-Identifier: GPL-2.0

//! Adds a region to an engine, and divides the memory for its metadata between the heap and the depot.

use core::ptr::NonNull;

use super::{
    depot::Depot,
    engine::MagazineEngine,
    magazine::CpuCache,
    state::State, //
};
use crate::{
    PAGE_BYTES,
    PAGE_SHIFT,
    backing_heap::BackingHeap,
    engine::AddRegion,
    lock::Lock,
    per_cpu::PerCpu,
    region::RegionError, //
};

/// Returns the bytes of metadata that a region of `bytes` bytes needs: those of the heap, and those of the depot.
#[must_use]
pub fn table_bytes<H: BackingHeap>(bytes: usize) -> usize {
    H::metadata_bytes(bytes / PAGE_BYTES) + Depot::bytes(bytes)
}

impl<H, L, P> AddRegion for MagazineEngine<H, L, P>
where
    H: BackingHeap,
    L: Lock<State<H>> + Sync,
    P: PerCpu<CpuCache>,
{
    fn table_bytes(&self, bytes: usize) -> usize {
        table_bytes::<H>(bytes)
    }

    unsafe fn add_region(
        &self,
        start: NonNull<u8>,
        bytes: usize,
        table: NonNull<u8>,
    ) -> Result<u16, RegionError> {
        let address = start.addr().get();
        let pages = bytes >> PAGE_SHIFT;
        if address % PAGE_BYTES != 0 {
            return Err(RegionError::Misaligned);
        }
        if bytes == 0 || bytes % PAGE_BYTES != 0 || pages > H::REGION_PAGES_MAX {
            return Err(RegionError::BadLength);
        }
        self.state.with(|state| {
            let region = state.regions.add(address, bytes)?;
            let number = usize::from(region);
            // SAFETY: `BackingHeap::add_region` requires a new number, the address and number of the region's
            // pages, and `metadata_bytes(pages)` zeroed and aligned bytes that nobody else uses:
            // `Regions::add` returned a new number below `REGIONS_MAX`, the bounds were checked above, and `table`
            // has `table_bytes(bytes)` such bytes, by this function's contract.
            let descs = unsafe { state.heap.add_region(number, address, pages, table) };
            // SAFETY: `add` requires that the result is in the same allocation: the table has `table_bytes(bytes)`
            // bytes, of which the heap takes the first `metadata_bytes(pages)`.
            let stored = unsafe { table.add(H::metadata_bytes(pages)) };
            // SAFETY: `Depot::add` requires `Depot::bytes(bytes)` bytes that are aligned to 8 and that nobody else
            // accesses: these are the rest of the table, and `metadata_bytes` is a multiple of 8, by the contract of
            // `BackingHeap`.
            unsafe { state.depot.add(bytes, stored) };
            // SAFETY: `RegionIndex::add` requires memory for as long as the index lives, shared descriptors for
            // each page, at most 2²⁰ pages, and a new number: the memory lives as long as the engine, by this
            // function's contract; `BackingHeap::add_region` promises the descriptors, and `REGION_PAGES_MAX` is at
            // most 2²⁰, by the contract of the trait; `Regions::add` returned a new number, under the lock.
            unsafe { self.index.add(number, start, pages, descs) };
            Ok(region)
        })
    }
}
