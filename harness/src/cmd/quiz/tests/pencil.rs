// SPDX-License-Identifier: GPL-2.0

//! An allocator that is written from the rules of the page only, as a learner with a pencil would follow them.

use std::collections::{
    BTreeMap,
    BTreeSet, //
};

use slablab_trace::{
    Kind as OpKind,
    Op, //
};

use super::super::{
    POOL_BYTES,
    QuizEngine,
    answer::Answer,
    question::Kind, //
};

const KIB: u64 = 1 << 10;

/// The size classes that the page of `hybrid` names.
const HYBRID_CLASSES: [u64; 16] = [
    8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256,
];

/// The results of an operation.
#[derive(Debug, Default)]
pub(super) struct Effect {
    refused: Option<&'static str>,
    offset: u64,
    usable: u64,
    requested: u64,
    path: &'static str,
    splits: u64,
    merges: u64,
    free: BTreeMap<u64, u64>,
}

impl Effect {
    /// Returns the answer to a question about the operation.
    pub(super) fn answer(&self, kind: Kind) -> Answer {
        match (kind, self.refused) {
            (Kind::Result, cause) => Answer::word(cause.unwrap_or("served")),
            (Kind::Lists, _) => Answer::FreeBlocks(self.free.clone()),
            (_, Some(_)) => Answer::word("refused"),
            (Kind::Offset, _) => Answer::Offset(self.offset),
            (Kind::Path, _) => Answer::word(self.path),
            (Kind::Usable, _) => Answer::Bytes(self.usable),
            (Kind::Waste, _) => Answer::Bytes(self.usable - self.requested),
            (Kind::Splits, _) => Answer::Count(self.splits),
            (Kind::Merges, _) => Answer::Count(self.merges),
        }
    }
}

/// A rule that a learner has not understood.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Mistake {
    /// Takes the block with the lowest offset instead of the one that became free last.
    LowestBlock,
    /// Takes the block that became free last instead of an outermost one.
    LastBlock,
    /// Allocates the first block of a growth first.
    GrowthUpwards,
    /// Takes a slab from the lower half.
    SlabBelow,
    /// Does not prefetch objects for the magazine.
    NoPrefetch,
    /// Does not raise the capacity of an empty magazine a second time.
    OneCapacity,
    /// Keeps the capacities of magazines that are emptied.
    CapacityStays,
    /// Keeps the slabs that become empty.
    SlabsStay,
    /// Compares the requested bytes with the free bytes, not the block.
    RequestedBytes,
    /// Merges a block once only.
    OneMerge,
}

/// Free blocks as (offset, size), in the order in which they became free.
struct Buddy {
    engine: QuizEngine,
    mistake: Option<Mistake>,
    free: Vec<(u64, u64)>,
    splits: u64,
    merges: u64,
}

/// The half of a block that is used.
#[derive(Clone, Copy, PartialEq)]
enum Half {
    Lower,
    Upper,
}

impl Buddy {
    fn take(&mut self, size: u64, half: Half) -> Option<u64> {
        let smallest = self
            .free
            .iter()
            .map(|block| block.1)
            .filter(|free| *free >= size)
            .min()?;
        let candidates = self.free.iter().enumerate();
        let mut candidates = candidates.filter(|(_, block)| block.1 == smallest);
        let chosen = match (self.engine, self.mistake, half) {
            (_, Some(Mistake::LowestBlock), _) => candidates.min_by_key(|(_, block)| block.0),
            (QuizEngine::Buddy | QuizEngine::Seed, ..) | (_, Some(Mistake::LastBlock), _) => {
                candidates.next_back()
            }
            (QuizEngine::Hybrid, _, Half::Lower) => candidates.min_by_key(|(_, block)| block.0),
            (QuizEngine::Hybrid, _, Half::Upper) => candidates.max_by_key(|(_, block)| block.0),
        };
        let (chosen, _) = chosen?;
        let (mut offset, mut free) = self.free.remove(chosen);
        while free > size {
            free /= 2;
            self.splits += 1;
            match half {
                Half::Lower => self.free.push((offset + free, free)),
                Half::Upper => {
                    self.free.push((offset, free));
                    offset += free;
                }
            }
        }
        Some(offset)
    }

