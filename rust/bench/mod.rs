// SPDX-License-Identifier: GPL-2.0

//! SLABLAB_BENCH: allocators, measured by a loop in the kernel.
//!
//! From the outside in:
//!
//! - this file: what a file has of a bench, and how a call becomes one;
//! - [`request`]: what a program asks for, once it was found to make sense;
//! - [`barrier`]: threads that measure together, and wait for each other;
//! - [`patterns`]: the loops; [`timer`] takes their times, [`random`] decides what they do;
//! - [`slots`]: places for blocks, from which they are freed whatever happens;
//! - [`context`]: a allocator, and what threads hand each other;
//! - [`allocator`]: the allocators, each made for the call; [`lock`] counts.
//!
//! A bench is also a test: each loop runs once with its blocks written at both ends and looked at
//! before they are freed, and at the end all is freed and the engine's records are walked.

// The lock order is told in barrier.rs and context.rs.

mod allocator;
#[forbid(unsafe_code)]
mod barrier;
mod context;
mod lock;
#[forbid(unsafe_code)]
mod patterns;
#[forbid(unsafe_code)]
mod random;
#[forbid(unsafe_code)]
mod request;
mod slots;
mod timer;

use kernel::{
    new_condvar,
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        CondVar,
        Mutex, //
    }, //
};

use crate::{
    argument::IoctlArg,
    budget::{
        Budget,
        Lease, //
    },
    uapi::slablab_bench,
    vmalloc::{
        VmallocMemory,
        kmalloc_bytes, //
    },
};
use allocator::{
    Baseline,
    HybridCalled,
    HybridInlined,
    Kmalloc,
    KmemCache,
    SeedCalled,
    allocator_bytes, //
};
use barrier::{
    Barrier,
    Participant, //
};
use context::BenchContext;
use patterns::PassResult;
use request::{
    AllocatorKind,
    Pattern,
    Request, //
};
use slots::SLOT_BYTES;
use timer::Timer;

/// What an open file has of a bench: where its threads find each other.
#[pin_data]
pub(crate) struct Bench {
    #[pin]
    pending: Mutex<PendingRun>,
    /// Says that an run was made, or could not be.
    #[pin]
    prepared: CondVar,
}

/// How far threads have come that are to measure together.
enum PendingRun {
    /// Nobody is there.
    None,
    /// The first thread makes an run for this request, without the lock.
    Preparing(Request),
    /// The run waits for more threads.
    Waiting(Arc<BenchRun>),
}

/// A allocator of any kind.
enum AnyContext {
    Baseline(BenchContext<Baseline>),
    Hybrid(BenchContext<HybridCalled>),
    HybridInline(BenchContext<HybridInlined>),
    Seed(BenchContext<SeedCalled>),
    Kmalloc(BenchContext<Kmalloc>),
    KmemCache(BenchContext<KmemCache>),
}

/// Does something with the context, of whatever kind it is.
macro_rules! with_context {
    ($any:expr, $context:ident => $do:expr) => {
        match $any {
            AnyContext::Baseline($context) => $do,
            AnyContext::Hybrid($context) => $do,
            AnyContext::HybridInline($context) => $do,
            AnyContext::Seed($context) => $do,
            AnyContext::Kmalloc($context) => $do,
            AnyContext::KmemCache($context) => $do,
        }
    };
}

/// What the threads of a bench have in shared.
#[pin_data]
struct BenchRun {
    request: Request,
    context: AnyContext,
    #[pin]
    barrier: Barrier,
    /// One after the other looks at the engine: its figures are exact when nobody else is at it, not
    /// even to have it give back what it keeps.
    #[pin]
    verifying: Mutex<()>,
    /// Dropped last: what is counted is never less than what is there.
    _lease: Lease,
}

impl Bench {
    /// Makes what a new file has.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            pending <- new_mutex!(PendingRun::None, "slablab_bench"),
            prepared <- new_condvar!("slablab_bench_prepared"),
        })
    }

    /// Serves SLABLAB_BENCH, and charges what it takes to `budget`.
    ///
    /// # Errors
    ///
    /// As `slablab.h` says.
    pub(crate) fn run(
        &self,
        budget: &Arc<Budget>,
        is_admin: bool,
        argument: usize,
        bytes: usize,
    ) -> Result {
        if !is_admin {
            return Err(EPERM);
        }
        let (bench, arg) = IoctlArg::read::<slablab_bench>(argument, bytes)?;
        let request = Request::new(&bench)?;
        let (run, number) = self.join(&request, budget)?;
        let participant = Participant::new(&run.barrier, number);
        participant
            .wait_first()
            .inspect_err(|_| self.cancel_pending(&run))?;
        let reply = run.measure(&participant, bench)?;
        participant.finish();
        arg.reply(&reply)
    }

    /// Returns the run that waits for this request, or a new one, and the number of a participant.
    fn join(&self, request: &Request, budget: &Arc<Budget>) -> Result<(Arc<BenchRun>, u32)> {
        if request.threads == 1 {
            return Ok((BenchRun::new(request, budget)?, 0));
        }
        let mut pending = self.pending.lock();
        loop {
            match &*pending {
                PendingRun::None => break,
                PendingRun::Waiting(run) if run.request == *request => {
                    let run = run.clone();
                    let (number, is_last) = run.barrier.join();
                    if is_last {
                        // The caller has another reference: nothing is freed under the lock.
                        *pending = PendingRun::None;
                    }
                    return Ok((run, number));
                }
                PendingRun::Preparing(other) if other == request => {
                    if self.prepared.wait_interruptible(&mut pending) {
                        return Err(EINTR);
                    }
                }
                PendingRun::Waiting(_) | PendingRun::Preparing(_) => return Err(EBUSY),
            }
        }
        *pending = PendingRun::Preparing(*request);
        drop(pending);
        let made = BenchRun::new(request, budget);
        let participant = made.as_ref().map_or(0, |run| run.barrier.join().0);
        let mut pending = self.pending.lock();
        *pending = match &made {
            Ok(run) => PendingRun::Waiting(run.clone()),
            Err(_) => PendingRun::None,
        };
        drop(pending);
        // Where there is none, one of those who wait tries next.
        self.prepared.notify_all();
        Ok((made?, participant))
    }

    /// Has nobody join an run any more.
    fn cancel_pending(&self, run: &Arc<BenchRun>) {
        let mut pending = self.pending.lock();
        let is_waiting = matches!(&*pending, PendingRun::Waiting(other) if Arc::ptr_eq(other, run));
        if is_waiting {
            // The caller has another reference: nothing is freed under the lock.
            *pending = PendingRun::None;
        }
    }
}

