#!/bin/bash
# shellcheck disable=SC2317 # functions are called by check and together
# SPDX-License-Identifier: GPL-2.0
#
# Tests steps that run at the same time, and the preparation of a first and a second start with a fake kernel source and a
# fake cargo.

set -eu
. "$(dirname "$0")/../lib.sh"
# shellcheck source=scripts/tests/checks.sh
. "$(dirname "$0")/checks.sh"
# shellcheck source=scripts/tests/fake-source.sh
. "$(dirname "$0")/fake-source.sh"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
log=$work/said

# meet MINE OTHER: creates the file MINE, and waits for the file OTHER
meet() {
	touch "$work/$1"
	wait_for test -e "$work/$2"
}
left() { step "left step" "$work/left.log" meet left right; }
right() { step "right step" "$work/right.log" meet right left; }
broken() { step "broken step" "$work/broken.log" sh -c 'echo the reason; exit 3'; }
endless() { step "endless step" "$work/endless.log" sh -c "echo \$\$ >$work/endless.pid; exec sleep 1000"; }
endless_broken() { together endless broken; }
nested() { together left right; }
ended() { ! kill -0 "$(cat "$work/endless.pid")" 2>/dev/null; }

# run FUNCTION...: runs the functions together, and sets $status
run() {
	status=0
	rm -f "$work"/{left,right}
	(together "$@") >/dev/null 2>"$work/said" </dev/null || status=$?
}

run left right
check "two steps that wait for each other end" test "$status" = 0
check "each step reports its end" test "$(grep -c ': done in' "$work/said")" = 2
run nested
check "a step can consist of steps at the same time" test "$status" = 0
run endless broken
check "a step that fails is a failure" test "$status" = 1
check "the failed step and its log are named" grep -q "broken step: FAILED .*$work/broken.log" "$work/said"
check "the end of the log is printed" grep -qx "the reason" "$work/said"
check "a failure stops the other steps" wait_for ended
run endless_broken left
check "a failure stops the steps of another step" wait_for ended

# A checkout with a fake cargo and a fake kernel source. The machine has bindgen.
mkdir -p "$work"/{bin,top}
cp -r "$top"/{Makefile,Kbuild,scripts,rust,harness} "$work/top/"
top=$work/top
# shellcheck disable=SC2016 # the fake cargo expands $1
printf '#!/bin/sh\n[ "$1" != --version ] || exec echo "cargo 1.85.0"\n' >"$work/bin/cargo"
chmod +x "$work/bin/cargo"
BINDGEN=$(bindgen_program) || die "no bindgen: run 'make setup'"
export BINDGEN SLABLAB_CACHE=$work/cache KERNEL_SRC=$work/source PATH=$work/bin:$PATH
unset KDIR MAKEFLAGS MAKELEVEL hinted side_by_side step_times
mkdir "$SLABLAB_CACHE"
make_source "$KERNEL_SRC"

# prepare: prepares a start in the background, in a process group of its own as on a terminal. The preparation can be
# interrupted also if the tests were started by a shell that lets its background jobs ignore interrupts.
prepare() {
	set -m
	env --default-signal=INT "$top/scripts/prepare.sh" lab true >"$work/said" 2>&1 </dev/null &
	set +m
}
# prepared: prepares a start, and succeeds if the preparation does
prepared() { prepare && wait $!; }
complete() { compgen -G "$SLABLAB_CACHE/kernel-lab-*/.complete" >/dev/null; }
lacks() { ! "$@"; }
summary() { "$top/scripts/prepare.sh" --summary >"$work/said" 2>&1; }

touch "$KERNEL_SRC/broken"
check "a kernel that cannot be built is a failure" lacks prepared
check "the step and its log are named" grep -q "^building Linux 7.3.9 .*: FAILED .*kernel-build.log" "$work/said"
check "the end of the log is printed" grep -qx "the reason" "$work/said"
check "the last line names make doctor, once" \
	test "$(grep -n "make doctor" "$work/said" | cut -d : -f 1)" = "$(wc -l <"$work/said")"
rm "$KERNEL_SRC/broken" "$KERNEL_SRC/built"

touch "$KERNEL_SRC/hold"
prepare
wait_for test -e "$KERNEL_SRC/built"
kill -INT -- "-$!"
status=0
wait $! || status=$?
check "an interrupt ends the preparation" test "$status" = 130
remains() { grep -qs "$work/[s]ource" /proc/[0-9]*/cmdline; } # [s], because grep must not find itself
check "no process remains" lacks remains
check "the interrupted step is named" grep -q "^interrupted: building Linux 7.3.9" "$work/said"
check "the interrupted kernel is not complete" lacks complete
rm "$KERNEL_SRC/hold"

check "the next start builds the kernel" prepared
check "the kernel is complete" complete
check "each step is reported once" test "$(grep -c ': done in' "$work/said")" = 3
check "a summary is printed" summary
check "the summary is one line" test "$(wc -l <"$work/said")" = 1
check "the summary says that the next start is warm" grep -q "^this first start took .*; the next start needs none of these steps$" "$work/said"
check "the second start succeeds" prepared
check "the second start builds no kernel" lacks grep -q building "$work/said"
summary
check "the second start has no summary" test ! -s "$work/said"

printf '%s\n' "$(($(date +%s) - 754))" "61 installing packages" "0 reading lists" \
	"630 building Linux 7.3.4 (lab), once, about 8 minutes" >"$top/build/log/first-start"
summary
check "the summary has the time of each step" grep -qx "this first start took 12:[3-5][0-9] min (installing packages 1:01, building\
 Linux 7.3.4 10:30; some of them at the same time); the next start needs none of these steps" "$work/said"
exit $failed
