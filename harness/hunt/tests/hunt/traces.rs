// SPDX-License-Identifier: GPL-2.0

//! For each defect there is a stored trace that the judge accepts.

use std::fs;

use crate::support::{
    path,
    search,
    stored,
    trace, //
};
use slablab_hunt::{
    Defect, Rule, Version,
    judge::{
        Verdict,
        replay,
        verdict, //
    },
};
use slablab_trace::format::text;

fn judged(defect: Defect, trace: &slablab_trace::Trace, named: Rule) -> Verdict {
    let sound = replay(Version::Sound(defect.kind()), trace).unwrap();
    let defective = replay(Version::Defective(defect), trace).unwrap();
    verdict(sound, defective, named)
}

#[test]
fn the_stored_trace_of_each_defect_is_accepted() {
    for defect in Defect::ALL {
        let verdict = judged(defect, &stored(defect), defect.rule());
        assert!(
            matches!(verdict, Verdict::Accepted(_)),
            "{}: {verdict:?}",
            defect.name()
        );
    }
}

/// Writes the stored traces again. `HUNT` names one defect.
#[test]
#[ignore = "writes files"]
fn find_traces() {
    let only = std::env::var("HUNT").ok();
    for defect in Defect::ALL {
        if only.as_deref().is_some_and(|only| only != defect.name()) {
            continue;
        }
        match search(defect) {
            Some(steps) => {
                println!("{} {} {steps:?}", defect.name(), steps.len());
                let file = text::write(&trace(defect.name(), &steps));
                fs::write(path(defect), file).unwrap();
            }
            None => println!("{} NOT FOUND", defect.name()),
        }
    }
}
