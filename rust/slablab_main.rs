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
mod lab;
mod lock;
mod memory;
mod parameters;
mod pin;
mod pool;
#[cfg(all(CONFIG_KASAN_GENERIC, CONFIG_KASAN_VMALLOC))]
mod shadowed;
mod signals;
mod slub;
#[cfg(SLABLAB_STRAY)]
mod stray;
mod tables;
mod uapi;

use device::OpenFile;
use lab::Lab;
use parameters::Parameters;

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
    _lab: lab::Opened,
    _farewell: Farewell,
}

/// Says, when it is dropped, that all is gone.
struct Farewell;

impl kernel::InPlaceModule for Slablab {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        // SAFETY: The module is initialised once, and nothing of it runs before.
        unsafe { lab::init() };

        pin_init::pin_init_scope(|| {
            let parameters = Parameters::read()?;
            #[cfg(SLABLAB_STRAY)]
            stray::accesses()?;
            Ok(try_pin_init!(Self {
                // In this order the lab is there before anybody can open the device.
                _lab: Lab::open(&parameters)?,
                _device <- MiscDeviceRegistration::register(MiscDeviceOptions { name: c"slablab" }),
                _: {
                    pr_info!(
                        "loaded: engine {} unless a program chooses, {parameters}\n",
                        lab::DEFAULT_ENGINE.name()
                    );
                },
                _farewell: Farewell,
            }))
        })
    }
}

impl Drop for Farewell {
    fn drop(&mut self) {
        pr_info!("unloaded\n");
    }
}
