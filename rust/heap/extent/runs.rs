// SPDX-License-Identifier: GPL-2.0

//! Runs: take a block from a free run, and coalesce a freed block with its neighbours.
//!
//! Free runs are maximal: no two of them lie side by side. Each is in its bin (see `bins`): a short run as a bit of the
//! matrix, which names the page where the run begins, and a long run as an element of a list. Several short runs of a bin
//! that begin in the same page share the bit.
//!
//! The boundary tags of Knuth (TAOCP 1, 2.5) and the bins of TLSF (Masmano, Ripoll, Crespo and Real, 2004) are the
//! sources. The tags are bits outside of the pool here, and short runs are found by page instead of by a list.

use core::ops::Range;

use super::{
    bins::{
        BINS,
        BinSet,
        LONG,
        SHORT_BINS,
        bin_of, //
    },
    counts::FreeCounts,
    page::Links,
    place::{
        Demand,
        Granule,
        PAGE_GRANULES,
        Run, //
    },
    table::Tables,
};
use crate::region::REGIONS_MAX;

/// The granules of the largest block that is taken from the end of a free run. Larger blocks are taken from the
/// beginning, so that small and large blocks do not mix, and a large block can often grow.
pub(super) const SMALL_BLOCK: usize = 64;

/// The tries of an ordinary search: see [`Runs::allocate`]. Without more tries, the utilisation of the trace
/// `random-mixed` at alignment 16 is 84.8 % instead of 88.3 %.
pub(super) const TRIES: usize = 8;

/// The numbers of splits and merges of the current operation.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Work {
    pub(super) splits: u16,
    pub(super) merges: u16,
}

/// The runs of all regions.
pub(super) struct Runs {
    pub(super) tables: Tables,
    /// The bins that have a run.
    pub(super) bins: BinSet,
    /// The first run of each list of long runs: the number of its granule plus 1.
    pub(super) long: [u32; BINS - SHORT_BINS],
    pub(super) free_counts: FreeCounts,
    pub(super) work: Work,
}

impl Runs {
    pub(super) const fn new() -> Self {
        Self {
            tables: Tables::new(),
            bins: BinSet::EMPTY,
            long: [0; BINS - SHORT_BINS],
            free_counts: FreeCounts::NONE,
            work: Work {
                splits: 0,
                merges: 0,
            },
        }
    }

    /// Takes `count` blocks of a demand, side by side, from a free run that serves one block, and returns the run that
    /// consists of the blocks. If the free run is not twice as long as all of them, takes one block. The alignment
    /// divides the length if there are several blocks.
    ///
    /// In the bin of the length some free runs are too short, and in the next bins some do not fit because of the
    /// alignment. In each bin, the search examines the first page of each region or the first long run, and up to
    /// `tries` more pages and long runs in all bins together. A page has up to 256 runs. O((bins × regions +
    /// tries) × (log64 pages + runs in a page) + count).
    pub(super) fn allocate(&mut self, demand: Demand, count: usize, tries: usize) -> Option<Run> {
        let run = self.find(demand, tries)?;
        // A run that is less than twice as long as the batch serves one block, and its rest may serve other sizes.
        let is_divided = run.len >= 2 * count * demand.len;
        let len = if is_divided {
            count * demand.len
        } else {
            demand.len
        };
        // `None` if the alignment leaves room for one block only.
        let (start, len) = match place(run, demand, len) {
            Some(start) => (start, len),
            None => (place(run, demand, demand.len)?, demand.len),
        };
        self.remove(run);
        let before = start.index() - run.start.index();
        let behind = run.len - before - len;
        if before > 0 {
            self.split(run.start, before);
        }
        if behind > 0 {
            self.split(start.after(len), behind);
        }
        for first in (0..len).step_by(demand.len) {
            let block = Run {
                start: start.after(first),
                len: demand.len,
            };
            self.tables.set(block, false);
        }
        Some(Run { start, len })
    }

