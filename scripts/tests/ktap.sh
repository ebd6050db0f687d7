#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Tests ktap.awk with small streams.

set -eu
parser=$(dirname "$0")/../ktap.awk
status=0

# expect NAME "PASSED FAILED SKIPPED" LINE...
expect() {
	local name=$1 wanted=$2 counted
	shift 2
	counted=$(printf '%s\n' "$@" | awk -f "$parser" 2>/dev/null)
	if [ "$counted" = "$wanted" ]; then
		echo "ok: $name"
	else
		echo "not ok: $name: counted $counted, not $wanted"
		status=1
	fi
}

expect 'leaves are counted' '1 1 1' \
	'KTAP version 1' '1..3' 'ok 1 a' 'not ok 2 b' 'ok 3 c # SKIP no such engine'
expect 'a parent is not' '2 0 0' \
	'KTAP version 1' '1..1' '  KTAP version 1' '  # Subtest: s' '  1..2' '  ok 1 a' '  ok 2 b' 'ok 1 s'
expect 'nor is a failed one' '1 1 0' \
	'KTAP version 1' '1..1' '  KTAP version 1' '  1..2' '  ok 1 a' '  not ok 2 b' 'not ok 1 s'
expect 'two suites, three levels' '3 0 0' \
	'KTAP version 1' '1..2' '  KTAP version 1' '  1..1' '    KTAP version 1' '    1..2' '    ok 1 a' \
	'    ok 2 b' '  ok 1 t' 'ok 1 s' '  KTAP version 1' '  1..1' '  ok 1 c' 'ok 2 u'
expect 'a suite that was skipped is one test' '1 0 1' \
	'KTAP version 1' '1..2' '  KTAP version 1' '  1..0' 'ok 1 s # SKIP not here' 'ok 2 a'
expect 'other lines do not matter' '1 0 0' \
	'booting' 'KTAP version 1' '1..1' '# seed 7' 'okay then' 'ok 1 a' 'bye'
expect 'a short run fails' '1 1 0' 'KTAP version 1' '1..2' 'ok 1 a'
expect 'so does a long one' '2 1 0' 'KTAP version 1' '1..1' 'ok 1 a' 'ok 2 b'
expect 'so does a truncated subtest' '1 2 0' \
	'KTAP version 1' '1..1' '  KTAP version 1' '  1..2' '  ok 1 a'
expect 'so does a short subtest with a proud parent' '1 1 0' \
	'KTAP version 1' '1..1' '  KTAP version 1' '  1..2' '  ok 1 a' 'ok 1 s'
expect 'so does a parent that hides a failure' '0 2 0' \
	'KTAP version 1' '1..1' '  KTAP version 1' '  1..1' '  not ok 1 a' 'ok 1 s'
expect 'so does a missing number' '2 1 0' 'KTAP version 1' '1..2' 'ok 1 a' 'ok 3 c'
expect 'so does a missing plan' '1 1 0' 'KTAP version 1' 'ok 1 a'
expect 'so does a bail-out' '1 2 0' 'KTAP version 1' '1..2' 'ok 1 a' 'Bail out! the module is gone'
expect 'so does a run that skipped everything' '0 1 1' 'KTAP version 1' '1..1' 'ok 1 a # SKIP'
expect 'so does nothing' '0 1 0' ''
exit $status
