// SPDX-License-Identifier: GPL-2.0

//! Size classes and slabs with bitmaps (Bonwick, The Slab Allocator, 1994).
//!
//! A request of up to 2048 bytes gets an object of the smallest class that fits. A slab is a page that is cut into
//! objects of one class. A larger request gets a run of whole pages, the first that is long enough. All data are in the
//! notes of the pages:
//!
//! ```text
//!  note   0                1                    2      3        4 … 7
//!  slab   SLAB + class     allocated objects    next   before   bitmap: 1 is an allocated object
//!  run    RUN              pages                                (first page of a run; the others have INSIDE)
//! ```

use slab_heap::PAGE_BYTES;
use slab_student::{
    Error,
    GRANULE,
    Layout,
    Memory, //
};

use crate::defect::{
    Active,
    Defect, //
};

/// The classes have objects of 16, 32, … 2048 bytes.
pub(super) const CLASSES: usize = 8;

/// The bytes of the smallest objects.
const OBJECT_BYTES_MIN: usize = 16;

/// The kinds of pages, in note 0. A slab of class `n` has the kind `SLAB + n`.
const FREE: u64 = 0;
const RUN: u64 = 1;
const INSIDE: u64 = 2;
const SLAB: u64 = 3;

/// The numbers of the notes.
const KIND: usize = 0;
const USED: usize = 1;
const NEXT: usize = 2;
const BEFORE: usize = 3;
const BITMAP: usize = 4;

/// The number of notes of the bitmap.
const BITMAP_WORDS: usize = 4;

/// The end of a list of slabs.
const NONE: u64 = u64::MAX;

/// An allocator with slabs.
pub struct Slabs {
    defect: Active,
    /// The first slab of each class that has both allocated and free objects.
    partial: [u64; CLASSES],
}

/// Returns the bytes of the objects of a class.
pub(super) fn object_bytes(class: usize) -> usize {
    OBJECT_BYTES_MIN << class
}

/// Returns the number of objects of a slab.
fn objects(class: usize) -> u64 {
    (PAGE_BYTES / object_bytes(class)) as u64
}

/// The place of an object: its slab, and the word and the bit of the bitmap.
struct ObjectPlace {
    slab: usize,
    word: usize,
    bit: usize,
}

impl Slabs {
    /// Creates the allocator of an empty pool.
    pub fn new(defect: Active) -> Self {
        Self {
            defect,
            partial: [NONE; CLASSES],
        }
    }

    /// Returns the class that serves a layout, or `None` if whole pages do.
    pub(super) fn class_of(&self, layout: Layout) -> Option<usize> {
        let align = if self.defect.is(Defect::ClassIgnoresAlignment) {
            GRANULE
        } else {
            layout.align()
        };
        let mut bytes = layout.size().max(align);
        if self.defect.is(Defect::ClassOffByOne) {
            bytes -= GRANULE;
        }
        let bytes = bytes.next_power_of_two().max(OBJECT_BYTES_MIN);
        let class = (bytes / OBJECT_BYTES_MIN).ilog2() as usize;
        (class < CLASSES).then_some(class)
    }

    /// Returns the class of the slab in which a block lies, or `None` if the block is a run of pages.
    pub(super) fn class_at(&self, memory: &Memory, block: usize) -> Result<Option<usize>, Error> {
        match memory.note(block / PAGE_BYTES, KIND)? {
            RUN => Ok(None),
            FREE | INSIDE => Err(memory.broken("a block lies in a page that is not in use", block)),
            kind => Ok(Some((kind - SLAB) as usize)),
        }
    }

    /// Returns the first page of `count` free pages in a row that begin at a multiple of `align` bytes.
    fn find_pages(
        &self,
        memory: &Memory,
        count: usize,
        align: usize,
    ) -> Result<Option<usize>, Error> {
        let pages = if self.defect.is(Defect::LastPageUnused) {
            memory.pages() - 1
        } else {
            memory.pages()
        };
        let (mut page, mut free) = (0, 0);
        while page < pages {
            match memory.note(page, KIND)? {
                FREE => {
                    (page, free) = (page + 1, free + 1);
                    if free >= count && (page - count) * PAGE_BYTES % align == 0 {
                        return Ok(Some(page - count));
                    }
                }
                RUN => (page, free) = (page + memory.note(page, USED)? as usize, 0),
                _ => (page, free) = (page + 1, 0),
            }
        }
        Ok(None)
    }

