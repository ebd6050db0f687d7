// SPDX-License-Identifier: GPL-2.0

//! Explains the failure of a test: the operation, what the allocator did, the rule, and the pool at that moment.
//!
//! The explanation comes from the oracle's journal and from the checks around the learner's code. The learner's code
//! contributes only texts: those of a panic, of its own check, and of a reported error of the program.

#[cfg(test)]
mod tests;

use std::{
    fmt::Write as _,
    ops::Range, //
};

use serde::{
    Deserialize,
    Serialize, //
};
use slablab_lab::{
    isolation::{
        Death,
        EndReason,
        signal_name, //
    },
    oracle::journal::{
        Answer,
        History,
        JournalBlock,
        Request, //
    },
    uapi::{
        AllocatorFunction,
        AllocatorRule,
        slablab_violation, //
    },
};

use crate::picture::Scene;

/// The alignment that an allocator gets for a smaller one, and the unit of sizes.
const GRANULE: u64 = 8;

/// The bytes of a page.
const PAGE_BYTES: u64 = 4096;

/// The name of a block in an answer.
const RETURNED: &str = "the block that was returned";

/// The name of the learner's file in all messages, also if another file is graded.
pub const FILE: &str = "rust/student/lib.rs";

/// A rule of the engine `student` that the allocator broke.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Breach {
    rule: u32,
    function: u32,
    line: u32,
    offset: u64,
    sentence: String,
}

impl From<&slablab_violation> for Breach {
    fn from(violation: &slablab_violation) -> Self {
        Self {
            rule: violation.rule,
            function: violation.function,
            line: violation.line,
            offset: violation.offset,
            sentence: violation.own_sentence(),
        }
    }
}

/// The end of a test that did not pass.
#[derive(Clone, Debug)]
pub enum Failure {
    /// The allocator broke a rule.
    Breach(Breach),
    /// An answer is wrong, or an expectation of the test is not met.
    Answer(String),
    /// The process of the test ended.
    Death(Death),
}

/// An explanation of a failure.
struct Explanation {
    /// The action of the allocator.
    fact: String,
    /// The rule.
    rule: String,
    /// The offset of the failure, and what is wrong there.
    mark: Option<(u64, String)>,
    /// A range of bytes to show instead of the block of the last request, and its name.
    block: Option<(Range<u64>, String)>,
}

impl Explanation {
    fn new(fact: impl Into<String>, rule: impl Into<String>) -> Self {
        Self {
            fact: fact.into(),
            rule: rule.into(),
            mark: None,
            block: None,
        }
    }

    fn mark(mut self, offset: u64, text: impl Into<String>) -> Self {
        self.mark = Some((offset, text.into()));
        self
    }
}

impl Failure {
    /// Returns whether the allocator did not return: it panicked, crashed, or ran without end. The mistake is then one
    /// of Rust, about which the hints of an exercise say nothing.
    #[must_use]
    pub fn is_crash(&self) -> bool {
        match self {
            Self::Breach(breach) => breach.rule == AllocatorRule::CallEnds.raw(),
            Self::Answer(_) => false,
            Self::Death(death) => !matches!(death.end, EndReason::Violation(_)),
        }
    }

    /// Returns the sentence of the allocator's own check if that failed.
    pub(crate) fn own_check(&self) -> Option<&str> {
        match self {
            Self::Breach(breach)
                if breach.rule == AllocatorRule::OwnCheck.raw()
                    && breach.function == AllocatorFunction::Check.raw() =>
            {
                Some(&breach.sentence)
            }
            _ => None,
        }
    }
}

/// The pool of a test.
#[derive(Clone, Copy, Debug)]
pub struct TestPool {
    /// The bytes of the pool.
    pub bytes: u64,
    /// Whether room for a request is shown only in whole free pages: the exercise has slabs, and no correct allocator
    /// serves a request from the free memory of any slab.
    pub whole_pages: bool,
}

/// Explains a failure of a test.
#[must_use]
pub fn explain(failure: &Failure, history: &History, pool: TestPool) -> String {
    let pool_bytes = pool.bytes;
    let explanation = match failure {
        Failure::Breach(breach) => breach.explanation(history, pool_bytes),
        Failure::Answer(text) => answer(text, history, pool),
        Failure::Death(death) => died(death),
    };
    let mut text = format!("{}\n", operation(history, pool_bytes));
    let _ = writeln!(text, "{}", explanation.fact);
    if !explanation.rule.is_empty() {
        let _ = writeln!(text, "The rule: {}", explanation.rule);
    }
    let _ = write!(text, "\n{}", scene(explanation, history, pool_bytes).draw());
    text
}

