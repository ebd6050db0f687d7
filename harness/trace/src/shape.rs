// SPDX-License-Identifier: GPL-2.0

//! Statistics of a trace.

use serde::Serialize;

use crate::{
    ALIGN,
    Kind,
    Trace, //
};

/// The statistics of a trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shape {
    /// The number of operations.
    pub operations: u64,
    /// The number of allocations.
    pub allocations: u64,
    /// The number of frees.
    pub frees: u64,
    /// The number of reallocations.
    pub reallocations: u64,
    /// The number of allocations with more than the default alignment.
    pub aligned: u64,
    /// The number of different CPUs.
    pub cpus: u64,
    /// The peak of live bytes, with the sizes as requested.
    pub peak_bytes: u64,
    /// The first operation after which the peak is reached, counted from 1.
    pub peak_operation: u64,
    /// The peak of live blocks.
    pub peak_blocks: u64,
    /// The bytes that are never freed.
    pub left_bytes: u64,
    /// The sizes of allocations and reallocations, in bytes.
    pub sizes: Spread,
    /// The lifetimes of freed blocks, as the number of operations from the allocation to the free.
    pub lifetimes: Spread,
    /// Live bytes over time, in up to [`SAMPLES`] samples: the peak of each interval of operations.
    pub live_bytes: Vec<u64>,
}

/// The maximum number of samples.
pub const SAMPLES: usize = 60;

/// The distribution of a set of numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Spread {
    /// The number of values.
    pub count: u64,
    /// The smallest value.
    pub min: u64,
    /// The median: half of the values are not larger.
    pub p50: u64,
    /// The 99th percentile: 99 % of the values are not larger.
    pub p99: u64,
    /// The largest value.
    pub max: u64,
    /// The sum.
    pub sum: u64,
    /// A histogram by powers of two: element n counts the values from 2^(n-1) to 2^n - 1.
    pub digits: Vec<u64>,
}

impl Spread {
    /// Computes the distribution of `numbers`.
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

/// Returns the smallest of the sorted numbers that is at least as large as `percent` per cent of them
/// (nearest rank), or 0 when there are no numbers.
pub fn quantile(sorted: &[u64], percent: usize) -> u64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(0)
}

impl Shape {
    /// Computes the statistics of a trace, in O(n log n).
    pub fn of(trace: &Trace) -> Self {
        let operations = trace.ops().len();
        // The size of each block while it is live, and the operation that allocated it.
        let mut blocks = vec![(0_u64, 0_usize); trace.blocks()];
        let (mut sizes, mut lifetimes, mut cpus) = (Vec::new(), Vec::new(), vec![false; 1 << 16]);
        let interval = operations.div_ceil(SAMPLES).max(1);
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
            live_bytes: vec![0; operations.div_ceil(interval)],
        };
        let (mut live_bytes, mut live_blocks) = (0, 0);
        for (index, op) in trace.ops().iter().enumerate() {
            let (old_bytes, born) = &mut blocks[op.id as usize];
            cpus[usize::from(op.cpu)] = true;
            let bytes = match op.kind {
                Kind::Alloc { bytes, align } => {
                    shape.allocations += 1;
                    shape.aligned += u64::from(align > ALIGN);
                    *born = index;
                    live_blocks += 1;
                    u64::from(bytes)
                }
                Kind::Realloc { bytes } => {
                    shape.reallocations += 1;
                    u64::from(bytes)
                }
                Kind::Free => {
                    shape.frees += 1;
                    lifetimes.push((index - *born) as u64);
                    live_blocks -= 1;
                    0
                }
            };
            if bytes > 0 {
                sizes.push(bytes);
            }
            live_bytes = live_bytes - std::mem::replace(old_bytes, bytes) + bytes;
            if live_bytes > shape.peak_bytes {
                shape.peak_bytes = live_bytes;
                shape.peak_operation = index as u64 + 1;
            }
            shape.peak_blocks = shape.peak_blocks.max(live_blocks);
            let sample = &mut shape.live_bytes[index / interval];
            *sample = live_bytes.max(*sample);
        }
        shape.left_bytes = live_bytes;
        shape.cpus = cpus.iter().filter(|used| **used).count() as u64;
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
    fn statistics_equal_a_count_by_hand() {
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
    fn an_empty_trace_has_statistics() {
        let shape = Shape::of(&Builder::new().finish("", ""));
        assert_eq!((shape.operations, shape.peak_bytes), (0, 0));
        assert!(shape.live_bytes.is_empty());
        assert_eq!(quantile(&[], 50), 0);
        assert_eq!(quantile(&[1, 2, 3, 4], 50), 2);
        assert_eq!(quantile(&[1, 2, 3, 4], 99), 4);
    }
}
