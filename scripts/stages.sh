# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154 # watch of lib.sh sets status, the scripts that source this file set selftest
#
# Runs tests stage by stage and counts them. This file is sourced, after lib.sh, not run.

passed=0 failed=0 skipped=0 failures=()

# counted PASSED FAILED SKIPPED: prints the counts as text
counted() {
	printf '%s passed, %s failed' "$1" "$2"
	if [ "$3" -ne 0 ]; then printf ', %s skipped' "$3"; fi
}

# stage NAME TALLY COMMAND...: runs a stage. TALLY LOG STATUS prints "PASSED FAILED SKIPPED" for the stage; a
# bad status without a failure counts as one failure. The log of a stage with a failure is printed.
stage() {
	local name=$1 tally=$2 log=${1%% (*} good bad left_out
	log=$logs/test-${log//[^A-Za-z0-9]/-}.log
	shift 2
	watch "$name" "$log" "$@" # sets status
	read -r good bad left_out < <("$tally" "$log" "$status")
	if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1; fi
	if [ "$bad" -ne 0 ]; then
		cat "$log" >&2
		failures+=("$name: $bad failed (log: ${log#"$top/"})")
		while read -r line; do failures+=("  $line"); done < <(failing_tests "$log")
	fi
	if [ "$tally" != once ]; then say "$name: $(counted "$good" "$bad" "$left_out")"; fi
	passed=$((passed + good)) failed=$((failed + bad)) skipped=$((skipped + left_out))
}

# failing_tests LOG: prints the lines of a log that name a failing test, at most eight
failing_tests() { grep -aE -m 8 '^ *not ok |^test .* FAILED$|panicked at |^Error: |^error' "$1" || true; }

# once LOG STATUS: the tally of a stage that is one test, and that may be skipped because a tool is missing
once() {
	if [ "$2" -ne 0 ]; then
		echo 0 1 0
	elif grep '^skipped:' "$1" >&2; then
		echo 0 0 1
	else
		echo 1 0 0
	fi
}

# The command that runs the self-test in the machine. selftest_in_mode runs it, too, but fails first if the kernel is not
# in the preemption mode that its next argument names.
selftest_command=(slablab selftest --ktap --module /lib/slablab.ko)
# shellcheck disable=SC2016,SC2034 # the guest's shell expands $0; some of the scripts use it
selftest_in_mode=(sh -c "grep -F "'"($0)"'" /sys/kernel/debug/sched/preempt >&2 && exec ${selftest_command[*]}")

# ktap_results: the tally of a stage that writes the results of a self-test to the file $selftest
ktap_results() { awk -f "$top/scripts/ktap.awk" "$selftest"; }

# finish: prints the failed stages again, so that they stand at the end of a long output, and the counts. Fails if a
# test failed.
finish() {
	if [ "$failed" -ne 0 ]; then printf '%s\n' "${failures[@]}"; fi
	counted "$passed" "$failed" "$skipped"
	echo
	[ "$failed" -eq 0 ]
}
