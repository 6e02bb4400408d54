// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The part of UCX's C interface that the lane uses, from its header (`ucp/api/ucp.h`), version
//! 1.13.
//!
//! UCX's structures begin with a mask of the fields that are set, and it appends to them without
//! moving a field, so this one set serves 1.13 to 1.x. Structures that we make end here with the
//! last field that we set, and with room for what later versions may copy.
//! `tests/ucx_layout.rs` compares every offset with the header where that is installed.
#![allow(missing_docs, non_camel_case_types)]

use std::ffi::{c_char, c_int, c_uint, c_void};

pub const fn ucp_version(major: u32, minor: u32) -> u32 {
    major << 16 | minor
}

/// `ucs_status_t`.
pub type Status = c_int;

pub const UCS_OK: Status = 0;
pub const UCS_INPROGRESS: Status = 1;
pub const UCS_ERR_NO_RESOURCE: Status = -2;
pub const UCS_ERR_LAST: Status = -100;

pub const UCS_THREAD_MODE_SERIALIZED: c_int = 1;

pub const UCP_PARAM_FIELD_FEATURES: u64 = 1 << 0;
pub const UCP_PARAM_FIELD_ESTIMATED_NUM_EPS: u64 = 1 << 6;
pub const UCP_FEATURE_RMA: u64 = 1 << 1;
pub const UCP_FEATURE_WAKEUP: u64 = 1 << 4;
pub const UCP_FEATURE_AM: u64 = 1 << 6;

pub const UCP_WORKER_PARAM_FIELD_THREAD_MODE: u64 = 1 << 0;

pub const UCP_EP_PARAM_FIELD_REMOTE_ADDRESS: u64 = 1 << 0;
pub const UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE: u64 = 1 << 1;
pub const UCP_EP_PARAM_FIELD_ERR_HANDLER: u64 = 1 << 2;
pub const UCP_ERR_HANDLING_MODE_NONE: c_int = 0;
pub const UCP_ERR_HANDLING_MODE_PEER: c_int = 1;
pub const UCP_EP_CLOSE_FLAG_FORCE: u32 = 1 << 0;

pub const UCP_MEM_MAP_PARAM_FIELD_ADDRESS: u64 = 1 << 0;
pub const UCP_MEM_MAP_PARAM_FIELD_LENGTH: u64 = 1 << 1;

pub const UCP_AM_HANDLER_PARAM_FIELD_ID: u64 = 1 << 0;
pub const UCP_AM_HANDLER_PARAM_FIELD_CB: u64 = 1 << 2;
pub const UCP_AM_HANDLER_PARAM_FIELD_ARG: u64 = 1 << 3;
pub const UCP_AM_RECV_ATTR_FLAG_RNDV: u64 = 1 << 17;
pub const UCP_AM_SEND_FLAG_EAGER: u32 = 1 << 1;
pub const UCP_AM_SEND_FLAG_RNDV: u32 = 1 << 2;

pub const UCP_OP_ATTR_FIELD_CALLBACK: u32 = 1 << 1;
pub const UCP_OP_ATTR_FIELD_USER_DATA: u32 = 1 << 2;
pub const UCP_OP_ATTR_FIELD_FLAGS: u32 = 1 << 4;
pub const UCP_OP_ATTR_FLAG_FAST_CMPL: u32 = 1 << 17;
pub const UCP_OP_ATTR_FLAG_FORCE_IMM_CMPL: u32 = 1 << 18;

macro_rules! opaque {
    ($($name:ident),+) => { $(
        #[repr(C)]
        pub struct $name {
            opaque: [u8; 0],
        }
    )+ };
}
opaque!(ucp_context, ucp_worker, ucp_ep, ucp_config, ucp_mem, ucp_rkey);

#[repr(C)]
pub struct ucp_params {
    pub field_mask: u64,
    pub features: u64,
    pub request_size: usize,
    pub request_init: *const c_void,
    pub request_cleanup: *const c_void,
    pub tag_sender_mask: u64,
    pub mt_workers_shared: c_int,
    pub estimated_num_eps: usize,
    pub later: [u64; 16],
}

#[repr(C)]
pub struct ucp_worker_params {
    pub field_mask: u64,
    pub thread_mode: c_int,
    pub later: [u64; 40],
}

#[repr(C)]
pub struct ucp_ep_params {
    pub field_mask: u64,
    pub address: *const c_void,
    pub err_mode: c_int,
    pub err_handler: ucp_err_handler,
    pub later: [u64; 24],
}

#[repr(C)]
pub struct ucp_err_handler {
    pub cb: unsafe extern "C" fn(*mut c_void, *mut ucp_ep, Status),
    pub arg: *mut c_void,
}

