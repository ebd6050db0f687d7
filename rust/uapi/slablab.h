/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * slablab: the interface of /dev/slablab.
 *
 * docs/abi.md explains this interface with examples. This header is the source.
 *
 * Sessions. Every open file is a session. A session owns the blocks that it
 * allocates, and its end frees them. open(2) fails with ENFILE if the module's
 * limit of sessions is reached.
 *
 * Arguments. A command with a structure reads it once, whole, and writes it back
 * if it succeeds. ALLOC and REALLOC also write it back if they fail with ENOMEM,
 * EDQUOT or EOPNOTSUPP, so that the program can read the cause. A command that
 * fails changes nothing. If a result cannot be written back, the command is
 * undone, except for a block whose handle the program guessed and uses in the
 * meantime. SUBMIT executes many operations and returns how many it completed.
 *
 * Access modes. A command that changes a session or a pool needs a file that is
 * open for writing (EBADF): BIND, ALLOC, FREE, REALLOC, SUBMIT, EXTEND, SHRINK,
 * FAIL, INJECT, BENCH, and EVENTS unless it reads. INFO, STATS, MAP, CHECK,
 * REPORTS and the reading of EVENTS work on a file with any access mode. A file
 * that is open only for reading never has a session and never has blocks: it can
 * inspect the shared pool and change nothing. pread(2) needs a file that is open
 * for reading, pwrite(2) one that is open for writing (EBADF). mmap(2) needs a
 * file that is open for reading, and for writing too with PROT_WRITE (EACCES).
 *
 * Privileges. CHECK and SHRINK delay the other users of a shared pool, and MAP
 * shows their blocks, so these commands need CAP_SYS_ADMIN in a shared pool
 * (EPERM). In the session's own private pool they do not. EXTEND, BENCH and
 * INJECT always need it.
 *
 * Signals. A fatal signal is one that ends the program without a core dump. It
 * ends every call that copies or zeroes much memory, within 16 MiB of copying or
 * zeroing: ALLOC, REALLOC, SUBMIT, BIND, EXTEND, pread(2), pwrite(2), mmap(2).
 * The call has then changed nothing, except for the completed part of a SUBMIT
 * or a pwrite(2). Other signals end SUBMIT, CHECK, MAP, BENCH, mmap(2) and the
 * reading of EVENTS early, as described at each. ALLOC, REALLOC, BIND, EXTEND,
 * pread(2) and pwrite(2) are completed despite such signals.
 *
 * Processes. The numbers of threads and processes in events and reports are
 * those of the initial pid namespace. getpid(2) and gettid(2) in another
 * namespace return other numbers.
 *
 * Versions. Structures may grow at their end. A command is identified by its
 * number, not by the size of its argument. An argument that is shorter than
 * SLABLAB_*_SIZE_VER1 is EINVAL. An argument that is longer than the structure
 * that the module knows must end in zeros (else E2BIG). Fields marked (in) are
 * read, fields marked (out) are written. Unknown flags, and reserved fields that
 * are not zero, are EINVAL.
 *
 * Contents. pread(2) and pwrite(2) at SLABLAB_POSITION(handle, byte) read and
 * write the bytes of a block. A new block, and the bytes that SLABLAB_REALLOC
 * adds to a block, read as zeros. A position outside of a block is ENXIO. A
 * transfer that crosses the end of a block is short.
 *
 * Mappings. With SLABLAB_CAP_MMAP, mmap(2) with MAP_SHARED at the same position
 * maps pages of a block: from any of its pages to at most its last. The block
 * must begin at a page boundary and must not share its last page with another
 * block. Both are true if size and align are multiples of 4096. Bytes of the
 * last page behind the block's size are zero whenever the page is mapped.
 * SLABLAB_MMAP_POSITION(handle) is a second position of the first page, for
 * mmap(2) only. It fits the page offsets of 32-bit programs, which cannot reach
 * SLABLAB_POSITION. All structures are the same for 32-bit programs.
 *
 * A block with a mapped page cannot move: FREE and REALLOC of the block are
 * EBUSY, and the block counts in the quota. When the last of its pages is
 * unmapped, in every program, the block can be freed and moved again. Children
 * inherit mappings. mremap(2) moves a mapping, but never makes it longer.
 * munmap(2) of a part leaves a mapping, too. A session ends when no program has
 * the file open and no mapping is left.
 *
 * The kernel takes no reference to a mapped page, because the page may belong to
 * another program as soon as the mapping is removed. System calls that need such
 * a reference fail with EFAULT: futex(2) without FUTEX_PRIVATE_FLAG, read(2) and
 * write(2) of a file that is open with O_DIRECT, buffers that are registered
 * with io_uring(7), vmsplice(2), process_vm_readv(2). ptrace(2) and
 * /proc/PID/mem fail with EIO. System calls that copy work, and so do private
 * futexes.
 *
 * mmap(2) fails with ENODEV without the capability; EINVAL for MAP_PRIVATE and
 * for a block that shares a page; ENOENT if there is no block; ENXIO behind its
 * last page; EBUSY while the block is being moved; EPERM for PROT_EXEC; EACCES
 * if the access mode does not allow it; and ENOMEM.
 */
#ifndef _UAPI_SLABLAB_H
#define _UAPI_SLABLAB_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define SLABLAB_DEVICE "/dev/slablab"
#define SLABLAB_ABI_VERSION 1

/* An ioctl type that is unassigned in ioctl-number.rst of Linux 7.3. */
#define SLABLAB_IOC_TYPE 0xBB

enum slablab_command {
	SLABLAB_NR_INFO = 0x00,
	SLABLAB_NR_BIND = 0x01,
	SLABLAB_NR_ALLOC = 0x02,
	SLABLAB_NR_FREE = 0x03,
	SLABLAB_NR_REALLOC = 0x04,
	SLABLAB_NR_STATS = 0x05,
	SLABLAB_NR_CHECK = 0x06,
	SLABLAB_NR_EXTEND = 0x07,
	SLABLAB_NR_MAP = 0x08,
	SLABLAB_NR_SHRINK = 0x09,
	SLABLAB_NR_SUBMIT = 0x0a,
	SLABLAB_NR_BENCH = 0x0b,
	SLABLAB_NR_INJECT = 0x0c,
	SLABLAB_NR_REPORTS = 0x0d,
	SLABLAB_NR_FAIL = 0x0e,
	SLABLAB_NR_EVENTS = 0x0f,
	SLABLAB_NR_VIOLATION = 0x10,
};

enum slablab_engine {
	/* The module's default. */
	SLABLAB_ENGINE_DEFAULT = 0,
	/* Slabs over a buddy system, a textbook design: docs/seed-design.md. */
	SLABLAB_ENGINE_SEED = 1,
	/* Slabs and per-CPU magazines over a buddy system. */
	SLABLAB_ENGINE_HYBRID = 2,
	/* The kernel's own allocator, kvmalloc. */
	SLABLAB_ENGINE_SLUB = 3,
	/* The allocator that a learner writes, rust/student; in a module built with STUDENT=1. */
	SLABLAB_ENGINE_STUDENT = 4,
	/* Runs of 16-byte granules and per-CPU magazines; no slabs, no buddy system. */
	SLABLAB_ENGINE_EXTENT = 5,
};

