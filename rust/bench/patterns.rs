// SPDX-License-Identifier: GPL-2.0

//! What is done with a subject.
//!
//! A pattern is a loop of steps, in rounds: between rounds nothing is measured, and there signals
//! get in. It runs twice, first checked and then measured, from the same beginning.

use core::alloc::Layout;

use kernel::prelude::*;

use super::{
    court::Court,
    meeting::{
        Seat,
        Span, //
    },
    random::Random,
    request::{
        Pattern,
        ROUND,
        Request,
        layout, //
    },
    slots::{
        Slots,
        Tally, //
    },
    subject::Subject,
    watch::Watch, //
};

/// Blocks that are allocated or freed between two looks for signals where nothing is measured: a
/// single one can take long.
const PART: usize = 64;

/// What a bench has found, but for the times of samples.
pub(super) struct Findings {
    pub(super) tally: Tally,
    pub(super) span: Span,
    pub(super) acquisitions: u64,
}

/// A loop over slots.
trait Loop<S: Subject> {
    /// Steps of a full round.
    fn round(&self, slots: &Slots<'_, S>) -> usize {
        let _ = slots;
        ROUND
    }

    /// Fills slots before the first round: is called for each, and once more for each.
    fn furnish<const CHECKED: bool>(
        &mut self,
        slots: &mut Slots<'_, S>,
        index: usize,
        again: bool,
    ) {
        let _ = (slots, index, again);
    }

    /// Decides what the next round will be.
    fn plan(&mut self, slots: &Slots<'_, S>) {
        let _ = slots;
    }

    /// Does a step of a round.
    fn step<const CHECKED: bool>(&mut self, slots: &mut Slots<'_, S>, index: usize);
}

/// Runs a bench, checked and then measured.
///
/// # Errors
///
/// [`EINTR`], [`ECANCELED`], [`ENOMEM`].
pub(super) fn run<S: Subject>(
    court: &Court<S>,
    request: &Request,
    seat: &Seat<'_>,
    watch: &mut Watch,
) -> Result<Findings> {
    let bench = Bench {
        court,
        request,
        seat,
    };
    let (mut tally, _) = bench.pass::<true>(watch)?;
    let (measured, common) = bench.pass::<false>(watch)?;
    tally += measured;
    Ok(Findings {
        tally,
        span: common.span,
        acquisitions: common.acquisitions,
    })
}

/// What a pass is made with.
struct Bench<'a, S: Subject> {
    court: &'a Court<S>,
    request: &'a Request,
    seat: &'a Seat<'a>,
}

/// What all threads together did in a pass, where it was measured.
#[derive(Default)]
struct Common {
    span: Span,
    acquisitions: u64,
}

