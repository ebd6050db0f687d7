// SPDX-License-Identifier: GPL-2.0

//! The subjects of a comparison: engines of slablab, and peers, which are allocators of other projects.

use std::fmt;

use clap::builder::{
    PossibleValue,
    PossibleValuesParser,
    TypedValueParser, //
};
use serde::{
    Deserialize,
    Serialize, //
};
use slablab_peers::{
    PEERS,
    PeerKind,
    named, //
};

use crate::uapi::Engine;

/// The word of `--peer` that stands for all peers.
const ALL: &str = "all";

/// An engine or a peer.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(crate) enum Subject {
    /// An engine.
    Engine(Engine),
    /// A peer.
    Peer(&'static PeerKind),
}

impl Subject {
    /// Returns the name in tables, in JSON and on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Engine(engine) => engine.name(),
            Self::Peer(kind) => kind.facts().name,
        }
    }

    /// Returns whether the subject is this engine.
    pub(crate) fn is(self, engine: Engine) -> bool {
        matches!(self, Self::Engine(own) if own == engine)
    }
}

impl PartialEq for Subject {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl From<Subject> for String {
    fn from(subject: Subject) -> Self {
        subject.name().to_owned()
    }
}

impl TryFrom<String> for Subject {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let engine = Engine::from_name(&name).map(Self::Engine);
        engine
            .or_else(|| named(&name).map(Self::Peer))
            .ok_or_else(|| format!("this command has no engine and no peer with the name '{name}'"))
    }
}

/// A word of `--peer`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum PeerChoice {
    /// One peer.
    One(&'static PeerKind),
    /// All peers.
    All,
}

impl PeerChoice {
    /// Returns the peers of some words, each once, in the order of their first words.
    pub(crate) fn chosen(choices: &[Self]) -> Vec<Subject> {
        let mut peers: Vec<Subject> = Vec::new();
        let kinds = choices.iter().flat_map(|choice| match choice {
            Self::One(kind) => std::slice::from_ref(*kind),
            Self::All => &PEERS[..],
        });
        for peer in kinds.map(Subject::Peer) {
            if !peers.contains(&peer) {
                peers.push(peer);
            }
        }
        peers
    }
}

/// Parses the name of a peer, or `all`.
pub(crate) fn peer_choice() -> impl TypedValueParser<Value = PeerChoice> {
    let peers = PEERS.iter().map(|kind| {
        let facts = kind.facts();
        let help = format!("{} {}: {}", facts.package, facts.version, facts.description);
        PossibleValue::new(facts.name).help(help)
    });
    let all = PossibleValue::new(ALL).help("All peers");
    PossibleValuesParser::new(peers.chain([all]))
        .map(|name| named(&name).map_or(PeerChoice::All, PeerChoice::One))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_peer_has_the_name_of_an_engine() {
        for kind in &PEERS {
            let name = kind.facts().name;
            assert_eq!(Engine::from_name(name), None);
            assert_ne!(name, ALL);
        }
    }

    #[test]
    fn a_subject_is_its_name_in_json() {
        for name in ["hybrid", "talc"] {
            let json = format!("\"{name}\"");
            let subject: Subject = serde_json::from_str(&json).unwrap();
            assert_eq!(serde_json::to_string(&subject).unwrap(), json);
        }
        let unknown = serde_json::from_str::<Subject>("\"nosuch\"").unwrap_err();
        assert!(
            unknown
                .to_string()
                .contains("no peer with the name 'nosuch'")
        );
    }

    #[test]
    fn a_peer_is_chosen_once() {
        let talc = named("talc").unwrap();
        let chosen = PeerChoice::chosen(&[PeerChoice::One(talc), PeerChoice::All]);
        assert_eq!(chosen.len(), PEERS.len());
        assert_eq!(chosen[0], Subject::Peer(talc));
    }
}
