// SPDX-License-Identifier: GPL-2.0

//! The check of a [`Heap`].
//!
//! | part | rule |
//! |---|---|
//! | runs of each region | [`Rule::Partition`]: runs cover the region, and descriptors name their beginnings and ends; [`Rule::Merged`] |
//! | rows of each matrix | [`Rule::Lists`]: a bit is set if and only if a run of the bin begins in the page |
//! | levels above the rows | [`Rule::Summary`] |
//! | lists of long runs | [`Rule::Lists`]: each run is in the list of its bin, and links lead back |
//! | counters | [`Rule::Summary`] of the set of bins, [`Rule::FreeCounters`], [`Rule::ClassCounters`], [`Rule::LiveBlocks`] |
//!
//! A part assumes that the parts before found no broken rule. If metadata is damaged between two steps, the check may
//! name a wrong rule, but no step panics or takes longer.

use crate::{
    check::{
        Broken,
        Progress,
        RUN_LOGS,
        Rule,
        STEP,
        Walk, //
    },
    extent::{
        bins::{
            BINS,
            LONG,
            SHORT_BINS,
            bin_of, //
        },
        class::{
            CLASSES,
            Class, //
        },
        counts::{
            LOGS,
            order_of, //
        },
        heap::Heap,
        place::{
            Granule,
            PAGE_GRANULES,
            Run, //
        },
        runs::Runs,
    },
    region::REGIONS_MAX,
};

/// The first part that visits the rows of a region. The parts before visit the runs of one region each.
const ROW_PARTS: usize = REGIONS_MAX;

/// The first part that visits the levels above the rows of a region.
const SUMMARY_PARTS: usize = ROW_PARTS + REGIONS_MAX;

/// The first part that visits a list of long runs.
const LIST_PARTS: usize = SUMMARY_PARTS + REGIONS_MAX;

/// The last part, which compares counters.
const COUNTERS: usize = LIST_PARTS + BINS - SHORT_BINS;

const _: () = assert!(LOGS == RUN_LOGS);

/// The pages that share a word of each row.
const GROUP: usize = 64;

/// Returns an error with a broken rule and the offset of a granule.
fn broken<T>(rule: Rule, at: Option<Granule>) -> Result<T, Broken> {
    Err(Broken {
        rule,
        class: None,
        offset: at.map(Granule::offset),
    })
}

impl Heap {
    /// Checks the next part: up to [`STEP`] pages, runs or words, or one entry with more of them.
    pub(super) fn check_step(&mut self, walk: &mut Walk) -> Result<Progress, Broken> {
        match walk.part {
            0..ROW_PARTS => self.check_runs(walk)?,
            ROW_PARTS..SUMMARY_PARTS => self.runs.check_rows(walk)?,
            SUMMARY_PARTS..LIST_PARTS => self.runs.check_summaries(walk)?,
            LIST_PARTS..COUNTERS => self.runs.check_lists(walk)?,
            _ => {
                self.check_counters(walk)?;
                return Ok(Progress::Sound);
            }
        }
        Ok(Progress::More)
    }

    /// Checks the runs of a region. `walk.place` is the next granule at which a run or a page begins, and `walk.seen`
    /// the end of the last run.
    fn check_runs(&self, walk: &mut Walk) -> Result<(), Broken> {
        let region = walk.part;
        let granules = self.runs.tables.pages(region) * PAGE_GRANULES;
        for _ in 0..STEP {
            if walk.place >= granules {
                walk.next_part();
                return Ok(());
            }
            let at = Granule::new(region, walk.place);
            if walk.place >= walk.seen {
                let run = self.check_run(walk, at, granules)?;
                walk.seen = run.end();
            } else {
                let desc = self.runs.tables.desc(region, at.page());
                let begin = desc.and_then(|desc| desc.next_begin(0));
                // No run begins inside of the last run.
                if begin.is_some_and(|begin| walk.place + begin < walk.seen) {
                    return broken(Rule::Partition, Some(at));
                }
            }
            // The next run, or the next page of this run.
            let next_page = (at.page() + 1) * PAGE_GRANULES;
            walk.place = walk.seen.min(next_page);
            walk.walked += 1;
        }
        Ok(())
    }

