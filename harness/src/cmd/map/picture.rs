// SPDX-License-Identifier: GPL-2.0

//! A map as text: one character per page or group of pages, then tables by class and size.

use std::{
    collections::BTreeMap,
    fmt::Write as _, //
};

use anstyle::{
    AnsiColor,
    Style, //
};

use crate::{
    map::{
        GRANULES,
        PoolMap,
        RegionMap,
        Use,
        object_bytes, //
    },
    report::{
        Side,
        Table,
        bytes,
        count, //
    },
};

/// The maximum number of rows of a region.
const ROWS_MAX: usize = 32;

/// The maximum number of characters in a row.
const CELLS_MAX: usize = 128;

/// The number of columns in front of a row, which contain the number of its first page.
const MARGIN: usize = 9;

/// The letters of classes, smallest first.
const LETTERS: &[u8; 40] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMN";

const FREE: Style = Style::new().dimmed();
const LARGE: Style = AnsiColor::Blue.on_default().bold();
const FULL: Style = AnsiColor::Green.on_default().bold();
const PARTIAL: Style = AnsiColor::Yellow.on_default();
const SPARSE: Style = AnsiColor::Red.on_default();

/// The use of the pages that a character stands for, unless all of them are free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Symbol {
    Large,
    Class(u8),
}

/// The pages and objects of one symbol among the pages of a character.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    pages: u32,
    objects: u32,
    used: u32,
}

/// The pages that share a character, by symbol.
type PageCell = BTreeMap<Symbol, Share>;

/// Returns the letter of a class.
fn letter(class: u8) -> char {
    if class == GRANULES {
        return '+';
    }
    LETTERS
        .get(usize::from(class))
        .map_or('?', |letter| char::from(*letter))
}

/// Returns the largest power of two that is not above `number`, which is not 0.
fn power_of_two(number: usize) -> usize {
    1 << number.ilog2()
}

/// Draws a map for a terminal of `width` columns; `classes` are the bytes of the classes' objects. With `has_granules` the
/// engine knows live and free memory only.
pub(super) fn draw(map: &PoolMap, classes: &[u64], has_granules: bool, width: usize) -> String {
    let mut text = String::new();
    for (number, region) in map.regions.iter().enumerate() {
        text += &draw_region(number, region, map.page_bytes, width);
        text.push('\n');
    }
    if has_granules {
        text += &granule_legend();
        text.push('\n');
        return text + &granule_summary(map);
    }
    text += &legend();
    text.push('\n');
    text += &summary(map, classes);
    let by_class = class_table(map, classes);
    let by_size = free_table(map);
    for table in [by_class, by_size].into_iter().flatten() {
        text.push('\n');
        text += &table;
    }
    text
}

/// Draws a region below a heading.
fn draw_region(number: usize, region: &RegionMap, page_bytes: u32, width: usize) -> String {
    let row = power_of_two(width.saturating_sub(MARGIN).clamp(8, CELLS_MAX));
    let pages = region.pages as usize;
    let each = pages.div_ceil(row * ROWS_MAX).next_power_of_two();
    let plural = if each == 1 { "" } else { "s" };
    let mut text = format!(
        "region {number}: {} pages, {}; one character is {each} page{plural}\n",
        count(pages as u64),
        bytes(u64::from(region.pages) * u64::from(page_bytes)),
    );
    for (index, cells) in cells(region, each).chunks(row).enumerate() {
        let _ = write!(text, "{:>width$}  ", index * row * each, width = MARGIN - 2);
        for cell in cells {
            let (symbol, style) = character(cell);
            let _ = write!(text, "{style}{symbol}{style:#}");
        }
        text.push('\n');
    }
    text
}

