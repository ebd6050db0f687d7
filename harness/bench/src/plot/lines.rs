// SPDX-License-Identifier: GPL-2.0

//! The panel of pairs over all size classes.

use plotters::prelude::{
    ChartBuilder,
    Color,
    IntoLogRange,
    LineSeries,
    Rectangle,
    SeriesLabelPosition,
    WHITE, //
};
use slablab_report::count;

use super::{
    Area,
    DrawError,
    GREY,
    PALE,
    SMALL,
    color,
    heading, //
};
use crate::{
    results::{
        PatternRow,
        Results,
        Time, //
    },
    statistics::quantile,
};

/// The right end of the x axis, as a multiple of the largest size; the rest is for the legend.
const AXIS: f64 = 2.0;

/// Draws the panel, unless fewer than two size classes were measured.
pub(super) fn draw(area: &Area<'_>, results: &Results) -> Result<(), DrawError> {
    let bytes = |row: &PatternRow<Time>| row.pattern.strip_prefix("class-")?.parse::<f64>().ok();
    let rows = results.times.iter();
    let rows: Vec<_> = rows.filter_map(|row| Some((bytes(row)?, row))).collect();
    let (Some((first, _)), Some((last, _))) = (rows.first(), rows.last()) else {
        return Ok(());
    };
    if first == last {
        return Ok(());
    }
    let top = top(&rows);
    let mut chart = ChartBuilder::on(area)
        .caption("Pair of one block, by its size in bytes, ns", heading())
        .margin(12)
        .y_label_area_size(40)
        .x_label_area_size(28)
        .build_cartesian_2d((*first..*last * AXIS).log_scale().base(2.0), 0.0..top)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(PALE)
        .x_labels(12)
        .y_label_formatter(&|value| count(value.round() as u64))
        .x_label_formatter(&|bytes| count(bytes.round() as u64))
        .label_style(SMALL)
        .axis_style(GREY)
        .draw()?;
    let all = results.allocators.iter().enumerate();
    let mut shown: Vec<_> = all.filter(|(_, of)| of.threads && !of.baseline).collect();
    // Hybrid is drawn last, over the others.
    shown.sort_by_key(|(_, of)| of.name == "hybrid");
    for (place, of) in shown {
        let points = rows.iter().filter_map(|(bytes, row)| {
            let value = row.cells[place].as_ref()?.nanoseconds.median;
            Some((*bytes, value.min(top)))
        });
        let width = if of.name == "hybrid" { 4 } else { 2 };
        let color = color(&of.name);
        chart
            .draw_series(LineSeries::new(points, color.stroke_width(width)))?
            .label(&of.name)
            .legend(move |(x, y)| Rectangle::new([(x, y - 4), (x + 8, y + 4)], color.filled()));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE)
        .label_font(SMALL)
        .legend_area_size(14)
        .draw()
}

/// Returns the value at the top of the y axis. Values far above the others are cut off, because they
/// would make the other lines flat.
fn top(rows: &[(f64, &PatternRow<Time>)]) -> f64 {
    let cells = rows.iter().flat_map(|(_, row)| row.cells.iter().flatten());
    let mut values: Vec<_> = cells.map(|time| time.nanoseconds.median).collect();
    if values.is_empty() {
        return 1.0;
    }
    values.sort_unstable_by(f64::total_cmp);
    (quantile(&values, 0.95) * 1.2).max(1.0)
}
