#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Replays traces in the lab machine, which counts instructions, and prints a report, also to a new directory
# in build/out/.
#
#   replay.sh [-n] [-p] COMMAND ENGINE [OPTION | TRACE]...
#
# With -n, the command only checks the arguments, on the host.
#
# A TRACE is a file on the host or the name of a pattern, and an OPTION is an option of slablab replay. With -p, the
# script also writes an HTML page, and an OPTION is an option of slablab report. The script fails when a result of
# an engine is wrong.

set -eu
. "$(dirname "$0")/lib.sh"

checking=''
if [ "${1:-}" = -n ]; then
	checking=yes
	shift
fi
page=''
if [ "${1:-}" = -p ]; then
	page=yes
	shift
fi
if [ $# -lt 3 ]; then
	sed -n '/^# *replay\.sh/s/^# *//p' "$0" >&2
	exit 2
fi
command=$1 engine=$2
shift 2
verb=(replay)
[ -z "$page" ] || verb=(report -o -)
files=() arguments=()
for word; do
	if [ -f "$word" ]; then
		there=/job/files/$(basename "$word")
		[[ " ${arguments[*]} " != *" $there "* ]] || die "two files have the name $(basename "$word"): rename one of them"
		files+=(-f "$word")
		arguments+=("$there")
	else
		arguments+=("$word")
	fi
done
[ -z "$checking" ] || exec "$command" --check-arguments "${verb[@]}" --engine "$engine" "$@"

out=$build/out/$(date +%Y%m%d-%H%M%S)
mkdir -p "$out"

# replayed: runs the replay in the machine
# shellcheck disable=SC2317 # watch calls it
replayed() {
	"$top/scripts/vm.sh" -i -t 7200 "${files[@]}" slablab "${verb[@]}" --json --engine "$engine" "${arguments[@]}" \
		>"$out/replay.json"
}

watch "replay with instruction counts" "$logs/replay.log" replayed
replay_status=$status
if [ ! -s "$out/replay.json" ]; then
	tail -n 30 "$logs/replay.log" >&2
	rm -r "$out"
	exit 1
fi
"$command" replay --from "$out/replay.json" --csv >"$out/replay.csv" || true
"$command" replay --from "$out/replay.json" | tee "$out/replay.txt" || true
if [ -n "$page" ]; then
	"$command" report -o "$out/report.html" --from "$out/replay.json" >"$logs/report.log" || true
	say "the page is ${out#"$top/"}/report.html"
fi
say "the report is ${out#"$top/"}/replay.txt, the figures are replay.json and replay.csv in the same directory"
exit "$replay_status"