/* Capabilities of an engine, in slablab_info.capabilities. */
/* Blocks have offsets in a pool; SLABLAB_CHECK, _EXTEND and _SHRINK work. */
#define SLABLAB_CAP_POOL (1U << 0)
/* SLABLAB_BIND_PRIVATE works. */
#define SLABLAB_CAP_PRIVATE (1U << 1)
/* SLABLAB_MAP works. */
#define SLABLAB_CAP_MAP (1U << 2)
/* mmap(2) of blocks works. */
#define SLABLAB_CAP_MMAP (1U << 3)

/* The path by which an engine served an operation. */
enum slablab_path {
	SLABLAB_PATH_NONE = 0,
	/* A free object of a slab. */
	SLABLAB_PATH_SLAB = 1,
	/* An object of a new slab, whose memory came from the buddy system. */
	SLABLAB_PATH_GROWTH = 2,
	/* A block of the buddy system. */
	SLABLAB_PATH_BUDDY = 3,
	/* The kernel's own allocator. */
	SLABLAB_PATH_KERNEL = 4,
	/* A REALLOC in place: the block did not move. */
	SLABLAB_PATH_IN_PLACE = 5,
	/* A magazine of the CPU. */
	SLABLAB_PATH_MAGAZINE = 6,
	/* A path of an engine that has neither slabs nor a buddy system. */
	SLABLAB_PATH_OTHER = 7,
	/* The depot, which exchanged blocks with a magazine of the CPU. */
	SLABLAB_PATH_DEPOT = 8,
};

/* The cause for which a request was refused. */
enum slablab_cause {
	SLABLAB_CAUSE_NONE = 0,
	/* The request would not fit into the pool if the pool were empty. */
	SLABLAB_CAUSE_TOO_BIG = 1,
	/* The pool has fewer free bytes than the request needs. */
	SLABLAB_CAUSE_EXHAUSTED = 2,
	/* The pool has enough free bytes, but no free block that is large enough. */
	SLABLAB_CAUSE_FRAGMENTED = 3,
	/* The request exceeds the session's quota of bytes or handles. */
	SLABLAB_CAUSE_QUOTA = 4,
	/* The engine does not support this combination of size and alignment. */
	SLABLAB_CAUSE_UNSUPPORTED = 5,
	/* There is no memory for the session's handle table. */
	SLABLAB_CAUSE_TABLES = 6,
	/* Fault injection: SLABLAB_FAIL. */
	SLABLAB_CAUSE_INJECTED = 7,
	/* The magazines of a CPU could not be flushed within 10 ms. */
	SLABLAB_CAUSE_BUSY = 8,
	/* The engine's allocator broke a rule and serves no more requests: SLABLAB_VIOLATION. */
	SLABLAB_CAUSE_FAULTY = 9,
};
#define SLABLAB_CAUSES 10

/* The value for "none" in slablab_cost.class_index, in .order and in .offset. */
#define SLABLAB_NO_CLASS 0xff
#define SLABLAB_NO_ORDER 0xff
#define SLABLAB_NO_OFFSET 0xffffffffffffffffULL
/* The value of slablab_cost.splits and .merges if the engine does not count them. */
#define SLABLAB_UNKNOWN 0xff

/*
 * An offset in the pool is a region number and a byte in that region:
 *
 *	 63      48 47                    0
 *	| region   | byte                  |
 */
#define SLABLAB_OFFSET_REGION_SHIFT 48

/*
 * The file position of a byte of a block:
 *
 *	 63  62        32 31             0
 *	| 0 | handle     | byte           |
 */
#define SLABLAB_POSITION_HANDLE_SHIFT 32
#define SLABLAB_POSITION(handle, byte) \
	(((__u64)(handle) << SLABLAB_POSITION_HANDLE_SHIFT) | (__u64)(byte))

/*
 * The file position of a block's first page, for mmap(2) only. It is below 2^44,
 * the limit of a 32-bit program's page offsets. No handle is so small that its
 * SLABLAB_POSITION is below 2^44, so the two kinds of positions are distinct.
 */
#define SLABLAB_MMAP_BASE (1ULL << 43)
#define SLABLAB_MMAP_HANDLE_SHIFT 12
#define SLABLAB_MMAP_POSITION(handle) \
	(SLABLAB_MMAP_BASE | ((__u64)(handle) << SLABLAB_MMAP_HANDLE_SHIFT))

/* How an engine served an operation, or the cause of its refusal. */
struct slablab_cost {
	__u8 path;		/* enum slablab_path */
	__u8 cause;		/* enum slablab_cause; NONE when served */
	__u8 class_index;	/* in slablab_stats.classes, or SLABLAB_NO_CLASS */
	__u8 order;		/* of the buddy block: log2 of its pages; or SLABLAB_NO_ORDER */
	__u8 splits;		/* of buddy blocks, saturating at 254, or SLABLAB_UNKNOWN */
	__u8 merges;		/* of buddies, saturating at 254, or SLABLAB_UNKNOWN */
	/*
	 * For SLABLAB_CAUSE_FRAGMENTED Linux's fragmentation index (mm/vmstat.c): near 0
	 * if little memory is free, near 1000 if free memory is in many pieces. Else 0.
	 */
	__u16 fragmentation;
};

struct slablab_info {
	__u32 flags;		/* (in) 0 */
	__u32 abi_version;	/* (out) SLABLAB_ABI_VERSION */
	__u32 engines;		/* (out) the available ones: bits 1 << enum slablab_engine */
	__u32 engine;		/* (out) the session's; the default before it is bound */
	__u32 capabilities;	/* (out) SLABLAB_CAP_* of that engine */
	__u32 bind_flags;	/* (out) SLABLAB_BIND_* of the session */
	__u64 pool_bytes;	/* (out) of the session's pool, or the limit of slub */
	__u32 regions;		/* (out) of the session's pool */
	__u32 page_bytes;	/* (out) */
	__u64 session_bytes_max;	/* (out) quota of each session */
	__u64 session_handles_max;	/* (out) quota of each session */
	__u64 private_bytes_max;	/* (out) of all private pools together, see below */
	__u64 private_bytes_used;	/* (out) */
	__u32 sessions_max;	/* (out) open files at once */
	__u32 sessions_used;	/* (out) */
	__u64 pool_charge;	/* (out) the share of the session's pool in private_bytes_used */
	__u64 session_memory_max;	/* (out) bytes of all sessions together, see below */
	__u64 session_memory_used;	/* (out) */
};
#define SLABLAB_INFO_SIZE_VER1 104