impl<S: Subject> Bench<'_, S> {
    /// Runs the pattern once.
    fn pass<const CHECKED: bool>(&self, watch: &mut Watch) -> Result<(Tally, Common)> {
        let request = self.request;
        match request.pattern {
            Pattern::Pair => self.turn::<CHECKED>(Pairs(request.layout), watch),
            Pattern::Lifo => self.turn::<CHECKED>(Batches::<true>(request.layout), watch),
            Pattern::Fifo => self.turn::<CHECKED>(Batches::<false>(request.layout), watch),
            Pattern::Replace => {
                let replacing = Replacing {
                    random: self.random(),
                    sizes: (request.size_min, request.layout.size() as u64),
                    steps: KVec::from_elem((0, request.layout), ROUND, GFP_KERNEL)?,
                };
                self.turn::<CHECKED>(replacing, watch)
            }
            Pattern::Churn => {
                let churning = Churning {
                    random: self.random(),
                    layout: request.layout,
                    steps: KVec::from_elem(0, ROUND, GFP_KERNEL)?,
                };
                self.turn::<CHECKED>(churning, watch)
            }
            Pattern::Fragments => {
                let fragments = Fragments {
                    layout: request.layout,
                    next: 0,
                };
                self.turn::<CHECKED>(fragments, watch)
            }
            Pattern::Handover => self.hand_over::<CHECKED>(watch),
        }
    }

    /// Returns this thread's numbers.
    fn random(&self) -> Random {
        Random::new(self.request.seed, self.seat.number())
    }

    /// Does `work` between the moments at which all threads begin and end.
    fn together<const CHECKED: bool>(&self, work: impl FnOnce() -> Result) -> Result<Common> {
        if CHECKED {
            work()?;
            self.seat.meet()?;
            return Ok(Common::default());
        }
        self.seat.meet()?;
        let before = self.court.subject().acquisitions();
        let begin_ns = self.seat.start()?;
        work()?;
        let operations = self.request.operations() as u64;
        let span = self.seat.finish(begin_ns, operations)?;
        let acquisitions = self.court.subject().acquisitions() - before;
        // Nobody goes on before all have looked.
        self.seat.meet()?;
        Ok(Common { span, acquisitions })
    }

    /// Runs a loop.
    fn turn<const CHECKED: bool>(
        &self,
        mut pattern: impl Loop<S>,
        watch: &mut Watch,
    ) -> Result<(Tally, Common)> {
        let mut slots = Slots::new(self.court.subject(), self.request.slots)?;
        for (index, again) in both(slots.len()) {
            if index % PART == 0 {
                self.seat.breathe()?;
            }
            pattern.furnish::<CHECKED>(&mut slots, index, again);
        }
        let round = pattern.round(&slots);
        let mut left = self.request.steps();
        let common = self.together::<CHECKED>(|| {
            while left > 0 {
                self.seat.breathe()?;
                pattern.plan(&slots);
                let steps = left.min(round);
                left -= steps;
                if CHECKED {
                    for index in 0..steps {
                        pattern.step::<true>(&mut slots, index);
                    }
                } else {
                    watch.measure(steps, |index| pattern.step::<false>(&mut slots, index));
                }
            }
            Ok(())
        })?;
        for index in (0..slots.len()).rev() {
            if index % PART == 0 {
                self.seat.breathe()?;
            }
            slots.empty::<CHECKED>(index);
        }
        Ok((slots.tally, common))
    }

    /// Allocates batches that the other thread frees, or the other way round.
    fn hand_over<const CHECKED: bool>(&self, watch: &mut Watch) -> Result<(Tally, Common)> {
        let (allocates, layout) = (self.seat.number() == 0, self.request.layout);
        let rounds = self.request.operations() / self.request.slots;
        let mut tally = Tally::default();
        let mut work = |round: usize| {
            let Some(mut slots) = self.court.take(round) else {
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
                watch.measure(steps, &mut step);
            }
            let (shelf, noticed) = slots.shelve();
            tally += noticed;
            self.court.put(round, shelf);
        };
        let common = self.together::<CHECKED>(|| {
            // In each turn one fills what the other has emptied in the one before.
            for turn in 0..=rounds {
                self.seat.breathe()?;
                if allocates && turn < rounds {
                    work(turn);
                } else if !allocates && turn > 0 {
                    work(turn - 1);
                }
                self.seat.meet()?;
            }
            Ok(())
        })?;
        Ok((tally, common))
    }
}

/// Allocates a block and frees it, while others are out.
struct Pairs(Layout);

impl<S: Subject> Loop<S> for Pairs {
    fn furnish<const CHECKED: bool>(
        &mut self,
        slots: &mut Slots<'_, S>,
        index: usize,
        again: bool,
    ) {
        if !again {
            slots.fill::<CHECKED>(index, self.0);
        }
    }

    #[inline(always)]
    fn step<const CHECKED: bool>(&mut self, slots: &mut Slots<'_, S>, index: usize) {
        slots.pair::<CHECKED>(index, self.0);
    }
}

/// Fills all slots and empties them, backwards or in the same order.
struct Batches<const BACKWARDS: bool>(Layout);

