// SPDX-License-Identifier: GPL-2.0

//! The engines of the module.
//!
//! The list in [`engines!`] has a line for each engine that has a pool. From this list the macro derives the
//! kinds of engines, their numbers in the ABI, their names, and the enums that hold an engine.

use core::mem::MaybeUninit;

#[cfg(SLABLAB_STUDENT)]
use kernel::cpu::CpuId;
use kernel::{
    bindings,
    current,
    new_mutex,
    new_spinlock,
    prelude::*,
    sync::{
        Arc,
        Mutex,
        SpinLock, //
    }, //
};
use slab_heap::{
    Engine,
    backing_heap::InspectHeap,
    debug::{
        self,
        Caller,
        DebugMode, //
    },
    engine_enum, extent, hybrid,
    magazines::{
        self,
        CacheSize,
        MagazineEngine, //
    },
    seed::{
        self,
        Seed, //
    },
};
use slab_session::QuickWork;

#[cfg(all(CONFIG_KASAN_GENERIC, CONFIG_KASAN_VMALLOC))]
pub(crate) use crate::kasan::KasanEngine;
#[cfg(SLABLAB_STUDENT)]
use crate::uapi::SLABLAB_ENGINE_STUDENT;
use crate::{
    cpu_caches::CpuCaches,
    lock::{
        BoxedMutex,
        BoxedSpinLock, //
    },
    pieces::Pieces,
    signals,
    slub::Slub,
    uapi::{
        SLABLAB_ENGINE_EXTENT,
        SLABLAB_ENGINE_HYBRID,
        SLABLAB_ENGINE_SEED,
        SLABLAB_ENGINE_SLUB, //
    },
    vmalloc,
};

/// An engine that has a pool, as the module creates it.
trait PooledEngine: Engine + Sized {
    /// Creates an engine without regions, for a pool of `pool_bytes` bytes. `pieces` is a new list.
    fn new(pool_bytes: usize, pieces: Arc<Pieces>) -> Result<Self>;

    /// Returns the bytes that [`PooledEngine::new`] allocates.
    fn allocated_bytes(pool_bytes: usize) -> usize;
}

/// `seed` with a mutex: its frees search all free blocks of their size, and the scheduler must be able
/// to preempt them.
type SeedEngine = Seed<BoxedMutex<seed::State>>;

impl PooledEngine for SeedEngine {
    fn new(_pool_bytes: usize, _pieces: Arc<Pieces>) -> Result<Self> {
        let state = init_from_constant(|| const { seed::State::new() });
        let state = BoxedMutex::new(new_mutex!(state, "slablab_seed"))?;
        Ok(Seed::new(state))
    }

    fn allocated_bytes(_pool_bytes: usize) -> usize {
        vmalloc::kmalloc_bytes(size_of::<Mutex<seed::State>>())
    }
}

/// An engine with magazines, with a spinlock around the heap `H`, and with per-CPU caches whose size depends on
/// the size of the pool.
type CachedEngine<H> = MagazineEngine<H, BoxedSpinLock<magazines::State<H>>, CpuCaches>;

/// A heap that [`CachedEngine`] uses.
trait CachedHeap: InspectHeap + Sized + Unpin {
    /// Creates the lock around the state of an engine without memory.
    fn new_state() -> Result<BoxedSpinLock<magazines::State<Self>>>;
}

impl<H: CachedHeap> PooledEngine for CachedEngine<H> {
    fn new(pool_bytes: usize, pieces: Arc<Pieces>) -> Result<Self> {
        let caches = CpuCaches::new(CacheSize::for_pool::<H>(pool_bytes), pieces)?;
        Ok(Self::new(H::new_state()?, caches))
    }

    fn allocated_bytes(pool_bytes: usize) -> usize {
        vmalloc::kmalloc_bytes(size_of::<SpinLock<magazines::State<H>>>())
            + CpuCaches::charge(CacheSize::for_pool::<H>(pool_bytes))
    }
}

impl CachedHeap for hybrid::Heap {
    fn new_state() -> Result<BoxedSpinLock<hybrid::State>> {
        let state = init_from_constant(|| const { hybrid::State::new() });
        BoxedSpinLock::new(new_spinlock!(state, "slablab_hybrid"))
    }
}

