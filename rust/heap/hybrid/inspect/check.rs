// SPDX-License-Identifier: GPL-2.0

//! The check of a [`Heap`].
//!
//! First the check visits the pages of each region: the blocks must cover the region without gaps, and the
//! bitmap of each slab must agree with its page descriptor. Then the check visits the lists: each entry must
//! belong to its list, and the lists together must have as many entries as there are free blocks and partial
//! slabs, so that no block or slab is missing. The lists of free bitmaps are visited in the same way. Last, the check compares the counters with the sums over the
//! visited pages and lists.

use crate::hybrid::{
    bitmaps::{
        Place,
        SIZES,
        Size, //
    },
    buddy::{
        Buddy,
        ORDERS,
        order_of, //
    },
    heap::Heap,
    page::{
        Link,
        List,
        Page,
        PageKind,
        REGION_PAGES_SHIFT, //
    },
    slab::{
        is_partial,
        object_bits, //
    },
};
use crate::{
    check::{
        Broken,
        Progress,
        Rule,
        STEP,
        Sums,
        Walk, //
    },
    region::REGIONS_MAX,
    size_class::{
        CLASSES,
        Class, //
    },
};

/// The first part that visits a list of free blocks. The parts before visit one region each.
const ORDER_PARTS: usize = REGIONS_MAX;

/// The first part that visits a list of partial slabs.
const SLAB_PARTS: usize = ORDER_PARTS + ORDERS;

/// The first part that visits a list of free bitmaps.
const BITMAP_PARTS: usize = SLAB_PARTS + CLASSES;

/// The last part, which compares counters.
const COUNTERS: usize = BITMAP_PARTS + SIZES;

/// Returns an error with a broken rule, a class and the offset of a page.
fn broken<T>(rule: Rule, class: Option<Class>, page: Option<Page>) -> Result<T, Broken> {
    Err(Broken {
        rule,
        class: class.map(Class::number),
        offset: page.map(|page| page.offset(0)),
    })
}

impl Heap {
    /// Checks up to [`STEP`] pages or list entries of the next part.
    pub(super) fn check_step(&mut self, walk: &mut Walk) -> Result<Progress, Broken> {
        match walk.part {
            0..ORDER_PARTS => self.check_blocks(walk)?,
            ORDER_PARTS..SLAB_PARTS => {
                let order = walk.part - ORDER_PARTS;
                let list = *self.buddy.lists.get(order).unwrap_or(&List::EMPTY);
                let member = |kind| kind == PageKind::Free { order: order as u8 };
                self.check_list(walk, &list, None, member)?;
            }
            SLAB_PARTS..BITMAP_PARTS => {
                let number = walk.part - SLAB_PARTS;
                let list = self.classes[number].partial;
                let class = Class::new(number as u8);
                let member = |kind| match kind {
                    PageKind::Slab { class: own, used } => {
                        Some(own) == class && is_partial(own, used.into())
                    }
                    _ => false,
                };
                self.check_list(walk, &list, class, member)?;
            }
            BITMAP_PARTS..COUNTERS => {
                if let Some(size) = Size::all().nth(walk.part - BITMAP_PARTS) {
                    self.check_free_bitmaps(walk, size)?;
                }
            }
            _ => {
                self.check_counters(walk)?;
                return Ok(Progress::Sound);
            }
        }
        Ok(Progress::More)
    }

    /// Checks the blocks of a region. `walk.place` is the next page, and `walk.seen` the end of its block.
    fn check_blocks(&mut self, walk: &mut Walk) -> Result<(), Broken> {
        let region = walk.part;
        let pages = self.buddy.metadata.pages(region);
        for _ in 0..STEP {
            if walk.place >= pages {
                walk.next_part();
                return Ok(());
            }
            let page = Page::new(region, walk.place);
            if walk.place < walk.seen {
                self.check_tail(page)?;
            } else {
                let end = walk.place + self.check_block(walk, page)?;
                if end > pages {
                    return broken(Rule::Partition, None, Some(page));
                }
                walk.seen = end;
            }
            walk.place += 1;
            walk.walked += 1;
        }
        Ok(())
    }

    /// Checks a page of a block that is not the block's first page.
    fn check_tail(&self, page: Page) -> Result<(), Broken> {
        match self.buddy.metadata.kind(page) {
            PageKind::Interior => Ok(()),
            PageKind::SlabTail {
                class,
                pages_before,
            } => {
                let head = usize::from(pages_before);
                let first =
                    (head <= page.index()).then(|| self.buddy.metadata.kind(page.before(head)));
                match first {
                    Some(PageKind::Slab { class: own, .. })
                        if own == class && head < class.pages() =>
                    {
                        Ok(())
                    }
                    _ => broken(Rule::Partition, None, Some(page)),
                }
            }
            _ => broken(Rule::Partition, None, Some(page)),
        }
    }