#[repr(C)]
pub struct ucp_mem_map_params {
    pub field_mask: u64,
    pub address: *mut c_void,
    pub length: usize,
    pub flags: c_uint,
    pub prot: c_uint,
    pub later: [u64; 16],
}

#[repr(C)]
pub struct ucp_am_handler_param {
    pub field_mask: u64,
    pub id: c_uint,
    pub flags: u32,
    pub cb: AmCallback,
    pub arg: *mut c_void,
    pub later: [u64; 8],
}

/// Argument, header and its length, data and their length, attributes.
pub type AmCallback = unsafe extern "C" fn(
    *mut c_void,
    *const c_void,
    usize,
    *mut c_void,
    usize,
    *const ucp_am_recv_param,
) -> Status;

#[repr(C)]
pub struct ucp_am_recv_param {
    pub recv_attr: u64,
}

#[repr(C)]
pub struct ucp_request_param {
    pub op_attr_mask: u32,
    pub flags: u32,
    pub request: *mut c_void,
    pub cb: ucp_request_callback,
    pub datatype: u64,
    pub user_data: *mut c_void,
    pub later: [u64; 12],
}

/// Request, status, user data.
pub type SendCallback = unsafe extern "C" fn(*mut c_void, Status, *mut c_void);
/// Request, status, bytes, user data.
pub type ReceiveCallback = unsafe extern "C" fn(*mut c_void, Status, usize, *mut c_void);

#[repr(C)]
#[derive(Clone, Copy)]
pub union ucp_request_callback {
    pub none: usize,
    pub send: SendCallback,
    pub recv_am: ReceiveCallback,
}

/// The functions that are used, with their C signatures.
pub type GetVersion = unsafe extern "C" fn(*mut c_uint, *mut c_uint, *mut c_uint);
pub type StatusString = unsafe extern "C" fn(Status) -> *const c_char;
pub type ConfigRead =
    unsafe extern "C" fn(*const c_char, *const c_char, *mut *mut ucp_config) -> Status;
pub type ConfigModify =
    unsafe extern "C" fn(*mut ucp_config, *const c_char, *const c_char) -> Status;
pub type ConfigRelease = unsafe extern "C" fn(*mut ucp_config);
pub type InitVersion = unsafe extern "C" fn(
    c_uint,
    c_uint,
    *const ucp_params,
    *const ucp_config,
    *mut *mut ucp_context,
) -> Status;
pub type Cleanup = unsafe extern "C" fn(*mut ucp_context);
pub type WorkerCreate = unsafe extern "C" fn(
    *mut ucp_context,
    *const ucp_worker_params,
    *mut *mut ucp_worker,
) -> Status;
pub type WorkerDestroy = unsafe extern "C" fn(*mut ucp_worker);
pub type WorkerGetAddress =
    unsafe extern "C" fn(*mut ucp_worker, *mut *mut c_void, *mut usize) -> Status;
pub type WorkerReleaseAddress = unsafe extern "C" fn(*mut ucp_worker, *mut c_void);
pub type WorkerProgress = unsafe extern "C" fn(*mut ucp_worker) -> c_uint;
pub type WorkerGetEfd = unsafe extern "C" fn(*mut ucp_worker, *mut c_int) -> Status;
pub type WorkerArm = unsafe extern "C" fn(*mut ucp_worker) -> Status;
pub type SetAmHandler =
    unsafe extern "C" fn(*mut ucp_worker, *const ucp_am_handler_param) -> Status;
pub type EpCreate =
    unsafe extern "C" fn(*mut ucp_worker, *const ucp_ep_params, *mut *mut ucp_ep) -> Status;
pub type EpClose = unsafe extern "C" fn(*mut ucp_ep, *const ucp_request_param) -> *mut c_void;
pub type AmSend = unsafe extern "C" fn(
    *mut ucp_ep,
    c_uint,
    *const c_void,
    usize,
    *const c_void,
    usize,
    *const ucp_request_param,
) -> *mut c_void;
pub type AmReceive = unsafe extern "C" fn(
    *mut ucp_worker,
    *mut c_void,
    *mut c_void,
    usize,
    *const ucp_request_param,
) -> *mut c_void;
pub type AmRelease = unsafe extern "C" fn(*mut ucp_worker, *mut c_void);
pub type MemMap =
    unsafe extern "C" fn(*mut ucp_context, *const ucp_mem_map_params, *mut *mut ucp_mem) -> Status;
pub type MemUnmap = unsafe extern "C" fn(*mut ucp_context, *mut ucp_mem) -> Status;
pub type RkeyPack =
    unsafe extern "C" fn(*mut ucp_context, *mut ucp_mem, *mut *mut c_void, *mut usize) -> Status;
pub type RkeyBufferRelease = unsafe extern "C" fn(*mut c_void);
pub type RkeyUnpack =
    unsafe extern "C" fn(*mut ucp_ep, *const c_void, *mut *mut ucp_rkey) -> Status;
