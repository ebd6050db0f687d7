// SPDX-License-Identifier: GPL-2.0

//! What is measured.
//!
//! Each allocator is made for one call and is nobody else's. Its public functions are called, as a
//! program of the kernel calls them: those of the kernel's own allocators are functions of C
//! anyway, and those of our engines are the ones at the end of this file, which
//! `scripts/lock-prefixes.py` looks for by name.

use core::{
    alloc::Layout,
    ffi::{
        c_int,
        c_uint,
        c_void, //
    },
    hint::black_box,
    ptr::{
        self,
        NonNull, //
    },
    sync::atomic::{
        AtomicU32,
        Ordering, //
    }, //
};

use kernel::{
    bindings,
    cpu::CpuId,
    new_spinlock,
    page::PAGE_SIZE,
    prelude::*,
    str::CString, //
};
use slab_heap::{
    Block, Cost, Engine,
    check::{
        Progress,
        Walk, //
    },
    engine::BadFree,
    hybrid::{
        self,
        CacheSize,
        Hybrid, //
    },
    seed::{
        self,
        Seed, //
    },
    stats::{
        Totals,
        Visitor, //
    },
};

use super::{
    lock::{
        Counted,
        CountingLock, //
    },
    request::{
        AllocatorKind,
        Request, //
    },
};
use crate::{
    cpu_caches::CpuCaches,
    pool::{
        init_from_constant,
        possible_cpus, //
    },
    uapi::{
        SLABLAB_RULE_LIVE_BLOCKS,
        SLABLAB_RULE_NONE,
        check_reply, //
    },
    vmalloc::{
        VmallocMemory,
        kmalloc_bytes, //
    },
};

/// How the kernel's allocators are asked: in the ordinary way, but never at the price of the OOM
/// killer, nor with a warning. What they give is charged to the private pools' budget alone: on a
/// kernel with memory cgroups, charging it there would be measured too.
const FLAGS: bindings::gfp_t = bindings::GFP_KERNEL
    | 1 << bindings::___GFP_RETRY_MAYFAIL_BIT
    | 1 << bindings::___GFP_NOWARN_BIT;

/// An allocator that can be measured.
///
/// # Safety
///
/// The memory of a block is valid for writes of its layout's size, and aligned, from the call that
/// handed it out to the call that takes it back, unless [`Allocator::HAS_MEMORY`] says that there is none.
pub(super) unsafe trait Allocator: Sync {
    /// A block that was handed out.
    type Block: Copy;

    /// Blocks are memory.
    const HAS_MEMORY: bool = true;

    /// Allocates a block.
    fn allocate(&self, layout: Layout) -> Option<Self::Block>;

    /// Takes a block back, and says whether it did.
    ///
    /// # Safety
    ///
    /// The block was handed out by this allocator for this layout and not taken back since, and
    /// nobody uses it any more.
    unsafe fn release(&self, block: Self::Block, layout: Layout) -> bool;

    /// Returns a block's first byte.
    fn start(block: Self::Block) -> NonNull<u8>;

    /// Returns how often the engine's lock was taken.
    fn acquisitions(&self) -> u64 {
        0
    }

    /// Walks the records of an engine that has nothing out, and returns the broken rule.
    ///
    /// # Errors
    ///
    /// What `check_interrupted` says, which is called between steps.
    fn verify(&self, check_interrupted: &dyn Fn() -> Result) -> Result<u32> {
        let _ = check_interrupted;
        Ok(SLABLAB_RULE_NONE)
    }
}

/// Nothing at all, compiled into the loop: what remains is the loop.
pub(super) struct Baseline;

// SAFETY: There is no memory.
unsafe impl Allocator for Baseline {
    type Block = NonNull<u8>;

    const HAS_MEMORY: bool = false;

    #[inline(always)]
    fn allocate(&self, layout: Layout) -> Option<NonNull<u8>> {
        black_box(layout);
        Some(NonNull::<u64>::dangling().cast())
    }

    #[inline(always)]
    unsafe fn release(&self, block: NonNull<u8>, layout: Layout) -> bool {
        black_box((block, layout));
        true
    }

    fn start(block: NonNull<u8>) -> NonNull<u8> {
        block
    }
}

/// Linux's `__kmalloc` and `kfree`.
pub(super) struct Kmalloc;

