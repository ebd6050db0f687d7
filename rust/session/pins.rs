// SPDX-License-Identifier: GPL-2.0

//! Pins of a block: how many are using it where it is.

/// A count of pins that sticks at its top, as `refcount_t` does: a block that is counted so often, or
/// [kept](Pins::keep), stays where it is until its session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pins(u32);

impl Pins {
    /// Nobody uses the block.
    pub(crate) const NONE: Self = Self(0);

    /// The block is not let go any more.
    const KEPT: Self = Self(u32::MAX);

    /// Counts one more.
    pub(crate) fn pin(&mut self) {
        self.0 = self.0.saturating_add(1);
    }

    /// Counts one less, which was counted before.
    pub(crate) fn unpin(&mut self) {
        if *self != Self::KEPT {
            self.0 -= 1;
        }
    }

    /// Counts so many that they are never taken back.
    pub(crate) fn keep(&mut self) {
        *self = Self::KEPT;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_are_taken_back_one_by_one() {
        let mut pins = Pins::NONE;
        pins.pin();
        pins.pin();
        pins.unpin();
        assert_ne!(pins, Pins::NONE);
        pins.unpin();
        assert_eq!(pins, Pins::NONE);
    }

    #[test]
    fn what_is_kept_stays_kept() {
        let mut pins = Pins::NONE;
        pins.pin();
        pins.keep();
        for _ in 0..3 {
            pins.unpin();
            assert_eq!(pins, Pins::KEPT);
        }
        pins.pin();
        assert_eq!(pins, Pins::KEPT);
    }
}
