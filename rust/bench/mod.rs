// SPDX-License-Identifier: GPL-2.0

//! SLABLAB_BENCH: allocators, measured by a loop in the kernel.
//!
//! From the outside in:
//!
//! - this file: what a file has of a bench, and how a call becomes one;
//! - [`request`]: what a program asks for, once it was found to make sense;
//! - [`meeting`]: threads that measure together, and wait for each other;
//! - [`patterns`]: the loops; [`watch`] takes their times, [`random`] decides what they do;
//! - [`slots`]: places for blocks, from which they are freed whatever happens;
//! - [`court`]: a subject, and what threads hand each other;
//! - [`subject`]: the allocators, each made for the call; [`lock`] counts.
//!
//! A bench is also a test: each loop runs once with its blocks written at both ends and looked at
//! before they are freed, and at the end all is freed and the engine's records are walked.

// The lock order is told in meeting.rs and court.rs.

mod court;
mod lock;
#[forbid(unsafe_code)]
mod meeting;
#[forbid(unsafe_code)]
mod patterns;
#[forbid(unsafe_code)]
mod random;
#[forbid(unsafe_code)]
mod request;
mod slots;
mod subject;
mod watch;

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
use court::Court;
use meeting::{
    Meeting,
    Seat, //
};
use patterns::Findings;
use request::{
    Pattern,
    Request, //
};
use slots::SLOT_BYTES;
use subject::{
    HybridCalled,
    HybridInlined,
    Kmalloc,
    KmemCache,
    Nothing,
    SeedCalled,
    subject_bytes, //
};
use watch::Watch;

/// What an open file has of a bench: where its threads find each other.
#[pin_data]
pub(crate) struct Bench {
    #[pin]
    gathering: Mutex<Gathering>,
    /// Says that an arena was made, or could not be.
    #[pin]
    made: CondVar,
}

/// How far threads have come that are to measure together.
enum Gathering {
    /// Nobody is there.
    None,
    /// The first thread makes an arena for this request, without the lock.
    Making(Request),
    /// The arena waits for more threads.
    Waiting(Arc<Arena>),
}

/// A subject of any kind.
enum AnyCourt {
    Nothing(Court<Nothing>),
    Hybrid(Court<HybridCalled>),
    HybridInline(Court<HybridInlined>),
    Seed(Court<SeedCalled>),
    Kmalloc(Court<Kmalloc>),
    KmemCache(Court<KmemCache>),
}

/// Does something with the court, of whatever kind it is.
macro_rules! with_court {
    ($any:expr, $court:ident => $do:expr) => {
        match $any {
            AnyCourt::Nothing($court) => $do,
            AnyCourt::Hybrid($court) => $do,
            AnyCourt::HybridInline($court) => $do,
            AnyCourt::Seed($court) => $do,
            AnyCourt::Kmalloc($court) => $do,
            AnyCourt::KmemCache($court) => $do,
        }
    };
}

/// What the threads of a bench have in common.
#[pin_data]
struct Arena {
    request: Request,
    court: AnyCourt,
    #[pin]
    meeting: Meeting,
    /// One after the other looks at the engine: its figures are exact when nobody else is at it, not
    /// even to have it give back what it keeps.
    #[pin]
    auditing: Mutex<()>,
    /// Dropped last: what is counted is never less than what is there.
    _lease: Lease,
}

impl Bench {
    /// Makes what a new file has.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            gathering <- new_mutex!(Gathering::None, "slablab_bench"),
            made <- new_condvar!("slablab_bench_made"),
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
        let (arena, number) = self.join(&request, budget)?;
        let seat = Seat::new(&arena.meeting, number);
        seat.gather().inspect_err(|_| self.disperse(&arena))?;
        let reply = arena.measure(&seat, bench)?;
        seat.leave();
        arg.reply(&reply)
    }

    /// Returns the arena that waits for this request, or a new one, and the number of a seat.
    fn join(&self, request: &Request, budget: &Arc<Budget>) -> Result<(Arc<Arena>, u32)> {
        if request.threads == 1 {
            return Ok((Arena::new(request, budget)?, 0));
        }
        let mut gathering = self.gathering.lock();
        loop {
            match &*gathering {
                Gathering::None => break,
                Gathering::Waiting(arena) if arena.request == *request => {
                    let arena = arena.clone();
                    let (number, is_last) = arena.meeting.sit();
                    if is_last {
                        // The caller has another reference: nothing is freed under the lock.
                        *gathering = Gathering::None;
                    }
                    return Ok((arena, number));
                }
                Gathering::Making(other) if other == request => {
                    if self.made.wait_interruptible(&mut gathering) {
                        return Err(EINTR);
                    }
                }
                Gathering::Waiting(_) | Gathering::Making(_) => return Err(EBUSY),
            }
        }
        *gathering = Gathering::Making(*request);
        drop(gathering);
        let made = Arena::new(request, budget);
        let seat = made.as_ref().map_or(0, |arena| arena.meeting.sit().0);
        let mut gathering = self.gathering.lock();
        *gathering = match &made {
            Ok(arena) => Gathering::Waiting(arena.clone()),
            Err(_) => Gathering::None,
        };
        drop(gathering);
        // Where there is none, one of those who wait tries next.
        self.made.notify_all();
        Ok((made?, seat))
    }

    /// Has nobody join an arena any more.
    fn disperse(&self, arena: &Arc<Arena>) {
        let mut gathering = self.gathering.lock();
        let is_waiting =
            matches!(&*gathering, Gathering::Waiting(other) if Arc::ptr_eq(other, arena));
        if is_waiting {
            // The caller has another reference: nothing is freed under the lock.
            *gathering = Gathering::None;
        }
    }
}