// SAFETY: The kernel's allocator promises the same; the least alignment of its blocks is 8.
unsafe impl Allocator for Kmalloc {
    type Block = NonNull<u8>;

    #[inline(always)]
    fn allocate(&self, layout: Layout) -> Option<NonNull<u8>> {
        // SAFETY: Any size will do, and the caller may sleep.
        NonNull::new(unsafe { bindings::__kmalloc_noprof(layout.size(), FLAGS) }.cast())
    }

    #[inline(always)]
    unsafe fn release(&self, block: NonNull<u8>, _layout: Layout) -> bool {
        // SAFETY: By this function's contract.
        unsafe { bindings::kfree(block.as_ptr().cast()) };
        true
    }

    fn start(block: NonNull<u8>) -> NonNull<u8> {
        block
    }
}

/// A `kmem_cache`.
///
/// # Invariants
///
/// `cache` is a cache of blocks of `size` bytes that is nobody else's.
pub(super) struct KmemCache {
    cache: NonNull<bindings::kmem_cache>,
    size: usize,
}

// SAFETY: The functions of a cache may be called on any thread, and several at once.
unsafe impl Send for KmemCache {}

// SAFETY: As above.
unsafe impl Sync for KmemCache {}

impl KmemCache {
    /// Makes a cache of blocks of `size` bytes.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(super) fn new(size: usize) -> Result<KBox<Self>> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        // Two caches of one name would be complained about.
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = CString::try_from_fmt(fmt!("slablab_bench_{number}"))?;
        let mut request = CacheRequest {
            name: &name,
            size: c_uint::try_from(size)?,
            cache: ptr::null_mut(),
        };
        let argument = (&raw mut request).cast();
        // It says 0, and anything else that the CPU has gone, just now: then there is another one.
        //
        // SAFETY: `make` gets what it wants, which is not used here until it has returned.
        while unsafe {
            let cpu = CpuId::current().as_u32();
            bindings::smp_call_on_cpu(cpu, Some(create_cache), argument, false)
        } != 0
        {}
        // INVARIANT: Made just above, and not merged with another.
        let cache = Self {
            cache: NonNull::new(request.cache).ok_or(ENOMEM)?,
            size,
        };
        Ok(KBox::new(cache, GFP_KERNEL_ACCOUNT)?)
    }
}

/// A cache that is to be made.
struct CacheRequest<'a> {
    name: &'a CStr,
    size: c_uint,
    /// Null until it is there.
    cache: *mut bindings::kmem_cache,
}

