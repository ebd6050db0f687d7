#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Tests that the set-up needs no privileges on a machine with all packages: apt-get and sudo are not called, and
# nothing is built. Run setup.sh before this test.

set -eu
. "$(dirname "$0")/../lib.sh"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/bin"
for program in apt-get sudo su; do
	printf '#!/bin/sh\necho "%s $*" >>"%s/called"\nexit 1\n' "$program" "$work" >"$work/bin/$program"
done
chmod +x "$work"/bin/*

PATH="$work/bin:$PATH" "$top/scripts/setup.sh" >"$work/log" 2>&1 </dev/null || { cat "$work/log" >&2; die "setup.sh failed"; }
[ ! -e "$work/called" ] || die "setup.sh called: $(cat "$work/called")"
[ ! -s "$work/log" ] || { cat "$work/log" >&2; die "setup.sh printed messages"; }
echo "ok: a second set-up installs nothing"
