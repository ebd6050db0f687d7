// SPDX-License-Identifier: GPL-2.0

//! The buddy system.
//!
//! Knuth's (The Art of Computer Programming 1, 2.5), with what Linux's page allocator adds: the
//! state of a buddy is read off its frame instead of looked for in a list, so a free costs one step
//! for each order that it merges; a bitmap of the orders that have blocks finds the smallest that
//! is large enough at once. Three changes. Blocks are cut to whole pages and what is over goes back
//! (as in Linux's `alloc_pages_exact`), and is used again by [`runs`](super::runs). Buddies are told
//! by their place in the region, not by address, so what fits does not depend on where the pool
//! lies. And a free does a few steps at most: what it leaves is on its way up, and goes on with the
//! next ones, or arrives before anything is allocated (after Barkley and Lee, A Lazy Buddy System
//! Bounded by Two Coalescences per Operation, 1989, who put off more, for speed).

use super::{
    frames::{
        Frames,
        Kind,
        Page,
        REGION_PAGES_SHIFT, //
    },
    links::{
        Linker,
        List, //
    },
};

/// The number of orders: blocks of 2⁰ to 2²⁰ pages.
pub(super) const ORDERS: usize = REGION_PAGES_SHIFT as usize + 1;

/// What an operation did on its way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Work {
    /// Blocks that were split into halves.
    pub(super) splits: u16,
    /// Pairs of halves that became a block.
    pub(super) merges: u16,
}

/// From which end of a larger block pages are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// From the beginning: what may grow has what is free behind it.
    Low,
    /// From the end: what does not grow is out of its way.
    High,
}

/// The free blocks, by order.
///
/// # Invariants
///
/// - A block is in the list of its order, or it is on its way up, if and only if its frame says so.
/// - No two buddies are both free, unless one of them is on its way up.
/// - Bit `n` of `orders` is set if and only if list `n` has blocks.
/// - `free_pages` is what all of them have together.
#[derive(Debug, Default)]
pub(super) struct Buddy {
    lists: [List; ORDERS],
    orders: u32,
    free_pages: usize,
    /// Free blocks that are on their way up: they may merge further.
    rising: [Block; RISING],
    /// How many these are: the first ones of `rising`.
    risers: usize,
}

/// A block of 2^`order` pages.
#[derive(Clone, Copy, Debug, Default)]
struct Block {
    page: Page,
    order: u32,
}

/// The steps that are done for each block that is given back: a merge is one, and to put what came
/// of it into its list is another. To free every other block of many, and then the rest, takes three
/// for each on average.
const STEPS: u32 = 3;

/// More steps than there are for all blocks together that are on their way up.
const MANY_STEPS: u32 = 1 << 16;

/// The most blocks that are on their way up. With a further one, all of them arrive at once.
const RISING: usize = 8;

/// Returns the smallest order whose blocks have `pages` pages.
#[inline]
pub(super) const fn order_of(pages: usize) -> u32 {
    usize::BITS - pages.saturating_sub(1).leading_zeros()
}

impl Buddy {
    /// Returns a buddy system without pages.
    pub(super) const fn new() -> Self {
        Self {
            lists: [List::EMPTY; ORDERS],
            orders: 0,
            free_pages: 0,
            rising: [Block {
                page: Page::new(0, 0),
                order: 0,
            }; RISING],
            risers: 0,
        }
    }

    /// Returns the pages of all free blocks.
    pub(super) fn free_pages(&self) -> usize {
        self.free_pages
    }

    /// Returns the free blocks of an order.
    pub(super) fn list(&self, order: usize) -> &List {
        &self.lists[order]
    }

    /// Lends the lists, the bitmap and the counter, to be damaged.
    #[cfg(test)]
    pub(super) fn damage(&mut self) -> (&mut [List; ORDERS], &mut u32, &mut usize) {
        (&mut self.lists, &mut self.orders, &mut self.free_pages)
    }

    /// Returns how unusable the free pages are for blocks of `order`: near 0 because there are few,
    /// near 1000 because they are in many pieces.
    ///
    /// Linux's fragmentation index (`__fragmentation_index` in `mm/vmstat.c`), which is not below 0
    /// here.
    pub(super) fn fragmentation(&self, order: u32) -> u16 {
        let blocks: u64 = self.lists.iter().map(|list| u64::from(list.len)).sum();
        let whole = (self.free_pages as u64 * 1000) >> order;
        (1000 + whole)
            .checked_div(blocks)
            .map_or(0, |each| 1000_u64.saturating_sub(each) as u16)
    }

