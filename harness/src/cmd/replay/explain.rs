// SPDX-License-Identifier: GPL-2.0

//! The explanation of one operation, in words.
//!
//! The sources are the reply to the operation and the statistics before and after it. For the seed, a
//! model adds the counts of the buddy system that the seed does not report.

use std::ops::Range;

use anyhow::{
    Context,
    bail, //
};
use slablab_trace::{
    Kind,
    Op,
    Trace, //
};

use crate::{
    oracle::Oracle,
    replay::{
        Answer,
        Checked,
        OpOutcome,
        seed_model::{
            ModelMismatch,
            SeedModel, //
        },
        words, //
    },
    report::{
        BAD,
        BOLD,
        bytes,
        count,
        percent, //
    },
    target::Target,
    uapi::{
        self,
        Cause,
        Engine,
        Path,
        slablab_stats, //
    },
};

/// The bytes of a page.
const PAGE_BYTES: u64 = 4096;

/// The maximum number of operations that are explained at once: more output is not readable.
const OPERATIONS_MAX: u64 = 1000;

/// A range of operations, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Operations {
    first: u64,
    last: u64,
}

impl Operations {
    /// Parses the number of an operation, or a range of them.
    ///
    /// # Errors
    ///
    /// The error is the sentence for the user.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let number = |word: &str| match word.parse() {
            Ok(0) => Err("operations are counted from 1".to_owned()),
            Ok(number) => Ok(number),
            Err(_) => Err("write the number of an operation, or a range such as 1-5".to_owned()),
        };
        let (first, last): (u64, u64) = (number(first)?, number(last)?);
        if first > last {
            return Err(format!(
                "the range ends before it begins: try {last}-{first}"
            ));
        }
        if last - first >= OPERATIONS_MAX {
            return Err(format!(
                "at most {OPERATIONS_MAX} operations are explained at once"
            ));
        }
        Ok(Self { first, last })
    }
}

/// Replays a trace up to the last one of `operations`, and explains each of them.
pub(super) fn of(
    target: &dyn Target,
    trace: &Trace,
    operations: Operations,
) -> anyhow::Result<Vec<String>> {
    let length = trace.ops().len() as u64;
    if operations.last > length {
        bail!(
            "{} has {} operations: operation {} does not exist",
            trace.name,
            count(length),
            operations.last
        );
    }
    // Both ends of the range are at most the length of the trace, which is in memory, so they fit into `usize`.
    let range = operations.first as usize - 1..operations.last as usize;
    let explained = explained(target, trace, range.clone())?;
    let texts = range
        .zip(explained)
        .map(|(index, explained)| explained.text(trace, index));
    Ok(texts.collect())
}

/// An operation that was executed, with its explanation.
pub(in crate::cmd) struct Explained {
    engine: Option<Engine>,
    /// Whether adjacent free blocks that are no buddies served the request.
    pub(in crate::cmd) is_joined: bool,
    /// The answer of the engine. For the seed, with the splits and merges of its model.
    pub(in crate::cmd) answer: Answer,
    /// The statistics before the operation. For the seed, with the free blocks of its model.
    pub(in crate::cmd) before: Box<slablab_stats>,
    /// The statistics after the operation. For the seed, with the free blocks of its model.
    pub(in crate::cmd) after: Box<slablab_stats>,
    /// The first difference between the seed and its model. After it, the model adds nothing.
    pub(in crate::cmd) mismatch: Option<ModelMismatch>,
    /// The explanation.
    pub(in crate::cmd) sentences: Vec<String>,
}

impl Explained {
    /// Returns the explanation as text, with the operation in its first line.
    fn text(&self, trace: &Trace, index: usize) -> String {
        let mut text = format!(
            "{BOLD}{}, operation {} of {}, on {}:{BOLD:#} {}\n",
            trace.name,
            count(index as u64 + 1),
            count(trace.ops().len() as u64),
            self.engine.map_or("an unknown engine", Engine::name),
            words(trace.ops(), index).unwrap_or_default()
        );
        for sentence in &self.sentences {
            text += &format!("  {sentence}\n");
        }
        text
    }
}

