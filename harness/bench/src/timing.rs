// SPDX-License-Identifier: GPL-2.0

//! Timing of patterns: interleaved repetitions that are repeated when they are disturbed.
//!
//! All allocators are constructed for a pattern, each in its own pool, and are measured in turn: A B C,
//! A B C, and so on. After some turns, a new round constructs them again at other addresses. Slow changes
//! of the machine (temperature, frequency, other load) therefore affect all allocators alike.
//!
//! A repetition takes about a millisecond, less than a time slice of the scheduler. It counts only when
//! the thread was not preempted, stayed on its CPU, and had the core to itself before and after.

use std::time::{
    Duration,
    Instant, //
};

use anyhow::Context;

use crate::{
    calibration::Calibration,
    check::{
        self,
        CheckError,
        CheckedHeap, //
    },
    heap::BenchHeap,
    pattern::{
        PassTally,
        RunningPattern,
        TimedPattern, //
    },
    peers::{
        AllocatorRole,
        Instance,
        Peer, //
    },
    statistics::SampleSummary,
};

/// The number of times that a disturbed repetition is tried.
const TRIES: u32 = 6;

/// When fewer than one in this many repetitions were undisturbed, the best tries of the disturbed repetitions
/// count, too, because a few undisturbed repetitions may all belong to one round.
const UNDISTURBED_SHARE: usize = 3;

/// The numbers of rounds and repetitions, and the length of a repetition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimingConfig {
    /// The number of rounds. Each round constructs the allocators again, because the time depends on the
    /// addresses of the pool.
    pub(crate) rounds: usize,
    /// The number of repetitions of each allocator in a round.
    pub(crate) repetitions: usize,
    /// The approximate duration of a repetition.
    pub(crate) length: Duration,
}

/// Runs a pass. Callgrind counts the instructions of this function, so it must not be inlined.
#[inline(never)]
pub(crate) fn measured_pass(
    run: &mut dyn RunningPattern,
    heap: &dyn BenchHeap,
    pairs: u64,
) -> PassTally {
    run.pass(heap, pairs)
}

/// The scheduling state of this thread: its context switches and its CPU.
#[derive(PartialEq, Eq)]
struct SchedulerState {
    involuntary_switches: i64,
    voluntary_switches: i64,
    cpu: i32,
}

impl SchedulerState {
    fn now() -> Self {
        // SAFETY: `rusage` consists of integers, for which all-zero bytes are valid.
        let mut usage = unsafe { std::mem::zeroed::<libc::rusage>() };
        // SAFETY: `usage` is a valid place for the result.
        unsafe { libc::getrusage(libc::RUSAGE_THREAD, &mut usage) };
        Self {
            involuntary_switches: usage.ru_nivcsw,
            voluntary_switches: usage.ru_nvcsw,
            // SAFETY: The call takes no pointers and has no side effects.
            cpu: unsafe { libc::sched_getcpu() },
        }
    }
}

/// An allocator under test with a running pattern.
struct Subject<'peer> {
    peer: &'peer Peer,
    run: Box<dyn RunningPattern>,
    instance: Instance,
    pairs: u64,
}

/// The samples of one allocator, in nanoseconds per pair.
#[derive(Clone, Debug, Default)]
struct Samples {
    undisturbed: Vec<f64>,
    disturbed: Vec<f64>,
    redone: u64,
    pairs: u64,
    checked_blocks: u64,
}

/// The results of one allocator.
pub(crate) struct Timed {
    /// The statistics of the repetitions, in nanoseconds per pair.
    pub(crate) nanoseconds: SampleSummary,
    /// The number of pairs in a repetition.
    pub(crate) pairs: u64,
    /// The number of repetitions that were repeated.
    pub(crate) redone: u64,
    /// The number of repetitions that were disturbed at every try; see [`UNDISTURBED_SHARE`].
    pub(crate) disturbed: usize,
    /// The number of blocks that were allocated in the checked pass.
    pub(crate) checked_blocks: u64,
}

/// Runs a pattern once, checks every answer, and returns the number of allocated blocks.
///
/// # Errors
///
/// Returns the first wrong answer.
pub(crate) fn checked(
    pattern: &TimedPattern,
    heap: &dyn BenchHeap,
    seed: u64,
) -> Result<u64, CheckError> {
    let checked = CheckedHeap::new(heap);
    let mut run = pattern.begin(&checked, seed);
    let tally = run.pass(&checked, pattern.checked_pairs);
    run.finish(&checked);
    if tally.pairs < pattern.checked_pairs {
        return Err(CheckError::Count(pattern.checked_pairs, tally.pairs));
    }
    checked.result()
}

