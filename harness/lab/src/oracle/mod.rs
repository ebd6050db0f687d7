// SPDX-License-Identifier: GPL-2.0

//! The oracle: checks every answer of a target.
//!
//! Workloads allocate, free and reallocate only through a [`Client`] of the oracle. The oracle has a model of
//! the live blocks (`block_model`), fills every block with a pattern that differs from block to block
//! (`fill_pattern`), and has one [`Violation`] for each rule that an answer can violate:
//!
//! - a block lies in the pool, is aligned, is at least as large as requested, and shares no byte with another
//!   block;
//! - a handle names at most one live block;
//! - every byte of a block is zero when the block is new, and unchanged since the last write when the block
//!   is freed;
//! - a reallocation keeps the contents up to the smaller size, and the added bytes are zero;
//! - the errno and the cause of a refusal are consistent;
//! - at the end no block is live, all counters agree, and CHECK finds no violation.

mod block_model;
mod client;
#[cfg(any(test, feature = "test-support"))]
pub mod fault_injecting_backend;
mod figures;
mod fill_pattern;
pub mod journal;
mod submission;
#[cfg(test)]
mod tests;
mod violation;

use std::sync::{
    Mutex,
    MutexGuard,
    PoisonError,
    atomic::{
        AtomicU64,
        Ordering, //
    }, //
};

use serde::{
    Deserialize,
    Serialize, //
};

use self::{
    block_model::BlockModel,
    figures::{
        figure,
        pool_figures,
        session_figures, //
    },
    journal::Journal,
};
pub use self::{
    client::{
        Client,
        ClientBlock, //
    },
    submission::{
        CheckedOperation,
        CheckedReply, //
    },
    violation::Violation,
};
use crate::{
    device::Errno,
    target::{
        Refused,
        Target, //
    },
    uapi::{
        self,
        AllocatorRule,
        Cause,
        Engine,
        Rule,
        SLABLAB_CAUSES,
        slablab_stats, //
    },
};

/// The number of refusals, before the first success in a private pool, that counts as a violation. Fewer
/// refusals are no violation, because the pool may be too small for some requests.
const UNSERVED_MAX: u64 = 32;

/// The maximum number of CHECK calls while other programs keep changing a shared pool.
const CHECK_ATTEMPTS: usize = 100;

/// Counts of a workload's operations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Successful allocations.
    pub allocations: u64,
    /// Blocks that were freed.
    pub frees: u64,
    /// Successful reallocations.
    pub reallocations: u64,
    /// Requests that were refused, by cause.
    pub refusals: [u64; SLABLAB_CAUSES as usize],
}

/// The result of a workload without a violation.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The counts.
    pub tally: Tally,
    /// Bytes that were read back and compared.
    pub checked_bytes: u64,
    /// The peak of the requested bytes of live blocks.
    pub peak_live_bytes: u64,
    /// A hash of all replies, in order.
    pub trace: u64,
    /// The statistics after all blocks were freed.
    pub stats: Box<slablab_stats>,
}

/// Checks the answers of one target, for any number of threads.
pub struct Oracle<'t> {
    target: &'t dyn Target,
    seed: u64,
    /// Whether the engine has a pool.
    pool: bool,
    /// Whether the engine has CHECK: every engine of the ABI that has a pool does, and a peer does not.
    has_check: bool,
    /// Whether no other session uses the pool.
    private: bool,
    books: Mutex<OracleState>,
    checked_bytes: AtomicU64,
    journal: Option<Journal>,
    /// Whether CHECK is called after each request of a client.
    checks_each: bool,
}

/// The state of the oracle, behind a lock.
struct OracleState {
    model: BlockModel,
    tally: Tally,
    /// The number of the newest block, counted from 1. The pattern of a block depends on its number.
    next_id: u64,
}

impl<'t> Oracle<'t> {
    /// Creates an oracle for a session without live blocks.
    pub fn new(target: &'t dyn Target, seed: u64) -> Result<Self, Violation> {
        let info = target.info().map_err(|errno| Violation::Failed {
            call: "INFO",
            errno,
        })?;
        let pool = info.capabilities & uapi::SLABLAB_CAP_POOL != 0;
        // INFO reports the sum of the regions only, which is an upper bound for each region.
        let regions = vec![info.pool_bytes; info.regions as usize];
        Ok(Self {
            target,
            seed,
            pool,
            has_check: pool && info.engine != Engine::Default.raw(),
            private: info.bind_flags & uapi::SLABLAB_BIND_PRIVATE != 0,
            books: Mutex::new(OracleState {
                model: BlockModel::new(pool, regions),
                tally: Tally::default(),
                next_id: 0,
            }),
            checked_bytes: AtomicU64::new(0),
            journal: None,
            checks_each: false,
        })
    }

    /// Writes the requests of the clients, and their answers, to a journal.
    #[must_use]
    pub fn with_journal(mut self, journal: Journal) -> Self {
        self.journal = Some(journal);
        self
    }

    /// Calls CHECK after each request of the clients. The journal does not contain these calls.
    #[must_use]
    pub fn checking_each_request(mut self) -> Self {
        self.checks_each = true;
        self
    }

    /// Calls CHECK if the oracle does so after each request.
    fn check_request(&self) -> Result<(), Violation> {
        if !self.checks_each {
            return Ok(());
        }
        self.checked(self.target.check())
    }

    /// Reports a rule that the allocator of the engine `student` broke in the last call. FREE and REALLOC succeed also
    /// then, so without this check the next request would be blamed. Only an oracle with a journal names requests.
    fn check_last_call(&self) -> Result<(), Violation> {
        if self.journal.is_none() {
            return Ok(());
        }
        match self.target.violation() {
            Ok(violation) if violation.rule != AllocatorRule::None.raw() => {
                Err(Violation::Allocator(violation.to_string()))
            }
            _ => Ok(()),
        }
    }

