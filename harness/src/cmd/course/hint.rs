// SPDX-License-Identifier: GPL-2.0

//! `slablab course hint`: the ladder of hints, and the answers to the questions of a page.

use std::process::ExitCode;

use anyhow::bail;
use slablab_course::Exercise;

use super::Progress;

/// Shows a hint: the one with this number, or else the one after the last that was shown.
pub(super) fn hint(
    progress: &mut Progress,
    exercise: &Exercise,
    hint: Option<usize>,
) -> anyhow::Result<ExitCode> {
    let (number, hints) = (exercise.number, exercise.hints()?);
    let count = hints.len();
    let shown = progress.hint(number);
    if hint.is_none() && shown >= count {
        println!(
            "you have seen all {count} hints of exercise {number}; this is the last one again:\n"
        );
    }
    let hint = hint.unwrap_or((shown + 1).min(count));
    let Some(text) = hint.checked_sub(1).and_then(|index| hints.get(index)) else {
        bail!("exercise {number} has the hints 1 to {count}");
    };
    println!("hint {hint} of {count} for exercise {number}\n\n{text}");
    progress.set_hint(number, hint)?;
    Ok(ExitCode::SUCCESS)
}

/// Shows the answers to the questions of the page.
pub(super) fn answers(exercise: &Exercise) -> anyhow::Result<ExitCode> {
    print!("{}", exercise.file("answers.md")?);
    Ok(ExitCode::SUCCESS)
}
