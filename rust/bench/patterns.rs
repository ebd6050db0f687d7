// SPDX-License-Identifier: GPL-2.0

//! The measured loops.
//!
//! A pattern is a loop of steps, which is divided into rounds. The time between rounds is not measured;
//! signals are checked there. A pattern runs twice from the same initial state: first with checks, then
//! measured.

use core::alloc::Layout;

use kernel::prelude::*;

use super::{
    allocator::Allocator,
    barrier::{
        Participant,
        Span, //
    },
    context::BenchContext,
    random::Random,
    request::{
        BenchRequest,
        LoopPattern,
        ROUND,
        layout, //
    },
    slots::{
        SlotCounts,
        Slots, //
    },
    timer::Timer, //
};

/// The number of blocks that are allocated or freed between two checks for signals outside of the measurement.
/// A single allocation or free can take long.
const PART: usize = 64;

/// The result of a bench, except for the times of its samples.
pub(super) struct PassResult {
    pub(super) counts: SlotCounts,
    pub(super) span: Span,
    pub(super) acquisitions: u64,
}

/// A loop over slots.
trait Loop<A: Allocator> {
    /// Returns the number of steps of a full round.
    fn round(&self, slots: &Slots<'_, A>) -> usize {
        let _ = slots;
        ROUND
    }

    /// Prepares a slot before the first round. The function is called for all slots in turn, and then again for
    /// all slots with `second_pass`.
    fn prefill<const CHECKED: bool>(
        &mut self,
        slots: &mut Slots<'_, A>,
        index: usize,
        second_pass: bool,
    ) {
        let _ = (slots, index, second_pass);
    }

    /// Chooses the actions of the steps of the next round, outside of the measurement.
    fn prepare_round(&mut self, slots: &Slots<'_, A>) {
        let _ = slots;
    }

    /// Performs one step of a round.
    fn step<const CHECKED: bool>(&mut self, slots: &mut Slots<'_, A>, index: usize);
}

/// Runs the pattern of a bench twice, first with checks and then measured.
///
/// # Errors
///
/// [`EINTR`] for a signal, [`ECANCELED`] when another participant has failed, [`ENOMEM`].
pub(super) fn run<A: Allocator>(
    context: &BenchContext<A>,
    request: &BenchRequest,
    participant: &Participant<'_>,
    timer: &mut Timer,
) -> Result<PassResult> {
    let run = PatternRun {
        context,
        request,
        participant,
    };
    let (mut counts, _) = run.pass::<true>(timer)?;
    let (measured, shared) = run.pass::<false>(timer)?;
    counts += measured;
    Ok(PassResult {
        counts,
        span: shared.span,
        acquisitions: shared.acquisitions,
    })
}

/// The parameters of a run of a pattern.
struct PatternRun<'a, A: Allocator> {
    context: &'a BenchContext<A>,
    request: &'a BenchRequest,
    participant: &'a Participant<'a>,
}

/// The result of all threads together; zeros for a checked run.
#[derive(Default)]
struct SharedResult {
    span: Span,
    acquisitions: u64,
}