impl<S: Subject, const BACKWARDS: bool> Loop<S> for Batches<BACKWARDS> {
    fn round(&self, slots: &Slots<'_, S>) -> usize {
        2 * slots.len()
    }

    #[inline(always)]
    fn step<const CHECKED: bool>(&mut self, slots: &mut Slots<'_, S>, index: usize) {
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

/// Puts blocks of random sizes in place of others.
struct Replacing {
    random: Random,
    sizes: (u64, u64),
    /// The slots of a round, and what comes into them.
    steps: KVec<(u32, Layout)>,
}

impl Replacing {
    /// Returns the layout of a block of random size.
    fn layout(&mut self) -> Option<Layout> {
        layout(self.random.doubling(self.sizes.0, self.sizes.1)).ok()
    }
}

impl<S: Subject> Loop<S> for Replacing {
    fn furnish<const CHECKED: bool>(
        &mut self,
        slots: &mut Slots<'_, S>,
        index: usize,
        again: bool,
    ) {
        if !again && let Some(layout) = self.layout() {
            slots.fill::<CHECKED>(index, layout);
        }
    }

    fn plan(&mut self, slots: &Slots<'_, S>) {
        for index in 0..self.steps.len() {
            let slot = self.random.below(slots.len() as u64) as u32;
            if let Some(layout) = self.layout() {
                self.steps[index] = (slot, layout);
            }
        }
    }

    #[inline(always)]
    fn step<const CHECKED: bool>(&mut self, slots: &mut Slots<'_, S>, index: usize) {
        if let Some((slot, layout)) = self.steps.get(index) {
            slots.empty::<CHECKED>(*slot as usize);
            slots.fill::<CHECKED>(*slot as usize, *layout);
        }
    }
}

/// Frees what is in a slot, or fills it.
struct Churning {
    random: Random,
    layout: Layout,
    /// The slots of a round.
    steps: KVec<u32>,
}

impl<S: Subject> Loop<S> for Churning {
    fn furnish<const CHECKED: bool>(
        &mut self,
        slots: &mut Slots<'_, S>,
        index: usize,
        again: bool,
    ) {
        // What is free is scattered from the beginning.
        if !again {
            slots.fill::<CHECKED>(index, self.layout);
        } else if self.random.below(2) == 0 {
            slots.empty::<CHECKED>(index);
        }
    }

    fn plan(&mut self, slots: &Slots<'_, S>) {
        for step in self.steps.iter_mut() {
            *step = self.random.below(slots.len() as u64) as u32;
        }
    }

    #[inline(always)]
    fn step<const CHECKED: bool>(&mut self, slots: &mut Slots<'_, S>, index: usize) {
        if let Some(slot) = self.steps.get(index) {
            if slots.is_full(*slot as usize) {
                slots.empty::<CHECKED>(*slot as usize);
            } else {
                slots.fill::<CHECKED>(*slot as usize, self.layout);
            }
        }
    }
}

/// Frees, one after the other, the blocks that are left when every other one was freed.
struct Fragments {
    layout: Layout,
    /// The pairs of slots that were emptied.
    next: usize,
}

impl<S: Subject> Loop<S> for Fragments {
    fn furnish<const CHECKED: bool>(
        &mut self,
        slots: &mut Slots<'_, S>,
        index: usize,
        again: bool,
    ) {
        if !again {
            slots.fill::<CHECKED>(index, self.layout);
        } else if index % 2 == 0 {
            slots.empty::<CHECKED>(index);
        }
    }

    #[inline(always)]
    fn step<const CHECKED: bool>(&mut self, slots: &mut Slots<'_, S>, _index: usize) {
        slots.empty::<CHECKED>(2 * self.next + 1);
        self.next += 1;
    }
}

/// Returns the indexes below `len`, and then once more.
fn both(len: usize) -> impl Iterator<Item = (usize, bool)> {
    [false, true]
        .into_iter()
        .flat_map(move |again| (0..len).map(move |index| (index, again)))
}
