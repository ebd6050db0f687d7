# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034 # most variables are used by the scripts that source this file
#
# Common code of the scripts: error and progress messages, and the toolchain. This file is sourced, not run.

shopt -s inherit_errexit

# shellcheck source=scripts/requirements.sh
. "$(dirname "${BASH_SOURCE[0]}")/requirements.sh"

# say WORD...: prints a line on stderr. In together, another step may show its progress in the terminal's last line.
say() {
	[ -z "${side_by_side:-}" ] || [ ! -t 2 ] || printf '\r\033[K' >&2
	printf '%s\n' "$*" >&2
}
die() { say "error: $*"; exit 1; }

# require CHECK...: dies unless the check of requirements.sh succeeds
require() { "$@" || die "$problem: $remedy"; }

require_plain() { require check_path "$@"; }
require_plain "the checkout" "$top"
require check_arch
require_plain "the cache (SLABLAB_CACHE=)" "$(realpath -m "$cache")"

# name_doctor: lets a failure of this script end with a line that names `make doctor`. `make run` prints this line
# itself, and sets hinted=yes.
name_doctor() { [ -n "${hinted:-}" ] || trap finish_with_hint EXIT; }

# shellcheck disable=SC2317 # the trap calls it
finish_with_hint() {
	local status=$?
	case $status in 0 | 130) ;; *) say "$doctor_hint" ;; esac # 130 after an interrupt
	exit "$status"
}

# require_cache WHY COMMAND: dies if the cache cannot be written. WHY ("has no ...") names a missing part of the
# cache, and COMMAND is the command that adds the part.
require_cache() {
	mkdir -p "$cache" 2>/dev/null || die "the cache $cache cannot be created: set SLABLAB_CACHE= to a directory of your own"
	[ -w "$cache" ] || die "the cache $cache is read-only and $1: its owner must run '$2' in this checkout" \
		"with this toolchain; or set SLABLAB_CACHE= to a directory of your own, or KDIR= to a built kernel tree"
}

# require_number WHAT VALUE: dies unless the value is a positive integer
require_number() { [[ $2 =~ ^[1-9][0-9]{0,8}$ ]] || die "$1: '$2' is not a positive integer"; }

# require_program FILE: dies unless the program exists
require_program() { [[ -f $1 && -x $1 ]] || die "the program $1 does not exist: 'make command' builds build/target/release/slablab"; }

# elapsed SINCE: prints the minutes and seconds since $SECONDS was SINCE
elapsed() { printf '%d:%02d' $(((SECONDS - $1) / 60)) $(((SECONDS - $1) % 60)); }

# slow_test LOG: prints the name of a slow test, if the last line of the log is libtest's message about it
slow_test() { tail -n 1 "$1" | sed -n 's/^test \(.*\) has been running for over .*/: the test \1 has not ended/p'; }

# shows_progress: succeeds if the current step shows its progress in the terminal's last line. Of steps that run at the
# same time, one at a time does; it holds a lock on $side_by_side.
shows_progress() { [ -t 2 ] && { [ -z "${side_by_side:-}" ] || flock --nonblock "$line_fd"; }; }

