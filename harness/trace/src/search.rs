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
    let (first, most) = range.into_inner();
    if first > most {
        return Ok(None);
    }
    // Nothing below `first` is asked for: what is not there does not fit.
    let Some(mut below) = first.checked_sub(1) else {
        return match fits(0)? {
            true => Ok(Some(0)),
            false if most == 0 => Ok(None),
            false => smallest(1..=most, fits),
        };
    };
    // Most need little more than the least: steps that grow, until one fits.
    let mut step = (below / 8).max(1);
    let mut high = loop {
        let next = below.saturating_add(step).min(most);
        if fits(next)? {
            break next;
        }
        if next == most {
            return Ok(None);
        }
        below = next;
        step = step.saturating_mul(2);
    };
    // `high` fits, and `below` does not.
    while high - below > 1 {
        let middle = below + (high - below) / 2;
        if fits(middle)? {
            high = middle;
        } else {
            below = middle;
        }
    }
    Ok(Some(high))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_finds_the_first_that_fits_wherever_that_is() {
        for (first, least) in [0, 1, 10, 149, 150]
            .into_iter()
            .flat_map(|first| (0..200_u64).map(move |least| (first, least)))
        {
            let mut tries = 0;
            let found = smallest::<()>(first..=150, |number| {
                tries += 1;
                assert!((first..=150).contains(&number));
                Ok(number >= least)
            });
            let expected = (least <= 150).then_some(least.max(first));
            assert_eq!(found, Ok(expected), "from {first} to {least}");
            assert!(tries <= 16, "{tries} tries from {first} to {least}");
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
