// SPDX-License-Identifier: GPL-2.0

//! A journal of an oracle's requests and answers, which survives the process.
//!
//! A faulty engine may end its process in the middle of a request. The journal is a file in memory that the parent of the
//! process reads afterwards, to learn which blocks were live at that moment and which request was under way.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{
        self,
        Write, //
    },
    os::unix::fs::FileExt,
};

use rustix::fs::{
    MemfdFlags,
    memfd_create, //
};

use super::block_model::BlockInfo;

/// The words of an entry: its kind and four figures.
const WORDS: usize = 5;

/// The bytes of an entry.
const ENTRY_BYTES: usize = WORDS * size_of::<u64>();

/// The kinds of entries.
mod kind {
    pub(super) const ALLOC: u64 = 1;
    pub(super) const FREE: u64 = 2;
    pub(super) const REALLOC: u64 = 3;
    pub(super) const CHECK: u64 = 4;
    pub(super) const PLACED: u64 = 5;
    pub(super) const REFUSED: u64 = 6;
    pub(super) const DONE: u64 = 7;
    pub(super) const NEW_POOL: u64 = 8;
}

/// A request of a client of the oracle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// An allocation.
    Alloc {
        /// The requested bytes.
        size: u64,
        /// The requested alignment.
        align: u64,
    },
    /// A free of a block.
    Free(JournalBlock),
    /// A change of a block's size.
    Realloc {
        /// The block before the request.
        block: JournalBlock,
        /// The requested bytes.
        size: u64,
    },
    /// A check of the engine's metadata.
    Check,
}

/// The answer to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// There is none: the request was under way when the process ended, or the answer broke a rule.
    None,
    /// A block.
    Block(JournalBlock),
    /// The request was refused.
    Refused,
    /// The request was executed.
    Done,
}

/// A block, as the oracle knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalBlock {
    /// The offset in the pool.
    pub offset: u64,
    /// The usable bytes.
    pub bytes: u64,
    /// The requested alignment.
    pub align: u64,
}

impl JournalBlock {
    /// Returns the offset of the first byte behind the block.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(self.bytes)
    }
}

/// The state at the end of a journal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// The live blocks, in the order of their offsets, without the block of the last request.
    pub live: Vec<JournalBlock>,
    /// The number of requests.
    pub requests: u64,
    /// The last request and its answer.
    pub last: Option<(Request, Answer)>,
}

/// A journal.
#[derive(Debug)]
pub struct Journal(File);

impl Journal {
    /// Creates an empty journal.
    ///
    /// # Errors
    ///
    /// There is no memory for the file.
    pub fn new() -> io::Result<Self> {
        let file = memfd_create("slablab journal", MemfdFlags::CLOEXEC)?;
        Ok(Self(file.into()))
    }

