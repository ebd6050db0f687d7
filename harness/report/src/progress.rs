// SPDX-License-Identifier: GPL-2.0

//! Progress bars on a terminal.
//!
//! A bar is redrawn only when a step ends, not by a thread of its own, which would disturb measurements.

use indicatif::{
    ProgressBar,
    ProgressStyle, //
};

/// A progress bar for one stage of a command. Dropping the bar removes it from the terminal.
pub struct Stage(ProgressBar);

impl Stage {
    /// Begins a stage of `steps` steps. Without a terminal, only the title is printed.
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

    /// Shows the current step.
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
