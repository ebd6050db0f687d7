// SPDX-License-Identifier: GPL-2.0

//! Slabs: one to three pages that are cut into objects of one size class (Bonwick 1994).
//!
//! ```text
//!  page      │ object 0 │ object 1 │ object 2 │ … │        64 objects of 64 B
//!  bitmap     1          1          0           …          1: allocated: live, or in a magazine
//! ```
//!
//! The bitmap lies outside of the pool (see `page` and `bitmaps`), and no metadata is in the objects. A program that writes to a freed
//! object or past its end therefore damages no metadata, and a double free that reaches the slab is found.
//!
//! Objects come from the slab that became partial most recently. An empty slab returns its pages to the
//! buddy system, except for one of each class that is cached. The heap frees the cached slabs when a class needs a new
//! slab in a small pool, when the buddy system has no block for a request, in a shrink, before the second try of a resize, and when
//! nothing is allocated and several classes cache one.

use super::{
    buddy::{
        Buddy,
        End, //
    },
    page::{
        List,
        Page,
        PageKind, //
    },
};
use crate::{
    Offset, Path,
    engine::BadFree,
    size_class::{
        CLASSES,
        Class, //
    },
};

/// The slabs of a class.
///
/// # Invariants
///
/// - `partial` contains exactly the slabs with both allocated and free objects. `empty` is the only slab without
///   allocated objects.
/// - `slab_count` is the number of slabs, and `used` that of allocated objects.
pub(super) struct Slabs {
    class: Class,
    pub(super) partial: List,
    pub(super) empty: Option<Page>,
    // A pool has at most 16 regions of 2²⁰ pages.
    pub(super) slab_count: u32,
    pub(super) used: usize,
    /// Slabs that took pages from the buddy system.
    pub(super) growths: u64,
}

/// Returns whether a slab with `used` allocated objects has both allocated and free objects.
#[inline]
pub(super) const fn is_partial(class: Class, used: usize) -> bool {
    used > 0 && used < class.objects()
}

/// Returns the bits of word `word` of a bitmap that stand for objects.
#[inline]
pub(super) const fn object_bits(class: Class, word: usize) -> u64 {
    match class.objects().saturating_sub(word * 64) {
        64.. => u64::MAX,
        objects => (1 << objects) - 1,
    }
}

impl Slabs {
    /// Returns a `Slabs` without slabs for each class.
    pub(super) const fn of_all_classes() -> [Self; CLASSES] {
        let mut all = [const { Self::new(0) }; CLASSES];
        let mut number = 0;
        while number < CLASSES {
            all[number] = Self::new(number as u8);
            number += 1;
        }
        all
    }

    const fn new(number: u8) -> Self {
        let Some(class) = Class::new(number) else {
            panic!("the number is that of a class");
        };
        Self {
            class,
            partial: List::EMPTY,
            empty: None,
            slab_count: 0,
            used: 0,
            growths: 0,
        }
    }

    /// Returns whether an object can be allocated without a new slab.
    pub(super) fn has_free(&self) -> bool {
        self.has_partial() || self.empty.is_some()
    }

    /// Returns whether there is a partial slab.
    pub(super) fn has_partial(&self) -> bool {
        self.partial.len > 0
    }

    /// Allocates up to `objects.len()` objects of one slab, lowest first; returns how many, and whether a new
    /// slab was needed ([`Path::Growth`]) or not ([`Path::Slab`]).
    ///
    /// `None` if no slab has free objects, and there are no pages or no bitmap for a new one. O(1), because a bitmap has
    /// at most 8 words; O(log n) for a new slab.
    #[inline]
    pub(super) fn allocate(
        &mut self,
        buddy: &mut Buddy,
        objects: &mut [Offset],
    ) -> Option<(usize, Path)> {
        let (slab, path) = match self.partial.first().or_else(|| self.empty.take()) {
            Some(slab) => (slab, Path::Slab),
            None => (self.grow(buddy)?, Path::Growth),
        };
        let (class, first) = (self.class, slab.offset(0));
        let mut rest = objects.iter_mut();
        let mut taken = 0;
        for (number, word) in buddy.metadata.bitmap(slab, class)?.iter_mut().enumerate() {
            let mut free = !*word & object_bits(class, number);
            while free != 0 {
                let Some(object) = rest.next() else {
                    break;
                };
                let bit = free.trailing_zeros() as usize;
                // The byte is in the slab, so nothing overflows.
                *object = first.plus((number * 64 + bit).wrapping_mul(class.bytes()));
                free &= free - 1;
                *word |= 1 << bit;
                taken += 1;
            }
        }
        self.add_used(buddy, slab, taken as isize);
        Some((taken, path))
    }

