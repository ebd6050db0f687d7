// SPDX-License-Identifier: GPL-2.0

//! A panel of horizontal bars, one for each allocator.

use plotters::prelude::{
    BLACK,
    ChartBuilder,
    Color,
    EmptyElement,
    IntoSegmentedCoord,
    PathElement,
    Rectangle,
    SegmentValue,
    Text,
    WHITE, //
};
use slablab_report::count;

use super::{
    Area,
    DrawError,
    GREY,
    SMALL,
    color,
    heading, //
};
use crate::statistics::quantile;

/// The longest bar, as a multiple of the median value. Longer bars are cut off, because they would make
/// the others too short to compare.
const MAX_MEDIANS: f64 = 2.2;

/// The width of the x axis, as a multiple of the longest bar; the rest is for the figures.
const AXIS: f64 = 1.4;

/// The bar of one allocator.
pub(super) struct Bar {
    /// The name of the allocator.
    pub(super) name: String,
    /// The length of the bar; `None` when the allocator was not measured.
    pub(super) value: Option<f64>,
    /// A second value of the allocator, shown as a black mark.
    pub(super) mark: Option<f64>,
    /// The text after the bar.
    pub(super) text: String,
}

/// A panel.
pub(super) struct Bars {
    /// The title.
    pub(super) title: String,
    /// The bars from top to bottom.
    pub(super) bars: Vec<Bar>,
    /// A value to compare all bars with, shown as a vertical line.
    pub(super) line: Option<f64>,
    /// The value of the longest bar, or `None` to derive it from the values.
    pub(super) longest: Option<f64>,
}

impl Bars {
    /// Returns the value of the longest bar.
    fn longest(&self) -> f64 {
        if let Some(longest) = self.longest {
            return longest;
        }
        let mut values: Vec<_> = self.bars.iter().filter_map(|bar| bar.value).collect();
        values.sort_unstable_by(f64::total_cmp);
        let Some(max) = values.last() else {
            return 1.0;
        };
        max.min(quantile(&values, 0.5) * MAX_MEDIANS)
    }

    /// Draws the panel.
    pub(super) fn draw(&self, area: &Area<'_>) -> Result<(), DrawError> {
        // plotters draws nothing on an axis with a single segment, so there are at least two.
        let bottom = self.bars.len().saturating_sub(1).max(1);
        let longest = self.longest();
        let mut chart = ChartBuilder::on(area)
            .caption(&self.title, heading())
            .margin(12)
            .y_label_area_size(72)
            .x_label_area_size(22)
            .build_cartesian_2d(0.0..longest * AXIS, (0..bottom).into_segmented())?;
        let name = |position: &SegmentValue<usize>| match position {
            SegmentValue::CenterOf(row) => {
                (self.bars.get(bottom - row)).map(|bar| bar.name.clone())
            }
            SegmentValue::Exact(_) | SegmentValue::Last => None,
        };
        chart
            .configure_mesh()
            .disable_mesh()
            .x_labels(5)
            .x_label_formatter(&|value| count(value.round() as u64))
            .y_labels(bottom + 1)
            .y_label_formatter(&|position| name(position).unwrap_or_default())
            .label_style(SMALL)
            .axis_style(GREY)
            .draw()?;
        for (index, bar) in self.bars.iter().enumerate() {
            let row = bottom - index;
            let ends = |value: f64| {
                let above = match row == bottom {
                    true => SegmentValue::Last,
                    false => SegmentValue::Exact(row + 1),
                };
                [(value, SegmentValue::Exact(row)), (value, above)]
            };
            let value = bar.value.unwrap_or(0.0);
            let end = value.min(longest);
            let [_, corner] = ends(end);
            let [origin, _] = ends(0.0);
            let mut shape = Rectangle::new([origin, corner], color(&bar.name).filled());
            shape.set_margin(3, 3, 0, 0);
            chart.draw_series([shape])?;
            let mark = bar.mark.filter(|mark| *mark <= longest);
            if let Some(mark) = mark {
                let mark = PathElement::new(ends(mark), BLACK.stroke_width(3));
                chart.draw_series([mark])?;
            }
            let cut = if value > longest { "» " } else { "" };
            let text = Text::new(format!("{cut}{}", bar.text), (6, -6), SMALL);
            // The line of a panel with a given scale may cross the texts, so they stand at its end.
            let at = match self.longest {
                Some(longest) => longest,
                None => end.max(mark.unwrap_or(0.0)),
            };
            let place = EmptyElement::at((at, SegmentValue::CenterOf(row)));
            chart.draw_series([place + text])?;
        }
        if let Some(line) = self.line.filter(|line| *line <= longest) {
            let ends = [(line, SegmentValue::Exact(0)), (line, SegmentValue::Last)];
            // A white border makes the line visible on the bars.
            for (color, width) in [(WHITE, 3), (GREY, 1)] {
                chart.draw_series([PathElement::new(ends.clone(), color.stroke_width(width))])?;
            }
        }
        Ok(())
    }
}
