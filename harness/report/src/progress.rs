// SPDX-License-Identifier: GPL-2.0

//! Progress on a terminal.
//!
//! Nothing moves by itself: a thread that redraws a bar would be a disturbance.

use indicatif::{
    ProgressBar,
    ProgressStyle, //
};

/// A bar for one stage of the benchmark. It vanishes when it is dropped.
pub struct Stage(ProgressBar);

impl Stage {
    /// Begins a stage of so many steps.
    pub fn new(title: &str, steps: usize) -> Self {
        let bar = ProgressBar::new(steps as u64);
        if let Ok(style) = ProgressStyle::with_template("{prefix}  {wide_bar}  {msg}  {pos}/{len}")
        {
            bar.set_style(style);
        }
        bar.set_prefix(title.to_owned());
        if bar.is_hidden() {
            eprintln!("{title}");
        }
        Self(bar)
    }

    /// Says what is being done.
    pub fn doing(&self, what: &str) {
        self.0.set_message(what.to_owned());
    }

    /// Counts a step.
    pub fn step(&self) {
        self.0.inc(1);
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
