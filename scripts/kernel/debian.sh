# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154 # kernel.sh sets the variables
#
# Prepares a tree for modules of a kernel that Debian ships, without building that kernel. kernel.sh sources this file.
#
# Debian's headers are enough for modules in C only: they lack the metadata of the Rust crates. `make prepare` compiles
# these crates from the source, in seconds to minutes. They fit the kernel if the configuration and both compilers are
# those of the kernel, because Rust has no stable ABI, and rustc writes its own version into the names of symbols.
#
#   linux-headers-RELEASE    the configuration (.config) and the exported symbols (Module.symvers)
#   linux-binary-RELEASE     the kernel itself (vmlinuz)
#   linux-source-7.3         the source, with Debian's patches

# is_debian_kernel: succeeds if the flavour is a kernel of Debian
is_debian_kernel() { [[ $flavour =~ ^debian(-rt|-amd64)?$|^[0-9.]+\+deb[0-9]+(\.[0-9]+)?(-cloud|-rt)?-amd64$ ]]; }

# release_suffix: prints the end of the releases of the flavour, or fails if the flavour is a release itself
release_suffix() {
	case $flavour in
	debian) echo cloud-amd64 ;;
	debian-rt) echo rt-amd64 ;;
	debian-amd64) echo amd64 ;;
	*) return 1 ;;
	esac
}

# cached_release: prints the newest release of the flavour that is in the cache, or fails
cached_release() {
	local suffix tree
	suffix=$(release_suffix) || { [ -e "$cache/kernel-$flavour/.complete" ] && echo "$flavour"; return; }
	tree=$(compgen -G "$cache/kernel-*+deb*[0-9]-$suffix/.complete" | sort -V | tail -n 1)
	[ -n "$tree" ] || return
	tree=${tree%/.complete}
	echo "${tree#"$cache/kernel-"}"
}

# newest_release: prints the newest release of the flavour in the Debian archive, or the release that is the flavour
newest_release() {
	local suffix package
	read_list
	suffix=$(release_suffix) || { echo "$flavour"; return; }
	package=$(newest "^linux-headers-[0-9.]+[+]deb[0-9.]+-$suffix\$")
	[ -n "$package" ] || die "$suite has no kernel linux-headers-*-$suffix: use a release of Debian as KERNEL=," \
		"or omit KERNEL= for the lab kernel"
	echo "${package#linux-headers-}"
}

# unpack_package PACKAGE FOLDER TAR-OPTION...: downloads a package and unpacks it into the folder, without installing it
unpack_package() {
	local package=$1 folder=$2
	shift 2
	mkdir -p "$folder"
	(cd "$folder" && private_apt apt-get download "$package")
	dpkg --fsys-tarfile "$folder/$package"_*.deb | tar -x -C "$folder" "$@"
	rm "$folder/$package"_*.deb
}

# unpack_kernel FOLDER: unpacks the headers and the kernel of the release into the folder
unpack_kernel() {
	unpack_package "linux-headers-$release" "$1" --strip-components 4 "./usr/src/linux-headers-$release/"{.config,Module.symvers}
	unpack_package "linux-binary-$release" "$1" --strip-components 5 "./usr/lib/modules/$release/vmlinuz"
}

# version_text TREE COMPILER: prints the version of the compiler (RUSTC or CC) that built the kernel, as the compiler
# prints it
version_text() { sed -n "s/^CONFIG_$2_VERSION_TEXT=\"\(.*\)\"/\1/p" "$1/.config"; }

# own_rustc TEXT: prints a rustc of this machine with this version and its library sources, or fails
own_rustc() {
	local candidate
	while read -r candidate; do
		if [ "$("$candidate" --version 2>/dev/null)" = "$1" ] && has_sources "$candidate"; then
			echo "$candidate"
			return
		fi
	done < <(rustc_candidates)
	return 1
}

# prints_version TEXT PROGRAM: succeeds if the program prints this version
prints_version() { [ "$("$2" --version 2>/dev/null | head -n 1)" = "$1" ]; }

