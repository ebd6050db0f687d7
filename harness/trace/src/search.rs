// SPDX-License-Identifier: GPL-2.0

//! The search for the smallest pool.

use std::ops::RangeInclusive;

/// Returns the smallest number in `range` for which `fits` is true, or `None` when no number fits.
///
/// The search is galloping (exponential steps, then bisection): O(log d) calls of `fits`, where d is the
/// distance of the result from the start of the range. The search assumes that `fits` is monotonic. If `fits`
/// is not monotonic, the result is a number that fits and whose predecessor does not fit.
///
/// # Errors
///
/// Returns the first error of `fits`.
pub fn smallest<E>(
    range: RangeInclusive<u64>,
    mut fits: impl FnMut(u64) -> Result<bool, E>,
) -> Result<Option<u64>, E> {
    let (first, most) = range.into_inner();
    if first > most {
        return Ok(None);
    }
    // `below` is a number that is known not to fit, or that lies outside the range.
    let Some(mut below) = first.checked_sub(1) else {
        return match fits(0)? {
            true => Ok(Some(0)),
            false if most == 0 => Ok(None),
            false => smallest(1..=most, fits),
        };
    };
    // Most results are near the start, so the steps are small at first and grow until a number fits.
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
    fn search_finds_the_smallest_fitting_number_anywhere_in_the_range() {
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
    fn search_ends_at_the_first_error() {
        assert_eq!(smallest(1..=9, |_| Err("enough")), Err("enough"));
    }
}
