#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Downloads, configures and builds the lab kernel in the cache.
#
#   kernel.sh fetch               downloads the newest kernel source of the Debian mirror
#   kernel.sh source              downloads a kernel source, unless the cache has one
#   kernel.sh build [FLAVOUR]     builds the kernel, unless the cache has it
#   kernel.sh path [FLAVOUR]      builds the kernel if needed, and prints its tree (the KDIR of a module)
#   kernel.sh has [FLAVOUR]       succeeds if the kernel needs no build; builds and downloads nothing
#   kernel.sh make-args [FLAVOUR] prints the toolchain arguments for make in that tree
#   kernel.sh check               checks KDIR=, KERNEL= and KERNEL_SRC= without building anything
#   kernel.sh forget              removes all files of the lab from the cache
#
# A flavour is a list of fragments in scripts/kernel/, joined by "+"; the default is "lab", which is the fragment "arm64"
# with ARCH=arm64. The flavours debian, debian-rt and debian-amd64, and releases such as 7.3.4+deb13-amd64, are kernels
# of Debian (kernel/debian.sh), which are not built.
# KERNEL_SRC= names a source tree to use instead of Debian's, KDIR= a built tree to use unchanged.
#
# Several instances may run at once, and the cache may be read-only. A complete tree is used without a lock.
# Each tree is built under its own lock, TREE.lock, and the source is downloaded under source.lock, both in
# the cache. A lock file names the process that holds it.

set -eu
. "$(dirname "$0")/lib.sh"

kernel_minimum=7.3

usage() { sed -n '/^# *kernel\.sh/s/^# *//p' "$0" >&2; exit 2; }

# require_supported VERSION: dies if the kernel version is too old
require_supported() {
	at_least "$kernel_minimum" "$1" || die "Linux $1 is too old: before $kernel_minimum the Rust MiscDevice" \
		"vtable sets no owner, so nothing pins the module while its device is open and rmmod is a use-after-free. Use a newer kernel, or the lab kernel"
}

# lock FILE WHAT: acquires a lock until this process and its children have ended. While it waits, it reports
# the holder. WHAT names the purpose of the lock and its usual duration.
lock() {
	local file=$1 what=$2 lock_fd pid
	[ ! -e "$file" ] || [ -w "$file" ] ||
		die "the lock $file belongs to the user $(stat -c %U "$file"), and only that user can build in this" \
		"cache: set SLABLAB_CACHE= to a directory of your own"
	exec {lock_fd}<>"$file"
	if ! flock --nonblock "$lock_fd"; then
		pid=$(sed -n 's/^process \([0-9]*\) .*/\1/p' "$file")
		say "waiting: $(cat "$file") holds the lock for $what"
		say "This script continues when the lock $file is released. To stop the holder, run 'kill ${pid:-PID}' on its" \
			"machine. To use another kernel, set KDIR= to a built kernel tree"
		flock "$lock_fd"
	fi
	echo "process $$ ($(id -un) on $(uname -n), since $(date '+%F %T'))" >"$file"
}

# private_apt COMMAND...: runs apt with the package lists in the folder $apt, so the suite is not added to the system.
# In this apt no package is installed.
private_apt() {
	local program=$1
	shift
	"$program" -o Dir::Etc::sourcelist="$apt/sources.list" -o Dir::Etc::sourceparts=- \
		-o Dir::State::lists="$apt/lists" -o Dir::State::status="$apt/status" -o Dir::Cache::archives="$apt/archives" \
		-o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o APT::Sandbox::User="$(id -un)" "$@"
}

# read_list: reads the package list of the suite
read_list() {
	local site
	site=$(debian_mirror) || require check_mirror
	mkdir -p "$apt/lists/partial"
	: >"$apt/status"
	echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $site $suite main" >"$apt/sources.list"
	step "reading the package list of $suite" "$logs/kernel-list.log" private_apt apt-get update
}

# newest PATTERN: prints the newest package with a name that matches
newest() { private_apt apt-cache search --names-only "$1" | cut -d ' ' -f 1 | sort -V | tail -n 1; }

# download PACKAGE: downloads a package to the cache
download() { cd "$cache" && private_apt apt-get download "$1"; }

