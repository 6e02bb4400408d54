// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The part of hwloc's interface that is used, written by hand: one structure up to its last field
//! that is read, and some numbers. A test compares both with hwloc's headers where those are
//! installed (tools/tests/hwloc_layout.rs).
//!
//! Objects are made by the library and only read here, through references that live no longer than
//! their topology.
#![expect(non_camel_case_types, reason = "the names are hwloc's")]

use std::ffi::{c_char, c_int, c_uint, c_ulong, c_void};
use std::mem::offset_of;

/// A topology.
pub enum hwloc_topology {}
/// A set of numbers.
pub enum hwloc_bitmap_s {}

/// An object of a topology; more fields follow.
#[repr(C)]
pub struct hwloc_obj {
    pub r#type: c_int,
    pub subtype: *mut c_char,
    pub os_index: c_uint,
    pub name: *mut c_char,
    pub total_memory: u64,
    /// A union by `type`; its first member suffices here.
    pub attr: *mut c_void,
    pub depth: c_int,
    pub logical_index: c_uint,
    pub next_cousin: *mut hwloc_obj,
    pub prev_cousin: *mut hwloc_obj,
    pub parent: *mut hwloc_obj,
    pub sibling_rank: c_uint,
    pub next_sibling: *mut hwloc_obj,
    pub prev_sibling: *mut hwloc_obj,
    pub arity: c_uint,
    pub children: *mut *mut hwloc_obj,
    pub first_child: *mut hwloc_obj,
    pub last_child: *mut hwloc_obj,
    pub symmetric_subtree: c_int,
    pub memory_arity: c_uint,
    pub memory_first_child: *mut hwloc_obj,
    pub io_arity: c_uint,
    pub io_first_child: *mut hwloc_obj,
    pub misc_arity: c_uint,
    pub misc_first_child: *mut hwloc_obj,
    pub cpuset: *mut hwloc_bitmap_s,
}

/// The attributes of a cache, as far as they are read.
#[repr(C)]
pub struct hwloc_cache_attr_s {
    pub size: u64,
    pub depth: c_uint,
}

pub const HWLOC_OBJ_PACKAGE: c_int = 1;
pub const HWLOC_OBJ_CORE: c_int = 2;
pub const HWLOC_OBJ_L1CACHE: c_int = 4;
pub const HWLOC_OBJ_L5CACHE: c_int = 8;
pub const HWLOC_OBJ_OSDEV_NETWORK: c_int = 2;
pub const HWLOC_OBJ_OSDEV_OPENFABRICS: c_int = 3;
pub const HWLOC_TYPE_DEPTH_NUMANODE: c_int = -3;
pub const HWLOC_TYPE_DEPTH_OS_DEVICE: c_int = -6;
pub const HWLOC_TYPE_FILTER_KEEP_IMPORTANT: c_int = 3;
pub const HWLOC_TOPOLOGY_FLAG_INCLUDE_DISALLOWED: c_ulong = 1;
pub const HWLOC_UNKNOWN_INDEX: c_uint = c_uint::MAX;

/// Each field that is read, with its structure and its offset here.
pub const OFFSETS: &[(&str, &str, usize)] = &[
    ("hwloc_obj", "type", offset_of!(hwloc_obj, r#type)),
    ("hwloc_obj", "os_index", offset_of!(hwloc_obj, os_index)),
    ("hwloc_obj", "name", offset_of!(hwloc_obj, name)),
    ("hwloc_obj", "attr", offset_of!(hwloc_obj, attr)),
    ("hwloc_obj", "logical_index", offset_of!(hwloc_obj, logical_index)),
    ("hwloc_obj", "parent", offset_of!(hwloc_obj, parent)),
    ("hwloc_obj", "misc_first_child", offset_of!(hwloc_obj, misc_first_child)),
    ("hwloc_obj", "cpuset", offset_of!(hwloc_obj, cpuset)),
    ("hwloc_cache_attr_s", "size", offset_of!(hwloc_cache_attr_s, size)),
    ("hwloc_cache_attr_s", "depth", offset_of!(hwloc_cache_attr_s, depth)),
    // Read as the first word of the union, like the numbers of the other two.
    ("hwloc_numanode_attr_s", "local_memory", 0),
    ("hwloc_osdev_attr_s", "type", 0),
];

/// Each constant, as its number here.
pub const VALUES: &[(&str, i64)] = &[
    ("HWLOC_OBJ_PACKAGE", HWLOC_OBJ_PACKAGE as i64),
    ("HWLOC_OBJ_CORE", HWLOC_OBJ_CORE as i64),
    ("HWLOC_OBJ_L1CACHE", HWLOC_OBJ_L1CACHE as i64),
    ("HWLOC_OBJ_L5CACHE", HWLOC_OBJ_L5CACHE as i64),
    ("HWLOC_OBJ_OSDEV_NETWORK", HWLOC_OBJ_OSDEV_NETWORK as i64),
    ("HWLOC_OBJ_OSDEV_OPENFABRICS", HWLOC_OBJ_OSDEV_OPENFABRICS as i64),
    ("HWLOC_TYPE_DEPTH_NUMANODE", HWLOC_TYPE_DEPTH_NUMANODE as i64),
    ("HWLOC_TYPE_DEPTH_OS_DEVICE", HWLOC_TYPE_DEPTH_OS_DEVICE as i64),
    ("HWLOC_TYPE_FILTER_KEEP_IMPORTANT", HWLOC_TYPE_FILTER_KEEP_IMPORTANT as i64),
    ("HWLOC_TOPOLOGY_FLAG_INCLUDE_DISALLOWED", HWLOC_TOPOLOGY_FLAG_INCLUDE_DISALLOWED as i64),
    ("HWLOC_UNKNOWN_INDEX", HWLOC_UNKNOWN_INDEX as i64),
];
