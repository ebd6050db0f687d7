// SPDX-License-Identifier: GPL-2.0

//! Budgets: limits on a resource that all open files share.

use kernel::{
    prelude::*,
    sync::{
        Arc,
        atomic::{
            Atomic,
            Relaxed, //
        }, //
    },
};

/// A limited amount of a resource.
///
/// # Invariants
///
/// `used` is the sum of all [`Lease`]s, and at most `max`.
pub(crate) struct Budget {
    max: usize,
    used: Atomic<usize>,
}

/// A reserved part of a [`Budget`]. Dropping the lease releases the part.
pub(crate) struct Lease {
    budget: Arc<Budget>,
    amount: usize,
}

impl Budget {
    /// Creates a budget without leases.
    pub(crate) fn new(max: usize) -> Result<Arc<Self>> {
        let used = Atomic::new(0);
        // INVARIANT: There are no leases, so the sum of all leases is 0.
        Ok(Arc::new(Self { max, used }, GFP_KERNEL)?)
    }

    /// Returns the limit.
    pub(crate) fn max(&self) -> usize {
        self.max
    }

    /// Returns the sum of all leases.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Relaxed)
    }
}

impl Lease {
    /// Reserves `amount`, or returns `None` if less than `amount` is left in the budget.
    pub(crate) fn new(budget: &Arc<Budget>, amount: usize) -> Option<Self> {
        let mut used = budget.used();
        loop {
            let after = used
                .checked_add(amount)
                .filter(|after| *after <= budget.max)?;
            // INVARIANT: `after` is the sum of all leases with the new one, and at most `max`.
            match budget.used.cmpxchg(used, after, Relaxed) {
                Ok(_) => {
                    return Some(Self {
                        budget: budget.clone(),
                        amount,
                    });
                }
                Err(now) => used = now,
            }
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // INVARIANT: The sum of all leases decreases by this lease.
        self.budget.used.fetch_sub(self.amount, Relaxed);
    }
}
