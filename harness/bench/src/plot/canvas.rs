// SPDX-License-Identifier: GPL-2.0

//! Text, boxes and lines, in pixels.

use std::fmt;

use anyhow::anyhow;
use plotters::{
    coord::Shift,
    prelude::{
        DrawingArea,
        IntoDrawingArea,
        PathElement,
        RGBColor,
        Rectangle,
        SVGBackend,
        Text,
        WHITE, //
    },
    style::{
        Color,
        FontStyle,
        IntoFont,
        ShapeStyle,
        text_anchor::{
            HPos,
            Pos,
            VPos, //
        }, //
    },
};

/// A colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ink(pub(super) u8, pub(super) u8, pub(super) u8);

/// What is text.
pub(super) const BLACK: Ink = Ink(0x20, 0x24, 0x28);

/// What is beside the point.
pub(super) const GREY: Ink = Ink(0x6a, 0x70, 0x76);

/// What only guides the eye.
pub(super) const PALE: Ink = Ink(0xe4, 0xe7, 0xea);

impl Ink {
    fn solid(self) -> RGBColor {
        RGBColor(self.0, self.1, self.2)
    }
}

/// Where on the canvas something is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub(super) left: i32,
    pub(super) top: i32,
    pub(super) width: i32,
    pub(super) height: i32,
}

impl Frame {
    /// Returns a frame.
    pub(super) fn new(left: i32, top: i32, width: i32, height: i32) -> Self {
        Self {
            left,
            top,
            width,
            height,
        }
    }

    /// Returns the upper half, or the lower.
    pub(super) fn half(self, half: i32) -> Self {
        let height = self.height / 2;
        Self {
            top: self.top + half * height,
            height,
            ..self
        }
    }
}

/// How text stands at its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    /// It begins there.
    Begin,
    /// Its middle is there.
    Middle,
    /// It ends there.
    End,
}

/// A picture that is being drawn.
pub(super) struct Canvas<'text>(DrawingArea<SVGBackend<'text>, Shift>);

/// Makes an error of what the drawing library says, which borrows.
fn told(error: impl fmt::Display) -> anyhow::Error {
    anyhow!("the picture: {error}")
}

impl<'text> Canvas<'text> {
    /// Begins a picture, whose SVG becomes the text.
    pub(super) fn new(to: &'text mut String, width: i32, height: i32) -> anyhow::Result<Self> {
        let size = (width as u32, height as u32);
        let area = SVGBackend::with_string(to, size).into_drawing_area();
        area.fill(&WHITE).map_err(told)?;
        Ok(Self(area))
    }

    /// Completes the text.
    pub(super) fn done(&self) -> anyhow::Result<()> {
        self.0.present().map_err(told)
    }

    fn write(&self, text: &str, at: (i32, i32), style: Lettering) -> anyhow::Result<()> {
        let horizontal = match style.anchor {
            Anchor::Begin => HPos::Left,
            Anchor::Middle => HPos::Center,
            Anchor::End => HPos::Right,
        };
        let font = ("sans-serif", style.size).into_font();
        let font = if style.bold {
            font.style(FontStyle::Bold)
        } else {
            font
        };
        let style = font
            .color(&style.ink.solid())
            .pos(Pos::new(horizontal, VPos::Center));
        let text = Text::new(text.to_owned(), at, style);
        self.0.draw(&text).map_err(told)
    }

    /// Writes the picture's title.
    pub(super) fn title(&self, text: &str, x: i32, y: i32) -> anyhow::Result<()> {
        self.write(
            text,
            (x, y + 6),
            Lettering::new(26, BLACK, true, Anchor::Begin),
        )
    }

    /// Writes a panel's title.
    pub(super) fn heading(&self, text: &str, x: i32, y: i32) -> anyhow::Result<()> {
        self.write(text, (x, y), Lettering::new(15, BLACK, true, Anchor::Begin))
    }

    /// Writes a line of text.
    pub(super) fn text(&self, text: &str, x: i32, y: i32, ink: Ink) -> anyhow::Result<()> {
        self.write(text, (x, y), Lettering::new(14, ink, false, Anchor::Begin))
    }

    /// Writes a label.
    pub(super) fn label(
        &self,
        text: &str,
        at: (i32, i32),
        anchor: Anchor,
        ink: Ink,
        bold: bool,
    ) -> anyhow::Result<()> {
        self.write(text, at, Lettering::new(13, ink, bold, anchor))
    }

    /// Fills a box.
    pub(super) fn fill(&self, from: (i32, i32), to: (i32, i32), ink: Ink) -> anyhow::Result<()> {
        let shape = Rectangle::new([from, to], ink.solid().filled());
        self.0.draw(&shape).map_err(told)
    }

    /// Draws a line through points.
    pub(super) fn line(&self, points: Vec<(i32, i32)>, ink: Ink, width: u32) -> anyhow::Result<()> {
        let style = ShapeStyle::from(&ink.solid()).stroke_width(width);
        self.0.draw(&PathElement::new(points, style)).map_err(told)
    }

    /// Draws a dotted vertical line.
    pub(super) fn dotted(&self, x: i32, top: i32, bottom: i32) -> anyhow::Result<()> {
        for y in (top..bottom).step_by(6) {
            self.line(vec![(x, y), (x, y + 3)], GREY, 1)?;
        }
        Ok(())
    }
}

/// How text looks.
struct Lettering {
    size: i32,
    ink: Ink,
    bold: bool,
    anchor: Anchor,
}

impl Lettering {
    fn new(size: i32, ink: Ink, bold: bool, anchor: Anchor) -> Self {
        Self {
            size,
            ink,
            bold,
            anchor,
        }
    }
}
