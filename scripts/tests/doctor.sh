#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Tests `make doctor`, and the one line with which `make sim` names a missing requirement. Each case changes one part of a
# fake machine that meets all requirements: its programs are a PATH of their own, which has bash, coreutils and make.

set -eu
. "$(dirname "$0")/../lib.sh"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

# link FOLDER PROGRAM...: links the programs of this machine into the folder
link() {
	local folder=$1 program
	shift
	mkdir -p "$folder"
	for program; do ln -s "$(type -P "$program")" "$folder/$program"; done
}
link "$work/core" bash sh make cat chmod cut date df dirname env fold head id ls mkdir mktemp mv nproc readlink realpath rm \
	sha256sum sleep sort stat tail timeout touch tr true uname wc basename mkfifo stty cp
# The scripts that `make doctor` calls for a built kernel use these programs, too.
link "$work/tools" sed grep awk xargs find cpio setpriv rmdir comm flock

# fake PROGRAM LINE...: writes a fake program into the fake machine. Its argument list is in $*.
fake() {
	local file=$bin/$1
	shift
	printf '%s\n' '#!/bin/sh' "$@" >"$file"
	chmod +x "$file"
}

# fake_rust PROGRAM VERSION LLVM: writes a fake rustc with sources
fake_rust() {
	fake "$1" "case \$* in" "--version) echo 'rustc $2 (fake)' ;;" "-vV) echo 'LLVM version: $3.1.0' ;;" \
		"'--print sysroot') echo '$machine/sysroot' ;;" "esac"
}

# machine: creates a machine that meets all requirements. Fake programs that would change the machine write to the
# file called.
machine() {
	machine=$work/machine bin=$work/machine/bin
	rm -rf "$machine"
	mkdir -p "$bin" "$machine"/{home,cache,sysroot/lib/rustlib/src/rust/library/core/src}
	touch "$machine/sysroot/lib/rustlib/src/rust/library/core/src/lib.rs" "$machine/initramfs"
	printf 'ID=debian\nVERSION_ID=13\n' >"$machine/os-release"
	fake_rust rustc 1.90.0 20
	fake cargo "case \$* in" "--version) echo 'cargo 1.90.0 (fake)' ;;" "tree*) [ ! -e $machine/no-crates ] ;;" \
		"update*) [ ! -e $machine/no-network ] ;;" "*) echo \"cargo \$*\" >>$machine/called; exit 1 ;;" "esac"
	for program in clang-20 ld.lld-20 llvm-objcopy-20; do fake "$program"; done
	fake bindgen 'echo bindgen 0.72.1'
	fake qemu-system-x86_64 "[ \"\$*\" != --version ] || { echo QEMU emulator version 7.2.1; exit; }" "[ -e $machine/kvm-works ] || exit 1" \
		"for word; do case \$word in file,id=status,path=*) echo 0 >\${word##*=} ;; esac; done"
	fake cc "[ -e $machine/no-libc ] && echo libc.a || echo /lib/libc.a"
	fake dpkg-query "shift 3; for package; do case \" \$(cat $machine/missing 2>/dev/null) \" in" \
		"*\" \$package \"*) ;; *) echo installed \$package ;; esac; done"
	fake apt-get "[ \"\$*\" = 'update --print-uris' ] || { echo \"apt-get \$*\" >>$machine/called; exit 1; }" \
		"[ -e $machine/no-mirror ] || echo \"'http://mirror.example/debian/dists/trixie/InRelease' x 0\""
	fake apt-cache "[ \"\$2\" != \"\$(cat $machine/unknown 2>/dev/null)\" ]"
	fake apt-helper "[ ! -e $machine/no-network ]"
	fake sudo "echo \"sudo \$*\" >>$machine/called; exit 1"
	fake id "case \$1 in -u) cat $machine/uid ;; *) echo ann ;; esac"
	echo 1000 >"$machine/uid"
	fake df "echo Avail Mounted" "echo \$(cat $machine/free) /disk"
	echo 90000 >"$machine/free"
}

