# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# A fake kernel source for tests of kernel.sh and prepare.sh. This file is sourced, not run.

# make_source TREE: creates a fake kernel source. Its build ends at once and adds a line to TREE/built; while TREE/hold
# exists, the build waits, and when TREE/broken exists, it fails.
make_source() {
	mkdir -p "$1/rust"
	: >"$1/rust/Makefile"
	cat >"$1/Makefile" <<-'END'
		VERSION = 7
		PATCHLEVEL = 3
		kernelversion: ; @echo 7.3.9
		rustavailable modules:
		allnoconfig: ; @cp $(KCONFIG_ALLCONFIG) $(O)/.config
		bzImage: ; @echo $(O) >>built; while [ -e hold ]; do sleep 0.05; done; [ ! -e broken ] || { echo "the reason"; exit 1; }
	END
}
