/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * slablab: the interface of /dev/slablab.
 *
 * Every open file is a session: it owns the blocks that it allocates, and
 * closing it frees them. Opening more than there may be is ENFILE.
 *
 * Commands that take a structure read it whole, once, and write it back when
 * they succeed. ALLOC and REALLOC also do so when they fail with ENOMEM, EDQUOT
 * or EOPNOTSUPP, so that the cause can be read. What fails changes nothing: what
 * was done and cannot be written back is undone, but for a block whose handle
 * the program guessed and uses meanwhile. SUBMIT does many operations and tells
 * how far it came.
 *
 * A command that changes a session or a pool needs a file that is open for
 * writing (EBADF): BIND, ALLOC, FREE, REALLOC, SUBMIT, EXTEND, SHRINK, FAIL,
 * INJECT, BENCH, and EVENTS unless it reads. INFO, STATS, MAP, CHECK, REPORTS
 * and the reading of EVENTS work on a file that is open in any way. So a file
 * that is open for reading alone never has a session, and so no blocks: who has
 * it can look at the pools and change nothing. pread(2) needs a file that is
 * open for reading, pwrite(2) one that is open for writing (EBADF), mmap(2) both
 * for PROT_WRITE and the former for all else (EACCES).
 *
 * A command that keeps others of a shared pool waiting, CHECK and SHRINK, and
 * one that tells of their blocks, MAP, needs CAP_SYS_ADMIN there (EPERM). In the
 * session's own private pool it does not. EXTEND, BENCH and INJECT always do.
 *
 * A fatal signal, which is one that ends the program without a core dump, ends
 * every call that copies or zeroes much within 16 MiB of that: ALLOC, REALLOC,
 * SUBMIT, BIND, EXTEND, pread(2), pwrite(2), mmap(2). The call has then changed
 * nothing, but for what SUBMIT and pwrite(2) had done before. Other signals end
 * SUBMIT, CHECK, MAP, BENCH, mmap(2) and the reading of EVENTS early, as each
 * says; ALLOC, REALLOC, BIND, EXTEND, pread(2) and pwrite(2) are completed.
 *
 * The numbers of threads and processes in events and reports are those of the
 * initial pid namespace, whatever namespace the reader is in: getpid(2) and
 * gettid(2) of a program in another namespace return other numbers.
 *
 * Structures may grow at their end. A command is told by its number, not by
 * the size of its argument: a shorter argument than SLABLAB_*_SIZE_VER1 is
 * EINVAL, one longer than the module knows must end in zeros (else E2BIG).
 * Fields marked (in) are read, (out) are written; unknown flags and reserved
 * fields that are not zero are EINVAL.
 *
 * The bytes of a block are read and written with pread(2) and pwrite(2) at
 * SLABLAB_POSITION(handle, byte). A new block, and what SLABLAB_REALLOC adds
 * to one, reads as zeros. Outside of a block is ENXIO; a transfer that runs
 * over the end of one is short.
 *
 * With SLABLAB_CAP_MMAP the pages of a block are mapped by mmap(2) at the same
 * position: MAP_SHARED, from any of its pages on, as many as it has from there.
 * The block has to begin at a page and to have its last page to itself: both
 * are so where size and align are multiples of 4096. What of the last page lies
 * behind the size is zeros whenever it is mapped. The first page is also at
 * SLABLAB_MMAP_POSITION(handle), which is for mmap(2) alone and fits the page
 * offsets of 32-bit programs: these map blocks from there, as SLABLAB_POSITION
 * is out of their reach. All structures are the same for 32-bit programs.
 *
 * As long as a page of a block is mapped, the block stays where it is: FREE and
 * REALLOC of it are EBUSY, and it counts in the quota. When the last of its
 * pages is unmapped, in every program, it can be freed and moved again. Children
 * inherit mappings; mremap(2) moves them, but never makes them longer; what is
 * left when munmap(2) removes a part is a mapping too. The session ends when
 * nobody has the file open any more and every mapping is gone.
 *
 * Only programs that have them mapped get at the pages. The kernel takes no
 * reference to a mapped page, because the page may be another program's as soon
 * as the mapping is gone. System calls that need a reference fail with EFAULT:
 * futex(2) without FUTEX_PRIVATE_FLAG, which names the page, read(2) and
 * write(2) of a file that is open with O_DIRECT, buffers that are registered
 * with io_uring(7), vmsplice(2), process_vm_readv(2); ptrace(2) and
 * /proc/PID/mem fail with EIO. System calls that copy work, and so do private
 * futexes.
 *
 * mmap(2) fails with ENODEV without the capability, EINVAL for MAP_PRIVATE and
 * for a block that has no pages to itself, ENOENT where there is no block,
 * ENXIO behind its last page, EBUSY while it is being moved, EPERM for
 * PROT_EXEC, EACCES for writing what was not opened for it, and ENOMEM.
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
};

enum slablab_engine {
	/* The module's default. */
	SLABLAB_ENGINE_DEFAULT = 0,
	/* Slabs over a buddy system, as the architecture document has it. */
	SLABLAB_ENGINE_SEED = 1,
	/* The seed's two tiers without its weaknesses. */
	SLABLAB_ENGINE_HYBRID = 2,
	/* Linux's own kvmalloc. */
	SLABLAB_ENGINE_SLUB = 3,
};

/* What an engine can do, in slablab_info.capabilities. */
/* Blocks have offsets in a pool; SLABLAB_CHECK, _EXTEND and _SHRINK work. */
#define SLABLAB_CAP_POOL (1U << 0)
/* SLABLAB_BIND_PRIVATE works. */
#define SLABLAB_CAP_PRIVATE (1U << 1)
/* SLABLAB_MAP works. */
#define SLABLAB_CAP_MAP (1U << 2)
/* mmap(2) of blocks works. */
#define SLABLAB_CAP_MMAP (1U << 3)

