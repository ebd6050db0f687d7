// SPDX-License-Identifier: GPL-2.0

//! The allocators that a bench measures.
//!
//! Each allocator is created for one run and has no other users. The measured loop calls the same functions as
//! other code of the kernel: the kernel's own allocators are C functions, and our engines are called through
//! the trait [`Engine`], as sessions do. `scripts/lock-prefixes.py` finds the functions `call_allocate` and
//! `call_free` by name.

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
    Block, Cost, Engine, Refusal,
    backing_heap::InspectHeap,
    check::{
        Check,
        Progress,
        Walk, //
    },
    engine::{
        AddRegion,
        BadFree, //
    },
    extent, hybrid,
    magazines::{
        self,
        CacheSize,
        MagazineEngine, //
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
    request::BenchRequest,
};
use crate::{
    cpu_caches::CpuCaches,
    engines::{
        init_from_constant,
        possible_cpus, //
    },
    pieces::Pieces,
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

/// The GFP flags for the kernel's allocators: `GFP_KERNEL`, but a request fails without a warning and
/// without the OOM killer. The blocks are charged to the budget of private pools and not to a memory
/// cgroup: the cost of charging a cgroup would be measured, too.
const FLAGS: bindings::gfp_t = bindings::GFP_KERNEL
    | 1 << bindings::___GFP_RETRY_MAYFAIL_BIT
    | 1 << bindings::___GFP_NOWARN_BIT;

/// An allocator that can be measured.
///
/// # Safety
///
/// From the return of [`Allocator::allocate`] to the call of [`Allocator::free`], the memory of a
/// block is aligned for its layout and valid for reads and writes of the layout's size. This is not required
/// of allocators whose [`Allocator::HAS_MEMORY`] is false.
pub(super) unsafe trait Allocator: Sync {
    /// A live block.
    type Block: Copy;

    /// Whether blocks have memory.
    const HAS_MEMORY: bool = true;

    /// Allocates a block, or returns `None` if the request is refused. Our engines write the cost of the call
    /// to `cost`, as for sessions.
    fn allocate(&self, layout: Layout, cost: &mut Cost) -> Option<Self::Block>;

    /// Frees a block and returns whether the allocator accepted the free. Our engines write the cost of the
    /// call to `cost`, as for sessions.
    ///
    /// # Safety
    ///
    /// This allocator allocated the block for this layout, the block is live, and nobody uses its
    /// memory any more.
    unsafe fn free(&self, block: Self::Block, layout: Layout, cost: &mut Cost) -> bool;

    /// Returns the first byte of a block.
    fn start(block: Self::Block) -> NonNull<u8>;

    /// Creates an allocator for a bench.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    fn create(request: &BenchRequest) -> Result<KBox<Self>>
    where
        Self: Sized;

    /// Returns the bytes of an allocator in addition to its blocks: the state, metadata and CPU caches of an engine,
    /// or the structures and per-CPU slabs of a `kmem_cache`.
    fn bytes(request: &BenchRequest) -> usize;

    /// Returns the number of acquisitions of the engine's lock.
    fn acquisitions(&self) -> u64 {
        0
    }

    /// Checks the metadata of an engine that has no live blocks, and returns the broken rule.
    ///
    /// # Errors
    ///
    /// The error of `check_interrupted`, which is called between the steps of the check.
    fn verify(&self, check_interrupted: &dyn Fn() -> Result) -> Result<u32> {
        let _ = check_interrupted;
        Ok(SLABLAB_RULE_NONE)
    }
}

/// An allocator that does nothing and is inlined into the loop, to measure the cost of the loop itself.
pub(super) struct BaselineAllocator;

// SAFETY: `HAS_MEMORY` is false, so the trait requires nothing of the blocks.
unsafe impl Allocator for BaselineAllocator {
    type Block = NonNull<u8>;

    const HAS_MEMORY: bool = false;

    fn create(_request: &BenchRequest) -> Result<KBox<Self>> {
        boxed(Self)
    }

    fn bytes(_request: &BenchRequest) -> usize {
        0
    }

    #[inline(always)]
    fn allocate(&self, layout: Layout, _cost: &mut Cost) -> Option<NonNull<u8>> {
        black_box(layout);
        Some(NonNull::<u64>::dangling().cast())
    }

    #[inline(always)]
    unsafe fn free(&self, block: NonNull<u8>, layout: Layout, _cost: &mut Cost) -> bool {
        black_box((block, layout));
        true
    }

    fn start(block: NonNull<u8>) -> NonNull<u8> {
        block
    }
}

/// Linux's `__kmalloc` and `kfree`.
pub(super) struct Kmalloc;

// SAFETY: A block of `__kmalloc` is valid until `kfree`, and its alignment is at least 8, which is the
// alignment of all layouts of a bench.
unsafe impl Allocator for Kmalloc {
    type Block = NonNull<u8>;

    fn create(_request: &BenchRequest) -> Result<KBox<Self>> {
        boxed(Self)
    }

    fn bytes(_request: &BenchRequest) -> usize {
        0
    }

    #[inline(always)]
    fn allocate(&self, layout: Layout, _cost: &mut Cost) -> Option<NonNull<u8>> {
        // SAFETY: `__kmalloc` accepts any size; the flags allow sleeping, and the caller may sleep.
        NonNull::new(unsafe { bindings::__kmalloc_noprof(layout.size(), FLAGS) }.cast())
    }

    #[inline(always)]
    unsafe fn free(&self, block: NonNull<u8>, _layout: Layout, _cost: &mut Cost) -> bool {
        // SAFETY: By this function's contract `allocate` returned the block, which was not freed since.
        unsafe { bindings::kfree(block.as_ptr().cast()) };
        true
    }

    fn start(block: NonNull<u8>) -> NonNull<u8> {
        block
    }
}

/// Linux's `kmem_cache_alloc` and `kmem_cache_free` on a cache of its own.
///
/// # Invariants
///
/// `cache` is a valid cache of blocks of `size` bytes, and this value owns it.
pub(super) struct KmemCache {
    cache: NonNull<bindings::kmem_cache>,
    size: usize,
}

// SAFETY: The functions of a `kmem_cache` may be called on any thread.
unsafe impl Send for KmemCache {}

// SAFETY: The functions of a `kmem_cache` may be called on several threads at once.
unsafe impl Sync for KmemCache {}

impl KmemCache {
    /// Creates a cache of blocks of `size` bytes.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    fn new(size: usize) -> Result<KBox<Self>> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        // Linux warns about two caches of the same name.
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = CString::try_from_fmt(fmt!("slablab_bench_{number}"))?;
        let mut request = CacheRequest {
            name: &name,
            size: c_uint::try_from(size)?,
            cache: ptr::null_mut(),
        };
        let argument = (&raw mut request).cast();
        // `smp_call_on_cpu` returns the result of the callback, which is 0, or an error if the CPU has just gone
        // offline. After such an error the task runs on another CPU, and the call is repeated there.
        //
        // SAFETY: `create_cache` requires a pointer to a `CacheRequest` that nobody else uses. `request`
        // lives and is not accessed here until `smp_call_on_cpu` has returned, which waits for the callback.
        while unsafe {
            let cpu = CpuId::current().as_u32();
            bindings::smp_call_on_cpu(cpu, Some(create_cache), argument, false)
        } != 0
        {}
        // INVARIANT: `create_cache` created the cache. With SLAB_NO_MERGE it is shared with no other user.
        let cache = Self {
            cache: NonNull::new(request.cache).ok_or(ENOMEM)?,
            size,
        };
        boxed(cache)
    }
}

