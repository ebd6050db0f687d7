// SPDX-License-Identifier: GPL-2.0

//! What a trace looks like.

use serde::Serialize;

use crate::{
    ALIGN,
    Kind,
    Trace, //
};

/// Figures of a trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shape {
    /// All of them.
    pub operations: u64,
    /// Blocks that are allocated.
    pub allocations: u64,
    /// Blocks that are freed.
    pub frees: u64,
    /// Sizes that are changed.
    pub reallocations: u64,
    /// Blocks with more than the usual alignment.
    pub aligned: u64,
    /// CPUs that are named.
    pub cpus: u64,
    /// The most bytes that are out at once, as asked for.
    pub peak_bytes: u64,
    /// The operation after which that is so first, counted from 1.
    pub peak_operation: u64,
    /// The most blocks that are out at once.
    pub peak_blocks: u64,
    /// Bytes that are never freed.
    pub left_bytes: u64,
    /// The bytes of allocations and reallocations.
    pub sizes: Spread,
    /// The operations from a block's allocation to its free, of those that are freed.
    pub lifetimes: Spread,
    /// Bytes that are out, at up to [`SAMPLES`] moments: the most in each stretch of operations.
    pub live_bytes: Vec<u64>,
}

/// The most moments.
pub const SAMPLES: usize = 60;

/// How numbers are spread.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Spread {
    /// How many there are.
    pub count: u64,
    /// The least.
    pub min: u64,
    /// Half are not larger.
    pub p50: u64,
    /// Of 100, 99 are not larger.
    pub p99: u64,
    /// The largest.
    pub max: u64,
    /// All together.
    pub sum: u64,
    /// How many have so many binary digits: from 2^(n-1) to 2^n - 1.
    pub digits: Vec<u64>,
}

impl Spread {
    /// Describes numbers.
    pub fn of(mut numbers: Vec<u64>) -> Self {
        numbers.sort_unstable();
        let (Some(min), Some(max)) = (numbers.first(), numbers.last()) else {
            return Self::default();
        };
        let mut digits = vec![0; (u64::BITS - max.leading_zeros()) as usize + 1];
        for number in &numbers {
            digits[(u64::BITS - number.leading_zeros()) as usize] += 1;
        }
        Self {
            count: numbers.len() as u64,
            min: *min,
            p50: quantile(&numbers, 50),
            p99: quantile(&numbers, 99),
            max: *max,
            sum: numbers.iter().sum(),
            digits,
        }
    }
}

/// Returns the least of the sorted numbers that `percent` of them are not above; 0 when there are
/// none.
pub fn quantile(sorted: &[u64], percent: usize) -> u64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(0)
}

impl Shape {
    /// Describes a trace.
    pub fn of(trace: &Trace) -> Self {
        let operations = trace.ops().len();
        // Of each block, its bytes while it is out and when it came.
        let mut blocks = vec![(0_u64, 0_usize); trace.blocks()];
        let (mut sizes, mut lifetimes, mut cpus) = (Vec::new(), Vec::new(), vec![false; 1 << 16]);
        let stretch = operations.div_ceil(SAMPLES).max(1);
        let mut shape = Self {
            operations: operations as u64,
            allocations: 0,
            frees: 0,
            reallocations: 0,
            aligned: 0,
            cpus: 0,
            peak_bytes: 0,
            peak_operation: 0,
            peak_blocks: 0,
            left_bytes: 0,
            sizes: Spread::default(),
            lifetimes: Spread::default(),
            live_bytes: vec![0; operations.div_ceil(stretch)],
        };
        let (mut live_bytes, mut live_blocks) = (0, 0);
        for (index, op) in trace.ops().iter().enumerate() {
            let (had, since) = &mut blocks[op.id as usize];
            cpus[usize::from(op.cpu)] = true;
            let has = match op.kind {
                Kind::Alloc { bytes, align } => {
                    shape.allocations += 1;
                    shape.aligned += u64::from(align > ALIGN);
                    *since = index;
                    live_blocks += 1;
                    u64::from(bytes)
                }
                Kind::Realloc { bytes } => {
                    shape.reallocations += 1;
                    u64::from(bytes)
                }
                Kind::Free => {
                    shape.frees += 1;
                    lifetimes.push((index - *since) as u64);
                    live_blocks -= 1;
                    0
                }
            };
            if has > 0 {
                sizes.push(has);
            }
            live_bytes = live_bytes - std::mem::replace(had, has) + has;
            if live_bytes > shape.peak_bytes {
                shape.peak_bytes = live_bytes;
                shape.peak_operation = index as u64 + 1;
            }
            shape.peak_blocks = shape.peak_blocks.max(live_blocks);
            let sample = &mut shape.live_bytes[index / stretch];
            *sample = live_bytes.max(*sample);
        }
        shape.left_bytes = live_bytes;
        shape.cpus = cpus.iter().filter(|named| **named).count() as u64;
        shape.sizes = Spread::of(sizes);
        shape.lifetimes = Spread::of(lifetimes);
        shape
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Builder;

    #[test]
    fn a_shape_is_what_can_be_counted_by_hand() {
        let mut trace = Builder::new();
        let first = trace.alloc(100, 8);
        let second = trace.alloc(1000, 64);
        trace.on_cpu(3);
        trace.realloc(first, 500);
        trace.free(second);
        trace.alloc(1, 8);
        let shape = Shape::of(&trace.finish("t", ""));
        assert_eq!(
            (shape.operations, shape.allocations, shape.frees),
            (5, 3, 1)
        );
        assert_eq!((shape.reallocations, shape.aligned, shape.cpus), (1, 1, 2));
        assert_eq!((shape.peak_bytes, shape.peak_operation), (1500, 3));
        assert_eq!((shape.peak_blocks, shape.left_bytes), (2, 501));
        assert_eq!(shape.live_bytes, [100, 1100, 1500, 500, 501]);
        assert_eq!(
            (shape.sizes.min, shape.sizes.p50, shape.sizes.max),
            (1, 100, 1000)
        );
        assert_eq!((shape.sizes.count, shape.sizes.sum), (4, 1601));
        // 1 has one digit, 100 seven, 500 nine, 1000 ten.
        assert_eq!(shape.sizes.digits, [0, 1, 0, 0, 0, 0, 0, 1, 0, 1, 1]);
        assert_eq!((shape.lifetimes.count, shape.lifetimes.max), (1, 2));
    }

    #[test]
    fn nothing_has_a_shape_too() {
        let shape = Shape::of(&Builder::new().finish("", ""));
        assert_eq!((shape.operations, shape.peak_bytes), (0, 0));
        assert!(shape.live_bytes.is_empty());
        assert_eq!(quantile(&[], 50), 0);
        assert_eq!(quantile(&[1, 2, 3, 4], 50), 2);
        assert_eq!(quantile(&[1, 2, 3, 4], 99), 4);
    }
}
