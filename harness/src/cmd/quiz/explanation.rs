// SPDX-License-Identifier: GPL-2.0

//! The explanation of an operation of a quiz: that of `slablab replay --explain`, and what a learner of the rules
//! needs besides.

use slablab_trace::{
    Kind as OpKind,
    Op, //
};

use super::{
    QuizEngine,
    make::exact,
    question::free_blocks, //
};
use crate::{
    cmd::replay::explain::Explained,
    replay::OpOutcome,
    report::plain,
    uapi::{
        Cause,
        PAGE_BYTES,
        Path,
        slablab_alloc,
        slablab_stats, //
    },
};

/// The reply to a request in an empty pool. It shows how the engine rounds the size, also of a request that is
/// refused later.
#[derive(Clone, Copy)]
pub(super) struct EmptyPool(Option<slablab_alloc>);

impl EmptyPool {
    /// Repeats the request of an operation in an empty pool.
    ///
    /// # Errors
    ///
    /// When there is no memory for the pool.
    pub(super) fn of(engine: QuizEngine, op: &Op) -> anyhow::Result<Self> {
        Ok(Self(match op.kind {
            OpKind::Alloc { bytes, align } => engine.open()?.alloc(bytes.into(), align.into()).ok(),
            OpKind::Realloc { .. } | OpKind::Free => None,
        }))
    }

    /// Returns the bytes of the block.
    fn block_bytes(self) -> Option<u64> {
        self.0.map(|reply| reply.usable)
    }

    /// Returns the bytes by which a slab grows for the request.
    fn growth_bytes(self) -> Option<u64> {
        let cost = self.0?.cost;
        let grows = u32::from(cost.path) == Path::Growth.raw();
        grows.then(|| PAGE_BYTES << cost.order)
    }
}

/// Returns the bytes of the size class that served an operation.
pub(super) fn class_bytes(explained: &Explained) -> Option<u64> {
    let classes = &explained.after.classes[..explained.after.class_count as usize];
    let class = classes.get(usize::from(explained.answer.cost.class_index))?;
    Some(class.block_bytes)
}

/// Returns whether the buddy system had no block that was large enough for a request, when it was first tried.
pub(super) fn was_under_pressure(explained: &Explained) -> bool {
    let cost = &explained.answer.cost;
    match (
        explained.answer.outcome,
        Path::from_raw(u32::from(cost.path)),
    ) {
        (OpOutcome::Refused(cause), _) => cause != Cause::TooBig,
        (OpOutcome::Done, Some(Path::Buddy | Path::Growth)) => {
            let large_enough = explained.before.orders.iter().skip(cost.order.into());
            large_enough.map(|of| of.free_blocks).sum::<u64>() == 0
        }
        _ => false,
    }
}

/// Returns the explanation of an operation, in sentences.
pub(super) fn sentences(
    engine: QuizEngine,
    op: &Op,
    empty: EmptyPool,
    explained: &Explained,
) -> Vec<String> {
    let mut sentences = Vec::new();
    if let OpKind::Alloc { bytes, .. } = op.kind {
        sentences.extend(rounding(engine, bytes.into(), empty));
        sentences.extend(before(engine, empty, explained));
    }
    sentences.extend(explained.sentences.iter().map(|sentence| plain(sentence)));
    if let OpKind::Alloc { .. } = op.kind {
        sentences.extend(refill(explained));
    }
    sentences.push(format!(
        "Free blocks now: {}.",
        free_blocks(&explained.after)
    ));
    sentences
}

/// Explains how the size of a request is rounded up.
fn rounding(engine: QuizEngine, bytes: u64, empty: EmptyPool) -> Option<String> {
    let block_bytes = empty
        .block_bytes()
        .filter(|block_bytes| *block_bytes > bytes)?;
    let pages = match engine {
        QuizEngine::Hybrid if block_bytes > PAGE_BYTES => {
            format!(", {} pages", block_bytes / PAGE_BYTES)
        }
        _ => String::new(),
    };
    Some(format!(
        "The request of {} is rounded up to a block of {}{pages}.",
        exact(bytes),
        exact(block_bytes)
    ))
}

/// Explains what the engine found before it served or refused a request.
fn before(engine: QuizEngine, empty: EmptyPool, explained: &Explained) -> Option<String> {
    let path = Path::from_raw(u32::from(explained.answer.cost.path));
    match (engine, explained.answer.outcome, path) {
        (_, OpOutcome::Refused(Cause::TooBig), _) => None,
        (QuizEngine::Hybrid, OpOutcome::Done, Some(Path::Slab | Path::Growth)) => {
            Some("The magazine was empty.".to_owned())
        }
        (QuizEngine::Hybrid, ..) if was_under_pressure(explained) => Some(
            "No free block was large enough, so the magazines were emptied, empty slabs were freed, and the \
             request was tried again."
                .to_owned(),
        ),
        (QuizEngine::Seed, OpOutcome::Refused(_), _) => empty.growth_bytes().map(|bytes| {
            format!(
                "The slab has no free block, so it needs 64 blocks, {}, from the buddy system.",
                exact(bytes)
            )
        }),
        _ => None,
    }
}

/// Explains a refill of a magazine.
fn refill(explained: &Explained) -> Option<String> {
    let class = usize::from(explained.answer.cost.class_index);
    let objects =
        |stats: &slablab_stats| stats.classes.get(class).map(|class| class.magazine_blocks);
    let more = objects(&explained.after)?.checked_sub(objects(&explained.before)?)?;
    (more > 0).then(|| format!("The refill put {more} more objects into the magazine."))
}