/// Replays a trace up to the end of a range of operations, and explains each operation of the range. `target` is a
/// session with a new pool.
///
/// # Errors
///
/// When a call fails that must succeed, or an answer of the engine is wrong.
pub(in crate::cmd) fn explained(
    target: &dyn Target,
    trace: &Trace,
    range: Range<usize>,
) -> anyhow::Result<Vec<Explained>> {
    let engine = Engine::from_raw(target.info().context("INFO failed")?.engine);
    let oracle = Oracle::new(target, 1)?;
    let mut run = Checked::new(trace, &oracle);
    let mut seed_model = match engine {
        Some(Engine::Seed) => Some(SeedModel::new(
            target.stats().context("STATS failed")?.pool_bytes,
        )),
        _ => None,
    };
    let mut mismatch = None;
    let mut all = Vec::new();
    run.advance(range.start)?;
    for (op, answer) in trace.ops().iter().zip(run.answers()) {
        mismatch = mismatch.or_else(|| seed_model.as_mut()?.enter(op, answer).err());
    }
    for index in range {
        let before = target.stats().context("STATS failed")?;
        run.advance(index + 1)?;
        let mut explanation = Explanation {
            engine,
            op: &trace.ops()[index],
            answer: *run.answers().last().context("the replay has no answer")?,
            before,
            after: target.stats().context("STATS failed")?,
            searched: 0,
        };
        if let (Some(seed_model), None) = (&mut seed_model, mismatch) {
            mismatch = explanation.ask_model(seed_model).err();
        }
        let sentences = explanation.sentences(trace, run.answers(), mismatch);
        all.push(Explained {
            engine,
            is_joined: explanation.joined_bytes().is_some(),
            answer: explanation.answer,
            before: explanation.before,
            after: explanation.after,
            mismatch,
            sentences,
        });
    }
    Ok(all)
}

/// An operation and what it changed.
struct Explanation<'run> {
    engine: Option<Engine>,
    op: &'run Op,
    answer: Answer,
    before: Box<slablab_stats>,
    after: Box<slablab_stats>,
    /// The number of free blocks that were compared to find the buddy.
    searched: u64,
}

