// SPDX-License-Identifier: GPL-2.0

//! `extent`: runs of granules, behind per-CPU magazines.

#[forbid(unsafe_code)]
mod bins;
#[forbid(unsafe_code)]
mod matrix;
#[forbid(unsafe_code)]
mod page;
#[forbid(unsafe_code)]
mod place;
#[forbid(unsafe_code)]
mod runs;
mod table;
#[cfg(test)]
mod tests;
