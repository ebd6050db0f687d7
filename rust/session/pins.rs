// SPDX-License-Identifier: GPL-2.0

//! Pins of a block: how many are using it where it is.

/// A count of pins that sticks at its top, as `refcount_t` does: a block that is counted so often stays
/// where it is until its session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pins(u32);

impl Pins {
    /// Nobody uses the block.
    pub(crate) const NONE: Self = Self(0);

    /// The block stays pinned until its session ends.
    const STUCK: Self = Self(u32::MAX);

    /// Counts one more.
    pub(crate) fn pin(&mut self) {
        self.0 = self.0.saturating_add(1);
    }

    /// Counts one less, which was counted before.
    pub(crate) fn unpin(&mut self) {
        if *self != Self::STUCK {
            self.0 = self.0.saturating_sub(1);
        }
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
    fn a_count_at_its_top_sticks() {
        let mut pins = Pins(u32::MAX - 1);
        pins.pin();
        for _ in 0..3 {
            pins.unpin();
            assert_eq!(pins, Pins::STUCK);
        }
        pins.pin();
        assert_eq!(pins, Pins::STUCK);
    }
}
