// SPDX-License-Identifier: GPL-2.0

//! Slabs: one to three pages that are cut into objects of one size class (Bonwick 1994).
//!
//! ```text
//!  page      │ object 0 │ object 1 │ object 2 │ … │        64 objects of 64 B
//!  bitmap     1          1          0           …          1: live, or in a magazine
//! ```
//!
//! The bitmap stands beside the pool. No metadata is in the objects, so a program that writes to a
//! freed object, or past its end, damages no allocation, and a double free that reaches the slab is found. Partial slabs are
//! used before new ones, the fullest first, so that the others can become empty. An empty slab returns
//! its pages to the buddy system, except for one of each class that is cached.

use super::{
    buddy::{
        Buddy,
        End,
        Work, //
    },
    list::List,
    page::{
        Page, //
        PageDescs,
        PageKind,
    },
};
use crate::{
    class::{
        CLASSES,
        Class, //
    },
    engine::BadFree,
    region::Offset,
};

/// The lists of a class's partial slabs: one for each quarter of the objects that are live.
pub(super) const FULLNESS_BINS: usize = 4;

/// One class's slabs.
///
/// # Invariants
///
/// - A slab with both live and free objects is in the list of its fullness. A full slab is in no list.
///   `empty` is the only slab without live objects.
/// - `slabs` is the number of slabs, and `used` that of live objects.
#[derive(Debug)]
pub(super) struct Slabs {
    partial: [List; FULLNESS_BINS],
    empty: Option<Page>,
    pub(super) slabs: usize,
    pub(super) used: usize,
    pub(super) growths: u64,
}

/// The slabs of every class.
pub(super) type Classes = [Slabs; CLASSES];

/// Where objects were found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// In slabs that were there.
    Slabs,
    /// In a slab that took pages first.
    Growth,
}

/// Returns the number of the list of a slab with `used` live objects, if it is in one.
#[inline]
fn fullness(class: Class, used: usize) -> Option<usize> {
    let objects = class.objects();
    // ⌊used · FULLNESS_BINS / objects⌋
    let quarters = (1..FULLNESS_BINS).filter(|quarter| used * FULLNESS_BINS >= quarter * objects);
    (used > 0 && used < objects).then(|| quarters.count())
}

/// Returns the number of words of the bitmap of a class's slab.
#[inline]
pub(super) const fn words(class: Class) -> usize {
    class.objects().div_ceil(64)
}

/// Returns a mask of the bits of word `word` that stand for objects.
#[inline]
pub(super) const fn mask(class: Class, word: usize) -> u64 {
    let rest = class.objects() - word * 64;
    if rest >= 64 {
        u64::MAX
    } else {
        (1 << rest) - 1
    }
}

impl Slabs {
    /// Returns no slabs.
    pub(super) const fn new() -> Self {
        Self {
            partial: [List::EMPTY; FULLNESS_BINS],
            empty: None,
            slabs: 0,
            used: 0,
            growths: 0,
        }
    }

    /// Returns the partial slabs of a fullness.
    pub(super) fn partial(&self, fullness: usize) -> &List {
        &self.partial[fullness]
    }

    /// Returns the cached empty slab.
    pub(super) fn empty(&self) -> Option<Page> {
        self.empty
    }

    /// Lends the lists and the cached slab to a test that damages them.
    #[cfg(test)]
    pub(super) fn damage(&mut self) -> (&mut [List; FULLNESS_BINS], &mut Option<Page>) {
        (&mut self.partial, &mut self.empty)
    }

    /// Changes the number of a slab's live objects from `before` to `now`.
    #[inline]
    fn note(&mut self, descs: &mut PageDescs, class: Class, slab: Page, before: usize, now: usize) {
        descs.set_used(slab, now as u16);
        self.used = self.used + now - before;
        let (from, to) = (fullness(class, before), fullness(class, now));
        if from != to {
            // INVARIANT: The slab moves to the list of its fullness.
            if let Some(from) = from {
                descs.unlink(&mut self.partial[from], slab);
            }
            if let Some(to) = to {
                descs.push(&mut self.partial[to], slab);
            }
        }
    }

    /// Returns a slab with free objects, the fullest first.
    #[inline]
    fn usable(&mut self) -> Option<Page> {
        let fullest = self.partial.iter().rev().find_map(List::first);
        fullest.or_else(|| self.empty.take())
    }

    /// Says whether there is a partial slab.
    pub(super) fn has_partial(&self) -> bool {
        self.partial.iter().any(|list| list.first().is_some())
    }

    /// Makes a new slab of pages from the buddy system. O(log n).
    fn grow(
        &mut self,
        descs: &mut PageDescs,
        buddy: &mut Buddy,
        class: Class,
        work: &mut Work,
    ) -> Option<Page> {
        let slab = buddy.allocate(descs, class.pages(), 0, End::High, work)?;
        for head in 1..class.pages() {
            let inner = PageKind::SlabTail {
                class,
                head: head as u8,
            };
            descs.set_kind(slab.after(head), inner);
        }
        descs.bits(slab, words(class)).fill(0);
        // INVARIANT: The slab is empty, and its caller takes an object from it at once.
        descs.set_kind(slab, PageKind::Slab { class, used: 0 });
        self.slabs += 1;
        self.growths += 1;
        Some(slab)
    }

    /// Returns the pages of an empty slab to the buddy system. O(log n).
    fn shrink(
        &mut self,
        descs: &mut PageDescs,
        buddy: &mut Buddy,
        class: Class,
        slab: Page,
        work: &mut Work,
    ) {
        for head in 1..class.pages() {
            descs.set_kind(slab.after(head), PageKind::Interior);
        }
        descs.set_kind(slab, PageKind::Interior);
        buddy.release(descs, slab, class.pages(), work);
        self.slabs -= 1;
    }