impl<A: Allocator> PatternRun<'_, A> {
    /// Runs the pattern once.
    fn pass<const CHECKED: bool>(&self, timer: &mut Timer) -> Result<(SlotCounts, SharedResult)> {
        let request = self.request;
        match request.pattern {
            LoopPattern::Pair => self.run_loop::<CHECKED>(AllocFreePair(request.layout), timer),
            LoopPattern::Lifo => self.run_loop::<CHECKED>(Batches::<true>(request.layout), timer),
            LoopPattern::Fifo => self.run_loop::<CHECKED>(Batches::<false>(request.layout), timer),
            LoopPattern::Replace => {
                let replace = RandomReplace {
                    random: self.random(),
                    sizes: (request.size_min, request.layout.size() as u64),
                    steps: KVec::from_elem((0, request.layout), ROUND, GFP_KERNEL)?,
                };
                self.run_loop::<CHECKED>(replace, timer)
            }
            LoopPattern::Churn => {
                let toggle = RandomToggle {
                    random: self.random(),
                    layout: request.layout,
                    steps: KVec::from_elem(0, ROUND, GFP_KERNEL)?,
                };
                self.run_loop::<CHECKED>(toggle, timer)
            }
            LoopPattern::Fragments => {
                let fragments = Fragments {
                    layout: request.layout,
                    next: 0,
                };
                self.run_loop::<CHECKED>(fragments, timer)
            }
            LoopPattern::Handover => self.hand_over::<CHECKED>(timer),
        }
    }

    /// Returns the random number generator of this thread.
    fn random(&self) -> Random {
        Random::new(self.request.seed, self.participant.number())
    }

    /// Runs `work` between a common start and a common end of all threads.
    fn run_together<const CHECKED: bool>(
        &self,
        work: impl FnOnce() -> Result,
    ) -> Result<SharedResult> {
        if CHECKED {
            work()?;
            self.participant.wait()?;
            return Ok(SharedResult::default());
        }
        self.participant.wait()?;
        let before = self.context.allocator().acquisitions();
        let begin_ns = self.participant.start()?;
        work()?;
        let operations = self.request.operations() as u64;
        let span = self.participant.stop(begin_ns, operations)?;
        let acquisitions = self.context.allocator().acquisitions() - before;
        // No thread continues before all have read the counter.
        self.participant.wait()?;
        Ok(SharedResult { span, acquisitions })
    }

    /// Runs a loop over slots of this thread.
    fn run_loop<const CHECKED: bool>(
        &self,
        mut pattern: impl Loop<A>,
        timer: &mut Timer,
    ) -> Result<(SlotCounts, SharedResult)> {
        let mut slots = Slots::new(self.context.allocator(), self.request.slots)?;
        for (index, second_pass) in each_index_twice(slots.len()) {
            if index % PART == 0 {
                self.participant.check_interrupted()?;
            }
            pattern.prefill::<CHECKED>(&mut slots, index, second_pass);
        }
        let round = pattern.round(&slots);
        let mut left = self.request.steps();
        let shared = self.run_together::<CHECKED>(|| {
            while left > 0 {
                self.participant.check_interrupted()?;
                pattern.prepare_round(&slots);
                let steps = left.min(round);
                left -= steps;
                if CHECKED {
                    for index in 0..steps {
                        pattern.step::<true>(&mut slots, index);
                    }
                } else {
                    timer.measure(steps, |index| pattern.step::<false>(&mut slots, index));
                }
            }
            Ok(())
        })?;
        for index in (0..slots.len()).rev() {
            if index % PART == 0 {
                self.participant.check_interrupted()?;
            }
            slots.empty::<CHECKED>(index);
        }
        Ok((slots.counts, shared))
    }

    /// Runs the pattern `handover`: one thread allocates batches of blocks, the other frees them.
    fn hand_over<const CHECKED: bool>(
        &self,
        timer: &mut Timer,
    ) -> Result<(SlotCounts, SharedResult)> {
        let (allocates, layout) = (self.participant.number() == 0, self.request.layout);
        let rounds = self.request.operations() / self.request.slots;
        let mut counts = SlotCounts::default();
        let mut work = |round: usize| {
            let Some(mut slots) = self.context.take_buffer(round) else {
                return;
            };
            let steps = slots.len();
            let mut step = |index| {
                if allocates {
                    slots.fill::<CHECKED>(index, layout);
                } else {
                    slots.empty::<CHECKED>(index);
                }
            };
            if CHECKED {
                (0..steps).for_each(step);
            } else {
                timer.measure(steps, &mut step);
            }
            let (buffer, counted) = slots.into_buffer();
            counts += counted;
            self.context.put_buffer(round, buffer);
        };
        let shared = self.run_together::<CHECKED>(|| {
            // In each turn the second thread frees the batch that the first thread allocated one turn earlier.
            for turn in 0..=rounds {
                self.participant.check_interrupted()?;
                if allocates && turn < rounds {
                    work(turn);
                } else if !allocates && turn > 0 {
                    work(turn - 1);
                }
                self.participant.wait()?;
            }
            Ok(())
        })?;
        Ok((counts, shared))
    }
}

/// Allocates a block and frees it at once, while the blocks in the slots stay live.
struct AllocFreePair(Layout);

impl<A: Allocator> Loop<A> for AllocFreePair {
    fn prefill<const CHECKED: bool>(
        &mut self,
        slots: &mut Slots<'_, A>,
        index: usize,
        second_pass: bool,
    ) {
        if !second_pass {
            slots.fill::<CHECKED>(index, self.0);
        }
    }

    #[inline(always)]
    fn step<const CHECKED: bool>(&mut self, slots: &mut Slots<'_, A>, index: usize) {
        slots.allocate_and_free::<CHECKED>(index, self.0);
    }
}

/// Fills all slots, then empties them in the opposite order (`BACKWARDS`) or in the same order.
struct Batches<const BACKWARDS: bool>(Layout);