impl CachedHeap for extent::Heap {
    fn new_state() -> Result<BoxedSpinLock<extent::State>> {
        let state = init_from_constant(|| const { extent::State::new() });
        BoxedSpinLock::new(new_spinlock!(state, "slablab_extent"))
    }
}

/// The engine `student` with a mutex, because nobody knows how long the learner's functions take.
#[cfg(SLABLAB_STUDENT)]
type StudentEngine = slab_student::StudentEngine<student::Student, BoxedMutex<StudentState>>;

#[cfg(SLABLAB_STUDENT)]
type StudentState = slab_student::State<student::Student>;

/// Returns the number of the CPU on which the caller runs. The caller may be moved to another CPU at any time.
#[cfg(SLABLAB_STUDENT)]
pub(crate) fn current_cpu() -> usize {
    CpuId::current().as_u32() as usize
}

#[cfg(SLABLAB_STUDENT)]
impl PooledEngine for StudentEngine {
    fn new(_pool_bytes: usize, _pieces: Arc<Pieces>) -> Result<Self> {
        let state = init_from_constant(|| const { StudentState::with_cpus(current_cpu) });
        let state = BoxedMutex::new(new_mutex!(state, "slablab_student"))?;
        Ok(Self::new(state))
    }

    fn allocated_bytes(_pool_bytes: usize) -> usize {
        vmalloc::kmalloc_bytes(size_of::<Mutex<StudentState>>())
    }
}

