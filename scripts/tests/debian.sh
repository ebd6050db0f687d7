#!/bin/bash
# shellcheck disable=SC2016,SC2030,SC2031,SC2317 # fake programs expand the variables, functions are called by check
# SPDX-License-Identifier: GPL-2.0
#
# Tests KERNEL=, with a fake archive of Debian and a fake source tree: which kernel and which compilers are used, what is
# downloaded, and what is refused. Tests symbols.sh, too.

set -eu
. "$(dirname "$0")/../lib.sh"
# shellcheck source=scripts/tests/checks.sh
. "$(dirname "$0")/checks.sh"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
require check_rustc # sets $llvm
BINDGEN=$(bindgen_program) || die "no bindgen: run 'make setup'"
export BINDGEN SLABLAB_CACHE=$work/cache
unset KDIR KERNEL KERNEL_SRC MAKEFLAGS MAKELEVEL RUSTC
bin=$work/bin archive=$work/archive source=$SLABLAB_CACHE/linux-source-7.3
mkdir -p "$bin" "$archive" "$source"/{rust,scripts}
log=$work/log

rustc_text='rustc 1.85.1 (4eb161250 2025-03-15) (built from a source tarball)'
cc_text='x86_64-linux-gnu-gcc-14 (Debian 14.2.0-19) 14.2.0'

# fake FILE LINE...: writes a fake program
fake() {
	mkdir -p "$(dirname "$1")"
	printf '%s\n' '#!/bin/sh' "${@:2}" >"$1"
	chmod +x "$1"
}

# package NAME: packs the folder $work/root as a package of the archive, and empties the folder
package() {
	mkdir -p "$work/root/DEBIAN"
	printf '%s\n' "Package: $1" "Version: 1" "Architecture: all" "Maintainer: none" "Description: none" >"$work/root/DEBIAN/control"
	dpkg-deb --build -Zgzip "$work/root" "$archive/$1_1_all.deb" >/dev/null
	rm -r "$work/root"
}

built_in=(VIRTIO_PCI SERIAL_8250_CONSOLE DEVTMPFS BLK_DEV_INITRD MODULE_SIG_ALL VIRTIO_CONSOLE)

# kernel_packages RELEASE SETTING...: adds the packages of a kernel to the archive
kernel_packages() {
	local release=$1 headers=$work/root/usr/src/linux-headers-$1
	shift
	mkdir -p "$headers"
	printf 'CONFIG_%s=y\n' "${built_in[@]}" >"$headers/.config"
	printf '%s\n' "CONFIG_CC_VERSION_TEXT=\"$cc_text\"" "CONFIG_RUSTC_VERSION_TEXT=\"$rustc_text\"" CONFIG_PAHOLE_VERSION=130 \
		CONFIG_AS_VERSION=24400 "$@" >>"$headers/.config"
	echo symbols >"$headers/Module.symvers"
	package "linux-headers-$release"
	mkdir -p "$work/root/usr/lib/modules/$release"
	echo "kernel $release" >"$work/root/usr/lib/modules/$release/vmlinuz"
	package "linux-binary-$release"
}

# compiler FOLDER NAME TEXT: writes a fake compiler with this version into FOLDER/usr/bin
compiler() {
	fake "$1/usr/bin/$2" "case \$* in --version) echo '$3' ;; '--print sysroot') echo $1/usr ;; -vV) echo LLVM version: $llvm.1 ;; esac"
}

# compiler_packages RUSTC-TEXT: adds the package of the compilers to the archive. Its dynamic linker runs the program.
compiler_packages() {
	compiler "$work/root" rustc "$1"
	compiler "$work/root" x86_64-linux-gnu-gcc-14 "$cc_text"
	fake "$work/root/usr/libexec/gcc/x86_64-linux-gnu/14/cc1"
	fake "$work/root/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2" "echo ran >>$work/linker" 'shift 4; exec "$@"'
	mkdir -p "$work"/root/usr/src/rustc-1.85.1/{src,compiler,library/core/src} "$work/root/usr/share/doc"
	touch "$work"/root/usr/src/rustc-1.85.1/{src,compiler,library/core/src}/lib.rs "$work/root/usr/share/doc/text"
	package compilers
}

