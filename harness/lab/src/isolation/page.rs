// SPDX-License-Identifier: GPL-2.0

//! The shared memory to which a child process writes its current requests.
//!
//! ```text
//! SharedPage: moves │ culprit │ panic text │ slot 0 │ slot 1 │ … one for each thread
//! ThreadSlot: begun │ operation │ thread │ call, its arguments │ position in a SUBMIT, its operation
//! ```
//!
//! The child uses atomic stores and no lock, so that the page is consistent when the child is killed.

use std::{
    ops::Deref,
    ptr::{
        self,
        NonNull, //
    },
    sync::atomic::{
        AtomicU8,
        AtomicU32,
        AtomicU64,
        Ordering::Relaxed, //
    },
};

use rustix::{
    io::Errno,
    mm::{
        MapFlags,
        ProtFlags, //
    },
};

/// The number of slots: more than the workload `threads` has threads. Further threads share the last
/// slot.
pub(super) const SLOTS: usize = 264;

/// The maximum length of a panic message.
const TEXT_BYTES: usize = 1024;

/// The calls of a [`Target`](crate::target::Target), with the numbers that a slot stores. The text after a
/// colon is the call's arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum TargetCall {
    /// No call is under way.
    None,
    /// ALLOC: size and alignment.
    Alloc,
    /// FREE: the handle.
    Free,
    /// REALLOC: the handle and the new size.
    Realloc,
    /// `pread`: handle, first byte, bytes.
    Read,
    /// `pwrite`: handle, first byte, bytes.
    Write,
    /// SUBMIT: the number of operations.
    Submit,
    /// STATS.
    Stats,
    /// CHECK.
    Check,
    /// EXTEND: bytes.
    Extend,
    /// SHRINK.
    Shrink,
    /// MAP: region and page.
    Map,
    /// The creation of a pool of this process: bytes.
    Create,
    /// Another call: INFO, BIND, EVENTS, INJECT or FAIL; in a SUBMIT, an operation that is none of the above.
    Other,
}

impl TargetCall {
    const ALL: [Self; 14] = [
        Self::None,
        Self::Alloc,
        Self::Free,
        Self::Realloc,
        Self::Read,
        Self::Write,
        Self::Submit,
        Self::Stats,
        Self::Check,
        Self::Extend,
        Self::Shrink,
        Self::Map,
        Self::Create,
        Self::Other,
    ];

    fn from_raw(raw: u32) -> Self {
        let found = Self::ALL.get(raw as usize);
        found.copied().unwrap_or(Self::Other)
    }

    /// Returns the call with its arguments, in words.
    fn words(self, [first, second, third]: [u64; 3]) -> String {
        match self {
            Self::None => "no request".to_owned(),
            Self::Alloc => format!("ALLOC of {first} bytes aligned to {second}"),
            Self::Free => format!("FREE of handle {first}"),
            Self::Realloc => format!("REALLOC of handle {first} to {second} bytes"),
            Self::Read => format!("pread of {third} bytes of handle {first} from byte {second} on"),
            Self::Write => {
                format!("pwrite of {third} bytes of handle {first} from byte {second} on")
            }
            Self::Submit => format!("SUBMIT of {first} operations"),
            Self::Stats => "STATS".to_owned(),
            Self::Check => "CHECK".to_owned(),
            Self::Extend => format!("EXTEND by {first} bytes"),
            Self::Shrink => "SHRINK".to_owned(),
            Self::Map => format!("MAP of region {first} from page {second} on"),
            Self::Create => format!("the creation of a pool of {first} bytes"),
            Self::Other => "INFO, EVENTS or another query".to_owned(),
        }
    }
}

/// A call and its arguments.
#[derive(Debug)]
#[repr(C)]
struct RequestRecord {
    call: AtomicU32,
    arguments: [AtomicU64; 3],
}

impl RequestRecord {
    fn store(&self, call: TargetCall, arguments: [u64; 3]) {
        for (to, from) in self.arguments.iter().zip(arguments) {
            to.store(from, Relaxed);
        }
        self.call.store(call as u32, Relaxed);
    }

