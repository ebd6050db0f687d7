#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Checks the variables of the Makefile before anything is installed, built or booted. It needs nothing
# that is built: the names of engines, patterns and options are read from the sources.
#
#   arguments.sh GOAL...        the variables are in the environment
#
# What only the command can judge, as the options of slablab, the Makefile asks the command, before a
# kernel or a module is built.

set -eu
. "$(dirname "$0")/lib.sh"
cd "$top"

# one_of NAME VALUE WORD...: the variable NAME has one of these values
one_of() {
	local name=$1 value=$2 word
	shift 2
	for word; do
		if [ "$word" = "$value" ]; then return; fi
	done
	die "$name=$value is not one of: $*"
}

# named NAME: the variable is not empty
named() { [ -n "${!1// /}" ] || die "$1= is empty: leave it away for the default, which 'make help' shows"; }

engines() { sed -n 's/^\tSLABLAB_ENGINE_\([A-Z_]*\) = .*/\L\1/p' rust/uapi/slablab.h | tr _ -; }
patterns() { sed -n 's/^    "\([a-z0-9-]*\)", .*/\1/p' harness/trace/src/pattern/*.rs; }

# bench_options: prints the options of bench-host, which are the fields behind #[arg(long...)]
bench_options() {
	sed -n '/^    #\[arg(long/,/^    [a-z_]*:/s/^    \([a-z_]*\):.*/--\1/p' harness/bench/src/cli.rs | tr _ -
	printf '%s\n' --help --version -h -V
}

# traces WORD...: each is a file, a pattern, an option, or follows an option and may be its value
traces() {
	local word before=''
	for word; do
		case $word in
		-*) ;;
		*)
			[ -e "$word" ] || [[ $before == -* ]] || [ "$word" = all ] || patterns | grep -qxF -- "$word" ||
				die "TRACE=$word is neither a file nor a pattern; the patterns are: $(patterns | paste -s -d ' ')"
			;;
		esac
		before=$word
	done
}

# bench_host WORD...: an option is one of bench-host
bench_host() {
	local word
	for word; do
		[[ $word != -* ]] || bench_options | grep -qxF -- "${word%%=*}" ||
			die "BENCH: $word is no option of bench-host; these are: $(bench_options | paste -s -d ' ')"
	done
}

# boots GOAL...: one of these boots the lab's kernel
boots() {
	local goal
	for goal; do
		case $goal in run | shell | bench | replay | report | record | test) return 0 ;; esac
	done
	return 1
}

[[ " $* " != *' shell '* ]] || [ -t 0 ] || die "make shell needs a terminal: make run STRESS= runs a command without one"
[ -z "${MO:-}" ] || require_plain MO "$(realpath -m "$MO")"
require_accelerator
# A given tree is none of the caller's business: kernel.sh judges it.
"$top/scripts/kernel.sh" check
if [ -n "${KDIR:-}" ] && boots "$@"; then
	[ -e "$KDIR/arch/x86/boot/bzImage" ] ||
		die "KDIR=$KDIR has no bzImage to boot: build the kernel there, or leave KDIR away for the lab's own"
fi
for name in ENGINE TRACE STRESS SIM RECORD; do named "$name"; done
# shellcheck disable=SC2046 # words
one_of ENGINE "$ENGINE" all $(engines)
# shellcheck disable=SC2086 # words, as make has them
traces $TRACE
# shellcheck disable=SC2086
bench_host ${BENCH:-}
