// SPDX-License-Identifier: GPL-2.0

//! The interface of a session: on the device, or simulated in this process.

use std::os::fd::BorrowedFd;

use rustix::io::Errno;

use crate::{
    affinity,
    uapi::{
        slablab_alloc,
        slablab_check,
        slablab_cost,
        slablab_event,
        slablab_events,
        slablab_extend,
        slablab_extent,
        slablab_info,
        slablab_map,
        slablab_operation,
        slablab_realloc,
        slablab_report,
        slablab_shrink,
        slablab_stats,
        slablab_submit,
        slablab_violation, //
    },
};

/// A refused allocation or reallocation.
#[derive(Clone, Copy, Debug)]
pub struct Refused {
    /// The error.
    pub errno: Errno,
    /// The cost in the reply, with the cause of the refusal.
    pub cost: slablab_cost,
}

/// A session that can be driven from several threads. The methods are the device's commands.
pub trait Target: Sync {
    /// Returns the engines, the pool and the quotas.
    fn info(&self) -> Result<slablab_info, Errno>;

    /// Chooses the session's engine and pool; EBUSY after the first allocation.
    fn bind(&self, engine: u32, flags: u32, pool_bytes: u64) -> Result<(), Errno>;

    /// Allocates a block.
    fn alloc(&self, size: u64, align: u64) -> Result<slablab_alloc, Refused>;

    /// Frees a block.
    fn free(&self, handle: u32) -> Result<(), Errno>;

    /// Changes a block's size.
    fn realloc(&self, handle: u32, size: u64) -> Result<slablab_realloc, Refused>;

    /// Reads bytes of a block; fewer than requested at the end of the block.
    fn read(&self, handle: u32, byte: u32, buffer: &mut [u8]) -> Result<usize, Errno>;

    /// Writes bytes of a block; fewer than requested at the end of the block.
    fn write(&self, handle: u32, byte: u32, bytes: &[u8]) -> Result<usize, Errno>;

    /// Returns the statistics of the engine and of this session.
    fn stats(&self) -> Result<Box<slablab_stats>, Errno>;

    /// Checks the engine's metadata.
    fn check(&self) -> Result<slablab_check, Errno>;

    /// Returns the first rule that the allocator of the engine `student` broke, and its accesses.
    fn violation(&self) -> Result<slablab_violation, Errno>;

    /// Adds `bytes` bytes to the pool.
    fn extend(&self, bytes: u64) -> Result<slablab_extend, Errno>;

    /// Returns cached memory to the page allocator.
    fn shrink(&self) -> Result<slablab_shrink, Errno>;

    /// Returns the use of the pages of a region from `page` on, at most 4096 extents per call.
    fn map(
        &self,
        region: u32,
        page: u32,
        extents: &mut [slablab_extent],
    ) -> Result<slablab_map, Errno>;

    /// Executes up to 4096 operations, up to the first failure, and writes them back.
    fn submit(&self, operations: &mut [slablab_operation]) -> Result<slablab_submit, Errno>;

    /// Starts recording; the last `events` operations are available.
    fn record(&self, events: u32) -> Result<(), Errno>;

    /// Returns recorded events from event `number` on.
    fn events(&self, number: u64, events: &mut [slablab_event]) -> Result<slablab_events, Errno>;

    /// Stops recording.
    fn end_record(&self) -> Result<(), Errno>;

    /// Misuses a block of `size` bytes in a pool in debug mode, and returns the report of debug mode.
    fn inject(&self, misuse: u32, size: u64) -> Result<slablab_report, Errno>;

    /// Sets fault injection: every `every`-th request and the `growth`-th growth is refused; 0 means
    /// none. Returns the number of requests that the earlier setting refused.
    fn fail(&self, every: u64, growth: u64) -> Result<u64, Errno>;