    /// Says whether `orders` says what the lists say.
    pub(super) fn bitmap_is_right(&self) -> bool {
        let lists = self.lists.iter().enumerate();
        let bit = |(order, list): (usize, &List)| u32::from(list.first().is_some()) << order;
        self.orders == lists.map(bit).sum()
    }

    /// Puts a block into the list of its order.
    #[inline]
    fn insert(&mut self, frames: &mut Frames, page: Page, order: u32) {
        // INVARIANT: Frame, list and bit are all set here.
        if let Some(frame) = frames.get(page) {
            frame.set_listed(order);
        }
        frames.push(&mut self.lists[order as usize], page);
        self.orders |= 1 << order;
    }

    /// Takes a block out of the list of its order.
    #[inline]
    fn remove(&mut self, frames: &mut Frames, page: Page, order: u32) {
        // INVARIANT: As in `insert`, the other way.
        if let Some(frame) = frames.get(page) {
            frame.set_tail();
        }
        let list = &mut self.lists[order as usize];
        frames.unlink(list, page);
        if list.len == 0 {
            self.orders &= !(1 << order);
        }
    }

    /// Takes `pages` pages in one piece, aligned to 2^`align_order` pages, and says where.
    ///
    /// The caller says what becomes of them: until then their head is none.
    #[inline]
    pub(super) fn allocate(
        &mut self,
        frames: &mut Frames,
        pages: usize,
        align_order: u32,
        end: End,
        work: &mut Work,
    ) -> Option<Page> {
        let order = order_of(pages).max(align_order);
        if order > REGION_PAGES_SHIFT {
            return None;
        }
        // So no block is split where a smaller one is about to be there.
        self.settle(frames, work);
        let candidates = self.orders >> order;
        if candidates == 0 {
            return None;
        }
        self.free_pages -= pages;
        let mut found = order + candidates.trailing_zeros();
        let mut page = self.lists[found as usize].first()?;
        self.remove(frames, page, found);
        while found > order {
            found -= 1;
            work.splits += 1;
            let upper = page.after(1 << found);
            match end {
                End::Low => self.insert(frames, upper, found),
                End::High => {
                    self.insert(frames, page, found);
                    page = upper;
                }
            }
        }
        // What is over goes back in blocks as large as their place allows. None of them can merge:
        // the buddy of each has the pages that are kept, or is split. The end of what is kept lies
        // in one block of each order down to that of which it is a multiple.
        work.splits += (order - pages.trailing_zeros()) as u16;
        let mut rest = pages;
        while rest < 1 << order {
            let order = rest.trailing_zeros();
            self.insert(frames, page.after(rest), order);
            rest += 1 << order;
        }
        Some(page)
    }

    /// Gives `pages` pages from `page` on back, or gives them for the first time.
    ///
    /// Takes a bounded number of steps for each block that they are cut into.
    #[inline]
    pub(super) fn release(
        &mut self,
        frames: &mut Frames,
        page: Page,
        pages: usize,
        work: &mut Work,
    ) {
        self.free_pages += pages;
        if pages.is_power_of_two() && page.index() % pages == 0 {
            let order = pages.trailing_zeros();
            return self.rise(frames, Block { page, order }, work);
        }
        self.release_in_blocks(frames, page, pages, work);
    }

    /// Does the work of [`Buddy::release`] for what is not one block.
    #[inline(never)]
    fn release_in_blocks(
        &mut self,
        frames: &mut Frames,
        page: Page,
        pages: usize,
        work: &mut Work,
    ) {
        let (mut index, end) = (page.index(), page.index() + pages);
        while index < end {
            let fits = (end - index).ilog2();
            let order = fits.min((index | 1 << REGION_PAGES_SHIFT).trailing_zeros());
            let page = Page::new(page.region(), index);
            self.rise(frames, Block { page, order }, work);
            index += 1 << order;
        }
    }

