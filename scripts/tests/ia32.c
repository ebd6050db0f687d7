// SPDX-License-Identifier: GPL-2.0
/*
 * A 32-bit client of /dev/slablab without a C library: this file makes every
 * system call, so no library translates positions or structures.
 *
 * When a check fails, the program prints its line number, and exits with the low
 * 8 bits of the number.
 */

#include "slablab.h"

_Static_assert(sizeof(void *) == 4, "a 32-bit program");
_Static_assert(sizeof(struct slablab_info) == SLABLAB_INFO_SIZE_VER1, "info");
_Static_assert(sizeof(struct slablab_bind) == SLABLAB_BIND_SIZE_VER1, "bind");
_Static_assert(sizeof(struct slablab_alloc) == SLABLAB_ALLOC_SIZE_VER1, "alloc");
_Static_assert(sizeof(struct slablab_realloc) == SLABLAB_REALLOC_SIZE_VER1, "realloc");
_Static_assert(sizeof(struct slablab_stats) == SLABLAB_STATS_SIZE_VER1, "stats");
_Static_assert(sizeof(struct slablab_check) == SLABLAB_CHECK_SIZE_VER1, "check");
_Static_assert(sizeof(struct slablab_extend) == SLABLAB_EXTEND_SIZE_VER1, "extend");
_Static_assert(sizeof(struct slablab_shrink) == SLABLAB_SHRINK_SIZE_VER1, "shrink");
_Static_assert(sizeof(struct slablab_extent) == SLABLAB_EXTENT_SIZE_VER1, "extent");
_Static_assert(sizeof(struct slablab_map) == SLABLAB_MAP_SIZE_VER1, "map");
_Static_assert(sizeof(struct slablab_operation) == SLABLAB_OPERATION_SIZE_VER1, "operation");
_Static_assert(sizeof(struct slablab_submit) == SLABLAB_SUBMIT_SIZE_VER1, "submit");
_Static_assert(sizeof(struct slablab_bench) == SLABLAB_BENCH_SIZE_VER1, "bench");
_Static_assert(sizeof(struct slablab_report) == SLABLAB_REPORT_SIZE_VER1, "report");
_Static_assert(sizeof(struct slablab_inject) == SLABLAB_INJECT_SIZE_VER1, "inject");
_Static_assert(sizeof(struct slablab_reports) == SLABLAB_REPORTS_SIZE_VER1, "reports");
_Static_assert(sizeof(struct slablab_fail) == SLABLAB_FAIL_SIZE_VER1, "fail");
_Static_assert(sizeof(struct slablab_event) == SLABLAB_EVENT_SIZE_VER1, "event");
_Static_assert(sizeof(struct slablab_events) == SLABLAB_EVENTS_SIZE_VER1, "events");

enum { EXIT = 1, WRITE = 4, OPEN = 5, IOCTL = 54, MUNMAP = 91, PREAD64 = 180, PWRITE64 = 181, MMAP2 = 192 };
enum { O_RDWR = 2, PROT_READ_WRITE = 3, MAP_SHARED = 1, EBUSY = 16, ENOENT = 2, ENXIO = 6, PAGE = 4096 };

/* The arguments are passed in memory, because the compiler has too few free registers. */
static long call(long number, long a, long b, long c, long d, long e, long f)
{
	long arguments[7] = { number, a, b, c, d, e, f }, result;

	__asm__ volatile("pushl %%ebp\n\t"
			 "pushl %%ebx\n\t"
			 "movl %%eax, %%esi\n\t"
			 "movl 4(%%esi), %%ebx\n\t"
			 "movl 8(%%esi), %%ecx\n\t"
			 "movl 12(%%esi), %%edx\n\t"
			 "movl 20(%%esi), %%edi\n\t"
			 "movl 24(%%esi), %%ebp\n\t"
			 "movl 0(%%esi), %%eax\n\t"
			 "movl 16(%%esi), %%esi\n\t"
			 "int $0x80\n\t"
			 "popl %%ebx\n\t"
			 "popl %%ebp"
			 : "=a"(result)
			 : "0"(arguments)
			 : "ecx", "edx", "esi", "edi", "memory");
	return result;
}

static void say(int line)
{
	char text[] = "ia32.c:00000: check failed\n";
	int place;

	for (place = 11; line > 0; line /= 10)
		text[place--] = '0' + line % 10;
	call(WRITE, 2, (long)text, sizeof(text) - 1, 0, 0, 0);
}

#define CHECK(so) do { if (!(so)) { say(__LINE__); call(EXIT, __LINE__ & 0xff ? __LINE__ & 0xff : 1, 0, 0, 0, 0, 0); } } while (0)

static long command(int file, unsigned int request, void *argument)
{
	return call(IOCTL, file, request, (long)argument, 0, 0, 0);
}

static long transfer(long number, int file, void *bytes, unsigned int count, __u64 position)
{
	return call(number, file, (long)bytes, count, (long)(__u32)position, (long)(position >> 32), 0);
}

