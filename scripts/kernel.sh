#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Gets, configures and builds the kernel of the lab, and keeps it in the cache.
#
#   kernel.sh fetch               unpacks the newest kernel source that the Debian mirror has
#   kernel.sh build [FLAVOUR]     builds it, if that was not done before
#   kernel.sh path [FLAVOUR]      prints the built tree (the KDIR of a module), building it first
#   kernel.sh make-args           prints what a make in that tree wants to be told of the toolchain
#   kernel.sh check               checks KDIR= and KERNEL_SRC=, and builds nothing
#   kernel.sh forget              removes everything that the lab keeps in the cache
#
# A flavour is a list of fragments in scripts/kernel/, joined by "+"; "lab" unless told.
# KERNEL_SRC= is a source tree to use instead of Debian's, KDIR= a built tree to use as it is.
#
# Several of these may run at once, and the cache may be read-only. A tree that is complete is used
# without a lock. Each tree is built under a lock of its own, the source is fetched under another one:
# TREE.lock and source.lock in the cache, which say who holds them.

set -eu
. "$(dirname "$0")/lib.sh"

kernel_minimum=7.3
suite=trixie-backports

usage() { sed -n '/^# *kernel\.sh/s/^# *//p' "$0" >&2; exit 2; }

# require_supported VERSION
require_supported() {
	at_least "$kernel_minimum" "$1" || die "Linux $1 is too old: before $kernel_minimum the Rust MiscDevice" \
		"vtable sets no owner, so nothing pins the module while its device is open and rmmod is a use-after-free"
}

# lock FILE WHAT: takes a lock until this process and all that it starts have ended, and says who has it
# meanwhile. WHAT is what the lock is for, and how long that takes.
lock() {
	local file=$1 what=$2 lock_fd pid
	[ ! -e "$file" ] || [ -w "$file" ] ||
		die "the lock $file for $what, belongs to $(stat -c %U "$file"): only that user can build there"
	exec {lock_fd}<>"$file"
	if ! flock --nonblock "$lock_fd"; then
		pid=$(sed -n 's/^process \([0-9]*\) .*/\1/p' "$file")
		say "waiting: $(cat "$file") holds the lock for $what"
		say "It goes on by itself when the lock is free. To stop the other one: kill ${pid:-it} (on its machine)." \
			"To wait for nobody: KDIR= names a built kernel tree. The lock is $file"
		flock "$lock_fd"
	fi
	echo "process $$ ($(id -un) on $(uname -n), since $(date '+%F %T'))" >"$file"
}

# private_apt COMMAND...: apt with lists of its own, so that the suite need not be added to the system
private_apt() {
	local program=$1
	shift
	"$program" -o Dir::Etc::sourcelist="$cache/apt/sources.list" -o Dir::Etc::sourceparts=- \
		-o Dir::State::lists="$cache/apt/lists" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= \
		-o APT::Sandbox::User="$(id -un)" "$@"
}

# newest_package: prints the newest linux-source package of the suite
newest_package() {
	local site
	# shellcheck disable=SC2016 # the format is apt's
	site=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep -m 1 '/debian/*$') ||
		die "apt knows no Debian mirror: add one to /etc/apt/sources.list and run 'apt-get update'," \
			"or name a source tree with KERNEL_SRC="
	mkdir -p "$cache/apt/lists/partial"
	echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $site $suite main" \
		>"$cache/apt/sources.list"
	step "reading the list of $suite" "$logs/kernel-list.log" private_apt apt-get update
	private_apt apt-cache search --names-only '^linux-source-[0-9.]+$' | cut -d ' ' -f 1 | sort -V | tail -n 1
}

# download PACKAGE
download() { cd "$cache" && private_apt apt-get download "$1"; }

# unpack DEB TREE: keeps of the source what an x86 machine without graphics is built from
unpack() {
	rm -rf "$2" "$2.part"
	mkdir -p "$2.part"
	dpkg --fsys-tarfile "$1" | tar -xO --wildcards './usr/src/linux-source-*.tar.xz' |
		tar -xJ -C "$2.part" --strip-components 1 --exclude='*/Documentation/*/*' \
			--exclude='*/drivers/gpu/drm/*.[ch]' --exclude='*/sound/*.[ch]' --exclude='*/tools/testing/*'
	mv "$2.part" "$2"
}

