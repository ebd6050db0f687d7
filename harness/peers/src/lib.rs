// SPDX-License-Identifier: GPL-2.0

//! Peers: allocators of other projects, to which the engines of slablab are compared.
//!
//! Each peer of this crate manages one range of memory, the pool, and is called through the trait [`Peer`]. The host
//! bench measures the peers, and `slablab replay` and `slablab report` show them beside the engines. Each peer has one
//! file in this crate and one line in [`with_peers!`]. The host bench has two more peers, glibc's `malloc` and mimalloc.
//! They are not in this crate, because they obtain their memory from the operating system and cannot run in a given
//! pool.

mod buddy;
mod linked_list;
mod peer;
mod rlsf;
mod talc;
#[cfg(test)]
mod tests;

pub use self::{
    buddy::Buddy,
    linked_list::LinkedList,
    peer::{
        Facts,
        Peer,
        PeerKind,
        reallocate_by_copy, //
    },
    rlsf::Rlsf,
    talc::Talc, //
};

/// Calls a macro with the types of all peers, in the order of tables.
#[macro_export]
macro_rules! with_peers {
    ($call:ident) => {
        $call! {
            $crate::Buddy,
            $crate::Talc,
            $crate::Rlsf,
            $crate::LinkedList,
        }
    };
}

/// Declares [`PEERS`].
macro_rules! kinds {
    ($($peer:ty,)+) => {
        /// All peers.
        pub static PEERS: [PeerKind; [$(stringify!($peer)),+].len()] = [$(PeerKind::of::<$peer>()),+];
    };
}
with_peers!(kinds);

/// Returns the peer with a name.
#[must_use]
pub fn named(name: &str) -> Option<&'static PeerKind> {
    PEERS.iter().find(|kind| kind.facts().name == name)
}