impl Arena {
    /// Makes what a request needs.
    fn new(request: &Request, budget: &Arc<Budget>) -> Result<Arc<Self>> {
        // Each thread has slots or a shelf, and samples.
        let slots = kmalloc_bytes(request.slots * SLOT_BYTES);
        let samples = kmalloc_bytes(request.samples() * size_of::<u32>());
        let records = (slots + samples) * request.threads as usize;
        let fixed_bytes = kmalloc_bytes(size_of::<Self>()) + subject_bytes(request);
        let charge = VmallocMemory::charge(request.pool_bytes) + fixed_bytes + records;
        let lease = Lease::new(budget, charge).ok_or(EDQUOT)?;
        let court = AnyCourt::new(request)?;
        Arc::pin_init(
            pin_init!(Self {
                request: *request,
                court,
                meeting <- Meeting::new(request.threads),
                auditing <- new_mutex!((), "slablab_bench_auditing"),
                _lease: lease,
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// Measures, and returns the reply to `bench`.
    fn measure(&self, seat: &Seat<'_>, bench: slablab_bench) -> Result<slablab_bench> {
        let request = &self.request;
        let mut watch = Watch::new(request.samples(), request.singly)?;
        let findings = self.court.run(request, seat, &mut watch)?;
        let rule = self.audit(seat)?;
        let times = watch.times();
        let Findings {
            tally,
            span,
            acquisitions,
        } = findings;
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
            checked_blocks: tally.checked_blocks,
            wrong_blocks: tally.wrong_blocks,
            refusals: tally.refusals,
            span_ns: span.ns(),
            span_operations: span.operations(),
            lock_acquisitions: acquisitions,
            ..bench
        })
    }

    /// Checks the engine's records, of which nothing is out; returns the broken rule.
    fn audit(&self, seat: &Seat<'_>) -> Result<u32> {
        use subject::Subject as _;

        // Nobody has anything out once all have come here.
        seat.meet()?;
        let auditing = self.auditing.lock();
        let rule = with_court!(&self.court, court => {
            court.subject().audit(&|| seat.breathe())
        });
        drop(auditing);
        seat.meet()?;
        rule
    }
}

/// Puts a subject into a place of its own.
fn boxed<S>(subject: S) -> Result<KBox<S>> {
    Ok(KBox::new(subject, GFP_KERNEL_ACCOUNT)?)
}

impl AnyCourt {
    /// Makes the subject of a request: the only place that makes any.
    fn new(request: &Request) -> Result<Self> {
        let shelf = match request.pattern {
            Pattern::Handover => request.slots,
            _ => 0,
        };
        let bytes = request.pool_bytes;
        Ok(match request.subject {
            request::Subject::Nothing => Self::Nothing(Court::new(boxed(Nothing)?, shelf)?),
            request::Subject::Hybrid => Self::Hybrid(Court::new(HybridCalled::new(bytes)?, shelf)?),
            request::Subject::HybridInline => {
                Self::HybridInline(Court::new(HybridInlined::new(bytes)?, shelf)?)
            }
            request::Subject::Seed => Self::Seed(Court::new(SeedCalled::new(bytes)?, shelf)?),
            request::Subject::Kmalloc => Self::Kmalloc(Court::new(boxed(Kmalloc)?, shelf)?),
            request::Subject::KmemCache => {
                let cache = KmemCache::new(request.layout.size())?;
                Self::KmemCache(Court::new(cache, shelf)?)
            }
        })
    }

    /// Runs the loops.
    fn run(&self, request: &Request, seat: &Seat<'_>, watch: &mut Watch) -> Result<Findings> {
        with_court!(self, court => patterns::run(court, request, seat, watch))
    }
}