    /// Inserts the rest of a free run from which a block was taken.
    fn split(&mut self, start: Granule, len: usize) {
        self.insert(Run { start, len });
        self.work.splits += 1;
    }

    /// Frees a run, which is no longer allocated, and coalesces it with its neighbours. O(regions × log64 pages + runs
    /// in a page).
    pub(super) fn free(&mut self, freed: Run) {
        let Run { mut start, mut len } = freed;
        if let Some(next) = self.free_run_behind(freed) {
            self.remove(next);
            self.tables.clear(next.start);
            len += next.len;
            self.work.merges += 1;
        }
        if let Some(prev) = self.free_run_before(start) {
            self.remove(prev);
            self.tables.clear(start);
            (start, len) = (prev.start, prev.len + len);
            self.work.merges += 1;
        }
        self.insert(Run { start, len });
    }

    /// Lengthens a block by the beginning of the free run behind it, and returns whether that run is long enough.
    /// O(regions × log64 pages + runs in a page).
    pub(super) fn grow(&mut self, block: Run, len: usize) -> bool {
        let Some(next) = self
            .free_run_behind(block)
            .filter(|next| block.len + next.len >= len)
        else {
            return false;
        };
        self.remove(next);
        self.tables.clear(next.start);
        let rest = block.len + next.len - len;
        if rest > 0 {
            self.insert(Run {
                start: block.start.after(len),
                len: rest,
            });
        }
        self.tables.set(
            Run {
                start: block.start,
                len,
            },
            false,
        );
        true
    }

    /// Shortens a block, and frees its tail. O(regions × log64 pages + runs in a page).
    pub(super) fn shrink(&mut self, block: Run, len: usize) {
        let head = Run {
            start: block.start,
            len,
        };
        let tail = Run {
            start: head.start.after(len),
            len: block.len - len,
        };
        self.tables.set(tail, false);
        self.tables.set(head, false);
        self.free(tail);
    }

    /// Returns the free run that begins where a run ends.
    fn free_run_behind(&self, run: Run) -> Option<Run> {
        let region = run.start.region();
        // The granule behind a region of the largest length has the number of the first granule of the next region.
        if run.end() >= self.tables.pages(region) * PAGE_GRANULES {
            return None;
        }
        let next = Granule::new(region, run.end());
        if self.tables.begins_free(next) {
            self.tables.run(next)
        } else {
            None
        }
    }

    /// Returns the free run that ends where a run begins.
    fn free_run_before(&self, start: Granule) -> Option<Run> {
        let last = start.index().checked_sub(1)?;
        let prev = self.tables.start_of(Granule::new(start.region(), last))?;
        let is_free = self.tables.begins_free(prev);
        is_free.then(|| Run {
            start: prev,
            len: start.index() - prev.index(),
        })
    }

    /// Finds a free run that fits one block: in the bin of the length, else in the next bins.
    fn find(&self, demand: Demand, tries: usize) -> Option<Run> {
        let mut tries = 0..tries;
        let mut bin = bin_of(demand.len);
        loop {
            bin = self.bins.next(bin)?;
            let run = if bin < SHORT_BINS {
                (0..REGIONS_MAX).find_map(|region| self.find_short(region, bin, demand, &mut tries))
            } else {
                self.find_long(bin, demand, &mut tries)
            };
            if run.is_some() {
                return run;
            }
            bin += 1;
        }
    }

    /// Returns a run of a bin of long runs that fits one block, if the first run or one of `tries` more does.
    fn find_long(&self, bin: usize, demand: Demand, tries: &mut Range<usize>) -> Option<Run> {
        let mut link = self.long[bin - SHORT_BINS];
        loop {
            let run = self.tables.run(Granule::from_bits(link.checked_sub(1)?))?;
            if self.fits(run, demand) {
                return Some(run);
            }
            tries.next()?;
            link = self.links(link).next;
        }
    }

