// SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note

// Made by scripts/uapi.sh from slablab.h: change that.

pub const SLABLAB_DEVICE: &[u8; 13] = b"/dev/slablab\0";
pub const SLABLAB_ABI_VERSION: u32 = 1;
pub const SLABLAB_IOC_TYPE: u32 = 187;
pub const SLABLAB_CAP_POOL: u32 = 1;
pub const SLABLAB_CAP_PRIVATE: u32 = 2;
pub const SLABLAB_CAP_MAP: u32 = 4;
pub const SLABLAB_CAP_MMAP: u32 = 8;
pub const SLABLAB_CAUSES: u32 = 9;
pub const SLABLAB_NO_CLASS: u32 = 255;
pub const SLABLAB_NO_ORDER: u32 = 255;
pub const SLABLAB_NO_OFFSET: i32 = -1;
pub const SLABLAB_UNKNOWN: u32 = 255;
pub const SLABLAB_OFFSET_REGION_SHIFT: u32 = 48;
pub const SLABLAB_POSITION_HANDLE_SHIFT: u32 = 32;
pub const SLABLAB_MMAP_BASE: u64 = 8796093022208;
pub const SLABLAB_MMAP_HANDLE_SHIFT: u32 = 12;
pub const SLABLAB_INFO_SIZE_VER1: u32 = 104;
pub const SLABLAB_BIND_SIZE_VER1: u32 = 32;
pub const SLABLAB_BIND_PRIVATE: u32 = 1;
pub const SLABLAB_BIND_DEBUG: u32 = 2;
pub const SLABLAB_ALLOC_SIZE_VER1: u32 = 48;
pub const SLABLAB_REALLOC_SIZE_VER1: u32 = 40;
pub const SLABLAB_FAULTS: u32 = 16;
pub const SLABLAB_CLASSES_MAX: u32 = 40;
pub const SLABLAB_ORDERS_MAX: u32 = 24;
pub const SLABLAB_STATS_SIZE_VER1: u32 = 2640;
pub const SLABLAB_CHECK_SIZE_VER1: u32 = 32;
pub const SLABLAB_EXTEND_SIZE_VER1: u32 = 32;
pub const SLABLAB_REGIONS_MAX: u32 = 16;
pub const SLABLAB_SHRINK_SIZE_VER1: u32 = 24;
pub const SLABLAB_EXTENT_SIZE_VER1: u32 = 16;
pub const SLABLAB_MAP_SIZE_VER1: u32 = 32;
pub const SLABLAB_MAP_EXTENTS_MAX: u32 = 4096;
pub const SLABLAB_OP_EARLIER: u32 = 1;
pub const SLABLAB_OPERATION_SIZE_VER1: u32 = 32;
pub const SLABLAB_SUBMIT_SIZE_VER1: u32 = 24;
pub const SLABLAB_OPERATIONS_MAX: u32 = 4096;
pub const SLABLAB_BENCH_SIZE_VER1: u32 = 184;
pub const SLABLAB_BENCH_SINGLY: u32 = 1;
pub const SLABLAB_BENCH_THREADS_MAX: u32 = 8;
pub const SLABLAB_BENCH_ROUND: u32 = 1024;
pub const SLABLAB_BENCH_SIZE_MAX: u32 = 1048576;
pub const SLABLAB_BENCH_SLOTS_MAX: u32 = 262144;
pub const SLABLAB_BENCH_COUNT_MAX: u32 = 134217728;
pub const SLABLAB_BENCH_SAMPLES_MAX: u32 = 262144;
pub const SLABLAB_OWNER_SIZE_VER1: u32 = 16;
pub const SLABLAB_REPORT_SIZE_VER1: u32 = 104;
pub const SLABLAB_INJECT_SIZE_VER1: u32 = 120;
pub const SLABLAB_REPORTS_SIZE_VER1: u32 = 32;
pub const SLABLAB_REPORTS_KEPT: u32 = 16;
pub const SLABLAB_FAIL_SIZE_VER1: u32 = 32;
pub const SLABLAB_NO_ALIGN: u32 = 255;
pub const SLABLAB_EVENT_SIZE_VER1: u32 = 64;
pub const SLABLAB_EVENTS_SIZE_VER1: u32 = 40;
pub const SLABLAB_EVENTS_MAX: u32 = 65536;
pub const SLABLAB_INFO: u32 = 3228089088;
pub const SLABLAB_BIND: u32 = 3223370497;
pub const SLABLAB_ALLOC: u32 = 3224419074;
pub const SLABLAB_FREE: u32 = 47875;
pub const SLABLAB_REALLOC: u32 = 3223894788;
pub const SLABLAB_STATS: u32 = 3394288389;
pub const SLABLAB_CHECK: u32 = 3223370502;
pub const SLABLAB_EXTEND: u32 = 3223370503;
pub const SLABLAB_SHRINK: u32 = 3222846217;
pub const SLABLAB_MAP: u32 = 3223370504;
pub const SLABLAB_SUBMIT: u32 = 3222846218;
pub const SLABLAB_BENCH: u32 = 3233331979;
pub const SLABLAB_INJECT: u32 = 3229137676;
pub const SLABLAB_REPORTS: u32 = 3223370509;
pub const SLABLAB_FAIL: u32 = 3223370510;
pub const SLABLAB_EVENTS: u32 = 3223894799;
pub type __u8 = ::core::ffi::c_uchar;
pub type __u16 = ::core::ffi::c_ushort;
pub type __u32 = ::core::ffi::c_uint;
pub type __s64 = ::core::ffi::c_longlong;
pub type __u64 = ::core::ffi::c_ulonglong;
pub const SLABLAB_NR_INFO: slablab_command = 0;
pub const SLABLAB_NR_BIND: slablab_command = 1;
pub const SLABLAB_NR_ALLOC: slablab_command = 2;
pub const SLABLAB_NR_FREE: slablab_command = 3;
pub const SLABLAB_NR_REALLOC: slablab_command = 4;
pub const SLABLAB_NR_STATS: slablab_command = 5;
pub const SLABLAB_NR_CHECK: slablab_command = 6;
pub const SLABLAB_NR_EXTEND: slablab_command = 7;
pub const SLABLAB_NR_MAP: slablab_command = 8;
pub const SLABLAB_NR_SHRINK: slablab_command = 9;
pub const SLABLAB_NR_SUBMIT: slablab_command = 10;
pub const SLABLAB_NR_BENCH: slablab_command = 11;
pub const SLABLAB_NR_INJECT: slablab_command = 12;
pub const SLABLAB_NR_REPORTS: slablab_command = 13;
pub const SLABLAB_NR_FAIL: slablab_command = 14;
pub const SLABLAB_NR_EVENTS: slablab_command = 15;
pub type slablab_command = ::core::ffi::c_uint;
pub const SLABLAB_ENGINE_DEFAULT: slablab_engine = 0;
pub const SLABLAB_ENGINE_SEED: slablab_engine = 1;
pub const SLABLAB_ENGINE_HYBRID: slablab_engine = 2;
pub const SLABLAB_ENGINE_SLUB: slablab_engine = 3;
pub type slablab_engine = ::core::ffi::c_uint;
pub const SLABLAB_PATH_NONE: slablab_path = 0;
pub const SLABLAB_PATH_SLAB: slablab_path = 1;
pub const SLABLAB_PATH_GROWTH: slablab_path = 2;
pub const SLABLAB_PATH_BUDDY: slablab_path = 3;
pub const SLABLAB_PATH_KERNEL: slablab_path = 4;
pub const SLABLAB_PATH_IN_PLACE: slablab_path = 5;
pub const SLABLAB_PATH_MAGAZINE: slablab_path = 6;
pub const SLABLAB_PATH_OTHER: slablab_path = 7;
pub type slablab_path = ::core::ffi::c_uint;
pub const SLABLAB_CAUSE_NONE: slablab_cause = 0;
pub const SLABLAB_CAUSE_TOO_BIG: slablab_cause = 1;
pub const SLABLAB_CAUSE_EXHAUSTED: slablab_cause = 2;
pub const SLABLAB_CAUSE_FRAGMENTED: slablab_cause = 3;
pub const SLABLAB_CAUSE_QUOTA: slablab_cause = 4;
pub const SLABLAB_CAUSE_UNSUPPORTED: slablab_cause = 5;
pub const SLABLAB_CAUSE_TABLES: slablab_cause = 6;
pub const SLABLAB_CAUSE_INJECTED: slablab_cause = 7;
pub const SLABLAB_CAUSE_BUSY: slablab_cause = 8;
pub type slablab_cause = ::core::ffi::c_uint;
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct slablab_cost {
    pub path: __u8,
    pub cause: __u8,
    pub class_index: __u8,
    pub order: __u8,
    pub splits: __u8,
    pub merges: __u8,
    pub fragmentation: __u16,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of slablab_cost"][::core::mem::size_of::<slablab_cost>() - 8usize];
    ["Alignment of slablab_cost"][::core::mem::align_of::<slablab_cost>() - 2usize];
    ["Offset of field: slablab_cost::path"][::core::mem::offset_of!(slablab_cost, path) - 0usize];
    ["Offset of field: slablab_cost::cause"][::core::mem::offset_of!(slablab_cost, cause) - 1usize];
    ["Offset of field: slablab_cost::class_index"]
        [::core::mem::offset_of!(slablab_cost, class_index) - 2usize];
    ["Offset of field: slablab_cost::order"][::core::mem::offset_of!(slablab_cost, order) - 3usize];
    ["Offset of field: slablab_cost::splits"]
        [::core::mem::offset_of!(slablab_cost, splits) - 4usize];
    ["Offset of field: slablab_cost::merges"]
        [::core::mem::offset_of!(slablab_cost, merges) - 5usize];
    ["Offset of field: slablab_cost::fragmentation"]
        [::core::mem::offset_of!(slablab_cost, fragmentation) - 6usize];
};
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct slablab_info {
    pub flags: __u32,
    pub abi_version: __u32,
    pub engines: __u32,
    pub engine: __u32,
    pub capabilities: __u32,
    pub bind_flags: __u32,
    pub pool_bytes: __u64,
    pub regions: __u32,
    pub page_bytes: __u32,
    pub session_bytes_max: __u64,
    pub session_handles_max: __u64,
    pub private_bytes_max: __u64,
    pub private_bytes_used: __u64,
    pub sessions_max: __u32,
    pub sessions_used: __u32,
    pub pool_charge: __u64,
    pub session_memory_max: __u64,
    pub session_memory_used: __u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of slablab_info"][::core::mem::size_of::<slablab_info>() - 104usize];
    ["Alignment of slablab_info"][::core::mem::align_of::<slablab_info>() - 8usize];
    ["Offset of field: slablab_info::flags"][::core::mem::offset_of!(slablab_info, flags) - 0usize];
    ["Offset of field: slablab_info::abi_version"]
        [::core::mem::offset_of!(slablab_info, abi_version) - 4usize];
    ["Offset of field: slablab_info::engines"]
        [::core::mem::offset_of!(slablab_info, engines) - 8usize];
    ["Offset of field: slablab_info::engine"]
        [::core::mem::offset_of!(slablab_info, engine) - 12usize];
    ["Offset of field: slablab_info::capabilities"]
        [::core::mem::offset_of!(slablab_info, capabilities) - 16usize];
    ["Offset of field: slablab_info::bind_flags"]
        [::core::mem::offset_of!(slablab_info, bind_flags) - 20usize];
    ["Offset of field: slablab_info::pool_bytes"]
        [::core::mem::offset_of!(slablab_info, pool_bytes) - 24usize];
    ["Offset of field: slablab_info::regions"]
        [::core::mem::offset_of!(slablab_info, regions) - 32usize];
    ["Offset of field: slablab_info::page_bytes"]
        [::core::mem::offset_of!(slablab_info, page_bytes) - 36usize];
    ["Offset of field: slablab_info::session_bytes_max"]
        [::core::mem::offset_of!(slablab_info, session_bytes_max) - 40usize];
    ["Offset of field: slablab_info::session_handles_max"]
        [::core::mem::offset_of!(slablab_info, session_handles_max) - 48usize];
    ["Offset of field: slablab_info::private_bytes_max"]
        [::core::mem::offset_of!(slablab_info, private_bytes_max) - 56usize];
    ["Offset of field: slablab_info::private_bytes_used"]
        [::core::mem::offset_of!(slablab_info, private_bytes_used) - 64usize];
    ["Offset of field: slablab_info::sessions_max"]
        [::core::mem::offset_of!(slablab_info, sessions_max) - 72usize];
    ["Offset of field: slablab_info::sessions_used"]
        [::core::mem::offset_of!(slablab_info, sessions_used) - 76usize];
    ["Offset of field: slablab_info::pool_charge"]
        [::core::mem::offset_of!(slablab_info, pool_charge) - 80usize];
    ["Offset of field: slablab_info::session_memory_max"]
        [::core::mem::offset_of!(slablab_info, session_memory_max) - 88usize];
    ["Offset of field: slablab_info::session_memory_used"]
        [::core::mem::offset_of!(slablab_info, session_memory_used) - 96usize];
};
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct slablab_bind {
    pub engine: __u32,
    pub flags: __u32,
    pub pool_bytes: __u64,
    pub reserved: [__u64; 2usize],
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of slablab_bind"][::core::mem::size_of::<slablab_bind>() - 32usize];
    ["Alignment of slablab_bind"][::core::mem::align_of::<slablab_bind>() - 8usize];
    ["Offset of field: slablab_bind::engine"]
        [::core::mem::offset_of!(slablab_bind, engine) - 0usize];
    ["Offset of field: slablab_bind::flags"][::core::mem::offset_of!(slablab_bind, flags) - 4usize];
    ["Offset of field: slablab_bind::pool_bytes"]
        [::core::mem::offset_of!(slablab_bind, pool_bytes) - 8usize];
    ["Offset of field: slablab_bind::reserved"]
        [::core::mem::offset_of!(slablab_bind, reserved) - 16usize];
};
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct slablab_alloc {
    pub size: __u64,
    pub align: __u64,
    pub flags: __u32,
    pub handle: __u32,
    pub offset: __u64,
    pub usable: __u64,
    pub cost: slablab_cost,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of slablab_alloc"][::core::mem::size_of::<slablab_alloc>() - 48usize];
    ["Alignment of slablab_alloc"][::core::mem::align_of::<slablab_alloc>() - 8usize];
    ["Offset of field: slablab_alloc::size"][::core::mem::offset_of!(slablab_alloc, size) - 0usize];
    ["Offset of field: slablab_alloc::align"]
        [::core::mem::offset_of!(slablab_alloc, align) - 8usize];
    ["Offset of field: slablab_alloc::flags"]
        [::core::mem::offset_of!(slablab_alloc, flags) - 16usize];
    ["Offset of field: slablab_alloc::handle"]
        [::core::mem::offset_of!(slablab_alloc, handle) - 20usize];
    ["Offset of field: slablab_alloc::offset"]
        [::core::mem::offset_of!(slablab_alloc, offset) - 24usize];
    ["Offset of field: slablab_alloc::usable"]
        [::core::mem::offset_of!(slablab_alloc, usable) - 32usize];
    ["Offset of field: slablab_alloc::cost"]
        [::core::mem::offset_of!(slablab_alloc, cost) - 40usize];
};
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct slablab_realloc {
    pub handle: __u32,
    pub flags: __u32,
    pub size: __u64,
    pub offset: __u64,
    pub usable: __u64,
    pub cost: slablab_cost,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of slablab_realloc"][::core::mem::size_of::<slablab_realloc>() - 40usize];
    ["Alignment of slablab_realloc"][::core::mem::align_of::<slablab_realloc>() - 8usize];
    ["Offset of field: slablab_realloc::handle"]
        [::core::mem::offset_of!(slablab_realloc, handle) - 0usize];
    ["Offset of field: slablab_realloc::flags"]
        [::core::mem::offset_of!(slablab_realloc, flags) - 4usize];
    ["Offset of field: slablab_realloc::size"]
        [::core::mem::offset_of!(slablab_realloc, size) - 8usize];
    ["Offset of field: slablab_realloc::offset"]
        [::core::mem::offset_of!(slablab_realloc, offset) - 16usize];
    ["Offset of field: slablab_realloc::usable"]
        [::core::mem::offset_of!(slablab_realloc, usable) - 24usize];
    ["Offset of field: slablab_realloc::cost"]
        [::core::mem::offset_of!(slablab_realloc, cost) - 32usize];
};
pub const SLABLAB_FAULT_NONE: slablab_fault = 0;
pub const SLABLAB_FAULT_OVERFLOW: slablab_fault = 1;
pub const SLABLAB_FAULT_UNDERFLOW: slablab_fault = 2;
pub const SLABLAB_FAULT_WRITE_AFTER_FREE: slablab_fault = 3;
pub const SLABLAB_FAULT_DOUBLE_FREE: slablab_fault = 4;
pub const SLABLAB_FAULT_INTERIOR_FREE: slablab_fault = 5;
pub const SLABLAB_FAULT_FOREIGN_FREE: slablab_fault = 6;
pub const SLABLAB_FAULT_INVENTED_FREE: slablab_fault = 7;
pub const SLABLAB_FAULT_UNALIGNED_FREE: slablab_fault = 8;
pub const SLABLAB_FAULT_WRONG_SIZE_FREE: slablab_fault = 9;
pub const SLABLAB_FAULT_REALLOC_AFTER_FREE: slablab_fault = 10;
pub type slablab_fault = ::core::ffi::c_uint;
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct slablab_class_stats {
    pub block_bytes: __u64,
    pub total_blocks: __u64,
    pub used_blocks: __u64,
    pub magazine_blocks: __u64,
    pub growths: __u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of slablab_class_stats"][::core::mem::size_of::<slablab_class_stats>() - 40usize];
    ["Alignment of slablab_class_stats"][::core::mem::align_of::<slablab_class_stats>() - 8usize];
    ["Offset of field: slablab_class_stats::block_bytes"]
        [::core::mem::offset_of!(slablab_class_stats, block_bytes) - 0usize];
    ["Offset of field: slablab_class_stats::total_blocks"]
        [::core::mem::offset_of!(slablab_class_stats, total_blocks) - 8usize];
    ["Offset of field: slablab_class_stats::used_blocks"]
        [::core::mem::offset_of!(slablab_class_stats, used_blocks) - 16usize];
    ["Offset of field: slablab_class_stats::magazine_blocks"]
        [::core::mem::offset_of!(slablab_class_stats, magazine_blocks) - 24usize];
    ["Offset of field: slablab_class_stats::growths"]
        [::core::mem::offset_of!(slablab_class_stats, growths) - 32usize];
};
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct slablab_order_stats {
    pub used_blocks: __u64,
    pub magazine_blocks: __u64,
    pub free_blocks: __u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of slablab_order_stats"][::core::mem::size_of::<slablab_order_stats>() - 24usize];
    ["Alignment of slablab_order_stats"][::core::mem::align_of::<slablab_order_stats>() - 8usize];
    ["Offset of field: slablab_order_stats::used_blocks"]
        [::core::mem::offset_of!(slablab_order_stats, used_blocks) - 0usize];
    ["Offset of field: slablab_order_stats::magazine_blocks"]
        [::core::mem::offset_of!(slablab_order_stats, magazine_blocks) - 8usize];
    ["Offset of field: slablab_order_stats::free_blocks"]
        [::core::mem::offset_of!(slablab_order_stats, free_blocks) - 16usize];
};
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct slablab_stats {
    pub flags: __u32,
    pub engine: __u32,
    pub regions: __u32,
    pub class_count: __u32,
    pub total_bytes: __u64,
    pub used_bytes: __u64,
    pub available_bytes: __u64,
    pub pool_bytes: __u64,
    pub live_bytes: __u64,
    pub cached_bytes: __u64,
    pub magazine_bytes: __u64,
    pub free_bytes: __u64,
    pub requested_bytes: __u64,
    pub live_blocks: __u64,
    pub allocations: __u64,
    pub frees: __u64,
    pub refusals: [__u64; 9usize],
    pub buddy_user_bytes: __u64,
    pub buddy_actual_bytes: __u64,
    pub buddy_total_bytes: __u64,
    pub reports: [__u64; 16usize],
    pub quarantined_blocks: __u64,
    pub quarantined_bytes: __u64,
    pub session_blocks: __u64,
    pub session_bytes: __u64,
    pub session_allocations: __u64,
    pub session_frees: __u64,
    pub session_reallocations: __u64,
    pub session_refusals: [__u64; 9usize],
    pub classes: [slablab_class_stats; 40usize],
    pub orders: [slablab_order_stats; 24usize],
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of slablab_stats"][::core::mem::size_of::<slablab_stats>() - 2640usize];
    ["Alignment of slablab_stats"][::core::mem::align_of::<slablab_stats>() - 8usize];
    ["Offset of field: slablab_stats::flags"]
        [::core::mem::offset_of!(slablab_stats, flags) - 0usize];
    ["Offset of field: slablab_stats::engine"]
        [::core::mem::offset_of!(slablab_stats, engine) - 4usize];
    ["Offset of field: slablab_stats::regions"]
        [::core::mem::offset_of!(slablab_stats, regions) - 8usize];
    ["Offset of field: slablab_stats::class_count"]
        [::core::mem::offset_of!(slablab_stats, class_count) - 12usize];
    ["Offset of field: slablab_stats::total_bytes"]
        [::core::mem::offset_of!(slablab_stats, total_bytes) - 16usize];
    ["Offset of field: slablab_stats::used_bytes"]
        [::core::mem::offset_of!(slablab_stats, used_bytes) - 24usize];
    ["Offset of field: slablab_stats::available_bytes"]
        [::core::mem::offset_of!(slablab_stats, available_bytes) - 32usize];
    ["Offset of field: slablab_stats::pool_bytes"]
        [::core::mem::offset_of!(slablab_stats, pool_bytes) - 40usize];
    ["Offset of field: slablab_stats::live_bytes"]
        [::core::mem::offset_of!(slablab_stats, live_bytes) - 48usize];
    ["Offset of field: slablab_stats::cached_bytes"]
        [::core::mem::offset_of!(slablab_stats, cached_bytes) - 56usize];
    ["Offset of field: slablab_stats::magazine_bytes"]
        [::core::mem::offset_of!(slablab_stats, magazine_bytes) - 64usize];
    ["Offset of field: slablab_stats::free_bytes"]
        [::core::mem::offset_of!(slablab_stats, free_bytes) - 72usize];
    ["Offset of field: slablab_stats::requested_bytes"]
        [::core::mem::offset_of!(slablab_stats, requested_bytes) - 80usize];
    ["Offset of field: slablab_stats::live_blocks"]
        [::core::mem::offset_of!(slablab_stats, live_blocks) - 88usize];
    ["Offset of field: slablab_stats::allocations"]
        [::core::mem::offset_of!(slablab_stats, allocations) - 96usize];
    ["Offset of field: slablab_stats::frees"]
        [::core::mem::offset_of!(slablab_stats, frees) - 104usize];
    ["Offset of field: slablab_stats::refusals"]
        [::core::mem::offset_of!(slablab_stats, refusals) - 112usize];
    ["Offset of field: slablab_stats::buddy_user_bytes"]
        [::core::mem::offset_of!(slablab_stats, buddy_user_bytes) - 184usize];
    ["Offset of field: slablab_stats::buddy_actual_bytes"]
        [::core::mem::offset_of!(slablab_stats, buddy_actual_bytes) - 192usize];
    ["Offset of field: slablab_stats::buddy_total_bytes"]
        [::core::mem::offset_of!(slablab_stats, buddy_total_bytes) - 200usize];
    ["Offset of field: slablab_stats::reports"]
        [::core::mem::offset_of!(slablab_stats, reports) - 208usize];
    ["Offset of field: slablab_stats::quarantined_blocks"]
        [::core::mem::offset_of!(slablab_stats, quarantined_blocks) - 336usize];
    ["Offset of field: slablab_stats::quarantined_bytes"]
        [::core::mem::offset_of!(slablab_stats, quarantined_bytes) - 344usize];
    ["Offset of field: slablab_stats::session_blocks"]
        [::core::mem::offset_of!(slablab_stats, session_blocks) - 352usize];
    ["Offset of field: slablab_stats::session_bytes"]
        [::core::mem::offset_of!(slablab_stats, session_bytes) - 360usize];
    ["Offset of field: slablab_stats::session_allocations"]
        [::core::mem::offset_of!(slablab_stats, session_allocations) - 368usize];
    ["Offset of field: slablab_stats::session_frees"]
        [::core::mem::offset_of!(slablab_stats, session_frees) - 376usize];
    ["Offset of field: slablab_stats::session_reallocations"]
        [::core::mem::offset_of!(slablab_stats, session_reallocations) - 384usize];
    ["Offset of field: slablab_stats::session_refusals"]
        [::core::mem::offset_of!(slablab_stats, session_refusals) - 392usize];
    ["Offset of field: slablab_stats::classes"]
        [::core::mem::offset_of!(slablab_stats, classes) - 464usize];
    ["Offset of field: slablab_stats::orders"]
        [::core::mem::offset_of!(slablab_stats, orders) - 2064usize];
};
impl Default for slablab_stats {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const SLABLAB_RULE_NONE: slablab_rule = 0;
pub const SLABLAB_RULE_LIST_LENGTH: slablab_rule = 1;
pub const SLABLAB_RULE_BLOCK_IN_POOL: slablab_rule = 2;
pub const SLABLAB_RULE_BLOCK_ALIGNED: slablab_rule = 3;
pub const SLABLAB_RULE_CLASS_COUNTERS: slablab_rule = 4;
pub const SLABLAB_RULE_BUDDY_COUNTERS: slablab_rule = 5;
pub const SLABLAB_RULE_POOL_BYTES: slablab_rule = 6;
pub const SLABLAB_RULE_LIVE_BLOCKS: slablab_rule = 7;
pub const SLABLAB_RULE_PARTITION: slablab_rule = 8;
pub const SLABLAB_RULE_FREE_BLOCKS: slablab_rule = 9;
pub const SLABLAB_RULE_MERGED: slablab_rule = 10;
pub const SLABLAB_RULE_BITMAP: slablab_rule = 11;
pub const SLABLAB_RULE_LISTS: slablab_rule = 12;
pub const SLABLAB_RULE_MAGAZINES: slablab_rule = 13;
pub const SLABLAB_RULE_RED_ZONES: slablab_rule = 14;
pub const SLABLAB_RULE_POISON: slablab_rule = 15;
pub type slablab_rule = ::core::ffi::c_uint;
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct slablab_check {
    pub flags: __u32,
    pub rule: __u32,
    pub class_index: __u32,
    pub reserved: __u32,
    pub offset: __u64,
    pub walked_blocks: __u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of slablab_check"][::core::mem::size_of::<slablab_check>() - 32usize];
    ["Alignment of slablab_check"][::core::mem::align_of::<slablab_check>() - 8usize];
    ["Offset of field: slablab_check::flags"]
        [::core::mem::offset_of!(slablab_check, flags) - 0usize];
    ["Offset of field: slablab_check::rule"][::core::mem::offset_of!(slablab_check, rule) - 4usize];
    ["Offset of field: slablab_check::class_index"]
        [::core::mem::offset_of!(slablab_check, class_index) - 8usize];
    ["Offset of field: slablab_check::reserved"]
        [::core::mem::offset_of!(slablab_check, reserved) - 12usize];
    ["Offset of field: slablab_check::offset"]
        [::core::mem::offset_of!(slablab_check, offset) - 16usize];
    ["Offset of field: slablab_check::walked_blocks"]
        [::core::mem::offset_of!(slablab_check, walked_blocks) - 24usize];
};
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct slablab_extend {
    pub bytes: __u64,
    pub flags: __u32,
    pub region: __u32,
    pub pool_bytes: __u64,
    pub reserved: __u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of slablab_extend"][::core::mem::size_of::<slablab_extend>() - 32usize];
    ["Alignment of slablab_extend"][::core::mem::align_of::<slablab_extend>() - 8usize];
    ["Offset of field: slablab_extend::bytes"]
        [::core::mem::offset_of!(slablab_extend, bytes) - 0usize];
    ["Offset of field: slablab_extend::flags"]
        [::core::mem::offset_of!(slablab_extend, flags) - 8usize];
    ["Offset of field: slablab_extend::region"]
        [::core::mem::offset_of!(slablab_extend, region) - 12usize];
    ["Offset of field: slablab_extend::pool_bytes"]
        [::core::mem::offset_of!(slablab_extend, pool_bytes) - 16usize];
    ["Offset of field: slablab_extend::reserved"]
        [::core::mem::offset_of!(slablab_extend, reserved) - 24usize];
};
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct slablab_shrink {
    pub flags: __u32,
    pub reserved: __u32,
    pub bytes: __u64,
    pub free_bytes: __u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of slablab_shrink"][::core::mem::size_of::<slablab_shrink>() - 24usize];
    ["Alignment of slablab_shrink"][::core::mem::align_of::<slablab_shrink>() - 8usize];
    ["Offset of field: slablab_shrink::flags"]
        [::core::mem::offset_of!(slablab_shrink, flags) - 0usize];
    ["Offset of field: slablab_shrink::reserved"]
        [::core::mem::offset_of!(slablab_shrink, reserved) - 4usize];
    ["Offset of field: slablab_shrink::bytes"]
        [::core::mem::offset_of!(slablab_shrink, bytes) - 8usize];
    ["Offset of field: slablab_shrink::free_bytes"]
        [::core::mem::offset_of!(slablab_shrink, free_bytes) - 16usize];
};
pub const SLABLAB_EXTENT_FREE: slablab_extent_kind = 1;
pub const SLABLAB_EXTENT_LARGE: slablab_extent_kind = 2;
pub const SLABLAB_EXTENT_SLAB: slablab_extent_kind = 3;
pub type slablab_extent_kind = ::core::ffi::c_uint;
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct slablab_extent {
    pub page: __u32,
    pub pages: __u32,
    pub kind: __u8,
    pub class_index: __u8,
    pub order: __u8,
    pub reserved: __u8,
    pub objects: __u16,
    pub used: __u16,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of slablab_extent"][::core::mem::size_of::<slablab_extent>() - 16usize];
    ["Alignment of slablab_extent"][::core::mem::align_of::<slablab_extent>() - 4usize];
    ["Offset of field: slablab_extent::page"]
        [::core::mem::offset_of!(slablab_extent, page) - 0usize];
    ["Offset of field: slablab_extent::pages"]
        [::core::mem::offset_of!(slablab_extent, pages) - 4usize];
    ["Offset of field: slablab_extent::kind"]
        [::core::mem::offset_of!(slablab_extent, kind) - 8usize];
    ["Offset of field: slablab_extent::class_index"]
        [::core::mem::offset_of!(slablab_extent, class_index) - 9usize];
    ["Offset of field: slablab_extent::order"]
        [::core::mem::offset_of!(slablab_extent, order) - 10usize];
    ["Offset of field: slablab_extent::reserved"]
        [::core::mem::offset_of!(slablab_extent, reserved) - 11usize];
    ["Offset of field: slablab_extent::objects"]
        [::core::mem::offset_of!(slablab_extent, objects) - 12usize];
    ["Offset of field: slablab_extent::used"]
        [::core::mem::offset_of!(slablab_extent, used) - 14usize];
};
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct slablab_map {
    pub flags: __u32,
    pub region: __u32,
    pub page: __u32,
    pub count: __u32,
    pub extents: __u64,
    pub reserved: __u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of slablab_map"][::core::mem::size_of::<slablab_map>() - 32usize];
    ["Alignment of slablab_map"][::core::mem::align_of::<slablab_map>() - 8usize];
    ["Offset of field: slablab_map::flags"][::core::mem::offset_of!(slablab_map, flags) - 0usize];
    ["Offset of field: slablab_map::region"][::core::mem::offset_of!(slablab_map, region) - 4usize];
    ["Offset of field: slablab_map::page"][::core::mem::offset_of!(slablab_map, page) - 8usize];
    ["Offset of field: slablab_map::count"][::core::mem::offset_of!(slablab_map, count) - 12usize];
    ["Offset of field: slablab_map::extents"]
        [::core::mem::offset_of!(slablab_map, extents) - 16usize];
    ["Offset of field: slablab_map::reserved"]
        [::core::mem::offset_of!(slablab_map, reserved) - 24usize];
};
pub const SLABLAB_OP_ALLOC: slablab_operation_kind = 1;
pub const SLABLAB_OP_FREE: slablab_operation_kind = 2;
pub const SLABLAB_OP_REALLOC: slablab_operation_kind = 3;
pub const SLABLAB_OP_NOP: slablab_operation_kind = 4;
pub type slablab_operation_kind = ::core::ffi::c_uint;
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct slablab_operation {
    pub kind: __u8,
    pub align_log2: __u8,
    pub flags: __u16,
    pub handle: __u32,
    pub bytes: __u64,
    pub offset: __u64,
    pub cost: slablab_cost,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of slablab_operation"][::core::mem::size_of::<slablab_operation>() - 32usize];
    ["Alignment of slablab_operation"][::core::mem::align_of::<slablab_operation>() - 8usize];
    ["Offset of field: slablab_operation::kind"]
        [::core::mem::offset_of!(slablab_operation, kind) - 0usize];
    ["Offset of field: slablab_operation::align_log2"]
        [::core::mem::offset_of!(slablab_operation, align_log2) - 1usize];
    ["Offset of field: slablab_operation::flags"]
        [::core::mem::offset_of!(slablab_operation, flags) - 2usize];
    ["Offset of field: slablab_operation::handle"]
        [::core::mem::offset_of!(slablab_operation, handle) - 4usize];
    ["Offset of field: slablab_operation::bytes"]
        [::core::mem::offset_of!(slablab_operation, bytes) - 8usize];
    ["Offset of field: slablab_operation::offset"]
        [::core::mem::offset_of!(slablab_operation, offset) - 16usize];
    ["Offset of field: slablab_operation::cost"]
        [::core::mem::offset_of!(slablab_operation, cost) - 24usize];
};
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct slablab_submit {
    pub flags: __u32,
    pub count: __u32,
    pub operations: __u64,
    pub done: __u32,
    pub error: __u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of slablab_submit"][::core::mem::size_of::<slablab_submit>() - 24usize];
    ["Alignment of slablab_submit"][::core::mem::align_of::<slablab_submit>() - 8usize];
    ["Offset of field: slablab_submit::flags"]
        [::core::mem::offset_of!(slablab_submit, flags) - 0usize];
    ["Offset of field: slablab_submit::count"]
        [::core::mem::offset_of!(slablab_submit, count) - 4usize];
    ["Offset of field: slablab_submit::operations"]
        [::core::mem::offset_of!(slablab_submit, operations) - 8usize];
    ["Offset of field: slablab_submit::done"]
        [::core::mem::offset_of!(slablab_submit, done) - 16usize];
    ["Offset of field: slablab_submit::error"]
        [::core::mem::offset_of!(slablab_submit, error) - 20usize];
};
pub const SLABLAB_BENCH_NOTHING: slablab_bench_subject = 0;
pub const SLABLAB_BENCH_HYBRID: slablab_bench_subject = 1;
pub const SLABLAB_BENCH_SEED: slablab_bench_subject = 2;
pub const SLABLAB_BENCH_KMALLOC: slablab_bench_subject = 3;
pub const SLABLAB_BENCH_KMEM_CACHE: slablab_bench_subject = 4;
pub type slablab_bench_subject = ::core::ffi::c_uint;
pub const SLABLAB_BENCH_PAIR: slablab_bench_pattern = 0;
pub const SLABLAB_BENCH_LIFO: slablab_bench_pattern = 1;
pub const SLABLAB_BENCH_FIFO: slablab_bench_pattern = 2;
pub const SLABLAB_BENCH_REPLACE: slablab_bench_pattern = 3;
pub const SLABLAB_BENCH_CHURN: slablab_bench_pattern = 4;
pub const SLABLAB_BENCH_FRAGMENTS: slablab_bench_pattern = 5;
pub const SLABLAB_BENCH_HANDOVER: slablab_bench_pattern = 6;
pub type slablab_bench_pattern = ::core::ffi::c_uint;
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct slablab_bench {
    pub subject: __u32,
    pub pattern: __u32,
    pub flags: __u32,
    pub threads: __u32,
    pub pool_bytes: __u64,
    pub size: __u64,
    pub size_min: __u64,
    pub count: __u64,
    pub seed: __u64,
    pub slots: __u32,
    pub reserved: __u32,
    pub operations: __u64,
    pub samples: __u32,
    pub sample_operations: __u32,
    pub total_ns: __u64,
    pub min_ns: __u64,
    pub p50_ns: __u64,
    pub p99_ns: __u64,
    pub max_ns: __u64,
    pub clock_ns: __u64,
    pub disturbed: __u32,
    pub rule: __u32,
    pub checked_blocks: __u64,
    pub wrong_blocks: __u64,
    pub refusals: __u64,
    pub span_ns: __u64,
    pub span_operations: __u64,
    pub lock_acquisitions: __u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of slablab_bench"][::core::mem::size_of::<slablab_bench>() - 184usize];
    ["Alignment of slablab_bench"][::core::mem::align_of::<slablab_bench>() - 8usize];
    ["Offset of field: slablab_bench::subject"]
        [::core::mem::offset_of!(slablab_bench, subject) - 0usize];
    ["Offset of field: slablab_bench::pattern"]
        [::core::mem::offset_of!(slablab_bench, pattern) - 4usize];
    ["Offset of field: slablab_bench::flags"]
        [::core::mem::offset_of!(slablab_bench, flags) - 8usize];
    ["Offset of field: slablab_bench::threads"]
        [::core::mem::offset_of!(slablab_bench, threads) - 12usize];
    ["Offset of field: slablab_bench::pool_bytes"]
        [::core::mem::offset_of!(slablab_bench, pool_bytes) - 16usize];
    ["Offset of field: slablab_bench::size"]
        [::core::mem::offset_of!(slablab_bench, size) - 24usize];
    ["Offset of field: slablab_bench::size_min"]
        [::core::mem::offset_of!(slablab_bench, size_min) - 32usize];
    ["Offset of field: slablab_bench::count"]
        [::core::mem::offset_of!(slablab_bench, count) - 40usize];
    ["Offset of field: slablab_bench::seed"]
        [::core::mem::offset_of!(slablab_bench, seed) - 48usize];
    ["Offset of field: slablab_bench::slots"]
        [::core::mem::offset_of!(slablab_bench, slots) - 56usize];
    ["Offset of field: slablab_bench::reserved"]
        [::core::mem::offset_of!(slablab_bench, reserved) - 60usize];
    ["Offset of field: slablab_bench::operations"]
        [::core::mem::offset_of!(slablab_bench, operations) - 64usize];
    ["Offset of field: slablab_bench::samples"]
        [::core::mem::offset_of!(slablab_bench, samples) - 72usize];
    ["Offset of field: slablab_bench::sample_operations"]
        [::core::mem::offset_of!(slablab_bench, sample_operations) - 76usize];
    ["Offset of field: slablab_bench::total_ns"]
        [::core::mem::offset_of!(slablab_bench, total_ns) - 80usize];
    ["Offset of field: slablab_bench::min_ns"]
        [::core::mem::offset_of!(slablab_bench, min_ns) - 88usize];
    ["Offset of field: slablab_bench::p50_ns"]
        [::core::mem::offset_of!(slablab_bench, p50_ns) - 96usize];
    ["Offset of field: slablab_bench::p99_ns"]
        [::core::mem::offset_of!(slablab_bench, p99_ns) - 104usize];
    ["Offset of field: slablab_bench::max_ns"]
        [::core::mem::offset_of!(slablab_bench, max_ns) - 112usize];
    ["Offset of field: slablab_bench::clock_ns"]
        [::core::mem::offset_of!(slablab_bench, clock_ns) - 120usize];
    ["Offset of field: slablab_bench::disturbed"]
        [::core::mem::offset_of!(slablab_bench, disturbed) - 128usize];
    ["Offset of field: slablab_bench::rule"]
        [::core::mem::offset_of!(slablab_bench, rule) - 132usize];
    ["Offset of field: slablab_bench::checked_blocks"]
        [::core::mem::offset_of!(slablab_bench, checked_blocks) - 136usize];
    ["Offset of field: slablab_bench::wrong_blocks"]
        [::core::mem::offset_of!(slablab_bench, wrong_blocks) - 144usize];
    ["Offset of field: slablab_bench::refusals"]
        [::core::mem::offset_of!(slablab_bench, refusals) - 152usize];
    ["Offset of field: slablab_bench::span_ns"]
        [::core::mem::offset_of!(slablab_bench, span_ns) - 160usize];
    ["Offset of field: slablab_bench::span_operations"]
        [::core::mem::offset_of!(slablab_bench, span_operations) - 168usize];
    ["Offset of field: slablab_bench::lock_acquisitions"]
        [::core::mem::offset_of!(slablab_bench, lock_acquisitions) - 176usize];
};
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct slablab_owner {
    pub operation: __u64,
    pub pid: __u32,
    pub reserved: __u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of slablab_owner"][::core::mem::size_of::<slablab_owner>() - 16usize];
    ["Alignment of slablab_owner"][::core::mem::align_of::<slablab_owner>() - 8usize];
    ["Offset of field: slablab_owner::operation"]
        [::core::mem::offset_of!(slablab_owner, operation) - 0usize];
    ["Offset of field: slablab_owner::pid"][::core::mem::offset_of!(slablab_owner, pid) - 8usize];
    ["Offset of field: slablab_owner::reserved"]
        [::core::mem::offset_of!(slablab_owner, reserved) - 12usize];
};
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct slablab_report {
    pub number: __u64,
    pub fault: __u32,
    pub reserved: __u32,
    pub offset: __u64,
    pub size: __u64,
    pub named_size: __u64,
    pub byte: __s64,
    pub damaged_bytes: __u64,
    pub allocated: slablab_owner,
    pub freed: slablab_owner,
    pub noticed: slablab_owner,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of slablab_report"][::core::mem::size_of::<slablab_report>() - 104usize];
    ["Alignment of slablab_report"][::core::mem::align_of::<slablab_report>() - 8usize];
    ["Offset of field: slablab_report::number"]
        [::core::mem::offset_of!(slablab_report, number) - 0usize];
    ["Offset of field: slablab_report::fault"]
        [::core::mem::offset_of!(slablab_report, fault) - 8usize];
    ["Offset of field: slablab_report::reserved"]
        [::core::mem::offset_of!(slablab_report, reserved) - 12usize];
    ["Offset of field: slablab_report::offset"]
        [::core::mem::offset_of!(slablab_report, offset) - 16usize];
    ["Offset of field: slablab_report::size"]
        [::core::mem::offset_of!(slablab_report, size) - 24usize];
    ["Offset of field: slablab_report::named_size"]
        [::core::mem::offset_of!(slablab_report, named_size) - 32usize];
    ["Offset of field: slablab_report::byte"]
        [::core::mem::offset_of!(slablab_report, byte) - 40usize];
    ["Offset of field: slablab_report::damaged_bytes"]
        [::core::mem::offset_of!(slablab_report, damaged_bytes) - 48usize];
    ["Offset of field: slablab_report::allocated"]
        [::core::mem::offset_of!(slablab_report, allocated) - 56usize];
    ["Offset of field: slablab_report::freed"]
        [::core::mem::offset_of!(slablab_report, freed) - 72usize];
    ["Offset of field: slablab_report::noticed"]
        [::core::mem::offset_of!(slablab_report, noticed) - 88usize];
};
pub const SLABLAB_MISUSE_SLAB_LINEAR_OVERFLOW: slablab_misuse = 1;
pub const SLABLAB_MISUSE_SLAB_LINEAR_OVERFLOW_8: slablab_misuse = 2;
pub const SLABLAB_MISUSE_SLAB_LINEAR_OVERFLOW_32: slablab_misuse = 3;
pub const SLABLAB_MISUSE_VMALLOC_LINEAR_OVERFLOW: slablab_misuse = 4;
pub const SLABLAB_MISUSE_SLAB_LINEAR_UNDERFLOW: slablab_misuse = 5;
pub const SLABLAB_MISUSE_WRITE_AFTER_FREE: slablab_misuse = 6;
pub const SLABLAB_MISUSE_WRITE_BUDDY_AFTER_FREE: slablab_misuse = 7;
pub const SLABLAB_MISUSE_SLAB_FREE_DOUBLE: slablab_misuse = 8;
pub const SLABLAB_MISUSE_SLAB_FREE_DOUBLE_DELAYED: slablab_misuse = 9;
pub const SLABLAB_MISUSE_SLAB_FREE_DOUBLE_REUSED: slablab_misuse = 10;
pub const SLABLAB_MISUSE_SLAB_FREE_INTERIOR: slablab_misuse = 11;
pub const SLABLAB_MISUSE_SLAB_FREE_FOREIGN: slablab_misuse = 12;
pub const SLABLAB_MISUSE_SLAB_FREE_INVENTED: slablab_misuse = 13;
pub const SLABLAB_MISUSE_SLAB_FREE_UNALIGNED: slablab_misuse = 14;
pub const SLABLAB_MISUSE_SLAB_FREE_CROSS: slablab_misuse = 15;
pub const SLABLAB_MISUSE_SLAB_LINEAR_OVERFLOW_1M: slablab_misuse = 16;
pub const SLABLAB_MISUSE_REALLOC_AFTER_FREE: slablab_misuse = 17;
pub const SLABLAB_MISUSE_READ_AFTER_FREE: slablab_misuse = 18;
pub type slablab_misuse = ::core::ffi::c_uint;
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct slablab_inject {
    pub misuse: __u32,
    pub flags: __u32,
    pub size: __u64,
    pub report: slablab_report,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of slablab_inject"][::core::mem::size_of::<slablab_inject>() - 120usize];
    ["Alignment of slablab_inject"][::core::mem::align_of::<slablab_inject>() - 8usize];
    ["Offset of field: slablab_inject::misuse"]
        [::core::mem::offset_of!(slablab_inject, misuse) - 0usize];
    ["Offset of field: slablab_inject::flags"]
        [::core::mem::offset_of!(slablab_inject, flags) - 4usize];
    ["Offset of field: slablab_inject::size"]
        [::core::mem::offset_of!(slablab_inject, size) - 8usize];
    ["Offset of field: slablab_inject::report"]
        [::core::mem::offset_of!(slablab_inject, report) - 16usize];
};
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct slablab_reports {
    pub flags: __u32,
    pub count: __u32,
    pub number: __u64,
    pub reports: __u64,
    pub reserved: __u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of slablab_reports"][::core::mem::size_of::<slablab_reports>() - 32usize];
    ["Alignment of slablab_reports"][::core::mem::align_of::<slablab_reports>() - 8usize];
    ["Offset of field: slablab_reports::flags"]
        [::core::mem::offset_of!(slablab_reports, flags) - 0usize];
    ["Offset of field: slablab_reports::count"]
        [::core::mem::offset_of!(slablab_reports, count) - 4usize];
    ["Offset of field: slablab_reports::number"]
        [::core::mem::offset_of!(slablab_reports, number) - 8usize];
    ["Offset of field: slablab_reports::reports"]
        [::core::mem::offset_of!(slablab_reports, reports) - 16usize];
    ["Offset of field: slablab_reports::reserved"]
        [::core::mem::offset_of!(slablab_reports, reserved) - 24usize];
};
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct slablab_fail {
    pub flags: __u32,
    pub reserved: __u32,
    pub every: __u64,
    pub growth: __u64,
    pub injected: __u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of slablab_fail"][::core::mem::size_of::<slablab_fail>() - 32usize];
    ["Alignment of slablab_fail"][::core::mem::align_of::<slablab_fail>() - 8usize];
    ["Offset of field: slablab_fail::flags"][::core::mem::offset_of!(slablab_fail, flags) - 0usize];
    ["Offset of field: slablab_fail::reserved"]
        [::core::mem::offset_of!(slablab_fail, reserved) - 4usize];
    ["Offset of field: slablab_fail::every"][::core::mem::offset_of!(slablab_fail, every) - 8usize];
    ["Offset of field: slablab_fail::growth"]
        [::core::mem::offset_of!(slablab_fail, growth) - 16usize];
    ["Offset of field: slablab_fail::injected"]
        [::core::mem::offset_of!(slablab_fail, injected) - 24usize];
};
pub const SLABLAB_EVENT_NONE: slablab_event_kind = 0;
pub const SLABLAB_EVENT_ALLOC: slablab_event_kind = 1;
pub const SLABLAB_EVENT_FREE: slablab_event_kind = 2;
pub const SLABLAB_EVENT_REALLOC: slablab_event_kind = 3;
pub const SLABLAB_EVENT_REVOKE: slablab_event_kind = 4;
pub type slablab_event_kind = ::core::ffi::c_uint;
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct slablab_event {
    pub number: __u64,
    pub time_ns: __u64,
    pub thread: __u32,
    pub cpu: __u16,
    pub kind: __u8,
    pub align_log2: __u8,
    pub error: __u32,
    pub handle: __u32,
    pub size: __u64,
    pub usable: __u64,
    pub offset: __u64,
    pub cost: slablab_cost,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of slablab_event"][::core::mem::size_of::<slablab_event>() - 64usize];
    ["Alignment of slablab_event"][::core::mem::align_of::<slablab_event>() - 8usize];
    ["Offset of field: slablab_event::number"]
        [::core::mem::offset_of!(slablab_event, number) - 0usize];
    ["Offset of field: slablab_event::time_ns"]
        [::core::mem::offset_of!(slablab_event, time_ns) - 8usize];
    ["Offset of field: slablab_event::thread"]
        [::core::mem::offset_of!(slablab_event, thread) - 16usize];
    ["Offset of field: slablab_event::cpu"][::core::mem::offset_of!(slablab_event, cpu) - 20usize];
    ["Offset of field: slablab_event::kind"]
        [::core::mem::offset_of!(slablab_event, kind) - 22usize];
    ["Offset of field: slablab_event::align_log2"]
        [::core::mem::offset_of!(slablab_event, align_log2) - 23usize];
    ["Offset of field: slablab_event::error"]
        [::core::mem::offset_of!(slablab_event, error) - 24usize];
    ["Offset of field: slablab_event::handle"]
        [::core::mem::offset_of!(slablab_event, handle) - 28usize];
    ["Offset of field: slablab_event::size"]
        [::core::mem::offset_of!(slablab_event, size) - 32usize];
    ["Offset of field: slablab_event::usable"]
        [::core::mem::offset_of!(slablab_event, usable) - 40usize];
    ["Offset of field: slablab_event::offset"]
        [::core::mem::offset_of!(slablab_event, offset) - 48usize];
    ["Offset of field: slablab_event::cost"]
        [::core::mem::offset_of!(slablab_event, cost) - 56usize];
};
pub const SLABLAB_EVENTS_BEGIN: slablab_events_op = 1;
pub const SLABLAB_EVENTS_READ: slablab_events_op = 2;
pub const SLABLAB_EVENTS_END: slablab_events_op = 3;
pub type slablab_events_op = ::core::ffi::c_uint;
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct slablab_events {
    pub flags: __u32,
    pub op: __u32,
    pub count: __u32,
    pub reserved: __u32,
    pub number: __u64,
    pub events: __u64,
    pub lost: __u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of slablab_events"][::core::mem::size_of::<slablab_events>() - 40usize];
    ["Alignment of slablab_events"][::core::mem::align_of::<slablab_events>() - 8usize];
    ["Offset of field: slablab_events::flags"]
        [::core::mem::offset_of!(slablab_events, flags) - 0usize];
    ["Offset of field: slablab_events::op"][::core::mem::offset_of!(slablab_events, op) - 4usize];
    ["Offset of field: slablab_events::count"]
        [::core::mem::offset_of!(slablab_events, count) - 8usize];
    ["Offset of field: slablab_events::reserved"]
        [::core::mem::offset_of!(slablab_events, reserved) - 12usize];
    ["Offset of field: slablab_events::number"]
        [::core::mem::offset_of!(slablab_events, number) - 16usize];
    ["Offset of field: slablab_events::events"]
        [::core::mem::offset_of!(slablab_events, events) - 24usize];
    ["Offset of field: slablab_events::lost"]
        [::core::mem::offset_of!(slablab_events, lost) - 32usize];
};
