// SPDX-License-Identifier: GPL-2.0

//! Measures system calls from a process.

use std::{
    hint::black_box,
    os::{
        fd::AsFd,
        unix::process::parent_id, //
    },
    time::Instant, //
};

use anyhow::Context;

use super::document::CallCost;
use crate::{
    device::{
        Device,
        Errno,
        open_device,
        raw_ioctl, //
    },
    sim::Pool,
    target::Target,
    uapi::{
        self,
        Engine,
        slablab_operation,
        slablab_submit, //
    },
};

/// The number of calls in a sample.
const CALLS: u32 = 500;

/// The number of an ioctl that does not exist: the driver finds no command and returns ENOTTY.
const NULL: u32 = uapi::SLABLAB_IOC_TYPE << 8 | 0xff;

/// The names of the rows that are compared with performance targets.
pub(super) const NULL_IOCTL: &str = "a null ioctl";

/// The numbers of operations of a SUBMIT, one per row.
const BATCHES: [usize; 4] = [1, 8, 64, 512];

/// The number of operations of the SUBMIT that is compared with a performance target.
pub(super) const BATCH: usize = 64;

/// A row of the report. `call` makes one or more system calls, whose cost is divided by `of`.
struct CallRow<'a> {
    name: String,
    of: usize,
    call: Box<dyn FnMut() -> Result<(), Errno> + 'a>,
}

impl<'a> CallRow<'a> {
    fn new(name: &str, call: impl FnMut() -> Result<(), Errno> + 'a) -> Self {
        Self {
            name: name.to_owned(),
            of: 1,
            call: Box::new(call),
        }
    }

    /// Creates the row of a batch, which is allocated in one call and freed in another.
    fn batch(device: &'a Device, size: usize) -> Self {
        let mut operations = vec![slablab_operation::default(); size];
        Self {
            name: batch(size),
            of: 2 * size,
            call: Box::new(move || alloc_free_batch(device, &mut operations)),
        }
    }

    /// Creates the row of a batch whose operations do nothing: a lower bound for the cost of the other batches.
    fn nothings(device: &'a Device, size: usize) -> Self {
        let mut operations = vec![slablab_operation::default(); size];
        Self {
            name: format!("SUBMIT of {size}, per no-op operation, hybrid"),
            of: size,
            call: Box::new(move || {
                operations.fill(slablab_operation {
                    kind: uapi::SLABLAB_OP_NOP as u8,
                    ..Default::default()
                });
                done(device.submit(&mut operations)?)
            }),
        }
    }
}

/// Returns the name of the row of an ALLOC and a FREE.
pub(super) fn alloc_free_of(engine: Engine) -> String {
    format!("ALLOC and FREE of 64 B, {engine}")
}

/// Returns the name of the row of a batch.
pub(super) fn batch(size: usize) -> String {
    format!("SUBMIT of {size}, per operation of 64 B, hybrid")
}

/// Measures all rows.
pub(super) fn run(brief: bool) -> anyhow::Result<Vec<CallCost>> {
    let samples = if brief { 5 } else { 40 };
    let hybrid = session(Engine::Hybrid)?;
    let mut sessions = Vec::new();
    for engine in Pool::ENGINES {
        sessions.push((engine, session(engine)?));
    }
    let slub = open_device()?;
    slub.bind(Engine::Slub.raw(), 0, 0).context("BIND failed")?;
    sessions.push((Engine::Slub, slub));
    let mut rows = vec![
        CallRow::new("getppid", || {
            black_box(parent_id());
            Ok(())
        }),
        CallRow::new(NULL_IOCTL, || null_ioctl(&hybrid)),
    ];
    rows.extend(
        sessions
            .iter()
            .map(|(engine, device)| CallRow::new(&alloc_free_of(*engine), || alloc_free(device))),
    );
    rows.extend(BATCHES.map(|size| CallRow::batch(&hybrid, size)));
    rows.push(CallRow::nothings(&hybrid, BATCH));
    rows.iter_mut()
        .map(|row| {
            let cost = cost(samples, &mut *row.call);
            let cost = cost.with_context(|| format!("{} failed", row.name))?;
            Ok(CallCost {
                name: row.name.clone(),
                cost: cost / row.of as f64,
            })
        })
        .collect()
}

/// Opens a session with a small private pool.
fn session(engine: Engine) -> anyhow::Result<Device> {
    let device = open_device()?;
    device
        .bind(engine.raw(), uapi::SLABLAB_BIND_PRIVATE, 1 << 20)
        .context("BIND failed")?;
    Ok(device)
}

/// Sends [`NULL`], which must fail with ENOTTY.
fn null_ioctl(device: &Device) -> Result<(), Errno> {
    // SAFETY: `NULL` is no command of the driver, so the request takes no pointer.
    match unsafe { raw_ioctl(device.as_fd(), NULL, 0) } {
        Err(Errno::NOTTY) => Ok(()),
        Err(errno) => Err(errno),
        Ok(_) => Err(Errno::EXIST),
    }
}

/// Allocates a block and frees it.
fn alloc_free(device: &Device) -> Result<(), Errno> {
    let block = device.alloc(64, 8).map_err(|refused| refused.errno)?;
    device.free(block.handle)
}

/// Allocates one block per operation in one call, and frees the blocks in another.
fn alloc_free_batch(device: &Device, operations: &mut [slablab_operation]) -> Result<(), Errno> {
    operations.fill(slablab_operation {
        kind: uapi::SLABLAB_OP_ALLOC as u8,
        align_log2: 3,
        bytes: 64,
        ..Default::default()
    });
    done(device.submit(operations)?)?;
    for operation in &mut *operations {
        *operation = slablab_operation {
            kind: uapi::SLABLAB_OP_FREE as u8,
            handle: operation.handle,
            ..Default::default()
        };
    }
    done(device.submit(operations)?)
}

/// Returns the error of the operation that failed, if one failed.
fn done(submit: slablab_submit) -> Result<(), Errno> {
    match submit.error {
        0 => Ok(()),
        error => Err(Errno::from_raw_os_error(error as i32)),
    }
}

/// Returns the time of a call in nanoseconds: the median of the samples.
fn cost(samples: usize, call: &mut dyn FnMut() -> Result<(), Errno>) -> Result<f64, Errno> {
    let mut times = Vec::with_capacity(samples);
    for _ in 0..samples {
        let begin = Instant::now();
        for _ in 0..CALLS {
            call()?;
        }
        times.push(begin.elapsed().as_nanos() as f64 / f64::from(CALLS));
    }
    times.sort_by(f64::total_cmp);
    Ok(times[samples / 2])
}
