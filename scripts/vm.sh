#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Boots the lab machine, runs a command in it, and exits with the status of the command.
#
#   vm.sh [OPTION]... [COMMAND ARGUMENT...]     without a command, opens a prompt in the machine
#
#   -a             only print the accelerator, kvm or tcg
#   -c CPUS        number of CPUs (2; 1 with -i)
#   -d             boot the debug kernel, with memory for its checkers (2048 MiB)
#   -e             ignore reports of the kernel's checkers, which the caller expects and compares
#   -f FILE        copy a file to /job/files/ in the machine; may be given several times
#   -g             wait for gdb (gdb.sh) after the module is loaded, before the command runs
#   -i             count instructions: the clock advances 1 ns per instruction, and the CPUs run in turns
#   -k WORDS       more parameters for the kernel's command line
#   -m MIB         memory in MiB (1024; 2048 with -d)
#   -n             do not load the module
#   -p PARAMETERS  parameters of the module
#   -s             pass the standard input, up to its end, to the command; without -s the command reads no input
#   -t SECONDS     timeout (120; none for a prompt and with -g)
#
# INITRAMFS= and KDIR= select the root file system and the kernel, KERNEL= selects both for a kernel of Debian, and
# ACCEL=kvm or ACCEL=tcg selects the accelerator. With kmemleak=off in the environment, the debug kernel does not search
# for leaks, and boots in half the time. The status and, without a terminal, the output are sent over virtio ports; the
# kernel's console is written to the file CONSOLE= (build/log/console.log). A report in it (reports.awk) is a failure. When a program writes a line
# that begins with "stuck: " to the kernel's log, the machine is stopped as at the timeout.

set -eu
. "$(dirname "$0")/lib.sh"

usage() { sed -n '/^# *vm\.sh/,/^$/s/^# *//p' "$0" >&2; exit 2; }

cpus='' memory='' words='' parameters='' load=yes timeout='' counting='' asking='' expecting='' input=''
flavour=${KERNEL:-lab} variant=${KERNEL:+-$KERNEL} debug='' waiting=''
files=()
while getopts ac:def:gik:m:np:st: option; do
	case $option in
	a) asking=yes ;;
	c) cpus=$OPTARG && require_number -c "$cpus" ;;
	d) flavour=lab+debug variant=-debug debug=yes ;;
	e) expecting=yes ;;
	f) files+=("$OPTARG") && { [ -r "$OPTARG" ] || die "-f: $OPTARG cannot be read"; } ;;
	g) waiting=yes ;;
	i) counting=yes ;;
	k) words=$OPTARG ;;
	m) memory=$OPTARG && require_number -m "$memory" ;;
	n) load='' ;;
	p) parameters=$OPTARG ;;
	s) input=yes ;;
	t) timeout=$OPTARG && require_number -t "$timeout" ;;
	*) usage ;;
	esac
done
shift $((OPTIND - 1))
cpus=${cpus:-$([ -n "$counting" ] && echo 1 || echo 2)}
memory=${memory:-$([ -n "$debug" ] && echo 2048 || echo 1024)}
# Programs in the guest read from this parameter that their clock counts instructions.
[ -z "$counting" ] || words="slablab.clock=instructions $words"
[ -z "$debug" ] || words="loglevel=7 $debug_words kmemleak=${kmemleak:-on} kasan_multi_shot $words"
# gdb finds the kernel at the addresses of vmlinux, and can read the module's code also while a program runs.
[ -z "$waiting" ] || words="nokaslr nopti $words"

require check_accelerator
INITRAMFS=${INITRAMFS:-$build/initramfs${waiting:+-symbols}$variant${cross:+-$cross}.cpio}
CONSOLE=${CONSOLE:-$logs/console.log}
KDIR=${KDIR:-$("$top/scripts/kernel.sh" path "$flavour")}
kernel=$KDIR/$kernel_image
require check_image "$KDIR"
[ -e "$INITRAMFS" ] ||
	die "no $INITRAMFS: run 'make initramfs${waiting:+ SYMBOLS=1}${debug:+ DEBUG_KERNEL=1}${KERNEL:+ KERNEL=$KERNEL}${cross:+ ARCH=$cross}'"
require check_qemu