/// Returns the operation during which the test failed, in the terms of the learner's functions.
fn operation(history: &History, pool_bytes: u64) -> String {
    let number = history.requests;
    let Some((request, _)) = &history.last else {
        return format!("Operation: new, for a pool of {pool_bytes} bytes");
    };
    match request {
        Request::Check => format!("Operation: check, after request {number} of the test"),
        Request::Alloc { size, align } => format!(
            "Operation: allocate {} bytes aligned to {} (request {number} of the test)",
            rounded(*size),
            (*align).max(GRANULE)
        ),
        Request::Free(block) => format!(
            "Operation: free {} (request {number} of the test)",
            named(block)
        ),
        Request::Realloc { block, size } => format!(
            "Operation: resize {} to {} bytes (request {number} of the test)",
            named(block),
            rounded(*size)
        ),
    }
}

/// Names a block in the terms of the learner's functions.
fn named(block: &JournalBlock) -> String {
    format!(
        "the block of {} bytes aligned to {} at offset {:#x}",
        block.bytes,
        block.align.max(GRANULE),
        block.offset
    )
}

/// Returns the bytes that an allocator must serve for a request.
fn rounded(size: u64) -> u64 {
    size.max(1).next_multiple_of(GRANULE)
}

/// Returns the size and alignment of the block that the last request asks for.
fn wanted(history: &History) -> Option<(u64, u64)> {
    match history.last {
        Some((Request::Alloc { size, align }, _)) => Some((rounded(size), align.max(GRANULE))),
        Some((Request::Realloc { size, block }, _)) => {
            Some((rounded(size), block.align.max(GRANULE)))
        }
        _ => None,
    }
}

/// Returns the live block that contains a byte, also that of the last request.
fn live_block_at(history: &History, offset: u64) -> Option<JournalBlock> {
    let resized = match history.last {
        Some((Request::Realloc { block, .. }, _)) => Some(block),
        _ => None,
    };
    let mut blocks = history.live.iter().copied().chain(resized);
    blocks.find(|block| (block.offset..block.end()).contains(&offset))
}

impl Breach {
    fn explanation(&self, history: &History, pool_bytes: u64) -> Explanation {
        let mut explanation = self.broken_rule(history, pool_bytes);
        if let Some((Request::Realloc { size, .. }, _)) = history.last {
            if AllocatorFunction::from_raw(self.function) == Some(AllocatorFunction::Allocate) {
                let _ = write!(
                    explanation.fact,
                    " Your `resize` returned false, so `allocate` was called for {} bytes.",
                    rounded(size)
                );
            }
        }
        explanation
    }