/* By which path a block came. */
enum slablab_path {
	SLABLAB_PATH_NONE = 0,
	/* A free block of the slab. */
	SLABLAB_PATH_SLAB = 1,
	/* The slab grew from the buddy system first. */
	SLABLAB_PATH_GROWTH = 2,
	/* A block of the buddy system. */
	SLABLAB_PATH_BUDDY = 3,
	/* The kernel's own allocator. */
	SLABLAB_PATH_KERNEL = 4,
	/* The block that was there: a REALLOC in place. */
	SLABLAB_PATH_IN_PLACE = 5,
	/* What the CPU keeps to itself. */
	SLABLAB_PATH_MAGAZINE = 6,
	/* A way of the engine's own: it has neither slabs nor a buddy system. */
	SLABLAB_PATH_OTHER = 7,
};

/* Why a request was refused. */
enum slablab_cause {
	SLABLAB_CAUSE_NONE = 0,
	/* More than the pool could hold if it were empty. */
	SLABLAB_CAUSE_TOO_BIG = 1,
	/* Less is free than was asked for. */
	SLABLAB_CAUSE_EXHAUSTED = 2,
	/* Enough is free, but not in one piece. */
	SLABLAB_CAUSE_FRAGMENTED = 3,
	/* The session's quota of bytes or handles. */
	SLABLAB_CAUSE_QUOTA = 4,
	/* The engine cannot serve such a size and alignment. */
	SLABLAB_CAUSE_UNSUPPORTED = 5,
	/* No memory for the session's own tables. */
	SLABLAB_CAUSE_TABLES = 6,
	/* SLABLAB_FAIL said so. */
	SLABLAB_CAUSE_INJECTED = 7,
	/* A CPU that may hold free memory could not be reached in 10 ms. */
	SLABLAB_CAUSE_BUSY = 8,
};
#define SLABLAB_CAUSES 9

/* "There is none" in slablab_cost.class_index and .order, and in .offset. */
#define SLABLAB_NO_CLASS 0xff
#define SLABLAB_NO_ORDER 0xff
#define SLABLAB_NO_OFFSET 0xffffffffffffffffULL
/* In slablab_cost.splits and .merges: the engine cannot tell. */
#define SLABLAB_UNKNOWN 0xff

/* An offset is the region's number and the byte in that region. */
#define SLABLAB_OFFSET_REGION_SHIFT 48

/* The file position of a byte of a block. */
#define SLABLAB_POSITION_HANDLE_SHIFT 32
#define SLABLAB_POSITION(handle, byte) \
	(((__u64)(handle) << SLABLAB_POSITION_HANDLE_SHIFT) | (__u64)(byte))

/*
 * The file position of a block's first page for mmap(2), which is below 2^44,
 * where the page offsets of a 32-bit program end. No handle is so small that
 * SLABLAB_POSITION is below 2^44, too.
 */
#define SLABLAB_MMAP_BASE (1ULL << 43)
#define SLABLAB_MMAP_HANDLE_SHIFT 12
#define SLABLAB_MMAP_POSITION(handle) \
	(SLABLAB_MMAP_BASE | ((__u64)(handle) << SLABLAB_MMAP_HANDLE_SHIFT))

/* How an operation was served, and what that cost. */
struct slablab_cost {
	__u8 path;		/* enum slablab_path */
	__u8 cause;		/* enum slablab_cause; NONE when served */
	__u8 class_index;	/* in slablab_stats.classes, or SLABLAB_NO_CLASS */
	__u8 order;		/* log2 of the bytes that the buddy system gave */
	__u8 splits;		/* of larger buddy blocks, up to 254, or SLABLAB_UNKNOWN */
	__u8 merges;		/* of buddies, up to 254, or SLABLAB_UNKNOWN */
	/*
	 * Of what was refused as fragmented, Linux's fragmentation index (mm/vmstat.c):
	 * near 0 because there is little, near 1000 because it is in many pieces. Else 0.
	 */
	__u16 fragmentation;
};

struct slablab_info {
	__u32 flags;		/* (in) 0 */
	__u32 abi_version;	/* (out) SLABLAB_ABI_VERSION */
	__u32 engines;		/* (out) bit 1 << slablab_engine for each there is */
	__u32 engine;		/* (out) the session's; the default when not bound */
	__u32 capabilities;	/* (out) of that engine: SLABLAB_CAP_* */
	__u32 bind_flags;	/* (out) SLABLAB_BIND_* of the session */
	__u64 pool_bytes;	/* (out) of the session's pool, or the engine's bound */
	__u32 regions;		/* (out) of the session's pool */
	__u32 page_bytes;	/* (out) */
	__u64 session_bytes_max;	/* (out) quota of each session */
	__u64 session_handles_max;	/* (out) quota of each session */
	__u64 private_bytes_max;	/* (out) of all private pools together, see below */
	__u64 private_bytes_used;	/* (out) */
	__u32 sessions_max;	/* (out) open files at once */
	__u32 sessions_used;	/* (out) */
	__u64 pool_charge;	/* (out) of private_bytes_used: what the session's pool takes */
	__u64 session_memory_max;	/* (out) bytes of all sessions together, see below */
	__u64 session_memory_used;	/* (out) */
};
#define SLABLAB_INFO_SIZE_VER1 104