    fn give(&mut self, mut offset: u64, mut size: u64) {
        while let Some(buddy) = self
            .free
            .iter()
            .position(|free| *free == (offset ^ size, size))
        {
            self.free.remove(buddy);
            self.merges += 1;
            offset = offset.min(offset ^ size);
            size *= 2;
            if self.mistake == Some(Mistake::OneMerge) {
                break;
            }
        }
        self.free.push((offset, size));
    }

    fn bytes(&self) -> u64 {
        self.free.iter().map(|block| block.1).sum()
    }

    fn counts(&self) -> BTreeMap<u64, u64> {
        let mut counts = BTreeMap::new();
        for (_, size) in &self.free {
            *counts.entry(*size).or_default() += 1;
        }
        counts
    }
}

/// A class of `hybrid`.
#[derive(Default)]
struct Class {
    slab: Option<u64>,
    /// The objects that are live or in the magazine.
    allocated: BTreeSet<u64>,
    magazine: Vec<u64>,
    capacity: usize,
}

impl Class {
    fn raise(&mut self) {
        self.capacity = (2 * self.capacity).max(4);
    }
}

/// The allocator.
pub(super) struct Pencil {
    engine: QuizEngine,
    mistake: Option<Mistake>,
    buddy: Buddy,
    /// The stacks of `seed`, by block size.
    stacks: BTreeMap<u64, Vec<u64>>,
    /// The classes of `hybrid`, by object size.
    classes: BTreeMap<u64, Class>,
    /// The live blocks: offset, and bytes.
    live: BTreeMap<u32, (u64, u64)>,
}

impl Pencil {
    pub(super) fn new(engine: QuizEngine, mistake: Option<Mistake>) -> Self {
        Self {
            engine,
            mistake,
            buddy: Buddy {
                engine,
                mistake,
                free: vec![(0, POOL_BYTES)],
                splits: 0,
                merges: 0,
            },
            stacks: BTreeMap::new(),
            classes: BTreeMap::new(),
            live: BTreeMap::new(),
        }
    }

    /// Executes an operation.
    pub(super) fn execute(&mut self, op: &Op) -> Effect {
        (self.buddy.splits, self.buddy.merges) = (0, 0);
        let mut effect = match op.kind {
            OpKind::Alloc { bytes, .. } => {
                let bytes = u64::from(bytes);
                let mut effect = match self.engine {
                    QuizEngine::Buddy | QuizEngine::Seed => self.allocate_seed(bytes),
                    QuizEngine::Hybrid => self.allocate_hybrid(bytes),
                };
                effect.requested = bytes;
                effect.splits = self.buddy.splits;
                if effect.refused.is_none() {
                    self.live.insert(op.id, (effect.offset, effect.usable));
                }
                effect
            }
            OpKind::Free => {
                let (offset, bytes) = self.live.remove(&op.id).unwrap();
                let path = self.free(offset, bytes);
                Effect {
                    path,
                    merges: self.buddy.merges,
                    ..Effect::default()
                }
            }
            OpKind::Realloc { .. } => panic!("a quiz has no reallocations"),
        };
        effect.free = self.buddy.counts();
        effect
    }

    fn allocate_seed(&mut self, bytes: u64) -> Effect {
        let class = (6..=12).map(|shift| 1 << shift).find(|size| *size >= bytes);
        let size = class.unwrap_or(bytes.next_power_of_two());
        let mut effect = Effect {
            usable: size,
            path: "buddy",
            ..Effect::default()
        };
        let is_empty = |stack: Option<&Vec<u64>>| stack.is_none_or(Vec::is_empty);
        let needed = match class {
            Some(_) if is_empty(self.stacks.get(&size)) => 64 * size,
            Some(_) => {
                effect.path = "slab";
                effect.offset = self.stacks.get_mut(&size).unwrap().pop().unwrap();
                return effect;
            }
            None => size,
        };
        match self.buddy.take(needed, Half::Lower) {
            Some(offset) if class.is_some() => {
                effect.path = "growth";
                let mut blocks: Vec<_> = (0..64).map(|number| offset + number * size).collect();
                if self.mistake == Some(Mistake::GrowthUpwards) {
                    blocks.reverse();
                }
                let stack = self.stacks.entry(size).or_default();
                stack.extend(blocks);
                effect.offset = stack.pop().unwrap();
            }
            Some(offset) => effect.offset = offset,
            None if needed > POOL_BYTES => effect.refused = Some("too big"),
            None => {
                let compared = match self.mistake {
                    Some(Mistake::RequestedBytes) => bytes,
                    _ => needed,
                };
                let is_exhausted = compared > self.buddy.bytes();
                effect.refused = Some(if is_exhausted {
                    "exhausted"
                } else {
                    "fragmented"
                });
            }
        }
        effect
    }