    fn allocate_pages(
        &mut self,
        memory: &mut Memory,
        layout: Layout,
    ) -> Result<Option<usize>, Error> {
        let mut count = layout.size().div_ceil(PAGE_BYTES);
        if self.defect.is(Defect::PageCountOverflows) {
            count = usize::from(count as u8);
        }
        let Some(first) = self.find_pages(memory, count, layout.align())? else {
            return Ok(None);
        };
        for page in first + 1..first + count {
            memory.set_note(page, KIND, INSIDE)?;
        }
        let length = if self.defect.is(Defect::RunOfNoPages) {
            layout.size() / PAGE_BYTES
        } else {
            count
        };
        memory.set_note(first, KIND, RUN)?;
        memory.set_note(first, USED, length as u64)?;
        Ok(Some(first * PAGE_BYTES))
    }

    fn free_pages(&mut self, memory: &mut Memory, first: usize, bytes: usize) -> Result<(), Error> {
        let count = if self.defect.is(Defect::TailPageLost) {
            (bytes / PAGE_BYTES).max(1)
        } else {
            bytes.div_ceil(PAGE_BYTES)
        };
        (first..first + count).try_for_each(|page| memory.set_note(page, KIND, FREE))
    }

    /// Inserts a slab at the front of the list of its class.
    fn push(&mut self, memory: &mut Memory, slab: usize, class: usize) -> Result<(), Error> {
        let next = self.partial[class];
        if next != NONE {
            memory.set_note(next as usize, BEFORE, slab as u64)?;
        }
        memory.set_note(slab, NEXT, next)?;
        memory.set_note(slab, BEFORE, NONE)?;
        self.partial[class] = slab as u64;
        Ok(())
    }

    /// Removes a slab from the list of its class.
    fn remove(&mut self, memory: &mut Memory, slab: usize, class: usize) -> Result<(), Error> {
        let (next, before) = (memory.note(slab, NEXT)?, memory.note(slab, BEFORE)?);
        if before == NONE {
            self.partial[class] = next;
        } else {
            memory.set_note(before as usize, NEXT, next)?;
        }
        if next != NONE {
            memory.set_note(next as usize, BEFORE, before)?;
        }
        Ok(())
    }

    /// Returns a slab of a class with a free object: a partial one, or else a new one.
    fn slab(&mut self, memory: &mut Memory, class: usize) -> Result<Option<usize>, Error> {
        if self.partial[class] != NONE {
            return Ok(Some(self.partial[class] as usize));
        }
        let Some(slab) = self.find_pages(memory, 1, PAGE_BYTES)? else {
            return Ok(None);
        };
        memory.set_note(slab, KIND, SLAB + class as u64)?;
        memory.set_note(slab, USED, 0)?;
        for word in 0..BITMAP_WORDS {
            memory.set_note(slab, BITMAP + word, 0)?;
        }
        self.push(memory, slab, class)?;
        Ok(Some(slab))
    }

    fn allocate_object(
        &mut self,
        memory: &mut Memory,
        class: usize,
    ) -> Result<Option<usize>, Error> {
        let Some(slab) = self.slab(memory, class)? else {
            return Ok(None);
        };
        for word in 0..BITMAP_WORDS {
            let bits = memory.note(slab, BITMAP + word)?;
            let object = word * 64 + bits.trailing_ones() as usize;
            if bits == u64::MAX || object as u64 >= objects(class) {
                continue;
            }
            memory.set_note(slab, BITMAP + word, bits | (bits + 1))?;
            let used = memory.note(slab, USED)? + 1;
            memory.set_note(slab, USED, used)?;
            if used == objects(class) {
                self.remove(memory, slab, class)?;
            }
            return Ok(Some(slab * PAGE_BYTES + object * object_bytes(class)));
        }
        Err(memory.broken("a partial slab has no free object", slab * PAGE_BYTES))
    }

