// SPDX-License-Identifier: GPL-2.0

//! System calls, timed from outside.

use std::{
    hint::black_box,
    os::{
        fd::AsFd,
        unix::process::parent_id, //
    },
    time::Instant, //
};

use anyhow::Context;

use super::document::Call;
use crate::{
    device::{
        Device,
        Errno,
        raw_ioctl, //
    },
    target::open_device,
    uapi::{
        self,
        Engine, //
    },
};

/// Calls of a sample.
const CALLS: u32 = 500;

/// An ioctl that every dispatch ends in saying no to, and that reads nothing.
const NULL: u32 = uapi::SLABLAB_IOC_TYPE << 8 | 0xff;

/// The names of the rows that a target is about.
pub(super) const NULL_IOCTL: &str = "a null ioctl";
pub(super) const ALLOC_FREE: &str = "ALLOC and FREE of 64 B, hybrid";

/// A call, by its name.
type Named<'a> = (&'a str, Box<dyn FnMut() -> Result<(), Errno> + 'a>);

/// Times each call.
pub(super) fn run(brief: bool) -> anyhow::Result<Vec<Call>> {
    let samples = if brief { 5 } else { 40 };
    let hybrid = session(Engine::Hybrid)?;
    let seed = session(Engine::Seed)?;
    let slub = open_device()?;
    slub.bind(Engine::Slub.raw(), 0, 0).context("BIND failed")?;
    let mut rows: Vec<Named<'_>> = vec![
        (
            "getppid",
            Box::new(|| {
                black_box(parent_id());
                Ok(())
            }),
        ),
        (NULL_IOCTL, Box::new(|| null_ioctl(&hybrid))),
        (ALLOC_FREE, Box::new(|| alloc_free(&hybrid))),
        (
            "ALLOC and FREE of 64 B, seed",
            Box::new(|| alloc_free(&seed)),
        ),
        (
            "ALLOC and FREE of 64 B, slub",
            Box::new(|| alloc_free(&slub)),
        ),
    ];
    rows.iter_mut()
        .map(|(name, call)| {
            Ok(Call {
                name: (*name).to_owned(),
                cost: cost(samples, call).with_context(|| format!("{name} failed"))?,
            })
        })
        .collect()
}

/// Opens a session with a small pool of its own.
fn session(engine: Engine) -> anyhow::Result<Device> {
    let device = open_device()?;
    device
        .bind(engine.raw(), uapi::SLABLAB_BIND_PRIVATE, 1 << 20)
        .context("BIND failed")?;
    Ok(device)
}

/// Makes a request that there is not.
fn null_ioctl(device: &Device) -> Result<(), Errno> {
    // SAFETY: Nothing is done to anybody's memory.
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

/// Returns what a call takes: of so many samples, the one in the middle.
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