# accelerator: prints kvm if a guest boots with KVM, else tcg. An existing /dev/kvm may not work, so the first
# call makes a probe boot. The result is stored in the cache, or in the checkout if the cache is read-only.
accelerator() {
	local answer
	answer=accelerator-$(uname -n)-$(uname -r)
	if [ -w "$cache" ] || [ -e "$cache/$answer" ]; then answer=$cache/$answer; else answer=$build/$answer; fi
	if [ ! -w "$kvm_device" ] || [ -n "$cross" ]; then
		echo tcg
		return
	fi
	if [ ! -e "$answer" ]; then
		say "probing whether KVM works on this machine"
		if ACCEL=kvm "$0" -n -t 10 true >/dev/null 2>&1 </dev/null; then
			echo kvm >"$answer"
		else
			echo tcg >"$answer"
		fi
	fi
	cat "$answer"
}

if [ -n "$asking" ]; then
	echo "${ACCEL:-$(accelerator)}"
	exit
fi

terminal=''
[ ! -t 1 ] || [ ! -t 0 ] || terminal=$(stty -g)
[ $# -gt 0 ] || [ -n "$terminal" ] || die "a prompt needs a terminal: run vm.sh in a terminal, or with a command"

# prepare_gdb: writes the files that gdb.sh reads to the folder build/gdb
prepare_gdb() {
	local folder=$build/gdb gdb_fd
	[ ${#folder} -lt 90 ] || die "the path $folder is too long for a socket: move the checkout to a shorter path"
	mkdir -p "$folder"
	exec {gdb_fd}>"$folder/lock"
	flock --nonblock "$gdb_fd" || die "another machine of this checkout waits for gdb: end it first"
	rm -rf "$folder"/{sections,slablab.ko,kernel,port.in,port.out,socket}
	if [ -n "$load" ]; then
		(cd "$folder" && cpio --quiet --extract --to-stdout lib/slablab.ko <"$INITRAMFS" >slablab.ko)
		readelf --section-headers --wide "$folder/slablab.ko" | grep -q ' \.debug_info ' ||
			die "the module in $INITRAMFS has no debug information: run 'make initramfs SYMBOLS=1${debug:+ DEBUG_KERNEL=1}'"
	fi
	echo "$KDIR" >"$folder/kernel"
	mkfifo "$folder/port.in" "$folder/port.out"
}
[ -z "$waiting" ] || prepare_gdb

run=$(mktemp -d)
console=$run/console
qemu='' receiver=''

# shellcheck disable=SC2317 # the trap calls it
finish() {
	if [ -n "$qemu" ]; then
		kill "$qemu" 2>/dev/null || true
		wait "$qemu" || true
	fi
	[ -z "$receiver" ] || kill "$receiver" 2>/dev/null || true
	[ -z "$waiting" ] || rm -f "$build"/gdb/{sections,socket}
	[ -z "$terminal" ] || stty "$terminal"
	mkdir -p "$(dirname "$CONSOLE")" && mv "$console" "$CONSOLE"
	rm -rf "$run"
}
: >"$console"
trap finish EXIT
trap 'say "interrupted"; exit 130' INT TERM HUP

# pack_job: prints the initramfs, followed by an archive with the files of /job
pack_job() {
	mkdir -p "$run/job/files"
	[ ${#files[@]} -eq 0 ] || cp -- "${files[@]}" "$run/job/files/"
	[ $# -eq 0 ] || printf 'exec%s\n' "$(printf ' %s' "${@@Q}")" >"$run/job/command"
	[ -z "$input" ] || cat >"$run/job/input"
	[ -z "$waiting" ] || : >"$run/job/gdb"
	[ -z "$load" ] || echo "$parameters" >"$run/job/module-parameters"
	[ -z "$terminal" ] || stty size | sed 's/^0 0$/24 80/' >"$run/job/terminal"
	cat "$INITRAMFS"
	cd "$run" && find job | cpio --quiet --create --format=newc
}
pack_job "$@" >"$run/initrd"

# At the timeout and when a program is stuck, an NMI makes the kernel panic, which prints the stacks of all CPUs
# (panic_print=0x40). A machine without NMI is ended, and only the last lines of its console are printed.
words="$machine_words panic=-1 loglevel=6 panic_print=0x40 $words"

machine=("${machine_options[@]}" -m "$memory" -nic none -vga none -display none -no-reboot -nodefaults
	-kernel "$kernel" -initrd "$run/initrd" -append "$words"
	-serial "file:$console" -chardev "pipe,id=monitor,path=$run/monitor" -mon monitor -device virtio-serial-pci
	-chardev "file,id=status,path=$run/status" -device "virtserialport,chardev=status,name=status")
accel=${ACCEL:-$(accelerator)}
if [ -n "$counting" ]; then
	machine+=(-cpu "$emulated_cpu" -smp "$cpus" -accel "tcg,thread=single" -icount "shift=0,sleep=off")
elif [ "$accel" = tcg ]; then
	machine+=(-cpu "$emulated_cpu" -smp "$cpus" -accel "tcg,thread=multi")
else
	machine+=(-cpu max -smp "$cpus" -accel "$accel")
fi
if [ -n "$terminal" ]; then
	# At a prompt, an interrupt is passed to the guest; otherwise it ends the machine.
	machine+=(-chardev "stdio,id=terminal,signal=$([ $# -gt 0 ] && echo on || echo off)"
		-device "virtconsole,chardev=terminal")
else
	machine+=(-add-fd "fd=3,set=3" -chardev "file,id=output,path=/dev/fdset/3,append=on"
		-add-fd "fd=4,set=4" -chardev "file,id=errors,path=/dev/fdset/4,append=on"
		-device "virtserialport,chardev=output,name=output"
		-device "virtserialport,chardev=errors,name=errors")
fi
if [ -n "$waiting" ]; then
	machine+=(-chardev "socket,id=gdb,path=$build/gdb/socket,server=on,wait=off" -gdb chardev:gdb
		-chardev "pipe,id=sections,path=$build/gdb/port" -device "virtserialport,chardev=sections,name=gdb")
	# The guest sends the addresses of the module's sections, and a last line "end".
	(sed '/^end/q' "$build/gdb/port.out" >"$build/gdb/sections.part" &&
		mv "$build/gdb/sections.part" "$build/gdb/sections") &
	receiver=$!
fi

mkfifo "$run/monitor.in" "$run/monitor.out"

# The kernel kills the machine when this script ends for any reason.
[ -z "${V:-}" ] || say "+ $qemu_program ${machine[*]@Q}"
setpriv --pdeathsig KILL "$qemu_program" "${machine[@]}" <&0 3>&1 4>&2 2>"$run/qemu-errors" &
qemu=$!
started=$SECONDS
# await SECONDS [PATTERN]: waits until the machine ends. Fails after this time, and when a line of the console has the
# pattern.
await() {
	while kill -0 "$qemu" 2>/dev/null; do
		if [ $((SECONDS - started)) -ge "$1" ]; then return 1; fi
		if [ -n "${2:-}" ] && grep -q "$2" "$console"; then return 1; fi
		sleep 0.1
	done
}
if [ -z "$timeout" ] && { [ $# -eq 0 ] || [ -n "$waiting" ]; }; then
	await "$((1 << 62))"
elif timeout=${timeout:-120} && ! await "$timeout" '^stuck: '; then
	hung_from=$(($(wc -l <"$console") + 1)) hung_after=$((SECONDS - started))
	if [ -n "$nmi" ]; then
		echo nmi >"$run/monitor.in"
		await "$((hung_after + 10))" || kill "$qemu"
	else
		hung_from=$((hung_from > 40 ? hung_from - 40 : 1))
		kill "$qemu" || true
	fi
fi
wait "$qemu" || true
qemu=''

# running: prints the last run that the kernel's log names, and the operations of the tasks in the first stacks
running() {
	sed 's/\r$//' "$console" | awk '
		/^running: / { run = substr($0, 10); operations = "" }
		/ Comm: op [0-9]/ {
			sub(/.* Comm: /, ""); sub(/ *(Not tainted|Tainted).*/, "")
			if (!index(operations, $0)) operations = operations (operations ? ", " : "") $0
		}
		END {
			if (sub(/^op /, " --ops ", operations) && operations !~ /,| t/) run = run operations
			else if (operations) run = run " (op" substr(operations, 7) ")"
			if (run) print "the kernel was running: " run
		}'
}

# fail REASON LINES: dies with the reason, after printing these lines of the console
fail() {
	[ -z "$terminal" ] || stty "$terminal"
	cat "$run/qemu-errors" >&2
	sed -n "$2" "$console" >&2
	running >&2
	die "$1 (the whole console is ${CONSOLE#"$top/"})"
}

if [ -n "${hung_from:-}" ]; then
	reason="the machine did not finish in $timeout s"
	[ "$hung_after" -ge "$timeout" ] || reason="the kernel does not return from a call"
	fail "$reason" "$hung_from,$((hung_from + 60))p"
fi
end="$(($(wc -l <"$console") > 40 ? $(wc -l <"$console") - 39 : 1)),\$p"
if [ -z "$expecting" ] && ! awk -f "$top/scripts/reports.awk" "$console" >"$run/reports"; then
	first=$(sed -n '1s/:.*//p' "$run/reports")
	cat "$run/reports" >&2
	fail "the kernel's checkers reported a bug" "$((first > 2 ? first - 2 : 1)),$((first + 60))p"
fi
[ -s "$run/status" ] || fail "the machine ended without an exit status" "$end"
exit "$(cat "$run/status")"