impl BenchRun {
    /// Makes what a request needs.
    fn new(request: &Request, budget: &Arc<Budget>) -> Result<Arc<Self>> {
        // Each thread has slots or a buffer, and samples.
        let slots = kmalloc_bytes(request.slots * SLOT_BYTES);
        let samples = kmalloc_bytes(request.samples() * size_of::<u32>());
        let records = (slots + samples) * request.threads as usize;
        let fixed_bytes = kmalloc_bytes(size_of::<Self>()) + allocator_bytes(request);
        let charge = VmallocMemory::charge(request.pool_bytes) + fixed_bytes + records;
        let lease = Lease::new(budget, charge).ok_or(EDQUOT)?;
        let context = AnyContext::new(request)?;
        Arc::pin_init(
            pin_init!(Self {
                request: *request,
                context,
                barrier <- Barrier::new(request.threads),
                verifying <- new_mutex!((), "slablab_bench_verifying"),
                _lease: lease,
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// Measures, and returns the reply to `bench`.
    fn measure(
        &self,
        participant: &Participant<'_>,
        bench: slablab_bench,
    ) -> Result<slablab_bench> {
        let request = &self.request;
        let mut timer = Timer::new(request.samples(), request.per_op)?;
        let result = self.context.run(request, participant, &mut timer)?;
        let rule = self.verify(participant)?;
        let times = timer.times();
        let PassResult {
            counts,
            span,
            acquisitions,
        } = result;
        Ok(slablab_bench {
            operations: request.operations() as u64,
            samples: times.samples,
            sample_operations: request.sample_operations() as u32,
            total_ns: times.total_ns,
            min_ns: times.min_ns,
            p50_ns: times.p50_ns,
            p99_ns: times.p99_ns,
            max_ns: times.max_ns,
            clock_ns: times.clock_ns,
            disturbed: times.disturbed,
            rule,
            checked_blocks: counts.checked_blocks,
            wrong_blocks: counts.wrong_blocks,
            refusals: counts.refusals,
            span_ns: span.ns(),
            span_operations: span.operations(),
            lock_acquisitions: acquisitions,
            ..bench
        })
    }

    /// Checks the engine's records, of which nothing is out; returns the broken rule.
    fn verify(&self, participant: &Participant<'_>) -> Result<u32> {
        use allocator::Allocator as _;

        // Nobody has anything out once all have come here.
        participant.wait()?;
        let verifying = self.verifying.lock();
        let rule = with_context!(&self.context, context => {
            context.allocator().verify(&|| participant.check_interrupted())
        });
        drop(verifying);
        participant.wait()?;
        rule
    }
}

/// Puts a allocator into a place of its own.
fn boxed<A>(allocator: A) -> Result<KBox<A>> {
    Ok(KBox::new(allocator, GFP_KERNEL_ACCOUNT)?)
}

impl AnyContext {
    /// Makes the allocator of a request: the only place that makes any.
    fn new(request: &Request) -> Result<Self> {
        let buffer = match request.pattern {
            Pattern::Handover => request.slots,
            _ => 0,
        };
        let bytes = request.pool_bytes;
        Ok(match request.kind {
            AllocatorKind::Baseline => Self::Baseline(BenchContext::new(boxed(Baseline)?, buffer)?),
            AllocatorKind::Hybrid => {
                Self::Hybrid(BenchContext::new(HybridCalled::new(bytes)?, buffer)?)
            }
            AllocatorKind::HybridInline => {
                Self::HybridInline(BenchContext::new(HybridInlined::new(bytes)?, buffer)?)
            }
            AllocatorKind::Seed => Self::Seed(BenchContext::new(SeedCalled::new(bytes)?, buffer)?),
            AllocatorKind::Kmalloc => Self::Kmalloc(BenchContext::new(boxed(Kmalloc)?, buffer)?),
            AllocatorKind::KmemCache => {
                let cache = KmemCache::new(request.layout.size())?;
                Self::KmemCache(BenchContext::new(cache, buffer)?)
            }
        })
    }

    /// Runs the loops.
    fn run(
        &self,
        request: &Request,
        participant: &Participant<'_>,
        timer: &mut Timer,
    ) -> Result<PassResult> {
        with_context!(self, context => patterns::run(context, request, participant, timer))
    }
}
