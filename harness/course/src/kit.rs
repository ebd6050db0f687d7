// SPDX-License-Identifier: GPL-2.0

//! The kit: everything that a program with a learner's allocator consists of, except for the learner's file.
//!
//! Cargo builds the crates of the kit once. [`Kit::build`] then calls the compiler twice, for the learner's crate and
//! for the program, which takes less than a second. The kit is not changed afterwards, and each build has a folder of
//! its own, so that many submissions can be built at the same time.
//!
//! The compiler reads an untrusted text, so its time, its memory and its output are limited.

use std::{
    collections::HashMap,
    env, fs,
    hash::{
        DefaultHasher,
        Hash as _,
        Hasher as _, //
    },
    io::ErrorKind,
    path::{
        Path,
        PathBuf, //
    },
    process::{
        self,
        Command,
        Stdio, //
    },
    time::{
        Duration,
        UNIX_EPOCH, //
    },
};

use anyhow::{
    Context,
    bail, //
};
use serde::Deserialize;

use crate::{
    limited_command::{
        Ended,
        Limits, //
    },
    submission::Submission,
};

/// The crates that the program uses, besides the learner's.
const CRATES: [&str; 4] = [
    "slab_host",
    "slab_student",
    "slablab_command",
    "slablab_lab",
];

/// The limits of the compiler. It needs less than a second and 200 MiB for a model solution.
const COMPILER: Limits = Limits {
    seconds: 120,
    cpu_seconds: None,
    memory_bytes: Some(4 << 30),
    file_bytes: Some(256 << 20),
    output_bytes: 16 << 10,
};

/// The options of both calls of the compiler: those of Cargo's profile `release` in this workspace.
const OPTIONS: [&str; 10] = [
    "--edition=2024",
    "--color=never",
    "-Copt-level=3",
    "-Cdebuginfo=line-tables-only",
    "-Coverflow-checks=on",
    "-Cstrip=debuginfo",
    // Warnings of a submission are of no interest, and neither are messages without end.
    "-Awarnings",
    "--error-format=human",
    "-Funsafe_code",
    "--crate-type",
];

/// A kit.
pub struct Kit {
    folder: PathBuf,
    /// The file of each crate in [`CRATES`].
    crates: HashMap<String, PathBuf>,
}

/// The options of a build.
#[derive(Clone, Copy, Debug)]
pub struct BuildOptions {
    /// Whether the program is linked statically, for a machine without libraries.
    pub is_static: bool,
    /// The processor time of each call of the compiler, in seconds.
    pub cpu_seconds: u64,
}

