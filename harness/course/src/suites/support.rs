// SPDX-License-Identifier: GPL-2.0

//! What the tests share.

use slablab_lab::oracle::{
    Client,
    ClientBlock,
    Violation, //
};

/// Allocates a block that must be served.
pub(super) fn must(
    client: &mut Client<'_>,
    size: u64,
    align: u64,
) -> Result<ClientBlock, Violation> {
    client.alloc(size, align)?.map_err(|cause| {
        Violation::Unexpected(format!(
            "a request of {size} bytes aligned to {align} was refused as {cause}, but the pool has room"
        ))
    })
}

/// Allocates blocks of a size until a request is refused.
pub(super) fn fill(client: &mut Client<'_>, size: u64) -> Result<Vec<ClientBlock>, Violation> {
    let mut blocks = Vec::new();
    while let Ok(block) = client.alloc(size, 8)? {
        blocks.push(block);
    }
    Ok(blocks)
}

/// Frees blocks.
pub(super) fn free_all(
    client: &mut Client<'_>,
    blocks: impl IntoIterator<Item = ClientBlock>,
) -> Result<(), Violation> {
    blocks.into_iter().try_for_each(|block| client.free(block))
}
