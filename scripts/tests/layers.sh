#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Tests test-host.sh: each test of slab_heap is in one layer, a broken layer ends the run and heads what is
# said, and a run has no backtraces unless they are wanted.

set -eu
. "$(dirname "$0")/../lib.sh"
cd "$top"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset BACKTRACE MAKEFLAGS MAKELEVEL KEEP_GOING
failed=0

# expect NAME WANTED FOUND
expect() {
	if [ "$2" = "$3" ]; then
		echo "ok: $1"
	else
		printf 'not ok: %s\n' "$1"
		diff <(echo "$2") <(echo "$3") || true
		failed=1
	fi
}

# A false cargo: it lists the tests in place of running them, or fails where it is told to.
mkdir "$work/bin"
cat >"$work/bin/cargo" <<END
#!/bin/sh
echo "\$*" >>"$work/called"
if [ -n "\$LISTING" ]; then exec "$(type -P cargo)" "\$@" --list; fi
echo "backtraces: \$RUST_BACKTRACE"
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

# layers ARGUMENT...: test-host.sh with the false cargo
layers() { PATH="$work/bin:$PATH" scripts/test-host.sh "$@" 2>&1 </dev/null; }

# names LAYER: the tests of a layer of slab_heap
names() {
	LISTING=yes layers "$1" >/dev/null || true
	sed -n 's/: test$//p' "$logs/test-host-$1.log"
}

all=$(cargo test -p slab_heap --lib --locked -- --list 2>/dev/null | sed -n 's/: test$//p' | sort)
[ "$(wc -l <<<"$all")" -gt 100 ] || die "the tests of slab_heap cannot be listed"
expect 'each test of slab_heap is in one layer' "$all" \
	"$(for layer in class buddy slab seed hybrid guard; do names $layer; done | sort)"

export LISTING='' BREAKING='seed::tests'
told=$(layers) && status=0 || status=$?
expect 'a broken layer is a failure' 1 "$status"
expect 'the layers above it are not run' 'class: 3 passed, 0 failed
buddy: 3 passed, 0 failed
slab: 3 passed, 0 failed
seed: 1 passed, 1 failed
hybrid: not run
guard: not run
doc: not run
session: not run
trace: not run
command: not run
rest: not run' "$(grep -E '^[a-z]+: ([0-9]+ passed|not run)' <<<"$told")"
expect 'it is said what failed, and nothing else' 'backtraces: 0
test seed::tests::other ... FAILED

---- seed::tests::other stdout ----
it is broken
test result: FAILED. 1 passed; 1 failed; 0 ignored' "$(sed -n '/^backtraces/,/^test result/p' <<<"$told")"
expect 'the end names it' "error: broken: seed. The first one, seed, is the innermost: mend it first. Run it alone with 'make test-seed'" \
	"$(tail -n 1 <<<"$told")"
told=$(layers -k) || true
expect 'with -k all layers are run' 0 "$(grep -c 'not run' <<<"$told")"
told=$(layers guard)
expect 'one layer can be run' 'guard: 3 passed, 0 failed' "$(tail -n 1 <<<"$told")"
told=$(BACKTRACE=1 layers -v guard)
expect 'backtraces can be had' 'backtraces: 1' "$(grep backtraces <<<"$told")"
told=$(layers nosuch) || true
expect 'a layer that is none' 'error: no layer nosuch: there are' "${told%there are*}there are"

# make knows each of them.
: >"$work/called"
for layer in $(scripts/test-host.sh -l | cut -d ' ' -f 1) heap host; do
	PATH="$work/bin:$PATH" BREAKING=nothing make --no-print-directory "test-$layer" >"$work/log" 2>&1 </dev/null ||
		expect "make test-$layer" '' "$(cat "$work/log")"
done
expect 'make test-heap and make test-host run their layers' 3 "$(grep -c -- '-- guard::$' "$work/called")"
exit $failed
