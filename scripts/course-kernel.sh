#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Builds and boots a kernel with the learner's allocator, for `slablab course check --kernel`.
#
#   course-kernel.sh [--debug] has                     succeeds if the kernel is built
#   course-kernel.sh [--debug] build                   installs the packages and builds the kernel
#   course-kernel.sh [--debug] image                   builds the module with the allocator, and the image
#   course-kernel.sh [--debug] frames                  prints the functions of the module with too many local variables
#   course-kernel.sh [--debug] boot ARGUMENT...        runs slablab with these arguments in the machine
#   course-kernel.sh [--debug] line SYMBOL+OFFSET...   prints the line of the learner's file at the first of these
#                                                      places in the module that is in the file
#
# --debug chooses the debug kernel. The console is written to build/log/course-kernel.console (course-debug-kernel),
# the messages of vm.sh to the file .log beside it.

set -eu
. "$(dirname "$0")/lib.sh"
cd "$top"

flavour=lab name=course-kernel seconds=180
MO=$build/module-student image=$build/initramfs-student.cpio
if [ "${1:-}" = --debug ]; then
	flavour=lab+debug name=course-debug-kernel seconds=600
	MO=$build/debug/student image=$build/debug/student.cpio
	export KDIR='' # which names another kernel
	shift
fi

# boot ARGUMENT...: runs slablab in the machine. The command loads the module itself (-n), because the learner's code runs
# at that moment.
boot() {
	local tree
	tree=$(scripts/kernel.sh path "$flavour")
	if [ "$flavour" = lab ]; then
		KDIR=$tree INITRAMFS=$image CONSOLE=$logs/$name.console scripts/vm.sh -n -t "$seconds" slablab "$@"
	else
		# The learner's code cannot allocate memory of the kernel, so it leaks none.
		kmemleak=off debug_vm "$tree" "$image" "$logs/$name.console" -n -t "$seconds" slablab "$@"
	fi
}

# line SYMBOL+OFFSET...: prints the line of the learner's file
line() {
	local place address addresses=()
	find_toolchain --no-bindgen
	for place; do
		address=$("llvm-nm-$llvm" "$MO/slablab.ko" | awk -v symbol="${place%+*}" '$3 == symbol { print $1 }')
		[ -z "$address" ] || addresses+=("$(printf '0x%x' $((16#$address + ${place##*+})))")
	done
	[ ${#addresses[@]} -gt 0 ] || return 0
	# The inner functions of a place, which were inlined, come first. The line 0 is code of the compiler.
	"llvm-symbolizer-$llvm" --obj="$MO/slablab.ko" --inlines "${addresses[@]}" |
		sed -n 's|^.*/rust/student/lib\.rs:\([1-9][0-9]*\):[0-9]*$|\1|p' | sed -n 1p
}

case ${1:-} in
has) scripts/kernel.sh has "$flavour" ;;
build)
	make setup
	scripts/kernel.sh build "$flavour"
	;;
image)
	tree=$(scripts/kernel.sh path "$flavour")
	step "module with your allocator" "$logs/$name-build.log" \
		make initramfs STUDENT=1 KDIR="$tree" MO="$MO" image="${image#"$top/"}"
	;;
frames)
	# A larger frame can reach over the guard page of a stack, and then overwrite other memory.
	scripts/stack-frames.py --limit 4096 "$MO/slablab.ko"
	;;
boot)
	shift
	mkdir -p "$logs"
	boot "$@" 2>"$logs/$name.log"
	;;
line)
	shift
	line "$@"
	;;
*)
	sed -n '/^# *course-kernel\.sh/,/^#$/s/^# *//p' "$0" >&2
	exit 2
	;;
esac
