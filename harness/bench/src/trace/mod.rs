// SPDX-License-Identifier: GPL-2.0

//! Generated traces: what programs ask of an allocator, without the programs.
//!
//! Each is made from a seed by a few lines that say what it is. None is a recording.

mod classic;
mod newer;

use std::ptr;

use crate::{
    heap::Heap,
    rng::Rng, //
};

/// What every block is aligned to.
const ALIGN: usize = 8;

/// A block of a trace, by number.
pub(crate) type Id = u32;

/// A step of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// Allocates.
    Alloc(Id, u32),
    /// Frees.
    Free(Id),
    /// Gives another size.
    Realloc(Id, u32),
}

/// Which traces belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// The patterns that the classic exercise in writing a `malloc` is graded by.
    Classic,
    /// Mostly small blocks: strings, trees, tables that grow.
    Newer,
}

/// A trace.
pub(crate) struct Trace {
    /// What it is called.
    pub(crate) name: &'static str,
    /// Where it belongs.
    pub(crate) family: Family,
    /// What is done, in order. Everything is freed at the end.
    pub(crate) ops: Vec<Op>,
    /// How many numbers blocks have.
    pub(crate) ids: usize,
    /// The most bytes that are out at once.
    pub(crate) peak_bytes: usize,
}

/// A trace that is being made.
pub(super) struct Builder {
    /// Numbers for whoever draws some.
    pub(super) rng: Rng,
    /// A tenth of it all is enough.
    brief: bool,
    ops: Vec<Op>,
    sizes: Vec<u32>,
    bytes: usize,
    peak_bytes: usize,
}

impl Builder {
    /// Returns a count, or a tenth of it when it has to be brief.
    pub(super) fn times(&self, count: usize) -> usize {
        if self.brief { count / 10 } else { count }
    }

    /// Allocates a block.
    pub(super) fn alloc(&mut self, size: u64) -> Id {
        let id = self.sizes.len() as Id;
        self.sizes.push(size as u32);
        self.ops.push(Op::Alloc(id, size as u32));
        self.account(0, size as usize);
        id
    }

    /// Frees a block.
    pub(super) fn free(&mut self, id: Id) {
        let size = std::mem::take(&mut self.sizes[id as usize]);
        assert_ne!(size, 0, "a trace frees block {id} twice");
        self.ops.push(Op::Free(id));
        self.account(size as usize, 0);
    }

    /// Gives a block another size.
    pub(super) fn realloc(&mut self, id: Id, size: u64) {
        let old = std::mem::replace(&mut self.sizes[id as usize], size as u32);
        assert_ne!(old, 0, "a trace resizes block {id}, which is free");
        self.ops.push(Op::Realloc(id, size as u32));
        self.account(old as usize, size as usize);
    }

    /// Returns the size of a block that is out.
    pub(super) fn size(&self, id: Id) -> u64 {
        u64::from(self.sizes[id as usize])
    }

    /// Draws a number from `low` to `high`, all as likely.
    pub(super) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.rng.below(high - low + 1)
    }

    /// Takes a random one out of a list.
    pub(super) fn pick<T>(&mut self, list: &mut Vec<T>) -> T {
        let index = self.rng.index(list.len());
        list.swap_remove(index)
    }

    /// Frees all of a list.
    pub(super) fn free_all(&mut self, list: impl IntoIterator<Item = Id>) {
        list.into_iter().for_each(|id| self.free(id));
    }

    fn account(&mut self, less: usize, more: usize) {
        self.bytes = self.bytes - less + more;
        self.peak_bytes = self.peak_bytes.max(self.bytes);
    }
}

/// What makes a trace.
type Generator = fn(&mut Builder);

/// Makes all traces.
pub(crate) fn all(seed: u64, brief: bool) -> Vec<Trace> {
    let classic = classic::ALL.iter().map(|made| (Family::Classic, made));
    let newer = newer::ALL.iter().map(|made| (Family::Newer, made));
    let all = classic.chain(newer).enumerate();
    all.map(|(stream, (family, (name, generate)))| {
        let mut builder = Builder {
            rng: Rng::split(seed, stream as u64),
            brief,
            ops: Vec::new(),
            sizes: Vec::new(),
            bytes: 0,
            peak_bytes: 0,
        };
        generate(&mut builder);
        for id in 0..builder.sizes.len() {
            if builder.sizes[id] != 0 {
                builder.free(id as Id);
            }
        }
        Trace {
            name,
            family,
            ops: builder.ops,
            ids: builder.sizes.len(),
            peak_bytes: builder.peak_bytes,
        }
    })
    .collect()
}

/// Returns the most bytes that are out at once when each block has what `usable` says.
pub(crate) fn rounded_peak(trace: &Trace, usable: impl Fn(usize, usize) -> usize) -> usize {
    let mut sizes = vec![0; trace.ids];
    let (mut bytes, mut peak) = (0, 0);
    for op in &trace.ops {
        let (id, size) = match *op {
            Op::Alloc(id, size) | Op::Realloc(id, size) => (id, usable(size as usize, ALIGN)),
            Op::Free(id) => (id, 0),
        };
        bytes = bytes - std::mem::replace(&mut sizes[id as usize], size) + size;
        peak = peak.max(bytes);
    }
    peak
}

/// Does what a trace says and says whether there was room for all of it. What is out when there was
/// not is left there.
pub(crate) fn replay(trace: &Trace, heap: &dyn Heap) -> bool {
    let mut blocks = vec![(ptr::null_mut::<u8>(), 0_usize); trace.ids];
    for op in &trace.ops {
        match *op {
            Op::Alloc(id, size) => {
                let size = size as usize;
                let block = heap.alloc(size, ALIGN);
                if block.is_null() {
                    return false;
                }
                blocks[id as usize] = (block, size);
            }
            Op::Free(id) => {
                let (block, size) = blocks[id as usize];
                // SAFETY: The trace allocated it and frees it once.
                unsafe { heap.free(block, size, ALIGN) };
            }
            Op::Realloc(id, new) => {
                let (block, size) = blocks[id as usize];
                // SAFETY: The trace allocated it and has not freed it.
                let block = unsafe { heap.realloc(block, size, ALIGN, new as usize) };
                if block.is_null() {
                    return false;
                }
                blocks[id as usize] = (block, new as usize);
            }
        }
    }
    true
}
