# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034 # most variables are used by the scripts that source this file
#
# The requirements of `make run`: paths, versions, packages, disk space, and a check for each of them. The scripts
# that need a requirement die if its check fails; doctor.sh shows the results of all checks. The code uses only bash and
# coreutils. This file is sourced, not run.
#
# A check sets $found, which describes the requirement that is met, or sets $problem and $remedy and fails. $remedy
# names the command to type. If `make run` itself executes the remedy, the check also sets $automatic, to the
# description of that step.
#
# The tests set OS_RELEASE= and KVM_DEVICE= to files of their own.

shopt -s inherit_errexit

rustc_minimum=1.85.0
bindgen_minimum=0.71.1
bindgen_built=0.72.1 # the version that setup.sh builds with cargo on Debian 12
qemu_minimum=7.2     # the oldest version that was tried
suite=trixie-backports # has the source of the lab kernel

# Debian packages, by the part that needs them
command_packages=(gcc libc6-dev make ca-certificates)
kernel_packages=(bc bison cpio flex kmod libelf-dev libssl-dev xz-utils)
test_packages=(shellcheck)
# The programs of these packages, for other distributions
programs=(gcc make bc bison cpio flex depmod xz busybox)

# Disk space in MiB while `make run` works, rounded up. All packages take 1,600 MiB on a fresh Debian 12.
packages_mib=2000 kernel_mib=2500 command_mib=1000 compilers_mib=1000 cross_mib=300

os_release=${OS_RELEASE:-/etc/os-release}
kvm_device=${KVM_DEVICE:-/dev/kvm}

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P) # without symbolic links, as in make
build=$top/build
logs=$build/log
cache=${SLABLAB_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/slablab}

# shellcheck source=scripts/arch.sh
. "$(dirname "${BASH_SOURCE[0]}")/arch.sh"
machine_packages=(busybox-static "$qemu_package" ${cross:+"${cross_packages[@]}"})

doctor_hint="'make doctor' shows which requirements of make run this machine lacks, and what to type"

# at_least MINIMUM VERSION: succeeds if the version is not older
at_least() { printf '%s\n%s\n' "$1" "$2" | sort -VC; }

# Paths