/// Declares the engines: a variant, its type, its number in the ABI, and its name in messages.
macro_rules! engines {
    ($(
        $(#[doc = $doc:literal])*
        $(#[cfg($cfg:meta)])?
        $variant:ident($engine:ty) = $number:path, $name:literal;
    )+) => {
        /// The kinds of engines.
        #[derive(Clone, Copy, PartialEq, Eq)]
        pub(crate) enum EngineKind {
            $(
                $(#[doc = $doc])*
                $(#[cfg($cfg)])?
                $variant,
            )+
            /// Linux's kvmalloc.
            Slub,
        }

        impl EngineKind {
            /// All kinds of engines, in the order of the enum.
            pub(crate) const ALL: &[Self] = &[
                $($(#[cfg($cfg)])? Self::$variant,)+
                Self::Slub,
            ];

            /// Returns the name of the engine in messages.
            pub(crate) fn name(self) -> &'static str {
                match self {
                    $($(#[cfg($cfg)])? Self::$variant => $name,)+
                    Self::Slub => "slub",
                }
            }

            /// Returns the number of the engine in the ABI.
            pub(crate) fn number(self) -> u32 {
                match self {
                    $($(#[cfg($cfg)])? Self::$variant => $number,)+
                    Self::Slub => SLABLAB_ENGINE_SLUB,
                }
            }
        }

        engine_enum! {
            /// An engine that has a pool.
            pub(crate) enum PoolEngine {
                $(
                    $(#[doc = $doc])*
                    $(#[cfg($cfg)])?
                    $variant($engine),
                )+
            }
        }

        engine_enum! {
            /// An engine of any kind, in debug mode or not.
            // Each call compares the tag, which takes fewer instructions than a niche in the fields of the engines.
            #[repr(u8)]
            pub(crate) enum AnyEngine {
                $(
                    $(#[doc = $doc])*
                    $(#[cfg($cfg)])?
                    $variant(KasanEngine<$engine>),
                )+
                /// The engine `slub`.
                Slub(Slub),
                /// An engine that has a pool, in debug mode.
                Debug(DebugModeEngine),
            }
        }

        impl AnyEngine {
            /// Passes the engine to `work`, or returns `None` if the engine is not quick.
            #[inline(always)]
            pub(crate) fn with_quick<W: QuickWork>(&self, work: W) -> Option<W::Output> {
                match self {
                    $(
                        $(#[cfg($cfg)])?
                        Self::$variant(engine) => run_if_quick(engine, work),
                    )+
                    Self::Slub(_) | Self::Debug(_) => None,
                }
            }

            /// Writes an engine into its slot.
            fn write(
                slot: &mut MaybeUninit<Self>,
                kind: EngineKind,
                bytes: usize,
                pieces: Arc<Pieces>,
                debug: bool,
            ) -> Result {
                match (kind, debug) {
                    $(
                        $(#[cfg($cfg)])?
                        (EngineKind::$variant, false) => {
                            write_engine::<$engine>(slot, bytes, pieces, Self::$variant)
                        }
                        $(#[cfg($cfg)])?
                        (EngineKind::$variant, true) => {
                            write_debug::<$engine>(slot, bytes, pieces, PoolEngine::$variant)
                        }
                    )+
                    (EngineKind::Slub, false) => {
                        slot.write(Self::Slub(Slub::new(bytes)?));
                        Ok(())
                    }
                    (EngineKind::Slub, true) => Err(EOPNOTSUPP),
                }
            }
        }

        /// Returns the bytes that an engine allocates for itself, for a pool of `pool_bytes` bytes.
        pub(crate) fn engine_bytes(kind: EngineKind, pool_bytes: usize, debug: bool) -> usize {
            let engine = match kind {
                $($(#[cfg($cfg)])? EngineKind::$variant => <$engine>::allocated_bytes(pool_bytes),)+
                EngineKind::Slub => 0,
            };
            let debug_mode = if debug {
                vmalloc::kmalloc_bytes(size_of::<SpinLock<debug::State>>())
            } else {
                0
            };
            engine + debug_mode
        }
    };
}

engines! {
    /// The design of `docs/seed-design.md`: `Slab<N>`s over `buddy_system_allocator`.
    Seed(SeedEngine) = SLABLAB_ENGINE_SEED, "seed";
    /// Size classes and per-CPU magazines over a buddy system; all metadata is outside the pool.
    Hybrid(CachedEngine<hybrid::Heap>) = SLABLAB_ENGINE_HYBRID, "hybrid";
    /// Runs of 16-byte granules behind per-CPU magazines; all metadata is outside the pool.
    Extent(CachedEngine<extent::Heap>) = SLABLAB_ENGINE_EXTENT, "extent";
    /// The allocator that a learner writes.
    #[cfg(SLABLAB_STUDENT)]
    Student(StudentEngine) = SLABLAB_ENGINE_STUDENT, "student";
}

/// Passes the engine to `work`, or returns `None` if the engine is not quick. The compiler knows which engine is.
#[inline(always)]
fn run_if_quick<E: Engine, W: QuickWork>(engine: &E, work: W) -> Option<W::Output> {
    engine.capabilities().quick.then(|| work.run(engine))
}

/// Without KASAN for vmalloc memory an engine is not wrapped.
#[cfg(not(all(CONFIG_KASAN_GENERIC, CONFIG_KASAN_VMALLOC)))]
pub(crate) type KasanEngine<E> = E;

/// Wraps `engine`, which has no regions yet, so that KASAN reports accesses to free memory of the pool.
fn with_kasan<E: Engine>(engine: E) -> KasanEngine<E> {
    #[cfg(all(CONFIG_KASAN_GENERIC, CONFIG_KASAN_VMALLOC))]
    return KasanEngine::new(engine);
    #[cfg(not(all(CONFIG_KASAN_GENERIC, CONFIG_KASAN_VMALLOC)))]
    engine
}

/// An engine in debug mode. Debug mode detects stray writes itself; KASAN detects stray reads.
pub(crate) type DebugModeEngine =
    DebugMode<KasanEngine<PoolEngine>, BoxedSpinLock<debug::State>, CurrentProcess>;

/// Identifies the current process to debug mode, by its number in the initial pid namespace.
pub(crate) struct CurrentProcess;

impl Caller for CurrentProcess {
    fn pid(&self) -> u32 {
        current!().tgid() as u32
    }

    fn interrupted(&self) -> bool {
        signals::is_fatal_pending()
    }

    #[cfg(all(CONFIG_KASAN_GENERIC, CONFIG_KASAN_VMALLOC))]
    fn reading_free<R>(&self, work: impl FnOnce() -> R) -> R {
        crate::kasan::unchecked(work)
    }
}

impl AnyEngine {
    /// Returns an initialiser for an engine without regions, in debug mode if `debug` is true. `bytes` is the
    /// size of the pool, or the limit of live bytes of an engine that has no pool. `pieces` is a new list.
    ///
    /// The engine is initialised in place, because an engine is too large for the stack.
    pub(crate) fn init(
        kind: EngineKind,
        bytes: usize,
        pieces: Arc<Pieces>,
        debug: bool,
    ) -> impl Init<Self, Error> {
        let init = move |slot: *mut Self| {
            // SAFETY: By the contract of `init_from_closure` the slot is valid for writes, aligned and not aliased.
            // A `MaybeUninit` may be uninitialised.
            let slot = unsafe { &mut *slot.cast::<MaybeUninit<Self>>() };
            Self::write(slot, kind, bytes, pieces, debug)
        };
        // SAFETY: The closure has initialised the slot when it returns `Ok`. The functions that write an
        // engine fail before they write, so the slot is uninitialised when the closure returns an error.
        unsafe { pin_init::init_from_closure(init) }
    }

    /// Returns the engine if it is in debug mode.
    pub(crate) fn debug(&self) -> Option<&DebugModeEngine> {
        match self {
            Self::Debug(engine) => Some(engine),
            _ => None,
        }
    }
}

// An engine has about 700 bytes and is passed on the stack. A function that creates all engines would reserve
// stack space for each of them, so each engine has functions of its own.

/// Creates an engine without regions, and writes it into its slot.
#[inline(never)]
fn write_engine<E: PooledEngine>(
    slot: &mut MaybeUninit<AnyEngine>,
    bytes: usize,
    pieces: Arc<Pieces>,
    variant: impl FnOnce(KasanEngine<E>) -> AnyEngine,
) -> Result {
    slot.write(variant(with_kasan(E::new(bytes, pieces)?)));
    Ok(())
}

/// Creates an engine without regions that can be in debug mode.
#[inline(never)]
fn new_engine_for_debug_mode<E: PooledEngine>(
    bytes: usize,
    pieces: Arc<Pieces>,
    variant: impl FnOnce(E) -> PoolEngine,
) -> Result<KasanEngine<PoolEngine>> {
    let engine = with_kasan(variant(E::new(bytes, pieces)?));
    if debug::supports(&engine) {
        Ok(engine)
    } else {
        Err(EOPNOTSUPP)
    }
}

/// Writes an engine in debug mode into its slot.
#[inline(never)]
fn write_in_debug_mode(
    slot: &mut MaybeUninit<AnyEngine>,
    engine: KasanEngine<PoolEngine>,
) -> Result {
    let state = init_from_constant(|| const { debug::State::new() });
    let state = BoxedSpinLock::new(new_spinlock!(state, "slablab_debug"))?;
    slot.write(AnyEngine::Debug(DebugMode::new(
        engine,
        state,
        CurrentProcess,
    )));
    Ok(())
}

/// Creates an engine without regions in debug mode, and writes it into its slot.
#[inline(never)]
fn write_debug<E: PooledEngine>(
    slot: &mut MaybeUninit<AnyEngine>,
    bytes: usize,
    pieces: Arc<Pieces>,
    variant: impl FnOnce(E) -> PoolEngine,
) -> Result {
    let engine = new_engine_for_debug_mode(bytes, pieces, variant)?;
    write_in_debug_mode(slot, engine)
}

/// Returns an initialiser that writes the constant returned by `value`.
///
/// The compiler copies the constant from read-only data into the slot, without a copy on the stack,
/// for which such a value is too large. `scripts/stack-frames.py` checks the size of all stack frames.
pub(crate) fn init_from_constant<T>(value: impl FnOnce() -> T) -> impl Init<T> {
    let init = |slot: *mut T| {
        // SAFETY: By the contract of `init_from_closure` the slot is valid for writes and aligned.
        unsafe { slot.write(value()) };
        Ok(())
    };
    // SAFETY: The closure always initialises the slot and returns `Ok`.
    unsafe { pin_init::init_from_closure(init) }
}

/// Returns the number of possible CPUs.
pub(crate) fn possible_cpus() -> usize {
    // SAFETY: The variable is static, so it is valid for reads, and it does not change after boot.
    unsafe { (&raw const bindings::__num_possible_cpus).read() as usize }
}