# wrap FOLDER PROGRAM: replaces a program in FOLDER, which has programs and libraries of another Debian release, by a
# script that runs the program with these libraries. In contrast to a root file system of its own, this needs neither
# privileges nor user namespaces, which containers forbid, and the build uses the other programs of this machine.
wrap() {
	local libraries=$1/usr/lib/x86_64-linux-gnu program=$2
	mv "$program" "$program.real"
	# shellcheck disable=SC2016 # the script expands $0 and $@
	printf '#!/bin/sh\nexec %s/ld-linux-x86-64.so.2 --library-path %s --argv0 "$0" %s "$@"\n' \
		"$libraries" "$libraries" "$program.real" >"$program"
	chmod +x "$program"
}

# unpack_compilers FOLDER PACKAGE...: unpacks the packages and all packages that they depend on into the folder
unpack_compilers() {
	local folder=$1 package program
	shift
	private_apt apt-get install --download-only --yes --no-install-recommends "$@"
	for package in "$apt"/archives/*.deb; do
		dpkg --fsys-tarfile "$package" | tar -x -C "$folder" --keep-directory-symlink --no-wildcards-match-slash \
			--exclude='./usr/share/*' --exclude='./usr/src/rustc-*/src' --exclude='./usr/src/rustc-*/compiler'
	done
	for program in "$folder"/usr/bin/rustc "$folder"/usr/bin/x86_64-linux-gnu-gcc-[0-9]* "$folder"/usr/libexec/gcc/*/*/cc1; do
		wrap "$folder" "$program"
	done
}

# fetch_compilers FOLDER PACKAGE...: downloads compilers of the Debian release of the kernel to the folder
fetch_compilers() {
	local folder=$1 suite=${suite%-backports} apt=$1/apt
	shift
	require_cache "has no compilers of Debian" "make kernel KERNEL=$flavour"
	lock "$cache/toolchain.lock" "the compilers of Debian, whose download takes a minute or two"
	if [ -e "$folder/.complete" ]; then return; fi # another process downloaded them
	require check_space "$cache" "$compilers_mib"
	rm -rf "$folder"
	mkdir -p "$apt/archives/partial"
	read_list
	step "downloading $* (200 MB)" "$logs/kernel-compilers.log" unpack_compilers "$folder" "$@"
	rm -rf "$apt"
	touch "$folder/.complete"
}

