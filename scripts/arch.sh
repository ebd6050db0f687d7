# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034,SC2154 # the scripts that source requirements.sh use and set the variables
#
# The differences between x86-64 and arm64. ARCH=, with the kernel's name of an architecture, selects the one of the lab
# machine; the default is that of this machine. ARCH=arm64 on an x86-64 machine cross-compiles: $cross is then not
# empty. This file is sourced by requirements.sh, not run.

case $(uname -m) in aarch64) host_arch=arm64 ;; *) host_arch=x86_64 ;; esac
arch=${ARCH:-$host_arch}
cross=''
[ "$arch" = "$host_arch" ] || cross=$arch

if [ "$arch" = arm64 ]; then
	lab_flavour=arm64 # the fragment in scripts/kernel/ of the lab kernel
	kernel_target=Image
	kernel_image=arch/arm64/boot/Image
	target_file='' # rustc has the kernel's target built in
	foreign_option=CONFIG_X86_64 # a kernel with this option is for the other architecture
	qemu_program=qemu-system-aarch64 qemu_package=qemu-system-arm
	machine_options=(-machine "virt,gic-version=max")
	emulated_cpu=max
	machine_words="console=ttyAMA0"
	debug_words=''
	nmi='' # QEMU's machine "virt" has none
	rust_target=aarch64-unknown-linux-gnu
else
	lab_flavour=lab
	kernel_target=bzImage
	kernel_image=arch/x86/boot/bzImage
	target_file=scripts/target.json
	foreign_option=CONFIG_ARM64
	qemu_program=qemu-system-x86_64 qemu_package=qemu-system-x86
	machine_options=()
	# TCG emulates (and counts) fast string operations byte by byte, so the CPU has none, and the kernel copies words.
	emulated_cpu=max,-erms,-fsrm
	# no_timer_check, because on a busy host the first timer ticks may be late, and Linux would reject the timer.
	machine_words="console=ttyS0 no_timer_check unknown_nmi_panic"
	# acpi=noirq, because the ACPI interpreter is too slow under emulation for its own interrupt, and no5lvl, because
	# KASAN reports a false wild access during CPU detection with five-level page tables.
	debug_words="acpi=noirq no5lvl"
	nmi=yes
	rust_target=x86_64-unknown-linux-gnu
fi

# The packages with which an x86-64 machine links programs for arm64. Debian's packages of arm64 with the static busybox
# and with Rust's library are not installed but unpacked into the cache (cross.sh).
cross_packages=(gcc-aarch64-linux-gnu libc6-dev-arm64-cross)
cross_prefix=aarch64-linux-gnu-

# check_arch: fails if ARCH= names no architecture that this machine can build for
check_arch() {
	found=$arch${cross:+, cross-compiled}
	case $host_arch-$arch in x86_64-x86_64 | x86_64-arm64 | arm64-arm64) return 0 ;; esac
	problem="ARCH=$arch is not an architecture that slablab builds on this machine"
	remedy="use ARCH=arm64$([ "$host_arch" != x86_64 ] || echo " or ARCH=x86_64"), or omit it"
	return 1
}

# has_target RUSTC: succeeds if the toolchain has Rust's library for the lab machine
has_target() { [ -d "$("$1" --print sysroot 2>/dev/null)/lib/rustlib/$rust_target/lib" ]; }

# std_package: prints Debian's package of Rust's library for the compiler that rust_packages names
std_package() { if [[ $(rust_packages) == rustc-web* ]]; then echo libstd-rust-web-dev; else echo libstd-rust-dev; fi; }

# check_cross: sets $cross_files, a folder of the cache with busybox and, if $rustc has none, Rust's library for the lab
# machine. Fails if the folder does not exist.
check_cross() {
	check_rustc || return
	cross_files=$cache/cross-$arch-$(rust_version "$rustc")
	has_target "$rustc" || cross_files+=-std
	found="busybox and Rust's library for $arch ($cross_files)"
	[ ! -d "$cross_files" ] || return 0
	problem="no busybox and no Rust library for $arch in the cache"
	remedy="run 'make setup ARCH=$arch'"
	if ! is_debian; then
		remedy="build on Debian, because both are taken from its packages"
	elif ! has_target "$rustc" && ! dpkg-query -S "$rustc" >/dev/null 2>&1; then # not of a package
		problem="$rustc has no library for $rust_target"
		remedy="run 'rustup target add $rust_target', or use RUSTC=/usr/bin/rustc"
	elif [ -z "${KDIR:-}" ]; then
		automatic="downloads them"
	fi
	return 1
}
