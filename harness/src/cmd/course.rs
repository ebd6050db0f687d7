// SPDX-License-Identifier: GPL-2.0

//! `slablab course`: exercises in which a learner writes an allocator.

mod grade;

use std::{
    env, fs,
    io::{
        self,
        IsTerminal,
        Write, //
    },
    path::{
        Path,
        PathBuf, //
    },
    process::{
        Command,
        ExitCode, //
    },
};

use anyhow::{
    Context,
    bail, //
};
use clap::{
    Args,
    Subcommand, //
};

use slablab_course::{
    Exercise,
    exercise,
    verify, //
};

/// Learn to write an allocator: exercises with tests and hints
///
/// Your allocator is the file rust/student/lib.rs. The commands work in a checkout of slablab and need cargo.
#[derive(Args)]
pub(crate) struct CourseArgs {
    #[command(subcommand)]
    command: CourseCommand,
}

#[derive(Subcommand)]
enum CourseCommand {
    /// List the exercises
    List,
    /// Show the page of an exercise and put its starting code in place
    Start {
        /// The number of the exercise
        exercise: usize,
        /// Put the model solution of the exercise before this one in place, instead of the starting code
        #[arg(long)]
        solution: bool,
        /// Do not ask before the file is replaced
        #[arg(long)]
        yes: bool,
    },
    /// Build your allocator and run the tests of an exercise, up to the first failure
    Check {
        /// The number of the exercise [default: the one that was started last]
        exercise: Option<usize>,
    },
    /// Show a hint
    Hint {
        /// The number of the exercise
        exercise: usize,
        /// The number of the hint: each says more than the one before
        #[arg(default_value_t = 1)]
        hint: usize,
    },
    /// Grade your allocator: tests, use of the pool, accesses
    Grade(grade::GradeArgs),
    /// Print the results of the allocator of this program
    #[command(hide = true)]
    Measure(grade::MeasureArgs),
    /// Run the tests of an exercise on the allocator of this program
    #[command(hide = true)]
    Verify {
        /// The number of the exercise
        exercise: usize,
    },
}

/// A checkout of slablab.
struct Checkout(PathBuf);

impl Checkout {
    /// Finds the checkout that contains the working directory.
    fn find() -> anyhow::Result<Self> {
        let here = env::current_dir().context("cannot read the working directory")?;
        let mut folders = here.ancestors();
        let top = folders.find(|folder| folder.join("harness/course").is_dir());
        match top {
            Some(top) => Ok(Self(top.to_owned())),
            None => bail!(
                "no folder above {} is a checkout of slablab",
                here.display()
            ),
        }
    }

    fn student(&self) -> PathBuf {
        self.0.join("rust/student/lib.rs")
    }

    /// The folder of the course's own files: the last exercise, and the files that were replaced.
    fn state(&self) -> PathBuf {
        self.0.join("build/course")
    }

    /// Builds the program with the learner's allocator, and returns its path.
    fn build(&self) -> anyhow::Result<PathBuf> {
        let status = Command::new("cargo")
            .args(["build", "--quiet", "--release", "--locked", "-p", "slablab"])
            .current_dir(&self.0)
            .status()
            .context("cannot run cargo")?;
        if !status.success() {
            bail!("rust/student/lib.rs does not compile: see the errors above");
        }
        Ok(self.0.join("build/target/release/slablab"))
    }
}