/// A message of Cargo.
#[derive(Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
enum Message {
    /// A crate was built, or is up to date.
    CompilerArtifact {
        target: Target,
        filenames: Vec<PathBuf>,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

impl Kit {
    /// Builds the crates of a checkout, and returns the kit.
    ///
    /// # Errors
    ///
    /// Cargo fails, or the kit cannot be written.
    pub fn prepare(checkout: &Path) -> anyhow::Result<Self> {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
        cargo.args([
            "build",
            "--quiet",
            "--release",
            "--locked",
            "--message-format=json-render-diagnostics",
        ]);
        cargo.args(CRATES.iter().flat_map(|name| ["-p", name]));
        let output = cargo
            .current_dir(checkout)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output();
        let output = output.context("cannot run cargo")?;
        if !output.status.success() {
            bail!("the crates of slablab do not compile: see the errors above");
        }
        let (mut files, mut names) = (Vec::new(), HashMap::new());
        for line in output
            .stdout
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            let Message::CompilerArtifact { target, filenames } =
                serde_json::from_slice(line).context("cannot read the messages of cargo")?
            else {
                continue;
            };
            if target.kind.iter().any(|kind| kind == "custom-build") {
                continue;
            }
            for file in filenames {
                // The name of the metadata has a hash, as the library beside it has. The name of the other copy does not.
                let file = match file.extension().and_then(|extension| extension.to_str()) {
                    Some("rmeta") => file.with_extension("rlib"),
                    Some("so") => file,
                    _ => continue,
                };
                names.insert(
                    target.name.clone(),
                    PathBuf::from(file.file_name().unwrap_or_default()),
                );
                files.push(file);
            }
        }
        files.push(checkout.join("harness/bin/main.rs"));
        let folder = checkout
            .join("build/course")
            .join(format!("kit-{:016x}", state(&files)?));
        if !folder.exists() {
            store(&files, &folder)
                .with_context(|| format!("cannot create {}", folder.display()))?;
        }
        let crates = CRATES.iter().map(|name| match names.get(*name) {
            Some(file) => Ok(((*name).to_owned(), file.clone())),
            None => bail!("cargo built no crate {name}"),
        });
        let crates = crates.collect::<anyhow::Result<_>>()?;
        Ok(Self { folder, crates })
    }

    /// Builds the program with a submission in `folder`, and returns its path.
    ///
    /// # Errors
    ///
    /// The outer error: the folder cannot be written, or the compiler cannot be run. The inner error: the reason why
    /// there is no program, with the output of the compiler.
    pub fn build(
        &self,
        submission: &Submission,
        folder: &Path,
        options: &BuildOptions,
    ) -> anyhow::Result<Result<PathBuf, String>> {
        // The compiler's messages and a panic name the file by the path that a learner knows.
        let source = "rust/student/lib.rs";
        let file = folder.join(source);
        fs::create_dir_all(folder.join("rust/student"))
            .with_context(|| format!("cannot create {}", folder.display()))?;
        fs::write(&file, submission.text())
            .with_context(|| format!("cannot write {}", file.display()))?;
        let limits = Limits {
            cpu_seconds: Some(options.cpu_seconds),
            ..COMPILER
        };
        let mut library = self.compiler(folder, &limits);
        library.args([
            "rlib",
            "--crate-name=student",
            source,
            "-o",
            "libstudent.rlib",
        ]);
        library.arg("--extern").arg(self.external("slab_student"));
        let mut program = self.compiler(folder, &limits);
        program.args([
            "bin",
            "--crate-name=slablab",
            "--cfg=feature=\"student\"",
            "-o",
            "slablab",
            "--extern=student=libstudent.rlib",
        ]);
        program.arg(self.folder.join("main.rs"));
        for name in CRATES {
            program.arg("--extern").arg(self.external(name));
        }
        if options.is_static {
            program.arg("-Ctarget-feature=+crt-static");
        }
        for command in [library, program] {
            let run = limits.run(command).context("cannot run rustc")?;
            let what = match run.ended {
                Ended::Status(0) => continue,
                Ended::Status(_) => "the file does not compile".to_owned(),
                Ended::Limit(limit) => format!("the compiler was ended: {limit}"),
                Ended::Signal(signal) => {
                    format!("the compiler ended with signal {signal}, or needed too much memory")
                }
            };
            return Ok(Err(format!(
                "{what}\n{}",
                String::from_utf8_lossy(&run.errors)
            )));
        }
        Ok(Ok(folder.join("slablab")))
    }

    /// Returns the compiler with the options of both calls. The next argument is the type of the crate.
    fn compiler(&self, folder: &Path, limits: &Limits) -> Command {
        let mut compiler = limits.command(env::var_os("RUSTC").unwrap_or("rustc".into()));
        // The environment could have passwords, and options for the compiler.
        compiler.env_clear();
        for name in [
            "PATH",
            "HOME",
            "RUSTUP_HOME",
            "RUSTUP_TOOLCHAIN",
            "CARGO_HOME",
            "TMPDIR",
        ] {
            compiler.envs(env::var_os(name).map(|value| (name, value)));
        }
        let mut dependencies = std::ffi::OsString::from("-Ldependency=");
        dependencies.push(&self.folder);
        compiler.current_dir(folder).arg(dependencies).args(OPTIONS);
        compiler
    }

    /// Returns the value of the option `--extern` for a crate.
    fn external(&self, name: &str) -> std::ffi::OsString {
        let mut external = std::ffi::OsString::from(format!("{name}="));
        external.push(self.folder.join(&self.crates[name]));
        external
    }
}

/// Returns a hash of the names, lengths and modification times of the files. When Cargo changes a library, the library
/// gets a new modification time, so different contents have different hashes.
fn state(files: &[PathBuf]) -> anyhow::Result<u64> {
    let mut hasher = DefaultHasher::new();
    for file in files {
        let metadata =
            fs::metadata(file).with_context(|| format!("cannot read {}", file.display()))?;
        let time = metadata
            .modified()?
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        (file, metadata.len(), time).hash(&mut hasher);
    }
    Ok(hasher.finish())
}

/// Puts the files into a new folder. The folder appears with all its files or not at all.
fn store(files: &[PathBuf], folder: &Path) -> anyhow::Result<()> {
    let part = folder.with_extension(format!("{}.part", process::id()));
    fs::create_dir_all(&part)?;
    for file in files {
        let copy = part.join(file.file_name().unwrap_or_default());
        // The compiler replaces a library and does not change it, so a link keeps the contents.
        fs::hard_link(file, &copy).or_else(|_| fs::copy(file, &copy).map(drop))?;
    }
    match fs::rename(&part, folder) {
        Ok(()) => Ok(()),
        // Another process has created the folder meanwhile.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::AlreadyExists | ErrorKind::DirectoryNotEmpty
            ) =>
        {
            Ok(fs::remove_dir_all(&part)?)
        }
        Err(error) => Err(error.into()),
    }
}
