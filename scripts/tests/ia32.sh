#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Tests the device with a 32-bit program and with a program in its own pid namespace, on a kernel that supports both.

set -eu
. "$(dirname "$0")/../lib.sh"
cd "$top"

find_toolchain
tree=$(KDIR='' scripts/kernel.sh path lab+ia32)
image=$build/ia32/module.cpio
client=$build/ia32/client

# The UAPI headers are the same for both word sizes, and the program needs no C library.
mkdir -p "$(dirname "$client")"
"clang-$llvm" --target=i386-linux-gnu -idirafter /usr/include/x86_64-linux-gnu -Irust/uapi -O1 -Wall -Wextra \
	-Werror -ffreestanding -fno-stack-protector -nostdlib -static -fuse-ld=lld -o "$client" scripts/tests/ia32.c
readelf --file-header "$client" | grep -q ELF32 || die "$client is not a 32-bit program"

make initramfs KDIR="$tree" MO="${image%.cpio}" image="$image"

# in_the_machine ARGUMENT...: runs vm.sh with the kernel and the initramfs of this test
in_the_machine() { KDIR=$tree INITRAMFS=$image CONSOLE=$logs/ia32.console scripts/vm.sh "$@"; }

in_the_machine -f "$client" /job/files/client
say "the 32-bit client passed"
in_the_machine slablab selftest --filter processes/numbers