# find_compilers TREE: sets $rustc and $cc to compilers of the versions that built the kernel of the tree. If this
# machine does not have both, they are downloaded.
find_compilers() {
	local rustc_text cc_text gcc folder
	rustc_text=$(version_text "$1" RUSTC)
	cc_text=$(version_text "$1" CC) # x86_64-linux-gnu-gcc-14 (Debian 14.2.0-19) 14.2.0
	cc=$(type -P "${cc_text%% *}") && prints_version "$cc_text" "$cc" && rustc=$(own_rustc "$rustc_text") && return
	gcc=${cc_text%% *} gcc=${gcc##*gnu-}
	folder=$cache/toolchain-rustc-$(cut -d ' ' -f 2 <<<"$rustc_text")-$gcc
	[ -e "$folder/.complete" ] || (fetch_compilers "$folder" rustc rust-src "$gcc") # the subshell releases the lock
	rustc=$folder/usr/bin/rustc cc=$folder/usr/bin/${cc_text%% *}
	if ! prints_version "$rustc_text" "$rustc" || ! prints_version "$cc_text" "$cc"; then
		die "the kernel of $1 was built by $rustc_text and $cc_text, and ${suite%-backports} now has other compilers" \
			"($folder): remove both folders, and use a newer kernel with KERNEL=debian"
	fi
}

# debian_make_args TREE: prints the toolchain arguments for make. With KBUILD_MODPOST_WARN, symbols.sh instead of
# modpost reports symbols that the kernel does not export. pahole is asked for its version only, because it works on
# vmlinux, which the tree does not have.
debian_make_args() {
	echo "CC=$cc RUSTC=$rustc HOSTRUSTC=$rustc${bindgen:+ BINDGEN=$bindgen} PAHOLE=$1/pahole KBUILD_MODPOST_WARN=1"
}

# fake_pahole TREE: writes a program that prints the version of pahole in the configuration
fake_pahole() {
	local version
	version=$(sed -n 's/^CONFIG_PAHOLE_VERSION=//p' "$1/.config")
	printf '#!/bin/sh\necho v%s.%s\n' "${version%??}" "${version#?}" >"$1/pahole"
	chmod +x "$1/pahole"
}

# Options that may differ from Debian's configuration: versions of tools that write no code, and the signing of modules
# with Debian's key.
other_tools='AS_VERSION|LD_VERSION|BINDGEN_VERSION_TEXT|CC_CAN_LINK|OPENSSL_SUPPORTS_ML_DSA|MODULE_SIG_KEY_TYPE_[A-Z0-9_]*|MODULE_SIG_ALL'

# prepare_modules TREE: configures the tree as Debian did, and compiles what modules need
prepare_modules() {
	local tree=$1 changed
	fake_pahole "$tree"
	cp "$tree/.config" "$tree/debian.config"
	"$source/scripts/config" --file "$tree/.config" --disable MODULE_SIG_ALL
	echo "${release#"$version"}" >"$tree/localversion"
	kernel_make "$tree" rustavailable
	kernel_make "$tree" olddefconfig
	changed=$(diff <(sort "$tree/debian.config") <(sort "$tree/.config") |
		grep -E '^[<>] (# )?CONFIG_' | grep -vE "^[<>] (# )?CONFIG_($other_tools)[= ]" || true)
	[ -z "$changed" ] || { echo "error: this machine's tools change Debian's configuration:" "$changed" && exit 1; }
	# resolve_btfids works on vmlinux, too. Its build takes time and needs Python.
	kernel_make "$tree" prepare modules_prepare CONFIG_DEBUG_INFO_BTF=
	grep -qxF "$release" "$tree/include/config/kernel.release" ||
		{ echo "error: the release is $(cat "$tree/include/config/kernel.release"), not $release" && exit 1; }
	mkdir -p "$tree/arch/x86/boot"
	mv "$tree/vmlinuz" "$tree/arch/x86/boot/bzImage"
}

# require_drivers TREE: dies unless the drivers of the lab machine are part of the kernel
require_drivers() {
	local driver
	for driver in VIRTIO_PCI VIRTIO_CONSOLE SERIAL_8250_CONSOLE DEVTMPFS BLK_DEV_INITRD; do
		grep -qx "CONFIG_$driver=y" "$1/.config" || die "the kernel $release has no built-in driver $driver, which the" \
			"lab machine needs: use KERNEL=debian, or omit KERNEL= for the lab kernel"
	done
}

# find_source: sets $source to the source of this version, which is that of the lab kernel if they are equal
find_source() {
	source=$(source_tree)
	if [ "$(kernel_version "$source")" = "$version" ]; then return; fi
	source=$cache/debian-source-$version
	# The end of the subshell releases the lock.
	[ -e "$source" ] || (lock_source && fetch_source "linux-source-$(cut -d . -f 1-2 <<<"$version")" "$source")
	[ "$(kernel_version "$source")" = "$version" ] || {
		say "error: Debian has no source of $release any more, but of Linux $(kernel_version "$source"): use KERNEL=debian"
		rm -rf "$source"
		exit 1
	}
}

# debian_tree: prepares the tree of the flavour if needed, and prints its path
debian_tree() {
	local release tree version source
	type -P apt-get dpkg >/dev/null || die "KERNEL=$flavour needs apt-get and dpkg, which download Debian's kernel: omit" \
		"KERNEL= for the lab kernel"
	if release=$(cached_release); then
		echo "$cache/kernel-$release"
		return
	fi
	find_toolchain # for bindgen
	require_cache "has no kernel '$flavour'" "make kernel KERNEL=$flavour"
	lock "$cache/kernel-debian.lock" "the preparation of Debian's kernel, which takes a few minutes"
	release=$(cached_release || newest_release) || exit
	version=${release%%+*} tree=$cache/kernel-$release
	require_supported "$version"
	if [ ! -e "$tree/.complete" ]; then # no other process prepared the tree
		find_source
		rm -rf "$tree"
		mkdir -p "$tree"
		step "downloading Debian's kernel $release (16 MB)" "$logs/debian-kernel.log" unpack_kernel "$tree"
		require_drivers "$tree"
		find_compilers "$tree"
		step "preparing modules for $release, once, a few minutes" "$logs/debian-prepare.log" prepare_modules "$tree"
		touch "$tree/.complete" # last, so that an interrupted preparation is never used
	fi
	echo "$tree"
}