    fn call(&self) -> TargetCall {
        TargetCall::from_raw(self.call.load(Relaxed))
    }

    fn words(&self) -> String {
        let arguments = self.arguments.each_ref();
        self.call().words(arguments.map(|word| word.load(Relaxed)))
    }
}

/// The state of a thread. The thread writes it before each request.
///
/// All zeros is the state of an idle thread.
#[derive(Debug)]
#[repr(C)]
pub(super) struct ThreadSlot {
    /// The value of `moves` when the request began.
    begun: AtomicU64,
    /// The operation of the workload or the trace, counted from 1.
    operation: AtomicU64,
    /// In a workload with several threads, the number of the thread plus 1; otherwise 0.
    thread: AtomicU64,
    /// The call that is under way.
    request: RequestRecord,
    /// The position of the current operation in a SUBMIT plus 1; 0 if the position is unknown.
    position: AtomicU64,
    /// The operation at `position`.
    within: RequestRecord,
}

impl ThreadSlot {
    pub(super) fn set_operation(&self, number: u64) {
        self.operation.store(number, Relaxed);
    }

    pub(super) fn set_thread(&self, thread: usize) {
        self.thread.store(thread as u64 + 1, Relaxed);
    }

    /// Returns the number of the thread; `None` in a workload with one thread.
    pub(super) fn thread(&self) -> Option<u64> {
        self.thread.load(Relaxed).checked_sub(1)
    }

    /// Returns the request that is under way, in words.
    fn request(&self) -> Option<String> {
        if self.request.call() == TargetCall::None {
            return None;
        }
        let words = self.request.words();
        Some(match self.position.load(Relaxed) {
            0 => words,
            position => format!("{words}, operation {position}: {}", self.within.words()),
        })
    }

    /// Returns the current state of the thread.
    pub(super) fn read(&self) -> Underway {
        Underway {
            operation: self.operation.load(Relaxed),
            thread: self.thread(),
            request: self.request(),
        }
    }
}

/// The state of a thread when its process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Underway {
    /// The operation, counted from 1; 0 before the first.
    pub operation: u64,
    /// The number of the thread; `None` in a workload with one thread.
    pub thread: Option<u64>,
    /// The request, in words; `None` between two requests.
    pub request: Option<String>,
}

/// The shared memory.
///
/// All zeros is the state of a child that has not begun.
#[repr(C)]
pub(super) struct SharedPage {
    /// The number of begun and ended requests. The parent polls this number to detect progress.
    moves: AtomicU64,
    /// The slot of the thread that died first, plus 1; 0 if no thread died.
    culprit: AtomicU32,
    /// The number of threads that were given a slot.
    taken: AtomicU32,
    /// The size in bytes of the pool that was recorded last.
    pool_bytes: AtomicU64,
    /// The length of the text of the first panic, plus 1; 0 before a panic.
    text_bytes: AtomicU32,
    text: [AtomicU8; TEXT_BYTES],
    slots: [ThreadSlot; SLOTS],
}

impl SharedPage {
    /// Assigns a slot to a new thread, and returns its index.
    pub(super) fn take(&self) -> usize {
        let taken = self.taken.fetch_add(1, Relaxed) as usize;
        taken.min(SLOTS - 1)
    }

    pub(super) fn slot(&self, index: usize) -> &ThreadSlot {
        &self.slots[index.min(SLOTS - 1)]
    }

    /// Records that a thread begins a request.
    pub(super) fn begin(&self, index: usize, call: TargetCall, arguments: [u64; 3]) {
        let slot = self.slot(index);
        slot.position.store(0, Relaxed);
        slot.begun.store(self.moves.fetch_add(1, Relaxed), Relaxed);
        slot.request.store(call, arguments);
    }

    /// Records that a thread begins an operation of a SUBMIT.
    pub(super) fn begin_within(
        &self,
        index: usize,
        position: usize,
        call: TargetCall,
        arguments: [u64; 3],
    ) {
        let slot = self.slot(index);
        slot.within.store(call, arguments);
        slot.begun.store(self.moves.fetch_add(1, Relaxed), Relaxed);
        slot.position.store(position as u64 + 1, Relaxed);
    }

