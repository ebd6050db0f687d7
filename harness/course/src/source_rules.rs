// SPDX-License-Identifier: GPL-2.0

//! The rules for the text of a learner's file: safe Rust, in one file, without other crates.
//!
//! The rules are tested before the file is compiled, on its tokens. A token cannot hide in a macro, so each rule is a
//! word that may not stand in the file, or an attribute that is not in a list of harmless ones. The compiler enforces
//! most of the rules a second time: `#![forbid(unsafe_code)]` and `no_std` must be in the file.
//!
//! A macro can put tokens together in a new order. The rules for tokens that stand side by side, `mod name;` and
//! `kernel::`, are therefore rules for one word inside of a macro.

#[cfg(test)]
mod tests;

use std::{
    collections::HashSet,
    fmt, //
};

use proc_macro2::{
    Delimiter,
    Group,
    Span,
    TokenStream,
    TokenTree, //
};

/// A reason for which a learner's file is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The line, from 1.
    pub line: usize,
    /// The reason, as a sentence without a full stop.
    pub reason: String,
    /// Whether the file cannot be divided into tokens. The compiler then explains more.
    pub is_syntax: bool,
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "line {}: {}", self.line, self.reason)
    }
}

/// Crates that a file may use.
const CRATES: [&str; 2] = ["core", "slab_student"];

/// Words that a path may begin with in a `use` declaration, besides crates and the file's own names.
const PATH_STARTS: [&str; 4] = ["crate", "self", "super", "Self"];

/// Crates that a file must not use, and that the compiler might find without `extern crate`. In the kernel it finds
/// `kernel`.
const OTHER_CRATES: [&str; 9] = [
    "std",
    "kernel",
    "bindings",
    "uapi",
    "pin_init",
    "slab_heap",
    "slab_session",
    "slab_host",
    "buddy_system_allocator",
];

/// Crates that a file must not use, and that the compiler finds only with `extern crate`. Modules of `core` and of the
/// file have the same names.
const SYSTEM_CRATES: [&str; 4] = ["alloc", "macros", "proc_macro", "test"];

/// Macros that read other files or the environment, or that contain machine code.
const MACROS: [&str; 8] = [
    "include",
    "include_str",
    "include_bytes",
    "env",
    "option_env",
    "asm",
    "global_asm",
    "naked_asm",
];

/// The attributes that a file may use.
const ATTRIBUTES: [&str; 23] = [
    "allow",
    "cfg",
    "cfg_attr",
    "clippy",
    "cold",
    "default",
    "deny",
    "deprecated",
    "derive",
    "doc",
    "expect",
    "forbid",
    "ignore",
    "inline",
    "must_use",
    "no_std",
    "non_exhaustive",
    "repr",
    "rustfmt",
    "should_panic",
    "test",
    "track_caller",
    "warn",
];

/// Returns the reasons for which a learner's file is refused, in the order of their lines. An accepted file has none.
#[must_use]
pub fn refusals(source: &str) -> Vec<Refusal> {
    // The compiler skips such a first line, and would see tokens that a comment in the line hides from the rules.
    let text = source.strip_prefix('\u{feff}').unwrap_or(source);
    if text.starts_with("#!") && !text.starts_with("#![") {
        return vec![Refusal {
            line: 1,
            reason: "a first line for a shell, `#!`, is not allowed".to_owned(),
            is_syntax: false,
        }];
    }
    let tokens: TokenStream = match source.parse() {
        Ok(tokens) => tokens,
        Err(error) => {
            let error: proc_macro2::LexError = error;
            return vec![Refusal {
                line: error.span().start().line,
                reason: "the file is not Rust: a character or a bracket is out of place".to_owned(),
                is_syntax: true,
            }];
        }
    };
    let mut scan = Scan::default();
    scan.collect_names(&tokens);
    scan.top_attributes(&tokens);
    scan.student(&tokens);
    scan.tokens(&tokens, false);
    scan.refusals.sort_by_key(|refusal| refusal.line);
    scan.refusals
}

/// Returns the tokens as a list, which can be indexed.
fn trees(tokens: &TokenStream) -> Vec<TokenTree> {
    tokens.clone().into_iter().collect()
}

/// Returns the word of an identifier, without the prefix of a raw one.
fn word(tree: Option<&TokenTree>) -> Option<String> {
    match tree {
        Some(TokenTree::Ident(ident)) => {
            let text = ident.to_string();
            Some(text.strip_prefix("r#").unwrap_or(&text).to_owned())
        }
        _ => None,
    }
}

fn is_punct(tree: Option<&TokenTree>, wanted: char) -> bool {
    matches!(tree, Some(TokenTree::Punct(punct)) if punct.as_char() == wanted)
}

fn bracket(tree: Option<&TokenTree>, delimiter: Delimiter) -> Option<&Group> {
    match tree {
        Some(TokenTree::Group(group)) if group.delimiter() == delimiter => Some(group),
        _ => None,
    }
}

