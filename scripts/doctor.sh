#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Shows which requirements of `make run` this machine meets, which ones it lacks, and what to type. It installs
# nothing and needs no privileges.
#
#   doctor.sh             exits with 0 if `make run` can work, with 1 otherwise
#   doctor.sh --crates    prints one line if cargo cannot build the command because it cannot download the crates
#   doctor.sh --hint      prints the sentence that names `make doctor`
#
# It takes the variables of make from the environment.

set -eu
. "$(dirname "$0")/requirements.sh"

problems=0
declare -A state=() # by requirement: ok, later or PROBLEM

# show LABEL NAME TEXT: prints a row, whose text can have several lines
show() {
	local line label=$1 name=$2
	while read -r line; do
		printf '%-8s %-12s %s\n' "$label" "$name" "$line"
		label='' name=''
	done < <(fold -s -w 90 <<<"$3")
}

# requirement NAME CHECK...: shows the result of a check of requirements.sh
requirement() {
	local name=$1
	shift
	found='' problem='' remedy='' automatic=''
	if "$@"; then
		state[$name]=ok
		show ok "$name" "$found"
	elif [ -n "$automatic" ]; then
		state[$name]=later
		show later "$name" "$problem; make run $automatic"
		remedy=''
	else
		state[$name]=PROBLEM
		problems=$((problems + 1))
		show PROBLEM "$name" "$problem"
	fi
	[ -z "$remedy" ] || show '' '' "-> $remedy"
}

# is_later NAME...: succeeds if `make run` mends one of the requirements
is_later() {
	local name
	for name; do if [ "${state[$name]}" = later ]; then return; fi; done
	return 1
}

paths() {
	check_path "the checkout" "$top" && check_path "the cache (SLABLAB_CACHE=)" "$(realpath -m "$cache")" && check_cache &&
		found="$top, cache $cache"
}

clang() {
	if [ "${state[rustc]}" = ok ]; then
		check_clang
	else
		problem="the version is that of rustc's LLVM" automatic="installs it with rustc"
		return 1
	fi
}

# has_source: succeeds if the source of the kernel needs no download
has_source() { [ -z "${KERNEL:-}" ] && { [ -n "${KERNEL_SRC:-}" ] || compgen -G "$cache/linux-source-*[0-9]" >/dev/null; }; }

kernel() {
	local said what="the lab kernel${cross:+ for $cross}" effort="builds it, which takes 5 to 20 minutes"
	if [ -n "${KERNEL:-}" ]; then
		what="Debian's kernel '$KERNEL'" effort="downloads and prepares it, which takes a few minutes"
	fi
	if ! said=$("$top/scripts/kernel.sh" check 2>&1); then
		said=${said#error: }
		problem=${said%%: *} remedy=${said#"$problem"} remedy=${remedy#: }
		return 1
	fi
	if [ -n "${KDIR:-}" ]; then
		found="KDIR=$KDIR, Linux $(<"$KDIR/include/config/kernel.release")"
		check_image "$KDIR"
	elif "$top/scripts/kernel.sh" has "${KERNEL:-lab}" 2>/dev/null; then
		found="$what is in the cache"
	else
		problem="$what is not in the cache"
		if [ -e "$cache" ] && [ ! -w "$cache" ]; then
			remedy="the cache is read-only: its owner must run 'make kernel${KERNEL:+ KERNEL=$KERNEL}', or set SLABLAB_CACHE= to a folder of your own"
		elif is_debian || has_source; then
			automatic=$effort
		elif [ -n "${KERNEL:-}" ]; then
			remedy="omit KERNEL= for the lab kernel, because apt-get downloads Debian's kernel"
		else
			remedy="set KERNEL_SRC= to a source tree of Linux, because the source is downloaded only on Debian"
		fi
		return 1
	fi
}

# accelerator: names the accelerator. vm.sh finds it by a probe boot, for which the kernel must exist.
accelerator() {
	check_accelerator || return
	found="tcg, so QEMU emulates the processor"
	if [ -n "$cross" ]; then
		found+=": the lab machine is for $cross"
	elif [ "${ACCEL:-}" = tcg ]; then
		found+=": ACCEL=tcg"
	elif [ ! -e "$kvm_device" ]; then
		found+=": there is no $kvm_device"
	elif [ ! -w "$kvm_device" ]; then
		found+=": you cannot write $kvm_device"
		remedy="to use KVM, run 'sudo adduser $(id -un) kvm' and log in again"
	elif [ "${state[kernel]}" != ok ] || [ "${state[qemu]}" != ok ] || [ ! -e "${INITRAMFS:-$build/initramfs.cpio}" ]; then
		found="the first boot tries $kvm_device, and emulates the processor if a guest does not boot with it"
	elif [ "$(env -u ACCEL "$top/scripts/vm.sh" -a 2>/dev/null)" = kvm ]; then
		found="kvm"
	elif [ "${ACCEL:-}" = kvm ]; then
		problem="ACCEL=kvm, but no guest boots with $kvm_device" remedy="omit ACCEL=, or use ACCEL=tcg"
		return 1
	else
		found+=": $kvm_device exists, but no guest boots with it"
	fi
}

space() {
	local paths=("$build" 100)
	if is_later rustc clang; then paths+=(/usr "$packages_mib"); fi
	if is_later kernel; then paths+=("$cache" "$kernel_mib"); fi
	if is_later kernel && [ -n "${KERNEL:-}" ]; then paths+=("$cache" "$compilers_mib"); fi
	if is_later ${cross:+"$cross"}; then paths+=("$cache" "$cross_mib"); fi
	if [ ! -e "$build/target/release/slablab" ]; then paths+=("$build" "$command_mib"); fi
	check_space "${paths[@]}"
}

network() {
	local answers=''
	if is_later packages rustc cargo clang qemu ${cross:+"$cross"} || { is_later kernel && ! has_source; }; then
		check_mirror || return
		answers=$found
	fi
	if type -P cargo >/dev/null && { is_later bindgen || ! has_crates; }; then
		check_registry || return
		answers+="${answers:+; }$found"
	fi
	found=${answers:-"not needed: everything is downloaded"}
}

crates() { has_crates || check_registry || echo "error: $problem: $remedy" >&2; }

case ${1:-} in
'') ;;
--crates) crates; exit ;;
--hint) echo "$doctor_hint"; exit ;;
*) sed -n '/^# *doctor\.sh/s/^# *//p' "$0" >&2; exit 2 ;;
esac

requirement paths paths
[ -z "${ARCH:-}" ] || requirement architecture check_arch
requirement packages check_packages
requirement rustc check_rustc
requirement cargo check_cargo
requirement clang clang
requirement bindgen check_bindgen
requirement qemu check_qemu
[ -z "$cross" ] || requirement "$cross" check_cross
requirement kernel kernel
requirement accelerator accelerator
requirement space space
requirement network network

echo
if check_command; then
	echo "make sim can work on this machine."
else
	echo "make sim cannot work yet: $problem: $remedy"
fi
if [ "$problems" -eq 0 ]; then
	echo "make run can work on this machine."
else
	echo "make run cannot work on this machine: $problems of the requirements above must be mended."
	exit 1
fi