/// Makes a cache, in a kernel thread.
///
/// Linux puts a stack trace into its log where it cannot make one. What it asks for is little, and
/// in that case refused to nobody but a program that is being killed for its memory, or in which
/// faults are injected (`__alloc_pages_slowpath` in `mm/page_alloc.c`): a kernel thread is neither.
///
/// # Safety
///
/// `argument` is a [`CacheRequest`] that nobody else uses.
unsafe extern "C" fn create_cache(argument: *mut c_void) -> c_int {
    // SAFETY: By this function's contract.
    let request = unsafe { &mut *argument.cast::<CacheRequest<'_>>() };
    let mut arguments = bindings::kmem_cache_args::default();
    // SAFETY: The name is copied, and the arguments are those of a cache without any wishes.
    request.cache = unsafe {
        bindings::__kmem_cache_create_args(
            request.name.as_char_ptr(),
            request.size,
            &raw mut arguments,
            1 << bindings::_slab_flag_bits__SLAB_NO_MERGE,
        )
    };
    0
}

impl Drop for KmemCache {
    fn drop(&mut self) {
        // SAFETY: By the type invariant; whoever has blocks of it keeps it.
        unsafe { bindings::kmem_cache_destroy(self.cache.as_ptr()) };
    }
}

// SAFETY: The kernel's allocator promises the same for blocks of the cache's size, which is what
// is asked for (other sizes are refused); their least alignment is 8.
unsafe impl Allocator for KmemCache {
    type Block = NonNull<u8>;

    #[inline(always)]
    fn allocate(&self, layout: Layout) -> Option<NonNull<u8>> {
        if layout.size() > self.size {
            return None;
        }
        // SAFETY: The cache is there, by the type invariant, and the caller may sleep.
        let block = unsafe { bindings::kmem_cache_alloc_noprof(self.cache.as_ptr(), FLAGS) };
        NonNull::new(block.cast())
    }

    #[inline(always)]
    unsafe fn release(&self, block: NonNull<u8>, _layout: Layout) -> bool {
        // SAFETY: By this function's contract.
        unsafe { bindings::kmem_cache_free(self.cache.as_ptr(), block.as_ptr().cast()) };
        true
    }

    fn start(block: NonNull<u8>) -> NonNull<u8> {
        block
    }
}

/// An engine of ours, with the locks of the benches.
type HybridEngine = Hybrid<CountingLock<hybrid::State>, CpuCaches>;

/// An engine of ours, with the locks of the benches.
type SeedEngine = Seed<CountingLock<seed::State>>;

/// Makes a `hybrid` without memory.
fn new_hybrid() -> Result<(HybridEngine, CountingLock<hybrid::State>)> {
    let state = Counted::init(init_from_constant(|| const { hybrid::State::new() }));
    let (lock, ours) = CountingLock::pair(new_spinlock!(state, "slablab_bench_hybrid"))?;
    Ok((Hybrid::new(lock, CpuCaches::new(CacheSize::FULL)?), ours))
}

/// Makes a `seed` without memory.
fn new_seed() -> Result<(SeedEngine, CountingLock<seed::State>)> {
    let state = Counted::init(init_from_constant(|| const { seed::State::new() }));
    let (lock, ours) = CountingLock::pair(new_spinlock!(state, "slablab_bench_seed"))?;
    Ok((Seed::new(lock), ours))
}

/// Returns the bytes that a allocator takes beside its blocks: an engine's state, table and caches, and
/// what a `kmem_cache` has for each CPU.
pub(super) fn allocator_bytes(request: &Request) -> usize {
    let pool_bytes = request.pool_bytes;
    match request.kind {
        AllocatorKind::Baseline | AllocatorKind::Kmalloc => 0,
        AllocatorKind::Hybrid | AllocatorKind::HybridInline => {
            kmalloc_bytes(size_of::<HybridCalled>())
                + CountingLock::<hybrid::State>::charge()
                + VmallocMemory::charge(hybrid::table_bytes(pool_bytes))
                + CpuCaches::charge(CacheSize::FULL)
        }
        AllocatorKind::Seed => {
            kmalloc_bytes(size_of::<SeedCalled>())
                + CountingLock::<seed::State>::charge()
                + VmallocMemory::charge(0)
        }
        AllocatorKind::KmemCache => CACHE_BYTES * (1 + possible_cpus()),
    }
}

/// Bytes of a `kmem_cache`, and of what it has for a CPU: its slabs are at most so large
/// (`slub_max_order` is 3).
const CACHE_BYTES: usize = 8 * PAGE_SIZE;

/// An engine, its lock and its memory.
///
/// # Invariants
///
/// Nobody but `engine` uses the memory of the other fields.
#[repr(C)]
struct EngineWithPool<E, T> {
    // First, so that the address of one is that of the other.
    engine: E,
    lock: CountingLock<T>,
    memory: VmallocMemory,
    table: VmallocMemory,
}

impl<E: Engine, T> EngineWithPool<E, T> {
    /// Takes the memory for an engine that has none.
    fn new((engine, lock): (E, CountingLock<T>), bytes: usize) -> Result<Self> {
        let table_bytes = engine.table_bytes(bytes);
        // INVARIANT: The engine has no memory yet.
        Ok(Self {
            engine,
            lock,
            memory: VmallocMemory::new(bytes)?,
            table: VmallocMemory::zeroed(table_bytes)?,
        })
    }

    /// Gives the engine its memory. Called once.
    fn add_pool(&self) -> Result {
        let (start, bytes) = (self.memory.start(), self.memory.bytes());
        // SAFETY: Memory and table are nobody else's, by the type invariant, and stay as long as the
        // engine, whose field is dropped first; the table is zeros, and page-aligned.
        let added = unsafe { self.engine.add_region(start, bytes, self.table.start()) };
        added.map_err(|_| EINVAL)?;
        Ok(())
    }

    /// Returns the blocks that are out.
    #[inline(never)]
    fn live_blocks(&self) -> u64 {
        struct Live(u64);
        impl Visitor for Live {
            fn totals(&mut self, totals: &Totals) {
                self.0 = totals.live_blocks;
            }
        }

        let mut live = Live(0);
        self.engine.visit(&mut live);
        live.0
    }

    /// Checks an engine that has nothing out.
    fn verify(&self, check_interrupted: &dyn Fn() -> Result) -> Result<u32> {
        if self.live_blocks() != 0 {
            return Ok(SLABLAB_RULE_LIVE_BLOCKS);
        }
        self.engine.drain();
        self.walk(check_interrupted)
    }

    /// Walks the engine's records, and returns the broken rule.
    #[inline(never)]
    fn walk(&self, check_interrupted: &dyn Fn() -> Result) -> Result<u32> {
        let mut walk = Walk::new();
        loop {
            match self.engine.check(&mut walk) {
                Ok(Progress::More) => check_interrupted()?,
                Ok(Progress::Sound) => return Ok(SLABLAB_RULE_NONE),
                Ok(Progress::Disturbed) => return Err(EAGAIN),
                Err(broken) => return Ok(check_reply(Some(broken), 0).rule),
            }
        }
    }
}

/// Declares subjects that are engines: their locks, and the functions by which they are called,
/// which are called or compiled into the loop.
macro_rules! engines {
    ($(
        $(#[$doc:meta])*
        [$inline:meta] $name:ident: $engine:ty, $state:ty = $new:ident, $allocate:path, $release:path;
    )+) => {$(
        $(#[$doc])*
        pub(super) struct $name(EngineWithPool<$engine, $state>);

        impl $name {
            /// Makes the engine with a pool of `bytes` bytes.
            ///
            /// # Errors
            ///
            /// [`ENOMEM`].
            #[inline(never)]
            pub(super) fn new(bytes: usize) -> Result<KBox<Self>> {
                let allocator = KBox::new(Self(EngineWithPool::new($new()?, bytes)?), GFP_KERNEL_ACCOUNT)?;
                allocator.0.add_pool()?;
                Ok(allocator)
            }
        }

        // SAFETY: By the contract of `Engine`, whose `usable` is at least the size.
        unsafe impl Allocator for $name {
            type Block = NonNull<u8>;

            #[$inline]
            fn allocate(&self, layout: Layout) -> Option<NonNull<u8>> {
                $allocate(&self.0.engine, layout)
            }

            #[$inline]
            unsafe fn release(&self, block: NonNull<u8>, layout: Layout) -> bool {
                // SAFETY: By this function's contract, which is the engine's.
                unsafe { $release(&self.0.engine, block, layout) }.is_ok()
            }

            fn start(block: NonNull<u8>) -> NonNull<u8> {
                block
            }

            fn acquisitions(&self) -> u64 {
                self.0.lock.acquisitions()
            }

            fn verify(&self, check_interrupted: &dyn Fn() -> Result) -> Result<u32> {
                self.0.verify(check_interrupted)
            }
        }
    )+};
}

engines! {
    /// The engine `hybrid`, called.
    [inline(never)] HybridCalled: HybridEngine, hybrid::State = new_hybrid,
        HybridEngine::alloc, HybridEngine::free;
    /// The engine `hybrid`, compiled into the loop.
    [inline(always)] HybridInlined: HybridEngine, hybrid::State = new_hybrid,
        HybridEngine::alloc, HybridEngine::free;
    /// The engine `seed`, called.
    [inline(never)] SeedCalled: SeedEngine, seed::State = new_seed, seed_allocate, seed_release;
}

/// Asks `seed`.
#[inline(always)]
fn seed_allocate(engine: &SeedEngine, layout: Layout) -> Option<NonNull<u8>> {
    let block = engine.allocate(layout, &mut Cost::default());
    Some(block.ok()?.start)
}

/// Gives back to `seed`.
///
/// # Safety
///
/// As for [`Engine::release`].
#[inline(always)]
unsafe fn seed_release(
    engine: &SeedEngine,
    start: NonNull<u8>,
    layout: Layout,
) -> Result<(), BadFree> {
    let block = Block {
        start,
        offset: None,
    };
    // SAFETY: By this function's contract.
    unsafe { engine.release(block, layout, &mut Cost::default()) }
}
