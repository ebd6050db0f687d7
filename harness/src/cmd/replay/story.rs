// SPDX-License-Identifier: GPL-2.0

//! The story of one operation, in words.
//!
//! It is put together from what the ABI replies to the operation, and from the statistics before
//! and after it. What the seed does not tell of its buddy system, its twin does.

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
        Fate,
        twin::{
            Parted,
            Twin, //
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

/// The most operations that are explained at once: more than anybody reads.
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
    /// A sentence.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let number = |word: &str| match word.parse() {
            Ok(0) => Err("the first operation is operation 1".to_owned()),
            Ok(number) => Ok(number),
            Err(_) => Err("name an operation by its number, or a range such as 1-5".to_owned()),
        };
        let (first, last): (u64, u64) = (number(first)?, number(last)?);
        if first > last {
            return Err(format!(
                "the range begins behind its end: try {last}-{first}"
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

/// Runs a trace up to some operations, and tells what became of each of these.
pub(super) fn of(
    target: &dyn Target,
    trace: &Trace,
    operations: Operations,
) -> anyhow::Result<Vec<String>> {
    let length = trace.ops().len() as u64;
    if operations.last > length {
        bail!(
            "{} has {} operations, there is no operation {}",
            trace.name,
            count(length),
            operations.last
        );
    }
    let engine = Engine::from_raw(target.info().context("INFO failed")?.engine);
    let oracle = Oracle::new(target, 1)?;
    let mut run = Checked::new(trace, &oracle);
    let mut twin = match engine {
        Some(Engine::Seed) => Some(Twin::new(
            target.stats().context("STATS failed")?.pool_bytes,
        )),
        _ => None,
    };
    let mut parted = None;
    let mut told = Vec::new();
    // Both are at most the length of the trace, which is in memory.
    let range = operations.first as usize - 1..operations.last as usize;
    run.advance(range.start)?;
    for (op, answer) in trace.ops().iter().zip(run.answers()) {
        parted = parted.or_else(|| twin.as_mut()?.enter(op, answer).err());
    }
    for index in range {
        let before = target.stats().context("STATS failed")?;
        run.advance(index + 1)?;
        let mut story = Story {
            op: &trace.ops()[index],
            answer: *run.answers().last().context("there is no answer")?,
            before,
            after: target.stats().context("STATS failed")?,
            searched: 0,
        };
        if let (Some(twin), None) = (&mut twin, parted) {
            parted = story.ask_twin(twin).err();
        }
        told.push(story.text(trace, index, engine, run.answers(), parted));
    }
    Ok(told)
}

/// An operation and what it changed.
struct Story<'run> {
    op: &'run Op,
    answer: Answer,
    before: Box<slablab_stats>,
    after: Box<slablab_stats>,
    /// Free blocks that were searched for a buddy.
    searched: u64,
}

impl Story<'_> {
    /// Tells it, behind these answers; with what the twin of the seed noticed.
    fn text(
        &self,
        trace: &Trace,
        index: usize,
        engine: Option<Engine>,
        answers: &[Answer],
        parted: Option<Parted>,
    ) -> String {
        let mut text = format!(
            "{BOLD}{}, operation {} of {}, on {}:{BOLD:#} {}\n",
            trace.name,
            count(index as u64 + 1),
            count(trace.ops().len() as u64),
            engine.map_or("an unknown engine", Engine::name),
            words(trace.ops(), index).unwrap_or_default()
        );
        let refused = |at: &Answer| matches!(at.fate, Fate::Refused(_));
        let mut sentences = match self.answer.fate {
            Fate::Done => self.done(),
            Fate::Refused(cause) => self.refused(cause),
            Fate::LeftOut => {
                let mut all = (1_u64..).zip(answers.iter().zip(trace.ops()));
                let earlier = all.find(|(_, (at, other))| refused(at) && other.id == self.op.id);
                vec![match earlier {
                    Some((earlier, _)) => format!(
                        "It was not tried: the block was refused in operation {}.",
                        count(earlier)
                    ),
                    None => "It was not tried: its block was refused.".to_owned(),
                }]
            }
        };
        sentences.extend(self.pool());
        sentences.extend(parted.map(|parted| format!("More is not known: {parted}.")));
        for sentence in sentences {
            text += &format!("  {sentence}\n");
        }
        text
    }

    /// Has the seed's twin fill in what the seed does not tell, as far as they agree.
    fn ask_twin(&mut self, twin: &mut Twin) -> Result<(), Parted> {
        twin.count(&mut self.before);
        let work = twin.enter(self.op, &self.answer)?;
        twin.count(&mut self.after);
        let cost = &mut self.answer.cost;
        for (told, counted) in [
            (&mut cost.splits, work.splits),
            (&mut cost.merges, work.merges),
        ] {
            if u32::from(*told) == uapi::SLABLAB_UNKNOWN {
                *told = counted as u8;
            }
        }
        self.searched = work.searched;
        Ok(())
    }

    /// Tells how it was served.
    fn done(&self) -> Vec<String> {
        let mut sentences = match self.op.kind {
            Kind::Free => vec![self.freed()],
            Kind::Alloc { .. } | Kind::Realloc { .. } => vec![self.served()],
        };
        if let Kind::Alloc { bytes: size, .. } | Kind::Realloc { bytes: size } = self.op.kind {
            let lost = self.answer.usable.saturating_sub(u64::from(size));
            sentences.push(format!(
                "The block has {}: {} of them ({}) are more than was asked for.",
                bytes(self.answer.usable),
                bytes(lost),
                percent(lost as f64 / self.answer.usable.max(1) as f64)
            ));
            if let Some(place) = self.place() {
                sentences.push(place);
            }
        }
        if self.searched > 0 {
            sentences.push(format!(
                "Its list keeps no order: {} compared with the buddy that was looked for.",
                match self.searched {
                    1 => "one free block was".to_owned(),
                    number => format!("{} free blocks were", count(number)),
                }
            ));
        }
        sentences
    }

    fn served(&self) -> String {
        let kept = self.kept();
        match self.path() {
            Path::Magazine => {
                format!("This CPU's magazine of {kept} had one: it was handed out without a lock.")
            }
            Path::Slab => format!("A slab of {kept} had a free one: it was handed out."),
            Path::Growth => format!(
                "No slab of {kept} had a free one, so there had to be a new slab: {}",
                self.taken()
            ),
            Path::Buddy => format!("It is too large for slabs: {}", self.taken()),
            Path::Kernel => "Linux's own allocator served it; it does not tell how.".to_owned(),
            Path::InPlace => "The block stays where it is.".to_owned(),
            Path::Other => format!("The engine served it in a way of its own{}.", self.work()),
            Path::None => "The engine does not tell how it was served.".to_owned(),
        }
    }

    fn freed(&self) -> String {
        let kept = self.kept();
        match self.path() {
            Path::Magazine => {
                format!("It went into this CPU's magazine of {kept}, without a lock.")
            }
            Path::Slab | Path::Growth => {
                let pages = self.after.free_bytes.saturating_sub(self.before.free_bytes);
                let given_back = match pages {
                    0 => String::new(),
                    pages => format!(
                        " That emptied the slab, and its {} went back to the buddy system{}.",
                        bytes(pages),
                        self.merged()
                    ),
                };
                format!("It went back to its slab of {kept}.{given_back}")
            }
            Path::Buddy => format!("It went back to the buddy system{}.", self.merged()),
            Path::Kernel => "Linux's own allocator took it back.".to_owned(),
            Path::Other => format!("The engine freed it in a way of its own{}.", self.work()),
            Path::InPlace | Path::None => "The engine does not tell where it went.".to_owned(),
        }
    }

    /// Tells why it was refused.
    fn refused(&self, cause: Cause) -> Vec<String> {
        let free = self.before.free_bytes;
        let wanted = match self.op.kind {
            Kind::Alloc { bytes, .. } | Kind::Realloc { bytes } => u64::from(bytes),
            Kind::Free => 0,
        };
        let why = match cause {
            Cause::TooBig => format!(
                "too big: {} could not be had even if the pool of {} were empty",
                bytes(wanted),
                bytes(self.before.pool_bytes)
            ),
            Cause::Exhausted => format!(
                "nothing left: {} are wanted, {} are free",
                bytes(wanted),
                bytes(free)
            ),
            Cause::Fragmented => format!(
                "fragmented: {} are free, but no piece is large enough for {}; Linux's fragmentation \
                 index is {} of 1000 (near 0: there is little, near 1000: it is in many pieces)",
                bytes(free),
                bytes(wanted),
                self.answer.cost.fragmentation
            ),
            Cause::Quota => "the session's quota of bytes or blocks is used up".to_owned(),
            Cause::Unsupported => "the engine cannot serve such a size and alignment".to_owned(),
            Cause::Tables => "there is no memory for the session's own tables".to_owned(),
            Cause::Busy => {
                "a CPU that may hold free memory could not be reached in time".to_owned()
            }
            Cause::Injected => "injected: FAIL said that it was to be".to_owned(),
            // Its name says it all.
            cause => cause.to_string(),
        };
        let mut sentences = vec![format!("{BAD}Refused{BAD:#}: {why}.")];
        if let Kind::Realloc { .. } = self.op.kind {
            sentences.push(format!(
                "The block is as before, with its {}.",
                bytes(self.answer.usable)
            ));
        }
        sentences
    }

    /// Tells what the buddy system gave.
    fn taken(&self) -> String {
        let cost = &self.answer.cost;
        let given = match u32::from(cost.order) {
            order @ 0..64 => format!("of {} (order {order})", bytes(1 << order)),
            _ => "of a size that it does not tell".to_owned(),
        };
        let splits = match cost.splits {
            0 => "as it was, without a split".to_owned(),
            splits if u32::from(splits) == uapi::SLABLAB_UNKNOWN => {
                "after splits that it does not count".to_owned()
            }
            splits => {
                let from = changed_order(&self.before, &self.after)
                    .map_or_else(String::new, |order| {
                        format!(" of one of {} (order {order})", bytes(1 << order))
                    });
                format!("after {}{from}", times(splits, "split"))
            }
        };
        format!("the buddy system gave a block {given}, {splits}.")
    }

    /// Tells what the buddy system merged.
    fn merged(&self) -> String {
        match self.answer.cost.merges {
            0 => ", where it has no free buddy".to_owned(),
            merges if u32::from(merges) == uapi::SLABLAB_UNKNOWN => {
                ", which does not count its merges".to_owned()
            }
            merges => {
                let to = changed_order(&self.after, &self.before)
                    .map_or_else(String::new, |order| {
                        format!(" to one of {} (order {order})", bytes(1 << order))
                    });
                format!(", after {} with free buddies{to}", times(merges, "merge"))
            }
        }
    }

    /// Tells what an engine that is neither slabs nor a buddy system counted.
    fn work(&self) -> String {
        let cost = &self.answer.cost;
        let known = |number: u8| number > 0 && u32::from(number) != uapi::SLABLAB_UNKNOWN;
        let mut parts = Vec::new();
        if u32::from(cost.class_index) < self.before.class_count {
            parts.push(format!("in {}", self.kept()));
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

    /// Names the blocks of the class, or those that are no objects of a class.
    fn kept(&self) -> String {
        let class = usize::from(self.answer.cost.class_index);
        match self.before.classes.get(class) {
            Some(of) if class < self.before.class_count as usize => {
                format!("class {class} (blocks of {})", bytes(of.block_bytes))
            }
            _ => "blocks of whole pages".to_owned(),
        }
    }

    /// Tells where the block is.
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
            "It lies at offset {byte:#x}{regions}, in page {}.",
            count(byte / PAGE_BYTES)
        ))
    }

    /// Tells what is where in the pool.
    fn pool(&self) -> Option<String> {
        let tell = |stats: &slablab_stats| {
            format!(
                "{} live + {} kept + {} free",
                bytes(stats.live_bytes),
                bytes(stats.cached_bytes),
                bytes(stats.free_bytes)
            )
        };
        (self.after.pool_bytes > 0).then(|| {
            format!(
                "The pool of {}: {} before, {} after.",
                bytes(self.after.pool_bytes),
                tell(&self.before),
                tell(&self.after)
            )
        })
    }

    fn path(&self) -> Path {
        Path::from_raw(u32::from(self.answer.cost.path)).unwrap_or(Path::None)
    }
}