    /// Returns the journal for the oracle of a new pool. The journal forgets the pool of this oracle.
    pub fn journal_of_new_pool(&self) -> Option<Journal> {
        let journal = self.journal.as_ref()?.share().ok()?;
        journal.new_pool();
        Some(journal)
    }

    fn note(&self, entry: impl FnOnce(&Journal)) {
        if let Some(journal) = &self.journal {
            entry(journal);
        }
    }

    /// Returns the target, for requests whose answers the caller checks.
    pub fn target(&self) -> &'t dyn Target {
        self.target
    }

    /// Returns whether the engine has a pool that no other session uses.
    pub fn is_alone(&self) -> bool {
        self.pool && self.private
    }

    /// Returns the number of bytes that were compared so far.
    pub fn checked_bytes(&self) -> u64 {
        self.checked_bytes.load(Ordering::Relaxed)
    }

    /// Returns the hash of all answers so far: of their offsets, sizes and costs.
    pub fn trace(&self) -> u64 {
        self.books().model.trace()
    }

    /// Returns a client, for one thread.
    pub fn client(&self) -> Client<'_> {
        Client::new(self)
    }

    /// Counts a refusal of a request that did not pass through the oracle.
    pub fn expect_refusal(&self, cause: Cause) {
        self.books().tally.refusals[cause.raw() as usize] += 1;
    }

    /// Returns the rule that the allocator of the engine `student` broke.
    fn allocator_violation(&self) -> Violation {
        match self.target.violation() {
            Ok(violation) => Violation::Allocator(violation.to_string()),
            Err(errno) => Violation::Failed {
                call: "VIOLATION",
                errno,
            },
        }
    }

    /// Calls CHECK, and calls it again while other programs change a shared pool.
    pub fn check(&self) -> Result<(), Violation> {
        self.note(Journal::check);
        let mut result = self.target.check();
        for _ in 1..CHECK_ATTEMPTS {
            if result.as_ref().err() != Some(&Errno::AGAIN) || self.private {
                break;
            }
            result = self.target.check();
        }
        self.checked(result)
    }

    /// Returns the violation that an answer to CHECK tells.
    fn checked(&self, result: Result<uapi::slablab_check, Errno>) -> Result<(), Violation> {
        match result {
            Ok(check) if check.rule == Rule::None.raw() => Ok(()),
            Ok(check) if check.rule == Rule::Allocator.raw() => Err(self.allocator_violation()),
            Ok(check) => Err(Violation::Unsound {
                rule: Rule::text(check.rule),
                class: check.class_index,
                offset: check.offset,
            }),
            Err(Errno::OPNOTSUPP) if !self.has_check => Ok(()),
            // A shared pool that changes during every attempt cannot be checked. This is no violation.
            Err(Errno::AGAIN) if !self.private => Ok(()),
            // CHECK of a shared pool needs a privilege.
            Err(Errno::PERM) if !self.private => Ok(()),
            Err(errno) => Err(Violation::Failed {
                call: "CHECK",
                errno,
            }),
        }
    }

    /// Checks that every block was freed and that all statistics agree, and returns the summary.
    pub fn finish(self) -> Result<Summary, Violation> {
        let stats = self.target.stats().map_err(|errno| Violation::Failed {
            call: "STATS",
            errno,
        })?;
        {
            let books = self.books();
            figure(
                "blocks that the workload did not free",
                0,
                books.model.live_blocks(),
            )?;
            session_figures(&stats, &books.tally)?;
        }
        if self.is_alone() {
            pool_figures(&stats)?;
        }
        self.check()?;
        let checked_bytes = self.checked_bytes();
        let books = self
            .books
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        Ok(Summary {
            tally: books.tally,
            checked_bytes,
            peak_live_bytes: books.model.peak_live_bytes(),
            trace: books.model.trace(),
            stats,
        })
    }

    fn books(&self) -> MutexGuard<'_, OracleState> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a refusal, and checks that its errno and cause are consistent.
    fn refused(&self, call: &'static str, refused: &Refused) -> Result<Cause, Violation> {
        let errno = refused.errno;
        let cause = Cause::from_raw(u32::from(refused.cost.cause));
        let proper = match cause {
            Some(
                Cause::TooBig
                | Cause::Exhausted
                | Cause::Fragmented
                | Cause::Tables
                | Cause::Injected
                | Cause::Busy,
            ) => errno == Errno::NOMEM,
            Some(Cause::Quota) => errno == Errno::DQUOT,
            Some(Cause::Unsupported) => errno == Errno::OPNOTSUPP,
            Some(Cause::Faulty) => {
                return Err(self.allocator_violation());
            }
            Some(Cause::None) | None => false,
        };
        match cause {
            Some(cause) if proper => {
                let mut books = self.books();
                books.tally.refusals[cause.raw() as usize] += 1;
                books.model.note(0, uapi::NO_OFFSET, 0, refused.cost);
                if self.is_alone() && books.tally.allocations == 0 {
                    let could_serve = [
                        Cause::Exhausted,
                        Cause::Fragmented,
                        Cause::Tables,
                        Cause::Injected,
                    ];
                    let refusals =
                        could_serve.map(|cause| books.tally.refusals[cause.raw() as usize]);
                    let requests = refusals.iter().sum();
                    if requests >= UNSERVED_MAX {
                        return Err(Violation::NeverServed { requests, cause });
                    }
                }
                Ok(cause)
            }
            cause => Err(Violation::WrongRefusal { call, errno, cause }),
        }
    }
}