/*
 * Memory that a call makes the module take is charged to a budget before it is
 * taken, and returned to the budget after it is freed. What a budget cannot
 * cover is refused at once, with the error in the last column. What would leave
 * others less than an eighth of the machine's memory is ENOMEM. Sizes are those
 * that the kernel allocates: whole pages, and 8 bytes for each page of vmalloc.
 *
 * Budget "private", the parameter private_mib_total, in INFO private_bytes_*:
 *
 *   the region of a private pool                     BIND, EXTEND    EDQUOT
 *   a region that is added to a shared pool          EXTEND          EDQUOT
 *   the engine's table of such a region (hybrid:     BIND, EXTEND    EDQUOT
 *     80 bytes for each page), and the records of
 *     debug mode (3/8 of the region)
 *   what each CPU keeps of a private hybrid pool,    BIND            EDQUOT
 *     for all CPUs that the machine may have
 *   the structures of a private pool                 BIND            EDQUOT
 *   pool, table, structures, slots and samples of    BENCH           EDQUOT
 *     a bench, and what each CPU keeps of its pool
 *
 * Sessions, in INFO session_memory_*, the sum of four budgets:
 *
 *   the structures of open files (sessions_max)      open            ENFILE
 *   tables of handles, 64 bytes for each: four       ALLOC, SUBMIT   ENOMEM,
 *     full ones (the parameter session_handles)                  CAUSE_TABLES
 *     and 1024 handles for each session
 *   rings of events: 16 of 65,536 events             EVENTS          EDQUOT
 *   rings of events: 1024 for each session           EVENTS          -
 *
 * The blocks of slub count against its pool's bound (the parameter pool_mib).
 * A call also takes up to 8 KiB for as long as it lasts, which is in no budget.
 */

/*
 * Chooses engine and pool, once, before anything is asked for: EBUSY after.
 * A session that asks for memory first, and does so rightly (not EINVAL), is
 * bound to the default engine's shared pool, whether it is served or not.
 * EDQUOT when all private pools together would take too much.
 */
struct slablab_bind {
	__u32 engine;		/* (in) enum slablab_engine */
	__u32 flags;		/* (in) SLABLAB_BIND_* */
	__u64 pool_bytes;	/* (in) of a private pool: a multiple of 32 KiB up to 4 GiB; else 0 */
	__u64 reserved[2];	/* (in) 0 */
};
#define SLABLAB_BIND_SIZE_VER1 32
/* A pool of the session's own, gone with it. */
#define SLABLAB_BIND_PRIVATE (1U << 0)
/*
 * With SLABLAB_BIND_PRIVATE: the pool is in debug mode. There is a red zone on
 * both sides of each block, free memory is poison, and misuse is reported, with
 * its owners: see struct slablab_report. A block's usable bytes are those that
 * were asked for. Each block is compared and poisoned whole when it is allocated
 * and when it is freed, which no signal ends. EOPNOTSUPP for an engine that has
 * no pool, or that writes more than the first 32 bytes of a free block: what it
 * writes there cannot be told from damage.
 */
#define SLABLAB_BIND_DEBUG (1U << 1)

struct slablab_alloc {
	__u64 size;		/* (in) bytes, at least 1 */
	__u64 align;		/* (in) bytes, a power of two */
	__u32 flags;		/* (in) 0 */
	__u32 handle;		/* (out) names the block in this session; 31 bits, never 0 */
	__u64 offset;		/* (out) in the pool, or SLABLAB_NO_OFFSET */
	__u64 usable;		/* (out) bytes that the engine set aside, at least size */
	struct slablab_cost cost;	/* (out) */
};
#define SLABLAB_ALLOC_SIZE_VER1 48

/* The block keeps its handle and its alignment, and may move in the pool. */
struct slablab_realloc {
	__u32 handle;		/* (in) */
	__u32 flags;		/* (in) 0 */
	__u64 size;		/* (in) bytes, at least 1 */
	__u64 offset;		/* (out) */
	__u64 usable;		/* (out) */
	struct slablab_cost cost;	/* (out) */
};
#define SLABLAB_REALLOC_SIZE_VER1 40

/* What debug mode finds wrong. */
enum slablab_fault {
	SLABLAB_FAULT_NONE = 0,
	/* Bytes behind a block were written: seen when it is freed. */
	SLABLAB_FAULT_OVERFLOW = 1,
	/* Bytes in front of a block were written: seen when it is freed. */
	SLABLAB_FAULT_UNDERFLOW = 2,
	/* Bytes of free memory were written: seen when it is handed out again. */
	SLABLAB_FAULT_WRITE_AFTER_FREE = 3,
	/* A block was freed that was free already. */
	SLABLAB_FAULT_DOUBLE_FREE = 4,
	/* An address inside of a block was freed. */
	SLABLAB_FAULT_INTERIOR_FREE = 5,
	/* An address was freed that is not in the pool. */
	SLABLAB_FAULT_FOREIGN_FREE = 6,
	/* An address in the pool was freed at which no block began. */
	SLABLAB_FAULT_INVENTED_FREE = 7,
	/* An address was freed that is no multiple of 8. */
	SLABLAB_FAULT_UNALIGNED_FREE = 8,
	/* A block was freed as one of another size. */
	SLABLAB_FAULT_WRONG_SIZE_FREE = 9,
	/* A block was reallocated that is free. */
	SLABLAB_FAULT_REALLOC_AFTER_FREE = 10,
};
#define SLABLAB_FAULTS 16

struct slablab_class_stats {
	__u64 block_bytes;	/* (out) */
	__u64 total_blocks;	/* (out) */
	__u64 used_blocks;	/* (out) that are out */
	__u64 magazine_blocks;	/* (out) that CPUs keep; the rest is in slabs */
	__u64 growths;		/* (out) times that the class took memory */
};
#define SLABLAB_CLASSES_MAX 40

/* Blocks of whole pages: of 2^n bytes, or of less but more than half as many. */
struct slablab_order_stats {
	__u64 used_blocks;	/* (out) that are out */
	__u64 magazine_blocks;	/* (out) that CPUs keep */
	__u64 free_blocks;	/* (out) of 2^n bytes, in the buddy system */
};
#define SLABLAB_ORDER_MIN 12
#define SLABLAB_ORDERS_MAX 24