/// Returns the largest order of which there are fewer free blocks in `after`, if the engine tells.
fn changed_order(before: &slablab_stats, after: &slablab_stats) -> Option<u32> {
    let orders = before.orders.iter().zip(&after.orders);
    let fewer = |(one, other): (&uapi::slablab_order_stats, &uapi::slablab_order_stats)| {
        one.free_blocks > other.free_blocks
    };
    let all: Vec<bool> = orders.map(fewer).collect();
    let index = all.iter().rposition(|fewer| *fewer)?;
    Some(uapi::SLABLAB_ORDER_MIN + index as u32)
}

/// Returns how often something was done.
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

    /// Returns what is told of an allocation and of a free on a path, by an engine with one class.
    fn told(path: Path, class_index: u8, splits: u8) -> String {
        let mut stats = Box::<slablab_stats>::default();
        stats.class_count = 1;
        stats.classes[0].block_bytes = 48;
        let op = Op {
            id: 0,
            cpu: 0,
            kind: Kind::Free,
        };
        let story = Story {
            op: &op,
            answer: Answer {
                fate: Fate::Done,
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
        format!("{} {}", story.served(), story.freed())
    }

    #[test]
    fn an_engine_with_neither_slabs_nor_a_buddy_system_is_told_of_in_neutral_words() {
        let unknown = uapi::SLABLAB_UNKNOWN as u8;
        for path in [Path::Other, Path::None] {
            for (class, work) in [(unknown, unknown), (unknown, 0), (0, 2), (0, unknown)] {
                let text = told(path, class, work);
                for word in ["slab", "buddy", "page", "magazine"] {
                    assert!(!text.contains(word), "{text}");
                }
            }
        }
        assert!(told(Path::Buddy, unknown, 0).contains("buddy system"));
    }

    #[test]
    fn what_such_an_engine_counts_is_told() {
        let unknown = uapi::SLABLAB_UNKNOWN as u8;
        assert_eq!(
            told(Path::Other, unknown, unknown),
            "The engine served it in a way of its own. The engine freed it in a way of its own."
        );
        assert!(told(Path::Other, 0, 1).starts_with(
            "The engine served it in a way of its own: in class 0 (blocks of 48 B), after one \
                 split, after one merge."
        ));
    }
}
