#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Measures the cost of the allocators in the kernel, and prints a report, also to build/out/.
#
#   bench.sh MODULE COMMAND [--brief]
#
# Machines with one and with two CPUs count instructions, so their figures do not depend on other load, and
# differ by a few thousandths between runs. A machine with 2 GiB measures 100,000 fragments. If KVM works, another machine
# measures nanoseconds. The script fails when a block or an engine's metadata is wrong, never because of a
# figure.

set -eu
. "$(dirname "$0")/lib.sh"

if [ $# -lt 2 ] || [ $# -gt 3 ] || [ "${3:---brief}" != --brief ]; then
	sed -n '/^# *bench\.sh/s/^# *//p' "$0" >&2
	exit 2
fi
module=$1 command=$2 brief=${3:-}
# The linked module does not have the cold functions in their own section, so the script reads the object.
object=$(dirname "$module")/rust/slablab_main.o
out=$build/out
mkdir -p "$out"

parts=() wrong=''

# into FILE COMMAND...: runs the command with its output in FILE
into() {
	local file=$1
	shift
	"$@" >"$file"
}

# machine NAME TITLE VM-OPTION... -- ARGUMENT...: runs `slablab bench` in a machine, with its output in
# $out/NAME.json. A run that fails but writes a report is included in the final report.
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

# shellcheck disable=SC2046 # patterns prints two words for each pattern
machine one-cpu "instructions, one CPU" -i -- $(patterns "${single[@]}")
# shellcheck disable=SC2046
machine two-cpus "instructions, two CPUs" -i -c 2 -- $(patterns "${double[@]}")
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
	[ "$arch" = x86_64 ] || return 0
	printf '\nInstructions with a lock prefix in the built module\n'
	"$top/scripts/lock-prefixes.py" "$object" 2>&1
}

prefixes=''
# Only instructions of x86-64 have the prefix.
[ "$arch" != x86_64 ] || prefixes=$("$top/scripts/lock-prefixes.py" "$object" --pair hybrid)
report | tee "$out/bench.txt"
"$command" bench "${parts[@]}" --json >"$out/bench.json" || wrong=yes
say "the report is build/out/bench.txt, the figures are build/out/bench.json"
[ -z "$wrong" ] || die "a block or an engine's metadata was wrong: see the end of build/out/bench.txt"
