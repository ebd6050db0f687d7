// SPDX-License-Identifier: GPL-2.0

//! Draws a pool: one row for the whole pool, and one row for the part in which a test failed.
//!
//! ```text
//! 0x0       ██▒·····························································
//!           └┘ this part is drawn below; a column is 1,024 bytes here, 8 bytes there
//! 0x0       █████▓▓▓▓█████···················································
//!                    └───┘ the new block
//!                    ▲ 0x48 belongs to a live block
//! ```

use std::ops::Range;

/// The columns of a row.
const COLUMNS: u64 = 64;

/// The columns in front of a row, which show the offset of its first byte.
const MARGIN: usize = 9;

/// The longest line.
const WIDTH: usize = 80;

/// The smallest number of bytes of a column: blocks begin at its multiples.
const COLUMN_BYTES_MIN: u64 = 8;

/// The meaning of the symbols.
const LEGEND: &str = "█ ▓ live blocks  ▒ live in part  · free ";

/// The contents of a picture.
#[derive(Clone, Debug, Default)]
pub struct Scene {
    /// The bytes of the pool.
    pub pool_bytes: u64,
    /// The live blocks, in the order of their offsets.
    pub live: Vec<Range<u64>>,
    /// The block of which the failure speaks, and its name.
    pub block: Option<(Range<u64>, String)>,
    /// The offset of the failure, and what is wrong there.
    pub mark: Option<(u64, String)>,
}

/// A row: columns of `column_bytes` bytes from `start` on.
#[derive(Clone, Copy)]
struct Row {
    start: u64,
    column_bytes: u64,
    columns: u64,
    /// Whether neighbouring blocks get different symbols.
    in_turn: bool,
}

impl Scene {
    /// Returns the picture, with a newline at the end of each line.
    #[must_use]
    pub fn draw(&self) -> String {
        let column_bytes = self.pool_bytes.div_ceil(COLUMNS).max(COLUMN_BYTES_MIN);
        let whole = Row {
            start: 0,
            column_bytes,
            columns: self.pool_bytes.div_ceil(column_bytes),
            in_turn: false,
        };
        let mut lines = vec![self.heading(), self.row(whole)];
        match self.zoom(&whole) {
            None => {
                lines.extend(self.annotations(whole));
                lines.push(format!("{LEGEND}   a column: {column_bytes} bytes"));
            }
            Some(zoom) => {
                let part = zoom.start..zoom.start + zoom.columns * zoom.column_bytes;
                lines.extend(annotation(
                    whole,
                    &part,
                    ['└', '─', '┘', '└'],
                    "this part is drawn below",
                ));
                lines.push(self.row(zoom));
                lines.extend(self.annotations(zoom));
                lines.push(format!(
                    "{LEGEND}   a column: {column_bytes} bytes, then {}",
                    zoom.column_bytes
                ));
            }
        }
        lines.join("\n") + "\n"
    }

    fn heading(&self) -> String {
        let bytes: u64 = self.live.iter().map(|block| block.end - block.start).sum();
        let (pool, count) = (self.pool_bytes, self.live.len());
        let plural = if count == 1 { "" } else { "s" };
        format!(
            "The pool of {pool} bytes at that moment: {count} live block{plural} with {bytes} bytes"
        )
    }

    /// Returns the row that shows the place of the failure, unless the whole pool shows it well enough.
    fn zoom(&self, whole: &Row) -> Option<Row> {
        let mut points = Vec::new();
        if let Some((block, _)) = &self.block {
            points.extend([block.start, block.end]);
        }
        points.extend(self.mark.iter().map(|(offset, _)| *offset));
        let points = points.iter().map(|point| (*point).min(self.pool_bytes));
        let (first, last) = (points.clone().min()?, points.max()?);
        let mut column_bytes = COLUMN_BYTES_MIN;
        // A quarter of the columns shows the neighbours.
        while COLUMNS * column_bytes / 4 * 3 < last - first {
            column_bytes *= 2;
        }
        if column_bytes * 2 > whole.column_bytes {
            return None;
        }
        let middle = first + (last - first) / 2;
        let bytes = COLUMNS * column_bytes;
        let start = middle
            .saturating_sub(bytes / 2)
            .min(self.pool_bytes - bytes);
        Some(Row {
            start: start / column_bytes * column_bytes,
            column_bytes,
            columns: COLUMNS,
            in_turn: true,
        })
    }

    /// Draws a row.
    fn row(&self, row: Row) -> String {
        let mut line = format!("{:<MARGIN$} ", format!("{:#x}", row.start));
        for column in 0..row.columns {
            let begin = row.start + column * row.column_bytes;
            let end = (begin + row.column_bytes).min(self.pool_bytes);
            line.push(self.symbol(begin..end, row.in_turn));
        }
        line
    }

