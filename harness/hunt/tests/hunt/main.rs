// SPDX-License-Identifier: GPL-2.0

//! Tests of the allocators of the hunt, of the judge, and of the detectors of slablab.

mod detectors;
mod sound;
mod support;
mod traces;
