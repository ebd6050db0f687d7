// SPDX-License-Identifier: GPL-2.0

//! The search for the smallest pool.

use std::ops::RangeInclusive;

/// Finds the smallest number in `range` that `fits`, if the largest does, in about as many tries as
/// twice the number of digits of the result's distance from the smallest.
///
/// What fits is taken to fit in more, too. Where that is not so, the result is a number that fits
/// with one below it that does not.
///
/// # Errors
///
/// What `fits` says.
pub fn smallest<E>(
    range: RangeInclusive<u64>,
    mut fits: impl FnMut(u64) -> Result<bool, E>,
) -> Result<Option<u64>, E> {
    let (mut low, most) = range.into_inner();
    if low > most {
        return Ok(None);
    }
    // Most need little more than the least: steps that grow, until one fits.
    let mut step = (low / 8).max(1);
    let mut high = low;
    while !fits(high)? {
        if high == most {
            return Ok(None);
        }
        low = high + 1;
        high = high.saturating_add(step).min(most);
        step = step.saturating_mul(2);
    }
    // `high` fits, and nothing below `low` does.
    while low < high {
        let middle = low + (high - low) / 2;
        if fits(middle)? {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Ok(Some(high))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_finds_the_first_that_fits_wherever_that_is() {
        for least in 0..200_u64 {
            let mut tries = 0;
            let found = smallest::<()>(10..=150, |number| {
                tries += 1;
                assert!((10..=150).contains(&number));
                Ok(number >= least)
            });
            let expected = (least <= 150).then_some(least.max(10));
            assert_eq!(found, Ok(expected));
            assert!(tries <= 16, "{tries} tries for {least}");
        }
        let (more, less) = (5, 4);
        assert_eq!(smallest::<()>(more..=less, |_| Ok(true)), Ok(None));
        let end = u64::MAX - 1..=u64::MAX;
        assert_eq!(
            smallest::<()>(end, |number| Ok(number == u64::MAX)),
            Ok(Some(u64::MAX))
        );
    }

    #[test]
    fn it_ends_when_it_is_told_to() {
        assert_eq!(smallest(1..=9, |_| Err("enough")), Err("enough"));
    }
}