pub type RkeyDestroy = unsafe extern "C" fn(*mut ucp_rkey);
pub type Put = unsafe extern "C" fn(
    *mut ucp_ep,
    *const c_void,
    usize,
    u64,
    *mut ucp_rkey,
    *const ucp_request_param,
) -> *mut c_void;
pub type Get = unsafe extern "C" fn(
    *mut ucp_ep,
    *mut c_void,
    usize,
    u64,
    *mut ucp_rkey,
    *const ucp_request_param,
) -> *mut c_void;
pub type EpFlush = unsafe extern "C" fn(*mut ucp_ep, *const ucp_request_param) -> *mut c_void;
pub type RequestStatus = unsafe extern "C" fn(*mut c_void) -> Status;
pub type RequestFree = unsafe extern "C" fn(*mut c_void);

/// `ucs_global_opts_set_value`, `ucs_debug_disable_signals`: exported, and in no header of ucp.
pub type SetOption = unsafe extern "C" fn(*const c_char, *const c_char) -> Status;
pub type DisableSignals = unsafe extern "C" fn();

/// `struct` name, field name, offset: what the layout test compares.
pub const OFFSETS: &[(&str, &str, usize)] = {
    use std::mem::offset_of as at;
    macro_rules! rows {
        ($($of:ident: $($field:ident),+);+ $(;)?) => {
            &[$($((stringify!($of), stringify!($field), at!($of, $field))),+),+]
        };
    }
    rows! {
        ucp_params: field_mask, features, request_size, request_init, request_cleanup,
            tag_sender_mask, mt_workers_shared, estimated_num_eps;
        ucp_worker_params: field_mask, thread_mode;
        ucp_ep_params: field_mask, address, err_mode, err_handler;
        ucp_err_handler: cb, arg;
        ucp_am_handler_param: field_mask, id, flags, cb, arg;
        ucp_mem_map_params: field_mask, address, length, flags, prot;
        ucp_am_recv_param: recv_attr;
        ucp_request_param: op_attr_mask, flags, request, cb, datatype, user_data;
    }
};

/// `struct` name and the bytes that ours has: at least as many as the header's.
pub const SIZES: &[(&str, usize)] = &[
    ("ucp_params", size_of::<ucp_params>()),
    ("ucp_worker_params", size_of::<ucp_worker_params>()),
    ("ucp_ep_params", size_of::<ucp_ep_params>()),
    ("ucp_mem_map_params", size_of::<ucp_mem_map_params>()),
    ("ucp_am_handler_param", size_of::<ucp_am_handler_param>()),
    ("ucp_request_param", size_of::<ucp_request_param>()),
];

/// Constant name, value: compared in the same way.
pub const VALUES: &[(&str, u64)] = {
    macro_rules! values {
        ($($name:ident),+ $(,)?) => { &[$((stringify!($name), $name as u64)),+] };
    }
    values![
        UCS_OK,
        UCS_INPROGRESS,
        UCS_ERR_NO_RESOURCE,
        UCS_ERR_LAST,
        UCS_THREAD_MODE_SERIALIZED,
        UCP_PARAM_FIELD_FEATURES,
        UCP_PARAM_FIELD_ESTIMATED_NUM_EPS,
        UCP_FEATURE_RMA,
        UCP_FEATURE_WAKEUP,
        UCP_MEM_MAP_PARAM_FIELD_ADDRESS,
        UCP_MEM_MAP_PARAM_FIELD_LENGTH,
        UCP_FEATURE_AM,
        UCP_WORKER_PARAM_FIELD_THREAD_MODE,
        UCP_EP_PARAM_FIELD_REMOTE_ADDRESS,
        UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE,
        UCP_EP_PARAM_FIELD_ERR_HANDLER,
        UCP_ERR_HANDLING_MODE_NONE,
        UCP_ERR_HANDLING_MODE_PEER,
        UCP_EP_CLOSE_FLAG_FORCE,
        UCP_AM_HANDLER_PARAM_FIELD_ID,
        UCP_AM_HANDLER_PARAM_FIELD_CB,
        UCP_AM_HANDLER_PARAM_FIELD_ARG,
        UCP_AM_RECV_ATTR_FLAG_RNDV,
        UCP_AM_SEND_FLAG_EAGER,
        UCP_AM_SEND_FLAG_RNDV,
        UCP_OP_ATTR_FIELD_CALLBACK,
        UCP_OP_ATTR_FIELD_USER_DATA,
        UCP_OP_ATTR_FIELD_FLAGS,
        UCP_OP_ATTR_FLAG_FAST_CMPL,
        UCP_OP_ATTR_FLAG_FORCE_IMM_CMPL,
    ]
};
