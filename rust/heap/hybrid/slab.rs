// SPDX-License-Identifier: GPL-2.0

//! Slabs.
//!
//! A slab is a few pages that are cut into objects of one class (Bonwick 1994). Which of them are
//! out, a bitmap beside the pool says: nothing is kept in the objects, so what a program writes
//! after a free, or past a block's end, damages no allocation, and a free of what is not out is
//! found. Partial slabs are used before new ones, the fullest first, so that the others can
//! become empty; an empty slab goes back to the buddy system, but one of each class that is kept
//! against a quick return.

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

/// Lists that a class's partial slabs are in: by quarters of what is out.
pub(super) const FULLNESS_BINS: usize = 4;

/// One class's slabs.
///
/// # Invariants
///
/// - A slab with objects both out and not is in the list of its fullness; a slab with all of them
///   out is in none; `empty` is the only one with none out.
/// - `slabs` counts all of them, `used` the objects that are out.
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

/// How objects were found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// In slabs that were there.
    Slabs,
    /// In a slab that took pages first.
    Growth,
}

/// Returns the list that a slab with `used` objects out is in, if it is in one.
#[inline]
fn fullness(class: Class, used: usize) -> Option<usize> {
    let objects = class.objects();
    // ⌊used · FULLNESS_BINS / objects⌋: how many quarters are out.
    let quarters = (1..FULLNESS_BINS).filter(|quarter| used * FULLNESS_BINS >= quarter * objects);
    (used > 0 && used < objects).then(|| quarters.count())
}

/// Returns how many words the bitmap of a class's slab has.
#[inline]
pub(super) const fn words(class: Class) -> usize {
    class.objects().div_ceil(64)
}

/// Returns the bits of word `word` that stand for objects.
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

    /// Returns the empty slab that is kept.
    pub(super) fn empty(&self) -> Option<Page> {
        self.empty
    }

    /// Lends the lists and the slab that is kept, to be damaged.
    #[cfg(test)]
    pub(super) fn damage(&mut self) -> (&mut [List; FULLNESS_BINS], &mut Option<Page>) {
        (&mut self.partial, &mut self.empty)
    }

    /// Notes that of a slab's objects `now` are out, of which were `before`.
    #[inline]
    fn note(
        &mut self,
        frames: &mut PageDescs,
        class: Class,
        slab: Page,
        before: usize,
        now: usize,
    ) {
        frames.set_used(slab, now as u16);
        self.used = self.used + now - before;
        let (from, to) = (fullness(class, before), fullness(class, now));
        if from != to {
            // INVARIANT: The slab moves to the list of its fullness.
            if let Some(from) = from {
                frames.unlink(&mut self.partial[from], slab);
            }
            if let Some(to) = to {
                frames.push(&mut self.partial[to], slab);
            }
        }
    }

    /// Returns a slab that has an object to give, the fullest first.
    #[inline]
    fn usable(&mut self) -> Option<Page> {
        let fullest = self.partial.iter().rev().find_map(List::first);
        fullest.or_else(|| self.empty.take())
    }

    /// Says whether some slab has objects both out and not.
    pub(super) fn has_partial(&self) -> bool {
        self.partial.iter().any(|list| list.first().is_some())
    }

    /// Makes a slab of pages from the buddy system.
    fn grow(
        &mut self,
        frames: &mut PageDescs,
        buddy: &mut Buddy,
        class: Class,
        work: &mut Work,
    ) -> Option<Page> {
        let slab = buddy.allocate(frames, class.pages(), 0, End::High, work)?;
        for head in 1..class.pages() {
            let inner = PageKind::SlabTail {
                class,
                head: head as u8,
            };
            frames.set_kind(slab.after(head), inner);
        }
        frames.bits(slab, words(class)).fill(0);
        // INVARIANT: The slab is empty, and its caller takes an object from it at once.
        frames.set_kind(slab, PageKind::Slab { class, used: 0 });
        self.slabs += 1;
        self.growths += 1;
        Some(slab)
    }

    /// Gives an empty slab back to the buddy system.
    fn shrink(
        &mut self,
        frames: &mut PageDescs,
        buddy: &mut Buddy,
        class: Class,
        slab: Page,
        work: &mut Work,
    ) {
        for head in 1..class.pages() {
            frames.set_kind(slab.after(head), PageKind::Interior);
        }
        frames.set_kind(slab, PageKind::Interior);
        buddy.release(frames, slab, class.pages(), work);
        self.slabs -= 1;
    }

    /// Gives the empty slab that is kept back, and says whether there was one.
    pub(super) fn reclaim(
        &mut self,
        frames: &mut PageDescs,
        buddy: &mut Buddy,
        class: Class,
        work: &mut Work,
    ) -> bool {
        let Some(slab) = self.empty.take() else {
            return false;
        };
        self.shrink(frames, buddy, class, slab, work);
        true
    }

    /// Hands out up to `objects.len()` objects of one slab, lowest first, and says how many.
    ///
    /// `None` when no slab has any and the buddy system has no pages for one.
    #[inline]
    pub(super) fn allocate(
        &mut self,
        frames: &mut PageDescs,
        buddy: &mut Buddy,
        class: Class,
        objects: &mut [Offset],
        work: &mut Work,
    ) -> Option<(usize, Source)> {
        let (slab, source) = match self.usable() {
            Some(slab) => (slab, Source::Slabs),
            None => (self.grow(frames, buddy, class, work)?, Source::Growth),
        };
        let (first, bytes) = (slab.offset(0), class.bytes());
        let mut taken = 0;
        let mut rest = objects.iter_mut();
        for (number, word) in frames.bits(slab, words(class)).iter_mut().enumerate() {
            let free = !*word & mask(class, number);
            let mut left = free;
            // A word is taken whole, or as far as there is room.
            while left != 0 {
                let Some(object) = rest.next() else {
                    break;
                };
                let bit = left.trailing_zeros() as usize;
                // All are in the slab, of a few pages.
                *object = first.plus((number * 64).wrapping_add(bit).wrapping_mul(bytes));
                left &= left - 1;
                taken += 1;
            }
            *word |= free & !left;
            if rest.len() == 0 {
                break;
            }
        }
        let PageKind::Slab { used, .. } = frames.kind(slab) else {
            return None;
        };
        let before = usize::from(used);
        self.note(frames, class, slab, before, before + taken);
        Some((taken, source))
    }

    /// Takes the first of `objects` back, and those after it as long as they are of the same slab,
    /// and says how many.
    ///
    /// # Errors
    ///
    /// What [`find`] says of the first, and [`BadFree::NotOut`].
    #[inline]
    pub(super) fn release(
        &mut self,
        frames: &mut PageDescs,
        buddy: &mut Buddy,
        class: Class,
        objects: &[Offset],
        work: &mut Work,
    ) -> Result<usize, BadFree> {
        let Some((first, rest)) = objects.split_first() else {
            return Ok(0);
        };
        let (slab, number, used) = find(frames, class, *first)?;
        let bits = frames.bits(slab, words(class));
        clear(bits, number)?;
        let first = slab.offset(0);
        let alike = rest.iter().take_while(|object| {
            let number = object.after(first).and_then(|byte| class.object(byte));
            number.is_some_and(|number| clear(bits, number).is_ok())
        });
        let freed = 1 + alike.count();
        let left = used.saturating_sub(freed);
        self.note(frames, class, slab, used, left);
        if left == 0 {
            match self.empty {
                // INVARIANT: One empty slab is kept, the others go.
                None => self.empty = Some(slab),
                Some(_) => self.shrink(frames, buddy, class, slab, work),
            }
        }
        Ok(freed)
    }
}

