// SPDX-License-Identifier: GPL-2.0

//! SLABLAB_BENCH: measures allocators with a loop in the kernel.
//!
//! The files, from the outside to the inside:
//!
//! - this file: the bench of an open file, and the threads that measure together in a bench;
//! - [`request`]: the validated parameters of a bench;
//! - [`barrier`]: lets threads begin and end a measurement together;
//! - [`patterns`]: the measured loops; [`timer`] records their times, [`random`] is the generator;
//! - [`slots`]: owns the blocks of a loop and frees them when it is dropped;
//! - [`context`]: an allocator, and the buffers through which one thread passes blocks to another;
//! - [`allocator`]: the allocators, each created for one call; [`lock`] counts lock acquisitions.
//!
//! A bench is also a test. Each loop runs once with checks: the loop writes a token at both ends of a
//! block and compares the token before it frees the block. At the end all blocks are freed and the
//! engine checks its metadata.

// Lock order: barrier.rs states the order of `Bench::pending` and the barrier's lock, and context.rs that of a
// buffer's lock. `BenchRun::verifying` is taken before the engine's lock.

/// Declares items for all allocators: calls the macro `$declare` with the variant, the type and the number in the
/// ABI of each allocator. This is the only list of allocators.
macro_rules! for_all_allocators {
    ($declare:ident) => {
        $declare! {
            /// No allocator, to measure the cost of the loop.
            Baseline(BaselineAllocator) = SLABLAB_BENCH_NOTHING;
            /// The engine `hybrid`.
            Hybrid(EngineAllocator<CountedMagazines<hybrid::Heap>>) = SLABLAB_BENCH_HYBRID;
            /// The engine `extent`.
            Extent(EngineAllocator<CountedMagazines<extent::Heap>>) = SLABLAB_BENCH_EXTENT;
            /// The engine `seed`.
            Seed(EngineAllocator<CountedSeed>) = SLABLAB_BENCH_SEED;
            /// `__kmalloc` and `kfree`.
            Kmalloc(Kmalloc) = SLABLAB_BENCH_KMALLOC;
            /// `kmem_cache_alloc` and `kmem_cache_free`.
            KmemCache(KmemCache) = SLABLAB_BENCH_KMEM_CACHE;
            /// The engine `student`.
            #[cfg(SLABLAB_STUDENT)]
            Student(EngineAllocator<CountedStudent>) = SLABLAB_BENCH_STUDENT;
        }
    };
}

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
use slab_heap::{
    extent,
    hybrid, //
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
#[cfg(SLABLAB_STUDENT)]
use allocator::CountedStudent;
use allocator::{
    Allocator,
    BaselineAllocator,
    CountedMagazines,
    CountedSeed,
    EngineAllocator,
    Kmalloc,
    KmemCache, //
};
use barrier::{
    Barrier,
    Participant, //
};
use context::BenchContext;
use patterns::PassResult;
use request::{
    AllocatorKind,
    BenchRequest,
    LoopPattern, //
};
use slots::SLOT_BYTES;
use timer::Timer;

/// The bench of an open file, in which threads with the same request join one run.
#[pin_data]
pub(crate) struct Bench {
    #[pin]
    pending: Mutex<PendingRun>,
    /// Signals that a run was created, or that its creation failed.
    #[pin]
    prepared: CondVar,
}

/// The run that other threads can join.
enum PendingRun {
    /// There is no run.
    None,
    /// A thread creates a run for this request, without the lock.
    Preparing(BenchRequest),
    /// The run waits for more threads.
    Waiting(Arc<BenchRun>),
}

/// Declares the enum of the contexts of all allocators.
macro_rules! contexts {
    ($(
        $(#[doc = $doc:literal])*
        $(#[cfg($cfg:meta)])?
        $variant:ident($allocator:ty) = $number:path;
    )+) => {
        /// The context of an allocator of any kind.
        enum AnyContext {
            $(
                $(#[doc = $doc])*
                $(#[cfg($cfg)])?
                $variant(BenchContext<$allocator>),
            )+
        }

        impl AnyContext {
            /// Creates the allocator of a request, and its context.
            ///
            /// # Errors
            ///
            /// [`ENOMEM`].
            fn new(request: &BenchRequest) -> Result<Self> {
                let buffer = match request.pattern {
                    LoopPattern::Handover => request.slots,
                    _ => 0,
                };
                Ok(match request.kind {
                    $(
                        $(#[cfg($cfg)])?
                        AllocatorKind::$variant => {
                            let allocator = <$allocator>::create(request)?;
                            Self::$variant(BenchContext::new(allocator, buffer)?)
                        }
                    )+
                })
            }

            /// Returns the bytes of the allocator of a request in addition to its blocks.
            fn allocator_bytes(request: &BenchRequest) -> usize {
                match request.kind {
                    $(
                        $(#[cfg($cfg)])?
                        AllocatorKind::$variant => <$allocator>::bytes(request),
                    )+
                }
            }

            /// Runs the pattern of the request.
            fn run(
                &self,
                request: &BenchRequest,
                participant: &Participant<'_>,
                timer: &mut Timer,
            ) -> Result<PassResult> {
                match self {
                    $(
                        $(#[cfg($cfg)])?
                        Self::$variant(context) => {
                            patterns::run(context, request, participant, timer)
                        }
                    )+
                }
            }

            /// Checks the allocator's metadata: see [`Allocator::verify`].
            fn verify(&self, check_interrupted: &dyn Fn() -> Result) -> Result<u32> {
                match self {
                    $(
                        $(#[cfg($cfg)])?
                        Self::$variant(context) => context.allocator().verify(check_interrupted),
                    )+
                }
            }
        }
    };
}

for_all_allocators!(contexts);

/// The state that all threads of a bench share.
#[pin_data]
struct BenchRun {
    request: BenchRequest,
    context: AnyContext,
    #[pin]
    barrier: Barrier,
    /// The lock under which a thread verifies the engine: the figures of the engine are exact only if no other
    /// thread uses the engine, not even to shrink it.
    #[pin]
    verifying: Mutex<()>,
    // The lease is dropped after all other fields, so the budget never counts less memory than the run has.
    _lease: Lease,
}

impl Bench {
    /// Creates the bench of a new file.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            pending <- new_mutex!(PendingRun::None, "slablab_bench"),
            prepared <- new_condvar!("slablab_bench_prepared"),
        })
    }

    /// Implements SLABLAB_BENCH, and charges the memory of the run to `budget`.
    ///
    /// # Errors
    ///
    /// [`EPERM`] without CAP_SYS_ADMIN; `slablab.h` lists the others.
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
        let request = BenchRequest::new(&bench)?;
        let (run, number) = self.join(&request, budget)?;
        let participant = Participant::new(&run.barrier, number);
        participant
            .wait_first()
            .inspect_err(|_| self.cancel_pending(&run))?;
        let reply = run.measure(&participant, bench)?;
        participant.finish();
        arg.reply(&reply)
    }

    /// Joins the run that waits for threads with this request, or creates a run. Returns the run and the number
    /// of the thread in the run.
    fn join(&self, request: &BenchRequest, budget: &Arc<Budget>) -> Result<(Arc<BenchRun>, u32)> {
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
                        // The caller holds another reference, so nothing is freed under the lock.
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
        // If the creation failed, one of the waiting threads tries to create the run.
        self.prepared.notify_all();
        Ok((made?, participant))
    }

    /// Ends the wait for more threads: no thread can join `run` afterwards.
    fn cancel_pending(&self, run: &Arc<BenchRun>) {
        let mut pending = self.pending.lock();
        let is_waiting = matches!(&*pending, PendingRun::Waiting(other) if Arc::ptr_eq(other, run));
        if is_waiting {
            // The caller holds another reference, so nothing is freed under the lock.
            *pending = PendingRun::None;
        }
    }
}

impl BenchRun {
    /// Creates a run with its allocator. Charges all memory of the request, with the slots and samples of all
    /// threads.
    fn new(request: &BenchRequest, budget: &Arc<Budget>) -> Result<Arc<Self>> {
        // Each thread has slots or a handover buffer, and samples.
        let slots = kmalloc_bytes(request.slots * SLOT_BYTES);
        let samples = kmalloc_bytes(request.samples() * size_of::<u32>());
        let records = (slots + samples) * request.threads as usize;
        let fixed_bytes = kmalloc_bytes(size_of::<Self>()) + AnyContext::allocator_bytes(request);
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

    /// Runs the measurement and returns the reply to `bench`.
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

    /// Checks the engine's metadata when no block is live, and returns the broken rule.
    fn verify(&self, participant: &Participant<'_>) -> Result<u32> {
        // No thread has a live block once all threads have passed this barrier.
        participant.wait()?;
        let verifying = self.verifying.lock();
        let rule = (self.context).verify(&|| participant.check_interrupted());
        drop(verifying);
        participant.wait()?;
        rule
    }
}