# The fake apt: `download PACKAGE` and `install --download-only` copy files of the archive; the calls are listed.
fake "$bin/apt-get" "[ \"\$*\" != 'update --print-uris' ] || { echo \"'http://mirror.example/debian/dists/trixie/InRelease' x 0\"; exit; }" \
	'for word; do case $word in Dir::Cache::archives=*) folder=${word#*=} ;; esac; done' \
	"echo \"\$*\" | sed 's/.*APT::Sandbox::User=[^ ]* //' >>$work/called" \
	"case \$* in *' download '*) for last; do :; done; cp $archive/\${last}_1_all.deb . ;;" \
	"*' install '*) cp $archive/compilers_1_all.deb \$folder/ ;; esac"
fake "$bin/apt-cache" "for last; do :; done" "ls $archive | sed 's/_1_all.deb//' | grep -E \"\$last\" | sed 's/\$/ - a package/'"

# The fake source: olddefconfig changes the configuration as the file changes says.
echo '# rust' >"$source/rust/Makefile"
cat >"$source/Makefile" <<'E2'
kernelversion: ; @echo 7.3.4
rustavailable modules_prepare:
olddefconfig: ; sed -i -f $(CURDIR)/changes $(O)/.config
prepare:
	echo "$(CC) $(RUSTC) $$($(PAHOLE) --version)" >$(O)/made
	mkdir -p $(O)/include/config && echo 7.3.4$$(cat $(O)/localversion) >$(O)/include/config/kernel.release
E2
echo 's/AS_VERSION=.*/AS_VERSION=24000/' >"$source/changes"
fake "$source/scripts/config" 'sed -i "s/^CONFIG_$4=y/# CONFIG_$4 is not set/" "$2"'

# kernel ARGUMENT...: runs kernel.sh on the fake machine
kernel() { PATH=$bin:$PATH "$top/scripts/kernel.sh" "$@" 2>"$work/log"; }

# refuses KERNEL TEXT...: succeeds if the preparation of the kernel fails with these texts
refuses() {
	local kernel=$1 text
	shift
	! kernel path "$kernel" >/dev/null || return
	for text; do grep -qF -- "$text" "$work/log" || { echo "no \"$text\""; return 1; }; done
}

# reset: removes the prepared kernels and the compilers
reset() { rm -rf "$SLABLAB_CACHE"/kernel-* "$SLABLAB_CACHE"/toolchain* "$work"/{called,linker}; }

kernel_packages 7.3.4+deb13-cloud-amd64
kernel_packages 7.3.4+deb13-rt-amd64
kernel_packages 7.3.4+deb13-amd64
for release in 7.2.12+deb13-cloud-amd64 7.2.9+deb13-cloud-amd64 7.3.3+deb13-amd64; do touch "$archive/linux-headers-${release}_1_all.deb"; done
compiler_packages "$rustc_text"

# Names
for given in debian-foo lab+debug 7.3.4 7.3.4+deb13 ../7.3.4+deb13-amd64; do
	accepted() { KERNEL=$given kernel check; }
	refused() { ! accepted && grep -q "KERNEL=$given is not a kernel of Debian: use debian, debian-rt" "$work/log"; }
	check "KERNEL=$given is refused" refused
done
for given in debian debian-rt debian-amd64 7.3.4+deb13-amd64 7.3.4+deb13.1-cloud-amd64; do
	check "KERNEL=$given is accepted" accepted
done

# prepared KERNEL RELEASE: succeeds if the kernel is prepared, and is this release
prepared() { [ "$(kernel path "$1")" = "$SLABLAB_CACHE/kernel-$2" ] && grep -q "kernel $2" "$SLABLAB_CACHE/kernel-$2/arch/x86/boot/bzImage"; }
has_none() { ! kernel has debian && [ ! -e "$work/called" ]; }
check "has finds no kernel and downloads nothing" has_none
check "debian is the newest kernel for clouds" prepared debian 7.3.4+deb13-cloud-amd64
tree=$SLABLAB_CACHE/kernel-7.3.4+deb13-cloud-amd64 compilers=$SLABLAB_CACHE/toolchain-rustc-1.85.1-gcc-14
check "the compilers are those that built the kernel, and pahole prints its version" \
	grep -qx "$compilers/usr/bin/x86_64-linux-gnu-gcc-14 $compilers/usr/bin/rustc v1.30" "$tree/made"
