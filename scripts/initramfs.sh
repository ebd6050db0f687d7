#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Packs the root file system of the guest: init and scripts, busybox, the module and the command.
#
#   initramfs.sh OUTPUT MODULE COMMAND
#
# MODULE can be empty, for a guest without the module.

set -eu
. "$(dirname "$0")/lib.sh"

umask 022

[ $# -eq 3 ] || { sed -n '/^# *initramfs\.sh/s/^# *//p' "$0" >&2; exit 2; }
output=$1 module=$2 command=$3
root=$(mktemp -d)
chmod 755 "$root"
trap 'rm -rf "$root"' EXIT

busybox=/bin/busybox strip=strip
if [ -n "$cross" ]; then
	require check_cross
	busybox=$cross_files/bin/busybox strip=${cross_prefix}strip
fi
[ -x "$busybox" ] || die "no $busybox: run 'make setup${cross:+ ARCH=$cross}'"
for program in "$busybox" "$command"; do
	! readelf --program-headers "$program" | grep -q INTERP || die "$program is not linked statically, and the guest has no libraries: run 'make setup command'"
done

mkdir -p "$root"/{bin,dev,etc,lib,proc,root,sys,tmp}
cp "$top/scripts/guest/init" "$root/init"
cp "$top/scripts/guest/debug" "$root/bin/"
cp "$top/scripts/guest/prompt" "$root/etc/"
cp "$busybox" "$root/bin/busybox"
[ -z "$module" ] || cp "$module" "$root/lib/slablab.ko"
"$strip" --strip-debug -o "$root/bin/slablab" "$command"
printf '%s\n' root:x:0:0:root:/root:/bin/sh student:x:1000:1000:student:/tmp:/bin/sh >"$root/etc/passwd"
printf '%s\n' root:x:0: student:x:1000: >"$root/etc/group"

# The archive is reproducible, and not compressed, because an emulated CPU reads faster than it unpacks.
mkdir -p "$(dirname "$output")"
find "$root" -exec touch --no-dereference --date=@0 {} +
(cd "$root" && find . -print0 | LC_ALL=C sort -z |
	cpio --quiet --null --create --format=newc --owner=+0:+0 --reproducible) >"$output.$$"
mv "$output.$$" "$output"