/*
 * Budgets. The module charges memory to a budget before it allocates the memory
 * for a call, and uncharges it after it frees the memory. A call that exceeds a
 * budget is refused at once, with the error in the last column. A call that would
 * leave less than an eighth of the machine's memory available is ENOMEM. Sizes
 * are those that the kernel allocates: whole pages, and 8 bytes for each page of
 * vmalloc.
 *
 * Budget "private", the parameter private_mib_total, in INFO private_bytes_*:
 *
 *   the region of a private pool                     BIND, EXTEND    EDQUOT
 *   a region that is added to a shared pool          EXTEND          EDQUOT
 *   the metadata of such a region (hybrid: 20 bytes  BIND, EXTEND    EDQUOT
 *     for each page), and the owner records of
 *     debug mode (3/8 of the region)
 *   the bitmaps of objects below 64 bytes in         ALLOC, REALLOC, none: the
 *     hybrid, in pieces from 64 bytes up               SUBMIT          block gets
 *                                                                      64 bytes
 *   the magazines of a private pool of hybrid or     BIND            EDQUOT
 *     extent, for all CPUs that the machine may have
 *   the structures of a private pool                 BIND            EDQUOT
 *   pool, metadata, structures, slots, samples and   BENCH           EDQUOT
 *     magazines of a benchmark
 *
 * Four budgets of sessions, in INFO session_memory_* their sum:
 *
 *   the structures of open files (sessions_max)      open            ENFILE
 *   handle tables, 64 bytes for each handle: four    ALLOC, SUBMIT   ENOMEM,
 *     full ones (the parameter session_handles)                  CAUSE_TABLES
 *     and 1024 handles for each session
 *   rings of events: 16 of 65,536 events             EVENTS          EDQUOT
 *   rings of events: 1024 for each session           EVENTS          -
 *
 * The blocks of slub count in its limit (the parameter pool_mib). A call also
 * takes up to 8 KiB until it returns, which is in no budget.
 */

/*
 * Chooses the session's engine and pool, once: EBUSY if the session is bound
 * already. The first request for memory that is not EINVAL binds an unbound
 * session to the shared pool of the default engine, also if the request is
 * refused. EDQUOT if the pool would exceed the budget "private".
 */
struct slablab_bind {
	__u32 engine;		/* (in) enum slablab_engine */
	__u32 flags;		/* (in) SLABLAB_BIND_* */
	__u64 pool_bytes;	/* (in) private: a multiple of 32 KiB, at most 4 GiB; else 0 */
	__u64 reserved[2];	/* (in) 0 */
};
#define SLABLAB_BIND_SIZE_VER1 32
/* A pool of the session's own, which ends with the session. */
#define SLABLAB_BIND_PRIVATE (1U << 0)
/*
 * With SLABLAB_BIND_PRIVATE: the pool is in debug mode. Each block has a red
 * zone on both sides, free memory is poisoned, and misuse is reported with its
 * owners: see struct slablab_report. The usable size of a block is its requested
 * size. A block is compared whole when it is allocated, and poisoned whole when
 * it is freed; no signal ends that. EOPNOTSUPP for an engine that has no pool, or
 * that writes more than the first 32 bytes of a free block, because those writes
 * would look like damage.
 */
#define SLABLAB_BIND_DEBUG (1U << 1)

struct slablab_alloc {
	__u64 size;		/* (in) bytes, at least 1 */
	__u64 align;		/* (in) bytes, a power of two */
	__u32 flags;		/* (in) 0 */
	__u32 handle;		/* (out) of the block in this session: 31 bits, never 0 */
	__u64 offset;		/* (out) in the pool, or SLABLAB_NO_OFFSET */
	__u64 usable;		/* (out) bytes of the block in the pool, at least size */
	struct slablab_cost cost;	/* (out) */
};
#define SLABLAB_ALLOC_SIZE_VER1 48

/*
 * Resizes a block. Handle and alignment do not change. The block may move in the
 * pool.
 */
struct slablab_realloc {
	__u32 handle;		/* (in) */
	__u32 flags;		/* (in) 0 */
	__u64 size;		/* (in) bytes, at least 1 */
	__u64 offset;		/* (out) */
	__u64 usable;		/* (out) */
	struct slablab_cost cost;	/* (out) */
};
#define SLABLAB_REALLOC_SIZE_VER1 40

/* Faults that debug mode detects. */
enum slablab_fault {
	SLABLAB_FAULT_NONE = 0,
	/* Bytes behind a block were written. Detected when the block is freed. */
	SLABLAB_FAULT_OVERFLOW = 1,
	/* Bytes in front of a block were written. Detected when the block is freed. */
	SLABLAB_FAULT_UNDERFLOW = 2,
	/* Free memory was written. Detected when the memory is allocated. */
	SLABLAB_FAULT_WRITE_AFTER_FREE = 3,
	/* A free block was freed. */
	SLABLAB_FAULT_DOUBLE_FREE = 4,
	/* An address inside of a block was freed. */
	SLABLAB_FAULT_INTERIOR_FREE = 5,
	/* An address outside of the pool was freed. */
	SLABLAB_FAULT_FOREIGN_FREE = 6,
	/* An address in the pool was freed at which no block has begun. */
	SLABLAB_FAULT_INVENTED_FREE = 7,
	/* An address was freed that is not a multiple of 8. */
	SLABLAB_FAULT_UNALIGNED_FREE = 8,
	/* A block was freed with a wrong size. */
	SLABLAB_FAULT_WRONG_SIZE_FREE = 9,
	/* A free block was reallocated. */
	SLABLAB_FAULT_REALLOC_AFTER_FREE = 10,
};
#define SLABLAB_FAULTS 16

struct slablab_class_stats {
	__u64 block_bytes;	/* (out) */
	__u64 total_blocks;	/* (out) */
	__u64 used_blocks;	/* (out) live */
	__u64 magazine_blocks;	/* (out) in magazines; the other free ones are in slabs */
	__u64 growths;		/* (out) times that the class grew */
};
#define SLABLAB_CLASSES_MAX 48

/*
 * Blocks with more than 2^(n-1) and at most 2^n pages. In SLABLAB_ENGINE_EXTENT,
 * blocks of up to 4096 bytes are in the statistics of the classes only.
 */
struct slablab_order_stats {
	__u64 used_blocks;	/* (out) live */
	__u64 magazine_blocks;	/* (out) in magazines */
	/*
	 * (out) in a buddy system, the free blocks of 2^n pages. In
	 * SLABLAB_ENGINE_EXTENT, the free runs of at least 2^n and less than
	 * 2^(n+1) pages.
	 */
	__u64 free_blocks;
};
#define SLABLAB_ORDERS_MAX 24

struct slablab_stats {
	__u32 flags;		/* (in) 0 */
	__u32 engine;		/* (out) */
	__u32 regions;		/* (out) */
	__u32 class_count;	/* (out) valid entries of classes */

	/* The results of the engine's functions of these names. */
	__u64 total_bytes;	/* (out) */
	__u64 used_bytes;	/* (out) */
	__u64 available_bytes;	/* (out) */

	/* Where each byte of the pool is: pool = live + cached + free. */
	__u64 pool_bytes;	/* (out) of all regions */
	__u64 live_bytes;	/* (out) in live blocks, whole blocks */
	__u64 cached_bytes;	/* (out) in free objects of slabs and in magazines */
	__u64 magazine_bytes;	/* (out) the part of cached_bytes in magazines */
	__u64 free_bytes;	/* (out) in the buddy system, or in free runs */
	/*
	 * The largest free block. In SLABLAB_ENGINE_EXTENT, the longest free run
	 * has less than 1/16 more, and less than 1/8 more if it is shorter than
	 * 8 KiB. 0 if the engine does not know it.
	 */
	__u64 largest_free_bytes;	/* (out) */
	/* In SLABLAB_ENGINE_EXTENT, the free runs shorter than a page. */
	__u64 short_free_runs;	/* (out) */
	__u64 short_free_bytes;	/* (out) */

