#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Runs gdb on a machine that waits for it (vm.sh -g), with the symbols of the module and of the kernel.
#
#   gdb.sh [ARGUMENT...]     further arguments of gdb, such as -ex 'break …'
#
# gdb stops the machine. The command in the machine starts when gdb continues. vm.sh writes the files in build/gdb:
# the module, the addresses of its sections, the path of the kernel, and the socket of QEMU.

set -eu
. "$(dirname "$0")/lib.sh"
folder=$build/gdb

type -P gdb >/dev/null || die "no gdb: run 'scripts/setup.sh gdb'"

# waits: succeeds if a machine runs, whose vm.sh holds the lock, and the machine has sent the sections
waits() { [ -e "$folder/sections" ] && ! flock --nonblock "$folder/lock" true; }

# await_machine: waits until the module is loaded in the machine
await_machine() {
	local started=$SECONDS
	until waits; do
		[ $((SECONDS - started)) -lt "${TIMEOUT:-120}" ] ||
			die "no machine waits for gdb: run 'make debug' or 'scripts/vm.sh -g' in another terminal"
		sleep 0.1
	done
}

# module_sections: prints the option -s of add-symbol-file for each section of the module that gdb knows. The sections
# that the kernel frees after the module's init have no code or data any more.
module_sections() {
	local name address
	while read -r name address; do
		case $name in
		.text* | .rodata* | .data* | .bss*) printf -- ' -s %s %s' "$name" "$address" ;;
		esac
	done <"$folder/sections"
}

# commands: prints the commands of gdb
commands() {
	local kernel
	kernel=$(cat "$folder/kernel")/vmlinux
	printf 'set confirm off\nset architecture i386:x86-64\n'
	if [ -e "$kernel" ]; then
		echo "file $kernel"
	else
		say "the kernel has no symbols, because there is no $kernel; the module has symbols"
	fi
	echo "target remote $folder/socket"
	[ ! -s "$folder/slablab.ko" ] || echo "add-symbol-file $folder/slablab.ko$(module_sections)"
	# The machine is stopped now, so its command starts when gdb continues.
	echo "shell echo >$folder/port.in"
	printf 'set confirm on\n'
}

await_machine
commands >"$folder/commands"
exec gdb --quiet --command "$folder/commands" "$@"
