#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Runs the device stressors of stress-ng, an independent tool from Debian, on /dev/slablab in the debug kernel.
#
#   test-foreign.sh [SECONDS]      runs for this time (60)

set -eu
. "$(dirname "$0")/lib.sh"
cd "$top"

seconds=${1:-60}
require_number SECONDS "$seconds"
stress_ng=$(type -P stress-ng) || die "no stress-ng: run 'scripts/setup.sh stress-ng'"
tree=$(KDIR='' scripts/kernel.sh path lab+debug)
image=$build/debug/module.cpio
foreign=$build/debug/foreign.cpio

# add_stress_ng: prints the initramfs, followed by an archive with the program and its shared libraries in the
# directories of the loader
add_stress_ng() {
	local root library
	root=$(mktemp -d)
	trap 'rm -rf "$root"' RETURN
	mkdir -p "$root/bin"
	cp "$stress_ng" "$root/bin/"
	ldd "$stress_ng" | grep -o '/[^ ]*' | while read -r library; do
		mkdir -p "$root$(dirname "$library")"
		cp --dereference "$library" "$root$library"
	done
	cat "$image"
	(cd "$root" && find . -mindepth 1 | cpio --quiet --create --format=newc --owner=+0:+0)
}

# exercise: runs stress-ng with twice as many processes as CPUs, then checks that the engines work and that
# nothing leaks
exercise() {
	debug_vm "$tree" "$foreign" "$logs/foreign.console" -t $((seconds * 3 + 900)) \
		sh -c "stress-ng --dev 4 --dev-file /dev/slablab --timeout ${seconds}s --metrics --verbose &&
			slablab stress --engine all --seconds 0.2 && debug"
}

make initramfs KDIR="$tree" MO="${image%.cpio}" image="$image"
add_stress_ng >"$foreign"
watch "stress-ng on /dev/slablab, $seconds s" "$logs/foreign.log" exercise
grep -E 'dev +[0-9]|successful run|passed:|failed:' "$logs/foreign.log" || cat "$logs/foreign.log"
echo "$(awk -f scripts/reports.awk "$logs/foreign.console" | wc -l) reports"
[ "$status" -eq 0 ]
