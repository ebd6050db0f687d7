// SPDX-License-Identifier: GPL-2.0

//! The fast path: to pop off a magazine of the CPU, and to push onto one.
//!
//! What it cannot do goes to [`refill`](super::refill). It counts instructions: the pages of the first
//! region are looked up without a search, and what is seldom is out of line.

use core::{
    alloc::Layout,
    ptr::NonNull, //
};

use super::{
    address::Addresses,
    engine::Hybrid,
    frames::Page,
    magazine::{
        Cache,
        Pages,
        Start,
        Stock,
        Told, //
    },
    state::State,
};
use crate::{
    class::{
        Class,
        PAGE_BYTES, //
    },
    cost::{
        Cost,
        Path, //
    },
    engine::{
        BadFree,
        Block, //
    },
    errand::{
        AtHand,
        Known, //
    },
    lock::Lock,
    platform::Platform,
};

impl<L: Lock<State> + Sync, P: Platform<Cache>> Hybrid<L, P> {
    /// Serves a request with what the CPU keeps.
    #[inline(always)]
    pub(super) fn take(&self, stock: Stock, told: Told) -> Option<Start> {
        self.platform
            .try_pinned(|cache| cache.allocate(stock, told))?
    }

    /// Has the CPU keep a block of this size, and says whether it does.
    #[inline(always)]
    pub(super) fn put(&self, stock: Stock, start: Start, told: Told) -> bool {
        self.platform
            .try_pinned(|cache| cache.release(stock, start, told))
            .unwrap_or(false)
    }

    /// Has the CPU keep a block of this size, or returns how many it may keep if it does not.
    #[inline]
    pub(super) fn offer(&self, stock: Stock, start: Start, told: Told) -> Result<(), usize> {
        let offered = self.platform.try_pinned(|cache| {
            let put = cache.release(stock, start, told);
            put.then_some(()).ok_or_else(|| cache.capacity(stock))
        });
        // Where CPUs keep nothing, or this one has to wait, there is no room to be made.
        offered.unwrap_or(Err(stock.most()))
    }

    /// Has the CPU keep an object of the first region, and returns its class if it does.
    ///
    /// What is no object does not get into a magazine.
    ///
    /// # Safety
    ///
    /// As for [`Engine::release`](crate::Engine::release).
    #[inline(always)]
    pub(super) unsafe fn put_object(
        &self,
        start: Start,
        layout: &Layout,
        told: Told,
    ) -> Option<Class> {
        // SAFETY: What is released was handed out.
        let class = unsafe { self.addresses.object_in_first(start, layout) }?;
        self.put(Stock::Class(class), start, told).then_some(class)
    }

    /// Says whether a block of this size begins here.
    #[inline]
    pub(super) fn is_block(&self, stock: Stock, start: Start) -> bool {
        let found = self.addresses.find(start);
        found.is_some_and(|(byte, frame)| match stock {
            Stock::Class(class) => frame.has_object(class, byte),
            Stock::Pages(pages) => byte % PAGE_BYTES == 0 && frame.is_large(pages.count()),
        })
    }

    /// Allocates memory for `layout`, of which the size may be 0, or says that there is none.
    ///
    /// For those who want memory and no account of it: the engine does not count how many bytes
    /// were asked for. What was allocated so is to be given to [`Hybrid::free`].
    #[inline(always)]
    pub fn alloc(&self, layout: Layout) -> Option<NonNull<u8>> {
        let Some(class) = Class::of(&layout) else {
            return self.alloc_pages(layout);
        };
        match self.take(Stock::Class(class), None) {
            Some(start) => Some(start),
            None => self.alloc_from_heap(layout),
        }
    }

    /// Does the work of [`Hybrid::alloc`] for whole pages.
    #[inline(never)]
    fn alloc_pages(&self, layout: Layout) -> Option<NonNull<u8>> {
        let start = Pages::of(&layout).and_then(|pages| self.take(Stock::Pages(pages), None));
        match start {
            Some(start) => Some(start),
            None => self.alloc_from_heap(layout),
        }
    }

