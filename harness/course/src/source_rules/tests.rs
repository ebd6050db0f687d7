// SPDX-License-Identifier: GPL-2.0

//! Tests of the rules for the text of a learner's file.

use std::{
    fs,
    path::Path, //
};

use super::refusals;

const HEAD: &str =
    "#![cfg_attr(not(MODULE), no_std)]\n#![forbid(unsafe_code)] pub struct Student;\n";

/// Returns the refusals of a text behind the head of a file. Lines count from the first one of the text.
fn reasons(text: &str) -> Vec<String> {
    let found = refusals(&format!("{HEAD}{text}"));
    let found = found
        .iter()
        .map(|refusal| format!("{} {}", refusal.line - 2, refusal.reason));
    found.collect()
}

#[test]
fn each_starting_code_and_each_solution_is_accepted() {
    let mut files = 0;
    for folder in fs::read_dir(env!("CARGO_MANIFEST_DIR")).unwrap() {
        let folder = folder.unwrap().path();
        for name in ["start.rs", "solution.rs"] {
            let Ok(text) = fs::read_to_string(folder.join(name)) else {
                continue;
            };
            assert_eq!(refusals(&text), [], "{name} in {folder:?}");
            files += 1;
        }
    }
    assert!(files >= 8);
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../rust/student/lib.rs");
    assert_eq!(refusals(&fs::read_to_string(own).unwrap()), []);
}

#[test]
fn a_forbidden_construct_is_refused_with_its_line() {
    let cases = [
        "fn f() {\n unsafe {} }",
        "#[allow(unused)]\n#[unsafe(no_mangle)] fn f() {}",
        "\nextern crate alloc;",
        "\nextern \"C\" fn f() {}",
        "\nuse std::fs;",
        "\nuse {core::mem, std::fs};",
        "\nuse ::std::fs;",
        "\nuse slab_heap::Engine;",
        "fn f() {\n::std::process::exit(0) }",
        "fn f() -> u8 {\nreturn ::alloc::x() }",
        "fn f() {\nstd::process::exit(0) }",
        "macro_rules! m { () => {\n std::process::exit(0) } }",
        "const T: &str =\ninclude_str!(\"/etc/passwd\");",
        "const T: &str =\ncore::include_str!(\"/etc/passwd\");",
        "const T: &str =\nr#include_str!(\"/etc/passwd\");",
        "\nuse core::include_bytes as bytes;",
        "const T: &str =\nenv!(\"HOME\");",
        "const T: Option<&str> =\noption_env!(\"HOME\");",
        "fn f() {\ncore::arch::asm!(\"\") }",
        "\nstatic TABLE: [core::sync::atomic::AtomicU64; 9] = x();",
        "fn f() {\nstatic X: u8 = 1; }",
        "\nmod other;",
        "\n#[path = \"x.rs\"] mod other {}",
        "\n#[no_mangle] fn f() {}",
        "\n#[export_name = \"x\"] fn f() {}",
        "\n#[cfg_attr(all(), link_section = \"x\")] fn f() {}",
        "\n#[cfg_attr(all(), cfg_attr(all(), no_mangle))] fn f() {}",
        "\n#[doc = include_str!(\"x\")] fn f() {}",
        "\n#![feature(x)]",
        // A macro puts the tokens of a module, of a path and of an attribute together.
        "macro_rules! m { ($n:ident) => {\n mod $n; } } m!(other);",
        "macro_rules! m { ($m:tt $n:ident $b:tt $s:tt) => { $m $n $s } } m! {\n mod other {} ; }",
        "macro_rules! m { ($s:tt) => {\n mod other $s } } m!(;);",
        "macro_rules! m { ($a:meta) => {\n #[$a] fn f() {} } } m!(no_mangle);",
        "macro_rules! m { ($k:ident) => { $k::f() } } fn f() { m!(\n kernel) }",
        "macro_rules! m { ($c:tt $k:tt) => { use $k $c f; } } struct k; m!(::\n kernel);",
        // Names of the file and tokens in front of a path do not hide a crate.
        "fn kernel() {} fn f() {\n kernel::f() }",
        "fn f(x: u8) { match x { _ =>\n ::kernel::f() } }",
        "fn f(x: &'static\n ::kernel::X) {}",
        "struct S(pub\n ::kernel::X);",
        "impl Default for\n ::kernel::X {}",
    ];
    for text in cases {
        let found = reasons(text);
        let first = found.first().map_or("", |reason| reason.as_str());
        assert!(first.starts_with("2 "), "{text}: {found:?}");
    }
}