	__u64 requested_bytes;	/* (out) requested sizes of the live blocks */
	__u64 live_blocks;	/* (out) */
	__u64 allocations;	/* (out) served since the pool began */
	__u64 frees;		/* (out) */
	__u64 refusals[SLABLAB_CAUSES];	/* (out) by the engine, per enum slablab_cause */

	__u64 buddy_user_bytes;	/* (out) requested from the buddy system */
	__u64 buddy_actual_bytes;	/* (out) allocated by it, powers of two */
	__u64 buddy_total_bytes;	/* (out) */

	/* Reports of debug mode, by enum slablab_fault. */
	__u64 reports[SLABLAB_FAULTS];	/* (out) */
	/* Damaged blocks in quarantine: never allocated again, counted as live. */
	__u64 quarantined_blocks;	/* (out) */
	__u64 quarantined_bytes;	/* (out) whole blocks */

	/* The share of this session. */
	__u64 session_blocks;	/* (out) live */
	__u64 session_bytes;	/* (out) charged to the quota */
	__u64 session_allocations;	/* (out) */
	__u64 session_frees;	/* (out) */
	__u64 session_reallocations;	/* (out) */
	__u64 session_refusals[SLABLAB_CAUSES];	/* (out) by the session or the engine */

	struct slablab_class_stats classes[SLABLAB_CLASSES_MAX];	/* (out) */
	/* Entry i is for blocks of order i; zeros if the engine has no such counts. */
	struct slablab_order_stats orders[SLABLAB_ORDERS_MAX];	/* (out) */
};
#define SLABLAB_STATS_SIZE_VER1 3000

/* The rules that SLABLAB_CHECK checks. */
enum slablab_rule {
	SLABLAB_RULE_NONE = 0,
	/* The length of a class's free list equals its counter. */
	SLABLAB_RULE_LIST_LENGTH = 1,
	/* A free block of a slab lies in one region of the pool. */
	SLABLAB_RULE_BLOCK_IN_POOL = 2,
	/* A free block of a slab is aligned to its size. */
	SLABLAB_RULE_BLOCK_ALIGNED = 3,
	/* A class has at most as many used blocks as blocks. */
	SLABLAB_RULE_CLASS_COUNTERS = 4,
	/* The memory of slabs was allocated by the buddy system. */
	SLABLAB_RULE_BUDDY_COUNTERS = 5,
	/* The bytes of the pool are the sum of the bytes of its regions. */
	SLABLAB_RULE_POOL_BYTES = 6,
	/* The counters of live blocks agree. */
	SLABLAB_RULE_LIVE_BLOCKS = 7,
	/* The blocks, or the runs, cover each region without gap or overlap. */
	SLABLAB_RULE_PARTITION = 8,
	/* A free block of the buddy system is aligned to its size. */
	SLABLAB_RULE_FREE_BLOCKS = 9,
	/* No two buddies are both free; no two free runs lie side by side. */
	SLABLAB_RULE_MERGED = 10,
	/* The counter of used objects of a slab equals its bitmap. */
	SLABLAB_RULE_BITMAP = 11,
	/* Free blocks, free runs and partial slabs are in the right lists or bins. */
	SLABLAB_RULE_LISTS = 12,
	/* Each block in a magazine was allocated from the heap once, within the limits. */
	SLABLAB_RULE_MAGAZINES = 13,
	/* In debug mode: the red zones of live blocks are unchanged. */
	SLABLAB_RULE_RED_ZONES = 14,
	/* In debug mode: the poison of free memory is unchanged. */
	SLABLAB_RULE_POISON = 15,
	/* The allocator of the engine keeps the rules of enum slablab_allocator_rule. */
	SLABLAB_RULE_ALLOCATOR = 16,
	/* The summary bits of the search for free runs agree with the entries. */
	SLABLAB_RULE_SUMMARY = 17,
	/* The counters of free memory agree with the free runs. */
	SLABLAB_RULE_FREE_COUNTERS = 18,
};

/*
 * Checks the metadata of the pool's engine, in steps, and returns the first
 * broken rule. EAGAIN if the pool changed during each of several attempts. In a
 * shared pool CHECK needs CAP_SYS_ADMIN, in the session's private pool it does
 * not. A signal ends the call, which is restarted or fails with EINTR.
 *
 * In debug mode CHECK also compares every byte of the pool: the red zones of all
 * live blocks, and all free memory except for bytes that the engine writes there
 * and for memory in quarantine. .offset is then the first wrong byte. CHECK
 * neither reports damage nor puts memory into quarantine: that happens when the
 * block is freed or the memory is allocated.
 */
struct slablab_check {
	__u32 flags;		/* (in) 0 */
	__u32 rule;		/* (out) enum slablab_rule */
	__u32 class_index;	/* (out) of the broken rule, or SLABLAB_NO_CLASS */
	__u32 reserved;		/* (in) 0 */
	__u64 offset;		/* (out) of the broken rule, or SLABLAB_NO_OFFSET */
	__u64 walked_blocks;	/* (out) free blocks that were checked */
};
#define SLABLAB_CHECK_SIZE_VER1 32

/*
 * Adds a region to the session's pool. Needs CAP_SYS_ADMIN. ENOSPC if the pool has
 * SLABLAB_REGIONS_MAX regions, EDQUOT if the region would exceed the budget "private".
 */
struct slablab_extend {
	__u64 bytes;		/* (in) a multiple of 32 KiB, at most 4 GiB */
	__u32 flags;		/* (in) 0 */
	__u32 region;		/* (out) the new region's number */
	__u64 pool_bytes;	/* (out) of the pool with the new region */
	__u64 reserved;		/* (in) 0 */
};
#define SLABLAB_EXTEND_SIZE_VER1 32
#define SLABLAB_REGIONS_MAX 16

/*
 * Returns cached memory of the session's pool to its buddy system: blocks in
 * magazines, and slabs without live objects. In a shared pool SHRINK needs
 * CAP_SYS_ADMIN, in the session's private pool it does not.
 */
struct slablab_shrink {
	__u32 flags;		/* (in) 0 */
	__u32 reserved;		/* (in) 0 */
	__u64 bytes;		/* (out) returned to the buddy system */
	__u64 free_bytes;	/* (out) of the pool afterwards */
};
#define SLABLAB_SHRINK_SIZE_VER1 24

/* The use of pages that follow each other. */
enum slablab_extent_kind {
	/* Free: a block of the buddy system, or the whole pages of a free run. */
	SLABLAB_EXTENT_FREE = 1,
	/*
	 * Live, or in a magazine: a block of whole pages, or the whole pages of
	 * a block. SLABLAB_ENGINE_STUDENT reports all live pages, of any blocks.
	 */
	SLABLAB_EXTENT_LARGE = 2,
	/* A slab: cut into objects of a class. */
	SLABLAB_EXTENT_SLAB = 3,
	/* One page that several blocks and free runs share. */
	SLABLAB_EXTENT_MIXED = 4,
};

