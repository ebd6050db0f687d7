// SPDX-License-Identifier: GPL-2.0

//! Draws the operations of a quiz.
//!
//! The sizes of a quiz are chosen so that its rules fit on a page: see [`rules`](super::rules). A quiz of `hybrid` has
//! objects of at most [`HYBRID_OBJECT_BYTES_MAX`] bytes in few operations, so that no refill needs two slabs and
//! the budget of magazines suffices. Its blocks of pages have more than 16 pages, because smaller ones have magazines, and
//! a power of two of pages, because adjacent free blocks serve other numbers of pages together.

use anyhow::Context;
use slablab_trace::{
    ALIGN,
    Builder,
    Id,
    Trace, //
};

use super::{
    POOL_BYTES,
    QuizEngine, //
};
use crate::{
    rng::Rng,
    target::Target, //
};

/// The largest number of operations of a quiz.
pub(super) const OPERATIONS_MAX: u64 = 16;

/// The largest objects in a quiz of `hybrid`: a slab of one page has 21 of them, and [`OPERATIONS_MAX`] allocations
/// take at most 17.
const HYBRID_OBJECT_BYTES_MAX: u64 = 192;

/// The largest object of `seed`.
const SEED_OBJECT_BYTES_MAX: u64 = 4096;

/// The number of size classes of a quiz, so that classes are used again.
const CLASSES: usize = 2;

/// The chance of a request that an empty pool could not serve: 1 of this number.
const TOO_BIG: u64 = 24;

const KIB: u64 = 1 << 10;

/// The sizes that a quiz requests.
struct Sizes {
    engine: QuizEngine,
    /// The smallest and the largest request of each class of the quiz, in bytes.
    classes: Vec<(u64, u64)>,
}

impl Sizes {
    /// Chooses size classes among those that the session's engine reports.
    fn draw(engine: QuizEngine, target: &dyn Target, rng: &mut Rng) -> anyhow::Result<Self> {
        let bytes_max = match engine {
            QuizEngine::Buddy => 0,
            QuizEngine::Hybrid => HYBRID_OBJECT_BYTES_MAX,
            QuizEngine::Seed => SEED_OBJECT_BYTES_MAX,
        };
        let stats = target.stats().context("STATS failed")?;
        let classes = &stats.classes[..stats.class_count as usize];
        let smaller = std::iter::once(0).chain(classes.iter().map(|class| class.block_bytes));
        let ranges = smaller.zip(classes.iter().map(|class| class.block_bytes));
        let mut all: Vec<_> = ranges.filter(|(_, bytes)| *bytes <= bytes_max).collect();
        let mut classes = Vec::new();
        while classes.len() < CLASSES && !all.is_empty() {
            let (smaller, bytes) = all.swap_remove(rng.index(all.len()));
            classes.push((smaller + 1, bytes));
        }
        Ok(Self { engine, classes })
    }

    /// Draws the size of a request, in bytes.
    fn request(&self, rng: &mut Rng) -> u64 {
        if rng.chance(1, TOO_BIG) {
            return KIB * between(rng, POOL_BYTES / KIB + 1, 2 * POOL_BYTES / KIB);
        }
        let small = match self.engine {
            QuizEngine::Buddy => 0,
            QuizEngine::Hybrid | QuizEngine::Seed => 3,
        };
        if rng.chance(small, 6) {
            let (least, most) = self.classes[rng.index(self.classes.len())];
            return between(rng, least, most);
        }
        // The block of the buddy system has `most` KiB.
        let orders = match self.engine {
            QuizEngine::Buddy => [32, 64, 128, 256, 512],
            QuizEngine::Seed => [8, 32, 128, 256, 512],
            QuizEngine::Hybrid => [128, 128, 256, 256, 512],
        };
        let most = orders[rng.index(orders.len())];
        let least = match self.engine {
            QuizEngine::Buddy | QuizEngine::Seed => most / 2 + 1,
            // `hybrid` rounds up to pages of 4 KiB.
            QuizEngine::Hybrid => most - 3,
        };
        KIB * between(rng, least, most)
    }
}

/// Draws a number from `least` to `most`.
fn between(rng: &mut Rng, least: u64, most: u64) -> u64 {
    least + rng.below(most - least + 1)
}

/// Draws `count` operations. They are executed on `target`, a session with a new pool, because only a block whose request
/// was served can be freed.
///
/// # Errors
///
/// When a call fails that must succeed.
pub(super) fn draw(
    engine: QuizEngine,
    target: &dyn Target,
    count: u64,
    rng: &mut Rng,
) -> anyhow::Result<Trace> {
    let sizes = Sizes::draw(engine, target, rng)?;
    let mut trace = Builder::new();
    let mut live: Vec<(Id, u32)> = Vec::new();
    for _ in 0..count {
        if live.len() >= 2 && rng.chance(2, 5) {
            let (id, handle) = live.swap_remove(rng.index(live.len()));
            target.free(handle).context("FREE failed")?;
            trace.free(id);
        } else {
            let bytes = sizes.request(rng);
            // At most 2 MiB.
            let id = trace.alloc(bytes as u32, ALIGN);
            if let Ok(block) = target.alloc(bytes, ALIGN.into()) {
                live.push((id, block.handle));
            }
        }
    }
    Ok(trace.finish("quiz", ""))
}