impl<'peer> Subject<'peer> {
    /// Constructs the allocator and starts the pattern. In the first round, a checked pass runs first,
    /// and the number of pairs per repetition is calibrated.
    fn new(
        peer: &'peer Peer,
        pattern: &TimedPattern,
        seed: u64,
        config: TimingConfig,
        samples: &mut Samples,
    ) -> anyhow::Result<Self> {
        let instance = peer.make(pattern.pool_bytes)?;
        let heap = &*instance.heap;
        let needs_check = peer.role != AllocatorRole::Baseline && pattern.checked_pairs > 0;
        if needs_check && samples.pairs == 0 {
            samples.checked_blocks = checked(pattern, heap, seed)?;
        }
        let mut subject = Self {
            peer,
            run: pattern.begin(heap, seed),
            instance,
            pairs: samples.pairs.max(16),
        };
        // The number of pairs is calibrated in the first round only.
        while samples.pairs == 0 && subject.pairs < 1 << 24 {
            if subject.pass()?.0 >= config.length / 2 {
                break;
            }
            subject.pairs *= 2;
        }
        samples.pairs = subject.pairs;
        Ok(subject)
    }

    /// Runs a pass, and returns its duration and whether the scheduler left it undisturbed.
    fn pass(&mut self) -> Result<(Duration, bool), CheckError> {
        let before = SchedulerState::now();
        let begun = Instant::now();
        let tally = measured_pass(&mut *self.run, &*self.instance.heap, self.pairs);
        let elapsed = begun.elapsed();
        let undisturbed = SchedulerState::now() == before;
        if tally.pairs < self.pairs {
            return Err(CheckError::Count(self.pairs, tally.pairs));
        }
        if self.peer.role != AllocatorRole::Baseline && tally.wrong > 0 {
            return Err(CheckError::Timed(tally.wrong));
        }
        // A pattern of batches rounds the number of pairs up; the next pass asks for the same number.
        self.pairs = tally.pairs;
        Ok((elapsed, undisturbed))
    }

    /// Runs one repetition until it is undisturbed, or uses the fastest of [`TRIES`] tries.
    fn repeat(
        &mut self,
        calibration: &Calibration,
        samples: &mut Samples,
    ) -> Result<(), CheckError> {
        let mut min = f64::INFINITY;
        // The other allocators evicted this one from the caches, so a full pass warms up first.
        let mut warm = self.pairs;
        for _ in 0..TRIES {
            self.run.pass(&*self.instance.heap, warm);
            warm = (self.pairs / 10).max(1);
            let before = calibration.undisturbed();
            let (elapsed, undisturbed) = self.pass()?;
            let nanoseconds = elapsed.as_nanos() as f64 / self.pairs as f64;
            if undisturbed && before && calibration.undisturbed() {
                samples.undisturbed.push(nanoseconds);
                return Ok(());
            }
            samples.redone += 1;
            min = min.min(nanoseconds);
        }
        samples.disturbed.push(min);
        Ok(())
    }

    /// Checks the live blocks for overlap, and frees them.
    fn finish(mut self) -> Result<(), CheckError> {
        if self.peer.role != AllocatorRole::Baseline {
            check::check_overlap(self.run.live())?;
        }
        self.run.finish(&*self.instance.heap);
        Ok(())
    }
}

impl From<Samples> for Timed {
    fn from(mut samples: Samples) -> Self {
        let disturbed = samples.disturbed.len();
        if samples.undisturbed.len() * (UNDISTURBED_SHARE - 1) < disturbed {
            samples.undisturbed.append(&mut samples.disturbed);
        }
        Self {
            nanoseconds: SampleSummary::of(samples.undisturbed),
            pairs: samples.pairs,
            redone: samples.redone,
            disturbed,
            checked_blocks: samples.checked_blocks,
        }
    }
}

/// Measures a pattern on all allocators in turn. Calls `progress` after each turn.
///
/// # Errors
///
/// Returns the first wrong answer with the name of its allocator.
pub(crate) fn compare(
    pattern: &TimedPattern,
    peers: &[Peer],
    seed: u64,
    config: TimingConfig,
    calibration: &Calibration,
    progress: impl Fn(),
) -> anyhow::Result<Vec<Timed>> {
    let named = |peer: &Peer| format!("{} with the pattern '{}'", peer.name, pattern.title);
    let mut samples = vec![Samples::default(); peers.len()];
    for _ in 0..config.rounds {
        let mut subjects = Vec::with_capacity(peers.len());
        for (peer, samples) in peers.iter().zip(&mut samples) {
            let subject = Subject::new(peer, pattern, seed, config, samples);
            subjects.push(subject.with_context(|| named(peer))?);
        }
        for _ in 0..config.repetitions {
            for (subject, samples) in subjects.iter_mut().zip(&mut samples) {
                let done = subject.repeat(calibration, samples);
                done.with_context(|| named(subject.peer))?;
            }
            progress();
        }
        for subject in subjects {
            let peer = subject.peer;
            subject.finish().with_context(|| named(peer))?;
        }
    }
    Ok(samples.into_iter().map(Timed::from).collect())
}