/* Pages that follow each other and have one use. */
struct slablab_extent {
	__u32 page;		/* index of the first page in the region */
	__u32 pages;		/* number of pages */
	__u8 kind;		/* enum slablab_extent_kind */
	__u8 class_index;	/* of a slab, or SLABLAB_NO_CLASS */
	/*
	 * In a slab: the number of all objects. In a mixed page: the number of
	 * blocks that begin in the page, or 0 if the engine does not know it.
	 */
	__u16 objects;
	/*
	 * In a slab: the number of objects that are live or in a magazine. In a
	 * mixed page: the bytes that are live or in a magazine.
	 */
	__u16 used;
	__u16 largest_free;	/* of a mixed page: the bytes of the longest free run in the page */
};
#define SLABLAB_EXTENT_SIZE_VER1 16

/*
 * Writes the extents of a region that begin at .page or behind it, in order: one
 * for each block of pages. In engines whose blocks begin inside of pages, one for
 * the whole pages of a run, and one for each page of several runs. ENXIO if there is no such region, EOPNOTSUPP without
 * SLABLAB_CAP_MAP. In a shared pool MAP needs CAP_SYS_ADMIN, in the session's
 * private pool it does not.
 *
 * MAP drops the engine's lock between its steps. If the pool changes in the
 * meantime, the steps show different states of the pool, but no page is in the
 * map twice.
 */
struct slablab_map {
	__u32 flags;		/* (in) 0 */
	__u32 region;		/* (in) its number, below slablab_info.regions */
	__u32 page;		/* (in) the first page; (out) the next one, at the end the region's pages */
	__u32 count;		/* (in) size of the array, 1 to SLABLAB_MAP_EXTENTS_MAX; (out) extents written */
	__u64 extents;		/* (in) address of an array of struct slablab_extent */
	__u64 reserved;		/* (in) 0 */
};
#define SLABLAB_MAP_SIZE_VER1 32
#define SLABLAB_MAP_EXTENTS_MAX 4096

/* The operations of SLABLAB_SUBMIT. */
enum slablab_operation_kind {
	/* As SLABLAB_ALLOC. */
	SLABLAB_OP_ALLOC = 1,
	/* As SLABLAB_FREE. */
	SLABLAB_OP_FREE = 2,
	/* As SLABLAB_REALLOC. */
	SLABLAB_OP_REALLOC = 3,
	/* No operation, to measure the cost of the call. All other fields are 0. */
	SLABLAB_OP_NOP = 4,
};

/*
 * A flag of a FREE or a REALLOC: .handle is not a handle but the index of an
 * earlier ALLOC in the same call, and names the block of that ALLOC. When the
 * operation is completed, the module writes the block's handle to .handle and
 * clears the flag.
 */
#define SLABLAB_OP_EARLIER (1U << 0)

/*
 * An operation. A completed operation is written back. Of the first operation
 * that is not completed only .cost is written, with the cause. The operations
 * behind it are not written.
 */
struct slablab_operation {
	__u8 kind;		/* (in) enum slablab_operation_kind */
	__u8 align_log2;	/* (in) of an ALLOC: log2 of the alignment; else 0 */
	__u16 flags;		/* (in) SLABLAB_OP_EARLIER or 0 */
	__u32 handle;		/* (in) FREE and REALLOC; (out) */
	__u64 bytes;		/* (in) size, of a FREE 0; (out) usable size, of a FREE 0 */
	__u64 offset;		/* (out) ALLOC and REALLOC */
	struct slablab_cost cost;	/* (out) */
};
#define SLABLAB_OPERATION_SIZE_VER1 32

/*
 * Executes operations in order until one of them fails. .done is the number of
 * completed operations, which are written back. .error is the error number of
 * the first operation that was not completed and that changed nothing, or 0.
 *
 * .error is the error of the command for that one operation, and:
 * EINVAL for an unknown kind, unknown flags, a field that is not 0 but must be,
 * and SLABLAB_OP_EARLIER with an index that is no earlier ALLOC of the call.
 * EFAULT if the array ends early or cannot be written. Operations are read, and
 * their memory is tested, up to 64 at a time, before the first of these 64 is
 * executed. If the memory becomes inaccessible in the meantime, those ALLOCs and
 * REALLOCs of the 64 that cannot be written back are undone; their FREEs are not.
 * EINTR after a signal. SUBMIT looks for signals at least every 64 operations,
 * and before and after each REALLOC; for fatal signals also within large
 * operations. A call that a signal ends before it has completed an operation is
 * restarted or fails with EINTR.
 *
 * Only completed operations are written, and .cost of the first one that is not
 * completed, so other threads may store new operations behind it.
 *
 * The call itself fails only if no operation was tried, because of this
 * structure: EINVAL, or EFAULT, which is found by writing the structure back
 * first.
 */
struct slablab_submit {
	__u32 flags;		/* (in) 0 */
	__u32 count;		/* (in) 1 to SLABLAB_OPERATIONS_MAX */
	__u64 operations;	/* (in) address of an array of struct slablab_operation */
	__u32 done;		/* (out) */
	__u32 error;		/* (out) an error number, or 0 if all are completed */
};
#define SLABLAB_SUBMIT_SIZE_VER1 24
#define SLABLAB_OPERATIONS_MAX 4096

/* The allocators that SLABLAB_BENCH measures. Each exists only during the call. */
enum slablab_bench_subject {
	/* An allocator that does nothing: measures the cost of the loop. */
	SLABLAB_BENCH_NOTHING = 0,
	/* hybrid, through the interface that sessions use. */
	SLABLAB_BENCH_HYBRID = 1,
	/* seed, through the interface that sessions use. */
	SLABLAB_BENCH_SEED = 2,
	/* __kmalloc and kfree. */
	SLABLAB_BENCH_KMALLOC = 3,
	/* kmem_cache_alloc and kmem_cache_free, on a cache of objects of .size bytes. */
	SLABLAB_BENCH_KMEM_CACHE = 4,
	/* student, under a spinlock. EOPNOTSUPP if the module was built without STUDENT=1. */
	SLABLAB_BENCH_STUDENT = 5,
	/* extent, through the interface that sessions use. */
	SLABLAB_BENCH_EXTENT = 6,
};

/* The patterns of SLABLAB_BENCH, and what counts as one operation. */
enum slablab_bench_pattern {
	/*
	 * Allocates a block and frees it: one operation. .slots other blocks
	 * are live.
	 */
	SLABLAB_BENCH_PAIR = 0,
	/*
	 * Allocates .slots blocks and frees them, the last one first. One
	 * operation per block.
	 */
	SLABLAB_BENCH_LIFO = 1,
	/*
	 * Allocates .slots blocks and frees them, the first one first. One
	 * operation per block.
	 */
	SLABLAB_BENCH_FIFO = 2,
	/*
	 * Has .slots live blocks of .size_min to .size bytes. Each power of two
	 * is equally likely. Frees one block and allocates another: one
	 * operation.
	 */
	SLABLAB_BENCH_REPLACE = 3,
	/*
	 * Has .slots places, a random half of them with a live block. Frees the
	 * block of a random place, or allocates one there: one operation.
	 */
	SLABLAB_BENCH_CHURN = 4,
	/*
	 * Allocates .slots blocks and frees every other one, unmeasured. Frees
	 * one of the rest: one operation, so .count is at most half of .slots.
	 */
	SLABLAB_BENCH_FRAGMENTS = 5,
	/*
	 * One of two threads allocates .slots blocks while the other thread
	 * frees the previous .slots blocks. One operation per block and thread.
	 */
	SLABLAB_BENCH_HANDOVER = 6,
};