/// Notes that an object is not out any more.
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

/// Returns the class of the slab that a byte is in, if it is in one.
pub(super) fn class_at(frames: &PageDescs, offset: Offset) -> Option<Class> {
    match frames.get(Page::of(offset)?)?.kind() {
        PageKind::Slab { class, .. } | PageKind::SlabTail { class, .. } => Some(class),
        _ => None,
    }
}

/// Returns the slab in which an object of `class` would begin at `offset`, the object's number,
/// and how many are out there.
///
/// # Errors
///
/// [`BadFree::Foreign`], [`BadFree::WrongSize`], [`BadFree::Interior`], [`BadFree::NotOut`] for a
/// place where nothing is out.
#[inline]
pub(super) fn find(
    frames: &PageDescs,
    class: Class,
    offset: Offset,
) -> Result<(Page, usize, usize), BadFree> {
    let page = Page::of(offset).ok_or(BadFree::Foreign)?;
    let slab = match frames.get(page).ok_or(BadFree::Foreign)?.kind() {
        PageKind::SlabTail { head, .. } => page.before(usize::from(head)),
        _ => page,
    };
    match frames.kind(slab) {
        PageKind::Slab { class: own, used } if own == class => {
            let byte = (offset.byte() - slab.offset(0).byte()) as usize;
            let number = class.object(byte).ok_or(BadFree::Interior)?;
            Ok((slab, number, usize::from(used)))
        }
        PageKind::Slab { .. } | PageKind::Large { .. } => Err(BadFree::WrongSize),
        PageKind::Interior if frames.is_free(page) => Err(BadFree::NotOut),
        PageKind::Interior | PageKind::SlabTail { .. } => Err(BadFree::Interior),
        PageKind::Free { .. } => Err(BadFree::NotOut),
    }
}