    /// Reads bytes of the pool that belong to no live block, behind the back of the allocator of the engine `student`.
    ///
    /// # Errors
    ///
    /// - `EOPNOTSUPP` for every other engine, and on the device.
    /// - `EFAULT` if a byte does not exist or belongs to a live block.
    fn read_free(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Errno> {
        let _ = (offset, buffer);
        Err(Errno::OPNOTSUPP)
    }

    /// Writes bytes of the pool that belong to no live block, as a program does that errs.
    ///
    /// # Errors
    ///
    /// The errors of [`Target::read_free`]. The bytes before the one at fault are written.
    fn stray_write(&self, offset: u64, bytes: &[u8]) -> Result<(), Errno> {
        let _ = (offset, bytes);
        Err(Errno::OPNOTSUPP)
    }

    /// Moves this thread to a CPU: in a process to a simulated one, on the device to one of the machine.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the machine has no such CPU, or the thread may not run there.
    fn run_on(&self, cpu: usize) -> Result<(), Errno> {
        affinity::move_to(cpu)
    }

    /// Returns the open file of the device, for malformed requests.
    fn file(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// Implements methods of [`Target`] that forward the call to a field: `forward!(field: info, bind);`.
macro_rules! forward {
    ($field:ident: $($method:ident),* $(,)?) => {
        $($crate::target::forward!(@$method $field);)*
    };
    (@info $field:ident) => {
        fn info(&self) -> Result<$crate::uapi::slablab_info, $crate::device::Errno> {
            self.$field.info()
        }
    };
    (@bind $field:ident) => {
        fn bind(
            &self,
            engine: u32,
            flags: u32,
            pool_bytes: u64,
        ) -> Result<(), $crate::device::Errno> {
            self.$field.bind(engine, flags, pool_bytes)
        }
    };
    (@alloc $field:ident) => {
        fn alloc(
            &self,
            size: u64,
            align: u64,
        ) -> Result<$crate::uapi::slablab_alloc, $crate::target::Refused> {
            self.$field.alloc(size, align)
        }
    };
    (@free $field:ident) => {
        fn free(&self, handle: u32) -> Result<(), $crate::device::Errno> {
            self.$field.free(handle)
        }
    };
    (@realloc $field:ident) => {
        fn realloc(
            &self,
            handle: u32,
            size: u64,
        ) -> Result<$crate::uapi::slablab_realloc, $crate::target::Refused> {
            self.$field.realloc(handle, size)
        }
    };
    (@read $field:ident) => {
        fn read(
            &self,
            handle: u32,
            byte: u32,
            buffer: &mut [u8],
        ) -> Result<usize, $crate::device::Errno> {
            self.$field.read(handle, byte, buffer)
        }
    };
    (@write $field:ident) => {
        fn write(
            &self,
            handle: u32,
            byte: u32,
            bytes: &[u8],
        ) -> Result<usize, $crate::device::Errno> {
            self.$field.write(handle, byte, bytes)
        }
    };
    (@stats $field:ident) => {
        fn stats(&self) -> Result<Box<$crate::uapi::slablab_stats>, $crate::device::Errno> {
            self.$field.stats()
        }
    };
    (@check $field:ident) => {
        fn check(&self) -> Result<$crate::uapi::slablab_check, $crate::device::Errno> {
            self.$field.check()
        }
    };
    (@violation $field:ident) => {
        fn violation(&self) -> Result<$crate::uapi::slablab_violation, $crate::device::Errno> {
            self.$field.violation()
        }
    };
    (@extend $field:ident) => {
        fn extend(
            &self,
            bytes: u64,
        ) -> Result<$crate::uapi::slablab_extend, $crate::device::Errno> {
            self.$field.extend(bytes)
        }
    };
    (@shrink $field:ident) => {
        fn shrink(&self) -> Result<$crate::uapi::slablab_shrink, $crate::device::Errno> {
            self.$field.shrink()
        }
    };
    (@map $field:ident) => {
        fn map(
            &self,
            region: u32,
            page: u32,
            extents: &mut [$crate::uapi::slablab_extent],
        ) -> Result<$crate::uapi::slablab_map, $crate::device::Errno> {
            self.$field.map(region, page, extents)
        }
    };
    (@submit $field:ident) => {
        fn submit(
            &self,
            operations: &mut [$crate::uapi::slablab_operation],
        ) -> Result<$crate::uapi::slablab_submit, $crate::device::Errno> {
            self.$field.submit(operations)
        }
    };
    (@record $field:ident) => {
        fn record(&self, events: u32) -> Result<(), $crate::device::Errno> {
            self.$field.record(events)
        }
    };
    (@events $field:ident) => {
        fn events(
            &self,
            number: u64,
            events: &mut [$crate::uapi::slablab_event],
        ) -> Result<$crate::uapi::slablab_events, $crate::device::Errno> {
            self.$field.events(number, events)
        }
    };
    (@end_record $field:ident) => {
        fn end_record(&self) -> Result<(), $crate::device::Errno> {
            self.$field.end_record()
        }
    };
    (@inject $field:ident) => {
        fn inject(
            &self,
            misuse: u32,
            size: u64,
        ) -> Result<$crate::uapi::slablab_report, $crate::device::Errno> {
            self.$field.inject(misuse, size)
        }
    };
    (@fail $field:ident) => {
        fn fail(&self, every: u64, growth: u64) -> Result<u64, $crate::device::Errno> {
            self.$field.fail(every, growth)
        }
    };
    (@file $field:ident) => {
        fn file(&self) -> Option<::std::os::fd::BorrowedFd<'_>> {
            self.$field.file()
        }
    };
}
pub(crate) use forward;