/*
 * Measures an allocator with a loop in the kernel. Needs CAP_SYS_ADMIN. Does not
 * use the session or its pool.
 *
 * The loop runs twice. The first run writes both ends of each block, verifies
 * them before the block is freed, and measures nothing. The second run measures
 * and verifies nothing. At the end all blocks are freed, and the engine is
 * checked.
 *
 * A measurement is a number of samples. A sample is a round of
 * .sample_operations, or a single operation. .min_ns to .max_ns are times of
 * samples. The time to read the clock is subtracted; the time of the loop is not,
 * and can be measured with SLABLAB_BENCH_NOTHING. A single operation during which
 * the timer ticked is counted in .operations and .disturbed, and is in no other
 * result.
 *
 * With .threads above 1, as many threads make the same call on the same file.
 * They share the allocator, and start when all of them have called (ETIMEDOUT
 * after 10 s). The fields from .span_ns on are of all threads together. If one
 * thread fails, the others fail with ECANCELED. EBUSY while threads wait for a
 * call with another argument. The call does not choose CPUs.
 *
 * .pool_bytes and the other memory of the call are charged to the budget
 * "private" (EDQUOT). ENOSPC if the pool may be too small for .slots + 1 blocks
 * for each thread, of .size bytes rounded up to a power of two. EOPNOTSUPP for a
 * kmem_cache with blocks of several sizes. A signal ends the call with EINTR.
 */
struct slablab_bench {
	__u32 subject;		/* (in) enum slablab_bench_subject */
	__u32 pattern;		/* (in) enum slablab_bench_pattern */
	__u32 flags;		/* (in) SLABLAB_BENCH_SINGLY */
	__u32 threads;		/* (in) 1 to SLABLAB_BENCH_THREADS_MAX; HANDOVER: 2 */
	__u64 pool_bytes;	/* (in) a multiple of 32 KiB, at most 4 GiB; limit of the live bytes */
	__u64 size;		/* (in) bytes of a block, 1 to SLABLAB_BENCH_SIZE_MAX */
	__u64 size_min;		/* (in) REPLACE: 1 to .size; else 0 */
	__u64 count;		/* (in) operations of each thread, 1 to SLABLAB_BENCH_COUNT_MAX */
	__u64 seed;		/* (in) of the random numbers */
	__u32 slots;		/* (in) 1 (PAIR: 0) to _SLOTS_MAX (LIFO, FIFO, HANDOVER: _ROUND) */
	__u32 reserved;		/* (in) 0 */

	__u64 operations;	/* (out) of this thread: .count, rounded to whole rounds */
	__u32 samples;		/* (out) */
	__u32 sample_operations;	/* (out) in a sample */
	__u64 total_ns;		/* (out) all samples */
	__u64 min_ns;		/* (out) the shortest sample */
	__u64 p50_ns;		/* (out) the median sample */
	__u64 p99_ns;		/* (out) the 99th percentile of the samples */
	__u64 max_ns;		/* (out) the longest sample */
	__u64 clock_ns;		/* (out) to read the clock, which is subtracted already */
	__u32 disturbed;	/* (out) samples with a timer tick */
	__u32 rule;		/* (out) enum slablab_rule of the check at the end */
	__u64 checked_blocks;	/* (out) verified */
	__u64 wrong_blocks;	/* (out) misaligned, overwritten, or not freed */
	__u64 refusals;		/* (out) allocations that were refused */

	__u64 span_ns;		/* (out) from the first begin to the last end */
	__u64 span_operations;	/* (out) measured in that time */
	__u64 lock_acquisitions;	/* (out) of the engine's lock in that time; 0 if it is not ours */
};
#define SLABLAB_BENCH_SIZE_VER1 184
/*
 * A sample is one operation (LIFO and FIFO: one allocation or one free).
 * FRAGMENTS always measures so.
 */
#define SLABLAB_BENCH_SINGLY (1U << 0)
#define SLABLAB_BENCH_THREADS_MAX 8
/* The number of operations between two checks for signals. */
#define SLABLAB_BENCH_ROUND 1024
#define SLABLAB_BENCH_SIZE_MAX (1U << 20)
#define SLABLAB_BENCH_SLOTS_MAX (1U << 18)
#define SLABLAB_BENCH_COUNT_MAX (1U << 27)
/* The maximum number of samples (else EINVAL). */
#define SLABLAB_BENCH_SAMPLES_MAX (1U << 18)

/* An operation on a pool in debug mode, and its process. */
struct slablab_owner {
	__u64 operation;	/* counted from 1 since the pool began; 0: unknown */
	__u32 pid;		/* the process, in the initial pid namespace */
	__u32 reserved;		/* 0 */
};
#define SLABLAB_OWNER_SIZE_VER1 16

/* A fault, with the block and its owners. */
struct slablab_report {
	__u64 number;		/* counted from 0 since the pool began */
	__u32 fault;		/* enum slablab_fault */
	__u32 reserved;		/* 0 */
	__u64 offset;		/* of the block, or of the freed address, or SLABLAB_NO_OFFSET */
	__u64 size;		/* requested size of the block, or 0 if there is no block */
	__u64 named_size;	/* size that the bad free or REALLOC passed */
	__s64 byte;		/* first written or freed byte, relative to the block */
	__u64 damaged_bytes;	/* number of changed bytes */
	struct slablab_owner allocated;	/* the last allocation of the block */
	struct slablab_owner freed;	/* the last free of the block, if it is free */
	struct slablab_owner noticed;	/* the operation that detected the fault */
};
#define SLABLAB_REPORT_SIZE_VER1 104

/*
 * The misuses of SLABLAB_INJECT. The names are those of LKDTM in Linux
 * (drivers/misc/lkdtm/heap.c) where LKDTM has the misuse.
 */