impl Explanation<'_> {
    /// Returns the explanation. `answers` contains the answers up to the operation.
    fn sentences(
        &self,
        trace: &Trace,
        answers: &[Answer],
        mismatch: Option<ModelMismatch>,
    ) -> Vec<String> {
        let refused = |at: &Answer| matches!(at.outcome, OpOutcome::Refused(_));
        let mut sentences = match self.answer.outcome {
            OpOutcome::Done => self.done(),
            OpOutcome::Refused(cause) => self.refused(cause),
            OpOutcome::LeftOut => {
                let mut all = (1_u64..).zip(answers.iter().zip(trace.ops()));
                let earlier = all.find(|(_, (at, other))| refused(at) && other.id == self.op.id);
                vec![match earlier {
                    Some((earlier, _)) => format!(
                        "The operation was left out: operation {}, which allocates the block, was refused.",
                        count(earlier)
                    ),
                    None => "The operation was left out: the allocation of its block was refused."
                        .to_owned(),
                }]
            }
        };
        sentences.extend(self.pool());
        sentences.extend(
            mismatch
                .map(|mismatch| format!("Details of the buddy system are unknown: {mismatch}.")),
        );
        sentences
    }

    /// Adds counts from the model of the seed that the seed itself does not report.
    fn ask_model(&mut self, seed_model: &mut SeedModel) -> Result<(), ModelMismatch> {
        seed_model.count(&mut self.before);
        let work = seed_model.enter(self.op, &self.answer)?;
        seed_model.count(&mut self.after);
        let cost = &mut self.answer.cost;
        for (field, counted) in [
            (&mut cost.splits, work.splits),
            (&mut cost.merges, work.merges),
        ] {
            if u32::from(*field) == uapi::SLABLAB_UNKNOWN {
                *field = counted as u8;
            }
        }
        self.searched = work.searched;
        Ok(())
    }

    /// Explains an operation that succeeded.
    fn done(&self) -> Vec<String> {
        let mut sentences = match self.op.kind {
            Kind::Free => vec![self.freed()],
            Kind::Alloc { .. } | Kind::Realloc { .. } => vec![self.served()],
        };
        if let Kind::Alloc { bytes: size, .. } | Kind::Realloc { bytes: size } = self.op.kind {
            let lost = self.answer.usable.saturating_sub(u64::from(size));
            sentences.push(format!(
                "Internal fragmentation: {} ({}) of the block's {}.",
                bytes(lost),
                percent(lost as f64 / self.answer.usable.max(1) as f64),
                bytes(self.answer.usable)
            ));
            if let Some(place) = self.place() {
                sentences.push(place);
            }
        }
        if self.searched > 0 {
            sentences.push(format!(
                "The free list is unsorted: {} compared to find the buddy.",
                match self.searched {
                    1 => "1 free block was".to_owned(),
                    number => format!("{} free blocks were", count(number)),
                }
            ));
        }
        sentences
    }

    fn served(&self) -> String {
        let class = self.class_name();
        match self.path() {
            Path::Magazine => {
                format!("The block came from this CPU's magazine of {class}, without the lock.")
            }
            Path::Depot => format!(
                "This CPU's magazine of {class} was empty, and was refilled from the depot."
            ),
            Path::Slab => format!("The block came from a slab of {class} with a free object."),
            Path::Growth => format!(
                "No slab of {class} had a free object, so a slab was added: {}",
                self.taken()
            ),
            Path::Buddy => format!("The request is too large for slabs: {}", self.taken()),
            Path::Kernel => "kvmalloc allocated the block; kvmalloc reports no path.".to_owned(),
            Path::InPlace => "The block was resized in place.".to_owned(),
            Path::Other => format!(
                "The engine allocated the block by another path{}.",
                self.work()
            ),
            Path::None => "The engine does not report the path of the allocation.".to_owned(),
        }
    }

    fn freed(&self) -> String {
        let class = self.class_name();
        match self.path() {
            Path::Magazine => {
                format!("The block went into this CPU's magazine of {class}, without the lock.")
            }
            Path::Depot => format!(
                "This CPU's magazine of {class} was full. Half of its blocks went to the depot, and the block into the \
                 magazine."
            ),
            Path::Slab | Path::Growth => {
                let pages = self.after.free_bytes.saturating_sub(self.before.free_bytes);
                let freed_slab = match pages {
                    0 => String::new(),
                    pages => format!(
                        " The slab became empty, so its {} were freed to the buddy system{}.",
                        bytes(pages),
                        self.merged()
                    ),
                };
                format!("The block was freed to its slab of {class}.{freed_slab}")
            }
            Path::Buddy => format!("The block was freed to the buddy system{}.", self.merged()),
            Path::Kernel => "kvfree freed the block.".to_owned(),
            Path::Other => format!("The engine freed the block by another path{}.", self.work()),
            Path::InPlace | Path::None => {
                "The engine does not report the path of the free.".to_owned()
            }
        }
    }

    /// Explains a refusal.
    fn refused(&self, cause: Cause) -> Vec<String> {
        // The engine may have flushed magazines before it refused the request.
        let free = self.after.free_bytes;
        let wanted = match self.op.kind {
            Kind::Alloc { bytes, .. } | Kind::Realloc { bytes } => u64::from(bytes),
            Kind::Free => 0,
        };
        let why = match cause {
            Cause::TooBig => format!(
                "too big: {} do not fit into the pool of {}, even if the pool is empty",
                bytes(wanted),
                bytes(self.before.pool_bytes)
            ),
            Cause::Exhausted => format!(
                "exhausted: {} were requested, {} are free",
                bytes(wanted),
                bytes(free)
            ),
            Cause::Fragmented => format!(
                "fragmented: {} are free, but no free block is large enough for {}; Linux's \
                 fragmentation index is {} of 1000 (near 0: too little is free, near 1000: the free \
                 blocks are too small)",
                bytes(free),
                bytes(wanted),
                self.answer.cost.fragmentation
            ),
            Cause::Quota => {
                "quota: the session would exceed its quota of bytes or handles".to_owned()
            }
            Cause::Unsupported => {
                "unsupported: the engine does not support this size and alignment".to_owned()
            }
            Cause::Tables => "tables: the session's handle table could not grow".to_owned(),
            Cause::Busy => {
                "busy: a CPU that may cache free memory could not be reached in time".to_owned()
            }
            Cause::Injected => "injected: fault injection refused the request".to_owned(),
            // The name of the cause is the whole explanation.
            cause => cause.to_string(),
        };
        let mut sentences = vec![format!("{BAD}Refused{BAD:#}: {why}.")];
        if let Kind::Realloc { .. } = self.op.kind {
            sentences.push(format!(
                "The block is unchanged and still has {}.",
                bytes(self.answer.usable)
            ));
        }
        sentences
    }

    /// Returns the bytes of whole pages or of a slab, if `hybrid` served the request from adjacent free blocks that are
    /// no buddies.
    ///
    /// A part of one free block begins at a multiple of the request's power of two of pages, 2ᵏ, and is split k −
    /// trailing_zeros(pages) times at least. Adjacent blocks that begin at such a multiple are smaller, and the last one
    /// of them is split fewer times.
    fn joined_bytes(&self) -> Option<u64> {
        let (answer, cost) = (&self.answer, &self.answer.cost);
        let is_hybrid = matches!(self.engine, Some(Engine::Hybrid));
        let is_served = answer.outcome == OpOutcome::Done && self.op.kind != Kind::Free;
        let has_place = answer.offset != uapi::NO_OFFSET && cost.order < 52;
        if !is_hybrid || !is_served || !has_place {
            return None;
        }
        let power_of_two = PAGE_BYTES << cost.order;
        let all = match self.path() {
            // A page may serve the request instead of a slab of several pages.
            Path::Buddy => answer.usable.next_multiple_of(PAGE_BYTES),
            // A slab has one to three pages, and a power of two of them is a part of one free block.
            Path::Growth if cost.order == 2 => 3 * PAGE_BYTES,
            _ => return None,
        };
        // The first object of a new slab serves the request.
        let is_aligned = answer.offset % power_of_two == 0;
        let splits = power_of_two.ilog2().saturating_sub(all.trailing_zeros());
        (!is_aligned || u32::from(cost.splits) < splits).then_some(all)
    }

    /// Describes the block that the buddy system allocated.
    fn taken(&self) -> String {
        let cost = &self.answer.cost;
        if let Some(joined) = self.joined_bytes() {
            let splits = match cost.splits {
                0 => "without a split".to_owned(),
                splits => format!("after {} of the last one", times(splits, "split")),
            };
            return format!(
                "adjacent free blocks of the buddy system serve {} together, {splits}.",
                bytes(joined)
            );
        }
        let given = match u32::from(cost.order) {
            order @ 0..52 => format!("of {}", bytes(uapi::PAGE_BYTES << order)),
            _ => "of unknown size".to_owned(),
        };
        let splits = match cost.splits {
            0 => "without a split".to_owned(),
            splits if u32::from(splits) == uapi::SLABLAB_UNKNOWN => {
                "after an unknown number of splits".to_owned()
            }
            splits => {
                let from = changed_order(&self.before, &self.after)
                    .map_or_else(String::new, |order| {
                        format!(" of a block of {}", bytes(uapi::PAGE_BYTES << order))
                    });
                format!("after {}{from}", times(splits, "split"))
            }
        };
        format!("the buddy system allocated a block {given}, {splits}.")
    }

    /// Describes the merges of a free.
    fn merged(&self) -> String {
        match self.answer.cost.merges {
            0 => ", without a merge: its buddy is not free".to_owned(),
            merges if u32::from(merges) == uapi::SLABLAB_UNKNOWN => {
                ", which reports no number of merges".to_owned()
            }
            merges => {
                let to = changed_order(&self.after, &self.before)
                    .map_or_else(String::new, |order| {
                        format!(" into a block of {}", bytes(uapi::PAGE_BYTES << order))
                    });
                format!(", with {}{to}", times(merges, "merge"))
            }
        }
    }

    /// Describes the counts of an engine that has neither slabs nor a buddy system.
    fn work(&self) -> String {
        let cost = &self.answer.cost;
        let known = |number: u8| number > 0 && u32::from(number) != uapi::SLABLAB_UNKNOWN;
        let mut parts = Vec::new();
        if u32::from(cost.class_index) < self.before.class_count {
            parts.push(format!("in {}", self.class_name()));
        }
        if known(cost.splits) {
            parts.push(format!("after {}", times(cost.splits, "split")));
        }
        if known(cost.merges) {
            parts.push(format!("after {}", times(cost.merges, "merge")));
        }
        match parts.is_empty() {
            true => String::new(),
            false => format!(": {}", parts.join(", ")),
        }
    }

    /// Returns the class of the block in words. A block of whole pages has no class.
    fn class_name(&self) -> String {
        let class = usize::from(self.answer.cost.class_index);
        match self.before.classes.get(class) {
            Some(of) if class < self.before.class_count as usize => {
                format!("class {class} (blocks of {})", bytes(of.block_bytes))
            }
            _ => "blocks of whole pages".to_owned(),
        }
    }

    /// Describes the place of the block.
    fn place(&self) -> Option<String> {
        let offset = self.answer.offset;
        if offset == uapi::NO_OFFSET {
            return None;
        }
        let region = offset >> uapi::SLABLAB_OFFSET_REGION_SHIFT;
        let byte = offset & ((1 << uapi::SLABLAB_OFFSET_REGION_SHIFT) - 1);
        let regions = if self.before.regions > 1 {
            format!(" of region {region}")
        } else {
            String::new()
        };
        Some(format!(
            "The block lies at offset {byte:#x}{regions}, in page {}.",
            count(byte / PAGE_BYTES)
        ))
    }

    /// Splits the bytes of the pool by use, before and after the operation.
    fn pool(&self) -> Option<String> {
        let split = |stats: &slablab_stats| {
            format!(
                "{} live + {} cached + {} free",
                bytes(stats.live_bytes),
                bytes(stats.cached_bytes),
                bytes(stats.free_bytes)
            )
        };
        (self.after.pool_bytes > 0).then(|| {
            format!(
                "The pool of {}: before {}; after {}.",
                bytes(self.after.pool_bytes),
                split(&self.before),
                split(&self.after)
            )
        })
    }

    fn path(&self) -> Path {
        Path::from_raw(u32::from(self.answer.cost.path)).unwrap_or(Path::None)
    }
}

