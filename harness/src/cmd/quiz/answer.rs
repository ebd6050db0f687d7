// SPDX-License-Identifier: GPL-2.0

//! Answers: their one canonical text, and the parser of what a learner writes.

use std::{
    collections::BTreeMap,
    fmt, //
};

use serde::{
    Deserialize,
    Serialize, //
};

use super::question::Kind;
use crate::{
    arguments::{
        nearest,
        size,
        whole, //
    },
    report::bytes,
    uapi::PAGE_BYTES, //
};

/// The answer to a question about the block of a refused request.
pub(super) const REFUSED: &str = "refused";

/// The answer for a request that is not refused.
pub(super) const SERVED: &str = "served";

/// The answer for a buddy system without free blocks.
const NONE: &str = "none";

/// The sizes of the buddy system's blocks, for messages.
const BLOCK_SIZES: &str = "4K, 8K, 16K and so on, up to the pool";

/// An answer. Two answers are equal if and only if they say the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Answer {
    /// An offset in the pool.
    Offset(u64),
    /// A number of bytes.
    Bytes(u64),
    /// A number of splits or merges.
    Count(u64),
    /// A path, a result, or [`REFUSED`].
    Word(String),
    /// The number of free blocks by their bytes, without the sizes that have none.
    FreeBlocks(BTreeMap<u64, u64>),
}

impl Answer {
    /// Returns the answer that is a word.
    pub(super) fn word(word: &str) -> Self {
        Self::Word(word.to_owned())
    }

    /// Returns the answer for people: in KiB, too, if it is a multiple of that.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Offset(number) | Self::Bytes(number) if *number >= 1024 && number % 1024 == 0 => {
                format!("{self} ({})", bytes(*number))
            }
            _ => self.to_string(),
        }
    }
}

impl fmt::Display for Answer {
    /// Writes the canonical text, which [`parse`] reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Offset(offset) => write!(f, "{offset:#x}"),
            Self::Bytes(number) | Self::Count(number) => write!(f, "{number}"),
            Self::Word(word) => f.write_str(word),
            Self::FreeBlocks(blocks) if blocks.is_empty() => f.write_str(NONE),
            Self::FreeBlocks(blocks) => {
                let entry = |(bytes, count): (&u64, &u64)| match bytes >> 10 {
                    1024.. if bytes % (1 << 20) == 0 => format!("{}M:{count}", bytes >> 20),
                    kib => format!("{kib}K:{count}"),
                };
                let entries: Vec<_> = blocks.iter().map(entry).collect();
                f.write_str(&entries.join(" "))
            }
        }
    }
}

/// Parses the answer to a question of a kind, about a pool of `pool_bytes` bytes.
///
/// # Errors
///
/// The answer is badly formed. The error is the sentence for the learner.
pub(super) fn parse(kind: Kind, text: &str, pool_bytes: u64) -> Result<Answer, String> {
    let text = text.trim().to_ascii_lowercase();
    if text.is_empty() {
        return Err("the answer is empty".to_owned());
    }
    if let Some(words) = kind.words() {
        return word(&text, words, kind).map(Answer::Word);
    }
    match kind {
        Kind::Lists => free_blocks(&text, pool_bytes).map(Answer::FreeBlocks),
        Kind::Merges => count(&text),
        _ if text == REFUSED => Ok(Answer::word(REFUSED)),
        Kind::Splits => count(&text),
        Kind::Offset => number(&text).map(Answer::Offset),
        _ => number(&text).map(Answer::Bytes),
    }
}

/// Parses a number of splits or merges.
fn count(text: &str) -> Result<Answer, String> {
    whole("the answer", 0..=u64::MAX)(text).map(Answer::Count)
}

/// Parses a number of bytes, also with a unit such as `KiB`.
fn number(text: &str) -> Result<u64, String> {
    let number = text.strip_suffix("bytes").unwrap_or(text).trim_end();
    let number = number.strip_suffix(" b").unwrap_or(number);
    // `4 KiB` and `4KiB` are `4k`, but `0x4b` is a number.
    let number = match number.strip_suffix("ib") {
        Some(rest) if rest.ends_with(['k', 'm', 'g']) => rest,
        _ => number,
    };
    let compact: String = number.split_whitespace().collect();
    size(&compact).map_err(|_| {
        format!("'{text}' is not a number of bytes; write for example 0x1000, 4096 or 4K")
    })
}

/// Parses one of the words.
fn word(text: &str, words: &[&str], kind: Kind) -> Result<String, String> {
    let is_separator = |c: char| c.is_whitespace() || "-_:()".contains(c);
    let parts: Vec<_> = text
        .split(is_separator)
        .filter(|part| !part.is_empty())
        .collect();
    let said = parts.join(" ");
    // `refused: too big` is `too big`.
    let said = match said.strip_prefix("refused ") {
        Some(cause) if kind == Kind::Result => cause,
        _ => &said,
    };
    if words.contains(&said) {
        return Ok(said.to_owned());
    }
    if said == REFUSED {
        return Err(format!("name the cause of the refusal: {}", list(words)));
    }
    let meant = nearest(said, words.iter().copied())
        .map_or_else(String::new, |near| format!("; did you mean '{near}'?"));
    Err(format!(
        "'{text}' is not an answer; write {}{meant}",
        list(words)
    ))
}

/// Returns words as `one, two or three`.
pub(super) fn list(words: &[&str]) -> String {
    match words {
        [rest @ .., last] if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        words => words.concat(),
    }
}

/// Parses the number of free blocks by size. Entries are separated by spaces or commas, and sizes with no free block
/// may be named or left out.
fn free_blocks(text: &str, pool_bytes: u64) -> Result<BTreeMap<u64, u64>, String> {
    let mut blocks = BTreeMap::new();
    if text == NONE {
        return Ok(blocks);
    }
    // `4 KiB : 1` is one entry.
    let text = ["kib", "mib", "k", "m"]
        .iter()
        .fold(text.to_owned(), |text, unit| {
            text.replace(&format!(" {unit}"), unit)
        });
    let text = text.replace(" :", ":").replace(": ", ":");
    let entries = text.split(|c: char| c.is_whitespace() || c == ',');
    for entry in entries.filter(|entry| !entry.is_empty()) {
        let Some((bytes, count)) = entry.split_once(':') else {
            return Err(format!(
                "'{entry}' has no number of blocks; write size:number, such as 4K:1 16K:2, or none"
            ));
        };
        let bytes = number(bytes)?;
        if !bytes.is_power_of_two() || bytes < PAGE_BYTES || bytes > pool_bytes {
            return Err(format!(
                "no block of the buddy system has the size in '{entry}'; the sizes are {BLOCK_SIZES}"
            ));
        }
        let count: u64 = whole("the number of free blocks", 0..=u64::MAX)(count)
            .map_err(|error| format!("'{entry}': {error}"))?;
        if blocks.insert(bytes, count).is_some() {
            return Err(format!("the size in '{entry}' is named twice"));
        }
    }
    if blocks.is_empty() {
        return Err("write size:number, such as 4K:1 16K:2, or none".to_owned());
    }
    blocks.retain(|_, count| *count > 0);
    Ok(blocks)
}
