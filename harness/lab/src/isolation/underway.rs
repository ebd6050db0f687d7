// SPDX-License-Identifier: GPL-2.0

//! The child's side of the shared page. Each thread records a request before it executes the request.
//!
//! In a process without a shared page the functions of this file record nothing. [`name_threads`] writes to
//! the kernel's log in any process.

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

/// The shared page of this process, if the process is a child that [`run`](super::run) forked.
static PAGE: OnceLock<&'static SharedPage> = OnceLock::new();

/// Whether a new pool compares each new block with the fill of free memory.
static FILLS: AtomicBool = AtomicBool::new(true);

/// Whether threads are named after their operations.
static NAMES_THREADS: AtomicBool = AtomicBool::new(false);

std::thread_local! {
    /// The index of the thread's slot, or `usize::MAX` before the thread has a slot. The signal handler reads
    /// this variable, so it has no destructor and no lazy initialisation.
    static SLOT: Cell<usize> = const { Cell::new(usize::MAX) };

    /// The numbers of the operations of the next SUBMIT; empty if the caller does not number them.
    static NUMBERS: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// Records the shared page of this process.
pub(super) fn watch(page: &'static SharedPage) {
    // The page is not set yet: a child calls this function once, and its parent has no shared page.
    let _ = PAGE.set(page);
}

/// Returns whether this process is a child with a shared page.
pub fn is_watched() -> bool {
    PAGE.get().is_some()
}

/// Returns whether a new pool compares each new block with the fill of free memory.
pub fn fills() -> bool {
    is_watched() && FILLS.load(Relaxed)
}

/// Runs `work`. The pools that `work` creates do not compare blocks with the fill, because their times are
/// measured, or because the command writes to free memory on purpose.
pub fn without_fills<T>(work: impl FnOnce() -> T) -> T {
    let before = FILLS.swap(false, Relaxed);
    let result = work();
    FILLS.store(before, Relaxed);
    result
}

/// Returns the shared page and the index of this thread's slot. The first call of a thread assigns the slot.
pub(super) fn here() -> Option<(&'static SharedPage, usize)> {
    let page = PAGE.get()?;
    let mut index = SLOT.get();
    if index == usize::MAX {
        index = page.take();
        SLOT.set(index);
    }
    Some((page, index))
}

/// Records that this thread dies, and returns whether it is the first of its process. Async-signal-safe: the
/// function does not assign a slot to a thread without one.
pub(super) fn accuse() -> bool {
    PAGE.get().is_none_or(|page| page.accuse(SLOT.get()))
}

/// Records that this thread panics with a text, and returns whether it is the first thread of its process that
/// dies. If it is not, nothing is recorded.
pub(super) fn record_panic(text: &str) -> bool {
    PAGE.get()
        .is_none_or(|page| page.record_panic(SLOT.get(), text))
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

/// Writes to the kernel's log that the kernel does not return from a call. `vm.sh` then stops the machine, and the stacks
/// of its CPUs show the place.
pub fn log_stuck(call: &str) {
    if let Ok(mut log) = OpenOptions::new().write(true).open("/dev/kmsg") {
        let _ = log.write_all(format!("<3>stuck: {call}\n").as_bytes());
    }
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

/// Records the number of the operation that this thread executes next, counted from 1.
pub fn operation(number: u64) {
    if let Some(slot) = slot() {
        slot.set_operation(number);
        if NAMES_THREADS.load(Relaxed) {
            name_thread(slot.thread(), number);
        }
    }
}

/// Records the numbers of the operations of this thread's next SUBMIT.
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

/// Records the size in bytes of the pool that is being opened.
pub fn pool(bytes: u64) {
    if let Some(page) = PAGE.get() {
        page.set_pool_bytes(bytes);
    }
}

/// Records the number of this thread in a workload with several threads.
pub fn thread(number: usize) {
    if let Some(slot) = slot() {
        slot.set_thread(number);
    }
}

/// Runs `work`, which executes a request, and records the request as under way until `work` returns.
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

/// Records the operation of a SUBMIT that this thread executes next.
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
