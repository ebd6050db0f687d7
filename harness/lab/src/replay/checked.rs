// SPDX-License-Identifier: GPL-2.0

//! Replays a trace and checks every answer.
//!
//! Each SUBMIT has as many operations as possible. It ends before the second operation on the same block,
//! because the bytes of a block are checked between two operations on the block.

use std::collections::HashSet;

use slablab_trace::{
    Kind,
    Op,
    Trace, //
};

use super::{
    Answer,
    Failure,
    OpOutcome, //
};
use crate::{
    isolation::underway,
    oracle::{
        CheckedOperation,
        CheckedReply,
        Client,
        ClientBlock,
        Oracle, //
    },
    target::Target,
    uapi::{
        self,
        SLABLAB_CAUSES,
        slablab_cost, //
    },
};

/// The maximum number of operations in a SUBMIT.
const BATCH: usize = 256;

/// The seed of the patterns in blocks.
const SEED: u64 = 1;

/// A replay in progress.
pub struct Checked<'run> {
    trace: &'run Trace,
    client: Client<'run>,
    /// The live blocks, by number.
    blocks: Vec<Option<ClientBlock>>,
    answers: Vec<Answer>,
    live: LiveBytes,
    figures: Figures,
}

/// The result of a replay.
#[derive(Debug)]
pub struct RunResult {
    /// The answers to the operations.
    pub answers: Vec<Answer>,
    /// The sums.
    pub figures: Figures,
    /// Bytes that were read back and compared.
    pub checked_bytes: u64,
}

/// Runs a trace in a session and frees all live blocks at the end.
pub fn checked(target: &dyn Target, trace: &Trace) -> Result<RunResult, Failure> {
    let ops = trace.ops();
    let at = |index| move |violation| Failure::at(&[], index, violation);
    let oracle = Oracle::new(target, SEED).map_err(at(0))?;
    let mut run = Checked::new(trace, &oracle);
    run.advance(ops.len())?;
    let (answers, figures) = run.end()?;
    let summary = oracle.finish().map_err(at(ops.len()))?;
    Ok(RunResult {
        answers,
        figures,
        checked_bytes: summary.checked_bytes,
    })
}

/// Bytes of the live blocks.
#[derive(Clone, Copy, Debug, Default)]
struct LiveBytes {
    requested: u64,
    usable: u64,
}

/// Sums over a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Operations that succeeded.
    pub done: u64,
    /// Operations that were refused, by cause.
    pub refusals: [u64; SLABLAB_CAUSES as usize],
    /// Operations on blocks whose allocation was refused.
    pub left_out: u64,
    /// The peak of the requested bytes of live blocks.
    pub peak_bytes: u64,
    /// The usable bytes of live blocks at that peak.
    pub usable_at_peak: u64,
    /// The peak of the usable bytes of live blocks.
    pub peak_usable: u64,
}

impl Figures {
    /// Returns whether every operation succeeded.
    pub fn is_complete(&self) -> bool {
        self.left_out == 0 && self.refusals.iter().all(|count| *count == 0)
    }
}

impl<'run> Checked<'run> {
    /// Creates a replay of a trace. No operation is executed yet.
    pub fn new(trace: &'run Trace, oracle: &'run Oracle<'run>) -> Self {
        Self {
            trace,
            client: oracle.client(),
            blocks: std::iter::repeat_with(|| None)
                .take(trace.blocks())
                .collect(),
            answers: Vec::with_capacity(trace.ops().len()),
            live: LiveBytes::default(),
            figures: Figures::default(),
        }
    }

    /// Executes all operations before the one with the index `end`.
    pub fn advance(&mut self, end: usize) -> Result<(), Failure> {
        let ops = self.trace.ops();
        let end = end.min(ops.len());
        while self.answers.len() < end {
            let batch = distinct(&ops[self.answers.len()..end]);
            self.batch(&ops[self.answers.len()..][..batch])?;
        }
        Ok(())
    }

    /// Returns the answers so far.
    pub fn answers(&self) -> &[Answer] {
        &self.answers
    }

    /// Frees all live blocks and returns the answers and the sums.
    pub fn end(mut self) -> Result<(Vec<Answer>, Figures), Failure> {
        let at_the_end = |violation| Failure::at(&[], self.trace.ops().len(), violation);
        underway::operation(self.trace.ops().len() as u64 + 1);
        let mut left: Vec<_> = self
            .blocks
            .drain(..)
            .flatten()
            .map(CheckedOperation::Free)
            .collect();
        while !left.is_empty() {
            let rest = left.split_off(left.len().min(BATCH));
            let result = self.client.submit(left);
            result.map_err(|error| at_the_end(error.violation))?;
            left = rest;
        }
        Ok((self.answers, self.figures))
    }