# unpack DEB TREE: unpacks the source without documentation, graphics, sound and tests, which are not built
unpack() {
	rm -rf "$2" "$2.part"
	mkdir -p "$2.part"
	dpkg --fsys-tarfile "$1" | tar -xO --wildcards './usr/src/linux-source-*.tar.xz' |
		tar -xJ -C "$2.part" --strip-components 1 --exclude='*/Documentation/*/*' \
			--exclude='*/drivers/gpu/drm/*.[ch]' --exclude='*/sound/*.[ch]' --exclude='*/tools/testing/*'
	mv "$2.part" "$2"
}

# lock_source: acquires the lock of downloads of a source
lock_source() { lock "$cache/source.lock" "the kernel source, whose download takes a minute or two"; }

# fetch_source PACKAGE TREE: downloads a source package, and unpacks it
fetch_source() {
	rm -f "$cache/$1"_*.deb
	require check_space "$cache" "$kernel_mib"
	step "downloading $1 (170 MB)" "$logs/kernel-fetch.log" download "$1"
	step "unpacking $1" "$logs/kernel-unpack.log" unpack "$(echo "$cache/$1"_*.deb)" "$2"
	rm -f "$cache/$1"_*.deb
}

# fetch [--if-none]: downloads a source tree to the cache, with --if-none only if the cache has none
fetch() {
	local package tree
	require_cache "has no kernel source" "make kernel"
	lock_source
	if [ "${1:-}" = --if-none ] && newest_cached >/dev/null; then return; fi # another process downloaded a tree
	read_list
	package=$(newest '^linux-source-[0-9.]+$')
	[ -n "$package" ] || die "$suite has no linux-source package: set KERNEL_SRC= to a kernel source tree"
	require_supported "${package#linux-source-}"
	tree=$cache/$package
	if [ -e "$tree" ]; then return; fi
	fetch_source "$package" "$tree"
}

# source_tree: prints the source tree, and downloads it first if there is none
source_tree() {
	if [ -n "${KERNEL_SRC:-}" ]; then
		given_source
		return
	fi
	newest_cached >/dev/null || (fetch --if-none) # in a subshell, whose end releases the lock
	newest_cached
}
newest_cached() { printf '%s\n' "$cache"/linux-source-*[0-9] | sort -V | tail -n 1 | grep -v '\*'; }

# given_source: prints KERNEL_SRC, or dies if the lab kernel cannot be built from it
given_source() {
	require_plain KERNEL_SRC "$(realpath -m "$KERNEL_SRC")"
	[ -e "$KERNEL_SRC/rust/Makefile" ] || die "KERNEL_SRC=$KERNEL_SRC is not a kernel source tree with Rust:" \
		"correct it, or omit it for Debian's source"
	require_supported "$(kernel_version "$KERNEL_SRC")"
	realpath "$KERNEL_SRC"
}