# check_path WHAT PATH: fails if the path has a character that breaks the build. Make splits paths at
# spaces and ends a target at a colon, and the kernel's build refuses both; the other characters are special
# to make or to the shell.
check_path() {
	found=$2
	[[ $2 == *[[:space:]:\;\#%\$\&\|\<\>\(\)\[\]\{\}\*\?\'\"\`\\]* ]] || return 0
	problem="$1 $2 contains a space, a colon or another special character, which make and the kernel's build cannot handle"
	remedy="move it to a path without such characters"
	return 1
}

# check_cache: fails if SLABLAB_CACHE= names no folder
check_cache() {
	found=$cache
	[ -n "${SLABLAB_CACHE:-}" ] && [ ! -d "$SLABLAB_CACHE" ] || return 0
	problem="SLABLAB_CACHE=$SLABLAB_CACHE is not a directory"
	remedy="correct it, or build the kernel there with 'make kernel SLABLAB_CACHE=$SLABLAB_CACHE'"
	return 1
}

# check_space PATH MIB...: fails if a file system has too little free space for the paths that are on it
check_space() {
	local path free mount
	local -A needed=() available=()
	while [ $# -gt 0 ]; do
		path=$(realpath -m "$1")
		until [ -e "$path" ]; do path=${path%/*} path=${path:-/}; done
		read -r free mount < <(df -B 1M --output=avail,target "$path" | tail -n 1)
		available[$mount]=$free needed[$mount]=$((${needed[$mount]:-0} + $2))
		shift 2
	done
	found=''
	for mount in "${!needed[@]}"; do
		found+="${found:+; }${available[$mount]} MiB free in $mount, ${needed[$mount]} MiB needed"
		if [ "${available[$mount]}" -lt "${needed[$mount]}" ]; then
			problem="$mount has ${available[$mount]} MiB of free space, and ${needed[$mount]} MiB are needed"
			remedy="free some space there, or name a folder of another disk with SLABLAB_CACHE="
			return 1
		fi
	done
}

# Packages

# os FIELD: prints a field of os-release
# shellcheck source=/dev/null
os() { [ ! -r "$os_release" ] || (. "$os_release" && echo "${!1:-}"); }

is_debian() { [ "$(os ID)" = debian ] && type -P apt-get >/dev/null; }

# is_old_debian: succeeds on Debian 12 and older, whose default Rust toolchain and bindgen are too old
is_old_debian() {
	local version
	version=$(os VERSION_ID)
	is_debian && [ "${version:-99}" -le 12 ]
}

# rust_packages: prints the packages of a Rust toolchain that can build the kernel. In Debian 12 this is the
# newer toolchain for browsers (rustc-web), from Debian 13 on the default one. The two packages that build the
# command come first.
rust_packages() {
	if is_old_debian; then
		echo rustc-web cargo-web rust-web-src rust-web-clippy rustfmt-web
	else
		echo rustc cargo rust-src rust-clippy rustfmt
	fi
}

# llvm_packages MAJOR: prints the packages of this version of LLVM
llvm_packages() { echo "clang-$1 lld-$1 llvm-$1 libclang-$1-dev"; }

# missing PACKAGE...: prints the packages that are not installed, in one line
missing() {
	local line package missing=''
	local -A installed=()
	while read -r line; do installed[$line]=yes; done < <(
		dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null
	)
	for package; do [ -n "${installed[installed $package]:-}" ] || missing+="${missing:+ }$package"; done
	echo "$missing"
}

# has_package PACKAGE: fails if apt has package lists, and the package is not in them
has_package() { apt-cache show "$1" >/dev/null 2>&1 || ! apt-cache show gcc >/dev/null 2>&1; }

# as_root WORD...: prints the command line that runs the words as root
as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		echo "$*"
	elif type -P sudo >/dev/null; then
		echo "sudo $*"
	else
		echo "su -c \"$*\""
	fi
}

# apt_install PACKAGE...: prints the command line that installs the packages
apt_install() {
	apt-cache show gcc >/dev/null 2>&1 || printf '%s && ' "$(as_root apt-get update)"
	as_root apt-get install "$@"
}

# check_installer: fails if setup.sh cannot install packages
check_installer() {
	if [ "$(id -u)" -eq 0 ]; then
		found="root"
	elif type -P sudo >/dev/null; then
		found="sudo"
	else
		problem="there is no sudo to install packages"
		remedy="run scripts/setup.sh as root"
		return 1
	fi
}

# mended_by_setup BY_HAND PACKAGE...: sets $remedy and $automatic for packages that are not installed. BY_HAND says
# what to install on another distribution.
mended_by_setup() {
	local by_hand=$1 what=$problem
	shift
	if ! is_debian; then
		remedy="install $by_hand, because make installs packages only on Debian"
	elif [ -n "${KDIR:-}" ]; then
		remedy="run 'make setup', because make run KDIR= installs nothing"
	elif check_installer; then
		automatic="installs ${*:-them}"
		remedy="run 'make setup'"
	fi
	problem=$what
}

# check_packages: fails if packages of the kernel's build or the lab machine are missing
check_packages() {
	local packages=("${command_packages[@]}" "${machine_packages[@]}") lacks='' program
	if [ -n "${KDIR:-}" ]; then packages+=(cpio); else packages+=("${kernel_packages[@]}"); fi
	if is_debian; then
		lacks=$(missing "${packages[@]}")
	else
		for program in "${programs[@]}"; do type -P "$program" >/dev/null || lacks+="${lacks:+ }$program"; done
	fi
	found="all installed"
	[ -n "$lacks" ] || return 0
	problem="missing: $lacks"
	mended_by_setup "these programs, and the headers of libelf and libssl"
	return 1
}

# The toolchain: the module needs a rustc with the sources of core, and the clang of the same LLVM version.

# rust_version PROGRAM: prints the version of rustc, cargo or bindgen
rust_version() { [[ $("$1" --version 2>/dev/null) =~ ^[a-z]+\ ([0-9.]+) ]] && echo "${BASH_REMATCH[1]}"; }

# rustc_candidates: prints $RUSTC and every rustc in PATH
rustc_candidates() {
	[ -z "${RUSTC:-}" ] || echo "$RUSTC"
	type -aP rustc || true
}

# has_sources RUSTC: succeeds if the toolchain has the sources of the library core
has_sources() { [ -e "$("$1" --print sysroot 2>/dev/null)/lib/rustlib/src/rust/library/core/src/lib.rs" ]; }

# kernel_rustc: prints the first rustc that can build a kernel, or fails
kernel_rustc() {
	local rustc
	while read -r rustc; do
		if has_sources "$rustc" && at_least "$rustc_minimum" "$(rust_version "$rustc")"; then
			echo "$rustc"
			return
		fi
	done < <(rustc_candidates)
	return 1
}

# other_rustup: prints the user whose rustup is not in PATH because make was started with sudo, or fails
other_rustup() {
	local home
	[ "$(id -u)" -eq 0 ] && [[ ${SUDO_USER:-root} =~ ^[a-z_][a-z0-9_-]*$ ]] && [ "${SUDO_USER:-root}" != root ] || return
	home=${SUDO_HOME:-$(eval "echo ~$SUDO_USER")}
	[ -x "$home/.cargo/bin/rustc" ] && echo "$SUDO_USER"
}

# why_not RUSTC: prints why this rustc cannot build a kernel
why_not() {
	local version
	version=$(rust_version "$1") || version=''
	if [ -z "$version" ]; then
		echo "$1 does not run"
	elif ! at_least "$rustc_minimum" "$version"; then
		echo "$1 has version $version"
	else
		echo "$1 has no library sources"
	fi
}

# check_rustc: sets $rustc and $llvm, or fails
check_rustc() {
	local candidate user
	if rustc=$(kernel_rustc); then
		llvm=$(llvm_major "$rustc")
		found="$(rust_version "$rustc") with library sources and LLVM $llvm ($rustc)"
		return
	fi
	problem="no rustc >= $rustc_minimum with its library sources"
	candidate=$(rustc_candidates | head -n 1)
	[ -z "$candidate" ] || problem+=": $(why_not "$candidate")"
	# shellcheck disable=SC2046 # word splitting is intended
	mended_by_setup "rustc >= $rustc_minimum, rust-src, clippy, rustfmt and cargo, for example with rustup" $(rust_packages)
	if user=$(other_rustup); then
		problem+=" (sudo does not use the rustup of the user $user: run make without sudo to use it)"
	elif [[ $problem == *"no library sources" && $candidate == */.cargo/* ]]; then
		problem+=" ('rustup component add rust-src' adds them)"
	fi
	return 1
}

# check_cargo: fails without a cargo that is new enough
check_cargo() {
	local cargo version
	cargo=$(type -P cargo) || cargo=''
	version=$(rust_version "${cargo:-cargo}") || version=''
	found="$version ($cargo)"
	! at_least "$rustc_minimum" "$version" || return 0
	problem="no cargo >= $rustc_minimum"
	[ -z "$cargo" ] || problem+=": $cargo ${version:+has version }${version:-does not run}"
	if [ -n "$version" ] && [ "$cargo" != /usr/bin/cargo ]; then
		remedy="run 'rustup update', or put /usr/bin first in PATH"
	else
		# shellcheck disable=SC2046
		mended_by_setup "cargo >= $rustc_minimum, for example with rustup" $(rust_packages)
	fi
	return 1
}

# check_command: fails if cargo cannot compile and link the command, which make sim runs
check_command() {
	local rustc version packages user
	rustc=$(type -P "${RUSTC:-rustc}") || rustc=''
	version=$(rust_version "${rustc:-rustc}") || version=''
	if ! at_least "$rustc_minimum" "$version"; then
		problem="no rustc >= $rustc_minimum${rustc:+: $rustc ${version:+has version }${version:-does not run}}"
	elif ! check_cargo; then
		: # $problem is set
	elif ! type -P cc >/dev/null; then
		problem="no linker: there is no program cc"
	elif [[ $(cc -print-file-name=libc.a) != /* ]]; then
		problem="no libc.a, with which the command slablab is linked"
	else
		found="cargo, rustc $version and a linker"
		return 0
	fi
	read -ra packages < <(rust_packages)
	packages=("${packages[@]:0:2}" gcc libc6-dev)
	if user=$(other_rustup); then
		remedy="run make without sudo, as $user, because rustup belongs to that user"
	elif [[ $rustc == */.cargo/* && $problem == *rustc* ]]; then
		remedy="run 'rustup update'"
	elif ! is_debian; then
		remedy="install rustc and cargo >= $rustc_minimum, for example with rustup, and gcc with a static libc"
	elif [ -n "$(missing "${packages[@]}")" ]; then
		# shellcheck disable=SC2046 # word splitting is intended
		remedy="run '$(apt_install $(missing "${packages[@]}"))'"
	else
		remedy="put /usr/bin first in PATH"
	fi
	return 1
}

# llvm_major RUSTC: prints the major version of rustc's LLVM
llvm_major() { [[ $("$1" -vV) =~ "LLVM version: "([0-9]+) ]] && echo "${BASH_REMATCH[1]}"; }

# other_clangs: prints the versioned clangs in PATH, in one line
other_clangs() {
	local name names=''
	while read -r name; do
		[[ ! $name =~ ^clang-[0-9]+$ ]] || names+="${names:+, }$name"
	done < <(compgen -c clang- | sort -uV)
	echo "$names"
}

# check_clang: fails without the clang and lld of the LLVM version of $rustc
check_clang() {
	local lacks='' program clangs
	for program in "clang-$llvm" "ld.lld-$llvm" "llvm-objcopy-$llvm"; do
		type -P "$program" >/dev/null || lacks+="${lacks:+ }$program"
	done
	! is_debian || [ -z "$lacks$(missing "libclang-$llvm-dev")" ] || lacks="${lacks:-libclang-$llvm-dev}"
	found="clang-$llvm, the clang of this rustc's LLVM"
	[ -n "$lacks" ] || return 0
	clangs=$(other_clangs)
	problem="no $lacks of LLVM $llvm, which $rustc uses${clangs:+ (found: $clangs)}"
	if is_debian && ! has_package "clang-$llvm"; then
		problem+=", and Debian has no package clang-$llvm"
		remedy="run '$(apt_install "$(rust_packages)")', then 'make run RUSTC=/usr/bin/rustc'"
	else
		# shellcheck disable=SC2046
		mended_by_setup "clang, lld and llvm $llvm with programs named like clang-$llvm" $(missing $(llvm_packages "$llvm"))
	fi
	return 1
}

# bindgen_candidates: prints $BINDGEN, every bindgen in PATH, and the one that setup.sh builds
bindgen_candidates() {
	[ -z "${BINDGEN:-}" ] || echo "$BINDGEN"
	type -aP bindgen || true
	echo "$cache/tools/bin/bindgen"
}

# bindgen_program: prints the first bindgen that is new enough, or fails
bindgen_program() {
	local bindgen
	while read -r bindgen; do
		if at_least "$bindgen_minimum" "$(rust_version "$bindgen")"; then
			echo "$bindgen"
			return
		fi
	done < <(bindgen_candidates)
	return 1
}

# bindgen_package: prints the Debian package of bindgen if there is no bindgen that is new enough, and the package is
bindgen_package() { bindgen_program >/dev/null || ! is_debian || is_old_debian || echo bindgen; }

# check_bindgen: fails without a bindgen that is new enough
check_bindgen() {
	local bindgen old
	if [ -n "${KDIR:-}" ]; then
		found="not needed with KDIR="
		return
	fi
	if bindgen=$(bindgen_program); then
		found="$(rust_version "$bindgen") ($bindgen)"
		return
	fi
	problem="no bindgen >= $bindgen_minimum"
	old=$(type -P bindgen) && problem+=": $old has version $(rust_version "$old")"
	if [ -n "$(bindgen_package)" ]; then
		automatic="installs bindgen"
	elif is_debian; then
		automatic="builds bindgen $bindgen_built with cargo"
	fi
	remedy="run 'make setup'"
	is_debian || remedy="run 'cargo install --locked bindgen-cli@$bindgen_built'"
	return 1
}

# The kernel and the machine

# value TREE OPTION: prints the value of an option in the configuration of a built kernel tree
value() { [[ $'\n'$(<"$1/include/config/auto.conf") =~ $'\n'"$2="([^$'\n']*) ]] && echo "${BASH_REMATCH[1]}"; }

# check_compiler_of TREE: fails if another rustc built the kernel tree, because rustc reads only metadata of its own version
check_compiler_of() {
	local built candidate
	built=$(value "$1" CONFIG_RUSTC_VERSION_TEXT) || return 0
	rustc=$(kernel_rustc) || return 0 # check_rustc reports this
	built=${built//\"/}
	[ "$("$rustc" --version)" != "$built" ] || return 0
	problem="$1 was built by $built, and $rustc is $("$rustc" --version)"
	remedy="install the rustc that built the tree and name it with RUSTC=, or build the tree again with this rustc"
	while read -r candidate; do
		[ "$("$candidate" --version 2>/dev/null)" != "$built" ] || remedy="add RUSTC=$candidate"
	done < <(rustc_candidates)
	return 1
}

# check_image TREE: fails if the kernel tree has no kernel that vm.sh can boot
check_image() {
	[ ! -e "$1/$kernel_image" ] || return 0
	problem="KDIR=$1 has no $kernel_target to boot"
	remedy="build it there with 'make $kernel_target', or omit KDIR= for the lab kernel"
	return 1
}

# check_qemu: fails without a QEMU that is new enough
check_qemu() {
	local program version=''
	if ! program=$(type -P "$qemu_program"); then
		problem="no $qemu_program"
		mended_by_setup "QEMU >= $qemu_minimum for $arch" "$qemu_package"
		return 1
	fi
	[[ $("$program" --version) =~ version\ ([0-9.]+) ]] && version=${BASH_REMATCH[1]}
	found="$version ($program)"
	! at_least "$qemu_minimum" "$version" || return 0
	problem="$program has version ${version:-unknown}, and $qemu_minimum is the oldest that was tried with slablab"
	remedy="install QEMU >= $qemu_minimum, or put it first in PATH"
	return 1
}

# check_accelerator: fails if ACCEL= names no accelerator, or one that this user cannot use
check_accelerator() {
	case ${ACCEL:-} in
	'' | tcg) ;;
	kvm)
		if [ -n "$cross" ]; then
			problem="ACCEL=kvm cannot run a kernel for $arch on this machine"
			remedy="use ACCEL=tcg, or omit it"
			return 1
		fi
		[ ! -w "$kvm_device" ] || return 0
		problem="ACCEL=kvm needs write access to $kvm_device"
		remedy="use ACCEL=tcg"
		return 1
		;;
	*)
		problem="ACCEL=$ACCEL is not an accelerator"
		remedy="use kvm or tcg"
		return 1
		;;
	esac
}

# The network

# debian_mirror: prints the address of the machine's Debian mirror, or fails
debian_mirror() {
	local line
	while read -r line; do
		if [[ $line =~ ^\'(.*/debian)/+dists/ ]]; then
			echo "${BASH_REMATCH[1]}"
			return
		fi
	done < <(apt-get update --print-uris 2>/dev/null)
	return 1
}

# check_mirror: fails if apt cannot read the Debian mirror
check_mirror() {
	local site file
	site=$(debian_mirror) || {
		problem="apt has no Debian mirror"
		remedy="add one to /etc/apt/sources.list and run '$(as_root apt-get update)', or set KERNEL_SRC= to a kernel source tree"
		return 1
	}
	file=$(mktemp)
	found="$site answers"
	PATH=$PATH:/usr/lib/apt timeout 10 apt-helper -o Acquire::Retries=0 download-file \
		"$site/dists/$suite/InRelease" "$file" >/dev/null 2>&1 || found=''
	rm -f "$file"
	[ -z "$found" ] || return 0
	problem="no network: apt cannot read $suite at $site"
	remedy="connect this machine, or configure apt's proxy, and check with 'apt-get update'"
	return 1
}

# has_crates: succeeds if cargo can build the command without a download
has_crates() {
	(cd "$top" && cargo tree --locked --offline --package slablab --target "$rust_target") >/dev/null 2>&1
}

# check_registry: fails if cargo cannot reach its registry
check_registry() {
	found="the registry of cargo answers"
	! (cd "$top" && CARGO_NET_RETRY=0 timeout 10 cargo update --dry-run --locked --package buddy_system_allocator \
		>/dev/null 2>&1) || return 0
	problem="no network: cargo cannot reach its registry"
	remedy="connect this machine, or set https_proxy= or a mirror in ~/.cargo/config.toml, and check with 'cargo fetch --locked'"
	return 1
}
