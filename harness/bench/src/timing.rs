// SPDX-License-Identifier: GPL-2.0

//! Repetitions: interleaved, and done again where something else got in.
//!
//! All allocators of a pattern are there at once, each settled in its own pool, and take turns:
//! A B C, A B C; after some turns they are made anew, elsewhere in memory. So what changes slowly (heat, frequency, neighbours) changes for all. A repetition
//! lasts a millisecond, shorter than the time that a scheduler grants, and counts only if the
//! thread was not pushed aside, stayed on its processor, and had that to itself before and after.

use std::time::{
    Duration,
    Instant, //
};

use anyhow::Context;

use crate::{
    check::{
        self,
        Checked,
        Wrong, //
    },
    heap::Heap,
    pattern::{
        Pattern,
        Run,
        Tally, //
    },
    peers::{
        Instance,
        Peer,
        Role, //
    },
    statistics::Summary,
    yardstick::Yardstick,
};

/// How often a disturbed repetition is tried before the next one's turn.
const TRIES: u32 = 6;

/// Where fewer than one in so many repetitions were undisturbed, the best tries of the others count
/// too: a few may all be of one round.
const CALM_SHARE: usize = 3;

/// How thorough timing is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// How often every allocator is made anew: where its memory lies is luck.
    pub(crate) rounds: usize,
    /// Repetitions of each allocator in a round.
    pub(crate) repetitions: usize,
    /// How long one of them takes, about.
    pub(crate) length: Duration,
}

/// Does a pass: the one call that counts.
#[inline(never)]
pub(crate) fn measured_pass(run: &mut dyn Run, heap: &dyn Heap, pairs: u64) -> Tally {
    run.pass(heap, pairs)
}

/// What the kernel says of this thread: how often it was pushed aside, and where it is.
#[derive(PartialEq, Eq)]
struct Circumstances {
    pushed_aside: i64,
    waited: i64,
    processor: i32,
}

impl Circumstances {
    fn now() -> Self {
        // SAFETY: Zeros are a good value of a structure of numbers.
        let mut usage = unsafe { std::mem::zeroed::<libc::rusage>() };
        // SAFETY: There is room for the answer.
        unsafe { libc::getrusage(libc::RUSAGE_THREAD, &mut usage) };
        Self {
            pushed_aside: usage.ru_nivcsw,
            waited: usage.ru_nvcsw,
            // SAFETY: It only reads.
            processor: unsafe { libc::sched_getcpu() },
        }
    }
}

/// An allocator with a pattern under way.
struct Subject<'peer> {
    peer: &'peer Peer,
    run: Box<dyn Run>,
    instance: Instance,
    pairs: u64,
}

/// What repetitions took, in nanoseconds a pair.
#[derive(Clone, Debug, Default)]
struct Samples {
    calm: Vec<f64>,
    disturbed: Vec<f64>,
    redone: u64,
    pairs: u64,
    checked_blocks: u64,
}

/// What was measured of an allocator.
pub(crate) struct Timed {
    /// Nanoseconds of a pair.
    pub(crate) nanoseconds: Summary,
    /// Pairs in one repetition.
    pub(crate) pairs: u64,
    /// Repetitions that were done again.
    pub(crate) redone: u64,
    /// Repetitions that were disturbed at every try. They count if too few were not.
    pub(crate) disturbed: usize,
    /// Blocks that were handed out with every answer checked.
    pub(crate) checked_blocks: u64,
}

/// Runs a pattern once with every answer checked.
///
/// # Errors
///
/// The first wrong answer.
pub(crate) fn checked(pattern: &Pattern, heap: &dyn Heap, seed: u64) -> Result<u64, Wrong> {
    let checked = Checked::new(heap);
    let mut run = pattern.begin(&checked, seed);
    let tally = run.pass(&checked, pattern.checked_pairs);
    run.finish(&checked);
    if tally.pairs < pattern.checked_pairs {
        return Err(Wrong::Count(pattern.checked_pairs, tally.pairs));
    }
    checked.verdict()
}

