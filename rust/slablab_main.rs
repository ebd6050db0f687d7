// SPDX-License-Identifier: GPL-2.0

//! slablab: a laboratory for kernel memory allocators.
//!
//! The module's parts, from the outside in:
//!
//! - [`device`]: the ioctls and file operations of `/dev/slablab`; copies in and out, decides
//!   nothing;
//! - [`argument`]: structures of the ABI on their way between a program and the kernel;
//! - `slab_session` (a crate of its own): handles, quotas, pins, zeroing;
//! - [`lab`]: what all open files share: limits, budgets, pools;
//! - [`pool`]: an engine and its memory; [`memory`] is that memory, [`slub`] the engine that is
//!   Linux's own; the others are in the crate `slab_heap`;
//! - [`bench`]: allocators measured, each made for the purpose;
//! - [`tables`]: the memory of sessions' tables; [`budget`]: how much all may have together;
//! - [`lock`]: the kernel's spinlock, as those crates want a lock; [`cpu_caches`]: the caches of
//!   `hybrid`'s CPUs; [`pin`]: staying on a CPU;
//! - `shadowed`, on a kernel with KASAN: tells it what is free in a pool; `stray`: the test of that, in
//!   a build that is made for it.

use kernel::{
    miscdevice::{
        MiscDeviceOptions,
        MiscDeviceRegistration, //
    },
    prelude::*, //
};

mod argument;
mod bench;
#[forbid(unsafe_code)]
mod budget;
mod cpu_caches;
mod device;
#[cfg(all(CONFIG_KASAN_GENERIC, CONFIG_KASAN_VMALLOC))]
mod kasan;
#[cfg(SLABLAB_STRAY)]
mod kasan_test;
mod lock;
mod parameters;
mod pin;
mod pool;
mod session_memory;
mod shared;
mod signals;
mod slub;
mod uapi;
mod vmalloc;

use device::OpenFile;
use parameters::Parameters;
use shared::Shared;

// Sizes of pools are 32-bit numbers of MiB, and offsets and file positions 64-bit ones of bytes.
const _: () = assert!(usize::BITS == 64);

module! {
    type: Slablab,
    name: "slablab",
    authors: ["The slablab authors"],
    description: "A laboratory for kernel memory allocators",
    license: "GPL v2",
}

/// The loaded module.
///
/// Fields are dropped in order: nobody can open the device any more when the lab closes.
#[pin_data]
struct Slablab {
    #[pin]
    _device: MiscDeviceRegistration<OpenFile>,
    _shared: shared::SharedGuard,
    _unload_message: UnloadMessage,
}

/// Says, when it is dropped, that all is gone.
struct UnloadMessage;

impl kernel::InPlaceModule for Slablab {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        // SAFETY: The module is initialised once, and nothing of it runs before.
        unsafe { shared::init() };

        pin_init::pin_init_scope(|| {
            let parameters = Parameters::read()?;
            #[cfg(SLABLAB_STRAY)]
            kasan_test::run()?;
            Ok(try_pin_init!(Self {
                // In this order the lab is there before anybody can open the device.
                _shared: Shared::install(&parameters)?,
                _device <- MiscDeviceRegistration::register(MiscDeviceOptions { name: c"slablab" }),
                _: {
                    pr_info!(
                        "loaded: engine {} unless a program chooses, {parameters}\n",
                        shared::DEFAULT_ENGINE.name()
                    );
                },
                _unload_message: UnloadMessage,
            }))
        })
    }
}

impl Drop for UnloadMessage {
    fn drop(&mut self) {
        pr_info!("unloaded\n");
    }
}