impl<A: Allocator, const BACKWARDS: bool> Loop<A> for Batches<BACKWARDS> {
    fn round(&self, slots: &Slots<'_, A>) -> usize {
        2 * slots.len()
    }

    #[inline(always)]
    fn step<const CHECKED: bool>(&mut self, slots: &mut Slots<'_, A>, index: usize) {
        let len = slots.len();
        if index < len {
            slots.fill::<CHECKED>(index, self.0);
        } else if BACKWARDS {
            slots.empty::<CHECKED>(2 * len - 1 - index);
        } else {
            slots.empty::<CHECKED>(index - len);
        }
    }
}

/// Frees the block in a random slot and allocates a block of random size.
struct RandomReplace {
    random: Random,
    sizes: (u64, u64),
    /// The slot and the new layout of each step of a round.
    steps: KVec<(u32, Layout)>,
}

impl RandomReplace {
    /// Returns a layout of random size.
    fn layout(&mut self) -> Option<Layout> {
        layout(self.random.doubling(self.sizes.0, self.sizes.1)).ok()
    }
}

impl<A: Allocator> Loop<A> for RandomReplace {
    fn prefill<const CHECKED: bool>(
        &mut self,
        slots: &mut Slots<'_, A>,
        index: usize,
        second_pass: bool,
    ) {
        if !second_pass {
            if let Some(layout) = self.layout() {
                slots.fill::<CHECKED>(index, layout);
            }
        }
    }

    fn prepare_round(&mut self, slots: &Slots<'_, A>) {
        for index in 0..self.steps.len() {
            let slot = self.random.below(slots.len() as u64) as u32;
            if let Some(layout) = self.layout() {
                self.steps[index] = (slot, layout);
            }
        }
    }

    #[inline(always)]
    fn step<const CHECKED: bool>(&mut self, slots: &mut Slots<'_, A>, index: usize) {
        if let Some((slot, layout)) = self.steps.get(index) {
            slots.empty::<CHECKED>(*slot as usize);
            slots.fill::<CHECKED>(*slot as usize, *layout);
        }
    }
}

/// Frees the block in a random slot, or allocates a block if the slot is empty.
struct RandomToggle {
    random: Random,
    layout: Layout,
    /// The slot of each step of a round.
    steps: KVec<u32>,
}

impl<A: Allocator> Loop<A> for RandomToggle {
    fn prefill<const CHECKED: bool>(
        &mut self,
        slots: &mut Slots<'_, A>,
        index: usize,
        second_pass: bool,
    ) {
        // Half of the slots are emptied at random, so that free blocks are scattered from the beginning.
        if !second_pass {
            slots.fill::<CHECKED>(index, self.layout);
        } else if self.random.below(2) == 0 {
            slots.empty::<CHECKED>(index);
        }
    }

    fn prepare_round(&mut self, slots: &Slots<'_, A>) {
        for step in self.steps.iter_mut() {
            *step = self.random.below(slots.len() as u64) as u32;
        }
    }

    #[inline(always)]
    fn step<const CHECKED: bool>(&mut self, slots: &mut Slots<'_, A>, index: usize) {
        if let Some(slot) = self.steps.get(index) {
            if slots.is_full(*slot as usize) {
                slots.empty::<CHECKED>(*slot as usize);
            } else {
                slots.fill::<CHECKED>(*slot as usize, self.layout);
            }
        }
    }
}

/// Frees the blocks in odd slots one by one, after the blocks in even slots were freed: each freed block can
/// coalesce with both neighbours.
struct Fragments {
    layout: Layout,
    /// The number of odd slots that were emptied.
    next: usize,
}

impl<A: Allocator> Loop<A> for Fragments {
    fn prefill<const CHECKED: bool>(
        &mut self,
        slots: &mut Slots<'_, A>,
        index: usize,
        second_pass: bool,
    ) {
        if !second_pass {
            slots.fill::<CHECKED>(index, self.layout);
        } else if index % 2 == 0 {
            slots.empty::<CHECKED>(index);
        }
    }

    #[inline(always)]
    fn step<const CHECKED: bool>(&mut self, slots: &mut Slots<'_, A>, _index: usize) {
        slots.empty::<CHECKED>(2 * self.next + 1);
        self.next += 1;
    }
}

/// Returns the indexes below `len` twice, with a flag that is true the second time.
fn each_index_twice(len: usize) -> impl Iterator<Item = (usize, bool)> {
    [false, true]
        .into_iter()
        .flat_map(move |second_pass| (0..len).map(move |index| (index, second_pass)))
}
