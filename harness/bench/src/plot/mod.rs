// SPDX-License-Identifier: GPL-2.0

//! The picture of the results, an SVG drawn by the library plotters.
//!
//! There is one panel per pattern, with the same order and colours of allocators in every panel. Short
//! bars are good, except for utilisation. A bar that would make the others too short is cut off and marked
//! with "»".

mod bars;
mod lines;

use std::io;

use anyhow::anyhow;
use plotters::{
    coord::Shift,
    drawing::DrawingAreaErrorKind,
    prelude::{
        BLACK,
        DrawingArea,
        IntoDrawingArea,
        IntoFont,
        IntoTextStyle,
        RGBColor,
        SVGBackend,
        Text,
        TextStyle,
        WHITE, //
    },
    style::FontStyle, //
};
use slablab_report::{
    figure,
    files::FileKind, //
};

use self::bars::{
    Bar,
    Bars, //
};
use crate::{
    results::{
        PatternRow,
        Results, //
    },
    space::means,
};

/// The picture or a part of it.
type Area<'svg> = DrawingArea<SVGBackend<'svg>, Shift>;

/// An error of the drawing library.
type DrawError = DrawingAreaErrorKind<io::Error>;

/// The width of the picture and the heights of its parts, in pixels.
const WIDTH: u32 = 1500;
const HEAD_HEIGHT: u32 = 104;
const PANEL_HEIGHT: u32 = 290;
const LAST_HEIGHT: u32 = 420;

/// The number of panels in a row.
const COLUMNS: usize = 3;

/// The colour of axes, lines of comparison and explanations.
const GREY: RGBColor = RGBColor(0x6a, 0x70, 0x76);

/// The colour of grid lines.
const PALE: RGBColor = RGBColor(0xe4, 0xe7, 0xea);

/// The font of labels.
const SMALL: (&str, u32) = ("sans-serif", 13);

/// The colours of the allocators, the same in every panel.
const COLORS: [(&str, RGBColor); 8] = [
    ("hybrid", RGBColor(0x0b, 0x5f, 0xa5)),
    ("seed", RGBColor(0x86, 0xb8, 0xe0)),
    ("buddy", RGBColor(0x8d, 0x6e, 0x63)),
    ("talc", RGBColor(0xe0, 0x9f, 0x1f)),
    ("rlsf", RGBColor(0x2e, 0x9e, 0x6b)),
    ("llist", RGBColor(0xa5, 0xa8, 0xab)),
    ("glibc", RGBColor(0x8e, 0x5f, 0xb0)),
    ("mimalloc", RGBColor(0xd6, 0x45, 0x3d)),
];

/// Returns an allocator's colour.
fn color(name: &str) -> RGBColor {
    let known = COLORS.iter().find(|(of, _)| *of == name);
    known.map_or(GREY, |(_, color)| *color)
}

/// Returns the style of a panel's title.
fn heading() -> TextStyle<'static> {
    let font = ("sans-serif", 15).into_font();
    font.style(FontStyle::Bold).color(&BLACK)
}

/// The title of the picture, by which [`KIND`] recognizes the file.
const TITLE: &str = "slablab on the host: nanoseconds, and memory";

/// The kind of file of the picture. An existing file of another kind is not overwritten.
pub(crate) const KIND: FileKind = FileKind {
    name: "a picture of bench-host",
    is: |bytes| {
        let text = String::from_utf8_lossy(bytes);
        text.starts_with("<svg") && text.contains(TITLE)
    },
};

/// Draws the picture, and returns its SVG.
///
/// # Errors
///
/// Fails when the drawing library fails.
pub(crate) fn draw(results: &Results) -> anyhow::Result<String> {
    let mut svg = String::new();
    draw_to(&mut svg, results).map_err(|error| anyhow!("cannot draw the picture: {error}"))?;
    Ok(svg)
}

/// Draws the picture to a string.
fn draw_to(svg: &mut String, results: &Results) -> Result<(), DrawError> {
    let panels = panels(results);
    let rows = panels.len().div_ceil(COLUMNS).max(1);
    let grid_height = rows as u32 * PANEL_HEIGHT;
    let size = (WIDTH, HEAD_HEIGHT + grid_height + LAST_HEIGHT);
    let root = SVGBackend::with_string(svg, size).into_drawing_area();
    root.fill(&WHITE)?;
    let (head, body) = root.split_vertically(HEAD_HEIGHT);
    let (grid, last) = body.split_vertically(grid_height);
    draw_head(&head, results)?;
    for (area, bars) in grid.split_evenly((rows, COLUMNS)).iter().zip(&panels) {
        bars.draw(area)?;
    }
    let (wide, narrow) = last.split_horizontally(WIDTH * 2 / 3);
    lines::draw(&wide, results)?;
    let utilisations = [
        (
            "twelve",
            "Utilisation: twelve patterns at alignment 16, mean, %",
        ),
        ("small", "Utilisation: small pools at alignment 16, mean, %"),
    ];
    for (area, (group, title)) in narrow.split_evenly((2, 1)).iter().zip(utilisations) {
        used(results, group, title).draw(area)?;
    }
    root.present()
}

