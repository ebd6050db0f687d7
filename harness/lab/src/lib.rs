// SPDX-License-Identifier: GPL-2.0

//! Sessions on the device and in this process, and the checks of every answer.
//!
//! A [`Target`](target::Target) is a session: [`Device`](device::Device) in the kernel, [`Sim`](sim::Sim) in
//! this process. [`Oracle`](oracle::Oracle) checks the answers of a session, and [`replay`] replays a trace
//! on a session.

pub mod affinity;
pub mod clock;
pub mod device;
pub mod errno;
pub mod event_recorder;
pub mod ftrace_recorder;
pub mod isolation;
pub mod map;
pub mod oracle;
pub mod real_time;
pub mod replay;
pub mod sim;
pub mod target;
pub mod uapi;

use slablab_report as report;
use slablab_trace::rng;