/// The arguments and the result of [`create_cache`].
struct CacheRequest<'a> {
    name: &'a CStr,
    size: c_uint,
    /// Null until the cache was created.
    cache: *mut bindings::kmem_cache,
}

/// Creates a cache, in a kernel thread.
///
/// If Linux cannot create a cache, it writes a stack trace to the kernel log. The allocations for a cache are
/// small. Linux refuses small allocations only to a task that the OOM killer has chosen or for which fault
/// injection is enabled (`__alloc_pages_slowpath` in `mm/page_alloc.c`), and neither is true of a kernel thread.
///
/// # Safety
///
/// `argument` points to a valid [`CacheRequest`] that nobody else uses during the call.
unsafe extern "C" fn create_cache(argument: *mut c_void) -> c_int {
    // SAFETY: By this function's contract the pointer is valid and not aliased.
    let request = unsafe { &mut *argument.cast::<CacheRequest<'_>>() };
    let mut arguments = bindings::kmem_cache_args::default();
    // SAFETY: The name is a C string, which the function copies; the default arguments are valid.
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
        // SAFETY: By the type invariant the cache is valid and owned. All blocks were freed:
        // `Slots` frees its blocks, and `BenchContext` empties its buffers, before the allocator is dropped.
        unsafe { bindings::kmem_cache_destroy(self.cache.as_ptr()) };
    }
}