    /// Returns another reference to the same journal.
    ///
    /// # Errors
    ///
    /// The process has too many open files.
    pub fn share(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    fn append(&self, kind: u64, [a, b, c, d]: [u64; 4]) {
        let mut bytes = [0; ENTRY_BYTES];
        for (to, word) in bytes.chunks_exact_mut(8).zip([kind, a, b, c, d]) {
            to.copy_from_slice(&word.to_ne_bytes());
        }
        // A journal without memory ends early. The test itself is not affected.
        let _ = (&self.0).write_all(&bytes);
    }

    /// Begins anew, for another pool.
    pub(super) fn new_pool(&self) {
        self.append(kind::NEW_POOL, [0; 4]);
    }

    pub(super) fn alloc(&self, size: u64, align: u64) {
        self.append(kind::ALLOC, [size, align, 0, 0]);
    }

    pub(super) fn free(&self, handle: u32) {
        self.append(kind::FREE, [handle.into(), 0, 0, 0]);
    }

    pub(super) fn realloc(&self, handle: u32, size: u64) {
        self.append(kind::REALLOC, [handle.into(), size, 0, 0]);
    }

    pub(super) fn check(&self) {
        self.append(kind::CHECK, [0; 4]);
    }

    pub(super) fn placed(&self, place: &BlockInfo) {
        let handle = place.handle.into();
        self.append(
            kind::PLACED,
            [handle, place.offset, place.usable, place.align],
        );
    }

    pub(super) fn refused(&self) {
        self.append(kind::REFUSED, [0; 4]);
    }

    pub(super) fn done(&self) {
        self.append(kind::DONE, [0; 4]);
    }

    /// Reads the journal.
    ///
    /// # Errors
    ///
    /// The file is not readable.
    pub fn history(&self) -> io::Result<History> {
        let mut bytes = vec![0; self.0.metadata()?.len() as usize];
        self.0.read_exact_at(&mut bytes, 0)?;
        let mut reader = Reader::default();
        for entry in bytes.chunks_exact(ENTRY_BYTES) {
            let mut words = [0; WORDS];
            for (word, bytes) in words.iter_mut().zip(entry.chunks_exact(8)) {
                *word = u64::from_ne_bytes(bytes.try_into().unwrap_or_default());
            }
            reader.read(words);
        }
        Ok(reader.history())
    }
}

/// The state of a journal up to an entry.
#[derive(Default)]
struct Reader {
    /// The live blocks, by handle.
    live: BTreeMap<u64, JournalBlock>,
    requests: u64,
    last: Option<(Request, Answer)>,
    /// The block that the last request placed, with its handle. It is live from the next request on.
    placed: Option<(u64, JournalBlock)>,
}

impl Reader {
    fn read(&mut self, [kind, a, b, c, d]: [u64; WORDS]) {
        if matches!(kind, kind::ALLOC | kind::FREE | kind::REALLOC | kind::CHECK) {
            self.live.extend(self.placed.take());
            self.requests += u64::from(kind != kind::CHECK);
        }
        let unknown = JournalBlock {
            offset: 0,
            bytes: 0,
            align: 1,
        };
        match kind {
            kind::ALLOC => self.begin(Request::Alloc { size: a, align: b }),
            kind::FREE => {
                let block = self.live.remove(&a).unwrap_or(unknown);
                self.begin(Request::Free(block));
            }
            kind::REALLOC => {
                // A refused request leaves the block as it is.
                let block = self.live.remove(&a).unwrap_or(unknown);
                self.placed = Some((a, block));
                self.begin(Request::Realloc { block, size: b });
            }
            kind::CHECK => self.begin(Request::Check),
            kind::PLACED => {
                let block = JournalBlock {
                    offset: b,
                    bytes: c,
                    align: d,
                };
                self.placed = Some((a, block));
                self.end(Answer::Block(block));
            }
            kind::REFUSED => self.end(Answer::Refused),
            kind::NEW_POOL => *self = Self::default(),
            _ => self.end(Answer::Done),
        }
    }

    fn begin(&mut self, request: Request) {
        self.last = Some((request, Answer::None));
    }

    fn end(&mut self, answer: Answer) {
        if let Some((_, last)) = &mut self.last {
            *last = answer;
        }
    }

    fn history(self) -> History {
        let mut live: Vec<_> = self.live.into_values().collect();
        live.sort_by_key(|block| block.offset);
        History {
            live,
            requests: self.requests,
            last: self.last,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(handle: u32, offset: u64) -> BlockInfo {
        BlockInfo {
            handle,
            offset,
            usable: 24,
            size: 20,
            align: 8,
        }
    }

    #[test]
    fn a_journal_tells_the_live_blocks_and_the_last_request() {
        let journal = Journal::new().unwrap();
        assert_eq!(journal.history().unwrap(), History::default());
        let block = |offset| JournalBlock {
            offset,
            bytes: 24,
            align: 8,
        };
        for (handle, offset) in [(1, 64), (2, 0), (3, 128)] {
            journal.alloc(20, 8);
            journal.placed(&place(handle, offset));
        }
        let history = journal.share().unwrap().history().unwrap();
        let request = Request::Alloc { size: 20, align: 8 };
        assert_eq!(history.live, [block(0), block(64)]);
        assert_eq!(history.last, Some((request, Answer::Block(block(128)))));
        journal.realloc(2, 40);
        journal.refused();
        journal.free(1);
        let history = journal.history().unwrap();
        assert_eq!(history.live, [block(0), block(128)]);
        assert_eq!(history.requests, 5);
        assert_eq!(history.last, Some((Request::Free(block(64)), Answer::None)));
        journal.done();
        journal.check();
        let history = journal.history().unwrap();
        assert_eq!(history.last, Some((Request::Check, Answer::None)));
        assert_eq!((history.live.len(), history.requests), (2, 5));
        journal.new_pool();
        assert_eq!(journal.history().unwrap(), History::default());
    }
}