# watch TITLE LOG COMMAND...: runs a long command with its output in LOG, shows progress (on a terminal one line
# that is rewritten, otherwise a line every 30 seconds) and sets $status. The function does not return the status:
# a caller would have to test the function, and bash then ignores set -e in the command, too. If $limit is set, the
# command is killed after $limit seconds. If $step_times is set, the duration is added to this file.
watch() {
	local title=$1 log=$2 started=$SECONDS reported=$SECONDS width=0 job line_fd
	status=0
	shift 2
	[ ! -t 2 ] || width=$(($(stty size <&2 | cut -d ' ' -f 2) - 1))
	mkdir -p "$(dirname "$log")"
	[ -z "${V:-}" ] || say "+ $*"
	if [ ! -t 2 ] || [ -n "${side_by_side:-}" ]; then say "$title (log: ${log#"$top/"})"; fi

	# An interrupt ends all processes of the job, which gets its own process group.
	trap 'kill -- "-$!" 2>/dev/null || true; wait "$!" || true; say; say "interrupted: $title"; exit 130' INT TERM HUP
	set -m
	"$@" >"$log" 2>&1 </dev/null &
	job=$!
	set +m
	[ -z "${side_by_side:-}" ] || exec {line_fd}>"$side_by_side"
	while kill -0 "$job" 2>/dev/null; do
		if shows_progress; then
			printf '\r\033[K%.*s' "$width" \
				"$title  $(elapsed "$started")  $(tail -n 1 "$log" | tr -d '\r' | tr '\t' ' ')" >&2
		elif [ ! -t 2 ] && [ $((SECONDS - reported)) -ge 30 ]; then
			reported=$SECONDS
			say "$title: running for $(elapsed "$started")$(slow_test "$log")"
		fi
		if [ -n "${limit:-}" ] && [ $((SECONDS - started)) -ge "$limit" ]; then
			echo "error: the command did not end within $limit s$(slow_test "$log")" >>"$log"
			kill -- "-$job"
			limit=''
		fi
		(trap '' TERM && exec sleep 0.2) # bash would report that stop terminated it
	done
	wait "$job" || status=$?
	trap - INT TERM HUP

	[ ! -t 2 ] || printf '\r\033[K' >&2
	[ -z "${side_by_side:-}" ] || exec {line_fd}>&-
	[ -z "${step_times:-}" ] || echo "$((SECONDS - started)) $title" >>"$step_times"
	if [ "$status" -eq 0 ]; then
		say "$title: done in $(elapsed "$started")"
	else
		say "$title: FAILED after $(elapsed "$started") (log: ${log#"$top/"})"
	fi
}

# step TITLE LOG COMMAND...: runs watch; if the command fails, prints the end of its log and exits
step() {
	watch "$@"
	if [ "$status" -ne 0 ]; then
		tail -n 30 "$2" >&2
		exit 1
	fi
}

# together FUNCTION...: runs functions at the same time, each in a subshell. When one of them fails, the others are
# stopped, and the script exits. Calls can be nested. A function that ends with a script runs it with exec, because
# stop does not wait for the children of a subshell.
together() {
	local function jobs=()
	local -x side_by_side=$logs/progress.lock
	mkdir -p "$logs"
	# Each function gets its own process group, so that all its processes can be stopped.
	trap 'stop "${jobs[@]}"; exit 130' INT TERM HUP
	set -m
	for function; do
		"$function" </dev/null &
		jobs+=("$!")
	done
	set +m
	for function; do
		wait -n || { stop "${jobs[@]}"; exit 1; }
	done
	trap - INT TERM HUP
}

# stop JOB...: stops the process groups of jobs, and waits for the jobs
stop() {
	[ $# -eq 0 ] || kill -- "${@/#/-}" 2>/dev/null || true
	wait || true
}

# debug_vm TREE IMAGE CONSOLE ARGUMENT...: runs vm.sh with a debug kernel that is built
debug_vm() {
	local tree=$1 image=$2 console=$3
	shift 3
	KDIR=$tree INITRAMFS=$image CONSOLE=$console "$top/scripts/vm.sh" -d "$@"
}

# shellcheck disable=SC2120 # most callers need bindgen
# find_toolchain [--no-bindgen]: sets rustc, bindgen and llvm, and exports LIBCLANG_PATH. With --no-bindgen, a
# missing bindgen is no error, and $bindgen is empty: a module for a built kernel tree does not need bindgen.
find_toolchain() {
	require check_rustc
	bindgen=$(bindgen_program) || [ "${1:-}" = --no-bindgen ] || require check_bindgen
	require check_clang
	export LIBCLANG_PATH=${LIBCLANG_PATH:-/usr/lib/llvm-$llvm/lib}
}