/// Returns the largest order of which fewer blocks are free in `after`.
fn changed_order(before: &slablab_stats, after: &slablab_stats) -> Option<u32> {
    let orders = before.orders.iter().zip(&after.orders);
    let fewer = |(one, other): (&uapi::slablab_order_stats, &uapi::slablab_order_stats)| {
        one.free_blocks > other.free_blocks
    };
    let all: Vec<bool> = orders.map(fewer).collect();
    let index = all.iter().rposition(|fewer| *fewer)?;
    Some(index as u32)
}

/// Returns a count in words, such as `one split` or `2 splits`.
fn times(number: u8, what: &str) -> String {
    match number {
        1 => format!("one {what}"),
        number => format!("{number} {what}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uapi::slablab_cost;

    /// Returns the explanations of an allocation and a free with this path, on an engine with one class.
    fn explained(path: Path, class_index: u8, splits: u8) -> String {
        let mut stats = Box::<slablab_stats>::default();
        stats.class_count = 1;
        stats.classes[0].block_bytes = 48;
        let op = Op {
            id: 0,
            cpu: 0,
            kind: Kind::Free,
        };
        let explanation = Explanation {
            engine: None,
            op: &op,
            answer: Answer {
                outcome: OpOutcome::Done,
                offset: uapi::NO_OFFSET,
                usable: 48,
                cost: slablab_cost {
                    path: path.raw() as u8,
                    class_index,
                    splits,
                    merges: splits,
                    order: uapi::SLABLAB_NO_ORDER as u8,
                    ..Default::default()
                },
            },
            before: stats.clone(),
            after: stats,
            searched: 0,
        };
        format!("{} {}", explanation.served(), explanation.freed())
    }

    #[test]
    fn an_engine_with_neither_slabs_nor_a_buddy_system_is_told_of_in_neutral_words() {
        let unknown = uapi::SLABLAB_UNKNOWN as u8;
        for path in [Path::Other, Path::None] {
            for (class, work) in [(unknown, unknown), (unknown, 0), (0, 2), (0, unknown)] {
                let text = explained(path, class, work);
                for word in ["slab", "buddy", "page", "magazine"] {
                    assert!(!text.contains(word), "{text}");
                }
            }
        }
        assert!(explained(Path::Buddy, unknown, 0).contains("buddy system"));
    }

    #[test]
    fn counts_of_an_engine_with_another_path_are_shown() {
        let unknown = uapi::SLABLAB_UNKNOWN as u8;
        assert_eq!(
            explained(Path::Other, unknown, unknown),
            "The engine allocated the block by another path. The engine freed the block by another path."
        );
        assert!(explained(Path::Other, 0, 1).starts_with(
            "The engine allocated the block by another path: in class 0 (blocks of 48 B), after one \
                 split, after one merge."
        ));
    }
}