    /// Executes operations of which no two are on the same block.
    fn batch(&mut self, ops: &[Op]) -> Result<(), Failure> {
        let first = self.answers.len();
        let mut wanted = Vec::with_capacity(ops.len());
        let mut wished = Vec::with_capacity(ops.len());
        for op in ops {
            let block = &mut self.blocks[op.id as usize];
            let operation = match (op.kind, block.take()) {
                (Kind::Alloc { bytes, align }, _) => CheckedOperation::Alloc {
                    size: bytes.into(),
                    align: align.into(),
                },
                (Kind::Realloc { bytes }, Some(block)) => CheckedOperation::Realloc {
                    block,
                    size: bytes.into(),
                },
                (Kind::Free, Some(block)) => CheckedOperation::Free(block),
                (Kind::Realloc { .. } | Kind::Free, None) => {
                    wished.push(None);
                    continue;
                }
            };
            let old = match &operation {
                CheckedOperation::Alloc { .. } => LiveBytes::default(),
                CheckedOperation::Realloc { block, .. } | CheckedOperation::Free(block) => {
                    LiveBytes {
                        requested: block.size(),
                        usable: block.usable_size(),
                    }
                }
            };
            wished.push(Some(old));
            wanted.push(operation);
        }
        // SUBMIT stops at a refused operation, so the operations behind it are submitted in another call.
        let mut replies = Vec::with_capacity(wanted.len());
        while !wanted.is_empty() {
            let asked = wished.iter().zip(first + 1..);
            let asked = asked.filter_map(|(old, number)| old.and(Some(number as u64)));
            underway::operations(asked.skip(replies.len()));
            let submitted = self.client.submit(wanted).map_err(|error| {
                let place = replies.len() + error.index;
                let asked = (0..ops.len()).filter(|index| wished[*index].is_some());
                let index = asked.clone().nth(place).unwrap_or(0);
                Failure::at(self.trace.ops(), first + index, error.violation)
            })?;
            replies.extend(submitted.replies);
            wanted = submitted.rest;
        }
        let mut replies = replies.into_iter();
        for (op, old) in ops.iter().zip(wished) {
            let reply = old.and_then(|old| Some((old, replies.next()?)));
            self.enter(op, reply);
        }
        Ok(())
    }

    /// Records the result of an operation. `reply` is `None` for an operation that was left out.
    fn enter(&mut self, op: &Op, reply: Option<(LiveBytes, CheckedReply)>) {
        let Some((old, reply)) = reply else {
            self.figures.left_out += 1;
            self.answers.push(Answer {
                outcome: OpOutcome::LeftOut,
                offset: uapi::NO_OFFSET,
                usable: 0,
                cost: slablab_cost::default(),
            });
            return;
        };
        let now = reply
            .block
            .as_ref()
            .map_or(LiveBytes::default(), |block| LiveBytes {
                requested: block.size(),
                usable: block.usable_size(),
            });
        self.live.requested = self.live.requested - old.requested + now.requested;
        self.live.usable = self.live.usable - old.usable + now.usable;
        let figures = &mut self.figures;
        let outcome = match reply.refusal {
            Some(cause) => {
                figures.refusals[cause.raw() as usize] += 1;
                OpOutcome::Refused(cause)
            }
            None => {
                figures.done += 1;
                OpOutcome::Done
            }
        };
        if self.live.requested > figures.peak_bytes {
            figures.peak_bytes = self.live.requested;
            figures.usable_at_peak = self.live.usable;
        }
        figures.peak_usable = figures.peak_usable.max(self.live.usable);
        self.blocks[op.id as usize] = reply.block;
        self.answers.push(Answer {
            outcome,
            offset: reply.offset,
            usable: reply.usable,
            cost: reply.cost,
        });
    }
}

/// Returns the length of the longest prefix of `ops` in which no two operations are on the same block, at
/// most [`BATCH`].
fn distinct(ops: &[Op]) -> usize {
    let mut seen = HashSet::new();
    ops.iter()
        .take(BATCH)
        .take_while(|op| seen.insert(op.id))
        .count()
}
