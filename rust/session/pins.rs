// SPDX-License-Identifier: GPL-2.0

//! Pin counts of blocks.

/// A pin count that saturates, like `refcount_t`: a block whose count reaches the maximum stays pinned
/// until its session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pins(u32);

impl Pins {
    /// The block is not pinned.
    pub(crate) const NONE: Self = Self(0);

    /// The saturated count.
    const SATURATED: Self = Self(u32::MAX);

    /// Adds a pin.
    pub(crate) fn pin(&mut self) {
        self.0 = self.0.saturating_add(1);
    }

    /// Removes a pin that [`Pins::pin`] added.
    pub(crate) fn unpin(&mut self) {
        if *self != Self::SATURATED {
            self.0 = self.0.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_unpin_removes_one_pin() {
        let mut pins = Pins::NONE;
        pins.pin();
        pins.pin();
        pins.unpin();
        assert_ne!(pins, Pins::NONE);
        pins.unpin();
        assert_eq!(pins, Pins::NONE);
    }

    #[test]
    fn a_saturated_count_never_decreases() {
        let mut pins = Pins(u32::MAX - 1);
        pins.pin();
        for _ in 0..3 {
            pins.unpin();
            assert_eq!(pins, Pins::SATURATED);
        }
        pins.pin();
        assert_eq!(pins, Pins::SATURATED);
    }
}
