#!/bin/bash
# shellcheck disable=SC2317 # functions are called by check
# SPDX-License-Identifier: GPL-2.0
#
# Tests the prompt in the machine: what it says of the module, and that an exit after a command that
# failed is no failure. Needs the initramfs and the kernel.

set -eu
. "$(dirname "$0")/../lib.sh"

work=$(mktemp -d)
screen=$work/screen
job=''
trap 'exec 3>&-; [ -z "$job" ] || kill "$job" 2>/dev/null || true; rm -rf "$work"' EXIT
failed=0

# shows TEXT: waits until the screen shows it, at most 30 seconds
shows() {
	for _ in $(seq 300); do
		if tr -d '\r' <"$screen" | grep -qF -- "$1"; then return 0; fi
		sleep 0.1
	done
	return 1
}

# check NAME COMMAND...
check() {
	local name=$1
	shift
	if "$@"; then
		echo "ok: $name"
	else
		echo "not ok: $name"
		cat "$screen"
		failed=1
	fi
}

type -P script >/dev/null || { echo "skipped: no script(1)"; exit 0; }
mkfifo "$work/keys"
: >"$screen"
# The terminal is script's, and so is the status: that of vm.sh.
script --quiet --flush --return --command "$top/scripts/vm.sh" "$screen" <"$work/keys" >/dev/null &
job=$!
exec 3>"$work/keys"

check "the prompt comes" shows 'guest:~# '
check "it says where the module is" shows 'the module is /lib/slablab.ko'
echo 'rmmod slablab && echo un""loaded' >&3
check "rmmod says how to load the module again" shows "'insmod /lib/slablab.ko' loads the module again"
check "and keeps its status" shows unloaded
echo 'rmmod nosuch || echo fai""led' >&3
check "a rmmod that fails says nothing of it" shows failed
echo 'insmod /lib/slablab.ko && [ -e /dev/slablab ] && echo lo""aded' >&3
check "the module can be loaded again" shows loaded
echo '(exit 130)' >&3
echo 'echo sta""tus $?' >&3
check "a command fails" shows 'status 130'
echo '(exit 130)' >&3
echo 'exit' >&3
ended() { wait "$job"; }
check "an exit behind it is no failure" ended
job=''
check "one hint was shown" test "$(grep -c 'loads the module again' "$screen")" = 1
exit $failed
