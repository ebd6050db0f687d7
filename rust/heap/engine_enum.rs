// SPDX-License-Identifier: GPL-2.0

//! An enum of engines that is itself an engine.
//!
//! The engine of a pool is chosen at run time. The macro `engine_enum!` writes one enum of all
//! engines, whose methods dispatch with one `match` instead of a table of function pointers.

/// Declares an enum of engines, and implements [`Engine`](crate::Engine) for it.
///
/// # Examples
///
/// ```
/// use slab_heap::{Engine, engine_enum, hybrid, lock::Lock, per_cpu::NoPerCpu, seed};
///
/// struct HostMutex<T>(std::sync::Mutex<T>);
///
/// // SAFETY: A mutex gives access to one caller at a time, and orders them.
/// unsafe impl<T> Lock<T> for HostMutex<T> {
///     fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
///         f(&mut self.0.lock().unwrap())
///     }
/// }
///
/// engine_enum! {
///     /// The engines of this program.
///     enum AnyEngine {
///         /// The engine `seed`.
///         Seed(seed::Seed<HostMutex<seed::State>>),
///         /// The engine `hybrid`.
///         Hybrid(hybrid::Hybrid<HostMutex<hybrid::State>, NoPerCpu>),
///     }
/// }
///
/// let state = hybrid::State::new();
/// let engine = AnyEngine::Hybrid(hybrid::Hybrid::new(HostMutex(state.into()), NoPerCpu));
/// assert!(engine.interfaces().add_region.is_some());
/// assert_eq!(engine.capacity(), 0);
/// # drop(AnyEngine::Seed(seed::Seed::new(HostMutex(seed::State::new().into()))));
/// ```
#[macro_export]
macro_rules! engine_enum {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident {
            $(
                $(#[doc = $doc:literal])*
                $(#[cfg($cfg:meta)])?
                $variant:ident($engine:ty),
            )+
        }
    ) => {
        $(#[$meta])*
        $vis enum $name {
            $(
                $(#[doc = $doc])*
                $(#[cfg($cfg)])?
                $variant($engine),
            )+
        }

        // SAFETY: Every method calls the same method of the engine inside, which meets the contract of
        // `Engine`. The variant never changes.
        unsafe impl $crate::Engine for $name {
            #[inline(always)]
            fn capabilities(&self) -> $crate::engine::Capabilities {
                match self {
                    $($(#[cfg($cfg)])? Self::$variant(engine) => engine.capabilities(),)+
                }
            }

            #[inline(always)]
            fn usable_size(&self, layout: ::core::alloc::Layout) -> usize {
                match self {
                    $($(#[cfg($cfg)])? Self::$variant(engine) => engine.usable_size(layout),)+
                }
            }

            #[inline(always)]
            fn capacity(&self) -> usize {
                match self {
                    $($(#[cfg($cfg)])? Self::$variant(engine) => engine.capacity(),)+
                }
            }

            #[inline(always)]
            fn offset(
                &self,
                byte: ::core::ptr::NonNull<u8>,
            ) -> ::core::option::Option<$crate::Offset> {
                match self {
                    $($(#[cfg($cfg)])? Self::$variant(engine) => engine.offset(byte),)+
                }
            }

            #[inline]
            fn allocate(
                &self,
                layout: ::core::alloc::Layout,
                cost: &mut $crate::Cost,
            ) -> ::core::result::Result<$crate::Block, $crate::Refusal> {
                match self {
                    $($(#[cfg($cfg)])? Self::$variant(engine) => engine.allocate(layout, cost),)+
                }
            }

            #[inline(always)]
            fn try_allocate_fast(
                &self,
                layout: ::core::alloc::Layout,
            ) -> ::core::option::Option<$crate::engine::Allocated> {
                match self {
                    $($(#[cfg($cfg)])? Self::$variant(engine) => engine.try_allocate_fast(layout),)+
                }
            }

            #[inline(always)]
            unsafe fn try_free_fast(
                &self,
                block: $crate::Block,
                layout: ::core::alloc::Layout,
            ) -> ::core::option::Option<$crate::Cost> {
                match self {
                    // SAFETY: The engine inside requires what this function's contract requires of this engine,
                    // and it allocated the block, because the variant never changes.
                    $($(#[cfg($cfg)])? Self::$variant(engine) => unsafe { engine.try_free_fast(block, layout) },)+
                }
            }

            #[inline]
            unsafe fn free(
                &self,
                block: $crate::Block,
                layout: ::core::alloc::Layout,
                cost: &mut $crate::Cost,
            ) -> ::core::result::Result<(), $crate::engine::BadFree> {
                match self {
                    // SAFETY: The engine inside requires what this function's contract requires of this engine,
                    // and it allocated the block, because the variant never changes.
                    $($(#[cfg($cfg)])? Self::$variant(engine) => unsafe { engine.free(block, layout, cost) },)+
                }
            }

            #[inline]
            fn fits_in_place(
                &self,
                layout: ::core::alloc::Layout,
                new: ::core::alloc::Layout,
            ) -> bool {
                match self {
                    $($(#[cfg($cfg)])? Self::$variant(engine) => engine.fits_in_place(layout, new),)+
                }
            }

            #[inline]
            unsafe fn resize(
                &self,
                block: $crate::Block,
                layout: ::core::alloc::Layout,
                new: ::core::alloc::Layout,
                cost: &mut $crate::Cost,
            ) -> bool {
                match self {
                    // SAFETY: The engine inside requires what this function's contract requires of this engine,
                    // and it allocated the block, because the variant never changes.
                    $($(#[cfg($cfg)])? Self::$variant(engine) => unsafe {
                        engine.resize(block, layout, new, cost)
                    },)+
                }
            }

            fn interfaces(&self) -> $crate::engine::Interfaces<'_> {
                match self {
                    $($(#[cfg($cfg)])? Self::$variant(engine) => engine.interfaces(),)+
                }
            }
        }
    };
}