struct slablab_stats {
	__u32 flags;		/* (in) 0 */
	__u32 engine;		/* (out) */
	__u32 regions;		/* (out) */
	__u32 class_count;	/* (out) how many of classes there are */

	/* What the engine's public functions of these names say. */
	__u64 total_bytes;	/* (out) */
	__u64 used_bytes;	/* (out) */
	__u64 available_bytes;	/* (out) */

	/* Where each byte of the pool is: pool = live + cached + free. */
	__u64 pool_bytes;	/* (out) given to the engine */
	__u64 live_bytes;	/* (out) in blocks that are out, whole blocks */
	__u64 cached_bytes;	/* (out) in free blocks of slabs, and kept by CPUs */
	__u64 magazine_bytes;	/* (out) of these, kept by CPUs */
	__u64 free_bytes;	/* (out) in the buddy system */

	__u64 requested_bytes;	/* (out) what the callers of the live blocks asked for */
	__u64 live_blocks;	/* (out) */
	__u64 allocations;	/* (out) served since the pool began */
	__u64 frees;		/* (out) */
	__u64 refusals[SLABLAB_CAUSES];	/* (out) by the engine, per enum slablab_cause */

	__u64 buddy_user_bytes;	/* (out) asked of the buddy system */
	__u64 buddy_actual_bytes;	/* (out) given by it, powers of two */
	__u64 buddy_total_bytes;	/* (out) */

	/* What debug mode noticed, by enum slablab_fault. */
	__u64 reports[SLABLAB_FAULTS];	/* (out) */
	/* Damaged blocks that nobody gets any more: of those that are live. */
	__u64 set_aside_blocks;	/* (out) */
	__u64 set_aside_bytes;	/* (out) whole blocks */

	/* This session's share. */
	__u64 session_blocks;	/* (out) live */
	__u64 session_bytes;	/* (out) charged to the quota */
	__u64 session_allocations;	/* (out) */
	__u64 session_frees;	/* (out) */
	__u64 session_reallocations;	/* (out) */
	__u64 session_refusals[SLABLAB_CAUSES];	/* (out) by session or engine */

	struct slablab_class_stats classes[SLABLAB_CLASSES_MAX];	/* (out) */
	/* From SLABLAB_ORDER_MIN on; zeros where the engine does not tell. */
	struct slablab_order_stats orders[SLABLAB_ORDERS_MAX];	/* (out) */
};
#define SLABLAB_STATS_SIZE_VER1 2640

/* Rules that SLABLAB_CHECK can find broken. */
enum slablab_rule {
	SLABLAB_RULE_NONE = 0,
	/* A class's free list is as long as its counters say, and ends. */
	SLABLAB_RULE_LIST_LENGTH = 1,
	/* A free block lies whole in one region of the pool. */
	SLABLAB_RULE_BLOCK_IN_POOL = 2,
	/* A free block lies at a multiple of its size. */
	SLABLAB_RULE_BLOCK_ALIGNED = 3,
	/* A class's used blocks are at most its total. */
	SLABLAB_RULE_CLASS_COUNTERS = 4,
	/* What slabs hold was given to them by the buddy system. */
	SLABLAB_RULE_BUDDY_COUNTERS = 5,
	/* The regions together are the pool. */
	SLABLAB_RULE_POOL_BYTES = 6,
	/* The blocks that the engine counts as out are those handed out. */
	SLABLAB_RULE_LIVE_BLOCKS = 7,
	/* The blocks cover the pool, one after the other. */
	SLABLAB_RULE_PARTITION = 8,
	/* A free block lies at a multiple of its size. */
	SLABLAB_RULE_FREE_BLOCKS = 9,
	/* No two buddies are both free. */
	SLABLAB_RULE_MERGED = 10,
	/* A slab has as many objects out as its bitmap says. */
	SLABLAB_RULE_BITMAP = 11,
	/* Free blocks and partial slabs are in the lists that they belong in. */
	SLABLAB_RULE_LISTS = 12,
	/* What CPUs keep was taken from the heap, once, and is no more than it may be. */
	SLABLAB_RULE_MAGAZINES = 13,
	/* In debug mode: the red zones of live blocks are as they were left. */
	SLABLAB_RULE_RED_ZONES = 14,
	/* In debug mode: free memory is poison. */
	SLABLAB_RULE_POISON = 15,
};

/*
 * Walks what the engine keeps, in steps, and names the first broken rule.
 * Needs a pool that is quiet while it is walked: EAGAIN when others kept on
 * changing it. The check of a shared pool needs CAP_SYS_ADMIN, that of the
 * session's private pool does not. A signal ends it; the call is restarted or
 * fails with EINTR.
 *
 * Of a pool in debug mode every byte is looked at besides: the red zones of all
 * live blocks, and all free memory but for what the engine itself writes there
 * and what is set aside. .offset is then the first byte that is wrong in that
 * place. Nothing is set aside for it: that happens when the block is freed or
 * the memory allocated, which is also when it is reported.
 */
struct slablab_check {
	__u32 flags;		/* (in) 0 */
	__u32 rule;		/* (out) enum slablab_rule */
	__u32 class_index;	/* (out) where, or SLABLAB_NO_CLASS */
	__u32 reserved;		/* (in) 0 */
	__u64 offset;		/* (out) where, or SLABLAB_NO_OFFSET */
	__u64 walked_blocks;	/* (out) free blocks that were looked at */
};
#define SLABLAB_CHECK_SIZE_VER1 32

