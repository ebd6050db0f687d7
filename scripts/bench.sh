#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Measures what allocators cost in the kernel, and reports on it: on the screen and in build/out/.
#
#   bench.sh MODULE COMMAND [--brief]
#
# Machines of one and of two processors count instructions, whatever else this one does: their report
# is the same each time. One with 2 GiB has room for 100,000 fragments. Where KVM works, another one
# measures nanoseconds. Fails when a block or an engine's records were wrong, never because of a figure.

set -eu
. "$(dirname "$0")/lib.sh"

if [ $# -lt 2 ] || [ $# -gt 3 ] || [ "${3:---brief}" != --brief ]; then
	sed -n '/^# *bench\.sh/s/^# *//p' "$0" >&2
	exit 2
fi
module=$1 command=$2 brief=${3:-}
# In the module's object, cold functions are still in a section of their own.
object=$(dirname "$module")/rust/slablab_main.o
out=$build/out
mkdir -p "$out"

parts=() wrong=''

# into FILE COMMAND...
into() {
	local file=$1
	shift
	"$@" >"$file"
}

# machine NAME TITLE VM-OPTION... -- ARGUMENT...: runs the benches in a machine; $out/NAME.json is
# what it says. A report of something wrong is a report.
machine() {
	local name=$1 title=$2 options=() log=$logs/bench-$1.log
	shift 2
	while [ "$1" != -- ]; do
		options+=("$1")
		shift
	done
	shift
	watch "$title" "$log" into "$out/$name.json" \
		"$top/scripts/vm.sh" -t 1800 "${options[@]}" slablab bench --json ${brief:+"$brief"} "$@"
	if [ "$status" -ne 0 ]; then
		tail -n 30 "$log" >&2
		[ -s "$out/$name.json" ] || exit "$status"
		wrong=yes
	fi
	parts+=(--from "$out/$name.json")
}

patterns() { printf -- '--pattern %s ' "$@"; }
single=(pair lifo fifo replace churn fragments calls)
double=(two-cpus handover)

# shellcheck disable=SC2046 # two words for each pattern
machine one-cpu "instructions, one processor" -i -- $(patterns "${single[@]}")
# shellcheck disable=SC2046
machine two-cpus "instructions, two processors" -i -c 2 -- $(patterns "${double[@]}")
if [ -z "$brief" ]; then
	# shellcheck disable=SC2046
	machine fragments "instructions, 100,000 fragments" \
		-i -m 2048 -p "private_mib_total=1200 pool_mib=1" -- $(patterns many-fragments)
fi
if [ "$("$top/scripts/vm.sh" -a)" = kvm ]; then
	# shellcheck disable=SC2046
	machine kvm "nanoseconds, KVM" -- $(patterns "${single[@]}" "${double[@]}")
fi

report() {
	"$command" bench "${parts[@]}" ${prefixes:+--lock-prefixes "$prefixes"} || true
	printf '\nInstructions with a lock prefix, as the module is built\n'
	"$top/scripts/lock-prefixes.py" "$object" 2>&1
}

prefixes=$("$top/scripts/lock-prefixes.py" "$object" --pair hybrid)
report | tee "$out/bench.txt"
"$command" bench "${parts[@]}" --json >"$out/bench.json" || wrong=yes
say "the report is build/out/bench.txt, the figures are build/out/bench.json"
[ -z "$wrong" ] || die "blocks or records were wrong: see the end of the report"
