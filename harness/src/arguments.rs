// SPDX-License-Identifier: GPL-2.0

//! Parsers of values on the command line, with readable errors.
//!
//! For a wrong number, clap prints the error of Rust's parser ("invalid digit found in string") or a
//! range in Rust's notation. The errors of this file name the value and its range.

use std::ops::RangeInclusive;

use clap::error::ErrorKind;

/// Returns an error for arguments that clap cannot check. The error is printed like clap's own errors, and
/// the exit status is 2.
pub(crate) fn usage(sentence: impl std::fmt::Display) -> clap::Error {
    clap::Error::raw(ErrorKind::ValueValidation, format!("{sentence}\n"))
}

/// Returns a parser of whole numbers in a range. `what` is the subject of the error messages.
pub(crate) fn whole<T: TryFrom<u64>>(
    what: &'static str,
    range: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static {
    move |text| {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(format!("{what} must be a whole number"));
        }
        // A number that does not fit into `u64` is outside of every range.
        let number = text.parse().ok().filter(|number| range.contains(number));
        let number = number.and_then(|number| T::try_from(number).ok());
        number.ok_or_else(|| match (*range.start(), *range.end()) {
            (0, u64::MAX) => format!("{what} must be less than 2^64"),
            (start, u64::MAX) => format!("{what} must be at least {start}"),
            (start, end) => format!("{what} must be from {start} to {end}"),
        })
    }
}

/// Returns the parser of a seed.
pub(crate) fn seed() -> impl Fn(&str) -> Result<u64, String> + Clone + Send + Sync + 'static {
    whole("a seed", 0..=u64::MAX)
}

/// Returns the parser of a pool's size.
pub(crate) fn pool_mib() -> impl Fn(&str) -> Result<u64, String> + Clone + Send + Sync + 'static {
    whole("the size of a pool in MiB", 1..=4096)
}

/// Parses a time in seconds.
///
/// # Errors
///
/// `text` is not a number from 0.001 to 1,000,000. The error is the sentence for the user.
pub(crate) fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.001..=1e6).contains(&seconds) => Ok(seconds),
        _ => Err("the time must be a number of seconds from 0.001 to 1000000".to_owned()),
    }
}

/// Parses a number of bytes: decimal or 0x…, with the suffix k, m, g or t for KiB, MiB, GiB or TiB.
///
/// # Errors
///
/// `word` is not a number of bytes below 2^64. The error is a sentence that contains the word.
pub(crate) fn size(word: &str) -> Result<u64, String> {
    let wrong = || {
        format!("'{word}' is not a number of bytes; write 100, 0x40, 4k, 2m or 1g (KiB, MiB, GiB)")
    };
    let shift = match word
        .bytes()
        .next_back()
        .map(|byte| byte.to_ascii_lowercase())
    {
        Some(b'k') => 10,
        Some(b'm') => 20,
        Some(b'g') => 30,
        Some(b't') => 40,
        _ => 0,
    };
    let digits = &word[..word.len() - usize::from(shift > 0)];
    let (digits, radix) = match digits.strip_prefix("0x") {
        Some(digits) => (digits, 16),
        None => (digits, 10),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| (byte as char).is_digit(radix)) {
        return Err(wrong());
    }
    let number = u64::from_str_radix(digits, radix).ok();
    number
        .and_then(|number| number.checked_mul(1 << shift))
        .ok_or_else(|| format!("'{word}' is too large: the limit is 2^64 - 1 bytes"))
}

/// Returns the word of `words` that is most similar to `word`, or `None` if none is similar enough.
pub(crate) fn nearest<'w>(word: &str, words: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    // `jaro` is the measure of clap's own suggestions. With a lower bound, one common letter could be enough.
    words
        .into_iter()
        .map(|other| (strsim::jaro(word, other), other))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, other)| other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_number_has_a_sentence() {
        let parse = |text| whole::<u16>("a count", 2..=300)(text);
        assert_eq!(parse("300"), Ok(300));
        assert_eq!(parse("0").unwrap_err(), "a count must be from 2 to 300");
        assert_eq!(
            parse("99999999999999999999").unwrap_err(),
            "a count must be from 2 to 300"
        );
        for word in ["", "x", "-1", "1.5", "+3"] {
            assert_eq!(parse(word).unwrap_err(), "a count must be a whole number");
        }
        let open = whole::<u64>("P", 2..=u64::MAX)("1").unwrap_err();
        assert_eq!(open, "P must be at least 2");
        for word in ["0", "0.0001", "-1", "inf", "nan", "x", "1e7"] {
            assert!(seconds(word).is_err(), "{word}");
        }
        assert_eq!(seconds("0.3"), Ok(0.3));
    }

    #[test]
    fn sizes_have_bases_and_units() {
        for (word, bytes) in [
            ("100", 100),
            ("0x10", 16),
            ("3k", 3072),
            ("4K", 4096),
            ("2m", 2 << 20),
            ("4g", 4 << 30),
            ("1T", 1 << 40),
            ("0x10k", 16 << 10),
        ] {
            assert_eq!(size(word), Ok(bytes), "{word}");
        }
        for word in ["", "k", "0x", "-1", "+1", "1.5k", "4kb", "é", "many"] {
            assert!(
                size(word).unwrap_err().contains("is not a number of bytes"),
                "{word}"
            );
        }
        for word in ["99999999999t", "18446744073709551616"] {
            assert!(size(word).unwrap_err().contains("2^64"), "{word}");
        }
    }

    #[test]
    fn the_nearest_word_is_found() {
        let words = ["alloc", "free", "realloc", "read"];
        assert_eq!(nearest("aloc", words), Some("alloc"));
        assert_eq!(nearest("fre", words), Some("free"));
        for other in ["dance", "a", "f"] {
            assert_eq!(nearest(other, words), None, "{other}");
        }
    }
}
