// SPDX-License-Identifier: GPL-2.0
/*
 * A client of /dev/slablab in C: an example of the use of slablab.h.
 *
 *	cc -std=c99 -Wall -Wextra -Werror -pedantic -static -I rust/uapi -o client harness/tests/client.c
 *
 * Run the program as root with the module loaded. The exit status is 0 if every
 * call behaves as the header documents.
 */
#define _POSIX_C_SOURCE 200809L
#define _FILE_OFFSET_BITS 64

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "slablab.h"

/* Ends the program with an error unless @so is true. */
static void expect(int so, const char *what)
{
	if (so)
		return;
	fprintf(stderr, "client: failed check: %s (last error: %s)\n", what, strerror(errno));
	exit(EXIT_FAILURE);
}

/* Misuses a pool in debug mode, and checks the reports. */
static void misuse(void)
{
	struct slablab_bind bind = {
		.flags = SLABLAB_BIND_PRIVATE | SLABLAB_BIND_DEBUG,
		.pool_bytes = 1 << 20,
	};
	struct slablab_inject inject = {
		.misuse = SLABLAB_MISUSE_SLAB_LINEAR_OVERFLOW_8,
		.size = 100,
	};
	struct slablab_report last[SLABLAB_REPORTS_KEPT];
	struct slablab_reports reports = {
		.count = SLABLAB_REPORTS_KEPT,
		.reports = (__u64)(unsigned long)last,
	};
	struct slablab_stats stats = { 0 };
	int lab;

	lab = open(SLABLAB_DEVICE, O_RDWR | O_CLOEXEC);
	expect(lab >= 0, "open " SLABLAB_DEVICE);
	expect(!ioctl(lab, SLABLAB_BIND, &bind), "SLABLAB_BIND of a pool in debug mode");

	/* INJECT writes eight bytes behind a block and frees it, which detects the damage. */
	expect(!ioctl(lab, SLABLAB_INJECT, &inject), "SLABLAB_INJECT");
	expect(inject.report.fault == SLABLAB_FAULT_OVERFLOW, "INJECT must report an overflow");
	expect(inject.report.byte == 100 && inject.report.damaged_bytes == 8,
	       "INJECT must report 8 damaged bytes from byte 100");
	expect(inject.report.allocated.pid == (__u32)getpid(),
	       "the report must name this process as the owner");
	printf("overflow of the block at offset %llu, allocated by operation %llu of %u\n",
	       (unsigned long long)inject.report.offset,
	       (unsigned long long)inject.report.allocated.operation,
	       (unsigned int)inject.report.allocated.pid);

	/* The report is stored, and the block is quarantined. */
	expect(!ioctl(lab, SLABLAB_REPORTS, &reports), "SLABLAB_REPORTS");
	expect(reports.count == 1 && reports.number == 1, "REPORTS must return one report");
	expect(!memcmp(&last[0], &inject.report, sizeof(last[0])),
	       "REPORTS must return the report of INJECT");
	expect(!ioctl(lab, SLABLAB_STATS, &stats), "SLABLAB_STATS");
	expect(stats.reports[SLABLAB_FAULT_OVERFLOW] == 1, "STATS must count one overflow");
	expect(stats.quarantined_blocks == 1 && stats.live_blocks == 1,
	       "STATS must count one quarantined block");
	close(lab);
}

/* Refuses every other request by fault injection, and checks that the others succeed. */
static void fail(void)
{
	struct slablab_bind bind = { .flags = SLABLAB_BIND_PRIVATE, .pool_bytes = 1 << 20 };
	struct slablab_alloc alloc = { .size = 64, .align = 8 };
	struct slablab_fail order = { .every = 2 };
	int lab;

	lab = open(SLABLAB_DEVICE, O_RDWR | O_CLOEXEC);
	expect(lab >= 0, "open " SLABLAB_DEVICE);
	expect(ioctl(lab, SLABLAB_FAIL, &order) && errno == EOPNOTSUPP,
	       "FAIL must fail with EOPNOTSUPP in a shared pool");
	expect(!ioctl(lab, SLABLAB_BIND, &bind), "SLABLAB_BIND");
	expect(!ioctl(lab, SLABLAB_FAIL, &order) && !order.injected, "SLABLAB_FAIL");
	expect(!ioctl(lab, SLABLAB_ALLOC, &alloc), "ALLOC 1 with fault injection");
	expect(ioctl(lab, SLABLAB_ALLOC, &alloc) && errno == ENOMEM,
	       "ALLOC 2 with fault injection must fail with ENOMEM");
	expect(alloc.cost.cause == SLABLAB_CAUSE_INJECTED,
	       "the cause of an injected refusal must be SLABLAB_CAUSE_INJECTED");
	order.every = 0;
	expect(!ioctl(lab, SLABLAB_FAIL, &order) && order.injected == 1,
	       "FAIL must report one injected refusal");
	expect(!ioctl(lab, SLABLAB_ALLOC, &alloc), "ALLOC 3, without fault injection");
	expect(!ioctl(lab, SLABLAB_ALLOC, &alloc), "ALLOC 4, without fault injection");
	close(lab);
}