    /// Returns the place of the object that is freed.
    fn object(&self, block: usize, class: usize) -> ObjectPlace {
        let partial = self.partial[class];
        let slab = if partial != NONE && self.defect.is(Defect::FreesIntoOtherSlab) {
            partial as usize
        } else {
            block / PAGE_BYTES
        };
        let object = block % PAGE_BYTES / object_bytes(class);
        let word = if self.defect.is(Defect::BitmapWordBoundary) {
            (object + 1) / 64
        } else {
            object / 64
        };
        let bit = object % 64;
        ObjectPlace { slab, word, bit }
    }

    fn free_object(
        &mut self,
        memory: &mut Memory,
        block: usize,
        class: usize,
    ) -> Result<(), Error> {
        let ObjectPlace { slab, word, bit } = self.object(block, class);
        let bits = memory.note(slab, BITMAP + word)?;
        let used = memory.note(slab, USED)?;
        if bits >> bit & 1 == 0 || used == 0 {
            return Err(memory.broken("an object is freed that is not allocated", block));
        }
        let was_full = used == objects(class);
        let freed = if was_full && self.defect.is(Defect::CountsTwice) {
            2
        } else {
            1
        };
        let used = used - freed;
        memory.set_note(slab, BITMAP + word, bits & !(1 << bit))?;
        memory.set_note(slab, USED, used)?;
        if was_full {
            self.push(memory, slab, class)?;
        }
        if used == 0 {
            self.remove(memory, slab, class)?;
            memory.set_note(slab, KIND, FREE)?;
        }
        Ok(())
    }

    /// Returns whether `block` is an allocated object of a class.
    pub(super) fn is_allocated(
        &self,
        memory: &Memory,
        block: usize,
        class: usize,
    ) -> Result<bool, Error> {
        let (slab, object) = (block / PAGE_BYTES, block % PAGE_BYTES / object_bytes(class));
        let kind = memory.note(slab, KIND)?;
        let bits = memory.note(slab, BITMAP + object / 64)?;
        Ok(kind == SLAB + class as u64 && bits >> (object % 64) & 1 == 1)
    }

    /// See [`slab_student::Allocator::allocate`].
    pub(super) fn allocate(
        &mut self,
        memory: &mut Memory,
        layout: Layout,
    ) -> Result<Option<usize>, Error> {
        match self.class_of(layout) {
            Some(class) => self.allocate_object(memory, class),
            None => self.allocate_pages(memory, layout),
        }
    }

    /// See [`slab_student::Allocator::free`].
    pub(super) fn free(
        &mut self,
        memory: &mut Memory,
        block: usize,
        layout: Layout,
    ) -> Result<(), Error> {
        match self.class_at(memory, block)? {
            // A block that shrank lies in a slab of a larger class than its layout says.
            Some(class) => {
                let class = match self.class_of(layout) {
                    Some(class) if self.defect.is(Defect::WrongClassAfterResize) => class,
                    _ => class,
                };
                self.free_object(memory, block, class)
            }
            None => self.free_pages(memory, block / PAGE_BYTES, layout.size()),
        }
    }

    /// See [`slab_student::Allocator::resize`]. A block stays in its object, or becomes a run of fewer pages.
    pub(super) fn resize(
        &mut self,
        memory: &mut Memory,
        block: usize,
        layout: Layout,
        size: usize,
    ) -> Result<bool, Error> {
        if let Some(class) = self.class_at(memory, block)? {
            return Ok(size <= object_bytes(class));
        }
        let (first, old) = (block / PAGE_BYTES, layout.size().div_ceil(PAGE_BYTES));
        let count = size.div_ceil(PAGE_BYTES);
        if count < old {
            self.free_pages(memory, first + count, (old - count) * PAGE_BYTES)?;
            memory.set_note(first, USED, count as u64)?;
        }
        Ok(count <= old)
    }

    /// See [`slab_student::Allocator::check`].
    pub(super) fn check(&mut self, memory: &mut Memory) -> Result<(), Error> {
        for slab in 0..memory.pages() {
            if memory.note(slab, KIND)? < SLAB {
                continue;
            }
            let mut bits = 0;
            for word in 0..BITMAP_WORDS {
                bits += u64::from(memory.note(slab, BITMAP + word)?.count_ones());
            }
            if bits != memory.note(slab, USED)? {
                let sentence = "the counter and the bitmap of a slab disagree";
                return Err(memory.broken(sentence, slab * PAGE_BYTES));
            }
        }
        Ok(())
    }
}