    /// Checks the run that must begin at a granule, in a region of so many granules.
    fn check_run(&self, walk: &mut Walk, at: Granule, granules: usize) -> Result<Run, Broken> {
        let tables = &self.runs.tables;
        let run = tables
            .run(at)
            .filter(|run| (1..=granules - at.index()).contains(&run.len));
        let Some(run) = run else {
            return broken(Rule::Partition, Some(at));
        };
        let last = Granule::new(at.region(), at.index() + run.len - 1);
        // The descriptor of the last page names the beginning.
        if last.page() > at.page()
            && tables
                .desc(last.region(), last.page())
                .map(|desc| desc.head())
                != Some(at.index())
        {
            return broken(Rule::Partition, Some(at));
        }
        let sums = &mut walk.sums;
        if !tables.begins_free(at) {
            sums.allocated_granules += run.len;
            match Class::of_granules(run.len) {
                Some(class) => sums.objects[class.index()] += 1,
                None => {
                    if let Some(blocks) = sums.large_blocks.get_mut(order_of(run.len)) {
                        *blocks += 1;
                    }
                }
            }
            return Ok(run);
        }
        let behind = Granule::new(at.region(), run.end());
        if run.end() < granules && tables.begins_free(behind) {
            return broken(Rule::Merged, Some(behind));
        }
        sums.free_granules += run.len;
        sums.long_runs += usize::from(run.len >= LONG);
        if run.len < PAGE_GRANULES {
            sums.sub_page_granules += run.len;
        }
        if let Some(runs) = sums.free_runs.get_mut(run.len.ilog2() as usize) {
            *runs += 1;
        }
        Ok(run)
    }

    /// Compares the counters with the sums over the visited runs.
    fn check_counters(&self, walk: &Walk) -> Result<(), Broken> {
        let sums = &walk.sums;
        if !self.runs.bins.equals(|bin| self.runs.has_run(bin)) {
            return broken(Rule::Summary, None);
        }
        let free = &self.runs.free_counts;
        let runs = free.runs.iter().zip(&sums.free_runs);
        if (free.granules, free.sub_page_granules) != (sums.free_granules, sums.sub_page_granules)
            || !runs
                .map(|(counted, found)| (*counted, *found as usize))
                .all(|(a, b)| a == b)
        {
            return broken(Rule::FreeCounters, None);
        }
        for class in Class::all() {
            if self.blocks.classes[class.index()] as u64 != sums.objects[class.index()] {
                return Err(Broken {
                    rule: Rule::ClassCounters,
                    class: Some(class.number()),
                    offset: None,
                });
            }
        }
        let mut orders = self.blocks.orders.iter().zip(&sums.large_blocks);
        let blocks: u64 = sums.objects[..CLASSES].iter().sum();
        let large: u64 = sums
            .large_blocks
            .iter()
            .map(|blocks| u64::from(*blocks))
            .sum();
        if !orders.all(|(counted, found)| *counted == *found as usize)
            || self.allocated_blocks as u64 != blocks + large
            || self.allocated_granules != sums.allocated_granules
        {
            return broken(Rule::LiveBlocks, None);
        }
        Ok(())
    }
}

