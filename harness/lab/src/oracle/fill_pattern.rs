// SPDX-License-Identifier: GPL-2.0

//! The pattern in live blocks: every byte is a function of the block's number and of the byte's
//! position, so that bytes of another block or of another position are detected.

use crate::rng::{
    GAMMA,
    mix, //
};

/// The contents of one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FillPattern {
    key: u64,
}

/// A byte that is not what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    /// The index of the byte in the compared buffer.
    pub(super) index: usize,
    /// The value that was written.
    pub(super) expected: u8,
    /// The value that was read.
    pub(super) found: u8,
}

const WORD: usize = size_of::<u64>();

impl FillPattern {
    /// Returns the contents of the block with the number `id`.
    pub(super) fn new(seed: u64, id: u64) -> Self {
        Self {
            key: mix(seed ^ mix(id)),
        }
    }

    /// Returns the word at `index`.
    fn word(self, index: u64) -> u64 {
        self.key.wrapping_add(index.wrapping_mul(GAMMA))
    }

    /// Returns the byte at `position`.
    fn byte(self, position: u64) -> u8 {
        self.word(position / WORD as u64).to_le_bytes()[position as usize % WORD]
    }

    /// Returns the number of bytes from `first` to the next word boundary, at most `len`, and the words from
    /// that boundary on.
    fn words(self, first: u64, len: usize) -> (usize, impl Iterator<Item = [u8; WORD]>) {
        let head = (first.next_multiple_of(WORD as u64) - first).min(len as u64) as usize;
        let mut word = self.word((first + head as u64) / WORD as u64);
        let words = std::iter::repeat_with(move || {
            let bytes = word.to_le_bytes();
            word = word.wrapping_add(GAMMA);
            bytes
        });
        (head, words)
    }

    /// Writes the contents from byte `first` on.
    pub(super) fn fill(self, first: u64, buffer: &mut [u8]) {
        let (head, mut words) = self.words(first, buffer.len());
        let (head, aligned) = buffer.split_at_mut(head);
        let mut whole = aligned.chunks_exact_mut(WORD);
        for (bytes, word) in (&mut whole).zip(&mut words) {
            bytes.copy_from_slice(&word);
        }
        for (byte, expected) in whole.into_remainder().iter_mut().zip(words.flatten()) {
            *byte = expected;
        }
        for (byte, position) in head.iter_mut().zip(first..) {
            *byte = self.byte(position);
        }
    }

    /// Compares a buffer with the contents from byte `first` on, and returns the first difference.
    pub(super) fn compare(self, first: u64, buffer: &[u8]) -> Option<Difference> {
        let (head, mut words) = self.words(first, buffer.len());
        let (head, aligned) = buffer.split_at(head);
        let whole = aligned.chunks_exact(WORD);
        let tail = whole.remainder();
        let intact = whole.zip(&mut words).all(|(bytes, word)| bytes == word)
            && tail
                .iter()
                .zip(words.flatten())
                .all(|(byte, expected)| *byte == expected)
            && head
                .iter()
                .zip(first..)
                .all(|(byte, position)| *byte == self.byte(position));
        if intact {
            return None;
        }
        buffer
            .iter()
            .zip(first..)
            .enumerate()
            .find_map(|(index, (found, position))| {
                let expected = self.byte(position);
                (*found != expected).then_some(Difference {
                    index,
                    expected,
                    found: *found,
                })
            })
    }
}

/// Finds the first byte that is not zero.
pub(super) fn nonzero(buffer: &[u8]) -> Option<Difference> {
    // The first pass compares 64 bytes at a time, because blocks are long and almost never have such a byte.
    if buffer
        .chunks(64)
        .all(|bytes| bytes.iter().fold(0, |all, byte| all | byte) == 0)
    {
        return None;
    }
    let index = buffer.iter().position(|byte| *byte != 0)?;
    Some(Difference {
        index,
        expected: 0,
        found: buffer[index],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_fit_together_wherever_they_are_cut() {
        let content = FillPattern::new(1, 2);
        let mut whole = [0; 100];
        content.fill(0, &mut whole);
        for first in 0..40 {
            for len in 0..40 {
                let mut part = vec![0; len];
                content.fill(first, &mut part);
                assert_eq!(part, whole[first as usize..first as usize + len]);
                assert_eq!(content.compare(first, &part), None);
            }
        }
    }

    #[test]
    fn every_single_byte_counts() {
        let content = FillPattern::new(3, 4);
        let mut bytes = [0; 77];
        content.fill(5, &mut bytes);
        for index in 0..bytes.len() {
            bytes[index] ^= 0x10;
            let difference = content.compare(5, &bytes).unwrap();
            assert_eq!(difference.index, index);
            assert_eq!(difference.found, difference.expected ^ 0x10);
            bytes[index] ^= 0x10;
        }
    }

    #[test]
    fn blocks_and_places_differ() {
        let [mut a, mut b, mut moved] = [[0; 64]; 3];
        FillPattern::new(1, 1).fill(0, &mut a);
        FillPattern::new(1, 2).fill(0, &mut b);
        FillPattern::new(1, 1).fill(8, &mut moved);
        assert_ne!(a, b);
        assert_ne!(a, moved);
    }

    #[test]
    fn the_first_byte_that_is_not_zero_is_found() {
        let mut bytes = [0; 200];
        assert_eq!(nonzero(&bytes), None);
        bytes[133] = 9;
        bytes[150] = 1;
        assert_eq!(
            nonzero(&bytes).map(|difference| (difference.index, difference.found)),
            Some((133, 9))
        );
    }
}
