#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Prepares a start of the lab machine: installs packages, and builds bindgen, the kernel and the command slablab,
# each only if it is missing. Steps that do not need each other run at the same time.
#
#   prepare.sh FLAVOUR CHECK...  prepares for this flavour of the kernel (kernel.sh). The command CHECK checks the
#                                arguments of the start as soon as slablab is built
#   prepare.sh --summary         after a start that built a kernel, prints where its time went
#
# With KDIR=, only the command is built.

set -eu
. "$(dirname "$0")/lib.sh"
cd "$top"

# The file exists during a start that builds a kernel. Its first line is the time of the start in seconds since 1970;
# one line "SECONDS TITLE" follows for each step.
times=$logs/first-start

# summary: prints the durations of the steps, and removes them
summary() {
	[ -e "$times" ] || return 0
	say "$(awk -v now="$(date +%s)" '
		function clock(seconds) { return sprintf("%d:%02d", seconds / 60, seconds % 60) }
		NR == 1 { total = now - $1; next }
		$1 > 0 { seconds = $1; sub(/^[0-9]+ /, ""); sub(/ \(.*|, once.*/, ""); steps = steps ", " $0 " " clock(seconds) }
		END { printf "this first start took %s min (%s; some of them at the same time); the next start needs none of " \
			"these steps", clock(total), substr(steps, 3) }' "$times")"
	rm -f "$times"
}

build_bindgen() { exec scripts/setup.sh; }
fetch_source() { exec scripts/kernel.sh source; }

# build_kernel: builds the kernel after bindgen and the source, which it needs
build_kernel() {
	case $flavour in
	lab*) together build_bindgen fetch_source ;;
	*) scripts/setup.sh ;; # a kernel of Debian has a source of its own
	esac
	exec scripts/kernel.sh build "$flavour"
}

build_command() {
	step "compiling the command slablab" "$logs/command.log" make command
	"${check[@]}"
}

if [ "${1:-}" = --summary ]; then
	summary
	exit
fi
[ $# -gt 1 ] || { sed -n '/^# *prepare\.sh/,/^$/s/^# *//p' "$0" >&2; exit 2; }
flavour=$1
shift
check=("$@")
name_doctor
export hinted=yes

rm -f "$times" # of a start that failed or was interrupted
if [ -n "${KDIR:-}" ] || scripts/kernel.sh has "$flavour"; then
	[ -n "${KDIR:-}" ] || scripts/setup.sh --packages
	make command
	"${check[@]}"
else
	mkdir -p "$logs"
	date +%s >"$times"
	export step_times=$times
	# shellcheck disable=SC2046 # no package, if bindgen is there or Debian's is too old
	scripts/setup.sh --packages $(bindgen_package)
	together build_kernel build_command
fi