// SAFETY: A block of the cache has `size` bytes and is valid until it is freed; `allocate` refuses larger
// layouts. The alignment of a block is at least 8, which is the alignment of all layouts of a bench.
unsafe impl Allocator for KmemCache {
    type Block = NonNull<u8>;

    fn create(request: &BenchRequest) -> Result<KBox<Self>> {
        Self::new(request.layout.size())
    }

    fn bytes(_request: &BenchRequest) -> usize {
        CACHE_BYTES * (1 + possible_cpus())
    }

    #[inline(always)]
    fn allocate(&self, layout: Layout, _cost: &mut Cost) -> Option<NonNull<u8>> {
        if layout.size() > self.size {
            return None;
        }
        // SAFETY: By the type invariant the cache is valid; the flags allow sleeping, and the caller may sleep.
        let block = unsafe { bindings::kmem_cache_alloc_noprof(self.cache.as_ptr(), FLAGS) };
        NonNull::new(block.cast())
    }

    #[inline(always)]
    unsafe fn free(&self, block: NonNull<u8>, _layout: Layout, _cost: &mut Cost) -> bool {
        // SAFETY: By the type invariant the cache is valid. By this function's contract `allocate` returned the
        // block, so it is a block of this cache, and it was not freed since.
        unsafe { bindings::kmem_cache_free(self.cache.as_ptr(), block.as_ptr().cast()) };
        true
    }

    fn start(block: NonNull<u8>) -> NonNull<u8> {
        block
    }
}

/// The maximum number of bytes of a `kmem_cache`, and of its slab for one CPU (`slub_max_order` is 3).
const CACHE_BYTES: usize = 8 * PAGE_SIZE;

/// Boxes an allocator.
fn boxed<A>(allocator: A) -> Result<KBox<A>> {
    Ok(KBox::new(allocator, GFP_KERNEL_ACCOUNT)?)
}

/// An engine with one region, called through the trait [`Engine`].
///
/// # Invariants
///
/// Nobody but `engine` accesses `memory` and `table`.
#[repr(C)]
pub(super) struct EngineAllocator<E: BenchEngine> {
    // The engine is the first field, so that it has the address of the structure and a call of the engine
    // computes no offset.
    engine: E,
    /// A second reference to the engine's lock.
    lock: CountingLock<E::State>,
    memory: VmallocMemory,
    table: VmallocMemory,
}

/// An engine that a bench can create, with a lock that counts its acquisitions.
pub(super) trait BenchEngine: Engine + AddRegion + Check + Sized {
    /// The state behind the lock.
    type State: Send;

    /// Creates the lock, and returns two references to it.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    fn new_lock() -> Result<LockPair<Self::State>>;

    /// Creates an engine without regions, for a pool of `pool_bytes` bytes.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    fn new(lock: CountingLock<Self::State>, pool_bytes: usize) -> Result<Self>;

    /// Returns the bytes of the engine's metadata and CPU caches for a pool of `pool_bytes` bytes.
    /// The bytes of the pieces that the engine may request are included.
    fn metadata_bytes(pool_bytes: usize) -> usize;
}

