#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Runs everything that must hold, stage by stage. The last line is "N passed, N failed".
#
# The layers of the host's tests come first, from the inside out. A broken one ends the run: all that
# comes behind is built on it. KEEP_GOING=1 runs the rest nevertheless.

set -eu
. "$(dirname "$0")/lib.sh"
cd "$top"

passed=0 failed=0 skipped=0

# counted PASSED FAILED SKIPPED
counted() {
	printf '%s passed, %s failed' "$1" "$2"
	if [ "$3" -ne 0 ]; then printf ', %s skipped' "$3"; fi
}

# stage NAME TALLY COMMAND...: runs a stage. TALLY LOG STATUS prints its "PASSED FAILED SKIPPED"; where
# that names no culprit, a bad status is one. What a stage with a failure said is shown whole.
stage() {
	local name=$1 tally=$2 log=${1%% (*} good bad left_out
	log=$logs/test-${log//[^A-Za-z0-9]/-}.log
	shift 2
	watch "$name" "$log" "$@" # sets status
	read -r good bad left_out < <("$tally" "$log" "$status")
	if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1; fi
	if [ "$bad" -ne 0 ]; then cat "$log" >&2; fi
	if [ "$tally" != once ]; then say "$name: $(counted "$good" "$bad" "$left_out")"; fi
	passed=$((passed + good)) failed=$((failed + bad)) skipped=$((skipped + left_out))
}

# once: a stage that is one test, for which a tool may be missing
once() {
	if [ "$2" -ne 0 ]; then
		echo 0 1 0
	elif grep '^skipped:' "$1" >&2; then
		echo 0 0 1
	else
		echo 1 0 0
	fi
}

ktap_results() { awk -f scripts/ktap.awk "$selftest"; }

shell_scripts() { shellcheck -x -P SCRIPTDIR .ci/run scripts/*.sh scripts/tests/*.sh scripts/guest/*; }

formatted() {
	cargo fmt --version || { echo "skipped: no rustfmt"; return 0; }
	cargo fmt --check
	rustfmt --check rust/slablab_main.rs
}

host_lints() {
	cargo clippy --version || { echo "skipped: no clippy"; return 0; }
	cargo clippy --workspace --all-targets --locked -- -D warnings
}

# layer_results: what the last line of test-host.sh about the layer says
layer_results() {
	awk '/^[a-z]+: [0-9]+ passed, [0-9]+ failed$/ { passed = $2; failed = $4 }
		END { print passed + 0, failed + 0, 0 }' "$1"
}

# Fails on a wrong answer of an allocator, never on a slow one.
host_bench() { make bench-host BENCH=--quick; }

# Built apart from the module that is booted, which clippy's flags are no part of.
module_lints() { make modules MO="$build/clippy" CLIPPY=1 KRUSTFLAGS=-Dwarnings; }

guest() { make initramfs; }

# Linux checks C functions only.
stack_frames() { scripts/stack-frames.py build/module/slablab.ko; }

selftest=$logs/selftest.ktap
guest_tests() {
	set -o pipefail
	scripts/vm.sh -t 1200 slablab selftest --ktap --module /lib/slablab.ko | tee "$selftest"
}

report_page() { make test-report; }

# Where the clock counts instructions, so that 50 ms are the same on every machine.
patience() { scripts/vm.sh -i -t 600 slablab selftest --filter patience/; }

# Only that it works: a figure never fails a test.
benches() { make bench BRIEF=1; }

# A part of it, in which every change meets the kernel that reports every bug.
debug_kernel() { make test-debug BRIEF=1; }

rm -f "$selftest"
stage "layers of the tests" once scripts/tests/layers.sh
while read -r layer about; do
	stage "host tests, $layer ($about)" layer_results scripts/test-host.sh "$layer"
	if [ "$failed" -ne 0 ] && [ -z "${KEEP_GOING:-}" ]; then
		say "The layer $layer is broken, and all that is behind it was not run: KEEP_GOING=1 runs it."
		counted "$passed" "$failed" "$skipped"
		echo
		exit 1
	fi
done < <(scripts/test-host.sh -l)
stage "KTAP parser" once scripts/tests/ktap.sh
stage "finder of reports" once scripts/tests/reports.sh
stage "set-up without privilege" once scripts/tests/setup.sh
stage "locks and checks of the kernel's build" once scripts/tests/kernel.sh
stage "arguments of make" once scripts/tests/arguments.sh build/target/debug/slablab
stage "kernels that Kbuild refuses" once scripts/tests/kbuild.sh
stage "shell scripts" once shell_scripts
stage "format" once formatted
stage "lints of the host half" once host_lints
stage "benchmark of the host, briefly" once host_bench
stage "page of report in a browser" once report_page
stage "bindings are fresh" once scripts/uapi.sh --check
stage "lints of the module" once module_lints
stage "module and command" once guest
stage "prompt in the machine" once scripts/tests/prompt.sh
stage "stack frames" once stack_frames
stage "tests in the machine" ktap_results guest_tests
stage "budgets of a small machine" once scripts/tests/budgets.sh
stage "patience" once patience
stage "benches" once benches
stage "debug kernel, briefly" once debug_kernel

counted "$passed" "$failed" "$skipped"
echo
[ "$failed" -eq 0 ]
