// SPDX-License-Identifier: GPL-2.0

//! The page: its text, its style, its program and its data, put into one file.

use serde::Serialize;

use super::Document;
use crate::report::files::FileKind;

/// The template of the page, with a placeholder for each part.
const PAGE: &str = include_str!("../../../report-page/page.html");

/// The mark near the beginning of every page of `slablab report`.
const MARK: &[u8] = br#"<meta name="generator" content="slablab report">"#;

/// The number of bytes at the beginning of a page that contain the mark.
const HEAD: usize = 1024;

/// The kind of files that `report` may overwrite.
pub(super) const KIND: FileKind = FileKind {
    name: "a page of slablab report",
    is: |bytes| {
        let head = &bytes[..bytes.len().min(HEAD)];
        head.windows(MARK.len()).any(|part| part == MARK)
    },
};

/// The constant parts and their placeholders, in the order of the placeholders.
const PARTS: [(&str, &[&str]); 2] = [
    (
        "/* the style */",
        &[include_str!("../../../report-page/page.css")],
    ),
    (
        "/* the program */",
        &[
            include_str!("../../../report-page/timeline.js"),
            include_str!("../../../report-page/draw.js"),
            include_str!("../../../report-page/page.js"),
        ],
    ),
];

/// The placeholder of the data, which stands before the program.
const DATA: &str = "\"the data\"";

/// Returns the page of a document.
pub(super) fn of(document: &Document) -> anyhow::Result<String> {
    let mut page = PAGE.to_owned();
    for (place, files) in PARTS {
        page = page.replacen(place, &files.concat(), 1);
    }
    // Insert the data last: text from a trace could contain a placeholder.
    Ok(page.replacen(DATA, &script_safe(document)?, 1))
}

/// Returns JSON in which no string can end the script element or begin another one.
fn script_safe(document: &impl Serialize) -> anyhow::Result<String> {
    let json = serde_json::to_string(document)?;
    // JSON contains these characters in strings only.
    Ok(json
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_has_a_place() {
        for place in PARTS.iter().map(|(place, _)| *place).chain([DATA]) {
            assert_eq!(PAGE.matches(place).count(), 1, "{place}");
        }
        let program = PARTS[1].1.concat();
        assert!(!program.contains("</script") && !program.contains(DATA));
    }

    #[test]
    fn a_page_is_known_by_its_mark() {
        assert!((KIND.is)(PAGE.as_bytes()));
        for other in ["<!doctype html><title>mine</title>", "a 1 100\n", "{}"] {
            assert!(!(KIND.is)(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn data_cannot_leave_its_script() {
        let hostile = "</script><script>alert(1)</script><!-- & \" \u{2028}";
        let safe = script_safe(&hostile).unwrap();
        assert!(!safe.contains(['<', '>', '&']), "{safe}");
        let read: String = serde_json::from_str(&safe).unwrap();
        assert_eq!(read, hostile);
    }
}