    /// Frees the first of `objects`, and those after it as long as they are in the same slab, and returns
    /// how many. O(1), or O(log n) if the slab becomes empty.
    ///
    /// # Errors
    ///
    /// The rule that the free of the first object breaks: as for [`find`], and [`BadFree::NotLive`].
    #[inline]
    pub(super) fn free(&mut self, buddy: &mut Buddy, objects: &[Offset]) -> Result<usize, BadFree> {
        let class = self.class;
        let (first, rest) = objects.split_first().ok_or(BadFree::Foreign)?;
        let (slab, number) = find(buddy, class, *first)?;
        let bitmap = (buddy.metadata.bitmap(slab, class)).ok_or(BadFree::Foreign)?;
        let mut clear = |number: usize| {
            let Some(word) = bitmap.get_mut(number / 64) else {
                return false;
            };
            let bit = 1 << (number % 64);
            let was_allocated = *word & bit != 0;
            *word &= !bit;
            was_allocated
        };
        if !clear(number) {
            return Err(BadFree::NotLive);
        }
        let begin = slab.offset(0);
        let mut freed = 1;
        for object in rest {
            let number = object.after(begin).and_then(|byte| class.object(byte));
            if !number.is_some_and(&mut clear) {
                break;
            }
            freed += 1;
        }
        if self.add_used(buddy, slab, -(freed as isize)) == Some(0) {
            match self.empty {
                // INVARIANT: One empty slab is cached.
                None => self.empty = Some(slab),
                Some(_) => self.free_slab(buddy, slab),
            }
        }
        Ok(freed)
    }

    /// Changes the number of allocated objects of a slab by `objects`, and returns the new number. `None` if the page
    /// descriptor is damaged.
    #[inline]
    fn add_used(&mut self, buddy: &mut Buddy, slab: Page, objects: isize) -> Option<usize> {
        let descs = &mut buddy.metadata;
        let PageKind::Slab { class, used } = descs.kind(slab) else {
            return None;
        };
        let before = usize::from(used);
        let after = before.saturating_add_signed(objects);
        descs.set_kind(
            slab,
            PageKind::Slab {
                class,
                used: after as u16,
            },
        );
        self.used = self.used.saturating_add_signed(objects);
        // INVARIANT: The slab is in the list if and only if it is partial.
        match (is_partial(class, before), is_partial(class, after)) {
            (false, true) => descs.push(&mut self.partial, slab),
            (true, false) => descs.unlink(&mut self.partial, slab),
            _ => {}
        }
        Some(after)
    }

    /// Makes a slab of pages from the buddy system. `None` if it has no pages, or if there is no bitmap. O(log n).
    fn grow(&mut self, buddy: &mut Buddy) -> Option<Page> {
        let class = self.class;
        if !buddy.metadata.has_bitmap(class) {
            return None;
        }
        let slab = buddy.allocate(class.pages(), 0, End::Back)?;
        if buddy.metadata.allocate_bitmap(slab, class).is_none() {
            // The list of free bitmaps is damaged. A check reports the damage.
            buddy.free(slab, class.pages());
            return None;
        }
        for pages_before in 1..class.pages() {
            let tail = PageKind::SlabTail {
                class,
                pages_before: pages_before as u8,
            };
            buddy.metadata.set_kind(slab.after(pages_before), tail);
        }
        // INVARIANT: The slab is empty, and the caller allocates an object of it at once.
        buddy
            .metadata
            .set_kind(slab, PageKind::Slab { class, used: 0 });
        self.slab_count += 1;
        self.growths += 1;
        Some(slab)
    }

    /// Returns the pages of an empty slab to the buddy system. O(log n).
    fn free_slab(&mut self, buddy: &mut Buddy, slab: Page) {
        buddy.metadata.free_bitmap(slab, self.class);
        for page in 0..self.class.pages() {
            buddy
                .metadata
                .set_kind(slab.after(page), PageKind::Interior);
        }
        buddy.free(slab, self.class.pages());
        self.slab_count -= 1;
    }

    /// Frees the cached empty slab, and returns the number of its pages.
    pub(super) fn free_empty_slab(&mut self, buddy: &mut Buddy) -> usize {
        let Some(slab) = self.empty.take() else {
            return 0;
        };
        self.free_slab(buddy, slab);
        self.class.pages()
    }
}

/// Returns the slab in which an object of `class` begins at `offset`, and the number of the object. The
/// object may be allocated or free.
///
/// # Errors
///
/// [`BadFree::Foreign`], [`BadFree::WrongSize`], [`BadFree::Interior`], and [`BadFree::NotLive`] in a free
/// block of pages.
#[inline]
pub(super) fn find(buddy: &Buddy, class: Class, offset: Offset) -> Result<(Page, usize), BadFree> {
    let descs = &buddy.metadata;
    let page = Page::of(offset).ok_or(BadFree::Foreign)?;
    let slab = match descs.get(page).ok_or(BadFree::Foreign)?.kind() {
        PageKind::SlabTail { pages_before, .. } => page.before(usize::from(pages_before)),
        _ => page,
    };
    match descs.kind(slab) {
        PageKind::Slab { class: own, .. } if own == class => {
            let byte = (offset.byte() - slab.offset(0).byte()) as usize;
            let number = class.object(byte).ok_or(BadFree::Interior)?;
            Ok((slab, number))
        }
        _ => Err(descs.bad_free(slab)),
    }
}
