// SPDX-License-Identifier: GPL-2.0

//! slablab: a laboratory for kernel memory allocators.
//!
//! The parts of the module, from the outside to the inside:
//!
//! - [`device`]: the ioctls and file operations of `/dev/slablab`: copies arguments in and replies out;
//! - [`argument`]: the argument of an ioctl; [`uapi`]: the ABI;
//! - `slab_session` (a crate): handles, quotas, pins, zeroing;
//! - [`shared`]: the state that all open files share: limits, budgets, pools;
//! - [`pool`]: an engine and its memory; [`vmalloc`] allocates that memory; [`slub`] is the engine on
//!   Linux's kvmalloc, and the crate `slab_heap` has the others;
//! - [`bench`]: measures allocators, which are created for each measurement;
//! - [`session_platform`]: the memory of handle tables and events; [`budget`]: limits across all files;
//! - [`lock`]: the kernel's locks for those crates; [`cpu_caches`]: the per-CPU caches of `hybrid`;
//!   [`pin`]: disables preemption;
//! - `kasan`, on a kernel with KASAN: marks free memory of a pool as inaccessible; `kasan_test`: the test
//!   of `kasan`, in a special build.

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
mod engines;
#[cfg(all(CONFIG_KASAN_GENERIC, CONFIG_KASAN_VMALLOC))]
mod kasan;
#[cfg(SLABLAB_STRAY)]
mod kasan_test;
mod lock;
mod parameters;
mod pieces;
mod pin;
mod pool;
mod session_platform;
mod shared;
mod signals;
mod slub;
mod uapi;
mod vmalloc;

use device::OpenFile;
use parameters::Parameters;
use shared::Shared;

// Pool sizes are 32-bit numbers of MiB; offsets and file positions are 64-bit numbers of bytes.
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
/// Fields are dropped in order of declaration, so the device is deregistered before the shared state is dropped.
#[pin_data]
struct Slablab {
    #[pin]
    _device: MiscDeviceRegistration<OpenFile>,
    _shared: shared::SharedGuard,
    _unload_message: UnloadMessage,
}

/// A value whose drop logs that the module was unloaded.
struct UnloadMessage;

impl kernel::InPlaceModule for Slablab {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        // SAFETY: `shared::init` must be called once, before anything else in its file. The kernel calls this
        // function once, and this is the first statement of the module that runs.
        unsafe { shared::init() };

        pin_init::pin_init_scope(|| {
            let parameters = Parameters::read()?;
            #[cfg(SLABLAB_STRAY)]
            kasan_test::run()?;
            Ok(try_pin_init!(Self {
                // The shared state is set before the device is registered, because a program can open the
                // device at once.
                _shared: Shared::install(&parameters)?,
                _device <- MiscDeviceRegistration::register(MiscDeviceOptions { name: c"slablab" }),
                _: {
                    pr_info!(
                        "loaded: default engine {}, {parameters}\n",
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
