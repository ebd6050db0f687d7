// SPDX-License-Identifier: GPL-2.0

//! Bounds for indexes that a program chooses, while a processor speculates.
//!
//! A processor may read an array with an index that a bounds check is about to reject, and the read leaves
//! traces in the cache (Spectre, variant 1). [`clamp`] makes the index 0 in that case, without a branch that
//! could be mispredicted. [`clamp`] is `array_index_nospec` of `include/linux/nospec.h`. A caller passes a
//! number from a program to `clamp` after the bounds check, and uses the result as the index. [`entry`] is
//! for tables that are read on the fastest paths.

use core::{
    arch::asm,
    hint::assert_unchecked, //
};

/// Returns `index`, which the caller has checked to be below `len`. If the processor executes this
/// speculatively with an index that fails the check, the result is 0.
///
/// Costs three instructions on x86-64, and four on arm64.
///
/// # Examples
///
/// ```
/// use slab_heap::nospec;
///
/// let table = [10, 20, 30];
/// let at = |index| (index < table.len()).then(|| table[nospec::clamp(index, table.len())]);
/// assert_eq!((at(2), at(3)), (Some(30), None));
/// ```
#[inline(always)]
#[must_use]
pub fn clamp(index: usize, len: usize) -> usize {
    index & mask(index, len)
}

/// Returns the entry with an index that the caller has checked to be below `LEN`. If the processor executes
/// this speculatively with an index that fails the check, the result is some entry of the table. `LEN` is a
/// power of two.
///
/// The bound costs one instruction, which masks the index. The instruction is in an `asm!` block, so that the
/// compiler cannot remove it.
#[inline(always)]
#[must_use]
pub fn entry<T, const LEN: usize>(table: &[T; LEN], index: usize) -> &T {
    // SAFETY: `get_unchecked` requires an index below the length of the table. `below` returns an index below
    // `LEN`.
    unsafe { table.get_unchecked(below::<LEN>(index)) }
}

/// Returns an index that the caller has checked to be below `LEN`. If the processor executes this
/// speculatively with an index that fails the check, the result is some number below `LEN`. `LEN` is a power
/// of two.
#[inline(always)]
#[must_use]
pub fn below<const LEN: usize>(index: usize) -> usize {
    const { assert!(LEN.is_power_of_two()) };
    let index = lower_bits::<LEN>(index);
    // SAFETY: `assert_unchecked` requires a true condition: `LEN` is a power of two, and `index` only has the
    // bits below the bit of `LEN`.
    unsafe { assert_unchecked(index < LEN) };
    index
}

/// Returns `index` with only the bits below the bit of `LEN`.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline(always)]
fn lower_bits<const LEN: usize>(mut index: usize) -> usize {
    // SAFETY: The instruction changes the register and the flags, which the options do not exclude, and accesses
    // neither memory nor the stack.
    unsafe {
        asm!(
            "and {index}, {mask}",
            index = inout(reg) index,
            mask = const LEN - 1,
            options(pure, nomem, nostack),
        );
    }
    index
}

/// Returns `index` with only the bits below the bit of `LEN`.
#[cfg(not(all(target_arch = "x86_64", not(miri))))]
#[inline(always)]
fn lower_bits<const LEN: usize>(index: usize) -> usize {
    opaque(index) & (LEN - 1)
}

/// Returns a number with all bits set if `index` is below `len`, else 0.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline(always)]
fn mask(index: usize, len: usize) -> usize {
    let mask;
    // SAFETY: The instructions read two registers, write one register and the flags, which the options do not
    // exclude, and access neither memory nor the stack.
    unsafe {
        asm!(
            "cmp {index}, {len}",
            "sbb {mask}, {mask}",
            index = in(reg) index,
            len = in(reg) len,
            mask = lateout(reg) mask,
            options(pure, nomem, nostack),
        );
    }
    mask
}

/// Returns a number with all bits set if `index` is below `len`, else 0.
///
/// The barrier `csdb` keeps the processor from using a predicted mask.
#[cfg(all(target_arch = "aarch64", not(miri)))]
#[inline(always)]
fn mask(index: usize, len: usize) -> usize {
    let mask;
    // SAFETY: The instructions read two registers, write one register and the flags, which the options do not
    // exclude, and access neither memory nor the stack.
    unsafe {
        asm!(
            "cmp {index}, {len}",
            "sbc {mask}, xzr, xzr",
            "csdb",
            index = in(reg) index,
            len = in(reg) len,
            mask = lateout(reg) mask,
            options(pure, nomem, nostack),
        );
    }
    mask
}

/// Returns a number with all bits set if `index` is below `len`, else 0. `len` is at most [`isize::MAX`].
#[cfg(any(miri, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
#[inline(always)]
fn mask(index: usize, len: usize) -> usize {
    let index = opaque(index);
    let last = len.wrapping_sub(1);
    // If the index is not below `len`, `index` or the difference has its highest bit set.
    let outside = (index | last.wrapping_sub(index)) as isize;
    !(outside >> (usize::BITS - 1)) as usize
}

/// Returns `index`, and hides its value from the compiler, which could otherwise replace the mask by a
/// branch.
#[cfg(not(all(target_arch = "x86_64", not(miri))))]
#[inline(always)]
fn opaque(mut index: usize) -> usize {
    #[cfg(not(miri))]
    // SAFETY: The block contains only an assembler comment, so it keeps the register and the flags, and
    // accesses neither memory nor the stack.
    unsafe {
        asm!("/* {0} */", inout(reg) index, options(pure, nomem, nostack, preserves_flags));
    }
    #[cfg(miri)]
    {
        index = core::hint::black_box(index);
    }
    index
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_in_bounds_stays_and_every_other_becomes_0() {
        for len in [1, 2, 17, 512, 1 << 20, isize::MAX as usize] {
            for index in [0, 1, len - 1, len / 2] {
                let expected = if index < len { index } else { 0 };
                assert_eq!(clamp(index, len), expected, "{index} of {len}");
            }
            for index in [
                len,
                len + 1,
                len + len / 2,
                isize::MAX as usize + 1,
                usize::MAX,
            ] {
                assert_eq!(clamp(index, len), 0, "{index} of {len}");
            }
        }
        assert_eq!(clamp(0, 0), 0);
        assert_eq!(clamp(usize::MAX, 0), 0);
    }

    #[test]
    fn an_entry_is_the_tables_whatever_the_index() {
        let table = [10, 11, 12, 13];
        for (index, expected) in [(0, 10), (3, 13), (4, 10), (usize::MAX, 13)] {
            assert_eq!(*entry(&table, index), expected, "{index}");
        }
    }
}
