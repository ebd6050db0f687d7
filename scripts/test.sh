#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Runs all tests and lints, stage by stage. The last line is "N passed, N failed".
#
# The layers of the host tests run first, the innermost layer before all others. A broken layer ends the run,
# because all later stages depend on it. With KEEP_GOING=1 the later stages run nevertheless.

set -eu
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/stages.sh"
cd "$top"

shell_scripts() { shellcheck -x -P SCRIPTDIR .ci/run scripts/*.sh scripts/kernel/*.sh scripts/tests/*.sh scripts/guest/*; }

formatted() {
	cargo fmt --version || { echo "skipped: no rustfmt"; return 0; }
	cargo fmt --check
	rustfmt --check rust/slablab_main.rs
}

host_lints() {
	cargo clippy --version || { echo "skipped: no clippy"; return 0; }
	cargo clippy --workspace --all-targets --locked -- -D warnings
}

# layer_results LOG STATUS: the tally of a layer, from the last line of test-host.sh
layer_results() {
	awk '/^[a-z-]+: [0-9]+ passed, [0-9]+ failed$/ { passed = $2; failed = $4 }
		END { print passed + 0, failed + 0, 0 }' "$1"
}

# The stages of the course and of the grades run this program.
host_command() { make command; }

# This stage fails on a wrong answer of an allocator, never on a slow one.
host_bench() { make bench-host BENCH=--quick; }

# The module for clippy is built in another directory, because the booted module is built without its flags.
module_lints() { make modules MO="$build/clippy" CLIPPY=1 KRUSTFLAGS=-Dwarnings; }

guest() { make initramfs; }

# The module with debug information, and a session of gdb.
gdb_session() { make initramfs SYMBOLS=1 && scripts/tests/gdb.sh; }

# Only test builds of the command may contain engines that are wrong on purpose.
no_wrong_engines() { ! grep -q SLABLAB_TEST_ build/target/release/slablab; }

# The check of stack frames in the kernel's build covers only C functions.
stack_frames() { scripts/stack-frames.py build/module/slablab.ko; }

selftest=$logs/selftest.ktap
guest_tests() {
	set -o pipefail
	scripts/vm.sh -t 1200 "${selftest_command[@]}" | tee "$selftest"
}

report_page() { make test-report; }

# The clock of the lab machine counts instructions, so that 50 ms are the same on every host.
patience() { scripts/vm.sh -i -t 600 slablab selftest --filter patience/; }

# This stage checks that the benches work; a figure never fails a test.
benches() { make bench BRIEF=1; }

# This stage runs a part of each debug stage, so that every change is tested in the debug kernel.
debug_kernel() { make test-debug BRIEF=1; }

rm -f "$selftest"
stage "layers of the host tests" once scripts/tests/layers.sh
while read -r layer about; do
	stage "host tests, $layer ($about)" layer_results scripts/test-host.sh "$layer"
	if [ "$failed" -ne 0 ] && [ -z "${KEEP_GOING:-}" ]; then
		say "The layer $layer is broken, so the later stages were not run: KEEP_GOING=1 runs them."
		finish
	fi
done < <(scripts/test-host.sh -l)
stage "KTAP parser" once scripts/tests/ktap.sh
stage "parser of kernel reports" once scripts/tests/reports.sh
stage "preparation of a start" once scripts/tests/prepare.sh
stage "set-up without privileges" once scripts/tests/setup.sh
stage "locks and checks of the kernel build" once scripts/tests/kernel.sh
stage "kernels of Debian" once scripts/tests/debian.sh
stage "requirements of make run" once scripts/tests/doctor.sh
stage "ARCH=arm64 on x86-64" once scripts/tests/arch.sh
stage "arguments of make" once scripts/tests/arguments.sh build/target/debug/slablab
stage "kernels refused by Kbuild" once scripts/tests/kbuild.sh
stage "recipes of docs/extending.md" once scripts/tests/recipes.py
stage "the command slablab" once host_command
stage "installation: man pages and completions" once scripts/tests/install.sh build/target/release/slablab
stage "solutions and starting codes of the course" once scripts/tests/course.sh build/target/release/slablab
stage "grades of right and of hostile submissions" once scripts/tests/grade.sh build/target/release/slablab
stage "shell scripts" once shell_scripts
stage "format" once formatted
stage "lints of the host crates" once host_lints
stage "host benchmark, briefly" once host_bench
stage "page of report in a browser" once report_page
stage "bindings equal slablab.h" once scripts/uapi.sh --check
stage "lints of the module" once module_lints
stage "module and command" once guest
stage "no wrong engines in the command" once no_wrong_engines
stage "prompt in the lab machine" once scripts/tests/prompt.sh
stage "stack frames" once stack_frames
stage "tests in the lab machine" ktap_results guest_tests
stage "the lab machine" once scripts/tests/vm.sh
stage "gdb on the lab machine" once gdb_session
stage "the course in the lab kernel" once scripts/tests/course-kernel.sh build/target/release/slablab
stage "grades in the lab machine" once scripts/tests/grade.sh --machine build/target/release/slablab
stage "budgets of a small machine" once scripts/tests/budgets.sh
stage "preemption latency" once patience
stage "benches" once benches
stage "debug kernel, briefly" once debug_kernel

finish
