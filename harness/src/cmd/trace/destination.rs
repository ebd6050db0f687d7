// SPDX-License-Identifier: GPL-2.0

//! The destination of traces: standard output, a file, or a folder with one file per trace.
//!
//! A destination is opened before the traces are generated, so that an error is reported immediately. Each
//! trace is written as soon as it is complete.

use std::{
    fs,
    io::{
        self,
        Write as _, //
    },
    path::{
        Path,
        PathBuf, //
    },
};

use anyhow::{
    Context,
    bail, //
};
use slablab_trace::{
    Trace,
    format::{
        self,
        Format, //
    },
};

use super::FileFormat;
use crate::{
    arguments::usage,
    report::files::{
        FileKind,
        Output, //
    },
};

impl FileFormat {
    /// Returns the kind of the files in this format.
    fn kind(self) -> FileKind {
        match self {
            Self::Text => FileKind {
                name: "a slablab trace",
                is: |bytes| is_trace(bytes, Format::Text),
            },
            Self::Rep => FileKind {
                name: "a .rep trace",
                is: |bytes| is_trace(bytes, Format::Rep),
            },
        }
    }
}

/// Returns whether a file is a trace in `format`. A text without any operation is no trace, because a file
/// of comments may be of any kind.
fn is_trace(bytes: &[u8], format: Format) -> bool {
    let trace = || format::parse("", bytes);
    format::detect(bytes) == format && trace().is_ok_and(|trace| !trace.ops().is_empty())
}

/// The destination of traces.
pub(in crate::cmd) struct Destination {
    format: FileFormat,
    output: TraceOutput,
}

enum TraceOutput {
    Stdout,
    Files {
        /// The file of each trace, in order; `None` after the trace was written.
        files: Vec<Option<Output>>,
        /// The folder that was created for the files, which is removed again if nothing is written.
        _created: Option<Created>,
    },
}

/// A folder that did not exist before.
struct Created(PathBuf);

impl Drop for Created {
    fn drop(&mut self) {
        // `remove_dir` fails if the folder contains files. The folder must then stay.
        let _ = fs::remove_dir(&self.0);
    }
}

impl Destination {
    /// Opens the destination of the traces `names`. One trace goes to standard output, to the file `out`,
    /// or to a file in the folder `out`. Several traces go to the folder `out`, which is created if it does not exist.
    ///
    /// # Errors
    ///
    /// A sentence that names the path that cannot be written.
    pub(in crate::cmd) fn open(
        names: &[String],
        format: FileFormat,
        out: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let output = match (names, out) {
            ([_], None) => TraceOutput::Stdout,
            (_, None) => bail!("several traces need a folder: use --out FOLDER"),
            ([_], Some(path)) if !path.is_dir() => {
                TraceOutput::files([path.to_owned()], None, format.kind())?
            }
            (_, Some(folder)) => {
                let names = file_names(names, format)?;
                let created = create(folder, names.len())?;
                let paths = names.iter().map(|name| folder.join(name));
                TraceOutput::files(paths, created, format.kind())?
            }
        };
        Ok(Self { format, output })
    }

    /// Returns the files that will be written.
    pub(in crate::cmd) fn paths(&self) -> impl Iterator<Item = &Path> {
        let files = match &self.output {
            TraceOutput::Stdout => &[][..],
            TraceOutput::Files { files, .. } => files,
        };
        files.iter().flatten().map(Output::path)
    }

    /// Writes a trace. `index` is the index of its name in the names that were passed to
    /// [`Destination::open`].
    ///
    /// # Errors
    ///
    /// A sentence that names the file.
    pub(in crate::cmd) fn write(&mut self, index: usize, trace: &Trace) -> anyhow::Result<()> {
        let text = self.format.write(trace);
        match &mut self.output {
            TraceOutput::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(text.as_bytes())?;
                stdout.flush()?;
            }
            TraceOutput::Files { files, .. } => {
                let file = files.get_mut(index).and_then(Option::take);
                file.context("no file was opened for the trace")?
                    .write(text.as_bytes())?;
            }
        }
        Ok(())
    }
}

impl TraceOutput {
    fn files(
        paths: impl IntoIterator<Item = PathBuf>,
        created: Option<Created>,
        kind: FileKind,
    ) -> anyhow::Result<Self> {
        let open = |path: PathBuf| Ok(Some(Output::open(&path, kind)?));
        let files = paths.into_iter().map(open).collect::<anyhow::Result<_>>()?;
        Ok(Self::Files {
            files,
            _created: created,
        })
    }
}

/// Creates the folder of several traces, unless it exists.
fn create(folder: &Path, traces: usize) -> anyhow::Result<Option<Created>> {
    if folder.is_dir() {
        return Ok(None);
    }
    let extension = folder.extension().and_then(|extension| extension.to_str());
    let is_a_file_name = extension.is_some_and(|extension| ["trace", "rep"].contains(&extension));
    if is_a_file_name || folder.exists() {
        return Err(usage(format_args!(
            "{}: {traces} traces need a folder, but this is the name of a file",
            folder.display()
        ))
        .into());
    }
    fs::create_dir(folder).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            anyhow::anyhow!("{}: the parent folder does not exist", folder.display())
        }
        io::ErrorKind::PermissionDenied => anyhow::anyhow!(
            "{}: this user has no permission to create this folder",
            folder.display()
        ),
        _ => anyhow::Error::from(error).context(folder.display().to_string()),
    })?;
    Ok(Some(Created(folder.to_owned())))
}

/// Returns the names of the files of several traces.
fn file_names(traces: &[String], format: FileFormat) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for name in traces {
        // The name of a trace may contain slashes.
        let name = name.replace('/', "-");
        let name = format!("{name}.{}", format.extension());
        if names.contains(&name) {
            bail!(
                "two traces have the same file name {name}: write each trace with a separate command"
            );
        }
        names.push(name);
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_trace_has_a_file_of_its_own_in_the_folder() {
        let names = |all: &[&str]| {
            let all: Vec<_> = all.iter().map(|name| (*name).to_owned()).collect();
            file_names(&all, FileFormat::Text)
        };
        assert_eq!(
            names(&["v1.2", "v1.3", "..", "/etc/x", ""]).unwrap(),
            [
                "v1.2.trace",
                "v1.3.trace",
                "...trace",
                "-etc-x.trace",
                ".trace"
            ]
        );
        let twice = names(&["a", "b", "a"]).unwrap_err().to_string();
        assert!(twice.contains("a.trace"), "{twice}");
        assert!(names(&["a/b", "a-b"]).is_err());
    }

    #[test]
    fn a_trace_is_known_by_its_format() {
        let (text, rep) = (FileFormat::Text.kind().is, FileFormat::Rep.kind().is);
        let written = b"slablab-trace 1\nname x\na 1 100\n";
        assert!(text(written) && text(b"a 1 100\n") && !rep(written));
        let exercise = b"0\n1\n1\n1\na 0 100\n";
        assert!(rep(exercise) && !text(exercise));
        for other in [
            &b"# a script\n"[..],
            b"a b c\n",
            b"<html>",
            b"\xff\xff",
            b"12\n",
        ] {
            assert!(!text(other) && !rep(other), "{other:?}");
        }
    }
}
