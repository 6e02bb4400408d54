// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The part of PMIx's C interface that a process needs to join its job (`pmix.h`,
//! `pmix_common.h`).
//!
//! These types and numbers are the same from PMIx 3 to 5. `tests/pmix_layout.rs` compares them with
//! the headers where those are installed.
#![allow(missing_docs, non_camel_case_types)]

use std::ffi::{CStr, c_char, c_int};

pub const PMIX_MAX_NSLEN: usize = 255;
pub const PMIX_MAX_KEYLEN: usize = 511;

/// All ranks of a job, in a question about the job.
pub const PMIX_RANK_WILDCARD: u32 = u32::MAX - 1;

pub const PMIX_SUCCESS: c_int = 0;
pub const PMIX_ERR_TIMEOUT: c_int = -24;
pub const PMIX_ERR_NOT_FOUND: c_int = -46;

pub const PMIX_BOOL: u16 = 1;
pub const PMIX_STRING: u16 = 3;
pub const PMIX_INT: u16 = 6;
pub const PMIX_UINT32: u16 = 14;

/// What is put is for processes of this host and of others.
pub const PMIX_GLOBAL: u8 = 3;

pub const PMIX_JOB_SIZE: &CStr = c"pmix.job.size";
pub const PMIX_LOCAL_PEERS: &CStr = c"pmix.lpeers";
pub const PMIX_IMMEDIATE: &CStr = c"pmix.immediate";
pub const PMIX_TIMEOUT: &CStr = c"pmix.timeout";

/// A process: its job and its rank there.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct pmix_proc_t {
    pub nspace: [c_char; PMIX_MAX_NSLEN + 1],
    pub rank: u32,
}

#[repr(C)]
pub struct pmix_value_t {
    pub r#type: u16,
    pub data: pmix_value_data,
}

/// The members that we use, and one as large as the largest of all.
#[repr(C)]
pub union pmix_value_data {
    pub flag: bool,
    pub string: *mut c_char,
    pub integer: c_int,
    pub uint32: u32,
    pub room: [u64; 3],
}

#[repr(C)]
pub struct pmix_info_t {
    pub key: [c_char; PMIX_MAX_KEYLEN + 1],
    pub flags: u32,
    pub value: pmix_value_t,
}

/// Type, field, offset: what the layout test compares.
pub const OFFSETS: &[(&str, &str, usize)] = {
    use std::mem::offset_of as at;
    &[
        ("pmix_proc_t", "nspace", at!(pmix_proc_t, nspace)),
        ("pmix_proc_t", "rank", at!(pmix_proc_t, rank)),
        ("pmix_value_t", "type", at!(pmix_value_t, r#type)),
        ("pmix_value_t", "data.flag", at!(pmix_value_t, data)),
        ("pmix_value_t", "data.string", at!(pmix_value_t, data)),
        ("pmix_value_t", "data.integer", at!(pmix_value_t, data)),
        ("pmix_value_t", "data.uint32", at!(pmix_value_t, data)),
        ("pmix_info_t", "key", at!(pmix_info_t, key)),
        ("pmix_info_t", "flags", at!(pmix_info_t, flags)),
        ("pmix_info_t", "value", at!(pmix_info_t, value)),
    ]
};

/// Type, bytes.
pub const SIZES: &[(&str, usize)] = &[
    ("pmix_proc_t", size_of::<pmix_proc_t>()),
    ("pmix_value_t", size_of::<pmix_value_t>()),
    ("pmix_info_t", size_of::<pmix_info_t>()),
    ("pmix_status_t", size_of::<c_int>()),
    ("pmix_rank_t", size_of::<u32>()),
    ("pmix_data_type_t", size_of::<u16>()),
    ("pmix_scope_t", size_of::<u8>()),
];

/// Constant, value.
pub const VALUES: &[(&str, i64)] = &[
    ("PMIX_MAX_NSLEN", PMIX_MAX_NSLEN as i64),
    ("PMIX_MAX_KEYLEN", PMIX_MAX_KEYLEN as i64),
    ("PMIX_RANK_WILDCARD", PMIX_RANK_WILDCARD as i64),
    ("PMIX_SUCCESS", PMIX_SUCCESS as i64),
    ("PMIX_ERR_TIMEOUT", PMIX_ERR_TIMEOUT as i64),
    ("PMIX_ERR_NOT_FOUND", PMIX_ERR_NOT_FOUND as i64),
    ("PMIX_BOOL", PMIX_BOOL as i64),
    ("PMIX_STRING", PMIX_STRING as i64),
    ("PMIX_INT", PMIX_INT as i64),
    ("PMIX_UINT32", PMIX_UINT32 as i64),
    ("PMIX_GLOBAL", PMIX_GLOBAL as i64),
];

/// Constant, text.
pub const TEXTS: &[(&str, &CStr)] = &[
    ("PMIX_JOB_SIZE", PMIX_JOB_SIZE),
    ("PMIX_LOCAL_PEERS", PMIX_LOCAL_PEERS),
    ("PMIX_IMMEDIATE", PMIX_IMMEDIATE),
    ("PMIX_TIMEOUT", PMIX_TIMEOUT),
];