/// Cuts a region into groups of `each` pages.
fn cells(region: &RegionMap, each: usize) -> Vec<PageCell> {
    let mut cells = vec![PageCell::new(); (region.pages as usize).div_ceil(each)];
    for extent in &region.extents {
        let (symbol, objects, used) = match extent.what {
            Use::Free { .. } => continue,
            Use::Large => (Symbol::Large, 0, 0),
            Use::Slab {
                class,
                objects,
                used,
            } => (Symbol::Class(class), objects, used),
        };
        for page in extent.page..extent.page.saturating_add(extent.pages) {
            let Some(cell) = cells.get_mut(page as usize / each) else {
                break;
            };
            let share = cell.entry(symbol).or_default();
            share.pages += 1;
            share.objects += u32::from(objects);
            share.used += u32::from(used);
        }
    }
    cells
}

/// Returns the character of a group of pages: the symbol of most pages among those that are not free.
fn character(cell: &PageCell) -> (char, Style) {
    let most = cell.iter().rev().max_by_key(|(_, share)| share.pages);
    match most {
        None => ('.', FREE),
        Some((Symbol::Large, _)) => ('#', LARGE),
        Some((Symbol::Class(class), share)) => {
            let style = match share {
                Share { used: 0, .. } => FREE,
                Share { objects, used, .. } if used >= objects => FULL,
                Share { objects, used, .. } if used * 4 >= *objects => PARTIAL,
                _ => SPARSE,
            };
            (letter(*class), style)
        }
    }
}

/// Returns the legend of characters and colours.
fn legend() -> String {
    format!(
        "{FREE}.{FREE:#} free   {LARGE}#{LARGE:#} block of whole pages   \
         a b c … slabs, by class\n\
         colour of a slab: {FULL}green full{FULL:#}, {PARTIAL}yellow partly used{PARTIAL:#}, \
         {SPARSE}red less than a quarter used{SPARSE:#}, {FREE}grey empty{FREE:#}\n"
    )
}

/// Returns the legend of a map whose engine knows neither slabs nor blocks.
fn granule_legend() -> String {
    format!(
        "{FREE}.{FREE:#} free pages   {LARGE}#{LARGE:#} live pages   + pages with live and free memory\n\
         colour of +: {PARTIAL}yellow{PARTIAL:#}, or {SPARSE}red if less than a quarter is live{SPARSE:#}\n"
    )
}

/// Returns the line that splits the pool's bytes by use, if the engine knows neither slabs nor blocks.
fn granule_summary(map: &PoolMap) -> String {
    let (mut free, mut live, mut mixed, mut mixed_live) = (0, 0, 0, 0);
    for extent in map.extents() {
        let size = u64::from(extent.pages) * u64::from(map.page_bytes);
        match extent.what {
            Use::Free { .. } => free += size,
            Use::Large => live += size,
            Use::Slab { class, used, .. } => {
                mixed += size;
                mixed_live += u64::from(used) * object_bytes(&[], class);
            }
        }
    }
    format!(
        "{} = {} in live pages + {} in pages with live and free memory ({} live) + {} in free pages\n",
        bytes(free + live + mixed),
        bytes(live),
        bytes(mixed),
        percent(mixed_live, mixed),
        bytes(free),
    )
}

/// Returns a part of a whole in per cent.
fn percent(part: u64, whole: u64) -> String {
    format!("{} %", (part * 100).checked_div(whole).unwrap_or(0))
}

/// Returns the line that splits the pool's bytes by use.
fn summary(map: &PoolMap, classes: &[u64]) -> String {
    let (mut slabs, mut large, mut free, mut largest, mut objects) = (0, 0, 0, 0, 0);
    for extent in map.extents() {
        let size = u64::from(extent.pages) * u64::from(map.page_bytes);
        match extent.what {
            Use::Large => large += size,
            Use::Free { .. } => {
                free += size;
                largest = size.max(largest);
            }
            Use::Slab { class, used, .. } => {
                slabs += size;
                objects += u64::from(used) * object_bytes(classes, class);
            }
        }
    }
    format!(
        "{} = {} in slabs ({} used) + {} in page blocks + {} free (largest block: {})\n",
        bytes(slabs + large + free),
        bytes(slabs),
        percent(objects, slabs),
        bytes(large),
        bytes(free),
        bytes(largest),
    )
}

