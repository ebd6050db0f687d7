// SPDX-License-Identifier: GPL-2.0

//! The picture: what was measured, side by side.
//!
//! One panel a pattern, in the same order and colours everywhere. Short bars are good but for
//! utilisation. A bar that would make the others unreadable is cut off and says so.

mod bars;
mod canvas;
mod lines;

use slablab_report::{
    figure,
    files::Kind, //
};

use self::{
    bars::{
        Bar,
        Bars, //
    },
    canvas::{
        Canvas,
        Frame,
        GREY,
        Ink, //
    },
};
use crate::{
    results::{
        Results,
        Row, //
    },
    targets::utilisation,
};

/// Pixels.
const WIDTH: i32 = 1500;
const MARGIN: i32 = 36;
const HEAD: i32 = 112;
const GAP: i32 = 30;
const COLUMNS: i32 = 3;
const PANEL_HEIGHT: i32 = 262;
const LAST_HEIGHT: i32 = 380;

/// Each allocator's colour, the same in every panel.
const INKS: [(&str, Ink); 8] = [
    ("hybrid", Ink(0x0b, 0x5f, 0xa5)),
    ("seed", Ink(0x86, 0xb8, 0xe0)),
    ("buddy", Ink(0x8d, 0x6e, 0x63)),
    ("talc", Ink(0xe0, 0x9f, 0x1f)),
    ("rlsf", Ink(0x2e, 0x9e, 0x6b)),
    ("llist", Ink(0xa5, 0xa8, 0xab)),
    ("glibc", Ink(0x8e, 0x5f, 0xb0)),
    ("mimalloc", Ink(0xd6, 0x45, 0x3d)),
];

/// Returns an allocator's colour.
fn ink(name: &str) -> Ink {
    let known = INKS.iter().find(|(of, _)| *of == name);
    known.map_or(GREY, |(_, ink)| *ink)
}

/// The title, by which the picture is known again.
const TITLE: &str = "slablab on the host: nanoseconds, and memory";

/// The pictures: no other file is overwritten.
pub(crate) const KIND: Kind = Kind {
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
/// What the drawing library says.
pub(crate) fn draw(results: &Results) -> anyhow::Result<String> {
    let mut svg = String::new();
    let panels = panels(results);
    let rows = (panels.len() as i32 + COLUMNS - 1) / COLUMNS;
    let last = HEAD + rows * (PANEL_HEIGHT + GAP);
    let canvas = Canvas::new(&mut svg, WIDTH, last + LAST_HEIGHT + MARGIN)?;
    head(&canvas, results)?;
    let width = (WIDTH - 2 * MARGIN - (COLUMNS - 1) * GAP) / COLUMNS;
    let column = |index: i32| MARGIN + index * (width + GAP);
    for (index, bars) in panels.iter().enumerate() {
        let index = index as i32;
        let top = HEAD + index / COLUMNS * (PANEL_HEIGHT + GAP);
        let frame = Frame::new(column(index % COLUMNS), top, width, PANEL_HEIGHT);
        bars.draw(&canvas, &frame)?;
    }
    let wide = Frame::new(MARGIN, last, 2 * width + GAP, LAST_HEIGHT);
    lines::draw(&canvas, &wide, results)?;
    let narrow = Frame::new(column(2), last, width, LAST_HEIGHT);
    for (half, (family, title, target)) in [
        ("classic", "Utilisation: 11 classic traces, mean", 0.92),
        ("newer", "Utilisation: 16 newer traces, mean", 0.80),
    ]
    .into_iter()
    .enumerate()
    {
        let bars = used(results, family, title, target);
        bars.draw(&canvas, &narrow.half(half as i32))?;
    }
    canvas.done()?;
    drop(canvas);
    Ok(svg)
}

/// Writes the title and what the signs mean.
fn head(canvas: &Canvas<'_>, results: &Results) -> anyhow::Result<()> {
    let about = &results.about;
    let quick = if about.quick {
        " · a quick run, which measures nothing"
    } else {
        ""
    };
    canvas.title(TITLE, MARGIN, 24)?;
    let line = format!(
        "{} · {} · Linux {} · {} interleaved repetitions, medians{quick}",
        about.date, about.processor, about.kernel, about.repetitions
    );
    canvas.text(&line, MARGIN, 62, GREY)?;
    let line = "Bars: each allocator as it is safe with threads, the loop included. Black marks: \
                the same without its lock (of utilisation, with tables beside the pool counted). \
                Dotted: the loop alone (the target). »: cut off.";
    canvas.text(line, MARGIN, 82, GREY)
}

/// Makes the panels of patterns.
fn panels(results: &Results) -> Vec<Bars> {
    let times = results.times.iter();
    let times = times.filter(|row| !row.pattern.starts_with("class-"));
    let times = times.map(|row| {
        let (title, value) = (format!("{}, ns", row.title), |place: usize| {
            Some(row.cells[place].as_ref()?.nanoseconds.median)
        });
        panel(results, title, value)
    });
    let frees = results.frees.iter().map(|row: &Row<_>| {
        let (title, value) = (format!("{}: p99, ns", row.title), |place: usize| {
            Some(row.cells[place].as_ref()?.p99)
        });
        panel(results, title, value)
    });
    times.chain(frees).collect()
}

/// Makes a panel of times.
fn panel(results: &Results, title: String, value: impl Fn(usize) -> Option<f64>) -> Bars {
    let all = || results.allocators.iter().enumerate();
    let bars = all().filter(|(_, of)| of.threads && !of.baseline);
    let bars = bars.map(|(place, of)| {
        let alone = format!("{} (no lock)", of.name);
        Bar {
            name: of.name.clone(),
            value: value(place),
            mark: results.place(&alone).and_then(&value),
            text: value(place).map_or_else(|| "too slow to wait for".into(), figure),
        }
    });
    Bars {
        title,
        bars: bars.collect(),
        line: all()
            .find(|(_, of)| of.baseline)
            .and_then(|(place, _)| value(place)),
        full: None,
    }
}

/// Makes a panel of utilisations.
fn used(results: &Results, family: &str, title: &str, target: f64) -> Bars {
    let pools = results.allocators.iter().enumerate();
    let pools = pools.filter(|(_, of)| of.threads && of.pool);
    let bars = pools.map(|(place, of)| {
        let used = utilisation(results, family, place);
        Bar {
            name: of.name.clone(),
            value: used.map(|(pool, _)| pool),
            mark: used.map(|(_, all)| all),
            text: used.map_or_else(|| "–".into(), |(pool, _)| format!("{:.1} %", pool * 100.0)),
        }
    });
    Bars {
        title: title.into(),
        bars: bars.collect(),
        line: Some(target),
        full: Some(1.0),
    }
}
