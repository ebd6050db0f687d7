#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Tests test-host.sh: each test of slab_heap is in exactly one layer, a broken layer ends the run and is named,
# and panics have backtraces only with BACKTRACE=1.

set -eu
. "$(dirname "$0")/../lib.sh"
# shellcheck source=scripts/tests/checks.sh
. "$(dirname "$0")/checks.sh"
cd "$top"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset BACKTRACE MAKEFLAGS MAKELEVEL KEEP_GOING

# A fake cargo: with LISTING it lists the tests instead of running them, it fails for the tests in BREAKING, and
# with ENDLESS it does not end.
mkdir "$work/bin"
cat >"$work/bin/cargo" <<END
#!/bin/sh
case \$1 in -V | --version) exec "$(type -P cargo)" "\$@" ;; esac
echo "\$*" >>"$work/called"
if [ -n "\$LISTING" ]; then exec "$(type -P cargo)" "\$@" --list; fi
echo "backtraces: \$RUST_BACKTRACE"
if [ -n "\$ENDLESS" ]; then
	echo "test seed::tests::long has been running for over 60 seconds"
	sleep 60
fi
case "\$*" in
*"\$BREAKING"*)
	echo "test seed::tests::one ... ok"
	echo "test seed::tests::other ... FAILED"
	echo "---- seed::tests::other stdout ----"
	echo "it is broken"
	echo "test result: FAILED. 1 passed; 1 failed; 0 ignored"
	exit 101
	;;
esac
echo "test result: ok. 3 passed; 0 failed; 0 ignored"
END
chmod +x "$work/bin/cargo"

# layers ARGUMENT...: runs test-host.sh with the fake cargo
layers() { PATH="$work/bin:$PATH" scripts/test-host.sh "$@" 2>&1 </dev/null; }

# names LAYER: prints the names of the tests of a layer of slab_heap
names() {
	ENDLESS='' LISTING=yes layers "$1" >/dev/null || true
	sed -n 's/: test$//p' "$logs/test-host-$1.log"
}

all=$(cargo test -p slab_heap --lib --locked -- --list 2>/dev/null | sed -n 's/: test$//p' | sort)
[ "$(wc -l <<<"$all")" -gt 100 ] || die "the tests of slab_heap cannot be listed"
expect 'each test of slab_heap is in one layer' "$all" \
	"$(for layer in class buddy slab seed hybrid extent debug-mode; do names $layer; done | sort)"

export LISTING='' BREAKING='seed::tests' ENDLESS=''
output=$(layers) && status=0 || status=$?
expect 'a broken layer is a failure' 1 "$status"
expect 'the outer layers are not run' 'class: 3 passed, 0 failed
buddy: 3 passed, 0 failed
slab: 3 passed, 0 failed
seed: 1 passed, 1 failed
hybrid: not run
extent: not run
debug-mode: not run
doc: not run
student: not run
session: not run
trace: not run
lab: not run
command: not run
rest: not run' "$(grep -E '^[a-z-]+: ([0-9]+ passed|not run)' <<<"$output")"
expect 'only the output of failed tests is shown' 'backtraces: 0
test seed::tests::other ... FAILED

---- seed::tests::other stdout ----
it is broken
test result: FAILED. 1 passed; 1 failed; 0 ignored' "$(sed -n '/^backtraces/,/^test result/p' <<<"$output")"
expect 'the last line names the broken layer' "error: broken layers: seed. Mend the innermost one first: run it alone with 'make test-seed'" \
	"$(tail -n 1 <<<"$output")"
output=$(layers -k) || true
expect 'with -k all layers are run' 0 "$(grep -c 'not run' <<<"$output")"
output=$(layers debug-mode)
expect 'one layer can be run' 'debug-mode: 3 passed, 0 failed' "$(tail -n 1 <<<"$output")"
output=$(BACKTRACE=1 layers -v debug-mode)
expect 'BACKTRACE=1 adds backtraces' 'backtraces: 1' "$(grep backtraces <<<"$output")"
output=$(ENDLESS=yes LIMIT=1 layers seed) || true
expect 'a test that does not end is killed and named' \
	'error: the command did not end within 1 s: the test seed::tests::long has not ended' "$(grep '^error: the command' <<<"$output")"
output=$(layers nosuch) || true
expect 'an unknown layer is refused' 'error: no layer nosuch: the layers are' "${output%the layers are*}the layers are"

# The Makefile has a target for each layer.
: >"$work/called"
for layer in $(scripts/test-host.sh -l | cut -d ' ' -f 1) heap host; do
	PATH="$work/bin:$PATH" BREAKING=nothing make --no-print-directory "test-$layer" >"$work/log" 2>&1 </dev/null ||
		expect "make test-$layer" '' "$(cat "$work/log")"
done
expect 'make test-heap and make test-host run their layers' 3 "$(grep -c -- '-- debug::$' "$work/called")"
exit $failed
