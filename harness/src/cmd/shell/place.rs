// SPDX-License-Identifier: GPL-2.0

//! The line that describes a block: its place, and the cost of its operation.

use crate::{
    report::bytes,
    uapi::{
        self,
        Path,
        slablab_cost, //
    },
};

/// Returns the place of a block and the cost of its operation as a line.
pub(super) fn place(handle: u32, offset: u64, usable: u64, cost: &slablab_cost) -> String {
    let mut text = format!("handle {handle}");
    if offset != uapi::NO_OFFSET {
        text += &format!(", offset {offset:#x}");
    }
    text += &format!(", {usable} bytes");
    let path = Path::from_raw(u32::from(cost.path));
    // An engine without layers has one path only.
    if path != Some(Path::Other) {
        text += &format!(", path {}", path.map_or("unknown", Path::name));
    }
    if u32::from(cost.class_index) != uapi::SLABLAB_NO_CLASS {
        text += &format!(", class {}", cost.class_index);
    }
    if u32::from(cost.order) != uapi::SLABLAB_NO_ORDER && cost.order < 52 {
        text += &format!(", block of {}", bytes(uapi::PAGE_BYTES << cost.order));
    }
    for (name, number) in [("splits", cost.splits), ("merges", cost.merges)] {
        if number != 0 && u32::from(number) != uapi::SLABLAB_UNKNOWN {
            text += &format!(", {name} {number}");
        }
    }
    if cost.fragmentation != 0 {
        text += &format!(", fragmentation index {}", cost.fragmentation);
    }
    text + "\n"
}