    fn allocate_hybrid(&mut self, bytes: u64) -> Effect {
        if bytes > 4 * KIB {
            return self.allocate_pages(bytes.next_multiple_of(4 * KIB));
        }
        let size = *HYBRID_CLASSES.iter().find(|size| **size >= bytes).unwrap();
        let class = self.classes.entry(size).or_default();
        let mut effect = Effect {
            usable: size,
            path: "magazine",
            ..Effect::default()
        };
        if let Some(object) = class.magazine.pop() {
            effect.offset = object;
            return effect;
        }
        if self.mistake != Some(Mistake::OneCapacity) || class.capacity == 0 {
            class.raise();
        }
        effect.path = match class.slab {
            Some(_) => "slab",
            None => {
                let half = match self.mistake {
                    Some(Mistake::SlabBelow) => Half::Lower,
                    _ => Half::Upper,
                };
                class.slab = Some(self.buddy.take(4 * KIB, half).unwrap());
                "growth"
            }
        };
        let slab = class.slab.unwrap();
        let objects = (slab..)
            .step_by(size as usize)
            .take((4 * KIB / size) as usize);
        let free = objects.filter(|object| !class.allocated.contains(object));
        let prefetched = match self.mistake {
            Some(Mistake::NoPrefetch) => 0,
            _ => class.capacity / 2,
        };
        let taken: Vec<_> = free.take(1 + prefetched).collect();
        assert_eq!(taken.len(), 1 + prefetched, "the slab suffices");
        class.allocated.extend(&taken);
        effect.offset = taken[0];
        class.magazine.extend(taken[1..].iter().rev());
        effect
    }

    fn allocate_pages(&mut self, bytes: u64) -> Effect {
        let mut effect = Effect {
            usable: bytes,
            path: "buddy",
            ..Effect::default()
        };
        if bytes > POOL_BYTES {
            effect.refused = Some("too big");
            return effect;
        }
        assert!(bytes.is_power_of_two(), "the page says so");
        let mut offset = self.buddy.take(bytes, Half::Lower);
        if offset.is_none() {
            for class in self.classes.values_mut() {
                for object in class.magazine.drain(..) {
                    class.allocated.remove(&object);
                }
                if self.mistake != Some(Mistake::CapacityStays) {
                    class.capacity = 0;
                }
                if self.mistake != Some(Mistake::SlabsStay) && class.allocated.is_empty() {
                    if let Some(slab) = class.slab.take() {
                        self.buddy.give(slab, 4 * KIB);
                    }
                }
            }
            offset = self.buddy.take(bytes, Half::Lower);
        }
        match offset {
            Some(offset) => effect.offset = offset,
            None if bytes > self.buddy.bytes() => effect.refused = Some("exhausted"),
            None => effect.refused = Some("fragmented"),
        }
        effect
    }

    fn free(&mut self, offset: u64, bytes: u64) -> &'static str {
        if bytes > 4 * KIB {
            self.buddy.give(offset, bytes);
            return "buddy";
        }
        if self.engine == QuizEngine::Hybrid {
            let class = self.classes.get_mut(&bytes).unwrap();
            if class.magazine.len() == class.capacity {
                class.raise();
            }
            class.magazine.push(offset);
            return "magazine";
        }
        self.stacks.get_mut(&bytes).unwrap().push(offset);
        "slab"
    }
}
