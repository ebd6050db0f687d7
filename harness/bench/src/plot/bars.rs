// SPDX-License-Identifier: GPL-2.0

//! A panel of bars.

use super::{
    canvas::{
        Anchor,
        BLACK,
        Canvas,
        Frame,
        PALE, //
    },
    ink,
};
use crate::statistics::quantile;

/// Pixels for the allocators' names.
const NAMES: i32 = 74;

/// Pixels for the figures behind the bars.
const FIGURES: i32 = 70;

/// A bar may be so many times as long as the middle one before it is cut off.
const LONGEST: f64 = 2.2;

/// One allocator's.
pub(super) struct Bar {
    /// The allocator's name.
    pub(super) name: String,
    /// How long the bar is.
    pub(super) value: Option<f64>,
    /// Another value of the same allocator.
    pub(super) mark: Option<f64>,
    /// What stands behind the bar.
    pub(super) text: String,
}

/// A panel.
pub(super) struct Bars {
    /// What is measured.
    pub(super) title: String,
    /// By allocator.
    pub(super) bars: Vec<Bar>,
    /// A value to compare all with.
    pub(super) line: Option<f64>,
    /// The value of a bar of full length, if it is not to be found from the others.
    pub(super) full: Option<f64>,
}

impl Bars {
    /// Returns the value of a bar of full length.
    fn full(&self) -> f64 {
        if let Some(full) = self.full {
            return full;
        }
        let mut values: Vec<_> = self.bars.iter().filter_map(|bar| bar.value).collect();
        if values.is_empty() {
            return 1.0;
        }
        values.sort_unstable_by(f64::total_cmp);
        // Whoever is far behind does not make the others short.
        let limit = quantile(&values, 0.5) * LONGEST;
        values.into_iter().fold(0.0, f64::max).min(limit)
    }

    /// Draws the panel.
    pub(super) fn draw(&self, canvas: &Canvas<'_>, frame: &Frame) -> anyhow::Result<()> {
        let full = self.full();
        let (left, longest) = (frame.left + NAMES, frame.width - NAMES - FIGURES);
        let x = |value: f64| left + ((value / full).min(1.0) * f64::from(longest)) as i32;
        canvas.heading(&self.title, frame.left, frame.top + 10)?;
        let (top, bottom) = (frame.top + 28, frame.top + frame.height - 6);
        let step = (bottom - top) / self.bars.len().max(1) as i32;
        let thick = step * 7 / 10;
        canvas.line(vec![(left - 1, top), (left - 1, bottom)], PALE, 1)?;
        for (index, bar) in self.bars.iter().enumerate() {
            let above = top + index as i32 * step + (step - thick) / 2;
            let middle = above + thick / 2;
            let ours = bar.name == "hybrid";
            canvas.label(&bar.name, (left - 8, middle), Anchor::End, BLACK, ours)?;
            let value = bar.value.unwrap_or(0.0);
            let end = x(value);
            if bar.value.is_some() {
                canvas.fill((left, above), (end, above + thick), ink(&bar.name))?;
            }
            if let Some(mark) = bar.mark.filter(|mark| *mark <= full) {
                canvas.fill(
                    (x(mark) - 1, above - 1),
                    (x(mark) + 1, above + thick + 1),
                    BLACK,
                )?;
            }
            // Where a line crosses, figures stand in a row behind it.
            let end = if self.full.is_some() {
                left + longest
            } else {
                end
            };
            let cut = if value > full { "» " } else { "" };
            let text = format!("{cut}{}", bar.text);
            canvas.label(&text, (end + 6, middle), Anchor::Begin, BLACK, ours)?;
        }
        if let Some(line) = self.line.filter(|line| *line <= full) {
            canvas.dotted(x(line), top, bottom)?;
        }
        Ok(())
    }
}