    /// Records that the request of a thread ended.
    pub(super) fn end(&self, index: usize) {
        (self.slot(index).request.call).store(TargetCall::None as u32, Relaxed);
        self.moves.fetch_add(1, Relaxed);
    }

    /// Records the slot of the thread that dies, and returns whether this thread is the first. A thread without
    /// a slot passes an index that no slot has. Async-signal-safe.
    pub(super) fn accuse(&self, slot: usize) -> bool {
        let culprit = u32::try_from(slot).map_or(u32::MAX, |slot| slot + 1);
        match (self.culprit).compare_exchange(0, culprit, Relaxed, Relaxed) {
            Ok(_) => true,
            // The first thread may die a second time: its panic hook can crash.
            Err(first) => first == culprit,
        }
    }

    /// Records the slot of a thread that panics and the text of the panic, and returns whether this thread is
    /// the first that dies. Of another thread nothing is recorded, so that the text and the slot belong together.
    pub(super) fn record_panic(&self, slot: usize, text: &str) -> bool {
        let is_first = self.accuse(slot);
        if is_first {
            self.set_text(text);
        }
        is_first
    }

    pub(super) fn set_pool_bytes(&self, bytes: u64) {
        self.pool_bytes.store(bytes, Relaxed);
    }

    pub(super) fn pool_bytes(&self) -> u64 {
        self.pool_bytes.load(Relaxed)
    }

    /// Stores the text of the first panic. Only one thread calls this function.
    fn set_text(&self, text: &str) {
        let mut end = text.len().min(TEXT_BYTES);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        for (to, from) in self.text.iter().zip(&text.as_bytes()[..end]) {
            to.store(*from, Relaxed);
        }
        self.text_bytes.store(end as u32 + 1, Relaxed);
    }

    /// Returns the text of the first panic.
    pub(super) fn text(&self) -> Option<String> {
        let bytes = self.text_bytes.load(Relaxed).checked_sub(1)? as usize;
        let text = self.text.iter().take(bytes);
        let text: Vec<_> = text.map(|byte| byte.load(Relaxed)).collect();
        Some(String::from_utf8_lossy(&text).into_owned())
    }

    /// Returns a number that changes with every request of any thread.
    pub(super) fn moves(&self) -> u64 {
        self.moves.load(Relaxed)
    }

    /// Returns the sum of the operation numbers of all threads.
    pub(super) fn operations(&self) -> u64 {
        let operations = self.slots.iter().map(|slot| slot.operation.load(Relaxed));
        operations.fold(0, u64::saturating_add)
    }

    /// Returns whether any thread executes a request.
    pub(super) fn is_in_a_request(&self) -> bool {
        self.slots
            .iter()
            .any(|slot| slot.request.call() != TargetCall::None)
    }

    /// Returns the slot of the thread that died first. If no thread died, returns the slot whose request has
    /// been under way for the longest time, because the other threads may wait for that request.
    pub(super) fn slot_at_end(&self) -> &ThreadSlot {
        let is_busy = |slot: &&ThreadSlot| slot.request.call() != TargetCall::None;
        let begun = |slot: &&ThreadSlot| slot.begun.load(Relaxed);
        let culprit = self.culprit.load(Relaxed).checked_sub(1);
        culprit
            .and_then(|index| self.slots.get(index as usize))
            .or_else(|| self.slots.iter().filter(is_busy).min_by_key(begun))
            .unwrap_or(&self.slots[0])
    }
}

/// A mapping of a [`SharedPage`] that is shared with children.
///
/// # Invariants
///
/// The pointer points to a mapping with the size and alignment of a [`SharedPage`]. This value owns the
/// mapping, which is unmapped when the value is dropped and no earlier.
pub(super) struct SharedPageMapping(NonNull<SharedPage>);