/*
 * Adds a region to the session's pool. Needs CAP_SYS_ADMIN. ENOSPC when it has
 * SLABLAB_REGIONS_MAX, EDQUOT as for SLABLAB_BIND.
 */
struct slablab_extend {
	__u64 bytes;		/* (in) a multiple of 32 KiB up to 4 GiB */
	__u32 flags;		/* (in) 0 */
	__u32 region;		/* (out) the new region's number */
	__u64 pool_bytes;	/* (out) of the pool now */
	__u64 reserved;		/* (in) 0 */
};
#define SLABLAB_EXTEND_SIZE_VER1 32
#define SLABLAB_REGIONS_MAX 16

/*
 * Has the engine of the session's pool give back what it keeps against a quick
 * return: what stats call cached, as far as nothing of it is in use. In a shared
 * pool it needs CAP_SYS_ADMIN, in the session's private pool it does not.
 */
struct slablab_shrink {
	__u32 flags;		/* (in) 0 */
	__u32 reserved;		/* (in) 0 */
	__u64 bytes;		/* (out) that went back */
	__u64 free_bytes;	/* (out) of the pool now */
};
#define SLABLAB_SHRINK_SIZE_VER1 24

/* What a block of pages is. */
enum slablab_extent_kind {
	/* The buddy system has it. */
	SLABLAB_EXTENT_FREE = 1,
	/* It was handed out as it is, or is kept so by a CPU. */
	SLABLAB_EXTENT_LARGE = 2,
	/* It is cut into objects of a class. */
	SLABLAB_EXTENT_SLAB = 3,
};

/* A block of pages. */
struct slablab_extent {
	__u32 page;		/* the first one, counted from the region's first */
	__u32 pages;		/* how many */
	__u8 kind;		/* enum slablab_extent_kind */
	__u8 class_index;	/* of a slab, or SLABLAB_NO_CLASS */
	__u8 order;		/* log2 of the bytes of what is free, or SLABLAB_NO_ORDER */
	__u8 reserved;		/* 0 */
	__u16 objects;		/* that a slab has */
	__u16 used;		/* of those, how many are out, or kept by a CPU */
};
#define SLABLAB_EXTENT_SIZE_VER1 16

/*
 * Tells what the pages of a region of the session's pool are, in order, an
 * extent for each block of pages that begins at .page or behind it. ENXIO when
 * there is no such region, EOPNOTSUPP without SLABLAB_CAP_MAP. The map of a
 * shared pool needs CAP_SYS_ADMIN, that of the session's private pool does not.
 *
 * The lock is let go every now and then: while others change the pool, parts
 * of the map are of different moments, but no page is in it twice.
 */
struct slablab_map {
	__u32 flags;		/* (in) 0 */
	__u32 region;		/* (in) its number, below slablab_info.regions */
	__u32 page;		/* (in) the first page; (out) where to go on, the region's pages at its end */
	__u32 count;		/* (in) room, 1 to SLABLAB_MAP_EXTENTS_MAX; (out) extents written */
	__u64 extents;		/* (in) address of an array of struct slablab_extent */
	__u64 reserved;		/* (in) 0 */
};
#define SLABLAB_MAP_SIZE_VER1 32
#define SLABLAB_MAP_EXTENTS_MAX 4096

/* What an operation of SLABLAB_SUBMIT does. */
enum slablab_operation_kind {
	/* As SLABLAB_ALLOC. */
	SLABLAB_OP_ALLOC = 1,
	/* As SLABLAB_FREE. */
	SLABLAB_OP_FREE = 2,
	/* As SLABLAB_REALLOC. */
	SLABLAB_OP_REALLOC = 3,
	/* Nothing, successfully: all that is left is what a call costs. All else is 0. */
	SLABLAB_OP_NOP = 4,
};

/*
 * In slablab_operation.flags of a FREE or a REALLOC: .handle is not a handle
 * but the number of an earlier operation of the same call, an ALLOC whose block
 * is meant. When it is done, .handle is that block's and the flag is gone.
 */
#define SLABLAB_OP_EARLIER (1U << 0)

/*
 * An operation. It is written back when it is done; of the one that was not,
 * .cost is written, with the cause; those behind it are as they were.
 */
struct slablab_operation {
	__u8 kind;		/* (in) enum slablab_operation_kind */
	__u8 align_log2;	/* (in) of an ALLOC: log2 of the alignment; else 0 */
	__u16 flags;		/* (in) SLABLAB_OP_EARLIER or 0 */
	__u32 handle;		/* (in) FREE and REALLOC; (out) */
	__u64 bytes;		/* (in) size, of a FREE 0; (out) bytes set aside, of a FREE 0 */
	__u64 offset;		/* (out) ALLOC and REALLOC */
	struct slablab_cost cost;	/* (out) */
};
#define SLABLAB_OPERATION_SIZE_VER1 32

/*
 * Does operations, one after the other, until one is not served: .done says how
 * many were done, .error why it is not all of them. What .done counts is done,
 * and written back; the operation behind it changed nothing.
 *
 * .error is what the command for that one operation fails with: EINVAL also for
 * a kind that nobody knows, unknown flags and fields that are not 0 as they
 * should be, and for SLABLAB_OP_EARLIER with a number that is no earlier ALLOC
 * of the call. EFAULT when the array ends early or cannot be written:
 * operations are read, and tried for that, up to 64 at a time, before the first
 * of these is done. (If such memory goes away meanwhile the ALLOCs and REALLOCs
 * of these 64 that are not written back are undone, but their FREEs are not.)
 * Nothing but operations that were done is written, and .cost of the one that
 * was not: what other threads store in those behind it is left alone.
 * EINTR when a signal came: it is looked for at least every 64 operations, and
 * before and after each REALLOC; a fatal one also within large operations. A
 * call that a signal ends before anything was done is restarted or fails with
 * EINTR, as others do.
 *
 * The call itself fails when nothing was tried: for what is wrong with this
 * structure, EINVAL or EFAULT, which is found out by writing it back first.
 */