static long map(int file, unsigned int bytes, __u64 position)
{
	return call(MMAP2, 0, bytes, PROT_READ_WRITE, MAP_SHARED, file, (long)(position / PAGE));
}

static int is_error(long result)
{
	return (unsigned long)result > (unsigned long)-PAGE;
}

static unsigned char bytes[3 * PAGE], again[3 * PAGE];
static struct slablab_stats stats;

void _start(void)
{
	struct slablab_info info = { 0 };
	struct slablab_bind bind = { 0 };
	struct slablab_alloc alloc = { 0 };
	struct slablab_events events = { 0 };
	struct slablab_event event[4];
	struct slablab_operation operations[2] = { { 0 } };
	struct slablab_submit submit = { 0 };
	unsigned char *mapped;
	int file, n;

	file = call(OPEN, (long)SLABLAB_DEVICE, O_RDWR, 0, 0, 0, 0);
	CHECK(file >= 0);
	bind.engine = SLABLAB_ENGINE_HYBRID;
	bind.flags = SLABLAB_BIND_PRIVATE;
	bind.pool_bytes = 1 << 20;
	CHECK(command(file, SLABLAB_BIND, &bind) == 0);
	CHECK(command(file, SLABLAB_INFO, &info) == 0);
	CHECK(info.abi_version == SLABLAB_ABI_VERSION && info.pool_bytes == 1 << 20);
	CHECK(info.capabilities & SLABLAB_CAP_MMAP);
	events.op = SLABLAB_EVENTS_BEGIN;
	events.count = 4;
	CHECK(command(file, SLABLAB_EVENTS, &events) == 0);

	/* Access to a block through the file and through a mapping. */
	alloc.size = sizeof(bytes);
	alloc.align = PAGE;
	CHECK(command(file, SLABLAB_ALLOC, &alloc) == 0);
	CHECK(alloc.handle != 0 && alloc.usable >= sizeof(bytes));
	for (n = 0; n < (int)sizeof(bytes); n++)
		bytes[n] = 1 + n % 251;
	CHECK(transfer(PWRITE64, file, bytes, sizeof(bytes), SLABLAB_POSITION(alloc.handle, 0)) == sizeof(bytes));
	CHECK(SLABLAB_MMAP_POSITION(alloc.handle) / PAGE <= 0xffffffff);
	CHECK(map(file, sizeof(bytes) + PAGE, SLABLAB_MMAP_POSITION(alloc.handle)) == -ENXIO);
	CHECK(map(file, PAGE, SLABLAB_MMAP_POSITION(alloc.handle + 1)) == -ENOENT);
	mapped = (unsigned char *)map(file, sizeof(bytes), SLABLAB_MMAP_POSITION(alloc.handle));
	CHECK(!is_error((long)mapped));
	for (n = 0; n < (int)sizeof(bytes); n++) {
		CHECK(mapped[n] == bytes[n]);
		mapped[n] = bytes[n] = ~bytes[n];
	}
	CHECK(transfer(PREAD64, file, again, sizeof(again), SLABLAB_POSITION(alloc.handle, 0)) == sizeof(again));
	for (n = 0; n < (int)sizeof(bytes); n++)
		CHECK(again[n] == bytes[n]);

	/* A block cannot be freed while it is mapped, and can be freed afterwards. */
	CHECK(command(file, SLABLAB_FREE, (void *)(long)alloc.handle) == -EBUSY);
	CHECK(call(MUNMAP, (long)mapped, sizeof(bytes), 0, 0, 0, 0) == 0);
	CHECK(command(file, SLABLAB_FREE, (void *)(long)alloc.handle) == 0);
	CHECK(command(file, SLABLAB_FREE, (void *)(long)alloc.handle) == -ENOENT);

	/* Structures that contain addresses. */
	operations[0].kind = SLABLAB_OP_ALLOC;
	operations[0].bytes = 100;
	operations[1].kind = SLABLAB_OP_FREE;
	operations[1].flags = SLABLAB_OP_EARLIER;
	submit.count = 2;
	submit.operations = (unsigned long)operations;
	CHECK(command(file, SLABLAB_SUBMIT, &submit) == 0);
	CHECK(submit.done == 2 && submit.error == 0);
	CHECK(operations[1].handle == operations[0].handle && operations[1].flags == 0);
	events.op = SLABLAB_EVENTS_READ;
	events.events = (unsigned long)event;
	CHECK(command(file, SLABLAB_EVENTS, &events) == 0);
	CHECK(events.count == 4 && event[0].kind == SLABLAB_EVENT_FREE && event[0].error == 0);
	CHECK(event[1].error == ENOENT && event[3].handle == operations[0].handle);
	CHECK(command(file, SLABLAB_STATS, &stats) == 0);
	CHECK(stats.session_blocks == 0 && stats.session_allocations == 2);
	call(EXIT, 0, 0, 0, 0, 0, 0);
	__builtin_unreachable();
}