# make_tree TREE: creates a built kernel tree
make_tree() {
	mkdir -p "$1"/{include/config,rust,scripts,arch/x86/boot}
	echo 7.3.9 >"$1/include/config/kernel.release"
	printf '%s=y\n' CONFIG_RUST CONFIG_MODULES CONFIG_SMP >"$1/include/config/auto.conf"
	echo 'CONFIG_RUSTC_VERSION_TEXT="rustc 1.90.0 (fake)"' >>"$1/include/config/auto.conf"
	touch "$1"/{Makefile,Module.symvers,scripts/target.json,arch/x86/boot/bzImage} "$1"/rust/lib{core,kernel,bindings}.rmeta
}

# on_machine COMMAND...: runs the command on the fake machine, with the output in the file log. $settings has the
# variables of one test.
settings=(LC_ALL=C)
on_machine() {
	env -i HOME="$machine/home" PATH="$bin:$work/core:$work/tools" SLABLAB_CACHE="$machine/cache" OS_RELEASE="$machine/os-release" \
		KVM_DEVICE="$machine/kvm" INITRAMFS="$machine/initramfs" "${settings[@]}" "$@" >"$work/log" 2>&1 </dev/null
}

# outcome NAME WHY: prints the result of a test, which passed if WHY is empty
outcome() {
	if [ -z "$2" ]; then
		echo "ok: $1"
	else
		printf 'not ok: %s: %s\n' "$1" "$2"
		cat "$work/log"
		failed=1
	fi
	settings=(LC_ALL=C)
}

# lacks TEXT...: prints the first text that is not in the log, whose lines are joined
lacks() {
	local text log
	log=$(tr -s '\n ' ' ' <"$work/log")
	for text; do [[ $log == *"$text"* ]] || { echo "the output lacks: $text"; return; }; done
	[ ! -e "$machine/called" ] || echo "it changes the machine: $(cat "$machine/called")"
}