int main(void)
{
	static const char text[] = "a block remembers";
	char read_back[2 * sizeof(text)];
	struct slablab_bind bind = {
		.engine = SLABLAB_ENGINE_SEED,
		.flags = SLABLAB_BIND_PRIVATE,
		.pool_bytes = 1 << 20,
	};
	struct slablab_info info = { 0 };
	struct slablab_alloc alloc = { .size = sizeof(text), .align = 16 };
	struct slablab_realloc larger = { .size = sizeof(read_back) };
	struct slablab_stats stats = { 0 };
	struct slablab_check check = { 0 };
	/* Two allocations, a free of the first block, and an allocation that is too big. */
	struct slablab_operation operations[] = {
		{ .kind = SLABLAB_OP_ALLOC, .bytes = 64, .align_log2 = 6 },
		{ .kind = SLABLAB_OP_ALLOC, .bytes = 5000 },
		{ .kind = SLABLAB_OP_FREE, .handle = 0, .flags = SLABLAB_OP_EARLIER },
		{ .kind = SLABLAB_OP_ALLOC, .bytes = 1 << 21 },
	};
	struct slablab_submit submit = {
		.count = sizeof(operations) / sizeof(operations[0]),
		.operations = (__u64)(unsigned long)operations,
	};
	/* The last operations of the session. */
	struct slablab_event done[16];
	struct slablab_events events = { .op = SLABLAB_EVENTS_BEGIN, .count = 1000 };
	struct slablab_alloc shown = { .size = 8192, .align = 4096 };
	unsigned int n;
	char *pages;
	int lab;

	/* An open file is a session. This session gets a private pool. */
	lab = open(SLABLAB_DEVICE, O_RDWR | O_CLOEXEC);
	expect(lab >= 0, "open " SLABLAB_DEVICE);
	expect(!ioctl(lab, SLABLAB_BIND, &bind), "SLABLAB_BIND");
	expect(!ioctl(lab, SLABLAB_INFO, &info), "SLABLAB_INFO");
	expect(info.abi_version == SLABLAB_ABI_VERSION, "the module must have the ABI version of slablab.h");
	expect(info.pool_bytes == bind.pool_bytes, "the pool must have the requested size");

	/* A block is named by a handle and used through the file. */
	expect(!ioctl(lab, SLABLAB_ALLOC, &alloc), "SLABLAB_ALLOC");
	printf("handle %u: %llu bytes of %llu at offset %llu\n", (unsigned int)alloc.handle,
	       (unsigned long long)alloc.size, (unsigned long long)alloc.usable,
	       (unsigned long long)alloc.offset);
	expect(pwrite(lab, text, sizeof(text), SLABLAB_POSITION(alloc.handle, 0)) ==
	       (ssize_t)sizeof(text), "pwrite");

	/* REALLOC keeps the old bytes and zeroes the new ones. */
	larger.handle = alloc.handle;
	expect(!ioctl(lab, SLABLAB_REALLOC, &larger), "SLABLAB_REALLOC");
	expect(pread(lab, read_back, sizeof(read_back), SLABLAB_POSITION(alloc.handle, 0)) ==
	       (ssize_t)sizeof(read_back), "pread");
	expect(!memcmp(read_back, text, sizeof(text)), "REALLOC must keep the old bytes");
	for (n = sizeof(text); n < sizeof(read_back); n++)
		expect(!read_back[n], "REALLOC must zero the new bytes");

	expect(!ioctl(lab, SLABLAB_STATS, &stats), "SLABLAB_STATS");
	for (n = 0; n < stats.class_count; n++)
		if (stats.classes[n].used_blocks)
			printf("class of %llu bytes: %llu of %llu blocks in use\n",
			       (unsigned long long)stats.classes[n].block_bytes,
			       (unsigned long long)stats.classes[n].used_blocks,
			       (unsigned long long)stats.classes[n].total_blocks);

	/* The reply to a refused request contains the cause. */
	alloc.size = info.pool_bytes + 1;
	expect(ioctl(lab, SLABLAB_ALLOC, &alloc) && errno == ENOMEM,
	       "ALLOC of more than the pool must fail with ENOMEM");
	expect(alloc.cost.cause == SLABLAB_CAUSE_TOO_BIG,
	       "the cause of the refusal must be SLABLAB_CAUSE_TOO_BIG");

	/* FREE takes the handle by value. A freed handle names no block. */
	expect(!ioctl(lab, SLABLAB_FREE, larger.handle), "SLABLAB_FREE");
	expect(ioctl(lab, SLABLAB_FREE, larger.handle) && errno == ENOENT,
	       "the second FREE of a handle must fail with ENOENT");

	/* SUBMIT executes operations in one call until one fails. EVENTS records them. */
	expect(!ioctl(lab, SLABLAB_EVENTS, &events), "SLABLAB_EVENTS_BEGIN");
	expect(!ioctl(lab, SLABLAB_SUBMIT, &submit), "SLABLAB_SUBMIT");
	expect(submit.done == 3 && submit.error == ENOMEM, "SUBMIT must fail at its operation 4 with ENOMEM");
	expect(operations[3].cost.cause == SLABLAB_CAUSE_TOO_BIG,
	       "the cause of operation 4 must be SLABLAB_CAUSE_TOO_BIG");
	expect(operations[2].handle == operations[0].handle && !operations[2].flags,
	       "SUBMIT must store the handle of the freed block");
	expect(!ioctl(lab, SLABLAB_FREE, operations[1].handle), "SLABLAB_FREE");
	events.op = SLABLAB_EVENTS_READ;
	events.count = sizeof(done) / sizeof(done[0]);
	events.events = (__u64)(unsigned long)done;
	expect(!ioctl(lab, SLABLAB_EVENTS, &events), "SLABLAB_EVENTS_READ");
	expect(events.count == 5 && events.number == 5 && !events.lost, "EVENTS must return 5 events");
	for (n = 0; n < events.count; n++)
		printf("event %llu: kind %u, %llu bytes, error %u\n",
		       (unsigned long long)done[n].number, (unsigned int)done[n].kind,
		       (unsigned long long)done[n].size, (unsigned int)done[n].error);
	expect(done[1].handle == operations[1].handle && done[1].size == 5000,
	       "event 1 must be the second ALLOC");
	expect(done[3].error == ENOMEM && done[3].cost.cause == SLABLAB_CAUSE_TOO_BIG,
	       "event 3 must be the refused ALLOC");
	expect(done[4].kind == SLABLAB_EVENT_FREE && done[4].offset == done[1].offset,
	       "event 4 must be the FREE of the second block");

	/* Pages of a block can be mapped. A block with a mapped page cannot be freed. */
	expect(info.capabilities & SLABLAB_CAP_MMAP, "INFO must report SLABLAB_CAP_MMAP");
	expect(!ioctl(lab, SLABLAB_ALLOC, &shown), "SLABLAB_ALLOC");
	pages = mmap(NULL, shown.size, PROT_READ | PROT_WRITE, MAP_SHARED, lab,
		     SLABLAB_POSITION(shown.handle, 0));
	expect(pages != MAP_FAILED, "mmap");
	memcpy(pages + 5000, text, sizeof(text));
	expect(pread(lab, read_back, sizeof(text), SLABLAB_POSITION(shown.handle, 5000)) ==
	       (ssize_t)sizeof(text), "pread");
	expect(!memcmp(read_back, text, sizeof(text)),
	       "pread must return the bytes written through the mapping");
	expect(ioctl(lab, SLABLAB_FREE, shown.handle) && errno == EBUSY,
	       "FREE of a mapped block must fail with EBUSY");

	expect(!ioctl(lab, SLABLAB_CHECK, &check), "SLABLAB_CHECK");
	expect(check.rule == SLABLAB_RULE_NONE, "CHECK must find no violation");

	/* The session, its blocks and its pool end with the file and its mappings. */
	expect(!munmap(pages, shown.size), "munmap");
	close(lab);

	misuse();
	fail();
	puts("client: all checks passed");
	return EXIT_SUCCESS;
}