    #[cold]
    #[inline(never)]
    fn alloc_from_heap(&self, layout: Layout) -> Option<NonNull<u8>> {
        let block = self.allocate_from_heap(layout, None, &mut Cost::default());
        Some(block.ok()?.start)
    }

    /// Takes memory back.
    ///
    /// # Errors
    ///
    /// What is wrong with the free; nothing has happened then.
    ///
    /// # Safety
    ///
    /// As for [`Engine::release`](crate::Engine::release).
    #[inline(always)]
    pub unsafe fn free(&self, start: NonNull<u8>, layout: Layout) -> Result<(), BadFree> {
        // SAFETY: By this function's contract.
        if unsafe { self.free_at_once(start, layout) } {
            return Ok(());
        }
        // SAFETY: As above.
        unsafe { self.free_pages(start, layout) }
    }

    /// Takes memory back if there is hardly anything to do, and says whether there was. If not,
    /// nothing has happened, and [`Hybrid::free`] does it.
    ///
    /// # Safety
    ///
    /// As for [`Engine::release`](crate::Engine::release).
    #[inline(always)]
    #[must_use]
    pub unsafe fn free_at_once(&self, start: NonNull<u8>, layout: Layout) -> bool {
        // SAFETY: By this function's contract.
        unsafe { self.put_object(start, &layout, None) }.is_some()
    }

    /// Does the work of [`Hybrid::free`] for whole pages.
    ///
    /// # Safety
    ///
    /// As for [`Engine::release`](crate::Engine::release).
    #[inline(never)]
    unsafe fn free_pages(&self, start: Start, layout: Layout) -> Result<(), BadFree> {
        let Some(pages) = Pages::of(&layout) else {
            return self.free_block(start, layout);
        };
        // SAFETY: What is released was handed out.
        let Some((byte, frame)) = (unsafe { self.addresses.find_in_first(start) }) else {
            return self.free_block(start, layout);
        };
        if byte % PAGE_BYTES != 0 || !frame.is_large(pages.count()) {
            return self.free_block(start, layout);
        }
        let page = Page::new(0, byte / PAGE_BYTES);
        match self.offer(Stock::Pages(pages), start, None) {
            Ok(()) => Ok(()),
            Err(capacity) => self.free_past_magazine(start, page, pages, capacity),
        }
    }
}

/// What the CPU keeps, to which the caller is kept.
pub(super) struct Own<'a> {
    pub(super) cache: &'a Cache,
    pub(super) addresses: &'a Addresses,
}

// SAFETY: What magazines have is the engine's, and objects of classes, which are aligned to 8 bytes
// and multiples of them.
unsafe impl AtHand for Own<'_> {
    type Size = Class;

    #[inline(always)]
    fn size(&self, layout: Layout) -> Option<Class> {
        Class::of(&layout)
    }

    #[inline(always)]
    fn usable(&self, class: Class) -> usize {
        class.bytes()
    }

    #[inline(always)]
    fn allocate(&self, class: Class, layout: Layout) -> Option<(Block, Cost)> {
        let stock = Stock::Class(class);
        let start = self.cache.allocate(stock, Some(layout.size()))?;
        // SAFETY: A block that is kept was handed out.
        let block = unsafe { self.addresses.block_in_first(start) };
        let block = block.unwrap_or_else(|| self.addresses.block_at(start));
        Some((block, kept(stock)))
    }

    #[inline(always)]
    fn known(&self, class: Class) -> Known {
        class.into()
    }

    #[inline(always)]
    unsafe fn release(&self, block: Block, layout: Layout, known: Option<Known>) -> Option<Cost> {
        let class = match known {
            // SAFETY: By this function's contract it was made of a class.
            Some(known) => unsafe { Class::from_known(known) },
            // SAFETY: What is released was handed out.
            None => unsafe { self.addresses.object_in_first(block.start, &layout) }?,
        };
        let stock = Stock::Class(class);
        self.cache
            .release(stock, block.start, Some(layout.size()))
            .then_some(kept(stock))
    }
}

/// Returns the cost of what a magazine served, or took back.
#[inline(always)]
pub(super) fn kept(stock: Stock) -> Cost {
    Cost::new(Path::Magazine).with_class(stock.class().map(Class::number))
}
