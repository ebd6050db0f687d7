// SPDX-License-Identifier: GPL-2.0

//! Operations of a submission that are done together, with what the engine has at hand.
//!
//! Frees, and allocations that ask for the same, are done in a row where they follow each other:
//! what is the same for all of them is looked at once. What is not at hand, or wrong, ends the group,
//! and [`Part`](crate::Part) finds out what is to become of it.

use core::alloc::Layout;

use slab_heap::errand::{
    AtHand,
    Errand, //
};

use crate::{
    denied::Denied,
    entry::Record,
    handle::Handle,
    ledger::{
        AT_ONCE_BYTES,
        Ledger, //
    },
    request::{
        Name,
        Operation,
        Request,
        allocated_by, //
    },
    session::{
        Reply,
        zero_words, //
    },
    storage::Storage,
};

/// Operations between two moments when the lock is free and the scheduler gets in.
pub(crate) const GROUP: usize = 64;

/// The most bytes that are zeroed between two such moments.
const GROUP_BYTES: usize = 32 * AT_ONCE_BYTES;

/// How far the next operations have come.
pub(crate) enum Stop {
    /// All are done.
    Done,
    /// The next one is a part of its own.
    Alone,
    /// The next one is to be done without the lock.
    Unlocked,
    /// The next one is denied.
    Denied(Denied),
    /// The next one is denied, and that is written down.
    Noted(Denied),
}

/// Operations that are done together.
pub(crate) struct Group<'a, Q, S: Storage> {
    pub(crate) ledger: &'a mut Ledger<S>,
    /// The submission's, up to the group's last.
    pub(crate) requests: &'a mut [Q],
    /// The number of the first one of these.
    pub(crate) base: usize,
    /// How many of them are done.
    pub(crate) end: &'a mut usize,
}

impl<Q: Request, S: Storage> Errand for Group<'_, Q, S> {
    type Outcome = Stop;

    #[inline(always)]
    fn run(self, engine: &impl AtHand) -> Stop {
        let Self {
            ledger,
            requests,
            base,
            end,
        } = self;
        let (mut done, mut bytes) = (*end, GROUP_BYTES);
        let stop = loop {
            let Some((earlier, rest)) = requests.split_at_mut_checked(done) else {
                break Stop::Done;
            };
            let [request, ..] = &mut *rest else {
                break Stop::Done;
            };
            let more = match request.operation() {
                Ok(Operation::Allocate { size, align }) => {
                    // Less may be too little for this one: the next group has all of it.
                    if bytes < AT_ONCE_BYTES {
                        break Stop::Done;
                    }
                    allocate_at_hand(ledger, engine, rest, size, align, &mut bytes)
                }
                Ok(Operation::Free(Name::Handle(_))) => free_at_hand(ledger, engine, rest),
                Ok(Operation::Free(Name::Earlier(number))) => {
                    let named = allocated_by(earlier, base, number).map(Handle::to_bits);
                    usize::from(named.is_ok_and(|number| free(ledger, engine, number, request)))
                }
                Ok(Operation::Reallocate(..)) => break Stop::Alone,
                Ok(Operation::Nothing) => 1,
                Err(_) => 0,
            };
            if more == 0 {
                // Nothing at hand, or nothing that can be done: it will be said why.
                break Stop::Unlocked;
            }
            done += more;
        };
        *end = done;
        stop
    }
}

/// Allocates what the first of `requests` asks for, and those behind it that ask for the same, as long
/// as there is a place for it and the engine has it at hand, and all of it is no more than `bytes`
/// bytes; returns how many these are, and takes them off `bytes`.
#[inline(never)]
fn allocate_at_hand<Q: Request, S: Storage, A: AtHand>(
    ledger: &mut Ledger<S>,
    engine: &A,
    requests: &mut [Q],
    size: u64,
    align: u64,
    bytes: &mut usize,
) -> usize {
    // What cannot be is denied where nothing is at hand.
    if size.wrapping_sub(1) >= AT_ONCE_BYTES as u64 || align > AT_ONCE_BYTES as u64 {
        return 0;
    }
    let Ok(layout) = Layout::from_size_align(size as usize, align as usize) else {
        return 0;
    };
    let Some(class) = engine.size(layout) else {
        return 0;
    };
    let (usable, known) = (engine.usable(class), engine.known(class));
    let mut room = ledger.room(usable, *bytes);
    for request in requests {
        if !request.allocates(size, align) {
            break;
        }
        let Some(vacancy) = room.vacancy() else {
            break;
        };
        let Some((block, cost)) = engine.allocate(class, layout) else {
            break;
        };
        // SAFETY: The block is new, and `usable` is its size; as all at hand it is in words.
        unsafe { zero_words(block.start, usable) };
        let record = Record {
            block,
            layout,
            charge: usable,
        };
        let handle = vacancy.insert(record, known);
        request.served(&Reply::new(handle, &record, cost));
    }
    let done = room.taken();
    *bytes = bytes.wrapping_sub(done.wrapping_mul(usable));
    done
}

/// Frees what the first of `requests` names, and those behind it, as long as that is all that is asked
/// for and the engine has room for it at hand; returns how many these are.
#[inline(never)]
fn free_at_hand<Q: Request, S: Storage>(
    ledger: &mut Ledger<S>,
    engine: &impl AtHand,
    requests: &mut [Q],
) -> usize {
    let mut done = 0;
    for request in requests {
        match request.frees() {
            Some(number) if free(ledger, engine, number, request) => done += 1,
            _ => break,
        }
    }
    done
}

/// Frees a block for a request, if it is there and the engine has room for it at hand.
#[inline(always)]
fn free<Q: Request, S: Storage>(
    ledger: &mut Ledger<S>,
    engine: &impl AtHand,
    number: u32,
    request: &mut Q,
) -> bool {
    let freed = ledger.try_take(number, |entry| {
        let Record { block, layout, .. } = entry.record;
        // SAFETY: The block is in the books with that layout, and leaves them if it is released;
        // nobody uses it. What is known of it came with it, and a move makes it unknown.
        let cost = unsafe { engine.release(block, layout, entry.known) }?;
        Some((entry.handle, cost))
    });
    let Ok(Some((handle, cost))) = freed else {
        return false;
    };
    request.freed(handle, cost);
    true
}