impl SharedPageMapping {
    pub(super) fn new() -> Result<Self, Errno> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: The kernel chooses the address, so the new mapping replaces no existing memory.
        let start = unsafe {
            rustix::mm::mmap_anonymous(
                ptr::null_mut(),
                size_of::<SharedPage>(),
                access,
                MapFlags::SHARED,
            )
        }?;
        // INVARIANT: The new mapping has the size of a `SharedPage`, mappings are aligned to pages, and only
        // this value has the pointer.
        Ok(Self(NonNull::new(start.cast()).ok_or(Errno::NOMEM)?))
    }

    /// Returns a reference to the page that is valid until the process ends.
    pub(super) fn leak(self) -> &'static SharedPage {
        // SAFETY: By the type invariant the pointer is aligned and points to a mapping, which begins as
        // zeros, a valid value. All its fields are atomic, so the other process may write to them. The
        // mapping is never unmapped, because `self` is forgotten.
        let page = unsafe { self.0.as_ref() };
        std::mem::forget(self);
        page
    }
}

impl Deref for SharedPageMapping {
    type Target = SharedPage;

    fn deref(&self) -> &SharedPage {
        // SAFETY: By the type invariant the pointer is aligned and points to memory that is mapped while
        // `self` lives. The mapping begins as zeros, a valid value, and all its fields are atomic, so the
        // other process may write to them.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for SharedPageMapping {
    fn drop(&mut self) {
        // SAFETY: By the type invariant this value owns the mapping, which has this size. References to the
        // page borrow this value, so none is left.
        let unmapped =
            unsafe { rustix::mm::munmap(self.0.as_ptr().cast(), size_of::<SharedPage>()) };
        debug_assert_eq!(unmapped, Ok(()));
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::Barrier,
        thread, //
    };

    use super::*;

    #[test]
    fn a_page_tells_the_operation_of_the_thread_that_died() {
        let page = SharedPageMapping::new().unwrap();
        assert_eq!(page.take(), 0);
        assert_eq!(page.take(), 1);
        let (first, second) = (page.slot(0), page.slot(1));
        second.set_operation(9);
        second.set_thread(3);
        first.set_operation(7);
        page.begin(1, TargetCall::Submit, [20, 0, 0]);
        page.begin(0, TargetCall::Free, [5, 0, 0]);
        page.begin_within(1, 4, TargetCall::Alloc, [100, 8, 0]);
        assert_eq!(page.slot_at_end().read().operation, 7);
        assert!(page.accuse(1));
        assert!(!page.accuse(0));
        assert!(page.accuse(1), "the first thread may die a second time");
        let request = "SUBMIT of 20 operations, operation 5: ALLOC of 100 bytes aligned to 8";
        let expected = Underway {
            operation: 9,
            thread: Some(3),
            request: Some(request.to_owned()),
        };
        assert_eq!(page.slot_at_end().read(), expected);
        let moves = page.moves();
        page.end(1);
        assert_ne!(page.moves(), moves);
        assert_eq!(page.slot_at_end().read().request, None);
        assert_eq!(page.operations(), 16);
    }

    #[test]
    fn the_text_of_the_first_panic_is_kept_whole() {
        let page = SharedPageMapping::new().unwrap();
        assert_eq!(page.text(), None);
        assert!(page.record_panic(0, &"ä".repeat(TEXT_BYTES)));
        assert!(!page.record_panic(1, "second"));
        assert!(!page.record_panic(usize::MAX, "of a thread without a slot"));
        assert_eq!(page.text(), Some("ä".repeat(TEXT_BYTES / 2)));
    }

    #[test]
    fn of_threads_that_panic_together_one_text_is_kept_with_its_thread() {
        const THREADS: usize = 4;
        for _ in 0..200 {
            let page = SharedPageMapping::new().unwrap();
            let (page, together) = (&*page, Barrier::new(THREADS));
            thread::scope(|scope| {
                for thread in 0..THREADS {
                    let together = &together;
                    scope.spawn(move || {
                        page.slot(thread).set_thread(thread);
                        let text = thread.to_string().repeat(TEXT_BYTES);
                        together.wait();
                        page.record_panic(thread, &text);
                    });
                }
            });
            let thread = page.slot_at_end().thread().unwrap();
            let whole = thread.to_string().repeat(TEXT_BYTES);
            assert_eq!(page.text(), Some(whole));
        }
    }
}