enum slablab_misuse {
	/* Writes the byte behind a block. */
	SLABLAB_MISUSE_SLAB_LINEAR_OVERFLOW = 1,
	/* Writes the 8 bytes behind a block. */
	SLABLAB_MISUSE_SLAB_LINEAR_OVERFLOW_8 = 2,
	/* Writes the 32 bytes behind a block. */
	SLABLAB_MISUSE_SLAB_LINEAR_OVERFLOW_32 = 3,
	/* Writes the byte behind a block of whole pages. */
	SLABLAB_MISUSE_VMALLOC_LINEAR_OVERFLOW = 4,
	/* Writes the 8 bytes in front of a block. */
	SLABLAB_MISUSE_SLAB_LINEAR_UNDERFLOW = 5,
	/* Writes into a free block. */
	SLABLAB_MISUSE_WRITE_AFTER_FREE = 6,
	/* Writes into a free block of whole pages. */
	SLABLAB_MISUSE_WRITE_BUDDY_AFTER_FREE = 7,
	/* Frees a block twice. */
	SLABLAB_MISUSE_SLAB_FREE_DOUBLE = 8,
	/* Frees a block, then other blocks, then the first block again. */
	SLABLAB_MISUSE_SLAB_FREE_DOUBLE_DELAYED = 9,
	/* Frees a block, allocates it again, and frees it for both of its owners. */
	SLABLAB_MISUSE_SLAB_FREE_DOUBLE_REUSED = 10,
	/* Frees an address in a block. */
	SLABLAB_MISUSE_SLAB_FREE_INTERIOR = 11,
	/* Frees an address outside of the pool. */
	SLABLAB_MISUSE_SLAB_FREE_FOREIGN = 12,
	/* Frees an address in the pool at which no block has begun. */
	SLABLAB_MISUSE_SLAB_FREE_INVENTED = 13,
	/* Frees an address that is not a multiple of 8. */
	SLABLAB_MISUSE_SLAB_FREE_UNALIGNED = 14,
	/* Frees a block with twice its size, as if to another cache. */
	SLABLAB_MISUSE_SLAB_FREE_CROSS = 15,
	/* Writes the 1 MiB behind a block, whose red zone is as long. */
	SLABLAB_MISUSE_SLAB_LINEAR_OVERFLOW_1M = 16,
	/* Reallocates a free block. */
	SLABLAB_MISUSE_REALLOC_AFTER_FREE = 17,
	/*
	 * Reads a byte of a free block. Debug mode does not detect reads and
	 * reports nothing. A kernel with KASAN reports it in the kernel log.
	 */
	SLABLAB_MISUSE_READ_AFTER_FREE = 18,
};

/*
 * Misuses a block in the session's own private pool in debug mode. The block is
 * allocated for the purpose and freed again; no other block and nothing outside
 * of the pool is written. Needs CAP_SYS_ADMIN. EOPNOTSUPP for any other pool.
 * ENOMEM if the block cannot be allocated, EAGAIN if another thread allocated the
 * block that was to be reused.
 *
 * .report.fault is SLABLAB_FAULT_NONE if the call did not detect the misuse. For
 * example, another thread may allocate the block after a write after free. The
 * report is then in SLABLAB_REPORTS.
 */
struct slablab_inject {
	__u32 misuse;		/* (in) enum slablab_misuse */
	__u32 flags;		/* (in) 0 */
	__u64 size;		/* (in) bytes of the block, at least 1; some misuses use more */
	struct slablab_report report;	/* (out) */
};
#define SLABLAB_INJECT_SIZE_VER1 120

/*
 * Writes the reports of debug mode from number .number on. Only the last
 * SLABLAB_REPORTS_KEPT reports of a pool are available. EOPNOTSUPP if the
 * session's pool is not in debug mode.
 */
struct slablab_reports {
	__u32 flags;		/* (in) 0 */
	__u32 count;		/* (in) size of the array, 1 to SLABLAB_REPORTS_KEPT; (out) reports written */
	__u64 number;		/* (in) the first report; (out) the number behind the last one */
	__u64 reports;		/* (in) address of an array of struct slablab_report */
	__u64 reserved;		/* (in) 0 */
};
#define SLABLAB_REPORTS_SIZE_VER1 32
#define SLABLAB_REPORTS_KEPT 16

/*
 * Fault injection: makes requests for memory fail, with ENOMEM and
 * SLABLAB_CAUSE_INJECTED, in a session with a private pool (else EOPNOTSUPP). A
 * refused request changes no block, but cached memory may have been reclaimed.
 * The call replaces the earlier settings and restarts their counts.
 *
 * .every counts ALLOCs, and REALLOCs that need another block, alone or in
 * SLABLAB_SUBMIT, unless they are refused before the engine is called. While it
 * is set, requests do not take the fast path. .growth counts the requests that
 * reach the engine's heap and need a new slab, because no slab of the class has a
 * free object. One growth is refused, later ones are not.
 *
 * slablab_stats.session_refusals counts both, .refusals counts .growth only.
 */
struct slablab_fail {
	__u32 flags;		/* (in) 0 */
	__u32 reserved;		/* (in) 0 */
	__u64 every;		/* (in) refuse each request with this interval; 0: none */
	__u64 growth;		/* (in) refuse this growth, 1 for the next one; 0: none */
	__u64 injected;		/* (out) requests refused so in this session */
};
#define SLABLAB_FAIL_SIZE_VER1 32

/* The kinds of events. The first have the numbers of enum slablab_operation_kind. */
enum slablab_event_kind {
	/* An invalid operation of a SUBMIT. */
	SLABLAB_EVENT_NONE = 0,
	SLABLAB_EVENT_ALLOC = 1,
	SLABLAB_EVENT_FREE = 2,
	SLABLAB_EVENT_REALLOC = 3,
	/* The block of an ALLOC was freed, because the reply could not be written. */
	SLABLAB_EVENT_REVOKE = 4,
};

/* slablab_event.align_log2 without an alignment, or if it is no power of two. */
#define SLABLAB_NO_ALIGN 0xff

/* An operation of a session. A field that does not apply is 0 or SLABLAB_NO_*. */
struct slablab_event {
	__u64 number;		/* counted from 0 since SLABLAB_EVENTS_BEGIN */
	__u64 time_ns;		/* CLOCK_MONOTONIC of the first time namespace */
	__u32 thread;		/* of the program, in the initial pid namespace */
	__u16 cpu;		/* on which the operation ran */
	__u8 kind;		/* enum slablab_event_kind */
	__u8 align_log2;	/* log2 of the alignment, or SLABLAB_NO_ALIGN */
	__u32 error;		/* error number of a refusal, or 0; EFAULT: executed and undone */
	__u32 handle;		/* of a refusal: as sent, 0 if EARLIER names no ALLOC; saturates */
	__u64 size;		/* requested; FREE and REVOKE: of the freed block */
	__u64 usable;		/* bytes of the block in the pool */
	__u64 offset;		/* in the pool, or SLABLAB_NO_OFFSET */
	struct slablab_cost cost;	/* as in the reply */
};
#define SLABLAB_EVENT_SIZE_VER1 64

enum slablab_events_op {
	/*
	 * Starts the recording of every ALLOC, FREE and REALLOC of the session,
	 * alone or in a SUBMIT, served or refused. The ring has room for the last
	 * .count events. EBUSY if the session is recorded already, EDQUOT if the
	 * rings of all sessions would exceed their budget (a ring of 1024 events
	 * is always available), ENOMEM. Binds the session as a request for memory
	 * does.
	 */
	SLABLAB_EVENTS_BEGIN = 1,
	/*
	 * Copies up to .count events from number .number on. ENXIO if the
	 * session is not recorded, EINVAL for a number beyond the next event. A
	 * signal ends the call early. If another thread ends the recording and
	 * begins a new one meanwhile, the result may contain events of both.
	 */
	SLABLAB_EVENTS_READ = 2,
	/* Ends the recording and frees its ring. ENXIO if the session is not recorded. */
	SLABLAB_EVENTS_END = 3,
};

