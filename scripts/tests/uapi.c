/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A C program of the ABI: allocates a block, writes to it, reads it back.
 * It shows that the header is complete and plain; slablab selftest does the testing.
 */
#define _GNU_SOURCE

#include "slablab.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static int fail(const char *what)
{
	perror(what);
	return 1;
}

int main(void)
{
	static const char written[] = "hello, pool";
	struct slablab_alloc block = { .size = sizeof(written), .align = 8 };
	char seen[sizeof(written)];
	int lab = open(SLABLAB_DEVICE, O_RDWR);

	if (lab < 0)
		return fail(SLABLAB_DEVICE);
	if (ioctl(lab, SLABLAB_ALLOC, &block))
		return fail("SLABLAB_ALLOC");
	if (pwrite(lab, written, sizeof(written), SLABLAB_POSITION(block.handle, 0)) != sizeof(written))
		return fail("pwrite");
	if (pread(lab, seen, sizeof(seen), SLABLAB_POSITION(block.handle, 0)) != sizeof(seen))
		return fail("pread");
	if (ioctl(lab, SLABLAB_FREE, block.handle))
		return fail("SLABLAB_FREE");
	close(lab);
	puts(seen);
	return strcmp(seen, written) != 0;
}