# fetch: leaves a source tree in the cache
fetch() {
	local package tree
	require_cache "has no kernel source" "make kernel"
	lock "$cache/source.lock" "the kernel's source, which takes a minute or two"
	if [ "${1:-}" = --if-none ] && newest_cached >/dev/null; then return; fi # another process fetched it
	package=$(newest_package)
	[ -n "$package" ] || die "$suite has no linux-source package: name a source tree with KERNEL_SRC="
	require_supported "${package#linux-source-}"
	tree=$cache/$package
	if [ -e "$tree" ]; then return; fi
	rm -f "$cache/$package"_*.deb
	step "fetching $package (170 MB)" "$logs/kernel-fetch.log" download "$package"
	step "unpacking $package" "$logs/kernel-unpack.log" unpack "$(echo "$cache/$package"_*.deb)" "$tree"
	rm -f "$cache/$package"_*.deb
}

# source_tree: prints the tree that is built from, fetching it if there is none
source_tree() {
	if [ -n "${KERNEL_SRC:-}" ]; then
		given_source
		return
	fi
	newest_cached >/dev/null || (fetch --if-none) # in a process of its own: what it locks is free again
	newest_cached
}
newest_cached() { printf '%s\n' "$cache"/linux-source-*[0-9] | sort -V | tail -n 1 | grep -v '\*'; }

# given_source: prints KERNEL_SRC, if a kernel for this lab can be built from it
given_source() {
	require_plain KERNEL_SRC "$(realpath -m "$KERNEL_SRC")"
	[ -e "$KERNEL_SRC/rust/Makefile" ] || die "KERNEL_SRC=$KERNEL_SRC is no kernel source tree with Rust"
	require_supported "$(kernel_version "$KERNEL_SRC")"
	realpath "$KERNEL_SRC"
}