    fn broken_rule(&self, history: &History, pool_bytes: u64) -> Explanation {
        let function =
            AllocatorFunction::from_raw(self.function).map_or("it", |function| function.name());
        let Some(rule) = AllocatorRule::from_raw(self.rule) else {
            return Explanation::new(format!("Your `{function}` broke a rule."), "");
        };
        let place = match self.line {
            0 => String::new(),
            line => format!(" ({FILE}, line {line})"),
        };
        let offset = self.offset;
        let (size, align) = wanted(history).unwrap_or((GRANULE, GRANULE));
        match rule {
            AllocatorRule::AccessInPool => Explanation::new(
                format!("Your `{function}` accessed the word at offset {offset:#x}, outside of the pool{place}."),
                format!("an allocator accesses only the pool, whose words begin at offsets below {pool_bytes:#x}."),
            )
            .mark(offset, format!("the access at {offset:#x}")),
            AllocatorRule::AccessAligned => Explanation::new(
                format!("Your `{function}` accessed a word at offset {offset:#x}{place}."),
                "a word begins at a multiple of 8 bytes.",
            )
            .mark(offset, format!("the access at {offset:#x}")),
            AllocatorRule::AccessOutsideOfBlocks => {
                let block = live_block_at(history, offset).map_or(String::new(), |block| {
                    format!(", the one of {} bytes at {:#x}", block.bytes, block.offset)
                });
                Explanation::new(
                    format!("Your `{function}` accessed offset {offset:#x}, which belongs to a live block{block}{place}."),
                    "a live block belongs to the program. The allocator may neither read nor write it.",
                )
                .mark(offset, format!("the access at {offset:#x}"))
            }
            AllocatorRule::CallEnds => Explanation::new(
                format!("Your `{function}` did not end within 16,777,216 accesses{place}."),
                "every call ends. A list with a loop has no end.",
            )
            .mark(offset, format!("the last access at {offset:#x}")),
            AllocatorRule::NoteExists => {
                let (page, note) = (offset & 0xffff_ffff, offset >> 32);
                Explanation::new(
                    format!("Your `{function}` accessed note {note} of page {page}{place}."),
                    format!("the pages have the numbers 0 to {}, and each has the notes 0 to 7.", (pool_bytes / PAGE_BYTES).saturating_sub(1)),
                )
                .mark(page.saturating_mul(PAGE_BYTES), format!("page {page} begins at {:#x}", page.saturating_mul(PAGE_BYTES)))
            }
            AllocatorRule::BlockInPool => {
                let mut explanation = Explanation::new(
                    format!("Your `{function}` returned offset {offset:#x}, but {size} bytes from there on end behind the pool."),
                    "all bytes of a block lie in the pool. A request for which there is no room gets `Ok(None)`.",
                )
                .mark(pool_bytes, format!("the pool ends at {pool_bytes:#x}"));
                explanation.block = Some((offset..offset.saturating_add(size), RETURNED.to_owned()));
                explanation
            }
            AllocatorRule::BlockAligned => {
                let mut explanation = Explanation::new(
                    format!("Your `{function}` returned offset {offset:#x}, which is not a multiple of {align}."),
                    format!("a block begins at a multiple of the alignment in its layout, here {align}."),
                )
                .mark(offset, format!("{offset:#x} is not a multiple of {align}"));
                explanation.block = Some((offset..offset.saturating_add(size), RETURNED.to_owned()));
                explanation
            }
            AllocatorRule::BlockDisjoint => {
                let block = live_block_at(history, offset).map_or(String::new(), |block| {
                    format!(" ({} bytes at {:#x})", block.bytes, block.offset)
                });
                Explanation::new(
                    format!("Your `{function}` returned memory of another live block{block}: both contain the byte at {offset:#x}."),
                    "a byte belongs to at most one live block.",
                )
                .mark(offset, format!("{offset:#x} would belong to two blocks"))
            }
            AllocatorRule::OwnCheck => Explanation::new(
                format!("Your `{function}` says: {}, at offset {offset:#x}{place}.", self.sentence),
                match history.last {
                    Some((Request::Check, _)) | None => {
                        "the rules of your own check hold after each call."
                    }
                    _ => {
                        "the rules of your own check hold after each call. (The test ran with a check after each request, and this is the first request after which it fails.)"
                    }
                },
            )
            .mark(offset, self.sentence.clone()),
            AllocatorRule::ProgramError => Explanation::new(
                format!("Your `{function}` accuses the program: {}, at offset {offset:#x}{place}.", self.sentence),
                "the program of this test uses its own blocks only. So the allocator wrote the word itself, or looks at the wrong word.",
            )
            .mark(offset, self.sentence.clone()),
            other => {
                let says = if self.sentence.is_empty() { String::new() } else { format!(": {}", self.sentence) };
                Explanation::new(
                    format!("Your `{function}` {}{says}, at offset {offset:#x}{place}.", other.name()),
                    "",
                )
                .mark(offset, format!("{offset:#x}"))
            }
        }
    }
}

/// Explains a wrong answer.
fn answer(text: &str, history: &History, pool: TestPool) -> Explanation {
    match &history.last {
        Some((Request::Alloc { .. }, Answer::Refused)) if text.contains(REFUSED) => {
            refused(text, history, pool)
        }
        Some((Request::Realloc { block, size }, answer)) => {
            resized(text, (block, rounded(*size)), answer, history, pool)
        }
        _ => Explanation::new(sentence(text), ""),
    }
}

/// The words of a test about a request that should have been served; the cause follows.
const REFUSED: &str = " was refused as ";

/// Returns a text as a sentence.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first: String = letters
        .next()
        .into_iter()
        .flat_map(char::to_uppercase)
        .collect();
    format!("{first}{}.", letters.as_str())
}

/// Explains a refusal that the test does not accept.
fn refused(text: &str, history: &History, pool: TestPool) -> Explanation {
    // The operation has the size and the alignment, and the cause is the engine's word for `Ok(None)`.
    let reason = (text.split_once(REFUSED))
        .and_then(|(_, rest)| rest.split_once(", "))
        .filter(|(cause, _)| ["fragmented", "exhausted"].contains(cause));
    let fact = match reason {
        Some((_, reason)) => format!("Your `allocate` returned `Ok(None)`, {reason}."),
        None => sentence(text),
    };
    let mut explanation = Explanation::new(fact, "");
    explanation.block = named_room(history, pool);
    explanation
}