impl<'peer> Subject<'peer> {
    /// Makes the allocator and brings the pattern under way. The first time, that is done with
    /// every answer checked before.
    fn new(
        peer: &'peer Peer,
        pattern: &Pattern,
        seed: u64,
        effort: Effort,
        samples: &mut Samples,
    ) -> anyhow::Result<Self> {
        let instance = peer.make(pattern.pool_bytes)?;
        let heap = &*instance.heap;
        let judged = peer.role != Role::Baseline && pattern.checked_pairs > 0;
        if judged && samples.pairs == 0 {
            samples.checked_blocks = checked(pattern, heap, seed)?;
        }
        let mut subject = Self {
            peer,
            run: pattern.begin(heap, seed),
            instance,
            pairs: samples.pairs.max(16),
        };
        // What was found out in the first round goes for all.
        while samples.pairs == 0 && subject.pairs < 1 << 24 {
            if subject.pass()?.0 >= effort.length / 2 {
                break;
            }
            subject.pairs *= 2;
        }
        samples.pairs = subject.pairs;
        Ok(subject)
    }

    /// Does a pass and returns how long it took and whether it counts.
    fn pass(&mut self) -> Result<(Duration, bool), Wrong> {
        let before = Circumstances::now();
        let begun = Instant::now();
        let tally = measured_pass(&mut *self.run, &*self.instance.heap, self.pairs);
        let elapsed = begun.elapsed();
        let calm = Circumstances::now() == before;
        if tally.pairs < self.pairs {
            return Err(Wrong::Count(self.pairs, tally.pairs));
        }
        if self.peer.role != Role::Baseline && tally.wrong > 0 {
            return Err(Wrong::Timed(tally.wrong));
        }
        // A pattern that does whole batches did some more, and does as many the next time.
        self.pairs = tally.pairs;
        Ok((elapsed, calm))
    }

    /// Does one repetition that counts, or the best that can be had.
    fn repeat(&mut self, yardstick: &Yardstick, samples: &mut Samples) -> Result<(), Wrong> {
        let mut least = f64::INFINITY;
        // The others have been here, and the caches are theirs: as long again to warm up.
        let mut warm = self.pairs;
        for _ in 0..TRIES {
            self.run.pass(&*self.instance.heap, warm);
            warm = (self.pairs / 10).max(1);
            let before = yardstick.calm();
            let (elapsed, calm) = self.pass()?;
            let nanoseconds = elapsed.as_nanos() as f64 / self.pairs as f64;
            if calm && before && yardstick.calm() {
                samples.calm.push(nanoseconds);
                return Ok(());
            }
            samples.redone += 1;
            least = least.min(nanoseconds);
        }
        samples.disturbed.push(least);
        Ok(())
    }

    /// Looks at what is out, and frees it.
    fn finish(mut self) -> Result<(), Wrong> {
        if self.peer.role != Role::Baseline {
            check::distinct(self.run.live())?;
        }
        self.run.finish(&*self.instance.heap);
        Ok(())
    }
}

impl From<Samples> for Timed {
    fn from(mut samples: Samples) -> Self {
        let disturbed = samples.disturbed.len();
        if samples.calm.len() * (CALM_SHARE - 1) < disturbed {
            samples.calm.append(&mut samples.disturbed);
        }
        Self {
            nanoseconds: Summary::of(samples.calm),
            pairs: samples.pairs,
            redone: samples.redone,
            disturbed,
            checked_blocks: samples.checked_blocks,
        }
    }
}

/// Times a pattern on allocators, side by side.
///
/// # Errors
///
/// The first wrong answer, with its allocator's name.
pub(crate) fn compare(
    pattern: &Pattern,
    peers: &[Peer],
    seed: u64,
    effort: Effort,
    yardstick: &Yardstick,
    told: impl Fn(),
) -> anyhow::Result<Vec<Timed>> {
    let named = |peer: &Peer| format!("{} at '{}'", peer.name, pattern.title);
    let mut samples = vec![Samples::default(); peers.len()];
    for _ in 0..effort.rounds {
        let mut subjects = Vec::with_capacity(peers.len());
        for (peer, samples) in peers.iter().zip(&mut samples) {
            let subject = Subject::new(peer, pattern, seed, effort, samples);
            subjects.push(subject.with_context(|| named(peer))?);
        }
        for _ in 0..effort.repetitions {
            for (subject, samples) in subjects.iter_mut().zip(&mut samples) {
                let done = subject.repeat(yardstick, samples);
                done.with_context(|| named(subject.peer))?;
            }
            told();
        }
        for subject in subjects {
            let peer = subject.peer;
            subject.finish().with_context(|| named(peer))?;
        }
    }
    Ok(samples.into_iter().map(Timed::from).collect())
}
