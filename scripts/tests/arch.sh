#!/bin/bash
# shellcheck disable=SC2016,SC2317 # fake programs expand variables, and check calls functions
# SPDX-License-Identifier: GPL-2.0
#
# Tests ARCH= on an x86-64 machine with fake programs: which kernel is built, how the lab machine is started, which
# packages are downloaded for arm64, and which kernels are refused. The tests of doctor.sh and arguments.sh have more cases.

set -eu
. "$(dirname "$0")/../lib.sh"
# shellcheck source=scripts/tests/checks.sh
. "$(dirname "$0")/checks.sh"

[ "$host_arch" = x86_64 ] || { echo "skipped: arm64 is cross-compiled on x86-64 only"; exit 0; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset ACCEL ARCH CONSOLE INITRAMFS KDIR KERNEL_SRC MAKEFLAGS MAKELEVEL
export SLABLAB_CACHE=$work/cache KVM_DEVICE=$work/no-kvm OS_RELEASE=$work/os-release PATH=$work/bin:$PATH
log=$work/log

# prints TEXT COMMAND...: succeeds if the output of the command has the text, whatever its status is
prints() {
	local text=$1 output
	shift
	output=$("$@" 2>&1) || true
	[[ $output == *"$text"* ]] || { printf 'no "%s" in:\n%s\n' "$text" "$output"; return 1; }
}

# fake PROGRAM LINE...: writes a fake program
fake() {
	local file=$work/bin/$1
	shift
	printf '%s\n' '#!/bin/bash' "$@" >"$file"
	chmod +x "$file"
}

# fake_rustc TARGET...: writes a fake compiler with the sources and libraries of these targets
fake_rustc() {
	local target
	rm -rf "$work/sysroot"
	mkdir -p "$work/sysroot/lib/rustlib/src/rust/library/core/src"
	touch "$work/sysroot/lib/rustlib/src/rust/library/core/src/lib.rs"
	for target; do mkdir -p "$work/sysroot/lib/rustlib/$target/lib"; done
	fake rustc "case \$* in" "--version) echo 'rustc 1.90.0 (fake)' ;;" "-vV) echo 'LLVM version: 20.1.0' ;;" \
		"'--print sysroot') echo '$work/sysroot' ;;" "esac"
}

# The fake source tree writes its goals to the file built.
source=$SLABLAB_CACHE/linux-source-7.3
mkdir -p "$work/bin" "$source/scripts/kconfig" "$source/rust"
: >"$source/rust/Makefile"
cat >"$source/Makefile" <<'END'
VERSION = 7
PATCHLEVEL = 3
kernelversion: ; @echo 7.3.9
rustavailable olddefconfig modules:
allnoconfig: ; @cat $(KCONFIG_ALLCONFIG) /dev/null >$(O)/.config
bzImage Image: ; @echo '$@ ARCH=$(ARCH)' >>built
END
printf '#!/bin/sh\ntree=$3\nshift 4\ncat "$@" >"$tree/.config"\n' >"$source/scripts/kconfig/merge_config.sh"
chmod +x "$source/scripts/kconfig/merge_config.sh"
printf 'ID=debian\nVERSION_ID=13\n' >"$OS_RELEASE"
fake_rustc x86_64-unknown-linux-gnu
for program in clang-20 ld.lld-20 llvm-objcopy-20; do fake "$program"; done
fake bindgen 'echo bindgen 0.72.1'
fake dpkg-query 'shift 3; for package; do echo "installed $package"; done'
kernel=$top/scripts/kernel.sh

lab=$("$kernel" path 2>/dev/null)
arm=$(ARCH=arm64 "$kernel" path lab 2>/dev/null)
debug=$(ARCH=arm64 "$kernel" path lab+debug 2>/dev/null)
builds() { diff "$source/built" <(printf '%s\n' "bzImage ARCH=" "Image ARCH=arm64" "Image ARCH=arm64"); }
check "each architecture builds its own image" builds
named() { [[ $lab == */kernel-lab-* && $arm == */kernel-arm64-* && $debug == */kernel-arm64+debug-* ]]; }
check "the tree of a kernel is named after its architecture" named
check "arm64 has a configuration of its own" grep -qx CONFIG_ARM64_4K_PAGES=y "$arm/.config"

# The fake QEMU writes its arguments to the file started, and the status 0 for the command.
for program in qemu-system-x86_64 qemu-system-aarch64; do
	fake "$program" '[ "$1" != --version ] || { echo QEMU emulator version 7.2.1; exit; }' \
		"echo '$program' \"\$*\" >'$work/started'" \
		'for word; do case $word in file,id=status,path=*) echo 0 >"${word##*=}" ;; esac; done'
done
touch "$work/initramfs"
mkdir -p "$lab/arch/x86/boot" "$arm/arch/arm64/boot"
touch "$lab/arch/x86/boot/bzImage" "$arm/arch/arm64/boot/Image"

# started ARCH WORD...: starts a machine, and compares words of QEMU's command line
started() {
	local word
	ARCH=$1 INITRAMFS=$work/initramfs CONSOLE=$work/console "$top/scripts/vm.sh" -n -t 10 true </dev/null
	shift
	for word; do grep -qF -- "$word" "$work/started" || { echo "no $word in:"; cat "$work/started"; return 1; }; done
}
check "the machine of x86-64" started '' qemu-system-x86_64 "-kernel $lab/arch/x86/boot/bzImage" \
	"console=ttyS0 no_timer_check unknown_nmi_panic panic=-1" "-cpu max,-erms,-fsrm"
check "the machine of arm64" started arm64 qemu-system-aarch64 "-kernel $arm/arch/arm64/boot/Image" \
	"console=ttyAMA0 panic=-1" "-machine virt" "-cpu max "
check "KVM does not run arm64" prints "ACCEL=kvm cannot run a kernel for arm64" env ARCH=arm64 ACCEL=kvm "$top/scripts/vm.sh" -a

# make_given TREE OPTION: creates a built kernel tree of the architecture of the option
make_given() {
	mkdir -p "$1"/{include/config,rust,scripts}
	echo 7.3.9 >"$1/include/config/kernel.release"
	printf '%s=y\n' CONFIG_RUST CONFIG_MODULES CONFIG_SMP "$2" >"$1/include/config/auto.conf"
	touch "$1"/{Makefile,Module.symvers,scripts/target.json} "$1"/rust/lib{core,kernel,bindings}.rmeta
}
make_given "$work/x86" CONFIG_X86_64
make_given "$work/arm" CONFIG_ARM64
check "KDIR= of x86-64" env KDIR="$work/x86" "$kernel" check
check "KDIR= of arm64" env KDIR="$work/arm" ARCH=arm64 "$kernel" check
check "KDIR= of arm64 without ARCH=" prints "is a kernel for another architecture than x86_64" env KDIR="$work/arm" "$kernel" check
check "KDIR= of x86-64 with ARCH=arm64" prints "is a kernel for another architecture than arm64" \
	env KDIR="$work/x86" ARCH=arm64 "$kernel" check
printf '%s\n' CONFIG_CC_IS_GCC=y 'CONFIG_CC_VERSION_TEXT="aarch64-linux-gnu-gcc-12 (Debian) 12.2.0"' \
	>>"$work/arm/include/config/auto.conf"
check "modules for a kernel of arm64 that gcc built are cross-compiled with this gcc" prints \
	"CC=aarch64-linux-gnu-gcc-12 CROSS_COMPILE=aarch64-linux-gnu-" env KDIR="$work/arm" ARCH=arm64 "$kernel" make-args

# The fake apt-get downloads an empty file for each package, and the fake dpkg unpacks busybox.
fake apt-get 'echo "$*" >>"'"$work/apt"'"' 'while [[ $1 == -* ]]; do shift 2; done' \
	'[ "$1" != download ] || for package in "${@:2}"; do touch "${package%%=*}.deb"; done'
fake dpkg 'mkdir -p "$3/usr/bin" && echo busybox >"$3/usr/bin/busybox"'
fake dpkg-query "[ \$1 != -S ] || exec test -e '$work/debian'" \
	'format=$3; shift 3; for package; do case $format in' \
	'*Version*) echo "$package=1.90.0+dfsg1" ;; *) echo "installed $package" ;; esac; done'

# fetched PACKAGES FOLDER: fetches, and compares the downloaded packages. A second call downloads nothing.
fetched() {
	rm -rf "$work/apt" "$SLABLAB_CACHE"/cross*
	ARCH=arm64 "$top/scripts/cross.sh" fetch &&
		grep -q 'APT::Architecture=arm64 .* update$' "$work/apt" &&
		diff <(sed -n 's/.* download //p' "$work/apt") <(echo "$1") &&
		diff <(ls -d "$SLABLAB_CACHE"/cross*) <(echo "$SLABLAB_CACHE/cross-arm64-$2") &&
		[ "$(cat "$SLABLAB_CACHE/cross-arm64-$2/bin/busybox")" = busybox ] &&
		rm "$work/apt" && ARCH=arm64 "$top/scripts/cross.sh" fetch && [ ! -e "$work/apt" ]
}
touch "$work/debian"
check "Debian's compiler needs busybox and the library of its version" \
	fetched "busybox-static libstd-rust-dev=1.90.0+dfsg1" 1.90.0-std
fake_rustc x86_64-unknown-linux-gnu aarch64-unknown-linux-gnu
check "a compiler with the target needs busybox only" fetched busybox-static 1.90.0
fake_rustc x86_64-unknown-linux-gnu
rm "$work/debian"
check "a compiler of rustup without the target is named" prints "run 'rustup target add aarch64-unknown-linux-gnu'" \
	env ARCH=arm64 SLABLAB_CACHE="$work/empty" "$top/scripts/cross.sh" fetch
check "nothing is cross-compiled for this machine" prints "nothing is cross-compiled" "$top/scripts/cross.sh" fetch
check "an unknown architecture" prints "ARCH=riscv is not an architecture that slablab builds" \
	env ARCH=riscv "$top/scripts/cross.sh" fetch
exit $failed