/// Two references to a lock.
type LockPair<T> = (CountingLock<T>, CountingLock<T>);

/// The engine `seed`.
pub(super) type CountedSeed = Seed<CountingLock<seed::State>>;

impl BenchEngine for CountedSeed {
    type State = seed::State;

    fn new_lock() -> Result<LockPair<seed::State>> {
        let state = Counted::init(init_from_constant(|| const { seed::State::new() }));
        CountingLock::pair(new_spinlock!(state, "slablab_bench_seed"))
    }

    #[inline(always)]
    fn new(lock: CountingLock<seed::State>, _pool_bytes: usize) -> Result<Self> {
        Ok(Self::new(lock))
    }

    fn metadata_bytes(_pool_bytes: usize) -> usize {
        VmallocMemory::charge(0)
    }
}

/// An engine with magazines, over the heap `H`.
pub(super) type CountedMagazines<H> =
    MagazineEngine<H, CountingLock<magazines::State<H>>, CpuCaches>;

/// A heap of [`CountedMagazines`].
pub(super) trait BenchHeap: InspectHeap + Sized + Unpin {
    /// Creates the lock around the state of an engine without memory.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    fn new_lock() -> Result<LockPair<magazines::State<Self>>>;
}

impl BenchHeap for hybrid::Heap {
    fn new_lock() -> Result<LockPair<hybrid::State>> {
        let state = Counted::init(init_from_constant(|| const { hybrid::State::new() }));
        CountingLock::pair(new_spinlock!(state, "slablab_bench_hybrid"))
    }
}

impl BenchHeap for extent::Heap {
    fn new_lock() -> Result<LockPair<extent::State>> {
        let state = Counted::init(init_from_constant(|| const { extent::State::new() }));
        CountingLock::pair(new_spinlock!(state, "slablab_bench_extent"))
    }
}

impl<H: BenchHeap> BenchEngine for CountedMagazines<H> {
    type State = magazines::State<H>;

    fn new_lock() -> Result<LockPair<Self::State>> {
        H::new_lock()
    }

    #[inline(always)]
    fn new(lock: CountingLock<Self::State>, pool_bytes: usize) -> Result<Self> {
        let caches = CpuCaches::new(CacheSize::for_pool::<H>(pool_bytes), Pieces::new(None)?)?;
        Ok(Self::new(lock, caches))
    }

    fn metadata_bytes(pool_bytes: usize) -> usize {
        VmallocMemory::charge(magazines::table_bytes::<H>(pool_bytes))
            + VmallocMemory::charge(H::pieces_bytes_max(pool_bytes / PAGE_SIZE))
            + CpuCaches::charge(CacheSize::for_pool::<H>(pool_bytes))
    }
}

/// The engine `student`.
#[cfg(SLABLAB_STUDENT)]
pub(super) type CountedStudent =
    slab_student::StudentEngine<student::Student, CountingLock<StudentState>>;

/// The state of the engine `student`.
#[cfg(SLABLAB_STUDENT)]
type StudentState = slab_student::State<student::Student>;

#[cfg(SLABLAB_STUDENT)]
impl BenchEngine for CountedStudent {
    type State = StudentState;

    fn new_lock() -> Result<LockPair<StudentState>> {
        let state =
            init_from_constant(|| const { StudentState::with_cpus(crate::engines::current_cpu) });
        CountingLock::pair(new_spinlock!(Counted::init(state), "slablab_bench_student"))
    }

    #[inline(always)]
    fn new(lock: CountingLock<StudentState>, _pool_bytes: usize) -> Result<Self> {
        Ok(Self::new(lock))
    }

    fn metadata_bytes(pool_bytes: usize) -> usize {
        VmallocMemory::charge(slab_student::table_bytes(pool_bytes))
    }
}

/// Calls [`Engine::allocate`]. The function is not inlined, so that the loop calls our engines as it calls the
/// allocators of the kernel.
#[inline(never)]
fn call_allocate<E: Engine>(
    engine: &E,
    layout: Layout,
    cost: &mut Cost,
) -> core::result::Result<Block, Refusal> {
    engine.allocate(layout, cost)
}