check "the compilers use their own dynamic linker" test -s "$work/linker"
check "the compilers are downloaded with the packages that they depend on" \
	grep -qx 'install --download-only --yes --no-install-recommends rustc rust-src gcc-14' "$work/called"
check "nothing is installed" test "$(grep -cv -e '^update$' -e '^download ' -e --download-only "$work/called")" = 0
check "the sources of core are unpacked" test -e "$compilers/usr/src/rustc-1.85.1/library/core/src/lib.rs"
check "the sources of rustc are not unpacked" test ! -e "$compilers/usr/src/rustc-1.85.1/compiler"
check "modules are not signed with Debian's key" grep -qx '# CONFIG_MODULE_SIG_ALL is not set' "$tree/.config"
check "the exported symbols are those of the package" grep -qx symbols "$tree/Module.symvers"
arguments() { [[ $(kernel make-args debian) == "CC=$compilers/usr/bin/x86_64-linux-gnu-gcc-14 RUSTC=$compilers/usr/bin/rustc "* ]]; }
check "modules are built with the same compilers" arguments

rm "$work/called"
from_cache() { prepared debian 7.3.4+deb13-cloud-amd64 && prepared 7.3.4+deb13-cloud-amd64 7.3.4+deb13-cloud-amd64 && [ ! -e "$work/called" ]; }
check "a prepared kernel is used without a download" from_cache
check "has finds the kernel" kernel has debian
check "debian-rt is the real-time kernel" prepared debian-rt 7.3.4+deb13-rt-amd64
check "debian-amd64 is the newest kernel for PCs" prepared debian-amd64 7.3.4+deb13-amd64
check "the compilers are downloaded once" test "$(grep -c download-only "$work/called")" = 0
rm "$tree/.complete" "$tree/Module.symvers"
prepared_again() { prepared debian 7.3.4+deb13-cloud-amd64 && [ -e "$tree/Module.symvers" ]; }
check "an interrupted preparation is repeated" prepared_again

# Compilers of this machine
reset
compiler "$work/machine" rustc "$rustc_text"
compiler "$work/machine" x86_64-linux-gnu-gcc-14 "$cc_text"
mkdir -p "$work/machine/usr/lib/rustlib/src/rust/library/core/src"
touch "$work/machine/usr/lib/rustlib/src/rust/library/core/src/lib.rs"
own() { (PATH=$work/machine/usr/bin:$PATH && prepared debian 7.3.4+deb13-cloud-amd64) && ! grep -q download-only "$work/called"; }
check "compilers of this machine are used if their versions are those of the kernel" own
check "they are named in the arguments of make" grep -q "^$work/machine/usr/bin/x86_64-linux-gnu-gcc-14 $work/machine/usr/bin/rustc " "$tree/made"
reset
compiler "$work/machine" rustc 'rustc 1.85.0 (4d91de4e4 2025-02-17) (built from a source tarball)'
other() { (PATH=$work/machine/usr/bin:$PATH && prepared debian 7.3.4+deb13-cloud-amd64) && grep -q download-only "$work/called"; }
check "another rustc of this machine is not used" other
reset
compiler "$work/machine" rustc "$rustc_text"
rm -r "$work/machine/usr/lib/rustlib"
check "a rustc of this machine without library sources is not used" other

# Refusals
reset
compiler_packages 'rustc 1.85.9 (a new one)'
check "other compilers in the archive" refuses debian "was built by $rustc_text" "and use a newer kernel with KERNEL=debian"
reset
compiler_packages "$rustc_text"
echo 's/CONFIG_DEVTMPFS=y/# CONFIG_DEVTMPFS is not set/' >"$source/changes"
check "a changed configuration" refuses debian "this machine's tools change Debian's configuration" "CONFIG_DEVTMPFS is not set"
check "a refused kernel is not used later" refuses debian "change Debian's configuration"
echo >"$source/changes"