struct slablab_submit {
	__u32 flags;		/* (in) 0 */
	__u32 count;		/* (in) 1 to SLABLAB_OPERATIONS_MAX */
	__u64 operations;	/* (in) address of an array of struct slablab_operation */
	__u32 done;		/* (out) */
	__u32 error;		/* (out) an error number, or 0 when all are done */
};
#define SLABLAB_SUBMIT_SIZE_VER1 24
#define SLABLAB_OPERATIONS_MAX 4096
/* What SLABLAB_BENCH measures. Each is made for the call and gone with it. */
enum slablab_bench_subject {
	/* Nothing: a call that does no work. What the loop itself costs. */
	SLABLAB_BENCH_NOTHING = 0,
	/* hybrid, through functions that are called. */
	SLABLAB_BENCH_HYBRID = 1,
	/* hybrid, compiled into the loop. */
	SLABLAB_BENCH_HYBRID_INLINE = 2,
	/* seed under its lock, through functions that are called. */
	SLABLAB_BENCH_SEED = 3,
	/* __kmalloc and kfree. */
	SLABLAB_BENCH_KMALLOC = 4,
	/* kmem_cache_alloc and kmem_cache_free, on a cache of blocks of .size. */
	SLABLAB_BENCH_KMEM_CACHE = 5,
};

/* What SLABLAB_BENCH does, and what it calls an operation. */
enum slablab_bench_pattern {
	/*
	 * Allocates a block and frees it, one operation, while .slots others
	 * are out.
	 */
	SLABLAB_BENCH_PAIR = 0,
	/*
	 * Allocates .slots blocks and frees them, the last one first. A block
	 * is one operation.
	 */
	SLABLAB_BENCH_LIFO = 1,
	/* The same, the first one first. */
	SLABLAB_BENCH_FIFO = 2,
	/*
	 * Holds .slots blocks of .size_min to .size bytes, each doubling as
	 * likely as every other. Frees one and allocates another in its place:
	 * one operation.
	 */
	SLABLAB_BENCH_REPLACE = 3,
	/*
	 * Has .slots places, a random half of them with a block. Frees the
	 * block in a place, or allocates one where there is none: one
	 * operation.
	 */
	SLABLAB_BENCH_CHURN = 4,
	/*
	 * Allocates .slots blocks and frees every other one. Frees one of the
	 * rest: one operation. They are as many as that: .count is at most half
	 * of .slots.
	 */
	SLABLAB_BENCH_FRAGMENTS = 5,
	/*
	 * One of two threads allocates .slots blocks at once, while the other
	 * frees those before. A block is one operation of either.
	 */
	SLABLAB_BENCH_HANDOVER = 6,
};

/*
 * Measures an allocator with a loop in the kernel. Needs CAP_SYS_ADMIN, and
 * touches neither the session nor its pool.
 *
 * Everything is done twice. The first time the blocks are written at both ends
 * and looked at before they are freed, and nothing is measured; the second time
 * it is the other way round. At the end all is freed, and the engine's records
 * are walked.
 *
 * What is measured is a number of samples: rounds of .sample_operations, or
 * single operations. .min_ns to .max_ns are of samples; what reading the clock
 * costs is subtracted, what the loop costs is not: SLABLAB_BENCH_NOTHING tells.
 * A single operation during which the timer's tick was seen is left out of all
 * figures but .operations, and counted in .disturbed.
 *
 * With .threads above 1, as many threads make the same call on the same file,
 * and go on when they are all there (after 10 s without, ETIMEDOUT). They have
 * the allocator in common. What is below .span_ns is of all of them together.
 * When one fails, the others fail with ECANCELED. EBUSY while threads wait for
 * others with another argument. Which CPUs they are on is their own affair.
 *
 * .pool_bytes and what is needed besides is charged to the budget "private"
 * (EDQUOT). ENOSPC when one block more than .slots for each of .threads,
 * of .size bytes rounded up to a power of two, may not fit. EOPNOTSUPP for a kmem_cache of
 * blocks of several sizes. A signal ends the call with EINTR.
 */
struct slablab_bench {
	__u32 subject;		/* (in) enum slablab_bench_subject */
	__u32 pattern;		/* (in) enum slablab_bench_pattern */
	__u32 flags;		/* (in) SLABLAB_BENCH_SINGLY */
	__u32 threads;		/* (in) 1 to SLABLAB_BENCH_THREADS_MAX; HANDOVER has 2 */
	__u64 pool_bytes;	/* (in) a multiple of 32 KiB up to 4 GiB; the most that is out */
	__u64 size;		/* (in) bytes of a block, 1 to SLABLAB_BENCH_SIZE_MAX */
	__u64 size_min;		/* (in) REPLACE: 1 to .size; else 0 */
	__u64 count;		/* (in) operations of each thread, 1 to SLABLAB_BENCH_COUNT_MAX */
	__u64 seed;		/* (in) of what is done at random */
	__u32 slots;		/* (in) 1 to SLABLAB_BENCH_SLOTS_MAX; batches: to _ROUND; PAIR: from 0 */
	__u32 reserved;		/* (in) 0 */

	__u64 operations;	/* (out) of this thread: .count, in whole rounds where there are rounds */
	__u32 samples;		/* (out) */
	__u32 sample_operations;	/* (out) in a sample */
	__u64 total_ns;		/* (out) all samples */
	__u64 min_ns;		/* (out) the shortest sample */
	__u64 p50_ns;		/* (out) half of the samples were not longer */
	__u64 p99_ns;		/* (out) 99 of 100 were not longer */
	__u64 max_ns;		/* (out) the longest sample */
	__u64 clock_ns;		/* (out) to read the clock; subtracted already */
	__u32 disturbed;	/* (out) samples that were left out */
	__u32 rule;		/* (out) enum slablab_rule: broken at the end */
	__u64 checked_blocks;	/* (out) written and looked at */
	__u64 wrong_blocks;	/* (out) misaligned, changed by others, or not taken back */
	__u64 refusals;		/* (out) allocations that were not served */