# shellcheck disable=SC2086 # word splitting is intended
fragments() { printf "$top/scripts/kernel/%s.config\n" ${flavour//+/ }; }

# settings: prints the settings of the fragments, one line "CONFIG_...=..." each; "=n" means not set
settings() { xargs cat <<<"$(fragments)" | sed -n 's/^# \(CONFIG_.*\) is not set$/\1=n/p; /^CONFIG_/p'; }

# tree_key SOURCE: prints a hash of everything that a built tree depends on: version, settings, the way in which
# configure applies them, toolchain
tree_key() {
	{
		realpath "$1"
		head -n 6 "$1/Makefile"
		settings
		echo KCONFIG_ALLCONFIG
		"$rustc" -vV
		"clang-$llvm" --version
		"$bindgen" --version
	} | sha256sum | cut -c 1-12
}

kernel_version() { env -i PATH="$PATH" make -s -C "$1" kernelversion; }

# gcc_of TREE: prints the name of the gcc that built the tree, or nothing if another compiler did
gcc_of() {
	local text
	[ "$(value "$1" CONFIG_CC_IS_GCC)" != y ] || text=$(value "$1" CONFIG_CC_VERSION_TEXT)
	text=${text:-} text=${text#\"}
	echo "${text%% *}"
}

# make_args TREE: prints the toolchain arguments for make in the tree
make_args() {
	local gcc=''
	[ -z "${KDIR:-}" ] || gcc=$(gcc_of "$KDIR")
	if is_debian_kernel; then
		debian_make_args "$1"
	else
		if [ -n "$gcc" ]; then echo "CC=$gcc${cross:+ CROSS_COMPILE=$cross_prefix}"; else echo "LLVM=-$llvm"; fi
		echo "${cross:+ARCH=$cross }RUSTC=$rustc HOSTRUSTC=$rustc${bindgen:+ BINDGEN=$bindgen}" \
			"CLIPPY_DRIVER=$(dirname "$rustc")/clippy-driver RUSTFMT=$(dirname "$rustc")/rustfmt"
	fi
}

# kernel_make TREE ARGUMENT...: runs make in a clean environment, because inherited variables such as
# CLIPPY=1 and KRUSTFLAGS= are meant for the module
kernel_make() {
	local tree=$1
	shift
	# shellcheck disable=SC2046
	env -i PATH="$PATH" HOME="$HOME" LIBCLANG_PATH="$LIBCLANG_PATH" ${RUSTUP_HOME:+RUSTUP_HOME="$RUSTUP_HOME"} \
		make -C "$source" O="$tree" -j"$(nproc)" $(make_args "$tree") "$@"
}

# configure TREE: configures the kernel, and fails if a setting of the fragments did not take effect. All other options
# are off, unless these settings select them. `make olddefconfig` would also switch on all options that are on by default.
# The lab kernel would then have 772 options instead of 616.
configure() {
	local setting
	kernel_make "$1" rustavailable
	xargs cat <<<"$(fragments)" >"$1/fragments.config"
	kernel_make "$1" KCONFIG_ALLCONFIG="$1/fragments.config" allnoconfig
	settings | while read -r setting; do
		if [ "${setting#*=}" = n ]; then
			! grep -q "^${setting%n}" "$1/.config"
		else
			grep -qxF "$setting" "$1/.config"
		fi || { echo "error: the kernel configuration did not accept $setting"; exit 1; }
	done
}

# prune TREE: removes all object files except those of the tools, which a module build needs, and except vmlinux, from
# which gdb reads the kernel's symbols
prune() { find "$1" \( -path "$1/scripts" -o -path "$1/tools" -o -path "$1/rust" \) -prune -o \
	\( -name '*.o' -o -name '*.a' -o -name '*vmlinux*' \) ! -path "$1/vmlinux" -type f -exec rm -f {} +; }

# build_tree: builds the kernel if needed, and prints the path of its tree
build_tree() {
	local source tree version minutes=8
	find_toolchain
	source=$(source_tree)
	tree=$cache/kernel-$flavour-$(tree_key "$source")
	if [ ! -e "$tree/.complete" ]; then
		require_cache "has no complete kernel $tree" "make kernel"
		[ "$flavour" = "$lab_flavour" ] || minutes=10
		lock "$tree.lock" "the kernel '$flavour', whose build takes about $minutes minutes"
	fi
	if [ ! -e "$tree/.complete" ]; then # no other process built the kernel while this process waited
		version=$(kernel_version "$source")
		require_supported "$version"
		mkdir -p "$tree"
		step "configuring Linux $version ($flavour)" "$logs/kernel-config.log" configure "$tree"
		step "building Linux $version ($flavour), once, about $minutes minutes" "$logs/kernel-build.log" \
			kernel_make "$tree" "$kernel_target" modules
		prune "$tree"
		touch "$tree/.complete" # last, so that an interrupted build is never used
	fi
	echo "$tree"
}

# has_tree: succeeds if the cache has the kernel
has_tree() {
	local source
	(find_toolchain) 2>/dev/null || return
	find_toolchain
	[ -n "${KERNEL_SRC:-}" ] || newest_cached >/dev/null || return
	source=$(source_tree)
	[ -e "$cache/kernel-$flavour-$(tree_key "$source")/.complete" ]
}

# lacking TREE: prints the files that a Rust module build needs and the tree lacks
lacking() {
	local file
	for file in Makefile Module.symvers $target_file rust/{libcore,libkernel,libbindings}.rmeta; do
		[ -e "$1/$file" ] || echo "$file"
	done
}

# given_tree: prints KDIR, or dies if the module cannot be built against it
given_tree() {
	local release lacks option
	require_plain KDIR "$(realpath -m "$KDIR")"
	[ -e "$KDIR/include/config/kernel.release" ] || die "KDIR=$KDIR is not a built kernel tree: correct it, or omit it for the lab kernel"
	release=$(cat "$KDIR/include/config/kernel.release")
	require_supported "${release%%-*}"
	for option in CONFIG_RUST CONFIG_MODULES CONFIG_SMP; do
		[ "$(value "$KDIR" "$option")" = y ] || die "KDIR=$KDIR was built without $option: configure" \
			"and build that kernel with it, or omit KDIR= for the lab kernel"
	done
	[ "$(value "$KDIR" "$foreign_option")" != y ] || die "KDIR=$KDIR is a kernel for another architecture than" \
		"$arch: set ARCH= to its architecture, or omit KDIR= for the lab kernel"
	lacks=$(lacking "$KDIR")
	[ -z "$lacks" ] || case $(realpath "$KDIR") in
	*/linux-headers-* | */usr/src/kernels/* | */lib/modules/*)
		remedy="build the kernel from its source and name that tree, or omit KDIR= for the lab kernel"
		! flavour=$release is_debian_kernel || remedy="use KERNEL=$release instead of KDIR=, which adds these files to Debian's headers (docs/own-kernel.md)"
		die "KDIR=$KDIR is an installed package of kernel headers, which lacks ${lacks//$'\n'/, }: $remedy"
		;;
	*)
		die "KDIR=$KDIR lacks ${lacks//$'\n'/, }: run 'make $kernel_target modules' in" \
			"that tree, because kernel headers alone are not enough for a Rust module"
		;;
	esac
	require check_compiler_of "$KDIR"
	realpath "$KDIR"
}

# check_given: checks KDIR=, KERNEL= and KERNEL_SRC= without building or downloading anything
check_given() {
	[ -z "${KERNEL:-}" ] || flavour=$KERNEL is_debian_kernel || die "KERNEL=$KERNEL is not a kernel of Debian: use debian," \
		"debian-rt, debian-amd64, or a release such as 7.3.4+deb13-amd64"
	[ -z "${KDIR:-}" ] || given_tree >/dev/null
	[ -z "${KERNEL_SRC:-}" ] || given_source >/dev/null
}

# forget: removes the files of the lab from the cache, and nothing else
forget() {
	rm -rf "$cache"/kernel-* "$cache"/linux-source-* "$cache"/debian-source-* "$cache"/toolchain* "$cache"/cross[-.]* \
		"$cache"/accelerator-* "$cache"/{apt,tools,source.lock,.lock}
	[ ! -d "$cache" ] || rmdir --ignore-fail-on-non-empty "$cache"
}

flavour=${2:-lab} apt=$cache/apt
flavour=${flavour/#lab/$lab_flavour}
# shellcheck source=scripts/kernel/debian.sh
. "$top/scripts/kernel/debian.sh"

if ! is_debian_kernel; then
	for fragment in $(fragments); do
		[ -e "$fragment" ] || die "no flavour '$flavour': there is no $fragment"
	done
fi

# tree: prints the tree of the flavour, or KDIR
tree() {
	if [ -n "${KDIR:-}" ]; then
		given_tree
	elif is_debian_kernel; then
		debian_tree
	else
		build_tree
	fi
}

# has: succeeds if the flavour needs no build
has() { if is_debian_kernel; then cached_release >/dev/null; else has_tree; fi; }

case ${1:-} in fetch | source | build | path | make-args) name_doctor ;; esac
case ${1:-} in
fetch) fetch ;;
source) source_tree >/dev/null ;;
build) KDIR='' tree >/dev/null ;;
path) tree ;;
has) [ -n "${KDIR:-}" ] || has ;;
make-args)
	if [ -n "${KDIR:-}" ] || is_debian_kernel; then find_toolchain --no-bindgen; else find_toolchain; fi
	if is_debian_kernel; then
		tree=$(debian_tree)
		find_compilers "$tree"
	fi
	make_args "${tree:-}"
	;;
check) check_given ;;
forget) forget ;;
*) usage ;;
esac