# source_package VERSION: adds a source package to the archive, and makes the source in the cache older
source_package() {
	sed -i "s/kernelversion: .*/kernelversion: ; @echo $1/" "$source/Makefile"
	mkdir -p "$work/root/usr/src"
	tar -cJ -C "$SLABLAB_CACHE" -f "$work/root/usr/src/linux-source-7.3.tar.xz" linux-source-7.3
	package linux-source-7.3
	sed -i "s/kernelversion: .*/kernelversion: ; @echo 7.3.1/" "$source/Makefile"
}
source_package 7.3.5
check "a kernel whose source is not in the archive any more" refuses debian \
	"Debian has no source of 7.3.4+deb13-cloud-amd64 any more, but of Linux 7.3.5: use KERNEL=debian"
check "a wrong source is not kept" test ! -e "$SLABLAB_CACHE/debian-source-7.3.4"
source_package 7.3.4
check "a kernel that is newer than the source in the cache" prepared debian 7.3.4+deb13-cloud-amd64
check "its source is downloaded" test "$(make -s -C "$SLABLAB_CACHE/debian-source-7.3.4" kernelversion)" = 7.3.4
check "the source of the lab kernel stays" test "$(make -s -C "$source" kernelversion)" = 7.3.1
check "a release that is too old" refuses 7.2.12+deb13-cloud-amd64 "Linux 7.2.12 is too old"
built_in=("${built_in[@]:0:5}")
source_package 7.3.5
kernel_packages 7.3.5+deb13-amd64 CONFIG_VIRTIO_CONSOLE=m
check "a driver of the lab machine that is a module" refuses 7.3.5+deb13-amd64 "no built-in driver VIRTIO_CONSOLE"

# symbols.sh
mkdir -p "$work/kernel/include/config"
echo 7.3.4+deb13-amd64 >"$work/kernel/include/config/kernel.release"
printf '%s\n' 'void kfree(void *p); void _RNvC4core1f(void); extern int optional __attribute__((weak));' \
	'void f(void) { kfree(&optional); _RNvC4core1f(); }' >"$work/module.c"
cc -fno-pic -c "$work/module.c" -o "$work/module.ko"

# exports SYMBOL...: writes the symbols that the kernel exports
exports() { printf '0x00000000\t%s\tvmlinux\tEXPORT_SYMBOL\t\n' "$@" >"$work/kernel/Module.symvers"; }
symbols() { "$top/scripts/symbols.sh" "$work/module.ko" "$work/kernel" 2>"$work/log"; }
unexported() { ! symbols && [ "$(wc -l <"$work/log")" = 1 ] && grep -qF -- "$1" "$work/log" && grep -qF -- "$2" "$work/log"; }
exports kfree _RNvC4core1f printk
check "a module whose symbols are all exported" symbols
exports kfree _RNvC5other4core1f
check "a module of another rustc" unexported "(1, for example _RNvC4core1f)" "by another rustc than the kernel"
exports _RNvC4core1f
check "a module that needs another option" unexported "(1, for example kfree)" "built without an option"

# make modules_install uses the tree for which the module was built, and builds nothing.
mkdir "$work/mo"
echo "$work/kernel" >"$work/mo/kernel"
echo 'modules_install: ; @echo "install $(MO)" >>'"$work/called" >"$work/kernel/Makefile"
fake "$bin/depmod" "echo \"depmod \$*\" >>$work/called"

# installed CALL...: succeeds if make modules_install makes these calls
installed() {
	rm -f "$work/called"
	PATH=$bin:$PATH make -C "$top" modules_install MO="$work/mo" INSTALL_MOD_PATH=/packages >"$work/log" 2>&1 &&
		diff <(printf '%s\n' "$@") "$work/called"
}
check "modules_install runs depmod for a kernel without System.map" installed "install $work/mo" "depmod --basedir /packages 7.3.4+deb13-amd64"
touch "$work/kernel/System.map"
check "modules_install leaves depmod to the kernel's build" installed "install $work/mo"
exit $failed
