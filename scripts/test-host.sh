#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Runs the host tests layer by layer, the innermost first. A layer that fails ends the run, because the
# outer layers depend on it and would describe the fault less precisely.
#
#   test-host.sh [OPTION]... [LAYER]...     runs these layers, or all of them
#
#   -k    continue with the outer layers after a layer failed
#   -l    only list the layers with their contents
#   -v    show the complete output of cargo
#
# BACKTRACE=1 adds backtraces to panics. A layer that does not end within LIMIT= seconds (1800) is killed, and
# its slow test is named.

set -eu
. "$(dirname "$0")/lib.sh"
cd "$top"

usage() { sed -n '/^# *test-host\.sh/,/^$/s/^# *//p' "$0" >&2; exit 2; }

# The layers from the innermost to the outermost. "heap" and "host" name several layers.
layers=(class buddy slab seed hybrid extent debug-mode doc student session trace lab command rest)
heap=(class buddy slab seed hybrid extent debug-mode doc)
declare -A about=(
	[class]="size classes, offsets, costs: the common code of engines"
	[buddy]="pages and the buddy system of hybrid"
	[slab]="slabs of hybrid, the free list of seed"
	[seed]="the engine seed"
	[hybrid]="the engine hybrid: heap, magazines, CPUs"
	[extent]="the engine extent: runs, heap, magazines, CPUs"
	[debug-mode]="debug mode, on every engine"
	[doc]="examples in the documentation of slab_heap, and its fuzz corpus"
	[student]="the frame of the engine student: checked memory, broken rules; examples of its documentation"
	[session]="handles, quotas, submissions: slab_session"
	[trace]="traces, numbers and tables: slablab_trace, slablab_report"
	[lab]="sessions in this process, oracle, replay, peers: slablab_lab, slablab_peers"
	[command]="the command slablab: workloads, subcommands, wrong engines, the command line; slablab_hunt, slablab_selftest"
	[rest]="the other crates: the benchmark of the host, the engines with host locks"
)
inner=(hybrid::tests::{unit::page,unit::buddy,model::buddy,unit::slab} seed::free_list)
crates=(slab_heap slab_heap_fuzz slab_student student slab_session slablab_trace slablab_report slablab_peers slablab_lab slablab_hunt slablab_selftest slablab_command slablab)

# tests LAYER: runs the tests of a layer
tests() {
	local lib=(-p slab_heap --lib --locked --)
	case $1 in
	class) cargo test "${lib[@]}" --skip seed:: --skip hybrid:: --skip extent:: --skip debug:: ;;
	buddy) cargo test "${lib[@]}" "${inner[@]:0:3}" ;;
	slab) cargo test "${lib[@]}" "${inner[@]:3}" ;;
	seed) cargo test "${lib[@]}" seed::tests ;;
	hybrid) cargo test "${lib[@]}" hybrid:: --skip debug:: --skip extent:: "${inner[@]/#/--skip=}" ;;
	# The tests that run on each heap are modules of hybrid with a module for each heap.
	extent) cargo test "${lib[@]}" extent:: --skip debug:: ;;
	debug-mode) cargo test "${lib[@]}" debug:: ;;
	doc) cargo test -p slab_heap --doc --locked --no-fail-fast && cargo test -p slab_heap_fuzz --locked ;;
	student) cargo test -p slab_student -p student --locked --no-fail-fast ;;
	session) cargo test -p slab_session --locked --no-fail-fast ;;
	trace) cargo test -p slablab_trace -p slablab_report --locked --no-fail-fast ;;
	lab) cargo test -p slablab_peers -p slablab_lab --locked --no-fail-fast ;;
	command) cargo test -p slablab -p slablab_command -p slablab_hunt -p slablab_selftest --locked --no-fail-fast ;;
	rest) cargo test --workspace "${crates[@]/#/--exclude=}" --locked --no-fail-fast ;;
	esac
}

# failures LOG: prints the relevant part of the log of a failed layer: the errors of the compiler, or the output
# of the failed tests
failures() {
	if grep '^error: it did not end' "$1"; then
		return
	elif grep -q '^test result:' "$1"; then
		grep -v -E '^(test .* \.\.\. (ok|ignored.*)|running [0-9]+ tests?|failures:|note: run with .*|)$' "$1" |
			grep -v -E '^ *(Compiling|Finished|Running|Doc-tests) |^error: ([0-9]+ )?(test failed|targets? failed)|^    (`|[a-z_0-9:]+$)' | sed 's/^----/\n&/'
	else
		cat "$1"
	fi
}

keep_going='' verbose=''
while getopts klv option; do
	case $option in
	k) keep_going=yes ;;
	l)
		for layer in "${layers[@]}"; do printf '%-10s %s\n' "$layer" "${about[$layer]}"; done
		exit
		;;
	v) verbose=yes ;;
	*) usage ;;
	esac
done
shift $((OPTIND - 1))

wanted=()
for layer; do
	case $layer in
	heap) wanted+=("${heap[@]}") ;;
	host) wanted+=("${layers[@]}") ;;
	*)
		[ -n "${about[$layer]:-}" ] || die "no layer $layer: the layers are ${layers[*]}; heap names the layers of slab_heap, host all layers"
		wanted+=("$layer")
		;;
	esac
done
[ ${#wanted[@]} -gt 0 ] || wanted=("${layers[@]}")

require check_command
export RUST_BACKTRACE=${BACKTRACE:-0}
broken=()
for layer in "${wanted[@]}"; do
	if [ ${#broken[@]} -gt 0 ] && [ -z "$keep_going" ]; then
		say "$layer: not run"
		continue
	fi
	log=$logs/test-host-$layer.log
	limit=${LIMIT:-1800}
	watch "$layer (${about[$layer]})" "$log" tests "$layer"
	read -r good bad < <(awk '/^test result:/ { good += $4; bad += $6 } END { print good + 0, bad + 0 }' "$log")
	if [ "$status" -eq 0 ] && [ "$good" -eq 0 ]; then
		say "$layer: cargo ran no test: correct the filters in scripts/test-host.sh"
		status=1
	fi
	[ -z "$verbose" ] || cat "$log"
	if [ "$status" -ne 0 ]; then
		[ -n "$verbose" ] || failures "$log" >&2
		broken+=("$layer")
	fi
	echo "$layer: $good passed, $bad failed"
done
[ ${#broken[@]} -eq 0 ] || die "broken layers: ${broken[*]}. Mend the innermost one first: run it alone with 'make test-${broken[0]}'"
