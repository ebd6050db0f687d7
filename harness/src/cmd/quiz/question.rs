// SPDX-License-Identifier: GPL-2.0

//! The kinds of questions, and the right answer to each.

use std::collections::BTreeMap;

use clap::ValueEnum;
use serde::{
    Deserialize,
    Serialize, //
};
use slablab_trace::{
    Kind as OpKind,
    Op, //
};

use super::{
    QuizEngine,
    answer::{
        Answer,
        REFUSED,
        SERVED, //
    },
};
use crate::{
    cmd::replay::explain::Explained,
    replay::OpOutcome,
    uapi::{
        PAGE_BYTES,
        Path,
        SLABLAB_UNKNOWN,
        slablab_stats, //
    },
};

/// A kind of question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    /// Whether a request is served, or the cause of its refusal
    Result,
    /// The offset of an allocated block
    Offset,
    /// The path of an allocation or a free through the engine
    Path,
    /// The usable bytes of an allocated block
    Usable,
    /// The bytes of an allocated block that were not requested
    Waste,
    /// The blocks of the buddy system that an allocation splits
    Splits,
    /// The pairs of buddies that a free merges
    Merges,
    /// The free blocks of the buddy system after an operation, by size
    Lists,
}

/// A question about an operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Question {
    /// The number in the quiz, from 1.
    pub(super) number: usize,
    pub(super) kind: Kind,
    pub(super) text: String,
    pub(super) answer: Answer,
}

impl Kind {
    /// Returns all kinds, in the order in which they are asked.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        Self::value_variants().iter().copied()
    }

    /// Returns the name on the command line.
    pub(super) fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// The words that answer a question of this kind; `None` if the answer is a number or a list.
    pub(super) fn words(self) -> Option<&'static [&'static str]> {
        match self {
            Self::Result => Some(&[SERVED, "too big", "exhausted", "fragmented"]),
            Self::Path => Some(&["magazine", "slab", "growth", "buddy", REFUSED]),
            _ => None,
        }
    }

    /// Returns the question about an operation on the block `name`.
    pub(super) fn text(self, op: &Op, name: &str, engine: QuizEngine) -> String {
        let is_free = matches!(op.kind, OpKind::Free);
        match self {
            Self::Result => {
                "Is the request served, or is it refused as too big, exhausted or fragmented?"
                    .into()
            }
            Self::Offset => format!("At which offset does the block {name} begin?"),
            Self::Path if is_free => format!(
                "By which path is the block {name} freed: {}?",
                match engine {
                    QuizEngine::Hybrid => "magazine, slab or buddy",
                    QuizEngine::Seed | QuizEngine::Buddy => "slab or buddy",
                }
            ),
            Self::Path => format!(
                "By which path is the block {name} allocated: {}?",
                match engine {
                    QuizEngine::Hybrid => "magazine, slab, growth or buddy",
                    QuizEngine::Seed | QuizEngine::Buddy => "slab, growth or buddy",
                }
            ),
            Self::Usable => format!("How many bytes does the block {name} have?"),
            Self::Waste => format!("How many bytes of the block {name} were not requested?"),
            Self::Splits => "How many times is a block split into halves?".into(),
            Self::Merges => "How many times do two buddies merge?".into(),
            Self::Lists => "Which blocks are free after this operation?".into(),
        }
    }

    /// Returns the right answer to a question of this kind about an operation. `None` if the question does not apply to
    /// the operation, or if the engine does not report the answer.
    pub(super) fn answer(
        self,
        op: &Op,
        engine: QuizEngine,
        explained: &Explained,
    ) -> Option<Answer> {
        let OpKind::Alloc { bytes, .. } = op.kind else {
            return self.answer_free(engine, explained);
        };
        let answer = &explained.answer;
        if let OpOutcome::Refused(cause) = answer.outcome {
            return match self {
                Self::Result => Some(Answer::word(cause.name())),
                Self::Lists => Some(free_blocks(&explained.after)),
                Self::Merges => None,
                Self::Path if engine == QuizEngine::Buddy => None,
                _ => Some(Answer::word(REFUSED)),
            };
        }
        match self {
            Self::Result => Some(Answer::word(SERVED)),
            Self::Offset => Some(Answer::Offset(answer.offset)),
            Self::Path if engine == QuizEngine::Buddy => None,
            Self::Path => Some(Answer::word(path(explained)?.name())),
            Self::Usable => Some(Answer::Bytes(answer.usable)),
            Self::Waste => Some(Answer::Bytes(answer.usable.checked_sub(bytes.into())?)),
            Self::Splits => splits(explained).map(Answer::Count),
            Self::Merges => None,
            Self::Lists => Some(free_blocks(&explained.after)),
        }
    }

    /// Returns the right answer to a question about a free.
    fn answer_free(self, engine: QuizEngine, explained: &Explained) -> Option<Answer> {
        match self {
            Self::Path if engine != QuizEngine::Buddy => {
                Some(Answer::word(path(explained)?.name()))
            }
            Self::Merges => merges(explained).map(Answer::Count),
            Self::Lists => Some(free_blocks(&explained.after)),
            _ => None,
        }
    }

    /// Returns whether a question of this kind applies to an operation of this kind.
    pub(super) fn applies(self, op: &Op, engine: QuizEngine) -> bool {
        match (self, op.kind) {
            (Self::Path, _) => engine != QuizEngine::Buddy,
            (Self::Lists, _) => true,
            (Self::Merges, OpKind::Free) => true,
            (Self::Merges, _) | (_, OpKind::Free) => false,
            _ => true,
        }
    }
}

/// Returns the free blocks of the buddy system by their bytes.
pub(super) fn free_blocks(stats: &slablab_stats) -> Answer {
    let orders = (0..).zip(&stats.orders);
    let free = orders.filter(|(_, of)| of.free_blocks > 0);
    let blocks: BTreeMap<_, _> = free
        .map(|(order, of)| (PAGE_BYTES << order, of.free_blocks))
        .collect();
    Answer::FreeBlocks(blocks)
}

fn path(explained: &Explained) -> Option<Path> {
    Path::from_raw(u32::from(explained.answer.cost.path))
}

/// Returns a count of the reply, if the engine knows it.
fn known(count: u8) -> Option<u64> {
    (u32::from(count) != SLABLAB_UNKNOWN).then_some(count.into())
}

/// Returns the number of splits of an allocation that was served.
fn splits(explained: &Explained) -> Option<u64> {
    let cost = &explained.answer.cost;
    let class = usize::from(cost.class_index);
    let growths = |stats: &slablab_stats| stats.classes.get(class).map(|class| class.growths);
    match path(explained)? {
        Path::Buddy => known(cost.splits),
        // The reply counts the splits of the first growth only.
        Path::Growth if growths(&explained.after)? == growths(&explained.before)? + 1 => {
            known(cost.splits)
        }
        // The reply does not count the work of a refill.
        Path::Magazine | Path::Depot | Path::Slab if buddies_are_unchanged(explained) => Some(0),
        _ => None,
    }
}

/// Returns the number of merges of a free.
fn merges(explained: &Explained) -> Option<u64> {
    match path(explained)? {
        // The reply does not count the work of a flush.
        Path::Magazine | Path::Depot if buddies_are_unchanged(explained) => Some(0),
        Path::Slab | Path::Buddy => known(explained.answer.cost.merges),
        _ => None,
    }
}

/// Returns whether the same numbers of blocks are free in the buddy system before and after the operation.
fn buddies_are_unchanged(explained: &Explained) -> bool {
    free_blocks(&explained.before) == free_blocks(&explained.after)
}