    /// Merges a block, which is in no list, as far as a few steps go.
    #[inline(always)]
    fn rise(&mut self, frames: &mut Frames, block: Block, work: &mut Work) {
        let steps = if self.risers < RISING {
            STEPS
        } else {
            MANY_STEPS
        };
        self.climb(frames, block, steps, work);
    }

    /// Has every block that is on its way up arrive.
    #[inline]
    pub(super) fn settle(&mut self, frames: &mut Frames, work: &mut Work) {
        if let Some(block) = self.next_riser() {
            self.climb(frames, block, MANY_STEPS, work);
        }
    }

    /// Takes the block that was put last out of those that are on their way up.
    #[inline]
    fn next_riser(&mut self) -> Option<Block> {
        let last = self.risers.checked_sub(1)?;
        let block = *self.rising.get(last)?;
        self.risers = last;
        Some(block)
    }

    /// Merges a block, which is in no list, with its buddy as long as that is free, and puts it into
    /// a list; then goes on with those that are on their way up. After `steps` steps, what it is at
    /// is one of these.
    #[inline(never)]
    fn climb(&mut self, frames: &mut Frames, mut block: Block, mut steps: u32, work: &mut Work) {
        loop {
            let region = block.page.region();
            let linker = Linker::new(frames, region);
            let heads = linker.heads;
            while block.page.region() == region {
                let (mut index, mut order) = (block.page.index(), block.order);
                let most = order.wrapping_add(steps).min(REGION_PAGES_SHIFT);
                // Of those that were on their way up, the head may become another one.
                if let Some(head) = heads.get(index) {
                    head.set_tail();
                }
                while order < most {
                    let buddy = index ^ 1 << order;
                    // A buddy that is on its way up itself will find this one.
                    match heads.get(buddy) {
                        Some(head) if head.is_listed(order) => head.set_tail(),
                        _ => break,
                    }
                    // INVARIANT: Frame, list and bit.
                    let list = &mut self.lists[order as usize];
                    linker.unlink(list, buddy);
                    if list.len == 0 {
                        self.orders &= !(1 << order);
                    }
                    // The lower one's.
                    index &= buddy;
                    order += 1;
                }
                let merges = order.wrapping_sub(block.order);
                work.merges = work.merges.wrapping_add(merges as u16);
                steps = steps.wrapping_sub(merges);
                // There is one: the block is in the region, and what it became begins no later.
                let Some(head) = heads.get(index) else {
                    return;
                };
                if steps == 0 {
                    // INVARIANT: Frame and array. There is room, or there was no end of steps.
                    if let Some(place) = self.rising.get_mut(self.risers) {
                        let page = Page::new(region, index);
                        head.set_rising(order);
                        *place = Block { page, order };
                        self.risers = self.risers.wrapping_add(1);
                    }
                    return;
                }
                // INVARIANT: Frame, list and bit.
                if let Some(list) = self.lists.get_mut(order as usize) {
                    head.set_listed(order);
                    linker.push(list, index);
                    self.orders |= 1 << order;
                }
                steps -= 1;
                if steps == 0 {
                    return;
                }
                match self.next_riser() {
                    Some(next) => block = next,
                    None => return,
                }
            }
        }
    }

    /// Takes the `pages` pages from `page` on, if they are free, whatever blocks they are in.
    pub(super) fn take(
        &mut self,
        frames: &mut Frames,
        page: Page,
        pages: usize,
        work: &mut Work,
    ) -> bool {
        let end = page.index() + pages;
        if end > frames.pages(page.region()) {
            return false;
        }
        self.settle(frames, work);
        // The pages after a block begin free blocks, one after the other, or they are not free.
        let mut past = page.index();
        while past < end {
            let block = Page::new(page.region(), past);
            let Kind::Free { order } = frames.kind(block) else {
                return false;
            };
            past += 1 << order;
        }
        self.free_pages -= past - page.index();
        let mut index = page.index();
        while index < end {
            let block = Page::new(page.region(), index);
            let Kind::Free { order } = frames.kind(block) else {
                return false;
            };
            self.remove(frames, block, order.into());
            index += 1 << order;
            if index > end {
                // As in `allocate`: the last block is split down to where its end is kept.
                work.splits += (u32::from(order) - (index - end).trailing_zeros()) as u16;
            }
        }
        if past > end {
            self.release(frames, Page::new(page.region(), end), past - end, work);
        }
        true
    }
}