	__u64 span_ns;		/* (out) from the first one's begin to the last one's end */
	__u64 span_operations;	/* (out) measured in that time */
	__u64 lock_acquisitions;	/* (out) of the engine's lock in that time, if it has one of ours */
};
#define SLABLAB_BENCH_SIZE_VER1 184
/*
 * A sample is one operation (LIFO and FIFO: an allocation, or a free). FRAGMENTS
 * has it always.
 */
#define SLABLAB_BENCH_SINGLY (1U << 0)
#define SLABLAB_BENCH_THREADS_MAX 8
/* The operations between two looks for signals. */
#define SLABLAB_BENCH_ROUND 1024
#define SLABLAB_BENCH_SIZE_MAX (1U << 20)
#define SLABLAB_BENCH_SLOTS_MAX (1U << 18)
#define SLABLAB_BENCH_COUNT_MAX (1U << 27)
/* The most samples; more are EINVAL. */
#define SLABLAB_BENCH_SAMPLES_MAX (1U << 18)

/* An operation on a pool in debug mode, and who did it. */
struct slablab_owner {
	__u64 operation;	/* counted from 1 since the pool began; 0 is nobody's */
	__u32 pid;		/* the process, in the initial pid namespace */
	__u32 reserved;		/* 0 */
};
#define SLABLAB_OWNER_SIZE_VER1 16

/* A fault, the block that it is about, and whose that was. */
struct slablab_report {
	__u64 number;		/* counted from 0 since the pool began */
	__u32 fault;		/* enum slablab_fault */
	__u32 reserved;		/* 0 */
	__u64 offset;		/* of the block; where there is none, what was freed, or SLABLAB_NO_OFFSET */
	__u64 size;		/* that was asked for, or 0 where there is no block */
	__u64 named_size;	/* of a bad free: the size that it named */
	__s64 byte;		/* the first one written, or freed, counted from the block's first */
	__u64 damaged_bytes;	/* that are not as they were left */
	struct slablab_owner allocated;	/* who allocated the block last */
	struct slablab_owner freed;	/* who freed it, if it is free */
	struct slablab_owner noticed;	/* whose operation noticed; a bad free notices itself */
};
#define SLABLAB_REPORT_SIZE_VER1 104

/*
 * What SLABLAB_INJECT does wrong, by the names of LKDTM in Linux
 * (drivers/misc/lkdtm/heap.c) as far as it has them.
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
	/* Writes into a block that is free. */
	SLABLAB_MISUSE_WRITE_AFTER_FREE = 6,
	/* Writes into a block of whole pages that is free. */
	SLABLAB_MISUSE_WRITE_BUDDY_AFTER_FREE = 7,
	/* Frees a block twice. */
	SLABLAB_MISUSE_SLAB_FREE_DOUBLE = 8,
	/* Frees a block, then others, then the first one again. */
	SLABLAB_MISUSE_SLAB_FREE_DOUBLE_DELAYED = 9,
	/* Frees a block again when it has been handed out again; its owner does so later. */
	SLABLAB_MISUSE_SLAB_FREE_DOUBLE_REUSED = 10,
	/* Frees an address in a block. */
	SLABLAB_MISUSE_SLAB_FREE_INTERIOR = 11,
	/* Frees an address that is not in the pool. */
	SLABLAB_MISUSE_SLAB_FREE_FOREIGN = 12,
	/* Frees an address in the pool at which no block ever began. */
	SLABLAB_MISUSE_SLAB_FREE_INVENTED = 13,
	/* Frees an address that is no multiple of 8. */
	SLABLAB_MISUSE_SLAB_FREE_UNALIGNED = 14,
	/* Frees a block as one of twice its size, as if into another cache. */
	SLABLAB_MISUSE_SLAB_FREE_CROSS = 15,
	/* Writes the 1 MiB behind a block, whose own red zone is as long. */
	SLABLAB_MISUSE_SLAB_LINEAR_OVERFLOW_1M = 16,
	/* Reallocates a block that is free. */
	SLABLAB_MISUSE_REALLOC_AFTER_FREE = 17,
	/*
	 * Reads a byte of a block that is free. Debug mode does not notice reads,
	 * and reports nothing. KASAN, in a kernel that has it, does so in the log.
	 */
	SLABLAB_MISUSE_READ_AFTER_FREE = 18,
};

/*
 * Does something wrong, in the session's own private pool in debug mode, to a
 * block that is allocated for the purpose and freed again: no other block, and
 * nothing outside of the pool, is written to. Needs CAP_SYS_ADMIN; EOPNOTSUPP
 * for any other pool. ENOMEM when there is no room for the block, EAGAIN when
 * one that was to be reused was reused by others.
 *
 * .report.fault is SLABLAB_FAULT_NONE if nothing was noticed, as of a write
 * after free when others had the block before it could be looked at: then the
 * report is theirs, and SLABLAB_REPORTS has it.
 */
struct slablab_inject {
	__u32 misuse;		/* (in) enum slablab_misuse */
	__u32 flags;		/* (in) 0 */
	__u64 size;		/* (in) bytes of the block, at least 1; some need more, and take it */
	struct slablab_report report;	/* (out) */
};
#define SLABLAB_INJECT_SIZE_VER1 120

