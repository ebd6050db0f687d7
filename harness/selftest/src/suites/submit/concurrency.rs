// SPDX-License-Identifier: GPL-2.0

//! SUBMIT with signals, and from several threads.

use std::{
    sync::atomic::{
        AtomicBool,
        AtomicU64,
        Ordering, //
    },
    thread,
};

use crate::{
    device::{
        Device,
        Errno, //
    },
    uapi::{
        Engine,
        slablab_operation, //
    },
};

use crate::suites::{
    fixture::{
        rounds,
        session,
        sound,
        zeros, //
    },
    prelude::*, //
};

use super::{
    LOT,
    MOST,
    all_done,
    alloc,
    arrays::submit_at,
    ended,
    free,
    realloc, //
};

suite!("submit/concurrency" {
    Each a_signal_ends_a_call_between_operations,
    Each threads_submit_to_one_session,
    Each operations_that_are_not_executed_are_not_written,
});

/// While one thread submits operations, the first of which is invalid, another thread stores numbers in the
/// first and in the last operation and checks that they are unchanged.
fn operations_that_are_not_executed_are_not_written(engine: Engine) -> TestResult {
    let device = session(engine)?;
    let mut operations = [alloc(10); LOT];
    operations[0] = slablab_operation {
        kind: 255,
        ..Default::default()
    };
    let start = operations.as_mut_ptr();
    let address = start.expose_provenance();
    let stored = [0, LOT - 1].map(|number| {
        // SAFETY: `add` requires that the result is in the array. `number` is below its length.
        let bytes = unsafe { &raw mut (*start.add(number)).bytes };
        // SAFETY: `from_ptr` requires an aligned pointer that is valid as long as the result, and no
        // conflicting access. The field is aligned, the array outlives the threads, and this process accesses
        // the field through this reference only.
        unsafe { AtomicU64::from_ptr(bytes) }
    });
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let storing = scope.spawn(|| {
            for number in 1.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                for bytes in stored {
                    bytes.store(number, Ordering::Relaxed);
                }
                for _ in 0..20 {
                    for (place, bytes) in stored.into_iter().enumerate() {
                        let found = bytes.load(Ordering::Relaxed);
                        check_eq("bytes", found, number)
                            .about(format_args!("operation {place}"))?;
                    }
                }
            }
            Ok(())
        });
        let submitted = (0..rounds(20_000, 200_000)).try_for_each(|_| {
            if storing.is_finished() {
                return Ok(());
            }
            ended(submit_at(&device, address, LOT), 0, Errno::INVAL)
        });
        stop.store(true, Ordering::Relaxed);
        let stored = storing
            .join()
            .unwrap_or_else(|_| Err(TestError::failed("the thread panicked")));
        submitted.and(stored)
    })?;
    check_eq("blocks", device.stats()?.session_blocks, 0)
}

/// Functions of the C library that the standard library already links.
mod c {
    use std::ffi::c_int;

    unsafe extern "C" {
        pub(super) fn signal(number: c_int, handler: extern "C" fn(c_int)) -> usize;
    }

    pub(super) extern "C" fn nothing(_number: c_int) {}
}

fn a_signal_ends_a_call_between_operations(engine: Engine) -> TestResult {
    use rustix::process::{
        Signal,
        getpid,
        kill_process, //
    };

    // SAFETY: The handler does nothing, so it may run at any time.
    unsafe { c::signal(Signal::USR1.as_raw(), c::nothing) };
    let device = session(engine)?;
    let stop = AtomicBool::new(false);
    let begun = std::time::Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let _ = kill_process(getpid(), Signal::USR1);
                thread::sleep(std::time::Duration::from_micros(200));
            }
        });
        let submit = || -> TestResult {
            let mut interrupted = 0;
            while interrupted < 3 {
                check(
                    begun.elapsed().as_secs() < 60,
                    "signals interrupt three calls within a minute",
                )?;
                let mut operations: Vec<_> = vec![alloc(16); MOST];
                interrupted += to_the_end(&device, &mut operations)?;
                let mut frees: Vec<_> = operations.iter().map(|done| free(done.handle)).collect();
                interrupted += to_the_end(&device, &mut frees)?;
                check_eq("blocks", device.stats()?.session_blocks, 0)?;
            }
            Ok(())
        };
        let outcome = submit();
        stop.store(true, Ordering::Relaxed);
        outcome
    })
}

/// Submits operations, and again those that are left when a signal ends a call, until all are executed.
/// Returns the number of calls that a signal ended.
fn to_the_end(device: &Device, operations: &mut [slablab_operation]) -> TestResult<u32> {
    let (mut done, mut interrupted) = (0, 0);
    while done < operations.len() {
        let answer = device.submit(&mut operations[done..])?;
        done += answer.done as usize;
        if answer.error != 0 {
            check_eq("error", answer.error, Errno::INTR.raw_os_error() as u32)?;
            check(
                answer.done > 0,
                "an interrupted call has executed at least one operation",
            )?;
            interrupted += 1;
        }
    }
    Ok(interrupted)
}

fn threads_submit_to_one_session(engine: Engine) -> TestResult {
    let device = session(engine)?;
    let outcomes: Vec<TestResult> = thread::scope(|scope| {
        let threads: Vec<_> = (0..4_u64)
            .map(|thread| {
                let device = &device;
                scope.spawn(move || -> TestResult {
                    for round in 0..20 {
                        let sizes = [24, 100, 700, 3000];
                        let mut operations: Vec<_> =
                            (0..10).flat_map(|_| sizes.map(alloc)).collect();
                        all_done(device.submit(&mut operations), 40).about(round)?;
                        let own = [thread as u8 + 1; 24];
                        for done in &operations {
                            zeros(device, done.handle, 0, 24)?;
                            device.write(done.handle, 0, &own)?;
                        }
                        let mut next: Vec<_> = operations
                            .iter()
                            .map(|done| realloc(done.handle, 900))
                            .collect();
                        all_done(device.submit(&mut next), 40).about(round)?;
                        let mut bytes = [0; 24];
                        for done in &operations {
                            device.read(done.handle, 0, &mut bytes)?;
                            check_eq("bytes", bytes, own)?;
                        }
                        next = operations.iter().map(|done| free(done.handle)).collect();
                        all_done(device.submit(&mut next), 40).about(round)?;
                    }
                    Ok(())
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|_| Err(TestError::failed("a thread panicked")))
            })
            .collect()
    });
    outcomes.into_iter().collect::<TestResult>()?;
    check_eq("blocks", device.stats()?.session_blocks, 0)?;
    if engine != Engine::Slub {
        sound(&device)?;
    }
    Ok(())
}