/// Runs the subcommand.
pub(crate) fn run(args: CourseArgs) -> anyhow::Result<ExitCode> {
    if let CourseCommand::Measure(args) = &args.command {
        // The virtual machine of a grade has no checkout.
        return grade::measure(args);
    }
    let checkout = Checkout::find()?;
    let exercises = exercise::all(&checkout.0)?;
    match args.command {
        CourseCommand::List => {
            for exercise in &exercises {
                println!("{:>2}  {}", exercise.number, exercise.title);
            }
            Ok(ExitCode::SUCCESS)
        }
        CourseCommand::Start {
            exercise,
            solution,
            yes,
        } => {
            let chosen = exercise::numbered(&exercises, exercise)?;
            let code = match solution {
                true if exercise > 1 => {
                    exercise::numbered(&exercises, exercise - 1)?.file("solution.rs")?
                }
                true => bail!("there is no exercise before exercise {exercise}"),
                false => chosen.file("start.rs")?,
            };
            start(&checkout, chosen, &code, yes)
        }
        CourseCommand::Check { exercise } => {
            let number = match exercise {
                Some(number) => number,
                None => last_started(&checkout)?,
            };
            exercise::numbered(&exercises, number)?;
            let program = checkout.build()?;
            let status = Command::new(program)
                .args(["course", "verify", &number.to_string()])
                .status()
                .context("cannot run the program that was built")?;
            Ok(if status.success() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            })
        }
        CourseCommand::Hint { exercise, hint } => {
            let hints = exercise::numbered(&exercises, exercise)?.hints()?;
            let count = hints.len();
            let Some(text) = hint.checked_sub(1).and_then(|index| hints.get(index)) else {
                bail!("exercise {exercise} has the hints 1 to {count}");
            };
            println!("{text}");
            Ok(ExitCode::SUCCESS)
        }
        CourseCommand::Grade(args) => {
            let number = match args.exercise {
                Some(number) => number,
                None => last_started(&checkout)?,
            };
            grade::grade(&args, &checkout.0, exercise::numbered(&exercises, number)?)
        }
        CourseCommand::Measure(args) => grade::measure(&args),
        CourseCommand::Verify { exercise } => {
            verify::verify(exercise::numbered(&exercises, exercise)?)
        }
    }
}

/// Returns the number of the exercise that was started last.
fn last_started(checkout: &Checkout) -> anyhow::Result<usize> {
    let text = fs::read_to_string(checkout.state().join("exercise")).unwrap_or_default();
    text.trim()
        .parse()
        .context("no exercise was started: name one, for example 'slablab course check 1'")
}

/// Puts `code` in the place of the learner's file, whose old contents are saved, and prints the page.
fn start(
    checkout: &Checkout,
    exercise: &Exercise,
    code: &str,
    yes: bool,
) -> anyhow::Result<ExitCode> {
    let (path, state) = (checkout.student(), checkout.state());
    let old = fs::read_to_string(&path).unwrap_or_default();
    if old != code {
        if !yes && !agrees(&path)? {
            println!("nothing was changed");
            return Ok(ExitCode::FAILURE);
        }
        fs::create_dir_all(&state).with_context(|| format!("cannot create {}", state.display()))?;
        let saved = save(&state, &old)?;
        fs::write(&path, code).with_context(|| format!("cannot write {}", path.display()))?;
        println!(
            "{} is the starting code now; the old file is {}",
            path.display(),
            saved.display()
        );
    }
    fs::create_dir_all(&state).with_context(|| format!("cannot create {}", state.display()))?;
    fs::write(state.join("exercise"), exercise.number.to_string())
        .with_context(|| format!("cannot write to {}", state.display()))?;
    println!("\n{}", exercise.file("page.md")?);
    println!(
        "Write your allocator in rust/student/lib.rs. The functions are described in\n\
         rust/student/engine/allocator.rs, and the memory in rust/student/engine/memory.rs.\n\
         'slablab course check' tests the file; 'slablab course hint {}' helps.",
        exercise.number
    );
    Ok(ExitCode::SUCCESS)
}

/// Writes the old contents of the learner's file to a new file, and returns its path.
fn save(state: &Path, old: &str) -> anyhow::Result<PathBuf> {
    for number in 1.. {
        let path = state.join(format!("lib-{number}.rs"));
        match fs::File::create_new(&path) {
            Ok(mut file) => {
                file.write_all(old.as_bytes())
                    .with_context(|| format!("cannot write {}", path.display()))?;
                return Ok(path);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => {
                return Err(error).with_context(|| format!("cannot create {}", path.display()));
            }
        }
    }
    bail!("{} has too many saved files", state.display())
}

/// Asks whether the learner's file may be replaced. Without a terminal the answer is no.
fn agrees(path: &Path) -> anyhow::Result<bool> {
    if !io::stdin().is_terminal() {
        bail!(
            "{} would be replaced; --yes allows it, and keeps a copy",
            path.display()
        );
    }
    print!("replace {} (a copy is kept)? [y/N] ", path.display());
    io::stdout().flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(answer.trim().eq_ignore_ascii_case("y"))
}
