// SPDX-License-Identifier: GPL-2.0

//! Means over the traces of a group.

use super::groups;
use crate::{
    results::{
        Results,
        SmallestPool,
        Space, //
    },
    statistics::mean,
};

/// Means of one allocator, as shares.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct GroupMeans {
    /// The peak divided by the pool.
    pub(crate) utilisation: f64,
    /// The peak divided by the pool and its tables and state.
    pub(crate) with_metadata: f64,
    /// The peak divided by the pool, its tables and state, and the cache of one CPU.
    pub(crate) with_caches: f64,
    /// Tables and state divided by the pool.
    pub(crate) metadata: f64,
    /// The cache of one CPU divided by the pool.
    pub(crate) cache: f64,
}

/// Returns the rows of a group at an alignment. The list is empty when not all traces of the group were measured.
pub(crate) fn rows<'run>(results: &'run Results, group: &str, align: usize) -> Vec<&'run Space> {
    let rows: Vec<_> = (results.space.iter())
        .filter(|space| space.align == align && space.groups.iter().any(|name| name == group))
        .collect();
    if rows.len() < groups::size(group) {
        return Vec::new();
    }
    rows
}

/// Returns the means of the allocator `place`, or `None` when a trace of the group has no result.
pub(crate) fn of(results: &Results, group: &str, align: usize, place: usize) -> Option<GroupMeans> {
    let rows = rows(results, group, align).into_iter();
    let pools: Option<Vec<_>> = rows.map(|space| space.cells[place].as_ref()).collect();
    let pools = pools.filter(|pools| !pools.is_empty())?;
    let over = |share: fn(&SmallestPool) -> f64| {
        mean(&pools.iter().map(|pool| share(pool)).collect::<Vec<_>>())
    };
    Some(GroupMeans {
        utilisation: over(|pool| pool.utilisation),
        with_metadata: over(|pool| pool.utilisation_with_metadata),
        with_caches: over(|pool| pool.utilisation_with_caches),
        metadata: over(|pool| pool.metadata_bytes as f64 / pool.pool_bytes as f64),
        cache: over(|pool| pool.cache_bytes as f64 / pool.pool_bytes as f64),
    })
}

/// Returns the mean of the bounds, or `None` when not all traces of the group were measured.
pub(crate) fn bound(results: &Results, group: &str, align: usize) -> Option<f64> {
    let bounds: Vec<_> = (rows(results, group, align).iter())
        .map(|space| space.bound)
        .collect();
    (!bounds.is_empty()).then(|| mean(&bounds))
}