    /// Checks a block, and returns its number of pages.
    fn check_block(&mut self, walk: &mut Walk, page: Page) -> Result<usize, Broken> {
        match self.buddy.metadata.kind(page) {
            PageKind::Interior | PageKind::SlabTail { .. } => {
                broken(Rule::Partition, None, Some(page))
            }
            PageKind::Large { pages: 0 } => broken(Rule::Partition, None, Some(page)),
            PageKind::Large { pages } => {
                let pages = pages as usize;
                walk.sums.large_pages += pages;
                if let Some(blocks) = walk.sums.large_blocks.get_mut(order_of(pages) as usize) {
                    *blocks += 1;
                }
                Ok(pages)
            }
            PageKind::Free { order } => {
                let (index, order) = (page.index(), u32::from(order));
                if order > REGION_PAGES_SHIFT || index.trailing_zeros() < order {
                    return broken(Rule::FreeBlocks, None, Some(page));
                }
                let buddy = index ^ 1 << order;
                if order < REGION_PAGES_SHIFT
                    && self.buddy.metadata.kind(Page::new(page.region(), buddy))
                        == self.buddy.metadata.kind(page)
                {
                    return broken(Rule::Merged, None, Some(page));
                }
                walk.sums.free_blocks += 1;
                walk.sums.free_pages += 1 << order;
                Ok(1 << order)
            }
            PageKind::Slab { class, used } => {
                self.check_slab(walk, page, class, used)?;
                Ok(class.pages())
            }
        }
    }

    /// Checks a slab.
    fn check_slab(
        &mut self,
        walk: &mut Walk,
        page: Page,
        class: Class,
        used: u16,
    ) -> Result<(), Broken> {
        let fits = page.index() + class.pages() <= self.buddy.metadata.pages(page.region());
        let is_tail = |pages_before: usize| {
            let tail = PageKind::SlabTail {
                class,
                pages_before: pages_before as u8,
            };
            self.buddy.metadata.kind(page.after(pages_before)) == tail
        };
        if !fits || !(1..class.pages()).all(is_tail) {
            return broken(Rule::Partition, Some(class), Some(page));
        }
        let (number, used) = (class.index(), usize::from(used));
        if used > class.objects() || self.allocated_objects(class, page) != Some(used) {
            return broken(Rule::Bitmap, Some(class), Some(page));
        }
        if let Some(size) = Size::of(class) {
            let place = self.buddy.metadata.word(page).map_or(0, |word| *word);
            walk.sums.bitmaps[size.index()] += 1;
            walk.sums.bitmap_places = walk.sums.bitmap_places.wrapping_add(place);
        }
        walk.sums.slabs[number] += 1;
        walk.sums.objects[number] += used as u64;
        walk.sums.partial += usize::from(is_partial(class, used));
        if used == 0 && self.classes[number].empty != Some(page) {
            return broken(Rule::Lists, Some(class), Some(page));
        }
        Ok(())
    }

    /// Checks a list. `member` must return `true` for each entry. `walk.seen` is the number of visited
    /// entries, and `walk.place` the link to the next entry.
    fn check_list(
        &self,
        walk: &mut Walk,
        list: &List,
        class: Option<Class>,
        member: impl Fn(PageKind) -> bool,
    ) -> Result<(), Broken> {
        let mut next = match walk.seen {
            0 => list.first(),
            _ => Link(walk.place as u32).into(),
        };
        for _ in 0..STEP {
            let Some(page) = next else {
                if walk.seen != list.len as usize {
                    return broken(Rule::ListLength, class, None);
                }
                walk.sums.listed += walk.seen;
                walk.next_part();
                return Ok(());
            };
            if !member(self.buddy.metadata.kind(page)) {
                return broken(Rule::Lists, class, Some(page));
            }
            if walk.seen == list.len as usize {
                return broken(Rule::ListLength, class, Some(page));
            }
            let links = self.buddy.metadata.links(page).unwrap_or_default();
            next = links.next.into();
            // If the next entry of each entry links back to the entry, no other list shares the entries.
            let back = next.map(|next| self.buddy.metadata.links(next).unwrap_or_default().prev);
            if back.is_some_and(|back| back != Some(page).into())
                || (walk.seen == 0 && links.prev != Link::default())
            {
                return broken(Rule::Lists, class, Some(page));
            }
            walk.seen += 1;
            walk.walked += 1;
            walk.place = Link::from(next).0 as usize;
        }
        // If the list ends here, the next step finds the end.
        Ok(())
    }

