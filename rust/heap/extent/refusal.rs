// SPDX-License-Identifier: GPL-2.0

//! The causes of refused requests and frees, which are determined only after a refusal.

use super::{
    heap::Heap,
    page::PageDesc,
    place::{
        Demand,
        GRANULE,
        GRANULE_SHIFT,
        Granule,
        PAGE_GRANULES, //
    },
    table::Tables,
};
use crate::{
    Cost,
    Offset,
    Refusal,
    engine::BadFree,
    region::REGIONS_MAX, //
};

/// The largest number of pages, besides its own, that are read to find the beginning of a granule's run: 4 MiB.
const PAGES_BACK: usize = 1024;

impl Heap {
    /// Returns the cause for which a request is refused. If the cause is [`Refusal::Fragmented`], stores the
    /// fragmentation index in `cost`.
    ///
    /// The index is Linux's (`__fragmentation_index` in `mm/vmstat.c`) with runs instead of blocks: it is near 0 if
    /// little memory is free, and near 1000 if the free memory is in many pieces.
    #[cold]
    pub(super) fn refusal(&mut self, demand: Demand) -> Refusal {
        let free = &self.runs.free_counts;
        if demand.len > self.largest_region || demand.align > self.largest_region {
            Refusal::TooBig
        } else if demand.align << GRANULE_SHIFT > self.align_max {
            Refusal::Unsupported
        } else if demand.len > free.granules {
            Refusal::Exhausted
        } else {
            let runs: usize = free.runs.iter().sum();
            let whole = (free.granules * 1000).checked_div(demand.len);
            let index = (1000 + whole.unwrap_or(0)).checked_div(runs);
            let index = index.map_or(0, |each| 1000_usize.saturating_sub(each));
            self.cost = Cost::default().with_fragmentation(index as u16);
            Refusal::Fragmented
        }
    }
}

impl Tables {
    /// Returns the rule that a free breaks. No block of the freed size and alignment begins at the offset.
    ///
    /// If the run that contains the offset begins more than [`PAGES_BACK`] pages before it, the rule is always
    /// [`BadFree::Interior`].
    #[cold]
    pub(super) fn bad_free(&self, block: Offset) -> BadFree {
        let (region, byte) = (usize::from(block.region()), block.byte());
        let index = (byte >> GRANULE_SHIFT) as usize;
        if region >= REGIONS_MAX || index >= self.pages(region) * PAGE_GRANULES {
            return BadFree::Foreign;
        }
        let at = Granule::new(region, index);
        let begins = byte % GRANULE as u64 == 0
            && self
                .desc(region, at.page())
                .is_some_and(|desc| desc.begins(at.in_page()));
        match self.is_in_free_run(at) {
            Some(true) => BadFree::NotLive,
            _ if begins => BadFree::WrongSize,
            _ => BadFree::Interior,
        }
    }

    /// Returns whether a granule is in a free run. `None` if the run begins too far before. O([`PAGES_BACK`]).
    fn is_in_free_run(&self, at: Granule) -> Option<bool> {
        let in_page = |desc: &PageDesc, last: usize| {
            let granule = desc.last_begin(last)?;
            Some(desc.is_free(granule))
        };
        let first = in_page(self.desc(at.region(), at.page())?, at.in_page());
        first.or_else(|| {
            let pages = (0..at.page()).rev().take(PAGES_BACK);
            let mut descs = pages.filter_map(|page| self.desc(at.region(), page));
            descs.find_map(|desc| in_page(desc, PAGE_GRANULES - 1))
        })
    }
}