/// Draws the title and the legend.
fn draw_head(area: &Area<'_>, results: &Results) -> Result<(), DrawError> {
    let about = &results.about;
    let quick = if about.quick {
        " · a quick run with meaningless times"
    } else {
        ""
    };
    let facts = format!(
        "{} · {} · Linux {} · {} interleaved repetitions, medians{quick}",
        about.date, about.processor, about.kernel, about.repetitions
    );
    let legend = "Bars: thread-safe allocators, including the loop. Black marks: the same without a lock \
                  (utilisation: with metadata outside the pool). Grey lines: the loop alone (utilisation: \
                  the bound). »: the bar is cut off.";
    let title = ("sans-serif", 26).into_font().style(FontStyle::Bold);
    area.draw(&Text::new(TITLE, (24, 18), title.color(&BLACK)))?;
    for (text, y) in [(&*facts, 56), (legend, 78)] {
        let style = ("sans-serif", 14).with_color(GREY).into_text_style(area);
        area.draw(&Text::new(text, (24, y), style))?;
    }
    Ok(())
}

/// Returns the panels of the patterns.
fn panels(results: &Results) -> Vec<Bars> {
    let times = results.times.iter();
    let times = times.filter(|row| !row.pattern.starts_with("class-"));
    let times = times.map(|row| {
        let (title, value) = (format!("{}, ns", row.title), |place: usize| {
            Some(row.cells[place].as_ref()?.nanoseconds.median)
        });
        panel(results, title, value)
    });
    let frees = results.frees.iter().map(|row: &PatternRow<_>| {
        let (title, value) = (format!("{}: p99, ns", row.title), |place: usize| {
            Some(row.cells[place].as_ref()?.p99)
        });
        panel(results, title, value)
    });
    times.chain(frees).collect()
}

/// Returns a panel of times, with the baseline as a line.
fn panel(results: &Results, title: String, value: impl Fn(usize) -> Option<f64>) -> Bars {
    let all = || results.allocators.iter().enumerate();
    let bars = all().filter(|(_, of)| of.threads && !of.baseline);
    let bars = bars.map(|(place, of)| {
        let alone = format!("{} (no lock)", of.name);
        Bar {
            name: of.name.clone(),
            value: value(place),
            mark: results.place(&alone).and_then(&value),
            text: value(place).map_or_else(|| "timeout".into(), figure),
        }
    });
    Bars {
        title,
        bars: bars.collect(),
        line: all()
            .find(|(_, of)| of.baseline)
            .and_then(|(place, _)| value(place)),
        longest: None,
    }
}

/// Returns a panel of mean utilisations in per cent at alignment 16, with the bound as a line.
fn used(results: &Results, group: &str, title: &str) -> Bars {
    let pools = results.allocators.iter().enumerate();
    let pools = pools.filter(|(_, of)| of.threads && of.pool);
    let bars = pools.map(|(place, of)| {
        let used = means::of(results, group, 16, place);
        Bar {
            name: of.name.clone(),
            value: used.map(|of| of.utilisation * 100.0),
            mark: used.map(|of| of.with_metadata * 100.0),
            text: used.map_or_else(
                || "–".into(),
                |of| format!("{:.1} %", of.utilisation * 100.0),
            ),
        }
    });
    Bars {
        title: title.into(),
        bars: bars.collect(),
        line: means::bound(results, group, 16).map(|bound| bound * 100.0),
        longest: Some(100.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the SVG of a panel with these bars.
    fn panel_of(names: &[&str]) -> String {
        let bar = |name: &&str| Bar {
            name: (*name).into(),
            value: Some(10.0),
            mark: Some(9.0),
            text: format!("text of {name}"),
        };
        let bars = Bars {
            title: "a title".into(),
            bars: names.iter().map(bar).collect(),
            line: Some(5.0),
            longest: None,
        };
        let mut svg = String::new();
        let area = SVGBackend::with_string(&mut svg, (500, 300)).into_drawing_area();
        bars.draw(&area).unwrap();
        area.present().unwrap();
        drop(area);
        svg
    }

    #[test]
    fn a_panel_shows_the_name_and_text_of_every_bar() {
        for names in [&[][..], &["hybrid"], &["hybrid", "seed", "talc"]] {
            let svg = panel_of(names);
            assert!(svg.contains("a title"));
            for name in names {
                assert!(svg.lines().any(|line| line == *name), "{name} in {svg}");
                assert!(svg.contains(&format!("text of {name}")), "{name} in {svg}");
            }
        }
    }
}
