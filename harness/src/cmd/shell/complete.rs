// SPDX-License-Identifier: GPL-2.0

//! Completion with the Tab key: commands, and the names of live blocks.

use rustyline::{
    Context,
    Helper,
    completion::Completer,
    highlight::Highlighter,
    hint::Hinter,
    validate::Validator, //
};

use super::command::COMMANDS;

/// Completes commands and the names of blocks.
pub(super) struct Completion {
    names: Vec<String>,
}

impl Completion {
    /// Creates a completion for these names of blocks.
    pub(super) fn new(names: Vec<String>) -> Self {
        Self { names }
    }

    /// Returns the start of the last word of a line, and the completions of that word.
    fn words(&self, line: &str) -> (usize, Vec<String>) {
        let start = line.rfind(char::is_whitespace).map_or(0, |blank| blank + 1);
        let (before, word) = line.split_at(start);
        let before: Vec<&str> = before.split_whitespace().collect();
        let blocks = || {
            let names = self.names.iter().map(String::as_str);
            names
                .chain(["$last"])
                .map(|name| format!("{name} "))
                .collect()
        };
        let mut words: Vec<String> = match before[..] {
            [] => COMMANDS
                .iter()
                .map(|entry| match entry.arguments {
                    "" => entry.word.to_owned(),
                    _ => format!("{} ", entry.word),
                })
                .collect(),
            ["free" | "realloc" | "read" | "write"] => blocks(),
            ["let", _, "="] => vec!["alloc ".to_owned(), "realloc ".to_owned()],
            ["let", _, "=", "realloc"] => blocks(),
            _ => Vec::new(),
        };
        words.retain(|other| other.starts_with(word));
        (start, words)
    }
}

impl Completer for Completion {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(self.words(&line[..position]))
    }
}

impl Hinter for Completion {
    type Hint = String;
}

impl Highlighter for Completion {}

impl Validator for Completion {}

impl Helper for Completion {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_names_are_completed() {
        let completion = Completion::new(vec!["first".to_owned(), "fifth".to_owned()]);
        let words = |line| completion.words(line);
        assert_eq!(words("al"), (0, vec!["alloc ".to_owned()]));
        assert_eq!(words("re").1, ["realloc ", "read "]);
        assert_eq!(words("ma").1, ["map"]);
        assert_eq!(
            words("free fi"),
            (5, vec!["first ".to_owned(), "fifth ".to_owned()])
        );
        assert_eq!(words("realloc $").1, ["$last "]);
        assert_eq!(words("let a = a").1, ["alloc "]);
        assert_eq!(words("let a = realloc fir").1, ["first "]);
        assert!(words("alloc 1").1.is_empty());
    }
}
