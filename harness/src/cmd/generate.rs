// SPDX-License-Identifier: GPL-2.0

//! `slablab generate`: the man pages and the completions of shells, for `make install`.
//!
//! Both are generated from the command line that clap parses, so that they name every option and nothing else.

use std::{
    fs,
    path::{
        Path,
        PathBuf, //
    },
    process::ExitCode,
};

use anyhow::Context;
use clap::{
    Args,
    Command, //
};
use clap_complete::Shell;

/// The shells that have completions.
const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Zsh, Shell::Fish];

/// Write the man pages and the completions of bash, zsh and fish
#[derive(Args)]
pub(crate) struct GenerateArgs {
    /// The folder, which is created; its parts are man/ and completions/
    folder: PathBuf,
}

/// Writes the man pages and the completions of `command`.
///
/// # Errors
///
/// Fails if a file cannot be written.
pub(crate) fn run(args: &GenerateArgs, command: &Command) -> anyhow::Result<ExitCode> {
    let command = without_hidden(command);
    write_pages(&command, &args.folder.join("man"))?;
    write_completions(command, &args.folder.join("completions"))?;
    Ok(ExitCode::SUCCESS)
}

/// Returns a copy of a command without the subcommands that help texts do not show, because clap_complete would
/// complete them. clap cannot remove a subcommand, so the copy is built from the parts of the command.
fn without_hidden(command: &Command) -> Command {
    let mut visible = Command::new(command.get_name().to_owned())
        .args(
            command
                .get_arguments()
                .filter(|argument| !argument.is_hide_set()),
        )
        .groups(command.get_groups().cloned())
        .subcommands(
            (command.get_subcommands())
                .filter(|subcommand| !subcommand.is_hide_set())
                .map(without_hidden),
        )
        .subcommand_required(command.is_subcommand_required_set())
        .propagate_version(command.is_propagate_version_set());
    if let Some(about) = command.get_about() {
        visible = visible.about(about.clone());
    }
    if let Some(about) = command.get_long_about() {
        visible = visible.long_about(about.clone());
    }
    if let Some(help) = command.get_after_help() {
        visible = visible.after_help(help.clone());
    }
    if let Some(help) = command.get_after_long_help() {
        visible = visible.after_long_help(help.clone());
    }
    if let Some(version) = command.get_version() {
        visible = visible.version(version.to_owned());
    }
    visible
}

/// Creates a folder.
fn create(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))
}

/// Writes one page for the command and one for each subcommand: `slablab-trace-make.1` for `slablab trace make`.
fn write_pages(command: &Command, folder: &Path) -> anyhow::Result<()> {
    create(folder)?;
    clap_mangen::generate_to(command.clone(), folder)
        .with_context(|| format!("cannot write the man pages to {}", folder.display()))
}

/// Writes the completions of each shell, in files with the names that the shells look for.
fn write_completions(mut command: Command, folder: &Path) -> anyhow::Result<()> {
    create(folder)?;
    let name = command.get_name().to_owned();
    for shell in SHELLS {
        clap_complete::generate_to(shell, &mut command, &name, folder)
            .with_context(|| format!("cannot write the completions to {}", folder.display()))?;
    }
    Ok(())
}
