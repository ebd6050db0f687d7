#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Checks the variables of the Makefile before anything is installed, built or booted. The check needs no built
# program, because it reads the names of engines, patterns and options from the sources.
#
#   arguments.sh GOAL...        takes the variables from the environment
#
# The command slablab checks its own options. The Makefile calls it before a kernel or a module is built.

set -eu
# The target test-arm64 selects the architecture itself.
[[ " $* " != *' test-arm64 '* ]] || export ARCH=arm64
. "$(dirname "$0")/lib.sh"
cd "$top"

# one_of NAME VALUE WORD...: dies unless VALUE, the value of the variable NAME, is one of the words
one_of() {
	local name=$1 value=$2 word
	shift 2
	for word; do
		if [ "$word" = "$value" ]; then return; fi
	done
	die "$name=$value is not one of: $*"
}

# not_empty NAME: dies if the variable NAME is empty
not_empty() { [ -n "${!1// /}" ] || die "$1= is empty: omit it for the default, which 'make help' shows"; }

engines() { sed -n 's/^\tSLABLAB_ENGINE_\([A-Z_]*\) = .*/\L\1/p' rust/uapi/slablab.h | tr _ -; }
patterns() { sed -n 's,^    "\([a-z0-9/-]*\)"\, .*,\1,p' harness/trace/src/pattern/*.rs harness/trace/src/museum/*.rs; }

# bench_options: prints the options of bench-host, which are the fields after #[arg(long...)]
bench_options() {
	sed -n '/^    #\[arg(long/,/^    [a-z_]*:/s/^    \([a-z_]*\):.*/--\1/p' harness/bench/src/cli.rs | tr _ -
	printf '%s\n' --help --version -h -V
}

# traces WORD...: dies unless each word is a file, a pattern, an option, or a possible value after an option
traces() {
	local word before=''
	for word; do
		case $word in
		-*) ;;
		*)
			[ -e "$word" ] || [[ $before == -* ]] || [ "$word" = all ] || [ "$word" = museum ] || patterns | grep -xF -- "$word" >/dev/null ||
				die "TRACE=$word is neither a file nor a pattern; the patterns are: $(patterns | paste -s -d ' ')"
			;;
		esac
		before=$word
	done
}

# bench_host WORD...: dies if an option is not one of bench-host
bench_host() {
	local word
	for word; do
		[[ $word != -* ]] || bench_options | grep -xF -- "${word%%=*}" >/dev/null ||
			die "BENCH: $word is not an option of bench-host; the options are: $(bench_options | paste -s -d ' ')"
	done
}

# boots GOAL...: succeeds if one of the goals boots a kernel
boots() {
	local goal
	for goal; do
		case $goal in run | shell | debug | grade | bench | replay | report | record | test | test-arm64 | test-matrix) return 0 ;; esac
	done
	return 1
}

# takes_kernel GOAL...: dies if a goal works only with a kernel of our own, because it needs symbols or options that Debian's
# kernels lack
takes_kernel() {
	local goal
	for goal; do
		case $goal in
		bench | debug | grade | rust-analyzer | test-debug | test-foreign | test-matrix)
			die "make $goal does not work with KERNEL=, which selects a kernel of Debian: omit KERNEL="
			;;
		esac
	done
}

# only_native GOAL...: dies if a goal has not been adapted to a lab machine of another architecture
only_native() {
	local goal
	for goal; do
		case $goal in debug | grade | test | test-debug | test-foreign | test-matrix)
			die "make $goal does not work with ARCH=$cross: omit ARCH=; make test-arm64 tests slablab on arm64" ;;
		esac
	done
}

# switch NAME: dies unless the variable NAME is empty or 1
switch() { case ${!1:-} in '' | 1) ;; *) die "$1=${!1} is not a switch: use $1=1, or omit it" ;; esac; }

# compiles GOAL...: succeeds if one of the goals needs cargo and a linker, and installs nothing
compiles() {
	local goal
	for goal; do
		case $goal in sim | course | course-selftest | command | bench-host) return 0 ;; esac
	done
	return 1
}

[[ " $* " != *' shell '* ]] || [ -t 0 ] || die "make shell needs a terminal: make run STRESS= runs a command without one"
[[ " $* " != *' debug '* ]] || [ -t 0 ] ||
	die "make debug needs a terminal: scripts/vm.sh -g COMMAND runs a command without one"
switch DEBUG_KERNEL
switch SYMBOLS
if [ -n "$cross" ]; then
	only_native "$@"
	[ -z "${DEBUG_KERNEL:-}" ] || die "DEBUG_KERNEL=1 selects a kernel for x86-64: omit ARCH=$cross"
fi
[ -z "${DEBUG_KERNEL:-}" ] || [ -z "${KDIR:-}" ] || ! boots "$@" ||
	die "DEBUG_KERNEL=1 and KDIR= both select the kernel: omit one of them"
if [ -n "${KERNEL:-}" ]; then
	for name in KDIR KERNEL_SRC DEBUG_KERNEL; do
		[ -z "${!name:-}" ] || die "KERNEL= and $name= both select the kernel: omit one of them"
	done
	[ -z "$cross" ] || die "KERNEL= selects a kernel for x86-64: omit ARCH=$cross"
	takes_kernel "$@"
fi
case " $* " in *' install '* | *' uninstall '*) "$top/scripts/install.sh" check ;; esac
[ -z "${MO:-}" ] || require_plain MO "$(realpath -m "$MO")"
require check_accelerator
# kernel.sh checks KDIR=, KERNEL= and KERNEL_SRC=.
"$top/scripts/kernel.sh" check
if boots "$@"; then
	if [ -n "${KDIR:-}" ]; then require check_image "$KDIR"; else require check_cache; fi
fi
if [[ " $* " == *' grade '* ]]; then "$top/scripts/grade.sh" -n "${DIR:-}" "$EXERCISE" "${SEED:-}" "${OUT:-}"; fi
for name in ENGINE TRACE STRESS SIM RECORD; do not_empty "$name"; done
# shellcheck disable=SC2046 # word splitting is intended
one_of ENGINE "$ENGINE" all $(engines)
# shellcheck disable=SC2086 # make passes a list of words
traces $TRACE
# shellcheck disable=SC2086
bench_host ${BENCH:-}
if compiles "$@"; then require check_command; fi