    fn symbol(&self, bytes: Range<u64>, in_turn: bool) -> char {
        let mut live = 0;
        let mut only = None;
        // The live blocks are disjoint and sorted, so those that share bytes with the column stand together.
        let first = self.live.partition_point(|block| block.end <= bytes.start);
        for (index, block) in self.live.iter().enumerate().skip(first) {
            if block.start >= bytes.end {
                break;
            }
            live += block.end.min(bytes.end) - block.start.max(bytes.start);
            only = Some(index);
        }
        match (live, only) {
            (0, _) => '·',
            (live, _) if live < bytes.end - bytes.start => '▒',
            (_, Some(index)) if in_turn && index % 2 == 1 => '▓',
            _ => '█',
        }
    }

    /// Returns the lines below a row that name the block and the place of the failure.
    fn annotations(&self, row: Row) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some((block, name)) = &self.block {
            lines.extend(annotation(row, block, ['└', '─', '┘', '└'], name));
        }
        if let Some((offset, text)) = &self.mark {
            let place = *offset..offset.saturating_add(1);
            lines.extend(annotation(row, &place, ['▲', '▲', '▲', '▲'], text));
        }
        lines
    }
}

/// Returns lines below a row that show a range of bytes and name it. `[first, middle, last, single]` are the symbols.
fn annotation(
    row: Row,
    bytes: &Range<u64>,
    [first, middle, last, single]: [char; 4],
    name: &str,
) -> Vec<String> {
    // A place behind the row is shown one column behind it.
    let column = |offset: u64| {
        let column = offset.saturating_sub(row.start) / row.column_bytes;
        column.min(row.columns) as usize
    };
    let (begin, end) = (
        column(bytes.start),
        column(bytes.end.saturating_sub(1)).max(column(bytes.start)),
    );
    let symbols: String = match end - begin {
        0 => single.to_string(),
        between => {
            let middle: String = std::iter::repeat_n(middle, between - 1).collect();
            format!("{first}{middle}{last}")
        }
    };
    let indent = MARGIN + 1 + begin;
    let behind = MARGIN + 2 + end;
    let length = name.chars().count();
    if behind + 1 + length <= WIDTH {
        vec![format!("{:indent$}{symbols} {name}", "")]
    } else if length < indent {
        vec![format!("{name:>before$} {symbols}", before = indent - 1)]
    } else {
        vec![
            format!("{:indent$}{symbols}", ""),
            format!("{:MARGIN$} {name}", ""),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_shows_the_pool_and_the_place_of_the_failure() {
        let scene = Scene {
            pool_bytes: 64 << 10,
            live: vec![0..24, 24..64, 64..1024, 0x1000..0x3000],
            block: Some((0x28..0x68, "the new block".to_owned())),
            mark: Some((0x28, "0x28 is not a multiple of 64".to_owned())),
        };
        let expected = "\
The pool of 65536 bytes at that moment: 4 live blocks with 9216 bytes
0x0       █···████████····················································
          └ this part is drawn below
0x0       ███▓▓▓▓▓████████████████████████████████████████████████████████
               └──────┘ the new block
               ▲ 0x28 is not a multiple of 64
█ ▓ live blocks  ▒ live in part  · free    a column: 1024 bytes, then 8
";
        assert_eq!(scene.draw(), expected);
    }

    #[test]
    fn a_place_behind_the_pool_is_shown_behind_the_row() {
        let scene = Scene {
            pool_bytes: 64 << 10,
            live: std::iter::once(0xffc0..0x10000).collect(),
            block: None,
            mark: Some((0x10000, "the pool ends here".to_owned())),
        };
        let picture = scene.draw();
        let lines: Vec<&str> = picture.lines().collect();
        assert_eq!(
            lines[3],
            format!("0xfe00    {}{}", "·".repeat(56), "█".repeat(8))
        );
        assert_eq!(lines[4], format!("{:>73} ▲", "the pool ends here"));
    }

    #[test]
    fn every_line_is_short_and_every_byte_is_shown() {
        for pool_bytes in [4096, 64 << 10, 96 << 10, 1 << 20] {
            for offset in [
                0,
                8,
                4096 - 8,
                pool_bytes / 2,
                pool_bytes - 8,
                pool_bytes,
                u64::MAX,
            ] {
                let scene = Scene {
                    pool_bytes,
                    live: std::iter::once(0..pool_bytes / 2).collect(),
                    block: Some((
                        offset..offset.saturating_add(4096),
                        "a block with a long name".to_owned(),
                    )),
                    mark: Some((offset, "a text about the place of the failure".to_owned())),
                };
                let picture = scene.draw();
                let lines = picture.lines();
                assert!(lines.clone().count() <= 12, "{picture}");
                for line in lines {
                    assert!(line.chars().count() <= 80, "{line}");
                }
                assert_eq!(scene.symbol(0..8, false), '█');
                assert_eq!(
                    scene.symbol(pool_bytes / 2 - 8..pool_bytes / 2 + 8, false),
                    '▒'
                );
                assert_eq!(scene.symbol(pool_bytes - 8..pool_bytes, false), '·');
            }
        }
    }
}
