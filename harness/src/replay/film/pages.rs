// SPDX-License-Identifier: GPL-2.0

//! The pages of a pool whose engine draws no map: by where its blocks are.
//!
//! A page in which a block of a class was stays that class's until another one takes it, which is
//! how it is in the seed. Where no block was yet it cannot be told what is free and what is kept.

use super::{
    book::{
        Change,
        Held,
        PAGE_BYTES, //
    },
    reel::State, //
};
use crate::uapi::slablab_info;

/// What a page is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Page {
    /// No block was seen in it, or a large one that is gone.
    Blank,
    /// It is in a large block, the first page of so many, or not the first (0).
    Large { pages: u32 },
    /// It is of a class.
    Class { class: u8, used: u16 },
}

/// The pages of a pool of one region.
pub(super) struct Pages {
    pages: Vec<Page>,
    class_bytes: Vec<u64>,
}

impl Pages {
    /// Begins with a pool that nothing is in.
    pub(super) fn new(info: &slablab_info, class_bytes: &[u64]) -> Self {
        let pages = if super::has_pool(info) {
            info.pool_bytes / PAGE_BYTES
        } else {
            0
        };
        Self {
            pages: vec![Page::Blank; pages as usize],
            class_bytes: class_bytes.to_vec(),
        }
    }

    /// Moves a block.
    pub(super) fn change(&mut self, change: &Change) {
        if change.old.offset == change.new.offset && change.old.usable == change.new.usable {
            return;
        }
        self.put(&change.old, false);
        self.put(&change.new, true);
    }

    fn put(&mut self, block: &Held, there: bool) {
        let Some(first) = block.page().map(|page| page as usize) else {
            return;
        };
        let class = self.class_bytes.iter().position(|of| *of == block.usable);
        let Some(class) = class.and_then(|class| u8::try_from(class).ok()) else {
            let pages = block.usable.div_ceil(PAGE_BYTES) as usize;
            for (index, page) in self.pages.iter_mut().skip(first).take(pages).enumerate() {
                *page = match there {
                    true => Page::Large {
                        pages: if index == 0 { pages as u32 } else { 0 },
                    },
                    false => Page::Blank,
                };
            }
            return;
        };
        let Some(page) = self.pages.get_mut(first) else {
            return;
        };
        let used = match *page {
            Page::Class { class: of, used } if of == class => used,
            _ => 0,
        };
        *page = Page::Class {
            class,
            used: if there {
                used.saturating_add(1)
            } else {
                used.saturating_sub(1)
            },
        };
    }

    /// Returns what each block of pages is, in order.
    pub(super) fn extents(&self) -> Vec<(u32, State)> {
        let state = |page: &Page| match *page {
            Page::Blank => Some(State::Blank),
            Page::Large { pages: 0 } => None,
            Page::Large { pages } => Some(State::Large { pages }),
            Page::Class { class, used } => Some(State::Slab {
                pages: 1,
                class,
                objects: (PAGE_BYTES / self.class_bytes[usize::from(class)]) as u16,
                used,
            }),
        };
        let all = (0..).zip(&self.pages);
        all.filter_map(|(number, page)| Some((number, state(page)?)))
            .collect()
    }
}