/// Calls [`Engine::free`]. The function is not inlined, like [`call_allocate`].
///
/// # Safety
///
/// The contract of [`Engine::free`] holds.
#[inline(never)]
unsafe fn call_free<E: Engine>(
    engine: &E,
    block: Block,
    layout: Layout,
    cost: &mut Cost,
) -> core::result::Result<(), BadFree> {
    // SAFETY: The contract of `Engine::free` is that of this function.
    unsafe { engine.free(block, layout, cost) }
}

impl<E: BenchEngine> EngineAllocator<E> {
    /// Returns the number of live blocks.
    #[inline(never)]
    fn live_blocks(&self) -> u64 {
        struct LiveBlockCount(u64);
        impl Visitor for LiveBlockCount {
            fn totals(&mut self, totals: &Totals) {
                self.0 = totals.live_blocks;
            }
        }

        let mut count = LiveBlockCount(0);
        self.engine.interfaces().statistics.visit(&mut count);
        count.0
    }

    /// Checks the engine's metadata, and returns the broken rule.
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

// SAFETY: By the contract of `Engine` a block is aligned to `layout.align()` and valid for at least
// `layout.size()` bytes until it is freed, as long as the memory of its region is valid. `memory` is dropped
// after the engine.
unsafe impl<E: BenchEngine> Allocator for EngineAllocator<E> {
    /// The block that `Engine::allocate` returned.
    type Block = Block;

    /// Creates an engine, and adds a region.
    #[inline(never)]
    fn create(request: &BenchRequest) -> Result<KBox<Self>> {
        let (lock, ours) = E::new_lock()?;
        let engine = E::new(lock, request.pool_bytes)?;
        let table_bytes = engine.table_bytes(request.pool_bytes);
        // INVARIANT: The memory is new, and the engine has no regions yet.
        let allocator = boxed(Self {
            engine,
            lock: ours,
            memory: VmallocMemory::new(request.pool_bytes)?,
            table: VmallocMemory::zeroed(table_bytes)?,
        })?;
        let (start, bytes) = (allocator.memory.start(), allocator.memory.bytes());
        let table = allocator.table.start();
        // SAFETY: `add_region` requires memory and a zeroed table that nobody else uses and that outlive the
        // engine. By the type invariant nobody else uses them; `engine` is the first field, so it is dropped
        // before them; `VmallocMemory::zeroed` zeroed the table, and vmalloc memory is page-aligned.
        let added = unsafe { allocator.engine.add_region(start, bytes, table) };
        added.map_err(|_| EINVAL)?;
        Ok(allocator)
    }

    fn bytes(request: &BenchRequest) -> usize {
        kmalloc_bytes(size_of::<Self>())
            + CountingLock::<E::State>::charge()
            + E::metadata_bytes(request.pool_bytes)
    }

    #[inline(always)]
    fn allocate(&self, layout: Layout, cost: &mut Cost) -> Option<Block> {
        call_allocate(&self.engine, layout, cost).ok()
    }

    #[inline(always)]
    unsafe fn free(&self, block: Block, layout: Layout, cost: &mut Cost) -> bool {
        // SAFETY: `call_free` requires a live block of this engine, the layout that the block was allocated
        // for, and that nobody uses the block any more. This function's contract promises a live block of this
        // allocator, its layout, and that nobody uses its memory any more; `allocate` gets its blocks from this
        // engine only, and no block is resized.
        unsafe { call_free(&self.engine, block, layout, cost) }.is_ok()
    }

    fn start(block: Block) -> NonNull<u8> {
        block.start
    }

    fn acquisitions(&self) -> u64 {
        self.lock.acquisitions()
    }

    fn verify(&self, check_interrupted: &dyn Fn() -> Result) -> Result<u32> {
        if self.live_blocks() != 0 {
            return Ok(SLABLAB_RULE_LIVE_BLOCKS);
        }
        if let Some(engine) = self.engine.interfaces().shrink {
            engine.shrink();
        }
        self.walk(check_interrupted)
    }
}
