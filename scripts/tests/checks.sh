# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034 # the tests that source this file use the variables
#
# Checks that print "ok: NAME" or "not ok: NAME". This file is sourced by tests, not run. A test ends with `exit $failed`.

failed=0
log=/dev/null # the file that check prints when its command fails

# check NAME COMMAND...: a test that passes if the command succeeds
check() {
	local name=$1
	shift
	if "$@"; then
		echo "ok: $name"
	else
		echo "not ok: $name"
		[ ! -e "$log" ] || cat "$log"
		failed=1
	fi
}

# expect NAME WANTED FOUND: a test that passes if both texts are equal
expect() {
	if [ "$2" = "$3" ]; then
		echo "ok: $1"
	else
		printf 'not ok: %s\n' "$1"
		diff <(echo "$2") <(echo "$3") || true
		failed=1
	fi
}

# wait_for COMMAND...: waits at most ten seconds until the command succeeds
wait_for() {
	local tries=100
	until "$@"; do
		tries=$((tries - 1))
		[ "$tries" -gt 0 ] || { echo "timeout: $*"; return 1; }
		sleep 0.1
	done
}
