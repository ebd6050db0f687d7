// SPDX-License-Identifier: GPL-2.0

//! The child's side of the shared page: each thread writes its next request.
//!
//! In a process that is no such child, no function of this file does anything, except [`name_threads`], which
//! writes to the kernel's log.

use std::{
    cell::{
        Cell,
        RefCell, //
    },
    ffi::CStr,
    fs::OpenOptions,
    io::Write,
    sync::{
        OnceLock,
        atomic::{
            AtomicBool,
            Ordering::Relaxed, //
        },
    },
};

use super::page::{
    SharedPage,
    TargetCall,
    ThreadSlot, //
};

/// The page of this process, if it is a child that is watched.
static PAGE: OnceLock<&'static SharedPage> = OnceLock::new();

/// Whether pools that are made now compare each new block with the fill of free memory.
static FILLS: AtomicBool = AtomicBool::new(true);

/// Whether threads are named after their operations.
static NAMES_THREADS: AtomicBool = AtomicBool::new(false);

std::thread_local! {
    /// The thread's slot, or `usize::MAX` before it has one. Read by the signal handler: it has no
    /// destructor and needs no initialisation.
    static SLOT: Cell<usize> = const { Cell::new(usize::MAX) };

    /// The numbers of the operations of the SUBMIT that comes next, where the caller knows them.
    static NUMBERS: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// Makes this process one that is watched through `page`.
pub(super) fn watch(page: &'static SharedPage) {
    // A child is made once and has no children that are watched.
    let _ = PAGE.set(page);
}

/// Says whether this process is a child with a shared page.
pub fn is_watched() -> bool {
    PAGE.get().is_some()
}

/// Says whether a pool that is made now is to compare new blocks with the fill of free memory.
pub fn fills() -> bool {
    is_watched() && FILLS.load(Relaxed)
}

/// Runs `work`, whose pools do not compare blocks with the fill: its times are taken.
pub fn without_fills<T>(work: impl FnOnce() -> T) -> T {
    let before = FILLS.swap(false, Relaxed);
    let result = work();
    FILLS.store(before, Relaxed);
    result
}

/// Returns the page and the slot of this thread.
pub(super) fn here() -> Option<(&'static SharedPage, usize)> {
    let page = PAGE.get()?;
    let mut index = SLOT.get();
    if index == usize::MAX {
        index = page.take();
        SLOT.set(index);
    }
    Some((page, index))
}

/// Notes that this thread dies. Async-signal-safe: it does not take a slot.
pub(super) fn accuse() {
    if let Some(page) = PAGE.get()
        && SLOT.get() != usize::MAX
    {
        page.accuse(SLOT.get());
    }
}

fn slot() -> Option<&'static ThreadSlot> {
    here().map(|(page, index)| page.slot(index))
}

/// Writes the command of a run to the kernel's log, and from now on names each thread after its operation,
/// such as `op 4711`. An oops shows the name of the task, so the log then names the operation that caused it.
pub fn name_threads(command: &str) {
    // Only root can write to the log.
    if let Ok(mut log) = OpenOptions::new().write(true).open("/dev/kmsg") {
        // Without the newline the record stays open, and readers get it with the next record.
        let _ = log.write_all(format!("<5>running: {command}\n").as_bytes());
    }
    NAMES_THREADS.store(true, Relaxed);
}

/// Names this thread after its operation and, if the workload has several threads, its number. The kernel
/// keeps the first 15 bytes.
fn name_thread(thread: Option<u64>, operation: u64) {
    let mut name = [0; 16];
    let mut rest = &mut name[..15];
    // Bytes that do not fit are cut off.
    let _ = write!(rest, "op {operation}");
    if let Some(thread) = thread {
        let _ = write!(rest, " t{thread}");
    }
    if let Ok(name) = CStr::from_bytes_until_nul(&name) {
        let _ = rustix::thread::set_name(name);
    }
}

/// Notes the operation that this thread comes to, counted from 1.
pub fn operation(number: u64) {
    if let Some(slot) = slot() {
        slot.set_operation(number);
        if NAMES_THREADS.load(Relaxed) {
            name_thread(slot.thread(), number);
        }
    }
}

/// Notes the numbers of the operations that the next SUBMIT has.
pub fn operations(numbers: impl Iterator<Item = u64>) {
    if let Some(slot) = slot() {
        NUMBERS.with_borrow_mut(|known| {
            known.clear();
            known.extend(numbers);
            if let Some(first) = known.first() {
                slot.set_operation(*first);
            }
        });
    }
}

/// Notes the bytes of the pool that is opened now.
pub fn pool(bytes: u64) {
    if let Some(page) = PAGE.get() {
        page.set_pool_bytes(bytes);
    }
}

/// Notes which of several threads this one is.
pub fn thread(number: usize) {
    if let Some(slot) = slot() {
        slot.set_thread(number);
    }
}

/// Runs a request, which is noted as under way meanwhile.
pub fn request<T>(call: TargetCall, arguments: [u64; 3], work: impl FnOnce() -> T) -> T {
    let Some((page, index)) = here() else {
        return work();
    };
    page.begin(index, call, arguments);
    let result = work();
    page.end(index);
    if call == TargetCall::Submit {
        NUMBERS.with_borrow_mut(Vec::clear);
    }
    result
}

/// Notes the operation of a SUBMIT that this thread comes to.
pub fn position(position: usize, call: TargetCall, arguments: [u64; 3]) {
    if let Some((page, index)) = here() {
        NUMBERS.with_borrow(|known| {
            if let Some(number) = known.get(position) {
                page.slot(index).set_operation(*number);
            }
        });
        page.begin_within(index, position, call, arguments);
    }
}
