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
    Mixed,
    Class(u8),
}

/// The pages of one symbol among the pages of a character, and how full they are: objects of slabs, or bytes of mixed
/// pages.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    pages: u32,
    total: u32,
    used: u32,
}

/// The pages that share a character, by symbol.
type PageCell = BTreeMap<Symbol, Share>;

/// Returns the letter of a class.
fn letter(class: u8) -> char {
    LETTERS
        .get(usize::from(class))
        .map_or('?', |letter| char::from(*letter))
}

/// The characters of mixed pages, emptiest first. Only a full page has the last one.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Returns the largest power of two that is not above `number`, which is not 0.
fn power_of_two(number: usize) -> usize {
    1 << number.ilog2()
}

/// Draws a map for a terminal of `width` columns; `classes` are the bytes of the classes' objects. Without `has_slabs`,
/// blocks of all sizes share pages.
pub(super) fn draw(map: &PoolMap, classes: &[u64], has_slabs: bool, width: usize) -> String {
    let mut text = String::new();
    for (number, region) in map.regions.iter().enumerate() {
        text += &draw_region(number, region, map.page_bytes, width);
        text.push('\n');
    }
    let legend = if has_slabs { legend } else { mixed_legend };
    text += &legend();
    text.push('\n');
    text += &if has_slabs {
        summary(map, classes)
    } else {
        mixed_summary(map)
    };
    let tables = [
        class_table(map, classes),
        mixed_table(map),
        free_table(map, has_slabs),
    ];
    for table in tables.into_iter().flatten() {
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
    for (index, cells) in cells(region, page_bytes, each).chunks(row).enumerate() {
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
fn cells(region: &RegionMap, page_bytes: u32, each: usize) -> Vec<PageCell> {
    let mut cells = vec![PageCell::new(); (region.pages as usize).div_ceil(each)];
    for extent in &region.extents {
        let (symbol, total, used) = match extent.what {
            Use::Free => continue,
            Use::Large => (Symbol::Large, 0, 0),
            Use::Slab {
                class,
                objects,
                used,
            } => (Symbol::Class(class), u32::from(objects), used),
            Use::Mixed { used_bytes, .. } => (Symbol::Mixed, page_bytes, used_bytes),
        };
        for page in extent.page..extent.page.saturating_add(extent.pages) {
            let Some(cell) = cells.get_mut(page as usize / each) else {
                break;
            };
            let share = cell.entry(symbol).or_default();
            share.pages += 1;
            share.total += total;
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
        Some((Symbol::Mixed, share)) => {
            let full = BARS.len() - 1;
            let part = u64::from(share.used) * full as u64 / u64::from(share.total.max(1));
            (BARS[full.min(part as usize)], share.style())
        }
        Some((Symbol::Class(class), share)) => (letter(*class), share.style()),
    }
}

impl Share {
    /// Returns the colour that says how full the pages are.
    fn style(&self) -> Style {
        match self {
            Self { used: 0, .. } => FREE,
            Self { total, used, .. } if used >= total => FULL,
            Self { total, used, .. } if used * 4 >= *total => PARTIAL,
            _ => SPARSE,
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

/// Returns the legend of a map in which blocks of all sizes share pages.
fn mixed_legend() -> String {
    format!(
        "{FREE}.{FREE:#} free pages   {LARGE}#{LARGE:#} pages of one block   \
         {} mixed pages, by their used bytes\n\
         colour of a mixed page: {FULL}green full{FULL:#}, {PARTIAL}yellow partly used{PARTIAL:#}, \
         {SPARSE}red less than a quarter used{SPARSE:#}\n",
        BARS.iter().collect::<String>()
    )
}

/// Returns the line that splits the pool's bytes by use, if blocks of all sizes share pages.
fn mixed_summary(map: &PoolMap) -> String {
    let (mut free, mut large, mut mixed, mut used) = (0, 0, 0, 0);
    for extent in map.extents() {
        let size = u64::from(extent.pages) * u64::from(map.page_bytes);
        match extent.what {
            Use::Free => free += size,
            Use::Large | Use::Slab { .. } => large += size,
            Use::Mixed { used_bytes, .. } => {
                mixed += size;
                used += u64::from(used_bytes);
            }
        }
    }
    format!(
        "{} = {} in mixed pages ({} used) + {} in pages of one block + {} in free pages\n",
        bytes(free + large + mixed),
        bytes(mixed),
        percent(used, mixed),
        bytes(large),
        bytes(free),
    )
}

/// Returns the mixed pages by how full they are.
fn mixed_table(map: &PoolMap) -> Option<String> {
    const NAMES: [&str; 5] = [
        "below 25 %",
        "25 to 49 %",
        "50 to 74 %",
        "75 to 99 %",
        "full",
    ];
    let mut sums = [[0_u64; 4]; NAMES.len()];
    let page_bytes = u64::from(map.page_bytes);
    for extent in map.extents() {
        if let Use::Mixed {
            blocks,
            used_bytes,
            largest_free_bytes,
        } = extent.what
        {
            let used = u64::from(used_bytes);
            let quarter = used * 4 / page_bytes.max(1);
            let [pages, begin, free, largest] = &mut sums[(quarter as usize).min(NAMES.len() - 1)];
            *pages += 1;
            *begin += u64::from(blocks);
            *free += page_bytes.saturating_sub(used);
            *largest = u64::from(largest_free_bytes).max(*largest);
        }
    }
    let mut table = Table::new([
        ("mixed pages", Side::Left),
        ("pages", Side::Right),
        ("blocks", Side::Right),
        ("free bytes", Side::Right),
        ("longest free run in a page", Side::Right),
    ]);
    for (name, [pages, begin, free, largest]) in NAMES.iter().zip(&sums).rev() {
        if *pages > 0 {
            table.row([
                (*name).into(),
                count(*pages).into(),
                // An engine that does not know its blocks reports 0.
                if *begin == 0 {
                    "-".into()
                } else {
                    count(*begin).into()
                },
                bytes(*free).into(),
                bytes(*largest).into(),
            ]);
        }
    }
    sums.iter()
        .any(|[pages, ..]| *pages > 0)
        .then(|| table.to_string())
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
            Use::Large | Use::Mixed { .. } => large += size,
            Use::Free => {
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

/// Returns how many blocks of each size are free or, without `has_slabs`, how many runs of whole pages are free, by their
/// length rounded down to a power of two.
fn free_table(map: &PoolMap, has_slabs: bool) -> Option<String> {
    let mut sums: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
    for extent in map.extents() {
        if extent.what == Use::Free && extent.pages > 0 {
            let sum = sums.entry(extent.pages.ilog2()).or_default();
            sum.0 += 1;
            sum.1 += u64::from(extent.pages) * u64::from(map.page_bytes);
        }
    }
    let names = if has_slabs {
        ["block size", "free blocks", "free bytes"]
    } else {
        ["free pages from", "runs", "free bytes"]
    };
    let mut table = Table::new(names.map(|name| (name, Side::Right)));
    for (order, (number, size)) in &sums {
        table.row([
            bytes(u64::from(map.page_bytes) << order).into(),
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
                (2, Use::Free),
                (3, slab(3, 4, 2)),
                (1, slab(0, 512, 0)),
                (5, Use::Large),
                (1, Use::Free),
                (2, Use::Free),
                (16, Use::Free),
            ])],
        }
    }

    #[test]
    fn a_map_is_drawn_page_by_page() {
        assert_eq!(
            plain(&draw(&example(), &CLASSES, true, 80)),
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

    fn mixed(blocks: u16, used_bytes: u16, largest_free_bytes: u16) -> Use {
        Use::Mixed {
            blocks,
            used_bytes,
            largest_free_bytes,
        }
    }

    #[test]
    fn a_map_of_mixed_pages_says_how_full_each_page_is() {
        let map = PoolMap {
            page_bytes: 4096,
            regions: vec![region(&[
                (2, Use::Large),
                (1, mixed(9, 4096, 0)),
                (1, mixed(3, 4080, 16)),
                (1, mixed(0, 2048, 1024)),
                (1, mixed(1, 1024, 3072)),
                (1, mixed(1, 16, 2048)),
                (1, Use::Free),
                (3, Use::Free),
            ])],
        };
        assert_eq!(
            plain(&draw(&map, &[], false, 80)),
            "\
region 0: 11 pages, 44 KiB; one character is 1 page
      0  ##█▇▄▂▁....

. free pages   # pages of one block   ▁▂▃▄▅▆▇█ mixed pages, by their used bytes
colour of a mixed page: green full, yellow partly used, red less than a quarter used

44 KiB = 20 KiB in mixed pages (55 % used) + 8 KiB in pages of one block + 16 KiB in free pages

mixed pages  pages  blocks  free bytes  longest free run in a page
full             1       9         0 B                         0 B
75 to 99 %       1       3        16 B                        16 B
50 to 74 %       1       -       2 KiB                       1 KiB
25 to 49 %       1       1       3 KiB                       3 KiB
below 25 %       1       1    3.98 KiB                       2 KiB

free pages from  runs  free bytes
          4 KiB     1       4 KiB
          8 KiB     1      12 KiB
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
            (3, Use::Free),
            (pages * 4 - 12, Use::Free),
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
            let cell = cells(&region(&[(1, slab(0, 8, used))]), 4096, 1);
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
        let mut region = region(&[(4, Use::Free)]);
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
            draw(&map, &super::super::class_bytes(&sim).unwrap(), true, 80)
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
