// SPDX-License-Identifier: GPL-2.0

//! The matrix of a region: in which pages do short free runs of a bin begin?
//!
//! A row for each bin has a bit for each page, and above it a bit for each word of bits, and so on up to one word:
//!
//! ```text
//!  row of bin 5    level 2                      │ 0001 │
//!                  level 1         │ 0000 … 0100 │          a bit for each word of level 0
//!                  level 0   │ 0…0 │ 0…0 │ 0010 │ …         a bit for each page
//! ```

use super::bins::SHORT_BINS;

/// The levels of the longest row: 64⁴ pages are more than a region can have.
const LEVELS: usize = 4;

/// The shape of the matrix of a region.
///
/// The numbers have 32 bits, because the state of the heap has a shape for each region that a pool can have.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    /// The index in the row of the first word of each level.
    level: [u32; LEVELS],
    levels: u32,
    /// The words of a row.
    row: u32,
}

impl Shape {
    /// Returns the shape for a region of so many pages.
    pub(super) const fn of(pages: usize) -> Self {
        let mut shape = Self {
            level: [0; LEVELS],
            levels: 0,
            row: 0,
        };
        let mut bits = pages;
        while bits > 0 {
            bits = bits.div_ceil(64);
            shape.level[shape.levels as usize] = shape.row;
            // A region has at most 2²⁰ pages.
            shape.row += bits as u32;
            shape.levels += 1;
            if bits == 1 {
                break;
            }
        }
        shape
    }

    /// Returns the number of words of the matrix.
    pub(super) const fn words(&self) -> usize {
        self.row as usize * SHORT_BINS
    }

    /// Returns the levels that the row of a bin has: the index of the first word of each, the lowest level first.
    #[inline]
    fn levels(&self, bin: usize) -> impl DoubleEndedIterator<Item = usize> + ExactSizeIterator {
        let row = bin * self.row as usize;
        let levels = self.level.iter().take(self.levels as usize);
        levels.map(move |first| row + *first as usize)
    }

    /// Sets the bit of a page. O(log64 pages).
    pub(super) fn insert(self, words: &mut [u64], bin: usize, page: usize) {
        let mut index = page;
        for level in self.levels(bin) {
            let word = &mut words[level + index / 64];
            let was_empty = *word == 0;
            *word |= 1 << (index % 64);
            if !was_empty {
                return;
            }
            index /= 64;
        }
    }

    /// Clears the bit of a page, and returns whether the row is empty then. O(log64 pages).
    pub(super) fn remove(self, words: &mut [u64], bin: usize, page: usize) -> bool {
        let mut index = page;
        for level in self.levels(bin) {
            let word = &mut words[level + index / 64];
            *word &= !(1 << (index % 64));
            if *word != 0 {
                return false;
            }
            index /= 64;
        }
        true
    }

    /// Returns the last page of a row if `from_end`, else the first page. O(log64 pages).
    pub(super) fn find(self, words: &[u64], bin: usize, from_end: bool) -> Option<usize> {
        self.descend(words, bin, self.levels as usize, 0, from_end)
    }

    /// Returns the next page of a row before `page` if `from_end`, else behind it. O(log64 pages).
    pub(super) fn find_next(
        self,
        words: &[u64],
        bin: usize,
        page: usize,
        from_end: bool,
    ) -> Option<usize> {
        let mut index = page;
        for (height, level) in self.levels(bin).enumerate() {
            let word = words[level + index / 64];
            let bit = index % 64;
            let others = if from_end {
                word & !(u64::MAX << bit)
            } else {
                word & u64::MAX << bit << 1
            };
            if let Some(bit) = end_of(others, from_end) {
                return self.descend(words, bin, height, index / 64 * 64 + bit, from_end);
            }
            index /= 64;
        }
        None
    }

    /// Returns the last page below bit `index` of level `height` if `from_end`, else the first page. Level 0 has a bit for
    /// each page, and the level above the highest one has a single bit.
    fn descend(
        self,
        words: &[u64],
        bin: usize,
        height: usize,
        index: usize,
        from_end: bool,
    ) -> Option<usize> {
        let mut index = index;
        for level in self.levels(bin).take(height).rev() {
            let word = words[level + index];
            index = index * 64 + end_of(word, from_end)?;
        }
        Some(index)
    }

    /// Returns the words of a level of a row, or none if `words` are not those of this shape.
    pub(super) fn level(self, words: &[u64], bin: usize, level: usize) -> &[u64] {
        let start = |level| {
            let first = self.levels(bin).nth(level);
            first.unwrap_or((bin + 1) * self.row as usize)
        };
        words.get(start(level)..start(level + 1)).unwrap_or(&[])
    }

    /// Returns word `index` among the words of a row above the lowest level, and the up to 64 words that it summarizes.
    pub(super) fn summary(self, words: &[u64], bin: usize, index: usize) -> Option<(u64, &[u64])> {
        let mut index = index;
        (1..self.levels as usize).find_map(|level| {
            let above = self.level(words, bin, level);
            match above.get(index) {
                Some(word) => {
                    let mut below = self.level(words, bin, level - 1).chunks(64);
                    Some((*word, below.nth(index)?))
                }
                None => {
                    index -= above.len();
                    None
                }
            }
        })
    }
}

/// Returns the last bit of a word that is set if `from_end`, else the first one.
#[inline]
fn end_of(word: u64, from_end: bool) -> Option<usize> {
    let bit = if from_end {
        word.checked_ilog2()?
    } else {
        word.trailing_zeros()
    };
    (word != 0).then_some(bit as usize)
}