/// Returns the figures of each class that has slabs.
fn class_table(map: &PoolMap, classes: &[u64]) -> Option<String> {
    let mut sums: BTreeMap<u8, [u64; 4]> = BTreeMap::new();
    for extent in map.extents() {
        if let Use::Slab {
            class,
            objects,
            used,
        } = extent.what
        {
            let more = [1, extent.pages.into(), objects.into(), used.into()];
            let sum = sums.entry(class).or_default();
            for (sum, more) in sum.iter_mut().zip(more) {
                *sum += more;
            }
        }
    }
    let mut table = Table::new([
        ("", Side::Left),
        ("class", Side::Right),
        ("slabs", Side::Right),
        ("pages", Side::Right),
        ("objects", Side::Right),
        ("used", Side::Right),
        ("fill", Side::Right),
    ]);
    for (class, [slabs, pages, objects, used]) in &sums {
        table.row([
            letter(*class).to_string().into(),
            bytes(object_bytes(classes, *class)).into(),
            count(*slabs).into(),
            count(*pages).into(),
            count(*objects).into(),
            count(*used).into(),
            percent(*used, *objects).into(),
        ]);
    }
    (!sums.is_empty()).then(|| table.to_string())
}

/// Returns how many blocks of each size are free.
fn free_table(map: &PoolMap) -> Option<String> {
    let mut sums: BTreeMap<u8, (u64, u64)> = BTreeMap::new();
    for extent in map.extents() {
        if let Use::Free { order } = extent.what {
            let sum = sums.entry(order).or_default();
            sum.0 += 1;
            sum.1 += u64::from(extent.pages) * u64::from(map.page_bytes);
        }
    }
    let mut table = Table::new([
        ("block size", Side::Right),
        ("free blocks", Side::Right),
        ("free bytes", Side::Right),
    ]);
    for (number, size) in sums.values() {
        table.row([
            bytes(size / number).into(),
            count(*number).into(),
            bytes(*size).into(),
        ]);
    }
    (!sums.is_empty()).then(|| table.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        map::Extent,
        report::plain,
        sim::Sim,
        uapi::Engine, //
    };

    /// The bytes of the objects of the first classes.
    const CLASSES: [u64; 4] = [8, 16, 24, 3072];

    /// Creates a region of blocks that follow each other.
    fn region(blocks: &[(u32, Use)]) -> RegionMap {
        let mut extents = Vec::new();
        let mut page = 0;
        for (pages, what) in blocks.iter().copied() {
            extents.push(Extent { page, pages, what });
            page += pages;
        }
        RegionMap {
            pages: page,
            extents,
        }
    }

    fn slab(class: u8, objects: u16, used: u16) -> Use {
        Use::Slab {
            class,
            objects,
            used,
        }
    }

    fn example() -> PoolMap {
        PoolMap {
            page_bytes: 4096,
            regions: vec![region(&[
                (1, slab(0, 512, 512)),
                (1, slab(1, 256, 3)),
                (2, Use::Free { order: 1 }),
                (3, slab(3, 4, 2)),
                (1, slab(0, 512, 0)),
                (5, Use::Large),
                (1, Use::Free { order: 0 }),
                (2, Use::Free { order: 1 }),
                (16, Use::Free { order: 4 }),
            ])],
        }
    }

    #[test]
    fn a_map_is_drawn_page_by_page() {
        assert_eq!(
            plain(&draw(&example(), &CLASSES, false, 80)),
            "\
region 0: 32 pages, 128 KiB; one character is 1 page
      0  ab..ddda#####...................

. free   # block of whole pages   a b c … slabs, by class
colour of a slab: green full, yellow partly used, red less than a quarter used, grey empty

128 KiB = 24 KiB in slabs (41 % used) + 20 KiB in page blocks + 84 KiB free (largest block: 64 KiB)

   class  slabs  pages  objects  used  fill
a    8 B      2      2    1,024   512  50 %
b   16 B      1      1      256     3   1 %
d  3 KiB      1      3        4     2  50 %

block size  free blocks  free bytes
     4 KiB            1       4 KiB
     8 KiB            2      16 KiB
    64 KiB            1      64 KiB
"
        );
    }

    #[test]
    fn a_map_of_granules_names_no_slabs() {
        let map = PoolMap {
            page_bytes: 4096,
            regions: vec![region(&[
                (2, Use::Large),
                (1, slab(GRANULES, 512, 128)),
                (1, Use::Free { order: 0 }),
            ])],
        };
        assert_eq!(
            plain(&draw(&map, &[], true, 80)),
            "\
region 0: 4 pages, 16 KiB; one character is 1 page
      0  ##+.

. free pages   # live pages   + pages with live and free memory
colour of +: yellow, or red if less than a quarter is live

16 KiB = 8 KiB in live pages + 4 KiB in pages with live and free memory (25 % live) + 4 KiB in free pages
"
        );
    }

    #[test]
    fn a_narrow_terminal_has_more_rows() {
        let text = plain(&draw_region(7, &example().regions[0], 4096, 20));
        assert_eq!(
            text,
            "region 7: 32 pages, 128 KiB; one character is 1 page\n      \
             0  ab..ddda\n      8  #####...\n     16  ........\n     24  ........\n"
        );
        // Narrower terminals get rows of eight characters, too.
        assert_eq!(plain(&draw_region(7, &example().regions[0], 4096, 0)), text);
    }

    #[test]
    fn a_large_region_has_several_pages_to_a_character() {
        let pages = 64 * ROWS_MAX as u32;
        let what = [
            (3, slab(2, 170, 1)),
            (5, Use::Large),
            (1, slab(2, 170, 1)),
            (3, Use::Free { order: 0 }),
            (pages * 4 - 12, Use::Free { order: 0 }),
        ];
        let text = plain(&draw_region(0, &region(&what), 4096, 80));
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].ends_with("one character is 4 pages"), "{text}");
        // A used page hides free ones; among used ones the most frequent use is shown.
        assert_eq!(lines[1], format!("      0  c#c{}", ".".repeat(61)));
        assert_eq!(lines[2], format!("    256  {}", ".".repeat(64)));
        assert_eq!(lines.len(), 1 + ROWS_MAX);
    }

    #[test]
    fn colours_say_how_full_a_slab_is() {
        let styles = |used| {
            let cell = cells(&region(&[(1, slab(0, 8, used))]), 1);
            character(&cell[0])
        };
        let expected = [
            (0, FREE),
            (1, SPARSE),
            (2, PARTIAL),
            (7, PARTIAL),
            (8, FULL),
        ];
        for (used, style) in expected {
            assert_eq!(styles(used), ('a', style));
        }
        assert_eq!(letter(31), 'F');
        assert_eq!(letter(254), '?');
    }

    #[test]
    fn extents_that_lie_outside_of_their_region_are_cut_off() {
        let mut region = region(&[(4, Use::Free { order: 2 })]);
        region.extents.push(Extent {
            page: 3,
            pages: u32::MAX,
            what: Use::Large,
        });
        assert!(plain(&draw_region(0, &region, 4096, 80)).ends_with("      0  ...#\n"));
    }

    #[test]
    fn the_demo_of_a_seed_is_always_the_same() {
        let draw_demo = |seed| {
            let sim = Sim::private(Engine::Hybrid, 1 << 20).unwrap();
            super::super::demo::fill(&sim, seed).unwrap();
            let map = PoolMap::read(&sim).unwrap();
            draw(&map, &super::super::class_bytes(&sim).unwrap(), false, 80)
        };
        let first = draw_demo(1);
        assert_eq!(draw_demo(1), first);
        assert_ne!(draw_demo(2), first);
        let text = plain(&first);
        for part in ["#", ".", "block size  free blocks", "class  slabs"] {
            assert!(text.contains(part), "{text}");
        }
    }
}