/// Returns whether a file declares a public `Student`, perhaps in a macro.
fn has_public_student(tokens: &TokenStream) -> bool {
    let trees = trees(tokens);
    (0..trees.len()).any(|index| {
        if let TokenTree::Group(group) = &trees[index] {
            return has_public_student(&group.stream());
        }
        let is = |place: usize, words: &[&str]| {
            word(trees.get(place)).is_some_and(|word| words.contains(&word.as_str()))
        };
        is(index, &["pub"])
            && match word(trees.get(index + 1)).as_deref() {
                Some("struct" | "enum" | "union" | "type") => is(index + 2, &["Student"]),
                // The name may stand in braces.
                Some("use") => (trees
                    .iter()
                    .skip(index)
                    .take_while(|tree| !is_punct(Some(tree), ';')))
                .any(|tree| tree.to_string().contains("Student")),
                _ => false,
            }
    })
}

#[derive(Default)]
struct Scan {
    /// Names that the file declares.
    names: HashSet<String>,
    refusals: Vec<Refusal>,
}

impl Scan {
    fn refuse(&mut self, span: Span, reason: impl Into<String>) {
        let (line, reason) = (span.start().line, reason.into());
        let known = |refusal: &Refusal| refusal.line == line && refusal.reason == reason;
        if !self.refusals.iter().any(known) {
            self.refusals.push(Refusal {
                line,
                reason,
                is_syntax: false,
            });
        }
    }

    /// Collects the names of items, which may begin a path.
    fn collect_names(&mut self, tokens: &TokenStream) {
        const DECLARATIONS: [&str; 10] = [
            "mod", "struct", "enum", "union", "trait", "type", "fn", "const", "static", "as",
        ];
        let trees = trees(tokens);
        for (index, tree) in trees.iter().enumerate() {
            match tree {
                TokenTree::Ident(ident) if DECLARATIONS.contains(&ident.to_string().as_str()) => {
                    self.names.extend(word(trees.get(index + 1)));
                }
                TokenTree::Group(group) => self.collect_names(&group.stream()),
                _ => {}
            }
        }
    }

    /// Refuses a file without the two attributes that every file must have.
    fn top_attributes(&mut self, tokens: &TokenStream) {
        let trees = trees(tokens);
        let (mut forbids, mut no_std) = (false, false);
        for (index, tree) in trees.iter().enumerate() {
            let is_inner = is_punct(Some(tree), '#') && is_punct(trees.get(index + 1), '!');
            let Some(group) = bracket(trees.get(index + 2), Delimiter::Bracket) else {
                continue;
            };
            if is_inner {
                let text: String = group.stream().to_string().split_whitespace().collect();
                forbids |= text == "forbid(unsafe_code)";
                no_std |= text == "no_std" || text == "cfg_attr(not(MODULE),no_std)";
            }
        }
        for (present, line) in [
            (forbids, "#![forbid(unsafe_code)]"),
            (no_std, "#![cfg_attr(not(MODULE), no_std)]"),
        ] {
            if !present {
                self.refusals.push(Refusal {
                    line: 1,
                    reason: format!("the file lacks the line `{line}` of the starting code"),
                    is_syntax: false,
                });
            }
        }
    }

    /// Refuses a file without the public type `Student`. The compiler would name a file that is not the learner's.
    fn student(&mut self, tokens: &TokenStream) {
        if !has_public_student(tokens) {
            self.refusals.push(Refusal {
                line: 1,
                reason: "the file needs a public type `Student`: `pub struct Student`".to_owned(),
                is_syntax: false,
            });
        }
    }

    /// Tests tokens, which may be those of a macro: of its declaration, or the arguments of a call.
    fn tokens(&mut self, tokens: &TokenStream, in_macro: bool) {
        let trees = trees(tokens);
        for (index, tree) in trees.iter().enumerate() {
            match tree {
                TokenTree::Ident(ident) => {
                    self.ident(&trees, index, ident.span());
                    if in_macro {
                        self.macro_ident(tree);
                    }
                }
                TokenTree::Punct(punct) if punct.as_char() == '#' => {
                    let skip = 1 + usize::from(is_punct(trees.get(index + 1), '!'));
                    if let Some(group) = bracket(trees.get(index + skip), Delimiter::Bracket) {
                        self.attribute(&group.stream());
                    }
                }
                TokenTree::Group(group) => {
                    self.tokens(&group.stream(), in_macro || is_macro(&trees[..index]));
                }
                _ => {}
            }
        }
    }

    /// Tests an identifier in a macro, whose neighbours can change.
    fn macro_ident(&mut self, tree: &TokenTree) {
        let name = word(Some(tree)).unwrap_or_default();
        if tree.to_string() == "mod" {
            self.refuse(tree.span(), "a module in a macro is not allowed");
        }
        if OTHER_CRATES.contains(&name.as_str()) {
            self.refuse(tree.span(), other_crate(&name));
        }
    }