/*
 * Records the operations of a session in a ring. Reading does not remove events;
 * .number returns the next number to read. A full ring overwrites its oldest
 * event; .lost counts the requested events that are overwritten.
 *
 * The events of a handle are in the order in which the block was allocated,
 * resized and freed, whichever threads did it. The free of a block comes before
 * the next allocation of its memory. A free is recorded at its begin and can be
 * read when it is completed; the events behind it can be read then, too. A call
 * that fails with EFAULT before it is tried, or with EINVAL for a field that must
 * be 0, is not recorded, except in SUBMIT as SLABLAB_EVENT_NONE. The frees at the
 * end of a session are not recorded.
 */
struct slablab_events {
	__u32 flags;		/* (in) 0 */
	__u32 op;		/* (in) enum slablab_events_op */
	__u32 count;		/* (in) 1 to SLABLAB_EVENTS_MAX, END: 0; (out) READ: events written */
	__u32 reserved;		/* (in) 0 */
	__u64 number;		/* (in) READ: the first event, else 0; (out) READ: the next one */
	__u64 events;		/* (in) READ: address of an array of struct slablab_event, else 0 */
	__u64 lost;		/* (out) READ */
};
#define SLABLAB_EVENTS_SIZE_VER1 40
#define SLABLAB_EVENTS_MAX 65536

/* The rules of the allocator of SLABLAB_ENGINE_STUDENT, and of the program that uses it. */
enum slablab_allocator_rule {
	SLABLAB_ALLOCATOR_NONE = 0,
	/* An access lies in the pool. */
	SLABLAB_ALLOCATOR_ACCESS_IN_POOL = 1,
	/* An access begins at a multiple of 8 bytes. */
	SLABLAB_ALLOCATOR_ACCESS_ALIGNED = 2,
	/* An access does not touch a live block. */
	SLABLAB_ALLOCATOR_ACCESS_OUTSIDE_OF_BLOCKS = 3,
	/* A call ends after at most 2^24 accesses. */
	SLABLAB_ALLOCATOR_CALL_ENDS = 4,
	/* A page note exists. */
	SLABLAB_ALLOCATOR_NOTE_EXISTS = 5,
	/* A new block lies in the pool. */
	SLABLAB_ALLOCATOR_BLOCK_IN_POOL = 6,
	/* A new block is aligned as requested. */
	SLABLAB_ALLOCATOR_BLOCK_ALIGNED = 7,
	/* A new block, or a block that grows, shares no byte with another live block. */
	SLABLAB_ALLOCATOR_BLOCK_DISJOINT = 8,
	/* The rules that the allocator's own check tests hold. */
	SLABLAB_ALLOCATOR_OWN_CHECK = 9,
	/* The program uses its own blocks only: the allocator reports a stray write. */
	SLABLAB_ALLOCATOR_PROGRAM_ERROR = 10,
};

/* A function of the allocator of SLABLAB_ENGINE_STUDENT. */
enum slablab_allocator_function {
	SLABLAB_FUNCTION_NONE = 0,
	SLABLAB_FUNCTION_NEW = 1,
	SLABLAB_FUNCTION_ALLOCATE = 2,
	SLABLAB_FUNCTION_FREE = 3,
	SLABLAB_FUNCTION_RESIZE = 4,
	SLABLAB_FUNCTION_CHECK = 5,
};

#define SLABLAB_SENTENCE_BYTES 64

/*
 * Returns the first rule that the allocator of the session's pool broke, and the
 * number of its accesses. After a broken rule every request is refused with EIO
 * and SLABLAB_CAUSE_FAULTY. EOPNOTSUPP for engines other than
 * SLABLAB_ENGINE_STUDENT. In a shared pool the call needs CAP_SYS_ADMIN.
 */
struct slablab_violation {
	__u32 flags;		/* (in) 0 */
	__u32 rule;		/* (out) enum slablab_allocator_rule */
	__u32 function;		/* (out) enum slablab_allocator_function */
	__u32 line;		/* (out) of rust/student/lib.rs, or 0 if the answer broke the rule */
	__u64 call;		/* (out) the number of the call, from 1; 0 for new */
	__u64 offset;		/* (out) of the access, block or overlap; for a note: page | note << 32 */
	__u64 accesses;		/* (out) of all calls, to the pool and to notes */
	__u8 sentence[SLABLAB_SENTENCE_BYTES];	/* (out) the allocator's own words; zeros after the end */
};
#define SLABLAB_VIOLATION_SIZE_VER1 104

#define SLABLAB_INFO _IOWR(SLABLAB_IOC_TYPE, SLABLAB_NR_INFO, struct slablab_info)
#define SLABLAB_BIND _IOWR(SLABLAB_IOC_TYPE, SLABLAB_NR_BIND, struct slablab_bind)
#define SLABLAB_ALLOC _IOWR(SLABLAB_IOC_TYPE, SLABLAB_NR_ALLOC, struct slablab_alloc)
/* Takes the handle by value. */
#define SLABLAB_FREE _IO(SLABLAB_IOC_TYPE, SLABLAB_NR_FREE)
#define SLABLAB_REALLOC _IOWR(SLABLAB_IOC_TYPE, SLABLAB_NR_REALLOC, struct slablab_realloc)
#define SLABLAB_STATS _IOWR(SLABLAB_IOC_TYPE, SLABLAB_NR_STATS, struct slablab_stats)
#define SLABLAB_CHECK _IOWR(SLABLAB_IOC_TYPE, SLABLAB_NR_CHECK, struct slablab_check)
#define SLABLAB_EXTEND _IOWR(SLABLAB_IOC_TYPE, SLABLAB_NR_EXTEND, struct slablab_extend)
#define SLABLAB_SHRINK _IOWR(SLABLAB_IOC_TYPE, SLABLAB_NR_SHRINK, struct slablab_shrink)
#define SLABLAB_MAP _IOWR(SLABLAB_IOC_TYPE, SLABLAB_NR_MAP, struct slablab_map)
#define SLABLAB_SUBMIT _IOWR(SLABLAB_IOC_TYPE, SLABLAB_NR_SUBMIT, struct slablab_submit)
#define SLABLAB_BENCH _IOWR(SLABLAB_IOC_TYPE, SLABLAB_NR_BENCH, struct slablab_bench)
#define SLABLAB_INJECT _IOWR(SLABLAB_IOC_TYPE, SLABLAB_NR_INJECT, struct slablab_inject)
#define SLABLAB_REPORTS _IOWR(SLABLAB_IOC_TYPE, SLABLAB_NR_REPORTS, struct slablab_reports)
#define SLABLAB_FAIL _IOWR(SLABLAB_IOC_TYPE, SLABLAB_NR_FAIL, struct slablab_fail)
#define SLABLAB_EVENTS _IOWR(SLABLAB_IOC_TYPE, SLABLAB_NR_EVENTS, struct slablab_events)
#define SLABLAB_VIOLATION _IOWR(SLABLAB_IOC_TYPE, SLABLAB_NR_VIOLATION, struct slablab_violation)

#endif /* _UAPI_SLABLAB_H */