/*
 * Tells what debug mode reported, as far as it is remembered: the last
 * SLABLAB_REPORTS_KEPT reports from number .number on. EOPNOTSUPP where the
 * session's pool is not in debug mode.
 */
struct slablab_reports {
	__u32 flags;		/* (in) 0 */
	__u32 count;		/* (in) room, 1 to SLABLAB_REPORTS_KEPT; (out) reports written */
	__u64 number;		/* (in) the first one wanted; (out) where to go on */
	__u64 reports;		/* (in) address of an array of struct slablab_report */
	__u64 reserved;		/* (in) 0 */
};
#define SLABLAB_REPORTS_SIZE_VER1 32
#define SLABLAB_REPORTS_KEPT 16

/*
 * Makes requests for memory fail, with ENOMEM and SLABLAB_CAUSE_INJECTED, in a
 * session that has a private pool (else EOPNOTSUPP). What is refused so has
 * changed no block; memory that was kept may have been given back. What was set
 * before is forgotten, and how far it had come.
 *
 * .every counts ALLOCs, and REALLOCs that need another block, alone or in
 * SLABLAB_SUBMIT, if they are not refused before the pool is asked. While it is
 * set none are served at once, which takes longer. .growth counts, of those that
 * reach the pool, each for which no slab of its class has a free block, so that
 * there must be a new slab. It is refused once, then the others are served.
 *
 * slablab_stats.session_refusals counts both, .refusals only the latter.
 */
struct slablab_fail {
	__u32 flags;		/* (in) 0 */
	__u32 reserved;		/* (in) 0 */
	__u64 every;		/* (in) from one that fails to the next; 0: none fails */
	__u64 growth;		/* (in) the growth that fails, 1 for the next one; 0: none */
	__u64 injected;		/* (out) refused so in this session until now */
};
#define SLABLAB_FAIL_SIZE_VER1 32

/* What an event tells of. The first are numbered as slablab_operation_kind. */
enum slablab_event_kind {
	/* Nothing: SUBMIT had an operation that is none. */
	SLABLAB_EVENT_NONE = 0,
	SLABLAB_EVENT_ALLOC = 1,
	SLABLAB_EVENT_FREE = 2,
	SLABLAB_EVENT_REALLOC = 3,
	/* The block of an ALLOC was taken back: the reply could not be written. */
	SLABLAB_EVENT_REVOKE = 4,
};

/* In slablab_event.align_log2: there is none, or it is no power of two. */
#define SLABLAB_NO_ALIGN 0xff

/* An operation of a session. What does not apply is 0, or "there is none". */
struct slablab_event {
	__u64 number;		/* counted from 0 since SLABLAB_EVENTS_BEGIN */
	__u64 time_ns;		/* CLOCK_MONOTONIC of the first time namespace */
	__u32 thread;		/* who did it, in the initial pid namespace */
	__u16 cpu;		/* and where */
	__u8 kind;		/* enum slablab_event_kind */
	__u8 align_log2;	/* log2 of the alignment, or SLABLAB_NO_ALIGN */
	__u32 error;		/* what it was refused with, or 0; EFAULT: done and undone */
	__u32 handle;		/* as sent where it was refused (0: SLABLAB_OP_EARLIER); 0xffffffff: more */
	__u64 size;		/* asked for; FREE and REVOKE: of the block that went */
	__u64 usable;		/* bytes set aside */
	__u64 offset;		/* in the pool, or SLABLAB_NO_OFFSET */
	struct slablab_cost cost;	/* as the program was told; FREE and REVOKE: likewise */
};
#define SLABLAB_EVENT_SIZE_VER1 64

enum slablab_events_op {
	/*
	 * Has every ALLOC, FREE and REALLOC of the session recorded from now on,
	 * alone or in a SUBMIT, served or refused: the last .count of them. EBUSY
	 * when they are recorded already, EDQUOT when all sessions together would
	 * have too much to record to (1024 events are always to be had), ENOMEM.
	 * Binds the session as a request for memory does.
	 */
	SLABLAB_EVENTS_BEGIN = 1,
	/*
	 * Copies out those that there are from number .number on, up to .count.
	 * ENXIO when none are recorded, EINVAL for a number that is yet to come.
	 * A signal ends it early. What is read while another thread ends this and
	 * begins anew may be of both recordings.
	 */
	SLABLAB_EVENTS_READ = 2,
	/* Forgets all of it, and records no more. ENXIO when none are recorded. */
	SLABLAB_EVENTS_END = 3,
};

/*
 * Records what a session does. Reading takes nothing away: .number says where
 * to go on. When there is no more room, the oldest event makes place for a new
 * one: .lost says how many of those that were asked for are gone.
 *
 * The events of a handle are in the order in which it came, changed and went,
 * whoever's threads did that. A block's free comes before the allocation of
 * another one in its place. A free is recorded at once and told when its cost
 * is known; those behind it wait for it. What fails with EFAULT before it is
 * tried, or with EINVAL for a field that must be 0, is no operation, except in
 * SUBMIT: there it is a SLABLAB_EVENT_NONE. The blocks that the end of a
 * session frees are not recorded.
 */
struct slablab_events {
	__u32 flags;		/* (in) 0 */
	__u32 op;		/* (in) enum slablab_events_op */
	__u32 count;		/* (in) 1 to SLABLAB_EVENTS_MAX, END: 0; (out) READ: events written */
	__u32 reserved;		/* (in) 0 */
	__u64 number;		/* (in) READ: the first one wanted, else 0; (out) READ: where to go on */
	__u64 events;		/* (in) READ: address of an array of struct slablab_event, else 0 */
	__u64 lost;		/* (out) READ */
};
#define SLABLAB_EVENTS_SIZE_VER1 40
#define SLABLAB_EVENTS_MAX 65536

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

#endif /* _UAPI_SLABLAB_H */