    /// Tests the identifier at `index`.
    fn ident(&mut self, trees: &[TokenTree], index: usize, span: Span) {
        // A raw identifier is never a keyword.
        let raw = trees[index].to_string();
        let Some(name) = word(trees.get(index)) else {
            return;
        };
        let next = trees.get(index + 1);
        match raw.as_str() {
            "unsafe" => {
                return self.refuse(span, "`unsafe` is not allowed: the allocator is safe Rust");
            }
            "extern" => {
                return self.refuse(
                    span,
                    "`extern` is not allowed: the file uses no other crate and exports nothing",
                );
            }
            // Not the lifetime, which has an apostrophe in front of it.
            "static" if index == 0 || !is_punct(trees.get(index - 1), '\'') => {
                return self.refuse(
                    span,
                    "`static` is not allowed: the state of the allocator is its type and the pool; a table can be a `const`",
                );
            }
            "mod" if bracket(trees.get(index + 2), Delimiter::Brace).is_none() => {
                return self.refuse(
                    span,
                    "a module in another file is not allowed: the allocator is one file",
                );
            }
            "use" => return self.use_tree(&trees[index + 1..]),
            _ => {}
        }
        if MACROS.contains(&name.as_str()) {
            return self.refuse(
                span,
                format!("`{name}` is not allowed: the file contains all of the allocator"),
            );
        }
        let follows_path = index >= 3
            && is_punct(trees.get(index - 1), ':')
            && is_punct(trees.get(index - 2), ':')
            && ends_path(&trees[index - 3]);
        let begins_path = is_punct(next, ':') && is_punct(trees.get(index + 2), ':');
        let is_system =
            !follows_path && SYSTEM_CRATES.contains(&name.as_str()) && !self.names.contains(&name);
        if begins_path && (is_system || OTHER_CRATES.contains(&name.as_str())) {
            self.refuse(span, other_crate(&name));
        }
    }

    /// Tests the beginning of each path in a `use` declaration.
    fn use_tree(&mut self, trees: &[TokenTree]) {
        let mut at_start = true;
        for tree in trees {
            match tree {
                TokenTree::Ident(ident) if at_start => {
                    at_start = false;
                    let name = word(Some(tree)).unwrap_or_default();
                    let is_crate = OTHER_CRATES
                        .iter()
                        .chain(&SYSTEM_CRATES)
                        .any(|other| *other == name);
                    let known = CRATES.contains(&name.as_str())
                        || PATH_STARTS.contains(&name.as_str())
                        || self.names.contains(&name) && !is_crate;
                    if !known {
                        self.refuse(ident.span(), other_crate(&name));
                    }
                }
                TokenTree::Group(group) if at_start => {
                    self.use_tree(&trees_of(group));
                    at_start = false;
                }
                // `use<'a>` in a type is not a declaration.
                TokenTree::Punct(punct) if punct.as_char() == ';' || punct.as_char() == '<' => {
                    return;
                }
                TokenTree::Punct(punct) if punct.as_char() == ',' => at_start = true,
                _ => {}
            }
        }
    }

    /// Tests the contents of an attribute's brackets, and those that `cfg_attr` adds.
    fn attribute(&mut self, tokens: &TokenStream) {
        let trees = trees(tokens);
        let Some(name) = word(trees.first()) else {
            if let Some(first) = trees.first() {
                self.refuse(first.span(), "an attribute without a name is not allowed");
            }
            return;
        };
        if !ATTRIBUTES.contains(&name.as_str()) {
            let span = trees[0].span();
            return self.refuse(span, format!("the attribute `{name}` is not allowed"));
        }
        if name == "cfg_attr" {
            if let Some(group) = bracket(trees.get(1), Delimiter::Parenthesis) {
                let parts = trees_of(group);
                for added in parts.split(|tree| is_punct(Some(tree), ',')).skip(1) {
                    self.attribute(&added.iter().cloned().collect());
                }
            }
        }
    }
}

/// Returns whether a group behind these tokens belongs to a macro: `name!` or `macro_rules! name` precedes it.
fn is_macro(before: &[TokenTree]) -> bool {
    let is_bang = |back: usize| {
        let place = before.len().checked_sub(back);
        place.is_some_and(|place| is_punct(before.get(place), '!'))
    };
    is_bang(1) || is_bang(2) && matches!(before.last(), Some(TokenTree::Ident(_)))
}

/// Returns whether a path may end with this token, so that `::name` behind it continues the path.
fn ends_path(tree: &TokenTree) -> bool {
    const KEYWORDS: [&str; 11] = [
        "return", "in", "as", "mut", "dyn", "impl", "else", "match", "if", "while", "break",
    ];
    match tree {
        TokenTree::Punct(punct) => punct.as_char() == '>',
        TokenTree::Ident(ident) => !KEYWORDS.contains(&ident.to_string().as_str()),
        _ => false,
    }
}

fn trees_of(group: &Group) -> Vec<TokenTree> {
    trees(&group.stream())
}

fn other_crate(name: &str) -> String {
    format!("the crate `{name}` is not allowed: the file uses `core` and `slab_student`")
}