    /// Returns a run of a region and a bin of short runs that fits one block, if one begins in the first page or in one
    /// of `tries` more. For a small block, the search goes from the end of the region to its beginning.
    fn find_short(
        &self,
        region: usize,
        bin: usize,
        demand: Demand,
        tries: &mut Range<usize>,
    ) -> Option<Run> {
        let from_end = demand.len <= SMALL_BLOCK;
        let mut page = self.tables.find(region, bin, from_end)?;
        loop {
            let desc = self.tables.desc(region, page)?;
            let runs = desc.free_runs(page).filter(|(_, len)| bin_of(*len) == bin);
            let runs = runs.map(|(granule, len)| Run {
                start: Granule::new(region, page * PAGE_GRANULES + granule),
                len,
            });
            let mut runs = runs.filter(|run| self.fits(*run, demand));
            let run = if from_end { runs.last() } else { runs.next() };
            if run.is_some() {
                return run;
            }
            tries.next()?;
            page = self.tables.find_next(region, bin, page, from_end)?;
        }
    }

    /// Returns whether a block fits into a free run. A region serves alignments up to its length, because its address
    /// need not be a multiple of more.
    #[inline]
    fn fits(&self, run: Run, demand: Demand) -> bool {
        let pages = demand.align / PAGE_GRANULES;
        pages <= self.tables.pages(run.start.region()) && place(run, demand, demand.len).is_some()
    }

    /// Inserts a free run into its bin. O(log64 pages).
    fn insert(&mut self, run: Run) {
        self.tables.set(run, true);
        self.free_counts.add(run);
        let bin = bin_of(run.len);
        if run.len < LONG {
            self.tables.insert(run.start, bin);
        } else {
            let link = run.start.to_bits() + 1;
            let next = core::mem::replace(&mut self.long[bin - SHORT_BINS], link);
            self.set_links(link, |_| Links { prev: 0, next });
            self.set_links(next, |links| Links {
                prev: link,
                ..links
            });
        }
        self.bins.insert(bin);
    }

    /// Removes a free run from its bin. O(regions × log64 pages + runs in a page).
    fn remove(&mut self, run: Run) {
        self.free_counts.remove(run);
        let bin = bin_of(run.len);
        let is_empty = if run.len < LONG {
            self.tables.remove(run, bin)
        } else {
            let links = self.links(run.start.to_bits() + 1);
            if links.prev == 0 {
                self.long[bin - SHORT_BINS] = links.next;
            }
            self.set_links(links.prev, |prev| Links {
                next: links.next,
                ..prev
            });
            self.set_links(links.next, |next| Links {
                prev: links.prev,
                ..next
            });
            self.long[bin - SHORT_BINS] == 0
        };
        if is_empty {
            self.bins.remove(bin);
        }
    }

    /// Returns the links of the long run that a link names.
    pub(super) fn links(&self, link: u32) -> Links {
        let start = link.checked_sub(1).map(Granule::from_bits);
        let desc = start.and_then(|start| self.tables.desc(start.region(), start.page() + 1));
        desc.map_or(Links::default(), |desc| desc.links())
    }

    /// Changes the links of the long run that a link names, if it names one.
    fn set_links(&mut self, link: u32, change: impl FnOnce(Links) -> Links) {
        let start = link.checked_sub(1).map(Granule::from_bits);
        let desc = start.and_then(|start| self.tables.desc(start.region(), start.page() + 1));
        if let Some(desc) = desc {
            desc.set_links(change(desc.links()));
        }
    }
}

/// Returns where `len` granules for blocks of a demand lie in a free run: at its end if the blocks are small, else at
/// its beginning. `None` if they do not fit.
fn place(run: Run, demand: Demand, len: usize) -> Option<Granule> {
    let (first, end) = (run.start.index(), run.end());
    // The alignment is a power of two.
    let below = demand.align - 1;
    let start = if demand.len <= SMALL_BLOCK {
        end.checked_sub(len)? & !below
    } else {
        (first + below) & !below
    };
    let fits = start >= first && start + len <= end;
    fits.then(|| Granule::new(run.start.region(), start))
}