#[test]
fn a_harmless_file_is_accepted() {
    let cases = [
        "use core::alloc::Layout; use core::{alloc, mem};",
        "use slab_student::{Allocator, Memory}; mod list { pub struct List; } use list::List;",
        "enum Kind { Free } use Kind::Free; use self::Kind as K;",
        "fn alloc(kernel: u64) -> u64 { kernel } mod inner { pub fn f() { super::alloc(1); } }",
        "// unsafe extern std::fs\n/// `unsafe` code\nconst T: &str = \"unsafe std:: include!\";",
        "#[derive(Clone, Copy)] #[repr(u8)] enum E { A } #[expect(dead_code, reason = \"x\")] fn f() {}",
        "fn f(x: &'static str) -> &'static [u8] { x.as_bytes() } trait T: 'static {}",
        "fn f<'a>(x: &'a u8) -> impl Sized + use<'a> { x }",
        "#[cfg(test)] mod tests { #[test] fn a() {} }",
        "mod alloc { pub fn f() {} } fn f() { alloc::f() }",
        "macro_rules! m { ($(#[doc = $d:expr])* $n:ident) => { #[derive(Clone)] struct $n; } } m!(S);",
    ];
    for text in cases {
        assert_eq!(reasons(text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn a_file_without_the_two_attributes_is_refused() {
    let found = refusals("#![cfg_attr(MODULE, no_std)] pub struct Student;");
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "line 1: the file lacks the line `#![forbid(unsafe_code)]` of the starting code",
            "line 1: the file lacks the line `#![cfg_attr(not(MODULE), no_std)]` of the starting code"
        ]
    );
    assert_eq!(
        refusals("pub struct Student; mod a { #![forbid(unsafe_code)] #![no_std] }").len(),
        2
    );
}

/// The compiler skips the first line, so it does not see the comment.
#[test]
fn a_first_line_for_a_shell_is_refused() {
    for first in ["#!/*", "\u{feff}#! /*", "#!\u{a0}[ /*", "#!/bin/sh"] {
        let found = refusals(&format!("{first}\nextern crate std;\n// */\n{HEAD}"));
        assert_eq!(found.len(), 1, "{first}");
        assert_eq!(found[0].line, 1);
    }
}

#[test]
fn a_file_that_is_not_rust_is_a_syntax_refusal() {
    let found = refusals("fn f() {\n  \"");
    assert!(found[0].is_syntax && found.len() == 1);
}

#[test]
fn a_file_without_a_public_student_is_refused() {
    let head = HEAD.replace("pub struct Student;", "");
    let found = |text: &str| refusals(&format!("{head}{text}"));
    for text in [
        "",
        "struct Student;",
        "pub struct Students;",
        "pub(crate) struct Student;",
        "pub struct Bump; impl Bump { fn student() {} }",
        "use self::inner::Student; mod inner {}",
    ] {
        let found = found(text);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(
            found[0].reason.contains("a public type `Student`"),
            "{text}"
        );
        assert!(!found[0].is_syntax);
    }
    for text in [
        "pub struct Student { next: usize }",
        "pub struct Student<const N: usize = 8>;",
        "pub type Student = Bump; struct Bump;",
        "struct Bump; pub use self::Bump as Student;",
    ] {
        assert_eq!(found(text), [], "{text}");
    }
}
