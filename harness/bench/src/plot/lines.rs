// SPDX-License-Identifier: GPL-2.0

//! The panel of pairs over all class sizes.

use slablab_report::figure;

use super::{
    canvas::{
        Anchor,
        BLACK,
        Canvas,
        Frame,
        GREY,
        PALE, //
    },
    ink,
};
use crate::{
    results::{
        Results,
        Row,
        Time, //
    },
    statistics::quantile,
};

/// Pixels for the figures at the left, and for the names at the right.
const FIGURES: i32 = 40;
const NAMES: i32 = 90;

/// Lines that guide the eye.
const GUIDES: i32 = 4;

/// Draws the panel.
pub(super) fn draw(canvas: &Canvas<'_>, frame: &Frame, results: &Results) -> anyhow::Result<()> {
    let rows = results.times.iter();
    let rows: Vec<_> = rows
        .filter(|row| row.pattern.starts_with("class-"))
        .collect();
    if rows.len() < 2 {
        return Ok(());
    }
    canvas.heading(
        "Pair of one block, by its size, ns",
        frame.left,
        frame.top + 10,
    )?;
    let full = full(&rows);
    let (left, right) = (frame.left + FIGURES, frame.left + frame.width - NAMES);
    let (top, bottom) = (frame.top + 34, frame.top + frame.height - 28);
    let x = |index: usize| left + (right - left) * index as i32 / (rows.len() - 1) as i32;
    let y = |value: f64| bottom - ((value / full).min(1.0) * f64::from(bottom - top)) as i32;

    for guide in 0..=GUIDES {
        let value = full * f64::from(guide) / f64::from(GUIDES);
        canvas.line(vec![(left, y(value)), (right, y(value))], PALE, 1)?;
        let text = format!("{value:.0}");
        canvas.label(&text, (left - 8, y(value)), Anchor::End, GREY, false)?;
    }
    for (index, row) in rows.iter().enumerate() {
        let bytes = row.pattern.trim_start_matches("class-");
        if bytes.parse().is_ok_and(u32::is_power_of_two) {
            canvas.label(bytes, (x(index), bottom + 16), Anchor::Middle, GREY, false)?;
        }
    }

    let all = results.allocators.iter().enumerate();
    let mut ends = Vec::new();
    // The hybrid's last, over the others.
    let mut shown: Vec<_> = all.filter(|(_, of)| of.threads && !of.baseline).collect();
    shown.sort_by_key(|(_, of)| of.name == "hybrid");
    for (place, of) in shown {
        let value = |row: &Row<Time>| Some(row.cells[place].as_ref()?.nanoseconds.median);
        let values: Vec<_> = rows.iter().filter_map(|row| value(row)).collect();
        let points = values.iter().enumerate();
        let points: Vec<_> = points.map(|(index, value)| (x(index), y(*value))).collect();
        let ours = of.name == "hybrid";
        let Some((_, end)) = points.last().copied() else {
            continue;
        };
        let last = values.last().copied().unwrap_or(0.0);
        ends.push((end, &of.name, last));
        canvas.line(points, ink(&of.name), if ours { 4 } else { 2 })?;
    }
    // Names beside the ends of their lines, none over another.
    ends.sort_by_key(|(end, ..)| *end);
    let mut lowest = i32::MIN;
    let slack = |index: usize, count: usize| bottom - 16 * (count - 1 - index) as i32;
    let count = ends.len();
    for (index, (end, name, last)) in ends.into_iter().enumerate() {
        let at = end.max(lowest).min(slack(index, count));
        lowest = at + 16;
        let cut = if last > full {
            format!(" {}", figure(last))
        } else {
            String::new()
        };
        let text = format!("{name}{cut}");
        let ours = name == "hybrid";
        canvas.fill((right + 8, at - 4), (right + 16, at + 4), ink(name))?;
        canvas.label(&text, (right + 21, at), Anchor::Begin, BLACK, ours)?;
    }
    Ok(())
}

/// Returns the value at the top: far outliers do not make the others flat.
fn full(rows: &[&Row<Time>]) -> f64 {
    let cells = rows.iter().flat_map(|row| row.cells.iter().flatten());
    let mut values: Vec<_> = cells.map(|time| time.nanoseconds.median).collect();
    values.sort_unstable_by(f64::total_cmp);
    (quantile(&values, 0.95) * 1.2).max(1.0)
}
