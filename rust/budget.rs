// SPDX-License-Identifier: GPL-2.0

//! Budgets: how much of something all open files may have together.

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

/// An amount of which parts can be lent.
///
/// # Invariants
///
/// `used` is what all [`Lease`]s together hold, and at most `max`.
pub(crate) struct Budget {
    max: usize,
    used: Atomic<usize>,
}

/// A part of a [`Budget`], given back when dropped.
pub(crate) struct Lease {
    budget: Arc<Budget>,
    amount: usize,
}

impl Budget {
    /// Makes a budget of which nothing is lent.
    pub(crate) fn new(max: usize) -> Result<Arc<Self>> {
        let used = Atomic::new(0);
        // INVARIANT: There are no leases.
        Ok(Arc::new(Self { max, used }, GFP_KERNEL)?)
    }

    /// Returns the whole amount.
    pub(crate) fn max(&self) -> usize {
        self.max
    }

    /// Returns what is lent.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Relaxed)
    }
}

impl Lease {
    /// Borrows `amount`, if there is as much left.
    pub(crate) fn new(budget: &Arc<Budget>, amount: usize) -> Option<Self> {
        let mut used = budget.used();
        loop {
            let after = used
                .checked_add(amount)
                .filter(|after| *after <= budget.max)?;
            // INVARIANT: `after` is at most `max`, and counts the lease that is made.
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
        // INVARIANT: The lease is no more.
        self.budget.used.fetch_sub(self.amount, Relaxed);
    }
}
