#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Tests ktap.awk with small KTAP streams.

set -eu
parser=$(dirname "$0")/../ktap.awk
status=0

# expect NAME "PASSED FAILED SKIPPED" LINE...: checks the counts of a stream
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
expect 'a parent is not counted' '2 0 0' \
	'KTAP version 1' '1..1' '  KTAP version 1' '  # Subtest: s' '  1..2' '  ok 1 a' '  ok 2 b' 'ok 1 s'
expect 'a failed parent is not counted' '1 1 0' \
	'KTAP version 1' '1..1' '  KTAP version 1' '  1..2' '  ok 1 a' '  not ok 2 b' 'not ok 1 s'
expect 'two suites with three levels are counted' '3 0 0' \
	'KTAP version 1' '1..2' '  KTAP version 1' '  1..1' '    KTAP version 1' '    1..2' '    ok 1 a' \
	'    ok 2 b' '  ok 1 t' 'ok 1 s' '  KTAP version 1' '  1..1' '  ok 1 c' 'ok 2 u'
expect 'a skipped suite counts as one test' '1 0 1' \
	'KTAP version 1' '1..2' '  KTAP version 1' '  1..0' 'ok 1 s # SKIP not here' 'ok 2 a'
expect 'other lines are ignored' '1 0 0' \
	'booting' 'KTAP version 1' '1..1' '# seed 7' 'okay then' 'ok 1 a' 'bye'
expect 'a run with too few results fails' '1 1 0' 'KTAP version 1' '1..2' 'ok 1 a'
expect 'a run with too many results fails' '2 1 0' 'KTAP version 1' '1..1' 'ok 1 a' 'ok 2 b'
expect 'a truncated subtest fails' '1 2 0' \
	'KTAP version 1' '1..1' '  KTAP version 1' '  1..2' '  ok 1 a'
expect 'a passed parent with too few subtests fails' '1 1 0' \
	'KTAP version 1' '1..1' '  KTAP version 1' '  1..2' '  ok 1 a' 'ok 1 s'
expect 'a passed parent with a failed subtest fails' '0 2 0' \
	'KTAP version 1' '1..1' '  KTAP version 1' '  1..1' '  not ok 1 a' 'ok 1 s'
expect 'a missing number fails' '2 1 0' 'KTAP version 1' '1..2' 'ok 1 a' 'ok 3 c'
expect 'a missing plan fails' '1 1 0' 'KTAP version 1' 'ok 1 a'
expect 'a bail-out fails' '1 2 0' 'KTAP version 1' '1..2' 'ok 1 a' 'Bail out! the module is gone'
expect 'a run that skips every test fails' '0 1 1' 'KTAP version 1' '1..1' 'ok 1 a # SKIP'
expect 'an empty stream fails' '0 1 0' ''
exit $status
