#!/bin/bash
# shellcheck disable=SC2317 # functions are called by check
# SPDX-License-Identifier: GPL-2.0
#
# Tests the prompt in the lab machine: its hints about the module, and that an exit after a failed command is
# not a failure. The test needs the initramfs and the kernel.

set -eu
. "$(dirname "$0")/../lib.sh"
# shellcheck source=scripts/tests/checks.sh
. "$(dirname "$0")/checks.sh"

work=$(mktemp -d)
screen=$work/screen
job=''
trap 'exec 3>&-; [ -z "$job" ] || kill "$job" 2>/dev/null || true; rm -rf "$work"' EXIT
log=$screen

# shows TEXT: waits at most 30 seconds until the screen shows the text
shows() {
	for _ in $(seq 300); do
		if tr -d '\r' <"$screen" | grep -qF -- "$1"; then return 0; fi
		sleep 0.1
	done
	return 1
}

type -P script >/dev/null || { echo "skipped: no script(1)"; exit 0; }
mkfifo "$work/keys"
: >"$screen"
# script(1) provides the terminal, and exits with the status of vm.sh.
script --quiet --flush --return --command "$top/scripts/vm.sh" "$screen" <"$work/keys" >/dev/null &
job=$!
exec 3>"$work/keys"

check "the prompt is shown" shows 'guest:~# '
check "the greeting names the module" shows 'the module is /lib/slablab.ko'
echo 'rmmod slablab && echo un""loaded' >&3
check "rmmod shows how to load the module again" shows "'insmod /lib/slablab.ko [PARAMETER=VALUE]...' loads the module again"
check "rmmod succeeds with the hint" shows unloaded
echo 'rmmod nosuch || echo fai""led' >&3
check "a failed rmmod shows no hint" shows failed
echo 'insmod /lib/slablab.ko && [ -e /dev/slablab ] && echo lo""aded' >&3
check "the module can be loaded again" shows loaded
echo '(exit 130)' >&3
echo 'echo sta""tus $?' >&3
check "a command fails" shows 'status 130'
echo '(exit 130)' >&3
echo 'exit' >&3
ended() { wait "$job"; }
check "an exit after a failed command is not a failure" ended
job=''
check "the hint was shown once" test "$(grep -c 'loads the module again' "$screen")" = 1
exit $failed