impl Runs {
    /// Compares the lowest level of the rows with the free runs of the pages. `walk.place` is the next group of pages.
    fn check_rows(&self, walk: &mut Walk) -> Result<(), Broken> {
        let region = walk.part - ROW_PARTS;
        let mut visited = 0;
        while visited < STEP {
            let first = walk.place * GROUP;
            let Some((shape, words)) = self.tables.rows(region) else {
                walk.next_part();
                return Ok(());
            };
            if first >= self.tables.pages(region) {
                walk.next_part();
                return Ok(());
            }
            let mut expected = [0_u64; SHORT_BINS];
            for page in first..first + GROUP {
                visited += 1;
                let Some(desc) = self.tables.desc(region, page) else {
                    continue;
                };
                for (_, len) in desc.free_runs(page) {
                    visited += 1;
                    if (1..LONG).contains(&len) {
                        expected[bin_of(len)] |= 1 << (page % GROUP);
                    }
                }
            }
            for (bin, expected) in expected.iter().enumerate() {
                let row = shape.level(words, bin, 0);
                let wrong = expected ^ row.get(walk.place).copied().unwrap_or(!expected);
                if wrong != 0 {
                    let page = first + wrong.trailing_zeros() as usize;
                    return broken(
                        Rule::Lists,
                        Some(Granule::new(region, page * PAGE_GRANULES)),
                    );
                }
            }
            walk.place += 1;
            walk.walked += GROUP as u64;
        }
        Ok(())
    }

    /// Compares each level of the rows with the level below. `walk.place` is the next bin, and `walk.seen` the next word
    /// among those of all levels above the lowest.
    fn check_summaries(&self, walk: &mut Walk) -> Result<(), Broken> {
        let region = walk.part - SUMMARY_PARTS;
        // A word has a bit for each of up to 64 words below.
        for _ in 0..STEP / 64 {
            let rows = self.tables.rows(region).filter(|_| walk.place < SHORT_BINS);
            let Some((shape, words)) = rows else {
                walk.next_part();
                return Ok(());
            };
            let Some((word, below)) = shape.summary(words, walk.place, walk.seen) else {
                walk.place += 1;
                walk.seen = 0;
                continue;
            };
            let bits = below.iter().enumerate();
            let expected: u64 = bits.map(|(bit, word)| u64::from(*word != 0) << bit).sum();
            if word != expected {
                return broken(Rule::Summary, Some(Granule::new(region, 0)));
            }
            walk.seen += 1;
            walk.walked += 1;
        }
        Ok(())
    }

    /// Checks a list of long runs. `walk.seen` is the number of visited entries, and `walk.place` the link to the next
    /// entry.
    fn check_lists(&self, walk: &mut Walk) -> Result<(), Broken> {
        for _ in 0..STEP {
            let bin = walk.part - LIST_PARTS + SHORT_BINS;
            let link = match walk.seen {
                0 => self.long.get(walk.part - LIST_PARTS).copied().unwrap_or(0),
                _ => walk.place as u32,
            };
            let Some(bits) = link.checked_sub(1) else {
                walk.next_part();
                if walk.part < COUNTERS {
                    continue;
                }
                // Each entry is a long run of its own, so the numbers are equal if no run is missing.
                if walk.sums.listed != walk.sums.long_runs {
                    return broken(Rule::Lists, None);
                }
                return Ok(());
            };
            let start = Granule::from_bits(bits);
            let len = self.tables.run(start).map_or(0, |run| run.len);
            if !self.tables.begins_free(start) || len < LONG || bin_of(len) != bin {
                return broken(Rule::Lists, Some(start));
            }
            let links = self.links(link);
            // If the next entry of each entry links back to the entry, and the first entry links back to none, the
            // entries of a list are all different, so the list ends.
            if (links.next != 0 && self.links(links.next).prev != link)
                || (walk.seen == 0 && links.prev != 0)
            {
                return broken(Rule::Lists, Some(start));
            }
            walk.seen += 1;
            walk.sums.listed += 1;
            walk.walked += 1;
            walk.place = links.next as usize;
        }
        Ok(())
    }

    /// Returns whether a bin has a run. O(regions).
    fn has_run(&self, bin: usize) -> bool {
        if bin >= SHORT_BINS {
            return self
                .long
                .get(bin - SHORT_BINS)
                .is_some_and(|first| *first != 0);
        }
        (0..REGIONS_MAX).any(|region| self.tables.find(region, bin, false).is_some())
    }
}