    /// Returns the pages of the cached slab to the buddy system, and says whether there was one.
    pub(super) fn reclaim(
        &mut self,
        descs: &mut PageDescs,
        buddy: &mut Buddy,
        class: Class,
        work: &mut Work,
    ) -> bool {
        let Some(slab) = self.empty.take() else {
            return false;
        };
        self.shrink(descs, buddy, class, slab, work);
        true
    }

    /// Allocates up to `objects.len()` objects of one slab, lowest first, and returns how many. O(1) but
    /// for a new slab: a slab has at most 8 words of bitmap.
    ///
    /// `None` when no slab has free objects and the buddy system has no pages for a new one.
    #[inline]
    pub(super) fn allocate(
        &mut self,
        descs: &mut PageDescs,
        buddy: &mut Buddy,
        class: Class,
        objects: &mut [Offset],
        work: &mut Work,
    ) -> Option<(usize, Source)> {
        let (slab, source) = match self.usable() {
            Some(slab) => (slab, Source::Slabs),
            None => (self.grow(descs, buddy, class, work)?, Source::Growth),
        };
        let (first, bytes) = (slab.offset(0), class.bytes());
        let mut taken = 0;
        let mut rest = objects.iter_mut();
        for (number, word) in descs.bits(slab, words(class)).iter_mut().enumerate() {
            let free = !*word & mask(class, number);
            let mut left = free;
            // The objects of a word, as far as there is room for them.
            while left != 0 {
                let Some(object) = rest.next() else {
                    break;
                };
                let bit = left.trailing_zeros() as usize;
                // The byte is in the slab, so nothing overflows.
                *object = first.plus((number * 64).wrapping_add(bit).wrapping_mul(bytes));
                left &= left - 1;
                taken += 1;
            }
            *word |= free & !left;
            if rest.len() == 0 {
                break;
            }
        }
        let PageKind::Slab { used, .. } = descs.kind(slab) else {
            return None;
        };
        let before = usize::from(used);
        self.note(descs, class, slab, before, before + taken);
        Some((taken, source))
    }

    /// Frees the first of `objects`, and those behind it as long as they are in the same slab, and returns
    /// how many. O(1) but for a slab that becomes empty.
    ///
    /// # Errors
    ///
    /// The first object's error: as for [`find`], and [`BadFree::NotOut`].
    #[inline]
    pub(super) fn release(
        &mut self,
        descs: &mut PageDescs,
        buddy: &mut Buddy,
        class: Class,
        objects: &[Offset],
        work: &mut Work,
    ) -> Result<usize, BadFree> {
        let Some((first, rest)) = objects.split_first() else {
            return Ok(0);
        };
        let (slab, number, used) = find(descs, class, *first)?;
        let bits = descs.bits(slab, words(class));
        clear(bits, number)?;
        let first = slab.offset(0);
        let alike = rest.iter().take_while(|object| {
            let number = object.after(first).and_then(|byte| class.object(byte));
            number.is_some_and(|number| clear(bits, number).is_ok())
        });
        let freed = 1 + alike.count();
        let left = used.saturating_sub(freed);
        self.note(descs, class, slab, used, left);
        if left == 0 {
            match self.empty {
                // INVARIANT: One empty slab is cached.
                None => self.empty = Some(slab),
                Some(_) => self.shrink(descs, buddy, class, slab, work),
            }
        }
        Ok(freed)
    }
}

/// Clears the bit of an object that is freed.
#[inline]
fn clear(bits: &mut [u64], number: usize) -> Result<(), BadFree> {
    let word = bits.get_mut(number / 64).ok_or(BadFree::Foreign)?;
    let bit = 1 << (number % 64);
    if *word & bit == 0 {
        return Err(BadFree::NotOut);
    }
    *word &= !bit;
    Ok(())
}

/// Returns the class of the slab that contains a byte, if one does.
pub(super) fn class_at(descs: &PageDescs, offset: Offset) -> Option<Class> {
    match descs.get(Page::of(offset)?)?.kind() {
        PageKind::Slab { class, .. } | PageKind::SlabTail { class, .. } => Some(class),
        _ => None,
    }
}

/// Returns the slab in which an object of `class` begins at `offset`, the object's number, and the
/// number of live objects in the slab. Whether the object is live is not looked at.
///
/// # Errors
///
/// [`BadFree::Foreign`], [`BadFree::WrongSize`], [`BadFree::Interior`], and [`BadFree::NotOut`] in a free
/// block of pages.
#[inline]
pub(super) fn find(
    descs: &PageDescs,
    class: Class,
    offset: Offset,
) -> Result<(Page, usize, usize), BadFree> {
    let page = Page::of(offset).ok_or(BadFree::Foreign)?;
    let slab = match descs.get(page).ok_or(BadFree::Foreign)?.kind() {
        PageKind::SlabTail { head, .. } => page.before(usize::from(head)),
        _ => page,
    };
    match descs.kind(slab) {
        PageKind::Slab { class: own, used } if own == class => {
            let byte = (offset.byte() - slab.offset(0).byte()) as usize;
            let number = class.object(byte).ok_or(BadFree::Interior)?;
            Ok((slab, number, usize::from(used)))
        }
        PageKind::Slab { .. } | PageKind::Large { .. } => Err(BadFree::WrongSize),
        PageKind::Interior if descs.is_free(page) => Err(BadFree::NotOut),
        PageKind::Interior | PageKind::SlabTail { .. } => Err(BadFree::Interior),
        PageKind::Free { .. } => Err(BadFree::NotOut),
    }
}