folder=$top # of the checkout
# doctor NAME STATUS TEXT... [-- ARGUMENT...]: checks the exit status and the output of make doctor ARGUMENT...
doctor() {
	local name=$1 expected=$2 status=0 texts=()
	shift 2
	while [ $# -gt 0 ] && [ "$1" != -- ]; do texts+=("$1") && shift; done
	on_machine make -C "$folder" --no-print-directory doctor "${@:2}" || status=$?
	if [ "$((status != 0))" != "$expected" ]; then
		outcome "$name" "the exit status is $status"
	else
		outcome "$name" "$(lacks "${texts[@]}")"
	fi
}
works() { doctor "$1" 0 "make run can work" "${@:2}"; }
fails() { doctor "$1" 1 "PROBLEM $2" "${@:3}"; }

# sim NAME TEXT...: checks that make sim prints one line with the texts
sim() {
	local name=$1 why=''
	shift
	if on_machine make -C "$top" --no-print-directory sim; then why="make sim succeeds"
	elif [ "$(wc -l <"$work/log")" != 1 ]; then why="the output has more than one line"
	fi
	outcome "$name" "${why:-$(lacks "$@")}"
}

machine
make_tree "$work/kernel"
works "a complete machine" "ok rustc 1.90.0 with library sources and LLVM 20" "make sim can work" -- KDIR="$work/kernel"
works "a machine without the lab kernel" "later kernel the lab kernel is not in the cache; make run builds it"
rm "$bin"/{rustc,cargo,bindgen,clang-20,cc}
works "an installation of Debian 13" "later rustc no rustc >= 1.85.0" "make run installs rustc cargo rust-src"
printf 'ID=debian\nVERSION_ID=12\n' >"$machine/os-release"
works "an installation of Debian 12" "make run installs rustc-web cargo-web rust-web-src"
rm -r "$bin"
mkdir "$bin"
settings=("PATH=$work/core")
doctor "a machine that has bash, coreutils and make only" 1 "PROBLEM packages missing: gcc" "PROBLEM qemu no qemu-system-x86_64" \
	"PROBLEM rustc no rustc" "install these programs"

# rustc
machine
rm "$bin/rustc"
works "no rustc" "later rustc no rustc >= 1.85.0 with its library sources; make run installs rustc"
rm "$bin/sudo"
fails "no rustc and no sudo" "rustc no rustc >= 1.85.0" "run scripts/setup.sh as root"
machine
rm "$bin/rustc"
echo ID=fedora >"$machine/os-release"
fails "no rustc on another distribution" "rustc no rustc" "-> install rustc >= 1.85.0"
fake_rust rustc 1.84.1 19
fails "an old rustc" "rustc no rustc >= 1.85.0 with its library sources: $bin/rustc has version 1.84.1"
fake_rust rustc 1.90.0 20
rm -r "$machine/sysroot"
fails "a rustc without sources" "rustc no rustc >= 1.85.0 with its library sources: $bin/rustc has no library sources"
mkdir -p "$machine/home/.cargo/bin"
mv "$bin/rustc" "$machine/home/.cargo/bin/"
settings=("PATH=$machine/home/.cargo/bin:$bin:$work/core:$work/tools")
fails "a rustup without sources" "rustc no rustc" "('rustup component add rust-src' adds them)"
machine
fake rustc 'exit 1'
echo ID=fedora >"$machine/os-release"
fails "a rustc that does not run" "rustc no rustc" "$bin/rustc does not run"
machine
rm "$bin/rustc"
mkdir -p "$machine/ann/.cargo/bin"
cp "$bin/cargo" "$machine/ann/.cargo/bin/rustc"
echo 0 >"$machine/uid"
settings=(SUDO_USER=ann SUDO_HOME="$machine/ann")
works "rustup of the user who types sudo make" "sudo does not use the rustup of the user ann: run make without sudo"
echo ID=fedora >"$machine/os-release"
settings=(SUDO_USER=ann SUDO_HOME="$machine/ann")
fails "rustup of the user who types sudo make, on another distribution" "rustc" "of the user ann: run make without sudo"
settings=(SUDO_USER=ann SUDO_HOME="$machine/ann")
sim "sim with sudo" "no rustc >= 1.85.0: run make without sudo, as ann"

# cargo, clang, bindgen
machine
sed -i 's/cargo 1.90.0/cargo 1.63.0/' "$bin/cargo"
fails "an old cargo" "cargo no cargo >= 1.85.0: $bin/cargo has version 1.63.0" "-> run 'rustup update'"
machine
rm "$bin/cargo"
works "no cargo" "later cargo no cargo >= 1.85.0; make run installs rustc cargo"
machine
rm "$bin/clang-20"
fake clang-19
works "a clang of another LLVM" "later clang no clang-20 of LLVM 20, which $bin/rustc uses (found: clang-19); make run installs them"
echo clang-20-dev >"$machine/missing"
echo clang-20 >"$machine/unknown"
fails "a clang that Debian does not have" "clang no clang-20" "Debian has no package clang-20" "'make run RUSTC=/usr/bin/rustc'"
rm "$machine/unknown"
fails "a clang of another LLVM with KDIR=" "clang no clang-20" "-> run 'make setup'" -- KDIR="$work/kernel"
machine
rm "$bin/bindgen"
works "no bindgen" "later bindgen no bindgen >= 0.71.1; make run installs bindgen"
printf 'ID=debian\nVERSION_ID=12\n' >"$machine/os-release"
works "no bindgen on Debian 12" "later bindgen no bindgen >= 0.71.1; make run builds bindgen 0.72.1 with cargo"
fake bindgen 'echo bindgen 0.60.1'
works "an old bindgen" "later bindgen no bindgen >= 0.71.1: $bin/bindgen has version 0.60.1"
echo ID=fedora >"$machine/os-release"
fails "an old bindgen on another distribution" "bindgen no bindgen" "-> run 'cargo install --locked bindgen-cli@0.72.1'"

# packages, QEMU, the accelerator
machine
echo "flex bc" >"$machine/missing"
works "missing packages" "later packages missing: bc flex; make run installs them"
machine
rm "$bin/qemu-system-x86_64"
works "no QEMU" "later qemu no qemu-system-x86_64; make run installs qemu-system-x86"
fake qemu-system-x86_64 "echo QEMU emulator version 4.2.1"
fails "an old QEMU" "qemu $bin/qemu-system-x86_64 has version 4.2.1" "-> install QEMU >= 7.2"
machine
works "no KVM" "there is no $machine/kvm"
fails "no KVM with ACCEL=kvm" "accelerator ACCEL=kvm needs write access" "-> use ACCEL=tcg" -- ACCEL=kvm
touch "$machine/kvm"
works "a KVM that does not work" "$machine/kvm exists, but no guest boots with it" -- KDIR="$work/kernel"
fails "a KVM that does not work with ACCEL=kvm" "accelerator ACCEL=kvm, but no guest boots" "-> omit ACCEL=" -- ACCEL=kvm KDIR="$work/kernel"
rm -r "$machine/cache"
mkdir "$machine/cache"
touch "$machine/kvm-works"
works "a KVM that works" "ok accelerator kvm" -- KDIR="$work/kernel"
works "a KVM that was not tried" "the first boot tries $machine/kvm"

# The kernel
machine
tree=$work/linux
make_tree "$tree"
for file in rust/libcore.rmeta scripts/target.json Module.symvers; do
	mv "$tree/$file" "$work/file"
	fails "KDIR= without $file" "kernel KDIR=$tree lacks $file" "-> run 'make bzImage modules' in that tree" -- KDIR="$tree"
	mv "$work/file" "$tree/$file"
done
rm "$tree/arch/x86/boot/bzImage"
fails "KDIR= without a kernel to boot" "kernel KDIR=$tree has no bzImage" "-> build it there" -- KDIR="$tree"
sed -i '/VERSION_TEXT/s/1.90.0/1.89.0/' "$tree/include/config/auto.conf"
fails "KDIR= of another rustc" "kernel $tree was built by rustc 1.89.0 (fake), and $bin/rustc is rustc 1.90.0 (fake)" \
	"-> install the rustc that built the tree" -- KDIR="$tree"
mkdir "$work/other"
bin=$work/other fake_rust rustc 1.89.0 19
settings=("PATH=$bin:$work/other:$work/core:$work/tools")
fails "KDIR= of another rustc in PATH" "kernel $tree was built by rustc 1.89.0" "-> add RUSTC=$work/other/rustc" -- KDIR="$tree"
sed -i '/CONFIG_RUST=/d' "$tree/include/config/auto.conf"
fails "KDIR= without CONFIG_RUST" "kernel KDIR=$tree was built without CONFIG_RUST" "-> configure" -- KDIR="$tree"
echo 7.2.1 >"$tree/include/config/kernel.release"
fails "KDIR= of an old kernel" "kernel Linux 7.2.1 is too old" "Use a newer kernel" -- KDIR="$tree"
fails "KDIR= of nothing" "kernel KDIR=$work/nothing is not a built kernel tree" "-> correct it" -- KDIR="$work/nothing"
tree=$work/usr/src/linux-headers-7.3.9-amd64
make_tree "$tree"
rm "$tree"/rust/*.rmeta "$tree/scripts/target.json"
fails "KDIR= of kernel headers" "kernel KDIR=$tree is an installed package of kernel headers, which lacks scripts/target.json, rust/libcore.rmeta" \
	"-> build the kernel from its source" -- KDIR="$tree"
tree=$work/usr/src/linux-headers-7.3.9+deb13-amd64
make_tree "$tree"
echo 7.3.9+deb13-amd64 >"$tree/include/config/kernel.release"
rm "$tree"/rust/*.rmeta
fails "KDIR= of Debian's kernel headers" "kernel KDIR=$tree is an installed package of kernel headers" "-> use KERNEL=7.3.9+deb13-amd64 instead of KDIR=" -- KDIR="$tree"
works "a kernel of Debian" "later kernel Debian's kernel 'debian' is not in the cache; make run downloads and prepares it" -- KERNEL=debian
mkdir -p "$machine/cache/kernel-7.3.9+deb13-cloud-amd64"
touch "$machine/cache/kernel-7.3.9+deb13-cloud-amd64/.complete"
works "a kernel of Debian in the cache" "ok kernel Debian's kernel 'debian' is in the cache" -- KERNEL=debian
fails "a kernel that Debian does not have" "kernel KERNEL=fedora is not a kernel of Debian" "-> use debian, debian-rt, debian-amd64" -- KERNEL=fedora
echo ID=fedora >"$machine/os-release"
fails "a kernel of Debian on another distribution" "kernel Debian's kernel 'debian-rt' is not in the cache" "-> omit KERNEL=" -- KERNEL=debian-rt
fails "no source of the lab kernel on another distribution" "kernel the lab kernel is not in the cache" "-> set KERNEL_SRC="

# An arm64 machine on x86-64
if [ "$host_arch" = x86_64 ]; then
	machine
	fails "arm64 with a rustc of rustup" "arm64 $bin/rustc has no library for aarch64-unknown-linux-gnu" \
		"-> run 'rustup target add aarch64-unknown-linux-gnu'" -- ARCH=arm64
	mkdir -p "$machine/sysroot/lib/rustlib/aarch64-unknown-linux-gnu/lib"
	echo gcc-aarch64-linux-gnu qemu-system-arm >"$machine/missing"
	works "arm64 for the first time" "ok architecture arm64, cross-compiled" \
		"later packages missing: qemu-system-arm gcc-aarch64-linux-gnu" \
		"later qemu no qemu-system-aarch64; make run installs qemu-system-arm" \
		"later arm64 no busybox and no Rust library for arm64 in the cache; make run downloads them" \
		"later kernel the lab kernel for arm64 is not in the cache" "the lab machine is for arm64" -- ARCH=arm64
	mkdir "$machine/cache/cross-arm64-1.90.0"
	works "arm64 later" "ok arm64 busybox and Rust's library for arm64" -- ARCH=arm64
	echo ID=fedora >"$machine/os-release"
	rm -r "$machine/cache/cross-arm64-1.90.0"
	fails "arm64 on another distribution" "qemu no qemu-system-aarch64" "-> install QEMU >= 7.2 for arm64" \
		"-> build on Debian" -- ARCH=arm64
fi
machine
fails "an unknown architecture" "architecture ARCH=riscv is not an architecture" "-> use ARCH=arm64" -- ARCH=riscv

# Paths, disk, network
machine
for name in "with space" with:colon; do
	mkdir -p "$work/$name/harness/trace/src" "$work/$name/rust"
	cp -r "$top"/{Makefile,scripts} "$work/$name/"
	folder=$work/$name
	fails "a checkout in '$name'" "paths the checkout $work/$name contains a space, a colon" "-> move it"
	rm "$bin/rustc"
	! on_machine make -C "$folder" run || failed=1
	outcome "nothing is installed there" "$(lacks "the checkout $work/$name contains" "'make doctor' shows")"
	machine
done
folder=$top
settings=(SLABLAB_CACHE="$machine/a b")
fails "a cache with a space" "paths the cache (SLABLAB_CACHE=) $machine/a b contains a space"
settings=(SLABLAB_CACHE="$machine/nothing")
fails "a cache that does not exist" "paths SLABLAB_CACHE=$machine/nothing is not a directory" "-> correct it"
echo 50 >"$machine/free"
fails "a full disk" "space /disk has 50 MiB of free space" "-> free some space"
machine
touch "$machine/no-network"
mkdir "$machine/cache/linux-source-7.3"
fails "no network for a kernel of Debian" "network no network: apt cannot read trixie-backports" -- KERNEL=debian
rmdir "$machine/cache/linux-source-7.3"
fails "no network for the kernel" "network no network: apt cannot read trixie-backports at http://mirror.example/debian" "-> connect"
works "no network where none is needed" "ok network not needed" -- KDIR="$work/kernel"
touch "$machine/no-crates"
fails "no network for the crates" "network no network: cargo cannot reach its registry" "-> connect" -- KDIR="$work/kernel"
touch "$machine/no-mirror"
fails "no Debian mirror" "network apt has no Debian mirror" "-> add one to /etc/apt/sources.list and run 'sudo apt-get update'"

# make sim
machine
rm "$bin/rustc"
echo "rustc cargo gcc libc6-dev" >"$machine/missing"
sim "sim without rustc on Debian 13" "no rustc >= 1.85.0: run 'sudo apt-get install rustc cargo gcc libc6-dev'"
echo "rustc-web cargo-web gcc libc6-dev" >"$machine/missing"
printf 'ID=debian\nVERSION_ID=12\n' >"$machine/os-release"
fake_rust rustc 1.63.0 14
sim "sim with Debian 12's old rustc" "no rustc >= 1.85.0: $bin/rustc has version 1.63.0: run 'sudo apt-get install rustc-web cargo-web"
echo gcc >"$machine/unknown"
sim "sim without package lists" "run 'sudo apt-get update && sudo apt-get install rustc-web"
rm "$bin/sudo"
sim "sim without sudo" "run 'su -c \"apt-get update\" && su -c \"apt-get install rustc-web"
machine
rm "$bin/cargo"
echo "cargo" >"$machine/missing"
sim "sim without cargo" "no cargo >= 1.85.0: run 'sudo apt-get install cargo'"
machine
rm "$bin/cc"
echo "gcc libc6-dev" >"$machine/missing"
sim "sim without a linker" "no linker: there is no program cc: run 'sudo apt-get install gcc libc6-dev'"
machine
touch "$machine/no-libc"
echo libc6-dev >"$machine/missing"
sim "sim without libc.a" "no libc.a" "run 'sudo apt-get install libc6-dev'"
machine
touch "$machine/no-crates" "$machine/no-network"
on_machine make -C "$top" sim && failed=1
rm "$machine/called" # the fake cargo, which fails
outcome "sim without network" "$(lacks "error: no network: cargo cannot reach its registry: connect this machine")"
rm "$machine/no-crates"
on_machine make -C "$top" sim && failed=1
outcome "sim with all crates does not blame the network" "$(! grep 'no network' "$work/log")"

# Every failure of make run names make doctor, once.
# names_doctor NAME COMMAND...: checks that the command fails on the fake machine and names make doctor once
names_doctor() {
	local name=$1 why=''
	shift
	if on_machine "$@"; then why="it succeeds"
	elif [ "$(grep -c "'make doctor' shows" "$work/log")" != 1 ]; then why="the output does not name make doctor once"
	fi
	outcome "$name" "$why"
}
machine
names_doctor "a bad argument" make -C "$top" run ENGINE=foo
names_doctor "a bad KDIR=" make -C "$top" run KDIR="$work/nothing"
names_doctor "a command that cannot be built" make -C "$top" run KDIR="$work/kernel"
echo flex >"$machine/missing"
names_doctor "packages that cannot be installed" make -C "$top" run
names_doctor "setup.sh" "$top/scripts/setup.sh"
machine
names_doctor "kernel.sh" "$top/scripts/kernel.sh" path
exit $failed