# shellcheck disable=SC2086 # split on purpose
fragments() { printf "$top/scripts/kernel/%s.config\n" ${flavour//+/ }; }

# settings: what the fragments ask for, a line "CONFIG_...=..." each; =n for what is not to be set
settings() { xargs cat <<<"$(fragments)" | sed -n 's/^# \(CONFIG_.*\) is not set$/\1=n/p; /^CONFIG_/p'; }

# tree_key SOURCE: prints what tells one built tree from another: version, settings, toolchain
tree_key() {
	{
		realpath "$1"
		head -n 6 "$1/Makefile"
		settings
		"$rustc" -vV
		"clang-$llvm" --version
		"$bindgen" --version
	} | sha256sum | cut -c 1-12
}

kernel_version() { env -i PATH="$PATH" make -s -C "$1" kernelversion; }

make_args() { echo "LLVM=-$llvm RUSTC=$rustc HOSTRUSTC=$rustc${bindgen:+ BINDGEN=$bindgen}" \
	"CLIPPY_DRIVER=$(dirname "$rustc")/clippy-driver RUSTFMT=$(dirname "$rustc")/rustfmt"; }

# kernel_make TREE ARGUMENT...: in a clean environment, as what make and the shell hand down (CLIPPY=1,
# KRUSTFLAGS=) is meant for the module
kernel_make() {
	local tree=$1
	shift
	# shellcheck disable=SC2046
	env -i PATH="$PATH" HOME="$HOME" LIBCLANG_PATH="$LIBCLANG_PATH" ${RUSTUP_HOME:+RUSTUP_HOME="$RUSTUP_HOME"} \
		make -C "$source" O="$tree" -j"$(nproc)" $(make_args) "$@"
}

# configure TREE: every setting that the fragments ask for is there afterwards, or it fails
configure() {
	local setting
	kernel_make "$1" rustavailable
	kernel_make "$1" allnoconfig
	xargs "$source/scripts/kconfig/merge_config.sh" -m -O "$1" "$1/.config" <<<"$(fragments)"
	kernel_make "$1" olddefconfig
	settings | while read -r setting; do
		if [ "${setting#*=}" = n ]; then
			! grep -q "^${setting%n}" "$1/.config"
		else
			grep -qxF "$setting" "$1/.config"
		fi || { echo "error: the kernel cannot be configured with $setting"; exit 1; }
	done
}

# prune TREE: a module needs no objects of the kernel, but those of its tools
prune() { find "$1" \( -path "$1/scripts" -o -path "$1/tools" -o -path "$1/rust" \) -prune -o \
	\( -name '*.o' -o -name '*.a' -o -name 'vmlinux*' \) -type f -exec rm -f {} +; }

# build_tree: prints the path of the built tree
build_tree() {
	local source tree version minutes=8
	find_toolchain
	source=$(source_tree)
	tree=$cache/kernel-$flavour-$(tree_key "$source")
	if [ ! -e "$tree/.complete" ]; then
		require_cache "has no complete kernel $tree" "make kernel"
		[ "$flavour" = lab ] || minutes=12
		lock "$tree.lock" "the kernel '$flavour', which takes some $minutes minutes to build"
	fi
	if [ ! -e "$tree/.complete" ]; then # nor was it built while this process waited
		version=$(kernel_version "$source")
		require_supported "$version"
		mkdir -p "$tree"
		step "configuring Linux $version ($flavour)" "$logs/kernel-config.log" configure "$tree"
		step "building Linux $version ($flavour), once, some $minutes minutes" "$logs/kernel-build.log" \
			kernel_make "$tree" bzImage modules
		prune "$tree"
		touch "$tree/.complete" # the last thing, so that an interrupted build is never taken for a kernel
	fi
	echo "$tree"
}

# lacking TREE: prints which of the files that a Rust module is built with the tree lacks
lacking() {
	local file
	for file in Makefile Module.symvers scripts/target.json rust/{libcore,libkernel,libbindings}.rmeta; do
		[ -e "$1/$file" ] || echo "$file"
	done
}

# given_tree: prints KDIR, if a module for this lab can be built against it
given_tree() {
	local release lacks option
	require_plain KDIR "$(realpath -m "$KDIR")"
	[ -e "$KDIR/include/config/kernel.release" ] || die "KDIR=$KDIR is no built kernel tree"
	release=$(cat "$KDIR/include/config/kernel.release")
	require_supported "${release%%-*}"
	for option in CONFIG_RUST CONFIG_MODULES CONFIG_SMP; do
		grep -qx "$option=y" "$KDIR/include/config/auto.conf" || die "KDIR=$KDIR was built without $option"
	done
	lacks=$(lacking "$KDIR")
	[ -z "$lacks" ] || die "KDIR=$KDIR lacks ${lacks//$'\n'/, }: a Rust module needs a tree in which" \
		"the kernel and its modules were built, headers alone are not enough"
	realpath "$KDIR"
}

# check_given: checks what was given, without building or fetching anything
check_given() {
	[ -z "${KDIR:-}" ] || given_tree >/dev/null
	[ -z "${KERNEL_SRC:-}" ] || given_source >/dev/null
}

# forget: removes what this script and its siblings keep in the cache, and nothing else
forget() {
	rm -rf "$cache"/kernel-* "$cache"/linux-source-* "$cache"/accelerator-* "$cache"/{apt,tools,source.lock,.lock}
	[ ! -d "$cache" ] || rmdir --ignore-fail-on-non-empty "$cache"
}

flavour=${2:-lab}
for fragment in $(fragments); do
	[ -e "$fragment" ] || die "no such flavour: $flavour (there is no $fragment)"
done

case ${1:-} in
fetch) fetch ;;
build) build_tree >/dev/null ;;
path) if [ -n "${KDIR:-}" ]; then given_tree; else build_tree; fi ;;
make-args) if [ -n "${KDIR:-}" ]; then find_toolchain --no-bindgen; else find_toolchain; fi && make_args ;;
check) check_given ;;
forget) forget ;;
*) usage ;;
esac
