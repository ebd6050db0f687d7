#!/bin/bash
# shellcheck disable=SC2317 # functions are called by together
# SPDX-License-Identifier: GPL-2.0
#
# Tests the steps that run at the same time, and the summary of the first start.

set -eu
. "$(dirname "$0")/../lib.sh"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

# expect NAME COMMAND...: a test that passes if the command succeeds
expect() {
	local name=$1
	shift
	if "$@"; then
		echo "ok: $name"
	else
		echo "not ok: $name"
		[ ! -e "$work/said" ] || cat "$work/said"
		failed=1
	fi
}

# meet MINE OTHER: creates the file MINE, and waits at most ten seconds for the file OTHER
meet() {
	touch "$work/$1"
	for _ in {1..100}; do
		[ ! -e "$work/$2" ] || return 0
		sleep 0.1
	done
	return 1
}
left() { step "left step" "$work/left.log" meet left right; }
right() { step "right step" "$work/right.log" meet right left; }
broken() { step "broken step" "$work/broken.log" sh -c 'echo the reason; exit 3'; }
endless() { step "endless step" "$work/endless.log" sh -c "echo \$\$ >$work/endless.pid; exec sleep 1000"; }
nested() { together left right; }

# run FUNCTION...: runs the functions together; prints the status
run() { (together "$@") >/dev/null 2>"$work/said" </dev/null && echo 0 || echo $?; }

run left right >"$work/status"
expect "two steps that wait for each other end" grep -qx 0 "$work/status"
expect "each step reports its end" test "$(grep -c ': done in' "$work/said")" = 2

rm -f "$work/left" "$work/right"
run nested >"$work/status"
expect "steps can be nested" grep -qx 0 "$work/status"

run endless broken >"$work/status"
expect "a step that fails is a failure" grep -qx 1 "$work/status"
expect "the failed step and its log are named" grep -q "broken step: FAILED .*$work/broken.log" "$work/said"
expect "the end of the log is printed" grep -qx "the reason" "$work/said"
gone() {
	for _ in {1..50}; do
		kill -0 "$(cat "$work/endless.pid")" 2>/dev/null || return 0
		sleep 0.1
	done
	return 1
}
expect "a failure stops the other steps" gone

export step_times=$work/times
run broken left >"$work/status"
rm -f "$work/left" "$work/right"
run left right >"$work/status"
expect "the durations of the steps are kept" grep -q '^[0-9]* left step$' "$work/times"
exit $failed
