// SPDX-License-Identifier: GPL-2.0

//! Points, in integer arithmetic, so that a grade is the same on every machine.

use std::{
    fmt,
    iter::Sum,
    ops::Add, //
};

use serde::{
    Serialize,
    Serializer, //
};

/// A number of points, in tenths. JSON has it in points, as the other forms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Points(u32);

impl Points {
    /// No points.
    pub const NONE: Self = Self(0);

    /// Returns a whole number of points.
    pub const fn whole(points: u32) -> Self {
        Self(points * 10)
    }

    /// Returns the points for a figure between two thresholds: `points` at `full`, none at `zero`, and linear between,
    /// rounded down to a tenth. `full` may be above or below `zero`, and differs from it.
    pub fn between(points: u32, figure: u64, full: u64, zero: u64) -> Self {
        let reached = if full > zero {
            figure.clamp(zero, full) - zero
        } else {
            zero - figure.clamp(full, zero)
        };
        let tenths =
            u128::from(points) * 10 * u128::from(reached) / u128::from(full.abs_diff(zero).max(1));
        Self(tenths as u32)
    }

    /// Returns the number of points as JSON has it. The nearest floating-point number of a tenth is printed as the tenth.
    pub fn number(self) -> f64 {
        f64::from(self.0) / 10.0
    }
}

impl Serialize for Points {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.number())
    }
}

impl Add for Points {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl Sum for Points {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::NONE, Self::add)
    }
}

impl fmt::Display for Points {
    /// Writes the points, with a decimal only where it is not 0.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match (self.0 / 10, self.0 % 10) {
            (whole, 0) => whole.to_string(),
            (whole, tenth) => format!("{whole}.{tenth}"),
        };
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_linear_between_the_thresholds() {
        let rising = |figure| Points::between(20, figure, 80, 40).to_string();
        assert_eq!(
            [0, 40, 41, 50, 60, 79, 80, 100].map(rising),
            ["0", "0", "0.5", "5", "10", "19.5", "20", "20"]
        );
        let falling = |figure| Points::between(9, figure, 10, 40).to_string();
        assert_eq!(
            [0, 10, 11, 25, 39, 40, u64::MAX].map(falling),
            ["9", "9", "8.7", "4.5", "0.3", "0", "0"]
        );
    }

    #[test]
    fn each_tenth_is_printed_as_itself() {
        for tenths in 0..=1000 {
            let points = Points(tenths);
            assert_eq!(
                format!("{:.1}", points.number()),
                format!("{}.{}", tenths / 10, tenths % 10)
            );
            assert_eq!(
                serde_json::to_string(&points).unwrap(),
                format!("{:?}", f64::from(tenths) / 10.0)
            );
        }
    }
}
