// SPDX-License-Identifier: GPL-2.0

//! Repetitions: interleaved, and done again where something else got in.
//!
//! All allocators of a pattern are there at once, each settled in its own pool, and take turns:
//! A B C, A B C. So what changes slowly (heat, frequency, neighbours) changes for all. A repetition
//! lasts a millisecond, shorter than the time that a scheduler grants, and counts only if the
//! thread was not pushed aside, stayed on its processor, and had that to itself before and after.

use std::time::{
    Duration,
    Instant, //
};

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

/// With fewer undisturbed repetitions the disturbed ones count too.
const CALM_MIN: usize = 5;

/// How thorough timing is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// Repetitions of each allocator.
    pub(crate) repetitions: usize,
    /// How long one of them takes, about.
    pub(crate) length: Duration,
}

/// Reads the processor's counter of time.
pub(crate) struct Clock {
    nanoseconds_per_tick: f64,
}

impl Clock {
    /// Finds out how fast the counter is.
    pub(crate) fn new() -> Self {
        let (begun, first) = (Instant::now(), ticks());
        while begun.elapsed() < Duration::from_millis(20) {}
        let (elapsed, last) = (begun.elapsed(), ticks());
        Self {
            nanoseconds_per_tick: elapsed.as_nanos() as f64 / (last - first) as f64,
        }
    }

    /// Returns the count, after everything before is done.
    #[inline(always)]
    pub(crate) fn now(&self) -> u64 {
        ticks()
    }

    /// Returns the time between two counts.
    pub(crate) fn nanoseconds(&self, from: u64, to: u64) -> f64 {
        to.saturating_sub(from) as f64 * self.nanoseconds_per_tick
    }
}

/// Returns the processor's count of time.
#[inline(always)]
fn ticks() -> u64 {
    use std::arch::x86_64::{
        _mm_lfence,
        _rdtsc, //
    };
    // SAFETY: Every x86-64 processor has it. The first fence waits for what came before, the second
    // keeps what comes after from beginning.
    unsafe { _mm_lfence() };
    // SAFETY: As above.
    let ticks = unsafe { _rdtsc() };
    // SAFETY: As above.
    unsafe { _mm_lfence() };
    ticks
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
    /// Goes before the instance, whose blocks it has.
    run: Box<dyn Run>,
    instance: Instance,
    pairs: u64,
    calm: Vec<f64>,
    disturbed: Vec<f64>,
    redone: u64,
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
    /// Makes the allocator, checks it, and brings the pattern under way.
    fn new(
        peer: &'peer Peer,
        pattern: &Pattern,
        seed: u64,
        effort: Effort,
    ) -> anyhow::Result<Self> {
        let instance = peer.make(pattern.pool_bytes)?;
        let heap = &*instance.heap;
        let checked_blocks = match peer.role {
            Role::Baseline => 0,
            _ if pattern.checked_pairs == 0 => 0,
            _ => checked(pattern, heap, seed)?,
        };
        let mut subject = Self {
            peer,
            run: pattern.begin(heap, seed),
            instance,
            pairs: 16,
            calm: Vec::with_capacity(effort.repetitions),
            disturbed: Vec::new(),
            redone: 0,
            checked_blocks,
        };
        while subject.pairs < 1 << 24 && subject.pass()?.0 < effort.length / 2 {
            subject.pairs *= 2;
        }
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
    fn repeat(&mut self, yardstick: &Yardstick) -> Result<(), Wrong> {
        let mut least = f64::INFINITY;
        for _ in 0..TRIES {
            // The others have been here: a tenth of it to warm up.
            let warm = (self.pairs / 10).max(1);
            self.run.pass(&*self.instance.heap, warm);
            let before = yardstick.calm();
            let (elapsed, calm) = self.pass()?;
            let nanoseconds = elapsed.as_nanos() as f64 / self.pairs as f64;
            if calm && before && yardstick.calm() {
                self.calm.push(nanoseconds);
                return Ok(());
            }
            self.redone += 1;
            least = least.min(nanoseconds);
        }
        self.disturbed.push(least);
        Ok(())
    }

    /// Sums up what was measured.
    fn timed(mut self) -> Timed {
        let disturbed = self.disturbed.len();
        if self.calm.len() < CALM_MIN {
            self.calm.append(&mut self.disturbed);
        }
        Timed {
            nanoseconds: Summary::of(self.calm),
            pairs: self.pairs,
            redone: self.redone,
            disturbed,
            checked_blocks: self.checked_blocks,
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
    mut told: impl FnMut(),
) -> anyhow::Result<Vec<Timed>> {
    let named = |peer: &Peer| format!("{} at '{}'", peer.name, pattern.title);
    let mut subjects = Vec::with_capacity(peers.len());
    for peer in peers {
        let subject = Subject::new(peer, pattern, seed, effort);
        subjects.push(subject.map_err(|error| error.context(named(peer)))?);
    }
    for _ in 0..effort.repetitions {
        for subject in &mut subjects {
            let done = subject.repeat(yardstick);
            done.map_err(|wrong| anyhow::Error::new(wrong).context(named(subject.peer)))?;
        }
        told();
    }
    let mut timed = Vec::with_capacity(subjects.len());
    for mut subject in subjects {
        if subject.peer.role != Role::Baseline {
            check::distinct(subject.run.live())
                .map_err(|wrong| anyhow::Error::new(wrong).context(named(subject.peer)))?;
        }
        subject.run.finish(&*subject.instance.heap);
        timed.push(subject.timed());
    }
    Ok(timed)
}