/// Explains a wrong answer to a resize of a block to `size` bytes.
fn resized(
    text: &str,
    (block, size): (&JournalBlock, u64),
    answer: &Answer,
    history: &History,
    pool: TestPool,
) -> Explanation {
    // The test knows the sizes of the program. The allocator gets them rounded up.
    let text = match text.split_once(" bytes") {
        Some((sizes, rest)) if sizes.starts_with("a resize from ") => {
            format!("a resize from {} to {size} bytes{rest}", block.bytes)
        }
        _ => text.to_owned(),
    };
    let mut explanation = Explanation::new(sentence(&text), "");
    match answer {
        Answer::Refused if size <= block.bytes => {
            explanation.fact =
                "Your `resize` returned false, and `allocate` had no room for a copy.".to_owned();
            "a block that shrinks can always keep its place.".clone_into(&mut explanation.rule);
        }
        Answer::Refused => {
            explanation.fact +=
                " Your `resize` returned false, and `allocate` returned `Ok(None)`.";
            explanation.block = named_room(history, pool);
        }
        Answer::Block(new) if new.offset != block.offset => {
            explanation.fact += " Your `resize` returned false.";
            explanation.block = Some((
                block.offset..block.end(),
                "the block before it moved".to_owned(),
            ));
        }
        _ => {}
    }
    explanation
}

/// Returns room for the last request, and its name.
fn named_room(history: &History, pool: TestPool) -> Option<(Range<u64>, String)> {
    let (size, align) = wanted(history)?;
    let offset = room(history, pool, (size, align))?;
    let name = format!("room for {size} bytes at {offset:#x}");
    Some((offset..offset + size, name))
}

/// Returns the offset at which a block of a size and alignment fits between the live blocks.
fn room(history: &History, pool: TestPool, (size, align): (u64, u64)) -> Option<u64> {
    let unit = if pool.whole_pages { PAGE_BYTES } else { 1 };
    let resized = match history.last {
        Some((Request::Realloc { block, .. }, _)) => Some(block),
        _ => None,
    };
    let mut live: Vec<JournalBlock> = history.live.iter().copied().chain(resized).collect();
    live.sort_by_key(|block| block.offset);
    let starts = live.iter().map(|block| block.offset).chain([pool.bytes]);
    let ends = [0].into_iter().chain(live.iter().map(JournalBlock::end));
    let mut end = 0;
    for (start, before) in starts.zip(ends) {
        end = before.max(end);
        let offset = u64::next_multiple_of(end, align.max(unit));
        if offset.saturating_add(size.next_multiple_of(unit)) <= start {
            return Some(offset);
        }
    }
    None
}

/// Explains the end of the test's process.
fn died(death: &Death) -> Explanation {
    match &death.end {
        EndReason::Panic(text) => Explanation::new(
            format!("Your allocator panicked: {text}."),
            "an allocator never panics. In the kernel a panic stops the machine.",
        ),
        EndReason::Signal(libc::SIGSEGV) => Explanation::new(
            "Your allocator used up the stack (SIGSEGV): a function calls itself without end, or its values are too large.",
            "recursion ends soon. The stack of the kernel has 16 KiB only, so prefer a loop.",
        ),
        EndReason::Signal(signal) => Explanation::new(
            format!("Your allocator crashed with {}.", signal_name(*signal)),
            "",
        ),
        EndReason::Endless(limit) => Explanation::new(
            format!(
                "Your allocator did not return within {} seconds, and accesses neither the pool nor notes meanwhile.",
                limit.as_secs_f64()
            ),
            "every call ends. Look for a loop whose condition never changes.",
        ),
        EndReason::Violation(text) => Explanation::new(format!("{text}."), ""),
        EndReason::Status(_) => Explanation::new(format!("{death}."), ""),
    }
}

/// Returns what the picture of a failure shows.
fn scene(explanation: Explanation, history: &History, pool_bytes: u64) -> Scene {
    let mut live: Vec<Range<u64>> = (history.live.iter())
        .map(|block| block.offset..block.end())
        .collect();
    let range = |block: &JournalBlock| block.offset..block.end();
    let mut block = explanation.block;
    match &history.last {
        Some((Request::Realloc { block: old, .. }, Answer::None | Answer::Refused)) => {
            live.push(range(old));
            block = block.or_else(|| Some((range(old), "the block to be resized".to_owned())));
        }
        Some((_, Answer::Block(new))) => {
            live.push(range(new));
            block = block.or_else(|| Some((range(new), RETURNED.to_owned())));
        }
        Some((Request::Free(freed), _)) => {
            block = block.or_else(|| Some((range(freed), "the block that is freed".to_owned())));
        }
        _ => {}
    }
    // The picture needs disjoint blocks. An answer that is wrong may overlap others.
    live.sort_by_key(|block| block.start);
    let mut end = 0;
    live.retain_mut(|block| {
        block.start = block.start.max(end);
        block.end = block.end.min(pool_bytes);
        end = end.max(block.end);
        block.start < block.end
    });
    Scene {
        pool_bytes,
        live,
        block,
        mark: explanation.mark,
    }
}