    /// Checks the list of free bitmaps of a size. `walk.seen` is the number of visited bitmaps, `walk.place` the place of
    /// the next one, and `walk.sums.free_places` the sum of their places.
    fn check_free_bitmaps(&mut self, walk: &mut Walk, size: Size) -> Result<(), Broken> {
        let bitmaps = &mut self.buddy.metadata.bitmaps;
        let list = bitmaps.free[size.index()];
        let mut next = match walk.seen {
            0 => list.first,
            _ => Place(walk.place as u64),
        };
        for _ in 0..STEP {
            if walk.seen == list.len as usize {
                if next != Place::NONE || walk.sums.free_places != list.places {
                    return broken(Rule::Bitmap, None, None);
                }
                walk.sums.free_places = 0;
                walk.next_part();
                return Ok(());
            }
            let Some(bitmap) = bitmaps.get(next, size) else {
                return broken(Rule::Bitmap, None, None);
            };
            walk.sums.free_places = walk.sums.free_places.wrapping_add(next.0);
            next = Place(bitmap[0]);
            walk.seen += 1;
            walk.walked += 1;
            walk.place = next.0 as usize;
        }
        Ok(())
    }

    /// Returns whether each bitmap in bitmap memory is in use by one slab, or free. If two slabs had the same bitmap, the
    /// sum of the places would be another one.
    fn agrees_with_bitmaps(&self, sums: &Sums) -> bool {
        let bitmaps = &self.buddy.metadata.bitmaps;
        (bitmaps.used, bitmaps.places) == (sums.bitmaps, sums.bitmap_places)
            && bitmaps.agrees_with_cells()
    }

    /// Compares the counters with the sums over the visited pages and lists.
    fn check_counters(&self, walk: &Walk) -> Result<(), Broken> {
        let sums = &walk.sums;
        if sums.listed != sums.free_blocks + sums.partial {
            return broken(Rule::Lists, None, None);
        }
        if !self.buddy.agrees_with_lists() || self.buddy.free_pages != sums.free_pages {
            return broken(Rule::BuddyCounters, None, None);
        }
        if !self.agrees_with_bitmaps(sums) {
            return broken(Rule::Bitmap, None, None);
        }
        for class in Class::all() {
            let number = class.index();
            let slabs = &self.classes[number];
            let empty = PageKind::Slab { class, used: 0 };
            if let Some(page) = slabs.empty {
                if self.buddy.metadata.kind(page) != empty {
                    return broken(Rule::Lists, Some(class), Some(page));
                }
            }
            let visited = (sums.slabs[number], sums.objects[number] as usize);
            if (slabs.slab_count, slabs.used) != visited {
                return broken(Rule::ClassCounters, Some(class), None);
            }
        }
        if let Some(class) = self.overborrowed(&sums.objects) {
            return broken(Rule::ClassCounters, Some(class), None);
        }
        if (self.large_blocks, self.large_pages) != (sums.large_blocks, sums.large_pages) {
            return broken(Rule::LiveBlocks, None, None);
        }
        let objects: u64 = sums.objects.iter().sum();
        let large_blocks: u32 = sums.large_blocks.iter().sum();
        if self.allocated_blocks != objects as usize + large_blocks as usize {
            return broken(Rule::LiveBlocks, None, None);
        }
        Ok(())
    }

    /// Returns the number of allocated objects in the bitmap of a slab, or `None` if a bit without an object
    /// is set.
    fn allocated_objects(&mut self, class: Class, slab: Page) -> Option<usize> {
        let mut live = 0;
        for (number, word) in self.buddy.metadata.bitmap(slab, class)?.iter().enumerate() {
            if word & !object_bits(class, number) != 0 {
                return None;
            }
            live += word.count_ones() as usize;
        }
        Some(live)
    }

    /// Returns a class for which `borrowed` is too large, if there is one: this class and the larger classes
    /// have together borrowed more objects than are live in the classes above this class.
    fn overborrowed(&self, objects: &[u64]) -> Option<Class> {
        let (mut borrowed, mut larger) = (0_u64, 0_u64);
        for number in (0..CLASSES).rev() {
            borrowed = borrowed.saturating_add(self.borrowed[number] as u64);
            if borrowed > larger {
                return Class::new(number as u8);
            }
            larger += objects.get(number).copied().unwrap_or(0);
        }
        None
    }
}

impl Buddy {
    /// Returns whether the bits that are set in `orders` are exactly the orders whose lists have blocks.
    pub(in crate::hybrid) fn agrees_with_lists(&self) -> bool {
        let lists = self.lists.iter().enumerate();
        let bit = |(order, list): (usize, &List)| u32::from(list.first().is_some()) << order;
        self.orders == lists.map(bit).sum()
    }
}
