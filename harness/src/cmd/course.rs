// SPDX-License-Identifier: GPL-2.0

//! `slablab course`: exercises in which a learner writes an allocator.

mod check;
mod checkout;
mod files;
mod grade;
mod hint;
mod kernel;
mod progress;

use std::process::ExitCode;

use clap::{
    Args,
    Subcommand, //
};

use self::{
    checkout::Checkout,
    progress::Progress, //
};
use slablab_course::exercise;

/// Learn to write an allocator: exercises with tests and hints
///
/// Your allocator is the file rust/student/lib.rs. The commands work in a checkout of slablab, and some need cargo.
#[derive(Args)]
pub(crate) struct CourseArgs {
    #[command(subcommand)]
    command: CourseCommand,
}

#[derive(Subcommand)]
enum CourseCommand {
    /// List the exercises, with your progress
    List,
    /// Begin an exercise: put its starting code into rust/student/lib.rs, and show its page
    Start {
        /// The number of the exercise
        exercise: usize,
        /// Put the model solution of the exercise before this one into the file, instead of the starting code
        #[arg(long)]
        solution: bool,
        /// Do not ask before the file is replaced
        #[arg(long)]
        yes: bool,
    },
    /// Put back your own file, which 'start' replaced
    Resume {
        /// The number of the exercise
        exercise: usize,
        /// Put back the last file that passed all tests, instead of the file that was kept last
        #[arg(long)]
        done: bool,
        /// Do not ask before the file is replaced
        #[arg(long)]
        yes: bool,
    },
    /// Show the page of an exercise
    Page {
        /// The number of the exercise [default: the one that was started last]
        exercise: Option<usize>,
    },
    /// Build your allocator and run the tests of an exercise, up to the first failure
    Check {
        /// The number of the exercise [default: the one that was started last]
        exercise: Option<usize>,
        /// Run only the test with this number, in the order of the exercise; for exercise 9 the number of the weakness
        #[arg(long, value_name = "NUMBER", conflicts_with = "kernel")]
        test: Option<usize>,
        #[command(flatten)]
        kernel: kernel::CheckArgs,
    },
    /// Check now, and again whenever you save the file, until Ctrl-C
    Watch {
        /// The number of the exercise [default: the one that was started last]
        exercise: Option<usize>,
    },
    /// Show the next hint; each hint says more than the one before
    Hint {
        /// The number of the exercise [default: the one that was started last]
        exercise: Option<usize>,
        /// The number of the hint; for exercise 9 the number of the weakness [default: the one after the last that you
        /// saw]
        hint: Option<usize>,
        /// Answer the questions of the page instead
        #[arg(long, conflicts_with = "hint")]
        answers: bool,
    },
    /// Run tests on the allocator of this program or of the module, and print events in JSON
    #[command(hide = true)]
    Run(kernel::RunArgs),
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
        /// The number of the only test to run
        #[arg(long)]
        test: Option<usize>,
    },
}

/// Runs the subcommand.
pub(crate) fn run(args: CourseArgs) -> anyhow::Result<ExitCode> {
    // The virtual machines of a check and of a grade have no checkout.
    if let CourseCommand::Run(args) = &args.command {
        return args.run();
    }
    if let CourseCommand::Measure(args) = &args.command {
        return grade::measure(args);
    }
    let checkout = Checkout::find()?;
    let exercises = exercise::all(checkout.top())?;
    let mut progress = Progress::read(&checkout);
    let numbered = |number: Option<usize>, progress: &Progress| {
        let number = number.map_or_else(|| progress.last_started(), Ok)?;
        exercise::numbered(&exercises, number)
    };
    match args.command {
        CourseCommand::List => {
            progress.print(&exercises);
            Ok(ExitCode::SUCCESS)
        }
        CourseCommand::Start {
            exercise,
            solution,
            yes,
        } => {
            let files = files::Files::new(&checkout, &exercises);
            files.start(&mut progress, exercise, solution, yes)
        }
        CourseCommand::Resume {
            exercise,
            done,
            yes,
        } => {
            let files = files::Files::new(&checkout, &exercises);
            files.resume(&mut progress, exercise, done, yes)
        }
        CourseCommand::Page { exercise } => {
            print!("{}", numbered(exercise, &progress)?.file("page.md")?);
            Ok(ExitCode::SUCCESS)
        }
        CourseCommand::Check {
            exercise,
            test,
            kernel,
        } => {
            let exercise = numbered(exercise, &progress)?;
            check::check(&checkout, exercise, test, kernel.options())
        }
        CourseCommand::Grade(args) => {
            let exercise = numbered(args.exercise, &progress)?;
            grade::grade(&args, checkout.top(), exercise)
        }
        CourseCommand::Measure(args) => grade::measure(&args),
        CourseCommand::Watch { exercise } => {
            check::watch(&checkout, numbered(exercise, &progress)?)
        }
        CourseCommand::Hint {
            exercise,
            hint,
            answers,
        } => {
            let exercise = numbered(exercise, &progress)?;
            if answers {
                hint::answers(exercise)
            } else {
                hint::hint(&mut progress, exercise, hint)
            }
        }
        CourseCommand::Verify { exercise, test } => {
            let exercise = exercise::numbered(&exercises, exercise)?;
            let files = files::Files::new(&checkout, &exercises);
            check::verify(&mut progress, &files, exercise, test)
        }
        CourseCommand::Run(args) => args.run(),
    }
}
